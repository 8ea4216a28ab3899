/* The handler of every route with a function: arguments in, one call, its answer out. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/answer.h"
#include "gateway/arguments.h"
#include "gateway/bound.h"
#include "gateway/problem.h"
#include "gateway/reply.h"
#include "gateway/routes.h"
#include "lib/log.h"

/* The SQL of a route depends on which arguments are there: defaults are the function's own. */
typedef struct CallText
{
	struct CallText *next;
	const Route *route;
	unsigned int present;
	char		sql[];
} CallText;

#define TEXT_SLOTS 1024

static CallText *texts[TEXT_SLOTS];

static CallText *
make_text(const Route *route, unsigned int present, int64_t max_answer)
{
	size_t		size = 800;
	CallText   *text;
	size_t		used;
	int			n = 0;

	for (int i = 0; i < ROUTE_MAX_ARGUMENTS && route->arguments[i].name != NULL; i++)
		size += strlen(route->arguments[i].name) + 40;
	text = malloc(sizeof(*text) + size);
	if (text == NULL)
		return NULL;
	text->route = route;
	text->present = present;
	used = (size_t) snprintf(text->sql, size, "SELECT " BOUND_BODY ", a.status, a.headers FROM (SELECT (api.%s(",
							 (long long) max_answer, route->function);
	for (int i = 0; i < ROUTE_MAX_ARGUMENTS && route->arguments[i].name != NULL; i++)
		if (present & 1u << i)
		{
			used += (size_t) snprintf(text->sql + used, size - used, "%s\"%s\" => $%d::pg_catalog.%s", n > 0 ? ", " : "",
									  route->arguments[i].name, n + 1, argument_sql_type(route->arguments[i].type));
			n++;
		}
	/* The settings are read behind the call: a target list is evaluated from left to right. */
	snprintf(text->sql + used, size - used, "))::pg_catalog.text, pg_catalog.current_setting('response.status', true), "
			 "pg_catalog.current_setting('response.headers', true) OFFSET 0) AS a(body, status, headers)");
	return text;
}

static const char *
call_text(const Route *route, unsigned int present, int64_t max_answer)
{
	CallText  **slot = &texts[((size_t) (route - routes) * 31 + present) % TEXT_SLOTS];
	CallText   *text;

	for (text = *slot; text != NULL; text = text->next)
		if (text->route == route && text->present == present)
			return text->sql;
	text = make_text(route, present, max_answer);
	if (text == NULL)
		return NULL;
	text->next = *slot;
	*slot = text;
	return text->sql;
}

static void
answered(Request *request, CallOutcome outcome, PGresult *result)
{
	if (outcome != CALL_DONE || PQntuples(result) != 1 || PQnfields(result) != 3)
		problem_outcome(request, outcome, result);
	else
		answer_route(request, result);
}

void
route_call(Request *request)
{
	const Route *route = request->route;
	const char *values[ROUTE_MAX_ARGUMENTS];
	Complaint	complaint;
	Statement  *statement;
	unsigned int present = 0;

	if (!arguments_collect(request, values, &complaint))
	{
		problem_reply_arguments(request, &complaint);
		return;
	}
	statement = request_alloc(request, sizeof(*statement));
	if (statement != NULL)
	{
		memset(statement, 0, sizeof(*statement));
		for (int i = 0; i < ROUTE_MAX_ARGUMENTS && route->arguments[i].name != NULL; i++)
			if (values[i] != NULL)
			{
				present |= 1u << i;
				statement->values[statement->n++] = values[i];
			}
		statement->sql = call_text(route, present, request->gateway->settings.max_answer);
	}
	if (statement == NULL || statement->sql == NULL)
		problem_reply(request, 500, "out_of_memory", "the server is out of memory", NULL);
	else
		request_call(request, NULL, statement, route->method == METHOD_GET && !route->writes, false, answered);
}
