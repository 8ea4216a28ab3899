/*
 * api.h
 *		What HTTP exposes, as data: each function of the schema api is one entry
 *		here, and all are the C function api_call().
 *
 * An entry says who may call and which statement answers; api_call() does what
 * is the same for all: permission, read-only transactions, idempotency keys,
 * the status and headers of the answer.  So nothing of it can be forgotten.
 */
#ifndef BACKOFFICE_API_H
#define BACKOFFICE_API_H

#include "core/core.h"
#include "core/spi.h"
#include "utils/jsonb.h"

/* permission of an entry, where it is not the name of one */
#define API_ANONYMOUS	NULL		/* nobody needs to act */
#define API_ANY_USER	""		/* a user acts, whatever its rights */
#define API_PLATFORM	"+"		/* a platform administrator acts */

/* flags */
#define API_NO_KEY		0x01	/* Idempotency-Key is ignored: docs/api.md says why for each */
#define API_SECRET		0x02	/* the answer holds a secret: kept for repetitions, but encrypted */
#define API_PAGED		0x04	/* the last argument, max_items, is the size of a page */

/* Items of a page at most. */
#define API_PAGE_MAX 1000

/*
 * A statement that answers a page: {"items": [...], "next": key or null}.  rows: a query of (item jsonb, key text),
 * ordered by key, of the keys behind the argument "after"; max: the parameter with its size.
 */
#define API_PAGE(max, rows) \
	"WITH page AS (SELECT item, key, row_number() OVER () AS n FROM (" rows " LIMIT " max " + 1) AS r)" \
	" SELECT jsonb_build_object(" \
	"   'items', coalesce((SELECT jsonb_agg(item ORDER BY n) FROM page WHERE n <= " max "), '[]')," \
	"   'next', (SELECT key FROM page WHERE n = " max " AND EXISTS (SELECT FROM page WHERE n > " max ")))"

/* What no row means. */
typedef struct ApiMissing
{
	const char *code;
	const char *what;
} ApiMissing;

typedef struct ApiOperation
{
	const char *name;			/* of the function in the schema api; its arguments are $1, $2, ... */
	const char *permission;
	int			flags;

	/*
	 * Run as backoffice_definer.  Answers one row of (body jsonb), (body,
	 * status integer) or (body, status, headers jsonb); without a status, 200.
	 */
	BoPlan		plan;
	ApiMissing	missing;
} ApiOperation;

typedef struct ApiAnswer
{
	Jsonb	   *body;
	int			status;
	Jsonb	   *headers;		/* array of objects with one member each, or NULL */
} ApiAnswer;

/* ---- operations: a list per file, ending with an entry without name ---- */

extern ApiOperation api_auth[];
extern ApiOperation api_certificates[];
extern ApiOperation api_administration[];
extern ApiOperation api_system[];

/* ---- response.c ---- */

/* Tells response.status and response.headers. */
extern void response_set(const ApiAnswer *answer);

/* ---- replay.c: Idempotency-Key ---- */

typedef struct ApiCall
{
	const ApiOperation *operation;
	FunctionCallInfo fcinfo;
	char	   *key;			/* NULL: none */
	char	   *scope;
} ApiCall;

/* Whose key it is. */
extern char *replay_scope(const ApiOperation *operation);

/* False: an equal request was answered before, and *answer is that answer. */
extern bool replay_begin(const ApiCall *call, ApiAnswer *answer);

/* Keeps the answer of a request that succeeded; forgets the key of one that did not. */
extern void replay_end(const ApiCall *call, const ApiAnswer *answer);

#endif
