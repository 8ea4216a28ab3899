#include "gateway/openapi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/arguments.h"
#include "gateway/methods.h"
#include "gateway/problem.h"
#include "gateway/reply.h"
#include "gateway/routes.h"
#include "gateway/schemas.h"

/* Descriptions that were made: one for each set of functions that a role may call, which are few. */
#define MADE_MAX 8

typedef struct Made
{
	char	   *callable;		/* the database's text of their names */
	char	   *description;
} Made;

static json_t *rpc_paths;
static const char *rpc_schema;	/* whose functions they are */
static Made made[MADE_MAX];
static int	next_made;

static const char callable_sql[] =
"SELECT COALESCE(pg_catalog.json_agg(p.proname ORDER BY p.proname), '[]')::pg_catalog.text"
" FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace"
" WHERE n.nspname = $1::pg_catalog.text AND p.prokind = 'f' AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')"
" AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE')";

static json_t *
parsed(const char *text)
{
	json_t	   *json = json_loads(text, JSON_DECODE_ANY, NULL);

	/* The texts stand in this program: a bad one is found by the first test that asks for the description. */
	if (json == NULL)
	{
		fprintf(stderr, "not JSON: %s\n", text);
		abort();
	}
	return json;
}

static json_t *
schema_of(const char *answer)
{
	if (answer[0] == '#')
		return json_pack("{s:o}", "$ref", json_sprintf("#/components/schemas/%s", answer + 1));
	return parsed(answer);
}

/* ---- an operation ---- */

static void
add_parameter(json_t *parameters, const char *in, const Argument *argument)
{
	json_array_append_new(parameters, json_pack("{s:s, s:s, s:b, s:s, s:o}", "name", argument->name, "in", in,
												"required", argument->required || strcmp(in, "path") == 0, "description", argument->help,
												"schema", parsed(argument_schema(argument->type))));
}

static void
add_header_parameter(json_t *parameters, const char *name)
{
	json_array_append_new(parameters, json_pack("{s:o}", "$ref", json_sprintf("#/components/parameters/%s", name)));
}

static json_t *
parameters_of(const Route *route)
{
	json_t	   *parameters = json_array();

	for (int i = 0; i < ROUTE_MAX_ARGUMENTS && route->arguments[i].name != NULL; i++)
	{
		if (route->arguments[i].source == FROM_PATH)
			add_parameter(parameters, "path", &route->arguments[i]);
		else if (route->arguments[i].source == FROM_QUERY)
			add_parameter(parameters, "query", &route->arguments[i]);
	}
	if (route->auth == AUTH_TOKEN)
		add_header_parameter(parameters, "OrganizationId");
	if (route->method != METHOD_GET && route->auth == AUTH_TOKEN)
		add_header_parameter(parameters, "IdempotencyKey");
	return parameters;
}

/* The body of members, or of a form; NULL: none. */
static json_t *
body_of(const Route *route)
{
	json_t	   *properties = json_object();
	json_t	   *required = json_array();
	const char *type = "application/json";
	json_t	   *schema;
	json_t	   *body;

	for (int i = 0; i < ROUTE_MAX_ARGUMENTS && route->arguments[i].name != NULL; i++)
	{
		const Argument *argument = &route->arguments[i];
		json_t	   *member;

		if (argument->source != FROM_BODY && argument->source != FROM_FORM)
			continue;
		if (argument->source == FROM_FORM)
			type = "application/x-www-form-urlencoded";
		member = parsed(argument_schema(argument->type));
		json_object_set_new(member, "description", json_string(argument->help));
		json_object_set_new(properties, argument->name, member);
		if (argument->required)
			json_array_append_new(required, json_string(argument->name));
	}
	if (json_object_size(properties) == 0)
	{
		json_decref(properties);
		json_decref(required);
		return NULL;
	}
	schema = json_pack("{s:s, s:o, s:b}", "type", "object", "properties", properties, "additionalProperties", 0);
	body = json_pack("{s:b, s:{s:{s:O}}}", "required", json_array_size(required) > 0, "content", type, "schema", schema);
	if (json_array_size(required) > 0)
		json_object_set(schema, "required", required);
	json_decref(required);
	json_decref(schema);
	return body;
}

static json_t *
responses_of(const Route *route)
{
	static const int always[] = {400, 429, 500, 503};
	json_t	   *responses = json_object();
	json_t	   *good = json_pack("{s:s}", "description", route->status == 204 ? "Done" : "The answer");
	char		status[8];

	if (route->answer != NULL && route->status != 204)
		json_object_set_new(good, "content", json_pack("{s:{s:o}}", route->status == 302 ? "text/plain" : "application/json", "schema",
													   schema_of(route->answer)));
	snprintf(status, sizeof(status), "%d", route->status);
	json_object_set_new(responses, status, good);
	for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++)
	{
		snprintf(status, sizeof(status), "%d", always[i]);
		json_object_set_new(responses, status, json_pack("{s:s}", "$ref", "#/components/responses/Problem"));
	}
	/* Whatever else goes wrong has the same form. */
	json_object_set_new(responses, "default", json_pack("{s:s}", "$ref", "#/components/responses/Problem"));
	return responses;
}

static json_t *
operation_of(const Route *route)
{
	json_t	   *operation = json_pack("{s:[s], s:s, s:o, s:o}", "tags", route->tag, "summary", route->summary, "parameters", parameters_of(route),
									  "responses", responses_of(route));
	json_t	   *body = body_of(route);
	char		id[128];

	snprintf(id, sizeof(id), "%s_%s", method_name(route->method), route->function != NULL ? route->function : route->pattern + 1);
	for (char *at = id; *at != '\0'; at++)
		*at = *at == '/' || *at == '.' || *at == '{' || *at == '}' ? '_' : *at >= 'A' && *at <= 'Z' ? (char) (*at - 'A' + 'a') : *at;
	json_object_set_new(operation, "operationId", json_string(id));
	if (body != NULL)
		json_object_set_new(operation, "requestBody", body);
	if (route->auth == AUTH_TOKEN)
		json_object_set_new(operation, "security", json_pack("[{s:[]}]", "bearer"));
	else
		json_object_set_new(operation, "security", json_array());
	return operation;
}

/* ---- the whole ---- */

static json_t *
components(void)
{
	json_t	   *all = json_object();

	for (int i = 0; i < schema_count; i++)
		json_object_set_new(all, schemas[i].name, parsed(schemas[i].json));
	return json_pack(
		"{s:o, s:{s:{s:s, s:s, s:s, s:s}}, s:{s:{s:s, s:{s:{s:{s:s}}}}}, s:o}",
		"schemas", all,
		"securitySchemes", "bearer", "type", "http", "scheme", "bearer", "bearerFormat", "JWT",
		"description", "The access token of POST /auth/login, an issuer's token, or an API key.",
		"responses", "Problem", "description", "What went wrong (RFC 9457)", "content", "application/problem+json", "schema",
		"$ref", "#/components/schemas/Problem",
		"parameters", parsed("{\"IdempotencyKey\":{\"name\":\"Idempotency-Key\",\"in\":\"header\",\"required\":false,"
							 "\"schema\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":512,\"pattern\":\"^[!-~]+$\"},"
							 "\"description\":\"The same key again gets the stored answer and has no second effect.\"},"
							 "\"OrganizationId\":{\"name\":\"X-Organization-Id\",\"in\":\"header\",\"required\":false,"
							 "\"schema\":{\"type\":\"string\",\"format\":\"uuid\"},"
							 "\"description\":\"For which organization, where the user belongs to several.\"}}"));
}

static const char *
lower_method(Method method)
{
	static const char *const names[] = {"get", "head", "post", "put", "patch", "delete", "options"};

	return names[method];
}

json_t *
openapi_make(json_t *rpc)
{
	json_t	   *paths = json_object();

	for (int i = 0; i < route_count; i++)
	{
		json_t	   *path = json_object_get(paths, routes[i].pattern);

		if (routes[i].method == METHOD_OPTIONS || strncmp(routes[i].pattern, "/rpc/", 5) == 0)
			continue;
		if (path == NULL)
		{
			path = json_object();
			json_object_set_new(paths, routes[i].pattern, path);
		}
		json_object_set_new(path, lower_method(routes[i].method), operation_of(&routes[i]));
	}
	json_object_update(paths, rpc);
	json_decref(rpc);
	return json_pack("{s:s, s:{s:s, s:s, s:s}, s:o, s:o}", "openapi", "3.1.0",
					 "info", "title", "backoffice", "version", BACKOFFICE_VERSION, "description",
					 "The back office of a subscription business. Errors are problem details (RFC 9457) with a stable code.",
					 "paths", paths, "components", components());
}

static void
forget(Made *one)
{
	free(one->callable);
	free(one->description);
	memset(one, 0, sizeof(*one));
}

void
openapi_set_rpc(json_t *paths, const char *schema)
{
	json_decref(rpc_paths);
	rpc_paths = paths;
	rpc_schema = schema;
	for (int i = 0; i < MADE_MAX; i++)
		forget(&made[i]);
}

json_t *
openapi_callable(json_t *paths, const char *callable)
{
	json_t	   *names = json_loads(callable, 0, NULL);
	json_t	   *chosen = json_is_array(names) ? json_object() : NULL;
	char		path[200];

	for (size_t i = 0; chosen != NULL && i < json_array_size(names); i++)
	{
		const char *name = json_string_value(json_array_get(names, i));
		json_t	   *found;

		snprintf(path, sizeof(path), "/rpc/%s", name != NULL ? name : "");
		found = json_object_get(paths, path);
		if (found != NULL)
			json_object_set(chosen, path, found);
	}
	json_decref(names);
	return chosen;
}

/* NULL: out of memory. */
static const char *
description_of(const char *callable)
{
	json_t	   *chosen;
	json_t	   *whole;
	Made	   *one;

	for (int i = 0; i < MADE_MAX; i++)
		if (made[i].callable != NULL && strcmp(made[i].callable, callable) == 0)
			return made[i].description;
	chosen = openapi_callable(rpc_paths, callable);
	if (chosen == NULL)
		return NULL;
	whole = openapi_make(chosen);
	one = &made[next_made++ % MADE_MAX];
	forget(one);
	one->callable = strdup(callable);
	one->description = whole != NULL ? json_dumps(whole, JSON_COMPACT) : NULL;
	json_decref(whole);
	if (one->callable == NULL || one->description == NULL)
	{
		forget(one);
		return NULL;
	}
	return one->description;
}

static void
serve(Request *request, const char *callable)
{
	const char *description = description_of(callable);

	if (description == NULL)
	{
		problem_reply(request, 500, "out_of_memory", "the server is out of memory", NULL);
		return;
	}
	reply_header(request, "Cache-Control", request->token != NULL ? "private, max-age=60" : "public, max-age=60");
	reply_header(request, "Vary", "Authorization");
	reply_text(request, 200, TYPE_JSON, description, strlen(description));
}

static void
callable_came(Request *request, CallOutcome outcome, PGresult *result)
{
	if (outcome != CALL_DONE || PQntuples(result) != 1 || PQnfields(result) != 1)
	{
		problem_outcome(request, outcome, result);
		return;
	}
	serve(request, PQgetvalue(result, 0, 0));
	PQclear(result);
}

/* The routes are everybody's to know; of the functions behind /rpc, those that the caller may execute, as PostgREST has it. */
void
openapi_serve(Request *request)
{
	Statement  *statement;

	if (rpc_paths == NULL)
	{
		serve(request, "[]");
		return;
	}
	statement = request_alloc(request, sizeof(*statement));
	if (statement == NULL)
	{
		problem_reply(request, 500, "out_of_memory", "the server is out of memory", NULL);
		return;
	}
	memset(statement, 0, sizeof(*statement));
	statement->sql = callable_sql;
	statement->values[statement->n++] = rpc_schema;
	request_call(request, NULL, statement, true, false, callable_came);
}

/* ---- the table of the docs ---- */

static void
print_arguments(FILE *out, const Route *route)
{
	const char *separator = "";

	for (int i = 0; i < ROUTE_MAX_ARGUMENTS && route->arguments[i].name != NULL; i++)
		if (route->arguments[i].source != FROM_PATH && route->arguments[i].source != FROM_PEER)
		{
			fprintf(out, "%s`%s`%s", separator, route->arguments[i].name, route->arguments[i].required ? "" : "?");
			separator = ", ";
		}
}

char *
openapi_markdown(void)
{
	char	   *text = NULL;
	size_t		size;
	FILE	   *out = open_memstream(&text, &size);

	if (out == NULL)
		return NULL;
	fprintf(out, "| route | does | function of `api` | arguments | token |\n|---|---|---|---|---|\n");
	for (int i = 0; i < route_count; i++)
	{
		const Route *route = &routes[i];

		fprintf(out, "| `%s %s` | %s | ", method_name(route->method), route->pattern, route->summary);
		if (route->function != NULL)
			fprintf(out, "`%s`", route->function);
		fprintf(out, " | ");
		print_arguments(out, route);
		fprintf(out, " | %s |\n", route->auth == AUTH_TOKEN ? "yes" : route->auth == AUTH_OPTIONAL ? "may" : "no");
	}
	if (fclose(out) != 0)
	{
		free(text);
		return NULL;
	}
	return text;
}
