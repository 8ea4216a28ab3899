/*
 * internal.h
 *		What the files of this context share with each other.
 */
#ifndef BACKOFFICE_EVENTS_INTERNAL_H
#define BACKOFFICE_EVENTS_INTERNAL_H

#include "core/core.h"
#include "events/log.h"

/* Called from events_init(). */
extern void emit_init(void);

#endif
