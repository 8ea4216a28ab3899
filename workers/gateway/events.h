/*
 * Real time: GET /events (Server-Sent Events) and GET /ws (WebSocket).
 *
 * A process has one connection to each database with listeners, which reads the log
 * once for all of them; a listener costs a socket and some hundred bytes. What it
 * missed is read for it by a connection of the pool, as its principal. See docs/realtime.md.
 */
#ifndef BACKOFFICE_GATEWAY_EVENTS_H
#define BACKOFFICE_GATEWAY_EVENTS_H

#include "gateway/request.h"

typedef struct Events Events;

/* NULL: out of memory. */
extern Events *events_start(Gateway *gateway);

/* Handlers of the routes. */
extern void events_open(Request *request);
extern void events_ticket(Request *request);

/* Tells all listeners when to come again, and closes them. */
extern void events_drain(Events *events);
extern int	events_listeners(const Events *events);

/* Ends those who are still there, while there is a server; the rest, when there is none any more. */
extern void events_hang_up(Events *events);
extern void events_stop(Events *events);

#endif
