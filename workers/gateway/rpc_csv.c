/* A body of CSV becomes the JSON that the database reads. */
#include <string.h>

#include "gateway/rpc_body.h"
#include "lib/utf8.h"

/* Each line of the JSON has the names again: it may be so many times as long as the body. */
#define JSON_TIMES 32
#define JSON_MORE 1048576

typedef struct Csv
{
	RpcArena   *arena;
	const char *at;
	const char *end;
	bool		broken;			/* a quote that nothing ends, text behind one, or one inside a field */
	RpcText		field;			/* room for one at a time, and for a line: a body has a million of them */
	RpcText		line;
} Csv;

static void
clear(RpcText *text)
{
	text->length = 0;
	text->at[0] = '\0';
}

/* One field, good until the next one is read; *last: a line ends behind it. */
static const char *
read_field(Csv *csv, bool *last)
{
	RpcText    *text = &csv->field;

	clear(text);
	if (csv->at < csv->end && *csv->at == '"')
	{
		csv->at++;
		for (;; csv->at++)
		{
			if (csv->at == csv->end)
			{
				csv->broken = true;
				break;
			}
			if (*csv->at == '"')
			{
				csv->at++;
				if (csv->at == csv->end || *csv->at != '"')
					break;
			}
			text_add_char(text, *csv->at);
		}
	}
	else
		while (csv->at < csv->end && strchr(",\r\n\"", *csv->at) == NULL)
			text_add_char(text, *csv->at++);
	*last = csv->at == csv->end || *csv->at != ',';
	if (csv->at < csv->end && *csv->at == ',')
		csv->at++;
	else if (csv->at < csv->end && strchr("\r\n", *csv->at) == NULL)
		csv->broken = true;
	else
	{
		if (csv->at < csv->end && *csv->at == '\r')
			csv->at++;
		if (csv->at < csv->end && *csv->at == '\n')
			csv->at++;
	}
	return text->at;
}

/* One line: its object, of as many fields as it and the header have both. Returns how many fields it has; a blank line none, and no object. */
static size_t
read_line(Csv *csv, const char **names, size_t count, RpcText *json)
{
	RpcText    *line = &csv->line;
	const char *value = NULL;
	size_t		column = 0;

	clear(line);
	for (bool last = false; !last; column++)
	{
		value = read_field(csv, &last);
		if (column >= count)
			continue;
		text_add(line, column > 0 ? "," : "");
		text_add_json(line, names[column]);
		text_add_char(line, ':');
		text_add_json(line, strcmp(value, "NULL") == 0 ? NULL : value);
	}
	if (column == 1 && *value == '\0')
		return 0;
	text_add(json, json->length > 1 ? ",{" : "{");
	text_add_bytes(json, line->at, line->length);
	text_add_char(json, '}');
	return column;
}

RpcCsv
rpc_csv_to_json(RpcArena *arena, const char *text, size_t length, RpcText *json)
{
	Csv			csv = {.arena = arena, .at = text, .end = text + length, .field = text_new(arena), .line = text_new(arena)};
	const char **names = NULL;
	size_t		count = 0;
	size_t		first = 0;
	size_t		max = length * JSON_TIMES + JSON_MORE;
	bool		last = false;
	bool		ragged = false;

	if (!utf8_is_text(text, length))
		return CSV_BROKEN;
	while (!last)
	{
		names = arena_grow(arena, names, count, sizeof(char *));
		read_field(&csv, &last);
		names[count++] = arena_copy(arena, csv.field.at, csv.field.length);
	}
	/* A header is a whole line. */
	if (csv.broken || length == 0 || strchr("\r\n", csv.at[-1]) == NULL)
		return CSV_BROKEN;
	text_add_char(json, '[');
	while (csv.at < csv.end && !csv.broken)
	{
		size_t		fields = read_line(&csv, names, count, json);

		fields = fields > count ? count : fields;
		first = first == 0 ? fields : first;
		ragged = ragged || (fields > 0 && fields != first);
		if (json->length > max)
			return CSV_LARGE;
	}
	text_add_char(json, ']');
	return csv.broken ? CSV_BROKEN : ragged ? CSV_RAGGED : CSV_GOOD;
}
