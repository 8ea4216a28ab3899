#include "lib/address.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define URL_MAX 2048

typedef struct Range
{
	const char *address;
	int			bits;
} Range;

/* What is not the Internet (IANA's special-purpose registries), as far as it lies within 0.0.0.0/0. */
static const Range refused_ipv4[] = {
	{"0.0.0.0", 8}, {"10.0.0.0", 8}, {"100.64.0.0", 10}, {"127.0.0.0", 8}, {"169.254.0.0", 16}, {"172.16.0.0", 12},
	{"192.0.0.0", 24}, {"192.0.2.0", 24}, {"192.88.99.0", 24}, {"192.168.0.0", 16}, {"198.18.0.0", 15},
	{"198.51.100.0", 24}, {"203.0.113.0", 24}, {"224.0.0.0", 4}, {"240.0.0.0", 4},
};

/* The same within 2000::/3; everything outside of it is refused anyway. */
static const Range refused_ipv6[] = {
	{"2001::", 23}, {"2001:db8::", 32}, {"2002::", 16}, {"3fff::", 20},
};

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
static const uint8_t nat64_prefix[12] = {0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0};

static bool
within(const uint8_t *address, const uint8_t *network, int bits)
{
	int			whole = bits / 8;
	int			rest = bits % 8;

	if (memcmp(address, network, (size_t) whole) != 0)
		return false;
	return rest == 0 || ((address[whole] ^ network[whole]) & (0xff << (8 - rest) & 0xff)) == 0;
}

/* 16 bytes, IPv4 mapped into IPv6. False: neither. */
static bool
address_bytes(const struct sockaddr *address, uint8_t *bytes)
{
	if (address->sa_family == AF_INET)
	{
		memcpy(bytes, mapped_prefix, 12);
		memcpy(bytes + 12, &((const struct sockaddr_in *) (const void *) address)->sin_addr, 4);
		return true;
	}
	if (address->sa_family == AF_INET6)
	{
		memcpy(bytes, &((const struct sockaddr_in6 *) (const void *) address)->sin6_addr, 16);
		return true;
	}
	return false;
}

static bool
network_parse(const char *text, size_t len, Network *network)
{
	char		copy[64];
	char	   *slash;
	char	   *end;
	long		bits;
	int			most = 128;
	struct in_addr four;

	if (len >= sizeof(copy))
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	slash = strchr(copy, '/');
	if (slash == NULL)
		return false;
	*slash = '\0';
	if (inet_pton(AF_INET, copy, &four) == 1)
	{
		most = 32;
		memcpy(network->address, mapped_prefix, 12);
		memcpy(network->address + 12, &four, 4);
	}
	else if (inet_pton(AF_INET6, copy, network->address) != 1)
		return false;
	bits = strtol(slash + 1, &end, 10);
	if (end == slash + 1 || *end != '\0' || bits < 0 || bits > most)
		return false;
	network->bits = (int) bits + 128 - most;
	return true;
}

bool
address_networks_parse(const char *text, AddressRules *rules)
{
	rules->allowed_count = 0;
	while (*text != '\0')
	{
		size_t		len = strcspn(text, ",");

		if (rules->allowed_count == ADDRESS_MAX_NETWORKS || !network_parse(text, len, &rules->allowed[rules->allowed_count]))
			return false;
		rules->allowed_count++;
		text += len;
		if (*text == ',' && *++text == '\0')
			return false;
	}
	return true;
}

static bool
ipv4_public(const uint8_t *address)
{
	for (size_t i = 0; i < sizeof(refused_ipv4) / sizeof(refused_ipv4[0]); i++)
	{
		uint8_t		network[4];

		if (inet_pton(AF_INET, refused_ipv4[i].address, network) != 1 || within(address, network, refused_ipv4[i].bits))
			return false;
	}
	return true;
}

static bool
ipv6_public(const uint8_t *address)
{
	if ((address[0] & 0xe0) != 0x20)
		return false;
	for (size_t i = 0; i < sizeof(refused_ipv6) / sizeof(refused_ipv6[0]); i++)
	{
		uint8_t		network[16];

		if (inet_pton(AF_INET6, refused_ipv6[i].address, network) != 1 || within(address, network, refused_ipv6[i].bits))
			return false;
	}
	return true;
}

static bool
bytes_loopback(const uint8_t *bytes)
{
	static const uint8_t one[16] = {[15] = 1};

	return memcmp(bytes, one, 16) == 0 || (memcmp(bytes, mapped_prefix, 12) == 0 && bytes[12] == 127);
}

static bool
is_loopback(const struct sockaddr *address)
{
	uint8_t		bytes[16];

	return address_bytes(address, bytes) && bytes_loopback(bytes);
}

bool
address_allowed(const AddressRules *rules, const struct sockaddr *address)
{
	uint8_t		bytes[16];

	if (!address_bytes(address, bytes))
		return false;
	if (rules->loopback && bytes_loopback(bytes))
		return true;
	for (int i = 0; i < rules->allowed_count; i++)
		if (within(bytes, rules->allowed[i].address, rules->allowed[i].bits))
			return true;
	/* IPv4 inside IPv6 is judged as what it leads to. */
	if (memcmp(bytes, mapped_prefix, 12) == 0 || memcmp(bytes, nat64_prefix, 12) == 0)
		return ipv4_public(bytes + 12);
	return ipv6_public(bytes);
}

static bool
host_loopback(const char *host)
{
	struct in_addr four;

	if (strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0)
		return true;
	return inet_pton(AF_INET, host, &four) == 1 && ntohl(four.s_addr) >> 24 == 127;
}

static const char *
url_wrong(const AddressRules *rules, CURLU *parts, const char *url)
{
	const char *why = NULL;
	char	   *scheme = NULL;
	char	   *host = NULL;
	char	   *user = NULL;
	char	   *fragment = NULL;

	/* libcurl would also take Https: whoever compares what is stored should not have to. */
	if (strncmp(url, "https://", 8) != 0 && strncmp(url, "http://", 7) != 0)
		why = "neither https nor http";
	else if (strlen(url) > URL_MAX || curl_url_set(parts, CURLUPART_URL, url, 0) != CURLUE_OK ||
		curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK || curl_url_get(parts, CURLUPART_HOST, &host, 0) != CURLUE_OK)
		why = "not a URL";
	else if (curl_url_get(parts, CURLUPART_USER, &user, 0) != CURLUE_NO_USER)
		why = "a user name in a URL";
	else if (curl_url_get(parts, CURLUPART_FRAGMENT, &fragment, 0) != CURLUE_NO_FRAGMENT)
		why = "a fragment in a URL";
	else if (strcmp(scheme, "http") == 0)
		why = rules->loopback && host_loopback(host) ? NULL : "http is for loopback only, and only with --allow-http-loopback";
	curl_free(scheme);
	curl_free(host);
	curl_free(user);
	curl_free(fragment);
	return why;
}

bool
address_url_good(const AddressRules *rules, const char *url, const char **why)
{
	CURLU	   *parts = curl_url();

	*why = parts == NULL ? "out of memory" : url_wrong(rules, parts, url);
	curl_url_cleanup(parts);
	return *why == NULL;
}

curl_socket_t
address_open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
	AddressDoor *door = context;

	if (purpose != CURLSOCKTYPE_IPCXN || !address_allowed(door->rules, &address->addr) || (door->plain && !is_loopback(&address->addr)))
	{
		door->refused = true;
		return CURL_SOCKET_BAD;
	}
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}
