/* The body of a call: what names it gives values to. */
#ifndef BACKOFFICE_RPC_BODY_H
#define BACKOFFICE_RPC_BODY_H

#include "gateway/rpc_query.h"

typedef enum RpcJsonKind
{
	JSON_IS_OBJECT,
	JSON_IS_ARRAY,
	JSON_IS_SCALAR
} RpcJsonKind;

typedef struct RpcJson
{
	RpcJsonKind kind;
	const char **keys;			/* of the object, or of the array's first object; in order */
	size_t		key_count;
	bool		uniform;		/* an array's elements are objects with the same keys, or there are none */
	const char *twice;			/* a name that an object in it has twice, or NULL */
} RpcJson;

/* Reads without making anything of the values. False: not JSON (RFC 8259), not UTF-8, or too deep. */
extern bool rpc_json_read(RpcArena *arena, const char *text, size_t length, int max_depth, RpcJson *out);

typedef enum RpcCsv
{
	CSV_GOOD,
	CSV_RAGGED,					/* lines of different lengths */
	CSV_LARGE,					/* its JSON would be many times as long */
	CSV_BROKEN					/* no CSV with a header, or no UTF-8 */
} RpcCsv;

/* Lines of CSV with a header to a JSON array of objects. Blank lines are none; fields that the line or the header lacks are left out. */
extern RpcCsv rpc_csv_to_json(RpcArena *arena, const char *text, size_t length, RpcText *json);

/* The names in order, each once. */
extern void rpc_sort_names(const char **names, size_t *count);

#endif
