-- Two organizations with rows in as many tenant tables as the functions fill; a role that may SELECT from every table of the
-- extension still sees its own rows only: by name or not, from a parallel worker, a generic plan, a cursor.
SELECT plan(16);

CREATE ROLE tenant_probe IN ROLE backoffice_service;
CREATE FUNCTION public.fill(organization uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    certificate uuid;
    i int;
BEGIN
    PERFORM access.act_as(organization);
    PERFORM access.grant_role(access.create_user('ann@' || organization), 'owner');
    PERFORM certificates.create_pool('gift', 'EUR', 5000);
    PERFORM certificates.generate_codes('gift', 50);
    FOR i IN 1..10 LOOP
        SELECT id INTO certificate FROM certificates.reserve_next('gift', 'pos', 'O-' || i, 'key-' || i);
        PERFORM certificates.issue(certificate);
        PERFORM certificates.redeem(certificate, 100, 'redeem-' || i);
    END LOOP;
END $$;
SELECT access.create_organization('Acme') AS acme \gset
SELECT access.create_organization('Bolt') AS bolt \gset
SELECT fill(:'acme');
SELECT fill(:'bolt');
-- Some tables are filled by handlers: let them come to rest.
DO $$
BEGIN
    FOR i IN 1..600 LOOP
        EXIT WHEN EXISTS (SELECT FROM events.read(max_events => 1000000) WHERE id = (SELECT id FROM events.log ORDER BY seq DESC LIMIT 1))
            AND NOT EXISTS (SELECT FROM events.consumers WHERE lag_events > 0 AND name IN (SELECT name FROM events.handlers));
        PERFORM pg_sleep(0.05);
        COMMIT;
    END LOOP;
END $$;

CREATE TABLE public.tenant_tables AS
SELECT format('%I.%I', n.nspname, c.relname) AS name, 0::bigint AS acme, 0::bigint AS bolt
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'backoffice'
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'organization_id' AND NOT a.attisdropped);
DO $$
DECLARE
    t record;
BEGIN
    FOR t IN SELECT name FROM public.tenant_tables LOOP
        EXECUTE format('GRANT SELECT ON %s TO tenant_probe', t.name);
        EXECUTE format('UPDATE public.tenant_tables SET (acme, bolt) = (SELECT count(*) FILTER (WHERE o.name = ''Acme''), count(*) FILTER (WHERE o.name = ''Bolt'')
                        FROM %s t JOIN access.organizations o ON o.id = t.organization_id) WHERE name = %L', t.name, t.name);
    END LOOP;
END $$;
GRANT SELECT ON public.tenant_tables TO tenant_probe;

-- Per table: rows seen that are mine, rows seen that are not.
CREATE FUNCTION public.seen(mine uuid, other uuid, OUT own text, OUT foreign_rows bigint, OUT by_name bigint, OUT fetched bigint) LANGUAGE plpgsql AS $$
DECLARE
    t record;
    organization uuid;
    n bigint;
    m bigint;
    rows refcursor;
BEGIN
    own := '';
    foreign_rows := 0;
    by_name := 0;
    fetched := 0;
    FOR t IN SELECT name FROM public.tenant_tables ORDER BY name LOOP
        EXECUTE format('SELECT count(*) FILTER (WHERE organization_id = $1), count(*) FILTER (WHERE organization_id IS DISTINCT FROM $1) FROM %s', t.name)
            INTO n, m USING mine;
        own := own || n || ' ';
        foreign_rows := foreign_rows + m;
        EXECUTE format('SELECT count(*) FROM %s WHERE organization_id = $1', t.name) INTO n USING other;
        by_name := by_name + n;
        OPEN rows FOR EXECUTE format('SELECT organization_id FROM %s ORDER BY organization_id DESC', t.name);
        LOOP
            FETCH rows INTO organization;
            EXIT WHEN NOT FOUND;
            IF organization IS DISTINCT FROM mine THEN fetched := fetched + 1; END IF;
        END LOOP;
        CLOSE rows;
    END LOOP;
END $$;

SELECT cmp_ok((SELECT count(*) FROM tenant_tables WHERE acme > 0 AND bolt > 0), '>=', 7::bigint, 'there are rows of both in many tables');
SELECT string_agg(acme::text, ' ' ORDER BY name) || ' ' AS acme_rows, string_agg(bolt::text, ' ' ORDER BY name) || ' ' AS bolt_rows FROM tenant_tables \gset

SET ROLE tenant_probe;
BEGIN;
SELECT access.act_as(:'acme') \gset ignored_
SELECT * FROM seen(:'acme', :'bolt') \gset a_
COMMIT;
BEGIN;
SELECT access.act_as(:'bolt') \gset ignored_
SELECT * FROM seen(:'bolt', :'acme') \gset b_
COMMIT;
SELECT foreign_rows AS nobody, by_name AS nobody_by_name, fetched AS nobody_fetched FROM seen(NULL, :'acme') \gset
SET plan_cache_mode = force_generic_plan;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET force_parallel_mode = on;
BEGIN;
SELECT access.act_as(:'acme') \gset ignored_
SELECT * FROM seen(:'acme', :'bolt') \gset pa_
COMMIT;
BEGIN;
SELECT access.act_as(:'bolt') \gset ignored_
SELECT * FROM seen(:'bolt', :'acme') \gset pb_
COMMIT;
RESET ALL;
RESET ROLE;

SELECT is(:'a_own'::text, :'acme_rows', 'one organization sees all of its rows');
SELECT is(:a_foreign_rows, 0, 'and none of the other''s');
SELECT is(:a_by_name, 0, 'not by name');
SELECT is(:a_fetched, 0, 'nor from a cursor');
SELECT is(:'b_own'::text, :'bolt_rows', 'the other sees all of its rows, in the same session');
SELECT is(:b_foreign_rows, 0, 'and none of the first one''s');
SELECT is(:b_by_name, 0, 'not by name');
SELECT is(:b_fetched, 0, 'nor from a cursor');
SELECT is(:nobody + :nobody_by_name + :nobody_fetched, 0, 'nobody sees nothing');
SELECT is(:'pa_own'::text, :'acme_rows', 'with workers and generic plans: all of one''s own rows');
SELECT is(:pa_foreign_rows, 0, 'and none of the other''s');
SELECT is(:pa_by_name + :pa_fetched, 0, 'not by name, nor from a cursor');
SELECT is(:'pb_own'::text, :'bolt_rows', 'so for the other');
SELECT is(:pb_foreign_rows, 0, 'which sees none of the first one''s');
SELECT is(:pb_by_name + :pb_fetched, 0, 'not by name, nor from a cursor');

DROP OWNED BY tenant_probe;
DROP ROLE tenant_probe;
SELECT * FROM finish();
