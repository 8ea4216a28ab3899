#include "gateway/proxies.h"

#include <arpa/inet.h>
#include <string.h>

static bool
is_address(const char *text)
{
	unsigned char bytes[16];

	return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
}

/* Copies the next item of a list; false at its end. */
static bool
next_item(const char **at, char *item, size_t size)
{
	size_t		len;

	*at += strspn(*at, ", \t");
	len = strcspn(*at, ", \t");
	if (len == 0)
		return false;
	snprintf(item, size, "%.*s", (int) len, *at);
	*at += len;
	return true;
}

bool
proxies_check(const char *proxies, FILE *err)
{
	char		item[64];

	while (next_item(&proxies, item, sizeof(item)))
		if (!is_address(item))
		{
			fprintf(err, "trusted-proxies: \"%s\" is not an address\n", item);
			return false;
		}
	return true;
}

static bool
trusted(const char *proxies, const char *address)
{
	char		item[64];

	while (next_item(&proxies, item, sizeof(item)))
		if (strcmp(item, address) == 0)
			return true;
	return false;
}

void
proxies_apply(const char *proxies, const char *forwarded_for, char *peer, size_t peer_size)
{
	const char *end;

	if (forwarded_for == NULL || *proxies == '\0' || !trusted(proxies, peer))
		return;
	/* From the right: each hop appends whom it spoke to; left of the first untrusted one anything may stand. */
	end = forwarded_for + strlen(forwarded_for);
	while (end > forwarded_for)
	{
		const char *at = end;
		char		item[64];
		const char *cursor;

		while (at > forwarded_for && at[-1] != ',')
			at--;
		cursor = at;
		if (end - at >= (int) sizeof(item) || !next_item(&cursor, item, sizeof(item)) || !is_address(item))
			return;
		snprintf(peer, peer_size, "%s", item);
		if (!trusted(proxies, item))
			return;
		end = at > forwarded_for ? at - 1 : at;
	}
}
