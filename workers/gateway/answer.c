#include "gateway/answer.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/problem.h"
#include "gateway/reply.h"
#include "gateway/routes.h"

int
answer_status(const char *text)
{
	char	   *end;
	long		status;

	if (text == NULL || *text == '\0')
		return 0;
	status = strtol(text, &end, 10);
	return *end == '\0' && status >= 200 && status <= 599 ? (int) status : -1;
}

bool
answer_headers(Request *request, const char *text)
{
	json_t	   *list;
	bool		good;

	if (text == NULL || *text == '\0')
		return true;
	list = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	good = json_is_array(list);
	for (size_t i = 0; good && i < json_array_size(list); i++)
	{
		json_t	   *item = json_array_get(list, i);
		void	   *member = json_object_size(item) == 1 ? json_object_iter(item) : NULL;
		const char *value = member != NULL ? json_string_value(json_object_iter_value(member)) : NULL;

		good = value != NULL && reply_header(request, json_object_iter_key(member), value);
	}
	json_decref(list);
	return good;
}

/* A body {code, message, details, hint}: an error whose effects are committed. */
static void
answer_problem(Request *request, int status, PGresult *result)
{
	json_t	   *body = json_loadb(PQgetvalue(result, 0, 0), (size_t) PQgetlength(result, 0, 0), 0, NULL);
	const char *code = json_string_value(json_object_get(body, "code"));
	const char *details = json_string_value(json_object_get(body, "details"));

	if (code == NULL)
		code = "error";
	problem_body(request, status, code, json_string_value(json_object_get(body, "message")),
				 problem_detail(details, code), json_string_value(json_object_get(body, "hint")));
	json_decref(body);
	PQclear(result);
}

void
answer_route(Request *request, PGresult *result)
{
	int			status = answer_status(PQgetvalue(result, 0, 1));

	if (status < 0 || !answer_headers(request, PQgetvalue(result, 0, 2)))
	{
		PQclear(result);
		problem_reply(request, 500, status < 0 ? "bad_response_status" : "bad_response_headers",
					  "the function set response.status or response.headers to something that is neither", NULL);
		return;
	}
	if (status == 0)
		status = request->route->status;
	if (status >= 400)
	{
		answer_problem(request, status, result);
		return;
	}
	/* Public keys may be kept for a while; whatever depends on who asks may not. */
	reply_header(request, "Cache-Control", request->route->auth == AUTH_NONE && request->route->method == METHOD_GET ?
				 "public, max-age=300" : "no-store");
	if (status == 204 || PQgetisnull(result, 0, 0))
	{
		PQclear(result);
		reply_text(request, status == 200 ? 204 : status, NULL, NULL, 0);
		return;
	}
	reply_result(request, status, TYPE_JSON, result, PQgetvalue(result, 0, 0), (size_t) PQgetlength(result, 0, 0));
}
