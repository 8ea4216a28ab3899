/*
 * lifecycle.c
 *		Checks of steps that need no row.
 */
#include "lifecycle/lifecycle.h"

#include "lifecycle/machine.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(lifecycle_check_transition_sql);

static Machine *
require_machine(const char *definition)
{
	Machine    *machine = machine_find(definition);

	if (machine == NULL)
		ereport(ERROR,
				(errcode(BO_NOT_FOUND),
				 errmsg("there is no life cycle \"%s\"", definition),
				 bo_code("unknown_definition", "nothing of that name was defined"),
				 errhint("lifecycle.transitions lists the definitions.")));
	return machine;
}

static int
require_state(const Machine *machine, const char *name)
{
	int			state = name ? machine_state(machine, name, strlen(name)) : -1;

	if (state < 0)
		machine_refuse_state(machine, name);
	return state;
}

static const Transition *
check(const Machine *machine, const char *from, const char *to)
{
	int			start = from ? require_state(machine, from) : machine->nstates;
	int			end = require_state(machine, to);
	int			step = machine->steps[start][end];

	if (step == NO_TRANSITION)
		machine_refuse_step(machine, start, end);
	return &machine->transitions[step];
}

const char *
lifecycle_check_transition(const char *definition, const char *from, const char *to)
{
	const Transition *transition = check(require_machine(definition), from, to);

	if (transition->has_guard)
		elog(ERROR, "the step to \"%s\" of \"%s\" has a guard: it must go through the table's triggers", to, definition);
	return transition->event ? pstrdup(transition->event) : NULL;
}

/* check_transition(definition text, from_state text, to_state text) -> text */
Datum
lifecycle_check_transition_sql(PG_FUNCTION_ARGS)
{
	char	   *part[3];
	const Transition *transition;

	for (int i = 0; i < 3; i++)
		part[i] = PG_ARGISNULL(i) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(i));
	transition = check(require_machine(part[0] ? part[0] : ""), part[1], part[2]);
	if (transition->event == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(transition->event));
}
