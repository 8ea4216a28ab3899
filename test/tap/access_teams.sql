-- Teams, permissions that reach only so far, and platform administrators.
SELECT plan(93);

CREATE FUNCTION pg_temp.code_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE state text; code text;
BEGIN
    PERFORM set_config('role', 'backoffice_service', true);
    EXECUTE statement;
    PERFORM set_config('role', 'none', true);
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, code = CONSTRAINT_NAME;
    RETURN state || ' ' || code;
END $$;
-- A statement's value as a user of an organization, in a transaction of its own.
CREATE FUNCTION pg_temp.as_user(organization uuid, acting uuid, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE value text; state text; code text;
BEGIN
    PERFORM set_config('role', 'backoffice_service', true);
    PERFORM access.act_as(organization, acting);
    EXECUTE statement INTO value;
    PERFORM set_config('role', 'none', true);
    RETURN value;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, code = CONSTRAINT_NAME;
    RETURN state || ' ' || code;
END $$;

SELECT access.define_permission('deals.read', 'see deals');
SELECT access.define_permission('deals.read:team', 'see deals of one''s teams');
SELECT access.define_permission('deals.read:own', 'see one''s own deals');
SELECT access.define_permission('deals.close:own', 'close one''s own deals');
SELECT access.create_organization('Acme') AS acme \gset
SELECT access.create_organization('Bolt') AS bolt \gset
SELECT access.create_user('ann@acme.test', NULL, :'acme') AS ann \gset
SELECT access.create_user('bob@acme.test', NULL, :'acme') AS bob \gset
SELECT access.create_user('cat@acme.test', NULL, :'acme') AS cat \gset
SELECT access.create_user('dan@acme.test', NULL, :'acme') AS dan \gset
SELECT access.create_user('eve@bolt.test', NULL, :'bolt') AS eve \gset
SELECT access.grant_role(:'ann', 'owner', NULL, :'acme') \gset ignored_
SELECT access.grant_role(:'eve', 'owner', NULL, :'bolt') \gset ignored_

-- ---- teams ----
SELECT pg_temp.as_user(:'acme', :'ann', 'SELECT access.create_team(''North'')') AS north \gset
SELECT access.create_team('South', :'acme') AS south \gset
SELECT access.create_team('North', :'bolt') AS abroad \gset
SELECT is(pg_temp.as_user(:'acme', :'ann', 'SELECT access.create_team(''NORTH'')'), 'PT409 team_name_taken', 'a name is used once');
SELECT is(pg_temp.as_user(:'acme', :'ann', 'SELECT access.create_team('' '')'), '22023 bad_team_name', 'and not blank');
SELECT is(pg_temp.as_user(:'acme', :'bob', 'SELECT access.create_team(''x'')'), '42501 permission_denied', 'not by everybody');
SELECT is(pg_temp.code_of('SELECT access.create_team(''x'')'), 'PT401 no_principal', 'nor by nobody');
SELECT is(pg_temp.as_user(:'acme', :'ann', format('SELECT access.add_team_member(%L, %L)', :'north', :'bob')), '', 'a member comes in');
SELECT is(pg_temp.as_user(:'acme', :'ann', format('SELECT access.add_team_member(%L, %L)', :'north', :'bob')), '', 'twice is once');
SELECT access.add_team_member(:'north', :'cat', :'acme'), access.add_team_member(:'south', :'cat', :'acme'), access.add_team_member(:'south', :'dan', :'acme') \gset ignored_
SELECT is(pg_temp.as_user(:'acme', :'ann', format('SELECT access.add_team_member(%L, %L)', :'north', :'eve')), 'PT404 unknown_user', 'no stranger');
SELECT is(pg_temp.as_user(:'acme', :'ann', format('SELECT access.add_team_member(%L, %L)', :'abroad', :'bob')), 'PT404 unknown_team', 'no team of others');
SELECT is(pg_temp.as_user(:'acme', :'bob', format('SELECT access.add_team_member(%L, %L)', :'south', :'bob')), '42501 permission_denied', 'nobody puts himself in');
SELECT is(pg_temp.as_user(:'acme', :'ann', 'SELECT string_agg(name, '' '' ORDER BY name) FROM access.teams'), 'North South', 'one sees one''s organization''s');
SELECT is(pg_temp.as_user(:'acme', :'cat', 'SELECT access.team_ids() @> ARRAY[''' || :'north' || ''', ''' || :'south' || ''']::uuid[] AND array_length(access.team_ids(), 1) = 2'), 'true', 'and knows one''s own');
SELECT is(pg_temp.as_user(:'acme', NULL, 'SELECT access.team_ids()'), '{}', 'a service is in none');
SELECT is((SELECT access.team_ids()), '{}', 'nor is nobody');
SELECT is(pg_temp.as_user(:'acme', :'ann', format('SELECT access.rename_team(%L, ''Southeast'')', :'south')), '', 'renamed');
SELECT is(pg_temp.as_user(:'acme', :'ann', format('SELECT access.rename_team(%L, ''north'')', :'south')), 'PT409 team_name_taken', 'not to another''s name');
SELECT is(pg_temp.as_user(:'acme', :'ann', format('SELECT access.rename_team(%L, ''x'')', :'abroad')), 'PT404 unknown_team', 'nor abroad');
SELECT is(pg_temp.code_of(format('SELECT access.add_team_member(access.create_team(''many '' || n, %1$L), %2$L, %1$L) FROM generate_series(1, 32) n', :'acme', :'ann')), 'ok', 'in 32 teams');
SELECT is(pg_temp.code_of(format('SELECT access.add_team_member(%L, %L, %L)', :'north', :'ann', :'acme')), 'PT409 too_many_teams', 'and no more');

-- ---- how far a permission reaches ----
SELECT access.define_role('all', '{deals.read}', '{}', :'acme'), access.define_role('team', '{deals.read:team}', '{}', :'acme'),
       access.define_role('own', '{deals.read:own}', '{}', :'acme'), access.define_role('ownwild', '{deals.*:own}', '{}', :'acme') \gset ignored_
CREATE FUNCTION pg_temp.holds(role text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE acme uuid := (SELECT id FROM access.organizations WHERE name = 'Acme'); dan uuid := (SELECT id FROM access.users WHERE email = 'dan@acme.test'); answer text;
BEGIN
    PERFORM access.grant_role(dan, role, NULL, acme);
    answer := pg_temp.as_user(acme, dan, $q$ SELECT concat_ws(' ', access.can('deals.read'), access.can('deals.read:team'), access.can('deals.read:own'), access.can('deals.close:own'), coalesce(access.scope('deals.read'), '-')) $q$);
    PERFORM set_config('role', 'none', true);
    RETURN answer;
END $$;
BEGIN; SELECT is(pg_temp.holds('all'), 't t t f all', 'the permission holds its narrower ones'); ROLLBACK;
BEGIN; SELECT is(pg_temp.holds('team'), 'f t t f team', 'the team''s holds one''s own'); ROLLBACK;
BEGIN; SELECT is(pg_temp.holds('own'), 'f f t f own', 'one''s own is the least'); ROLLBACK;
BEGIN; SELECT is(pg_temp.holds('ownwild'), 'f f t t own', 'a wildcard with scope'); ROLLBACK;
BEGIN; SELECT is(pg_temp.holds('owner'), 't t t t all', 'and without'); ROLLBACK;
BEGIN; SELECT is(pg_temp.holds('member'), 'f f f f -', 'none'); ROLLBACK;
SELECT is(access.permission_matches(name, pattern), fits, format('%s for %s', pattern, name))
FROM (VALUES ('a.b', 'a.b:own', false), ('a.b:own', 'a.b', true), ('a.b:team', 'a.b:own', false), ('a.b:own', 'a.b:team', true), ('a.b:own', 'a.*', true), ('a.b', 'a.*:own', false),
             ('a.b:own', 'a.*:team', true), ('a.b:own', '*', true), ('a.b', '*:own', false), ('ab.c:own', 'a.*:own', false), ('a.b:own', 'a.c', false), ('a.b:x', 'a.b', false)) AS v (name, pattern, fits);
SELECT throws_ok(format('SELECT access.define_permission(%L, ''x'')', name), '22023', NULL, 'no name: ' || name)
FROM unnest(ARRAY[':own', 'a:own', 'a.b:', 'a.b:all', 'a.b:own:own', 'a.:own', 'a.b:OWN']) AS name;

-- Nobody hands out more than he has.
SELECT access.define_role('lead', '{deals.read:team, access.manage_roles}', '{}', :'acme') \gset ignored_
SELECT access.grant_role(:'bob', 'lead', NULL, :'acme') \gset ignored_
SELECT is(pg_temp.as_user(:'acme', :'bob', format('SELECT access.grant_role(%L, ''own'')', :'cat')), '', 'the narrower');
SELECT is(pg_temp.as_user(:'acme', :'bob', format('SELECT access.grant_role(%L, ''team'')', :'cat')), '', 'the same');
SELECT is(pg_temp.as_user(:'acme', :'bob', format('SELECT access.grant_role(%L, ''all'')', :'cat')), '42501 beyond_own_rights', 'not the wider');
SELECT access.revoke_role(:'cat', 'own', :'acme'), access.revoke_role(:'cat', 'team', :'acme') \gset ignored_

-- ---- per row, by function and by sets ----
CREATE TABLE deals (id int PRIMARY KEY, organization_id uuid NOT NULL, owner_id uuid, team_id uuid);
INSERT INTO deals VALUES (1, :'acme', :'bob', NULL), (2, :'acme', :'cat', :'north'), (3, :'acme', :'dan', :'south'), (4, :'acme', NULL, :'south'), (5, :'acme', NULL, NULL), (6, :'bolt', :'eve', :'abroad'), (7, :'acme', :'bob', :'south');
ALTER TABLE deals ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON deals USING (backoffice.of_current_organization(organization_id));
CREATE POLICY reach ON deals AS RESTRICTIVE USING (access.may_see('deals.read', owner_id, team_id));
GRANT SELECT ON deals TO backoffice_service;
CREATE FUNCTION pg_temp.sees(role text, who text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE acme uuid := (SELECT id FROM access.organizations WHERE name = 'Acme'); acting uuid := (SELECT id FROM access.users WHERE email = who || '@acme.test'); answer text;
BEGIN
    PERFORM access.grant_role(acting, role, NULL, acme);
    answer := pg_temp.as_user(acme, acting, $q$ SELECT coalesce(string_agg(id::text, ' ' ORDER BY id), '') || ' = ' ||
        (SELECT coalesce(string_agg(id::text, ' ' ORDER BY id), '') FROM deals WHERE access.can('deals.read') OR team_id = ANY (access.teams_for('deals.read')) OR owner_id = access.owner_for('deals.read')) FROM deals $q$);
    PERFORM set_config('role', 'none', true);
    RETURN answer;
END $$;
BEGIN; SELECT is(pg_temp.sees('all', 'cat'), '1 2 3 4 5 7 = 1 2 3 4 5 7', 'all of the organization''s'); ROLLBACK;
BEGIN; SELECT is(pg_temp.sees('team', 'cat'), '2 3 4 7 = 2 3 4 7', 'of the teams one is in'); ROLLBACK;
BEGIN; SELECT is(pg_temp.sees('team', 'bob'), '1 2 7 = 1 2 7', 'and one''s own, in whatever team'); ROLLBACK;
BEGIN; SELECT is(pg_temp.sees('own', 'cat'), '2 = 2', 'one''s own'); ROLLBACK;
BEGIN; SELECT is(pg_temp.sees('member', 'cat'), ' = ', 'none'); ROLLBACK;
SELECT is(pg_temp.as_user(:'acme', NULL, 'SELECT count(*) FROM deals'), '6', 'a service sees all of its organization''s');
SELECT is(pg_temp.as_user(:'bolt', :'eve', 'SELECT string_agg(id::text, '' '') FROM deals'), '6', 'others theirs');
SELECT is(access.may_see('deals.read', :'bob', :'north'), false, 'nobody sees nothing');
SELECT is(access.may_see(NULL, :'bob', :'north'), false, 'no permission is none');
SELECT is(pg_temp.as_user(:'acme', :'ann', format('SELECT access.may_see(''nothing.such'', %L)', :'ann')), 'false', 'what nobody defined nobody has');
SELECT is(pg_temp.as_user(:'acme', NULL, 'SELECT access.may_see(''nothing.such'', NULL)'), 'false', 'nor has a service');
SELECT is(pg_temp.as_user(:'acme', :'ann', format('SELECT access.may_see(repeat(''x'', 100), %L)', :'ann')), 'false', 'a long name');
-- In parallel workers too.
BEGIN;
SELECT access.grant_role(:'cat', 'team', NULL, :'acme') \gset ignored_
SET LOCAL force_parallel_mode = on; SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0; SET LOCAL min_parallel_table_scan_size = 0;
SELECT is(pg_temp.as_user(:'acme', :'cat', 'SELECT count(*) FROM deals'), '4', 'parallel workers know the teams');
ROLLBACK;

-- ---- revocation ----
SELECT access.grant_role(:'cat', 'team', NULL, :'acme') \gset ignored_
SELECT is(pg_temp.as_user(:'acme', :'cat', 'SELECT count(*) FROM deals'), '4', 'in two teams');
SELECT is(pg_temp.as_user(:'acme', :'ann', format('SELECT access.remove_team_member(%L, %L)', :'south', :'cat')), 'true', 'out of one');
SELECT is(pg_temp.as_user(:'acme', :'ann', format('SELECT access.remove_team_member(%L, %L)', :'south', :'cat')), 'false', 'once');
SELECT is(pg_temp.as_user(:'acme', :'cat', 'SELECT count(*) FROM deals'), '1', 'the next transaction knows');
SELECT is(pg_temp.as_user(:'acme', :'ann', format('SELECT access.delete_team(%L)', :'north')), 'true', 'a team goes');
SELECT is(pg_temp.as_user(:'acme', :'cat', 'SELECT access.team_ids()'), '{}', 'and its members know');
SELECT is(pg_temp.as_user(:'acme', :'ann', format('SELECT access.delete_team(%L)', :'abroad')), 'false', 'not abroad');
SELECT access.remove_member(:'acme', :'dan') \gset ignored_
SELECT is((SELECT count(*) FROM access.team_members WHERE user_id = :'dan'), 0::bigint, 'who leaves the organization leaves its teams');

-- ---- platform administrators ----
SELECT access.create_user('root@platform.test', 'correct horse') AS root \gset
SELECT access.create_user('none@platform.test', 'correct horse') AS none \gset
CREATE FUNCTION pg_temp.as_login(email text, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE value text; state text; code text;
BEGIN
    PERFORM access.authenticate(access.login(email, 'correct horse')->>'access_token');
    PERFORM set_config('role', 'backoffice_service', true);
    EXECUTE statement INTO value;
    PERFORM set_config('role', 'none', true);
    RETURN value;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, code = CONSTRAINT_NAME;
    RETURN state || ' ' || code;
END $$;
SELECT is(pg_temp.code_of(format('SELECT access.grant_platform_administrator(%L)', :'ann')), 'PT409 is_a_member', 'who belongs to an organization is none');
SELECT is(pg_temp.code_of(format('SELECT access.grant_platform_administrator(%L)', backoffice.uuid7())), 'PT404 unknown_user', 'nor is nobody');
SELECT is(pg_temp.as_login('none@platform.test', 'SELECT access.create_organization(''Mine'')'), '42501 service_only', 'a user without organization may make none');
SELECT is(pg_temp.code_of(format('SELECT access.grant_platform_administrator(%L)', :'root')), 'ok', 'granted');
SELECT pg_temp.as_login('root@platform.test', format('SELECT access.create_organization(''Corp'', %L)', :'none')) AS corp \gset
SELECT is((SELECT name FROM access.organizations WHERE id::text = :'corp'), 'Corp', 'creates organizations');
SELECT is((SELECT role FROM access.role_grants WHERE user_id = :'none'), 'owner', 'for others');
SELECT is(pg_temp.as_login('root@platform.test', format('SELECT access.create_organization(''Own'', %L)', :'root')), 'PT409 platform_administrator', 'not for itself');
SELECT is(pg_temp.code_of(format('SELECT access.add_member(%L, %L)', :'acme', :'root')), 'PT409 platform_administrator', 'nor becomes a member');
SELECT is(pg_temp.as_login('root@platform.test', format('SELECT access.set_organization_state(%L, ''suspended'')', :'corp')), '', 'suspends them');
SELECT is(pg_temp.as_login('none@platform.test', 'SELECT access.organization_id()'), '42501 organization_suspended', 'then nobody acts for it');
SELECT is(pg_temp.as_login('root@platform.test', format('SELECT access.set_organization_state(%L, ''active'')', :'corp')), '', 'and takes them back');
SELECT is(pg_temp.as_login('none@platform.test', 'SELECT access.organization_id()'), :'corp', 'to work');
SELECT is(pg_temp.as_login('root@platform.test', 'SELECT string_agg(name, '' '' ORDER BY name) FROM access.list_organizations()'), 'Acme Bolt Corp', 'sees which there are');
SELECT is(pg_temp.as_login('none@platform.test', 'SELECT count(*) FROM access.list_organizations()'), '0', 'others do not');
SELECT is(pg_temp.as_login('root@platform.test', 'SELECT concat_ws('' '', (SELECT count(*) FROM deals), (SELECT count(*) FROM access.members), (SELECT count(*) FROM access.memberships), (SELECT count(*) FROM access.organizations), (SELECT count(*) FROM access.users), (SELECT count(*) FROM access.roles), (SELECT count(*) FROM access.teams), (SELECT count(*) FROM certificates.pools))'), '0 0 0 0 0 0 0 0', 'but nothing of a tenant');
SELECT is(pg_temp.as_login('root@platform.test', 'SELECT count(*) FROM access.permissions WHERE access.can(name)'), '0', 'and has no permission');
SELECT is(pg_temp.as_login('root@platform.test', format('SELECT access.create_user(''spy@acme.test'', NULL, %L)', :'acme')), '42501 permission_denied', 'puts nobody in');
SELECT is(pg_temp.code_of(format('SELECT access.authenticate(access.login(''root@platform.test'', ''correct horse'')->>''access_token'', %L)', :'acme')), '42501 not_a_member', 'nor acts for one');
SELECT is(pg_temp.as_login('root@platform.test', 'SELECT access.me()->>''platform_administrator'''), 'true', 'me');
SELECT is(pg_temp.as_login('root@platform.test', format('SELECT access.grant_platform_administrator(%L)', :'root')), '42501 service_only', 'makes no others');
SELECT is(access.revoke_platform_administrator(:'root'), true, 'revoked');
SELECT is(pg_temp.as_login('root@platform.test', 'SELECT access.create_organization(''Late'')'), '42501 service_only', 'with the next transaction');

-- ---- what is told ----
SELECT is((SELECT array_agg(DISTINCT type ORDER BY type) FROM events.log l JOIN events.topics t ON t.id = l.topic_id WHERE t.name = 'access.teams'),
    ARRAY['team.created', 'team.deleted', 'team.member.added', 'team.member.removed', 'team.updated'], 'teams'' events');
SELECT is((SELECT count(*) FROM events.log l JOIN events.topics t ON t.id = l.topic_id WHERE t.name = 'access.teams'),
    (SELECT count(*) FROM events.log l JOIN events.topics t ON t.id = l.topic_id WHERE t.name = 'access.audit' AND l.type LIKE 'team.%'), 'each is audited too');
SELECT is((SELECT payload - 'teamId' FROM events.log l JOIN events.topics t ON t.id = l.topic_id WHERE t.name = 'access.teams' ORDER BY l.seq LIMIT 1), jsonb_build_object('name', 'North', 'by', :'ann'), 'with who did it');
SELECT is((SELECT array_agg(type ORDER BY seq) FROM events.log WHERE type LIKE 'platform%'), ARRAY['platform_administrator.granted', 'platform_administrator.revoked'], 'so is who looks after organizations');
SELECT * FROM finish();
