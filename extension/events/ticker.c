/*
 * ticker.c
 *		Announces what is committed and durable.
 *
 * A tick is one row: a snapshot, and the sequence's value before and after it
 * was taken.  It must be durable before anybody sees it, or a crash could take it
 * back and the next one under the same number would cover other events.  So the
 * ticker commits it without waiting, waits until the log is flushed up to there
 * (under load the emitters' own commits see to that, and no flush is added to
 * theirs), waits for synchronous standbys, and only then publishes its number in
 * shared memory, which bounds every reader, and notifies.
 *
 * The flush covers every commit that the snapshot saw, also asynchronous ones:
 * nothing is published that a crash undoes.
 *
 * The tick's own transaction id is assigned after its snapshot was taken.  So a
 * durable tick proves to recovery that all ids below its xmax were assigned: none
 * of them is given out again after a crash.
 */
#include "events/workers.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "commands/async.h"
#include "events/history.h"
#include "events/internal.h"
#include "events/position.h"
#include "events/ticks.h"
#include "events/window.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "replication/syncrep.h"
#include "replication/walsender.h"
#include "storage/latch.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#define POLL_MS			1000	/* looks by itself for rows that nobody announced */
#define FLUSH_NAPS		4		/* for somebody else's flush to cover ours */
#define FLUSH_NAP_US	250
#define BUSY_MS			20		/* ticks closer than this: somebody else will flush */
#define NAP_MS			100
#define CROWD			8		/* events in one tick that make the next one wait longer: */
#define CROWD_FACTOR	3		/* so many intervals */
#define UNREAD_MS		1000	/* nobody has read for so long: */
#define UNREAD_FACTOR	10		/* so many */

static int	tick_interval_ms = 2;

typedef struct Ticker
{
	DatabaseSlot *slot;
	MemoryContext work;			/* reset after each tick */
	Tick		last;			/* .tick 0: none yet */
	bool		settled;		/* the history is ours, we may go on with it */
	TimestampTz last_tick_at;
	int64		last_events;	/* sequence numbers taken between the last two ticks */
	TimestampTz last_poll_at;
} Ticker;

/* At least 'on': what is announced must be durable.  More, where the administrator wants more. */
static void
ask_for_durability(void)
{
	SetConfigOption("synchronous_commit", NULL, PGC_USERSET, PGC_S_SESSION);
	if (synchronous_commit < SYNCHRONOUS_COMMIT_REMOTE_FLUSH)
		SetConfigOption("synchronous_commit", "on", PGC_USERSET, PGC_S_SESSION);
}

/* Commits without waiting for the flush. */
static void
commit_lazily(void)
{
	int			saved = synchronous_commit;

	synchronous_commit = SYNCHRONOUS_COMMIT_OFF;
	worker_commit();
	synchronous_commit = saved;
}

static void
wait_until_durable(Ticker *ticker, XLogRecPtr lsn)
{
	bool		busy = !TimestampDifferenceExceeds(ticker->last_tick_at, bo_monotonic(), BUSY_MS);
	int			naps = 0;

	/* Naps, not the latch: at full load each commit would wake us. */
	while (GetFlushRecPtr(NULL) < lsn)
	{
		if (!busy || naps++ == FLUSH_NAPS)
			XLogFlush(lsn);
		else
			pg_usleep(FLUSH_NAP_US);
		CHECK_FOR_INTERRUPTS();
	}
	if (SyncRepRequested())
	{
		HOLD_INTERRUPTS();
		SyncRepWaitForLSN(lsn, true);
		RESUME_INTERRUPTS();
		/* Sent away while waiting: then the standby may not have it. */
		CHECK_FOR_INTERRUPTS();
	}
}

static void
publish(Ticker *ticker)
{
	char		text[POSITION_TEXT_MAX];
	EventPosition end = {ticker->last.epoch, 0, ticker->last.tick, ticker->last.seq_hi};

	pg_atomic_write_u64(&ticker->slot->published, (uint64) ticker->last.tick);
	slot_nudge(ticker->slot, WORKER_DISPATCHER);

	worker_begin();
	Async_Notify("backoffice_events", position_print(text, &end));
	commit_lazily();
}

/*
 * One tick.  certain: an emitting transaction committed; otherwise look first
 * whether there is anything.  Returns whether a tick was taken.
 */
static bool
take_tick(Ticker *ticker, bool certain)
{
	Tick		tick = {0};
	Datum		snapshot;
	MemoryContext caller;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	caller = MemoryContextSwitchTo(ticker->work);
	/* In this order: who has an id from here on took it after seq_lo was read. */
	tick.seq_lo = log_sequence_value();
	tick.next_xid = U64FromFullTransactionId(ReadNextFullTransactionId());
	PushActiveSnapshot(GetTransactionSnapshot());
	snapshot = OidFunctionCall0(F_PG_CURRENT_SNAPSHOT);
	tick.seq_hi = log_sequence_value();
	tick.tick = ticker->last.tick + 1;
	tick.era = log_era();
	tick.epoch = ticker->last.epoch;
	tick.at = GetCurrentTimestamp();
	tick_parse_snapshot(&tick, snapshot, ticker->work);

	if (!certain)
	{
		TickReader *reader = tick_reader_open(GetActiveSnapshot());
		bool		any = batch_any(reader, GetActiveSnapshot(), &ticker->last, &tick);

		tick_reader_close(reader);
		if (!any)
		{
			MemoryContextSwitchTo(caller);
			worker_commit();
			MemoryContextReset(ticker->work);
			return false;
		}
	}
	if (ticker->last.tick == 0)
		history_begin(&tick);
	tick_insert(&tick, snapshot);
	MemoryContextSwitchTo(caller);
	commit_lazily();
	wait_until_durable(ticker, XactLastCommitEnd);

	if (ticker->last.xip != NULL)
		pfree(ticker->last.xip);
	ticker->last_events = tick.seq_hi - ticker->last.seq_hi;
	ticker->last = tick;
	ticker->last.xip = NULL;
	ticker->last.xip_allocated = 0;
	if (tick.nxip > 0)
	{
		ticker->last.xip = MemoryContextAlloc(TopMemoryContext, tick.nxip * sizeof(uint64));
		memcpy(ticker->last.xip, tick.xip, tick.nxip * sizeof(uint64));
		ticker->last.xip_allocated = tick.nxip;
	}
	ticker->last_tick_at = bo_monotonic();
	publish(ticker);
	MemoryContextReset(ticker->work);
	return true;
}

/* Makes the history ours; publishes what the ticker before us may have left unpublished. */
static void
settle(Ticker *ticker)
{
	bool		wrote = false;
	MemoryContext caller;

	worker_begin();
	caller = MemoryContextSwitchTo(TopMemoryContext);
	ticker->settled = history_settle(&ticker->last, &wrote);
	MemoryContextSwitchTo(caller);
	/* A commit record, so that there is something behind all ticks to wait for. */
	if (ticker->settled && ticker->last.tick != 0)
		(void) GetTopTransactionId();
	worker_commit();
	if (!ticker->settled || ticker->last.tick == 0)
		return;
	wait_until_durable(ticker, XactLastCommitEnd);
	if (wrote)
		publish(ticker);
	else
		pg_atomic_write_u64(&ticker->slot->published, (uint64) ticker->last.tick);
}

/*
 * Not sooner than the interval after the last tick; commits meanwhile fall into
 * the same tick.  Where many come, fewer ticks carry them: a tick costs about as
 * much as a commit or two, and at such rates nobody looks at single milliseconds.
 * Still fewer where nobody reads (but the dispatcher, which takes its time anyway).
 */
static int64
current_interval_us(const Ticker *ticker)
{
	int64		interval_us = tick_interval_ms * INT64CONST(1000);
	TimestampTz read_at = (TimestampTz) pg_atomic_read_u64(&ticker->slot->read_at);

	if (TimestampDifferenceExceeds(read_at, ticker->last_tick_at, UNREAD_MS))
		return interval_us * UNREAD_FACTOR;
	return ticker->last_events >= CROWD ? interval_us * CROWD_FACTOR : interval_us;
}

static void
coalesce(Ticker *ticker)
{
	int64		longest_us = tick_interval_ms * INT64CONST(1000) * CROWD_FACTOR;

	for (;;)
	{
		/* Asked anew each time: somebody may have begun to read. */
		int64		interval_us = current_interval_us(ticker);
		int64		left_us = interval_us - (bo_monotonic() - ticker->last_tick_at);

		if (left_us <= 0)
			return;
		/* The latch is not waited for: what is committed meanwhile needs no waking. */
		left_us = Min(left_us, longest_us);
		if (left_us < 2000)
			pg_usleep(left_us);
		else
			(void) WaitLatch(NULL, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, Min(left_us / 1000, NAP_MS), PG_WAIT_EXTENSION);
		worker_check(ticker->slot);
	}
}

void
backoffice_ticker_main(Datum arg)
{
	Ticker		ticker = {0};
	int			reloads = 0;

	ticker.slot = worker_start(WORKER_TICKER);
	ticker.work = AllocSetContextCreate(TopMemoryContext, "backoffice tick", ALLOCSET_DEFAULT_SIZES);
	ask_for_durability();
	settle(&ticker);

	for (;;)
	{
		bool		poll = TimestampDifferenceExceeds(ticker.last_poll_at, bo_monotonic(), POLL_MS);
		uint32		dirty = DIRTY_NO;

		worker_check(ticker.slot);
		if (reloads != worker_reloads)
			ask_for_durability();
		reloads = worker_reloads;
		if (ticker.settled)
			dirty = pg_atomic_read_u32(&ticker.slot->dirty);

		/* An empty log may have been filled by a restore since. */
		if ((!ticker.settled || ticker.last.tick == 0) && (poll || dirty != DIRTY_NO))
			settle(&ticker);
		if (ticker.settled && (dirty != DIRTY_NO || poll))
		{
			coalesce(&ticker);
			/* Before the snapshot: who commits after it, marks it again and wakes us. */
			dirty = pg_atomic_exchange_u32(&ticker.slot->dirty, DIRTY_NO);
			take_tick(&ticker, dirty == DIRTY_YES);
		}
		if (poll)
			ticker.last_poll_at = bo_monotonic();
		if (pg_atomic_read_u32(&ticker.slot->dirty) == DIRTY_NO || !ticker.settled)
			worker_wait(ticker.slot, POLL_MS);
	}
}

void
ticker_init(void)
{
	DefineCustomIntVariable("backoffice.tick_interval_ms",
							"Least time between two announcements of events.",
							"Commits in between are announced together. The first after a pause is announced at once; under load the time is three times as long, while nobody reads ten times.",
							&tick_interval_ms, 2, 0, 1000, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
}
