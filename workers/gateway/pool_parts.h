/* What the files of the pool share: pool.c (queue, choice), line.c (one connection). */
#ifndef BACKOFFICE_POOL_PARTS_H
#define BACKOFFICE_POOL_PARTS_H

#include <stdatomic.h>

#include "gateway/intercept.h"
#include "gateway/pool.h"
#include "gateway/statements.h"
#include "lib/backoff.h"
#include "lib/dial.h"

#define MAX_DEPTH 16
#define QUEUE_SHARES 64

typedef enum LineState
{
	LINE_DOWN,
	LINE_CONNECTING,
	LINE_SETTING_UP,
	LINE_READY
} LineState;

/* A call that was sent, or the connection's own setting up. */
typedef struct Flight
{
	Call	   *call;			/* NULL: nobody waits for it (any more) */
	Known	   *known;			/* of main; NULL: not kept */
	uint32_t	generation;		/* that known had when it was sent */
	int			begin_step;		/* which result is what; -1: none */
	int			main_step;
	int			prepare_step;	/* of main */
	int			step;			/* results so far */
	bool		slow;			/* counted in the line's slow */
	PGresult   *result;
	PGresult   *error;
	char		principal[160];
	int64_t		sent_us;
} Flight;

/* A cancel request under way in a thread of its own, since libpq's waits for the server. */
typedef struct Cancel
{
	PGcancel   *cancel;
	atomic_int	owners;			/* the thread and the line: the last one frees it */
	atomic_bool sent;
} Cancel;

typedef struct Line
{
	Pool	   *pool;
	int			number;
	LineState	state;
	PGconn	   *conn;
	Dial		dial;
	int			watched_fd;
	Flight		flights[MAX_DEPTH];	/* a ring */
	int			first;
	int			count;
	int			slow;			/* flights that nothing may wait behind */
	bool		swollen;		/* libpq keeps the room that a large result took, or the server that of many statements */
	int64_t		last_sync_us;
	uint32_t	prepared[STATEMENTS_MAX];	/* generation of each that is */
	int			prepares;		/* so far: the server keeps those of older generations */
	Outbox		outbox;			/* what was sent since the last flush; the connection has no TLS */
	Cancel	   *cancel;
	LoopTimer	retry;
	Backoff		backoff;
} Line;

typedef struct Share
{
	Call	   *first;
	Call	   *last;
	int			count;
} Share;

struct Pool
{
	Pools	   *pools;
	Gateway    *gateway;
	char	   *dsn;
	Line	   *lines;
	int			line_count;
	bool		failing;		/* the last attempt to connect failed, and no line is ready */
	char		error[256];
	Share		shares[QUEUE_SHARES];
	int			next_share;
	int			queued;
	int			in_flight;
};

struct Pools
{
	Gateway    *gateway;
	Statements	statements;
	Pool	  **pools;			/* the first is the default one */
	int			pool_count;
	struct Placement *placements;
	int			placement_count;
	LoopTimer	sweep;
};

/* line.c */
extern void line_open(Line *line);
extern void line_close(Line *line);
extern bool line_send(Line *line, Call *call, Known *known);
/* Sends what this round of the loop has collected. */
extern void line_flush(Line *line);
extern void line_cancel(Line *line);
/* A flight that takes too long proves the server dead. */
extern void line_check(Line *line, int64_t now_us);
extern int64_t line_head_age_us(const Line *line, int64_t now_us);

/* pool.c: a line has become free, or usable */
extern void pool_continue(Pool *pool);
/* pool.c: the call found the connection in another call's aborted transaction; nothing was done of it */
extern bool call_found_aborted(const PGresult *error);
/* pool.c: a flight ended */
extern void pool_landed(Pool *pool, Flight *flight, CallOutcome outcome);
extern void pool_line_changed(Pool *pool);

#endif
