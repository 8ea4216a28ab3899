/*
 * allocator.c
 *		Cursors in shared memory.
 *
 * A table of fixed size (backoffice.pool_cursors), probed linearly over a
 * short stretch.  It is a cache: where a stretch is full, one entry gives way
 * and its pool is looked up in the rows again at next use.  A backend may
 * still hold a pointer to an entry that another pool took over meanwhile: the
 * slot number it takes is then of no use to it or by chance good, and the
 * other pool's slot is skipped, as by an abort.  Both are ordinary cases.
 */
#include "certificates/allocator.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/guc.h"

#define PROBES 8
#define DEFAULT_CURSORS 1024

typedef union PaddedCursor
{
	SlotCursor	cursor;
	char		pad[2 * PG_CACHE_LINE_SIZE];
} PaddedCursor;

static int	ncursors = DEFAULT_CURSORS;
static PaddedCursor *cursors;
static LWLock *lock;

static Size
cursors_size(void)
{
	return mul_size(ncursors + PROBES, sizeof(PaddedCursor));
}

static void
cursors_init(void *address)
{
	PaddedCursor *table = address;

	for (int i = 0; i < ncursors + PROBES; i++)
	{
		pg_atomic_init_u64(&table[i].cursor.next, 0);
		pg_atomic_init_u64(&table[i].cursor.limit, 0);
		pg_atomic_init_u64(&table[i].cursor.swept, 0);
	}
}

/* Ids are random enough in their last eight bytes. */
static int
home_of(const pg_uuid_t *pool)
{
	return hash_bytes(pool->data, UUID_LEN) % ncursors;
}

static bool
belongs_to(const SlotCursor *cursor, const pg_uuid_t *organization, const pg_uuid_t *pool)
{
	return cursor->database == MyDatabaseId &&
		memcmp(&cursor->pool_id, pool, sizeof(pg_uuid_t)) == 0 &&
		memcmp(&cursor->organization_id, organization, sizeof(pg_uuid_t)) == 0;
}

static SlotCursor *
find(const pg_uuid_t *organization, const pg_uuid_t *pool)
{
	int			home = home_of(pool);

	for (int i = 0; i < PROBES; i++)
		if (belongs_to(&cursors[home + i].cursor, organization, pool))
			return &cursors[home + i].cursor;
	return NULL;
}

SlotCursor *
allocator_find(const pg_uuid_t *organization, const pg_uuid_t *pool)
{
	SlotCursor *cursor;

	LWLockAcquire(lock, LW_SHARED);
	cursor = find(organization, pool);
	LWLockRelease(lock);
	return cursor;
}

SlotCursor *
allocator_make(const pg_uuid_t *organization, const pg_uuid_t *pool, int64 next, int64 limit)
{
	static uint32 victim = 0;
	SlotCursor *cursor;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	cursor = find(organization, pool);
	if (cursor == NULL)
	{
		int			home = home_of(pool);

		for (int i = 0; i < PROBES && cursor == NULL; i++)
			if (pg_atomic_read_u64(&cursors[home + i].cursor.next) == 0)
				cursor = &cursors[home + i].cursor;
		if (cursor == NULL)
			cursor = &cursors[home + victim++ % PROBES].cursor;
		pg_atomic_write_u64(&cursor->limit, 0); /* hands out nothing meanwhile */
		cursor->database = MyDatabaseId;
		cursor->organization_id = *organization;
		cursor->pool_id = *pool;
		pg_atomic_write_u64(&cursor->swept, next);
		/* The count goes on: who learned something before must see that this is another time. */
		cursor->asked = (AskedRows) {.releases = cursor->asked.releases + 1};
		pg_atomic_write_u64(&cursor->next, next);
		pg_atomic_write_u64(&cursor->limit, limit);
	}
	LWLockRelease(lock);
	return cursor;
}

int64
allocator_take(SlotCursor *cursor)
{
	uint64		limit = pg_atomic_read_u64(&cursor->limit);
	uint64		next = pg_atomic_read_u64(&cursor->next);

	/* Not fetch-and-add: a cursor never passes the limit, so that raising the limit loses no slot. */
	while (next < limit)
		if (pg_atomic_compare_exchange_u64(&cursor->next, &next, next + 1))
			return (int64) next;
	return 0;
}

int64
allocator_in_front(SlotCursor *cursor, const pg_uuid_t *organization, const pg_uuid_t *pool)
{
	uint64		next = pg_atomic_read_u64(&cursor->next);
	uint64		limit = pg_atomic_read_u64(&cursor->limit);

	return next < limit && belongs_to(cursor, organization, pool) ? (int64) (limit - next) : 0;
}

static void
raise_to(pg_atomic_uint64 *number, uint64 to)
{
	uint64		now = pg_atomic_read_u64(number);

	while (now < to && !pg_atomic_compare_exchange_u64(number, &now, to))
		;
}

void
allocator_raise(SlotCursor *cursor, int64 limit)
{
	raise_to(&cursor->limit, (uint64) limit);
}

void
allocator_skip(SlotCursor *cursor, int64 to)
{
	raise_to(&cursor->next, (uint64) to);
}

void
allocator_asked_rows(SlotCursor *cursor, const pg_uuid_t *organization, const pg_uuid_t *pool, AskedRows *asked)
{
	LWLockAcquire(lock, LW_SHARED);
	*asked = cursor->asked;
	if (!belongs_to(cursor, organization, pool))
		asked->from = asked->count = 0;
	LWLockRelease(lock);
}

void
allocator_learn_rows(SlotCursor *cursor, const pg_uuid_t *organization, const pg_uuid_t *pool, const AskedRows *learned)
{
	LWLockAcquire(lock, LW_EXCLUSIVE);
	if (belongs_to(cursor, organization, pool) && cursor->asked.releases == learned->releases)
		cursor->asked = *learned;
	LWLockRelease(lock);
}

void
allocator_released(const pg_uuid_t *organization, const pg_uuid_t *pool, int64 slot)
{
	SlotCursor *cursor;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	cursor = find(organization, pool);
	if (cursor != NULL)
	{
		AskedRows  *asked = &cursor->asked;

		asked->releases++;
		if (slot < asked->from && asked->count < ASK_UNSETTLED_MAX)
			asked->unsettled[asked->count++] = slot;
		else
			asked->from = Min(asked->from, slot);
	}
	LWLockRelease(lock);
}

void
allocator_init(void)
{
	DefineCustomIntVariable("backoffice.pool_cursors",
							"Number of certificate pools whose cursor is kept in shared memory.",
							"More pools than this work too, with some more looking when they take turns.",
							&ncursors, DEFAULT_CURSORS, 16, 1024 * 1024, PGC_POSTMASTER, 0, NULL, NULL, NULL);
	bo_shmem_register("backoffice pool cursors", cursors_size, (void **) &cursors, cursors_init, &lock);
}
