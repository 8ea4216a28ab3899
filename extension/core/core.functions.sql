CREATE OR REPLACE FUNCTION backoffice.version() RETURNS text
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'backoffice_library_version';
COMMENT ON FUNCTION backoffice.version() IS
'The version of the loaded library, e.g. ''0.1''. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION backoffice.version() TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer;

CREATE OR REPLACE FUNCTION backoffice.now() RETURNS timestamptz
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'backoffice_now';
COMMENT ON FUNCTION backoffice.now() IS
'The time the business logic goes by: the start of the transaction, or backoffice.frozen_now where a test sets it. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION backoffice.now() TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE OR REPLACE FUNCTION backoffice.time_text(at timestamptz) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'backoffice_time_text';
COMMENT ON FUNCTION backoffice.time_text(timestamptz) IS
'A time as answers and events write it: RFC 3339 in UTC, whatever the session''s time zone; NULL for the infinities. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION backoffice.time_text(timestamptz) TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE OR REPLACE FUNCTION backoffice.request_header(name text) RETURNS text
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'backoffice_request_header';
COMMENT ON FUNCTION backoffice.request_header(text) IS
'A header of the HTTP request that this transaction serves (setting request.headers, from PostgREST or the gateway), NULL without. name: in lower case. Whoever can run SQL can set it. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION backoffice.request_header(text) TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE OR REPLACE FUNCTION backoffice.client_address() RETURNS inet
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'backoffice_client_address';
COMMENT ON FUNCTION backoffice.client_address() IS
'Where the HTTP request came from: the last address in the header X-Forwarded-For, which the gateway, or the proxy in front of PostgREST, writes. NULL when there is none. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION backoffice.client_address() TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE OR REPLACE FUNCTION backoffice.uuid7() RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME', 'backoffice_uuid7';
COMMENT ON FUNCTION backoffice.uuid7() IS
'A new UUIDv7 (RFC 9562), increasing within a session. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION backoffice.uuid7() TO backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE OR REPLACE FUNCTION backoffice.raise(sqlstate text, code text, message text, detail text DEFAULT NULL, hint text DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME', 'backoffice_raise';
COMMENT ON FUNCTION backoffice.raise(text, text, text, text, text) IS
'Raises an error: sqlstate (five characters; PTxyz makes PostgREST answer with status xyz), a stable symbolic code (also in the error''s constraint field), a message, a detail (what is) and a hint (what to do). Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION backoffice.raise(text, text, text, text, text) TO backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE OR REPLACE FUNCTION backoffice.current_organization() RETURNS uuid
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'backoffice_current_organization';
COMMENT ON FUNCTION backoffice.current_organization() IS
'The organization of this transaction''s principal, NULL when there is none (then policies show nothing). What row-level security reads; applications call access.organization_id(). Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION backoffice.current_organization() TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE OR REPLACE FUNCTION backoffice.of_current_organization_support(internal) RETURNS internal
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'backoffice_of_current_organization_support';
COMMENT ON FUNCTION backoffice.of_current_organization_support(internal) IS
'Tells the planner what backoffice.of_current_organization() means. Permission: nobody calls it; the planner does.';

CREATE OR REPLACE FUNCTION backoffice.of_current_organization(organization_id uuid) RETURNS boolean
    LANGUAGE c STABLE PARALLEL SAFE SUPPORT backoffice.of_current_organization_support AS 'MODULE_PATHNAME', 'backoffice_of_current_organization';
COMMENT ON FUNCTION backoffice.of_current_organization(uuid) IS
'Whether organization_id is the organization of this transaction''s principal: what the policies of tenants'' tables consist of. False when there is no principal, and for NULL. The planner takes it for organization_id = backoffice.current_organization(), so that indexes serve it. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION backoffice.of_current_organization(uuid) TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE OR REPLACE FUNCTION backoffice.current_user_id() RETURNS uuid
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'backoffice_current_user_id';
COMMENT ON FUNCTION backoffice.current_user_id() IS
'The user of this transaction''s principal, NULL when there is none or a service acts. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION backoffice.current_user_id() TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE OR REPLACE FUNCTION backoffice.within_bounds(organization_id uuid) RETURNS boolean
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'backoffice_within_bounds';
COMMENT ON FUNCTION backoffice.within_bounds(uuid) IS
'Whether what the acting user has for this organization (NULL: for none) is the concern of who acts: false where one organization alone (its OpenID provider, or an API key of it) vouches for the user, and this is another. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION backoffice.within_bounds(uuid) TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;
