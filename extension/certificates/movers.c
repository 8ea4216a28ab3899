/*
 * movers.c
 *		Their transaction ids, in shared memory.
 *
 * One that finds no room is taken for somebody who reserves: a pool may then be
 * called empty while it works.
 */
#include "certificates/movers.h"

#include "access/subtrans.h"
#include "access/xact.h"
#include "events/events.h"
#include "port/atomics.h"
#include "storage/procarray.h"

#define MOVERS 32

static pg_atomic_uint32 *movers;
static pg_atomic_uint32 *mine = NULL;

static Size
movers_size(void)
{
	return MOVERS * sizeof(pg_atomic_uint32);
}

static void
movers_make(void *address)
{
	pg_atomic_uint32 *table = address;

	for (int i = 0; i < MOVERS; i++)
		pg_atomic_init_u32(&table[i], InvalidTransactionId);
}

void
movers_enter(void)
{
	TransactionId xid = GetTopTransactionId();

	for (int i = 0; i < MOVERS && mine == NULL; i++)
	{
		uint32		nobody = InvalidTransactionId;

		if (pg_atomic_compare_exchange_u32(&movers[i], &nobody, xid))
			mine = &movers[i];
	}
}

bool
movers_has(TransactionId xid)
{
	TransactionId top;
	int			keeper = events_keeper_pid();

	if (!TransactionIdIsInProgress(xid))
		return false;
	/* The keeper goes carefully in parts of a transaction, which have no process; nor have prepared ones, or perhaps the keeper. */
	top = SubTransGetTopmostTransaction(xid);
	if (keeper != 0 && BackendXidGetPid(top) == keeper)
		return true;
	for (int i = 0; i < MOVERS; i++)
		if (pg_atomic_read_u32(&movers[i]) == top)
			return true;
	return false;
}

static void
leave_at_xact_end(XactEvent event, void *arg)
{
	if (mine == NULL || (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE))
		return;
	pg_atomic_write_u32(mine, InvalidTransactionId);
	mine = NULL;
}

void
movers_init(void)
{
	RegisterXactCallback(leave_at_xact_end, NULL);
	bo_shmem_register("backoffice movers of certificates", movers_size, (void **) &movers, movers_make, NULL);
}
