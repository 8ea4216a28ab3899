/* The worker's parts: main.c starts and ends, control.c talks to the database, issuer.c goes through an issuer's documents. */
#ifndef BACKOFFICE_OIDC_H
#define BACKOFFICE_OIDC_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/address.h"
#include "lib/backoff.h"
#include "lib/loop.h"
#include "lib/metrics.h"
#include "lib/pg.h"
#include "oidc/document.h"
#include "oidc/fetch.h"

typedef struct Oidc Oidc;

typedef enum IssuerPhase
{
	ISSUER_IDLE,
	ISSUER_DISCOVERING,
	ISSUER_FETCHING,
	ISSUER_STORING				/* until the database has the keys */
} IssuerPhase;

typedef struct Issuer
{
	Oidc	   *oidc;
	char	   *name;			/* the URL in "iss" */
	IssuerPhase phase;
	Discovery	discovery;
	int64_t		discovered_ms;	/* when; 0: not, or not to be trusted any more */
	char	   *jwks;			/* as read last; NULL: never */
	char		etag[FETCH_ETAG_MAX];	/* of it */
	int64_t		max_age_s;
	Backoff		backoff;
	int64_t		retry_at_ms;
	bool		told_to_wait;	/* until then, by the provider itself */
	int64_t		wanted_ms;		/* when the database asked for it last */
	int64_t		fetch_started_ms;
	struct Issuer *next;
} Issuer;

typedef struct OidcSettings
{
	const char *database;
	const char *instance;
	const char *log_level;
	const char *allow_networks;
	const char *ca_file;
	bool		allow_http_loopback;
	int64_t		port;
	int64_t		poll_ms;
	int64_t		timeout_ms;
	int64_t		fetches;
	int64_t		default_age_s;
	int64_t		min_age_s;
	int64_t		max_age_s;
	int64_t		discovery_age_s;
	int64_t		retry_ms;
	int64_t		retry_max_ms;
	int64_t		statement_timeout_ms;
	int64_t		heartbeat_ms;
} OidcSettings;

struct Oidc
{
	OidcSettings settings;
	AddressRules rules;
	Loop		loop;
	Fetcher		fetcher;
	Issuer	   *issuers;
	int			fetching;		/* issuers in the phases of the network */

	Pg			pg;
	Backoff		connect_backoff;
	LoopTimer	connect_timer;
	LoopTimer	poll_timer;
	LoopTimer	heartbeat_timer;
	bool		want_poll;
	bool		want_heartbeat;
	Issuer	   *storing;		/* whose keys are on their way */
	char		last_error[256];
};

extern Metric metric_fetches;
extern Metric metric_unchanged;
extern Metric metric_failures;
extern Metric metric_refused;
extern Metric metric_stored;
extern Metric metric_keys_dropped;
extern Metric metric_issuers;
extern Metric metric_connects;
extern Metric metric_fetch_seconds;

/* -- issuer.c -- */

/* The database wants this issuer's keys. */
/* unknown_key: a token named a key that it does not have; told once in ten seconds. */
extern void issuer_due(Oidc *oidc, const char *name, bool unknown_key);

/* One whose keys wait for the database; NULL: none. */
extern Issuer *issuer_to_store(Oidc *oidc);
extern void issuer_stored(Issuer *issuer);

/* Tried again later, with growing distance. */
extern void issuer_failed(Issuer *issuer, const char *why, int64_t wait_ms);

/* Forgets those that the database has not asked for in a long time. */
extern void issuer_sweep(Oidc *oidc);
extern void issuer_free_all(Oidc *oidc);

/* -- control.c -- */

extern void control_init(Oidc *oidc);

/* Sends the most urgent statement if the connection is free. */
extern void control_next(Oidc *oidc);
extern void control_finish(Oidc *oidc);

#endif
