/*
 * access.h
 *		What a principal may do.
 */
#ifndef BACKOFFICE_ACCESS_H
#define BACKOFFICE_ACCESS_H

#include "core/core.h"

/*
 * Whether the principal of this transaction holds a permission.  False
 * without a principal; a principal without user (a trusted service) may do
 * everything in its organization.  The answer does not change within a
 * transaction.  An unregistered name is an error (unknown_permission).
 */
extern bool access_can(const char *permission);

/* The same, or an error: no_principal (401) or permission_denied (403). */
extern void access_require(const char *permission);

#endif
