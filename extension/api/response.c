/*
 * response.c
 *		Status and headers of the answer, as PostgREST takes them: settings of
 *		the transaction.
 */
#include "api/api.h"

#include "core/request.h"
#include "utils/guc.h"

#define RESPONSE_STATUS		"response.status"
#define RESPONSE_HEADERS	"response.headers"

static void
set(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
}

void
response_set(const ApiAnswer *answer)
{
	/* 200 is the default: said only in the place of what an earlier call of this transaction said. */
	if (answer->status != 200 || bo_setting(RESPONSE_STATUS) != NULL)
		set(RESPONSE_STATUS, psprintf("%d", answer->status));
	if (answer->headers != NULL)
		set(RESPONSE_HEADERS, JsonbToCString(NULL, &answer->headers->root, VARSIZE(answer->headers)));
}
