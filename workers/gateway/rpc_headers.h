/* What the request's headers ask for: media types and preferences. */
#ifndef BACKOFFICE_RPC_HEADERS_H
#define BACKOFFICE_RPC_HEADERS_H

#include "gateway/rpc.h"

typedef enum RpcMediaKind
{
	MEDIA_JSON,
	MEDIA_GEOJSON,
	MEDIA_CSV,
	MEDIA_TEXT,
	MEDIA_XML,
	MEDIA_OPENAPI,
	MEDIA_FORM,
	MEDIA_BYTES,
	MEDIA_ANY,
	MEDIA_ARRAY_STRIPPED,
	MEDIA_OBJECT,
	MEDIA_OBJECT_STRIPPED,
	MEDIA_PLAN,
	MEDIA_OTHER
} RpcMediaKind;

typedef struct RpcMedia
{
	RpcMediaKind kind;
	const char *mime;			/* as it is written back; two of MEDIA_OTHER are equal when these are */
} RpcMedia;

typedef struct RpcPrefer
{
	const char *count;			/* exact, planned, estimated; NULL where nothing was said */
	const char *tx;				/* commit, rollback */
	const char *handling;		/* strict, lenient */
	const char *timezone;
	bool		has_max_affected;
	int64_t		max_affected;
	const char *invalid;		/* those that nobody knows, with ", " between them; or NULL */
} RpcPrefer;

extern const char *rpc_header(const RpcRequest *request, const char *name);	/* the first one, or NULL */

extern RpcMedia rpc_media_read(RpcArena *arena, const char *text);
extern bool rpc_media_same(RpcMedia one, RpcMedia other);
extern const char *rpc_media_content_type(RpcArena *arena, RpcMedia media);

/* Those that Accept lists, the most wanted first; any where there is none. */
extern RpcMedia *rpc_media_accepted(RpcArena *arena, const RpcRequest *request, size_t *count);

extern void rpc_prefer_read(RpcArena *arena, const RpcConfig *config, const RpcRequest *request, RpcPrefer *out);

/* Value of Preference-Applied, or NULL. */
extern const char *rpc_prefer_applied(RpcArena *arena, const RpcPrefer *prefer);

#endif
