/* What planning hands to answering, and errors. */
#ifndef BACKOFFICE_RPC_INTERNAL_H
#define BACKOFFICE_RPC_INTERNAL_H

#include "gateway/rpc_catalogue.h"

/* Marks in the error by which the statement itself refuses its result, so that nothing of it is kept. */
#define RPC_MARK_SINGULAR "pgrst116 "
#define RPC_MARK_AFFECTED "pgrst124 "

/* Columns of the main statement's one row. */
enum
{
	RPC_COLUMN_TOTAL,			/* NULL: not counted */
	RPC_COLUMN_PAGE,
	RPC_COLUMN_BODY,
	RPC_COLUMN_HEADERS,
	RPC_COLUMN_STATUS,
	RPC_COLUMNS
};

typedef struct RpcAnswering
{
	const RpcFunction *function;
	RpcMedia	media;			/* of the answer */
	const RpcHandler *handler;	/* that makes the body, or NULL */
	bool		handled;		/* the function itself returns the media type */
	bool		hex_body;
	RpcPrefer	prefer;
	RpcRange	range;
	const char *profile;		/* the schema, if it has to be told */
	RpcResponse *response;		/* of a plan without statement */
} RpcAnswering;

typedef struct RpcProblem
{
	int			status;
	const char *reason;
	const char *code;
	const char *message;
	const char *details;		/* NULL: null */
	const char *hint;
	const RpcHeader *headers;
	size_t		header_count;
} RpcProblem;

extern void rpc_problem_response(RpcArena *arena, const RpcProblem *problem, RpcResponse *response);

/* What to answer to an error of the database. token: of the request, or NULL. */
extern void rpc_database_problem(RpcArena *arena, const PGresult *result, bool authenticated, const char *token, RpcResponse *response);

/*
 * A token that access.begin_request() refuses, in PostgREST's words: symbol and detail are of its error.
 * False: PostgREST has no words for it.
 */
extern bool rpc_token_problem(RpcArena *arena, const char *symbol, const char *token, const char *detail, RpcProblem *problem);

/* Adds one to those there are; count is of both. */
extern void rpc_add_header(RpcArena *arena, RpcResponse *response, const char *name, const char *value);

/* ---- SQL ---- */

typedef struct RpcCall
{
	const RpcCatalogue *catalogue;
	const RpcConfig *config;
	const RpcRequest *request;
	const RpcFunction *function;
	const RpcQuery *query;
	RpcAnswering *answering;
	const char **keys;			/* of the arguments that are given */
	size_t		key_count;
	const RpcArgument *arguments;	/* of GET and forms; else the body has them */
	size_t		argument_count;
	bool		by_body;
	const char *body;			/* JSON, or the unnamed parameter's text */
	size_t		body_length;
	bool		body_is_array;
} RpcCall;

/* False: too many parameters. */
extern bool rpc_sql(RpcArena *arena, const RpcCall *call, RpcStatement *out);

/* set_config() of each, for this transaction, then the function, if there is one. */
extern void rpc_settings_sql(RpcArena *arena, const RpcArgument *settings, size_t count, const char *function, RpcStatement *out);

#endif
