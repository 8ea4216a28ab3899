/*
 * Where a worker may connect to. Issuers and what their documents name come from the
 * database, so that whoever may define one could point us at our own network:
 * addresses are judged after the name was resolved, at the moment of connecting.
 */
#ifndef BACKOFFICE_ADDRESS_H
#define BACKOFFICE_ADDRESS_H

#include <curl/curl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define ADDRESS_MAX_NETWORKS 32

typedef struct Network
{
	uint8_t		address[16];	/* IPv4 as ::ffff:a.b.c.d */
	int			bits;
} Network;

typedef struct AddressRules
{
	bool		loopback;		/* loopback may be reached, and without TLS */
	Network		allowed[ADDRESS_MAX_NETWORKS];	/* that would be refused otherwise */
	int			allowed_count;
} AddressRules;

/* Reads "10.1.0.0/16,fd00::/8" into rules->allowed. False: wrong, or too many. */
extern bool address_networks_parse(const char *text, AddressRules *rules);

/* Whether the address is one of the Internet's, or one that the rules allow. */
extern bool address_allowed(const AddressRules *rules, const struct sockaddr *address);

/*
 * Whether url may be asked at all: https with a host and without user name or
 * fragment; http only to loopback where the rules allow it. why: a text for people.
 */
extern bool address_url_good(const AddressRules *rules, const char *url, const char **why);

/* What one transfer of libcurl's may connect to: CURLOPT_OPENSOCKETDATA of address_open_socket(). */
typedef struct AddressDoor
{
	const AddressRules *rules;
	bool		plain;			/* http: loopback only */
	bool		refused;		/* an address was; what libcurl says of it would mislead */
} AddressDoor;

extern curl_socket_t address_open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address);

#endif
