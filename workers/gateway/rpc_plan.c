/* From a request to a plan: every refusal that needs no database, then the statement. */
#include <stdio.h>
#include <string.h>

#include "gateway/rpc_internal.h"
#include "lib/utf8.h"

typedef struct Planning
{
	RpcArena   *arena;
	const RpcConfig *config;
	const RpcCatalogue *catalogue;
	const RpcRequest *request;
	RpcPlan    *plan;
	RpcAnswering *answering;
	const char *schema;
	bool		post;
	bool		get;			/* GET or HEAD */
	RpcMedia	content;
	RpcQuery	query;
	RpcCall		call;
} Planning;

/* The plan is this answer. Returns false, for callers that end with it. */
static bool
refuse(Planning *planning, const RpcProblem *problem)
{
	RpcResponse *response = arena_take(planning->arena, sizeof(RpcResponse));

	rpc_problem_response(planning->arena, problem, response);
	planning->answering->response = response;
	return false;
}

static bool
choose_schema(Planning *planning)
{
	const RpcConfig *config = planning->config;
	const char *wanted = rpc_header(planning->request, planning->post ? "content-profile" : "accept-profile");
	RpcText		hint;

	planning->schema = wanted != NULL ? wanted : config->schemas[0];
	if (wanted != NULL || config->schema_count > 1)
		planning->answering->profile = planning->schema;
	for (size_t i = 0; i < config->schema_count; i++)
		if (strcmp(config->schemas[i], planning->schema) == 0)
			return true;
	hint = text_new(planning->arena);
	text_add(&hint, "Only the following schemas are exposed: ");
	for (size_t i = 0; i < config->schema_count; i++)
		text_print(&hint, "%s%s", i > 0 ? ", " : "", config->schemas[i]);
	return refuse(planning, &(RpcProblem) {.status = 406, .code = "PGRST106", .hint = hint.at,
		.message = arena_print(planning->arena, "Invalid schema: %s", planning->schema)});
}

static bool
check_method(Planning *planning)
{
	const char *method = planning->request->method;

	if (planning->post || planning->get || strcmp(method, "OPTIONS") == 0)
		return true;
	return refuse(planning, &(RpcProblem) {.status = 405, .code = "PGRST101",
		.message = arena_print(planning->arena, "Cannot use the %s method on RPC", method)});
}

static bool
read_query(Planning *planning)
{
	RpcQueryError error;

	if (rpc_query_read(planning->arena, planning->request->query, planning->get, &planning->query, &error))
		return true;
	return refuse(planning, &(RpcProblem) {.status = 400, .code = "PGRST100", .message = error.message, .details = error.details});
}

/* limit, offset and Range together. */
static bool
choose_range(Planning *planning)
{
	RpcRange	asked = planning->query.range;
	RpcRange	header = {0, INT64_MAX};
	RpcRange	both;
	const char *value = strcmp(planning->request->method, "GET") == 0 ? rpc_header(planning->request, "range") : NULL;

	if (value != NULL)
		header = rpc_range_of_header(value);
	both = asked.upper == -1 ? (RpcRange) {0, -1} : rpc_range_both(header, asked);
	planning->answering->range = both;
	if (both.upper >= both.lower || asked.upper == -1)
		return true;
	return refuse(planning, &(RpcProblem) {.status = 416, .code = "PGRST103", .message = "Requested range not satisfiable",
		.details = header.upper < header.lower ? "The lower boundary must be lower than or equal to the upper boundary in the Range header." :
			"Limit should be greater than or equal to zero."});
}

/* ---- body ---- */

static bool
bad_body(Planning *planning, const char *message)
{
	return refuse(planning, &(RpcProblem) {.status = 400, .code = "PGRST102", .message = message});
}

static bool
read_json(Planning *planning, const char *body, size_t length, bool keys_told)
{
	RpcCall    *call = &planning->call;
	RpcJson		json;

	call->body = body;
	call->body_length = length;
	if (keys_told)
	{
		/* The body is left to the database. */
		call->keys = planning->query.columns;
		call->key_count = planning->query.column_count;
		call->body_is_array = length > 0 && body[strspn(body, " \t\r\n")] == '[';
		return utf8_is_text(body, length) || bad_body(planning, "Empty or invalid json");
	}
	if (length == 0)
		return true;
	if (!rpc_json_read(planning->arena, body, length, planning->config->max_depth, &json))
		return bad_body(planning, "Empty or invalid json");
	if (json.twice != NULL)
		return bad_body(planning, arena_print(planning->arena, "The key '%s' is there twice", json.twice));
	if (json.kind == JSON_IS_ARRAY && !json.uniform)
		return bad_body(planning, "All object keys must match");
	call->keys = json.keys;
	call->key_count = json.key_count;
	call->body_is_array = json.kind == JSON_IS_ARRAY;
	return true;
}

static bool
read_form(Planning *planning, const char *body, size_t length)
{
	RpcCall    *call = &planning->call;
	RpcArgument *pairs;
	size_t		count;

	if (!rpc_pairs(planning->arena, body, length, &pairs, &count))
		return bad_body(planning, "The form is not UTF-8 text, or has a NUL byte");
	call->by_body = false;
	call->arguments = pairs;
	call->argument_count = count;
	return true;
}

static bool
read_csv(Planning *planning, const char *body, size_t length)
{
	RpcText		json = text_new(planning->arena);
	RpcCsv		csv = rpc_csv_to_json(planning->arena, body, length, &json);

	if (csv == CSV_GOOD)
		return read_json(planning, json.at, json.length, false);
	return bad_body(planning, csv == CSV_RAGGED ? "All lines must have same number of fields" :
					csv == CSV_LARGE ? "The body is too large: each of its lines repeats all names" : "The body is not CSV with a header");
}

/* What arguments are given, by the body or, on GET, by the query string. */
static bool
read_arguments(Planning *planning)
{
	RpcCall    *call = &planning->call;
	const RpcRequest *request = planning->request;
	const char *body = request->body == NULL ? "" : request->body;
	bool		good = true;

	call->by_body = planning->post;
	if (!planning->post)
	{
		call->arguments = planning->query.arguments;
		call->argument_count = planning->query.argument_count;
	}
	else if (planning->content.kind == MEDIA_JSON)
		good = read_json(planning, body, request->body_length, planning->query.columns != NULL);
	else if (planning->content.kind == MEDIA_FORM)
		good = read_form(planning, body, request->body_length);
	else if (planning->content.kind == MEDIA_CSV)
		good = read_csv(planning, body, request->body_length);
	else if (planning->content.kind == MEDIA_TEXT || planning->content.kind == MEDIA_XML || planning->content.kind == MEDIA_BYTES)
	{
		call->body = body;
		call->body_length = request->body_length;
		if (planning->content.kind != MEDIA_BYTES && !utf8_is_text(body, request->body_length))
			return bad_body(planning, "The body is not UTF-8 text, or has a NUL byte");
	}
	else
		return bad_body(planning, arena_print(planning->arena, "Content-Type not acceptable: %s", planning->content.mime));
	if (good && !call->by_body)
	{
		call->keys = arena_take(planning->arena, (call->argument_count + 1) * sizeof(char *));
		for (size_t i = 0; i < call->argument_count; i++)
			call->keys[i] = call->arguments[i].name;
		call->key_count = call->argument_count;
	}
	if (good)
		rpc_sort_names(call->keys, &call->key_count);
	return good;
}

/* ---- which function ---- */

static const char *
joined(RpcArena *arena, const char **names, size_t count)
{
	RpcText		text = text_new(arena);

	for (size_t i = 0; i < count; i++)
		text_print(&text, "%s%s", i > 0 ? ", " : "", names[i]);
	return text.at;
}

static bool
no_function(Planning *planning, const RpcAsked *asked)
{
	RpcArena   *arena = planning->arena;
	const char *name = arena_print(arena, "%s.%s", asked->schema, asked->name);
	const char *keys = joined(arena, asked->keys, asked->key_count);
	const char *raw = !asked->post ? NULL : asked->content == MEDIA_TEXT ? "text" : asked->content == MEDIA_XML ? "xml" :
		asked->content == MEDIA_BYTES ? "bytea" : NULL;
	RpcText		message = text_new(arena);
	RpcText		details = text_new(arena);

	text_print(&message, "Could not find the function %s", name);
	text_print(&details, "Searched for the function %s", name);
	if (raw != NULL)
		text_print(&details, " with a single unnamed %s parameter", raw);
	else if (asked->key_count == 0)
	{
		text_add(&message, " without parameters");
		text_add(&details, " without parameters");
	}
	else
	{
		text_print(&message, "(%s)", keys);
		text_print(&details, " with parameter%s %s", asked->key_count > 1 ? "s" : "", keys);
	}
	if (asked->post && asked->content == MEDIA_JSON)
		text_add(&details, " or with a single unnamed json/jsonb parameter");
	text_add(&message, " in the schema cache");
	text_add(&details, ", but no matches were found in the schema cache.");
	return refuse(planning, &(RpcProblem) {.status = 404, .code = "PGRST202", .message = message.at, .details = details.at,
		.hint = raw == NULL ? rpc_hint(arena, planning->catalogue, asked) : NULL});
}

static bool
many_functions(Planning *planning, const RpcFunction **found, size_t count)
{
	RpcText		text = text_new(planning->arena);

	text_add(&text, "Could not choose the best candidate function between: ");
	for (size_t i = 0; i < count; i++)
	{
		text_print(&text, "%s%s.%s(", i > 0 ? ", " : "", found[i]->schema, found[i]->name);
		for (size_t k = 0; k < found[i]->param_count; k++)
			text_print(&text, "%s%s => %s", k > 0 ? ", " : "", found[i]->params[k].name, found[i]->params[k].type);
		text_add_char(&text, ')');
	}
	return refuse(planning, &(RpcProblem) {.status = 300, .code = "PGRST203", .message = text.at,
		.hint = "Try renaming the parameters or the function itself in the database so function overloading can be resolved"});
}

static bool
choose_function(Planning *planning)
{
	RpcAsked	asked = {.schema = planning->schema, .name = planning->request->function, .keys = planning->call.keys,
		.key_count = planning->call.key_count, .content = planning->content.kind, .post = planning->post};
	size_t		count;
	const RpcFunction **found = rpc_match(planning->arena, planning->catalogue, &asked, &count);

	if (count == 0)
		return no_function(planning, &asked);
	if (count > 1)
		return many_functions(planning, found, count);
	planning->call.function = found[0];
	planning->answering->function = found[0];
	return true;
}

/* ---- what is asked of its rows ---- */

static bool
check_relations(Planning *planning)
{
	const RpcQuery *query = &planning->query;
	const char *alias = rpc_function_alias(planning->call.function);

	if (query->not_embedded != NULL)
		return refuse(planning, &(RpcProblem) {.status = 400, .code = "PGRST108",
			.message = arena_print(planning->arena, "'%s' is not an embedded resource in this request", query->not_embedded),
			.hint = arena_print(planning->arena, "Verify that '%s' is included in the 'select' query parameter.", query->not_embedded)});
	for (size_t i = 0; i < query->select_count; i++)
		if (query->selects[i].is_relation)
			return refuse(planning, &(RpcProblem) {.status = 400, .code = "PGRST200",
				.message = arena_print(planning->arena, "Could not find a relationship between '%s' and '%s' in the schema cache", alias,
									   query->selects[i].field.name),
				.details = arena_print(planning->arena, "Searched for a foreign key relationship between '%s' and '%s' in the schema '%s', "
									   "but no matches were found.", alias, query->selects[i].field.name, planning->schema)});
	for (size_t i = 0; i < query->select_count; i++)
		if (query->selects[i].aggregate != NULL && !planning->config->aggregates)
			return refuse(planning, &(RpcProblem) {.status = 400, .code = "PGRST123", .message = "Use of aggregate functions is not allowed"});
	return true;
}

/* ---- media type of the answer ---- */

static bool
selects_all(const RpcQuery *query)
{
	const RpcSelect *select = query->selects;

	return query->select_count == 1 && strcmp(select->field.name, "*") == 0 && select->field.step_count == 0 &&
		select->aggregate == NULL && !select->is_relation;
}

static bool
asks_for(RpcArena *arena, const char *name, RpcMedia asked)
{
	return rpc_media_same(rpc_media_read(arena, name), asked);
}

/* The function's own media type, or an aggregate for its rows; any: for any request. */
static bool
choose_handler(Planning *planning, RpcMedia asked)
{
	RpcAnswering *answering = planning->answering;
	const RpcFunction *function = planning->call.function;

	if (function->media != NULL && selects_all(&planning->query) && asks_for(planning->arena, function->media, asked))
	{
		answering->handled = true;
		answering->hex_body = function->returns_bytes;
		answering->media = rpc_media_read(planning->arena, strcmp(function->media, "*/*") == 0 ? "application/octet-stream" : function->media);
		return true;
	}
	for (int any_rows = 0; any_rows < 2; any_rows++)
		for (size_t i = 0; i < planning->catalogue->handler_count; i++)
		{
			const RpcHandler *handler = &planning->catalogue->handlers[i];
			bool		mine = handler->target_schema == NULL ? any_rows == 1 :
				any_rows == 0 && selects_all(&planning->query) && function->returns_composite &&
				strcmp(handler->target_name, function->type_name) == 0 && strcmp(handler->target_schema, function->schema) == 0;

			if (!mine || !asks_for(planning->arena, handler->media, asked))
				continue;
			answering->handler = handler;
			answering->hex_body = handler->bytes;
			answering->media = rpc_media_read(planning->arena, handler->answer_media);
			return true;
		}
	return false;
}

static bool
choose_media(Planning *planning)
{
	RpcAnswering *answering = planning->answering;
	size_t		count;
	RpcMedia   *accepted = rpc_media_accepted(planning->arena, planning->request, &count);
	RpcText		names;

	for (size_t i = 0; i < count; i++)
	{
		RpcMedia	media = accepted[i];

		if (media.kind == MEDIA_OBJECT || media.kind == MEDIA_OBJECT_STRIPPED || media.kind == MEDIA_ARRAY_STRIPPED)
		{
			answering->media = media;
			return true;
		}
		if (media.kind == MEDIA_PLAN)
			continue;
		if (choose_handler(planning, (RpcMedia) {MEDIA_ANY, "*/*"}) || choose_handler(planning, media))
			return true;
		if (media.kind == MEDIA_ANY || media.kind == MEDIA_JSON || media.kind == MEDIA_CSV)
		{
			answering->media = media.kind == MEDIA_CSV ? media : (RpcMedia) {MEDIA_JSON, "application/json"};
			return true;
		}
	}
	names = text_new(planning->arena);
	for (size_t i = 0; i < count; i++)
		text_print(&names, "%s%s", i > 0 ? ", " : "", accepted[i].mime);
	return refuse(planning, &(RpcProblem) {.status = 406, .code = "PGRST107",
		.message = arena_print(planning->arena, "None of these media types are available: %s", names.at)});
}

static bool
check_preferences(Planning *planning)
{
	const RpcPrefer *prefer = &planning->answering->prefer;
	bool		strict = prefer->handling != NULL && strcmp(prefer->handling, "strict") == 0;

	if (strict && prefer->invalid != NULL)
		return refuse(planning, &(RpcProblem) {.status = 400, .code = "PGRST122", .message = "Invalid preferences given with handling=strict",
			.details = arena_print(planning->arena, "Invalid preferences: %s", prefer->invalid)});
	if (strict && prefer->has_max_affected && !planning->call.function->returns_set)
		return refuse(planning, &(RpcProblem) {.status = 400, .code = "PGRST128",
			.message = "Function must return SETOF or TABLE when max-affected preference is used with handling=strict"});
	return true;
}

/* ---- the statements ---- */

static void
answer_options(Planning *planning)
{
	RpcResponse *response = arena_take(planning->arena, sizeof(RpcResponse));

	response->status = 200;
	response->body = "";
	rpc_add_header(planning->arena, response, "Access-Control-Allow-Origin", "*");
	rpc_add_header(planning->arena, response, "Allow", planning->call.function->is_volatile ? "OPTIONS,POST" : "OPTIONS,GET,HEAD,POST");
	rpc_add_header(planning->arena, response, "Vary", "Accept, Prefer, Range");
	planning->answering->response = response;
}

static void
add_settings(Planning *planning)
{
	const RpcFunction *function = planning->call.function;
	const RpcPrefer *prefer = &planning->answering->prefer;
	RpcArgument *settings = arena_take(planning->arena, (function->setting_count + 2) * sizeof(RpcArgument));
	size_t		count = 0;

	if (strcmp(planning->schema, planning->config->schemas[0]) != 0)
	{
		RpcText		path = text_new(planning->arena);

		text_add_identifier(&path, planning->schema);
		settings[count++] = (RpcArgument) {"search_path", path.at};
	}
	if (prefer->timezone != NULL)
		settings[count++] = (RpcArgument) {"timezone", prefer->timezone};
	for (size_t i = 0; i < function->setting_count; i++)
		settings[count++] = function->settings[i];
	rpc_settings_sql(planning->arena, settings, count, planning->config->pre_request, &planning->plan->settings);
}

static bool
write_statements(Planning *planning)
{
	const RpcPrefer *prefer = &planning->answering->prefer;
	bool		commit = prefer->tx != NULL && strcmp(prefer->tx, "commit") == 0;
	bool		rollback = prefer->tx != NULL ? !commit : planning->config->rollback_all;

	planning->plan->read_only = !planning->post || !planning->call.function->is_volatile;
	planning->plan->callee = planning->call.function->oid;
	if (!rpc_sql(planning->arena, &planning->call, &planning->plan->main))
		return refuse(planning, &(RpcProblem) {.status = 400, .code = "PGRST100", .message = "The query string has too many values",
			.details = arena_print(planning->arena, "At most %d are allowed", RPC_MAX_PARAMS)});
	add_settings(planning);
	if (rollback)
	{
		planning->plan->endings[0] = "SET CONSTRAINTS ALL IMMEDIATE";
		planning->plan->endings[1] = "ROLLBACK";
	}
	return true;
}

void
rpc_plan(const RpcConfig *config, const RpcCatalogue *catalogue, const RpcRequest *request, RpcPlan *plan)
{
	RpcArena   *arena = arena_new();
	Planning	planning = {.arena = arena, .config = config, .catalogue = catalogue, .request = request, .plan = plan};
	const char *content = rpc_header(request, "content-type");
	bool		options = strcmp(request->method, "OPTIONS") == 0;

	memset(plan, 0, sizeof(*plan));
	plan->arena = arena;
	plan->read_only = true;
	plan->answering = planning.answering = arena_take(arena, sizeof(RpcAnswering));
	planning.post = strcmp(request->method, "POST") == 0;
	planning.get = strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;
	planning.content = content == NULL ? (RpcMedia) {MEDIA_JSON, "application/json"} : rpc_media_read(arena, content);
	planning.call.catalogue = catalogue;
	planning.call.config = config;
	planning.call.request = request;
	planning.call.query = &planning.query;
	planning.call.answering = planning.answering;
	rpc_prefer_read(arena, config, request, &planning.answering->prefer);
	if (!choose_schema(&planning) || !check_method(&planning) || !read_query(&planning) || !choose_range(&planning) ||
		!read_arguments(&planning) || !choose_function(&planning) || !check_relations(&planning) || !choose_media(&planning) ||
		!check_preferences(&planning))
		return;
	if (options)
		answer_options(&planning);
	else
		write_statements(&planning);
}

void
rpc_plan_free(RpcPlan *plan)
{
	arena_free(plan->arena);
	memset(plan, 0, sizeof(*plan));
}
