-- Keys: our own and how they rotate, an OpenID provider's, API keys; who may do what with them.
BEGIN;
SELECT plan(66);

CREATE FUNCTION pg_temp.code_of(statement text, as_role text DEFAULT 'backoffice_service') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    state text;
    code text;
BEGIN
    PERFORM set_config('role', as_role, true);
    EXECUTE statement;
    RAISE EXCEPTION USING ERRCODE = 'OK000', MESSAGE = 'worked';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, code = CONSTRAINT_NAME;
    RETURN CASE state WHEN 'OK000' THEN 'ok' ELSE state || ' ' || code END;
END $$;

CREATE FUNCTION pg_temp.code_of_token(token text) RETURNS text LANGUAGE sql AS $$
SELECT pg_temp.code_of(format('SELECT access.authenticate(%L)', token), 'backoffice_anon') $$;

CREATE FUNCTION pg_temp.as_token(token text, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    value text;
BEGIN
    PERFORM access.authenticate(token);
    EXECUTE statement INTO value;
    RAISE EXCEPTION USING ERRCODE = 'OK000', MESSAGE = COALESCE(value, 'NULL');
EXCEPTION WHEN SQLSTATE 'OK000' THEN
    RETURN SQLERRM;
END $$;

CREATE FUNCTION pg_temp.part(token text, n integer) RETURNS jsonb LANGUAGE sql AS $$
SELECT convert_from(decode(rpad(translate(split_part(token, '.', n), '-_', '+/'), (length(split_part(token, '.', n)) + 3) / 4 * 4, '='), 'base64'), 'UTF8')::jsonb $$;

SELECT access.define_permission('shop.sell', 'sell');
SELECT access.create_organization('Acme') AS acme \gset
SELECT access.create_user('ann@acme.test', 'correct horse', :'acme') AS ann \gset
SELECT access.define_role('clerk', ARRAY['shop.sell', 'access.manage_api_keys'], '{}', :'acme');
SELECT access.grant_role(:'ann', 'clerk', NULL, :'acme');

-- ---- our own ----
SELECT is(access.jwks(), '{"keys": []}', 'no keys before the first token');
SELECT access.login('ann@acme.test', 'correct horse')->>'access_token' AS token \gset
SELECT is(pg_temp.part(:'token', 1) - 'kid', '{"alg": "ES256", "typ": "at+jwt"}', 'header');
SELECT is(pg_temp.part(:'token', 2) - '{sid,jti,iat,exp}'::text[], jsonb_build_object('iss', 'backoffice', 'aud', 'backoffice', 'sub', :'ann', 'org', :'acme', 'role', 'backoffice_user', 'aal', 'aal1', 'amr', '["pwd"]'::jsonb), 'claims');
SELECT is((pg_temp.part(:'token', 2)->>'exp')::bigint - (pg_temp.part(:'token', 2)->>'iat')::bigint, 600::bigint, 'lifetime');
SELECT is(jsonb_array_length(access.jwks()->'keys'), 2, 'the current key and the next one are published');
SELECT ok(access.jwks()->'keys' @> jsonb_build_array(jsonb_build_object('kid', pg_temp.part(:'token', 1)->>'kid', 'alg', 'ES256', 'use', 'sig', 'kty', 'EC', 'crv', 'P-256')), 'the token''s among them');
SELECT ok(NOT jsonb_path_exists(access.jwks(), '$.keys[*].d'), 'without private parts');
SELECT is((SELECT count(*) FROM access.token_keys WHERE kind = 'own' AND secret IS NULL), 0::bigint, 'which are encrypted in the table');
SELECT is(pg_temp.as_token(:'token', 'SELECT access.user_id()'), :'ann', 'the token is believed');
SELECT is(pg_temp.as_token(:'token', 'SELECT access.session_id()'), pg_temp.part(:'token', 2)->>'sid', 'its session acts');
SELECT is(pg_temp.as_token(:'token', 'SELECT access.can(''shop.sell'')'), 'true', 'with the user''s rights');
SELECT is(pg_temp.code_of_token(left(:'token', -1)), 'PT401 token_malformed', 'a character less');
SELECT is(pg_temp.code_of_token(split_part(:'token', '.', 1) || '.' || split_part(:'token', '.', 2) || '.' || repeat('A', 86)), 'PT401 token_bad_signature', 'another signature');

SELECT is(pg_temp.code_of('SELECT access.rotate_signing_key()'), '42501 ', 'a service does not rotate');
SELECT is(pg_temp.code_of('SELECT access.rotate_signing_key(''HS256'')', 'backoffice_admin'), '22023 bad_algorithm', 'not to a secret');
SELECT is(pg_temp.code_of('SELECT access.rotate_signing_key(NULL)', 'backoffice_admin'), '22023 missing_argument', 'nor to nothing');
SELECT access.rotate_signing_key('EdDSA') AS second \gset
SELECT isnt(:'second'::text, pg_temp.part(:'token', 1)->>'kid', 'another key signs');
SELECT access.login('ann@acme.test', 'correct horse')->>'access_token' AS newer \gset
SELECT is(pg_temp.part(:'newer', 1)->>'kid', :'second', 'the new tokens');
SELECT is(pg_temp.as_token(:'token', 'SELECT access.user_id()'), :'ann', 'the old token is good');
SELECT is(pg_temp.as_token(:'newer', 'SELECT access.user_id()'), :'ann', 'and the new one');
SELECT results_eq('SELECT alg, state FROM access.token_keys WHERE kind = ''own'' ORDER BY state COLLATE "C"', $$VALUES ('ES256', 'current'), ('EdDSA', 'next'), ('ES256', 'retired')$$, 'three keys');
SAVEPOINT rotated;
SELECT access.rotate_signing_key() IS NOT NULL AS rotated \gset
ROLLBACK TO rotated;
SELECT access.login('ann@acme.test', 'correct horse')->>'access_token' AS third \gset
SELECT is(pg_temp.part(:'third', 1)->>'kid', :'second', 'a rotation that was rolled back is none');
SET LOCAL backoffice.token_audience = 'elsewhere';
SELECT is(pg_temp.code_of_token(:'token'), 'PT401 token_wrong_audience', 'another audience');
SET LOCAL backoffice.token_audience = 'backoffice';
SELECT is(pg_temp.as_token(:'token', 'SELECT access.user_id()'), :'ann', 'and back');

-- ---- an OpenID provider: our own tokens, issued under its name ----
SET LOCAL backoffice.token_issuer = 'https://id.test';
SELECT access.login('ann@acme.test', 'correct horse')->>'access_token' AS theirs \gset
SET LOCAL backoffice.token_issuer = 'backoffice';
SELECT is(pg_temp.code_of_token(:'theirs'), 'PT401 token_wrong_issuer', 'the token of another issuer, with our key');
SELECT is(pg_temp.code_of('SELECT access.define_issuer(''https://id.test'', ''app'')'), '42501 ', 'a service defines no issuer');
SELECT is(pg_temp.code_of(statement, 'backoffice_admin'), '22023 ' || code, why)
FROM (VALUES ($$SELECT access.define_issuer('id.test', 'app')$$, 'bad_issuer', 'an issuer is a URL'),
             ($$SELECT access.define_issuer('https://id.test', '')$$, 'bad_issuer', 'a client has a name'),
             ($$SELECT access.define_issuer('https://id.test', NULL)$$, 'missing_argument', 'in any case'),
             ($$SELECT access.define_issuer('https://id.test', 'app', algorithms => '{HS256}')$$, 'bad_issuer', 'no secrets of issuers'),
             ($$SELECT access.define_issuer('https://id.test', 'app', algorithms => '{}')$$, 'bad_issuer', 'some algorithm'),
             ($$SELECT access.define_issuer('https://id.test', 'app', role_map => '{"a": ["b"]}')$$, 'bad_issuer', 'a role is a string'),
             ($$SELECT access.define_issuer('https://id.test', 'app', role_map => '[]')$$, 'bad_issuer', 'in an object')) AS v (statement, code, why);
SELECT access.define_issuer('https://id.test', 'app', audience => ARRAY['backoffice'], algorithms => ARRAY['ES256', 'EdDSA'], organization => :'acme', provision => true, client_secret => 's3cret-of-the-client');
SELECT is((SELECT count(*) FROM access.issuers_due()), 1::bigint, 'its keys are due');
SELECT is(pg_temp.code_of_token(:'theirs'), 'PT401 token_unknown_key', 'without its keys nothing is believed');
SELECT is(access.set_issuer_keys('https://id.test', access.jwks(), 600, '{"token_endpoint": "https://id.test/token"}'), true, 'keys arrive');
SELECT is((SELECT count(*) FROM access.issuers_due()), 0::bigint, 'and are not due any more');
-- A key id that they do not have: asked for at once, and then once in ten seconds.
SELECT translate(encode('{"alg":"ES256","typ":"at+jwt","kid":"nonsense"}', 'base64'), E'+/=\n', '-_') || substr(:'theirs', strpos(:'theirs', '.')) AS nonsense \gset
SELECT now() + interval '5 minutes' AS later \gset
CREATE FUNCTION pg_temp.due(at timestamptz) RETURNS bigint LANGUAGE sql AS $$
SELECT set_config('backoffice.frozen_now', at::text, true);
SELECT count(*) FROM access.issuers_due() $$;
SELECT is(pg_temp.due(:'later'), 0::bigint, 'nobody named another key');
SELECT is(pg_temp.code_of_token(:'nonsense'), 'PT401 token_unknown_key', 'somebody does');
SELECT is(pg_temp.due(:'later'), 1::bigint, 'they are due at once');
SELECT is(pg_temp.code_of_token(:'nonsense'), 'PT401 token_unknown_key', 'again');
SELECT is(pg_temp.due(:'later'::timestamptz + interval '9.9 seconds'), 0::bigint, 'asked for once');
SELECT is(pg_temp.due(:'later'::timestamptz + interval '10 seconds'), 1::bigint, 'and again after ten seconds, since they did not come');
SELECT access.set_issuer_keys('https://id.test', access.jwks(), 600) AS changed \gset
SELECT is(pg_temp.due(:'later'::timestamptz + interval '21 seconds'), 0::bigint, 'they came');
SELECT is(pg_temp.code_of_token(:'nonsense'), 'PT401 token_unknown_key', 'without that one');
SELECT is(pg_temp.due(:'later'::timestamptz + interval '21 seconds'), 1::bigint, 'which is asked for once more');
SELECT set_config('backoffice.frozen_now', '', true) AS thawed, access.set_issuer_keys('https://id.test', access.jwks(), 600) AS changed \gset
SELECT is(pg_temp.code_of('SELECT access.set_issuer_keys(''https://id.test'', ''{"keys": []}'')', 'backoffice_admin'), '42501 ', 'only a worker brings keys');
SELECT access.authenticate(:'theirs') AS guest \gset
SELECT isnt(:'guest'::text, :'ann'::text, 'its subject is somebody else, whatever its id');
SELECT is((SELECT user_id::text FROM access.identities WHERE issuer = 'https://id.test' AND subject = :'ann'), :'guest', 'who was taken in');
SELECT is((SELECT organization_id::text FROM access.memberships WHERE user_id = :'guest'), :'acme', 'as a member');
SELECT is((SELECT count(*) FROM access.issuers WHERE position('s3cret'::bytea IN client_secret) > 0), 0::bigint, 'the client''s secret is not stored in clear');
SELECT is(pg_temp.code_of('SELECT client_secret FROM access.issuers', 'backoffice_admin'), '42501 ', 'and nobody reads it');
COMMIT;

-- The principal ended with that transaction.
BEGIN;
SELECT is(pg_temp.code_of_token(:'theirs'), 'ok', 'again');
SELECT access.disable_issuer('https://id.test') AS disabled \gset
SELECT is(pg_temp.code_of_token(:'theirs'), 'PT401 token_unknown_key', 'no longer');
SELECT is(:'disabled'::boolean, true, 'it was in use');

-- ---- API keys ----
SELECT access.create_api_key('till', ARRAY['shop.*'], NULL, :'acme') AS made \gset
SELECT :'made'::jsonb->>'key' AS key, :'made'::jsonb->>'id' AS key_id \gset
SELECT is(length(:'key'), 79, 'a key');
SELECT is(pg_temp.as_token(:'key', 'SELECT access.organization_id()'), :'acme', 'acts for its organization');
SELECT is(pg_temp.as_token(:'key', 'SELECT access.can(''shop.sell'')'), 'true', 'may do what its scopes say');
SELECT is(pg_temp.as_token(:'key', 'SELECT access.can(''access.read'')'), 'false', 'and nothing else');
SELECT is(pg_temp.code_of(format('SELECT access.authenticate(%L), access.create_user(''x@y.test'')', :'key')), '42501 permission_denied', 'it is no service');
SELECT access.define_permission('shop.open', 'open');
SELECT is(pg_temp.as_token(:'key', 'SELECT access.can(''shop.open'')'), 'true', 'what is defined later is in its pattern');
SELECT is(pg_temp.code_of(format('SELECT access.act_as(%L, %L), access.create_api_key(''k'', ARRAY[''*''])', :'acme', :'ann')), '42501 beyond_own_rights', 'a user gives no more than it has');
SELECT is(pg_temp.code_of(format('SELECT access.act_as(%L, %L), access.create_api_key(''k'', ARRAY[''shop.sell''], "user" => %L)', :'acme', :'ann', :'guest')), '42501 not_oneself', 'in nobody else''s name');
SELECT is(access.revoke_api_key(:'key_id', :'acme'), true, 'revoked');
SELECT is(pg_temp.code_of_token(:'key'), 'PT401 api_key_unknown', 'it is refused');
SELECT is(access.revoke_api_key(:'key_id', :'acme'), false, 'only once');
SELECT * FROM finish();
ROLLBACK;
