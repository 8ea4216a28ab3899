/* libFuzzer: JSON bodies, forms and queries into the arguments of every route. make fuzz FUZZ=arguments SECONDS=60 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/answer.h"
#include "gateway/arguments.h"
#include "gateway/routes.h"
#include "gateway/text.h"
#include "lib/utf8.h"

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
try_route(const Route *route, const char *bytes, size_t len, bool form)
{
	static Gateway gateway = {.settings = {.max_json_depth = 16}};
	Request		request = {.gateway = &gateway, .route = route, .query = (char *) (uintptr_t) "", .peer = "::1"};
	const char *values[ROUTE_MAX_ARGUMENTS];
	Complaint	complaint = {0};

	request.body = request_copy(&request, bytes, len);
	request.body_len = len;
	if (route->method == METHOD_GET)
		request.query = request.body;
	for (int i = 0; i < REQUEST_MAX_PARAMS; i++)
		request.params[i] = "01a21613-b995-71fc-9950-9cadf74defa7";
	request_add_header(&request, "Content-Type", form ? "application/x-www-form-urlencoded" : "application/json; charset=utf-8");
	if (!arguments_collect(&request, values, &complaint))
	{
		if (complaint.code == NULL || complaint.text == NULL)
			abort();
	}
	else
		for (int i = 0; i < ROUTE_MAX_ARGUMENTS && route->arguments[i].name != NULL; i++)
			/* What goes to the database is UTF-8, and there where it must be. */
			if (values[i] == NULL ? route->arguments[i].required : !utf8_is_valid(values[i], strlen(values[i])))
				abort();
	answer_headers(&request, request.body);
	answer_status(request.body);
	request_free_memory(&request);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	try_route(&routes[data[0] % route_count], (const char *) data + 1, size - 1, data[0] & 0x80);
	return 0;
}
