/*
 * request.h
 *		What PostgREST and the gateway tell of an HTTP request, in settings of
 *		the transaction.
 *
 * Whoever can run SQL can set them: nothing here says who acts.
 */
#ifndef BACKOFFICE_REQUEST_H
#define BACKOFFICE_REQUEST_H

#include "core/core.h"

/* A header of the request, palloc'd, or NULL; name in lower case.  Without HTTP there is none. */
extern char *bo_request_header(const char *name);

/* A setting's value; NULL: not set, or empty. */
extern const char *bo_setting(const char *name);

/* From now on this session's errors have at most 64 kB of each text: it serves requests of HTTP. */
extern void bo_bound_errors(void);

/* error_bound.c, at start */
extern void error_bound_init(void);

#endif
