/*
 * jws_key.c
 *		Keys of signatures: from and to JWK (RFC 7517, 7518, 8037).
 *
 * A key has one algorithm, from its own record; a token never chooses.
 */
#include "access/jws.h"

#include <stdio.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <sodium.h>

#define COORDINATE_BYTES	32
#define RSA_BYTES_MAX		(JWS_RSA_BITS_MAX / 8)

void
jws_key_free(JwsKey *key)
{
	EVP_PKEY_CTX_free(key->signer);
	EVP_PKEY_free(key->pkey);
	OPENSSL_cleanse(key, sizeof(*key));
}

/* ---- from JWK ---- */

/* A member in base64url; -1: missing, malformed or longer than size. */
static int
member_bytes(const JsonDocument *document, const JsonNode *jwk, const char *name, uint8_t *out, size_t size)
{
	const JsonNode *node = json_member(document, jwk, name);
	size_t		length;

	if (node == NULL || node->kind != JSON_IS_STRING || node->length == 0 || node->length > (size * 4 + 2) / 3 ||
		!base64url_decode(node->text, node->length, out, &length))
		return -1;
	return (int) length;
}

static EVP_PKEY *
pkey_from(const char *type, OSSL_PARAM *params)
{
	EVP_PKEY_CTX *ctx = params == NULL ? NULL : EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY   *pkey = NULL;

	if (ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
		EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
		pkey = NULL;
	EVP_PKEY_CTX_free(ctx);
	return pkey;
}

static EVP_PKEY *
rsa_pkey(const uint8_t *n, int n_length, const uint8_t *e, int e_length)
{
	BIGNUM	   *modulus = BN_bin2bn(n, n_length, NULL);
	BIGNUM	   *exponent = BN_bin2bn(e, e_length, NULL);
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	OSSL_PARAM *params = NULL;
	EVP_PKEY   *pkey;

	if (modulus != NULL && exponent != NULL && builder != NULL &&
		OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, modulus) == 1 &&
		OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, exponent) == 1)
		params = OSSL_PARAM_BLD_to_param(builder);
	pkey = pkey_from("RSA", params);
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(builder);
	BN_free(modulus);
	BN_free(exponent);
	return pkey;
}

static const char *
read_rsa(const JsonDocument *document, const JsonNode *jwk, JwsKey *key)
{
	uint8_t		n[RSA_BYTES_MAX + 1];
	uint8_t		e[8];
	int			n_length = member_bytes(document, jwk, "n", n, sizeof(n));
	int			e_length = member_bytes(document, jwk, "e", e, sizeof(e));
	int			bits;

	if (n_length < 1 || e_length < 1 || (e[e_length - 1] & 1) == 0 || (e_length == 1 && e[0] == 1))
		return "it has no usable modulus and exponent";
	key->pkey = rsa_pkey(n, n_length, e, e_length);
	if (key->pkey == NULL)
		return "the cryptography library refuses it";
	bits = EVP_PKEY_get_bits(key->pkey);
	if (bits < JWS_RSA_BITS_MIN || bits > JWS_RSA_BITS_MAX)
		return "an RSA key has 2048 to 8192 bits";
	return NULL;
}

static const char *
read_ec(const JsonDocument *document, const JsonNode *jwk, JwsKey *key)
{
	uint8_t		point[1 + 2 * COORDINATE_BYTES] = {POINT_CONVERSION_UNCOMPRESSED};
	uint8_t		x[COORDINATE_BYTES];
	uint8_t		y[COORDINATE_BYTES];
	char		group[] = "prime256v1";
	OSSL_PARAM	params[3];
	EVP_PKEY_CTX *ctx;
	bool		good;

	if (!json_string_is(json_member(document, jwk, "crv"), "P-256"))
		return "the curve is not P-256";
	if (member_bytes(document, jwk, "x", x, sizeof(x)) != COORDINATE_BYTES ||
		member_bytes(document, jwk, "y", y, sizeof(y)) != COORDINATE_BYTES)
		return "a coordinate has 32 bytes";
	memcpy(point + 1, x, COORDINATE_BYTES);
	memcpy(point + 1 + COORDINATE_BYTES, y, COORDINATE_BYTES);
	params[0] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0);
	params[1] = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point));
	params[2] = OSSL_PARAM_construct_end();
	key->pkey = pkey_from("EC", params);
	if (key->pkey == NULL)
		return "the point is not on the curve";
	ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key->pkey, NULL);
	good = ctx != NULL && EVP_PKEY_public_check(ctx) == 1;
	EVP_PKEY_CTX_free(ctx);
	return good ? NULL : "the point is not on the curve";
}

static const char *
read_okp(const JsonDocument *document, const JsonNode *jwk, JwsKey *key)
{
	uint8_t		x[COORDINATE_BYTES];

	if (!json_string_is(json_member(document, jwk, "crv"), "Ed25519"))
		return "the curve is not Ed25519";
	if (member_bytes(document, jwk, "x", x, sizeof(x)) != COORDINATE_BYTES)
		return "a point has 32 bytes";
	key->pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x, sizeof(x));
	return key->pkey == NULL ? "the cryptography library refuses it" : NULL;
}

/* The algorithm that a key's type and "alg" allow, and the one asked for, if any. */
static JwsAlgorithm
agreed_algorithm(const JsonDocument *document, const JsonNode *jwk, JwsAlgorithm asked)
{
	const JsonNode *type = json_member(document, jwk, "kty");
	const JsonNode *named = json_member(document, jwk, "alg");
	JwsAlgorithm own = JWS_NONE;

	if (named != NULL)
	{
		if (named->kind != JSON_IS_STRING)
			return JWS_NONE;
		own = jws_algorithm(named->text, named->length);
		if (own == JWS_NONE || (asked != JWS_NONE && asked != own))
			return JWS_NONE;
		asked = own;
	}
	if (json_string_is(type, "RSA"))
		return asked == JWS_NONE ? JWS_RS256 : asked == JWS_RS256 || asked == JWS_PS256 ? asked : JWS_NONE;
	if (json_string_is(type, "EC"))
		return asked == JWS_NONE || asked == JWS_ES256 ? JWS_ES256 : JWS_NONE;
	if (json_string_is(type, "OKP"))
		return asked == JWS_NONE || asked == JWS_EDDSA ? JWS_EDDSA : JWS_NONE;
	return JWS_NONE;
}

static bool
may_verify(const JsonDocument *document, const JsonNode *jwk)
{
	const JsonNode *use = json_member(document, jwk, "use");
	const JsonNode *operations = json_member(document, jwk, "key_ops");

	if (use != NULL && !json_string_is(use, "sig"))
		return false;
	if (operations == NULL)
		return true;
	for (const JsonNode *one = json_first(document, operations); one != NULL; one = json_next(document, one))
		if (json_string_is(one, "verify"))
			return true;
	return false;
}

const char *
jws_key_from_jwk(const JsonDocument *document, const JsonNode *jwk, JwsAlgorithm algorithm, JwsKey *key)
{
	const char *problem;

	memset(key, 0, sizeof(*key));
	if (jwk->kind != JSON_IS_OBJECT)
		return "it is not a JSON object";
	if (json_member(document, jwk, "d") != NULL || json_member(document, jwk, "k") != NULL)
		return "it is not a public key";
	if (!may_verify(document, jwk))
		return "it is not for signatures";
	key->algorithm = agreed_algorithm(document, jwk, algorithm);
	switch (key->algorithm)
	{
		case JWS_RS256:
		case JWS_PS256:
			problem = read_rsa(document, jwk, key);
			break;
		case JWS_ES256:
			problem = read_ec(document, jwk, key);
			break;
		case JWS_EDDSA:
			problem = read_okp(document, jwk, key);
			break;
		default:
			return "its type and algorithm are not accepted";
	}
	if (problem != NULL)
	{
		jws_key_free(key);
		ERR_clear_error();
	}
	return problem;
}

const char *
jws_key_from_secret(const uint8_t *secret, size_t length, JwsKey *key)
{
	memset(key, 0, sizeof(*key));
	if (length < JWS_SECRET_MIN || length > JWS_SECRET_MAX)
		return "a secret has 32 to 512 bytes";
	key->algorithm = JWS_HS256;
	memcpy(key->secret, secret, length);
	key->secret_length = length;
	return NULL;
}

/* ---- own keys ---- */

/* What signing needs at hand; false: not there. */
static bool
prepare_signer(JwsKey *key)
{
	uint8_t		seed[crypto_sign_SEEDBYTES];
	uint8_t		public_key[crypto_sign_PUBLICKEYBYTES];
	size_t		length = sizeof(seed);
	bool		good;

	switch (key->algorithm)
	{
		case JWS_ES256:
			key->signer = EVP_PKEY_CTX_new(key->pkey, NULL);
			return key->signer != NULL && EVP_PKEY_sign_init(key->signer) == 1;
		case JWS_EDDSA:
			good = EVP_PKEY_get_raw_private_key(key->pkey, seed, &length) == 1 && length == sizeof(seed) &&
				crypto_sign_seed_keypair(public_key, key->secret, seed) == 0;
			key->secret_length = good ? crypto_sign_SECRETKEYBYTES : 0;
			OPENSSL_cleanse(seed, sizeof(seed));
			return good;
		default:
			return true;
	}
}

bool
jws_key_generate(JwsAlgorithm algorithm, JwsKey *key)
{
	memset(key, 0, sizeof(*key));
	key->algorithm = algorithm;
	if (algorithm == JWS_ES256)
		key->pkey = EVP_EC_gen("P-256");
	else if (algorithm == JWS_EDDSA)
		key->pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	else if (algorithm == JWS_RS256 || algorithm == JWS_PS256)
		key->pkey = EVP_RSA_gen(JWS_RSA_BITS_MIN);
	if (key->pkey != NULL && prepare_signer(key))
		return true;
	jws_key_free(key);
	return false;
}

static int
type_of(JwsAlgorithm algorithm)
{
	return algorithm == JWS_ES256 ? EVP_PKEY_EC : algorithm == JWS_EDDSA ? EVP_PKEY_ED25519 : EVP_PKEY_RSA;
}

bool
jws_key_from_private(const uint8_t *der, size_t length, JwsAlgorithm algorithm, JwsKey *key)
{
	const unsigned char *at = der;

	memset(key, 0, sizeof(*key));
	key->algorithm = algorithm;
	key->pkey = d2i_AutoPrivateKey(NULL, &at, (long) length);
	if (key->pkey != NULL && EVP_PKEY_get_base_id(key->pkey) == type_of(algorithm) && prepare_signer(key))
		return true;
	jws_key_free(key);
	return false;
}

int
jws_key_private_der(const JwsKey *key, uint8_t **der)
{
	*der = NULL;
	return i2d_PrivateKey(key->pkey, der);
}

/* ---- to JWK ---- */

static bool
write_number(const EVP_PKEY *pkey, const char *param, int width, char *out)
{
	BIGNUM	   *number = NULL;
	uint8_t		bytes[RSA_BYTES_MAX];
	int			length = 0;
	bool		good = EVP_PKEY_get_bn_param(pkey, param, &number) == 1;

	if (good)
		length = width > 0 ? width : BN_num_bytes(number);
	good = good && length <= (int) sizeof(bytes) && BN_bn2binpad(number, bytes, length) == length;
	if (good)
		(void) base64url_encode(bytes, (size_t) length, out);
	BN_free(number);
	return good;
}

bool
jws_key_write_jwk(const JwsKey *key, char *out, size_t size)
{
	char		one[RSA_BYTES_MAX * 4 / 3 + 8];
	char		other[RSA_BYTES_MAX * 4 / 3 + 8];
	uint8_t		raw[COORDINATE_BYTES];
	size_t		raw_length = sizeof(raw);
	int			n = -1;

	switch (key->algorithm)
	{
		case JWS_RS256:
		case JWS_PS256:
			if (write_number(key->pkey, OSSL_PKEY_PARAM_RSA_N, 0, one) && write_number(key->pkey, OSSL_PKEY_PARAM_RSA_E, 0, other))
				n = snprintf(out, size, "\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\"", one, other);
			break;
		case JWS_ES256:
			if (write_number(key->pkey, OSSL_PKEY_PARAM_EC_PUB_X, COORDINATE_BYTES, one) &&
				write_number(key->pkey, OSSL_PKEY_PARAM_EC_PUB_Y, COORDINATE_BYTES, other))
				n = snprintf(out, size, "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"%s\",\"y\":\"%s\"", one, other);
			break;
		case JWS_EDDSA:
			if (EVP_PKEY_get_raw_public_key(key->pkey, raw, &raw_length) == 1)
			{
				(void) base64url_encode(raw, raw_length, one);
				n = snprintf(out, size, "\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"%s\"", one);
			}
			break;
		default:
			break;
	}
	return n > 0 && (size_t) n < size;
}
