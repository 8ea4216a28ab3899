/*
 * access.c
 *		Start-up of this context.
 */
#include "core/core.h"

void
access_init(void)
{
}
