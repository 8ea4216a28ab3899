#include "oidc/document.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ISSUER_MAX 1024
#define NAME_MAX_BYTES 32
#define NAMES_MAX 32

/* Endpoints that the log-in needs. Those of Kubernetes and the like are URNs: left out, not refused. */
static const char *const endpoints[] = {
	"authorization_endpoint", "token_endpoint", "end_session_endpoint", "userinfo_endpoint", "jwks_uri"
};

char *
discovery_url(const char *issuer)
{
	size_t		len = strlen(issuer);
	char	   *url = NULL;

	/* OpenID Connect Discovery 4.1: a slash at the end of the path goes first. */
	if (len > 0 && issuer[len - 1] == '/')
		len--;
	if (asprintf(&url, "%.*s/.well-known/openid-configuration", (int) len, issuer) < 0)
		return NULL;
	return url;
}

static json_t *
parse(const char *body, size_t len, const char **why)
{
	json_error_t error;
	json_t	   *document;

	if (len > DOCUMENT_MAX_BYTES)
	{
		*why = "the document is too large";
		return NULL;
	}
	document = json_loadb(body, len, JSON_REJECT_DUPLICATES, &error);
	if (!json_is_object(document))
	{
		*why = document == NULL ? "the document is not JSON" : "the document is not an object";
		json_decref(document);
		return NULL;
	}
	return document;
}

/* Short names only, and few: whatever a provider writes there is stored with the issuer. */
static bool
take_names(json_t *document, const char *member, json_t *metadata)
{
	json_t	   *names = json_object_get(document, member);
	json_t	   *taken;
	json_t	   *name;
	size_t		i;

	if (!json_is_array(names))
		return true;
	taken = json_array();
	json_array_foreach(names, i, name)
		if (json_is_string(name) && json_string_length(name) <= NAME_MAX_BYTES && json_array_size(taken) < NAMES_MAX)
			json_array_append(taken, name);
	return json_object_set_new(metadata, member, taken) == 0;
}

static bool
take_metadata(const AddressRules *rules, json_t *document, json_t *metadata)
{
	json_t	   *logout = json_object_get(document, "backchannel_logout_supported");
	bool		good = true;

	for (size_t i = 0; i < sizeof(endpoints) / sizeof(endpoints[0]); i++)
	{
		json_t	   *value = json_object_get(document, endpoints[i]);
		const char *why;

		if (json_is_string(value) && address_url_good(rules, json_string_value(value), &why))
			good = good && json_object_set(metadata, endpoints[i], value) == 0;
	}
	good = good && take_names(document, "id_token_signing_alg_values_supported", metadata);
	good = good && take_names(document, "code_challenge_methods_supported", metadata);
	if (json_is_boolean(logout))
		good = good && json_object_set(metadata, "backchannel_logout_supported", logout) == 0;
	return good;
}

static bool
discovery_take(const AddressRules *rules, const char *issuer, json_t *document, Discovery *out, const char **why)
{
	const char *named = json_string_value(json_object_get(document, "issuer"));
	const char *jwks_uri = json_string_value(json_object_get(document, "jwks_uri"));
	json_t	   *metadata;

	/* The comparison that keeps one issuer from speaking for another: byte by byte. */
	if (named == NULL || strlen(named) > ISSUER_MAX || strcmp(named, issuer) != 0)
	{
		*why = "the discovery document is of another issuer";
		return false;
	}
	if (jwks_uri == NULL)
	{
		*why = "the discovery document has no jwks_uri";
		return false;
	}
	if (!address_url_good(rules, jwks_uri, why))
		return false;
	*why = "out of memory";
	metadata = json_object();
	if (metadata != NULL && take_metadata(rules, document, metadata))
	{
		out->jwks_uri = strdup(jwks_uri);
		out->metadata = json_dumps(metadata, JSON_COMPACT | JSON_SORT_KEYS);
	}
	json_decref(metadata);
	if (out->jwks_uri != NULL && out->metadata != NULL)
		return true;
	discovery_free(out);
	return false;
}

bool
discovery_read(const AddressRules *rules, const char *issuer, const char *body, size_t len, Discovery *out, const char **why)
{
	json_t	   *document = parse(body, len, why);
	bool		good;

	*out = (Discovery) {.jwks_uri = NULL};
	if (document == NULL)
		return false;
	good = discovery_take(rules, issuer, document, out, why);
	json_decref(document);
	return good;
}

void
discovery_free(Discovery *discovery)
{
	free(discovery->jwks_uri);
	free(discovery->metadata);
	*discovery = (Discovery) {.jwks_uri = NULL};
}

int64_t
document_max_age(const char *cache_control, const char *age, int64_t fallback, int64_t least, int64_t most)
{
	int64_t		seconds = fallback;
	const char *at = cache_control != NULL ? cache_control : "";

	while (*at != '\0')
	{
		size_t		len = strcspn(at, ",");

		while (len > 0 && isspace((unsigned char) *at))
			at++, len--;
		if (len > 8 && strncasecmp(at, "max-age=", 8) == 0 && isdigit((unsigned char) at[8]))
		{
			/* More than a year is a year: the bounds come after. */
			int64_t		value = strtoll(at + 8, NULL, 10);
			int64_t		spent = age != NULL ? strtoll(age, NULL, 10) : 0;

			value = value > 31536000 ? 31536000 : value;
			seconds = spent > 0 && spent < value ? value - spent : value;
			break;
		}
		at += len;
		if (*at == ',')
			at++;
	}
	return seconds < least ? least : seconds > most ? most : seconds;
}
