/*
 * lifecycle.h
 *		The state-machine engine, for contexts of higher floors.
 *
 * A definition (SQL: lifecycle.define) is known by its name, which is the
 * first argument of the triggers it installs.  Writers that go through the
 * executor need nothing from here: the triggers check, count and emit.
 */
#ifndef BACKOFFICE_LIFECYCLE_H
#define BACKOFFICE_LIFECYCLE_H

#include "core/core.h"

#include "access/htup.h"
#include "access/tupdesc.h"

/*
 * For those who write rows straight to the heap (core/storage.h), where no
 * trigger fires: checks that the definition allows the step and returns its
 * event (NULL: none).  from NULL means insertion.  The caller counts the version
 * up and emits the event.  A step with a guard is refused: guards need rows.
 * The result is valid until the end of the transaction's memory.
 */
extern const char *lifecycle_check_transition(const char *definition, const char *from, const char *to);

/* What happened to a row, as the triggers tell it: an UPDATE perhaps before the row is written. */
typedef struct LifecycleStep
{
	const char *definition;
	const char *from;			/* NULL: the row was inserted */
	const char *to;
	const char *event;
	int64		version;		/* 0: the entity counts no versions */
	HeapTuple	old_row;		/* NULL: the row was inserted */
	HeapTuple	new_row;
	TupleDesc	desc;
} LifecycleStep;

/*
 * A context whose events have an envelope of their own emits them itself: the
 * callback is called instead of events_emit(), in the trigger, for each step
 * that has an event.  Call from <context>_init(); name is not copied.
 */
typedef void (*LifecycleEmitter) (const LifecycleStep *step);
extern void lifecycle_register_emitter(const char *definition, LifecycleEmitter emitter);

#endif
