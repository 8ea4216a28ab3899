/*
 * jws.h
 *		JSON Web Signatures apart from the server: parsing, keys, signatures.
 *
 * No server header in here and in jws_*.c, so that what reads strangers' bytes
 * can be fuzzed and tested alone (test/jws).  Nothing raises, nothing
 * allocates but OpenSSL; the caller brings the memory.  Ed25519 is signed by
 * libsodium, which takes a third of OpenSSL's time for it.
 */
#ifndef BACKOFFICE_JWS_H
#define BACKOFFICE_JWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/evp.h>

#define JWS_TOKEN_MAX		16384	/* bytes of a whole token */
#define JWS_HEADER_MAX		2048	/* of its first part, encoded */
#define JWS_KID_MAX			255
#define JWS_SIGNATURE_MAX	1024	/* an RSA key of 8192 bits */
#define JWS_SECRET_MIN		32		/* bytes of an HMAC key */
#define JWS_SECRET_MAX		512
#define JWS_RSA_BITS_MIN	2048
#define JWS_RSA_BITS_MAX	8192

#define JSON_DEPTH_MAX		16
#define JSON_NODES_MAX		1024
#define JSON_MEMBERS_MAX	256		/* of one object */

/* ---- jws_json.c: strict JSON (RFC 8259) into an array of nodes ---- */

typedef enum JsonKind
{
	JSON_IS_NULL,
	JSON_IS_FALSE,
	JSON_IS_TRUE,
	JSON_IS_NUMBER,
	JSON_IS_STRING,
	JSON_IS_ARRAY,
	JSON_IS_OBJECT
} JsonKind;

typedef struct JsonNode
{
	JsonKind	kind;
	const char *name;			/* of an object's member; not terminated */
	size_t		name_length;
	const char *text;			/* a string decoded, a number as it stands; not terminated */
	size_t		length;
	int			child;			/* index of the first item or member, -1: none */
	int			next;			/* index of the next sibling, -1: none */
} JsonNode;

typedef struct JsonDocument
{
	int			count;
	JsonNode	nodes[JSON_NODES_MAX];	/* the first is the root */
} JsonDocument;

/*
 * Parses the whole text, which is overwritten: strings are decoded in place.
 * Refused beside what the RFC refuses: two members of one name, invalid UTF-8,
 * U+0000, lone surrogates, and what is deeper or larger than the limits above.
 */
extern bool json_parse_strict(char *text, size_t length, JsonDocument *document);

/* NULL: no such member (or not an object). */
extern const JsonNode *json_member(const JsonDocument *document, const JsonNode *object, const char *name);
extern const JsonNode *json_first(const JsonDocument *document, const JsonNode *parent);
extern const JsonNode *json_next(const JsonDocument *document, const JsonNode *node);
extern bool json_string_is(const JsonNode *node, const char *text);

/* A NumericDate (RFC 7519): seconds, without exponent; a fraction is cut off.  False: none. */
extern bool json_seconds(const JsonNode *node, int64_t *seconds);

/* ---- jws_parse.c: the compact form ---- */

/* Exact length of what base64url text decodes to; false unless it is the one canonical encoding. */
extern bool base64url_decode(const char *text, size_t length, uint8_t *out, size_t *out_length);

/* Without padding, NUL-terminated; out has room for length * 4 / 3 + 4. */
extern size_t base64url_encode(const uint8_t *bytes, size_t length, char *out);

typedef enum JwsAlgorithm
{
	JWS_NONE,					/* none that we know */
	JWS_HS256,
	JWS_RS256,
	JWS_PS256,
	JWS_ES256,
	JWS_EDDSA
} JwsAlgorithm;

extern JwsAlgorithm jws_algorithm(const char *name, size_t length);
extern const char *jws_algorithm_name(JwsAlgorithm algorithm);

typedef struct JwsToken
{
	const char *signed_text;	/* header.payload, in the token itself */
	size_t		signed_length;
	const char *payload;		/* decoded, as it came */
	size_t		payload_length;
	uint8_t		signature[JWS_SIGNATURE_MAX];
	size_t		signature_length;
	JwsAlgorithm algorithm;		/* what the token says: to be compared with the key's, never followed */
	const JsonNode *kid;		/* NULL: none */
	const JsonNode *type;		/* typ; NULL: none */
	JsonDocument header;
	JsonDocument claims;
} JwsToken;

/* Bytes of the buffer that jws_parse() needs for a token of this length. */
#define JWS_BUFFER_SIZE(length) (2 * (size_t) (length) + 16)

/* NULL: well formed.  Else what is wrong, a constant; nothing is verified yet. */
extern const char *jws_parse(const char *token, size_t length, char *buffer, JwsToken *out);

/* ---- jws_key.c ---- */

typedef struct JwsKey
{
	JwsAlgorithm algorithm;
	EVP_PKEY   *pkey;			/* not of HS256 */
	EVP_PKEY_CTX *signer;		/* of an own ES256 key: to make one anew takes a tenth of a signature's time */
	uint8_t		secret[JWS_SECRET_MAX]; /* of HS256; of an own EdDSA key: libsodium's form of it */
	size_t		secret_length;
} JwsKey;

/*
 * Reads a public JWK; algorithm JWS_NONE: the one its "alg" says, or without
 * it RS256, ES256 or EdDSA by its type.  NULL: good, to be freed; else why not.
 */
extern const char *jws_key_from_jwk(const JsonDocument *document, const JsonNode *jwk, JwsAlgorithm algorithm, JwsKey *key);
extern const char *jws_key_from_secret(const uint8_t *secret, size_t length, JwsKey *key);
extern bool jws_key_from_private(const uint8_t *der, size_t length, JwsAlgorithm algorithm, JwsKey *key);
extern bool jws_key_generate(JwsAlgorithm algorithm, JwsKey *key);

/* To be freed with OPENSSL_clear_free(); -1: failed. */
extern int	jws_key_private_der(const JwsKey *key, uint8_t **der);

/* The members kty ... of the public JWK, without braces; false: no room. */
extern bool jws_key_write_jwk(const JwsKey *key, char *out, size_t size);
extern void jws_key_free(JwsKey *key);

/* ---- jws_sign.c ---- */

extern bool jws_verify(const JwsKey *key, const char *signed_text, size_t signed_length,
					   const uint8_t *signature, size_t signature_length);

/* signature has room for JWS_SIGNATURE_MAX; its length, or 0: failed. */
extern size_t jws_sign(const JwsKey *key, const char *text, size_t length, uint8_t *signature);

#endif
