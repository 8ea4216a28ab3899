/*
 * machine.c
 *		Definitions, compiled once per backend.
 *
 * A Machine is a definition read from lifecycle.definitions and .rules; a
 * Binding is a machine and the columns of one relation that has its triggers
 * (a partition or a shard has columns of its own).  Both are dropped when
 * relcache invalidation names lifecycle.definitions, which lifecycle.define()
 * sends: it travels with the commit record, so other backends and standbys
 * get it too.  They are dropped as well when any function changes (it may be a
 * guard), and a binding when its own relation does.
 *
 * The callback only moves a number.  A machine is read under the latest
 * snapshot and kept only if the number did not move meanwhile.  A machine that
 * is replaced while foreign code (guard, payload) runs on it is freed by the
 * last one that lets go.
 */
#include "lifecycle/machine.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "core/spi.h"
#include "events/topics.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#define MAX_EMITTERS 16

typedef struct MachineEntry
{
	char		name[LIFECYCLE_NAME_BYTES]; /* hash key */
	Machine    *machine;
	uint64		generation;		/* of the machine */
} MachineEntry;

static HTAB *machines;
static HTAB *bindings;
static uint64 generation = 1;	/* moved by every change of any definition */
static Oid	definitions_relid;

static struct
{
	const char *definition;
	LifecycleEmitter emitter;
}			emitters[MAX_EMITTERS];
static int	nemitters = 0;

static BoPlan read_definition = {
	"SELECT d.state_column, d.states, d.key_column, d.organization_column, d.version_column,"
	"       CASE WHEN d.emit THEN d.topic END, d.payload_function, p.oid, p.proargtypes[0], d.entity_schema, d.entity_table"
	"  FROM lifecycle.definitions d"
	"  LEFT JOIN (pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace"
	"        JOIN pg_catalog.pg_type t ON t.oid = p.proargtypes[0] JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace)"
	"    ON n.nspname = (pg_catalog.parse_ident(d.payload_function))[1] AND p.proname = (pg_catalog.parse_ident(d.payload_function))[2]"
	"   AND p.pronargs = 4 AND tn.nspname = d.entity_schema AND t.typname = d.entity_table"
	"   AND p.prorettype = 'pg_catalog.jsonb'::pg_catalog.regtype"
	" WHERE d.name = $1", 1, {TEXTOID}
};

static BoPlan read_rules = {
	"SELECT r.from_state, r.to_state, r.event, r.guard, p.oid, p.proargtypes[0]"
	"  FROM lifecycle.rules r JOIN lifecycle.definitions d ON d.name = r.definition"
	"  LEFT JOIN (pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace"
	"        JOIN pg_catalog.pg_type t ON t.oid = p.proargtypes[0] JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace)"
	"    ON n.nspname = (pg_catalog.parse_ident(r.guard))[1] AND p.proname = (pg_catalog.parse_ident(r.guard))[2]"
	"   AND p.pronargs = 2 AND tn.nspname = d.entity_schema AND t.typname = d.entity_table"
	"   AND p.prorettype = 'pg_catalog.bool'::pg_catalog.regtype"
	" WHERE r.definition = $1 ORDER BY r.position", 1, {TEXTOID}
};

void
lifecycle_register_emitter(const char *definition, LifecycleEmitter emitter)
{
	if (nemitters == MAX_EMITTERS)
		elog(ERROR, "too many lifecycle emitters");
	emitters[nemitters].definition = definition;
	emitters[nemitters++].emitter = emitter;
}

static LifecycleEmitter
lifecycle_emitter(const char *definition)
{
	for (int i = 0; i < nemitters; i++)
		if (strcmp(emitters[i].definition, definition) == 0)
			return emitters[i].emitter;
	return NULL;
}

/* Only numbers and flags move here: this runs at any catalog access. */
static void
relation_changed(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS scan;
	Binding    *binding;

	if (!OidIsValid(relid) || relid == definitions_relid)
		generation++;
	if (bindings == NULL)
		return;
	hash_seq_init(&scan, bindings);
	while ((binding = hash_seq_search(&scan)) != NULL)
		if (!OidIsValid(relid) || relid == definitions_relid || relid == binding->relid)
			binding->valid = false;
}

/* A guard or payload function may have been replaced or dropped; it is not worth knowing which. */
static void
function_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	relation_changed(arg, InvalidOid);
}

static void
prepare(void)
{
	HASHCTL		ctl = {0};

	if (machines != NULL)
		return;
	if (CacheMemoryContext == NULL)
		CreateCacheMemoryContext();

	ctl.keysize = LIFECYCLE_NAME_BYTES;
	ctl.entrysize = sizeof(MachineEntry);
	ctl.hcxt = CacheMemoryContext;
	machines = hash_create("lifecycle machines", 32, &ctl, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(Binding);
	bindings = hash_create("lifecycle bindings", 32, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(PROCOID, function_changed, (Datum) 0);
}

void
machine_pin(Machine *machine)
{
	machine->pins++;
}

void
machine_unpin(Machine *machine)
{
	if (--machine->pins == 0 && machine->orphan)
		MemoryContextDelete(machine->context);
}

static void
discard(Machine *machine)
{
	machine->orphan = true;
	if (machine->pins == 0)
		MemoryContextDelete(machine->context);
}

int
machine_state(const Machine *machine, const char *name, int length)
{
	for (int i = 0; i < machine->nstates; i++)
		if (machine->states[i].length == length && memcmp(machine->states[i].name, name, length) == 0)
			return i;
	return -1;
}

static int
known_state(const Machine *machine, const char *name)
{
	int			state = machine_state(machine, name, strlen(name));

	if (state < 0)
		elog(ERROR, "definition \"%s\" has a rule for the unknown state \"%s\"", machine->name, name);
	return state;
}

/* Copies a cell's text into the machine. */
static char *
keep(Machine *machine, uint64 row, int column)
{
	char	   *text = bo_spi_text(row, column);

	return text ? MemoryContextStrdup(machine->context, text) : NULL;
}

static bool
keep_function(Machine *machine, uint64 row, int column, const char *name, FmgrInfo *finfo, Oid *row_type)
{
	bool		isnull;
	Oid			oid;

	if (name == NULL)
		return false;
	oid = DatumGetObjectId(bo_spi_datum(row, column, &isnull));
	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function %s of the life cycle \"%s\" is gone", name, machine->name),
				 bo_code("function_missing", "it was dropped or renamed, or its table was, since the definition was made"),
				 errhint("Create it again, or call lifecycle.define() with what is there now.")));
	fmgr_info_cxt(oid, finfo, machine->context);
	*row_type = DatumGetObjectId(bo_spi_datum(row, column + 1, &isnull));
	return true;
}

static void
read_states(Machine *machine, ArrayType *array)
{
	Datum	   *names;
	bool	   *nulls;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &names, &nulls, &machine->nstates);
	if (machine->nstates > LIFECYCLE_MAX_STATES)
		elog(ERROR, "definition \"%s\" has too many states", machine->name);
	for (int i = 0; i < machine->nstates; i++)
	{
		State	   *state = &machine->states[i];

		state->name = MemoryContextStrdup(machine->context, TextDatumGetCString(names[i]));
		state->length = strlen(state->name);
	}
}

static void
add_rule(Machine *machine, uint64 row)
{
	Transition *transition = &machine->transitions[row];
	char	   *from = bo_spi_text(row, 1);
	char	   *to = bo_spi_text(row, 2);
	int			start = from ? known_state(machine, from) : machine->nstates;

	transition->event = keep(machine, row, 3);
	transition->guard_name = keep(machine, row, 4);
	transition->has_guard = keep_function(machine, row, 5, transition->guard_name,
										  &transition->guard, &transition->guard_row_type);
	machine->steps[start][known_state(machine, to)] = row;
}

/* NULL: there is no such definition. */
static Machine *
compile(const char *name)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "backoffice lifecycle machine", ALLOCSET_SMALL_SIZES);
	Machine    *machine = MemoryContextAllocZero(context, sizeof(Machine));
	Datum		arg = CStringGetTextDatum(name);
	char	   *payload_name;
	bool		isnull;
	BoUser		saved;

	machine->context = context;
	machine->name = MemoryContextStrdup(context, name);
	machine->emitter = lifecycle_emitter(name);
	memset(machine->steps, 0xFF, sizeof(machine->steps));	/* NO_TRANSITION */

	saved = bo_user_kernel();
	bo_spi_begin();
	PushActiveSnapshot(GetLatestSnapshot());
	definitions_relid = get_relname_relid("definitions", get_namespace_oid("lifecycle", false));
	if (bo_spi_run_readonly(&read_definition, &arg, NULL, 1) == 0)
	{
		MemoryContextDelete(context);
		machine = NULL;
	}
	else
	{
		machine->state_column = keep(machine, 0, 1);
		read_states(machine, DatumGetArrayTypeP(bo_spi_datum(0, 2, &isnull)));
		machine->key_column = keep(machine, 0, 3);
		machine->organization_column = keep(machine, 0, 4);
		machine->version_column = keep(machine, 0, 5);
		machine->topic = keep(machine, 0, 6);
		payload_name = keep(machine, 0, 7);
		machine->entity_schema = keep(machine, 0, 10);
		machine->entity_table = keep(machine, 0, 11);
		machine->has_payload = keep_function(machine, 0, 8, payload_name, &machine->payload, &machine->payload_row_type);

		machine->ntransitions = bo_spi_run_readonly(&read_rules, &arg, NULL, 0);
		machine->transitions = MemoryContextAllocZero(context, Max(machine->ntransitions, 1) * sizeof(Transition));
		for (int i = 0; i < machine->ntransitions; i++)
			add_rule(machine, i);
	}
	PopActiveSnapshot();
	bo_spi_end();
	bo_user_restore(saved);
	return machine;
}

Machine *
machine_find(const char *name)
{
	MachineEntry *entry;
	Machine    *machine;
	uint64		seen;
	bool		found;

	if (strlen(name) >= LIFECYCLE_NAME_BYTES)
		return NULL;
	prepare();
	entry = hash_search(machines, name, HASH_FIND, NULL);
	if (entry != NULL && entry->generation == generation)
		return entry->machine;

	for (;;)
	{
		seen = generation;
		machine = compile(name);
		if (seen == generation)
			break;
		if (machine != NULL)
			MemoryContextDelete(machine->context);
		CHECK_FOR_INTERRUPTS();
	}

	entry = hash_search(machines, name, machine ? HASH_ENTER : HASH_REMOVE, &found);
	if (found && entry != NULL)
		discard(entry->machine);
	if (machine == NULL)
		return NULL;
	MemoryContextSetParent(machine->context, CacheMemoryContext);
	entry->machine = machine;
	entry->generation = seen;
	return machine;
}

static AttrNumber
column_number(Relation rel, const char *name)
{
	AttrNumber	attno = name ? get_attnum(RelationGetRelid(rel), name) : InvalidAttrNumber;

	if (name != NULL && attno <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of %s, which its life cycle names, is gone", name, RelationGetRelationName(rel)),
				 bo_code("column_missing", "it was dropped or renamed since the definition was made"),
				 errhint("Call lifecycle.define() with the columns that are there now.")));
	return attno;
}

/* Labels of an enum have an oid of their own in each database: look them up by name. */
static void
bind_enum(Machine *machine, Oid type)
{
	for (int i = 0; i < machine->nstates; i++)
	{
		Oid			input,
					ioparam;

		getTypeInputInfo(type, &input, &ioparam);
		machine->states[i].label = DatumGetObjectId(OidInputFunctionCall(input, machine->states[i].name, ioparam, -1));
	}
}

/* Could this role have called lifecycle.define() for it?  Error where it is the topic that is not its own. */
static bool
may_define(const Machine *machine, Oid role)
{
	if (!has_privs_of_role(role, get_role_oid("backoffice_admin", false)))
		return false;
	if (machine->topic != NULL)
		topic_check_right(topic_lookup(machine->topic), role);
	return true;
}

/*
 * Whoever may create a trigger could hang this one on a table of their own, and
 * emit as the definition's owner; an emitter in C would take that table's
 * columns for its own.  Partitions and shards have the owner of the whole.  Where the
 * whole was renamed, or dropped, nobody knows its owner: then it takes one who might
 * have defined it.
 */
static void
refuse_foreign_table(const Machine *machine, Relation rel)
{
	Oid			schema = get_namespace_oid(machine->entity_schema, true);
	Oid			entity = OidIsValid(schema) ? get_relname_relid(machine->entity_table, schema) : InvalidOid;
	HeapTuple	tuple;
	bool		same_owner;

	if (entity == RelationGetRelid(rel))
		return;
	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(entity));
	if (HeapTupleIsValid(tuple))
	{
		same_owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner == rel->rd_rel->relowner;
		ReleaseSysCache(tuple);
	}
	else
		same_owner = machine->emitter == NULL && may_define(machine, rel->rd_rel->relowner);	/* renamed */
	if (!same_owner)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("the life cycle \"%s\" is not that of %s", machine->name, RelationGetRelationName(rel)),
				 bo_code("trigger_misused", "it belongs to %s.%s, of another owner", machine->entity_schema, machine->entity_table),
				 errhint("Call lifecycle.define() for the table instead of CREATE TRIGGER.")));
}

static const char *
kept(const Machine *machine, const char *reason)
{
	return reason ? MemoryContextStrdup(machine->context, reason) : NULL;
}

static void
bind_emission(Binding *binding, const Trigger *trigger, Relation rel)
{
	const Machine *machine = binding->machine;

	if (!TRIGGER_FOR_BEFORE(trigger->tgtype))
		return;
	binding->emits_at_once = !machine->has_payload && !at_once_has_after(rel, false);
	if (binding->emits_at_once)
		binding->in_the_way = kept(machine, at_once_obstacle(rel, trigger->tgname, binding->key, binding->organization));
	binding->insert_unseen = kept(machine, at_once_unseen(rel, trigger->tgname, true));
	binding->update_unseen = kept(machine, at_once_unseen(rel, trigger->tgname, false));
	binding->update_behind = at_once_wants_after(rel, trigger->tgname, false);
}

Binding *
machine_bind(const Trigger *trigger, Relation rel)
{
	const char *name = trigger->tgargs[0];
	TupleDesc	desc = RelationGetDescr(rel);
	Binding    *binding;
	Binding		fresh = {0};
	bool		found;
	Oid			out;
	bool		varlena;
	uint64		seen;

	prepare();
	binding = hash_search(bindings, &trigger->tgoid, HASH_FIND, NULL);
	if (binding != NULL && binding->valid)
		return binding;

	fresh.machine = machine_find(name);
	if (fresh.machine == NULL)
		ereport(ERROR,
				(errcode(BO_NOT_FOUND),
				 errmsg("there is no life cycle \"%s\", which a trigger of %s names", name, RelationGetRelationName(rel)),
				 bo_code("unknown_definition", "the definition was deleted, the trigger was not"),
				 errhint("Call lifecycle.define() for the table.")));
	seen = generation;
	refuse_foreign_table(fresh.machine, rel);
	fresh.trigger = trigger->tgoid;
	fresh.relid = RelationGetRelid(rel);
	fresh.state = column_number(rel, fresh.machine->state_column);
	fresh.key = column_number(rel, fresh.machine->key_column);
	fresh.organization = column_number(rel, fresh.machine->organization_column);
	fresh.version = column_number(rel, fresh.machine->version_column);
	fresh.state_type = TupleDescAttr(desc, fresh.state - 1)->atttypid;
	fresh.state_is_enum = type_is_enum(fresh.state_type);
	if (fresh.state_is_enum)
		bind_enum(fresh.machine, fresh.state_type);
	if (fresh.version != InvalidAttrNumber)
		fresh.version_is_int4 = TupleDescAttr(desc, fresh.version - 1)->atttypid == INT4OID;
	fresh.key_is_uuid = TupleDescAttr(desc, fresh.key - 1)->atttypid == UUIDOID;
	getTypeOutputInfo(TupleDescAttr(desc, fresh.key - 1)->atttypid, &out, &varlena);
	fmgr_info_cxt(out, &fresh.key_out, fresh.machine->context);
	bind_emission(&fresh, trigger, rel);

	/* Invalidated while we looked: good for this row (the relation is locked), but not for the next. */
	fresh.valid = seen == generation;
	binding = hash_search(bindings, &trigger->tgoid, HASH_ENTER, &found);
	*binding = fresh;
	return binding;
}

static char *
machine_legal_from(const Machine *machine, int from)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int to = 0; to < machine->nstates; to++)
		if (machine->steps[from][to] != NO_TRANSITION)
			appendStringInfo(&list, "%s%s", list.len ? ", " : "", machine->states[to].name);
	return list.len ? list.data : pstrdup("nothing");
}

void
machine_refuse_state(const Machine *machine, const char *state)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < machine->nstates; i++)
		appendStringInfo(&list, "%s%s", i ? ", " : "", machine->states[i].name);
	if (state == NULL)
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("the state of %s is null", machine->name),
				 bo_code("unknown_state", "its states are: %s", list.data)));
	ereport(ERROR,
			(errcode(BO_BAD_REQUEST),
			 errmsg("%s has no state \"%s\"", machine->name, state),
			 bo_code("unknown_state", "its states are: %s", list.data)));
}

void
machine_refuse_step(const Machine *machine, int from, int to)
{
	const char *target = machine->states[to].name;

	if (from == machine->nstates)
		ereport(ERROR,
				(errcode(BO_CONFLICT),
				 errmsg("%s can't begin as \"%s\"", machine->name, target),
				 bo_code("illegal_transition", "legal at the beginning: %s", machine_legal_from(machine, from))));
	ereport(ERROR,
			(errcode(BO_CONFLICT),
			 errmsg("%s can't go from \"%s\" to \"%s\"", machine->name, machine->states[from].name, target),
			 bo_code("illegal_transition", "legal from \"%s\": %s", machine->states[from].name,
					 machine_legal_from(machine, from))));
}
