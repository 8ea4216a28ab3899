/*
 * One GET at a time per issuer, several issuers at once: libcurl's multi interface
 * on the worker's loop. No redirects, no proxies, no compression, a cap on the
 * body, and every address judged before it is connected to.
 */
#ifndef BACKOFFICE_OIDC_FETCH_H
#define BACKOFFICE_OIDC_FETCH_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/address.h"
#include "lib/loop.h"

#define FETCH_ETAG_MAX 256

typedef struct FetchAnswer
{
	const char *error;			/* NULL: status and body are there. Never with words of the answer */
	long		status;
	const char *body;
	size_t		body_len;
	const char *cache_control;	/* NULL: none */
	const char *age;
	const char *etag;
	int64_t		retry_after_s;	/* 0: not said */
} FetchAnswer;

typedef void (*FetchFunction) (void *context, const FetchAnswer *answer);

typedef struct Fetch Fetch;

typedef struct Fetcher
{
	Loop	   *loop;
	const AddressRules *rules;
	const char *ca_file;		/* "": the system's certificates */
	int64_t		timeout_ms;
	CURLM	   *multi;
	LoopTimer	timer;
	Fetch	   *running;
} Fetcher;

extern bool fetcher_init(Fetcher *fetcher);
extern void fetcher_close(Fetcher *fetcher);

/* Asks for url; etag "" or what the last answer said. answered is called once, never from inside. False: out of memory. */
extern bool fetch_start(Fetcher *fetcher, const char *url, const char *etag, FetchFunction answered, void *context);

#endif
