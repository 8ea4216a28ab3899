/* What the query string of a call says: select, filters, order, range, and on GET the arguments. */
#ifndef BACKOFFICE_RPC_QUERY_H
#define BACKOFFICE_RPC_QUERY_H

#include <stdint.h>

#include "gateway/rpc_parse.h"

typedef struct RpcStep
{
	bool		as_text;		/* ->> */
	bool		is_index;		/* a number, with its sign */
	const char *key;
} RpcStep;

typedef struct RpcField
{
	const char *name;			/* "*": all */
	RpcStep    *steps;
	size_t		step_count;
} RpcField;

typedef struct RpcSelect
{
	bool		is_relation;	/* name(...): field.name is the relation */
	RpcField	field;
	const char *alias;			/* or NULL */
	const char *cast;			/* letters, digits, _ $ and blanks; or NULL */
	const char *aggregate;		/* SUM, AVG, COUNT, MAX, MIN; or NULL */
	const char *aggregate_cast;
} RpcSelect;

typedef enum RpcOperation
{
	RPC_OPERATOR,				/* of SQL, with or without any/all */
	RPC_LIKE,					/* the same, "*" stands for "%" */
	RPC_IN,
	RPC_IS,						/* the operator is the right side */
	RPC_IS_DISTINCT,
	RPC_FTS						/* the operator is the function */
} RpcOperation;

typedef struct RpcFilter
{
	RpcField	field;
	bool		negated;
	RpcOperation operation;
	const char *operator;
	const char *quantifier;		/* ANY, ALL; or NULL */
	const char *language;		/* of fts; or NULL */
	const char *value;
	const char **list;			/* of in */
	size_t		list_count;
} RpcFilter;

typedef struct RpcTree
{
	bool		is_filter;
	RpcFilter	filter;
	bool		negated;
	bool		is_or;
	struct RpcTree **branches;
	size_t		branch_count;
} RpcTree;

typedef struct RpcOrder
{
	const char *relation;		/* or NULL */
	RpcField	field;
	const char *direction;		/* ASC, DESC; or NULL */
	const char *nulls;			/* NULLS FIRST, NULLS LAST; or NULL */
} RpcOrder;

typedef struct RpcArgument
{
	const char *name;
	const char *value;
} RpcArgument;

/* Rows from lower to upper, both counted; upper below lower: none. */
typedef struct RpcRange
{
	int64_t		lower;
	int64_t		upper;			/* INT64_MAX: no end */
} RpcRange;

typedef struct RpcQuery
{
	RpcSelect  *selects;
	size_t		select_count;
	RpcTree   **conditions;		/* all must hold */
	size_t		condition_count;
	RpcOrder   *orders;
	size_t		order_count;
	RpcArgument *arguments;		/* of GET, in their order */
	size_t		argument_count;
	const char **columns;		/* of columns=; NULL: not given */
	size_t		column_count;
	RpcRange	range;			/* of limit and offset */
	const char *not_embedded;	/* a relation that is filtered or ordered by, or NULL */
} RpcQuery;

typedef struct RpcQueryError
{
	const char *message;
	const char *details;
} RpcQueryError;

/* True: error is untouched. Arguments are taken from what is no filter, if that is allowed. */
extern bool rpc_query_read(RpcArena *arena, const char *query, bool with_arguments, RpcQuery *out, RpcQueryError *error);

/* name=value&...; false: not UTF-8, or a NUL. Pairs without "=" are left out. */
extern bool rpc_pairs(RpcArena *arena, const char *text, size_t length, RpcArgument **pairs, size_t *count);

/* A range of HTTP's header, "0-9"; what is none means all rows. */
extern RpcRange rpc_range_of_header(const char *value);
extern RpcRange rpc_range_both(RpcRange one, RpcRange other);

/* ---- grammar: parsers of the parts ---- */

extern ParseReply rpc_parse_name(Parse *parse, const char **name);
extern ParseReply rpc_parse_quoted(Parse *parse, const char **value);
extern ParseReply rpc_parse_steps(Parse *parse, RpcField *field);
extern ParseReply rpc_parse_field(Parse *parse, RpcField *field);
extern ParseReply rpc_parse_select(Parse *parse, RpcSelect **selects, size_t *count);
extern ParseReply rpc_parse_order(Parse *parse, RpcOrder **orders, size_t *count);
extern ParseReply rpc_parse_columns(Parse *parse, const char ***columns, size_t *count);

/* eq.5, not.in.(1,2): in_tree ends values at "," and ")". */
extern ParseReply rpc_parse_operation(Parse *parse, bool in_tree, RpcFilter *filter);
extern ParseReply rpc_parse_tree(Parse *parse, RpcTree **tree);

/* " ", and tabs */
extern ParseReply rpc_parse_blanks(Parse *parse);

#endif
