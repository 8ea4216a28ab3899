/* One connection of a pool, in pipeline mode: connecting, sending, results, breaking. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "gateway/pool_parts.h"
#include "gateway/stats.h"
#include "lib/log.h"

/* What we wait beyond the server's own statement timeout before the server counts as dead. */
#define GRACE_US 5000000
/* Connecting to an address of the database, and setting up there, take at most. */
#define CONNECT_MS 5000
/* Statements under way for less are not worth a cancel request. */
#define CANCEL_AFTER_US 100000
/* A connection that has brought a larger result is made anew when nothing is under way on it. */
#define SWELLS 4194304
/* So is one on which so many statements were prepared. */
#define PREPARES_MAX (2 * STATEMENTS_MAX)

static const char begin_sql[] = "SELECT access.begin_request($1, $2, $3, $4, $5, $6, $7, $8)";

static void line_ready(void *context, uint32_t events);

static Flight *
flight_at(Line *line, int i)
{
	return &line->flights[(line->first + i) % MAX_DEPTH];
}

/* ---- breaking ---- */

static void
release_cancel(Line *line)
{
	Cancel	   *cancel = line->cancel;

	line->cancel = NULL;
	if (cancel != NULL && atomic_fetch_sub(&cancel->owners, 1) == 1)
	{
		PQfreeCancel(cancel->cancel);
		free(cancel);
	}
}

static void
close_connection(Line *line)
{
	loop_forget(&line->pool->gateway->loop, line->watched_fd);
	line->watched_fd = -1;
	outbox_detach(&line->outbox);
	release_cancel(line);
	if (line->conn != NULL)
		PQfinish(line->conn);
	line->conn = NULL;
	dial_end(&line->dial);
	line->swollen = false;
	line->prepares = 0;
	line->state = LINE_DOWN;
	memset(line->prepared, 0, sizeof(line->prepared));
}

static Flight
take_head(Line *line)
{
	Flight		head = *flight_at(line, 0);

	line->first = (line->first + 1) % MAX_DEPTH;
	line->count--;
	line->slow -= head.slow;
	return head;
}

/* The connection is gone, or no good: what is in flight is lost, and it is made again after a while. */
static void
line_break(Line *line, const char *why)
{
	Pool	   *pool = line->pool;
	size_t		len;

	snprintf(pool->error, sizeof(pool->error), "%s", why != NULL && *why != '\0' ? why : "connection lost");
	for (len = strlen(pool->error); len > 0 && (pool->error[len - 1] == '\n' || pool->error[len - 1] == ' '); len--)
		pool->error[len - 1] = '\0';
	log_warn("database connection lost", F_INT("connection", line->number), F_INT("in_flight", line->count), F_STR("error", pool->error));
	close_connection(line);
	loop_timer_in(&pool->gateway->loop, &line->retry, backoff_next_ms(&line->backoff));
	pool_line_changed(pool);
	/* One by one: where one ends, those behind it may be abandoned. */
	while (line->count > 0)
	{
		Flight		lost = take_head(line);

		/* Its error came before the end: for certain it did not commit. */
		pool_landed(pool, &lost, lost.error != NULL ? CALL_FAILED : CALL_LOST);
	}
}

static void
note_size(Line *line, const Flight *flight)
{
	size_t		size = (flight->result != NULL ? PQresultMemorySize(flight->result) : 0) +
		(flight->error != NULL ? PQresultMemorySize(flight->error) : 0);

	line->swollen = line->swollen || size > SWELLS || line->prepares > PREPARES_MAX;
	if (!line->swollen || line->count > 0)
		return;
	close_connection(line);
	loop_timer_in(&line->pool->gateway->loop, &line->retry, 0);
	pool_line_changed(line->pool);
}

/* ---- connecting ---- */

static void
watch(Line *line, uint32_t events)
{
	int			fd = PQsocket(line->conn);

	line->watched_fd = fd;
	if (!loop_watch(&line->pool->gateway->loop, fd, events, line_ready, line))
		log_error("could not watch a connection", F_INT("fd", fd));
}

static void
notice(void *context, const PGresult *result)
{
	(void) context;
	log_debug("database notice", F_STR("notice", PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY)));
}

static void
follow_connecting(Line *line)
{
	if (line->conn == NULL || PQstatus(line->conn) == CONNECTION_BAD)
	{
		line->pool->failing = true;
		line_break(line, line->conn != NULL ? PQerrorMessage(line->conn) : "out of memory");
		return;
	}
	PQsetNoticeReceiver(line->conn, notice, NULL);
	line->state = LINE_CONNECTING;
	watch(line, EPOLLOUT);
	loop_timer_in(&line->pool->gateway->loop, &line->retry, CONNECT_MS);
}

/* The address took too long: the next one's turn. */
static void
connect_overdue(Line *line)
{
	loop_forget(&line->pool->gateway->loop, line->watched_fd);
	line->watched_fd = -1;
	if (line->count > 0)
	{
		Flight		setting_up = take_head(line);

		PQclear(setting_up.result);
		PQclear(setting_up.error);
	}
	line->conn = dial_next(&line->dial, line->conn);
	if (line->conn != NULL)
	{
		follow_connecting(line);
		return;
	}
	line->pool->failing = true;
	line_break(line, "connecting took too long");
}

static void
connect_line(void *context)
{
	Line	   *line = context;
	static const char *const keywords[] = {"dbname", "fallback_application_name", "client_encoding", "keepalives_idle",
	"keepalives_interval", "keepalives_count", "tcp_user_timeout", NULL};
	const char *values[] = {line->pool->dsn, "backoffice-gateway", "UTF8", "10", "5", "3", "20000", NULL};

	if (line->state == LINE_DOWN)
	{
		line->conn = dial_begin(&line->dial, keywords, values);
		follow_connecting(line);
	}
	else
		connect_overdue(line);
}

static void
set_up(Line *line)
{
	char		timeout[24];
	const char *values[] = {timeout};
	Flight	   *flight = flight_at(line, 0);

	snprintf(timeout, sizeof(timeout), "%lld", (long long) line->pool->gateway->settings.request_ms);
	*flight = (Flight) {.begin_step = -1, .main_step = -1, .prepare_step = -1, .slow = true, .sent_us = gateway_monotonic_us()};
	line->count = 1;
	line->slow = 1;
	line->state = LINE_SETTING_UP;
	if (PQsetnonblocking(line->conn, 1) != 0 || !PQenterPipelineMode(line->conn) ||
		!PQsendQueryParams(line->conn, "SELECT pg_catalog.set_config('statement_timeout', $1, false), "
						   "pg_catalog.set_config('idle_in_transaction_session_timeout', '60000', false)", 1, NULL, values, NULL, NULL, 0) ||
		!PQsendPrepare(line->conn, "begin", begin_sql, 0, NULL) || !PQpipelineSync(line->conn))
		line_break(line, PQerrorMessage(line->conn));
	else
		watch(line, EPOLLIN | EPOLLOUT);
}

static void
go_on_connecting(Line *line)
{
	PostgresPollingStatusType status;

	/* libpq may close this socket and go on to another address, with a socket of the same number. */
	loop_forget(&line->pool->gateway->loop, line->watched_fd);
	status = PQconnectPoll(line->conn);
	if (dial_moved(&line->dial, line->conn))
		loop_timer_in(&line->pool->gateway->loop, &line->retry, CONNECT_MS);
	switch (status)
	{
		case PGRES_POLLING_READING:
			watch(line, EPOLLIN);
			break;
		case PGRES_POLLING_WRITING:
			watch(line, EPOLLOUT);
			break;
		case PGRES_POLLING_OK:
			set_up(line);
			break;
		default:
			line->pool->failing = true;
			line_break(line, PQerrorMessage(line->conn));
	}
}

static void
is_usable(Line *line)
{
	line->state = LINE_READY;
	dial_end(&line->dial);
	/* Under TLS what libpq sends goes through OpenSSL, piece by piece. */
	if (!PQsslInUse(line->conn))
		outbox_attach(&line->outbox, PQsocket(line->conn));
	line->pool->failing = false;
	loop_timer_off(&line->retry);
	backoff_reset(&line->backoff);
	stats_count(line->pool->gateway, STAT_CONNECTS);
	pool_line_changed(line->pool);
}

/* ---- sending ---- */

static bool
send_statement(Line *line, const Statement *statement, Known *known, Flight *flight, int *prepare_step)
{
	char		name[24];

	if (known == NULL)
	{
		flight->step++;
		return PQsendQueryParams(line->conn, statement->sql, statement->n, NULL, statement->values, statement->lengths,
								 statement->formats, 0);
	}
	known_name(known, name, sizeof(name));
	if (line->prepared[known->number] != known->generation)
	{
		*prepare_step = flight->step++;
		line->prepares++;
		if (!PQsendPrepare(line->conn, name, statement->sql, 0, NULL))
			return false;
	}
	flight->step++;
	return PQsendQueryPrepared(line->conn, name, statement->n, statement->values, statement->lengths, statement->formats, 0);
}

static bool
send_call(Line *line, Call *call, Flight *flight)
{
	int			ignored;

	if (!call->internal)
	{
		flight->begin_step = flight->step++;
		if (!PQsendQueryPrepared(line->conn, "begin", BEGIN_PARAMS, call->begin, NULL, NULL, 0))
			return false;
	}
	if (call->before != NULL && !send_statement(line, call->before, NULL, flight, &ignored))
		return false;
	if (!send_statement(line, call->main, flight->known, flight, &flight->prepare_step))
		return false;
	flight->main_step = flight->step - 1;
	/* What a commit would find wrong is found wrong all the same. */
	if (call->rollback && (!PQsendQueryParams(line->conn, "SET CONSTRAINTS ALL IMMEDIATE", 0, NULL, NULL, NULL, NULL, 0) ||
						   !PQsendQueryParams(line->conn, "ROLLBACK", 0, NULL, NULL, NULL, NULL, 0)))
		return false;
	flight->step = 0;
	return PQpipelineSync(line->conn) == 1;
}

bool
line_send(Line *line, Call *call, Known *known)
{
	Flight	   *flight = flight_at(line, line->count);
	int			flushed;

	*flight = (Flight) {.call = call, .known = known, .generation = known != NULL ? known->generation : 0, .begin_step = -1, .main_step = -1, .prepare_step = -1,
		.sent_us = gateway_monotonic_us()};
	line->count++;
	if (!send_call(line, call, flight))
	{
		line_break(line, PQerrorMessage(line->conn));
		return false;
	}
	/* Behind a statement that is being prepared, or takes long, nothing may wait. */
	flight->slow = known == NULL || flight->prepare_step >= 0 || !known_is_fast(known, line->pool->gateway->settings.fast_us);
	line->slow += flight->slow;
	flushed = PQflush(line->conn);
	if (flushed != 0)
		watch(line, EPOLLIN | EPOLLOUT);
	return true;
}

void
line_flush(Line *line)
{
	if (line->outbox.len == 0)
		return;
	if (!outbox_flush(&line->outbox))
		line_break(line, "what was sent did not arrive");
	else if (line->outbox.len > 0)
		watch(line, EPOLLIN | EPOLLOUT);
}

/* ---- results ---- */

/* The head's Sync is there: it is over. */
static void
land(Line *line)
{
	Pool	   *pool = line->pool;
	int64_t		now = gateway_monotonic_us();
	Flight		flight;

	/* With those behind it, of which one may end it: it is retried, on another connection. */
	if (flight_at(line, 0)->error != NULL && call_found_aborted(flight_at(line, 0)->error))
	{
		line_break(line, "a call left an aborted transaction behind");
		return;
	}
	flight = take_head(line);
	if (flight.known != NULL && flight.error == NULL && flight.known->generation == flight.generation)
		known_measure(flight.known, now - (flight.sent_us > line->last_sync_us ? flight.sent_us : line->last_sync_us));
	line->last_sync_us = now;
	if (line->cancel != NULL)
	{
		/* The cancel request may still be on its way to whatever runs next. */
		if (!atomic_load(&line->cancel->sent))
		{
			pool_landed(pool, &flight, flight.error != NULL ? CALL_FAILED : CALL_DONE);
			line_break(line, "a cancel request is on its way");
			return;
		}
		release_cancel(line);
	}
	if (line->state == LINE_SETTING_UP && flight.error != NULL)
	{
		char		why[200];

		snprintf(why, sizeof(why), "%s", PQresultErrorField(flight.error, PG_DIAG_MESSAGE_PRIMARY));
		pool->failing = true;
		PQclear(flight.error);
		line_break(line, why);
		return;
	}
	if (line->state == LINE_SETTING_UP)
		is_usable(line);
	note_size(line, &flight);
	pool_landed(pool, &flight, flight.error != NULL ? CALL_FAILED : CALL_DONE);
}

static bool
ends_connection(const PGresult *result)
{
	const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);

	return severity == NULL || strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0;
}

static void
take_result(Line *line, PGresult *result)
{
	Flight	   *flight = flight_at(line, 0);
	ExecStatusType status = PQresultStatus(result);

	if (status == PGRES_FATAL_ERROR || status == PGRES_NONFATAL_ERROR || status == PGRES_BAD_RESPONSE)
	{
		/* The connection ends, says libpq or the server: whether the transaction committed is not known. */
		if (ends_connection(result))
		{
			PQclear(result);
			return;
		}
		/* The first one is what went wrong; at the Sync it may be the only one. */
		if (flight->error == NULL)
			flight->error = result;
		else
			PQclear(result);
		flight->step++;
		return;
	}
	if (status == PGRES_TUPLES_OK && flight->step == flight->begin_step && PQntuples(result) == 1)
		snprintf(flight->principal, sizeof(flight->principal), "%s", PQgetvalue(result, 0, 0));
	if (status == PGRES_COMMAND_OK && flight->step == flight->prepare_step && flight->known != NULL)
		line->prepared[flight->known->number] = flight->generation;
	if (flight->step == flight->main_step && status != PGRES_PIPELINE_ABORTED)
		flight->result = result;
	else
		PQclear(result);
	flight->step++;
}

static void
take_results(Line *line)
{
	int			nothing = 0;

	while (line->conn != NULL && line->count > 0 && !PQisBusy(line->conn))
	{
		PGresult   *result = PQgetResult(line->conn);

		/* One NULL ends each statement; two in a row mean that libpq expects nothing more. */
		if (result == NULL)
		{
			if (++nothing > 1)
				break;
			continue;
		}
		nothing = 0;
		if (PQresultStatus(result) != PGRES_PIPELINE_SYNC)
		{
			take_result(line, result);
			continue;
		}
		PQclear(result);
		land(line);
	}
}

static void
line_ready(void *context, uint32_t events)
{
	Line	   *line = context;

	if (line->state == LINE_CONNECTING)
	{
		go_on_connecting(line);
		return;
	}
	if (events & EPOLLOUT)
	{
		watch(line, PQflush(line->conn) == 1 ? EPOLLIN | EPOLLOUT : EPOLLIN);
		line_flush(line);
		if (line->conn == NULL)
			return;
	}
	if (!PQconsumeInput(line->conn))
	{
		/* The server's last words may be in the buffer. */
		take_results(line);
		if (line->conn != NULL)
			line_break(line, PQerrorMessage(line->conn));
		return;
	}
	take_results(line);
	if (line->conn != NULL && PQstatus(line->conn) == CONNECTION_BAD)
		line_break(line, PQerrorMessage(line->conn));
	else if (line->conn != NULL)
		for (PGnotify *notify = PQnotifies(line->conn); notify != NULL; notify = PQnotifies(line->conn))
			PQfreemem(notify);
	pool_continue(line->pool);
}

/* ---- cancelling, checking, life ---- */

static void *
send_cancel(void *context)
{
	Cancel	   *cancel = context;
	char		error[128];

	PQcancel(cancel->cancel, error, sizeof(error));
	atomic_store(&cancel->sent, true);
	if (atomic_fetch_sub(&cancel->owners, 1) == 1)
	{
		PQfreeCancel(cancel->cancel);
		free(cancel);
	}
	return NULL;
}

void
line_cancel(Line *line)
{
	Cancel	   *cancel;
	pthread_t	thread;

	if (line->state != LINE_READY || line->cancel != NULL || line->count != 1 || line_head_age_us(line, gateway_monotonic_us()) < CANCEL_AFTER_US)
		return;
	cancel = calloc(1, sizeof(*cancel));
	if (cancel == NULL)
		return;
	cancel->cancel = PQgetCancel(line->conn);
	atomic_init(&cancel->owners, 2);
	line->cancel = cancel;
	if (cancel->cancel == NULL || pthread_create(&thread, NULL, send_cancel, cancel) != 0)
	{
		atomic_store(&cancel->owners, 1);
		release_cancel(line);
		return;
	}
	pthread_detach(thread);
	stats_count(line->pool->gateway, STAT_CANCELLED);
}

int64_t
line_head_age_us(const Line *line, int64_t now_us)
{
	int64_t		sent = line->flights[line->first].sent_us;

	return line->count == 0 ? 0 : now_us - (sent > line->last_sync_us ? sent : line->last_sync_us);
}

void
line_check(Line *line, int64_t now_us)
{
	if (line->state == LINE_READY && line->count > 0 &&
		line_head_age_us(line, now_us) > line->pool->gateway->settings.request_ms * 1000 + GRACE_US)
		line_break(line, "the server did not answer within the statement timeout");
}

void
line_open(Line *line)
{
	line->watched_fd = -1;
	line->outbox.fd = -1;
	loop_timer_init(&line->pool->gateway->loop, &line->retry, connect_line, line);
	backoff_init(&line->backoff, 50, 5000, (uint64_t) gateway_monotonic_us() * 31 + (uint64_t) line->number);
	loop_timer_in(&line->pool->gateway->loop, &line->retry, 0);
}

void
line_close(Line *line)
{
	loop_timer_off(&line->retry);
	for (int i = 0; i < line->count; i++)
	{
		PQclear(flight_at(line, i)->result);
		PQclear(flight_at(line, i)->error);
	}
	line->count = 0;
	close_connection(line);
}
