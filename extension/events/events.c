/*
 * events.c
 *		Start-up of this context.
 */
#include "core/core.h"

#include "events/dispatcher.h"
#include "events/internal.h"
#include "events/slots.h"

void
events_init(void)
{
	slots_init();
	emit_init();
	dispatcher_init();
	ticker_init();
	partitions_init();
	retention_init();
	guard_init();
	launcher_init();
}
