/* GET /openapi.json: OpenAPI 3.1 of the route table. */
#ifndef BACKOFFICE_OPENAPI_H
#define BACKOFFICE_OPENAPI_H

#include <jansson.h>

#include "gateway/request.h"

extern void openapi_serve(Request *request);

/* The whole description; NULL: out of memory. rpc: more paths (stolen), or NULL. */
extern json_t *openapi_make(json_t *rpc);

/* The catalogue of /rpc was loaded anew: its paths (stolen) belong to the description from now on. */
extern void openapi_set_rpc(json_t *paths);

/* The route table as Markdown, for docs/gateway.md; to be freed. */
extern char *openapi_markdown(void);

#endif
