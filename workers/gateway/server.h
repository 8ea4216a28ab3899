/* libmicrohttpd in the loop: connections, requests from their heads to their ends. */
#ifndef BACKOFFICE_SERVER_H
#define BACKOFFICE_SERVER_H

#include "gateway/gateway.h"
#include "gateway/request.h"
#include "gateway/wire.h"

typedef struct Server Server;

/* NULL: see the log. */
extern Server *server_open(Gateway *gateway);

/* One run of libmicrohttpd, when something is to be done. Called once a round of the loop. */
extern void server_run(Server *server);

/* How long the loop may wait; -1: for ever. */
extern int64_t server_wait_ms(Server *server);

/* No new connections; every answer closes its own. */
extern void server_drain(Server *server);
extern int	server_requests(const Server *server);	/* being worked on */
extern void server_close(Server *server);

/* A request's reply is ready (request_wake). */
extern void server_wake(Server *server, Request *request);

/*
 * Takes the connection away from libmicrohttpd, and the request ends without an answer (the
 * taker has sent, or will send, the answer itself). For streams and WebSockets: libmicrohttpd
 * walks through all sleeping connections whenever one wakes, so thousands of them would
 * slow down every request; and what it forwards of an upgraded TLS connection stands still
 * after the first write that GnuTLS has to repeat (0.9.75: it waits for an edge of epoll that
 * does not come). False: no descriptor left.
 * Call it from the handler, and return without any reply; or later, and server_wake().
 */
extern bool server_take(Request *request, Wire *wire);

#endif
