/*
 * movers.h
 *		Transactions that change available certificates and take none: the
 *		keeper's, sweep(), rotate_keys().  What they have in hand is still there.
 */
#ifndef BACKOFFICE_MOVERS_H
#define BACKOFFICE_MOVERS_H

#include "core/core.h"

/* This transaction is one from here on, until it ends or is prepared. */
extern void movers_enter(void);

/* Is this transaction, in progress a moment ago, one of them (or a part of one)? */
extern bool movers_has(TransactionId xid);

extern void movers_init(void);

#endif
