#include "gateway/rpc_query.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "lib/utf8.h"

#define FAR ((int64_t) 1 << 62)	/* beyond any number of rows, and sums of two don't overflow */

typedef struct Reading
{
	RpcArena   *arena;
	RpcArgument *pairs;
	size_t		pair_count;
	bool		with_arguments;
	bool		telling;		/* the second time, because something is wrong */
	RpcQuery   *out;
	RpcQueryError *error;
} Reading;

bool
rpc_pairs(RpcArena *arena, const char *text, size_t length, RpcArgument **pairs, size_t *count)
{
	const char *end = text + length;

	*pairs = NULL;
	*count = 0;
	for (const char *at = text; at < end;)
	{
		const char *stop = memchr(at, '&', (size_t) (end - at));
		const char *equals;
		size_t		name_length;
		size_t		value_length;
		RpcArgument pair;

		stop = stop == NULL ? end : stop;
		equals = memchr(at, '=', (size_t) (stop - at));
		if (equals != NULL)
		{
			pair.name = text_decoded(arena, at, (size_t) (equals - at), true, &name_length);
			pair.value = text_decoded(arena, equals + 1, (size_t) (stop - equals - 1), true, &value_length);
			if (!utf8_is_text(pair.name, name_length) || !utf8_is_text(pair.value, value_length))
				return false;
			*pairs = arena_grow(arena, *pairs, *count, sizeof(RpcArgument));
			(*pairs)[(*count)++] = pair;
		}
		at = stop + 1;
	}
	return true;
}

/* The last of the words that dots divide is this one. */
static bool
ends_in(const char *name, const char *word)
{
	const char *dot = strrchr(name, '.');

	return strcmp(dot == NULL ? name : dot + 1, word) == 0;
}

static Parse
start_parse(const Reading *reading, const char *text, const char *what, const char *shown)
{
	return (Parse) {.arena = reading->arena, .text = text, .length = strlen(text), .telling = reading->telling,
		.name = reading->telling ? arena_print(reading->arena, "failed to parse %s (%s)", what, shown) : NULL};
}

static bool
finish_parse(Reading *reading, const Parse *parse, const ParseReply *reply)
{
	if (!reply->ok && reading->telling)
	{
		reading->error->message = parse_where(parse, reply->error);
		reading->error->details = parse_what(reading->arena, reply->error);
	}
	return reply->ok;
}

/* relation.relation.name->path of a parameter's name; what stands behind it is not looked at. */
static bool
read_path(Reading *reading, const char *name, RpcField *field)
{
	Parse		parse = start_parse(reading, name, "tree path", name);
	ParseReply	reply = parse_nothing(&parse);
	const char *first = NULL;

	*field = (RpcField) {.name = NULL};
	for (;;)
	{
		ParseReply	dot;

		if (!parse_then(&reply, rpc_parse_name(&parse, &field->name)))
			return finish_parse(reading, &parse, &reply);
		dot = parse_called(&parse, parse_char(&parse, '.'), "delimiter (.)");
		if (!parse_then(&reply, dot))
			break;
		first = first == NULL ? field->name : first;
	}
	reply.ok = true;
	parse_then(&reply, rpc_parse_steps(&parse, field));
	if (first != NULL && reading->out->not_embedded == NULL)
		reading->out->not_embedded = first;
	return finish_parse(reading, &parse, &reply);
}

static void
add_condition(Reading *reading, RpcTree *tree)
{
	RpcQuery   *out = reading->out;

	out->conditions = arena_grow(reading->arena, out->conditions, out->condition_count, sizeof(RpcTree *));
	out->conditions[out->condition_count++] = tree;
}

static bool
read_order(Reading *reading, const RpcArgument *pair)
{
	RpcQuery   *out = reading->out;
	Parse		parse = start_parse(reading, pair->value, "order", pair->value);
	RpcField	path;
	RpcOrder   *orders = NULL;
	size_t		count = 0;
	ParseReply	reply;

	if (!read_path(reading, pair->name, &path))
		return false;
	reply = rpc_parse_order(&parse, &orders, &count);
	if (!finish_parse(reading, &parse, &reply))
		return false;
	for (size_t i = 0; i < count; i++)
		if (orders[i].relation != NULL && out->not_embedded == NULL)
			out->not_embedded = orders[i].relation;
	if (out->order_count == 0)
	{
		out->orders = orders;
		out->order_count = count;
	}
	return true;
}

/* and=(...), not.or=(...) */
static bool
read_logic(Reading *reading, const RpcArgument *pair)
{
	Parse		path = start_parse(reading, pair->name, "logic path", pair->name);
	ParseReply	reply = parse_nothing(&path);
	const char *name = NULL;
	const char *relation = NULL;
	bool		negated = false;
	Parse		parse;
	RpcTree    *tree = NULL;

	for (;;)
	{
		if (name != NULL && strcmp(name, "not") == 0)
			negated = true;
		else if (name != NULL && relation == NULL)
			relation = name;
		if (!parse_then(&reply, rpc_parse_name(&path, &name)))
			return finish_parse(reading, &path, &reply);
		if (!parse_then(&reply, parse_called(&path, parse_char(&path, '.'), "delimiter (.)")))
			break;
	}
	if (relation != NULL && reading->out->not_embedded == NULL)
		reading->out->not_embedded = relation;
	parse = start_parse(reading, arena_print(reading->arena, "%s%s%s", negated ? "not." : "", name, pair->value), "logic tree", pair->value);
	reply = rpc_parse_tree(&parse, &tree);
	if (!finish_parse(reading, &parse, &reply))
		return false;
	add_condition(reading, tree);
	return true;
}

static bool
read_filter(Reading *reading, const RpcArgument *pair)
{
	RpcQuery   *out = reading->out;
	RpcTree    *tree = arena_take(reading->arena, sizeof(RpcTree));
	const char *relation = out->not_embedded;
	Parse		parse = start_parse(reading, pair->value, "filter", pair->value);
	ParseReply	reply;

	if (!read_path(reading, pair->name, &tree->filter.field))
		return false;
	/* Every operator begins with a letter. */
	reply = reading->with_arguments && !(pair->value[0] >= 'a' && pair->value[0] <= 'z') ? parse_fail(&parse) :
		rpc_parse_operation(&parse, false, &tree->filter);
	if (!reply.ok && !reply.consumed && reading->with_arguments)
	{
		out->not_embedded = relation;
		out->arguments = arena_grow(reading->arena, out->arguments, out->argument_count, sizeof(RpcArgument));
		out->arguments[out->argument_count++] = (RpcArgument) {tree->filter.field.name, pair->value};
		return true;
	}
	if (!finish_parse(reading, &parse, &reply))
		return false;
	tree->is_filter = true;
	add_condition(reading, tree);
	return true;
}

static const char *
value_of(const Reading *reading, const char *name)
{
	for (size_t i = 0; i < reading->pair_count; i++)
		if (strcmp(reading->pairs[i].name, name) == 0)
			return reading->pairs[i].value;
	return NULL;
}

static bool
read_columns(Reading *reading)
{
	const char *value = value_of(reading, "columns");
	const char *conflict = value_of(reading, "on_conflict");
	const char **ignored = NULL;
	size_t		count = 0;
	Parse		parse;
	ParseReply	reply;

	if (value != NULL)
	{
		parse = start_parse(reading, value, "columns parameter", value);
		reply = rpc_parse_columns(&parse, &reading->out->columns, &reading->out->column_count);
		if (!finish_parse(reading, &parse, &reply))
			return false;
	}
	if (conflict != NULL)
	{
		parse = start_parse(reading, conflict, "on_conflict parameter", conflict);
		reply = rpc_parse_columns(&parse, &ignored, &count);
		return finish_parse(reading, &parse, &reply);
	}
	return true;
}

static bool
read_select(Reading *reading)
{
	const char *value = value_of(reading, "select");
	Parse		parse;
	ParseReply	reply;

	if (value == NULL)
	{
		reading->out->selects = arena_take(reading->arena, sizeof(RpcSelect));
		*reading->out->selects = (RpcSelect) {.field = {.name = "*"}};
		reading->out->select_count = 1;
		return true;
	}
	parse = start_parse(reading, value, "select parameter", value);
	reply = rpc_parse_select(&parse, &reading->out->selects, &reading->out->select_count);
	return finish_parse(reading, &parse, &reply);
}

/* ---- ranges ---- */

static bool
read_number(const char *text, int64_t *out)
{
	const char *at = text;
	const char *end = text + strlen(text);
	bool		minus;
	int64_t		value = 0;

	while (isspace((unsigned char) *at))
		at++;
	while (end > at && isspace((unsigned char) end[-1]))
		end--;
	minus = *at == '-';
	at += minus;
	if (at == end)
		return false;
	for (; at < end; at++)
	{
		if (!isdigit((unsigned char) *at))
			return false;
		value = value > FAR / 10 - 10 ? FAR : value * 10 + (*at - '0');
	}
	*out = minus ? -value : value;
	return true;
}

static bool
range_is_empty(RpcRange range)
{
	return range.upper < range.lower;
}

RpcRange
rpc_range_both(RpcRange one, RpcRange other)
{
	if (range_is_empty(one) || range_is_empty(other))
		return (RpcRange) {0, -FAR};
	return (RpcRange) {one.lower > other.lower ? one.lower : other.lower, one.upper < other.upper ? one.upper : other.upper};
}

RpcRange
rpc_range_of_header(const char *value)
{
	const char *dash = strchr(value, '-');
	RpcRange	range = {0, INT64_MAX};
	char		lower[24] = "";

	if (dash == NULL || dash == value || (size_t) (dash - value) >= sizeof(lower) ||
		strspn(value, "0123456789") != (size_t) (dash - value) || dash[1 + strspn(dash + 1, "0123456789")] != '\0')
		return range;
	memcpy(lower, value, (size_t) (dash - value));
	read_number(lower, &range.lower);
	if (dash[1] != '\0')
		read_number(dash + 1, &range.upper);
	return range;
}

/* The last of the parameters counts; one that is no number is none. */
static void
read_range(Reading *reading)
{
	bool		has_limit = false;
	bool		has_offset = false;
	int64_t		limit = FAR;
	int64_t		offset = 0;
	RpcRange   *range = &reading->out->range;

	for (size_t i = 0; i < reading->pair_count; i++)
	{
		const RpcArgument *pair = &reading->pairs[i];

		if (strcmp(pair->name, "limit") == 0)
		{
			has_limit = true;
			if (!read_number(pair->value, &limit))
				limit = FAR;
		}
		else if (strcmp(pair->name, "offset") == 0)
		{
			has_offset = true;
			if (!read_number(pair->value, &offset))
				offset = 0;
		}
		else if ((ends_in(pair->name, "limit") || ends_in(pair->name, "offset")) && reading->out->not_embedded == NULL)
			reading->out->not_embedded = arena_copy(reading->arena, pair->name, strcspn(pair->name, "."));
	}
	range->lower = has_offset ? offset : 0;
	range->upper = INT64_MAX;
	if (has_limit && has_offset)
		range->upper = offset + (limit == FAR ? 0 : limit) - 1;
	else if (has_limit && limit != FAR)
		range->upper = limit - 1;
}

/* ---- all of it ---- */

typedef bool (*ReadPair) (Reading *reading, const RpcArgument *pair);

static bool
is_logic(const char *name)
{
	return ends_in(name, "and") || ends_in(name, "or");
}

static bool
is_filter(const char *name)
{
	return !is_logic(name) && !ends_in(name, "order") && !ends_in(name, "limit") && !ends_in(name, "offset") &&
		strcmp(name, "select") != 0 && strcmp(name, "columns") != 0 && strcmp(name, "on_conflict") != 0;
}

static bool
is_order(const char *name)
{
	return ends_in(name, "order");
}

static bool
read_each(Reading *reading, bool (*wanted) (const char *), ReadPair read)
{
	for (size_t i = 0; i < reading->pair_count; i++)
		if (wanted(reading->pairs[i].name) && !read(reading, &reading->pairs[i]))
			return false;
	return true;
}

static bool
read_all(Reading *reading)
{
	memset(reading->out, 0, sizeof(*reading->out));
	if (!read_each(reading, is_order, read_order) || !read_each(reading, is_logic, read_logic) ||
		!read_columns(reading) || !read_select(reading) || !read_each(reading, is_filter, read_filter))
		return false;
	read_range(reading);
	return true;
}

bool
rpc_query_read(RpcArena *arena, const char *query, bool with_arguments, RpcQuery *out, RpcQueryError *error)
{
	Reading		reading = {.arena = arena, .with_arguments = with_arguments, .out = out, .error = error};

	if (query == NULL)
		query = "";
	if (!rpc_pairs(arena, query, strlen(query), &reading.pairs, &reading.pair_count))
	{
		error->message = "failed to parse the query string";
		error->details = "It is not UTF-8 text, or has a NUL byte";
		return false;
	}
	if (read_all(&reading))
		return true;
	reading.telling = true;
	read_all(&reading);
	return false;
}
