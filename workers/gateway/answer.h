/* From a function's result to an answer: body, response.status, response.headers. */
#ifndef BACKOFFICE_ANSWER_H
#define BACKOFFICE_ANSWER_H

#include "gateway/request.h"

/* The result's one row: body as JSON text, status, headers. Frees the result. */
extern void answer_route(Request *request, PGresult *result);

/* response.status: 0 when it is not set, -1 when it is no status. */
extern int	answer_status(const char *text);

/* response.headers: an array of objects with one member each. False: it is not. */
extern bool answer_headers(Request *request, const char *text);

#endif
