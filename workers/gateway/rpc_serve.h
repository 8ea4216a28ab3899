/* /rpc/{function} over HTTP: the catalogue, kept up to date, and the handler. */
#ifndef BACKOFFICE_RPC_SERVE_H
#define BACKOFFICE_RPC_SERVE_H

#include <stdio.h>

#include "gateway/request.h"

typedef struct RpcService RpcService;

/* Loads the catalogue now if the database is there, and again when it changes. NULL: out of memory. */
extern RpcService *rpc_service_open(Gateway *gateway);
extern void rpc_service_close(RpcService *service);

/* The settings' form. */
extern bool rpc_service_check(const Settings *settings, FILE *err);

/* The handler of all methods of /rpc/{function}. */
extern void rpc_serve(Request *request);

#endif
