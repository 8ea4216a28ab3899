/* GET /openapi.json: OpenAPI 3.1 of the route table. */
#ifndef BACKOFFICE_OPENAPI_H
#define BACKOFFICE_OPENAPI_H

#include <jansson.h>

#include "gateway/request.h"

extern void openapi_serve(Request *request);

/* The whole description; NULL: out of memory. rpc: more paths (stolen), or NULL. */
extern json_t *openapi_make(json_t *rpc);

/* The catalogue of /rpc was loaded anew: its paths (stolen), of that schema, belong to the description from now on. */
extern void openapi_set_rpc(json_t *paths, const char *schema);

/* Of these paths (or NULL) those of the functions in a JSON array of names. NULL: out of memory, or not JSON. */
extern json_t *openapi_callable(json_t *paths, const char *callable);

/* The route table as Markdown, for docs/gateway.md; to be freed. */
extern char *openapi_markdown(void);

#endif
