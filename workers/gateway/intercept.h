/*
 * How the guard comes between libmicrohttpd and its sockets: libmicrohttpd has no
 * hook for it, so this program defines recv() and gnutls_record_recv() itself, which
 * the dynamic linker then gives to every library of the process. Descriptors
 * without a guard (libpq's, curl's) are read as ever.
 */
#ifndef BACKOFFICE_INTERCEPT_H
#define BACKOFFICE_INTERCEPT_H

#include "gateway/guard.h"

/* The guard of a descriptor begins and ends with libmicrohttpd's connection. False: out of memory. */
extern bool intercept_attach(Guard *guard);
extern void intercept_detach(Guard *guard);
extern Guard *intercept_find(int fd);

/* All guards, for sweeps. */
extern Guard *intercept_first(void);

/* Tells the client in plain bytes why its connection ends now, while libmicrohttpd waits for the rest of its request. */
extern void intercept_end(Guard *guard, int status, const char *reason);

/* Set while libmicrohttpd may be waiting: the clock of the guards. */
extern int64_t intercept_now_ms;

#endif
