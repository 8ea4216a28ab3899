/* Cross-origin requests from browsers, as --allow-origins says. */
#ifndef BACKOFFICE_CORS_H
#define BACKOFFICE_CORS_H

#include <microhttpd.h>
#include <stdio.h>

#include "gateway/request.h"

/* "" (none), "*", or origins separated by commas: https://app.example[:port]. */
extern bool cors_check(const char *origins, FILE *err);

/* Answers a preflight; false: it is none. */
extern bool cors_preflight(Request *request, unsigned int allowed_methods);

/* Adds what an answer to a browser of an allowed origin carries. */
extern void cors_answer(const Request *request, struct MHD_Response *response);

/* What Access-Control-Allow-Origin is to say; NULL: nothing. */
extern const char *cors_allowed_origin(const Request *request);

/* Pure: whether the list has the origin. */
extern bool cors_allows(const char *origins, const char *origin);

#endif
