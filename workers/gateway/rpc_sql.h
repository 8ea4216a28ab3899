/* SQL text with parameters, as the parts of a statement write it. */
#ifndef BACKOFFICE_RPC_SQL_H
#define BACKOFFICE_RPC_SQL_H

#include "gateway/rpc_internal.h"

typedef struct RpcSql
{
	RpcText		text;
	const RpcCall *call;
	const char *alias;			/* of the rows */
	const char **values;
	int		   *lengths;
	int		   *formats;
	int			count;
} RpcSql;

/* $n, with that value */
extern void sql_bytes(RpcSql *sql, const char *value, size_t length, int format);
extern void sql_value(RpcSql *sql, const char *value);
extern void sql_number(RpcSql *sql, int64_t number);

extern void sql_add(RpcSql *sql, const char *more);
extern void sql_name(RpcSql *sql, const char *name);	/* quoted */
extern void sql_qualified(RpcSql *sql, const char *schema, const char *name);
extern const char *sql_array(RpcArena *arena, const char *const *values, size_t count);	/* {"a","b"} */
extern bool sql_named_in(const char **names, size_t count, const char *name);

/* Of the function's columns those that somebody names. */
extern void sql_needed_columns(RpcSql *sql);

/* WHERE ... */
extern void sql_conditions(RpcSql *sql);

/* SELECT ... of pgrst_source: the rows that are asked for. */
extern void sql_rows(RpcSql *sql);

#endif
