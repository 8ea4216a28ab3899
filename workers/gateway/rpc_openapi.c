#include "gateway/rpc_openapi.h"

#include <stdio.h>
#include <string.h>

/* Types whose values JSON has; every other one is written as text. */
static json_t *
schema_of(const char *type)
{
	static const struct
	{
		const char *name;
		const char *json;
		const char *format;
	}			known[] = {
		{"smallint", "integer", "int32"}, {"integer", "integer", "int32"}, {"bigint", "integer", "int64"}, {"boolean", "boolean", NULL},
		{"numeric", "number", NULL}, {"real", "number", NULL}, {"double precision", "number", NULL},
		{"uuid", "string", "uuid"}, {"date", "string", "date"}, {"timestamp with time zone", "string", "date-time"}
	};
	size_t		length = strlen(type);

	if (strcmp(type, "json") == 0 || strcmp(type, "jsonb") == 0)
		return json_object();
	if (length > 2 && strcmp(type + length - 2, "[]") == 0)
		return json_pack("{s:s}", "type", "array");
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(known[i].name, type) == 0)
			return json_pack("{s:s, s:s*}", "type", known[i].json, "format", known[i].format);
	return json_pack("{s:s}", "type", "string");
}

static json_t *
body_of(const RpcFunction *function)
{
	json_t	   *properties = json_object();
	json_t	   *required = json_array();

	for (size_t i = 0; i < function->param_count; i++)
	{
		const RpcParam *param = &function->params[i];

		json_object_set_new(properties, param->name, schema_of(param->type));
		if (param->required)
			json_array_append_new(required, json_string(param->name));
	}
	return json_pack("{s:b, s:{s:{s:{s:s, s:o, s:o, s:b}}}}", "required", json_array_size(required) > 0, "content", "application/json", "schema",
					 "type", "object", "properties", properties, "required", required, "additionalProperties", 0);
}

/* The comment's first line is the summary. */
static json_t *
operation_of(const RpcFunction *function, const char *method)
{
	const char *text = function->description == NULL ? function->name : function->description;
	json_t	   *operation = json_pack("{s:[s], s:s%, s:s++, s:[{s:[]}, {}]}", "tags", "rpc", "summary", text, strcspn(text, "\n"),
									  "operationId", "rpc_", method, function->name, "security", "bearer");
	json_t	   *answer = json_pack("{s:s}", "description", function->returns_void ? "Done" : "What the function returns");

	if (!function->returns_void)
		json_object_set_new(answer, "content", json_pack("{s:{s:{}}}", "application/json", "schema"));
	json_object_set_new(operation, "responses", json_pack(
		"{s:o, s:{s:s, s:{s:{s:{s:s, s:[s, s]}}}}}", function->returns_void ? "204" : "200", answer,
		"default", "description", "What went wrong, as PostgREST tells it", "content", "application/json", "schema",
		"type", "object", "required", "code", "message"));
	if (function->description != NULL)
		json_object_set_new(operation, "description", json_string(text));
	return operation;
}

json_t *
rpc_openapi_paths(const RpcCatalogue *catalogue, const char *schema)
{
	json_t	   *paths = json_object();

	for (size_t i = 0; i < catalogue->count; i++)
	{
		const RpcFunction *function = &catalogue->functions[i];
		bool		before = i > 0 && strcmp(catalogue->functions[i - 1].name, function->name) == 0 &&
			strcmp(catalogue->functions[i - 1].schema, schema) == 0;
		bool		after = i + 1 < catalogue->count && strcmp(catalogue->functions[i + 1].name, function->name) == 0 &&
			strcmp(catalogue->functions[i + 1].schema, schema) == 0;
		char		path[200];
		json_t	   *post;

		if (strcmp(function->schema, schema) != 0 || before || after ||
			(function->param_count == 1 && function->params[0].name[0] == '\0'))
			continue;
		snprintf(path, sizeof(path), "/rpc/%s", function->name);
		post = operation_of(function, "post_");
		json_object_set_new(post, "requestBody", body_of(function));
		json_object_set_new(paths, path, json_pack("{s:o}", "post", post));
	}
	return paths;
}
