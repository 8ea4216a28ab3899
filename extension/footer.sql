-- One owner for all tables, another for everything that runs with its owner's rights, and nothing for PUBLIC.
DO $$
DECLARE
    r record;
BEGIN
    -- Foreign keys are checked with the rights of the tables' owner.
    FOR r IN
        SELECT d.objid::regnamespace AS name
        FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_extension e ON d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.refobjid = e.oid
        WHERE e.extname = 'backoffice' AND d.classid = 'pg_catalog.pg_namespace'::regclass AND d.deptype = 'e'
    LOOP
        EXECUTE format('GRANT USAGE ON SCHEMA %s TO backoffice_owner', r.name);
    END LOOP;
    FOR r IN
        SELECT c.oid::regclass AS name, CASE c.relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END AS kind
        FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
        JOIN pg_catalog.pg_extension e ON d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.refobjid = e.oid
        WHERE e.extname = 'backoffice' AND c.relkind IN ('r', 'p', 'v', 'S')
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend i WHERE i.classid = 'pg_catalog.pg_class'::regclass
                            AND i.objid = c.oid AND i.deptype IN ('i', 'a') AND c.relkind = 'S')
        ORDER BY c.relkind = 'v', c.oid
    LOOP
        EXECUTE format('ALTER %s %s OWNER TO backoffice_owner', r.kind, r.name);
    END LOOP;
    -- Foreign keys are checked as the tables' owner.
    FOR r IN
        SELECT n.nspname AS name
        FROM pg_catalog.pg_namespace n
        JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e'
        JOIN pg_catalog.pg_extension e ON d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.refobjid = e.oid
        WHERE e.extname = 'backoffice'
    LOOP
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO backoffice_owner', r.name);
    END LOOP;
    FOR r IN
        SELECT p.oid::regprocedure AS name, p.prosecdef, p.proowner::regrole::text AS owner
        FROM pg_catalog.pg_proc p
        JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
        JOIN pg_catalog.pg_extension e ON d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.refobjid = e.oid
        WHERE e.extname = 'backoffice'
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', r.name);
        -- A context that needs the kernel's wider view says so itself (ALTER FUNCTION ... OWNER TO backoffice_kernel).
        IF r.prosecdef AND r.owner NOT IN ('backoffice_kernel') THEN
            EXECUTE format('ALTER FUNCTION %s OWNER TO backoffice_definer', r.name);
        END IF;
    END LOOP;
END $$;
