/*
 * machine.h
 *		A compiled definition.  Private to lifecycle.
 */
#ifndef BACKOFFICE_MACHINE_H
#define BACKOFFICE_MACHINE_H

#include "lifecycle/lifecycle.h"

#include "utils/rel.h"
#include "utils/reltrigger.h"

#define LIFECYCLE_MAX_STATES 64
#define LIFECYCLE_NAME_BYTES 160
#define NO_TRANSITION (-1)

typedef struct Transition
{
	const char *event;			/* NULL: none */
	bool		has_guard;
	FmgrInfo	guard;			/* (old row, new row) -> boolean */
	Oid			guard_row_type;
	char	   *guard_name;
} Transition;

typedef struct State
{
	char	   *name;
	int			length;
	Oid			label;			/* of an enum column; else InvalidOid */
} State;

typedef struct Machine
{
	MemoryContext context;
	int			pins;			/* calls into foreign code that still use it */
	bool		orphan;			/* replaced meanwhile: the last pin frees it */

	char	   *name;
	char	   *entity_schema;
	char	   *entity_table;
	char	   *state_column;
	char	   *key_column;
	char	   *organization_column;	/* NULL: the principal's */
	char	   *version_column; /* NULL: not counted */
	char	   *topic;			/* NULL: the definition emits nothing */
	bool		has_payload;
	FmgrInfo	payload;		/* (old row, new row, from, to) -> jsonb */
	Oid			payload_row_type;
	LifecycleEmitter emitter;

	int			nstates;
	State		states[LIFECYCLE_MAX_STATES];
	int			ntransitions;
	Transition *transitions;
	/* index of the transition from row to column; row nstates is insertion */
	int16		steps[LIFECYCLE_MAX_STATES + 1][LIFECYCLE_MAX_STATES];
} Machine;

/* A machine and one relation's columns. */
typedef struct Binding
{
	Oid			trigger;		/* hash key */
	Oid			relid;
	bool		valid;
	Machine    *machine;
	AttrNumber	state,
				key,
				organization,
				version;
	Oid			state_type;
	bool		state_is_enum;
	bool		version_is_int4;
	FmgrInfo	key_out;
	bool		key_is_uuid;
	bool		emits_at_once;	/* the check also emits; without it, an AFTER trigger does */
	/* texts in the machine's context, or NULL */
	const char *in_the_way;		/* why it can't */
	const char *insert_unseen;	/* what may change the row behind the check, without an AFTER trigger of ours */
	const char *update_unseen;
	bool		update_behind;	/* a BEFORE UPDATE trigger fires behind the check, seen or not */
} Binding;

extern Machine *machine_find(const char *name);
extern Binding *machine_bind(const Trigger *trigger, Relation rel);

/* at_once.c: may the check emit the event of an UPDATE itself? */
extern char *at_once_obstacle(Relation rel, const char *check, AttrNumber key, AttrNumber organization);
extern bool at_once_has_after(Relation rel, bool insert);

/* May an INSERT, or an UPDATE, be changed behind the check, so that it wants an AFTER trigger?  And why is it unseen without (or NULL)? */
extern bool at_once_wants_after(Relation rel, const char *check, bool insert);
extern char *at_once_unseen(Relation rel, const char *check, bool insert);
extern List *at_once_renamed(Relation rel, const char *const *names, int count);
extern void at_once_refuse(const Binding *binding, Relation rel, const char *reason) pg_attribute_noreturn();

/* moves.c: of a partition's row; returns if it stays where it is. */
extern void refuse_move(const Machine *machine, Relation rel, HeapTuple old_row, HeapTuple new_row);

/* And where a trigger behind the check may still send it elsewhere: the UPDATE, what is inserted then, and that the row stayed. */
extern void move_may_follow(const Machine *machine, Relation rel, const char *key);
extern bool move_is_expected(void);
extern void refuse_moved_in(const Machine *machine, Relation rel, const char *key);
extern void move_did_not_follow(void);

extern void machine_pin(Machine *machine);
extern void machine_unpin(Machine *machine);

/* Index of a state, or -1. */
extern int	machine_state(const Machine *machine, const char *name, int length);

/* Errors of a refused step; they do not return. */
extern void machine_refuse_state(const Machine *machine, const char *state) pg_attribute_noreturn();
extern void machine_refuse_step(const Machine *machine, int from, int to) pg_attribute_noreturn();

#endif
