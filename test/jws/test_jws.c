/* Tokens apart from the server: published vectors, base64url, strict JSON, keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "access/jws.h"
#include "vectors.h"

/* ---- helpers ---- */

static JsonDocument document;

static JwsKey
key_of(const char *jwk, JwsAlgorithm algorithm)
{
	char	   *text = strdup(jwk);
	JwsKey		key;

	assert_true(json_parse_strict(text, strlen(text), &document));
	assert_null(jws_key_from_jwk(&document, document.nodes, algorithm, &key));
	free(text);
	return key;
}

static bool
is_key(const char *jwk)
{
	char	   *text = strdup(jwk);
	JwsKey		key;
	bool		good = json_parse_strict(text, strlen(text), &document) && jws_key_from_jwk(&document, document.nodes, JWS_NONE, &key) == NULL;

	if (good)
		jws_key_free(&key);
	free(text);
	return good;
}

/* As the server does it: NULL, or what is wrong. */
static const char *
check(const char *token, const JwsKey *key)
{
	static JwsToken parsed;
	size_t		length = strlen(token);
	char	   *buffer = malloc(JWS_BUFFER_SIZE(length));
	const char *problem = jws_parse(token, length, buffer, &parsed);

	/* Vectors have other payloads too; the signature was read by then. */
	if (problem != NULL && (strstr(problem, "JSON") != NULL ? strncmp(problem, "the payload", 11) == 0 :
							strcmp(problem, "the payload is not base64url") == 0 && parsed.signed_text[parsed.signed_length - 1] == '.'))
		problem = NULL;
	if (problem == NULL && parsed.algorithm != key->algorithm)
		problem = "another algorithm";
	if (problem == NULL && !jws_verify(key, parsed.signed_text, parsed.signed_length, parsed.signature, parsed.signature_length))
		problem = "the signature is wrong";
	free(buffer);
	return problem;
}

/* ---- vectors ---- */

static void
rfc7515_a1_hs256(void **state)
{
	uint8_t		secret[128];
	size_t		length;
	JwsKey		key;

	(void) state;
	assert_true(base64url_decode(A1_SECRET, strlen(A1_SECRET), secret, &length));
	assert_null(jws_key_from_secret(secret, length, &key));
	assert_null(check(A1_TOKEN, &key));
	key.secret[0] ^= 1;
	assert_non_null(check(A1_TOKEN, &key));
	jws_key_free(&key);
}

static void
claims_of_rfc7519(void **state)
{
	static JwsToken token;
	char		buffer[JWS_BUFFER_SIZE(sizeof(A1_TOKEN))];
	int64_t		expires;

	(void) state;
	assert_null(jws_parse(A1_TOKEN, strlen(A1_TOKEN), buffer, &token));
	assert_true(json_string_is(token.type, "JWT"));
	assert_null(token.kid);
	assert_true(json_string_is(json_member(&token.claims, token.claims.nodes, "iss"), "joe"));
	assert_true(json_seconds(json_member(&token.claims, token.claims.nodes, "exp"), &expires));
	assert_int_equal(expires, 1300819380);
	assert_int_equal(json_member(&token.claims, token.claims.nodes, "http://example.com/is_root")->kind, JSON_IS_TRUE);
}

static void
rfc7515_a2_rs256(void **state)
{
	JwsKey		key = key_of(A2_KEY, JWS_NONE);

	(void) state;
	assert_int_equal(key.algorithm, JWS_RS256);
	assert_null(check(A2_TOKEN, &key));
	assert_non_null(check(A3_TOKEN, &key));
	key.algorithm = JWS_PS256;
	assert_non_null(check(A2_TOKEN, &key));
	jws_key_free(&key);
}

static void
rfc7515_a3_es256(void **state)
{
	JwsKey		key = key_of(A3_KEY, JWS_NONE);
	char		token[] = A3_TOKEN;

	(void) state;
	assert_int_equal(key.algorithm, JWS_ES256);
	assert_null(check(A3_TOKEN, &key));
	token[strlen(token) - 2] ^= 1;
	assert_non_null(check(token, &key));
	jws_key_free(&key);
}

static void
rfc8037_a4_eddsa(void **state)
{
	JwsKey		key = key_of(OKP_KEY, JWS_NONE);
	uint8_t		signature[JWS_SIGNATURE_MAX];
	size_t		length;

	(void) state;
	assert_int_equal(key.algorithm, JWS_EDDSA);
	assert_null(check(OKP_TEXT "." OKP_SIGNATURE, &key));
	assert_true(base64url_decode(OKP_SIGNATURE, strlen(OKP_SIGNATURE), signature, &length));
	assert_true(jws_verify(&key, OKP_TEXT, strlen(OKP_TEXT), signature, length));
	assert_false(jws_verify(&key, OKP_TEXT, strlen(OKP_TEXT) - 1, signature, length));
	assert_false(jws_verify(&key, OKP_TEXT, strlen(OKP_TEXT), signature, length - 1));
	jws_key_free(&key);
}

/* ---- what is made is read again ---- */

static void
own_keys(void **state)
{
	static const JwsAlgorithm algorithms[] = {JWS_ES256, JWS_EDDSA, JWS_RS256, JWS_PS256};
	static const char text[] = "header.payload";

	(void) state;
	for (int i = 0; i < 4; i++)
	{
		JwsKey		key,
					again,
					public;
		uint8_t    *der;
		int			length;
		uint8_t		signature[JWS_SIGNATURE_MAX];
		size_t		n;
		char		jwk[1024];
		char		whole[1100];

		assert_true(jws_key_generate(algorithms[i], &key));
		length = jws_key_private_der(&key, &der);
		assert_true(length > 0);
		assert_true(jws_key_from_private(der, (size_t) length, algorithms[i], &again));
		assert_false(jws_key_from_private(der, (size_t) length - 1, algorithms[i], &public));
		assert_true(jws_key_write_jwk(&again, jwk, sizeof(jwk)));
		assert_false(jws_key_write_jwk(&again, jwk, 40));
		assert_true(jws_key_write_jwk(&again, jwk, sizeof(jwk)));
		snprintf(whole, sizeof(whole), "{%s}", jwk);
		public = key_of(whole, algorithms[i]);
		for (int j = 0; j < 20; j++)
		{
			n = jws_sign(&again, text, strlen(text), signature);
			assert_true(n > 0);
			assert_true(jws_verify(&public, text, strlen(text), signature, n));
			signature[n / 2] ^= 4;
			assert_false(jws_verify(&public, text, strlen(text), signature, n));
		}
		assert_true(public.algorithm == algorithms[i]);
		OPENSSL_clear_free(der, (size_t) length);
		jws_key_free(&key);
		jws_key_free(&again);
		jws_key_free(&public);
	}
}

static void
keys_refused(void **state)
{
	(void) state;
	assert_true(is_key(A2_KEY));
	assert_true(is_key("{\"use\":\"sig\",\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"));
	assert_false(is_key("{\"use\":\"enc\",\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"));
	assert_false(is_key("{\"key_ops\":[\"sign\"],\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"));
	assert_false(is_key("{\"d\":\"AA\",\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"));
	assert_false(is_key("{\"alg\":\"HS256\",\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"));
	assert_false(is_key("{\"kty\":\"oct\",\"k\":\"" A1_SECRET "\"}"));
	assert_false(is_key("{\"kty\":\"RSA\",\"alg\":\"HS256\",\"n\":\"" A2_N "\",\"e\":\"AQAB\"}"));
	assert_false(is_key("{\"kty\":\"RSA\",\"alg\":\"RSA-OAEP\",\"n\":\"" A2_N "\",\"e\":\"AQAB\"}"));
	assert_false(is_key("{\"kty\":\"RSA\",\"n\":\"" A2_N "\",\"e\":\"AQ\"}"));
	assert_false(is_key("{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}"));
	assert_false(is_key("{\"kty\":\"RSA\",\"n\":\"" A2_N "=\",\"e\":\"AQAB\"}"));
	/* Not on the curve; on another. */
	assert_false(is_key("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"y\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\"}"));
	assert_false(is_key("{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}"));
	assert_false(is_key("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAA\",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}"));
	assert_false(is_key("[]"));
}

/* ---- base64url ---- */

static void
base64url(void **state)
{
	uint8_t		bytes[64];
	uint8_t		back[64];
	char		text[96];
	size_t		n;
	static const char *const bad[] = {"A", "AAAAA", "AB", "AAB", "AA=", "AA==", "A A", "AA+A", "AA/A", "AA\n", "\xc3\xa9", "AA.A"};

	(void) state;
	for (size_t length = 0; length < 60; length++)
	{
		for (size_t i = 0; i < length; i++)
			bytes[i] = (uint8_t) (i * 37 + length * 11);
		n = base64url_encode(bytes, length, text);
		assert_int_equal(n, strlen(text));
		assert_true(base64url_decode(text, n, back, &n));
		assert_int_equal(n, length);
		assert_memory_equal(bytes, back, length);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(base64url_decode(bad[i], strlen(bad[i]), back, &n));
}

/* ---- JSON ---- */

static bool
is_json(const char *text)
{
	char	   *copy = strdup(text);
	bool		good = json_parse_strict(copy, strlen(text), &document);

	free(copy);
	return good;
}

static void
json(void **state)
{
	static const char *const good[] = {"{}", "[]", " [ ] ", "0", "-0.5e+10", "\"\"", "null", "[true,false]", "{\"a\":{\"a\":1},\"b\":[1,2]}",
	"\"\\u00e9\\ud83d\\ude00\\n\"", "\"\xc3\xa9\"", "\"\x7f\"", "\"\xf4\x8f\xbf\xbf\"", "\t{\r\n\"a\" : 1 }"};
	static const char *const bad[] = {"", " ", "{", "}", "[1,]", "{\"a\":1,}", "{a:1}", "{'a':1}", "[1 2]", "01", "1.", ".5", "+1", "1e", "- 1", "nul", "True", "NaN",
		"\"\\x\"", "\"\n\"", "\"", "\"\\\"", "\"\\u12\"", "\"\\u0000\"", "\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\u0041\"", "\"\x80\"", "\"\xc0\xaf\"", "\"\xed\xa0\x80\"",
		"\"\xf4\x90\x80\x80\"", "\"\xe0\x80\x80\"", "\"\xc3\"", "{\"a\":1,\"a\":2}", "{\"a\":1,\"\\u0061\":2}", "{\"\":1,\"\":2}", "{} {}", "[]x", "\xef\xbb\xbf{}", "[1]//", "{\"a\"}", "{\"a\":}", "[,1]"};
	char		deep[64] = "";
	char		wide[8192] = "[0";

	(void) state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (!is_json(good[i]))
			fail_msg("refused: %s", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (is_json(bad[i]))
			fail_msg("taken: %s", bad[i]);
	for (int i = 0; i < 17; i++)
		strcat(deep, "[");
	for (int i = 0; i < 17; i++)
		strcat(deep, "]");
	assert_false(is_json(deep));
	deep[33] = '\0';
	assert_true(is_json(deep + 1));
	for (int i = 0; i < JSON_NODES_MAX - 2; i++)
		strcat(wide, ",0");
	strcat(wide, "]");
	assert_true(is_json(wide));
	strcpy(wide + strlen(wide) - 1, ",0]");
	assert_false(is_json(wide));
}

static void
seconds(void **state)
{
	static const char *const bad[] = {"\"1\"", "-1", "1e3", "1E3", "9999999999999", "null", "true", "[]"};
	int64_t		value;
	char		text[32] = "1300819380.75";

	(void) state;
	assert_true(json_parse_strict(text, strlen(text), &document));
	assert_true(json_seconds(document.nodes, &value));
	assert_int_equal(value, 1300819380);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		strcpy(text, bad[i]);
		assert_true(json_parse_strict(text, strlen(text), &document));
		assert_false(json_seconds(document.nodes, &value));
	}
	assert_false(json_seconds(NULL, &value));
}

/* ---- Wycheproof, where its file is at hand ---- */

/*
 * 346, 350: the header says PS384, the key PS256; we compare.  367, 370: the very
 * bytes of the valid token.  372, 373: a "?" in base64url, called valid; we are strict.
 */
static bool
is_explained(json_int_t id)
{
	static const json_int_t explained[] = {346, 350, 367, 370, 372, 373};

	for (size_t i = 0; i < sizeof(explained) / sizeof(explained[0]); i++)
		if (explained[i] == id)
			return true;
	return false;
}

static bool
wycheproof_key(json_t *group, JwsKey *key)
{
	json_t	   *jwk = json_object_get(group, "public");
	json_t	   *private = json_object_get(group, "private");
	const char *k = json_string_value(json_object_get(private, "k"));
	char	   *text;
	bool		good;

	if (k != NULL)
	{
		uint8_t		secret[1024];
		size_t		length;

		return strlen(k) < 1000 && base64url_decode(k, strlen(k), secret, &length) && jws_key_from_secret(secret, length, key) == NULL &&
			strcmp(json_string_value(json_object_get(private, "alg")), "HS256") == 0;
	}
	text = json_dumps(jwk, JSON_COMPACT);
	good = text != NULL && json_parse_strict(text, strlen(text), &document) && jws_key_from_jwk(&document, document.nodes, JWS_NONE, key) == NULL;
	free(text);
	return good;
}

static void
wycheproof(void **state)
{
	const char *path = getenv("WYCHEPROOF_JWS");
	json_t	   *file = path ? json_load_file(path, 0, NULL) : NULL;
	json_t	   *group,
			   *test;
	size_t		i,
				j;
	int			taken = 0,
				refused = 0,
				passed_over = 0,
				wrong = 0;

	(void) state;
	if (file == NULL)
		skip();
	json_array_foreach(json_object_get(file, "testGroups"), i, group)
	{
		JwsKey		key;

		if (!wycheproof_key(group, &key))
		{
			passed_over += (int) json_array_size(json_object_get(group, "tests"));
			continue;
		}
		json_array_foreach(json_object_get(group, "tests"), j, test)
		{
			bool		valid = strcmp(json_string_value(json_object_get(test, "result")), "valid") == 0;
			const char *problem = check(json_string_value(json_object_get(test, "jws")), &key);

			taken += problem == NULL;
			refused += problem != NULL;
			if (valid != (problem == NULL) && !is_explained(json_integer_value(json_object_get(test, "tcId"))))
			{
				wrong++;
				printf("tcId %lld (%s), %s: %s\n", json_integer_value(json_object_get(test, "tcId")), json_string_value(json_object_get(test, "comment")),
					   json_string_value(json_object_get(test, "result")), problem ? problem : "taken");
			}
		}
		jws_key_free(&key);
	}
	json_decref(file);
	printf("Wycheproof: %d taken, %d refused, %d of keys that are not accepted, %d wrong\n", taken, refused, passed_over, wrong);
	assert_int_equal(wrong, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc7515_a1_hs256), cmocka_unit_test(claims_of_rfc7519), cmocka_unit_test(rfc7515_a2_rs256),
		cmocka_unit_test(rfc7515_a3_es256), cmocka_unit_test(rfc8037_a4_eddsa), cmocka_unit_test(own_keys), cmocka_unit_test(keys_refused),
		cmocka_unit_test(base64url), cmocka_unit_test(json), cmocka_unit_test(seconds), cmocka_unit_test(wycheproof),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
