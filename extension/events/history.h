/*
 * history.h
 *		Eras and epochs: is the log's history continued here, or has it been copied?
 */
#ifndef BACKOFFICE_EVENTS_HISTORY_H
#define BACKOFFICE_EVENTS_HISTORY_H

#include "events/ticks.h"

/*
 * Called by the ticker before it goes on with a history: closes a foreign era,
 * opens an epoch where one is due.  *last becomes the latest tick (0: none yet),
 * *wrote says that a tick was added.  false: a dump is still being restored.
 */
extern bool history_settle(Tick *last, bool *wrote);

/* The first tick of an empty log begins its first epoch. */
extern void history_begin(Tick *first);

#endif
