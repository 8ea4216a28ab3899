/*
 * partitions.c
 *		Keeper: leaves of the log and of the ticks, made ahead.
 *
 * A leaf is made as a table of its own, then attached: that takes no lock that an
 * emitter or a reader would wait for. There is no default partition: it would have
 * to be scanned and locked by each attachment.
 */
#include "events/internal.h"

#include "core/spi.h"
#include "events/events.h"
#include "events/ticks.h"
#include "utils/snapmgr.h"

#define PARTITIONS_EVERY_MS	5000
#define LOG_AHEAD			2
#define TICKS_AHEAD			1

void
run_ddl(const char *format,...)
{
	char		sql[1024];
	va_list		args;
	int			rc;

	va_start(args, format);
	if (vsnprintf(sql, sizeof(sql), format, args) >= (int) sizeof(sql))
		elog(ERROR, "statement is too long");
	va_end(args);
	rc = SPI_execute(sql, false, 0);
	if (rc < 0)
		elog(ERROR, "SPI_execute failed: %s: %s", SPI_result_code_string(rc), sql);
}

static void
attach(const char *parent, int64 number, int bits)
{
	run_ddl("ALTER TABLE events.%s ATTACH PARTITION events.%s_%lld FOR VALUES FROM (%lld) TO (%lld)",
			parent, parent, (long long) number,
			(long long) LEAF_FIRST(number, bits), (long long) LEAF_FIRST(number + 1, bits));
	run_ddl("COMMENT ON TABLE events.%s_%lld IS 'Leaf of events.%s.'", parent, (long long) number, parent);
}

static void
make_log_leaf(int64 number)
{
	long long	n = (long long) number;

	run_ddl("CREATE TABLE events.log_%lld (LIKE events.log INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE INCLUDING COMPRESSION)", n);
	run_ddl("CREATE INDEX log_%lld_xid_seq ON events.log_%lld (xid, seq)", n, n);
	run_ddl("ALTER TABLE events.log_%lld ENABLE ROW LEVEL SECURITY", n);
	attach("log", number, LOG_LEAF_BITS);
}

static void
make_ticks_leaf(int64 number)
{
	long long	n = (long long) number;

	run_ddl("CREATE TABLE events.ticks_%lld (LIKE events.ticks INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE INCLUDING COMPRESSION)", n);
	run_ddl("CREATE UNIQUE INDEX ticks_%lld_tick ON events.ticks_%lld (tick)", n, n);
	attach("ticks", number, TICKS_LEAF_BITS);
}

static void
make_leaf(LeafSet *set, int64 number)
{
	BoUser		saved = bo_user_owner();

	bo_spi_begin();
	/* A reader of the parent could hold us up, and we those behind us: better to try again. */
	run_ddl("SET LOCAL lock_timeout = '200ms'");
	if (set == &log_leaves)
		make_log_leaf(number);
	else
		make_ticks_leaf(number);
	bo_spi_end();
	bo_user_restore(saved);
}

/* The first that is missing among those from the one in use to the ones ahead of it; false: none. */
static bool
first_missing(LeafSet *set, int64 in_use, int ahead, int64 *number)
{
	for (*number = in_use; *number <= in_use + ahead; (*number)++)
	{
		if (!OidIsValid(leaf_find(set, *number)))
			return true;
	}
	return false;
}

bool
partitions_task(void)
{
	TickReader *reader = tick_reader_open(GetActiveSnapshot());
	int64		tick = tick_last_written(reader);
	int64		number;

	tick_reader_close(reader);
	/* One in a transaction: no lock is held longer than needed. */
	if (first_missing(&log_leaves, LEAF_OF(log_sequence_value(), LOG_LEAF_BITS), LOG_AHEAD, &number))
		make_leaf(&log_leaves, number);
	else if (first_missing(&tick_leaves, LEAF_OF(tick + 1, TICKS_LEAF_BITS), TICKS_AHEAD, &number))
		make_leaf(&tick_leaves, number);
	else
		return false;
	return true;
}

void
partitions_init(void)
{
	events_register_keeper_task("events: partitions", PARTITIONS_EVERY_MS, partitions_task);
}
