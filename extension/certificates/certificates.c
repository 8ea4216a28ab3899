/*
 * certificates.c
 *		Start-up of this context.
 */
#include "core/core.h"

void
certificates_init(void)
{
}
