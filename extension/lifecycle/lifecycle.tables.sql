CREATE SCHEMA lifecycle;
COMMENT ON SCHEMA lifecycle IS 'lifecycle';
GRANT USAGE ON SCHEMA lifecycle TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;
