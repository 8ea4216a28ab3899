/* What happens to a request between libmicrohttpd and its handler. */
#ifndef BACKOFFICE_DISPATCH_H
#define BACKOFFICE_DISPATCH_H

#include "gateway/request.h"

/* The head is there: checks that need no body. Afterwards the reply may be ready. False: out of memory. */
extern bool dispatch_head(Request *request, const char *method, const char *version);

/* The body is there: the handler. */
extern void dispatch_handle(Request *request);

/* A request that has been running for long: is the client still there? */
extern void dispatch_check_client(Request *request);

/* It is over: metrics and log. sent: the answer went out whole. */
extern void dispatch_over(Request *request, bool sent);

#endif
