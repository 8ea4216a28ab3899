-- What HTTP exposes. Under HTTP access.begin_request() or api.pre_request() says who acts; here act_as() does.
\pset null '(null)'
CREATE TEMP TABLE ids (name text PRIMARY KEY, id uuid);
GRANT SELECT, INSERT ON ids TO backoffice_service, backoffice_user;
CREATE FUNCTION pg_temp.id(text) RETURNS uuid LANGUAGE sql STABLE AS 'SELECT id FROM ids WHERE name = $1';
-- What PostgREST and the gateway would answer, ids by their names.
CREATE FUNCTION pg_temp.answer(body jsonb) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(nullif(current_setting('response.status', true), ''), '200') || ' '
        || coalesce((SELECT replace(min(b.text), i.id::text, '<' || i.name || '>') FROM ids i, (SELECT body::text) b (text) WHERE body::text LIKE '%' || i.id || '%' GROUP BY i.id, i.name LIMIT 1), body::text)
$$;
SELECT set_config('backoffice.frozen_now', '2026-11-02 12:00:00+00', false) IS NOT NULL AS frozen;
SET ROLE backoffice_service;
INSERT INTO ids VALUES ('Acme', access.create_organization('Acme')), ('Bolt', access.create_organization('Bolt'));
INSERT INTO ids VALUES ('Dora', access.create_user('dora@bolt.test', NULL, pg_temp.id('Bolt')));
INSERT INTO ids VALUES ('Ann', access.create_user('ann@acme.test', NULL, pg_temp.id('Acme'))), ('Bob', access.create_user('bob@acme.test', NULL, pg_temp.id('Acme')));
SELECT access.grant_role(pg_temp.id('Ann'), 'owner', NULL, pg_temp.id('Acme')), access.grant_role(pg_temp.id('Bob'), 'member', NULL, pg_temp.id('Acme'));

BEGIN;
SELECT access.act_as(pg_temp.id('Acme'));
SELECT certificates.create_pool('PAPER', 'EUR', 5000) IS NOT NULL AS made, certificates.generate_codes('PAPER', 1);
COMMIT;

-- The life of a certificate.
BEGIN;
SELECT access.act_as(pg_temp.id('Acme'), pg_temp.id('Ann'));
SET LOCAL ROLE backoffice_user;
WITH r AS (SELECT api.reserve_next_certificate('PAPER', 'pos', 'order-1', 600) AS body)
INSERT INTO ids SELECT 'first', (body ->> 'id')::uuid FROM r;
SELECT current_setting('response.status'), replace(current_setting('response.headers'), pg_temp.id('first')::text, '<first>');
SELECT pg_temp.answer(api.certificate(pg_temp.id('first')) - 'code_last4');
SELECT pg_temp.answer(api.issue_certificate(pg_temp.id('first'), 'order-1', 'client-1') - 'code');
SELECT pg_temp.answer(api.redeem_certificate(pg_temp.id('first'), 1200) - 'id');
SELECT pg_temp.answer(api.refund_certificate(pg_temp.id('first'), 200) - 'id');
SELECT pg_temp.answer(api.block_certificate(pg_temp.id('first'), 'lost'));
SELECT pg_temp.answer(api.unblock_certificate(pg_temp.id('first')));
SELECT pg_temp.answer(api.notify_certificate(pg_temp.id('first')));
SELECT api.certificate_cvc(pg_temp.id('first')) ->> 'cvc' ~ '^\d{4}$' AS cvc;
SELECT api.check_certificate('no such code', '0000');
SELECT pg_temp.answer(api.pool('PAPER') - 'id');
COMMIT;

-- An empty pool: the answer is an error, and the transaction commits with its event.
BEGIN;
SELECT access.act_as(pg_temp.id('Acme'), pg_temp.id('Ann'));
SET LOCAL ROLE backoffice_user;
SELECT pg_temp.answer(api.reserve_next_certificate('PAPER', 'pos'));
COMMIT;
RESET ROLE;
SELECT payload ->> 'eventType' AS type, payload ->> 'channel' AS channel FROM events.log WHERE type = 'issue.blocked';
SET ROLE backoffice_service;

-- Idempotency-Key: the same answer again; another request is a conflict; another caller's keys are others.
BEGIN;
SELECT access.act_as(pg_temp.id('Acme'), pg_temp.id('Ann'));
SET LOCAL ROLE backoffice_user;
SELECT set_config('request.headers', '{"idempotency-key": "k-1"}', true);
SELECT api.redeem_certificate(pg_temp.id('first'), 100) = api.redeem_certificate(pg_temp.id('first'), 100) AS replayed,
       api.certificate(pg_temp.id('first')) ->> 'balance_minor' AS before;
SELECT api.certificate(pg_temp.id('first')) ->> 'balance_minor' AS balance;
SAVEPOINT s;
SELECT api.redeem_certificate(pg_temp.id('first'), 101);
ROLLBACK TO s;
-- A reservation that was not possible is tried again.
SELECT pg_temp.answer(api.reserve_next_certificate('PAPER', 'pos'));
SELECT access.organization_id() = pg_temp.id('Acme') AS acme;
COMMIT;
BEGIN;
SELECT access.act_as(pg_temp.id('Acme'));
SELECT set_config('request.headers', '{"idempotency-key": "k-1"}', true);
SELECT api.redeem_certificate(pg_temp.id('first'), 100) -> 'balance_minor' AS balance;
ROLLBACK;

-- What is not there, not allowed, and not one's own.
BEGIN;
SELECT access.act_as(pg_temp.id('Acme'), pg_temp.id('Bob'));
SET LOCAL ROLE backoffice_user;
SAVEPOINT s;
SELECT api.certificate(pg_temp.id('first'));
ROLLBACK TO s;
SELECT api.pools(max_items => 0);
ROLLBACK;
BEGIN;
SELECT access.act_as(pg_temp.id('Bolt'));
SAVEPOINT s;
SELECT api.certificate(pg_temp.id('first'));
ROLLBACK TO s;
SELECT api.pool('PAPER');
ROLLBACK TO s;
SELECT api.pools();
SELECT api.pools(max_items => 1001);
ROLLBACK;
SET ROLE backoffice_user;
SELECT api.pools();
SET ROLE backoffice_anon;
SELECT api.pools();
SELECT api.health() ->> 'version' = backoffice.version() AS same;
SET ROLE backoffice_service;
BEGIN READ ONLY;
SELECT access.act_as(pg_temp.id('Acme'));
SELECT api.block_certificate(pg_temp.id('first'));
ROLLBACK;

-- People and roles, page by page.
BEGIN;
SELECT access.act_as(pg_temp.id('Acme'), pg_temp.id('Ann'));
SET LOCAL ROLE backoffice_user;
SELECT jsonb_path_query_array(api.members(), '$.items[*].email'), api.members() -> 'next';
SELECT jsonb_path_query_array(page, '$.items[*].email') AS first, jsonb_path_query_array(api.members((page ->> 'next')::uuid, 1), '$.items[*].email') AS second
FROM api.members(NULL, 1) AS page;
SELECT api.define_role('till', ARRAY['certificates.reserve', 'certificates.issue'], ARRAY['member']);
SELECT pg_temp.answer(api.grant_role(pg_temp.id('Bob'), 'till', '2099-01-01'));
SELECT pg_temp.answer(api.revoke_role(pg_temp.id('Bob'), 'till'));
SELECT pg_temp.answer(api.revoke_role(pg_temp.id('Bob'), 'till'));
SELECT jsonb_path_query_array(api.roles(), '$.items[*].name');
SELECT jsonb_array_length(api.permissions() -> 'items') > 10 AS permissions;
SELECT pg_temp.answer(api.remove_member(pg_temp.id('Bob')));
SAVEPOINT s;
SELECT api.remove_member(pg_temp.id('Bob'));
ROLLBACK TO s;
SELECT api.event_topics();

-- Whoever is asked to join is asked alike, known or not.
SELECT api.invite_member('carl@nowhere.test', 'till') - 'id' AS body, current_setting('response.status') AS status;
SELECT api.invite_member('dora@bolt.test') - 'id' AS body, current_setting('response.headers') ~ '^\[{"Location": "/invitations/' AS location;
SELECT item ->> 'email' AS email, item ->> 'role' AS role, item ->> 'expires_at' AS expires_at FROM jsonb_array_elements(api.invitations() -> 'items') AS item;
SELECT api.withdraw_invitation((api.invitations() #>> '{items,0,id}')::uuid) -> 'withdrawn' AS withdrawn;
COMMIT;
RESET ROLE;
BEGIN;
SELECT access.act_as(pg_temp.id('Bolt'), pg_temp.id('Dora'));
SET LOCAL ROLE backoffice_user;
SELECT item ->> 'organization' AS organization, item ->> 'role' AS role FROM jsonb_array_elements(api.my_invitations() -> 'items') AS item;
SELECT pg_temp.answer(api.accept_invitation((api.my_invitations() #>> '{items,0,id}')::uuid));
SELECT api.my_invitations();
COMMIT;
RESET ROLE;

-- A wrong password is an answer, so that it is counted and told; too many of them are another.
BEGIN;
SET LOCAL ROLE backoffice_anon;
SELECT set_config('request.headers', '{"x-forwarded-for": "203.0.113.1, 192.0.2.1", "user-agent": "pg_regress"}', true);
SELECT api.login('ann@acme.test', 'no such password') AS body, current_setting('response.status') AS status, current_setting('response.headers') AS headers;
SELECT count(api.login('ann@acme.test', 'no such password ' || i)) FROM generate_series(1, 5) AS i;
SELECT api.login('ann@acme.test', 'no such password') ->> 'code' AS code, current_setting('response.status') AS status,
       current_setting('response.headers') ~ '^\[{"Retry-After": "\d+"}\]$' AS retry_after;
SELECT api.refresh('bor_nonsense') ->> 'code' AS code, current_setting('response.status') AS status;
COMMIT;
RESET ROLE;
SELECT payload ->> 'ip' AS ip, payload ->> 'why' AS why, count(*) FROM events.log WHERE type = 'login.failed' GROUP BY 1, 2;
