/*
 * One connection to the database, driven by the loop: one query at a time,
 * its result by callback; notifications by callback; a lost connection is
 * told once and made again by the owner, with backoff.
 */
#ifndef BACKOFFICE_PG_H
#define BACKOFFICE_PG_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/dial.h"
#include "lib/loop.h"

#define PG_MAX_PARAMS 16

/* What a client waits beyond the server's own statement timeout before it calls the server dead. */
#define PG_GRACE_MS 5000

typedef struct Pg Pg;

/* The callback owns the result. NULL: the connection was lost before there was one. */
typedef void (*PgResultFunction) (void *context, PGresult *result);

typedef struct PgParams
{
	int			n;
	const char *values[PG_MAX_PARAMS];
	int			lengths[PG_MAX_PARAMS];
	int			formats[PG_MAX_PARAMS];
	char		numbers[PG_MAX_PARAMS][24];
} PgParams;

struct Pg
{
	Loop	   *loop;
	PGconn	   *conn;			/* NULL: not connected */
	int			watched_fd;		/* libpq forgets it when the connection breaks */
	const char *dsn;
	const char *name;			/* application_name, and in the log */
	int64_t		statement_timeout_ms;
	void		(*notified) (void *context);	/* any notification came */
	void		(*lost) (void *context);
	void	   *context;
	void		(*connecting) (void *context, bool good);	/* whom pg_start() is to tell */
	int			connect_s;		/* for each address */
	Dial		dial;
	PgResultFunction on_result; /* NULL: idle */
	void	   *result_context;
	PGresult   *answer;			/* what has come of the running query's */
	LoopTimer	deadline;		/* of the running query */
	char		error[256];		/* of the last failure */
};

extern void pg_init(Pg *pg, Loop *loop, const char *dsn, const char *name, int64_t statement_timeout_ms);

/* Connects, and sets session settings, each at most timeout_s long, for each address of the database. False: see pg->error. */
extern bool pg_connect(Pg *pg, int timeout_s);

/* The same without waiting: connected() is told once, perhaps at once; lost() only after it was told that all is good. */
extern void pg_start(Pg *pg, int timeout_s, void (*connected) (void *context, bool good));
extern void pg_close(Pg *pg);
extern bool pg_idle(const Pg *pg);

extern void pg_text(PgParams *params, const char *value);
extern void pg_int(PgParams *params, int64_t value);
extern void pg_bytes(PgParams *params, const void *bytes, int len);

/* Starts a query; result_format 0 text, 1 binary. False: the connection is lost (lost() was called). */
extern bool pg_send(Pg *pg, const char *sql, const PgParams *params, int result_format,
					PgResultFunction on_result, void *context);

/* The same for a statement that was prepared on this connection. */
extern bool pg_send_prepared(Pg *pg, const char *statement, const PgParams *params, int result_format,
							 PgResultFunction on_result, void *context);

/* Waits for the result of one query: for start-up and shut-down. NULL: failed, see pg->error. The connection must be idle. */
extern PGresult *pg_query(Pg *pg, const char *sql, const PgParams *params, int result_format);

/* Whether the result is rows or done; else pg->error says why and the SQLSTATE is copied (6 bytes). */
extern bool pg_good(Pg *pg, const PGresult *result, char *sqlstate);

#endif
