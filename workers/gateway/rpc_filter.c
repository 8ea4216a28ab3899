/* Filters, trees of them, and order. */
#include <stdio.h>
#include <string.h>

#include "gateway/rpc_query.h"

static ParseReply
parse_delimiter(Parse *parse)
{
	return parse_called(parse, parse_char(parse, '.'), "delimiter (.)");
}

/* ---- values ---- */

/* "..." up to , or ), else what stands there up to them. */
static ParseReply
parse_element(Parse *parse, const char **value)
{
	size_t		start = parse->at;
	ParseReply	reply = rpc_parse_quoted(parse, value);

	if (reply.ok)
		parse_then(&reply, parse_not_ahead(parse, ",)", true, NULL));
	reply = parse_try(parse, start, reply);
	if (reply.ok)
		return reply;
	reply = parse_or(&reply, parse_many_of(parse, ",)", true));
	*value = parse_text(parse, start);
	return reply;
}

/* {a,b} as it is. */
static ParseReply
parse_array(Parse *parse, const char **value)
{
	size_t		start = parse->at;
	ParseReply	reply = parse_string(parse, "{");

	if (reply.ok && parse_then(&reply, parse_many_of(parse, "{}", true)))
		parse_then(&reply, parse_string(parse, "}"));
	reply = parse_try(parse, start, reply);
	if (reply.ok)
		*value = parse_text(parse, start);
	return reply;
}

static ParseReply
parse_value(Parse *parse, bool in_tree, const char **value)
{
	size_t		start = parse->at;
	ParseReply	reply;

	if (!in_tree)
	{
		reply = parse_many_of(parse, "", true);
		*value = parse_text(parse, start);
		return reply;
	}
	reply = rpc_parse_quoted(parse, value);
	if (reply.ok)
		parse_then(&reply, parse_not_ahead(parse, ",)", true, NULL));
	reply = parse_try(parse, start, reply);
	if (!reply.ok)
		reply = parse_or(&reply, parse_array(parse, value));
	if (!reply.ok)
	{
		reply = parse_or(&reply, parse_many_of(parse, ",)", true));
		*value = parse_text(parse, start);
	}
	return reply;
}

static ParseReply
parse_bracket(Parse *parse, char bracket)
{
	ParseReply	reply = rpc_parse_blanks(parse);

	if (parse_then(&reply, parse_char(parse, bracket)))
		parse_then(&reply, rpc_parse_blanks(parse));
	return reply;
}

static ParseReply
parse_list(Parse *parse, RpcFilter *filter)
{
	ParseReply	reply = parse_bracket(parse, '(');

	while (reply.ok)
	{
		const char *element = NULL;
		ParseReply	comma;

		if (!parse_then(&reply, parse_element(parse, &element)))
			return reply;
		filter->list = arena_grow(parse->arena, filter->list, filter->list_count, sizeof(char *));
		filter->list[filter->list_count++] = element;
		comma = parse_char(parse, ',');
		if (!parse_then(&reply, comma))
		{
			reply.ok = true;
			break;
		}
	}
	if (reply.ok)
		parse_then(&reply, parse_bracket(parse, ')'));
	return reply;
}

/* ---- operators ---- */

/* The word and the dot behind it, all or nothing. */
static ParseReply
parse_word_dot(Parse *parse, const char *word)
{
	size_t		start = parse->at;
	ParseReply	reply = parse_string(parse, word);

	if (reply.ok)
		parse_then(&reply, parse_delimiter(parse));
	return parse_try(parse, start, reply);
}

/* The word, small or large letter by letter. */
static ParseReply
parse_any_case(Parse *parse, const char *word)
{
	size_t		start = parse->at;
	ParseReply	reply = parse_nothing(parse);

	for (const char *c = word; *c != '\0' && reply.ok; c++)
	{
		ParseReply	next = parse_char(parse, *c);

		if (!next.ok)
			next = parse_or(&next, parse_char(parse, (char) (*c >= 'a' && *c <= 'z' ? *c - 32 : *c)));
		parse_then(&reply, next);
	}
	return parse_try(parse, start, reply);
}

static ParseReply
parse_is(Parse *parse, RpcFilter *filter)
{
	static const struct
	{
		const char *word;
		const char *sql;
	}			values[] = {{"null", "NULL"}, {"not_null", "NOT NULL"}, {"true", "TRUE"}, {"false", "FALSE"}, {"unknown", "UNKNOWN"}};
	ParseReply	reply = parse_word_dot(parse, "is");
	ParseReply	value = parse_fail(parse);

	if (!reply.ok)
		return reply;
	filter->operation = RPC_IS;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]) && !value.ok; i++)
	{
		value = parse_or(&value, parse_any_case(parse, values[i].word));
		filter->operator = values[i].sql;
	}
	parse_then(&reply, parse_called(parse, value, "isVal: (null, not_null, true, false, unknown)"));
	return reply;
}

static ParseReply
parse_in(Parse *parse, RpcFilter *filter)
{
	ParseReply	reply = parse_word_dot(parse, "in");

	filter->operation = RPC_IN;
	if (reply.ok)
		parse_then(&reply, parse_list(parse, filter));
	return reply;
}

static ParseReply
parse_distinct(Parse *parse, bool in_tree, RpcFilter *filter)
{
	ParseReply	reply = parse_word_dot(parse, "isdistinct");

	filter->operation = RPC_IS_DISTINCT;
	if (reply.ok)
		parse_then(&reply, parse_value(parse, in_tree, &filter->value));
	return reply;
}

typedef struct Operator
{
	const char *word;
	RpcOperation operation;
	const char *sql;
} Operator;

static const Operator searches[] = {
	{"fts", RPC_FTS, "to_tsquery"}, {"plfts", RPC_FTS, "plainto_tsquery"},
	{"phfts", RPC_FTS, "phraseto_tsquery"}, {"wfts", RPC_FTS, "websearch_to_tsquery"}, {NULL, 0, NULL}
};
static const Operator simple_ones[] = {
	{"neq", RPC_OPERATOR, "<>"}, {"cs", RPC_OPERATOR, "@>"}, {"cd", RPC_OPERATOR, "<@"}, {"ov", RPC_OPERATOR, "&&"},
	{"sl", RPC_OPERATOR, "<<"}, {"sr", RPC_OPERATOR, ">>"}, {"nxr", RPC_OPERATOR, "&<"}, {"nxl", RPC_OPERATOR, "&>"},
	{"adj", RPC_OPERATOR, "-|-"}, {NULL, 0, NULL}
};
static const Operator quantified[] = {
	{"eq", RPC_OPERATOR, "="}, {"gte", RPC_OPERATOR, ">="}, {"gt", RPC_OPERATOR, ">"}, {"lte", RPC_OPERATOR, "<="},
	{"lt", RPC_OPERATOR, "<"}, {"like", RPC_LIKE, "like"}, {"ilike", RPC_LIKE, "ilike"},
	{"match", RPC_OPERATOR, "~"}, {"imatch", RPC_OPERATOR, "~*"}, {NULL, 0, NULL}
};

/* The first of the words that stands here. */
static ParseReply
parse_operator(Parse *parse, const Operator *operators, RpcFilter *filter)
{
	ParseReply	reply = parse_fail(parse);
	size_t		start = parse->at;

	for (const Operator *operator = operators; operator->word != NULL && !reply.ok; operator++)
	{
		reply = parse_or(&reply, parse_try(parse, start, parse_string(parse, operator->word)));
		filter->operation = operator->operation;
		filter->operator = operator->sql;
	}
	return reply;
}

/* (any), (all); for text search (language) */
static ParseReply
parse_modifier(Parse *parse, bool search, RpcFilter *filter)
{
	size_t		start = parse->at;
	ParseReply	reply = parse_char(parse, '(');

	if (reply.ok && search)
	{
		size_t		from = parse->at;

		if (parse_then(&reply, parse_many_identifier(parse)))
			filter->language = parse_stripped(parse, from);
	}
	else if (reply.ok)
	{
		size_t		from = parse->at;
		ParseReply	word = parse_try(parse, from, parse_string(parse, "any"));

		filter->quantifier = "ANY";
		if (!word.ok)
		{
			word = parse_or(&word, parse_string(parse, "all"));
			filter->quantifier = "ALL";
		}
		parse_then(&reply, word);
	}
	if (reply.ok)
		parse_then(&reply, parse_char(parse, ')'));
	reply = parse_try(parse, start, reply);
	if (!reply.ok)
	{
		filter->language = NULL;
		filter->quantifier = NULL;
		reply = parse_or(&reply, parse_nothing(parse));
	}
	return reply;
}

/* operator(modifier).value */
static ParseReply
parse_comparison(Parse *parse, const Operator *operators, bool in_tree, RpcFilter *filter)
{
	size_t		start = parse->at;
	ParseReply	reply = parse_operator(parse, operators, filter);

	if (operators != searches)
		reply = parse_called(parse, reply, "unknown single value operator");
	if (reply.ok && operators != simple_ones)
		parse_then(&reply, parse_modifier(parse, operators == searches, filter));
	if (reply.ok && parse_then(&reply, parse_delimiter(parse)))
		parse_then(&reply, parse_value(parse, in_tree, &filter->value));
	return parse_try(parse, start, reply);
}

ParseReply
rpc_parse_operation(Parse *parse, bool in_tree, RpcFilter *filter)
{
	ParseReply	reply = parse_word_dot(parse, "not");
	ParseReply	operation;

	filter->negated = reply.ok;
	if (!reply.ok)
		reply = parse_or(&reply, parse_nothing(parse));
	operation = parse_in(parse, filter);
	if (!operation.ok && !operation.consumed)
		operation = parse_or(&operation, parse_is(parse, filter));
	if (!operation.ok && !operation.consumed)
		operation = parse_or(&operation, parse_distinct(parse, in_tree, filter));
	if (!operation.ok && !operation.consumed)
		operation = parse_or(&operation, parse_comparison(parse, searches, in_tree, filter));
	if (!operation.ok && !operation.consumed)
		operation = parse_or(&operation, parse_comparison(parse, simple_ones, in_tree, filter));
	if (!operation.ok && !operation.consumed)
		operation = parse_or(&operation, parse_comparison(parse, quantified, in_tree, filter));
	parse_then(&reply, parse_called(parse, operation, "operator (eq, gt, ...)"));
	return reply;
}

/* ---- trees ---- */

static ParseReply
parse_tree_filter(Parse *parse, RpcTree *tree)
{
	size_t		start = parse->at;
	ParseReply	reply = rpc_parse_field(parse, &tree->filter.field);

	if (reply.ok && parse_then(&reply, parse_delimiter(parse)))
		parse_then(&reply, rpc_parse_operation(parse, true, &tree->filter));
	return parse_try(parse, start, reply);
}

/* not.and( */
static ParseReply
parse_tree_head(Parse *parse, RpcTree *tree)
{
	ParseReply	reply = parse_word_dot(parse, "not");
	ParseReply	word;
	size_t		start;

	tree->negated = reply.ok;
	if (!reply.ok)
		reply = parse_or(&reply, parse_nothing(parse));
	reply = parse_called(parse, reply, "negation operator (not)");
	start = parse->at;
	word = parse_try(parse, start, parse_string(parse, "and"));
	tree->is_or = !word.ok;
	if (!word.ok)
		word = parse_or(&word, parse_string(parse, "or"));
	parse_then(&reply, parse_called(parse, word, "logic operator (and, or)"));
	return reply;
}

static ParseReply
parse_branches(Parse *parse, RpcTree *tree)
{
	ParseReply	reply = parse_bracket(parse, '(');

	while (reply.ok)
	{
		RpcTree    *branch = NULL;
		ParseReply	comma;

		if (!parse_then(&reply, rpc_parse_tree(parse, &branch)))
			return reply;
		tree->branches = arena_grow(parse->arena, tree->branches, tree->branch_count, sizeof(RpcTree *));
		tree->branches[tree->branch_count++] = branch;
		comma = parse_bracket(parse, ',');
		if (!comma.ok && comma.consumed)
		{
			parse_then(&reply, comma);
			return reply;
		}
		if (!parse_then(&reply, comma))
		{
			reply.ok = true;
			break;
		}
	}
	if (reply.ok)
		parse_then(&reply, parse_bracket(parse, ')'));
	return reply;
}

ParseReply
rpc_parse_tree(Parse *parse, RpcTree **out)
{
	RpcTree    *tree = arena_take(parse->arena, sizeof(RpcTree));
	ParseReply	reply = parse_tree_filter(parse, tree);
	ParseReply	node;

	*out = tree;
	tree->is_filter = reply.ok;
	if (reply.ok)
		return reply;
	if (++parse->depth > PARSE_MAX_DEPTH)
	{
		parse->depth--;
		return parse_called(parse, parse_fail(parse), "fewer nested conditions");
	}
	memset(tree, 0, sizeof(*tree));
	node = parse_tree_head(parse, tree);
	if (node.ok)
		parse_then(&node, parse_branches(parse, tree));
	parse->depth--;
	return parse_or(&reply, node);
}

/* ---- order ---- */

/* .word, all or nothing */
static ParseReply
parse_dot_word(Parse *parse, const char *word)
{
	size_t		start = parse->at;
	ParseReply	reply = parse_delimiter(parse);

	if (reply.ok)
		parse_then(&reply, parse_string(parse, word));
	return parse_try(parse, start, reply);
}

/* One of two words behind dots, or none. */
static ParseReply
parse_choice(Parse *parse, const char *const words[2], const char *const sql[2], const char **out)
{
	ParseReply	reply = parse_dot_word(parse, words[0]);

	*out = sql[0];
	if (!reply.ok)
	{
		reply = parse_or(&reply, parse_dot_word(parse, words[1]));
		*out = sql[1];
	}
	if (!reply.ok)
	{
		reply = parse_or(&reply, parse_nothing(parse));
		*out = NULL;
	}
	return reply;
}

static ParseReply
parse_term_end(Parse *parse)
{
	ParseReply	reply = parse_ahead(parse, ",");

	return reply.ok ? reply : parse_or(&reply, parse_end(parse));
}

static ParseReply
parse_order_tail(Parse *parse, RpcOrder *order)
{
	static const char *const directions[] = {"asc", "desc"};
	static const char *const directions_sql[] = {"ASC", "DESC"};
	static const char *const nulls[] = {"nullsfirst", "nullslast"};
	static const char *const nulls_sql[] = {"NULLS FIRST", "NULLS LAST"};
	ParseReply	reply = parse_choice(parse, directions, directions_sql, &order->direction);
	ParseReply	rest = parse_choice(parse, nulls, nulls_sql, &order->nulls);

	parse_then(&rest, parse_term_end(parse));
	/* Once more without the nulls: adds nothing but what the parser tells. */
	if (!rest.ok && !rest.consumed)
		rest = parse_or(&rest, parse_term_end(parse));
	parse_then(&reply, rest);
	return reply;
}

static ParseReply
parse_related_term(Parse *parse, RpcOrder *order)
{
	size_t		start = parse->at;
	ParseReply	reply = rpc_parse_name(parse, &order->relation);

	if (reply.ok && parse_then(&reply, parse_char(parse, '(')) && parse_then(&reply, rpc_parse_field(parse, &order->field)) &&
		parse_then(&reply, parse_char(parse, ')')))
		parse_then(&reply, parse_order_tail(parse, order));
	return parse_try(parse, start, reply);
}

static ParseReply
parse_term(Parse *parse, RpcOrder *order)
{
	ParseReply	reply = rpc_parse_blanks(parse);
	ParseReply	term = parse_related_term(parse, order);

	if (!term.ok)
	{
		ParseReply	plain;

		*order = (RpcOrder) {.relation = NULL};
		plain = rpc_parse_field(parse, &order->field);
		if (plain.ok)
			parse_then(&plain, parse_order_tail(parse, order));
		term = parse_or(&term, plain);
	}
	if (parse_then(&reply, term))
		parse_then(&reply, rpc_parse_blanks(parse));
	return reply;
}

ParseReply
rpc_parse_order(Parse *parse, RpcOrder **orders, size_t *count)
{
	ParseReply	reply = parse_nothing(parse);

	for (bool first = true;; first = false)
	{
		RpcOrder	order = {.relation = NULL};
		ParseReply	next = first ? parse_nothing(parse) : parse_char(parse, ',');

		if (next.ok)
			parse_then(&next, parse_term(parse, &order));
		if (!next.ok)
		{
			bool		ends = !next.consumed && !first;

			parse_then(&reply, next);
			reply.ok = ends;
			return reply;
		}
		parse_then(&reply, next);
		*orders = arena_grow(parse->arena, *orders, *count, sizeof(RpcOrder));
		(*orders)[(*count)++] = order;
	}
}
