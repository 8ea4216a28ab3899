/*
 * trigger.c
 *		The triggers that govern a table.
 *
 * BEFORE checks state, transition and guard, and counts the version up.  The
 * event of an INSERT is emitted AFTER: a BEFORE trigger also fires for rows that
 * ON CONFLICT then drops.  That of an UPDATE is emitted by the check at once where
 * nothing can come between (see at_once.c), else AFTER as well.  AFTER looks the
 * transition up again, so that another BEFORE trigger which changes the state
 * behind us gets no further.
 *
 * A restored dump brings rows in whatever state they had.  pg_dump's scripts
 * run with row_security = off; who may do that to a table (its owner,
 * superusers, BYPASSRLS) could drop the triggers as well, so such a session
 * loads rows as they are: no first state, no version, no event.  The setting is
 * anybody's, so it says nothing where a SECURITY DEFINER function or a foreign key
 * acts with the owner's rights for somebody else.
 */
#include "lifecycle/lifecycle.h"

#include "access/htup_details.h"
#include "access/tupconvert.h"
#include "access/tupmacs.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "common/int.h"
#include "events/events.h"
#include "utils/jsonb.h"
#include "lifecycle/machine.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/typcache.h"

PG_FUNCTION_INFO_V1(lifecycle_check_row);
PG_FUNCTION_INFO_V1(lifecycle_emit_step);

typedef struct Step
{
	TriggerData *data;
	Binding    *binding;
	HeapTuple	old_row;		/* NULL: insertion */
	HeapTuple	new_row;
	int			from;			/* nstates: insertion */
	int			to;
	const Transition *transition;	/* NULL: the state stays */
} Step;

static TriggerData *
trigger_data(FunctionCallInfo fcinfo, const char *function, bool before)
{
	TriggerData *data = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_ROW(data->tg_event) ||
		before != (TRIGGER_FIRED_BEFORE(data->tg_event) != 0) ||
		TRIGGER_FIRED_BY_DELETE(data->tg_event) || data->tg_trigger->tgnargs != 1)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("%s() was not called as lifecycle.define() sets it up", function),
				 bo_code("trigger_misused", "it is a row trigger for INSERT or UPDATE with the definition's name as its argument"),
				 errhint("Call lifecycle.define() instead of CREATE TRIGGER.")));
	return data;
}

static bool
loading_rows(Relation rel)
{
	return !row_security && !InLocalUserIdChange() &&
		(has_bypassrls_privilege(GetUserId()) || pg_class_ownercheck(RelationGetRelid(rel), GetUserId()));
}

/* The index of the row's state; an unknown or null one is an error. */
static int
state_of(const Binding *binding, HeapTuple row, TupleDesc desc)
{
	const Machine *machine = binding->machine;
	bool		isnull;
	Datum		value = heap_getattr(row, binding->state, desc, &isnull);
	text	   *name;
	int			state;

	if (isnull)
		machine_refuse_state(machine, NULL);
	if (binding->state_is_enum)
	{
		for (int i = 0; i < machine->nstates; i++)
			if (machine->states[i].label == DatumGetObjectId(value))
				return i;
		machine_refuse_state(machine, "another label");
	}
	name = DatumGetTextPP(value);
	state = machine_state(machine, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
	if (state < 0)
		machine_refuse_state(machine, text_to_cstring(name));
	return state;
}

static void
find_step(Step *step, TriggerData *data)
{
	TupleDesc	desc = RelationGetDescr(data->tg_relation);
	Binding    *binding = machine_bind(data->tg_trigger, data->tg_relation);
	bool		inserted = TRIGGER_FIRED_BY_INSERT(data->tg_event);

	step->data = data;
	step->binding = binding;
	step->old_row = inserted ? NULL : data->tg_trigtuple;
	step->new_row = inserted ? data->tg_trigtuple : data->tg_newtuple;
	step->from = inserted ? binding->machine->nstates : state_of(binding, step->old_row, desc);
	step->to = state_of(binding, step->new_row, desc);
	step->transition = NULL;
}

static void
require_transition(Step *step)
{
	const Machine *machine = step->binding->machine;
	int			index = machine->steps[step->from][step->to];

	if (index == NO_TRANSITION)
		machine_refuse_step(machine, step->from, step->to);
	step->transition = &machine->transitions[index];
}

/* The row as the function's parameter type: a partition's or a shard's columns may stand elsewhere. */
static Datum
row_argument(Relation rel, HeapTuple row, Oid row_type)
{
	TupleDesc	desc = RelationGetDescr(rel);
	TupleDesc	wanted;
	TupleConversionMap *map;
	Datum		datum;

	if (desc->tdtypeid == row_type)
		return heap_copy_tuple_as_datum(row, desc);

	wanted = lookup_rowtype_tupdesc(row_type, -1);
	map = convert_tuples_by_name(desc, wanted);
	if (map != NULL)
		row = execute_attr_map_tuple(row, map);
	datum = heap_copy_tuple_as_datum(row, wanted);
	ReleaseTupleDesc(wanted);
	return datum;
}

/* Foreign code may run any SQL, so the machine may be replaced meanwhile. */
static Datum
invoke_pinned(Machine *machine, FunctionCallInfo call, bool *isnull)
{
	volatile Datum result = (Datum) 0;

	machine_pin(machine);
	PG_TRY();
	{
		result = FunctionCallInvoke(call);
		*isnull = call->isnull;
	}
	PG_FINALLY();
	{
		machine_unpin(machine);
	}
	PG_END_TRY();
	return result;
}

/* Calls guard(old, new) or payload(old, new, from, to). */
static Datum
call_out(Step *step, FmgrInfo *function, Oid row_type, int nargs, bool *isnull)
{
	LOCAL_FCINFO(call, 4);
	Machine    *machine = step->binding->machine;
	Relation	rel = step->data->tg_relation;
	bool		skip = false;

	InitFunctionCallInfoData(*call, function, nargs, DEFAULT_COLLATION_OID, NULL, NULL);
	call->args[0].isnull = step->old_row == NULL;
	if (step->old_row != NULL)
		call->args[0].value = row_argument(rel, step->old_row, row_type);
	call->args[1].isnull = false;
	call->args[1].value = row_argument(rel, step->new_row, row_type);
	if (nargs == 4)
	{
		call->args[2].isnull = step->from == machine->nstates;
		if (!call->args[2].isnull)
			call->args[2].value = CStringGetTextDatum(machine->states[step->from].name);
		call->args[3].isnull = false;
		call->args[3].value = CStringGetTextDatum(machine->states[step->to].name);
	}
	for (int i = 0; i < nargs; i++)
		skip |= function->fn_strict && call->args[i].isnull;

	*isnull = true;
	return skip ? (Datum) 0 : invoke_pinned(machine, call, isnull);
}

static void
check_guard(Step *step)
{
	const Machine *machine = step->binding->machine;
	const Transition *transition = step->transition;
	char	   *name = pstrdup(machine->name);
	char	   *guard = pstrdup(transition->guard_name);
	char	   *from = step->from == machine->nstates ? NULL : pstrdup(machine->states[step->from].name);
	char	   *to = pstrdup(machine->states[step->to].name);
	bool		isnull;
	Datum		allowed = call_out(step, (FmgrInfo *) &transition->guard, transition->guard_row_type, 2, &isnull);

	if (isnull || !DatumGetBool(allowed))
		ereport(ERROR,
				(errcode(BO_CONFLICT),
				 from ? errmsg("%s may not go from \"%s\" to \"%s\" now", name, from, to)
				 : errmsg("%s may not begin as \"%s\" now", name, to),
				 bo_code("guard_failed", "%s(old, new) did not answer true", guard)));
}

/*
 * The row with another value in a column of fixed width.  Where the column's
 * place is known without walking the row, a copy is changed in place: a third of
 * the cost of taking the row apart and putting it together.
 */
static HeapTuple
set_number(HeapTuple row, TupleDesc desc, int attno, Datum value)
{
	const CompactAttribute *column = TupleDescCompactAttr(desc, attno - 1);
	bool		in_place = column->attcacheoff >= 0 && attno <= HeapTupleHeaderGetNatts(row->t_data);
	bool		isnull = false;

	for (int i = 0; in_place && HeapTupleHasNulls(row) && i < attno; i++)
		in_place = !att_isnull(i, row->t_data->t_bits);
	if (!in_place)
		return heap_modify_tuple_by_cols(row, desc, 1, &attno, &value, &isnull);
	row = heap_copytuple(row);
	store_att_byval((char *) row->t_data + row->t_data->t_hoff + column->attcacheoff, value, column->attlen);
	return row;
}

/* The new row with its version: 1, or one more than the old row's. */
static HeapTuple
count_version(const Binding *binding, HeapTuple old_row, HeapTuple new_row, TupleDesc desc)
{
	int			attno = binding->version;
	bool		isnull = true;
	Datum		value = (Datum) 0;
	int64		version = 0;

	if (old_row != NULL)
		value = heap_getattr(old_row, attno, desc, &isnull);
	if (!isnull)
		version = binding->version_is_int4 ? DatumGetInt32(value) : DatumGetInt64(value);
	if (pg_add_s64_overflow(version, 1, &version) || (binding->version_is_int4 && version > PG_INT32_MAX))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("the version of a row of %s is out of range", binding->machine->name),
				 bo_code("version_overflow", "the column can count no further"),
				 errhint("Make the column bigint.")));
	value = binding->version_is_int4 ? Int32GetDatum((int32) version) : Int64GetDatum(version);
	return set_number(new_row, desc, attno, value);
}

static void
push_key(JsonbParseState **state, const char *key)
{
	JsonbValue	value = {.type = jbvString, .val.string = {.len = strlen(key), .val = (char *) key}};

	pushJsonbValue(state, WJB_KEY, &value);
}

static void
push_string(JsonbParseState **state, const char *key, const char *text)
{
	JsonbValue	value = {.type = jbvNull};

	push_key(state, key);
	if (text != NULL)
	{
		value.type = jbvString;
		value.val.string.len = strlen(text);
		value.val.string.val = (char *) text;
	}
	pushJsonbValue(state, WJB_VALUE, &value);
}

/* {"entity", "id", "from", "to", "version"}, pushed in the order that jsonb stores them in: nothing is left to sort. */
static Jsonb *
default_payload(const LifecycleStep *step, const char *key)
{
	JsonbParseState *state = NULL;
	JsonbValue	number = {.type = jbvNumeric};

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_string(&state, "id", key);
	push_string(&state, "to", step->to);
	push_string(&state, "from", step->from);
	push_string(&state, "entity", step->definition);
	if (step->version > 0)
	{
		push_key(&state, "version");
		number.val.numeric = int64_to_numeric(step->version);
		pushJsonbValue(&state, WJB_VALUE, &number);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

static char *
key_text(Step *step, TupleDesc desc)
{
	bool		isnull;
	Datum		value = heap_getattr(step->new_row, step->binding->key, desc, &isnull);

	if (isnull)
		return NULL;
	if (step->binding->key_is_uuid)
		return bo_uuid_text(DatumGetUUIDP(value));
	return OutputFunctionCall(&step->binding->key_out, value);
}

/* Copies: the machine may be replaced while the event is made. */
static LifecycleStep
describe(Step *step, TupleDesc desc)
{
	const Machine *machine = step->binding->machine;
	LifecycleStep told = {0};
	bool		isnull;
	Datum		version;

	told.definition = pstrdup(machine->name);
	told.from = step->from == machine->nstates ? NULL : pstrdup(machine->states[step->from].name);
	told.to = pstrdup(machine->states[step->to].name);
	told.event = pstrdup(step->transition->event);
	told.old_row = step->old_row;
	told.new_row = step->new_row;
	told.desc = desc;
	if (step->binding->version != InvalidAttrNumber)
	{
		version = heap_getattr(step->new_row, step->binding->version, desc, &isnull);
		told.version = isnull ? 0 : step->binding->version_is_int4 ? DatumGetInt32(version) : DatumGetInt64(version);
	}
	return told;
}

static void
emit(Step *step)
{
	TupleDesc	desc = RelationGetDescr(step->data->tg_relation);
	Machine    *machine = step->binding->machine;
	LifecycleEmitter emitter = machine->emitter;
	LifecycleStep told = describe(step, desc);
	char	   *topic = pstrdup(machine->topic);
	char	   *key = key_text(step, desc);
	Datum		organization = (Datum) 0;
	Datum		payload = (Datum) 0;
	bool		isnull = true;
	bool		no_payload = true;

	if (emitter != NULL)
	{
		emitter(&told);
		return;
	}
	if (step->binding->organization != InvalidAttrNumber)
		organization = heap_getattr(step->new_row, step->binding->organization, desc, &isnull);
	if (machine->has_payload)
		payload = call_out(step, &machine->payload, machine->payload_row_type, 4, &no_payload);
	(void) events_emit(topic, key, told.event,
					   no_payload ? default_payload(&told, key) : DatumGetJsonbP(payload),
					   NULL, isnull ? NULL : DatumGetUUIDP(organization), NULL);
}

/*
 * Asks the guard.  It is foreign code, behind which the definition may be another
 * one: the step is looked up again for what follows.
 */
static void
pass_guard(Step *step)
{
	HeapTuple	counted = step->new_row;

	check_guard(step);
	find_step(step, step->data);
	require_transition(step);
	step->new_row = counted;
}

/* The event of an UPDATE, where no AFTER trigger emits it. */
static void
emit_at_once(Step *step)
{
	if (!step->binding->emits_at_once || step->transition->event == NULL || step->binding->machine->topic == NULL)
		return;
	if (step->binding->in_the_way != NULL)
		at_once_refuse(step->binding, step->data->tg_relation, step->binding->in_the_way);
	emit(step);
}

/* Of a partition: the row must not come from another one, nor go there. */
static void
check_partition(Step *step)
{
	const Machine *machine = step->binding->machine;
	Relation	rel = step->data->tg_relation;

	if (step->old_row == NULL)
	{
		if (move_is_expected())
			refuse_moved_in(machine, rel, key_text(step, RelationGetDescr(rel)));
		return;
	}
	refuse_move(machine, rel, step->old_row, step->new_row);
	if (step->binding->update_behind)
		move_may_follow(machine, rel, key_text(step, RelationGetDescr(rel)));
}

Datum
lifecycle_check_row(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo, "lifecycle.check_row", true);
	Step		step;
	const char *unseen;

	find_step(&step, data);
	if (!row_security && loading_rows(data->tg_relation))
		return PointerGetDatum(step.new_row);

	unseen = step.old_row ? step.binding->update_unseen : step.binding->insert_unseen;
	if (unseen != NULL)
		at_once_refuse(step.binding, data->tg_relation, unseen);
	if (data->tg_relation->rd_rel->relispartition)
		check_partition(&step);
	if (step.from != step.to)
		require_transition(&step);
	if (step.binding->version != InvalidAttrNumber)
		step.new_row = count_version(step.binding, step.old_row, step.new_row, RelationGetDescr(data->tg_relation));
	if (step.transition != NULL && step.transition->has_guard)
		pass_guard(&step);
	if (step.transition != NULL && step.old_row != NULL)
		emit_at_once(&step);
	return PointerGetDatum(step.new_row);
}

Datum
lifecycle_emit_step(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo, "lifecycle.emit_step", false);
	Step		step;

	if (!row_security && loading_rows(data->tg_relation))
		return PointerGetDatum(NULL);
	if (TRIGGER_FIRED_BY_UPDATE(data->tg_event) && data->tg_relation->rd_rel->relispartition)
		move_did_not_follow();
	find_step(&step, data);
	if (step.from == step.to)
		return PointerGetDatum(NULL);
	require_transition(&step);
	if (step.transition->event != NULL && step.binding->machine->topic != NULL)
		emit(&step);
	return PointerGetDatum(NULL);
}
