/* The parts of a statement that the query string shapes: fields, conditions, order, limits. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "gateway/rpc_sql.h"

void
sql_bytes(RpcSql *sql, const char *value, size_t length, int format)
{
	if (sql->count < RPC_MAX_PARAMS)
	{
		sql->values = arena_grow(sql->text.arena, sql->values, (size_t) sql->count, sizeof(char *));
		sql->lengths = arena_grow(sql->text.arena, sql->lengths, (size_t) sql->count, sizeof(int));
		sql->formats = arena_grow(sql->text.arena, sql->formats, (size_t) sql->count, sizeof(int));
		sql->values[sql->count] = value;
		sql->lengths[sql->count] = (int) length;
		sql->formats[sql->count] = format;
	}
	sql->count++;
	text_add_char(&sql->text, '$');
	text_add_number(&sql->text, (unsigned) sql->count);
}

void
sql_value(RpcSql *sql, const char *value)
{
	sql_bytes(sql, value, strlen(value), 0);
}

void
sql_number(RpcSql *sql, int64_t number)
{
	sql_value(sql, arena_print(sql->text.arena, "%" PRId64, number));
}

void
sql_add(RpcSql *sql, const char *more)
{
	text_add(&sql->text, more);
}

void
sql_name(RpcSql *sql, const char *name)
{
	text_add_identifier(&sql->text, name);
}

void
sql_qualified(RpcSql *sql, const char *schema, const char *name)
{
	sql_name(sql, schema);
	sql_add(sql, ".");
	sql_name(sql, name);
}

/* {"a","b"} */
const char *
sql_array(RpcArena *arena, const char *const *values, size_t count)
{
	RpcText		text = text_new(arena);

	text_add_char(&text, '{');
	for (size_t i = 0; i < count; i++)
	{
		text_add(&text, i > 0 ? ",\"" : "\"");
		for (const char *c = values[i]; *c != '\0'; c++)
		{
			if (*c == '"' || *c == '\\')
				text_add_char(&text, '\\');
			text_add_char(&text, *c);
		}
		text_add_char(&text, '"');
	}
	text_add_char(&text, '}');
	return text.at;
}

bool
sql_named_in(const char **names, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

/* ---- fields and conditions ---- */

static void
add_column(RpcSql *sql, const RpcField *field)
{
	sql_name(sql, sql->alias);
	sql_add(sql, ".");
	if (strcmp(field->name, "*") == 0)
		sql_add(sql, "*");
	else
		sql_name(sql, field->name);
}

static void
add_field(RpcSql *sql, const RpcField *field)
{
	const RpcFunction *function = sql->call->function;
	bool		converted = field->step_count > 0 && !sql_named_in(function->json_columns, function->json_column_count, field->name);

	sql_add(sql, converted ? "pg_catalog.to_jsonb(" : "");
	add_column(sql, field);
	sql_add(sql, converted ? ")" : "");
	for (size_t i = 0; i < field->step_count; i++)
	{
		sql_add(sql, field->steps[i].as_text ? "->>" : "->");
		sql_value(sql, field->steps[i].key);
		sql_add(sql, field->steps[i].is_index ? "::int" : "");
	}
}

/* A text search wants a tsvector on its left side. */
static void
add_left_side(RpcSql *sql, const RpcFilter *filter)
{
	const RpcFunction *function = sql->call->function;

	if (filter->operation != RPC_FTS || sql_named_in(function->vector_columns, function->vector_column_count, filter->field.name))
	{
		add_field(sql, &filter->field);
		return;
	}
	sql_add(sql, "pg_catalog.to_tsvector(");
	if (filter->language != NULL)
	{
		sql_value(sql, filter->language);
		sql_add(sql, "::regconfig, ");
	}
	add_field(sql, &filter->field);
	sql_add(sql, ")");
}

static const char *
percent_for_star(RpcArena *arena, const char *value)
{
	char	   *copy = arena_copy(arena, value, strlen(value));

	for (char *c = copy; *c != '\0'; c++)
		if (*c == '*')
			*c = '%';
	return copy;
}

static void
add_compared(RpcSql *sql, const RpcFilter *filter)
{
	const char *value = filter->operation == RPC_LIKE ? percent_for_star(sql->text.arena, filter->value) : filter->value;

	text_print(&sql->text, " %s ", filter->operator);
	if (filter->quantifier != NULL)
		text_print(&sql->text, "%s(", filter->quantifier);
	sql_value(sql, value);
	sql_add(sql, filter->quantifier != NULL ? ")" : "");
}

static void
add_filter(RpcSql *sql, const RpcFilter *filter)
{
	sql_add(sql, filter->negated ? "NOT " : "");
	add_left_side(sql, filter);
	switch (filter->operation)
	{
		case RPC_OPERATOR:
		case RPC_LIKE:
			add_compared(sql, filter);
			break;
		case RPC_IN:
			sql_add(sql, " = ANY(");
			if (filter->list_count == 1 && filter->list[0][0] == '\0')
				sql_add(sql, "'{}'");
			else
				sql_value(sql, sql_array(sql->text.arena, filter->list, filter->list_count));
			sql_add(sql, ")");
			break;
		case RPC_IS:
			text_print(&sql->text, " IS %s", filter->operator);
			break;
		case RPC_IS_DISTINCT:
			sql_add(sql, " IS DISTINCT FROM ");
			sql_value(sql, filter->value);
			break;
		case RPC_FTS:
			text_print(&sql->text, " @@ pg_catalog.%s(", filter->operator);
			if (filter->language != NULL)
			{
				sql_value(sql, filter->language);
				sql_add(sql, "::regconfig, ");
			}
			sql_value(sql, filter->value);
			sql_add(sql, ")");
			break;
	}
}

static void
add_tree(RpcSql *sql, const RpcTree *tree)
{
	if (tree->is_filter)
	{
		add_filter(sql, &tree->filter);
		return;
	}
	sql_add(sql, tree->negated ? "NOT (" : "(");
	for (size_t i = 0; i < tree->branch_count; i++)
	{
		sql_add(sql, i == 0 ? "" : tree->is_or ? " OR " : " AND ");
		add_tree(sql, tree->branches[i]);
	}
	sql_add(sql, ")");
}

void
sql_conditions(RpcSql *sql)
{
	const RpcQuery *query = sql->call->query;

	for (size_t i = 0; i < query->condition_count; i++)
	{
		sql_add(sql, i == 0 ? " WHERE " : " AND ");
		add_tree(sql, query->conditions[i]);
	}
}

/* ---- the rows ---- */

typedef struct Names
{
	const char **list;
	size_t		count;
	bool		all;
} Names;

static void
need_column(RpcArena *arena, Names *names, const char *name)
{
	names->all = names->all || strcmp(name, "*") == 0;
	if (sql_named_in(names->list, names->count, name))
		return;
	names->list = arena_grow(arena, names->list, names->count, sizeof(char *));
	names->list[names->count++] = name;
}

static void
need_columns_of_tree(RpcArena *arena, Names *names, const RpcTree *tree)
{
	if (tree->is_filter)
		need_column(arena, names, tree->filter.field.name);
	for (size_t i = 0; i < tree->branch_count; i++)
		need_columns_of_tree(arena, names, tree->branches[i]);
}

void
sql_needed_columns(RpcSql *sql)
{
	const RpcQuery *query = sql->call->query;
	RpcArena   *arena = sql->text.arena;
	Names		names = {.all = query->select_count == 0};

	for (size_t i = 0; i < query->select_count; i++)
		need_column(arena, &names, query->selects[i].field.name);
	for (size_t i = 0; i < query->condition_count; i++)
		need_columns_of_tree(arena, &names, query->conditions[i]);
	for (size_t i = 0; i < query->order_count; i++)
		need_column(arena, &names, query->orders[i].field.name);
	if (names.all)
		sql_add(sql, "pgrst_call.*");
	for (size_t i = 0; i < names.count && !names.all; i++)
	{
		sql_add(sql, i > 0 ? ", pgrst_call." : "pgrst_call.");
		sql_name(sql, names.list[i]);
	}
}

/* The name a selected path gets: its last key. */
static const char *
alias_of(const RpcSelect *select)
{
	if (select->alias != NULL || select->aggregate != NULL || select->field.step_count == 0)
		return select->alias;
	for (size_t i = select->field.step_count; i > 0; i--)
		if (!select->field.steps[i - 1].is_index)
			return select->field.steps[i - 1].key;
	return select->field.name;
}

static void
add_selected(RpcSql *sql, const RpcSelect *select)
{
	const char *alias = alias_of(select);

	sql_add(sql, select->aggregate_cast != NULL && select->aggregate != NULL ? "CAST(" : "");
	if (select->aggregate != NULL)
		text_print(&sql->text, "%s(", select->aggregate);
	sql_add(sql, select->cast != NULL ? "CAST(" : "");
	if (select->aggregate != NULL && strcmp(select->field.name, "*") == 0)
		sql_add(sql, "*");
	else
		add_field(sql, &select->field);
	if (select->cast != NULL)
		text_print(&sql->text, " AS %s)", select->cast);
	sql_add(sql, select->aggregate != NULL ? ")" : "");
	if (select->aggregate_cast != NULL && select->aggregate != NULL)
		text_print(&sql->text, " AS %s)", select->aggregate_cast);
	if (alias != NULL)
	{
		sql_add(sql, " AS ");
		sql_name(sql, alias);
	}
}

static void
add_groups(RpcSql *sql)
{
	const RpcQuery *query = sql->call->query;
	bool		any = false;
	bool		first = true;

	for (size_t i = 0; i < query->select_count; i++)
		any = any || query->selects[i].aggregate != NULL;
	for (size_t i = 0; i < query->select_count && any; i++)
		if (query->selects[i].aggregate == NULL)
		{
			/* By its place: a parameter in it would be another one each time. */
			text_print(&sql->text, "%s%zu", first ? " GROUP BY " : ", ", i + 1);
			first = false;
		}
}

static void
add_orders(RpcSql *sql)
{
	const RpcQuery *query = sql->call->query;

	for (size_t i = 0; i < query->order_count; i++)
	{
		const RpcOrder *order = &query->orders[i];

		sql_add(sql, i == 0 ? " ORDER BY " : ", ");
		add_field(sql, &order->field);
		if (order->direction != NULL)
			text_print(&sql->text, " %s", order->direction);
		if (order->nulls != NULL)
			text_print(&sql->text, " %s", order->nulls);
	}
}

static void
add_limit(RpcSql *sql)
{
	RpcRange	range = sql->call->answering->range;
	int64_t		max_rows = sql->call->config->max_rows;
	int64_t		limit = range.upper == INT64_MAX ? INT64_MAX : range.upper - range.lower + 1;

	if (max_rows > 0 && limit > max_rows)
		limit = max_rows;
	if (limit == INT64_MAX && range.lower == 0)
		return;
	if (limit != INT64_MAX)
	{
		sql_add(sql, " LIMIT ");
		sql_number(sql, limit);
	}
	sql_add(sql, " OFFSET ");
	sql_number(sql, range.lower);
}

void
sql_rows(RpcSql *sql)
{
	const RpcQuery *query = sql->call->query;

	sql_add(sql, "SELECT ");
	if (query->select_count == 0)
	{
		sql_name(sql, sql->alias);
		sql_add(sql, ".*");
	}
	for (size_t i = 0; i < query->select_count; i++)
	{
		sql_add(sql, i > 0 ? ", " : "");
		add_selected(sql, &query->selects[i]);
	}
	sql_add(sql, " FROM pgrst_source AS ");
	sql_name(sql, sql->alias);
	sql_conditions(sql);
	add_groups(sql);
	add_orders(sql);
	add_limit(sql);
}

