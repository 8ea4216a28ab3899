#include "gateway/rpc_catalogue.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

const char *const rpc_catalogue_sql =
"WITH RECURSIVE exposed AS ("
"  SELECT n.oid, n.nspname FROM pg_catalog.unnest($1::text[]) AS s JOIN pg_catalog.pg_namespace n ON n.nspname = s),"
" bases(oid, base) AS ("
"  SELECT oid, oid FROM pg_catalog.pg_type WHERE typtype <> 'd'"
"  UNION ALL SELECT t.oid, b.base FROM bases b JOIN pg_catalog.pg_type t ON t.typbasetype = b.oid AND t.typtype = 'd'),"
" written(oid, name) AS ("
"  SELECT t.oid, CASE WHEN e.typnamespace = 'pg_catalog'::regnamespace THEN pg_catalog.format_type(t.oid, NULL)"
"   ELSE pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(e.typname)"
"    || CASE WHEN e.oid <> t.oid THEN '[]' ELSE '' END END"
"  FROM pg_catalog.pg_type t"
"   JOIN pg_catalog.pg_type e ON e.oid = CASE WHEN t.typcategory = 'A' AND t.typelem <> 0 THEN t.typelem ELSE t.oid END"
"   JOIN pg_catalog.pg_namespace n ON n.oid = e.typnamespace),"
" media(oid, name, answer, bytes) AS ("
"  SELECT t.oid, pg_catalog.lower(t.typname), CASE t.typname WHEN '*/*' THEN 'application/octet-stream' ELSE t.typname END, b.base = 'bytea'::regtype"
"  FROM pg_catalog.pg_type t JOIN bases b ON b.oid = t.oid"
"  WHERE t.typtype = 'd' AND (t.typname ~ '^[A-Za-z0-9.-]+/[A-Za-z0-9.+-]+$' OR t.typname = '*/*')),"
" arguments AS ("
"  SELECT p.oid, a.name, a.type, a.mode, a.ord, pg_catalog.row_number() OVER (PARTITION BY p.oid ORDER BY a.ord)"
"    <= p.pronargs - p.pronargdefaults AS required"
"  FROM pg_catalog.pg_proc p JOIN exposed x ON x.oid = p.pronamespace,"
"   ROWS FROM (pg_catalog.unnest(COALESCE(p.proallargtypes, p.proargtypes::oid[])), pg_catalog.unnest(p.proargnames), pg_catalog.unnest(p.proargmodes))"
"    WITH ORDINALITY AS a(type, name, mode, ord)"
"  WHERE COALESCE(a.mode, 'i') IN ('i', 'b', 'v')),"
" params AS ("
"  SELECT a.oid, pg_catalog.json_agg(pg_catalog.json_build_object('name', COALESCE(a.name, ''), 'type', w.name, 'wide', CASE w.name"
"    WHEN 'bit' THEN 'bit varying' WHEN 'bit[]' THEN 'bit varying[]' WHEN 'character' THEN 'character varying'"
"    WHEN 'character[]' THEN 'character varying[]' ELSE w.name END,"
"    'required', a.required, 'variadic', COALESCE(a.mode = 'v', false)) ORDER BY a.ord) AS list,"
"   pg_catalog.count(*) - pg_catalog.count(a.name) = 0 OR (pg_catalog.count(*) = 1"
"    AND pg_catalog.min(w.name) IN ('bytea', 'json', 'jsonb', 'text', 'xml')) AS callable"
"  FROM arguments a JOIN written w ON w.oid = a.type GROUP BY a.oid),"
" columns(oid, name, type) AS ("
"  SELECT p.oid, a.attname::text, b.base FROM pg_catalog.pg_proc p JOIN exposed x ON x.oid = p.pronamespace"
"   JOIN bases r ON r.oid = p.prorettype JOIN pg_catalog.pg_type t ON t.oid = r.base AND t.typrelid <> 0"
"   JOIN pg_catalog.pg_attribute a ON a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped"
"   JOIN bases b ON b.oid = a.atttypid"
"  UNION ALL SELECT p.oid, a.name, b.base FROM pg_catalog.pg_proc p JOIN exposed x ON x.oid = p.pronamespace,"
"   ROWS FROM (pg_catalog.unnest(p.proallargtypes), pg_catalog.unnest(p.proargnames), pg_catalog.unnest(p.proargmodes)) AS a(type, name, mode) JOIN bases b ON b.oid = a.type"
"  WHERE a.mode IN ('o', 'b', 't')),"
" functions AS ("
"  SELECT pg_catalog.json_build_object('schema', x.nspname, 'name', p.proname, 'oid', p.oid::text, 'description', pg_catalog.obj_description(p.oid, 'pg_proc'),"
"   'params', COALESCE(a.list, '[]'), 'volatile', p.provolatile = 'v', 'set', p.proretset,"
"   'composite', t.typtype = 'c' OR COALESCE(p.proargmodes && '{t,b,o}'::\"char\"[], false),"
"   'void', p.prorettype = 'void'::regtype, 'variadic', p.provariadic <> 0, 'bytes', t.oid = 'bytea'::regtype,"
"   'type', COALESCE(c.relname, t.typname), 'media', CASE WHEN NOT p.proretset THEN m.name END,"
"   'json', (SELECT COALESCE(pg_catalog.json_agg(name ORDER BY name), '[]') FROM columns k"
"     WHERE k.oid = p.oid AND k.type IN ('json'::regtype, 'jsonb'::regtype)),"
"   'vectors', (SELECT COALESCE(pg_catalog.json_agg(name ORDER BY name), '[]') FROM columns k WHERE k.oid = p.oid AND k.type = 'tsvector'::regtype),"
"   'settings', (SELECT COALESCE(pg_catalog.json_object_agg(pg_catalog.split_part(s, '=', 1), pg_catalog.substr(s, pg_catalog.strpos(s, '=') + 1)), '{}')"
"     FROM pg_catalog.unnest(p.proconfig) AS s WHERE s LIKE 'statement_timeout=%' OR s LIKE 'plan_filter.statement_cost_limit=%')) AS data"
"  FROM pg_catalog.pg_proc p JOIN exposed x ON x.oid = p.pronamespace JOIN bases b ON b.oid = p.prorettype"
"   JOIN pg_catalog.pg_type t ON t.oid = b.base LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid"
"   LEFT JOIN params a ON a.oid = p.oid LEFT JOIN media m ON m.oid = p.prorettype"
"  WHERE p.prokind = 'f' AND t.oid <> 'trigger'::regtype AND COALESCE(a.callable, true)),"
" handlers AS ("
"  SELECT pg_catalog.json_build_object('schema', x.nspname, 'name', p.proname,"
"   'target_schema', CASE WHEN t.typname <> 'anyelement' THEN n.nspname END, 'target', t.typname,"
"   'media', m.name, 'answer', m.answer, 'bytes', m.bytes) AS data"
"  FROM pg_catalog.pg_proc p JOIN exposed x ON x.oid = p.pronamespace JOIN media m ON m.oid = p.prorettype"
"   JOIN pg_catalog.pg_type t ON t.oid = p.proargtypes[0] JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace"
"  WHERE p.prokind = 'a' AND p.pronargs = 1 AND (t.typname = 'anyelement' OR t.typrelid <> 0))"
" SELECT 'function', data::text FROM functions UNION ALL SELECT 'handler', data::text FROM handlers ORDER BY 1, 2";

static const char *
text_of(RpcArena *arena, json_t *json, const char *name)
{
	const char *value = json_string_value(json_object_get(json, name));

	return value == NULL ? NULL : arena_copy(arena, value, strlen(value));
}

static const char **
texts_of(RpcArena *arena, json_t *array, size_t *count)
{
	const char **list = arena_take(arena, (json_array_size(array) + 1) * sizeof(char *));

	*count = json_array_size(array);
	for (size_t i = 0; i < *count; i++)
	{
		const char *value = json_string_value(json_array_get(array, i));

		list[i] = value == NULL ? "" : arena_copy(arena, value, strlen(value));
	}
	return list;
}

static bool
load_params(RpcArena *arena, json_t *array, RpcFunction *function)
{
	function->param_count = json_array_size(array);
	function->params = arena_take(arena, (function->param_count + 1) * sizeof(RpcParam));
	for (size_t i = 0; i < function->param_count; i++)
	{
		json_t	   *json = json_array_get(array, i);
		RpcParam   *param = &function->params[i];

		param->name = text_of(arena, json, "name");
		param->type = text_of(arena, json, "type");
		param->wide_type = text_of(arena, json, "wide");
		param->required = json_is_true(json_object_get(json, "required"));
		param->variadic = json_is_true(json_object_get(json, "variadic"));
		if (param->name == NULL || param->type == NULL || param->wide_type == NULL)
			return false;
	}
	return true;
}

static bool
load_function(RpcArena *arena, json_t *json, RpcFunction *function)
{
	json_t	   *settings = json_object_get(json, "settings");

	function->schema = text_of(arena, json, "schema");
	function->name = text_of(arena, json, "name");
	function->oid = text_of(arena, json, "oid");
	function->description = text_of(arena, json, "description");
	function->type_name = text_of(arena, json, "type");
	function->media = text_of(arena, json, "media");
	function->is_volatile = json_is_true(json_object_get(json, "volatile"));
	function->returns_set = json_is_true(json_object_get(json, "set"));
	function->returns_composite = json_is_true(json_object_get(json, "composite"));
	function->returns_void = json_is_true(json_object_get(json, "void"));
	function->returns_bytes = json_is_true(json_object_get(json, "bytes"));
	function->has_variadic = json_is_true(json_object_get(json, "variadic"));
	function->json_columns = texts_of(arena, json_object_get(json, "json"), &function->json_column_count);
	function->vector_columns = texts_of(arena, json_object_get(json, "vectors"), &function->vector_column_count);
	function->settings = arena_take(arena, (json_object_size(settings) + 1) * sizeof(RpcArgument));
	for (void *at = json_object_iter(settings); at != NULL; at = json_object_iter_next(settings, at))
	{
		const char *name = json_object_iter_key(at);

		function->settings[function->setting_count].name = arena_copy(arena, name, strlen(name));
		function->settings[function->setting_count++].value = text_of(arena, settings, name);
	}
	return function->schema != NULL && function->name != NULL && function->type_name != NULL &&
		load_params(arena, json_object_get(json, "params"), function);
}

static bool
load_handler(RpcArena *arena, json_t *json, RpcHandler *handler)
{
	handler->schema = text_of(arena, json, "schema");
	handler->name = text_of(arena, json, "name");
	handler->target_schema = text_of(arena, json, "target_schema");
	handler->target_name = text_of(arena, json, "target");
	handler->media = text_of(arena, json, "media");
	handler->answer_media = text_of(arena, json, "answer");
	handler->bytes = json_is_true(json_object_get(json, "bytes"));
	return handler->schema != NULL && handler->name != NULL && handler->target_name != NULL &&
		handler->media != NULL && handler->answer_media != NULL;
}

static int
compare_texts(const char *one, const char *other)
{
	if (one == NULL || other == NULL)
		return (one != NULL) - (other != NULL);
	return strcmp(one, other);
}

static int
compare_functions(const void *a, const void *b)
{
	const RpcFunction *one = a;
	const RpcFunction *other = b;
	int			order = strcmp(one->schema, other->schema);

	order = order != 0 ? order : strcmp(one->name, other->name);
	if (order == 0 && one->param_count != other->param_count)
		order = one->param_count < other->param_count ? -1 : 1;
	order = order != 0 ? order : compare_texts(one->description, other->description);
	for (size_t i = 0; i < one->param_count && order == 0; i++)
	{
		order = strcmp(one->params[i].name, other->params[i].name);
		order = order != 0 ? order : strcmp(one->params[i].type, other->params[i].type);
	}
	return order;
}

RpcCatalogue *
rpc_catalogue_load(const PGresult *result, const char **why)
{
	RpcArena   *arena = arena_new();
	RpcCatalogue *catalogue = arena_take(arena, sizeof(RpcCatalogue));
	int			rows = PQresultStatus(result) == PGRES_TUPLES_OK && PQnfields(result) == 2 ? PQntuples(result) : -1;

	*why = "the database answered something else than the catalogue's query asks for";
	catalogue->arena = arena;
	catalogue->functions = arena_take(arena, (size_t) (rows + 1) * sizeof(RpcFunction));
	catalogue->handlers = arena_take(arena, (size_t) (rows + 1) * sizeof(RpcHandler));
	for (int i = 0; i < rows; i++)
	{
		json_t	   *json = json_loads(PQgetvalue(result, i, 1), 0, NULL);
		bool		good;

		if (strcmp(PQgetvalue(result, i, 0), "handler") == 0)
			good = load_handler(arena, json, &catalogue->handlers[catalogue->handler_count++]);
		else
			good = load_function(arena, json, &catalogue->functions[catalogue->count++]);
		json_decref(json);
		if (!good)
			rows = -1;
	}
	if (rows < 0)
	{
		arena_free(arena);
		return NULL;
	}
	qsort(catalogue->functions, catalogue->count, sizeof(RpcFunction), compare_functions);
	return catalogue;
}

void
rpc_catalogue_free(RpcCatalogue *catalogue)
{
	if (catalogue != NULL)
		arena_free(catalogue->arena);
}

size_t
rpc_catalogue_size(const RpcCatalogue *catalogue)
{
	return catalogue->count;
}

bool
rpc_function_is_scalar(const RpcFunction *function)
{
	return !function->returns_set && !function->returns_composite;
}

const char *
rpc_function_alias(const RpcFunction *function)
{
	return function->returns_composite ? function->type_name : function->name;
}

/* ---- which function ---- */

static bool
has_key(const RpcAsked *asked, const char *name)
{
	for (size_t i = 0; i < asked->key_count; i++)
		if (strcmp(asked->keys[i], name) == 0)
			return true;
	return false;
}

static bool
raw_content(RpcMediaKind content)
{
	return content == MEDIA_TEXT || content == MEDIA_XML || content == MEDIA_BYTES;
}

/* All required ones are given, and nothing else but optional ones. */
static bool
fits_names(const RpcFunction *function, const RpcAsked *asked)
{
	size_t		found = 0;

	if (function->param_count == 0)
		return asked->key_count == 0 && !(asked->post && raw_content(asked->content));
	for (size_t i = 0; i < function->param_count; i++)
	{
		bool		given = has_key(asked, function->params[i].name);

		if (function->params[i].required && !given)
			return false;
		found += given;
	}
	return found == asked->key_count;
}

static bool
fits_body(const RpcFunction *function, const RpcAsked *asked)
{
	const char *type = function->param_count == 1 ? function->params[0].type : "";

	if (!asked->post || function->param_count != 1 || function->params[0].name[0] != '\0')
		return false;
	switch (asked->content)
	{
		case MEDIA_JSON:
			return strcmp(type, "json") == 0 || strcmp(type, "jsonb") == 0;
		case MEDIA_TEXT:
			return strcmp(type, "text") == 0;
		case MEDIA_XML:
			return strcmp(type, "xml") == 0;
		case MEDIA_BYTES:
			return strcmp(type, "bytea") == 0;
		default:
			return false;
	}
}

/* The first function of that name; count: how many there are. */
static const RpcFunction *
named(const RpcCatalogue *catalogue, const RpcAsked *asked, size_t *count)
{
	size_t		low = 0;
	size_t		high = catalogue->count;

	while (low < high)
	{
		size_t		middle = (low + high) / 2;
		const RpcFunction *function = &catalogue->functions[middle];
		int			order = strcmp(function->schema, asked->schema);

		order = order != 0 ? order : strcmp(function->name, asked->name);
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (*count = 0; low + *count < catalogue->count; (*count)++)
	{
		const RpcFunction *function = &catalogue->functions[low + *count];

		if (strcmp(function->schema, asked->schema) != 0 || strcmp(function->name, asked->name) != 0)
			break;
	}
	return &catalogue->functions[low];
}

const RpcFunction **
rpc_match(RpcArena *arena, const RpcCatalogue *catalogue, const RpcAsked *asked, size_t *count)
{
	size_t		candidates;
	const RpcFunction *first = named(catalogue, asked, &candidates);
	const RpcFunction **found = arena_take(arena, (candidates + 1) * sizeof(RpcFunction *));

	*count = 0;
	for (size_t i = 0; i < candidates; i++)
		if (fits_names(&first[i], asked))
			found[(*count)++] = &first[i];
	if (*count == 0)
		for (size_t i = 0; i < candidates; i++)
			if (fits_body(&first[i], asked))
				found[(*count)++] = &first[i];
	return found;
}

/* (a, b): the names in order. */
static const char *
listed(RpcArena *arena, const char **names, size_t count)
{
	RpcText		text = text_new(arena);

	text_add_char(&text, '(');
	for (size_t i = 0; i < count; i++)
		text_print(&text, "%s%s", i > 0 ? ", " : "", names[i]);
	text_add_char(&text, ')');
	return text.at;
}

const char *
rpc_hint(RpcArena *arena, const RpcCatalogue *catalogue, const RpcAsked *asked)
{
	size_t		candidates;
	const RpcFunction *first = named(catalogue, asked, &candidates);
	const char **names = arena_take(arena, (catalogue->count + 1) * sizeof(char *));
	size_t		count = 0;
	const char *nearest;

	if (candidates == 0)
	{
		for (size_t i = 0; i < catalogue->count; i++)
			if (strcmp(catalogue->functions[i].schema, asked->schema) == 0)
				names[count++] = catalogue->functions[i].name;
		nearest = rpc_nearest(arena, names, count, asked->name, 0.75);
		return nearest == NULL ? NULL : arena_print(arena, "Perhaps you meant to call the function %s.%s", asked->schema, nearest);
	}
	for (size_t i = 0; i < candidates; i++)
	{
		const char **params = arena_take(arena, (first[i].param_count + 1) * sizeof(char *));
		size_t		param_count = first[i].param_count;

		for (size_t k = 0; k < param_count; k++)
			params[k] = first[i].params[k].name;
		rpc_sort_names(params, &param_count);
		names[count++] = listed(arena, params, param_count);
	}
	nearest = rpc_nearest(arena, names, count, listed(arena, asked->keys, asked->key_count), 0.33);
	return nearest == NULL ? NULL : arena_print(arena, "Perhaps you meant to call the function %s.%s%s", asked->schema, asked->name, nearest);
}
