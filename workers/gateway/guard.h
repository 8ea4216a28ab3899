/*
 * Strict HTTP/1.1 in front of libmicrohttpd, which tolerates more than is safe
 * behind or beside another server: bare LF, folded lines, spaces before the
 * colon, several lengths, chunk extensions. The guard sees every byte before
 * libmicrohttpd does (intercept.c) and lets whole, well-formed heads pass only.
 *
 * A request that is refused is replaced, in the stream, by one with the method
 * REFUSED, which no client can send, and whose target names the reason; what
 * comes after it is dropped. So the answer keeps its place behind the answers to
 * earlier requests, and has the same form as every other error.
 */
#ifndef BACKOFFICE_GUARD_H
#define BACKOFFICE_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GUARD_MAX_LINE 8192		/* of the request line */
#define GUARD_MAX_HEAD 20480	/* leaves room in libmicrohttpd's 32 KiB per connection */
#define GUARD_MAX_HEADERS 100
#define GUARD_MAX_PAIRS 256		/* parameters of a query, cookies */
#define GUARD_REFUSAL_MAX 160	/* bytes of a replacement */
#define GUARD_METHOD "REFUSED"

typedef enum GuardPhase
{
	GUARD_HEAD,
	GUARD_BODY,					/* left bytes of it */
	GUARD_CHUNK_SIZE,
	GUARD_CHUNK_DATA,			/* left bytes, then CR LF */
	GUARD_CHUNK_END,
	GUARD_TRAILER,
	GUARD_UPGRADE,				/* behind an upgrade request: nothing passes until it was answered */
	GUARD_REFUSED				/* nothing passes any more */
} GuardPhase;

typedef struct Guard
{
	GuardPhase	phase;
	uint64_t	left;
	uint64_t	body;			/* bytes of this request's body so far */
	uint64_t	max_body;
	int			line;			/* bytes of the chunk's line so far */
	bool		digits;			/* there was a digit in it */
	bool		cr;				/* and a CR behind them */
	uint64_t	requests;		/* heads that passed */
	const char *broken;			/* why the body is not well-formed: the connection must end */

	/* bytes[start, start + ready): passed, not yet handed out; the rest up to len: a head that is not complete */
	char	   *bytes;
	size_t		start;
	size_t		ready;
	size_t		len;
	size_t		size;

	int			fd;
	int64_t		phase_since_ms; /* begin of the head or body that is awaited; 0: nothing is */
	int64_t		body_since_ms;
	bool		tls;			/* plain bytes cannot be written to it */
	bool		seen;			/* by libmicrohttpd's first read: the interception works */
	struct Guard *next;
	struct Guard *previous;
} Guard;

extern void guard_init(Guard *guard, int fd, uint64_t max_body);
extern void guard_free(Guard *guard);

/*
 * Takes bytes from the network. False: out of memory. Afterwards
 * guard->ready bytes may be handed out; guard->broken: end the connection.
 */
extern bool guard_feed(Guard *guard, const char *bytes, size_t len);

/* Hands out what passed, at most max bytes. */
extern size_t guard_take(Guard *guard, char *out, size_t max);

/* Whether a head has begun and is not complete. */
extern bool guard_in_head(const Guard *guard);
extern bool guard_in_body(const Guard *guard);

/* The HTTP status of a reason (the target of a replacement, without its slash). */
extern int	guard_status(const char *reason);

#endif
