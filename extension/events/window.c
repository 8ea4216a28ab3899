/*
 * window.c
 *		Which rows of a leaf belong to a batch, found in its (xid, seq) index alone.
 *
 * Batch n is what tick n sees and tick n-1 does not.  Of one era that is
 *
 *   - transactions with ids from next_xid of tick n-1, but those still in progress
 *     at tick n.  They took their id after seq_lo of tick n-1 was read, so their
 *     numbers are above it;
 *   - those between xmax and next_xid of tick n-1.  A snapshot's xmax is one more
 *     than the latest id that is over: ids above it may have been taken long before.
 *     There are at most as many as were running;
 *   - stragglers: in progress at tick n-1 and over at tick n.  Looked up one by
 *     one, so that one old transaction does not widen the scan.
 *
 * The index has rolled-back rows as well, and rows of another era under the same
 * transaction ids; both show when the row is fetched.
 *
 * A big batch is read in pieces of WINDOW_NUMBERS numbers: memory is bounded by
 * that, and each leaf is passed at most four times, so the cost stays linear.
 * The last piece is remembered in the backend, so that paging through it with
 * events.read() does not begin anew with each page.
 */
#include "events/window.h"

#include "access/genam.h"
#include "access/itup.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/xid8.h"

static Window remembered;
static uint64 last_serial = 0;

typedef struct Collector
{
	IndexScanDesc scan;
	const Tick *cur;
	Window	   *window;			/* NULL: stop at the first visible row */
	Relation	leaf;
	Snapshot	snapshot;
	bool		found;
} Collector;

static void
add_entry(Window *window, int64 seq, uint64 xid, ItemPointer tid)
{
	WindowEntry *entry;

	if (window->nentries == window->allocated)
	{
		window->allocated = window->allocated ? window->allocated * 2 : 256;
		window->entries = window->entries
			? repalloc_huge(window->entries, (Size) window->allocated * sizeof(WindowEntry))
			: MemoryContextAlloc(window->context, window->allocated * sizeof(WindowEntry));
	}
	entry = &window->entries[window->nentries++];
	entry->seq = seq;
	entry->xid = xid;
	entry->tid = *tid;
}

static bool
row_is_visible(Collector *collector, ItemPointer tid)
{
	TupleTableSlot *slot = table_slot_create(collector->leaf, NULL);
	bool		visible = table_tuple_fetch_row_version(collector->leaf, tid, collector->snapshot, slot);

	if (visible)
	{
		bool		isnull;

		visible = DatumGetInt64(slot_getattr(slot, LOG_ERA, &isnull)) == collector->cur->era;
	}
	ExecDropSingleTupleTableSlot(slot);
	return visible;
}

/* Transactions from..to (exclusive) with numbers first..last. */
static void
collect(Collector *collector, uint64 from, uint64 to, int64 first, int64 last)
{
	ScanKeyData keys[4];
	ItemPointer tid;
	uint64		passed = 0;

	if (from >= to || first > last)
		return;
	ScanKeyInit(&keys[0], 1, BTGreaterEqualStrategyNumber, F_XID8GE,
				FullTransactionIdGetDatum(FullTransactionIdFromU64(from)));
	ScanKeyInit(&keys[1], 1, BTLessStrategyNumber, F_XID8LT,
				FullTransactionIdGetDatum(FullTransactionIdFromU64(to)));
	ScanKeyInit(&keys[2], 2, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(first));
	ScanKeyInit(&keys[3], 2, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(last));
	index_rescan(collector->scan, keys, 4, NULL, 0);

	while (!collector->found && (tid = index_getnext_tid(collector->scan, ForwardScanDirection)) != NULL)
	{
		bool		isnull;
		uint64		xid = U64FromFullTransactionId(DatumGetFullTransactionId(
									index_getattr(collector->scan->xs_itup, 1, collector->scan->xs_itupdesc, &isnull)));
		int64		seq = DatumGetInt64(index_getattr(collector->scan->xs_itup, 2, collector->scan->xs_itupdesc, &isnull));

		if ((++passed & 0x3FF) == 0)
			CHECK_FOR_INTERRUPTS();
		if (!tick_sees(collector->cur, xid))
			continue;
		if (collector->window != NULL)
			add_entry(collector->window, seq, xid, tid);
		else
			collector->found = row_is_visible(collector, tid);
	}
}

static void
collect_batch(Collector *collector, const Tick *before, int64 first, int64 last)
{
	const Tick *cur = collector->cur;

	/*
	 * The first tick of an era follows the one that closed the era before; its
	 * seq_lo is what the sequence had reached when that history ended.
	 */
	if (before->tick == 0 || before->era != cur->era)
	{
		collect(collector, 0, cur->xmax, Max(first, before->seq_lo + 1), last);
		return;
	}
	collect(collector, Max(before->xmax, before->next_xid), cur->xmax, Max(first, before->seq_lo + 1), last);
	collect(collector, before->xmax, Min(before->next_xid, cur->xmax), first, last);
	for (int i = 0; i < before->nxip; i++)
	{
		if (tick_sees(cur, before->xip[i]))
			collect(collector, before->xip[i], before->xip[i] + 1, first, last);
	}
}

static int
compare_entries(const void *a, const void *b)
{
	int64		left = ((const WindowEntry *) a)->seq;
	int64		right = ((const WindowEntry *) b)->seq;

	return left < right ? -1 : left > right;
}

static bool
is_remembered(const Tick *cur, int64 first, int64 last)
{
	return remembered.serial != 0 && remembered.tick == cur->tick && remembered.epoch == cur->epoch &&
		remembered.first <= first && remembered.last >= last && remembered.generation == leaf_generation();
}

const Window *
window_load(Relation leaf, Relation index, Snapshot snapshot,
			const Tick *before, const Tick *cur, int64 first, int64 last, bool *fresh)
{
	Collector	collector = {.cur = cur,.window = &remembered,.leaf = leaf,.snapshot = snapshot};

	*fresh = !is_remembered(cur, first, last);
	if (!*fresh)
		return &remembered;

	if (remembered.context == NULL)
		remembered.context = AllocSetContextCreate(TopMemoryContext, "backoffice log window", ALLOCSET_DEFAULT_SIZES);
	remembered.serial = 0;		/* an error on the way leaves it empty */
	remembered.nentries = 0;

	collector.scan = index_beginscan(leaf, index, snapshot, 4, 0);
	collector.scan->xs_want_itup = true;
	collect_batch(&collector, before, first, last);
	index_endscan(collector.scan);
	qsort(remembered.entries, remembered.nentries, sizeof(WindowEntry), compare_entries);

	remembered.tick = cur->tick;
	remembered.epoch = cur->epoch;
	remembered.first = first;
	remembered.last = last;
	remembered.generation = leaf_generation();
	remembered.serial = ++last_serial;
	return &remembered;
}

/*
 * Where to look: rows of batch n lie above the number that the oldest of its
 * transactions may have begun with, up to seq_hi of tick n.  For an id from
 * next_xid of a tick on that is seq_lo of this tick.  So the right tick is found
 * by going back in doubling steps; most transactions are one or two ticks old.
 */
static int64
floor_of(TickReader *ticks, const Tick *before, uint64 xid)
{
	Tick		tick = {0};
	int64		bound = 0;
	int64		step = 1;

	for (int64 number = before->tick - 1; number > 0; number = number > 1 ? Max(number - step, 1) : 0)
	{
		/* Dropped by retention: what is left of the log is the bound. */
		if (!tick_get(ticks, number, &tick))
			break;
		if (tick.era != before->era || tick.next_xid <= xid)
		{
			bound = tick.seq_lo;
			break;
		}
		step *= 2;
	}
	if (tick.xip != NULL)
		pfree(tick.xip);
	return bound;
}

/* The oldest transaction of the batch whose id is below next_xid of the tick before; false: none can be. */
static bool
oldest_early(const Tick *before, const Tick *cur, uint64 *xid)
{
	if (before->tick == 0 || before->era != cur->era)
		return false;
	for (int i = 0; i < before->nxip; i++)
	{
		*xid = before->xip[i];	/* ascending */
		if (tick_sees(cur, *xid))
			return true;
	}
	*xid = before->xmax;
	return *xid < Min(before->next_xid, cur->xmax);
}

int64
batch_lowest(TickReader *ticks, const Tick *before, const Tick *cur, bool *cut)
{
	int64		lowest = before->seq_lo;
	uint64		xid;
	int64		first,
				last;

	*cut = false;
	if (oldest_early(before, cur, &xid))
		lowest = Min(lowest, floor_of(ticks, before, xid));
	if (leaf_range(&log_leaves, &first, &last) && lowest < LEAF_FIRST(first, LOG_LEAF_BITS) - 1)
	{
		lowest = LEAF_FIRST(first, LOG_LEAF_BITS) - 1;
		*cut = true;
	}
	return lowest;
}

bool
batch_any(TickReader *ticks, Snapshot snapshot, const Tick *before, const Tick *cur)
{
	Collector	collector = {.cur = cur,.snapshot = snapshot};
	bool		cut;
	int64		first = batch_lowest(ticks, before, cur, &cut) + 1;

	while (first <= cur->seq_hi && !collector.found)
	{
		int64		last = Min(first | (LEAF_FIRST((int64) 1, LOG_LEAF_BITS) - 1), cur->seq_hi);

		collector.leaf = leaf_open(&log_leaves, LEAF_OF(first, LOG_LEAF_BITS), AccessShareLock);
		if (collector.leaf != NULL)
		{
			Relation	index = index_open(leaf_index(collector.leaf, LOG_XID), AccessShareLock);

			collector.scan = index_beginscan(collector.leaf, index, snapshot, 4, 0);
			collector.scan->xs_want_itup = true;
			collect_batch(&collector, before, first, last);
			index_endscan(collector.scan);
			index_close(index, NoLock);
			table_close(collector.leaf, NoLock);
		}
		first = last + 1;
	}
	return collector.found;
}

int
window_find(const Window *window, int64 above)
{
	int			low = 0,
				high = window->nentries;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (window->entries[middle].seq <= above)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}
