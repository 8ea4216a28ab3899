/*
 * jws_parse.c
 *		base64url, and the compact form of a signed token: header.payload.signature.
 */
#include "access/jws.h"

#include <string.h>

/* What a header must not have: extensions that change what is signed, and keys that the sender brings along. */
static const char *const refused_members[] = {"crit", "jku", "jwk", "x5u", "x5c", "b64", "zip", "enc"};

static const struct
{
	JwsAlgorithm algorithm;
	const char *name;
}			algorithms[] =
{
	{JWS_HS256, "HS256"},
	{JWS_RS256, "RS256"},
	{JWS_PS256, "PS256"},
	{JWS_ES256, "ES256"},
	{JWS_EDDSA, "EdDSA"}
};

#define LENGTH_OF(array) (sizeof(array) / sizeof((array)[0]))

/* ---- base64url ---- */

static int
sextet(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '-')
		return 62;
	if (c == '_')
		return 63;
	return -1;
}

bool
base64url_decode(const char *text, size_t length, uint8_t *out, size_t *out_length)
{
	uint32_t	bits = 0;
	int			held = 0;
	size_t		n = 0;

	if (length % 4 == 1)
		return false;
	for (size_t i = 0; i < length; i++)
	{
		int			value = sextet(text[i]);

		if (value < 0)
			return false;
		bits = bits << 6 | (uint32_t) value;
		held += 6;
		if (held >= 8)
		{
			held -= 8;
			out[n++] = (uint8_t) (bits >> held);
			bits &= (1u << held) - 1;
		}
	}
	*out_length = n;
	return bits == 0;			/* left over bits that are not zero: another spelling of the same bytes */
}

size_t
base64url_encode(const uint8_t *bytes, size_t length, char *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	size_t		n = 0;
	size_t		i = 0;

	for (; i + 3 <= length; i += 3)
	{
		uint32_t	bits = (uint32_t) bytes[i] << 16 | (uint32_t) bytes[i + 1] << 8 | bytes[i + 2];

		out[n++] = digits[bits >> 18];
		out[n++] = digits[bits >> 12 & 63];
		out[n++] = digits[bits >> 6 & 63];
		out[n++] = digits[bits & 63];
	}
	if (i < length)
	{
		bool		two = i + 1 < length;
		uint32_t	bits = (uint32_t) bytes[i] << 16 | (two ? (uint32_t) bytes[i + 1] << 8 : 0);

		out[n++] = digits[bits >> 18];
		out[n++] = digits[bits >> 12 & 63];
		if (two)
			out[n++] = digits[bits >> 6 & 63];
	}
	out[n] = '\0';
	return n;
}

/* ---- names of algorithms ---- */

JwsAlgorithm
jws_algorithm(const char *name, size_t length)
{
	for (size_t i = 0; i < LENGTH_OF(algorithms); i++)
		if (strlen(algorithms[i].name) == length && memcmp(algorithms[i].name, name, length) == 0)
			return algorithms[i].algorithm;
	return JWS_NONE;
}

const char *
jws_algorithm_name(JwsAlgorithm algorithm)
{
	for (size_t i = 0; i < LENGTH_OF(algorithms); i++)
		if (algorithms[i].algorithm == algorithm)
			return algorithms[i].name;
	return "none";
}

/* ---- tokens ---- */

static const char *
read_header(JwsToken *token)
{
	const JsonNode *root = token->header.nodes;
	const JsonNode *algorithm;

	if (root->kind != JSON_IS_OBJECT)
		return "the header is not a JSON object";
	for (size_t i = 0; i < LENGTH_OF(refused_members); i++)
		if (json_member(&token->header, root, refused_members[i]) != NULL)
			return "the header has a member that is not accepted";
	algorithm = json_member(&token->header, root, "alg");
	if (algorithm == NULL || algorithm->kind != JSON_IS_STRING)
		return "the header has no algorithm";
	token->algorithm = jws_algorithm(algorithm->text, algorithm->length);
	if (token->algorithm == JWS_NONE)
		return "the algorithm is not accepted";
	token->kid = json_member(&token->header, root, "kid");
	if (token->kid != NULL &&
		(token->kid->kind != JSON_IS_STRING || token->kid->length < 1 || token->kid->length > JWS_KID_MAX))
		return "the key id is not a string of 1 to 255 bytes";
	token->type = json_member(&token->header, root, "typ");
	if (token->type != NULL && token->type->kind != JSON_IS_STRING)
		return "the type is not a string";
	return NULL;
}

/* Decodes one part to *buffer and moves that behind it; NULL: not base64url. */
static char *
decode_part(const char *text, size_t length, char **buffer, size_t *decoded)
{
	char	   *start = *buffer;

	if (length == 0 || !base64url_decode(text, length, (uint8_t *) start, decoded))
		return NULL;
	*buffer = start + *decoded;
	return start;
}

static const char *
parse_payload(const char *text, size_t length, char **buffer, JwsToken *out)
{
	char	   *copy;

	out->payload = decode_part(text, length, buffer, &out->payload_length);
	if (out->payload == NULL)
		return "the payload is not base64url";
	copy = *buffer;
	memcpy(copy, out->payload, out->payload_length);
	*buffer = copy + out->payload_length;
	if (!json_parse_strict(copy, out->payload_length, &out->claims))
		return "the payload is not strict JSON";
	if (out->claims.nodes->kind != JSON_IS_OBJECT)
		return "the payload is not a JSON object";
	return NULL;
}

static const char *
parse_signature(const char *text, size_t length, JwsToken *out)
{
	if (length == 0)
		return "the token is not signed";
	if (length > (JWS_SIGNATURE_MAX * 4 + 2) / 3)
		return "the signature is too long";
	if (!base64url_decode(text, length, out->signature, &out->signature_length))
		return "the signature is not base64url";
	return NULL;
}

const char *
jws_parse(const char *token, size_t length, char *buffer, JwsToken *out)
{
	const char *dot;
	const char *second;
	const char *problem;
	char	   *header;
	size_t		header_length;

	if (length > JWS_TOKEN_MAX)
		return "the token is too long";
	dot = memchr(token, '.', length);
	second = dot == NULL ? NULL : memchr(dot + 1, '.', length - (size_t) (dot + 1 - token));
	if (second == NULL)
		return "the token has not three parts";
	if ((size_t) (dot - token) > JWS_HEADER_MAX)
		return "the header is too long";
	header = decode_part(token, (size_t) (dot - token), &buffer, &header_length);
	if (header == NULL)
		return "the header is not base64url";
	if (!json_parse_strict(header, header_length, &out->header))
		return "the header is not strict JSON";
	out->signed_text = token;
	out->signed_length = (size_t) (second - token);
	problem = read_header(out);
	if (problem == NULL)
		problem = parse_signature(second + 1, length - (size_t) (second + 1 - token), out);
	if (problem == NULL)
		problem = parse_payload(dot + 1, (size_t) (second - dot - 1), &buffer, out);
	return problem;
}
