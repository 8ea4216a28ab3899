/*
 * What reads strangers' bytes, fed by libFuzzer: a whole token, and JSON beside
 * jansson: what we take it takes too, and what it takes we may refuse only for
 * our own limits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "access/jws.h"
#include "vectors.h"

static JwsKey key;

static void
fuzz_token(const uint8_t *data, size_t size)
{
	static JwsToken token;
	/* Exactly as much as promised, so that a byte more is seen. */
	char	   *buffer = malloc(JWS_BUFFER_SIZE(size));
	char	   *text = malloc(size + 1);

	memcpy(text, data, size);
	if (jws_parse(text, size, buffer, &token) == NULL)
	{
		char		spelled[JWS_SIGNATURE_MAX * 2];

		/* One spelling for one signature. */
		(void) base64url_encode(token.signature, token.signature_length, spelled);
		if (size - token.signed_length - 1 != strlen(spelled) || memcmp(text + token.signed_length + 1, spelled, strlen(spelled)) != 0)
			abort();
		if (token.claims.nodes->kind != JSON_IS_OBJECT || token.header.nodes->kind != JSON_IS_OBJECT || token.algorithm == JWS_NONE)
			abort();
		key.algorithm = token.algorithm == JWS_RS256 || token.algorithm == JWS_PS256 || token.algorithm == JWS_HS256 ? JWS_ES256 : token.algorithm;
		if (key.algorithm == JWS_ES256)
			(void) jws_verify(&key, token.signed_text, token.signed_length, token.signature, token.signature_length);
	}
	free(text);
	free(buffer);
}

static int
depth_of(json_t *value)
{
	int			deepest = 0;
	const char *name;
	json_t	   *one;
	size_t		i;

	if (json_is_object(value))
		json_object_foreach(value, name, one)
			deepest = deepest > depth_of(one) ? deepest : depth_of(one);
	else if (json_is_array(value))
		json_array_foreach(value, i, one)
			deepest = deepest > depth_of(one) ? deepest : depth_of(one);
	else
		return 0;
	return deepest + 1;
}

/* Numbers that jansson refuses or reads as infinity are no matter of form. */
static bool
is_about_numbers(const json_error_t *error)
{
	enum json_error_code code = json_error_code(error);

	return code == json_error_numeric_overflow;
}

static void
fuzz_json(const uint8_t *data, size_t size)
{
	static JsonDocument document;
	char	   *text = malloc(size + 1);
	json_error_t error;
	json_t	   *theirs;
	bool		ours;

	memcpy(text, data, size);
	theirs = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
	ours = json_parse_strict(text, size, &document);
	if (ours && theirs == NULL && !is_about_numbers(&error))
	{
		fprintf(stderr, "jansson refuses: %s\n", error.text);
		abort();
	}
	/* jansson takes a NUL byte outside a string for the end of the text. */
	if (!ours && theirs != NULL && memchr(data, 0, size) == NULL && depth_of(theirs) <= JSON_DEPTH_MAX && size < JSON_MEMBERS_MAX)
		abort();
	json_decref(theirs);
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (key.pkey == NULL)
	{
		static JsonDocument document;
		char		jwk[] = A3_KEY;

		if (!json_parse_strict(jwk, strlen(jwk), &document) || jws_key_from_jwk(&document, document.nodes, JWS_ES256, &key) != NULL)
			abort();
	}
	if (size > 0 && data[0] & 1)
		fuzz_json(data + 1, size - 1);
	else if (size > 0)
		fuzz_token(data + 1, size - 1);
	return 0;
}
