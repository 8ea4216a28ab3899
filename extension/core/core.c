/*
 * core.c
 *		Start-up of floor 0, and the extension's version.
 */
#include "core/core.h"

#include "core/request.h"
#include "core/settings.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(backoffice_library_version);

void
core_init(void)
{
	clock_init();
	principal_init();
	storage_init();
	keys_init();
	shmem_init();
	error_bound_init();
}

char *
bo_arg_text(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(number));
}

Datum
backoffice_library_version(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(BACKOFFICE_VERSION));
}
