/*
 * init.c
 *		The library's table of contents.
 */
#include "core/core.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

void
_PG_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("backoffice must be loaded by the postmaster"),
				 bo_code("not_preloaded", "it needs shared memory and background workers"),
				 errhint("Add shared_preload_libraries = 'backoffice' to postgresql.conf and restart the server.")));

	core_init();
	events_init();
	access_init();
	certificates_init();

	MarkGUCPrefixReserved("backoffice");
}
