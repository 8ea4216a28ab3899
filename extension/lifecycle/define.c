/*
 * define.c
 *		lifecycle.define(): stores a definition and installs its triggers.
 *
 * What is written belongs to the extension and is written as its definer; what
 * is done to the entity's table is done as the caller, who must own it.
 */
#include "lifecycle/lifecycle.h"

#include "access/relation.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "commands/tablecmds.h"
#include "commands/trigger.h"
#include "core/spi.h"
#include "events/topics.h"
#include "lifecycle/machine.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rls.h"

/* Late in the alphabet: what other BEFORE triggers made of the row is what is checked. */
#define CHECK_TRIGGER "zz_lifecycle_check"
#define EMIT_INSERT_TRIGGER "zz_lifecycle_emit_insert"
#define EMIT_UPDATE_TRIGGER "zz_lifecycle_emit_update"

PG_FUNCTION_INFO_V1(lifecycle_define);

typedef struct Stored
{
	char	   *name;
	Datum		states;			/* text[] */
	bool		emits_on_insert;
	bool		emits_on_update;
	bool		has_payload;	/* a function of its own makes it, of the whole row */
	AttrNumber	key;
	AttrNumber	organization;
	char	   *topic;			/* NULL: none */
} Stored;

static BoPlan store_definition = {
	"SELECT s.definition_name, s.legal_states, s.emits FROM lifecycle.store_definition($1, $2, $3, $4) s",
	4, {REGCLASSOID, NAMEOID, JSONBOID, BOOLOID}
};

/* A statement of its own: the one above does not see the rules that it makes store. */
static BoPlan rules_with_events = {
	"SELECT EXISTS (SELECT FROM lifecycle.rules r WHERE r.definition = $1 AND r.event IS NOT NULL AND r.from_state IS NULL),"
	"       EXISTS (SELECT FROM lifecycle.rules r WHERE r.definition = $1 AND r.event IS NOT NULL AND r.from_state IS NOT NULL),"
	"       d.topic, d.payload_function IS NOT NULL, d.key_column, d.organization_column"
	"  FROM lifecycle.definitions d WHERE d.name = $1",
	1, {TEXTOID}
};

static void
check_owner(Relation rel)
{
	char		kind = rel->rd_rel->relkind;

	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("\"%s\" is not a table", RelationGetRelationName(rel)),
				 bo_code("invalid_definition", "only ordinary and partitioned tables have a life cycle")));
	if (!pg_class_ownercheck(RelationGetRelid(rel), GetUserId()))
		ereport(ERROR,
				(errcode(BO_FORBIDDEN),
				 errmsg("must be owner of table %s", RelationGetRelationName(rel)),
				 bo_code("not_owner", "a life cycle is declared by the table's owner")));
	if (check_enable_rls(RelationGetRelid(rel), InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(BO_FORBIDDEN),
				 errmsg("row-level security hides rows of %s from its owner", RelationGetRelationName(rel)),
				 bo_code("not_owner", "the states of all rows must be seen to define a life cycle"),
				 errhint("Define it as a role that row-level security does not bind.")));
}

static Stored
store(Oid entity, Datum state_column, Datum definition)
{
	MemoryContext caller = CurrentMemoryContext;
	Datum		args[] = {ObjectIdGetDatum(entity), state_column, definition, BoolGetDatum(creating_extension)};
	Stored		stored;
	bool		isnull;
	bool		emits;
	BoUser		saved = bo_user_definer();

	bo_spi_begin();
	if (bo_spi_run(&store_definition, args, NULL, 1) != 1)
		elog(ERROR, "lifecycle.store_definition() returned nothing");
	stored.name = MemoryContextStrdup(caller, bo_spi_text(0, 1));
	stored.states = SPI_datumTransfer(bo_spi_datum(0, 2, &isnull), false, -1);
	emits = bo_spi_bool(0, 3);
	args[0] = CStringGetTextDatum(stored.name);
	if (bo_spi_run(&rules_with_events, args, NULL, 1) != 1)
		elog(ERROR, "definition \"%s\" was not stored", stored.name);
	stored.emits_on_insert = emits && bo_spi_bool(0, 1);
	stored.emits_on_update = emits && bo_spi_bool(0, 2);
	stored.topic = bo_spi_isnull(0, 3) ? NULL : MemoryContextStrdup(caller, bo_spi_text(0, 3));
	stored.has_payload = bo_spi_bool(0, 4);
	stored.key = get_attnum(entity, bo_spi_text(0, 5));
	stored.organization = bo_spi_isnull(0, 6) ? InvalidAttrNumber : get_attnum(entity, bo_spi_text(0, 6));
	bo_spi_end();
	bo_user_restore(saved);
	return stored;
}

static void
run_once(const char *sql)
{
	BoPlan		plan = {.sql = sql};

	bo_spi_begin();
	(void) bo_spi_run(&plan, NULL, NULL, 0);
	SPI_freeplan(plan.plan);
	bo_spi_end();
}

/* A definition is taken only if every row that is there stands in one of its states. */
static void
check_rows(const char *table, const char *column, Datum states)
{
	BoPlan		plan = {.nargs = 1,.argtypes = {TEXTARRAYOID}};

	plan.sql = psprintf("SELECT COALESCE(e.%s::pg_catalog.text, 'NULL') FROM %s e"
						" WHERE e.%s IS NULL OR e.%s::pg_catalog.text OPERATOR(pg_catalog.<>) ALL ($1) LIMIT 1",
						column, table, column, column);
	bo_spi_begin();
	if (bo_spi_run(&plan, &states, NULL, 1) > 0)
		ereport(ERROR,
				(errcode(BO_CONFLICT),
				 errmsg("rows of %s stand in a state that the definition does not have", table),
				 bo_code("states_in_use", "for example: %s", bo_spi_text(0, 1)),
				 errhint("Move these rows first, or keep the state.")));
	SPI_freeplan(plan.plan);
	bo_spi_end();
}

static void
set_trigger(Relation rel, const char *table, const char *trigger, bool wanted, const char *when, const char *function, const char *definition)
{
	if (wanted)
		run_once(psprintf("CREATE OR REPLACE TRIGGER %s %s FOR EACH ROW %s(%s)",
						  trigger, when, function, quote_literal_cstr(definition)));
	else if (OidIsValid(get_trigger_oid(RelationGetRelid(rel), trigger, true)))
		run_once(psprintf("DROP TRIGGER %s ON %s", trigger, table));
}

static void
install_triggers(Relation rel, const char *table, const Stored *stored)
{
	static const char *const names[] = {CHECK_TRIGGER, EMIT_INSERT_TRIGGER, EMIT_UPDATE_TRIGGER};
	ListCell   *lc;
	bool		at_once;

	foreach(lc, at_once_renamed(rel, names, lengthof(names)))
		run_once(psprintf("DROP TRIGGER %s ON %s", quote_identifier(lfirst(lc)), table));
	at_once = !stored->has_payload && at_once_obstacle(rel, CHECK_TRIGGER, stored->key, stored->organization) == NULL;
	set_trigger(rel, table, CHECK_TRIGGER, true, psprintf("BEFORE INSERT OR UPDATE ON %s", table),
				"EXECUTE FUNCTION lifecycle.check_row", stored->name);
	set_trigger(rel, table, EMIT_INSERT_TRIGGER, stored->emits_on_insert || at_once_wants_after(rel, CHECK_TRIGGER, true), psprintf("AFTER INSERT ON %s", table),
				"EXECUTE FUNCTION lifecycle.emit_step", stored->name);
	/* No WHEN (OLD.state ...): PostgreSQL parses its stored form again in every statement, which costs more than the call it saves. */
	set_trigger(rel, table, EMIT_UPDATE_TRIGGER, (stored->emits_on_update && !at_once) || at_once_wants_after(rel, CHECK_TRIGGER, false), psprintf("AFTER UPDATE ON %s", table),
				"EXECUTE FUNCTION lifecycle.emit_step", stored->name);
}

Datum
lifecycle_define(PG_FUNCTION_ARGS)
{
	Relation	rel;
	Stored		stored;
	char	   *table;
	const char *column;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("a life cycle needs a table, its state column and a definition"),
				 bo_code("invalid_definition", "an argument is null")));

	rel = try_relation_open(PG_GETARG_OID(0), ShareRowExclusiveLock);
	if (rel == NULL)
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("there is no table with OID %u", PG_GETARG_OID(0)),
				 bo_code("invalid_definition", "it does not exist, or not any more")));
	check_owner(rel);
	/* A statement under way fires the triggers that it began with. */
	CheckTableNotInUse(rel, "lifecycle.define");
	stored = store(RelationGetRelid(rel), PG_GETARG_DATUM(1), PG_GETARG_DATUM(2));

	if (stored.topic != NULL)
		topic_check_right(topic_lookup(stored.topic), GetUserId());

	table = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)), RelationGetRelationName(rel));
	column = quote_identifier(NameStr(*PG_GETARG_NAME(1)));
	check_rows(table, column, stored.states);
	install_triggers(rel, table, &stored);
	CacheInvalidateRelcacheByRelid(get_relname_relid("definitions", get_namespace_oid("lifecycle", false)));
	relation_close(rel, NoLock);
	PG_RETURN_VOID();
}
