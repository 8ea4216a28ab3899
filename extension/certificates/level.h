/*
 * level.h
 *		What is left in a pool, and that the world is told, once each time:
 *		pool.low, pool.empty, pool.replenished.
 */
#ifndef BACKOFFICE_LEVEL_H
#define BACKOFFICE_LEVEL_H

#include "certificates/allocator.h"
#include "certificates/pools.h"

/* After a reservation: has it passed the low-water mark? */
extern void level_watch(const Pool *pool, SlotCursor *cursor);

/* Somebody asked and found nothing. */
extern void level_tell_empty(const Pool *pool);

/* After stock has come in or back: at once where the pool was empty, and before the transaction commits. */
extern void level_raised(const Pool *pool);

/* The pool's state as what is left says, up or down. */
extern void level_settle(const Pool *pool);

extern void level_init(void);

#endif
