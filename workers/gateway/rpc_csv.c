/* A body of CSV becomes the JSON that the database reads. */
#include <string.h>

#include "gateway/rpc_body.h"
#include "lib/utf8.h"

typedef struct Csv
{
	RpcArena   *arena;
	const char *at;
	const char *end;
	bool		broken;			/* a quote that nothing ends, or text behind one */
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
		while (csv->at < csv->end && strchr(",\r\n", *csv->at) == NULL)
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

bool
rpc_csv_to_json(RpcArena *arena, const char *text, size_t length, RpcText *json)
{
	Csv			csv = {.arena = arena, .at = text, .end = text + length};
	const char **names = NULL;
	size_t		count = 0;
	bool		last = false;

	if (length == 0 || !utf8_is_text(text, length))
		return false;
	while (!last)
	{
		names = arena_grow(arena, names, count, sizeof(char *));
		names[count++] = read_field(&csv, &last);
	}
	text_add_char(json, '[');
	while (csv.at < csv.end && !csv.broken)
	{
		size_t		column = 0;

		text_add(json, json->length > 1 ? ",{" : "{");
		for (last = false; !last; column++)
		{
			const char *value = read_field(&csv, &last);

			if (column >= count)
				return false;
			text_add(json, column > 0 ? "," : "");
			text_add_json(json, names[column]);
			text_add_char(json, ':');
			text_add_json(json, strcmp(value, "NULL") == 0 ? NULL : value);
		}
		text_add_char(json, '}');
		if (column != count)
			return false;
	}
	text_add_char(json, ']');
	return !csv.broken;
}
