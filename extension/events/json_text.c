/*
 * json_text.c
 *		jsonb as JSON text, to the byte as jsonb_out() has it.
 *
 * A relay reads every event's payload as text, and the server's own writer puts
 * strings out byte by byte, from a copy.  Payloads are mostly strings in which
 * nothing is to be escaped: here those are looked through eight bytes at a time
 * and copied in one go.
 */
#include "events/json_text.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#define ONES	UINT64CONST(0x0101010101010101)
#define HIGH	UINT64CONST(0x8080808080808080)

/* Has this word a byte below 0x20, a quote or a backslash?  (x - ONES) & ~x & HIGH: a byte of x is zero. */
static inline bool
word_has_special(uint64 word)
{
	uint64		quote = word ^ (ONES * '"');
	uint64		backslash = word ^ (ONES * '\\');
	uint64		hit = ((word - ONES * 0x20) & ~word) | ((quote - ONES) & ~quote) | ((backslash - ONES) & ~backslash);

	return (hit & HIGH) != 0;
}

/* How many bytes from here on stand for themselves. */
static inline int
plain_run(const char *at, int length)
{
	int			run = 0;

	while (length - run >= (int) sizeof(uint64))
	{
		uint64		word;

		memcpy(&word, at + run, sizeof(word));
		if (word_has_special(word))
			break;
		run += sizeof(word);
	}
	while (run < length && (unsigned char) at[run] >= 0x20 && at[run] != '"' && at[run] != '\\')
		run++;
	return run;
}

static void
put_escaped(StringInfo out, unsigned char c)
{
	static const char shorts[] = "\bb\ff\nn\rr\tt\"\"\\\\";

	for (const char *pair = shorts; *pair != '\0'; pair += 2)
	{
		if ((unsigned char) pair[0] == c)
		{
			appendStringInfoCharMacro(out, '\\');
			appendStringInfoCharMacro(out, pair[1]);
			return;
		}
	}
	appendStringInfo(out, "\\u%04x", c);
}

static void
put_string(StringInfo out, const char *string, int length)
{
	appendStringInfoCharMacro(out, '"');
	while (length > 0)
	{
		int			run = plain_run(string, length);

		appendBinaryStringInfoNT(out, string, run);
		string += run;
		length -= run;
		if (length > 0)
		{
			put_escaped(out, (unsigned char) *string++);
			length--;
		}
	}
	appendStringInfoCharMacro(out, '"');
}

static void
put_scalar(StringInfo out, const JsonbValue *value)
{
	char	   *number;

	switch (value->type)
	{
		case jbvNull:
			appendBinaryStringInfoNT(out, "null", 4);
			break;
		case jbvString:
			put_string(out, value->val.string.val, value->val.string.len);
			break;
		case jbvNumeric:
			number = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
			appendStringInfoString(out, number);
			pfree(number);
			break;
		case jbvBool:
			appendStringInfoString(out, value->val.boolean ? "true" : "false");
			break;
		default:
			elog(ERROR, "unknown jsonb scalar type %d", (int) value->type);
	}
}

static inline void
put_separator(StringInfo out, bool first)
{
	if (!first)
		appendBinaryStringInfoNT(out, ", ", 2);
}

void
json_text_append(StringInfo out, Jsonb *json)
{
	JsonbIterator *iterator = JsonbIteratorInit(&json->root);
	JsonbIteratorToken token;
	JsonbValue	value;
	bool		scalar = false;
	bool		first = true;

	while ((token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
	{
		switch (token)
		{
			case WJB_BEGIN_ARRAY:
				put_separator(out, first);
				/* A lone scalar is stored as an array that is not written. */
				scalar = value.val.array.rawScalar;
				if (!scalar)
					appendStringInfoCharMacro(out, '[');
				first = true;
				break;
			case WJB_BEGIN_OBJECT:
				put_separator(out, first);
				appendStringInfoCharMacro(out, '{');
				first = true;
				break;
			case WJB_KEY:
				put_separator(out, first);
				put_string(out, value.val.string.val, value.val.string.len);
				appendBinaryStringInfoNT(out, ": ", 2);
				first = true;	/* no comma between a key and its value */
				break;
			case WJB_VALUE:
			case WJB_ELEM:
				put_separator(out, first);
				put_scalar(out, &value);
				first = false;
				break;
			case WJB_END_ARRAY:
				if (!scalar)
					appendStringInfoCharMacro(out, ']');
				first = false;
				break;
			case WJB_END_OBJECT:
				appendStringInfoCharMacro(out, '}');
				first = false;
				break;
			default:
				elog(ERROR, "unknown jsonb token %d", (int) token);
		}
	}
}

/*
 * From the header of a numeric, of which numeric.c makes a secret: sign, scale and
 * weight (digits before the point, by four) in two bytes, or in four.
 */
static int64
number_excess(const char *number, int64 stored)
{
	uint16		header[2] = {0};
	int			weight,
				scale;

	memcpy(header, VARDATA_ANY(number), Min(VARSIZE_ANY_EXHDR(number), sizeof(header)));
	if ((header[0] & 0xC000) == 0x8000)
	{
		weight = (header[0] & 0x40) ? -1 : header[0] & 0x3F;
		scale = (header[0] & 0x1F80) >> 7;
	}
	else
	{
		weight = (int16) header[1];
		scale = header[0] & 0x3FFF;
	}
	return Max(Max(weight + 1, 1) * 4 + scale - stored, 0);
}

static int64
container_excess(const JsonbContainer *container)
{
	uint32		count = JsonContainerSize(container) * (JsonContainerIsObject(container) ? 2 : 1);
	const char *data = (const char *) &container->children[count];
	uint32		offset = 0;
	int64		excess = 0;

	check_stack_depth();
	for (uint32 i = 0; i < count; i++)
	{
		JEntry		entry = container->children[i];
		uint32		end = JBE_HAS_OFF(entry) ? JBE_OFFLENFLD(entry) : offset + JBE_OFFLENFLD(entry);

		if (JBE_ISNUMERIC(entry))
			excess += number_excess(data + INTALIGN(offset), end - offset);
		else if (JBE_ISCONTAINER(entry))
			excess += container_excess((const JsonbContainer *) (data + INTALIGN(offset)));
		offset = end;
	}
	return excess;
}

int64
json_text_excess(Jsonb *value)
{
	return container_excess(&value->root);
}
