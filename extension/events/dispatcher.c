/*
 * dispatcher.c
 *		In-database handlers: the worker that runs them.
 */
#include "events/workers.h"

void
backoffice_dispatcher_main(Datum arg)
{
	DatabaseSlot *slot = worker_start(WORKER_DISPATCHER);

	for (;;)
		worker_wait(slot, 10000);
}
