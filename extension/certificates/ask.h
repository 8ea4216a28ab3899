/*
 * ask.h
 *		"Empty" is said only after the rows themselves were asked.
 */
#ifndef BACKOFFICE_ASK_H
#define BACKOFFICE_ASK_H

#include "certificates/allocator.h"
#include "certificates/pools.h"
#include "utils/rel.h"

/* Tries to take the certificate of a slot whose row looks available. */
typedef bool (*TakeSlot) (int64 slot, void *arg);

/*
 * Every row of the pool that may be available, from hold_slot (none below it is
 * available or reserved) on, until take() succeeds.  False: none could be taken.
 */
extern bool ask_rows(Relation rel, const Pool *pool, SlotCursor *cursor, int64 hold_slot, TakeSlot take, void *arg);

#endif
