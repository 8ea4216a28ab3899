/*
 * A client's connection that libmicrohttpd no longer has: a socket, and under TLS the session that
 * libmicrohttpd began on it. Nothing here waits.
 */
#ifndef BACKOFFICE_WIRE_H
#define BACKOFFICE_WIRE_H

#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

typedef struct Wire
{
	int			fd;
	bool		unsent;			/* TLS has made a record of the first bytes, and the socket did not take all of it */
	gnutls_session_t session;	/* NULL: no TLS */
} Wire;

/* A descriptor of its own for the socket, and the session. False: no descriptor left. */
extern bool wire_take(Wire *wire, int fd, gnutls_session_t session);

/*
 * Sends of the parts what the socket takes, and returns how much; -1: broken. After a call that
 * left wire->unsent, the next one must begin with the same bytes.
 */
extern ssize_t wire_send(Wire *wire, const struct iovec *parts, size_t count);

/* Bytes; 0: none now; -1: the end. */
extern ssize_t wire_receive(Wire *wire, void *bytes, size_t size);

/* More has been received than the socket tells of. */
extern bool wire_has_more(const Wire *wire);

/* Tells the client that nothing more will come. */
extern void wire_finish(Wire *wire);
extern void wire_close(Wire *wire);

#endif
