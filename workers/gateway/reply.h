/* Answers. Each of the reply_* functions is called once per request; the answer goes out when the loop gets to it. */
#ifndef BACKOFFICE_REPLY_H
#define BACKOFFICE_REPLY_H

#include "gateway/request.h"

#define TYPE_JSON "application/json"
#define TYPE_PROBLEM "application/problem+json"

/* Adds a header (values with control characters are refused: false). Before the reply itself. */
extern bool reply_header(Request *request, const char *name, const char *value);

extern bool reply_has_header(const Request *request, const char *name);

/* type NULL: no body. The text is copied into the request's memory. */
extern void reply_text(Request *request, int status, const char *type, const char *body, size_t len);

/* Text that lives at least as long as the process. */
extern void reply_static(Request *request, int status, const char *type, const char *body, size_t len);

/* Text inside of a result, which is kept until it has been sent, and freed then. */
extern void reply_result(Request *request, int status, const char *type, PGresult *result, const char *body, size_t len);

#endif
