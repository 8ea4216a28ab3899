CREATE SCHEMA api;
COMMENT ON SCHEMA api IS 'what HTTP exposes: one function per route';
GRANT USAGE ON SCHEMA api TO backoffice_anon, backoffice_user, backoffice_service, backoffice_definer;
