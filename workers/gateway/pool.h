/*
 * The connections to one database, in pipeline mode: a call goes to an idle one,
 * else behind the fast calls of a busy one, else into a queue that is bounded and fair.
 *
 * One call is one implicit transaction:
 *	[access.begin_request] [before] [main] [ROLLBACK, if wanted] [Sync]
 * and is told over only when the Sync is: what fails at commit is its own error.
 */
#ifndef BACKOFFICE_POOL_H
#define BACKOFFICE_POOL_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "gateway/gateway.h"

#define STATEMENT_MAX_PARAMS 64
#define BEGIN_PARAMS 8

typedef struct Pool Pool;
typedef struct Pools Pools;
typedef struct Call Call;

typedef struct Statement
{
	const char *sql;			/* prepared on each connection under its text */
	int			n;
	const char *values[STATEMENT_MAX_PARAMS];
	int			lengths[STATEMENT_MAX_PARAMS];	/* of binary ones */
	int			formats[STATEMENT_MAX_PARAMS];	/* 0 text, 1 binary */
	bool		one_off;		/* the client shapes its text: prepared only when it comes often */
	const char *callee;			/* oid of the function whose EXECUTE is asked of the request's role, or NULL */
} Statement;

typedef enum CallOutcome
{
	CALL_DONE,					/* the transaction committed; result of main: TUPLES_OK or COMMAND_OK */
	CALL_FAILED,				/* the result is the error; nothing is left of the transaction */
	CALL_SHED,					/* the queue is full, or it waited too long: never sent */
	CALL_DOWN,					/* no connection to the database: never sent */
	CALL_LOST					/* the connection broke underway: unknown whether it committed */
} CallOutcome;

struct Call
{
	bool		internal;		/* the gateway's own: without begin_request, as the role it logged in as */
	const char *begin[BEGIN_PARAMS];	/* token, organization, read_only, method, path, headers, cookies, callee */
	const Statement *before;
	const Statement *main;
	bool		rollback;
	uint32_t	fair_key;		/* whose share of the queue: a hash of the token, or of the address */
	/* Owns the result. principal: what begin_request said, or "". */
	void		(*done) (Call *call, CallOutcome outcome, PGresult *result, const char *principal);
	void	   *context;

	/* the pool's */
	struct Known *known;		/* of main; NULL: sent unprepared */
	uint32_t	generation;		/* that known had when it was found */
	Pool	   *pool;			/* NULL: neither queued nor in flight */
	Call	   *next;
	int64_t		queued_us;
	bool		sent;
	bool		retried;		/* a plan was out of date */
};

/* Reads the databases file. NULL: complaints were written to err. */
extern Pools *pools_open(Gateway *gateway, FILE *err);
extern void pools_start(Pools *pools);
extern void pools_close(Pools *pools);

/* The pool of an organization (text form of its UUID, or NULL). */
extern Pool *pools_find(Pools *pools, const char *organization);

/* Whether there is more than the default one to find. */
extern bool pools_placed(const Pools *pools);

/* Pure check of the file's form, for --check. */
extern bool pools_check(const char *file, FILE *err);

/* Sends what was submitted since the last time: called twice a round of the loop. */
extern void pools_flush(Pools *pools);

extern void pool_submit(Pool *pool, Call *call);

/* Nobody waits for it any more: forgets it; cancels it on the server when it is alone on its connection. */
extern void pool_abandon(Call *call);

typedef struct PoolState
{
	int			connected;
	int			connections;
	int			in_flight;
	int			queued;
	char		error[256];		/* why there is no connection */
} PoolState;
extern void pools_state(const Pools *pools, PoolState *sum);

#endif
