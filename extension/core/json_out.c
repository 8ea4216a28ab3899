/*
 * json_out.c
 *		Objects written member by member.
 */
#include "core/json_out.h"

#include "utils/numeric.h"

static void
push_string(JsonOut *json, JsonbIteratorToken token, const char *text)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = (char *) text;
	value.val.string.len = strlen(text);
	pushJsonbValue(&json->state, token, &value);
}

/* Within an array there are no names. */
static void
push_name(JsonOut *json, const char *name)
{
	if (name != NULL)
		push_string(json, WJB_KEY, name);
}

static void
push_value(JsonOut *json, const char *name, JsonbValue *value)
{
	push_name(json, name);
	pushJsonbValue(&json->state, name ? WJB_VALUE : WJB_ELEM, value);
}

void
json_begin(JsonOut *json)
{
	json->state = NULL;
	pushJsonbValue(&json->state, WJB_BEGIN_OBJECT, NULL);
}

Jsonb *
json_end(JsonOut *json)
{
	return JsonbValueToJsonb(pushJsonbValue(&json->state, WJB_END_OBJECT, NULL));
}

void
json_begin_object(JsonOut *json, const char *name)
{
	push_name(json, name);
	pushJsonbValue(&json->state, WJB_BEGIN_OBJECT, NULL);
}

void
json_end_object(JsonOut *json)
{
	pushJsonbValue(&json->state, WJB_END_OBJECT, NULL);
}

void
json_begin_array(JsonOut *json, const char *name)
{
	push_name(json, name);
	pushJsonbValue(&json->state, WJB_BEGIN_ARRAY, NULL);
}

void
json_end_array(JsonOut *json)
{
	pushJsonbValue(&json->state, WJB_END_ARRAY, NULL);
}

void
json_text(JsonOut *json, const char *name, const char *value)
{
	if (value == NULL)
		return;
	push_name(json, name);
	push_string(json, name ? WJB_VALUE : WJB_ELEM, value);
}

void
json_uuid(JsonOut *json, const char *name, const pg_uuid_t *value)
{
	json_text(json, name, value ? bo_uuid_text(value) : NULL);
}

void
json_int(JsonOut *json, const char *name, int64 value)
{
	JsonbValue	number = {.type = jbvNumeric};

	number.val.numeric = int64_to_numeric(value);
	push_value(json, name, &number);
}

void
json_bool(JsonOut *json, const char *name, bool value)
{
	JsonbValue	boolean = {.type = jbvBool};

	boolean.val.boolean = value;
	push_value(json, name, &boolean);
}

/* An array or object as it is. */
void
json_jsonb(JsonOut *json, const char *name, Jsonb *value)
{
	JsonbValue	binary = {.type = jbvBinary};

	binary.val.binary.data = &value->root;
	binary.val.binary.len = VARSIZE(value) - VARHDRSZ;
	push_value(json, name, &binary);
}
