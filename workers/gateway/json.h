/* JSON from outside, strictly. */
#ifndef BACKOFFICE_JSON_H
#define BACKOFFICE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * Parses a text: UTF-8, no NUL, no duplicate members, nested at most max_depth
 * deep, nothing behind it. NULL: *code is the symbolic reason, *why says it.
 */
extern json_t *json_strict(const char *text, size_t len, int max_depth, const char **code, const char **why);

#endif
