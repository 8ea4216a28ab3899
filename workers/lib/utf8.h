/* UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef BACKOFFICE_UTF8_H
#define BACKOFFICE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of the character that text begins with; 0: it is none. left is at least 1. */
extern size_t utf8_length(const void *text, size_t left);

extern bool utf8_is_valid(const void *text, size_t len);

/* The same, and no NUL: what PostgreSQL takes as text. */
extern bool utf8_is_text(const void *text, size_t len);

/* Question marks take the place of what is none, such as half a character where a text was cut. */
extern void utf8_mend(char *text);

#endif
