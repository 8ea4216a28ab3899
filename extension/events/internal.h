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
extern void ticker_init(void);
extern void launcher_init(void);
extern void partitions_init(void);
extern void retention_init(void);
extern void guard_init(void);

/* Keeper: makes partitions ahead.  Also run whenever somebody wakes the keeper. */
extern bool partitions_task(void);

/* One DDL statement, between bo_spi_begin() and bo_spi_end(). */
extern void run_ddl(const char *format,...) pg_attribute_printf(1, 2);

/* Set while the keeper itself drops a partition. */
extern bool guard_lets_pass;

#endif
