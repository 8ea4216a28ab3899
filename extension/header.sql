\echo Use "CREATE EXTENSION backoffice" to load this file. \quit

-- Refuse servers with CVE-2026-120154 (INSERT ... ON CONFLICT DO UPDATE reads rows past row-level security).
DO $$
DECLARE
    version int := current_setting('server_version_num');
    least int := CASE version / 10000 WHEN 16 THEN 160016 WHEN 17 THEN 170012 WHEN 18 THEN 180007 ELSE 150020 END;
BEGIN
    IF version < least THEN
        RAISE EXCEPTION 'backoffice needs PostgreSQL 15.20, 16.16, 17.12, 18.7, or a newer one of these'
            USING DETAIL = 'The server is ' || current_setting('server_version') || '.',
                  HINT = 'Install the current minor release and try again.';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_settings WHERE name = 'backoffice.direct_writes') THEN
        RAISE EXCEPTION 'backoffice is not preloaded'
            USING HINT = 'Add shared_preload_libraries = ''backoffice'' to postgresql.conf and restart the server.';
    END IF;
END $$;

-- Roles belong to the whole cluster and may be left over from another database: made when missing.
DO $$
DECLARE
    r text;
BEGIN
    FOREACH r IN ARRAY ARRAY['backoffice_anon', 'backoffice_user', 'backoffice_service', 'backoffice_worker',
                             'backoffice_admin', 'backoffice_gateway', 'backoffice_owner', 'backoffice_definer', 'backoffice_kernel']
    LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = r) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', r);
        END IF;
    END LOOP;
END $$;

COMMENT ON ROLE backoffice_anon IS 'public api functions: login, health, provider webhooks';
COMMENT ON ROLE backoffice_user IS 'api functions, as the principal of a verified token';
COMMENT ON ROLE backoffice_service IS 'context functions and access.act_as(): trusted applications';
COMMENT ON ROLE backoffice_worker IS 'what the thin workers call';
COMMENT ON ROLE backoffice_admin IS 'pools, topics, endpoints, replay, schedules';
COMMENT ON ROLE backoffice_gateway IS 'what the HTTP gateway logs in with: begins requests, which then go on as backoffice_anon or backoffice_user';
GRANT backoffice_anon, backoffice_user TO backoffice_gateway;
COMMENT ON ROLE backoffice_owner IS 'owns every backoffice table; nobody logs in as it and no code runs as it';
COMMENT ON ROLE backoffice_definer IS 'owns the SECURITY DEFINER functions of the tenant contexts; subject to row-level security';
COMMENT ON ROLE backoffice_kernel IS 'what the server''s own background workers and the log reader run as: policies let it see every organization';

GRANT USAGE ON SCHEMA backoffice TO PUBLIC;
