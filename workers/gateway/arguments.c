#include "gateway/arguments.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "gateway/json.h"
#include "gateway/text.h"

#define MAX_TEXTS 1024

typedef struct TypeRow
{
	const char *sql;
	const char *schema;
	const char *is;
} TypeRow;

static const TypeRow types[] = {
	[ARGUMENT_TEXT] = {"text", "{\"type\":\"string\"}", "a string"},
	[ARGUMENT_UUID] = {"uuid", "{\"type\":\"string\",\"format\":\"uuid\"}", "a UUID"},
	[ARGUMENT_INT] = {"int8", "{\"type\":\"integer\",\"format\":\"int64\"}", "a whole number of 64 bits"},
	[ARGUMENT_INT4] = {"int4", "{\"type\":\"integer\",\"format\":\"int32\"}", "a whole number of 32 bits"},
	[ARGUMENT_BOOL] = {"bool", "{\"type\":\"boolean\"}", "true or false"},
	[ARGUMENT_TIME] = {"timestamptz", "{\"type\":\"string\",\"format\":\"date-time\"}", "a time as RFC 3339 writes it"},
	[ARGUMENT_TEXTS] = {"text[]", "{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"maxItems\":1024}", "an array of strings"},
	[ARGUMENT_OBJECT] = {"jsonb", "{\"type\":\"object\"}", "an object"},
	[ARGUMENT_INET] = {"inet", "{\"type\":\"string\"}", "an address"},
};

const char *
argument_sql_type(ArgumentType type)
{
	return types[type].sql;
}

const char *
argument_schema(ArgumentType type)
{
	return types[type].schema;
}

/* ---- values ---- */

static bool
is_int(const char *text, int64_t min, int64_t max)
{
	char	   *end;
	long long	value;

	if (*text != '-' && !(*text >= '0' && *text <= '9'))
		return false;
	errno = 0;
	value = strtoll(text, &end, 10);
	return errno == 0 && *end == '\0' && value >= min && value <= max;
}

static bool
digits(const char **at, int n, int min, int max)
{
	int			value = 0;

	for (int i = 0; i < n; i++, (*at)++)
	{
		if (**at < '0' || **at > '9')
			return false;
		value = value * 10 + (**at - '0');
	}
	return value >= min && value <= max;
}

/* RFC 3339: the database takes far more ("yesterday"), which is nobody's contract. */
static bool
is_time(const char *at)
{
	if (!digits(&at, 4, 1, 9999) || *at++ != '-' || !digits(&at, 2, 1, 12) || *at++ != '-' || !digits(&at, 2, 1, 31) ||
		(*at != 'T' && *at != 't' && *at != ' '))
		return false;
	at++;
	if (!digits(&at, 2, 0, 23) || *at++ != ':' || !digits(&at, 2, 0, 59) || *at++ != ':' || !digits(&at, 2, 0, 60))
		return false;
	if (*at == '.')
	{
		int			n = (int) strspn(at + 1, "0123456789");

		if (n == 0 || n > 9)
			return false;
		at += 1 + n;
	}
	if (*at == 'Z' || *at == 'z')
		return at[1] == '\0';
	if (*at != '+' && *at != '-')
		return false;
	at++;
	return digits(&at, 2, 0, 15) && *at++ == ':' && digits(&at, 2, 0, 59) && *at == '\0';
}

bool
argument_from_text(ArgumentType type, const char *text)
{
	switch (type)
	{
		case ARGUMENT_TEXT:
			return true;
		case ARGUMENT_UUID:
			return strlen(text) == 36 && text_is_uuid(text);
		case ARGUMENT_INT:
			return is_int(text, INT64_MIN, INT64_MAX);
		case ARGUMENT_INT4:
			return is_int(text, INT32_MIN, INT32_MAX);
		case ARGUMENT_BOOL:
			return strcmp(text, "true") == 0 || strcmp(text, "false") == 0;
		case ARGUMENT_TIME:
			return is_time(text);
		case ARGUMENT_INET:
			{
				unsigned char address[16];

				return inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1;
			}
		case ARGUMENT_TEXTS:
		case ARGUMENT_OBJECT:
			break;
	}
	return false;
}

/* {"a","b"}: an array's text, every element quoted. */
static char *
array_text(Request *request, const json_t *value)
{
	size_t		size = 3;
	char	   *out;
	char	   *at;

	if (!json_is_array(value) || json_array_size(value) > MAX_TEXTS)
		return NULL;
	for (size_t i = 0; i < json_array_size(value); i++)
	{
		if (!json_is_string(json_array_get(value, i)))
			return NULL;
		size += 2 * json_string_length(json_array_get(value, i)) + 3;
	}
	out = request_alloc(request, size);
	if (out == NULL)
		return NULL;
	at = out;
	*at++ = '{';
	for (size_t i = 0; i < json_array_size(value); i++)
	{
		if (i > 0)
			*at++ = ',';
		*at++ = '"';
		for (const char *text = json_string_value(json_array_get(value, i)); *text != '\0'; text++)
		{
			if (*text == '"' || *text == '\\')
				*at++ = '\\';
			*at++ = *text;
		}
		*at++ = '"';
	}
	*at++ = '}';
	*at = '\0';
	return out;
}

char *
argument_from_json(Request *request, ArgumentType type, const json_t *value, const char *text, size_t len)
{
	switch (type)
	{
		case ARGUMENT_INT:
		case ARGUMENT_INT4:
			if (!json_is_integer(value) || (type == ARGUMENT_INT4 && (json_integer_value(value) < INT32_MIN || json_integer_value(value) > INT32_MAX)))
				return NULL;
			return request_printf(request, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		case ARGUMENT_BOOL:
			return json_is_boolean(value) ? request_copy(request, json_is_true(value) ? "true" : "false", json_is_true(value) ? 4 : 5) : NULL;
		case ARGUMENT_TEXTS:
			return array_text(request, value);
		case ARGUMENT_OBJECT:
			/* As it was sent: written anew, 0.1 would be 0.10000000000000001. */
			return json_is_object(value) ? request_copy(request, text, len) : NULL;
		default:
			if (!json_is_string(value) || !argument_from_text(type, json_string_value(value)))
				return NULL;
			return request_copy(request, json_string_value(value), json_string_length(value));
	}
}

/* ---- from where ---- */

static bool
complain(Complaint *complaint, const char *code, const char *text)
{
	complaint->code = code;
	complaint->text = text != NULL ? text : "a member is not what it must be";
	complaint->hint = NULL;
	return false;
}

/* A name that the route does not have; what it has is the hint. */
static bool
unknown_name(Request *request, Complaint *complaint, Source source, const char *name)
{
	bool		member = source == FROM_BODY;
	const char *known = NULL;

	for (const Argument *a = request->route->arguments; a < request->route->arguments + ROUTE_MAX_ARGUMENTS && a->name != NULL; a++)
		if (a->source == source)
			known = known == NULL ? a->name : request_printf(request, "%s, %s", known, a->name);
	complain(complaint, member ? "unknown_member" : "unknown_parameter",
			 request_printf(request, "there is no %s \"%.100s\" here", member ? "member" : "parameter", name));
	complaint->hint = known == NULL ? "There is none at all." : request_printf(request, "There is: %s.", known);
	return false;
}

static bool
wrong_type(Request *request, Complaint *complaint, const Argument *argument)
{
	return complain(complaint, "bad_argument", request_printf(request, "%s must be %s", argument->name, types[argument->type].is));
}

static int
find_argument(const Route *route, Source source, const char *name, size_t len)
{
	for (int i = 0; i < ROUTE_MAX_ARGUMENTS && route->arguments[i].name != NULL; i++)
		if (route->arguments[i].source == source && strlen(route->arguments[i].name) == len && memcmp(route->arguments[i].name, name, len) == 0)
			return i;
	return -1;
}

static bool
has_source(const Route *route, Source source)
{
	for (int i = 0; i < ROUTE_MAX_ARGUMENTS && route->arguments[i].name != NULL; i++)
		if (route->arguments[i].source == source)
			return true;
	return false;
}

/* name=value pairs, of a query or a form. */
static bool
from_pairs(Request *request, const char *pairs, Source source, const char **values, Complaint *complaint)
{
	QueryItem	item;

	while (request_query_next(&pairs, &item))
	{
		const char *name = request_decode(request, item.name, item.name_len, true);
		const char *value = request_decode(request, item.value, item.value_len, true);
		int			at = name != NULL ? find_argument(request->route, source, name, strlen(name)) : -1;

		if (name == NULL || value == NULL)
			return complain(complaint, "bad_encoding", "a parameter is not well-formed percent-encoded UTF-8");
		if (at < 0)
			return unknown_name(request, complaint, source, name);
		if (values[at] != NULL)
			return complain(complaint, "duplicate_parameter", request_printf(request, "%s is given twice", name));
		if (!argument_from_text(request->route->arguments[at].type, value))
			return wrong_type(request, complaint, &request->route->arguments[at]);
		values[at] = value;
	}
	return true;
}

/* Whether the content type is the wanted one, whatever its parameters. */
static bool
is_type(const Request *request, const char *wanted)
{
	const char *type = request_header(request, "content-type");
	size_t		len = strlen(wanted);

	return type != NULL && strncasecmp(type, wanted, len) == 0 && (type[len] == '\0' || type[len] == ';' || type[len] == ' ');
}

/* The text of the next member's value, of an object that is known to be good JSON. *at: behind the member before, or its brace. */
static const char *
next_value(const char **at, size_t *len)
{
	const char *c = *at;
	const char *value = NULL;
	int			depth = 0;

	for (; depth > 0 || (*c != ',' && *c != '}'); c++)
	{
		if (*c == '"')
			for (c++; *c != '"'; c++)
				c += *c == '\\';
		else if (*c == '{' || *c == '[')
			depth++;
		else if (*c == '}' || *c == ']')
			depth--;
		else if (*c == ':' && value == NULL)
			value = c + 1;
	}
	*len = (size_t) (c - value);
	*at = c + 1;
	return value;
}

static bool
from_members(Request *request, json_t *body, const char **values, Complaint *complaint)
{
	const char *place = strchr(request->body, '{') + 1;
	const char *name;
	json_t	   *value;

	/* jansson keeps the order. */
	json_object_foreach(body, name, value)
	{
		int			at = find_argument(request->route, FROM_BODY, name, strlen(name));
		size_t		len;
		const char *text = next_value(&place, &len);

		if (at < 0)
			return unknown_name(request, complaint, FROM_BODY, name);
		/* null is the same as leaving it out. */
		if (json_is_null(value))
			continue;
		values[at] = argument_from_json(request, request->route->arguments[at].type, value, text, len);
		if (values[at] == NULL)
			return wrong_type(request, complaint, &request->route->arguments[at]);
	}
	return true;
}

static bool
from_body(Request *request, const char **values, Complaint *complaint)
{
	const char *why;
	json_t	   *body;
	bool		good;

	if (request->body_len == 0)
		return true;
	if (!is_type(request, "application/json"))
		return complain(complaint, "unsupported_media_type", "the body must be application/json");
	body = json_strict(request->body, request->body_len, (int) request->gateway->settings.max_json_depth, &complaint->code, &why);
	if (body == NULL)
		return complain(complaint, complaint->code, why);
	good = json_is_object(body) ? from_members(request, body, values, complaint) :
		complain(complaint, "not_an_object", "the body must be a JSON object");
	json_decref(body);
	return good;
}

static bool
from_form(Request *request, const char **values, Complaint *complaint)
{
	if (request->body_len == 0)
		return true;
	if (!is_type(request, "application/x-www-form-urlencoded"))
		return complain(complaint, "unsupported_media_type", "the body must be application/x-www-form-urlencoded");
	if (strlen(request->body) != request->body_len)
		return complain(complaint, "nul_character", "the body holds a NUL character");
	return from_pairs(request, request->body, FROM_FORM, values, complaint);
}

bool
arguments_collect(Request *request, const char **values, Complaint *complaint)
{
	const Route *route = request->route;
	int			param = 0;

	memset(values, 0, ROUTE_MAX_ARGUMENTS * sizeof(*values));
	if (!from_pairs(request, request->query, FROM_QUERY, values, complaint))
		return false;
	if (has_source(route, FROM_FORM) ? !from_form(request, values, complaint) :
		route->method != METHOD_GET && !from_body(request, values, complaint))
		return false;
	for (int i = 0; i < ROUTE_MAX_ARGUMENTS && route->arguments[i].name != NULL; i++)
	{
		const Argument *argument = &route->arguments[i];

		if (argument->source == FROM_PATH)
		{
			values[i] = request->params[param++];
			if (!argument_from_text(argument->type, values[i]))
				return wrong_type(request, complaint, argument);
		}
		else if (argument->source == FROM_PEER)
			values[i] = request->peer[0] != '\0' ? request->peer : NULL;
		else if (argument->required && values[i] == NULL)
			return complain(complaint, "missing_argument", request_printf(request, "%s is missing", argument->name));
	}
	return true;
}
