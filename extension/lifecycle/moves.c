/*
 * moves.c
 *		UPDATEs that would take a row to another partition.
 *
 * The server deletes such a row and inserts it anew.  To the triggers of the other
 * partition its life would begin there: in a state that is none to begin with, or
 * with a second event of its beginning, and with version 1.  So it is refused.
 */
#include "lifecycle/machine.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "executor/executor.h"
#include "optimizer/optimizer.h"
#include "utils/datum.h"
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

void
refuse_move(const Machine *machine, Relation rel, HeapTuple old_row, HeapTuple new_row)
{
	TupleDesc	desc = RelationGetDescr(rel);
	List	   *bounds = RelationGetPartitionQual(rel);

	if (!any_changed(bounds, old_row, new_row, desc) || is_within(bounds, new_row, desc))
		return;
	ereport(ERROR,
			(errcode(BO_CONFLICT),
			 errmsg("a row of %s can't move to another partition", machine->name),
			 bo_code("row_would_move", "it would be deleted from %s and inserted anew, as if its life began there", RelationGetRelationName(rel)),
			 errhint("Partition by a column that stays as it is, such as when the row was made.")));
}
