/*
 * json_text.h
 *		jsonb as JSON text.
 */
#ifndef BACKOFFICE_EVENTS_JSON_TEXT_H
#define BACKOFFICE_EVENTS_JSON_TEXT_H

#include "core/core.h"
#include "lib/stringinfo.h"
#include "utils/jsonb.h"

/* Appends the text that jsonb_out() gives for it, without a terminating zero. */
extern void json_text_append(StringInfo out, Jsonb *json);

/* How many bytes more the numbers have as text than as stored: 1e100000 is stored in eight bytes. */
extern int64 json_text_excess(Jsonb *value);

#endif
