/*
 * at_once.c
 *		Who emits the event of an UPDATE: the check itself, or a trigger after it.
 *
 * When BEFORE triggers of an UPDATE fire, the row is locked in its latest version:
 * nothing but an error, which undoes the event as well, keeps it from being
 * written.  So the check may emit at once, and saves the AFTER trigger's queue
 * and its second look at both rows, a third of what a transition costs.  That
 * holds where no later BEFORE trigger changes the row or drops the write, where
 * the row stays in its table (one that moves to another partition is deleted and
 * inserted), and where the event says nothing that is computed later.
 *
 * A BEFORE trigger behind the check may also make a step of a write that was none, or have a
 * row begin in another state: where there is one, an AFTER trigger of ours looks at what
 * was written, whether or not there is anything to tell.
 *
 * lifecycle.define() decides, by making the AFTER trigger or not; what has changed
 * since is found when a table is bound.
 */
#include "lifecycle/machine.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

static bool
is_generated(Relation rel, AttrNumber attno)
{
	return attno != InvalidAttrNumber && TupleDescAttr(RelationGetDescr(rel), attno - 1)->attgenerated != '\0';
}

static char *
fires_behind(Relation rel, const char *check, bool insert)
{
	const TriggerDesc *triggers = rel->trigdesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];
		int16		type = trigger->tgtype;

		if ((insert ? TRIGGER_FOR_INSERT(type) : TRIGGER_FOR_UPDATE(type)) && TRIGGER_FOR_ROW(type) && TRIGGER_FOR_BEFORE(type) &&
			trigger->tgenabled != TRIGGER_DISABLED && strcmp(trigger->tgname, check) > 0)
			return psprintf("trigger \"%s\" fires after the check and may change the row", trigger->tgname);
	}
	return NULL;
}

/* The reason, in the caller's memory; NULL: none. */
char *
at_once_obstacle(Relation rel, const char *check, AttrNumber key, AttrNumber organization)
{
	if (rel->rd_rel->relkind != RELKIND_RELATION || rel->rd_rel->relispartition)
		return pstrdup("it is partitioned, or a partition");
	if (is_generated(rel, key) || is_generated(rel, organization))
		return pstrdup("its key or organization is a generated column");
	return fires_behind(rel, check, false);
}

/* One of ours.  By hand: whoever writes the table need not be allowed to look into our schema. */
static Oid
trigger_function(const char *name)
{
	oidvector  *no_arguments = buildoidvector(NULL, 0);

	return GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum(name),
						   PointerGetDatum(no_arguments), ObjectIdGetDatum(get_namespace_oid("lifecycle", false)));
}

/*
 * Triggers of ours that were given other names: define() would make them anew beside
 * them, and each step would be checked and told twice.
 */
List *
at_once_renamed(Relation rel, const char *const *names, int count)
{
	const TriggerDesc *triggers = rel->trigdesc;
	Oid			check_row = trigger_function("check_row");
	Oid			emit_step = trigger_function("emit_step");
	List	   *renamed = NIL;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];
		int			known = 0;

		if ((trigger->tgfoid != check_row && trigger->tgfoid != emit_step) || trigger->tgisclone)
			continue;
		while (known < count && strcmp(trigger->tgname, names[known]) != 0)
			known++;
		if (known == count)
			renamed = lappend(renamed, pstrdup(trigger->tgname));
	}
	return renamed;
}

/* Is there a trigger of ours that looks after an INSERT, or an UPDATE? */
bool
at_once_has_after(Relation rel, bool insert)
{
	const TriggerDesc *triggers = rel->trigdesc;
	Oid			emit_step = trigger_function("emit_step");

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		int16		type = triggers->triggers[i].tgtype;

		if (triggers->triggers[i].tgfoid == emit_step && (insert ? TRIGGER_FOR_INSERT(type) : TRIGGER_FOR_UPDATE(type)))
			return true;
	}
	return false;
}

bool
at_once_wants_after(Relation rel, const char *check, bool insert)
{
	return fires_behind(rel, check, insert) != NULL;
}

char *
at_once_unseen(Relation rel, const char *check, bool insert)
{
	return at_once_has_after(rel, insert) ? NULL : fires_behind(rel, check, insert);
}

void
at_once_refuse(const Binding *binding, Relation rel, const char *reason)
{
	ereport(ERROR,
			(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
			 errmsg("the life cycle \"%s\" of %s must be defined again", binding->machine->name, RelationGetRelationName(rel)),
			 bo_code("define_again", "the table is not as it was when it was defined: %s", reason),
			 errhint("Call lifecycle.define(): an AFTER trigger then looks at what was written. Or give a trigger that fires behind the check a name in front of its.")));
}
