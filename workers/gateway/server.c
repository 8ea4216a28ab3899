#include "gateway/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/dispatch.h"
#include "gateway/intercept.h"
#include "gateway/problem.h"
#include "gateway/respond.h"
#include "gateway/stats.h"
#include "gateway/tls.h"
#include "lib/log.h"

#define MEMORY_PER_CONNECTION 32768
#define SWEEP_MS 500

struct Server
{
	Gateway    *gateway;
	struct MHD_Daemon *daemon;
	int			epoll_fd;
	bool		run;			/* libmicrohttpd has something to do */
	Request    *requests;
	int			request_count;
	LoopTimer	sweep;
	Tls			tls;
};

static void
ready(void *context, uint32_t events)
{
	Server	   *server = context;

	(void) events;
	server->run = true;
}

/* ---- connections ---- */

static int
connection_fd(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

	return info != NULL ? info->connect_fd : -1;
}

static void
connection_changed(void *context, struct MHD_Connection *connection, void **socket_context,
				   enum MHD_ConnectionNotificationCode code)
{
	Server	   *server = context;
	Guard	   *guard;

	if (code == MHD_CONNECTION_NOTIFY_CLOSED)
	{
		guard = *socket_context;
		if (guard == NULL)
			return;
		intercept_detach(guard);
		guard_free(guard);
		free(guard);
		*socket_context = NULL;
		stats_connections(server->gateway, -1);
		return;
	}
	guard = malloc(sizeof(*guard));
	*socket_context = guard;
	if (guard == NULL)
		return;
	guard_init(guard, connection_fd(connection), (uint64_t) server->gateway->settings.max_body);
	guard->tls = server->tls.certificate != NULL;
	stats_connections(server->gateway, 1);
	if (!intercept_attach(guard))
		log_error("out of memory for a connection", F_INT("fd", guard->fd));
}

/* While others are refused for want of memory: ends who had time to take an answer, and has not. */
static void
end_slow_takers(Server *server, int64_t now_ms)
{
	for (Request *request = server->requests; request != NULL; request = request->next)
		if (request->reply.counted > 0 && now_ms - request->reply.since_us / 1000 > server->gateway->settings.header_ms)
		{
			stats_count(server->gateway, STAT_TIMEOUTS);
			shutdown(request->fd, SHUT_RDWR);
		}
}

/*
 * Behind a request that is served libmicrohttpd reads nothing: the next one, of which the guard has a beginning,
 * is not late before the answer is out. And whatever were told of it would stand in the place of that answer.
 */
static void
put_off_deadlines(const Server *server, int64_t now_ms)
{
	for (Request *request = server->requests; request != NULL; request = request->next)
	{
		Guard	   *guard = request->guard;

		if (guard == NULL || !request->handled)
			continue;
		if (guard->phase_since_ms > 0)
			guard->phase_since_ms = now_ms;
		if (guard->body_since_ms > 0)
			guard->body_since_ms = now_ms;
	}
}

/* Ends connections whose head or body does not come, or comes too slowly. */
static void
sweep(void *context)
{
	Server	   *server = context;
	const Settings *settings = &server->gateway->settings;
	int64_t		now = loop_monotonic_ms();

	intercept_now_ms = now;
	put_off_deadlines(server, now);
	for (Guard *guard = intercept_first(); guard != NULL; guard = guard->next)
	{
		bool		late = guard->phase_since_ms > 0 && now - guard->phase_since_ms > settings->header_ms;

		/* After a first grace the whole body must have come at the rate, not each piece of it. */
		if (guard->body_since_ms > 0 && now - guard->body_since_ms > settings->header_ms)
			late = late || (int64_t) guard->body * 1000 < (now - guard->body_since_ms) * settings->min_body_rate;
		if (late && guard->phase != GUARD_REFUSED)
		{
			stats_count(server->gateway, STAT_TIMEOUTS);
			intercept_end(guard, 408, "request_timeout");
		}
	}
	for (Request *request = server->requests; request != NULL; request = request->next)
		dispatch_check_client(request);
	if (server->gateway->answer_bytes > settings->answer_memory)
		end_slow_takers(server, now);
	stats_gauge(server->gateway, GAUGE_ANSWER_BYTES, server->gateway->answer_bytes);
	loop_timer_in(&server->gateway->loop, &server->sweep, SWEEP_MS);
}

/* ---- requests ---- */

static void *
begin(void *context, const char *target, struct MHD_Connection *connection)
{
	Server	   *server = context;
	Request    *request = calloc(1, sizeof(*request));
	const char *question = strchr(target, '?');
	size_t		path_len = question != NULL ? (size_t) (question - target) : strlen(target);

	if (request == NULL)
		return NULL;
	request->gateway = server->gateway;
	request->connection = connection;
	request->fd = connection_fd(connection);
	request->started_us = gateway_monotonic_us();
	request->path = request_copy(request, target, path_len);
	request->query = request_copy(request, question != NULL ? question + 1 : "", question != NULL ? strlen(question + 1) : 0);
	request->next = server->requests;
	if (server->requests != NULL)
		server->requests->previous = request;
	server->requests = request;
	server->request_count++;
	return request;
}

static void
completed(void *context, struct MHD_Connection *connection, void **request_context, enum MHD_RequestTerminationCode code)
{
	Server	   *server = context;
	Request    *request = *request_context;

	(void) connection;
	if (request == NULL)
		return;
	*request_context = NULL;
	server->gateway->answer_bytes -= (int64_t) request->reply.counted;
	pool_abandon(&request->call);
	dispatch_over(request, code == MHD_REQUEST_TERMINATED_COMPLETED_OK);
	if (request->free_state != NULL)
		request->free_state(request->state);
	respond_discard(request);
	if (request->previous != NULL)
		request->previous->next = request->next;
	else
		server->requests = request->next;
	if (request->next != NULL)
		request->next->previous = request->previous;
	server->request_count--;
	free(request->body);
	request_free_memory(request);
	free(request);
}

static bool
take_body(Request *request, const char *bytes, size_t len)
{
	size_t		max = (size_t) request->gateway->settings.max_body;

	if (request->body_too_large || request->body_len + len > max)
	{
		request->body_too_large = true;
		return true;
	}
	if (request->body_len + len + 1 > request->body_size)
	{
		size_t		size = request->body_size * 2 > request->body_len + len + 1 ? request->body_size * 2 : request->body_len + len + 1;
		char	   *body = realloc(request->body, size);

		if (body == NULL)
			return false;
		request->body = body;
		request->body_size = size;
	}
	memcpy(request->body + request->body_len, bytes, len);
	request->body_len += len;
	request->body[request->body_len] = '\0';
	return true;
}

static enum MHD_Result
handle(void *context, struct MHD_Connection *connection, const char *url, const char *method, const char *version,
	   const char *upload, size_t *upload_size, void **request_context)
{
	Server	   *server = context;
	Request    *request = *request_context;

	(void) url;
	if (request == NULL || request->path == NULL || request->query == NULL)
		return MHD_NO;
	if (!request->begun)
	{
		request->begun = true;
		/* Without the guard's look at each byte nothing may be served: see intercept.h. */
		request->guard = intercept_find(request->fd);
		if (request->guard == NULL || !request->guard->seen)
		{
			log_error("libmicrohttpd reads past the guard: nothing is served");
			return MHD_NO;
		}
		if (!dispatch_head(request, method, version))
			return MHD_NO;
		/*
		 * libmicrohttpd closes a connection that is answered before the request is over. So the
		 * rest is read first, unless it would be too much or is not sent before we say so.
		 */
		if (!request->reply.close && !(request->has_body && request_header(request, "expect") != NULL))
			return MHD_YES;
	}
	else if (*upload_size > 0)
	{
		bool		taken = take_body(request, upload, *upload_size);

		*upload_size = 0;
		return taken ? MHD_YES : MHD_NO;
	}
	else if (!request->handled)
	{
		request->handled = true;
		dispatch_handle(request);
		if (request->taken)
			return MHD_NO;
		if (!request->reply.ready)
		{
			request->suspended = true;
			MHD_suspend_connection(connection);
			return MHD_YES;
		}
	}
	if (request->taken)
		return MHD_NO;
	if (request->reply.ready)
		return respond(request, server->gateway->draining) ? MHD_YES : MHD_NO;
	return MHD_YES;
}

void
server_wake(Server *server, Request *request)
{
	if (!request->suspended)
		return;
	request->suspended = false;
	server->run = true;
	MHD_resume_connection(request->connection);
}

bool
server_take(Request *request, Wire *wire)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);

	request->taken = wire_take(wire, request->fd, info != NULL ? info->tls_session : NULL);
	return request->taken;
}

/* ---- life ---- */

static size_t
keep_escapes(void *context, struct MHD_Connection *connection, char *text)
{
	(void) context, (void) connection;
	return strlen(text);
}

static void __attribute__((format(printf, 2, 0)))
library_says(void *context, const char *format, va_list args)
{
	char		text[300];

	(void) context;
	vsnprintf(text, sizeof(text), format, args);
	text[strcspn(text, "\n")] = '\0';
	log_debug("libmicrohttpd", F_STR("says", text));
}

Server *
server_open(Gateway *gateway)
{
	const Settings *settings = &gateway->settings;
	Server	   *server = calloc(1, sizeof(*server));
	unsigned int flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG | MHD_USE_TURBO;
	struct MHD_OptionItem options[8];
	const union MHD_DaemonInfo *info;

	if (server == NULL || !tls_load(&server->tls, settings->tls_certificate, settings->tls_key, stderr))
		return NULL;
	server->gateway = gateway;
	flags |= tls_options(&server->tls, options);
	server->daemon = MHD_start_daemon(flags, 0, NULL, NULL, handle, server,
									  MHD_OPTION_EXTERNAL_LOGGER, library_says, NULL,
									  MHD_OPTION_LISTEN_SOCKET, (MHD_socket) gateway->listen_fd,
									  MHD_OPTION_STRICT_FOR_CLIENT, (int) 1,
									  MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL,
									  MHD_OPTION_URI_LOG_CALLBACK, begin, server,
									  MHD_OPTION_NOTIFY_COMPLETED, completed, server,
									  MHD_OPTION_NOTIFY_CONNECTION, connection_changed, server,
									  MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t) MEMORY_PER_CONNECTION,
									  MHD_OPTION_CONNECTION_LIMIT, (unsigned int) settings->connections,
									  MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned int) settings->connections_per_address,
									  MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int) ((settings->idle_ms + 999) / 1000),
									  MHD_OPTION_SIGPIPE_HANDLED_BY_APP, (int) 1,
									  MHD_OPTION_ARRAY, options,
									  MHD_OPTION_END);
	info = server->daemon != NULL ? MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	if (info == NULL || !loop_watch(&gateway->loop, info->epoll_fd, EPOLLIN, ready, server))
	{
		log_error("could not start libmicrohttpd", F_STR("error", strerror(errno)));
		return NULL;
	}
	server->epoll_fd = info->epoll_fd;
	server->run = true;
	loop_timer_init(&gateway->loop, &server->sweep, sweep, server);
	loop_timer_in(&gateway->loop, &server->sweep, SWEEP_MS);
	return server;
}

int64_t
server_wait_ms(Server *server)
{
	MHD_UNSIGNED_LONG_LONG timeout;

	if (server->run)
		return 0;
	if (MHD_get_timeout(server->daemon, &timeout) != MHD_YES)
		return -1;
	server->run = timeout == 0;
	return timeout > 1000 ? 1000 : (int64_t) timeout;
}

void
server_run(Server *server)
{
	intercept_now_ms = server->gateway->now_us / 1000;
	if (server->run)
	{
		server->run = false;
		MHD_run(server->daemon);
	}
}

void
server_drain(Server *server)
{
	int			fd = MHD_quiesce_daemon(server->daemon);

	if (fd >= 0)
		close(fd);
	server->run = true;
}

int
server_requests(const Server *server)
{
	return server->request_count;
}

void
server_close(Server *server)
{
	loop_forget(&server->gateway->loop, server->epoll_fd);
	loop_timer_off(&server->sweep);
	/* libmicrohttpd wants no sleeping connections when it stops. */
	for (Request *request = server->requests; request != NULL; request = request->next)
		if (request->suspended)
		{
			pool_abandon(&request->call);
			problem_reply(request, 503, "shutting_down", "the server is being stopped", NULL);
		}
	MHD_run(server->daemon);
	MHD_stop_daemon(server->daemon);
	tls_free(&server->tls);
	free(server);
}
