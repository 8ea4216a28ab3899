-- Each security-relevant act leaves one event, with who did it, and none tells a secret.
SELECT plan(46);
CREATE TEMP TABLE acts (n serial, act text, statement text, types text[], payloads jsonb[]);
-- Runs a statement in a transaction of its own, as a user of an organization, a session, or nobody, and notes the events.
CREATE PROCEDURE pg_temp.act(act text, statement text, acting text DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
    before bigint := (SELECT coalesce(max(seq), 0) FROM events.log);
BEGIN
    IF acting LIKE 'eyJ%' THEN PERFORM access.authenticate(acting);
    ELSIF acting IS NOT NULL THEN PERFORM access.act_as((SELECT id FROM access.organizations WHERE name = 'Acme'), (SELECT id FROM access.users WHERE email = acting)); END IF;
    EXECUTE statement;
    INSERT INTO acts (act, statement, types, payloads) SELECT $1, $2, array_agg(l.type ORDER BY l.seq), array_agg(l.payload ORDER BY l.seq)
        FROM events.log l JOIN events.topics t ON t.id = l.topic_id WHERE l.seq > before AND t.name = 'access.audit';
    COMMIT;
END $$;
CREATE FUNCTION pg_temp.told(act text) RETURNS text LANGUAGE sql AS $$ SELECT array_to_string(types, ' ') FROM acts a WHERE a.act = told.act $$;
CREATE FUNCTION pg_temp.id(email text) RETURNS text LANGUAGE sql AS $$ SELECT quote_literal(id) FROM access.users u WHERE u.email = id.email $$;

CALL pg_temp.act('organization', 'SELECT access.create_organization(''Acme'')');
SELECT is(pg_temp.told('organization'), 'organization.created', 'an organization');
CALL pg_temp.act('owner', 'SELECT access.grant_role(access.create_user(''ann@acme.test'', ''correct horse'', id), ''owner'', NULL, id) FROM access.organizations');
SELECT is(pg_temp.told('owner'), 'user.created member.added role.granted', 'its owner');
CALL pg_temp.act('user', 'SELECT access.create_user(''bob@acme.test'', ''battery staple'')', 'ann@acme.test');
SELECT is(pg_temp.told('user'), 'user.created member.added', 'a user');
CALL pg_temp.act('role', 'SELECT access.define_role(''desk'', ''{access.read}'')', 'ann@acme.test');
SELECT is(pg_temp.told('role'), 'role.defined', 'a role');
CALL pg_temp.act('grant', 'SELECT access.grant_role(' || pg_temp.id('bob@acme.test') || ', ''desk'')', 'ann@acme.test');
SELECT is(pg_temp.told('grant'), 'role.granted', 'is granted');
CALL pg_temp.act('team', 'SELECT access.add_team_member(access.create_team(''North''), ' || pg_temp.id('bob@acme.test') || ')', 'ann@acme.test');
SELECT is(pg_temp.told('team'), 'team.created team.member.added', 'a team and who is in it');
CALL pg_temp.act('remove', 'SELECT access.remove_member(access.organization_id(), ' || pg_temp.id('bob@acme.test') || ')', 'ann@acme.test');
SELECT is(pg_temp.told('remove'), 'role.revoked team.member.removed member.removed', 'who leaves loses all of it');
CALL pg_temp.act('add', 'SELECT access.add_member(access.organization_id(), ' || pg_temp.id('bob@acme.test') || ')', 'ann@acme.test');
SELECT is(pg_temp.told('add'), 'member.added', 'and comes back');
CALL pg_temp.act('again', 'SELECT access.add_member(access.organization_id(), ' || pg_temp.id('bob@acme.test') || ')', 'ann@acme.test');
SELECT is(pg_temp.told('again'), NULL, 'what changes nothing is not told');
SELECT is((SELECT count(*) FROM acts, unnest(payloads) p WHERE act IN ('user', 'role', 'grant', 'team', 'remove', 'add') AND p->>'by' IS DISTINCT FROM (SELECT id::text FROM access.users WHERE email = 'ann@acme.test')), 0::bigint, 'each says who did it');
SELECT is((SELECT count(*) FROM acts, unnest(payloads) p WHERE act IN ('organization', 'owner') AND p ? 'by'), 0::bigint, 'a service is nobody');

CALL pg_temp.act('disabled', 'SELECT access.set_user_state(' || pg_temp.id('bob@acme.test') || ', ''disabled'')');
SELECT is(pg_temp.told('disabled'), 'user.state_changed', 'a user is disabled');
CALL pg_temp.act('enabled', 'SELECT access.set_user_state(' || pg_temp.id('bob@acme.test') || ', ''active'')');
CALL pg_temp.act('suspended', 'SELECT access.set_organization_state(id, ''suspended''), access.set_organization_state(id, ''active'') FROM access.organizations');
SELECT is(pg_temp.told('suspended'), 'organization.state_changed organization.state_changed', 'an organization suspended');
CALL pg_temp.act('failed', 'SELECT access.login(''ann@acme.test'', ''wrong horse'', ip => ''192.0.2.1'')');
SELECT is(pg_temp.told('failed'), 'login.failed', 'a failed log-in');
SELECT is((SELECT payloads[1] - 'userId' FROM acts WHERE act = 'failed'), '{"why": "password", "ip": "192.0.2.1"}', 'from where');
CALL pg_temp.act('failed beside', 'SELECT access.login(''ann@acme.test'', ''wrong horse'', ip => ''192.0.2.1'')', 'bob@acme.test');
SELECT is((SELECT array_agg(organization_id) FROM events.log WHERE type = 'login.failed'), '{NULL,NULL}', 'no organization is told of it, whoever acts: it would learn who has an account');
SELECT access.login('ann@acme.test', 'correct horse') AS a \gset
SELECT (:'a')::jsonb->>'access_token' AS token, (:'a')::jsonb->>'refresh_token' AS refresh \gset
CALL pg_temp.act('wrong old', 'SELECT access.change_password(''wrong horse'', ''another horse'')', :'token');
SELECT is(pg_temp.told('wrong old'), 'password.change_failed', 'a change of password that failed');
CALL pg_temp.act('password', 'SELECT access.change_password(''correct horse'', ''another horse'')', :'token');
SELECT is(pg_temp.told('password'), 'password.changed', 'one that did not');
CALL pg_temp.act('enroll', 'SELECT access.mfa_enroll()', :'token');
SELECT is(pg_temp.told('enroll'), 'mfa.enrolled', 'a second factor begun');
CALL pg_temp.act('wrong code', 'SELECT access.mfa_verify(''000000'')', :'token');
SELECT is(pg_temp.told('wrong code'), 'mfa.failed', 'a wrong code');
CALL pg_temp.act('reset', 'SELECT access.reset_mfa(' || pg_temp.id('ann@acme.test') || ')');
SELECT is(pg_temp.told('reset'), 'mfa.reset', 'a reset');
CALL pg_temp.act('logout', 'SELECT access.logout()', :'token');
SELECT is(pg_temp.told('logout'), 'session.ended', 'a log-out');
SELECT is((SELECT payloads[1]->>'why' FROM acts WHERE act = 'logout'), 'logout', 'and why');

CALL pg_temp.act('platform', 'SELECT access.grant_platform_administrator(access.create_user(''root@platform.test''))');
SELECT is(pg_temp.told('platform'), 'user.created platform_administrator.granted', 'a platform administrator');
CALL pg_temp.act('permission', 'SELECT access.define_permission(''shop.sell'', ''sell'')');
SELECT is(pg_temp.told('permission'), 'permission.defined', 'a permission');
CALL pg_temp.act('aal2', 'SELECT access.define_permission(''shop.close'', ''close'', true)');
SELECT is(pg_temp.told('aal2'), 'permission.defined_with_aal2', 'one that demands a second factor');
CALL pg_temp.act('default', 'SELECT access.define_default_role(''seller'', ''{shop.*}'')');
SELECT is(pg_temp.told('default'), 'default_role.defined', 'a default role');
CALL pg_temp.act('rotate', 'SELECT access.rotate_signing_key()');
SELECT is(pg_temp.told('rotate'), 'signing_key.rotated', 'another signing key');
CALL pg_temp.act('accept', 'SELECT access.add_verification_key(''theirs'', ''HS256'', ''a secret of more than thirty-two bytes'')');
SELECT is(pg_temp.told('accept'), 'verification_key.added', 'somebody''s key is accepted');
CALL pg_temp.act('refuse', 'SELECT access.remove_verification_key(''theirs'')');
SELECT is(pg_temp.told('refuse'), 'verification_key.removed', 'and no more');
CALL pg_temp.act('issuer', 'SELECT access.define_issuer(''https://id.example.org'', ''shop'', ''client-secret'')');
SELECT is(pg_temp.told('issuer'), 'issuer.defined', 'an issuer');
CALL pg_temp.act('no issuer', 'SELECT access.disable_issuer(''https://id.example.org'')');
SELECT is(pg_temp.told('no issuer'), 'issuer.disabled', 'which is not trusted any more');
CALL pg_temp.act('issuer again', 'SELECT access.define_issuer(''https://id.example.org'', ''shop'', algorithms => ''{RS256,ES256,EdDSA}'')');
SELECT set_config('shop.keys', access.jwks()::text, false) \gset ignored_
CALL pg_temp.act('keys', 'SELECT access.set_issuer_keys(''https://id.example.org'', current_setting(''shop.keys'')::jsonb, 600, ''{"token_endpoint": "https://id.example.org/t"}'')');
SELECT is(pg_temp.told('keys'), 'issuer.keys_changed issuer.endpoints_changed', 'its keys');
SELECT is((SELECT payloads[1] FROM acts WHERE act = 'keys'), jsonb_build_object('issuer', 'https://id.example.org', 'keys', (SELECT jsonb_agg(k->'kid' ORDER BY k->>'kid') FROM jsonb_array_elements(access.jwks()->'keys') k)), 'by their ids');
CALL pg_temp.act('same keys', 'SELECT access.set_issuer_keys(''https://id.example.org'', current_setting(''shop.keys'')::jsonb, 300)');
SELECT is(pg_temp.told('same keys'), NULL, 'the same keys again are no news');
CALL pg_temp.act('api key', 'SELECT access.create_api_key(''robot'', ''{access.read}'')', 'ann@acme.test');
SELECT ok(pg_temp.told('api key') LIKE '%api_key%', 'an API key');
CALL pg_temp.act('invite', 'SELECT access.invite(''new@acme.test'')', 'ann@acme.test');
SELECT is(pg_temp.told('invite'), 'member.invited', 'an invitation');

-- ---- every function of access that changes something: what it tells ----
-- Whatever is added fails here until it is in the list: with the events it has to leave (acted below, or above), or with the reason why it leaves none.
CREATE TEMP TABLE intended (function text PRIMARY KEY, types text[], why text);
INSERT INTO intended (function, types) VALUES
    ('accept_invitation', '{member.added,role.granted}'), ('add_member', '{member.added}'), ('add_team_member', '{team.member.added}'),
    ('add_verification_key', '{verification_key.added}'), ('change_password', '{password.changed}'), ('create_api_key', '{api_key.created}'),
    ('create_organization', '{organization.created}'), ('create_team', '{team.created}'), ('create_user', '{user.created}'),
    ('define_default_role', '{default_role.defined}'), ('define_issuer', '{issuer.defined}'), ('define_permission', '{permission.defined}'),
    ('define_role', '{role.defined}'), ('delete_team', '{team.deleted}'), ('disable_issuer', '{issuer.disabled}'), ('end_session', '{session.ended}'),
    ('grant_platform_administrator', '{platform_administrator.granted}'), ('grant_role', '{role.granted}'), ('invite', '{member.invited}'),
    ('login', '{login.failed}'), ('logout', '{session.ended}'), ('logout_all', '{session.ended}'), ('mfa_enroll', '{mfa.enrolled}'), ('mfa_verify', '{mfa.failed}'),
    ('prune_audit_entries', '{audit_entries.pruned}'), ('refresh', '{session.ended}'), ('remove_member', '{member.removed}'), ('remove_team_member', '{team.member.removed}'),
    ('remove_verification_key', '{verification_key.removed}'), ('rename_team', '{team.updated}'), ('reset_mfa', '{mfa.reset}'), ('revoke_api_key', '{api_key.revoked}'),
    ('revoke_platform_administrator', '{platform_administrator.revoked}'), ('revoke_role', '{role.revoked}'), ('rotate_signing_key', '{signing_key.rotated}'),
    ('set_issuer_keys', '{issuer.keys_changed}'), ('set_organization_state', '{organization.state_changed}'), ('set_password', '{password.changed}'),
    ('set_user_state', '{user.state_changed}'), ('withdraw_invitation', '{invitation.withdrawn}');
INSERT INTO intended (function, why) VALUES
    ('act_as', 'says who acts; what is done then is told'), ('authenticate', 'as act_as'), ('begin_request', 'as act_as'),
    ('oidc_begin', 'nobody is logged in yet'), ('oidc_pending', 'as oidc_begin'), ('oidc_complete', 'a log-in: user.logged_in of access.users'),
    ('backchannel_logout', 'session.ended, but this needs a provider: e2e/gateway_oidc.py'),
    ('mfa_activate', 'mfa.activated: access_mfa.sql'), ('mfa_disable', 'mfa.disabled: access_mfa.sql'), ('mfa_recovery_codes', 'mfa.recovery_codes_made: access_mfa.sql'),
    ('rotate_keys', 'secrets.renewed, but this needs another key file: faults/tokens.py'), ('issuers_due', 'only asks'), ('password_hashing', 'only asks'), ('listener_rights', 'only asks');
SELECT is_empty($$ SELECT p.proname FROM pg_proc p WHERE p.pronamespace = 'access'::regnamespace AND p.provolatile = 'v' AND p.prorettype <> 'trigger'::regtype
    AND EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee <> p.proowner AND a.grantee::regrole::text NOT IN ('backoffice_definer', 'backoffice_kernel'))
    AND p.proname NOT IN (SELECT function FROM intended) $$, 'each function that changes something has its events, or a reason to have none');
SELECT is_empty($$ SELECT function FROM intended WHERE function NOT IN (SELECT proname FROM pg_proc WHERE pronamespace = 'access'::regnamespace) $$, 'and there is each');

CALL pg_temp.act('rename', 'SELECT access.rename_team(id, ''South'') FROM access.teams', 'ann@acme.test');
CALL pg_temp.act('in', 'SELECT access.add_team_member(id, ' || pg_temp.id('bob@acme.test') || ') FROM access.teams', 'ann@acme.test');
CALL pg_temp.act('out', 'SELECT access.remove_team_member(id, ' || pg_temp.id('bob@acme.test') || ') FROM access.teams', 'ann@acme.test');
CALL pg_temp.act('delete', 'SELECT access.delete_team(id) FROM access.teams', 'ann@acme.test');
CALL pg_temp.act('revoke', 'SELECT access.grant_role(u, ''desk''), access.revoke_role(u, ''desk'') FROM (SELECT ' || pg_temp.id('bob@acme.test') || '::uuid) AS s (u)', 'ann@acme.test');
CALL pg_temp.act('no platform', 'SELECT access.revoke_platform_administrator(' || pg_temp.id('root@platform.test') || ')');
CALL pg_temp.act('revoke key', 'SELECT access.revoke_api_key(id) FROM access.api_key_records', 'ann@acme.test');
CALL pg_temp.act('withdraw', 'SELECT access.withdraw_invitation(id) FROM access.invitations', 'ann@acme.test');
CALL pg_temp.act('invite root', 'SELECT access.invite(''root@platform.test'')', 'ann@acme.test');
CALL pg_temp.act('set password', 'SELECT access.set_password(' || pg_temp.id('root@platform.test') || ', ''battery staple'')');
SELECT access.login('root@platform.test', 'battery staple') AS r \gset
SELECT (:'r')::jsonb->>'access_token' AS token, format('SELECT access.refresh(%L)', (:'r')::jsonb->>'refresh_token') AS stolen,
       format('SELECT access.end_session(%L)', (:'r')::jsonb->>'session_id') AS ending \gset
CALL pg_temp.act('accept', 'SELECT access.accept_invitation(id) FROM access.invitations WHERE email = ''root@platform.test''', :'token');
CALL pg_temp.act('enroll without', 'SELECT access.mfa_enroll()', :'token');
CALL pg_temp.act('end', :'ending', :'token');
SELECT is((SELECT array_agg(l.type || coalesce(l.organization_id::text, '') ORDER BY l.seq) FROM events.log l WHERE payload->>'sessionId' = (:'r')::jsonb->>'session_id' AND l.type ~ 'mfa|ended'),
          '{mfa.enrolled,session.ended}', 'what befalls a session of no organization is told to none, whoever acts');
CALL pg_temp.act('platform beside', 'SELECT access.define_permission(''shop.look'', ''look'')', 'ann@acme.test');
SELECT is((SELECT organization_id FROM events.log WHERE payload->>'permission' = 'shop.look'), NULL, 'nor is what befalls the platform');
SELECT access.login('root@platform.test', 'battery staple') AS r \gset
SELECT format('SELECT access.refresh(%L)', (:'r')::jsonb->>'refresh_token') AS stolen, access.refresh((:'r')::jsonb->>'refresh_token') AS r \gset
SELECT access.refresh((:'r')::jsonb->>'refresh_token') AS r \gset
CALL pg_temp.act('stolen', :'stolen');
SELECT access.login('root@platform.test', 'battery staple')->>'access_token' AS token \gset
CALL pg_temp.act('end all', 'SELECT access.logout_all()', :'token');
DO $$ BEGIN FOR i IN 1..600 LOOP EXIT WHEN EXISTS (SELECT FROM access.audit_entries); PERFORM pg_sleep(0.05); COMMIT; END LOOP; END $$;
CALL pg_temp.act('prune', 'SELECT access.prune_audit_entries(interval ''0'')');
SELECT ok((SELECT payloads[1] ? 'entries' FROM acts WHERE act = 'prune'), 'who deletes the audit leaves a trace');
SELECT is_empty($$ SELECT i.function, i.types FROM intended i WHERE i.types IS NOT NULL
    AND NOT EXISTS (SELECT FROM acts a WHERE a.statement ~ ('access\.' || i.function || '\(') AND a.types @> i.types) $$, 'and each leaves them');
SELECT is((SELECT array_agg(act ORDER BY n) FROM acts WHERE types IS NULL), '{again,same keys}', 'nothing else was silent');
SELECT is((SELECT count(*) FROM events.log WHERE payload::text ~ 'horse|staple|eyJ|bor_|bok_|secret of|client-secret' OR headers::text ~ 'horse|eyJ'), 0::bigint, 'no event tells a password, token or key');
SELECT is((SELECT count(*) FROM events.log l JOIN events.topics t ON t.id = l.topic_id WHERE t.name = 'access.users' AND NOT l.payload ? 'userId'), 0::bigint, 'users'' events name the user');
SELECT * FROM finish();
