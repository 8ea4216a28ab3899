/*
 * dispatcher_batch.c
 *		The next events of a subscription, in one transaction with its position.
 *
 * Events are copied out of the log first and then run one after another, each
 * in its subtransaction.  One that fails is set aside (dispatcher_parked.c),
 * and so is every later one of its key; the position moves over them.
 *
 * Before the first batch a running mark is committed.  A dispatcher that finds
 * one at start-up knows that the last one died, perhaps by a handler that
 * crashed the server: it sets the first batch aside as a whole and runs it from
 * there, event by event, each attempt counted before it is made.  A batch that
 * cannot be committed goes the same way.
 */
#include "events/dispatcher.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "core/spi.h"
#include "events/topics.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define BATCH_MAX_BYTES		(8 * 1024 * 1024)
#define BATCH_TRIES			3	/* for serialization failures, before it goes one by one */
#define STORE_INTERVAL_MS	5000	/* how often a position moves that passed nothing to run */

typedef struct Batch
{
	HandlerEvent *events;
	int			count;
	EventPosition end;			/* where to read on */
	bool		moved;			/* from where the cursor's row stands */
} Batch;

/* ---- reading ---- */

/* Locks the cursor; false: there is no such subscription (any more), or somebody moves it right now. */
static bool
lock_cursor(Subscription *subscription)
{
	static BoPlan lock = {
		"SELECT c.position FROM events.cursors c JOIN events.subscriptions s ON s.name = c.consumer"
		" WHERE c.consumer = $1 AND c.shard = 0 AND NOT s.paused FOR NO KEY UPDATE OF c SKIP LOCKED", 1, {TEXTOID}
	};
	Datum		name = CStringGetTextDatum(subscription->name);
	EventPosition stored;
	bool		isnull;

	if (bo_spi_run(&lock, &name, NULL, 1) != 1)
		return false;
	stored = *DatumGetPositionP(bo_spi_datum(0, 1, &isnull));
	/* Moved by seek(), or seen for the first time: what was scanned counts for nothing. */
	if (memcmp(&stored, &subscription->stored, sizeof(stored)) != 0)
	{
		subscription->stored = subscription->scanned = stored;
		subscription->stored_at = bo_monotonic();
	}
	return true;
}

static HandlerEvent
copy_event(const Event *event)
{
	const Topic *topic = topic_by_id(event->topic_id);
	HandlerEvent copy = {
		.position = event->position,
		.id = event->id,
		.has_organization = event->has_organization,
		.organization_id = event->organization_id,
		.topic = pstrdup(topic ? topic->name : ""),
		.key = event->key ? text_to_cstring(event->key) : NULL,
		.type = text_to_cstring(event->type),
		.payload = (Jsonb *) pg_detoast_datum_copy((struct varlena *) event->payload),
		.headers = event->headers ? (Jsonb *) pg_detoast_datum_copy((struct varlena *) event->headers) : NULL,
		.occurred_at = event->occurred_at
	};

	return copy;
}

static EventFilter
topics_filter(const Subscription *subscription)
{
	int32	   *topic_ids = palloc(sizeof(int32) * subscription->ntopics);
	EventFilter filter = {
		.topic_ids = topic_ids, .ntopics = subscription->ntopics,
		.notes = emission_notes.slot ? &emission_notes : NULL
	};

	for (int i = 0; i < subscription->ntopics; i++)
		topic_ids[i] = topic_lookup(subscription->topics[i])->id;
	return filter;
}

/*
 * Most rounds find only other topics' events.  They are passed by in memory:
 * locking the cursor's row would cost a transaction id and a flush each time.
 * A seek() meanwhile is noticed by the next listing, or under the lock.
 */
static bool
nothing_to_run(Subscription *subscription)
{
	EventFilter filter = topics_filter(subscription);
	EventReader *reader = reader_open(&subscription->scanned, &filter);
	Event		event;
	bool		none = !reader_next(reader, &event);

	if (none)
		subscription->scanned = reader_position(reader);
	reader_close(reader);
	return none;
}

static Batch
read_batch(Subscription *subscription)
{
	Batch		batch = {0};
	EventFilter filter = topics_filter(subscription);
	Size		bytes = 0;
	EventReader *reader;
	Event		event;

	batch.events = palloc(sizeof(HandlerEvent) * handler_batch_events);
	reader = reader_open(&subscription->scanned, &filter);
	while (batch.count < handler_batch_events && bytes < BATCH_MAX_BYTES && reader_next(reader, &event))
	{
		HandlerEvent *copy = &batch.events[batch.count++];

		CHECK_FOR_INTERRUPTS();
		*copy = copy_event(&event);
		bytes += VARSIZE_ANY(copy->payload) + (copy->headers ? VARSIZE_ANY(copy->headers) : 0);
	}
	batch.end = reader_position(reader);
	reader_close(reader);
	batch.moved = position_compare(&batch.end, &subscription->stored) > 0;
	return batch;
}

static void
store_position(Subscription *subscription, const EventPosition *position)
{
	static BoPlan store = {
		"UPDATE events.cursors SET position = $2::text::events.position, updated_at = pg_catalog.clock_timestamp()"
		" WHERE consumer = $1 AND shard = 0", 2, {TEXTOID, TEXTOID}
	};
	char		buffer[POSITION_TEXT_MAX];
	Datum		args[2] = {
		CStringGetTextDatum(subscription->name),
		CStringGetTextDatum(position_print(buffer, position))
	};

	bo_spi_run(&store, args, NULL, 0);
}

/* ---- running ---- */

/* true: the transaction is to be repeated. */
static bool
run_events(HandlerCall *call, Subscription *subscription, Batch *batch)
{
	bool		any = anything_set_aside(subscription);

	for (int i = 0; i < batch->count; i++)
	{
		const HandlerEvent *event = &batch->events[i];
		char	   *error;

		CHECK_FOR_INTERRUPTS();
		if (ShutdownRequestPending && i > 0)
		{
			/* Keep what was done, and come back for the rest. */
			batch->end = batch->events[i - 1].position;
			break;
		}
		if (any && key_is_set_aside(subscription, event))
		{
			set_event_aside(subscription, event, ASIDE_WAITING, 0, NULL, 0, false);
			continue;
		}
		switch (handler_run(call, event, &error))
		{
			case RUN_OK:
				break;
			case RUN_AGAIN:
				return true;
			case RUN_FAILED:
				any = true;
				set_event_aside(subscription, event,
								subscription->max_attempts == 1 ? ASIDE_PARKED : ASIDE_RETRYING,
								1, error, retry_delay_ms(1), false);
				if (subscription->max_attempts == 1)
					alert_parked(subscription, event, error);
				break;
		}
	}
	return false;
}

static void
set_batch_aside(Subscription *subscription, const Batch *batch)
{
	for (int i = 0; i < batch->count; i++)
	{
		const HandlerEvent *event = &batch->events[i];
		bool		behind = key_is_set_aside(subscription, event);

		set_event_aside(subscription, event, behind ? ASIDE_WAITING : ASIDE_RETRYING, 0, NULL, 0, true);
	}
}

/* Commits that this subscription is about to be run, before it is. */
static void
mark_running(Subscription *subscription)
{
	static BoPlan mark = {
		"UPDATE events.subscriptions SET running = true WHERE name = $1 AND NOT running", 1, {TEXTOID}
	};
	Datum		name;

	dispatcher_begin();
	name = CStringGetTextDatum(subscription->name);
	if (bo_spi_run(&mark, &name, NULL, 0) > 0)
		ForceSyncCommit();
	dispatcher_commit();
	subscription->marked = true;
}

typedef enum BatchResult
{
	BATCH_EMPTY,
	BATCH_FULL,
	BATCH_NOT_FULL,
	BATCH_MARK_FIRST,			/* there is something to run, but the mark is not set */
	BATCH_AGAIN
} BatchResult;

/* One transaction. */
static BatchResult
one_batch(Subscription *subscription)
{
	Batch		batch;
	BatchResult result = BATCH_EMPTY;
	TimestampTz now = bo_monotonic();

	dispatcher_begin();
	if ((nothing_to_run(subscription) && !TimestampDifferenceExceeds(subscription->stored_at, now, STORE_INTERVAL_MS)) ||
		!lock_cursor(subscription))
	{
		dispatcher_commit();
		return BATCH_EMPTY;
	}
	/* Read with a snapshot from after the lock. */
	PopActiveSnapshot();
	PushActiveSnapshot(GetTransactionSnapshot());
	batch = read_batch(subscription);

	if (batch.count > 0 && !subscription->marked)
		result = BATCH_MARK_FIRST;
	else if (batch.count > 0)
	{
		/* Errors when the handler cannot be called at all: then nothing moves. */
		HandlerCall *call = handler_prepare(subscription);

		if (subscription->set_aside)
			set_batch_aside(subscription, &batch);
		else if (run_events(call, subscription, &batch))
			result = BATCH_AGAIN;
		if (result != BATCH_AGAIN)
			result = batch.count == handler_batch_events ? BATCH_FULL : BATCH_NOT_FULL;
	}
	if (result == BATCH_MARK_FIRST || result == BATCH_AGAIN)
	{
		dispatcher_abort();
		return result;
	}
	if (batch.count > 0 ||
		(batch.moved && TimestampDifferenceExceeds(subscription->stored_at, now, STORE_INTERVAL_MS)))
	{
		store_position(subscription, &batch.end);
		handler_clean_session();
		dispatcher_commit();
		subscription->stored = batch.end;
		subscription->stored_at = now;
	}
	else
		dispatcher_commit();
	subscription->scanned = batch.end;
	return result;
}

bool
dispatch_batch(Subscription *subscription)
{
	BatchResult result = one_batch(subscription);

	if (result == BATCH_MARK_FIRST)
	{
		mark_running(subscription);
		result = one_batch(subscription);
	}
	if (result == BATCH_AGAIN)
	{
		if (++subscription->failures >= BATCH_TRIES)
			subscription->set_aside = true;
		return true;
	}
	subscription->failures = 0;
	if (result != BATCH_EMPTY)
		subscription->set_aside = false;
	return result == BATCH_FULL;
}
