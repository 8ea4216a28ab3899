/*
 * What comes between libraries and their sockets. libmicrohttpd and libpq have no hooks
 * for it, so this program defines recv(), send(), gnutls_record_recv() and gnutls_deinit() itself,
 * which the dynamic linker then gives to every library of the process:
 *	- a guard reads what libmicrohttpd is going to read;
 *	- an outbox collects what libpq sends: it sends each Sync at once, where one
 *	  system call, and one waking of the server, could do for all calls of a round;
 *	- a TLS session outlives libmicrohttpd's connection, for event streams.
 * Descriptors that have neither (curl's, those of cancel requests) are read and written as ever.
 */
#ifndef BACKOFFICE_INTERCEPT_H
#define BACKOFFICE_INTERCEPT_H

#include <gnutls/gnutls.h>

#include "gateway/guard.h"

/* Before the first connection, and before any thread. False: out of memory. */
extern bool intercept_init(void);

typedef struct Outbox
{
	int			fd;
	char	   *bytes;
	size_t		len;
	size_t		size;
} Outbox;

extern bool outbox_attach(Outbox *outbox, int fd);
extern void outbox_detach(Outbox *outbox);

/* Sends what was collected. False: the connection is broken. Something may be left: outbox->len > 0. */
extern bool outbox_flush(Outbox *outbox);

/* The guard of a descriptor begins and ends with libmicrohttpd's connection. False: out of memory. */
extern bool intercept_attach(Guard *guard);
extern void intercept_detach(Guard *guard);
extern Guard *intercept_find(int fd);

/*
 * Whoever took a TLS session from libmicrohttpd keeps it: the library's gnutls_deinit() leaves it alone, until (or
 * unless) intercept_end_session() was called.
 */
extern void intercept_keep_session(gnutls_session_t session);
extern void intercept_end_session(gnutls_session_t session);

/* All guards, for sweeps. */
extern Guard *intercept_first(void);

/* Tells the client in plain bytes why its connection ends now, while libmicrohttpd waits for the rest of its request. */
extern void intercept_end(Guard *guard, int status, const char *reason);

/* Set while libmicrohttpd may be waiting: the clock of the guards. */
extern int64_t intercept_now_ms;

#endif
