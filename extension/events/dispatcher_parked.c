/*
 * dispatcher_parked.c
 *		Events that were set aside: retried, waiting behind one, parked.
 *
 * The rows of one key form a queue by position.  Its head is retrying or
 * parked, the others wait; when the head is done with, the next becomes
 * retrying.  An event without a key is a queue of its own.
 *
 * A retry takes two transactions.  The first counts the attempt and puts off
 * the next one, and is flushed: should the handler kill the server, the attempt
 * is on record, and after max_attempts of them the event is parked without
 * being run.  The second runs the event and deletes its row, together.
 */
#include "events/dispatcher.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "core/spi.h"
#include "events/alerts.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define REASON_MAX_BYTES 2000
#define SWEEP_INTERVAL_MS 10000
#define DIED "the dispatcher died while this event ran"

int
retry_delay_ms(int attempts)
{
	int64		delay = handler_retry_min_ms;

	for (int i = 1; i < attempts && delay < handler_retry_max_ms; i++)
		delay *= 2;
	delay = Min(delay, handler_retry_max_ms);
	return (int) (delay / 2 + (int64) (pg_prng_double(&pg_global_prng_state) * (delay - delay / 2)));
}

/* ---- setting aside ---- */

static Datum
text_or_null(const char *text, char *null)
{
	*null = text ? ' ' : 'n';
	return text ? CStringGetTextDatum(text) : (Datum) 0;
}

static char *
clipped(const char *reason)
{
	return reason ? pnstrdup(reason, pg_mbcliplen(reason, strlen(reason), REASON_MAX_BYTES)) : NULL;
}

bool
key_is_set_aside(const Subscription *subscription, const HandlerEvent *event)
{
	static BoPlan find = {
		"SELECT 1 FROM events.parked_events"
		" WHERE consumer = $1 AND key = $2 AND organization_id IS NOT DISTINCT FROM $3 LIMIT 1", 3, {TEXTOID, TEXTOID, UUIDOID}
	};
	char		nulls[3] = {' ', ' ', event->has_organization ? ' ' : 'n'};
	Datum		args[3];

	if (event->key == NULL)
		return false;
	args[0] = CStringGetTextDatum(subscription->name);
	args[1] = CStringGetTextDatum(event->key);
	args[2] = UUIDPGetDatum(&event->organization_id);
	return bo_spi_run(&find, args, nulls, 1) > 0;
}

void
set_event_aside(const Subscription *subscription, const HandlerEvent *event, AsideState state,
				int attempts, const char *reason, int delay_ms)
{
	/* On conflict: seek() went back over an event that is still set aside; it keeps its place. */
	static BoPlan insert = {
		"INSERT INTO events.parked_events (consumer, organization_id, id, position, topic, key, type, payload, headers,"
		" occurred_at, state, attempts, reason, due_at)"
		" VALUES ($1, $2, $3, $4::text::events.position, $5, $6, $7, $8, $9, $10, $11, $12, $13,"
		" CASE WHEN $11 = 'retrying' THEN pg_catalog.clock_timestamp() + $14 * interval '1 millisecond' END)"
		" ON CONFLICT (organization_id, consumer, id) DO NOTHING", 14,
		{TEXTOID, UUIDOID, UUIDOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID, JSONBOID,
		TIMESTAMPTZOID, TEXTOID, INT4OID, TEXTOID, INT4OID}
	};
	static const char *const names[] = {"retrying", "waiting", "parked"};
	char		buffer[POSITION_TEXT_MAX];
	char		nulls[14];
	Datum		args[14];

	memset(nulls, ' ', sizeof(nulls));
	args[0] = CStringGetTextDatum(subscription->name);
	args[1] = UUIDPGetDatum(&event->organization_id);
	if (!event->has_organization)
		nulls[1] = 'n';
	args[2] = UUIDPGetDatum(&event->id);
	args[3] = CStringGetTextDatum(position_print(buffer, &event->position));
	args[4] = CStringGetTextDatum(event->topic);
	args[5] = text_or_null(event->key, &nulls[5]);
	args[6] = CStringGetTextDatum(event->type);
	args[7] = JsonbPGetDatum(event->payload);
	args[8] = JsonbPGetDatum(event->headers);
	if (event->headers == NULL)
		nulls[8] = 'n';
	args[9] = TimestampTzGetDatum(event->occurred_at);
	args[10] = CStringGetTextDatum(names[state]);
	args[11] = Int32GetDatum(attempts);
	args[12] = text_or_null(clipped(reason), &nulls[12]);
	args[13] = Int32GetDatum(delay_ms);
	bo_spi_run(&insert, args, nulls, 0);
}

void
alert_parked(const Subscription *subscription, const HandlerEvent *event, const char *reason)
{
	alert_emit("event.parked", subscription->name, event->has_organization ? &event->organization_id : NULL,
			   "consumer", subscription->name,
			   "eventId", bo_uuid_text(&event->id),
			   "topic", event->topic,
			   "key", event->key,
			   "eventType", event->type,
			   "reason", clipped(reason), (char *) NULL);
}

/* ---- retrying ---- */

typedef struct Retry
{
	HandlerEvent event;
	int			attempts;		/* with the one to be made now */
	char	   *reason;			/* of the last failure */
} Retry;

static Jsonb *
jsonb_cell(int column)
{
	bool		isnull;
	Datum		datum = bo_spi_datum(0, column, &isnull);

	return isnull ? NULL : DatumGetJsonbPCopy(datum);
}

/* The row that is the current result, copied into the dispatcher's own memory. */
static void
load_retry(Retry *retry, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	HandlerEvent *event = &retry->event;
	bool		isnull;
	Datum		organization = bo_spi_datum(0, 2, &isnull);

	MemSet(retry, 0, sizeof(Retry));
	event->has_organization = !isnull;
	if (!isnull)
		event->organization_id = *DatumGetUUIDP(organization);
	event->id = bo_spi_uuid(0, 1);
	event->position = *DatumGetPositionP(bo_spi_datum(0, 3, &isnull));
	event->topic = bo_spi_text(0, 4);
	event->key = bo_spi_text(0, 5);
	event->type = bo_spi_text(0, 6);
	event->payload = jsonb_cell(7);
	event->headers = jsonb_cell(8);
	event->occurred_at = DatumGetTimestampTz(bo_spi_datum(0, 9, &isnull));
	retry->attempts = bo_spi_int32(0, 10) + 1;
	retry->reason = bo_spi_text(0, 11);
	MemoryContextSwitchTo(old);
}

/* Consumer, id and organization: the first three arguments of the statements below. */
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

/* Records a failure; after the last attempt the event is parked, with an alert. */
static void
record_failure(const Subscription *subscription, const Retry *retry, bool last, const char *reason)
{
	static BoPlan keep = {
		"UPDATE events.parked_events SET reason = $4, state = CASE WHEN $5 THEN 'parked' ELSE state END,"
		" due_at = CASE WHEN $5 THEN NULL ELSE due_at END" THIS_ROW " AND state = 'retrying'",
		5, {TEXTOID, UUIDOID, UUIDOID, TEXTOID, BOOLOID}
	};
	Datum		args[5];
	char		nulls[5];

	row_arguments(subscription, &retry->event, args, nulls);
	args[3] = text_or_null(clipped(reason), &nulls[3]);
	args[4] = BoolGetDatum(last);
	nulls[4] = ' ';
	if (bo_spi_run(&keep, args, nulls, 0) > 0 && last)
		alert_parked(subscription, &retry->event, reason);
}

/* First transaction: counts the attempt.  false: nothing is due.  *run: is there an attempt to make? */
static bool
take_due(const Subscription *subscription, Retry *retry, bool *run, MemoryContext context)
{
	static BoPlan pick = {
		"SELECT id, organization_id, position, topic, key, type, payload, headers, occurred_at, attempts, reason"
		" FROM events.parked_events WHERE consumer = $1 AND state = 'retrying' AND due_at <= pg_catalog.clock_timestamp()"
		" ORDER BY due_at, position LIMIT 1 FOR UPDATE SKIP LOCKED", 1, {TEXTOID}
	};
	static BoPlan count = {
		"UPDATE events.parked_events SET attempts = $4, due_at = pg_catalog.clock_timestamp() + $5 * interval '1 millisecond'" THIS_ROW,
		5, {TEXTOID, UUIDOID, UUIDOID, INT4OID, INT4OID}
	};
	Datum		args[5];
	char		nulls[5] = {' ', ' ', ' ', ' ', ' '};

	*run = false;
	dispatcher_begin();
	args[0] = CStringGetTextDatum(subscription->name);
	if (bo_spi_run(&pick, args, NULL, 1) == 0)
	{
		dispatcher_commit();
		return false;
	}
	/* A handler that cannot be called at all is not the event's fault: an error here counts no attempt. */
	(void) handler_prepare(subscription);
	load_retry(retry, context);
	if (retry->attempts > subscription->max_attempts)
		record_failure(subscription, retry, true, retry->reason ? retry->reason : DIED);
	else
	{
		row_arguments(subscription, &retry->event, args, nulls);
		args[3] = Int32GetDatum(retry->attempts);
		args[4] = Int32GetDatum(retry_delay_ms(retry->attempts));
		bo_spi_run(&count, args, nulls, 0);
		ForceSyncCommit();
		*run = true;
	}
	dispatcher_commit();
	return true;
}

/* Makes the head of the key's queue run, when nobody is there before it. */
static void
promote_next(const Subscription *subscription, const HandlerEvent *event)
{
	static BoPlan promote = {
		"UPDATE events.parked_events SET state = 'retrying', due_at = pg_catalog.clock_timestamp()"
		" WHERE (consumer, id) = (SELECT consumer, id FROM events.parked_events"
		"   WHERE consumer = $1 AND key = $2 AND organization_id IS NOT DISTINCT FROM $3 ORDER BY position LIMIT 1)"
		" AND organization_id IS NOT DISTINCT FROM $3 AND state = 'waiting'", 3, {TEXTOID, TEXTOID, UUIDOID}
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

/* Second transaction: runs the event. */
static void
run_retry(const Subscription *subscription, const Retry *retry)
{
	static BoPlan lock = {
		"SELECT 1 FROM events.parked_events p JOIN events.subscriptions s ON s.name = p.consumer"
		" WHERE p.consumer = $1 AND p.id = $2 AND p.organization_id IS NOT DISTINCT FROM $3"
		" AND p.state = 'retrying' AND NOT s.paused FOR UPDATE OF p", 3, {TEXTOID, UUIDOID, UUIDOID}
	};
	static BoPlan remove = {"DELETE FROM events.parked_events" THIS_ROW, 3, {TEXTOID, UUIDOID, UUIDOID}};
	Datum		args[3];
	char		nulls[3];
	char	   *error;

	dispatcher_begin();
	row_arguments(subscription, &retry->event, args, nulls);
	if (bo_spi_run(&lock, args, nulls, 1) == 1)
	{
		if (handler_run(handler_prepare(subscription), &retry->event, &error) == RUN_OK)
		{
			bo_spi_run(&remove, args, nulls, 0);
			promote_next(subscription, &retry->event);
		}
		else
			record_failure(subscription, retry, retry->attempts >= subscription->max_attempts, error);
	}
	handler_clean_session();
	dispatcher_commit();
}

/* The same, and what to do when even the commit fails. */
static void
run_retry_guarded(const Subscription *subscription, const Retry *retry, MemoryContext context)
{
	char	   *volatile error = NULL;

	PG_TRY();
	{
		run_retry(subscription, retry);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		dispatcher_abort();
		MemoryContextSwitchTo(context);
		error = psprintf("%s: %s", unpack_sql_state(edata->sqlerrcode), edata->message);
	}
	PG_END_TRY();
	if (error == NULL)
		return;
	dispatcher_begin();
	record_failure(subscription, retry, retry->attempts >= subscription->max_attempts, error);
	dispatcher_commit();
}

/* Events that wait behind nobody: their head was discarded while they were being set aside. */
void
sweep_parked(Subscription *subscription)
{
	static BoPlan free_stuck = {
		"UPDATE events.parked_events w SET state = 'retrying', due_at = pg_catalog.clock_timestamp()"
		" WHERE w.consumer = $1 AND w.state = 'waiting' AND NOT EXISTS (SELECT FROM events.parked_events h"
		"   WHERE h.consumer = w.consumer AND h.key = w.key AND h.organization_id IS NOT DISTINCT FROM w.organization_id"
		"   AND h.position < w.position)", 1, {TEXTOID}
	};
	Datum		name;

	if (GetCurrentTimestamp() < subscription->sweep_at)
		return;
	dispatcher_begin();
	name = CStringGetTextDatum(subscription->name);
	bo_spi_run(&free_stuck, &name, NULL, 0);
	dispatcher_commit();
	subscription->sweep_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), SWEEP_INTERVAL_MS);
}

bool
dispatch_parked(Subscription *subscription)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "backoffice retried event", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = CurrentMemoryContext;
	Retry		retry;
	bool		run;
	bool		found;

	found = take_due(subscription, &retry, &run, context);
	if (run)
		run_retry_guarded(subscription, &retry, context);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return found;
}
