#include "gateway/json.h"

#include <string.h>

/* Brackets outside of strings; the text need not be good JSON. */
static bool
too_deep(const char *text, size_t len, int max_depth)
{
	int			depth = 0;
	bool		quoted = false;

	for (size_t i = 0; i < len; i++)
	{
		char		c = text[i];

		if (quoted)
		{
			if (c == '\\')
				i++;
			quoted = c != '"';
		}
		else if (c == '"')
			quoted = true;
		else if ((c == '{' || c == '[') && ++depth > max_depth)
			return true;
		else if (c == '}' || c == ']')
			depth--;
	}
	return false;
}

json_t *
json_strict(const char *text, size_t len, int max_depth, const char **code, const char **why)
{
	json_error_t error;
	json_t	   *json;

	if (too_deep(text, len, max_depth))
	{
		*code = "json_too_deep";
		*why = "the JSON is nested too deep";
		return NULL;
	}
	json = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
	if (json != NULL)
		return json;
	switch (json_error_code(&error))
	{
		case json_error_duplicate_key:
			*code = "json_duplicate_member";
			*why = "the JSON has an object with two members of the same name";
			break;
		case json_error_invalid_utf8:
			*code = "not_utf8";
			*why = "the JSON is not UTF-8";
			break;
		case json_error_null_character:
		case json_error_null_byte_in_key:
			*code = "nul_character";
			*why = "the JSON holds a NUL character";
			break;
		case json_error_numeric_overflow:
			*code = "json_number_too_large";
			*why = "the JSON holds a number that is too large";
			break;
		default:
			*code = "bad_json";
			*why = "the body is not JSON";
	}
	return NULL;
}
