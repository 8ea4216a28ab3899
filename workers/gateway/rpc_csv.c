/* A body of CSV becomes the JSON that the database reads. */
#include <string.h>

#include "gateway/rpc_body.h"
#include "lib/utf8.h"

typedef struct Csv
{
	RpcArena   *arena;
	const char *at;
	const char *end;
	bool		broken;			/* a quote that nothing ends, text behind one, or one inside a field */
} Csv;

/* One field; *last: a line ends behind it. */
static char *
read_field(Csv *csv, bool *last)
{
	RpcText		text = text_new(csv->arena);

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
			text_add_char(&text, *csv->at);
		}
	}
	else
		while (csv->at < csv->end && strchr(",\r\n\"", *csv->at) == NULL)
			text_add_char(&text, *csv->at++);
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
	return text.at;
}

/* One line: its object, of as many fields as it and the header have both. Returns how many fields it has; a blank line none, and no object. */
static size_t
read_line(Csv *csv, const char **names, size_t count, RpcText *json)
{
	RpcText		line = text_new(csv->arena);
	const char *value = NULL;
	size_t		column = 0;

	for (bool last = false; !last; column++)
	{
		value = read_field(csv, &last);
		if (column >= count)
			continue;
		text_add(&line, column > 0 ? "," : "");
		text_add_json(&line, names[column]);
		text_add_char(&line, ':');
		text_add_json(&line, strcmp(value, "NULL") == 0 ? NULL : value);
	}
	if (column == 1 && *value == '\0')
		return 0;
	text_print(json, "%s{%s}", json->length > 1 ? "," : "", line.at);
	return column;
}

RpcCsv
rpc_csv_to_json(RpcArena *arena, const char *text, size_t length, RpcText *json)
{
	Csv			csv = {.arena = arena, .at = text, .end = text + length};
	const char **names = NULL;
	size_t		count = 0;
	size_t		first = 0;
	bool		last = false;
	bool		ragged = false;

	if (!utf8_is_text(text, length))
		return CSV_BROKEN;
	while (!last)
	{
		names = arena_grow(arena, names, count, sizeof(char *));
		names[count++] = read_field(&csv, &last);
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
	}
	text_add_char(json, ']');
	return csv.broken ? CSV_BROKEN : ragged ? CSV_RAGGED : CSV_GOOD;
}
