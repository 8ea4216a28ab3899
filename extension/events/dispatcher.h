/*
 * dispatcher.h
 *		In-database handlers: what the files of the dispatcher share.
 */
#ifndef BACKOFFICE_DISPATCHER_H
#define BACKOFFICE_DISPATCHER_H

#include <signal.h>

#include "core/core.h"
#include "events/position.h"
#include "events/reader.h"
#include "fmgr.h"

/* Called from events_init(). */
extern void dispatcher_init(void);

/* Settings. */
extern int	handler_timeout_ms;
extern int	handler_batch_events;
extern int	handler_retry_min_ms;
extern int	handler_retry_max_ms;

/* Filled once the ticker has settled what it found. */
extern EmissionNotes emission_notes;

/* One subscription, as the dispatcher knows it between batches. */
typedef struct Subscription
{
	char	   *name;
	char	   *handler;
	char	   *role;
	int			max_attempts;
	int			ntopics;
	char	  **topics;

	bool		listed;			/* seen in the last listing */
	bool		paused;
	bool		has_due;		/* set-aside events that are due */
	bool		has_more;		/* the last batch was full, or is to be repeated */
	bool		marked;			/* its running mark is committed */
	bool		set_aside;		/* run the next batch one by one, through the parked events */
	int			failures;		/* of the current batch, in a row */
	TimestampTz not_before;		/* after a failure as a whole */
	TimestampTz sweep_at;		/* next look for events that wait behind nobody */

	EventPosition stored;		/* the cursor's row */
	EventPosition scanned;		/* read up to here since, without finding anything */
	TimestampTz stored_at;
} Subscription;

/* An event to run, self-contained. */
typedef struct HandlerEvent
{
	EventPosition position;
	pg_uuid_t	id;
	bool		has_organization;
	pg_uuid_t	organization_id;
	char	   *topic;
	char	   *key;			/* NULL: none */
	char	   *type;
	Jsonb	   *payload;
	Jsonb	   *headers;		/* NULL: none */
	TimestampTz occurred_at;
} HandlerEvent;

/* ---- dispatcher_run.c: one call ---- */

typedef struct HandlerCall
{
	const Subscription *subscription;
	Oid			role;
	Oid			function;
	FmgrInfo	finfo;
	MemoryContext context;		/* of the FmgrInfo */
	MemoryContext scratch;		/* reset after each event */
} HandlerCall;

typedef enum RunResult
{
	RUN_OK,
	RUN_FAILED,					/* its effects are undone, *error says why */
	RUN_AGAIN					/* serialization failure or deadlock: the transaction is to be repeated */
} RunResult;

/* In a transaction.  Errors when the handler or its role is not there or not allowed. */
extern HandlerCall *handler_prepare(const Subscription *subscription);
extern RunResult handler_run(HandlerCall *call, const HandlerEvent *event, char **error);

/* Forgets what handlers may have left in the session; before commit. */
extern void handler_clean_session(void);
extern void handler_release_locks(void);

/* True while a handler runs: SIGTERM then ends it, otherwise it asks the loop to leave. */
extern volatile sig_atomic_t handler_running;

/* ---- dispatcher_batch.c, dispatcher_retry.c, dispatcher_parked.c: each a few transactions of their own ---- */

/* True: there may be more at once. */
extern bool dispatch_batch(Subscription *subscription);
extern bool dispatch_parked(Subscription *subscription);

/* Now and then: frees events that wait behind nobody. */
extern void sweep_parked(Subscription *subscription);

/* Sets an event aside within the current transaction; alone: it runs in a transaction of its own, see dispatcher_retry.c. */
typedef enum AsideState
{
	ASIDE_RETRYING,
	ASIDE_WAITING,
	ASIDE_PARKED
} AsideState;

extern void set_event_aside(const Subscription *subscription, const HandlerEvent *event, AsideState state,
							int attempts, const char *reason, int delay_ms, bool alone);

/* Is anything? */
extern bool anything_set_aside(const Subscription *subscription);

/* Is another event of this key set aside? */
extern bool key_is_set_aside(const Subscription *subscription, const HandlerEvent *event);

extern void alert_parked(const Subscription *subscription, const HandlerEvent *event, const char *reason);

/* Capped exponential, half of it random. */
extern int	retry_delay_ms(int attempts);

/* ---- dispatcher.c ---- */

extern void dispatcher_begin(void); /* a transaction as backoffice_kernel, with SPI and a snapshot */
extern void dispatcher_commit(void);
extern void dispatcher_abort(void); /* in PG_CATCH: logs nothing, leaves a clean state */

#endif
