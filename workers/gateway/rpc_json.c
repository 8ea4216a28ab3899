#include <stdlib.h>
#include <string.h>

#include "gateway/rpc_body.h"
#include "lib/utf8.h"

typedef struct Scan
{
	RpcArena   *arena;
	const char *at;
	const char *end;
	int			depth;
	int			max_depth;
	const char *twice;			/* a name that an object has twice */
} Scan;

/* The names of an object's members. */
typedef struct Members
{
	const char **names;
	size_t		count;
} Members;

static bool scan_value(Scan *scan, Members *members);

static void
skip_blanks(Scan *scan)
{
	while (scan->at < scan->end && (*scan->at == ' ' || *scan->at == '\t' || *scan->at == '\n' || *scan->at == '\r'))
		scan->at++;
}

static bool
take(Scan *scan, char c)
{
	skip_blanks(scan);
	if (scan->at == scan->end || *scan->at != c)
		return false;
	scan->at++;
	return true;
}

static int
hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* XXXX of \uXXXX; -1: none. */
static int
scan_unit(Scan *scan)
{
	int			unit = 0;

	if (scan->end - scan->at < 4)
		return -1;
	for (int i = 0; i < 4; i++)
	{
		int			digit = hex(*scan->at++);

		if (digit < 0)
			return -1;
		unit = unit * 16 + digit;
	}
	return unit;
}

static void
add_code_point(RpcText *text, unsigned c)
{
	char		bytes[4];
	size_t		n = 0;

	if (c < 0x80)
		bytes[n++] = (char) c;
	else if (c < 0x800)
	{
		bytes[n++] = (char) (0xc0 | c >> 6);
		bytes[n++] = (char) (0x80 | (c & 0x3f));
	}
	else if (c < 0x10000)
	{
		bytes[n++] = (char) (0xe0 | c >> 12);
		bytes[n++] = (char) (0x80 | (c >> 6 & 0x3f));
		bytes[n++] = (char) (0x80 | (c & 0x3f));
	}
	else
	{
		bytes[n++] = (char) (0xf0 | c >> 18);
		bytes[n++] = (char) (0x80 | (c >> 12 & 0x3f));
		bytes[n++] = (char) (0x80 | (c >> 6 & 0x3f));
		bytes[n++] = (char) (0x80 | (c & 0x3f));
	}
	text_add_bytes(text, bytes, n);
}

/* Behind \u. A half of a pair alone stands for the replacement character. */
static bool
scan_escape_unit(Scan *scan, RpcText *text)
{
	int			unit = scan_unit(scan);

	if (unit < 0)
		return false;
	if (unit >= 0xd800 && unit < 0xdc00 && scan->end - scan->at >= 6 && scan->at[0] == '\\' && scan->at[1] == 'u')
	{
		Scan		ahead = *scan;
		int			low;

		ahead.at += 2;
		low = scan_unit(&ahead);
		if (low >= 0xdc00 && low < 0xe000)
		{
			scan->at = ahead.at;
			if (text != NULL)
				add_code_point(text, 0x10000u + (unsigned) (unit - 0xd800) * 0x400u + (unsigned) (low - 0xdc00));
			return true;
		}
	}
	if (text != NULL)
		add_code_point(text, unit == 0 || (unit >= 0xd800 && unit < 0xe000) ? 0xfffd : (unsigned) unit);
	return true;
}

/* Behind the first quote. */
static bool
scan_string(Scan *scan, RpcText *text)
{
	static const char *const escapes = "\"\"\\\\//b\bf\fn\nr\rt\t";

	while (scan->at < scan->end)
	{
		unsigned char c = (unsigned char) *scan->at++;

		if (c == '"')
			return true;
		if (c < 0x20)
			return false;
		if (c != '\\')
		{
			if (text != NULL)
				text_add_char(text, (char) c);
			continue;
		}
		if (scan->at == scan->end)
			return false;
		c = (unsigned char) *scan->at++;
		if (c == 'u')
		{
			if (!scan_escape_unit(scan, text))
				return false;
		}
		else
		{
			size_t		i = 0;

			while (escapes[i] != '\0' && (unsigned char) escapes[i] != c)
				i += 2;
			if (escapes[i] == '\0')
				return false;
			if (text != NULL)
				text_add_char(text, escapes[i + 1]);
		}
	}
	return false;
}

static size_t
scan_digits(Scan *scan)
{
	const char *from = scan->at;

	while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9')
		scan->at++;
	return (size_t) (scan->at - from);
}

static bool
scan_number(Scan *scan)
{
	if (scan->at < scan->end && *scan->at == '-')
		scan->at++;
	if (scan->at < scan->end && *scan->at == '0')
		scan->at++;
	else if (scan_digits(scan) == 0)
		return false;
	if (scan->at < scan->end && *scan->at == '.')
	{
		scan->at++;
		if (scan_digits(scan) == 0)
			return false;
	}
	if (scan->at < scan->end && (*scan->at | 0x20) == 'e')
	{
		scan->at++;
		if (scan->at < scan->end && (*scan->at == '+' || *scan->at == '-'))
			scan->at++;
		if (scan_digits(scan) == 0)
			return false;
	}
	return true;
}

static bool
scan_word(Scan *scan, const char *word)
{
	size_t		length = strlen(word);

	if ((size_t) (scan->end - scan->at) < length || memcmp(scan->at, word, length) != 0)
		return false;
	scan->at += length;
	return true;
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* Puts the names in order, and tells one that is there twice. */
static void
order_names(Scan *scan, Members *members)
{
	if (members->count > 1)
		qsort(members->names, members->count, sizeof(char *), compare_names);
	for (size_t i = 1; i < members->count; i++)
		if (strcmp(members->names[i], members->names[i - 1]) == 0)
			scan->twice = members->names[i];
}

/* What a string means; most are as they are written. */
static bool
scan_name(Scan *scan, const char **name)
{
	const char *from = scan->at;
	size_t		length = 0;
	RpcText		text;

	while (from + length < scan->end && from[length] != '"' && from[length] != '\\' && (unsigned char) from[length] >= 0x20)
		length++;
	if (from + length < scan->end && from[length] == '"')
	{
		*name = arena_copy(scan->arena, from, length);
		scan->at += length + 1;
		return true;
	}
	text = text_new(scan->arena);
	*name = text.at;
	if (!scan_string(scan, &text))
		return false;
	*name = text.at;
	return true;
}

/* Behind the bracket. */
static bool
scan_object(Scan *scan, Members *members)
{
	if (take(scan, '}'))
		return true;
	do
	{
		const char *name;

		if (!take(scan, '"') || !scan_name(scan, &name) || !take(scan, ':') || !scan_value(scan, NULL))
			return false;
		members->names = arena_grow(scan->arena, members->names, members->count, sizeof(char *));
		members->names[members->count++] = name;
	} while (take(scan, ','));
	order_names(scan, members);
	return take(scan, '}');
}

static bool
scan_array(Scan *scan)
{
	if (take(scan, ']'))
		return true;
	do
		if (!scan_value(scan, NULL))
			return false;
	while (take(scan, ','));
	return take(scan, ']');
}

static bool
scan_nested(Scan *scan, Members *members)
{
	Members		own = {.names = NULL};
	char		bracket = *scan->at++;
	bool		good;

	if (++scan->depth > scan->max_depth)
		return false;
	good = bracket == '{' ? scan_object(scan, members != NULL ? members : &own) : scan_array(scan);
	scan->depth--;
	return good;
}

static bool
scan_value(Scan *scan, Members *members)
{
	skip_blanks(scan);
	if (scan->at == scan->end)
		return false;
	switch (*scan->at)
	{
		case '{':
		case '[':
			return scan_nested(scan, members);
		case '"':
			scan->at++;
			return scan_string(scan, NULL);
		case 't':
			return scan_word(scan, "true");
		case 'f':
			return scan_word(scan, "false");
		case 'n':
			return scan_word(scan, "null");
		default:
			return scan_number(scan);
	}
}

void
rpc_sort_names(const char **names, size_t *count)
{
	size_t		kept = 0;

	if (*count == 0)
		return;
	qsort(names, *count, sizeof(char *), compare_names);
	for (size_t i = 1; i < *count; i++)
		if (strcmp(names[i], names[kept]) != 0)
			names[++kept] = names[i];
	*count = kept + 1;
}

static bool
same_names(const char **one, size_t one_count, const char **other, size_t other_count)
{
	if (one_count != other_count)
		return false;
	for (size_t i = 0; i < one_count; i++)
		if (strcmp(one[i], other[i]) != 0)
			return false;
	return true;
}

/* Behind the bracket of the outermost array. */
static bool
read_elements(Scan *scan, RpcJson *out)
{
	bool		first = true;

	out->uniform = true;
	if (take(scan, ']'))
		return true;
	do
	{
		Members		members = {.names = NULL};
		bool		is_object;

		skip_blanks(scan);
		is_object = scan->at < scan->end && *scan->at == '{';
		if (!scan_value(scan, is_object ? &members : NULL))
			return false;
		if (first)
		{
			out->keys = members.names;
			out->key_count = members.count;
		}
		out->uniform = out->uniform && is_object && same_names(members.names, members.count, out->keys, out->key_count);
		first = false;
	} while (take(scan, ','));
	return take(scan, ']');
}

bool
rpc_json_read(RpcArena *arena, const char *text, size_t length, int max_depth, RpcJson *out)
{
	Scan		scan = {.arena = arena, .at = text, .end = text + length, .max_depth = max_depth};
	Members		members = {.names = NULL};
	bool		good;

	memset(out, 0, sizeof(*out));
	if (!utf8_is_text(text, length))
		return false;
	skip_blanks(&scan);
	out->kind = scan.at == scan.end ? JSON_IS_SCALAR : *scan.at == '{' ? JSON_IS_OBJECT : *scan.at == '[' ? JSON_IS_ARRAY : JSON_IS_SCALAR;
	if (out->kind == JSON_IS_ARRAY)
	{
		scan.at++;
		scan.depth++;
		good = read_elements(&scan, out);
	}
	else
	{
		good = scan_value(&scan, &members);
		out->keys = members.names;
		out->key_count = members.count;
	}
	out->twice = scan.twice;
	skip_blanks(&scan);
	return good && scan.at == scan.end;
}
