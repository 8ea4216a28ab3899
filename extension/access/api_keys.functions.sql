CREATE OR REPLACE FUNCTION access.create_api_key(name text, scopes text[], expires_at timestamptz DEFAULT NULL, organization uuid DEFAULT NULL, "user" uuid DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_create_api_key';
COMMENT ON FUNCTION access.create_api_key(text, text[], timestamptz, uuid, uuid) IS
'Makes a key for a machine, to be used as a token. name: for people, 1 to 200 bytes; scopes: what it may do, permissions, context.* or * (what is defined later included); expires_at: NULL: never; "user": whom it acts for, then it may do no more than that user (a user who acts gives only itself). Permission: access.manage_api_keys and every right of the scopes; without principal a service. Returns {"id", "key"}: the key is shown this once. Errors: bad_api_key_name, bad_list, unknown_permission, bad_expires_at, beyond_own_rights, not_oneself, unknown_user, no_principal, permission_denied, other_organization, unknown_organization, missing_argument.';
GRANT EXECUTE ON FUNCTION access.create_api_key(text, text[], timestamptz, uuid, uuid) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION access.revoke_api_key(id uuid, organization uuid DEFAULT NULL) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_revoke_api_key';
COMMENT ON FUNCTION access.revoke_api_key(uuid, uuid) IS
'Transactions that begin after this one''s COMMIT returned refuse the key. Permission: access.manage_api_keys; without principal a service. Returns false when there was no such key in use. Errors: no_principal, permission_denied, other_organization, unknown_organization, missing_argument.';
GRANT EXECUTE ON FUNCTION access.revoke_api_key(uuid, uuid) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE VIEW access.api_keys WITH (security_invoker = true) AS
SELECT k.organization_id, k.id, k.name, k.user_id, k.scopes, k.state, k.created_by, k.created_at, k.expires_at, k.last_used_at
FROM access.api_key_records k
WHERE k.organization_id = backoffice.current_organization() AND access.can('access.manage_api_keys');
COMMENT ON VIEW access.api_keys IS
'The API keys of the organization acted for, revoked ones too; last_used_at to some ten seconds. Permission: access.manage_api_keys, else no rows.';
GRANT SELECT ON access.api_keys TO backoffice_service, backoffice_definer;

SELECT access.define_permission('access.manage_api_keys', 'create, list and revoke API keys');
