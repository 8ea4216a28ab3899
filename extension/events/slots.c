/*
 * slots.c
 *		The slots of databases in shared memory.
 *
 * Commit callbacks read them, so all that is looked at there is atomic: a slot
 * is found without a lock, and a latch set too much does no harm.  Taking and
 * giving back happens under one LWLock.
 */
#include "events/slots.h"

#include "events/events.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/guc.h"

typedef struct Slots
{
	pg_atomic_uint32 launcher;	/* pgprocno + 1; 0: not running */
	DatabaseSlot slot[FLEXIBLE_ARRAY_MEMBER];
} Slots;

int			bo_max_databases = 64;

static Slots *slots;
static LWLock *slots_lock;
static DatabaseSlot *my_slot;	/* a hint: checked against the database each time */

static Size
slots_size(void)
{
	return add_size(offsetof(Slots, slot), mul_size(bo_max_databases, sizeof(DatabaseSlot)));
}

static void
slot_reset(DatabaseSlot *slot)
{
	pg_atomic_write_u32(&slot->state, SLOT_UNKNOWN);
	pg_atomic_write_u32(&slot->keep_out, 0);
	pg_atomic_write_u32(&slot->dirty, 0);
	pg_atomic_write_u64(&slot->published, 0);
	pg_atomic_write_u64(&slot->read_at, 0);
	for (int i = 0; i < EMITTED_GROUPS; i++)
		pg_atomic_write_u64(&slot->emitted[i], 0);
	for (int kind = 0; kind < WORKER_KINDS; kind++)
		pg_atomic_write_u32(&slot->left_well[kind], 1);
}

static void
slots_startup(void *address)
{
	Slots	   *fresh = address;

	pg_atomic_init_u32(&fresh->launcher, 0);
	for (int i = 0; i < bo_max_databases; i++)
	{
		DatabaseSlot *slot = &fresh->slot[i];

		pg_atomic_init_u32(&slot->database, InvalidOid);
		pg_atomic_init_u32(&slot->state, SLOT_UNKNOWN);
		pg_atomic_init_u32(&slot->keep_out, 0);
		pg_atomic_init_u32(&slot->dirty, 0);
		pg_atomic_init_u64(&slot->published, 0);
		pg_atomic_init_u64(&slot->read_at, 0);
		for (int group = 0; group < EMITTED_GROUPS; group++)
			pg_atomic_init_u64(&slot->emitted[group], 0);
		for (int kind = 0; kind < WORKER_KINDS; kind++)
		{
			pg_atomic_init_u32(&slot->process[kind], 0);
			pg_atomic_init_u32(&slot->pid[kind], 0);
			pg_atomic_init_u32(&slot->left_well[kind], 1);
		}
	}
}

void
slots_init(void)
{
	DefineCustomIntVariable("backoffice.max_databases",
							"Databases of this cluster that can use backoffice.",
							"Room in shared memory; each such database runs three workers (see max_worker_processes).",
							&bo_max_databases, 64, 1, 10000, PGC_POSTMASTER, 0, NULL, NULL, NULL);
	bo_shmem_register("backoffice databases", slots_size, (void **) &slots, slots_startup, &slots_lock);
}

DatabaseSlot *
slot_find(Oid database)
{
	for (int i = 0; i < bo_max_databases; i++)
	{
		if (pg_atomic_read_u32(&slots->slot[i].database) == database)
			return &slots->slot[i];
	}
	return NULL;
}

static DatabaseSlot *
find_or_take(Oid database)
{
	DatabaseSlot *slot = slot_find(database);

	if (slot == NULL)
	{
		slot = slot_find(InvalidOid);
		if (slot != NULL)
		{
			slot_reset(slot);
			pg_atomic_write_u32(&slot->database, database);
		}
	}
	return slot;
}

DatabaseSlot *
slot_acquire(Oid database)
{
	DatabaseSlot *slot;

	LWLockAcquire(slots_lock, LW_EXCLUSIVE);
	slot = find_or_take(database);
	LWLockRelease(slots_lock);
	return slot;
}

DatabaseSlot *
slot_mine(void)
{
	if (my_slot == NULL || pg_atomic_read_u32(&my_slot->database) != MyDatabaseId)
		my_slot = slot_acquire(MyDatabaseId);
	return my_slot;
}

void
slot_note_emitted(DatabaseSlot *slot, int32 topic_id, int64 seq)
{
	pg_atomic_uint64 *emitted = &slot->emitted[(uint32) topic_id % EMITTED_GROUPS];
	uint64		highest = pg_atomic_read_u64(emitted);

	while (highest < (uint64) seq && !pg_atomic_compare_exchange_u64(emitted, &highest, (uint64) seq))
		;
}

bool
slot_emitted_above(DatabaseSlot *slot, const int32 *topic_ids, int count, int64 seq)
{
	pg_memory_barrier();
	for (int i = 0; i < count; i++)
	{
		if (pg_atomic_read_u64(&slot->emitted[(uint32) topic_ids[i] % EMITTED_GROUPS]) > (uint64) seq)
			return true;
	}
	return false;
}

int
slot_count(void)
{
	return bo_max_databases;
}

DatabaseSlot *
slot_by_number(int number)
{
	DatabaseSlot *slot = &slots->slot[number];

	return pg_atomic_read_u32(&slot->database) == InvalidOid ? NULL : slot;
}

int
slot_number(const DatabaseSlot *slot)
{
	return slot - slots->slot;
}

/* Under one lock: a slot that the launcher gave back in between would never be let in again. */
DatabaseSlot *
slot_keep_out(Oid database)
{
	DatabaseSlot *slot;

	LWLockAcquire(slots_lock, LW_EXCLUSIVE);
	slot = find_or_take(database);
	if (slot != NULL)
		pg_atomic_fetch_add_u32(&slot->keep_out, 1);
	LWLockRelease(slots_lock);
	for (int kind = 0; slot != NULL && kind < WORKER_KINDS; kind++)
		slot_nudge(slot, kind);
	return slot;
}

void
slot_let_in(DatabaseSlot *slot)
{
	pg_atomic_write_u32(&slot->state, SLOT_UNKNOWN);
	pg_memory_barrier();
	pg_atomic_fetch_sub_u32(&slot->keep_out, 1);
	launcher_wake();
}

bool
slot_is_empty(DatabaseSlot *slot)
{
	for (int kind = 0; kind < WORKER_KINDS; kind++)
	{
		if (pg_atomic_read_u32(&slot->pid[kind]) != 0)
			return false;
	}
	return true;
}

void
slot_release(DatabaseSlot *slot)
{
	LWLockAcquire(slots_lock, LW_EXCLUSIVE);
	/* Somebody may have begun to need it since the caller looked. */
	if (pg_atomic_read_u32(&slot->keep_out) == 0 && slot_is_empty(slot))
		pg_atomic_write_u32(&slot->database, InvalidOid);
	LWLockRelease(slots_lock);
}

static void
wake(uint32 process)
{
	if (process != 0)
		SetLatch(&GetPGProcByNumber(process - 1)->procLatch);
}

void
launcher_wake(void)
{
	wake(pg_atomic_read_u32(&slots->launcher));
}

void
slot_wake(DatabaseSlot *slot, WorkerKind kind)
{
	uint32		process = pg_atomic_read_u32(&slot->process[kind]);

	if (process != 0)
		wake(process);
	else
		launcher_wake();
}

void
slot_nudge(DatabaseSlot *slot, WorkerKind kind)
{
	wake(pg_atomic_read_u32(&slot->process[kind]));
}

static void
slot_leave(int code, Datum arg)
{
	DatabaseSlot *slot = &slots->slot[DatumGetInt32(arg) / WORKER_KINDS];
	int			kind = DatumGetInt32(arg) % WORKER_KINDS;

	if (pg_atomic_read_u32(&slot->pid[kind]) == (uint32) MyProcPid)
	{
		pg_atomic_write_u32(&slot->left_well[kind], code == 0);
		pg_atomic_write_u32(&slot->process[kind], 0);
		pg_atomic_write_u32(&slot->pid[kind], 0);
	}
	launcher_wake();
}

bool
slot_enter(DatabaseSlot *slot, WorkerKind kind)
{
	uint32		nobody = 0;

	if (!pg_atomic_compare_exchange_u32(&slot->pid[kind], &nobody, (uint32) MyProcPid))
		return false;
	pg_atomic_write_u32(&slot->process[kind], bo_proc_number(MyProc) + 1);
	before_shmem_exit(slot_leave, Int32GetDatum(slot_number(slot) * WORKER_KINDS + kind));
	pg_memory_barrier();
	return pg_atomic_read_u32(&slot->keep_out) == 0;
}

static void
launcher_leave(int code, Datum arg)
{
	pg_atomic_write_u32(&slots->launcher, 0);
}

void
launcher_enter(void)
{
	pg_atomic_write_u32(&slots->launcher, bo_proc_number(MyProc) + 1);
	before_shmem_exit(launcher_leave, (Datum) 0);
}

int
events_keeper_pid(void)
{
	DatabaseSlot *slot = slot_mine();

	return slot == NULL ? 0 : (int) pg_atomic_read_u32(&slot->pid[WORKER_KEEPER]);
}
