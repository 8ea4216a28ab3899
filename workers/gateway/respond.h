/* Turns a reply into libmicrohttpd's response. */
#ifndef BACKOFFICE_RESPOND_H
#define BACKOFFICE_RESPOND_H

#include "gateway/request.h"

extern bool respond(Request *request, bool draining);

/* Frees what a reply holds that was never sent. */
extern void respond_discard(Request *request);

#endif
