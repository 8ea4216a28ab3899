/*
 * request.c
 *		The request and the response as PostgREST has them: settings of the
 *		transaction.  Whoever can run SQL can set them, so that nothing here
 *		says who acts; the worst that a made-up one does is done to its author.
 */
#include "api/api.h"

#include "utils/builtins.h"
#include "utils/guc.h"

#define REQUEST_HEADERS		"request.headers"
#define RESPONSE_STATUS		"response.status"
#define RESPONSE_HEADERS	"response.headers"

static const char *
setting(const char *name)
{
	const char *value = GetConfigOption(name, true, false);

	return value && value[0] ? value : NULL;
}

char *
request_header(const char *name)
{
	const char *headers = setting(REQUEST_HEADERS);
	Jsonb	   *json;
	JsonbValue	value;

	/* Most requests lack most headers: no need to parse to know that. */
	if (headers == NULL || strstr(headers, name) == NULL)
		return NULL;
	json = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(headers)));
	if (!JB_ROOT_IS_OBJECT(json) ||
		getKeyJsonValueFromContainer(&json->root, name, strlen(name), &value) == NULL ||
		value.type != jbvString)
		return NULL;
	return pnstrdup(value.val.string.val, value.val.string.len);
}

static void
set(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
}

void
response_set(const ApiAnswer *answer)
{
	/* 200 is the default: said only in the place of what an earlier call of this transaction said. */
	if (answer->status != 200 || setting(RESPONSE_STATUS) != NULL)
		set(RESPONSE_STATUS, psprintf("%d", answer->status));
	if (answer->headers != NULL)
		set(RESPONSE_HEADERS, JsonbToCString(NULL, &answer->headers->root, VARSIZE(answer->headers)));
}
