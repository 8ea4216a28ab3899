/* Names, JSON paths, select and order. */
#include <stdio.h>
#include <string.h>

#include "gateway/rpc_query.h"

ParseReply
rpc_parse_blanks(Parse *parse)
{
	return parse_many_of(parse, " \t", false);
}

/* "...", with \ before any character. */
ParseReply
rpc_parse_quoted(Parse *parse, const char **value)
{
	RpcText		text;
	ParseReply	reply = parse_char(parse, '"');

	if (!reply.ok)
		return reply;
	text = text_new(parse->arena);
	for (;;)
	{
		size_t		from = parse->at;
		ParseReply	slash;

		parse_then(&reply, parse_many_of(parse, "\\\"", true));
		text_add_bytes(&text, parse->text + from, parse->at - from);
		slash = parse_char(parse, '\\');
		if (!parse_then(&reply, slash))
		{
			reply.ok = true;
			break;
		}
		from = parse->at;
		if (!parse_then(&reply, parse_one_of(parse, "", true)))
			return reply;
		text_add_bytes(&text, parse->text + from, parse->at - from);
	}
	if (!parse_then(&reply, parse_char(parse, '"')))
		return reply;
	*value = text.at;
	return reply;
}

/* A dash that does not begin an arrow. */
static ParseReply
parse_dash(Parse *parse)
{
	size_t		start = parse->at;
	ParseReply	reply = parse_char(parse, '-');

	if (reply.ok)
		parse_then(&reply, parse_not_ahead(parse, ">", false, "\">\""));
	return parse_try(parse, start, reply);
}

static ParseReply
parse_words(Parse *parse, bool json_key)
{
	return json_key ? parse_many_of(parse, "(-:.,>)", true) : parse_many_identifier(parse);
}

/* Words, with dashes between them; blanks around a word don't count. */
static ParseReply
parse_dashed(Parse *parse, bool json_key, const char **name)
{
	ParseReply	reply = parse_nothing(parse);
	RpcText		text = {.arena = NULL};

	for (;;)
	{
		size_t		from = parse->at;
		ParseReply	next = parse_words(parse, json_key);

		if (next.ok && !next.consumed)
			next.ok = false;
		if (!parse_then(&reply, next))
			return reply;
		*name = parse_stripped(parse, from);
		if (text.arena != NULL)
			text_add(&text, *name);
		next = parse_dash(parse);
		if (!parse_then(&reply, next))
			break;
		if (text.arena == NULL)
		{
			text = text_new(parse->arena);
			text_add(&text, *name);
		}
		text_add_char(&text, '-');
	}
	/* The list of words ends here. */
	reply.ok = true;
	*name = text.arena == NULL ? *name : text.at;
	return reply;
}

ParseReply
rpc_parse_name(Parse *parse, const char **name)
{
	ParseReply	reply = rpc_parse_quoted(parse, name);

	if (!reply.ok && !reply.consumed)
		reply = parse_or(&reply, parse_dashed(parse, false, name));
	return parse_called(parse, reply, "field name (* or [a..z0..9_$])");
}

/* An index is a number that the path, the item or the input ends after. */
static ParseReply
parse_index(Parse *parse, RpcStep *step)
{
	static const char *const ends[] = {"->", "::", ".", ","};
	size_t		start = parse->at;
	ParseReply	reply = parse_char(parse, '-');
	size_t		digits;

	if (!reply.ok)
	{
		ParseReply	plus = parse_nothing(parse);

		reply = parse_or(&reply, plus);
	}
	digits = parse->at;
	if (parse_then(&reply, parse_digits(parse)))
	{
		ParseReply	end = parse_fail(parse);
		size_t		here = parse->at;

		step->key = arena_print(parse->arena, "%c%s", digits > start ? '-' : '+', parse_text(parse, digits));
		for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]) && !end.ok; i++)
			end = parse_or(&end, parse_try(parse, here, parse_ahead(parse, ends[i])));
		if (!end.ok)
			end = parse_or(&end, parse_end(parse));
		parse_then(&reply, end);
	}
	return parse_try(parse, start, reply);
}

static ParseReply
parse_key(Parse *parse, RpcStep *step)
{
	size_t		start = parse->at;
	ParseReply	reply = rpc_parse_quoted(parse, &step->key);

	if (!reply.ok && !reply.consumed)
		reply = parse_or(&reply, parse_dashed(parse, true, &step->key));
	reply = parse_called(parse, reply, "any non reserved character different from: .,>()");
	return parse_try(parse, start, reply);
}

/* ->key, ->>key, ->0 as often as there are. */
ParseReply
rpc_parse_steps(Parse *parse, RpcField *field)
{
	ParseReply	reply = parse_nothing(parse);

	for (;;)
	{
		RpcStep		step = {.as_text = true};
		size_t		start = parse->at;
		ParseReply	next = parse_try(parse, start, parse_string(parse, "->>"));
		ParseReply	operand;

		if (!next.ok)
		{
			step.as_text = false;
			next = parse_or(&next, parse_try(parse, start, parse_string(parse, "->")));
		}
		if (!next.ok)
		{
			parse_then(&reply, next);
			reply.ok = true;
			return reply;
		}
		step.is_index = true;
		operand = parse_index(parse, &step);
		if (!operand.ok && !operand.consumed)
		{
			step.is_index = false;
			operand = parse_or(&operand, parse_key(parse, &step));
		}
		parse_then(&next, operand);
		if (!parse_then(&reply, next))
			return reply;
		field->steps = arena_grow(parse->arena, field->steps, field->step_count, sizeof(RpcStep));
		field->steps[field->step_count++] = step;
	}
}

/* A name and its path, blanks around. */
ParseReply
rpc_parse_field(Parse *parse, RpcField *field)
{
	ParseReply	reply = rpc_parse_blanks(parse);

	field->steps = NULL;
	field->step_count = 0;
	if (parse_then(&reply, rpc_parse_name(parse, &field->name)) && parse_then(&reply, rpc_parse_steps(parse, field)))
		parse_then(&reply, rpc_parse_blanks(parse));
	return reply;
}

/* ---- select ---- */

/* alias: in front of something, but not the :: of a cast. */
static ParseReply
parse_alias(Parse *parse, const char **alias)
{
	size_t		start = parse->at;
	const char *name = NULL;
	ParseReply	reply = rpc_parse_name(parse, &name);

	if (reply.ok && parse_then(&reply, parse_char(parse, ':')))
		parse_then(&reply, parse_not_ahead(parse, ":", false, "\":\""));
	reply = parse_try(parse, start, reply);
	*alias = reply.ok ? name : NULL;
	if (!reply.ok && !reply.consumed)
		reply = parse_or(&reply, parse_nothing(parse));
	return reply;
}

/* A select item ends before ) or , or at the end. */
static ParseReply
parse_item_end(Parse *parse)
{
	ParseReply	reply = parse_ahead(parse, ")");

	if (!reply.ok)
		reply = parse_or(&reply, parse_ahead(parse, ","));
	if (!reply.ok)
		reply = parse_or(&reply, parse_end(parse));
	return reply;
}

/* ::type, if it is there. */
static ParseReply
parse_cast(Parse *parse, const char **cast)
{
	ParseReply	reply = parse_string(parse, "::");
	size_t		from;

	if (!reply.ok)
		return reply.consumed ? reply : parse_or(&reply, parse_nothing(parse));
	from = parse->at;
	if (parse_then(&reply, parse_many_identifier(parse)))
		*cast = parse_stripped(parse, from);
	return reply;
}

/* .sum() and the like, if it is there. */
static ParseReply
parse_aggregate(Parse *parse, const char **aggregate)
{
	static const struct
	{
		const char *name;
		const char *sql;
	}			known[] = {{"sum", "SUM"}, {"avg", "AVG"}, {"count", "COUNT"}, {"max", "MAX"}, {"min", "MIN"}};
	size_t		start = parse->at;
	ParseReply	reply = parse_char(parse, '.');
	ParseReply	name = parse_fail(parse);

	for (size_t i = 0; reply.ok && i < sizeof(known) / sizeof(known[0]) && !name.ok && !name.consumed; i++)
	{
		size_t		here = parse->at;
		ParseReply	next = parse_string(parse, known[i].name);

		name = parse_or(&name, known[i].name[0] == 'm' ? parse_try(parse, here, next) : next);
		if (name.ok)
			*aggregate = known[i].sql;
	}
	if (reply.ok && parse_then(&reply, name))
		parse_then(&reply, parse_string(parse, "()"));
	reply = parse_try(parse, start, reply);
	if (!reply.ok)
	{
		*aggregate = NULL;
		reply = parse_or(&reply, parse_nothing(parse));
	}
	return reply;
}

static ParseReply
parse_star(Parse *parse, RpcSelect *select)
{
	size_t		start = parse->at;
	ParseReply	reply = parse_string(parse, "*");

	if (reply.ok)
		parse_then(&reply, parse_item_end(parse));
	*select = (RpcSelect) {.field = {.name = "*"}};
	return parse_try(parse, start, reply);
}

static ParseReply
parse_count(Parse *parse, RpcSelect *select)
{
	size_t		start = parse->at;
	ParseReply	reply;

	*select = (RpcSelect) {.field = {.name = "*"}, .aggregate = "COUNT"};
	reply = parse_alias(parse, &select->alias);
	if (reply.ok && parse_then(&reply, parse_string(parse, "count()")) && parse_then(&reply, parse_cast(parse, &select->aggregate_cast)))
		parse_then(&reply, parse_item_end(parse));
	return parse_try(parse, start, reply);
}

static ParseReply
parse_column(Parse *parse, RpcSelect *select)
{
	ParseReply	reply;

	*select = (RpcSelect) {.field = {.name = ""}};
	reply = parse_alias(parse, &select->alias);
	if (reply.ok && parse_then(&reply, rpc_parse_field(parse, &select->field)) &&
		parse_then(&reply, parse_cast(parse, &select->cast)) &&
		parse_then(&reply, parse_aggregate(parse, &select->aggregate)) &&
		parse_then(&reply, parse_cast(parse, &select->aggregate_cast)))
		parse_then(&reply, parse_item_end(parse));
	return reply;
}

static ParseReply
parse_plain_item(Parse *parse, RpcSelect *select)
{
	ParseReply	reply = rpc_parse_blanks(parse);
	ParseReply	item = parse_star(parse, select);

	if (!item.ok)
		item = parse_or(&item, parse_count(parse, select));
	if (!item.ok)
		item = parse_or(&item, parse_column(parse, select));
	if (parse_then(&reply, item))
		parse_then(&reply, rpc_parse_blanks(parse));
	return reply;
}

/* !hint, !inner, !left: at most two. */
static ParseReply
parse_hints(Parse *parse)
{
	ParseReply	reply = parse_nothing(parse);

	for (int i = 0; i < 2 && reply.ok; i++)
	{
		const char *hint = NULL;
		ParseReply	next = parse_char(parse, '!');

		if (!next.ok)
			next = parse_or(&next, parse_nothing(parse));
		else
		{
			size_t		start = parse->at;
			ParseReply	word = parse_try(parse, start, parse_string(parse, "left"));

			if (!word.ok)
				word = parse_or(&word, parse_try(parse, start, parse_string(parse, "inner")));
			if (!word.ok)
				word = parse_or(&word, parse_try(parse, start, rpc_parse_name(parse, &hint)));
			parse_then(&next, word);
		}
		parse_then(&reply, next);
	}
	return reply;
}

/* name(, alias:name!hint(, ...name( */
static ParseReply
parse_relation_head(Parse *parse, bool spread, RpcSelect *select)
{
	size_t		start = parse->at;
	ParseReply	reply = rpc_parse_blanks(parse);
	ParseReply	item;

	*select = (RpcSelect) {.is_relation = true, .field = {.name = ""}};
	item = spread ? parse_string(parse, "...") : parse_alias(parse, &select->alias);
	if (item.ok && parse_then(&item, rpc_parse_name(parse, &select->field.name)))
	{
		if (!spread && strcmp(select->field.name, "count") == 0)
			parse_then(&item, parse_fail(parse));
		else if (parse_then(&item, parse_hints(parse)))
			parse_then(&item, parse_ahead(parse, "("));
	}
	if (parse_then(&reply, item))
		parse_then(&reply, rpc_parse_blanks(parse));
	return parse_try(parse, start, reply);
}

static ParseReply
parse_item(Parse *parse, RpcSelect *select)
{
	ParseReply	reply = parse_relation_head(parse, true, select);

	if (!reply.ok)
		reply = parse_or(&reply, parse_relation_head(parse, false, select));
	if (!reply.ok)
		return parse_or(&reply, parse_plain_item(parse, select));
	if (parse_then(&reply, parse_char(parse, '(')))
	{
		RpcSelect  *inner = NULL;
		size_t		count = 0;

		parse->depth++;
		if (parse->depth > PARSE_MAX_DEPTH)
			parse_then(&reply, parse_called(parse, parse_fail(parse), "fewer nested relations"));
		else if (parse_then(&reply, rpc_parse_select(parse, &inner, &count)))
			parse_then(&reply, parse_char(parse, ')'));
		parse->depth--;
	}
	return reply;
}

/* A comma with blanks around. */
static ParseReply
parse_comma(Parse *parse)
{
	ParseReply	reply = rpc_parse_blanks(parse);

	if (parse_then(&reply, parse_char(parse, ',')))
		parse_then(&reply, rpc_parse_blanks(parse));
	return reply;
}

/* Items with commas between them; none at all is fine too. */
ParseReply
rpc_parse_select(Parse *parse, RpcSelect **selects, size_t *count)
{
	ParseReply	reply = parse_nothing(parse);

	for (bool first = true;; first = false)
	{
		RpcSelect	select;
		ParseReply	next = first ? parse_nothing(parse) : parse_comma(parse);

		if (next.ok)
			parse_then(&next, parse_item(parse, &select));
		if (!next.ok)
		{
			bool		fatal = next.consumed;

			parse_then(&reply, next);
			reply.ok = !fatal;
			return reply;
		}
		parse_then(&reply, next);
		*selects = arena_grow(parse->arena, *selects, *count, sizeof(RpcSelect));
		(*selects)[(*count)++] = select;
	}
}

ParseReply
rpc_parse_columns(Parse *parse, const char ***columns, size_t *count)
{
	ParseReply	reply = parse_nothing(parse);

	for (bool first = true;; first = false)
	{
		const char *name = NULL;
		ParseReply	next = first ? parse_nothing(parse) : parse_comma(parse);

		if (next.ok)
			parse_then(&next, rpc_parse_name(parse, &name));
		if (!next.ok)
		{
			bool		ends = !next.consumed && !first;

			parse_then(&reply, next);
			reply.ok = ends;
			return reply;
		}
		parse_then(&reply, next);
		*columns = arena_grow(parse->arena, *columns, *count, sizeof(char *));
		(*columns)[(*count)++] = name;
	}
}
