-- Who may call what, and read what: the whole list. Whatever is added to the extension fails here until it is
-- added to the list, and its callers have been thought about.
-- (backoffice_definer and backoffice_kernel are the extension's own: no login, no members. "as kernel": SECURITY DEFINER.)
BEGIN;
SELECT plan(11);

CREATE TEMP VIEW functions (name, roles) AS
SELECT n.nspname || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')',
       coalesce((SELECT string_agg(CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE replace(a.grantee::regrole::text, 'backoffice_', '') END, ' ' ORDER BY a.grantee::regrole::text COLLATE "C")
                 FROM aclexplode(p.proacl) a WHERE a.privilege_type = 'EXECUTE' AND a.grantee <> p.proowner AND a.grantee::regrole::text NOT IN ('backoffice_definer', 'backoffice_kernel')),
                CASE WHEN p.proacl IS NULL THEN 'PUBLIC' ELSE '' END) || CASE WHEN p.prosecdef THEN ' as ' || replace(p.proowner::regrole::text, 'backoffice_', '') ELSE '' END
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'backoffice';

CREATE TEMP TABLE intended_functions (name text PRIMARY KEY, roles text NOT NULL);
INSERT INTO intended_functions VALUES
    ('access.accept_invitation(invitation uuid)', 'service'),
    ('access.act_as(organization uuid, "user" uuid)', 'service'),
    ('access.add_member(organization uuid, "user" uuid)', 'service'),
    ('access.add_verification_key(kid text, alg text, key text, role_claim text, audience text[], expires_required boolean)', 'admin'),
    ('access.authenticate(token text, organization uuid)', 'anon gateway service user'),
    ('access.begin_request(token text, organization uuid, read_only boolean, method text, path text, headers text, cookies text)', 'gateway'),
    ('access.can(permission text)', 'admin anon service user worker'),
    ('access.create_organization(name text, owner uuid)', 'service'),
    ('access.create_user(email text, password text, organization uuid)', 'service'),
    ('access.define_default_role(name text, permissions text[], inherits text[])', 'admin'),
    ('access.define_permission(name text, description text, aal2 boolean)', 'admin'),
    ('access.define_role(name text, permissions text[], inherits text[], organization uuid)', 'service'),
    ('access.grant_role("user" uuid, role text, valid_until timestamp with time zone, organization uuid)', 'service'),
    ('access.jwks()', 'admin anon gateway service user as kernel'),
    ('access.invite(email text, role text, valid interval, organization uuid)', 'service'),
    ('access.my_invitations()', 'service as kernel'),
    ('access.organization_id()', 'admin anon service user worker'),
    ('access.permission_matches(name text, pattern text)', ''),
    ('access.remove_member(organization uuid, "user" uuid)', 'service'),
    ('access.remove_verification_key(kid text)', 'admin'),
    ('access.require(permission text)', 'admin anon service user worker'),
    ('access.revoke_role("user" uuid, role text, organization uuid)', 'service'),
    ('access.rights_changed()', ''),
    ('access.rotate_signing_key(alg text)', 'admin'),
    ('access.session_ended()', ''),
    ('access.set_organization_state(organization uuid, state text)', 'service'),
    ('access.set_user_state("user" uuid, state text)', 'service'),
    ('access.tokens_changed()', ''),
    ('access.user_id()', 'admin anon service user worker'),
    ('access.withdraw_invitation(invitation uuid, organization uuid)', 'service'),
    ('api.accept_invitation(id uuid)', 'service user'),
    ('api.block_certificate(id uuid, reason text)', 'service user'),
    ('api.certificate(id uuid)', 'service user'),
    ('api.certificate_cvc(id uuid)', 'service user'),
    ('api.check_certificate(code text, cvc text)', 'service user'),
    ('api.define_role(name text, permissions text[], inherits text[])', 'service user'),
    ('api.event_topics()', 'service user'),
    ('api.grant_role(user_id uuid, role text, valid_until timestamp with time zone)', 'service user'),
    ('api.health()', 'anon service user'),
    ('api.invitations(after uuid, max_items integer)', 'service user'),
    ('api.invite_member(email text, role text)', 'service user'),
    ('api.issue_certificate(id uuid, order_ref text, client_ref text)', 'service user'),
    ('api.members(after uuid, max_items integer)', 'service user'),
    ('api.my_invitations()', 'service user'),
    ('api.notify_certificate(id uuid)', 'service user'),
    ('api.permissions()', 'service user'),
    ('api.pool(pool text)', 'service user'),
    ('api.pools(after text, max_items integer)', 'service user'),
    ('api.pre_request()', 'anon service user'),
    ('api.redeem_certificate(id uuid, amount_minor bigint, channel text, order_ref text)', 'service user'),
    ('api.refund_certificate(id uuid, amount_minor bigint, redemption_id uuid, reason text)', 'service user'),
    ('api.release_certificate(id uuid, reason text)', 'service user'),
    ('api.remove_member(user_id uuid)', 'service user'),
    ('api.reserve_next_certificate(pool text, channel text, order_ref text, hold_s integer)', 'service user'),
    ('api.revoke_role(user_id uuid, role text)', 'service user'),
    ('api.roles(after text, max_items integer)', 'service user'),
    ('api.unblock_certificate(id uuid, reason text)', 'service user'),
    ('api.withdraw_invitation(id uuid)', 'service user'),
    ('backoffice.current_organization()', 'admin anon service user worker'),
    ('backoffice.current_user_id()', 'admin anon service user worker'),
    ('backoffice.health()', 'admin service worker as kernel'),
    ('backoffice.heartbeat(worker text, instance text, state text, "position" text, last_error text, details jsonb)', 'worker'),
    ('backoffice.list_metrics(OUT name text, OUT labels jsonb, OUT value double precision)', 'admin worker as kernel'),
    ('backoffice.list_workers(OUT worker text, OUT instance text, OUT state text, OUT heartbeat timestamp with time zone, OUT "position" text, OUT last_error text)', 'admin service worker as kernel'),
    ('backoffice.now()', 'admin anon service user worker'),
    ('backoffice.of_current_organization(organization_id uuid)', 'admin anon service user worker'),
    ('backoffice.of_current_organization_support(internal)', ''),
    ('backoffice.prune_heartbeats(older_than interval)', 'admin as kernel'),
    ('backoffice.prune_idempotency_keys(older_than interval)', 'admin as kernel'),
    ('backoffice.raise(sqlstate text, code text, message text, detail text, hint text)', 'admin service user worker'),
    ('backoffice.schedule(OUT job text, OUT schedule text, OUT command text)', 'admin'),
    ('backoffice.time_text(at timestamp with time zone)', 'admin anon service user worker'),
    ('backoffice.uuid7()', 'admin service user worker'),
    ('backoffice.version()', 'admin anon service user worker'),
    ('certificates.activate(id uuid)', 'service'),
    ('certificates.adopt_units(o certificates.orders)', ''),
    ('certificates.apply_refund(o certificates.orders, p certificates.payments)', ''),
    ('certificates.apply_refunds(o certificates.orders)', ''),
    ('certificates.authorize(id uuid, amount bigint, idempotency_key text, ttl interval, channel text, order_ref text)', 'service'),
    ('certificates.block(id uuid, reason text)', 'service'),
    ('certificates.capture(redemption uuid, amount bigint, idempotency_key text)', 'service'),
    ('certificates.close_pool(pool text)', 'admin service'),
    ('certificates.create_pool(code text, currency text, face_value bigint, validity interval, low_water bigint, hold interval, requires_activation boolean, destroy_cvc_after_delivery boolean, cvc_digits integer, code_format text)', 'admin service'),
    ('certificates.disclose_code(id uuid)', 'admin service'),
    ('certificates.drop_claims(certificate uuid, order_ref text, line_id text, unit integer)', ''),
    ('certificates.emit(key uuid, type text, channel text, status text, payload jsonb, organization uuid)', ''),
    ('certificates.extend(id uuid, valid_until timestamp with time zone)', 'service'),
    ('certificates.find_by_code(code text, cvc text)', 'admin service'),
    ('certificates.generate_codes(pool text, count integer)', 'admin service'),
    ('certificates.handle_message(topic text, message jsonb)', ''),
    ('certificates.import_codes(pool text, codes text[], cvcs text[])', 'admin service'),
    ('certificates.import_end()', ''),
    ('certificates.import_row()', ''),
    ('certificates.is_passing(state text)', ''),
    ('certificates.issue(id uuid, order_ref text, client_ref text, idempotency_key text)', 'service'),
    ('certificates.issue_unit(o certificates.orders, u certificates.order_units, pool text, payment text)', ''),
    ('certificates.key_usage()', 'admin as kernel'),
    ('certificates.lock_order(order_ref text)', ''),
    ('certificates.match_refund(o certificates.orders, p certificates.payments, OUT units certificates.order_units[], OUT missing text, OUT detail text)', ''),
    ('certificates.on_event(event events.event)', ''),
    ('certificates.order_alert(order_ref text, kind text, status text, detail jsonb)', ''),
    ('certificates.order_key(order_ref text)', ''),
    ('certificates.pause_pool(pool text)', 'admin service'),
    ('certificates.pools_changed()', ''),
    ('certificates.reconcile_order(order_ref text)', ''),
    ('certificates.redeem(id uuid, amount bigint, idempotency_key text, channel text, order_ref text)', 'service'),
    ('certificates.refund(id uuid, amount bigint, idempotency_key text, redemption uuid, reason text)', 'service'),
    ('certificates.refund_purchase(id uuid, reason text)', 'service'),
    ('certificates.release(id uuid, reason text)', 'admin service'),
    ('certificates.release_hold(redemption uuid)', 'service'),
    ('certificates.replace(id uuid, reason text)', 'service'),
    ('certificates.request_notification(id uuid)', 'admin service'),
    ('certificates.reserve_next(pool text, channel text, order_ref text, idempotency_key text, hold interval)', 'admin service'),
    ('certificates.resume_pool(pool text)', 'admin service'),
    ('certificates.retry_order(order_ref text)', 'service as definer'),
    ('certificates.reveal_cvc(id uuid)', 'admin service'),
    ('certificates.rotate_keys(batch integer)', 'admin'),
    ('certificates.store_client(message jsonb)', ''),
    ('certificates.store_order(message jsonb)', ''),
    ('certificates.store_payment(message jsonb)', ''),
    ('certificates.sweep()', 'admin'),
    ('certificates.sync_units(o certificates.orders)', ''),
    ('certificates.tell_error(topic text, message jsonb, status text, state text, what text, detail text)', ''),
    ('certificates.unblock(id uuid, reason text)', 'service'),
    ('certificates.undo_unit(u certificates.order_units, outcome text, reason text)', ''),
    ('certificates.verify_cvc(code text, cvc text)', 'admin service'),
    ('certificates.void_purchase(id uuid, reason text)', 'service'),
    ('certificates.watch_payments(o certificates.orders, captured bigint)', ''),
    ('events.accept(source text, message_id text, topic text, key text, payload jsonb, headers jsonb, organization uuid, type text)', 'service worker'),
    ('events.advance(consumer text, instance text, shards integer[], fences bigint[], "position" events."position")', 'worker as kernel'),
    ('events.check_payload(topic text, type text, payload jsonb)', 'admin service worker'),
    ('events.define_schema(topic text, type text, schema jsonb)', 'admin'),
    ('events.define_topic(topic text, key_rule text, retention interval, partitions integer, direction text, description text)', 'admin'),
    ('events.discard_inbound(source text, topic text, partition integer, "offset" bigint)', 'admin as kernel'),
    ('events.discard_parked(consumer text, id uuid)', 'admin as kernel'),
    ('events.drop_expired()', ''),
    ('events.emit(topic text, key text, type text, payload jsonb, headers jsonb)', 'admin service'),
    ('events.fetch(after events."position", max_events integer, max_bytes integer, topics text[], shard_count integer, shards integer[], OUT next events."position", OUT events integer, OUT batch bytea)', 'admin service user worker'),
    ('events.forget_topics()', ''),
    ('events.grant_topic(topic text, role regrole)', 'admin'),
    ('events.lag("position" events."position", topic_ids integer[], OUT lag_events bigint, OUT lag_seconds double precision)', ''),
    ('events.lease(consumer text, instance text, shard_count integer, ttl interval, topics text[], start text, OUT shard integer, OUT fence bigint, OUT "position" events."position", OUT shards_total integer, OUT wanted boolean)', 'worker'),
    ('events.let_listen(topic text, permission text)', 'admin as definer'),
    ('events.list_consumers(OUT name text, OUT "position" events."position", OUT lag_events bigint, OUT lag_seconds double precision, OUT kind text, OUT shards integer, OUT parked bigint)', 'admin service worker as kernel'),
    ('events.list_open_transactions(OUT pid integer, OUT prepared text, OUT since timestamp with time zone, OUT role name, OUT application text, OUT state text)', 'admin service worker as kernel'),
    ('events.park(consumer text, shard integer, id uuid, "position" events."position", topic text, key text, type text, payload jsonb, headers jsonb, reason text, organization uuid, occurred_at timestamp with time zone, quiet boolean)', 'worker'),
    ('events.park_inbound(source text, topic text, partition integer, "offset" bigint, key bytea, value bytea, reason text)', 'worker'),
    ('events.parked_due(consumer text, shards integer[], max_events integer, OUT shard integer, OUT "position" events."position", OUT id uuid, OUT organization_id uuid, OUT topic text, OUT key text, OUT type text, OUT payload jsonb, OUT headers jsonb, OUT occurred_at timestamp with time zone, OUT attempts integer)', 'worker as kernel'),
    ('events.pause(name text)', 'admin service'),
    ('events.position()', 'admin service user worker'),
    ('events.position_cmp(events."position", events."position")', 'admin anon service user worker'),
    ('events.position_eq(events."position", events."position")', 'admin anon service user worker'),
    ('events.position_ge(events."position", events."position")', 'admin anon service user worker'),
    ('events.position_gt(events."position", events."position")', 'admin anon service user worker'),
    ('events.position_in(cstring)', 'admin anon service user worker'),
    ('events.position_larger(events."position", events."position")', 'admin anon service user worker'),
    ('events.position_le(events."position", events."position")', 'admin anon service user worker'),
    ('events.position_lt(events."position", events."position")', 'admin anon service user worker'),
    ('events.position_ne(events."position", events."position")', 'admin anon service user worker'),
    ('events.position_out(events."position")', 'admin anon service user worker'),
    ('events.position_recv(internal)', 'admin anon service user worker'),
    ('events.position_send(events."position")', 'admin anon service user worker'),
    ('events.position_smaller(events."position", events."position")', 'admin anon service user worker'),
    ('events.prune_inbox(older_than interval)', 'admin as kernel'),
    ('events.read(after events."position", max_events integer, topics text[])', 'admin service user worker'),
    ('events.release_lease(consumer text, instance text, shards integer[])', 'worker as kernel'),
    ('events.remove_consumer(consumer text)', 'admin as kernel'),
    ('events.replace_consumer()', ''),
    ('events.replace_topic()', ''),
    ('events.reset_source_offset(source_group text, topic text, partition integer, "offset" bigint)', 'admin as kernel'),
    ('events.resume(name text)', 'admin service'),
    ('events.retry_parked(consumer text, id uuid)', 'admin worker as kernel'),
    ('events.revoke_topic(topic text, role regrole)', 'admin'),
    ('events.save_source_offset(source_group text, topic text, partition integer, "offset" bigint)', 'worker as kernel'),
    ('events.seek(consumer text, "position" events."position")', 'admin'),
    ('events.seek(consumer text, since timestamp with time zone)', 'admin'),
    ('events.seek(consumer text, target text)', 'admin'),
    ('events.source_offsets(source_group text, OUT topic text, OUT partition integer, OUT "offset" bigint)', 'admin worker as kernel'),
    ('events.subscribe(name text, topics text[], handler regprocedure, max_attempts integer, start text, role regrole)', 'admin service'),
    ('events.unpark(consumer text, ids uuid[])', 'worker as kernel'),
    ('events.unsubscribe(name text)', 'admin service'),
    ('lifecycle.check_columns(entity regclass, state_column name, states text[], definition jsonb)', ''),
    ('lifecycle.check_row()', 'admin owner service'),
    ('lifecycle.check_transition(definition text, from_state text, to_state text)', 'admin service'),
    ('lifecycle.define(entity regclass, state_column name, definition jsonb)', 'admin'),
    ('lifecycle.diagram(entity regclass)', 'admin service user worker as definer'),
    ('lifecycle.diagram_node(states text[], state text)', ''),
    ('lifecycle.emit_step()', 'admin owner service'),
    ('lifecycle.find_function(qualified_name text, arguments oid[], result regtype)', ''),
    ('lifecycle.refuse(message text, detail text)', ''),
    ('lifecycle.spelled_out(definition jsonb)', ''),
    ('lifecycle.store_definition(entity regclass, state_column name, definition jsonb, built_in boolean, OUT definition_name text, OUT legal_states text[], OUT emits boolean)', ''),
    ('lifecycle.string_list(list jsonb, what text)', ''),
    ('pg_catalog.max(events."position")', 'admin anon service user worker'),
    ('pg_catalog.min(events."position")', 'admin anon service user worker');

SELECT is_empty($$ SELECT * FROM functions EXCEPT SELECT * FROM intended_functions $$, 'no function can be called by a role that was not thought of');
SELECT is_empty($$ SELECT * FROM intended_functions EXCEPT SELECT * FROM functions $$, 'and everybody may call what they are meant to');
SELECT is_empty($$ SELECT * FROM functions WHERE roles ~ 'PUBLIC' $$, 'nothing is for PUBLIC');

CREATE TEMP VIEW relations (name, privileges) AS
SELECT n.nspname || '.' || c.relname,
       string_agg(a.role || ':' || lower(a.privilege), ' ' ORDER BY a.role COLLATE "C", a.privilege COLLATE "C")
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'backoffice'
CROSS JOIN LATERAL (
    SELECT CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE replace(x.grantee::regrole::text, 'backoffice_', '') END AS role, x.privilege_type AS privilege
    FROM aclexplode(c.relacl) x
    UNION
    SELECT CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE replace(x.grantee::regrole::text, 'backoffice_', '') END, x.privilege_type || '(' || t.attname || ')'
    FROM pg_attribute t, aclexplode(t.attacl) x WHERE t.attrelid = c.oid AND NOT t.attisdropped
) a
WHERE a.role NOT IN ('owner', 'definer', 'kernel')
GROUP BY 1;

CREATE TEMP TABLE intended_relations (name text PRIMARY KEY, privileges text NOT NULL);
INSERT INTO intended_relations VALUES
    ('access.invitations', 'service:select'),
    ('access.members', 'service:select'),
    ('access.memberships', 'service:select'),
    ('access.organizations', 'service:select'),
    ('access.permissions', 'admin:select service:select'),
    ('access.role_grants', 'service:select'),
    ('access.roles', 'service:select'),
    ('access.sessions', 'service:select(aal) service:select(amr) service:select(authenticated_at) service:select(created_at) service:select(device_info) service:select(expires_at) service:select(id) service:select(ip) service:select(last_seen_at) service:select(organization_id) service:select(state) service:select(user_agent) service:select(user_id)'),
    ('access.users', 'service:select(created_at) service:select(email) service:select(id) service:select(state)'),
    ('backoffice.metrics', 'admin:select worker:select'),
    ('backoffice.workers', 'admin:select service:select worker:select'),
    ('certificates.certificates', 'admin:select(activated_at) admin:select(balance_minor) admin:select(blocked_from) admin:select(channel) admin:select(client_ref) admin:select(code_last4) admin:select(created_at) admin:select(cvc_delivered_at) admin:select(disclosed_at) admin:select(face_value_minor) admin:select(held_minor) admin:select(hold_until) admin:select(id) admin:select(issued_at) admin:select(notification_requested_at) admin:select(order_line) admin:select(order_ref) admin:select(organization_id) admin:select(payment_ref) admin:select(pool_id) admin:select(replaced_by) admin:select(slot_no) admin:select(state) admin:select(valid_until) admin:select(version) service:select(activated_at) service:select(balance_minor) service:select(blocked_from) service:select(channel) service:select(client_ref) service:select(code_last4) service:select(created_at) service:select(cvc_delivered_at) service:select(disclosed_at) service:select(face_value_minor) service:select(held_minor) service:select(hold_until) service:select(id) service:select(issued_at) service:select(notification_requested_at) service:select(order_line) service:select(order_ref) service:select(organization_id) service:select(payment_ref) service:select(pool_id) service:select(replaced_by) service:select(slot_no) service:select(state) service:select(valid_until) service:select(version)'),
    ('certificates.clients', 'admin:select service:select'),
    ('certificates.conservation', 'admin:select service:select'),
    ('certificates.discrepancies', 'admin:select service:select'),
    ('certificates.import', 'admin:insert service:insert'),
    ('certificates.order_lines', 'admin:select service:select'),
    ('certificates.order_units', 'admin:select service:select'),
    ('certificates.orders', 'admin:select service:select'),
    ('certificates.payments', 'admin:select service:select'),
    ('certificates.pending_refunds', 'admin:select service:select'),
    ('certificates.pool_status', 'admin:select service:select'),
    ('certificates.pools', 'admin:select service:select'),
    ('certificates.redemptions', 'admin:select service:select'),
    ('certificates.refunds', 'admin:select service:select'),
    ('events.consumers', 'admin:select service:select worker:select'),
    ('events.cursors', 'admin:select service:select worker:select'),
    ('events.handlers', 'admin:select service:select'),
    ('events.open_transactions', 'admin:select service:select worker:select'),
    ('events.parked', 'admin:select service:select worker:select'),
    ('events.parked_events', 'admin:select service:select worker:select'),
    ('events.parked_inbound', 'admin:select worker:select'),
    ('events.registered_consumers', 'admin:select service:select worker:select'),
    ('events.subscriptions', 'admin:select service:select'),
    ('events.topic_grants', 'admin:select service:select worker:select'),
    ('events.topic_schemas', 'admin:select service:select worker:select'),
    ('events.topics', 'admin:select service:select worker:select'),
    ('lifecycle.governed', 'admin:select service:select user:select worker:select'),
    ('lifecycle.rules', 'admin:select service:select user:select worker:select'),
    ('lifecycle.transitions', 'admin:select service:select user:select worker:select');

SELECT is_empty($$ SELECT * FROM relations EXCEPT SELECT * FROM intended_relations $$, 'no table or view can be read by a role that was not thought of');
SELECT is_empty($$ SELECT * FROM intended_relations EXCEPT SELECT * FROM relations $$, 'and everybody may read what they are meant to');

-- A login that was given nothing.
CREATE ROLE privileges_nobody;
SELECT is_empty($$ SELECT p.oid::regprocedure FROM pg_proc p JOIN functions f ON f.name = p.pronamespace::regnamespace::text || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')'
                   WHERE has_function_privilege('privileges_nobody', p.oid, 'EXECUTE') $$, 'who has no role of ours calls nothing');
SELECT is_empty($$ SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace::regnamespace::text IN ('backoffice', 'events', 'access', 'lifecycle', 'certificates')
                   AND c.relkind IN ('r', 'p', 'v', 'S') AND (CASE WHEN c.relkind = 'S' THEN has_sequence_privilege('privileges_nobody', c.oid, 'USAGE, SELECT, UPDATE')
                       ELSE has_table_privilege('privileges_nobody', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
                         OR has_any_column_privilege('privileges_nobody', c.oid, 'SELECT, INSERT, UPDATE') END) $$, 'and reads nothing');

-- What looks like a switch is none for those whom it would open something to.
SET LOCAL ROLE backoffice_service;
SELECT throws_ok($$ SET session_replication_role = replica $$, '42501', NULL, 'triggers cannot be switched off');
SELECT throws_ok(format('SET %s = %L', name, value), NULL, NULL, name || ' is not for everybody')
FROM (VALUES ('backoffice.frozen_now', '2020-01-01'), ('backoffice.direct_writes', 'off'), ('backoffice.allow_drop', 'on')) AS s (name, value);
RESET ROLE;
SELECT * FROM finish();
ROLLBACK;
