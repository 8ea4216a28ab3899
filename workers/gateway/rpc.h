/*
 * PostgREST's rules for /rpc/{function}: a catalogue of functions and a request
 * go in, SQL with parameters comes out; PGresults go in, a response comes out.
 * Nothing here has a connection: the gateway sends what a plan says.
 *
 *   one pipeline:  begin_request, plan.settings if there, plan.main, plan.endings, Sync
 *
 * A plan without main.sql has its answer already (an error, or OPTIONS); a token that
 * came with the request is still checked first: rpc_answer() puts its error before the plan's.
 */
#ifndef BACKOFFICE_RPC_H
#define BACKOFFICE_RPC_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/rpc_text.h"

typedef struct RpcCatalogue RpcCatalogue;

typedef struct RpcHeader
{
	const char *name;			/* of a request: in lower case */
	const char *value;
} RpcHeader;

typedef struct RpcConfig
{
	const char *const *schemas; /* exposed ones, the first is the default */
	size_t		schema_count;
	int64_t		max_rows;		/* 0: no limit */
	int			max_depth;		/* of JSON */
	int64_t		max_answer;		/* bytes; 0: no limit */
	bool		tx_override;	/* Prefer: tx=... counts */
	bool		rollback_all;	/* unless Prefer: tx=commit (tests) */
	bool		aggregates;		/* sum(), count() and so on in select */
	const char *pre_request;	/* function (schema.name) called before each call; NULL: none */
} RpcConfig;

typedef struct RpcRequest
{
	const char *method;
	const char *function;		/* what follows /rpc/, decoded; it and the headers are UTF-8 */
	const char *query;			/* as it came, without "?"; or NULL */
	const RpcHeader *headers;
	size_t		header_count;
	const char *body;
	size_t		body_length;
} RpcRequest;

typedef struct RpcStatement
{
	const char *sql;			/* NULL: none */
	bool		one_off;		/* the query string shapes its text: it may never come again */
	int			param_count;
	const char *const *values;	/* text, or bytes where formats says 1; NULL is NULL */
	const int  *lengths;
	const int  *formats;
} RpcStatement;

typedef struct RpcResponse
{
	int			status;
	const char *reason;			/* NULL: the usual one of the status */
	const RpcHeader *headers;
	size_t		header_count;
	const char *body;			/* of HEAD, too: HTTP leaves it out */
	size_t		body_length;
	const char *code;			/* of an error; else NULL */
} RpcResponse;

#define RPC_MAX_PARAMS 64
#define RPC_MAX_ENDINGS 2

typedef struct RpcPlan
{
	RpcArena   *arena;			/* the plan's and the response's memory */
	bool		read_only;
	RpcStatement settings;		/* of this transaction, before main */
	RpcStatement main;
	const char *callee;			/* oid of the function that main calls, for begin_request; or NULL */
	const char *endings[RPC_MAX_ENDINGS];	/* without parameters, after main; NULL: none */
	struct RpcAnswering *answering;
} RpcPlan;

typedef struct RpcOutcome
{
	bool		authenticated;	/* someone acts: not the anonymous role */
	const char *token;			/* that was not accepted, or NULL */
	const PGresult *error;		/* of begin_request, settings, an ending or the Sync; else NULL */
	const PGresult *main;		/* NULL where it was not reached */
} RpcOutcome;

/* ---- catalogue ---- */

/* One parameter, the exposed schemas as an array of text. Rows of (kind, JSON), ordered: equal rows mean nothing has changed. */
extern const char *const rpc_catalogue_sql;

/* NULL: the result is not one of that query; why tells. The result is not needed afterwards. */
extern RpcCatalogue *rpc_catalogue_load(const PGresult *result, const char **why);
extern void rpc_catalogue_free(RpcCatalogue *catalogue);
extern size_t rpc_catalogue_size(const RpcCatalogue *catalogue);

/* ---- requests ---- */

/* All strings of config, catalogue and request must outlive the plan; errors become the plan's answer. */
extern void rpc_plan(const RpcConfig *config, const RpcCatalogue *catalogue, const RpcRequest *request, RpcPlan *plan);

/* The response lives in the plan's arena, but for a body that is the result's own text. */
extern void rpc_answer(const RpcPlan *plan, const RpcOutcome *outcome, RpcResponse *response);
extern void rpc_plan_free(RpcPlan *plan);

/* HTTP status of a database error (PostgREST's table). message may be NULL. */
extern int	rpc_status_of_sqlstate(const char *sqlstate, const char *message, bool authenticated);

#endif
