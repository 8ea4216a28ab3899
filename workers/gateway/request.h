/*
 * One HTTP request, from its head to its last byte out.
 *
 * A handler is called once, when head and body are complete and have passed the
 * checks. It answers at once (reply_*), or returns and answers later: then the
 * connection sleeps (MHD_suspend_connection) until reply_* wakes it.
 */
#ifndef BACKOFFICE_REQUEST_H
#define BACKOFFICE_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/gateway.h"
#include "gateway/pool.h"

#define REQUEST_MAX_HEADERS 100
#define REQUEST_MAX_PARAMS 4
#define REQUEST_MAX_REPLY_HEADERS 32
#define REQUEST_ID_MAX 64

typedef struct Request Request;
typedef struct Route Route;

typedef enum Method
{
	METHOD_GET,
	METHOD_HEAD,
	METHOD_POST,
	METHOD_PUT,
	METHOD_PATCH,
	METHOD_DELETE,
	METHOD_OPTIONS,
	METHOD_OTHER
} Method;

typedef struct Header
{
	const char *name;			/* lower case; of a reply as it is to be sent */
	const char *value;
} Header;

typedef struct Reply
{
	bool		ready;
	int			status;
	Header		headers[REQUEST_MAX_REPLY_HEADERS];	/* copies, in the request's memory */
	int			header_count;
	char	   *body;			/* NULL: none */
	size_t		body_len;
	size_t		counted;		/* of it, in the gateway's answer_bytes */
	int64_t		since_us;		/* when it was ready */
	void		(*free_body) (void *);	/* NULL: static */
	void	   *free_context;
	const char *reason;			/* the phrase behind the status; NULL: the usual one */
	bool		no_length;		/* of an answer to HEAD: does not tell how long GET's is */
	bool		close;			/* the connection with it */
	const char *code;			/* of an error, for the log; NULL: none */
} Reply;

typedef void (*RequestDone) (Request *request, CallOutcome outcome, PGresult *result);

struct Request
{
	Gateway    *gateway;
	struct MHD_Connection *connection;
	int			fd;
	Method		method;
	const char *method_text;
	char	   *path;			/* as sent, percent-encoded, without the query */
	char	   *query;			/* as sent, behind the "?"; "" without one */
	Header		headers[REQUEST_MAX_HEADERS];
	int			header_count;
	char	   *body;			/* terminated by a NUL that does not count */
	size_t		body_len;
	size_t		body_size;
	bool		body_too_large;
	bool		has_body;

	char		peer[48];		/* the client's address, in text */
	char		id[REQUEST_ID_MAX + 1];	/* X-Request-Id: the client's, or ours */
	char		traceparent[56];
	const char *token;			/* of Authorization: Bearer, or NULL */
	const char *organization;	/* X-Organization-Id, a well-formed UUID, or NULL */
	char		principal[160];	/* user:<uuid>, apikey:<uuid> or anon; known after the call */

	const Route *route;
	int			route_number;	/* for the metrics */
	const char *params[REQUEST_MAX_PARAMS];	/* of the pattern, decoded */

	Reply		reply;
	struct Guard *guard;
	bool		begun;			/* the head was looked at */
	bool		handled;		/* the handler was called */
	bool		taken;			/* server_take(): the connection is somebody else's */
	bool		suspended;
	bool		gone;			/* the client is: nobody reads the answer */
	int64_t		started_us;
	Call		call;			/* to the database; at most one at a time */
	RequestDone call_done;
	struct MemoryChunk *memory; /* freed with the request */

	void	   *state;			/* the handler's own */
	void		(*free_state) (void *);
	Request    *next;			/* all of this process */
	Request    *previous;
};

typedef void (*Handler) (Request *request);

/* Memory that lives as long as the request. NULL: none left. */
extern void *request_alloc(Request *request, size_t size);
extern char *request_copy(Request *request, const char *text, size_t len);
extern char *request_printf(Request *request, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A header's value by its lower-case name; several of one name are joined with ", ". NULL: not there. */
extern const char *request_header(const Request *request, const char *name);

/* Adds one as the client sent it. False: out of memory, or too many. */
extern bool request_add_header(Request *request, const char *name, const char *value);
/* Sets one, whatever the client sent. */
extern bool request_set_header(Request *request, const char *name, const char *value);
extern void request_free_memory(Request *request);

/* Percent-decodes (and "+" to a space, in a query). NULL: not well-formed, not UTF-8, or with a NUL. */
extern char *request_decode(Request *request, const char *text, size_t len, bool plus);

/* The next name=value of a query string; false at its end. Both stay encoded. */
typedef struct QueryItem
{
	const char *name;
	size_t		name_len;
	const char *value;
	size_t		value_len;
} QueryItem;
extern bool request_query_next(const char **at, QueryItem *item);

/* request.headers for the database: a JSON object, lower-case names, without Cookie. request.cookies: the same of cookies. */
extern const char *request_headers_json(Request *request);
extern const char *request_cookies_json(Request *request);

/*
 * Calls the database for this request: begin_request with its token, then
 * `before` (may be NULL) and `main` in one implicit transaction, committed by the Sync;
 * done() gets the result of `main`, or why there is none, when all that is over.
 */
extern void request_call(Request *request, const Statement *before, const Statement *main, bool read_only, bool rollback,
						 RequestDone done);

/* One statement of the gateway's own, as the role it logged in as, without begin_request. pool NULL: the default one. */
extern void request_call_internal(Request *request, Pool *pool, const Statement *main, RequestDone done);

/* The pool of the organization that the header names, else the token's. */
extern Pool *request_pool(const Request *request);

/* The request's reply is ready: the sleeping connection wakes. Called by reply_*. */
extern void request_wake(Request *request);

#endif
