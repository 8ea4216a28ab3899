/*
 * Connecting to the first of a connection string's hosts that answers, without
 * waiting.  Where libpq does not wait itself it bounds no attempt (connect_timeout
 * counts in PQconnectdb() only): a host that drops packets, or takes connections and
 * says nothing, would be waited for until everything is given up, and those
 * behind it are never tried.  The caller has the timer; here is what comes next.
 *
 *	conn = dial_begin(&dial, keywords, values);
 *	PQconnectPoll(conn), and after each dial_moved(&dial, conn): the timer begins anew
 *	the timer: conn = dial_next(&dial, conn), or NULL: that was the last address
 */
#ifndef BACKOFFICE_DIAL_H
#define BACKOFFICE_DIAL_H

#include <libpq-fe.h>
#include <stdbool.h>

#define DIAL_MAX_OPTIONS 16

typedef struct Dial
{
	const char *keywords[DIAL_MAX_OPTIONS];
	const char *values[DIAL_MAX_OPTIONS];
	int			count;
	char		place[400];		/* where it is trying to connect to */
	char	   *left[3];		/* host, hostaddr, port of those that are left, when some were given up */
} Dial;

/* As PQconnectStartParams() with expand_dbname; the texts are not copied. NULL: out of memory. */
extern PGconn *dial_begin(Dial *dial, const char *const *keywords, const char *const *values);

/* Whether libpq has gone on to another address since it was asked last. */
extern bool dial_moved(Dial *dial, const PGconn *conn);

/* Gives up the address that conn is trying, and conn, and begins with those that are left. NULL: none is. */
extern PGconn *dial_next(Dial *dial, PGconn *conn);

extern void dial_end(Dial *dial);

#endif
