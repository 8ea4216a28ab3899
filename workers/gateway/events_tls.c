/*
 * Server-Sent Events where libmicrohttpd has to stay in between, because it holds the TLS session.
 *
 * A listener knows descriptors only. So there is a pair of sockets: the listener writes to
 * one, libmicrohttpd's response fetches from the other, and sleeps while it is empty.
 *
 * WebSockets are refused there: what libmicrohttpd 0.9.75 forwards for an upgraded TLS
 * connection in its epoll mode stands still with the first short write.
 */
#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/events_internal.h"
#include "gateway/reply.h"
#include "gateway/server.h"

#define BLOCK 4096

typedef struct Pull
{
	Gateway    *gateway;
	struct MHD_Connection *connection;
	int			fd;
} Pull;

static void
has_bytes(void *context, uint32_t events)
{
	Pull	   *pull = context;

	(void) events;
	loop_forget(&pull->gateway->loop, pull->fd);
	MHD_resume_connection(pull->connection);
	server_nudge(pull->gateway->server);
}

static ssize_t
fetch(void *context, uint64_t at, char *bytes, size_t max)
{
	Pull	   *pull = context;
	ssize_t		n = recvfrom(pull->fd, bytes, max, MSG_DONTWAIT, NULL, NULL);

	(void) at;
	if (n > 0)
		return n;
	if (n == 0 || (errno != EAGAIN && errno != EINTR))
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (!loop_watch(&pull->gateway->loop, pull->fd, EPOLLIN, has_bytes, pull))
		return MHD_CONTENT_READER_END_WITH_ERROR;
	MHD_suspend_connection(pull->connection);
	return 0;
}

static void
end_pull(void *context)
{
	Pull	   *pull = context;

	/* The listener sees the end, if it is still there. */
	loop_forget(&pull->gateway->loop, pull->fd);
	close(pull->fd);
	free(pull);
}

bool
tls_listen(Request *request, Opening *opening)
{
	int			fds[2] = {-1, -1};
	Pull	   *pull = calloc(1, sizeof(*pull));
	struct MHD_Response *response = NULL;

	if (pull != NULL && socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0)
	{
		*pull = (Pull) {.gateway = request->gateway, .connection = request->connection, .fd = fds[1]};
		response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, fetch, pull, end_pull);
	}
	if (response == NULL)
	{
		free(pull);
		if (fds[0] >= 0)
		{
			close(fds[0]);
			close(fds[1]);
		}
		return false;
	}
	if (opening_start(request, opening, fds[0]) == NULL)
	{
		close(fds[0]);
		MHD_destroy_response(response);
		return false;
	}
	reply_header(request, "Content-Type", "text/event-stream");
	reply_header(request, "Cache-Control", "no-store");
	reply_header(request, "X-Accel-Buffering", "no");
	reply_response(request, 200, response);
	listeners_flush(request->gateway->events);
	return true;
}
