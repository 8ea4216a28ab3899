#include "gateway/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/intercept.h"

bool
wire_take(Wire *wire, int fd, gnutls_session_t session)
{
	*wire = (Wire) {.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0), .session = session};
	if (wire->fd < 0)
		return false;
	if (session != NULL)
	{
		intercept_keep_session(session);
		gnutls_transport_set_int(session, wire->fd);
	}
	return true;
}

/* One part, in records. Returns what was sent of it; -1: broken. */
static ssize_t
send_records(Wire *wire, const char *bytes, size_t len)
{
	size_t		sent = 0;

	while (sent < len)
	{
		/* A record that was made is sent on without looking at the bytes again. */
		ssize_t		n = wire->unsent ? gnutls_record_send(wire->session, NULL, 0) :
			gnutls_record_send(wire->session, bytes + sent, len - sent);

		if (n < 0 && gnutls_error_is_fatal((int) n))
			return -1;
		wire->unsent = n < 0;
		if (n < 0)
			break;
		sent += (size_t) n;
	}
	return (ssize_t) sent;
}

ssize_t
wire_send(Wire *wire, const struct iovec *parts, size_t count)
{
	struct msghdr message = {.msg_iov = (struct iovec *) parts, .msg_iovlen = count};
	size_t		total = 0;
	ssize_t		n;

	if (wire->session == NULL)
	{
		n = sendmsg(wire->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
		return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : n;
	}
	for (size_t i = 0; i < count; i++)
	{
		n = send_records(wire, parts[i].iov_base, parts[i].iov_len);
		if (n < 0)
			return -1;
		total += (size_t) n;
		if ((size_t) n < parts[i].iov_len)
			break;
	}
	return (ssize_t) total;
}

ssize_t
wire_receive(Wire *wire, void *bytes, size_t size)
{
	ssize_t		n;

	if (wire->session == NULL)
	{
		n = recvfrom(wire->fd, bytes, size, MSG_DONTWAIT, NULL, NULL);
		return n > 0 ? n : n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
	}
	n = gnutls_record_recv(wire->session, bytes, size);
	return n > 0 ? n : n < 0 && !gnutls_error_is_fatal((int) n) ? 0 : -1;
}

bool
wire_has_more(const Wire *wire)
{
	return wire->session != NULL && gnutls_record_check_pending(wire->session) > 0;
}

void
wire_finish(Wire *wire)
{
	if (wire->session != NULL)
		gnutls_bye(wire->session, GNUTLS_SHUT_WR);
	shutdown(wire->fd, SHUT_WR);
}

void
wire_close(Wire *wire)
{
	if (wire->session != NULL)
		intercept_end_session(wire->session);
	close(wire->fd);
}
