/*
 * json_out.h
 *		Objects written member by member: answers and events.
 */
#ifndef BACKOFFICE_JSON_OUT_H
#define BACKOFFICE_JSON_OUT_H

#include "core/core.h"
#include "utils/jsonb.h"

typedef struct JsonOut
{
	JsonbParseState *state;
} JsonOut;

/* name is NULL within an array; a value that is NULL is left out. */
extern void json_begin(JsonOut *json);
extern Jsonb *json_end(JsonOut *json);
extern void json_begin_object(JsonOut *json, const char *name);
extern void json_end_object(JsonOut *json);
extern void json_begin_array(JsonOut *json, const char *name);
extern void json_end_array(JsonOut *json);
extern void json_text(JsonOut *json, const char *name, const char *value);
extern void json_uuid(JsonOut *json, const char *name, const pg_uuid_t *value);
extern void json_int(JsonOut *json, const char *name, int64 value);
extern void json_bool(JsonOut *json, const char *name, bool value);
extern void json_jsonb(JsonOut *json, const char *name, Jsonb *value);

#endif
