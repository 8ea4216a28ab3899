/* The functions of the exposed schemas, and which of them a request means. */
#ifndef BACKOFFICE_RPC_CATALOGUE_H
#define BACKOFFICE_RPC_CATALOGUE_H

#include "gateway/rpc_body.h"
#include "gateway/rpc_headers.h"

typedef struct RpcParam
{
	const char *name;			/* "": unnamed */
	const char *type;			/* as SQL writes it */
	const char *wide_type;		/* the same, of any length where the type would cut silently */
	bool		required;
	bool		variadic;
} RpcParam;

typedef struct RpcFunction
{
	const char *schema;
	const char *name;
	const char *oid;			/* in digits */
	const char *description;	/* or NULL */
	RpcParam   *params;
	size_t		param_count;
	bool		is_volatile;
	bool		returns_set;
	bool		returns_composite;
	bool		returns_void;
	bool		has_variadic;
	bool		returns_bytes;
	const char *type_name;		/* of what it returns; of a composite type the relation's */
	const char *media;			/* the domain it returns is named like a media type; or NULL */
	const char **json_columns;	/* of the composite type */
	size_t		json_column_count;
	const char **vector_columns;	/* tsvector */
	size_t		vector_column_count;
	RpcArgument *settings;		/* to be set around it */
	size_t		setting_count;
} RpcFunction;

/* An aggregate that makes a media type of rows. */
typedef struct RpcHandler
{
	const char *schema;
	const char *name;
	const char *target_schema;	/* of the row's type; NULL: any */
	const char *target_name;
	const char *media;			/* what is asked for */
	const char *answer_media;
	bool		bytes;
} RpcHandler;

struct RpcCatalogue
{
	RpcArena   *arena;
	RpcFunction *functions;		/* by schema, name, number of parameters, ... */
	size_t		count;
	RpcHandler *handlers;
	size_t		handler_count;
};

extern bool rpc_function_is_scalar(const RpcFunction *function);	/* returns one value */

/* What error messages of the database call the rows of it. */
extern const char *rpc_function_alias(const RpcFunction *function);

typedef struct RpcAsked
{
	const char *schema;
	const char *name;
	const char **keys;			/* names of the arguments, in order, each once */
	size_t		key_count;
	RpcMediaKind content;
	bool		post;
} RpcAsked;

/* The functions that fit; none, one or several of them. */
extern const RpcFunction **rpc_match(RpcArena *arena, const RpcCatalogue *catalogue, const RpcAsked *asked, size_t *count);

/* What to say when none fits: the hint is NULL where nothing is near. */
extern const char *rpc_hint(RpcArena *arena, const RpcCatalogue *catalogue, const RpcAsked *asked);

/* The nearest of the names, with at least that likeness (0 to 1), or NULL. */
extern const char *rpc_nearest(RpcArena *arena, const char *const *names, size_t count, const char *name, double least);

#endif
