-- Organizations, users, roles: what works, and what every kind of garbage is answered with.
BEGIN;
SELECT plan(118);

-- Runs a statement as a role and answers its SQLSTATE and symbolic code, or 'ok'.
CREATE FUNCTION pg_temp.code_of(statement text, as_role text DEFAULT 'backoffice_service') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    state text;
    code text;
BEGIN
    PERFORM set_config('role', as_role, true);
    EXECUTE statement;
    PERFORM set_config('role', 'none', true);
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, code = CONSTRAINT_NAME;
    RETURN state || ' ' || code;
END $$;

-- The one value of a statement run as a role; the principal set by it stays.
CREATE FUNCTION pg_temp.answer(statement text, as_role text DEFAULT 'backoffice_service') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    value text;
BEGIN
    PERFORM set_config('role', as_role, true);
    EXECUTE statement INTO value;
    PERFORM set_config('role', 'none', true);
    RETURN value;
END $$;

-- The same as a user of an organization, undone afterwards.
CREATE FUNCTION pg_temp.code_as(organization uuid, acting uuid, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    state text;
    code text;
BEGIN
    PERFORM set_config('role', 'backoffice_service', true);
    PERFORM access.act_as(organization, acting);
    EXECUTE statement;
    RAISE EXCEPTION USING ERRCODE = 'OK000', MESSAGE = 'worked';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, code = CONSTRAINT_NAME;
    RETURN CASE state WHEN 'OK000' THEN 'ok' ELSE state || ' ' || code END;
END $$;

CREATE FUNCTION pg_temp.answer_as(organization uuid, acting uuid, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    value text;
BEGIN
    PERFORM set_config('role', 'backoffice_service', true);
    PERFORM access.act_as(organization, acting);
    EXECUTE statement INTO value;
    RAISE EXCEPTION USING ERRCODE = 'OK000', MESSAGE = COALESCE(value, 'NULL');
EXCEPTION WHEN SQLSTATE 'OK000' THEN
    RETURN SQLERRM;
END $$;

SELECT access.define_permission('shop.sell', 'sell');
SELECT access.define_permission('shop.refund', 'refund');
SELECT access.create_organization('Acme') AS acme \gset
SELECT access.create_organization('Bolt') AS bolt \gset
SELECT access.create_user('ann@acme.test', 'correct horse', :'acme') AS ann \gset
SELECT access.create_user('bob@acme.test', NULL, :'acme') AS bob \gset
SELECT access.create_user('eve@bolt.test', NULL, :'bolt') AS eve \gset
SELECT access.create_user('new@nowhere.test') AS newcomer \gset
SELECT backoffice.uuid7() AS nobody \gset
SELECT access.grant_role(:'ann', 'owner', NULL, :'acme');

-- ---- identity ----
SELECT is(pg_temp.answer('SELECT access.organization_id()'), NULL, 'nobody acts at first');
SELECT is(pg_temp.answer('SELECT access.can(''access.read'')'), 'false', 'and may do nothing');
SELECT is(pg_temp.code_of('SELECT access.require(''access.read'')'), 'PT401 no_principal', 'require() says why');
SELECT is(pg_temp.answer_as(:'acme', :'ann', 'SELECT access.organization_id()'), :'acme', 'act_as sets the organization');
SELECT is(pg_temp.answer_as(:'acme', :'ann', 'SELECT access.user_id()'), :'ann', 'and the user');
SELECT is(pg_temp.answer_as(:'acme', NULL, 'SELECT access.user_id()'), 'NULL', 'a service has no user');
SELECT is(pg_temp.answer_as(:'acme', NULL, 'SELECT access.can(''shop.sell'')'), 'true', 'and may do everything');
SELECT is(pg_temp.code_of(format('SELECT access.act_as(%L)', :'nobody')), 'PT404 unknown_organization', 'act_as: unknown organization');
SELECT is(pg_temp.code_of('SELECT access.act_as(NULL)'), '22023 missing_argument', 'act_as: NULL');
SELECT is(pg_temp.code_of(format('SELECT access.act_as(%L, %L)', :'acme', :'nobody')), 'PT404 unknown_user', 'act_as: unknown user');
SELECT is(pg_temp.code_of(format('SELECT access.act_as(%L, %L)', :'acme', :'eve')), '42501 not_a_member', 'act_as: another organization''s user');
SELECT is(pg_temp.code_of('SELECT access.act_as(''no uuid'')'), '22P02 ', 'act_as: not a uuid');
SELECT is(pg_temp.code_of(format('SELECT access.act_as(%L)', :'acme'), 'backoffice_user'), '42501 ', 'act_as is not for users');
SELECT is(pg_temp.code_of(format('SELECT access.act_as(%L)', :'acme'), 'backoffice_anon'), '42501 ', 'nor for the anonymous');
SELECT is(pg_temp.code_of(format('SELECT access.act_as(%L)', :'acme'), 'backoffice_worker'), '42501 ', 'nor for workers');
SELECT is(pg_temp.code_of(format('SELECT access.act_as(%L)', :'acme'), 'backoffice_admin'), '42501 ', 'nor for administrators');
SELECT is(pg_temp.code_as(:'acme', :'ann', format('SELECT access.act_as(%L, %L)', :'acme', :'bob')), '42501 principal_already_set', 'another user is refused');
SELECT is(pg_temp.code_as(:'acme', :'ann', format('SELECT access.act_as(%L)', :'acme')), '42501 principal_already_set', 'so is becoming a service');
SELECT is(pg_temp.code_as(:'acme', :'ann', format('SELECT access.act_as(%L)', :'bolt')), '42501 principal_already_set', 'and another organization');
SELECT is(pg_temp.code_as(:'acme', :'ann', format('SELECT access.act_as(%L, %L)', :'acme', :'ann')), 'ok', 'the same again is fine');
SELECT is(pg_temp.code_as(:'acme', :'ann', format('SELECT FROM access.act_as(%L, %L)', :'acme', :'ann')), 'ok', 'also in FROM');

-- ---- permissions ----
SELECT is(pg_temp.answer_as(:'acme', :'ann', 'SELECT access.can(''shop.refund'')'), 'true', '* stands for everything');
SELECT is(pg_temp.answer_as(:'acme', :'bob', 'SELECT access.can(''shop.refund'')'), 'false', 'no role, no right');
SELECT is(pg_temp.code_as(:'acme', :'bob', 'SELECT access.require(''shop.refund'')'), '42501 permission_denied', 'require() raises');
SELECT is(pg_temp.answer_as(:'acme', :'ann', 'SELECT access.can(''shop.fly'')'), 'false', 'can: what nobody defined nobody has, not with *');
SELECT is(pg_temp.answer_as(:'acme', NULL, 'SELECT access.can(''shop.fly'')'), 'false', 'can: not a service either');
SELECT is(pg_temp.answer('SELECT access.can(''shop.fly'')'), 'false', 'can: unknown, nobody acting');
SELECT is(pg_temp.answer_as(:'acme', :'ann', 'SELECT access.can('''')'), 'false', 'can: empty');
SELECT is(pg_temp.answer_as(:'acme', :'ann', 'SELECT access.can(repeat(''x'', 100000))'), 'false', 'can: huge');
SELECT is(pg_temp.answer_as(:'acme', :'ann', 'SELECT access.can(''shop.*'')'), 'false', 'can: a wildcard is no permission');
SELECT is(pg_temp.answer_as(:'acme', :'ann', 'SELECT access.can(''SHOP.SELL'')'), 'false', 'can: capitals count');
SELECT is(pg_temp.code_as(:'acme', :'ann', 'SELECT access.require(''shop.fly'')'), '22023 unknown_permission', 'require: unknown');
SELECT is(pg_temp.code_of('SELECT access.require(repeat(''x'', 100000))'), '22023 unknown_permission', 'require: huge');
CREATE FUNCTION pg_temp.message_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLERRM;
END $$;
SELECT lives_ok($$SELECT convert_from(convert_to(pg_temp.message_of('SELECT access.require(''x'' || repeat(''é'', 50))'), 'UTF8'), 'UTF8')$$, 'require: cut between characters');
SELECT is(pg_temp.answer_as(:'acme', :'ann', 'SELECT access.can(NULL)'), 'NULL', 'can(NULL) is NULL');
SELECT is(pg_temp.code_as(:'acme', :'ann', 'SELECT access.require(NULL)'), '22023 missing_argument', 'require(NULL) raises');
SELECT is(pg_temp.code_of('SELECT access.define_permission(''a.b'', ''c'')'), '42501 ', 'services define no permissions');
SELECT is(pg_temp.code_of('SELECT access.define_permission(''nodot'', ''c'')', 'backoffice_admin'), '22023 bad_permission_name', 'permission without context');
SELECT is(pg_temp.code_of('SELECT access.define_permission(''a.*'', ''c'')', 'backoffice_admin'), '22023 bad_permission_name', 'permission with wildcard');
SELECT is(pg_temp.code_of('SELECT access.define_permission(''a..b'', ''c'')', 'backoffice_admin'), '22023 bad_permission_name', 'permission with an empty part');
SELECT is(pg_temp.code_of('SELECT access.define_permission(''a.b.'', ''c'')', 'backoffice_admin'), '22023 bad_permission_name', 'permission ending in a dot');
SELECT is(pg_temp.code_of('SELECT access.define_permission(''a.'' || repeat(''b'', 62), ''c'')', 'backoffice_admin'), '22023 bad_permission_name', 'permission of 64 bytes');
SELECT is(pg_temp.code_of('SELECT access.define_permission(''a.'' || repeat(''b'', 61), ''c'')', 'backoffice_admin'), 'ok', 'permission of 63 bytes');
SELECT is(pg_temp.code_of('SELECT access.define_permission(NULL, ''c'')', 'backoffice_admin'), '22023 missing_argument', 'permission NULL');
SELECT is(pg_temp.code_of('SELECT access.define_permission(''a.b'', NULL)', 'backoffice_admin'), '22023 missing_argument', 'description NULL');
SELECT lives_ok($$SELECT access.define_permission('shop.sell', 'sell things')$$, 'a description can be changed');
SELECT is((SELECT description FROM access.permissions WHERE name = 'shop.sell'), 'sell things', 'and is');
SELECT is((SELECT array_agg(bit ORDER BY bit) FROM access.permissions WHERE name LIKE 'shop.%'), ARRAY[512, 513], 'own permissions begin at bit 512');
SELECT is(pg_temp.code_of('SELECT access.define_permission(''many.p'' || g, ''x'') FROM generate_series(1, 520) g', 'backoffice_admin'), '54000 too_many_permissions', 'there is a limit');

-- ---- roles ----
SELECT is(pg_temp.code_as(:'acme', NULL, $$SELECT access.define_role('clerk', ARRAY['shop.sell'])$$), 'ok', 'define_role');
SELECT is(pg_temp.code_as(:'acme', NULL, $$SELECT access.define_role('clerk', ARRAY['shop.fly'])$$), '22023 unknown_permission', 'role with an unknown permission');
SELECT is(pg_temp.code_as(:'acme', NULL, $$SELECT access.define_role('clerk', ARRAY['sky.*'])$$), '22023 unknown_permission', 'role with an unknown context');
SELECT is(pg_temp.code_as(:'acme', NULL, $$SELECT access.define_role('clerk', ARRAY['.*'])$$), '22023 unknown_permission', 'role with half a wildcard');
SELECT is(pg_temp.code_as(:'acme', NULL, $$SELECT access.define_role('clerk', ARRAY['*.sell'])$$), '22023 unknown_permission', 'wildcards stand at the end');
SELECT is(pg_temp.code_as(:'acme', NULL, $$SELECT access.define_role('clerk', ARRAY[NULL])$$), '22023 bad_list', 'role with a NULL');
SELECT is(pg_temp.code_as(:'acme', NULL, $$SELECT access.define_role('clerk', ARRAY[['shop.sell'], ['shop.refund']])$$), '22023 bad_list', 'role with a matrix');
SELECT is(pg_temp.code_as(:'acme', NULL, $$SELECT access.define_role('clerk', array_fill('shop.sell'::text, ARRAY[2000]))$$), '22023 bad_list', 'role with too much');
SELECT is(pg_temp.code_as(:'acme', NULL, $$SELECT access.define_role('clerk', NULL)$$), 'ok', 'role without permissions');
SELECT is(pg_temp.code_as(:'acme', NULL, $$SELECT access.define_role('', ARRAY['shop.sell'])$$), '22023 bad_role_name', 'role without name');
SELECT is(pg_temp.code_as(:'acme', NULL, $$SELECT access.define_role(NULL, ARRAY['shop.sell'])$$), '22023 missing_argument', 'role NULL');
SELECT is(pg_temp.code_as(:'acme', NULL, $$SELECT access.define_role('Cl erk', ARRAY['shop.sell'])$$), '22023 bad_role_name', 'role with a space');
SELECT is(pg_temp.code_as(:'acme', NULL, $$SELECT access.define_role(repeat('r', 64), ARRAY['shop.sell'])$$), '22023 bad_role_name', 'role with a long name');
SELECT is(pg_temp.code_as(:'acme', NULL, $$SELECT access.define_role('clerk', '{}', ARRAY['ghost'])$$), 'PT404 unknown_role', 'role inheriting nothing known');
SELECT is(pg_temp.code_as(:'acme', NULL, $$SELECT access.define_role('r1', '{}'), access.define_role('r2', '{}', '{r1}'), access.define_role('r1', '{}', '{r2}')$$), 'PT409 role_cycle', 'a circle of roles');
SELECT is(pg_temp.code_as(:'acme', NULL, $$SELECT access.define_role('r1', '{}'), access.define_role('r1', '{}', '{r1}')$$), 'PT409 role_cycle', 'a role inheriting itself');
SELECT is(pg_temp.code_of($$SELECT access.define_role('clerk', '{}')$$), 'PT401 no_principal', 'nobody defines roles');
SELECT is(pg_temp.code_as(:'acme', NULL, format($$SELECT access.define_role('clerk', '{}', '{}', %L)$$, :'bolt')), '42501 other_organization', 'for another organization');
SELECT is(pg_temp.code_of(format($$SELECT access.define_role('clerk', '{}', '{}', %L)$$, :'nobody')), 'PT404 unknown_organization', 'for an unknown organization');
SELECT is(pg_temp.code_as(:'acme', :'bob', $$SELECT access.define_role('clerk', '{}')$$), '42501 permission_denied', 'without access.manage_roles');

-- an administrator's role may name permissions that are new; a tenant's never
SELECT access.define_role('pilot', ARRAY['sky.fly', 'shop.sell'], '{}', :'acme');
SELECT is((SELECT array_agg(name) FROM access.permissions WHERE name LIKE 'sky.%'), '{sky.fly}', 'a superuser''s role defines what it names');
SELECT access.grant_role(:'bob', 'pilot', NULL, :'acme');
SELECT is(pg_temp.answer_as(:'acme', :'bob', 'SELECT access.can(''sky.fly'')'), 'true', 'and gives it');
SELECT access.revoke_role(:'bob', 'pilot', :'acme');
SELECT is(pg_temp.code_of(format($$SELECT access.define_role('pilot', ARRAY['sky.*', 'Sky.Fall'], '{}', %L)$$, :'acme'), 'postgres'), '22023 unknown_permission', 'what cannot be a name is an error all the same');
SELECT is(pg_temp.code_of(format($$SELECT access.act_as(%L, %L); SELECT access.define_role('pilot', ARRAY['sky.dive'], '{}')$$, :'acme', :'ann'), 'postgres'), '22023 unknown_permission', 'not for a user');
SELECT is(pg_temp.code_of(format($$SELECT access.act_as(%L); SELECT access.define_role('pilot', ARRAY['sky.dive'], '{}')$$, :'acme')), '22023 unknown_permission', 'nor for a service');

SELECT access.define_role('boss', ARRAY['shop.*'], '{administrator}', :'acme');
SELECT access.define_role('seller', ARRAY['shop.sell'], '{}', :'acme');
SELECT access.grant_role(:'bob', 'administrator', NULL, :'acme');
SELECT is(pg_temp.code_as(:'acme', :'bob', $$SELECT access.define_role('mine', '{*}')$$), '42501 beyond_own_rights', 'an administrator cannot make himself an owner');
SELECT is(pg_temp.code_as(:'acme', :'bob', $$SELECT access.define_role('mine', '{}', '{boss}')$$), '42501 beyond_own_rights', 'not by inheritance either');
SELECT is(pg_temp.code_as(:'acme', :'bob', $$SELECT access.define_role('owner', '{access.read}')$$), '42501 beyond_own_rights', 'nor weaken a stronger role');
SELECT is(pg_temp.code_as(:'acme', :'bob', format($$SELECT access.grant_role(%L, 'owner')$$, :'bob')), '42501 beyond_own_rights', 'nor grant it');
SELECT is(pg_temp.code_as(:'acme', :'bob', format($$SELECT access.revoke_role(%L, 'owner')$$, :'ann')), '42501 beyond_own_rights', 'nor revoke it');
SELECT is(pg_temp.code_as(:'acme', :'bob', format($$SELECT access.remove_member(%L, %L)$$, :'acme', :'ann')), '42501 beyond_own_rights', 'nor remove an owner');
SELECT is(pg_temp.code_as(:'acme', :'bob', $$SELECT access.define_role('mine', '{access.read}')$$), 'ok', 'what he has he can hand out');

-- an organization keeps an owner
SELECT is(pg_temp.code_as(:'acme', :'ann', $$SELECT access.define_role('owner', '{access.*}')$$), 'PT409 owner_role', 'an owner cannot weaken the role of owners');
SELECT is(pg_temp.code_as(:'acme', :'ann', format($$SELECT access.revoke_role(%L, 'owner')$$, :'ann')), 'PT409 last_owner', 'nor give it up as the last one');
SELECT is(pg_temp.code_as(:'acme', :'ann', format($$SELECT access.grant_role(%L, 'owner', 'infinity'::timestamptz - '1 day'::interval)$$, :'ann')), 'PT409 last_owner', 'nor let it run out');
SELECT is(pg_temp.code_as(:'acme', :'ann', format($$SELECT access.remove_member(%L, %L)$$, :'acme', :'ann')), 'PT409 last_owner', 'nor leave');
SELECT is(pg_temp.code_as(:'acme', :'ann', format($$SELECT access.grant_role(%L, 'owner', '2100-01-01')$$, :'bob')), 'ok', 'another owner for a while');
SELECT is(pg_temp.code_as(:'acme', :'ann', format($$SELECT access.revoke_role(%L, 'owner')$$, :'ann')), 'PT409 last_owner', 'is not enough');
SELECT is(pg_temp.code_as(:'acme', :'ann', format($$SELECT access.grant_role(%1$L, 'owner'), access.revoke_role(%1$L, 'owner')$$, :'bob')), 'ok', 'one of two can be let go');
SELECT is(pg_temp.code_of(format($$SELECT access.revoke_role(%1$L, 'owner', %2$L); SELECT access.grant_role(%1$L, 'owner', NULL, %2$L)$$, :'ann', :'acme')), 'ok', 'a service is not held up');

SELECT is(pg_temp.code_of($$SELECT access.define_default_role('owner', '{}')$$, 'backoffice_admin'), 'PT409 built_in_role', 'the default roles of the extension stay');
SELECT is(pg_temp.code_of($$SELECT access.define_default_role('guest', '{access.read}'), access.define_default_role('guest', '{}')$$, 'backoffice_admin'), 'ok', 'others come and change');
SELECT is(pg_temp.code_of($$SELECT access.define_default_role('guest', '{sky.read}')$$, 'backoffice_admin'), '22023 unknown_permission', 'a default role with an unknown permission');

-- ---- grants ----
SELECT is(pg_temp.code_as(:'acme', NULL, format($$SELECT access.grant_role(%L, 'ghost')$$, :'bob')), 'PT404 unknown_role', 'grant: unknown role');
SELECT is(pg_temp.code_as(:'acme', NULL, format($$SELECT access.grant_role(%L, 'seller')$$, :'nobody')), 'PT404 unknown_user', 'grant: unknown user');
SELECT is(pg_temp.code_as(:'acme', NULL, format($$SELECT access.grant_role(%L, 'seller')$$, :'eve')), 'PT404 unknown_user', 'grant: another organization''s user looks the same');
SELECT is(pg_temp.code_as(:'bolt', NULL, format($$SELECT access.grant_role(%L, 'seller')$$, :'eve')), 'PT404 unknown_role', 'grant: another organization''s role');
SELECT is(pg_temp.code_as(:'acme', NULL, format($$SELECT access.grant_role(%L, 'seller', now() - interval '1 s')$$, :'bob')), '22023 bad_valid_until', 'grant: in the past');
SELECT is(pg_temp.code_as(:'acme', NULL, $$SELECT access.grant_role(NULL, 'seller')$$), '22023 missing_argument', 'grant: NULL');
SELECT is(pg_temp.answer_as(:'acme', NULL, format($$SELECT access.revoke_role(%L, 'seller')$$, :'bob')), 'false', 'revoking what nobody has');
SELECT is(pg_temp.code_as(:'acme', NULL, format($$SELECT access.grant_role(%L, 'seller'); SELECT 1/count(*) FROM access.members WHERE email = 'new@nowhere.test' AND roles = '{seller}'$$, :'newcomer')), 'ok', 'a newcomer becomes a member by a grant');

SELECT is(pg_temp.code_as(:'acme', :'ann', format($$SELECT access.grant_role(%L, 'seller')$$, :'newcomer')), 'PT404 unknown_user', 'when a service grants it, not when a user does');
SELECT is(pg_temp.code_as(:'acme', :'ann', format($$SELECT access.add_member(%L, %L), access.grant_role(%L, 'seller')$$, :'acme', :'newcomer', :'newcomer')), 'ok', 'who adds it first');

-- ---- organizations, users, members ----
SELECT is(pg_temp.code_of($$SELECT access.create_organization('  ')$$), '22023 bad_organization_name', 'organization with a blank name');
SELECT is(pg_temp.code_of($$SELECT access.create_organization(repeat('ä', 101))$$), '22023 bad_organization_name', 'organization with a long name');
SELECT is(pg_temp.code_of($$SELECT access.create_organization(NULL)$$), '22023 missing_argument', 'organization NULL');
SELECT is(pg_temp.code_as(:'acme', :'ann', $$SELECT access.create_organization('x')$$), '42501 service_only', 'users make no organizations');
SELECT is((SELECT string_agg(pg_temp.code_of(format('SELECT access.create_user(%L)', e)), ',')
           FROM unnest(ARRAY['', 'a', '@', 'a@', '@b', 'a@b@c', 'a b@c', E'a\n@c', repeat('a', 251) || '@b.c', 'a@' || repeat('b', 1000000)]) e),
          (SELECT string_agg('22023 bad_email', ',') FROM generate_series(1, 10)), 'what is no e-mail address');
SELECT is(pg_temp.code_of($$SELECT access.create_user('ANN@acme.test')$$), 'PT409 email_taken', 'an address is taken in any case');
SELECT is(pg_temp.code_of($$SELECT access.create_user('zoe@acme.test', 'short')$$), '22023 password_too_short', 'a short password');
SELECT is(pg_temp.code_of($$SELECT access.create_user('zoe@acme.test', repeat('x', 2000))$$), '22023 password_too_long', 'a long password');
SELECT is(pg_temp.code_as(:'acme', :'bob', $$SELECT access.create_user('zoe@acme.test')$$), 'ok', 'an administrator makes users');
SELECT is(pg_temp.code_as(:'acme', :'bob', format($$SELECT access.add_member(%L, %L)$$, :'acme', :'eve')), 'PT404 unknown_user', 'but does not take in strangers');
SELECT is(pg_temp.code_as(:'acme', NULL, format($$SELECT access.add_member(%L, %L)$$, :'acme', :'eve')), 'ok', 'a service does');
SELECT is(pg_temp.code_of(format($$SELECT access.set_user_state(%L, 'asleep')$$, :'ann')), '22023 bad_state', 'a state that is none');
SELECT is(pg_temp.code_of(format($$SELECT access.set_user_state(%L, 'disabled')$$, :'nobody')), 'PT404 unknown_user', 'the state of nobody');

SELECT is(pg_temp.answer_as(:'acme', :'bob', 'SELECT count(*) FROM access.members'), '2', 'who has access.read sees members');
SELECT access.revoke_role(:'bob', 'administrator', :'acme');
SELECT is(pg_temp.answer_as(:'acme', :'bob', 'SELECT count(*) FROM access.members'), '0', 'who has not sees none');
SELECT is(pg_temp.code_of('SELECT * FROM access.users', 'backoffice_user'), '42501 ', 'tenants'' users read no tables');

SELECT * FROM finish();
ROLLBACK;
