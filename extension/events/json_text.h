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

#endif
