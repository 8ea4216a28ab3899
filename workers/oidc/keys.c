/* The keys of a JWKS: each is kept whole and public, or dropped. The database checks again what it is given. */
#include <stdlib.h>
#include <string.h>

#include "oidc/document.h"

#define KID_MAX 256

typedef struct Curve
{
	const char *kty;
	const char *crv;
	const char *alg;
	size_t		bytes;			/* of a coordinate */
} Curve;

static const Curve curves[] = {
	{"EC", "P-256", "ES256", 32},
	{"EC", "P-384", "ES384", 48},
	{"EC", "P-521", "ES512", 66},
	{"OKP", "Ed25519", "EdDSA", 32},
};

static const char *const rsa_algorithms[] = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"};

/* Members that only a private or a secret key has (RFC 7518, 6). */
static const char *const private_members[] = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"};

static const char *
text_of(const json_t *key, const char *member)
{
	return json_string_value(json_object_get(key, member));
}

static bool
base64url_char(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* How many bytes the base64url text stands for; 0: it is none. */
static size_t
base64url_bytes(const char *text)
{
	size_t		len = 0;

	if (text == NULL)
		return 0;
	while (base64url_char(text[len]))
		len++;
	return text[len] == '\0' && len % 4 != 1 ? len * 3 / 4 : 0;
}

static bool
copy_members(json_t *to, const json_t *from, const char *const *members, int n)
{
	for (int i = 0; i < n; i++)
		if (json_object_set(to, members[i], json_object_get(from, members[i])) != 0)
			return false;
	return true;
}

/* 2048 to 8192 bits, and the exponent is small, or it would cost us more than it protects. */
static bool
take_rsa(json_t *out, const json_t *key, const char *alg)
{
	static const char *const members[] = {"n", "e"};
	size_t		n = base64url_bytes(text_of(key, "n"));
	size_t		e = base64url_bytes(text_of(key, "e"));
	bool		known = alg == NULL;

	for (size_t i = 0; i < sizeof(rsa_algorithms) / sizeof(rsa_algorithms[0]) && !known; i++)
		known = strcmp(alg, rsa_algorithms[i]) == 0;
	return known && n >= 256 && n <= 1025 && e >= 1 && e <= 4 && copy_members(out, key, members, 2);
}

static bool
take_curve(json_t *out, const json_t *key, const char *kty, const char *alg)
{
	static const char *const members[] = {"crv", "x", "y"};
	const char *crv = text_of(key, "crv");
	bool		two = strcmp(kty, "EC") == 0;

	for (size_t i = 0; crv != NULL && i < sizeof(curves) / sizeof(curves[0]); i++)
	{
		const Curve *curve = &curves[i];

		if (strcmp(curve->kty, kty) != 0 || strcmp(curve->crv, crv) != 0)
			continue;
		/* RFC 9864 calls EdDSA over this curve by the curve's name. */
		if (alg != NULL && strcmp(alg, curve->alg) != 0 && !(!two && strcmp(alg, crv) == 0))
			return false;
		return base64url_bytes(text_of(key, "x")) == curve->bytes &&
			(!two || base64url_bytes(text_of(key, "y")) == curve->bytes) &&
			json_object_set_new(out, "alg", json_string(curve->alg)) == 0 && copy_members(out, key, members, two ? 3 : 2);
	}
	return false;
}

static bool
for_signatures(const json_t *key)
{
	const json_t *use = json_object_get(key, "use");
	const json_t *operations = json_object_get(key, "key_ops");
	size_t		i;
	json_t	   *operation;

	if (use != NULL && (!json_is_string(use) || strcmp(json_string_value(use), "sig") != 0))
		return false;
	if (operations == NULL)
		return true;
	json_array_foreach((json_t *) (uintptr_t) operations, i, operation)
		if (json_is_string(operation) && strcmp(json_string_value(operation), "verify") == 0)
			return true;
	return false;
}

static bool
has_private(const json_t *key)
{
	for (size_t i = 0; i < sizeof(private_members) / sizeof(private_members[0]); i++)
		if (json_object_get(key, private_members[i]) != NULL)
			return true;
	return false;
}

/* The key as the database is to have it; NULL: not for us. */
static json_t *
take_key(const json_t *key, Keys *out)
{
	const char *kty = text_of(key, "kty");
	const char *kid = text_of(key, "kid");
	const char *alg = text_of(key, "alg");
	json_t	   *taken;
	bool		good;

	if (!json_is_object(key) || kty == NULL || kid == NULL || *kid == '\0' || strlen(kid) > KID_MAX || !for_signatures(key))
		return NULL;
	if (has_private(key))
	{
		out->private_seen = true;
		return NULL;
	}
	taken = json_pack("{s:s, s:s, s:s}", "kty", kty, "kid", kid, "use", "sig");
	if (taken == NULL)
		return NULL;
	if (alg != NULL)
		json_object_set_new(taken, "alg", json_string(alg));
	good = strcmp(kty, "RSA") == 0 ? take_rsa(taken, key, alg) : take_curve(taken, key, kty, alg);
	if (good)
		return taken;
	json_decref(taken);
	return NULL;
}

/* By kid, the first of a name: the same set gives the same text. */
static bool
collect(const json_t *list, json_t *by_kid, Keys *out)
{
	size_t		i;
	json_t	   *key;

	json_array_foreach((json_t *) (uintptr_t) list, i, key)
	{
		json_t	   *taken = take_key(key, out);
		const char *kid = taken != NULL ? text_of(taken, "kid") : NULL;

		if (kid == NULL || json_object_get(by_kid, kid) != NULL)
		{
			json_decref(taken);
			out->dropped++;
		}
		else if (json_object_set_new(by_kid, kid, taken) != 0)
			return false;
		else
			out->kept++;
	}
	return true;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static char *
write_sorted(json_t *by_kid)
{
	size_t		n = json_object_size(by_kid);
	const char **names = calloc(n, sizeof(*names));
	json_t	   *list = json_array();
	json_t	   *jwks = list != NULL ? json_pack("{s:o}", "keys", list) : NULL;
	char	   *text = NULL;
	const char *name;
	json_t	   *key;
	size_t		i = 0;
	bool		good = names != NULL && jwks != NULL;

	json_object_foreach(by_kid, name, key)
	{
		if (names != NULL)
			names[i++] = name;
	}
	if (good)
		qsort(names, n, sizeof(*names), by_name);
	for (i = 0; good && i < n; i++)
		good = json_array_append(list, json_object_get(by_kid, names[i])) == 0;
	if (good)
		text = json_dumps(jwks, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(jwks);
	free(names);
	return text;
}

static bool
keys_take(const json_t *document, Keys *out, const char **why)
{
	json_t	   *list = json_object_get(document, "keys");
	json_t	   *by_kid;

	if (!json_is_array(list))
	{
		*why = "the key set has no list of keys";
		return false;
	}
	if (json_array_size(list) > DOCUMENT_MAX_KEYS)
	{
		*why = "the key set has too many keys";
		return false;
	}
	*why = "out of memory";
	by_kid = json_object();
	if (by_kid != NULL && collect(list, by_kid, out))
	{
		if (out->kept == 0)
			*why = "the key set has no usable key";
		else
			out->jwks = write_sorted(by_kid);
	}
	json_decref(by_kid);
	return out->jwks != NULL;
}

bool
keys_read(const char *body, size_t len, Keys *out, const char **why)
{
	json_error_t error;
	json_t	   *document;
	bool		good = false;

	*out = (Keys) {.jwks = NULL};
	document = len <= DOCUMENT_MAX_BYTES ? json_loadb(body, len, JSON_REJECT_DUPLICATES, &error) : NULL;
	if (len > DOCUMENT_MAX_BYTES)
		*why = "the key set is too large";
	else if (!json_is_object(document))
		*why = "the key set is not a JSON object";
	else
		good = keys_take(document, out, why);
	json_decref(document);
	return good;
}

void
keys_free(Keys *keys)
{
	free(keys->jwks);
	*keys = (Keys) {.jwks = NULL};
}
