/*
 * json_schema.h
 *		JSON Schema, draft 2020-12, the subset that docs/events.md lists.
 */
#ifndef BACKOFFICE_JSON_SCHEMA_H
#define BACKOFFICE_JSON_SCHEMA_H

#include "core/core.h"
#include "utils/jsonb.h"

typedef struct JsonSchema JsonSchema;

/* Compiles into a child of parent.  Errors (invalid_schema) name the keyword and its place. */
extern JsonSchema *json_schema_compile(Jsonb *source, MemoryContext parent);

/* Error schema_violation unless the payload is valid. */
extern void json_schema_check(const JsonSchema *schema, Jsonb *payload, const char *topic, const char *type);

#endif
