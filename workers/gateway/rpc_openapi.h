/* What /openapi.json tells of the functions behind /rpc. */
#ifndef BACKOFFICE_RPC_OPENAPI_H
#define BACKOFFICE_RPC_OPENAPI_H

#include <jansson.h>

#include "gateway/rpc_catalogue.h"

/* One path for each function of the schema that has its name alone. NULL: out of memory. */
extern json_t *rpc_openapi_paths(const RpcCatalogue *catalogue, const char *schema);

#endif
