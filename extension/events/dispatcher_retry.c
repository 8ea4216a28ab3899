/*
 * dispatcher_retry.c
 *		Runs events that were set aside.
 *
 * The due heads of many queues go in one batch, and behind a head that has not
 * failed yet those that wait for it, in order.  It takes two transactions.  The
 * first marks the rows of the batch "alone" and is flushed.  The second runs
 * them, each in its subtransaction, deletes the rows of those that succeeded
 * and takes the mark off the others.
 *
 * So a row that is found with the mark was in a batch that did not come to its
 * end: a handler killed the server, or the commit failed.  It runs alone, and
 * its attempt is counted, and flushed, before it is made: after max_attempts of
 * them the event is parked without being run.  The innocent lose nothing by
 * having been in its batch.
 */
#include "events/dispatcher.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "core/spi.h"
#include "events/alerts.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define HEADS_MAX		100
#define BATCH_MAX_BYTES	(8 * 1024 * 1024)
#define DIED "the dispatcher died while this event ran"

typedef enum Outcome
{
	NOT_RUN,
	SUCCEEDED,
	FAILED
} Outcome;

typedef struct Retry
{
	HandlerEvent event;
	int			attempts;		/* that failed */
	char	   *reason;			/* of the last failure */
	bool		alone;
	bool		there;			/* seen again by the second transaction */
	bool		behind;			/* the one before is of its queue */
	Outcome		outcome;
} Retry;

typedef struct RetryBatch
{
	const Subscription *subscription;
	MemoryContext context;		/* lives through both transactions */
	Retry	   *retries;		/* each head followed by those behind it */
	int			count;
	int			max;
	Size		bytes;
} RetryBatch;

/* ---- rows ---- */

#define COLUMNS "id, organization_id, position, topic, key, type, payload, headers, occurred_at, attempts, reason, alone, state"

static Jsonb *
jsonb_cell(uint64 row, int column)
{
	bool		isnull;
	Datum		datum = bo_spi_datum(row, column, &isnull);

	return isnull ? NULL : DatumGetJsonbPCopy(datum);
}

/* Copies a row of the current result into the batch's memory. */
static void
load_retry(RetryBatch *batch, uint64 row, bool behind)
{
	MemoryContext old = MemoryContextSwitchTo(batch->context);
	Retry	   *retry = &batch->retries[batch->count++];
	HandlerEvent *event = &retry->event;
	bool		isnull;
	Datum		organization = bo_spi_datum(row, 2, &isnull);

	MemSet(retry, 0, sizeof(Retry));
	event->has_organization = !isnull;
	if (!isnull)
		event->organization_id = *DatumGetUUIDP(organization);
	event->id = bo_spi_uuid(row, 1);
	event->position = *DatumGetPositionP(bo_spi_datum(row, 3, &isnull));
	event->topic = bo_spi_text(row, 4);
	event->key = bo_spi_text(row, 5);
	event->type = bo_spi_text(row, 6);
	event->payload = jsonb_cell(row, 7);
	event->headers = jsonb_cell(row, 8);
	event->occurred_at = DatumGetTimestampTz(bo_spi_datum(row, 9, &isnull));
	retry->attempts = bo_spi_int32(row, 10);
	retry->reason = bo_spi_text(row, 11);
	retry->alone = bo_spi_bool(row, 12);
	retry->behind = behind;
	batch->bytes += VARSIZE_ANY(event->payload) + (event->headers ? VARSIZE_ANY(event->headers) : 0);
	MemoryContextSwitchTo(old);
}

/* Consumer, id and organization: the first three arguments of statements about one row. */
static void
row_arguments(const Subscription *subscription, const HandlerEvent *event, Datum *args, char *nulls)
{
	args[0] = CStringGetTextDatum(subscription->name);
	args[1] = UUIDPGetDatum(&event->id);
	args[2] = UUIDPGetDatum(&event->organization_id);
	nulls[0] = nulls[1] = ' ';
	nulls[2] = event->has_organization ? ' ' : 'n';
}

#define THIS_ROW " WHERE consumer = $1 AND id = $2 AND organization_id IS NOT DISTINCT FROM $3"

/* Consumer, ids and organizations: the arguments of statements about the rows of one outcome; false: there are none. */
static bool
rows_arguments(const RetryBatch *batch, Outcome outcome, Datum *args)
{
	Datum	   *ids = palloc(sizeof(Datum) * batch->count);
	Datum	   *organizations = palloc(sizeof(Datum) * batch->count);
	bool	   *nulls = palloc(sizeof(bool) * batch->count);
	int			lower = 1;
	int			n = 0;

	for (int i = 0; i < batch->count; i++)
	{
		const HandlerEvent *event = &batch->retries[i].event;

		if (batch->retries[i].outcome != outcome)
			continue;
		ids[n] = UUIDPGetDatum(&event->id);
		organizations[n] = UUIDPGetDatum(&event->organization_id);
		nulls[n++] = !event->has_organization;
	}
	if (n == 0)
		return false;
	args[0] = CStringGetTextDatum(batch->subscription->name);
	args[1] = PointerGetDatum(construct_array(ids, n, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
	args[2] = PointerGetDatum(construct_md_array(organizations, nulls, 1, &n, &lower, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
	return true;
}

#define THESE_ROWS \
	" ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3)) WITH ORDINALITY AS u(id, organization_id, n)" \
	" WHERE p.consumer = $1 AND p.id = u.id AND p.organization_id IS NOT DISTINCT FROM u.organization_id"
#define THESE_ARGUMENTS 3, {TEXTOID, UUIDARRAYOID, UUIDARRAYOID}, NULL, true

/* Records a failure; after the last attempt the event is parked, with an alert. */
static void
record_failure(const Subscription *subscription, const Retry *retry, const char *reason, int delay_ms)
{
	static BoPlan keep = {
		"UPDATE events.parked_events SET reason = $4, attempts = $6, alone = false,"
		" state = CASE WHEN $5 THEN 'parked' ELSE 'retrying' END,"
		" due_at = CASE WHEN $5 THEN NULL ELSE pg_catalog.clock_timestamp() + $7 * interval '1 millisecond' END"
		THIS_ROW " AND state IN ('retrying', 'waiting')",
		7, {TEXTOID, UUIDOID, UUIDOID, TEXTOID, BOOLOID, INT4OID, INT4OID}, NULL, true
	};
	bool		last = retry->attempts >= subscription->max_attempts;
	Datum		args[7];
	char		nulls[7] = {' ', ' ', ' ', ' ', ' ', ' ', ' '};

	row_arguments(subscription, &retry->event, args, nulls);
	args[3] = CStringGetTextDatum(clipped_reason(reason));
	args[4] = BoolGetDatum(last);
	args[5] = Int32GetDatum(retry->attempts);
	args[6] = Int32GetDatum(delay_ms);
	if (bo_spi_run(&keep, args, nulls, 0) > 0 && last)
		alert_parked(subscription, &retry->event, reason);
}

/* Makes the head of the key's queue run, when nobody is there before it. */
static void
promote_next(const Subscription *subscription, const HandlerEvent *event)
{
	static BoPlan promote = {
		"UPDATE events.parked_events SET state = 'retrying', due_at = pg_catalog.clock_timestamp()"
		" WHERE consumer = $1 AND id = (SELECT p.id FROM events.parked_events p"
		"   WHERE p.consumer = $1 AND p.key = $2 AND p.organization_id IS NOT DISTINCT FROM $3 ORDER BY p.position LIMIT 1)"
		" AND organization_id IS NOT DISTINCT FROM $3 AND state = 'waiting'", 3, {TEXTOID, TEXTOID, UUIDOID}, NULL, true, true
	};
	Datum		args[3];
	char		nulls[3] = {' ', ' ', event->has_organization ? ' ' : 'n'};

	if (event->key == NULL)
		return;
	args[0] = CStringGetTextDatum(subscription->name);
	args[1] = CStringGetTextDatum(event->key);
	args[2] = UUIDPGetDatum(&event->organization_id);
	bo_spi_run(&promote, args, nulls, 0);
}

/* ---- the first transaction ---- */

/* What waits behind the head that was loaded last, up to one that is to run alone. */
static void
load_waiting(RetryBatch *batch, int max)
{
	static BoPlan pick = {
		"SELECT " COLUMNS " FROM events.parked_events"
		" WHERE consumer = $1 AND key = $2 AND organization_id IS NOT DISTINCT FROM $3 AND position > $4::text::events.position"
		" ORDER BY position LIMIT $5", 5, {TEXTOID, TEXTOID, UUIDOID, TEXTOID, INT4OID}, NULL, true, true
	};
	const HandlerEvent *head = &batch->retries[batch->count - 1].event;
	char		nulls[5] = {' ', ' ', head->has_organization ? ' ' : 'n', ' ', ' '};
	char		buffer[POSITION_TEXT_MAX];
	Datum		args[5] = {
		CStringGetTextDatum(batch->subscription->name),
		head->key ? CStringGetTextDatum(head->key) : (Datum) 0,
		UUIDPGetDatum(&head->organization_id),
		CStringGetTextDatum(position_print(buffer, &head->position)),
		Int32GetDatum(max)
	};
	uint64		count;

	if (head->key == NULL || max <= 0)
		return;
	count = bo_spi_run(&pick, args, nulls, 0);
	for (uint64 i = 0; i < count && batch->bytes < BATCH_MAX_BYTES; i++)
	{
		if (bo_spi_bool(i, 12) || strcmp(bo_spi_text(i, 13), "waiting") != 0)
			break;
		load_retry(batch, i, true);
	}
}

/* Behind heads that have not failed themselves, each its share; the heads move apart for it. */
static void
load_queues(RetryBatch *batch)
{
	int			heads = batch->count;
	Retry	   *copies = MemoryContextAlloc(batch->context, sizeof(Retry) * heads);

	memcpy(copies, batch->retries, sizeof(Retry) * heads);
	batch->count = 0;
	for (int i = 0; i < heads; i++)
	{
		int			left = heads - i - 1;

		CHECK_FOR_INTERRUPTS();
		batch->retries[batch->count++] = copies[i];
		if (copies[i].attempts == 0)
			load_waiting(batch, (batch->max - batch->count - left) / (left + 1));
	}
}

/* The heads that are due: one that is to run alone, or some that are not. */
static void
load_heads(RetryBatch *batch)
{
	static BoPlan pick = {
		"SELECT " COLUMNS " FROM events.parked_events"
		" WHERE consumer = $1 AND state = 'retrying' AND due_at <= pg_catalog.clock_timestamp()"
		" ORDER BY due_at, position LIMIT $2", 2, {TEXTOID, INT4OID}, NULL, true
	};
	int			max = Min(HEADS_MAX, handler_batch_events);
	Datum		args[2] = {CStringGetTextDatum(batch->subscription->name), Int32GetDatum(max)};
	uint64		count = bo_spi_run(&pick, args, NULL, 0);

	for (uint64 i = 0; i < count && batch->bytes < BATCH_MAX_BYTES; i++)
	{
		bool		alone = bo_spi_bool(i, 12);

		if (batch->count > 0 && alone)
			break;
		load_retry(batch, i, false);
		if (alone)
			break;
	}
}

/* The attempt counts, whatever comes of it.  false: it was the last one already. */
static bool
count_attempt(const Subscription *subscription, Retry *retry)
{
	static BoPlan count = {
		"UPDATE events.parked_events SET attempts = $4, due_at = pg_catalog.clock_timestamp() + $5 * interval '1 millisecond'" THIS_ROW,
		5, {TEXTOID, UUIDOID, UUIDOID, INT4OID, INT4OID}, NULL, true
	};
	Datum		args[5];
	char		nulls[5] = {' ', ' ', ' ', ' ', ' '};

	if (retry->attempts >= subscription->max_attempts)
	{
		record_failure(subscription, retry, retry->reason ? retry->reason : DIED, 0);
		return false;
	}
	row_arguments(subscription, &retry->event, args, nulls);
	args[3] = Int32GetDatum(++retry->attempts);
	args[4] = Int32GetDatum(retry_delay_ms(retry->attempts));
	bo_spi_run(&count, args, nulls, 0);
	return true;
}

/* false: nothing is due.  *run: is there anything to run? */
static bool
take_due(RetryBatch *batch, bool *run)
{
	static BoPlan mark = {"UPDATE events.parked_events p SET alone = true FROM" THESE_ROWS, THESE_ARGUMENTS};
	Datum		args[3];

	dispatcher_begin();
	load_heads(batch);
	*run = batch->count > 0;
	if (*run)
	{
		/* A handler that cannot be called at all is not the event's fault: an error here counts no attempt. */
		(void) handler_prepare(batch->subscription);
		if (batch->retries[0].alone)
			*run = count_attempt(batch->subscription, &batch->retries[0]);
		else
		{
			load_queues(batch);
			rows_arguments(batch, NOT_RUN, args);
			bo_spi_run(&mark, args, NULL, 0);
		}
		ForceSyncCommit();
	}
	dispatcher_commit();
	return batch->count > 0;
}

/* ---- the second transaction ---- */

/* Locks the rows: they may have gone since, or the subscription was paused. */
static void
lock_rows(RetryBatch *batch)
{
	static BoPlan goes_on = {"SELECT 1 FROM events.subscriptions WHERE name = $1 AND NOT paused", 1, {TEXTOID}};
	static BoPlan lock = {
		"SELECT u.n::int FROM events.parked_events p," THESE_ROWS
		" AND p.state IN ('retrying', 'waiting') FOR UPDATE OF p", THESE_ARGUMENTS
	};
	Datum		args[3];
	uint64		count;

	rows_arguments(batch, NOT_RUN, args);
	if (bo_spi_run(&goes_on, args, NULL, 1) == 0)
		return;
	count = bo_spi_run(&lock, args, NULL, 0);
	for (uint64 i = 0; i < count; i++)
		batch->retries[bo_spi_int32(i, 1) - 1].there = true;
}

/* false: the transaction cannot go on. */
static bool
run_retry(const RetryBatch *batch, HandlerCall *call, Retry *retry)
{
	char	   *error;

	switch (handler_run(call, &retry->event, &error))
	{
		case RUN_OK:
			retry->outcome = SUCCEEDED;
			return true;
		case RUN_AGAIN:
			if (!retry->alone)
				return false;
			break;
		case RUN_FAILED:
			break;
	}
	retry->outcome = FAILED;
	if (!retry->alone)
		retry->attempts++;
	record_failure(batch->subscription, retry, error, retry_delay_ms(retry->attempts));
	return true;
}

/* A queue stops at the first that fails or is gone. */
static bool
run_queues(RetryBatch *batch)
{
	HandlerCall *call = handler_prepare(batch->subscription);
	bool		stopped = false;

	for (int i = 0; i < batch->count && !ShutdownRequestPending; i++)
	{
		Retry	   *retry = &batch->retries[i];

		CHECK_FOR_INTERRUPTS();
		if (!retry->behind)
			stopped = false;
		if (stopped || !retry->there)
		{
			stopped = true;
			continue;
		}
		if (!run_retry(batch, call, retry))
			return false;
		stopped = retry->outcome != SUCCEEDED;
	}
	return true;
}

static void
write_outcome(RetryBatch *batch)
{
	static BoPlan remove = {
		"DELETE FROM events.parked_events p USING" THESE_ROWS, THESE_ARGUMENTS
	};
	static BoPlan unmark = {"UPDATE events.parked_events p SET alone = false FROM" THESE_ROWS, THESE_ARGUMENTS};
	Datum		args[3];

	if (rows_arguments(batch, SUCCEEDED, args))
		bo_spi_run(&remove, args, NULL, 0);
	if (!batch->retries[0].alone && rows_arguments(batch, NOT_RUN, args))
		bo_spi_run(&unmark, args, NULL, 0);
	for (int i = 0; i < batch->count; i++)
		if (batch->retries[i].outcome == SUCCEEDED && (i + 1 == batch->count || batch->retries[i + 1].outcome != SUCCEEDED ||
													   !batch->retries[i + 1].behind))
			promote_next(batch->subscription, &batch->retries[i].event);
}

static void
run_batch(RetryBatch *batch)
{
	dispatcher_begin();
	lock_rows(batch);
	if (!run_queues(batch))
	{
		/* The marks stay: they go one by one. */
		dispatcher_abort();
		return;
	}
	write_outcome(batch);
	handler_clean_session();
	dispatcher_commit();
}

/* The same, and what to do when even the commit fails: of an event that is alone, it is the fault. */
static void
run_batch_guarded(RetryBatch *batch)
{
	Retry	   *first = &batch->retries[0];
	char	   *volatile error = NULL;

	PG_TRY();
	{
		run_batch(batch);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(batch->context);
		edata = CopyErrorData();
		FlushErrorState();
		dispatcher_abort();
		MemoryContextSwitchTo(batch->context);
		error = psprintf("%s: %s", unpack_sql_state(edata->sqlerrcode), edata->message);
	}
	PG_END_TRY();
	if (error == NULL || !first->alone)
		return;
	dispatcher_begin();
	record_failure(batch->subscription, first, error, retry_delay_ms(first->attempts));
	dispatcher_commit();
}

bool
dispatch_parked(Subscription *subscription)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "backoffice retried events", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = CurrentMemoryContext;
	RetryBatch	batch = {.subscription = subscription, .context = context, .max = handler_batch_events};
	bool		run;
	bool		found;

	batch.retries = MemoryContextAlloc(context, sizeof(Retry) * batch.max);
	found = take_due(&batch, &run);
	if (run)
		run_batch_guarded(&batch);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return found;
}
