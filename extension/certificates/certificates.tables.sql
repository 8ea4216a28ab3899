CREATE SCHEMA certificates;
COMMENT ON SCHEMA certificates IS 'certificates';
GRANT USAGE ON SCHEMA certificates TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;
