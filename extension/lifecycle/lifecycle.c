/*
 * lifecycle.c
 *		Start-up of this context.
 */
#include "core/core.h"

void
lifecycle_init(void)
{
}
