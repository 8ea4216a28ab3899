#include "gateway/intercept.h"

#include <dlfcn.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define SCRATCH 32768

int64_t		intercept_now_ms;

/*
 * By descriptor, as many as this process may have: other threads (cancel requests, name look-ups) look up theirs here,
 * find nothing, and must not meet a table that grows.
 */
static Guard **guards;
static Outbox **outboxes;
static int	fd_limit;
static Guard *first;

bool
intercept_init(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return false;
	fd_limit = limit.rlim_cur > 1048576 ? 1048576 : (int) limit.rlim_cur;
	guards = calloc((size_t) fd_limit, sizeof(*guards));
	outboxes = calloc((size_t) fd_limit, sizeof(*outboxes));
	return guards != NULL && outboxes != NULL;
}

Guard *
intercept_find(int fd)
{
	return fd >= 0 && fd < fd_limit ? guards[fd] : NULL;
}

Guard *
intercept_first(void)
{
	return first;
}

bool
intercept_attach(Guard *guard)
{
	if (guard->fd < 0 || guard->fd >= fd_limit)
		return false;
	guards[guard->fd] = guard;
	guard->phase_since_ms = intercept_now_ms;
	guard->previous = NULL;
	guard->next = first;
	if (first != NULL)
		first->previous = guard;
	first = guard;
	return true;
}

void
intercept_detach(Guard *guard)
{
	if (intercept_find(guard->fd) == guard)
		guards[guard->fd] = NULL;
	if (guard->previous != NULL)
		guard->previous->next = guard->next;
	else if (first == guard)
		first = guard->next;
	if (guard->next != NULL)
		guard->next->previous = guard->previous;
	guard->next = guard->previous = NULL;
}

static ssize_t
real_send(int fd, const void *bytes, size_t n, int flags)
{
	return sendto(fd, bytes, n, flags, NULL, 0);
}

void
intercept_end(Guard *guard, int status, const char *reason)
{
	char		text[512];
	char		body[200];
	const char *title = status == 408 ? "Request Timeout" : status == 413 ? "Content Too Large" : "Bad Request";
	int			body_len = snprintf(body, sizeof(body), "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"code\":\"%s\"}",
									title, status, reason);
	int			len = snprintf(text, sizeof(text), "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
							   "Content-Length: %d\r\n\r\n%s", status, title, body_len, body);

	guard->phase = GUARD_REFUSED;
	guard->broken = reason;
	/* What does not fit into the socket's buffer is not worth waiting for. */
	if (!guard->tls && real_send(guard->fd, text, (size_t) len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		guard->broken = "client_gone";
	shutdown(guard->fd, SHUT_RDWR);
}

/* When what we wait for began: the sweep compares it with the deadlines. */
static void
note_progress(Guard *guard, GuardPhase before)
{
	if (guard_in_body(guard))
	{
		if (before == GUARD_HEAD || guard->body_since_ms == 0)
			guard->body_since_ms = intercept_now_ms;
		guard->phase_since_ms = 0;
		return;
	}
	guard->body_since_ms = 0;
	if (!guard_in_head(guard))
		guard->phase_since_ms = 0;
	else if (guard->phase_since_ms == 0)
		guard->phase_since_ms = intercept_now_ms;
}

/* Reads through a guard; more() reads from the network. It returns as recv() does. */
static ssize_t
read_guarded(Guard *guard, char *out, size_t size, bool message_oriented, ssize_t (*more) (void *source, void *bytes, size_t n), void *source)
{
	static char scratch[SCRATCH];
	ssize_t		got = 0;

	guard->seen = true;
	while (guard->ready < size)
	{
		size_t		wanted = size - guard->ready < sizeof(scratch) ? size - guard->ready : sizeof(scratch);
		GuardPhase	before = guard->phase;

		got = more(source, scratch, wanted);
		if (got <= 0)
			break;
		if (!guard_feed(guard, scratch, (size_t) got))
		{
			errno = ENOMEM;
			return -1;
		}
		note_progress(guard, before);
		/* Whole: the socket may have more, and libmicrohttpd is told only once that it is readable. */
		if (!message_oriented && (size_t) got < wanted)
			break;
		if (message_oriented && guard->ready > 0)
			break;
	}
	if (guard->ready > 0)
	{
		/* libmicrohttpd comes back for the rest only when the socket has news for it. */
		if (guard->broken != NULL)
			shutdown(guard->fd, SHUT_RD);
		return (ssize_t) guard_take(guard, out, size);
	}
	if (guard->broken != NULL)
	{
		intercept_end(guard, strcmp(guard->broken, "body_too_large") == 0 ? 413 : 400, guard->broken);
		errno = ECONNRESET;
		return -1;
	}
	if (got > 0)
	{
		/* Bytes came, but no head is complete. */
		errno = EAGAIN;
		return -1;
	}
	return got;
}

static ssize_t
from_socket(void *source, void *bytes, size_t n)
{
	return recvfrom(*(int *) source, bytes, n, 0, NULL, NULL);
}

ssize_t
recv(int fd, void *bytes, size_t n, int flags)
{
	Guard	   *guard = flags == 0 ? intercept_find(fd) : NULL;

	/* Under TLS, GnuTLS reads here what is still encrypted. */
	if (guard == NULL || guard->tls)
		return recvfrom(fd, bytes, n, flags, NULL, NULL);
	return read_guarded(guard, bytes, n, false, from_socket, &fd);
}

/* ---- what libpq sends ---- */

bool
outbox_attach(Outbox *outbox, int fd)
{
	*outbox = (Outbox) {.fd = fd};
	if (fd < 0 || fd >= fd_limit)
		return false;
	outboxes[fd] = outbox;
	return true;
}

void
outbox_detach(Outbox *outbox)
{
	if (outbox->fd >= 0 && outbox->fd < fd_limit && outboxes[outbox->fd] == outbox)
		outboxes[outbox->fd] = NULL;
	free(outbox->bytes);
	*outbox = (Outbox) {.fd = -1};
}

bool
outbox_flush(Outbox *outbox)
{
	size_t		sent = 0;

	while (sent < outbox->len)
	{
		ssize_t		n = real_send(outbox->fd, outbox->bytes + sent, outbox->len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			return false;
		if (n < 0)
			break;
		sent += (size_t) n;
	}
	if (sent > 0 && sent < outbox->len)
		memmove(outbox->bytes, outbox->bytes + sent, outbox->len - sent);
	outbox->len -= sent;
	return true;
}

ssize_t
send(int fd, const void *bytes, size_t n, int flags)
{
	Outbox	   *outbox = fd >= 0 && fd < fd_limit ? outboxes[fd] : NULL;

	if (outbox == NULL)
		return real_send(fd, bytes, n, flags);
	if (outbox->len + n > outbox->size)
	{
		size_t		size = (outbox->len + n) * 2;
		char	   *grown = realloc(outbox->bytes, size);

		if (grown == NULL)
		{
			errno = ENOMEM;
			return -1;
		}
		outbox->bytes = grown;
		outbox->size = size;
	}
	memcpy(outbox->bytes + outbox->len, bytes, n);
	outbox->len += n;
	return (ssize_t) n;
}

/* ---- TLS: the same behind decryption; GnuTLS's answers are its own codes ---- */

typedef ssize_t (*RecordRecv) (gnutls_session_t, void *, size_t);
typedef void (*Deinit) (gnutls_session_t);

/* The library's own function. The standard's way round: an object pointer is no function pointer. */
static void
find_real(const char *name, void *function, size_t size)
{
	void	   *symbol = dlsym(RTLD_NEXT, name);

	if (symbol == NULL)
		abort();
	memcpy(function, &symbol, size);
}

static RecordRecv
real_record_recv(void)
{
	static RecordRecv real;

	if (real == NULL)
		find_real("gnutls_record_recv", &real, sizeof(real));
	return real;
}

static ssize_t
from_session(void *source, void *bytes, size_t n)
{
	return real_record_recv() (source, bytes, n);
}

ssize_t
gnutls_record_recv(gnutls_session_t session, void *bytes, size_t n)
{
	Guard	   *guard = intercept_find(gnutls_transport_get_int(session));
	ssize_t		got;

	if (guard == NULL)
		return real_record_recv() (session, bytes, n);
	errno = 0;
	got = read_guarded(guard, bytes, n, true, from_session, session);
	return got == -1 && errno == EAGAIN ? GNUTLS_E_AGAIN : got == -1 && errno != 0 ? GNUTLS_E_PULL_ERROR : got;
}

/* ---- sessions that were taken: their user pointer, which libmicrohttpd needs for pre-shared keys only, tells who has them ---- */

static char held_by_both;
static char held_by_taker;

static void
real_deinit(gnutls_session_t session)
{
	static Deinit real;

	if (real == NULL)
		find_real("gnutls_deinit", &real, sizeof(real));
	real(session);
}

void
intercept_keep_session(gnutls_session_t session)
{
	gnutls_session_set_ptr(session, &held_by_both);
}

void
intercept_end_session(gnutls_session_t session)
{
	if (gnutls_session_get_ptr(session) == &held_by_taker)
		real_deinit(session);
	else
		gnutls_session_set_ptr(session, NULL);
}

void
gnutls_deinit(gnutls_session_t session)
{
	if (session != NULL && gnutls_session_get_ptr(session) == &held_by_both)
		gnutls_session_set_ptr(session, &held_by_taker);
	else
		real_deinit(session);
}
