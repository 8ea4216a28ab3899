/*
 * principal.c
 *		The principal, in a slot of shared memory per backend.
 *
 * Parallel workers do not inherit C statics; they read their leader's slot,
 * which cannot change while they run.  (Seen with statics: another tenant's
 * rows.  reference: docs/internals.md, "Principal".)
 */
#include "core/principal.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "core/settings.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/builtins.h"

typedef struct PrincipalSlot
{
	bool		set;
	Principal	principal;
} PrincipalSlot;

static PrincipalSlot *slots;
static SubTransactionId set_in = InvalidSubTransactionId;	/* where the current one was set */

PG_FUNCTION_INFO_V1(backoffice_current_organization);
PG_FUNCTION_INFO_V1(backoffice_current_user_id);

static Size
slots_size(void)
{
	return mul_size(MaxBackends + NUM_AUXILIARY_PROCS, sizeof(PrincipalSlot));
}

static void
slots_init(void *address)
{
}

static PrincipalSlot *
my_slot(void)
{
	PGPROC	   *proc = MyProc;

	if (IsParallelWorker() && proc->lockGroupLeader != NULL)
		proc = proc->lockGroupLeader;
	return &slots[proc->pgprocno];
}

const Principal *
principal_get(void)
{
	PrincipalSlot *slot = my_slot();

	return slot->set ? &slot->principal : NULL;
}

const Principal *
principal_require(void)
{
	const Principal *principal = principal_get();

	if (principal == NULL)
		ereport(ERROR,
				(errcode(BO_UNAUTHORIZED),
				 errmsg("nobody is acting in this transaction"),
				 bo_code("no_principal", "neither a token was authenticated nor a principal set"),
				 errhint("Call access.authenticate(token) or access.act_as(organization, user) first, in the same transaction.")));
	return principal;
}

static bool
is_same(const Principal *a, const Principal *b)
{
	return memcmp(&a->organization_id, &b->organization_id, UUID_LEN) == 0 &&
		a->has_user == b->has_user &&
		(!a->has_user || memcmp(&a->user_id, &b->user_id, UUID_LEN) == 0);
}

void
principal_set(const Principal *principal)
{
	PrincipalSlot *slot = my_slot();

	if (IsInParallelMode())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_STATE),
				 errmsg("cannot set the principal during a parallel operation")));
	if (slot->set)
	{
		if (is_same(&slot->principal, principal))
			return;
		ereport(ERROR,
				(errcode(BO_FORBIDDEN),
				 errmsg("the principal of this transaction is already set"),
				 bo_code("principal_already_set", "a transaction acts for one organization and user"),
				 errhint("Commit, and act as the other principal in a new transaction.")));
	}
	slot->principal = *principal;
	slot->set = true;
	set_in = GetCurrentSubTransactionId();
}

void
principal_clear(void)
{
	my_slot()->set = false;
	set_in = InvalidSubTransactionId;
}

static void
at_xact_end(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			principal_clear();
			break;
		default:				/* parallel workers leave the leader's slot alone */
			break;
	}
}

static void
at_subxact_end(SubXactEvent event, SubTransactionId my_subid, SubTransactionId parent_subid, void *arg)
{
	if (set_in != my_subid || IsParallelWorker())
		return;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		principal_clear();
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		set_in = parent_subid;
}

void
principal_init(void)
{
	bo_shmem_register("backoffice principals", slots_size, (void **) &slots, slots_init, NULL);
	RegisterXactCallback(at_xact_end, NULL);
	RegisterSubXactCallback(at_subxact_end, NULL);
}

Datum
backoffice_current_organization(PG_FUNCTION_ARGS)
{
	const Principal *principal = principal_get();
	pg_uuid_t  *copy;

	if (principal == NULL)
		PG_RETURN_NULL();
	copy = palloc(sizeof(pg_uuid_t));
	*copy = principal->organization_id;
	PG_RETURN_UUID_P(copy);
}

Datum
backoffice_current_user_id(PG_FUNCTION_ARGS)
{
	const Principal *principal = principal_get();
	pg_uuid_t  *copy;

	if (principal == NULL || !principal->has_user)
		PG_RETURN_NULL();
	copy = palloc(sizeof(pg_uuid_t));
	*copy = principal->user_id;
	PG_RETURN_UUID_P(copy);
}
