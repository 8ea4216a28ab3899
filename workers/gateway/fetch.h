/* HTTP requests of our own (to OpenID providers), by libcurl's multi interface in the loop. */
#ifndef BACKOFFICE_FETCH_H
#define BACKOFFICE_FETCH_H

#include <stdbool.h>
#include <stddef.h>

#include "gateway/gateway.h"

typedef struct Fetcher Fetcher;
typedef struct Fetch Fetch;

/* status 0: no answer, error says why. The body is terminated by a NUL that does not count. */
typedef void (*FetchDone) (void *context, int status, const char *body, size_t len, const char *error);

extern Fetcher *fetcher_open(Gateway *gateway);
extern void fetcher_close(Fetcher *fetcher);

/*
 * POSTs a form. user and password: for Basic authorization, or NULL. Where to: lib/address.h, for the
 * worker oidc and for us; no redirects; bounded in size and time. NULL: not started, error says why.
 */
extern Fetch *fetch_post(Fetcher *fetcher, const char *url, const char *form, const char *user, const char *password,
						 FetchDone done, void *context, const char **error);

/* Nobody waits for it any more. */
extern void fetch_abandon(Fetch *fetch);

#endif
