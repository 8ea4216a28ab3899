/*
 * events.c
 *		Start-up of this context.
 */
#include "core/core.h"

void
events_init(void)
{
}
