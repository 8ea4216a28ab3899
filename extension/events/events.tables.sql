CREATE SCHEMA events;
COMMENT ON SCHEMA events IS 'events';
GRANT USAGE ON SCHEMA events TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;
