/* Pure helpers for text that came from outside. */
#ifndef BACKOFFICE_TEXT_H
#define BACKOFFICE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

extern void text_lower(char *text);

/* out has room for len + 1 bytes. False: a bad escape, a NUL, or not UTF-8. */
extern bool text_percent_decode(const char *text, size_t len, bool plus, char *out);

/* Writes a JSON string, quotes included, without a NUL behind it; returns its end. out has room for 6 * len + 2 bytes. */
extern char *text_json_string(char *out, const char *text, size_t len);

/* For a form's value, in the request's memory; NULL: none left. */
struct Request;
extern char *text_percent_encode(struct Request *request, const char *text);

/* Without padding, and a NUL behind it; out has room for len * 4 / 3 + 3 bytes. */
extern void text_base64url(const void *bytes, size_t len, char *out);
/* Returns how many bytes it is, 0: none. out has room for len of them. */
extern size_t text_base64url_decode(const char *text, size_t len, char *out);

extern bool text_is_uuid(const char *text);
extern uint32_t text_hash(const char *text, size_t len);
extern uint64_t text_hash64(const char *text, size_t len);

/* Printable characters without quotes, 1 to REQUEST_ID_MAX of them: an id that may go into logs and headers. */
extern bool text_is_request_id(const char *text);
extern bool text_is_traceparent(const char *text);
extern void text_random_hex(char *out, int bytes);

#endif
