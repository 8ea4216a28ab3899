#include "lib/pg.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "lib/log.h"
#include "lib/utf8.h"

#define OVERDUE "the server did not answer in time"

static void pg_ready(void *context, uint32_t events);
static void watch_output(Pg *pg);
static void connect_failed(Pg *pg, const char *why);
static void connect_overdue(Pg *pg);

static void
keep_error(Pg *pg, const char *text)
{
	size_t		len;

	snprintf(pg->error, sizeof(pg->error), "%s", text != NULL ? text : "out of memory");
	len = strlen(pg->error);
	while (len > 0 && (pg->error[len - 1] == '\n' || pg->error[len - 1] == ' '))
		pg->error[--len] = '\0';
	utf8_mend(pg->error);
}

/* The connection is gone: close it, give the waiting query its NULL, tell the owner. */
static void
drop(Pg *pg, const char *why)
{
	PgResultFunction on_result = pg->on_result;

	if (pg->conn == NULL)
		return;
	if (pg->connecting != NULL)
	{
		connect_failed(pg, why);
		return;
	}
	keep_error(pg, why);
	log_warn("database connection lost", F_STR("connection", pg->name), F_STR("error", pg->error));
	pg_close(pg);
	if (on_result != NULL)
		on_result(pg->result_context, NULL);
	if (pg->lost != NULL)
		pg->lost(pg->context);
}

static void
connect_failed(Pg *pg, const char *why)
{
	void		(*connected) (void *context, bool good) = pg->connecting;

	keep_error(pg, why);
	pg_close(pg);
	connected(pg->context, false);
}

static void
query_overdue(void *context)
{
	Pg		   *pg = context;

	if (pg->connecting != NULL)
		connect_overdue(pg);
	else
		drop(pg, OVERDUE);
}

void
pg_init(Pg *pg, Loop *loop, const char *dsn, const char *name, int64_t statement_timeout_ms)
{
	memset(pg, 0, sizeof(*pg));
	pg->loop = loop;
	pg->dsn = dsn;
	pg->name = name;
	pg->statement_timeout_ms = statement_timeout_ms;
	pg->watched_fd = -1;
	loop_timer_init(loop, &pg->deadline, query_overdue, pg);
}

static void
quiet_notice(void *context, const PGresult *result)
{
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	(void) context;
	log_debug("database notice", F_STR("notice", message));
}

/* What every connection is given; values has room for as many. */
static const char *const keywords[] = {"dbname", "fallback_application_name", "client_encoding",
"keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout", "connect_timeout", NULL};

#define KEYWORDS (sizeof(keywords) / sizeof(keywords[0]))

static void
fill_values(const Pg *pg, const char *timeout, const char *values[KEYWORDS])
{
	const char *const given[KEYWORDS] = {pg->dsn, pg->name, "UTF8", "10", "5", "3", "20000", timeout, NULL};

	memcpy(values, given, sizeof(given));
}

static void
session_settings(const Pg *pg, char *sql, size_t size)
{
	/* The server shall notice as soon as we do that the other side is gone: it holds locks, and its place among the listeners. */
	snprintf(sql, size, "SET statement_timeout = %" PRId64 "; SET idle_in_transaction_session_timeout = 60000; SET lock_timeout = 10000;"
			 "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; SET tcp_user_timeout = 20000",
			 pg->statement_timeout_ms);
}

/*
 * Takes what has come of the answer, without waiting for more; whether that was all of it.  libpq wants to be asked
 * until it says NULL; the last result is the one that counts.
 */
static bool
answered(Pg *pg)
{
	while (!PQisBusy(pg->conn))
	{
		PGresult   *result = PQgetResult(pg->conn);

		if (result == NULL)
			return true;
		PQclear(pg->answer);
		pg->answer = result;
	}
	return false;
}

static PGresult *
take_answer(Pg *pg)
{
	PGresult   *answer = pg->answer;

	pg->answer = NULL;
	return answer;
}

/* Waits for all of the answer to what was sent, at most so long. NULL: it is there; else why the connection is of no use. */
static const char *
wait_for_answer(Pg *pg, int sent, int64_t limit_ms)
{
	int64_t		deadline = loop_monotonic_ms() + limit_ms;

	while (sent)
	{
		int			unsent = PQflush(pg->conn);
		int64_t		left = deadline - loop_monotonic_ms();
		struct pollfd socket = {.fd = PQsocket(pg->conn), .events = (short) (unsent == 1 ? POLLIN | POLLOUT : POLLIN)};

		if (unsent < 0 || !PQconsumeInput(pg->conn))
			break;
		if (answered(pg))
		{
			if (PQstatus(pg->conn) == CONNECTION_BAD)
				break;
			return NULL;
		}
		if (left <= 0)
			return OVERDUE;
		poll(&socket, 1, (int) left);
	}
	return PQerrorMessage(pg->conn);
}

/* Why not, or NULL. */
static const char *
settle_session(Pg *pg, int64_t limit_ms)
{
	char		settings[320];
	const char *why;
	PGresult   *result;
	bool		good;

	session_settings(pg, settings, sizeof(settings));
	if (PQsetnonblocking(pg->conn, 1) != 0)
		return PQerrorMessage(pg->conn);
	why = wait_for_answer(pg, PQsendQuery(pg->conn, settings), limit_ms);
	if (why != NULL)
		return why;
	result = take_answer(pg);
	good = PQresultStatus(result) == PGRES_COMMAND_OK && loop_watch(pg->loop, PQsocket(pg->conn), EPOLLIN, pg_ready, pg);
	PQclear(result);
	return good ? NULL : PQerrorMessage(pg->conn);
}

bool
pg_connect(Pg *pg, int timeout_s)
{
	char		timeout[16];
	const char *values[KEYWORDS];
	const char *why;

	pg_close(pg);
	snprintf(timeout, sizeof(timeout), "%d", timeout_s);
	fill_values(pg, timeout, values);
	pg->conn = PQconnectdbParams(keywords, values, 1);
	if (pg->conn == NULL || PQstatus(pg->conn) != CONNECTION_OK)
	{
		keep_error(pg, pg->conn == NULL ? NULL : PQerrorMessage(pg->conn));
		pg_close(pg);
		return false;
	}
	PQsetNoticeReceiver(pg->conn, quiet_notice, NULL);
	pg->watched_fd = PQsocket(pg->conn);
	why = settle_session(pg, (int64_t) timeout_s * 1000);
	if (why == NULL)
		return true;
	keep_error(pg, why);
	pg_close(pg);
	return false;
}

/* ---- connecting without waiting ---- */

static void
settings_done(void *context, PGresult *result)
{
	Pg		   *pg = context;
	void		(*connected) (void *context, bool good) = pg->connecting;
	bool		good = pg_good(pg, result, NULL);

	PQclear(result);
	dial_end(&pg->dial);
	if (!good)
	{
		char		why[sizeof(pg->error)];

		memcpy(why, pg->error, sizeof(why));
		connect_failed(pg, why);
		return;
	}
	pg->connecting = NULL;
	connected(pg->context, true);
}

static void
is_connected(Pg *pg)
{
	char		settings[320];

	session_settings(pg, settings, sizeof(settings));
	pg->on_result = settings_done;
	pg->result_context = pg;
	if (PQsetnonblocking(pg->conn, 1) != 0 || !PQsendQuery(pg->conn, settings))
		connect_failed(pg, PQerrorMessage(pg->conn));
	else
		watch_output(pg);
}

static void
go_on_connecting(void *context, uint32_t events)
{
	Pg		   *pg = context;
	PostgresPollingStatusType status;

	(void) events;
	/* libpq may close this socket and go on to another address, with a socket of the same number. */
	loop_forget(pg->loop, pg->watched_fd);
	status = PQconnectPoll(pg->conn);
	if (status == PGRES_POLLING_FAILED)
	{
		connect_failed(pg, PQerrorMessage(pg->conn));
		return;
	}
	pg->watched_fd = PQsocket(pg->conn);
	if (dial_moved(&pg->dial, pg->conn))
		loop_timer_in(pg->loop, &pg->deadline, (int64_t) pg->connect_s * 1000);
	if (status == PGRES_POLLING_OK)
		is_connected(pg);
	else
		loop_watch(pg->loop, pg->watched_fd, status == PGRES_POLLING_READING ? EPOLLIN : EPOLLOUT, go_on_connecting, pg);
}

static void
follow_connecting(Pg *pg)
{
	if (pg->conn == NULL || PQstatus(pg->conn) == CONNECTION_BAD)
	{
		connect_failed(pg, pg->conn == NULL ? NULL : PQerrorMessage(pg->conn));
		return;
	}
	PQsetNoticeReceiver(pg->conn, quiet_notice, NULL);
	loop_timer_in(pg->loop, &pg->deadline, (int64_t) pg->connect_s * 1000);
	pg->watched_fd = PQsocket(pg->conn);
	loop_watch(pg->loop, pg->watched_fd, EPOLLOUT, go_on_connecting, pg);
}

/* The address took too long: the next one's turn. */
static void
connect_overdue(Pg *pg)
{
	loop_forget(pg->loop, pg->watched_fd);
	pg->watched_fd = -1;
	pg->on_result = NULL;
	PQclear(pg->answer);
	pg->answer = NULL;
	pg->conn = dial_next(&pg->dial, pg->conn);
	if (pg->conn == NULL)
		connect_failed(pg, OVERDUE);
	else
		follow_connecting(pg);
}

void
pg_start(Pg *pg, int timeout_s, void (*connected) (void *context, bool good))
{
	const char *values[KEYWORDS];

	pg_close(pg);
	fill_values(pg, NULL, values);
	pg->conn = dial_begin(&pg->dial, keywords, values);
	pg->connecting = connected;
	pg->connect_s = timeout_s;
	follow_connecting(pg);
}

void
pg_close(Pg *pg)
{
	pg->connecting = NULL;
	dial_end(&pg->dial);
	loop_timer_off(&pg->deadline);
	if (pg->conn == NULL)
		return;
	loop_forget(pg->loop, pg->watched_fd);
	pg->watched_fd = -1;
	PQclear(pg->answer);
	pg->answer = NULL;
	PQfinish(pg->conn);
	pg->conn = NULL;
	pg->on_result = NULL;
}

bool
pg_idle(const Pg *pg)
{
	return pg->conn != NULL && pg->connecting == NULL && pg->on_result == NULL;
}

void
pg_text(PgParams *params, const char *value)
{
	params->values[params->n] = value;
	params->formats[params->n] = 0;
	params->lengths[params->n++] = 0;
}

void
pg_int(PgParams *params, int64_t value)
{
	snprintf(params->numbers[params->n], sizeof(params->numbers[0]), "%" PRId64, value);
	pg_text(params, params->numbers[params->n]);
}

void
pg_bytes(PgParams *params, const void *bytes, int len)
{
	params->values[params->n] = bytes;
	params->formats[params->n] = 1;
	params->lengths[params->n++] = len;
}

static void
watch_output(Pg *pg)
{
	int			flushed = PQflush(pg->conn);

	loop_watch(pg->loop, PQsocket(pg->conn), flushed == 1 ? EPOLLIN | EPOLLOUT : EPOLLIN, pg_ready, pg);
}

static bool
await_result(Pg *pg, int sent, PgResultFunction on_result, void *context)
{
	pg->on_result = on_result;
	pg->result_context = context;
	if (!sent)
	{
		drop(pg, PQerrorMessage(pg->conn));
		return false;
	}
	loop_timer_in(pg->loop, &pg->deadline, pg->statement_timeout_ms + PG_GRACE_MS);
	watch_output(pg);
	return true;
}

bool
pg_send(Pg *pg, const char *sql, const PgParams *params, int result_format, PgResultFunction on_result, void *context)
{
	if (pg->conn == NULL)
		return false;
	return await_result(pg, PQsendQueryParams(pg->conn, sql, params->n, NULL, params->values, params->lengths,
											  params->formats, result_format), on_result, context);
}

bool
pg_send_prepared(Pg *pg, const char *statement, const PgParams *params, int result_format, PgResultFunction on_result,
				 void *context)
{
	if (pg->conn == NULL)
		return false;
	return await_result(pg, PQsendQueryPrepared(pg->conn, statement, params->n, params->values, params->lengths,
												params->formats, result_format), on_result, context);
}

static void
take_notifications(Pg *pg)
{
	bool		any = false;
	PGnotify   *notification;

	while (pg->conn != NULL && (notification = PQnotifies(pg->conn)) != NULL)
	{
		any = true;
		PQfreemem(notification);
	}
	if (any && pg->notified != NULL)
		pg->notified(pg->context);
}

static void
pg_ready(void *context, uint32_t events)
{
	Pg		   *pg = context;

	if (pg->conn == NULL)
		return;
	if (events & EPOLLOUT)
		watch_output(pg);
	if (!PQconsumeInput(pg->conn))
	{
		drop(pg, PQerrorMessage(pg->conn));
		return;
	}
	if (pg->on_result != NULL && answered(pg))
	{
		PgResultFunction on_result = pg->on_result;

		if (PQstatus(pg->conn) == CONNECTION_BAD)
		{
			drop(pg, PQerrorMessage(pg->conn));
			return;
		}
		pg->on_result = NULL;
		loop_timer_off(&pg->deadline);
		on_result(pg->result_context, take_answer(pg));
	}
	take_notifications(pg);
}

PGresult *
pg_query(Pg *pg, const char *sql, const PgParams *params, int result_format)
{
	const char *why;
	PGresult   *result;

	if (pg->conn == NULL)
		return NULL;
	why = wait_for_answer(pg, PQsendQueryParams(pg->conn, sql, params ? params->n : 0, NULL, params ? params->values : NULL,
												params ? params->lengths : NULL, params ? params->formats : NULL, result_format),
						  pg->statement_timeout_ms + PG_GRACE_MS);
	if (why != NULL)
	{
		drop(pg, why);
		return NULL;
	}
	result = take_answer(pg);
	if (!pg_good(pg, result, NULL))
	{
		PQclear(result);
		return NULL;
	}
	return result;
}

bool
pg_good(Pg *pg, const PGresult *result, char *sqlstate)
{
	ExecStatusType status = PQresultStatus(result);
	const char *code;

	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_SINGLE_TUPLE)
		return true;
	code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	if (sqlstate != NULL)
		snprintf(sqlstate, 6, "%s", code != NULL ? code : "XX000");
	keep_error(pg, PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) != NULL ?
			   PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : PQresultErrorMessage(result));
	return false;
}
