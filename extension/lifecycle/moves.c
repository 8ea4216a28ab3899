/*
 * moves.c
 *		UPDATEs that would take a row to another partition.
 *
 * The server deletes such a row and inserts it anew.  To the triggers of the other
 * partition its life would begin there: in a state that is none to begin with, or
 * with a second event of its beginning, and with version 1.  So it is refused.
 *
 * A BEFORE trigger behind the check may still send the row elsewhere.  Then the
 * check of an INSERT fires next, at the same depth, for a row of the same key in
 * another partition, and no AFTER trigger has told that the UPDATE stayed.
 */
#include "lifecycle/machine.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/xact.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "optimizer/optimizer.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"

static bool
is_changed(AttrNumber attno, HeapTuple old_row, HeapTuple new_row, TupleDesc desc)
{
	Form_pg_attribute column = TupleDescAttr(desc, attno - 1);
	bool		old_null,
				new_null;
	Datum		old_value = heap_getattr(old_row, attno, desc, &old_null);
	Datum		new_value = heap_getattr(new_row, attno, desc, &new_null);

	return old_null != new_null ||
		(!old_null && !datum_image_eq(old_value, new_value, column->attbyval, column->attlen));
}

static bool
any_changed(List *bounds, HeapTuple old_row, HeapTuple new_row, TupleDesc desc)
{
	Bitmapset  *columns = NULL;
	int			member = -1;

	pull_varattnos((Node *) bounds, 1, &columns);
	while ((member = bms_next_member(columns, member)) >= 0)
	{
		AttrNumber	attno = member + FirstLowInvalidHeapAttributeNumber;

		if (attno <= 0 || is_changed(attno, old_row, new_row, desc))
			return true;
	}
	return false;
}

static bool
is_within(List *bounds, HeapTuple row, TupleDesc desc)
{
	EState	   *estate = CreateExecutorState();
	ExprState  *check = ExecPrepareCheck(bounds, estate);
	ExprContext *context = GetPerTupleExprContext(estate);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsHeapTuple);
	bool		within;

	ExecStoreHeapTuple(row, slot, false);
	context->ecxt_scantuple = slot;
	within = ExecCheck(check, context);
	ExecDropSingleTupleTableSlot(slot);
	FreeExecutorState(estate);
	return within;
}

static void
refuse(const Machine *machine, const char *partition)
{
	ereport(ERROR,
			(errcode(BO_CONFLICT),
			 errmsg("a row of %s can't move to another partition", machine->name),
			 bo_code("row_would_move", "it would be deleted from %s and inserted anew, as if its life began there", partition),
			 errhint("Partition by a column that stays as it is, such as when the row was made.")));
}

void
refuse_move(const Machine *machine, Relation rel, HeapTuple old_row, HeapTuple new_row)
{
	TupleDesc	desc = RelationGetDescr(rel);
	List	   *bounds = RelationGetPartitionQual(rel);

	if (!any_changed(bounds, old_row, new_row, desc) || is_within(bounds, new_row, desc))
		return;
	refuse(machine, RelationGetRelationName(rel));
}

/* The last UPDATE of each depth of triggers that has yet to show where its row went. */
typedef struct Update
{
	Oid			relid;			/* InvalidOid: none */
	TimestampTz transaction;	/* its start */
	SubTransactionId subtransaction;
	uint64		row;			/* hash of definition and key */
} Update;

#define DEPTHS 16

static Update updates[DEPTHS];

static Update *
update_here(void)
{
	int			depth = DatumGetInt32(DirectFunctionCall1(pg_trigger_depth, (Datum) 0));

	return depth < DEPTHS ? &updates[depth] : NULL;
}

static uint64
hash_row(const Machine *machine, const char *key)
{
	uint64		seed = hash_bytes_extended((const unsigned char *) machine->name, strlen(machine->name), 0);

	return hash_bytes_extended((const unsigned char *) key, strlen(key), seed);
}

void
move_may_follow(const Machine *machine, Relation rel, const char *key)
{
	Update	   *update = update_here();

	if (update != NULL && key != NULL)
		*update = (Update) {RelationGetRelid(rel), GetCurrentTransactionStartTimestamp(), GetCurrentSubTransactionId(), hash_row(machine, key)};
}

bool
move_is_expected(void)
{
	Update	   *update = update_here();

	return update != NULL && OidIsValid(update->relid) && update->transaction == GetCurrentTransactionStartTimestamp() &&
		update->subtransaction == GetCurrentSubTransactionId();
}

void
refuse_moved_in(const Machine *machine, Relation rel, const char *key)
{
	Update	   *update = update_here();

	if (key != NULL && update->relid != RelationGetRelid(rel) && update->row == hash_row(machine, key))
		refuse(machine, get_rel_name(update->relid));
}

void
move_did_not_follow(void)
{
	Update	   *update = update_here();

	if (update != NULL)
		update->relid = InvalidOid;
}
