-- Every function of the schema api states its permission in its comment, and behaves so: all functions, all kinds of callers.
BEGIN;
SELECT no_plan();

CREATE TEMP TABLE functions AS
SELECT p.oid, p.proname AS name, p.oid::regprocedure::text AS signature,
       substring(obj_description(p.oid, 'pg_proc') FROM 'Permission: ([a-z_]+\.[a-z_]+|anonymous|any user|platform administrator)\.') AS permission,
       substring(obj_description(p.oid, 'pg_proc') FROM 'Route: ([^.]+)\.') AS route,
       format('SELECT api.%I(%s)', p.proname, (SELECT string_agg('NULL::' || format_type(t, NULL), ', ' ORDER BY n) FROM unnest(p.proargtypes) WITH ORDINALITY a (t, n))) AS call,
       p.provolatile = 'v' AS writes, p.prorettype::regtype::text AS result
FROM pg_proc p WHERE p.pronamespace = 'api'::regnamespace;

SELECT is_empty($$ SELECT signature FROM functions WHERE permission IS NULL $$, 'every function states a permission');
SELECT is_empty($$ SELECT signature, permission FROM functions WHERE permission NOT IN ('anonymous', 'any user', 'platform administrator') AND permission NOT IN (SELECT name FROM access.permissions) $$,
    'and one that exists');
SELECT is_empty($$ SELECT signature FROM functions WHERE route IS NULL AND name <> 'pre_request' $$, 'and its route');
SELECT is_empty($$ SELECT name FROM functions GROUP BY name HAVING count(*) > 1 $$, 'no name is used twice: PostgREST would have to guess');
SELECT is_empty($$ SELECT signature, result FROM functions WHERE result <> 'jsonb' AND name <> 'pre_request' $$, 'answers are jsonb');
SELECT is_empty($$ SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = 'api'::regnamespace $$, 'there are no tables and views, which would be routes of PostgREST');

-- What an application may do with certificates by SQL, it may do over HTTP: operations call the function as backoffice_definer.
SELECT is_empty($$ SELECT p.oid::regprocedure FROM pg_proc p
    WHERE p.pronamespace = 'certificates'::regnamespace AND has_function_privilege('backoffice_service', p.oid, 'EXECUTE')
      AND NOT has_function_privilege('backoffice_definer', p.oid, 'EXECUTE')
      AND p.proname <> 'verify_cvc' -- check_certificate() calls find_by_code() $$, 'certificates: what a service may call can be reached by an operation');

-- ---- who is granted EXECUTE ----

SELECT is_empty($$ SELECT f.signature, r.role FROM functions f, unnest(ARRAY['backoffice_anon', 'backoffice_user', 'backoffice_service', 'backoffice_worker', 'backoffice_admin']) AS r (role)
    WHERE has_function_privilege(r.role, f.oid, 'EXECUTE') <> (r.role IN ('backoffice_user', 'backoffice_service') OR r.role = 'backoffice_anon' AND f.permission = 'anonymous') $$,
    'EXECUTE: users and services all, anonymous callers what is anonymous');

-- ---- who gets through ----

CREATE TEMP TABLE callers (kind text, permission text, organization uuid, "user" uuid, role text, token text);
CREATE FUNCTION pg_temp.make_user(kind text, permission text, organization uuid, rights text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    role text := 'r' || md5(kind || coalesce(permission, ''));
    email text := role || '@' || organization || '.test';
    "user" uuid := access.create_user(email, CASE WHEN kind = 'user of another organization' THEN 'correct horse battery' END, organization);
BEGIN
    PERFORM access.define_role(role, rights, '{}', organization);
    PERFORM access.grant_role("user", role, NULL, organization);
    INSERT INTO callers VALUES (kind, permission, organization, "user", 'backoffice_user');
END $$;
CREATE FUNCTION pg_temp.make_key(kind text, permission text, organization uuid, "user" uuid, rights text[]) RETURNS void LANGUAGE sql AS $$
    INSERT INTO callers VALUES (kind, permission, organization, "user", 'backoffice_user',
                                access.create_api_key(kind, rights, organization => make_key.organization, "user" => make_key."user") ->> 'key')
$$;

DO $$
DECLARE
    here uuid := access.create_organization('Here');
BEGIN
    INSERT INTO callers VALUES ('nobody', NULL, NULL, NULL, 'backoffice_anon'), ('nobody, as user', NULL, NULL, NULL, 'backoffice_user'),
                               ('service', NULL, here, NULL, 'backoffice_service');
    PERFORM pg_temp.make_user('user without rights', NULL, here, '{}');
    PERFORM pg_temp.make_user('user with exactly this', p.permission, here, ARRAY[p.permission]),
            pg_temp.make_user('user with all but this', p.permission, here, ARRAY(SELECT name FROM access.permissions WHERE name <> p.permission))
    FROM (SELECT DISTINCT permission FROM functions WHERE permission LIKE '%.%') p;
    -- Belongs nowhere, and so can only come with a token.
    INSERT INTO callers
    SELECT 'platform administrator', NULL, here, u.id, 'backoffice_user', access.login('root@platform.test', 'correct horse battery') ->> 'access_token'
    FROM access.create_user('root@platform.test', 'correct horse battery') AS u (id);
    -- With all rights, but in another organization.
    PERFORM pg_temp.make_user('user of another organization', NULL, access.create_organization('Elsewhere'), ARRAY['*']);
    UPDATE callers c SET organization = here, token = access.login(u.email, 'correct horse battery') ->> 'access_token'
    FROM access.users u WHERE c.kind = 'user of another organization' AND u.id = c."user";
    PERFORM access.define_permission('test.nothing', 'nothing of the api');
    PERFORM pg_temp.make_key('key for something else', NULL, here, NULL, ARRAY['test.nothing']);
    PERFORM pg_temp.make_key('key with exactly this', p.permission, here, NULL, ARRAY[p.permission]),
            pg_temp.make_key('key with all but this', p.permission, here, NULL, ARRAY(SELECT name FROM access.permissions WHERE name <> p.permission)),
            pg_temp.make_key('key with all of a user without rights', p.permission, here, (SELECT c."user" FROM callers c WHERE kind = 'user without rights'), ARRAY['*'])
    FROM (SELECT DISTINCT permission FROM functions WHERE permission LIKE '%.%') p;
END $$;

-- What came of a call: 'passed' is also an error about the arguments, which are all NULL. Undone.
CREATE FUNCTION pg_temp.outcome(f functions, c callers) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    symbol text;
    said text;
BEGIN
    IF c.kind = 'platform administrator' THEN
        PERFORM access.grant_platform_administrator(c."user");
        PERFORM access.authenticate(c.token);
    ELSIF c.token IS NOT NULL THEN
        PERFORM access.authenticate(c.token, c.organization);
    ELSIF c.organization IS NOT NULL THEN
        PERFORM access.act_as(c.organization, c."user");
    END IF;
    PERFORM set_config('role', c.role, true);
    EXECUTE f.call;
    RAISE EXCEPTION USING ERRCODE = 'ZZ000', MESSAGE = 'passed';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS symbol = CONSTRAINT_NAME, said = MESSAGE_TEXT;
    RETURN CASE WHEN symbol IN ('no_principal', 'permission_denied', 'user_only', 'platform_only', 'not_a_member') THEN symbol
                WHEN said LIKE 'permission denied for function %' THEN 'no_execute'
                WHEN SQLSTATE LIKE 'XX%' THEN said
                WHEN said LIKE 'permission denied%' THEN said ELSE 'passed' END;
END $$;

CREATE FUNCTION pg_temp.expected(f functions, c callers) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN c.kind = 'user of another organization' THEN 'not_a_member'
                WHEN f.permission = 'anonymous' THEN 'passed'
                WHEN c.kind = 'nobody' THEN 'no_execute'
                WHEN c.organization IS NULL THEN 'no_principal'
                WHEN f.permission = 'any user' THEN CASE WHEN c."user" IS NULL THEN 'user_only' ELSE 'passed' END
                WHEN f.permission = 'platform administrator' THEN CASE c.kind WHEN 'platform administrator' THEN 'passed' ELSE 'platform_only' END
                WHEN c.kind IN ('service', 'user with exactly this', 'key with exactly this') THEN 'passed'
                ELSE 'permission_denied' END
$$;

-- Where nothing but a permission counts, one user stands for all.
CREATE TEMP TABLE outcomes AS
SELECT f.signature, f.permission, c.kind, pg_temp.outcome(f, c) AS outcome, pg_temp.expected(f, c) AS expected
FROM functions f JOIN callers c ON c.permission IS NULL OR c.permission = f.permission;

SELECT is((SELECT count(*) FROM outcomes), (SELECT count(*) * 7 + 5 * count(*) FILTER (WHERE permission LIKE '%.%') FROM functions), 'all functions, all kinds of callers');
SELECT is_empty($$ SELECT signature, permission, kind, outcome, expected FROM outcomes WHERE outcome <> expected $$, 'every function behaves as its comment says');

SELECT * FROM finish();
ROLLBACK;
