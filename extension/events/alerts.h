/*
 * alerts.h
 *		The kernel's own events, on the topic backoffice.alerts.
 */
#ifndef BACKOFFICE_ALERTS_H
#define BACKOFFICE_ALERTS_H

#include "core/core.h"

/*
 * Emits an alert whose payload is an object of texts: pairs of name and value
 * (NULL values are left out), ended by a NULL name.  key may be NULL;
 * organization NULL: of the system itself.  Runs as backoffice_kernel.
 */
extern void alert_emit(const char *type, const char *key, const pg_uuid_t *organization,...);

/* What is kept of the reason why something was set aside, in its row and its alert; palloc'd, NULL for NULL. */
extern char *clipped_reason(const char *reason);

#endif
