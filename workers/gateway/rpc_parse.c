#include "gateway/rpc_parse.h"

#include <stdio.h>
#include <string.h>

static ParseReply
reply_of(bool ok, bool consumed)
{
	return (ParseReply) {ok, consumed, NULL};
}

static void
note(ParseError *error, ParseNoteKind kind, const char *text)
{
	for (int i = 0; i < error->count; i++)
		if (error->notes[i].kind == kind && strcmp(error->notes[i].text, text) == 0)
			return;
	if (error->count == PARSE_MAX_NOTES)
		return;
	error->notes[error->count].kind = kind;
	error->notes[error->count].text = text;
	error->count++;
}

/* Of that place; to be called only when telling. */
static ParseError *
new_error(const Parse *parse, size_t at, ParseNoteKind kind, const char *text)
{
	ParseError *error = arena_raw(parse->arena, sizeof(ParseError));

	error->at = at;
	error->count = 0;
	note(error, kind, text);
	return error;
}

static ParseError *
merged(ParseError *first, ParseError *second)
{
	if (first == NULL || (second != NULL && second->at > first->at))
		return second;
	if (second == NULL || first->at > second->at)
		return first;
	for (int i = 0; i < second->count; i++)
		note(first, second->notes[i].kind, second->notes[i].text);
	return first;
}

ParseReply
parse_nothing(const Parse *parse)
{
	(void) parse;
	return reply_of(true, false);
}

ParseReply
parse_fail(const Parse *parse)
{
	(void) parse;
	return reply_of(false, false);
}

bool
parse_then(ParseReply *sofar, ParseReply next)
{
	if (!next.consumed)
	{
		next.error = merged(sofar->error, next.error);
		next.consumed = sofar->consumed;
	}
	*sofar = next;
	return next.ok;
}

ParseReply
parse_or(const ParseReply *first, ParseReply second)
{
	if (!second.consumed)
		second.error = merged(first->error, second.error);
	return second;
}

ParseReply
parse_try(Parse *parse, size_t start, ParseReply reply)
{
	if (!reply.ok)
	{
		parse->at = start;
		reply.consumed = false;
	}
	return reply;
}

ParseReply
parse_called(const Parse *parse, ParseReply reply, const char *name)
{
	int			kept = 0;

	if (!parse->telling || reply.consumed || (reply.ok && reply.error == NULL))
		return reply;
	if (reply.error == NULL)
	{
		reply.error = new_error(parse, parse->at, NOTE_EXPECTED, name);
		return reply;
	}
	for (int i = 0; i < reply.error->count; i++)
		if (reply.error->notes[i].kind != NOTE_EXPECTED)
			reply.error->notes[kept++] = reply.error->notes[i];
	reply.error->count = kept;
	note(reply.error, NOTE_EXPECTED, name);
	return reply;
}

/* ---- characters ---- */

static size_t
char_length(const Parse *parse, size_t at)
{
	unsigned char c;
	size_t		length;

	if (at >= parse->length)
		return 0;
	c = (unsigned char) parse->text[at];
	length = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	return length > parse->length - at ? parse->length - at : length;
}

static unsigned
code_point(const Parse *parse, size_t at)
{
	size_t		length = char_length(parse, at);
	unsigned	point;

	if (length <= 1)
		return length == 0 ? 0 : (unsigned char) parse->text[at];
	point = (unsigned char) parse->text[at] & (0xffu >> (length + 1));
	for (size_t i = 1; i < length; i++)
		point = point << 6 | ((unsigned char) parse->text[at + i] & 0x3fu);
	return point;
}

/* A character as the messages write it, in quotes of that kind. */
static const char *
shown(const Parse *parse, size_t at, char quote)
{
	static const char *const names[] = {
		"NUL", "SOH", "STX", "ETX", "EOT", "ENQ", "ACK", "a", "b", "t", "n", "v", "f", "r", "SO", "SI",
		"DLE", "DC1", "DC2", "DC3", "DC4", "NAK", "SYN", "ETB", "CAN", "EM", "SUB", "ESC", "FS", "GS", "RS", "US"
	};
	unsigned	c = code_point(parse, at);

	if (at >= parse->length)
		return "";
	if (c < 0x20)
		return arena_print(parse->arena, "%c\\%s%c", quote, names[c], quote);
	if (c == 0x7f)
		return arena_print(parse->arena, "%c\\DEL%c", quote, quote);
	if (c == (unsigned char) quote || c == '\\')
		return arena_print(parse->arena, "%c\\%c%c", quote, (int) c, quote);
	if (c > 0x7f)
		return arena_print(parse->arena, "%c\\%u%c", quote, c, quote);
	return arena_print(parse->arena, "%c%c%c", quote, (int) c, quote);
}

static ParseReply
found_other(Parse *parse, const char *expected)
{
	ParseReply	reply = reply_of(false, false);

	if (!parse->telling)
		return reply;
	reply.error = new_error(parse, parse->at, NOTE_FOUND, shown(parse, parse->at, '"'));
	if (expected != NULL)
		note(reply.error, NOTE_EXPECTED, expected);
	return reply;
}

static bool
in_set(const Parse *parse, size_t at, const char *set, bool all_but)
{
	unsigned char c;

	if (at >= parse->length)
		return false;
	c = (unsigned char) parse->text[at];
	return (c < 0x80 && strchr(set, c) != NULL) != all_but;
}

ParseReply
parse_one_of(Parse *parse, const char *set, bool all_but)
{
	if (!in_set(parse, parse->at, set, all_but))
		return found_other(parse, NULL);
	parse->at += char_length(parse, parse->at);
	return reply_of(true, true);
}

ParseReply
parse_many_of(Parse *parse, const char *set, bool all_but)
{
	size_t		start = parse->at;
	ParseReply	reply;

	while (in_set(parse, parse->at, set, all_but))
		parse->at += char_length(parse, parse->at);
	reply = found_other(parse, NULL);
	reply.ok = true;
	reply.consumed = parse->at > start;
	return reply;
}

/* Letters beyond ASCII: all but blanks, punctuation and what is not a character. */
static bool
is_letter(unsigned c)
{
	if (c < 0x80)
		return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
	return c >= 0xaa && c != 0xab && !(c >= 0xac && c <= 0xbf && c != 0xb5 && c != 0xba) && c != 0xd7 && c != 0xf7 &&
		!(c >= 0x2000 && c <= 0x206f) && !(c >= 0x20a0 && c <= 0x20cf) && !(c >= 0x2190 && c <= 0x2bff) &&
		!(c >= 0x3000 && c <= 0x3004) && !(c >= 0x3008 && c <= 0x3020) && !(c >= 0xe000 && c <= 0xf8ff) &&
		!(c >= 0xfe00 && c <= 0xfe6f) && !(c >= 0xfff0 && c <= 0xffff) && !(c >= 0x1f000 && c <= 0x1faff);
}

ParseReply
parse_many_identifier(Parse *parse)
{
	size_t		start = parse->at;
	ParseReply	reply;

	for (;;)
	{
		unsigned	c = code_point(parse, parse->at);

		if (parse->at >= parse->length || !(is_letter(c) || (c >= '0' && c <= '9') || (c < 0x80 && c != 0 && strchr("_ $", (int) c) != NULL)))
			break;
		parse->at += char_length(parse, parse->at);
	}
	reply = found_other(parse, "letter");
	if (reply.error != NULL)
		note(reply.error, NOTE_EXPECTED, "digit");
	reply.ok = parse->at > start;
	reply.consumed = reply.ok;
	return reply;
}

ParseReply
parse_digits(Parse *parse)
{
	size_t		start = parse->at;
	ParseReply	reply;

	while (in_set(parse, parse->at, "0123456789", false))
		parse->at++;
	reply = found_other(parse, "digit");
	reply.ok = parse->at > start;
	reply.consumed = reply.ok;
	return reply;
}

static const char *
quoted(RpcArena *arena, const char *string)
{
	return arena_print(arena, strcmp(string, "\"") == 0 ? "\"\\%s\"" : "\"%s\"", string);
}

ParseReply
parse_char(Parse *parse, char c)
{
	char		string[2] = {c, '\0'};

	if (parse->at >= parse->length || parse->text[parse->at] != c)
		return found_other(parse, parse->telling ? quoted(parse->arena, string) : NULL);
	parse->at++;
	return reply_of(true, true);
}

/* Fails where the string begins, telling the character that differs; what was alike counts as consumed. */
ParseReply
parse_string(Parse *parse, const char *string)
{
	size_t		start = parse->at;
	size_t		alike = 0;
	ParseReply	reply;

	while (string[alike] != '\0' && start + alike < parse->length && parse->text[start + alike] == string[alike])
		alike++;
	if (string[alike] != '\0')
	{
		reply = reply_of(false, alike > 0);
		if (parse->telling)
		{
			reply.error = new_error(parse, start, NOTE_FOUND, shown(parse, start + alike, '"'));
			note(reply.error, NOTE_EXPECTED, quoted(parse->arena, string));
		}
		parse->at = start + alike;
		return reply;
	}
	parse->at += alike;
	return reply_of(true, alike > 0);
}

ParseReply
parse_end(Parse *parse)
{
	ParseReply	reply = reply_of(parse->at >= parse->length, false);

	if (!reply.ok && parse->telling)
	{
		reply.error = new_error(parse, parse->at, NOTE_UNEXPECTED, shown(parse, parse->at, '\''));
		note(reply.error, NOTE_EXPECTED, "end of input");
	}
	return reply;
}

ParseReply
parse_ahead(Parse *parse, const char *string)
{
	size_t		start = parse->at;
	ParseReply	reply = parse_string(parse, string);

	parse->at = start;
	return reply.ok ? reply_of(true, false) : reply;
}

ParseReply
parse_not_ahead(Parse *parse, const char *set, bool all_but, const char *expected)
{
	ParseReply	reply;

	if (in_set(parse, parse->at, set, all_but))
	{
		/* Told of the place behind it. */
		reply = reply_of(false, false);
		if (parse->telling)
			reply.error = new_error(parse, parse->at + char_length(parse, parse->at), NOTE_UNEXPECTED, shown(parse, parse->at, '\''));
		return reply;
	}
	reply = found_other(parse, expected);
	reply.ok = true;
	return reply;
}

char *
parse_text(const Parse *parse, size_t from)
{
	return arena_copy(parse->arena, parse->text + from, parse->at - from);
}

char *
parse_stripped(const Parse *parse, size_t from)
{
	size_t		to = parse->at;

	while (from < to && strchr(" \t", parse->text[from]) != NULL)
		from++;
	while (to > from && strchr(" \t", parse->text[to - 1]) != NULL)
		to--;
	return arena_copy(parse->arena, parse->text + from, to - from);
}

/* ---- messages ---- */

const char *
parse_where(const Parse *parse, const ParseError *error)
{
	unsigned	line = 1;
	unsigned	column = 1;
	size_t		end = error == NULL ? parse->at : error->at;

	for (size_t at = 0; at < end && at < parse->length; at += char_length(parse, at))
		if (parse->text[at] == '\n')
		{
			line++;
			column = 1;
		}
		else
			column += parse->text[at] == '\t' ? 8 - (column - 1) % 8 : 1;
	return arena_print(parse->arena, "\"%s\" (line %u, column %u)", parse->name, line, column);
}

/* a, b or c */
static int
add_list(RpcText *text, const ParseError *error, ParseNoteKind kind, const char *before)
{
	int			total = 0;
	int			done = 0;

	for (int i = 0; i < error->count; i++)
		total += error->notes[i].kind == kind && error->notes[i].text[0] != '\0';
	for (int i = 0; i < error->count; i++)
		if (error->notes[i].kind == kind && error->notes[i].text[0] != '\0')
		{
			text_add(text, done == 0 ? before : done == total - 1 ? " or " : ", ");
			text_add(text, error->notes[i].text);
			done++;
		}
	return total;
}

const char *
parse_what(RpcArena *arena, const ParseError *error)
{
	RpcText		text = text_new(arena);

	if (error == NULL || error->count == 0)
		return "unknown parse error";
	if (add_list(&text, error, NOTE_UNEXPECTED, "unexpected ") == 0)
		for (int i = 0; i < error->count; i++)
			if (error->notes[i].kind == NOTE_FOUND)
			{
				text_print(&text, "unexpected %s", error->notes[i].text[0] != '\0' ? error->notes[i].text : "end of input");
				break;
			}
	add_list(&text, error, NOTE_EXPECTED, text.length > 0 ? " expecting " : "expecting ");
	return text.at;
}
