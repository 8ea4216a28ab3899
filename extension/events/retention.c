/*
 * retention.c
 *		Keeper: drops whole leaves of the log that nobody needs any more.
 *
 * The oldest leaf goes when all of its events
 *   - are older than the retention of their topics,
 *   - have been announced, and passed by every consumer's cursor.
 * A transaction that is still open, or prepared, holds a lock on each leaf it wrote
 * to: dropping then fails, and is tried again later.
 *
 * What is announced: the first tick with seq_lo at or above the leaf's last number
 * is the first that can have seen all of its transactions.  From there the first
 * that does is searched, by asking the leaf's index for ids that a tick does not
 * see.  If that is tick n, the log begins at (n, last number of the leaf) when the
 * leaf is gone: no earlier batch is whole.  Leaves of ticks below go as well.
 */
#include "events/events.h"

#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "core/spi.h"
#include "events/internal.h"
#include "events/slots.h"
#include "events/ticks.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(events_drop_expired);

#define RETENTION_EVERY_MS	300000

/* ---- what may go ---- */

/* The first tick with seq_lo at or above a number; false: there is none yet. */
static bool
first_tick_from(TickReader *reader, int64 from, int64 last, int64 seq, Tick *tick)
{
	int64		low = from,
				high = last;

	while (low < high)
	{
		int64		middle = low + (high - low) / 2;

		if (!tick_get(reader, middle, tick))
			elog(ERROR, "tick " INT64_FORMAT " is missing", middle);
		if (tick->seq_lo >= seq)
			high = middle;
		else
			low = middle + 1;
	}
	return tick_get(reader, low, tick) && tick->seq_lo >= seq;
}

/* The position that every consumer has passed; false: there is no consumer. */
static bool
slowest_consumer(EventPosition *position)
{
	static BoPlan look = {
		"SELECT position FROM events.cursors ORDER BY position LIMIT 1", 0
	};
	bool		found;

	bo_spi_begin();
	found = bo_spi_run(&look, NULL, NULL, 1) == 1;
	if (found)
	{
		bool		isnull;

		*position = *DatumGetPositionP(bo_spi_datum(0, 1, &isnull));
	}
	bo_spi_end();
	return found;
}

/* Runs a query that answers one boolean, with the leaf's number put in. */
static bool
ask(const char *format, int64 number, int nargs, Oid *types, Datum *args)
{
	char	   *sql = psprintf(format, (long long) number);
	bool		isnull;
	bool		answer;

	bo_spi_begin();
	if (SPI_execute_with_args(sql, nargs, types, args, NULL, true, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "unexpected result of %s", sql);
	answer = DatumGetBool(bo_spi_datum(0, 1, &isnull)) && !isnull;
	bo_spi_end();
	return answer;
}

static bool
shortest_retention_is_over(const Tick *tick)
{
	Oid			types[] = {TIMESTAMPTZOID};
	Datum		args[] = {TimestampTzGetDatum(tick->at)};

	return ask("SELECT %lld = 0 AND pg_catalog.clock_timestamp() > $1 + pg_catalog.min(retention) FROM events.topics",
			   0, 1, types, args);
}

static bool
retention_is_over(int64 leaf, const Tick *tick)
{
	Oid			types[] = {TIMESTAMPTZOID};
	Datum		args[] = {TimestampTzGetDatum(tick->at)};

	/* Readable since the tick: a transaction may have been open for long. */
	return ask("SELECT NOT EXISTS (SELECT FROM (SELECT topic_id, pg_catalog.max(occurred_at) AS newest"
			   " FROM events.log_%lld GROUP BY topic_id) l LEFT JOIN events.topics t ON t.id = l.topic_id"
			   " WHERE greatest(l.newest, $1) + coalesce(t.retention, interval '0') > pg_catalog.clock_timestamp())",
			   leaf, 1, types, args);
}

static bool
all_announced(int64 leaf, const Tick *tick)
{
	Oid			types[] = {INT8OID, INT8OID};
	Datum		args[] = {Int64GetDatum(tick->era), Int64GetDatum(tick->tick)};

	/* Rows of an era before the tick's were announced by the tick that closed it. */
	return ask("SELECT NOT EXISTS (SELECT FROM events.log_%lld l,"
			   " (SELECT snapshot FROM events.ticks WHERE tick = $2) t"
			   " WHERE l.era = $1 AND l.xid >= pg_catalog.pg_snapshot_xmin(t.snapshot)"
			   " AND NOT pg_catalog.pg_visible_in_snapshot(l.xid, t.snapshot))",
			   leaf, 2, types, args);
}

/* The first tick, from *tick on, that has announced every row of the leaf; false: none has yet. */
static bool
first_tick_announcing(TickReader *reader, int64 leaf, int64 last, Tick *tick)
{
	int64		low = tick->tick,
				high = last;

	if (all_announced(leaf, tick))
		return true;
	if (!tick_get(reader, last, tick) || !all_announced(leaf, tick))
		return false;
	while (low < high)
	{
		int64		middle = low + (high - low) / 2;

		if (!tick_get(reader, middle, tick))
			elog(ERROR, "tick " INT64_FORMAT " is missing", middle);
		if (all_announced(leaf, tick))
			high = middle;
		else
			low = middle + 1;
	}
	return tick_get(reader, low, tick);
}

/* ---- dropping ---- */

static void
drop_leaf(const char *parent, int64 number)
{
	char	   *name = psprintf("%s_%lld", parent, (long long) number);
	Oid			oid = get_relname_relid(name, get_namespace_oid("events", false));

	run_ddl("SET LOCAL lock_timeout = '200ms'");
	if (getExtensionOfObject(RelationRelationId, oid) == get_extension_oid("backoffice", true))
		run_ddl("ALTER EXTENSION backoffice DROP TABLE events.%s", name);
	guard_lets_pass = true;
	PG_TRY();
	{
		run_ddl("DROP TABLE events.%s", name);
	}
	PG_FINALLY();
	{
		guard_lets_pass = false;
	}
	PG_END_TRY();
}

static void
raise_floor(int64 tick, int64 seq)
{
	static BoPlan raise = {
		"INSERT INTO events.floor (tick, seq) VALUES ($1, $2)"
		" ON CONFLICT (one) DO UPDATE SET tick = excluded.tick, seq = excluded.seq", 2, {INT8OID, INT8OID}
	};
	Datum		args[] = {Int64GetDatum(tick), Int64GetDatum(seq)};

	bo_spi_run(&raise, args, NULL, 0);
}

/* The oldest leaf, if it may go.  *tick: by then everything in it was announced. */
static bool
find_expired(TickReader *reader, int64 *leaf, Tick *tick)
{
	EventPosition consumer;
	EventPosition floor = log_floor(GetActiveSnapshot());
	int64		last,
				last_tick = tick_last(reader);
	int64		end;

	if (!leaf_range(&log_leaves, leaf, &last) || last_tick == 0)
		return false;
	end = LEAF_FIRST(*leaf + 1, LOG_LEAF_BITS) - 1;
	if (log_sequence_value() <= end ||
		!first_tick_from(reader, Max(floor.tick, 1), last_tick, end, tick) ||
		!shortest_retention_is_over(tick) ||
		!first_tick_announcing(reader, *leaf, last_tick, tick))
		return false;
	if (slowest_consumer(&consumer) &&
		(consumer.tick < tick->tick || (consumer.tick == tick->tick && consumer.seq < end)))
		return false;
	return retention_is_over(*leaf, tick);
}

static bool
look_for_expired(int64 *leaf, Tick *tick)
{
	TickReader *reader = tick_reader_open(GetActiveSnapshot());
	bool		found = find_expired(reader, leaf, tick);

	tick_reader_close(reader);
	return found;
}

/* Nobody writes to the leaf from here on, nor makes a consumer that begins with it (reader_earliest()); who reads is not disturbed. */
static void
lock_writers_out(int64 leaf)
{
	bo_spi_begin();
	run_ddl("SET LOCAL lock_timeout = '200ms'");
	run_ddl("LOCK TABLE events.log_%lld IN EXCLUSIVE MODE", (long long) leaf);
	run_ddl("LOCK TABLE events.floor IN EXCLUSIVE MODE");
	bo_spi_end();
}

/*
 * Drops the oldest leaf of the log if it may go, and ticks that nobody can ask for
 * any more.  A transaction that was still open at the first look may commit while
 * we wait for its lock: so it is looked again when there can be none.
 */
static bool
drop_oldest(void)
{
	Tick		tick = {0};
	int64		leaf,
				again;
	bool		found;

	if (!look_for_expired(&leaf, &tick))
		return false;
	lock_writers_out(leaf);
	PushActiveSnapshot(GetLatestSnapshot());
	found = look_for_expired(&again, &tick) && again == leaf;
	PopActiveSnapshot();
	if (!found)
		return false;

	bo_spi_begin();
	drop_leaf("log", leaf);
	raise_floor(tick.tick, LEAF_FIRST(leaf + 1, LOG_LEAF_BITS) - 1);
	bo_spi_end();
	ereport(LOG,
			(errmsg("event log: partition log_%lld dropped, the log now begins at tick %lld",
					(long long) leaf, (long long) tick.tick)));
	return true;
}

static bool
drop_oldest_ticks(void)
{
	EventPosition floor = log_floor(GetActiveSnapshot());
	int64		first,
				last;

	/* The tick before the floor's is needed to read on from there. */
	if (!leaf_range(&tick_leaves, &first, &last) ||
		LEAF_FIRST(first + 1, TICKS_LEAF_BITS) > floor.tick - 1)
		return false;
	bo_spi_begin();
	drop_leaf("ticks", first);
	bo_spi_end();
	return true;
}

/* As the superuser whom the session belongs to: members of the extension are dropped. */
static bool
retention_task(void)
{
	BoUser		kernel;
	bool		dropped;

	GetUserIdAndSecContext(&kernel.userid, &kernel.sec_context);
	SetUserIdAndSecContext(GetSessionUserId(), kernel.sec_context);
	dropped = drop_oldest() || drop_oldest_ticks();
	SetUserIdAndSecContext(kernel.userid, kernel.sec_context);
	return dropped;
}

/* drop_expired() returns int */
Datum
events_drop_expired(PG_FUNCTION_ARGS)
{
	int			dropped = -1;
	bool		more;

	if (!superuser())
		ereport(ERROR,
				(errcode(BO_FORBIDDEN),
				 errmsg("only a superuser may drop partitions of the event log"),
				 bo_code("superuser_required", "the partitions belong to the extension"),
				 errhint("The keeper does it by itself, every five minutes.")));
	do
	{
		CommandCounterIncrement();
		PushActiveSnapshot(GetLatestSnapshot());
		more = drop_oldest() || drop_oldest_ticks();
		PopActiveSnapshot();
		dropped++;
	} while (more);
	PG_RETURN_INT32(dropped);
}

void
retention_init(void)
{
	events_register_keeper_task("events: retention", RETENTION_EVERY_MS, retention_task);
}
