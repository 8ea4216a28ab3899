/* libFuzzer: what an issuer answers: discovery documents, key sets, Cache-Control; and addresses. make fuzz SECONDS=60 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "oidc/document.h"

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
as_text(const uint8_t *data, size_t size)
{
	AddressRules rules = {.loopback = true};
	char	   *text = malloc(size + 1);
	const char *why;
	int64_t		age;

	if (text == NULL)
		return;
	memcpy(text, data, size);
	text[size] = '\0';
	age = document_max_age(text, text, 300, 60, 86400);
	if (age < 60 || age > 86400)
		abort();
	address_networks_parse(text, &rules);
	address_url_good(&rules, text, &why);
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const AddressRules rules = {.loopback = false};
	const char *why = NULL;
	Discovery	discovery;
	Keys		keys;

	as_text(data, size);
	if (discovery_read(&rules, "https://i", (const char *) data, size, &discovery, &why))
	{
		/* Only the one issuer, only https. */
		if (strncmp(discovery.jwks_uri, "https://", 8) != 0)
			abort();
		discovery_free(&discovery);
	}
	why = NULL;
	if (keys_read((const char *) data, size, &keys, &why))
	{
		Keys		again;

		/* What was kept is kept again, and stays as it is. */
		if (!keys_read(keys.jwks, strlen(keys.jwks), &again, &why) || strcmp(again.jwks, keys.jwks) != 0 || again.dropped != 0)
			abort();
		keys_free(&again);
	}
	else if (why == NULL)
		abort();
	keys_free(&keys);
	return 0;
}
