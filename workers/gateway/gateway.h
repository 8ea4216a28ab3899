/*
 * The gateway: HTTP in front of the database's functions.
 *
 * A parent forks --processes children; each child is one thread with one loop
 * (lib/loop), in which libmicrohttpd's epoll descriptor and the database
 * connections are nested. What processes share lies in one anonymous mapping.
 */
#ifndef BACKOFFICE_GATEWAY_H
#define BACKOFFICE_GATEWAY_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/address.h"
#include "lib/loop.h"

#define GATEWAY_MAX_PROCESSES 64

typedef struct Settings
{
	const char *database;
	const char *databases_file; /* organization -> DSN, empty: one database */
	const char *address;
	int64_t		port;
	int64_t		processes;
	const char *instance;
	const char *log_level;
	bool		access_log;
	int64_t		pool;			/* connections per process and database */
	int64_t		depth;			/* requests stacked on one connection */
	int64_t		fast_us;		/* a statement that takes longer on average is slow */
	int64_t		queue;			/* waiting requests per process and database */
	int64_t		queue_ms;
	int64_t		request_ms;		/* statement_timeout of a request */
	int64_t		max_body;
	int64_t		max_json_depth;
	int64_t		max_answer;
	int64_t		answer_memory;	/* of answers that clients have not taken */
	int64_t		header_ms;
	int64_t		idle_ms;
	int64_t		min_body_rate;
	int64_t		connections;
	int64_t		connections_per_address;
	int64_t		drain_ms;
	int64_t		stuck_ms;
	const char *schemas;		/* of /rpc */
	const char *pre_request;
	int64_t		rpc_max_rows;
	bool		rpc_tx_override;
	bool		rpc_aggregates;
	const char *limits;
	const char *allow_origins;
	const char *trusted_proxies;
	bool		metrics_open;	/* /metrics for everybody, not for loopback only */
	const char *tls_certificate;
	const char *tls_key;
	int64_t		heartbeat_ms;
	int64_t		listeners;		/* event streams per process */
	int64_t		listeners_per_principal;
	int64_t		listener_buffer;
	int64_t		events_ping_ms;
	int64_t		events_check_ms;
	int64_t		events_retry_ms;
	const char *oidc_allow_networks;
	const char *oidc_ca_file;
	bool		oidc_insecure;	/* http on loopback for tests */
	const char *public_url;
} Settings;

typedef struct Gateway
{
	Settings	settings;
	AddressRules oidc_rules;	/* of the providers' token endpoints */
	Loop		loop;
	int			process;		/* number of this child, from 0 */
	int			listen_fd;
	int			port;			/* that it really listens on */
	bool		draining;
	int64_t		now_us;			/* monotonic, of this round of the loop */
	int64_t		answer_bytes;	/* of answers that clients have not taken */
	struct Server *server;
	struct Pools *pools;
	struct HealthWatch *health;
	struct RpcService *rpc;
	struct Shared *shared;
	struct Fetcher *fetcher;
	struct Events *events;
} Gateway;

extern int64_t gateway_monotonic_us(void);

#endif
