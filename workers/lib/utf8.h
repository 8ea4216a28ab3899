/* UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef BACKOFFICE_UTF8_H
#define BACKOFFICE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

extern bool utf8_is_valid(const void *text, size_t len);

/* The same, and no NUL: what PostgreSQL takes as text. */
extern bool utf8_is_text(const void *text, size_t len);

#endif
