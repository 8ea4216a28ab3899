-- Tokens: what is believed, what is refused and with which code.
BEGIN;
SELECT plan(71);

CREATE FUNCTION pg_temp.b64url(bytes bytea) RETURNS text LANGUAGE sql AS $$
SELECT translate(rtrim(replace(encode(bytes, 'base64'), E'\n', ''), '='), '+/', '-_') $$;

CREATE FUNCTION pg_temp.xor(bytes bytea, mask integer) RETURNS bytea LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 0 .. length(bytes) - 1 LOOP
        bytes := set_byte(bytes, i, get_byte(bytes, i) # mask);
    END LOOP;
    RETURN bytes;
END $$;

-- RFC 2104, for keys of at most 64 bytes.
CREATE FUNCTION pg_temp.hmac(data bytea, key bytea) RETURNS bytea LANGUAGE sql AS $$
SELECT sha256(pg_temp.xor(padded, 92) || sha256(pg_temp.xor(padded, 54) || data))
FROM (SELECT key || decode(repeat('00', 64 - length(key)), 'hex') AS padded) p $$;

CREATE FUNCTION pg_temp.sign(header text, claims text, secret text DEFAULT repeat('s', 32)) RETURNS text LANGUAGE sql AS $$
SELECT i || '.' || pg_temp.b64url(pg_temp.hmac(i::bytea, secret::bytea))
FROM (SELECT pg_temp.b64url(convert_to(header, 'UTF8')) || '.' || pg_temp.b64url(convert_to(claims, 'UTF8')) AS i) s $$;

-- Claims of a user, with more or other ones put over them (null: without).
CREATE FUNCTION pg_temp.claims(who uuid, more jsonb DEFAULT '{}') RETURNS text LANGUAGE sql AS $$
SELECT jsonb_strip_nulls(jsonb_build_object('sub', who, 'iat', extract(epoch FROM now())::bigint, 'exp', extract(epoch FROM now())::bigint + 60) || more)::text $$;

CREATE FUNCTION pg_temp.token(who uuid, more jsonb DEFAULT '{}') RETURNS text LANGUAGE sql AS $$
SELECT pg_temp.sign('{"alg":"HS256","kid":"svc"}', pg_temp.claims(who, more)) $$;

-- SQLSTATE and symbolic code, or 'ok'; nothing stays.
CREATE FUNCTION pg_temp.code_of(statement text, as_role text DEFAULT 'backoffice_anon') RETURNS text LANGUAGE plpgsql AS $$
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

CREATE FUNCTION pg_temp.code_of_token(token text, organization uuid DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
SELECT pg_temp.code_of(format('SELECT access.authenticate(%L, %L)', token, organization)) $$;

-- What a statement answers after a token was authenticated; undone afterwards.
CREATE FUNCTION pg_temp.as_token(token text, statement text, organization uuid DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    value text;
BEGIN
    PERFORM access.authenticate(token, organization);
    EXECUTE statement INTO value;
    RAISE EXCEPTION USING ERRCODE = 'OK000', MESSAGE = COALESCE(value, 'NULL');
EXCEPTION WHEN SQLSTATE 'OK000' THEN
    RETURN SQLERRM;
END $$;

SELECT access.define_permission('shop.sell', 'sell');
SELECT access.define_permission('shop.close', 'close', aal2 => true);
SELECT access.create_organization('Acme') AS acme \gset
SELECT access.create_organization('Bolt') AS bolt \gset
SELECT access.create_user('ann@acme.test', NULL, :'acme') AS ann \gset
SELECT access.create_user('both@acme.test', NULL, :'acme') AS both \gset
SELECT access.create_user('new@nowhere.test') AS newcomer \gset
SELECT access.add_member(:'bolt', :'both');
SELECT access.define_role('clerk', ARRAY['shop.*'], '{}', :'acme');
SELECT access.grant_role(:'ann', 'clerk', NULL, :'acme');

-- ---- given keys ----
SELECT is(pg_temp.code_of($$SELECT access.add_verification_key('svc', 'HS256', 'too short')$$, 'backoffice_admin'), '22023 bad_key', 'a secret of less than 32 bytes');
SELECT is(pg_temp.code_of($$SELECT access.add_verification_key('svc', 'none', repeat('s', 32))$$, 'backoffice_admin'), '22023 bad_algorithm', 'no algorithm none');
SELECT is(pg_temp.code_of($$SELECT access.add_verification_key('svc', 'ES256', repeat('s', 32))$$, 'backoffice_admin'), '22023 bad_key', 'a public key is a JWK');
SELECT is(pg_temp.code_of($$SELECT access.add_verification_key('svc', 'HS256', NULL)$$, 'backoffice_admin'), '22023 missing_argument', 'a key is needed');
SELECT is(pg_temp.code_of($$SELECT access.add_verification_key('svc', 'HS256', repeat('s', 32))$$, 'backoffice_service'), '42501 ', 'a service gives no keys');
SELECT lives_ok($$SELECT access.add_verification_key('svc', 'HS256', repeat('s', 32))$$, 'a secret is accepted');
SELECT is(pg_temp.code_of($$SELECT access.add_verification_key('svc', 'HS256', repeat('s', 32))$$, 'backoffice_admin'), 'PT409 key_exists', 'an id names one key');
SELECT is(pg_temp.code_of($$SELECT access.add_verification_key(repeat('k', 256), 'HS256', repeat('s', 32))$$, 'backoffice_admin'), '22023 bad_key_id', 'a long id');
SELECT lives_ok($$SELECT access.add_verification_key('oct', 'HS256', '{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}', audience => ARRAY['shop', 'desk'])$$, 'and so is a JWK');
SELECT is((SELECT count(*) FROM access.token_keys WHERE secret IS NOT NULL AND position('sssss'::bytea IN secret) > 0), 0::bigint, 'the secret is not stored in clear');

-- ---- believed ----
SELECT is(pg_temp.as_token(pg_temp.token(:'ann'), 'SELECT access.user_id()'), :'ann', 'the user of a token acts');
SELECT is(pg_temp.as_token(pg_temp.token(:'ann'), 'SELECT access.organization_id()'), :'acme', 'for the only organization it belongs to');
SELECT is(pg_temp.as_token(pg_temp.token(:'ann'), 'SELECT access.can(''shop.sell'')'), 'true', 'with its rights');
SELECT is(pg_temp.as_token(pg_temp.token(:'both'), 'SELECT access.organization_id()'), 'NULL', 'a user of two organizations acts for none of them');
SELECT is(pg_temp.as_token(pg_temp.token(:'both'), 'SELECT access.user_id()'), :'both', 'but acts');
SELECT is(pg_temp.as_token(pg_temp.token(:'both'), 'SELECT access.can(''access.read'')'), 'false', 'without any right');
SELECT is(pg_temp.as_token(pg_temp.token(:'both'), 'SELECT access.organization_id()', :'bolt'), :'bolt', 'unless it says for which');
SELECT is(pg_temp.as_token(pg_temp.token(:'both', jsonb_build_object('org', :'acme')), 'SELECT access.organization_id()'), :'acme', 'or the token does');
SELECT is(pg_temp.as_token(pg_temp.token(:'both', jsonb_build_object('org', :'acme')), 'SELECT access.organization_id()', :'bolt'), :'bolt', 'what is asked for goes before');
SELECT is(pg_temp.as_token(pg_temp.token(:'newcomer'), 'SELECT access.organization_id()'), 'NULL', 'a user of no organization acts for none');
SELECT events.define_topic('app.told'), events.grant_topic('app.told', 'backoffice_service');
SELECT is(pg_temp.code_of(format('SELECT access.authenticate(%L), events.emit(''app.told'', ''k'', ''told'', ''{}'')', pg_temp.token(:'both')), 'backoffice_service'),
    '22023 organization_required', 'what is emitted then is not the system''s');
SELECT is(pg_temp.code_of(format('SELECT access.authenticate(%L), events.accept(''app'', ''1'', ''app.told'', ''k'', ''{}'')', pg_temp.token(:'newcomer')), 'backoffice_service'),
    '22023 organization_required', 'nor what is accepted');
SELECT is(pg_temp.code_of(format('SELECT access.authenticate(%L, %L), events.emit(''app.told'', ''k'', ''told'', ''{}'')', pg_temp.token(:'both'), :'bolt'), 'backoffice_service'),
    'ok', 'who says for which emits for it');
SELECT is(pg_temp.code_of_token(pg_temp.token(:'ann'), :'bolt'), '42501 not_a_member', 'not for somebody else''s organization');
SELECT is(pg_temp.code_of_token(pg_temp.token(:'acme')), 'PT401 token_unknown_user', 'a subject that is no user');
SELECT is(pg_temp.code_of(format('SELECT access.authenticate(%L), access.authenticate(%L)', pg_temp.token(:'ann'), pg_temp.token(:'ann'))), 'ok', 'the same principal again');
SELECT is(pg_temp.code_of(format('SELECT access.authenticate(%L), access.authenticate(%L)', pg_temp.token(:'ann'), pg_temp.token(:'both'))), '42501 principal_already_set', 'not another one');
SELECT is(pg_temp.code_of('SELECT access.authenticate(NULL)'), '22023 missing_argument', 'no token');

-- ---- a second factor ----
SELECT is(pg_temp.as_token(pg_temp.token(:'ann'), 'SELECT access.can(''shop.close'')'), 'false', 'aal1 has not what demands aal2');
SELECT is(pg_temp.as_token(pg_temp.token(:'ann', '{"aal":"aal2"}'), 'SELECT access.can(''shop.close'')'), 'true', 'aal2 has');
SELECT is(pg_temp.code_of(format('SELECT access.authenticate(%L), access.require(''shop.close'')', pg_temp.token(:'ann'))), '42501 aal2_required', 'and is told so');
SELECT is(pg_temp.code_of(format('SELECT access.authenticate(%L), access.require(''shop.close'')', pg_temp.token(:'both', jsonb_build_object('org', :'acme')))), '42501 permission_denied', 'unless it would not have it anyway');

-- ---- refused: form ----
SELECT is(pg_temp.code_of_token(t), 'PT401 token_malformed', why)
FROM (VALUES ('', 'nothing'), ('a', 'a letter'), ('..', 'two dots'), ('a.b', 'one dot'),
             (pg_temp.token(:'ann') || '.', 'three dots'), (pg_temp.token(:'ann') || '=', 'padding'), (pg_temp.token(:'ann') || E'\n', 'a line end'),
             (' ' || pg_temp.token(:'ann'), 'a blank'), ('Bearer ' || pg_temp.token(:'ann'), 'the scheme'),
             (regexp_replace(pg_temp.token(:'ann'), '[^.]*$', ''), 'no signature'),
             (repeat('a', 20000), 'a huge token'),
             (pg_temp.sign('{"alg":"none"}', pg_temp.claims(:'ann')), 'algorithm none'),
             (pg_temp.sign('{"alg":"hs256","kid":"svc"}', pg_temp.claims(:'ann')), 'an algorithm in lower case'),
             (pg_temp.sign('{"kid":"svc"}', pg_temp.claims(:'ann')), 'no algorithm'),
             (pg_temp.sign('{"alg":"HS256","alg":"HS256","kid":"svc"}', pg_temp.claims(:'ann')), 'a member twice in the header'),
             (pg_temp.sign('{"alg":"HS256","kid":"svc","crit":["exp"]}', pg_temp.claims(:'ann')), 'crit'),
             (pg_temp.sign('{"alg":"HS256","kid":"svc","jku":"https://evil.test/"}', pg_temp.claims(:'ann')), 'jku'),
             (pg_temp.sign('{"alg":"HS256","kid":"svc","jwk":{}}', pg_temp.claims(:'ann')), 'jwk'),
             (pg_temp.sign('{"alg":"HS256","kid":"svc"}', '{"sub":"' || :'ann' || '","sub":"' || :'both' || '","exp":9999999999}'), 'a claim twice'),
             (pg_temp.sign('{"alg":"HS256","kid":"svc"}', '{"sub":"' || :'ann' || '","\u0073ub":"' || :'both' || '","exp":9999999999}'), 'a claim twice, once escaped'),
             (pg_temp.sign('{"alg":"HS256","kid":"svc"}', pg_temp.claims(:'ann') || ' x'), 'something behind the claims'),
             (pg_temp.token(:'ann', '{"exp":null}'), 'no expiry'),
             (pg_temp.token(:'ann', '{"exp":"9999999999"}'), 'an expiry that is a string'),
             (pg_temp.token(:'ann', '{"sub":null}'), 'no subject'),
             (pg_temp.token(:'ann', '{"sub":"ann"}'), 'a subject that is no id')) AS t (t, why);
SELECT is(pg_temp.code_of_token(pg_temp.token(:'ann', '{"iss":"somebody"}')), 'ok', 'an issuer nobody knows is not asked of a given key');

-- ---- refused: signature ----
SELECT is(pg_temp.code_of_token(pg_temp.sign('{"alg":"HS256","kid":"svc"}', pg_temp.claims(:'ann'), repeat('x', 32))), 'PT401 token_bad_signature', 'another secret');
SELECT is(pg_temp.code_of_token(pg_temp.sign('{"alg":"HS256","kid":"oct"}', pg_temp.claims(:'ann'))), 'PT401 token_bad_signature', 'another key''s id');
SELECT is(pg_temp.code_of_token(pg_temp.sign('{"alg":"HS256"}', pg_temp.claims(:'ann'))), 'PT401 token_unknown_key', 'no key id');
SELECT is(pg_temp.code_of_token(pg_temp.sign('{"alg":"HS256","kid":"SVC"}', pg_temp.claims(:'ann'))), 'PT401 token_unknown_key', 'the key id in capitals');
SELECT is(pg_temp.code_of_token(pg_temp.sign('{"alg":"RS256","kid":"svc"}', pg_temp.claims(:'ann'))), 'PT401 token_bad_signature', 'the algorithm is the key''s, not the token''s');
-- ---- many at once, for event streams ----
-- In a transaction of its own, which is read-only from there on: undone with it.
CREATE FUNCTION pg_temp.rights(tokens text[], organizations uuid[], more text DEFAULT 'true') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    rights text[];
    fact boolean;
BEGIN
    rights := access.listener_rights(tokens, organizations);
    EXECUTE 'SELECT ' || more INTO fact;
    RAISE EXCEPTION USING ERRCODE = 'OK000', MESSAGE = rights::text || CASE WHEN fact THEN '' ELSE ' but not ' || more END;
EXCEPTION WHEN SQLSTATE 'OK000' THEN
    RETURN SQLERRM;
END $$;
UPDATE events.topics SET listen_permission = NULL;
SELECT events.define_topic('tap.one'), events.define_topic('tap.two'), events.let_listen('tap.one', 'events.read'), events.let_listen('tap.two', 'shop.sell');
SELECT access.define_role('listener', ARRAY['events.read'], '{}', :'acme'), access.define_role('listener', ARRAY['events.read'], '{}', :'bolt');
SELECT access.grant_role(:'ann', 'listener', NULL, :'acme'), access.grant_role(:'both', 'listener', NULL, :'bolt');
SELECT is(pg_temp.rights(ARRAY[pg_temp.token(:'ann'), pg_temp.token(:'both'), pg_temp.token(:'both')], ARRAY[NULL, :'bolt', :'acme']::uuid[]),
          format('{"%s tap.one,tap.two","%s tap.one",NULL}', :'acme', :'bolt'), 'topics by each one''s rights; NULL for who may not listen');
SELECT is(pg_temp.rights(ARRAY[pg_temp.token(:'ann')], ARRAY[NULL]::uuid[], 'access.user_id() IS NULL AND access.organization_id() IS NULL'),
          format('{"%s tap.one,tap.two"}', :'acme'), 'and nobody acts');
SELECT is(pg_temp.rights(ARRAY[pg_temp.token(:'ann')], ARRAY[NULL]::uuid[], $$current_setting('transaction_read_only')::boolean$$),
          format('{"%s tap.one,tap.two"}', :'acme'), 'and nothing can be written');
SELECT is(pg_temp.rights('{}', '{}'), '{}', 'nobody asked for');
SELECT is(pg_temp.code_of(format('SELECT access.listener_rights(ARRAY[%L, %L], ARRAY[NULL, NULL]::uuid[])', pg_temp.token(:'ann'), pg_temp.token(:'ann', '{"exp":1}')),
          'backoffice_gateway'), 'PT401 token_expired', 'one that is not good is an error');
SELECT is(pg_temp.code_of(format('SELECT access.listener_rights(ARRAY[%L], ARRAY[%L]::uuid[])', pg_temp.token(:'ann'), :'bolt'), 'backoffice_gateway'),
          '42501 not_a_member', 'and so is another''s organization');
SELECT is(pg_temp.code_of('SELECT access.listener_rights(ARRAY[NULL]::text[], ARRAY[NULL]::uuid[])', 'backoffice_gateway') || ' ' ||
          pg_temp.code_of($$SELECT access.listener_rights(ARRAY['a'], '{}')$$, 'backoffice_gateway'), '22023 bad_list 22023 bad_list', 'lists that do not fit');
SELECT is(pg_temp.code_of($$SELECT access.listener_rights('{}', '{}')$$, 'backoffice_user'), '42501 ', 'the gateway''s only');

SELECT * FROM finish();
ROLLBACK;
