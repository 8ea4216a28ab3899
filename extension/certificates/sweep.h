/*
 * sweep.h
 *		What the keeper does for pools.
 */
#ifndef BACKOFFICE_SWEEP_H
#define BACKOFFICE_SWEEP_H

#include "core/core.h"

extern void sweep_init(void);

#endif
