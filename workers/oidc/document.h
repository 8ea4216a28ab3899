/*
 * The pure step: an issuer's documents in, what the database is to know out.
 * Nothing here touches the network or the database.
 */
#ifndef BACKOFFICE_OIDC_DOCUMENT_H
#define BACKOFFICE_OIDC_DOCUMENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/address.h"

#define DOCUMENT_MAX_BYTES (1024 * 1024)
#define DOCUMENT_MAX_KEYS 100

typedef struct Discovery
{
	char	   *jwks_uri;
	char	   *metadata;		/* JSON: the endpoints that the database keeps */
} Discovery;

typedef struct Keys
{
	char	   *jwks;			/* JSON: {"keys": [...]}, public signature keys by kid, nothing but what verifying needs */
	int			kept;
	int			dropped;		/* not for signatures, of an unknown kind, without a name, or not whole */
	bool		private_seen;	/* the issuer shows a private key to the world */
} Keys;

/* Address of the discovery document; to be freed. NULL: out of memory. */
extern char *discovery_url(const char *issuer);

/* Reads a discovery document. False: why is a text for people, never with words of the document. */
extern bool discovery_read(const AddressRules *rules, const char *issuer, const char *body, size_t len, Discovery *out,
						   const char **why);
extern void discovery_free(Discovery *discovery);

/* Reads a JWKS. False: not one, or without any usable key. */
extern bool keys_read(const char *body, size_t len, Keys *out, const char **why);
extern void keys_free(Keys *keys);

/* Seconds that an answer may be kept by its Cache-Control and Age, within least and most; fallback when it does not say. */
extern int64_t document_max_age(const char *cache_control, const char *age, int64_t fallback, int64_t least, int64_t most);

#endif
