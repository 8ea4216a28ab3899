/*
 * jws_sign.c
 *		Making and checking signatures (RFC 7518, 8037).
 */
#include "access/jws.h"

#include <string.h>

#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>
#include <sodium.h>

#define HMAC_BYTES		32
#define ES256_BYTES		64		/* r and s, 32 each */
#define ED25519_BYTES	64
#define DER_MAX			80

/* ---- ES256: fixed-width r and s on the wire, DER in the library ---- */

/* The length is checked before anything else looks at the bytes; 0: refused. */
static int
es256_to_der(const uint8_t *signature, size_t length, uint8_t *der)
{
	ECDSA_SIG  *pair;
	BIGNUM	   *r;
	BIGNUM	   *s;
	int			n = 0;

	if (length != ES256_BYTES)
		return 0;
	pair = ECDSA_SIG_new();
	r = BN_bin2bn(signature, ES256_BYTES / 2, NULL);
	s = BN_bin2bn(signature + ES256_BYTES / 2, ES256_BYTES / 2, NULL);
	if (pair == NULL || r == NULL || s == NULL || ECDSA_SIG_set0(pair, r, s) != 1)
	{
		BN_free(r);
		BN_free(s);
	}
	else if (i2d_ECDSA_SIG(pair, NULL) <= DER_MAX)
		n = i2d_ECDSA_SIG(pair, &der);
	ECDSA_SIG_free(pair);
	return n;
}

static size_t
es256_from_der(const uint8_t *der, size_t length, uint8_t *signature)
{
	const unsigned char *at = der;
	ECDSA_SIG  *pair = d2i_ECDSA_SIG(NULL, &at, (long) length);
	bool		good = pair != NULL &&
		BN_bn2binpad(ECDSA_SIG_get0_r(pair), signature, ES256_BYTES / 2) == ES256_BYTES / 2 &&
		BN_bn2binpad(ECDSA_SIG_get0_s(pair), signature + ES256_BYTES / 2, ES256_BYTES / 2) == ES256_BYTES / 2;

	ECDSA_SIG_free(pair);
	return good ? ES256_BYTES : 0;
}

/* ---- the library's contexts ---- */

static bool
use_pss(const JwsKey *key, EVP_PKEY_CTX *ctx)
{
	if (key->algorithm != JWS_PS256)
		return true;
	return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
		EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1 &&
		EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, EVP_sha256()) == 1;
}

static const EVP_MD *
digest_of(const JwsKey *key)
{
	return key->algorithm == JWS_EDDSA ? NULL : EVP_sha256();
}

static bool
hmac_of(const JwsKey *key, const char *text, size_t length, uint8_t *mac)
{
	unsigned int n = HMAC_BYTES;

	return HMAC(EVP_sha256(), key->secret, (int) key->secret_length, (const uint8_t *) text, length, mac, &n) != NULL &&
		n == HMAC_BYTES;
}

static bool
verify_public(const JwsKey *key, const char *text, size_t length, const uint8_t *signature, size_t signature_length)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pkey_ctx;
	bool		good;

	good = ctx != NULL &&
		EVP_DigestVerifyInit(ctx, &pkey_ctx, digest_of(key), NULL, key->pkey) == 1 &&
		use_pss(key, pkey_ctx) &&
		EVP_DigestVerify(ctx, signature, signature_length, (const uint8_t *) text, length) == 1;
	EVP_MD_CTX_free(ctx);
	if (!good)
		ERR_clear_error();		/* whoever uses the library next must not take it for its own */
	return good;
}

bool
jws_verify(const JwsKey *key, const char *signed_text, size_t signed_length,
		   const uint8_t *signature, size_t signature_length)
{
	uint8_t		der[DER_MAX];
	uint8_t		mac[HMAC_BYTES];
	int			n;

	switch (key->algorithm)
	{
		case JWS_HS256:
			return signature_length == HMAC_BYTES && hmac_of(key, signed_text, signed_length, mac) &&
				CRYPTO_memcmp(mac, signature, HMAC_BYTES) == 0;
		case JWS_ES256:
			n = es256_to_der(signature, signature_length, der);
			return n > 0 && verify_public(key, signed_text, signed_length, der, (size_t) n);
		case JWS_EDDSA:
			return signature_length == ED25519_BYTES &&
				verify_public(key, signed_text, signed_length, signature, signature_length);
		case JWS_RS256:
		case JWS_PS256:
			return signature_length == (size_t) EVP_PKEY_get_size(key->pkey) &&
				verify_public(key, signed_text, signed_length, signature, signature_length);
		default:
			return false;
	}
}

static size_t
sign_private(const JwsKey *key, const char *text, size_t length, uint8_t *signature, size_t size)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pkey_ctx;
	size_t		n = size;
	bool		good;

	good = ctx != NULL &&
		EVP_DigestSignInit(ctx, &pkey_ctx, digest_of(key), NULL, key->pkey) == 1 &&
		use_pss(key, pkey_ctx) &&
		EVP_DigestSign(ctx, signature, &n, (const uint8_t *) text, length) == 1;
	EVP_MD_CTX_free(ctx);
	return good ? n : 0;
}

static size_t
sign_es256(const JwsKey *key, const char *text, size_t length, uint8_t *signature)
{
	uint8_t		digest[EVP_MAX_MD_SIZE];
	uint8_t		der[DER_MAX];
	unsigned int digest_length;
	size_t		n = sizeof(der);

	if (key->signer == NULL || EVP_Digest(text, length, digest, &digest_length, EVP_sha256(), NULL) != 1 ||
		EVP_PKEY_sign(key->signer, der, &n, digest, digest_length) != 1)
		return 0;
	return es256_from_der(der, n, signature);
}

static size_t
sign_eddsa(const JwsKey *key, const char *text, size_t length, uint8_t *signature)
{
	if (key->secret_length != crypto_sign_SECRETKEYBYTES ||
		crypto_sign_detached(signature, NULL, (const uint8_t *) text, length, key->secret) != 0)
		return 0;
	return ED25519_BYTES;
}

size_t
jws_sign(const JwsKey *key, const char *text, size_t length, uint8_t *signature)
{
	switch (key->algorithm)
	{
		case JWS_HS256:
			return hmac_of(key, text, length, signature) ? HMAC_BYTES : 0;
		case JWS_ES256:
			return sign_es256(key, text, length, signature);
		case JWS_EDDSA:
			return sign_eddsa(key, text, length, signature);
		case JWS_RS256:
		case JWS_PS256:
			return sign_private(key, text, length, signature, JWS_SIGNATURE_MAX);
		default:
			return 0;
	}
}
