CREATE SCHEMA access;
COMMENT ON SCHEMA access IS 'access';
GRANT USAGE ON SCHEMA access TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;
