/*
 * dispatcher_parked.c
 *		Events that are set aside: those that failed, and those that wait behind one.
 *
 * The rows of one key form a queue by position.  Its head is retrying or
 * parked, the others wait; when the head is done with, the next becomes
 * retrying.  An event without a key is a queue of its own.
 */
#include "events/dispatcher.h"

#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "core/spi.h"
#include "events/alerts.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define SWEEP_INTERVAL_MS 10000

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

bool
key_is_set_aside(const Subscription *subscription, const HandlerEvent *event)
{
	static BoPlan find = {
		"SELECT 1 FROM events.parked_events"
		" WHERE consumer = $1 AND key = $2 AND organization_id IS NOT DISTINCT FROM $3 LIMIT 1", 3, {TEXTOID, TEXTOID, UUIDOID}, NULL, true, true
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

bool
anything_set_aside(const Subscription *subscription)
{
	static BoPlan find = {"SELECT 1 FROM events.parked_events WHERE consumer = $1 LIMIT 1", 1, {TEXTOID}, NULL, true};
	Datum		name = CStringGetTextDatum(subscription->name);

	return bo_spi_run(&find, &name, NULL, 1) > 0;
}

void
set_event_aside(const Subscription *subscription, const HandlerEvent *event, AsideState state,
				int attempts, const char *reason, int delay_ms, bool alone)
{
	/* On conflict: seek() went back over an event that is still set aside; it keeps its place. */
	static BoPlan insert = {
		"INSERT INTO events.parked_events (consumer, organization_id, id, position, topic, key, type, payload, headers,"
		" occurred_at, state, attempts, reason, due_at, alone)"
		" VALUES ($1, $2, $3, $4::text::events.position, $5, $6, $7, $8, $9, $10, $11, $12, $13,"
		" CASE WHEN $11 = 'retrying' THEN pg_catalog.clock_timestamp() + $14 * interval '1 millisecond' END, $15)"
		" ON CONFLICT (organization_id, consumer, id) DO NOTHING", 15,
		{TEXTOID, UUIDOID, UUIDOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID, JSONBOID,
		TIMESTAMPTZOID, TEXTOID, INT4OID, TEXTOID, INT4OID, BOOLOID}
	};
	static const char *const names[] = {"retrying", "waiting", "parked"};
	char		buffer[POSITION_TEXT_MAX];
	char		nulls[15];
	Datum		args[15];

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
	args[12] = text_or_null(clipped_reason(reason), &nulls[12]);
	args[13] = Int32GetDatum(delay_ms);
	args[14] = BoolGetDatum(alone);
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
			   "reason", clipped_reason(reason), (char *) NULL);
}

/* ---- now and then ---- */

/* Events that wait behind nobody: their head was discarded while they were being set aside. */
void
sweep_parked(Subscription *subscription)
{
	static BoPlan free_stuck = {
		"UPDATE events.parked_events w SET state = 'retrying', due_at = pg_catalog.clock_timestamp()"
		" FROM (SELECT DISTINCT ON (p.key, p.organization_id) p.id, p.organization_id, p.state FROM events.parked_events p"
		"   WHERE p.consumer = $1 AND p.key IS NOT NULL ORDER BY p.key, p.organization_id, p.position) AS h"
		" WHERE h.state = 'waiting' AND w.consumer = $1 AND w.id = h.id AND w.organization_id IS NOT DISTINCT FROM h.organization_id"
		" AND w.state = 'waiting'", 1, {TEXTOID}, NULL, true
	};
	Datum		name;

	if (bo_monotonic() < subscription->sweep_at)
		return;
	dispatcher_begin();
	name = CStringGetTextDatum(subscription->name);
	bo_spi_run(&free_stuck, &name, NULL, 0);
	dispatcher_commit();
	subscription->sweep_at = TimestampTzPlusMilliseconds(bo_monotonic(), SWEEP_INTERVAL_MS);
}
