#include "gateway/proxies.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

/*
 * One spelling of each address; false: it is none.  An IPv4 address that a proxy
 * writes as it came on its IPv6 socket (::ffff:192.0.2.1) is an IPv4 address.
 */
static bool
spell(const char *text, char *out)
{
	struct in_addr in4;
	struct in6_addr in6;

	if (inet_pton(AF_INET, text, &in4) == 1)
		return inet_ntop(AF_INET, &in4, out, INET6_ADDRSTRLEN) != NULL;
	if (inet_pton(AF_INET6, text, &in6) != 1)
		return false;
	if (IN6_IS_ADDR_V4MAPPED(&in6))
		return inet_ntop(AF_INET, &in6.s6_addr[12], out, INET6_ADDRSTRLEN) != NULL;
	return inet_ntop(AF_INET6, &in6, out, INET6_ADDRSTRLEN) != NULL;
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
	char		address[INET6_ADDRSTRLEN];

	while (next_item(&proxies, item, sizeof(item)))
		if (!spell(item, address))
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
	char		proxy[INET6_ADDRSTRLEN];

	while (next_item(&proxies, item, sizeof(item)))
		if (spell(item, proxy) && strcmp(proxy, address) == 0)
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
		char		address[INET6_ADDRSTRLEN];
		const char *cursor;

		while (at > forwarded_for && at[-1] != ',')
			at--;
		cursor = at;
		if (end - at >= (int) sizeof(item) || !next_item(&cursor, item, sizeof(item)) || !spell(item, address))
			return;
		snprintf(peer, peer_size, "%s", address);
		if (!trusted(proxies, address))
			return;
		end = at > forwarded_for ? at - 1 : at;
	}
}
