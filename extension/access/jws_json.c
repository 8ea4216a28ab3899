/*
 * jws_json.c
 *		Strict JSON for tokens: what signers and verifiers could read in two
 *		ways is refused.
 *
 * Why not a library: jansson exports json_object(), and so does the server
 * (an SQL function); which one jansson itself then calls depends on how it was
 * linked.  The server's parser takes duplicate names and any bytes for UTF-8,
 * cannot be stopped at a depth, and needs the server to be fuzzed.  This one is
 * compared with jansson by the fuzzer (test/jws).
 */
#include "access/jws.h"

#include <string.h>

#define SECONDS_DIGITS_MAX 12	/* some 30,000 years */

typedef struct Reader
{
	char	   *at;
	char	   *end;
	int			depth;
	JsonDocument *document;
} Reader;

static bool read_value(Reader *reader, int *index);

static void
skip_blanks(Reader *reader)
{
	while (reader->at < reader->end &&
		   (*reader->at == ' ' || *reader->at == '\t' || *reader->at == '\n' || *reader->at == '\r'))
		reader->at++;
}

static bool
take(Reader *reader, char c)
{
	if (reader->at == reader->end || *reader->at != c)
		return false;
	reader->at++;
	return true;
}

static bool
take_word(Reader *reader, const char *word)
{
	size_t		length = strlen(word);

	if ((size_t) (reader->end - reader->at) < length || memcmp(reader->at, word, length) != 0)
		return false;
	reader->at += length;
	return true;
}

/* ---- strings ---- */

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* The four digits after \u; -1: not four. */
static int
read_hex(Reader *reader)
{
	int			value = 0;

	if (reader->end - reader->at < 4)
		return -1;
	for (int i = 0; i < 4; i++)
	{
		int			digit = hex_value(*reader->at++);

		if (digit < 0)
			return -1;
		value = value * 16 + digit;
	}
	return value;
}

static char *
put_utf8(char *out, uint32_t code)
{
	if (code < 0x80)
		*out++ = (char) code;
	else if (code < 0x800)
	{
		*out++ = (char) (0xC0 | code >> 6);
		*out++ = (char) (0x80 | (code & 0x3F));
	}
	else if (code < 0x10000)
	{
		*out++ = (char) (0xE0 | code >> 12);
		*out++ = (char) (0x80 | (code >> 6 & 0x3F));
		*out++ = (char) (0x80 | (code & 0x3F));
	}
	else
	{
		*out++ = (char) (0xF0 | code >> 18);
		*out++ = (char) (0x80 | (code >> 12 & 0x3F));
		*out++ = (char) (0x80 | (code >> 6 & 0x3F));
		*out++ = (char) (0x80 | (code & 0x3F));
	}
	return out;
}

/* After \u.  What is written is never longer than what was read. */
static char *
read_unicode(Reader *reader, char *out)
{
	int			code = read_hex(reader);
	int			low;

	if (code <= 0 || (code >= 0xDC00 && code <= 0xDFFF))
		return NULL;
	if (code < 0xD800 || code > 0xDBFF)
		return put_utf8(out, (uint32_t) code);
	if (!take(reader, '\\') || !take(reader, 'u'))
		return NULL;
	low = read_hex(reader);
	if (low < 0xDC00 || low > 0xDFFF)
		return NULL;
	return put_utf8(out, 0x10000 + (((uint32_t) code - 0xD800) << 10) + ((uint32_t) low - 0xDC00));
}

static char *
read_escape(Reader *reader, char *out)
{
	static const char from[] = "\"\\/bfnrt";
	static const char to[] = "\"\\/\b\f\n\r\t";
	const char *found;
	char		c;

	if (reader->at == reader->end)
		return NULL;
	c = *reader->at++;
	if (c == 'u')
		return read_unicode(reader, out);
	found = c == '\0' ? NULL : strchr(from, c);
	if (found == NULL)
		return NULL;
	*out++ = to[found - from];
	return out;
}

/* How many bytes the UTF-8 sequence takes that begins here; 0: it is none (RFC 3629). */
static int
utf8_length(const char *text, const char *end)
{
	const unsigned char *s = (const unsigned char *) text;
	int			length;
	unsigned char low = 0x80,
				high = 0xBF;

	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xC2 && s[0] <= 0xDF)
		length = 2;
	else if (s[0] >= 0xE0 && s[0] <= 0xEF)
		length = 3;
	else if (s[0] >= 0xF0 && s[0] <= 0xF4)
		length = 4;
	else
		return 0;
	if (end - text < length)
		return 0;
	if (s[0] == 0xE0)
		low = 0xA0;
	else if (s[0] == 0xED)
		high = 0x9F;
	else if (s[0] == 0xF0)
		low = 0x90;
	else if (s[0] == 0xF4)
		high = 0x8F;
	if (s[1] < low || s[1] > high)
		return 0;
	for (int i = 2; i < length; i++)
		if (s[i] < 0x80 || s[i] > 0xBF)
			return 0;
	return length;
}

/* After the opening quote; decodes in place. */
static bool
read_string(Reader *reader, const char **text, size_t *length)
{
	char	   *out = reader->at;

	*text = out;
	while (reader->at < reader->end)
	{
		unsigned char c = (unsigned char) *reader->at;
		int			width;

		if (c == '"')
		{
			reader->at++;
			*length = (size_t) (out - *text);
			return true;
		}
		if (c < 0x20)
			return false;
		if (c == '\\')
		{
			reader->at++;
			out = read_escape(reader, out);
			if (out == NULL)
				return false;
			continue;
		}
		width = utf8_length(reader->at, reader->end);
		if (width == 0)
			return false;
		memmove(out, reader->at, (size_t) width);
		out += width;
		reader->at += width;
	}
	return false;
}

/* ---- numbers ---- */

static bool
take_digits(Reader *reader)
{
	char	   *from = reader->at;

	while (reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9')
		reader->at++;
	return reader->at > from;
}

static bool
read_number(Reader *reader, JsonNode *node)
{
	node->text = reader->at;
	(void) take(reader, '-');
	if (!take(reader, '0') && !take_digits(reader))
		return false;
	if (take(reader, '.') && !take_digits(reader))
		return false;
	if (take(reader, 'e') || take(reader, 'E'))
	{
		if (!take(reader, '+'))
			(void) take(reader, '-');
		if (!take_digits(reader))
			return false;
	}
	node->length = (size_t) (reader->at - node->text);
	return true;
}

/* ---- values ---- */

static bool
is_named_already(const JsonDocument *document, int first, const char *name, size_t length)
{
	for (int i = first; i >= 0; i = document->nodes[i].next)
		if (document->nodes[i].name_length == length && memcmp(document->nodes[i].name, name, length) == 0)
			return true;
	return false;
}

static bool
read_name(Reader *reader, int first, const char **name, size_t *length)
{
	skip_blanks(reader);
	if (!take(reader, '"') || !read_string(reader, name, length))
		return false;
	skip_blanks(reader);
	return take(reader, ':') && !is_named_already(reader->document, first, *name, *length);
}

/* The items of an array, or members of an object, after the opening bracket. */
static bool
read_items(Reader *reader, int parent, bool named, char close)
{
	JsonNode   *nodes = reader->document->nodes;
	int			last = -1;
	int			count = 0;

	skip_blanks(reader);
	if (take(reader, close))
		return true;
	do
	{
		const char *name = NULL;
		size_t		name_length = 0;
		int			index;

		if (named && (++count > JSON_MEMBERS_MAX || !read_name(reader, nodes[parent].child, &name, &name_length)))
			return false;
		if (!read_value(reader, &index))
			return false;
		nodes[index].name = name;
		nodes[index].name_length = name_length;
		if (last < 0)
			nodes[parent].child = index;
		else
			nodes[last].next = index;
		last = index;
		skip_blanks(reader);
	} while (take(reader, ','));
	return take(reader, close);
}

static bool
read_nested(Reader *reader, int index, bool named, char close)
{
	bool		good;

	if (reader->depth == JSON_DEPTH_MAX)
		return false;
	reader->depth++;
	good = read_items(reader, index, named, close);
	reader->depth--;
	return good;
}

static bool
read_value(Reader *reader, int *index)
{
	JsonNode   *node;

	skip_blanks(reader);
	if (reader->document->count == JSON_NODES_MAX || reader->at == reader->end)
		return false;
	*index = reader->document->count++;
	node = &reader->document->nodes[*index];
	*node = (JsonNode) {.child = -1, .next = -1};

	switch (*reader->at)
	{
		case '{':
			reader->at++;
			node->kind = JSON_IS_OBJECT;
			return read_nested(reader, *index, true, '}');
		case '[':
			reader->at++;
			node->kind = JSON_IS_ARRAY;
			return read_nested(reader, *index, false, ']');
		case '"':
			reader->at++;
			node->kind = JSON_IS_STRING;
			return read_string(reader, &node->text, &node->length);
		case 't':
			node->kind = JSON_IS_TRUE;
			return take_word(reader, "true");
		case 'f':
			node->kind = JSON_IS_FALSE;
			return take_word(reader, "false");
		case 'n':
			node->kind = JSON_IS_NULL;
			return take_word(reader, "null");
		default:
			node->kind = JSON_IS_NUMBER;
			return read_number(reader, node);
	}
}

bool
json_parse_strict(char *text, size_t length, JsonDocument *document)
{
	Reader		reader = {text, text + length, 0, document};
	int			root;

	document->count = 0;
	if (!read_value(&reader, &root))
		return false;
	skip_blanks(&reader);
	return reader.at == reader.end;
}

/* ---- reading the nodes ---- */

const JsonNode *
json_first(const JsonDocument *document, const JsonNode *parent)
{
	return parent == NULL || parent->child < 0 ? NULL : &document->nodes[parent->child];
}

const JsonNode *
json_next(const JsonDocument *document, const JsonNode *node)
{
	return node->next < 0 ? NULL : &document->nodes[node->next];
}

const JsonNode *
json_member(const JsonDocument *document, const JsonNode *object, const char *name)
{
	size_t		length = strlen(name);

	if (object == NULL || object->kind != JSON_IS_OBJECT)
		return NULL;
	for (const JsonNode *node = json_first(document, object); node != NULL; node = json_next(document, node))
		if (node->name_length == length && memcmp(node->name, name, length) == 0)
			return node;
	return NULL;
}

bool
json_string_is(const JsonNode *node, const char *text)
{
	return node != NULL && node->kind == JSON_IS_STRING &&
		node->length == strlen(text) && memcmp(node->text, text, node->length) == 0;
}

bool
json_seconds(const JsonNode *node, int64_t *seconds)
{
	int64_t		value = 0;
	size_t		digits = 0;

	if (node == NULL || node->kind != JSON_IS_NUMBER || memchr(node->text, 'e', node->length) != NULL ||
		memchr(node->text, 'E', node->length) != NULL)
		return false;
	while (digits < node->length && digits <= SECONDS_DIGITS_MAX && node->text[digits] >= '0' && node->text[digits] <= '9')
		value = value * 10 + (node->text[digits++] - '0');
	if (digits == 0 || digits > SECONDS_DIGITS_MAX)
		return false;
	*seconds = value;
	return true;
}
