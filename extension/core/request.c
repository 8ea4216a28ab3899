/*
 * request.c
 *		Headers of the HTTP request, and where it came from.
 */
#include "core/request.h"

#include <arpa/inet.h>

#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"

#define ADDRESS_HEADER "x-forwarded-for"

PG_FUNCTION_INFO_V1(backoffice_request_header);
PG_FUNCTION_INFO_V1(backoffice_client_address);

const char *
bo_setting(const char *name)
{
	const char *value = GetConfigOption(name, true, false);

	return value && value[0] ? value : NULL;
}

char *
bo_request_header(const char *name)
{
	const char *headers = bo_setting("request.headers");
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

/* request_header(name text) */
Datum
backoffice_request_header(PG_FUNCTION_ARGS)
{
	char	   *value = bo_request_header(text_to_cstring(PG_GETARG_TEXT_PP(0)));

	if (value == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(value));
}

/*
 * client_address(): the last address of the header, which the nearest proxy (or
 * the gateway, which leaves only that one) has written; those in front of it
 * are what others say.  NULL: none, or not an address.
 */
Datum
backoffice_client_address(PG_FUNCTION_ARGS)
{
	char	   *header = bo_request_header(ADDRESS_HEADER);
	char	   *last;
	unsigned char buffer[sizeof(struct in6_addr)];

	if (header == NULL)
		PG_RETURN_NULL();
	last = strrchr(header, ',');
	last = last ? last + 1 : header;
	last += strspn(last, " \t");
	last[strcspn(last, " \t")] = '\0';
	if (inet_pton(AF_INET, last, buffer) != 1 && inet_pton(AF_INET6, last, buffer) != 1)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(DirectFunctionCall1(inet_in, CStringGetDatum(last)));
}
