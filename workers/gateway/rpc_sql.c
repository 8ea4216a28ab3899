/*
 * One statement for a call: the function's rows, of them those that are asked for,
 * and of these one row with the whole answer. Names come from the catalogue or are quoted,
 * types of casts are letters, digits and blanks, everything else is a parameter.
 */
#include <stdio.h>
#include <string.h>

#include "gateway/bound.h"
#include "gateway/rpc_sql.h"

/* ---- the call ---- */

static bool
is_given(const RpcCall *call, const RpcParam *param)
{
	return sql_named_in(call->keys, call->key_count, param->name);
}

/* A parameter of GET or a form: of a name that is there often the last, of a variadic one all. */
static void
add_argument(RpcSql *sql, const RpcParam *param)
{
	const RpcCall *call = sql->call;
	const char **all = arena_take(sql->text.arena, (call->argument_count + 1) * sizeof(char *));
	size_t		count = 0;

	for (size_t i = 0; i < call->argument_count; i++)
		if (strcmp(call->arguments[i].name, param->name) == 0)
			all[count++] = call->arguments[i].value;
	if (param->variadic)
		sql_value(sql, sql_array(sql->text.arena, all, count));
	else
		sql_value(sql, all[count - 1]);
	sql_add(sql, "::");
	sql_add(sql, param->wide_type);
}

static void
add_arguments(RpcSql *sql)
{
	const RpcCall *call = sql->call;
	bool		first = true;

	for (size_t i = 0; i < call->function->param_count; i++)
	{
		const RpcParam *param = &call->function->params[i];

		if (!is_given(call, param))
			continue;
		sql_add(sql, first ? "" : ", ");
		sql_add(sql, param->variadic ? "VARIADIC " : "");
		sql_name(sql, param->name);
		sql_add(sql, " := ");
		if (call->by_body)
		{
			sql_add(sql, "pgrst_body.");
			sql_name(sql, param->name);
		}
		else
			add_argument(sql, param);
		first = false;
	}
}

/* What the body has for the parameters, as one row of their types. */
static void
add_body(RpcSql *sql)
{
	const RpcCall *call = sql->call;
	bool		first = true;

	sql_add(sql, "(SELECT ");
	sql_bytes(sql, call->body, call->body_length, 0);
	sql_add(sql, "::json AS json_data) pgrst_payload, LATERAL (SELECT * FROM ");
	sql_add(sql, call->body_is_array ? "pg_catalog.json_to_recordset" : "pg_catalog.json_to_record");
	sql_add(sql, "(pgrst_payload.json_data) AS _(");
	for (size_t i = 0; i < call->function->param_count; i++)
	{
		const RpcParam *param = &call->function->params[i];

		if (!is_given(call, param))
			continue;
		sql_add(sql, first ? "" : ", ");
		sql_name(sql, param->name);
		text_print(&sql->text, " %s", param->wide_type);
		first = false;
	}
	sql_add(sql, ") LIMIT 1) pgrst_body, LATERAL ");
}

static bool
is_unnamed(const RpcFunction *function)
{
	return function->param_count == 1 && function->params[0].name[0] == '\0';
}

static bool
one_value_a_row(const RpcFunction *function)
{
	return !function->returns_composite;
}

/* Behind FROM: rows named pgrst_call; of scalars with the column pgrst_scalar. */
static void
add_call(RpcSql *sql)
{
	const RpcCall *call = sql->call;
	const RpcFunction *function = call->function;

	if (call->by_body && call->key_count > 0 && !is_unnamed(function))
		add_body(sql);
	sql_add(sql, one_value_a_row(function) ? "(SELECT " : "");
	sql_qualified(sql, function->schema, function->name);
	sql_add(sql, "(");
	if (is_unnamed(function) && call->by_body)
	{
		bool		bytes = strcmp(function->params[0].type, "bytea") == 0;

		sql_bytes(sql, call->body, call->body_length, bytes);
		sql_add(sql, "::");
		sql_add(sql, function->params[0].type);
	}
	else
		add_arguments(sql);
	sql_add(sql, one_value_a_row(function) ? ") pgrst_scalar) pgrst_call" : ") pgrst_call");
}

/* ---- the answer ---- */

static bool
selects_everything(const RpcQuery *query)
{
	return query->select_count == 1 && strcmp(query->selects[0].field.name, "*") == 0 && query->selects[0].aggregate == NULL &&
		query->selects[0].field.step_count == 0 && query->selects[0].cast == NULL && query->selects[0].alias == NULL;
}

/* The query string has no part in the text, but for a page's limits. */
static bool
is_unshaped(const RpcQuery *query)
{
	return query->condition_count == 0 && query->order_count == 0 && selects_everything(query);
}

static void
add_handled_body(RpcSql *sql)
{
	const RpcAnswering *answering = sql->call->answering;
	const RpcHandler *handler = answering->handler;

	sql_add(sql, answering->hex_body ? "pg_catalog.encode((" : "(");
	if (handler == NULL)
		sql_add(sql, "_postgrest_t.pgrst_scalar");
	else
	{
		sql_qualified(sql, handler->schema, handler->name);
		sql_add(sql, "(_postgrest_t");
		if (one_value_a_row(sql->call->function))
			sql_add(sql, ".pgrst_scalar");
		else if (handler->target_schema != NULL)
		{
			sql_add(sql, "::");
			sql_qualified(sql, handler->target_schema, handler->target_name);
		}
		sql_add(sql, ")");
	}
	sql_add(sql, answering->hex_body ? ")::bytea, 'hex')" : ")::text");
}

/* The header: the page's first row names it; if there is none, a row of the function. */
static void
add_csv_body(RpcSql *sql)
{
	static const char *const names = "(SELECT pg_catalog.string_agg(k, ',') FROM pg_catalog.json_object_keys(";

	sql_add(sql, "coalesce(");
	sql_add(sql, names);
	sql_add(sql, "pg_catalog.json_agg(_postgrest_t)->0) AS k), ");
	if (selects_everything(sql->call->query))
	{
		sql_add(sql, names);
		sql_add(sql, "(SELECT pg_catalog.row_to_json(h) FROM pgrst_source AS h LIMIT 1)) AS k), ");
	}
	sql_add(sql, "'') || E'\\n' || coalesce(pg_catalog.string_agg(pg_catalog.substring(_postgrest_t::text, 2, pg_catalog.length(_postgrest_t::text) - 2), E'\\n'), '')");
}

static void
add_json_body(RpcSql *sql)
{
	const RpcFunction *function = sql->call->function;
	RpcMediaKind kind = sql->call->answering->media.kind;
	bool		stripped = kind == MEDIA_OBJECT_STRIPPED || kind == MEDIA_ARRAY_STRIPPED;
	bool		object = kind == MEDIA_OBJECT || kind == MEDIA_OBJECT_STRIPPED;
	bool		single = object || !function->returns_set;
	bool		scalar = object ? rpc_function_is_scalar(function) : one_value_a_row(function);

	text_print(&sql->text, "coalesce(%spg_catalog.json_agg(_postgrest_t%s)%s%s, '%s')", stripped ? "pg_catalog.json_strip_nulls(" : "",
			   scalar ? ".pgrst_scalar" : "", single ? "->0" : "", stripped ? ")" : "", single ? "null" : "[]");
	sql_add(sql, "::text");
}

static void
add_answer_body(RpcSql *sql)
{
	const RpcAnswering *answering = sql->call->answering;

	/* Of nothing too: a function whose result is not needed is not called if it is STABLE. */
	if (answering->function->returns_void)
		add_json_body(sql);
	else if (answering->handled || answering->handler != NULL)
		add_handled_body(sql);
	else if (answering->media.kind == MEDIA_CSV)
		add_csv_body(sql);
	else
		add_json_body(sql);
}

/* The page's number of rows; where it must not be this one, an error with a mark. */
static void
add_page(RpcSql *sql)
{
	const RpcAnswering *answering = sql->call->answering;
	const RpcPrefer *prefer = &answering->prefer;
	bool		singular = answering->media.kind == MEDIA_OBJECT || answering->media.kind == MEDIA_OBJECT_STRIPPED;
	bool		limited = prefer->has_max_affected && prefer->handling != NULL && strcmp(prefer->handling, "strict") == 0;

	if (!answering->function->returns_set)
	{
		sql_add(sql, "1");
		return;
	}
	if (singular)
		sql_add(sql, "CASE WHEN pg_catalog.count(_postgrest_t) <> 1 THEN ('" RPC_MARK_SINGULAR "' || pg_catalog.count(_postgrest_t))::bigint ELSE ");
	if (limited)
	{
		sql_add(sql, "CASE WHEN pg_catalog.count(_postgrest_t) > ");
		sql_number(sql, prefer->max_affected);
		sql_add(sql, "::bigint THEN ('" RPC_MARK_AFFECTED "' || pg_catalog.count(_postgrest_t))::bigint ELSE ");
	}
	sql_add(sql, "pg_catalog.count(_postgrest_t)");
	sql_add(sql, singular ? " END" : "");
	sql_add(sql, limited ? " END" : "");
}

static const char *const response_settings =
", nullif(pg_catalog.current_setting('response.headers', true), ''), nullif(pg_catalog.current_setting('response.status', true), '')";

/* Nothing is asked of the one value but itself: most calls. */
static bool
is_plain(const RpcCall *call)
{
	RpcMediaKind kind = call->answering->media.kind;
	RpcRange	range = call->answering->range;

	return rpc_function_is_scalar(call->function) && is_unshaped(call->query) && range.lower == 0 && range.upper == INT64_MAX &&
		(call->answering->handled || (call->answering->handler == NULL && (kind == MEDIA_JSON || kind == MEDIA_OBJECT)));
}

static void
add_plain(RpcSql *sql)
{
	const RpcAnswering *answering = sql->call->answering;
	const char *count = answering->prefer.count;
	bool		counted = count != NULL && strcmp(count, "planned") != 0;

	sql_add(sql, counted ? "SELECT 1, 1, " : "SELECT NULL, 1, ");
	if (answering->function->returns_void)
		sql_add(sql, "pgrst_call.pgrst_scalar::text");
	else if (answering->handled)
		sql_add(sql, answering->hex_body ? "pg_catalog.encode(pgrst_call.pgrst_scalar::bytea, 'hex')" : "pgrst_call.pgrst_scalar::text");
	else
		sql_add(sql, "coalesce(pg_catalog.to_json(pgrst_call.pgrst_scalar)::text, 'null')");
	sql_add(sql, response_settings);
	sql_add(sql, " FROM ");
	add_call(sql);
}

static void
add_full(RpcSql *sql)
{
	const RpcCall *call = sql->call;
	const char *count = call->answering->prefer.count;
	bool		counted = count != NULL && strcmp(count, "planned") != 0;
	bool		all_rows = call->answering->range.lower == 0 && call->answering->range.upper == INT64_MAX && call->config->max_rows == 0;

	sql_add(sql, "WITH pgrst_source AS (SELECT ");
	if (one_value_a_row(call->function))
		sql_add(sql, "pgrst_call.pgrst_scalar");
	else
		sql_needed_columns(sql);
	sql_add(sql, " FROM ");
	add_call(sql);
	sql_add(sql, ") SELECT ");
	if (!counted)
		sql_add(sql, "NULL");
	else if (all_rows)
		sql_add(sql, call->function->returns_set ? "pg_catalog.count(_postgrest_t)" : "1");
	else
	{
		sql_add(sql, "(SELECT pg_catalog.count(*) FROM pgrst_source AS ");
		sql_name(sql, sql->alias);
		sql_conditions(sql);
		sql_add(sql, ")");
	}
	sql_add(sql, ", ");
	add_page(sql);
	sql_add(sql, ", ");
	add_answer_body(sql);
	sql_add(sql, response_settings);
	sql_add(sql, " FROM (");
	sql_rows(sql);
	sql_add(sql, ") _postgrest_t");
}

/* The same row, if it is not too large. OFFSET 0: the function is called once, whatever stands around it. */
static void
add_bounded(RpcSql *sql)
{
	const RpcCall *call = sql->call;
	int64_t		max = call->config->max_answer;

	if (max > 0)
		text_print(&sql->text, "SELECT a.total, a.page, " BOUND_BODY ", a.headers, a.status FROM (",
				   (long long) (call->answering->hex_body ? 2 * max : max));
	if (is_plain(call))
		add_plain(sql);
	else
		add_full(sql);
	if (max > 0)
		sql_add(sql, " OFFSET 0) AS a(total, page, body, headers, status)");
}

static void
finish(RpcSql *sql, RpcStatement *out)
{
	*out = (RpcStatement) {.sql = sql->text.at, .param_count = sql->count, .values = sql->values,
		.lengths = sql->lengths, .formats = sql->formats};
}

bool
rpc_sql(RpcArena *arena, const RpcCall *call, RpcStatement *out)
{
	RpcSql			sql = {.text = text_new(arena), .call = call, .alias = rpc_function_alias(call->function)};

	add_bounded(&sql);
	if (sql.count > RPC_MAX_PARAMS)
		return false;
	finish(&sql, out);
	out->one_off = !is_unshaped(call->query);
	return true;
}

void
rpc_settings_sql(RpcArena *arena, const RpcArgument *settings, size_t count, const char *function, RpcStatement *out)
{
	RpcSql		sql = {.text = text_new(arena)};

	for (size_t i = 0; i < count; i++)
	{
		sql_add(&sql, i == 0 ? "SELECT pg_catalog.set_config(" : ", pg_catalog.set_config(");
		sql_value(&sql, settings[i].name);
		sql_add(&sql, ", ");
		sql_value(&sql, settings[i].value);
		sql_add(&sql, ", true)");
	}
	if (function != NULL)
	{
		const char *dot = strrchr(function, '.');

		sql_add(&sql, count == 0 ? "SELECT " : ", ");
		if (dot != NULL)
			sql_qualified(&sql, arena_copy(arena, function, (size_t) (dot - function)), dot + 1);
		else
			sql_name(&sql, function);
		sql_add(&sql, "()");
	}
	if (count > 0 || function != NULL)
		finish(&sql, out);
}
