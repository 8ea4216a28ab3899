CREATE OR REPLACE FUNCTION access.rotate_keys(batch integer DEFAULT 10000) RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_rotate_keys';
COMMENT ON FUNCTION access.rotate_keys(integer) IS
'Makes stored secrets of this context (signing keys, secrets of given keys and of issuers'' clients, keys of sessions, seeds of second factors) anew with the current key of the key file, up to batch (1 to 1000000); those that are locked are left for the next call. Returns how many: call it until that is 0. Permission: EXECUTE (backoffice_admin). Errors: invalid_argument, key_unknown, key_file_missing.';
GRANT EXECUTE ON FUNCTION access.rotate_keys(integer) TO backoffice_admin;

CREATE OR REPLACE FUNCTION access.key_usage() RETURNS TABLE (key_id text, secrets bigint, hashes bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT convert_from(substr(s.stored, 2, get_byte(s.stored, 0)), 'UTF8'), count(*) FILTER (WHERE NOT s.hash), count(*) FILTER (WHERE s.hash)
    FROM (SELECT k.secret, false FROM access.token_keys k
          UNION ALL SELECT i.client_secret, false FROM access.issuers i
          UNION ALL SELECT e.refresh_key, false FROM access.sessions e WHERE e.state = 'active'
          UNION ALL SELECT m.seed, false FROM access.mfa_factors m
          UNION ALL SELECT l.secret, false FROM access.oidc_logins l
          UNION ALL SELECT a.hash, true FROM access.api_key_records a WHERE a.state = 'active'
          UNION ALL SELECT r.code_hash, true FROM access.recovery_codes r WHERE r.used_at IS NULL) s (stored, hash)
    WHERE s.stored IS NOT NULL
    GROUP BY 1
$$;
ALTER FUNCTION access.key_usage() OWNER TO backoffice_kernel;
COMMENT ON FUNCTION access.key_usage() IS
'How many secrets and keyed hashes of this context need which key of the key file: a key that neither this nor certificates.key_usage() lists may go. An API key''s hash is made anew when the key is used. Permission: EXECUTE (backoffice_admin).';
GRANT EXECUTE ON FUNCTION access.key_usage() TO backoffice_admin;
