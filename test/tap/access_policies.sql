-- What the catalogue must say of every table, view and function of the extension: tenants cannot see each other,
-- and no code runs as the tables' owner. Exceptions stand here by name, each with its reason.
BEGIN;
SELECT plan(18);

CREATE TEMP VIEW ours AS
SELECT d.classid, d.objid
FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
WHERE e.extname = 'backoffice' AND d.deptype = 'e';

-- Partitions made at run time are no members: found by their schema.
CREATE TEMP VIEW tables AS
SELECT c.oid, c.relname, n.nspname || '.' || c.relname AS name, c.relkind, c.relispartition, c.relrowsecurity, c.relforcerowsecurity, c.relowner, c.relacl,
       EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'organization_id' AND NOT a.attisdropped) AS has_organization
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p')
  AND (n.oid IN (SELECT objid FROM ours WHERE classid = 'pg_namespace'::regclass) OR n.oid = (SELECT extnamespace FROM pg_extension WHERE extname = 'backoffice'));

CREATE TEMP TABLE exceptions (rule text, name text, reason text NOT NULL);
INSERT INTO exceptions VALUES
    ('key', 'events.log', 'the log of the node, in order of seq; read by the kernel, row by row filtered by policy'),
    ('open', 'events.parked_events', 'operators of the platform look after the events of every organization'),
    ('open', 'events.parked_inbound', 'operators of the platform look after what came in for any organization'),
    ('write', 'certificates.import', 'COPY into this view imports codes: an INSTEAD OF trigger, bound like the function');

CREATE FUNCTION pg_temp.excepted(rule text, name text) RETURNS boolean LANGUAGE sql AS
$$ SELECT EXISTS (SELECT FROM exceptions e WHERE e.rule = $1 AND ($2 = e.name OR $2 ~ ('^' || e.name || '_\d+$'))) $$;

CREATE FUNCTION pg_temp.outsiders() RETURNS SETOF oid LANGUAGE sql AS
$$ SELECT oid FROM pg_roles WHERE rolname IN ('backoffice_anon', 'backoffice_user', 'backoffice_service', 'backoffice_worker', 'backoffice_admin')
   UNION ALL SELECT 0 $$;

SELECT cmp_ok((SELECT count(*) FROM tables), '>', 10::bigint, 'there are tables to look at');
SELECT cmp_ok((SELECT count(*) FROM tables WHERE has_organization), '>', 3::bigint, 'and tenant tables among them');

SELECT is_empty($$SELECT name FROM tables WHERE (has_organization OR name IN ('access.organizations', 'access.users')) AND NOT relrowsecurity
                    AND NOT relispartition$$,
                'every tenant table has row-level security');
SELECT is_empty($$SELECT name FROM tables t WHERE has_organization AND NOT relispartition AND NOT EXISTS (
                    SELECT FROM pg_policy p WHERE p.polrelid = t.oid AND p.polpermissive
                      AND pg_get_expr(p.polqual, p.polrelid) = 'backoffice.of_current_organization(organization_id)' )$$,
                'and a policy by the current organization');
SELECT is_empty($$SELECT t.name, p.polname FROM tables t JOIN pg_policy p ON p.polrelid = t.oid
                  WHERE p.polpermissive AND t.has_organization
                    AND NOT (SELECT array_agg(r::regrole::text) FROM unnest(p.polroles) r) <@ '{backoffice_kernel}'
                    AND NOT (pg_temp.excepted('open', t.name) AND p.polcmd = 'r'
                             AND (SELECT array_agg(r::regrole::text) FROM unnest(p.polroles) r) <@ '{backoffice_admin,backoffice_worker}')
                    AND (COALESCE(pg_get_expr(p.polqual, p.polrelid), 'none') NOT IN ('none', 'false', 'backoffice.of_current_organization(organization_id)')
                         OR COALESCE(pg_get_expr(p.polwithcheck, p.polrelid), 'none') NOT IN ('none', 'false', 'backoffice.of_current_organization(organization_id)'))$$,
                'no other policy opens a tenant table, but to the kernel: organization_id passed to that one function, nothing else');
SELECT is_empty($$SELECT t.name, p.polname FROM tables t JOIN pg_policy p ON p.polrelid = t.oid
                  WHERE t.name <> 'access.users' AND (pg_get_expr(p.polqual, p.polrelid) ~* '\mselect\M' OR pg_get_expr(p.polwithcheck, p.polrelid) ~* '\mselect\M')$$,
                'policies have no subqueries (access.users is a directory, never distributed)');
SELECT is_empty($$SELECT name FROM tables WHERE relforcerowsecurity$$, 'FORCE would break moves of shards: nowhere');
SELECT is_empty($$SELECT name, relowner::regrole FROM tables WHERE relowner <> 'backoffice_owner'::regrole$$, 'one role owns all tables');

SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p JOIN ours o ON o.classid = 'pg_proc'::regclass AND o.objid = p.oid
                  WHERE p.prosecdef AND (p.proowner = 'backoffice_owner'::regrole OR (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE oid = p.proowner))$$,
                'no SECURITY DEFINER function runs as the tables'' owner or past row-level security');
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p JOIN ours o ON o.classid = 'pg_proc'::regclass AND o.objid = p.oid
                  WHERE p.proowner = 'backoffice_owner'::regrole$$, 'the owner owns no function at all');
SELECT is_empty($$SELECT r.rolname FROM pg_roles r WHERE r.rolname IN ('backoffice_owner', 'backoffice_definer', 'backoffice_kernel')
                  AND (r.rolsuper OR r.rolbypassrls OR r.rolcanlogin OR EXISTS (SELECT FROM pg_auth_members m WHERE m.roleid = r.oid))$$,
                'the extension''s own roles have no members, no login and no privilege');

SELECT is_empty($$SELECT t.name, a.privilege_type, a.grantee::regrole FROM tables t, aclexplode(t.relacl) a
                  WHERE a.grantee IN (SELECT pg_temp.outsiders()) AND a.privilege_type <> 'SELECT'$$,
                'nobody outside writes a table');
SELECT is_empty($$SELECT t.name, a.grantee::regrole FROM tables t, aclexplode(t.relacl) a
                  WHERE a.grantee IN (SELECT pg_temp.outsiders()) AND NOT t.relrowsecurity
                    AND (t.has_organization OR t.name IN ('access.users'))$$,
                'what may be read is bound by row-level security');
SELECT is_empty($$SELECT c.oid::regclass, a.privilege_type, a.grantee::regrole FROM pg_class c JOIN ours o ON o.classid = 'pg_class'::regclass AND o.objid = c.oid,
                    aclexplode(c.relacl) a
                  WHERE c.relkind IN ('v', 'm', 'S') AND a.grantee IN (SELECT pg_temp.outsiders()) AND a.privilege_type <> 'SELECT'
                    AND NOT pg_temp.excepted('write', c.oid::regclass::text)$$,
                'nor a view or sequence');
SELECT is_empty($$SELECT r.rolname FROM pg_roles r WHERE r.rolname IN ('backoffice_anon', 'backoffice_user', 'backoffice_service', 'backoffice_worker', 'backoffice_admin')
                  AND has_column_privilege(r.oid, 'access.users', 'password_hash', 'SELECT')$$,
                'no role reads password hashes');
SELECT is_empty($$SELECT c.oid::regclass FROM pg_class c JOIN ours o ON o.classid = 'pg_class'::regclass AND o.objid = c.oid
                  WHERE c.relkind = 'v' AND NOT COALESCE('security_invoker=true' = ANY (c.reloptions), false)$$,
                'every view is security_invoker');

SELECT is_empty($$SELECT t.name, i.indexrelid::regclass FROM tables t JOIN pg_index i ON i.indrelid = t.oid
                  WHERE t.has_organization AND NOT pg_temp.excepted('key', t.name) AND (i.indisunique OR i.indisexclusion)
                    AND NOT (i.indkey[0] = (SELECT attnum FROM pg_attribute WHERE attrelid = t.oid AND attname = 'organization_id'))$$,
                'keys of tenant tables begin with the organization');
SELECT is_empty($$SELECT t.name, k.conname FROM tables t JOIN pg_constraint k ON k.conrelid = t.oid JOIN tables f ON f.oid = k.confrelid
                  WHERE k.contype = 'f' AND t.has_organization AND f.has_organization
                    AND k.conkey[1] <> (SELECT attnum FROM pg_attribute WHERE attrelid = t.oid AND attname = 'organization_id')$$,
                'so do foreign keys between them');

SELECT * FROM finish();
ROLLBACK;
