/* Seam to the real-time part: GET /events (Server-Sent Events) and GET /ws (WebSocket). */
#ifndef BACKOFFICE_GATEWAY_EVENTS_H
#define BACKOFFICE_GATEWAY_EVENTS_H

#include "gateway/request.h"

extern void events_open(Request *request);

#endif
