/*
 * history.c
 *		Eras and epochs of the log.
 *
 * The era names the space of transaction ids: system identifier and database.
 * Where it differs from that of the last tick, the log was restored from a dump
 * or the database copied.  Its transaction ids cannot be compared with snapshots
 * taken here, and need not be: everything that came with the copy is committed.
 * One tick closes the era by announcing all of it that was not yet.
 *
 * The epoch names a history that positions outside refer to.  It changes when the
 * same numbers could come to mean other events: in a copy, after a promotion or a
 * point-in-time restore (a new timeline), and when the extension was made anew.
 * The closing tick is already of the new epoch: the original goes on by itself.
 *
 * While a dump is being restored, the log is half there.  pg_restore loads all
 * tables first and then sets the sequences; and while it loads, it holds locks.
 */
#include "events/history.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "core/keys.h"
#include "core/spi.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

static Epoch
identity_here(void)
{
	Epoch		here = {0};

	here.era = log_era();
	here.system_identifier = GetSystemIdentifier();
	here.database = MyDatabaseId;
	here.extension = get_extension_oid("backoffice", false);
	here.timeline = GetWALInsertionTimeLine();
	return here;
}

static bool
same_identity(const Epoch *a, const Epoch *b)
{
	return a->era == b->era && a->system_identifier == b->system_identifier && a->database == b->database &&
		a->extension == b->extension && a->timeline == b->timeline;
}

static uint32
fresh_epoch(void)
{
	uint32		epoch = 0;

	while (epoch == 0)
		crypto_random(&epoch, sizeof(epoch));
	return epoch;
}

static uint32
open_epoch(int64 first_tick)
{
	Epoch		epoch = identity_here();

	epoch.epoch = fresh_epoch();
	epoch.first_tick = first_tick;
	epoch_insert(&epoch);
	ereport(LOG,
			(errmsg("event log of database \"%s\": epoch %x begins with tick %lld",
					get_database_name(MyDatabaseId), epoch.epoch, (long long) first_tick)));
	return epoch.epoch;
}

void
history_begin(Tick *first)
{
	first->epoch = open_epoch(first->tick);
}

/* ---- is a restore under way? ---- */

/* The era of any row, and the highest number; false: the log is empty. */
static bool
sample_log(int64 *era, int64 *highest)
{
	int64		first,
				last;

	if (!leaf_range(&log_leaves, &first, &last))
		return false;
	*highest = 0;
	for (int64 number = last; number >= first && *highest == 0; number--)
	{
		Relation	leaf = leaf_open(&log_leaves, number, AccessShareLock);
		TableScanDesc scan;
		TupleTableSlot *slot;

		if (leaf == NULL)
			continue;
		slot = table_slot_create(leaf, NULL);
		scan = table_beginscan(leaf, GetActiveSnapshot(), 0, NULL);
		while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
		{
			bool		isnull;

			CHECK_FOR_INTERRUPTS();
			if (*highest == 0)
				*era = DatumGetInt64(slot_getattr(slot, LOG_ERA, &isnull));
			*highest = Max(*highest, DatumGetInt64(slot_getattr(slot, LOG_SEQ, &isnull)));
			/* Of our own making: how many more there are does not matter. */
			if (*era == log_era())
				break;
		}
		table_endscan(scan);
		ExecDropSingleTupleTableSlot(slot);
		table_close(leaf, NoLock);
	}
	return *highest != 0;
}

/* Does anybody write to epochs or ticks, or copy into the log? */
static bool
being_loaded(void)
{
	static BoPlan look = {
		"SELECT EXISTS (SELECT FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = l.relation"
		" WHERE l.locktype = 'relation' AND l.database = $1 AND l.pid <> pg_catalog.pg_backend_pid()"
		" AND l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')"
		" AND c.relnamespace = 'events'::regnamespace AND c.relkind = 'r'"
		" AND (c.relname IN ('epochs', 'floor') OR c.relname LIKE 'ticks\\_%'))"
		" OR EXISTS (SELECT FROM pg_catalog.pg_stat_progress_copy p JOIN pg_catalog.pg_class c ON c.oid = p.relid"
		" WHERE p.datid = $1 AND c.relnamespace = 'events'::regnamespace)",
		1, {OIDOID}
	};
	Datum		database = ObjectIdGetDatum(MyDatabaseId);
	bool		answer;

	bo_spi_begin();
	bo_spi_run(&look, &database, NULL, 0);
	answer = bo_spi_bool(0, 1);
	bo_spi_end();
	return answer;
}

/*
 * Nothing must be written between a dump's rows.  The sequence is set after all
 * tables were loaded (or their loading has begun, in a parallel restore, and then
 * it shows); and it must look so twice in a row.
 */
static bool
restore_is_over(const Tick *last, int64 highest)
{
	static int	quiet = 0;

	if (log_sequence_value() < Max(last->seq_hi, highest) || being_loaded())
		quiet = 0;
	else
		quiet++;
	return quiet >= 2;
}

/* ---- settling ---- */

/* The tick that makes everything readable that came with a copy. */
static void
close_era(Tick *last, int64 era)
{
	Tick		closing = {0};

	closing.tick = last->tick + 1;
	closing.era = era;
	/* Whatever is emitted here has numbers above this: the sequence came with the copy. */
	closing.seq_lo = last->seq_hi;
	closing.seq_hi = log_sequence_value();
	closing.at = GetCurrentTimestamp();
	closing.epoch = open_epoch(closing.tick);
	closing.xmin = closing.xmax = closing.next_xid = XMAX_OF_CLOSED_ERA;
	tick_insert(&closing, tick_snapshot_of_closed_era());
	*last = closing;
}

static bool
settle_copy(Tick *last, int64 era, int64 highest, bool *wrote)
{
	if (!restore_is_over(last, highest))
		return false;
	close_era(last, era);
	*wrote = true;
	return true;
}

bool
history_settle(Tick *last, bool *wrote)
{
	TickReader *reader = tick_reader_open(GetActiveSnapshot());
	Epoch		here = identity_here();
	Epoch		latest;
	bool		known;
	bool		begun;
	int64		era = 0;
	int64		highest = 0;

	*wrote = false;
	if (!tick_get(reader, tick_last_written(reader), last))
		last->tick = 0;
	tick_reader_close(reader);
	begun = epoch_latest(GetActiveSnapshot(), &latest, 0, &known);

	if (last->tick == 0)
	{
		/* Empty; or a dump that was taken before the first tick, or is not yet loaded up to the ticks. */
		if (!sample_log(&era, &highest) || era == here.era)
			return true;
		return settle_copy(last, era, highest, wrote);
	}
	if (last->era != here.era && (!begun || latest.era != here.era))
	{
		(void) sample_log(&era, &highest);
		/* Behind the tick that closed an era, the era is that of the epoch it opened. */
		era = begun && last->xmax == XMAX_OF_CLOSED_ERA ? latest.era : last->era;
		return settle_copy(last, era, highest, wrote);
	}
	if (!begun || !same_identity(&latest, &here))
		last->epoch = open_epoch(last->tick + 1);
	else
		last->epoch = latest.epoch;
	return true;
}
