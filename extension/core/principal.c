/*
 * principal.c
 *		The principal, in a slot of shared memory per backend.
 *
 * Parallel workers do not inherit C statics; they read their leader's slot,
 * which cannot change while they run.  (Seen with statics: another tenant's
 * rows.)  Workers never write: a parallel worker runs small transactions of
 * its own before it joins the leader's, and their end must not clear the
 * leader's slot.
 *
 * A transaction acts for one principal.  Rolling back the savepoint in which
 * it was set unsets it; another one may be set then, unless a cursor is open
 * that could go on with rows of the first (an index scan keeps its key).
 *
 * The callbacks only write memory: an error there would be a PANIC.
 */
#include "core/principal.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "core/settings.h"
#include "core/spi.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "utils/builtins.h"

typedef struct PrincipalSlot
{
	bool		set;
	Principal	principal;
} PrincipalSlot;

static PrincipalSlot *slots;
static SubTransactionId set_in = InvalidSubTransactionId;	/* where the current one was set */
static bool unset_by_rollback = false;	/* this transaction had one (still in the slot), and rolled it back */
static bool slot_is_mine = false;	/* this process has taken its slot over */
static PrincipalSlot *cached_slot;	/* what my_slot() answers: the same for the life of the process */

PG_FUNCTION_INFO_V1(backoffice_current_organization);
PG_FUNCTION_INFO_V1(backoffice_current_user_id);
PG_FUNCTION_INFO_V1(backoffice_of_current_organization);
PG_FUNCTION_INFO_V1(backoffice_within_bounds);

static Size
slots_size(void)
{
	return mul_size(MaxBackends + NUM_AUXILIARY_PROCS, sizeof(PrincipalSlot));
}

static void
leave_slot(int code, Datum arg)
{
	slots[DatumGetInt32(arg)].set = false;
}

/* Slots go by the number of the process's PGPROC, which is reused. */
static void
take_slot(void)
{
	slots[bo_proc_number(MyProc)].set = false;
	before_shmem_exit(leave_slot, Int32GetDatum(bo_proc_number(MyProc)));
	slot_is_mine = true;
}

static pg_noinline PrincipalSlot *
find_slot(void)
{
	if (IsParallelWorker())
		cached_slot = &slots[bo_proc_number(MyProc->lockGroupLeader)];
	else
	{
		take_slot();
		cached_slot = &slots[bo_proc_number(MyProc)];
	}
	return cached_slot;
}

static inline PrincipalSlot *
my_slot(void)
{
	return likely(cached_slot != NULL) ? cached_slot : find_slot();
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

/* An id that may be missing. */
static bool
is_same_id(bool has, const pg_uuid_t *id, bool other_has, const pg_uuid_t *other)
{
	return has == other_has && (!has || memcmp(id, other, UUID_LEN) == 0);
}

/* By session and key too: another token of the same user may have other rights. */
static bool
is_same(const Principal *a, const Principal *b)
{
	return memcmp(&a->organization_id, &b->organization_id, UUID_LEN) == 0 &&
		is_same_id(a->has_user, &a->user_id, b->has_user, &b->user_id) &&
		is_same_id(a->has_session, &a->session_id, b->has_session, &b->session_id) &&
		is_same_id(a->has_api_key, &a->api_key_id, b->has_api_key, &b->api_key_id) &&
		a->bound == b->bound && (!a->has_user || a->aal == b->aal);
}

static void
refuse_open_cursors(void)
{
	static BoPlan plan = {"SELECT name FROM pg_catalog.pg_cursors", 0, {0}};

	bo_spi_begin();
	if (bo_spi_run(&plan, NULL, NULL, 1) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_CURSOR_STATE),
				 errmsg("cursor \"%s\" is open from when another principal acted", bo_spi_text(0, 1)),
				 bo_code("cursors_open", "it could go on with the rows of the principal that was rolled back"),
				 errhint("Close all cursors first, or act as the other principal in a new transaction.")));
	bo_spi_end();
}

void
principal_set(const Principal *principal)
{
	PrincipalSlot *slot = my_slot();

	if (IsInParallelMode())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_STATE),
				 errmsg("cannot set the principal during a parallel operation"),
				 bo_code("parallel_operation", "workers already read the leader's"),
				 errhint("Set it in a statement of its own, before the query.")));
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
	if (unset_by_rollback && !is_same(&slot->principal, principal))
		refuse_open_cursors();
	slot->principal = *principal;
	slot->set = true;
	set_in = GetCurrentSubTransactionId();
}

void
principal_clear(void)
{
	if (slot_is_mine)
		slots[bo_proc_number(MyProc)].set = false;
	set_in = InvalidSubTransactionId;
	unset_by_rollback = false;
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
		default:
			break;
	}
}

static void
at_subxact_end(SubXactEvent event, SubTransactionId my_subid, SubTransactionId parent_subid, void *arg)
{
	if (set_in != my_subid)
		return;
	if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		principal_clear();
		unset_by_rollback = true;
	}
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		set_in = parent_subid;
}

void
principal_init(void)
{
	bo_shmem_register("backoffice principals", slots_size, (void **) &slots, NULL, NULL);
	RegisterXactCallback(at_xact_end, NULL);
	RegisterSubXactCallback(at_subxact_end, NULL);
}

/*
 * Asked for every row of a scan: the answer points into the slot.  Nothing
 * that holds on to it lives to see the slot overwritten: that takes a new
 * transaction, or a rollback without open cursors.
 */
Datum
backoffice_current_organization(PG_FUNCTION_ARGS)
{
	const Principal *principal = principal_get();

	if (principal == NULL || principal->without_organization)
		PG_RETURN_NULL();
	PG_RETURN_UUID_P((pg_uuid_t *) &principal->organization_id);
}

/*
 * The policy of tenants' tables, called for every row that no index has chosen
 * (core/policy.c).  Not STRICT: the executor's look at the argument costs more
 * than ours.
 */
Datum
backoffice_of_current_organization(PG_FUNCTION_ARGS)
{
	const PrincipalSlot *slot = my_slot();

	PG_RETURN_BOOL(slot->set && !slot->principal.without_organization && !PG_ARGISNULL(0) &&
				   memcmp(PG_GETARG_UUID_P(0), &slot->principal.organization_id, UUID_LEN) == 0);
}

Datum
backoffice_current_user_id(PG_FUNCTION_ARGS)
{
	const Principal *principal = principal_get();

	if (principal == NULL || !principal->has_user)
		PG_RETURN_NULL();
	PG_RETURN_UUID_P((pg_uuid_t *) &principal->user_id);
}

/* Is what the acting user has for this organization (NULL: for none) the concern of who acts? */
Datum
backoffice_within_bounds(PG_FUNCTION_ARGS)
{
	const Principal *principal = principal_get();

	PG_RETURN_BOOL(principal == NULL || !principal->bound ||
				   (!PG_ARGISNULL(0) && memcmp(PG_GETARG_UUID_P(0), &principal->organization_id, UUID_LEN) == 0));
}
