/*
 * A batch is one pipeline: BEGIN, accept() or park_inbound() for each message,
 * save_source_offset() for each partition, COMMIT.  Only when a message is refused
 * is the batch done again with a savepoint for each.
 */
#include "kafka-ingest/store.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "lib/worker.h"

/* The server keeps answers back until it is asked for them. Asked after each message, it would be slower by a third. */
#define FLUSH_EVERY 16

static const struct
{
	const char *name;
	const char *sql;
}			statements[] = {
	{"accept", "SELECT events.accept($1, $2, $3, $4, $5::jsonb, $6::jsonb, $7::uuid)"},
	{"park", "SELECT events.park_inbound($1, $2, $3::int, $4::bigint, $5::bytea, $6::bytea, $7)"},
	{"save", "SELECT events.save_source_offset($1, $2, $3::int, $4::bigint)"},
	{"rewind", "SELECT events.rewind_source($1, $2, $3::int, $4::bigint)"},
};

bool
store_prepare(Store *store)
{
	for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++)
	{
		char		sql[300];
		PGresult   *result;

		snprintf(sql, sizeof(sql), "PREPARE ingest_%s AS %s", statements[i].name, statements[i].sql);
		result = pg_query(store->pg, sql, NULL, 0);
		if (result == NULL)
		{
			snprintf(store->error, sizeof(store->error), "%s", store->pg->error);
			return false;
		}
		PQclear(result);
	}
	return true;
}

/* -- sending -- */

static bool
send_command(Store *store, const char *sql)
{
	return PQsendQueryParams(store->pg->conn, sql, 0, NULL, NULL, NULL, NULL, 0) == 1;
}

static bool
send_prepared(Store *store, const char *name, const PgParams *params)
{
	char		full[40];

	snprintf(full, sizeof(full), "ingest_%s", name);
	return PQsendQueryPrepared(store->pg->conn, full, params->n, params->values, params->lengths, params->formats, 0) == 1;
}

static bool
send_message(Store *store, const StoreMessage *message)
{
	PgParams	params = {.n = 0};

	if (message->item.park)
	{
		pg_text(&params, store->source);
		pg_text(&params, message->inbound.topic);
		pg_int(&params, message->inbound.partition);
		pg_int(&params, message->inbound.offset);
		pg_bytes(&params, message->inbound.key, (int) message->inbound.key_len);
		pg_bytes(&params, message->inbound.value, (int) message->inbound.value_len);
		pg_text(&params, message->item.reason);
		return send_prepared(store, "park", &params);
	}
	pg_text(&params, message->item.source);
	pg_text(&params, message->item.id);
	pg_text(&params, message->inbound.topic);
	pg_text(&params, message->item.key);
	pg_text(&params, message->item.payload);
	pg_text(&params, message->item.headers);
	pg_text(&params, message->item.organization);
	return send_prepared(store, "accept", &params);
}

static bool
send_offset(Store *store, const char *statement, const StoreOffset *offset, int64_t next)
{
	PgParams	params = {.n = 0};

	pg_text(&params, store->group);
	pg_text(&params, offset->topic);
	pg_int(&params, offset->partition);
	pg_int(&params, next);
	return send_prepared(store, statement, &params);
}

/* Where to go on, and the end of the transaction; *others counts these statements. */
static bool
send_end(Store *store, const StoreOffset *offsets, size_t offset_count, size_t *others)
{
	bool		sent = true;

	*others = offset_count + 1;
	for (size_t i = 0; sent && i < offset_count; i++)
	{
		/* An offset that is saved never goes back by itself. */
		if (offsets[i].rewound >= 0)
		{
			sent = send_offset(store, "rewind", &offsets[i], offsets[i].rewound);
			++*others;
		}
		sent = sent && send_offset(store, "save", &offsets[i], offsets[i].next);
	}
	return sent && send_command(store, "COMMIT") && PQpipelineSync(store->pg->conn);
}

/* -- receiving -- */

/* libpq has nothing to say when it was we who lost patience. */
static StoreOutcome
lost(Store *store, const char *why)
{
	snprintf(store->error, sizeof(store->error), "%s", *why != '\0' ? why : "the server did not answer in time");
	return STORE_LOST;
}

/*
 * Waits until the next result can be taken without waiting.  The time is that of one statement, and each answer begins
 * it anew: a slow batch goes on for as long as it gets anywhere, and is no loop that stands still.
 */
static bool
await(Store *store)
{
	PGconn	   *conn = store->pg->conn;
	int64_t		deadline = loop_monotonic_ms() + store->pg->statement_timeout_ms + PG_GRACE_MS;

	worker_progress();
	for (;;)
	{
		int			unsent = PQflush(conn);
		int64_t		left = deadline - loop_monotonic_ms();
		struct pollfd socket = {.fd = PQsocket(conn), .events = (short) (unsent == 1 ? POLLIN | POLLOUT : POLLIN)};

		if (unsent < 0)
			return false;
		if (!PQisBusy(conn))
			return true;
		if (left <= 0)
			return false;
		poll(&socket, 1, (int) left);
		if (!PQconsumeInput(conn))
			return false;
	}
}

/*
 * Reads one statement's result (sync false), or the end of the pipeline.  The
 * SQLSTATE of an error is left in sqlstate, of an aborted statement "ABORT".
 */
static StoreOutcome
take(Store *store, bool sync, char *sqlstate, bool *value)
{
	PGresult   *result;
	ExecStatusType status;
	const char *detail;

	sqlstate[0] = '\0';
	if (!await(store) || (result = PQgetResult(store->pg->conn)) == NULL)
		return lost(store, PQerrorMessage(store->pg->conn));
	status = PQresultStatus(result);
	if (status == PGRES_PIPELINE_ABORTED)
		strcpy(sqlstate, "ABORT");
	else if (status == PGRES_FATAL_ERROR)
	{
		pg_good(store->pg, result, sqlstate);
		/* Our own details say what is wrong; PostgreSQL's quote the value. */
		detail = strncmp(sqlstate, "PT", 2) == 0 ? PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL) : NULL;
		snprintf(store->error, sizeof(store->error), "%s%s%s", store->pg->error, detail != NULL ? ": " : "",
				 detail != NULL ? detail : "");
	}
	else if (value != NULL && status == PGRES_TUPLES_OK && PQntuples(result) == 1)
		*value = *PQgetvalue(result, 0, 0) == 't';
	PQclear(result);
	if (PQstatus(store->pg->conn) == CONNECTION_BAD)
		return lost(store, PQerrorMessage(store->pg->conn));
	/* A statement's results end with NULL, the pipeline's end is a single one. */
	if (!sync && (!await(store) || PQgetResult(store->pg->conn) != NULL))
		return lost(store, "the database answered out of turn");
	return STORE_DONE;
}

/* Reads n statements and the end; the first error decides. */
static StoreOutcome
take_all(Store *store, StoreMessage *messages, size_t n, size_t others, char *sqlstate)
{
	char		state[8];

	sqlstate[0] = '\0';
	/* BEGIN, the messages, the others (offsets, COMMIT), the end */
	for (size_t i = 0; i < 1 + n + others + 1; i++)
	{
		bool		is_message = messages != NULL && i >= 1 && i <= n;

		if (take(store, i == 1 + n + others, state, is_message ? &messages[i - 1].accepted : NULL) != STORE_DONE)
			return STORE_LOST;
		if (sqlstate[0] == '\0' && state[0] != '\0')
			strcpy(sqlstate, state);
	}
	return STORE_DONE;
}

static StoreOutcome
run_command(Store *store, const char *sql)
{
	char		state[8];

	if (!send_command(store, sql) || !PQpipelineSync(store->pg->conn) ||
		take(store, false, state, NULL) != STORE_DONE)
		return lost(store, PQerrorMessage(store->pg->conn));
	if (state[0] != '\0')
	{
		char		ignored[8];

		return take(store, true, ignored, NULL) == STORE_DONE ? STORE_RETRY : STORE_LOST;
	}
	return take(store, true, state, NULL);
}

/* Out of a failed transaction, and out of the pipeline. */
static StoreOutcome
leave(Store *store, StoreOutcome outcome)
{
	char		error[sizeof(store->error)];

	memcpy(error, store->error, sizeof(error));
	if (outcome != STORE_LOST && PQtransactionStatus(store->pg->conn) != PQTRANS_IDLE &&
		run_command(store, "ROLLBACK") != STORE_DONE)
		outcome = STORE_LOST;
	if (outcome != STORE_LOST && !PQexitPipelineMode(store->pg->conn))
		outcome = lost(store, PQerrorMessage(store->pg->conn));
	else
		memcpy(store->error, error, sizeof(error));
	return outcome;
}

StoreOutcome
store_batch(Store *store, StoreMessage *messages, size_t n, const StoreOffset *offsets, size_t offset_count)
{
	bool		sent = PQenterPipelineMode(store->pg->conn) && send_command(store, "BEGIN");
	char		sqlstate[8];
	size_t		others;

	for (size_t i = 0; sent && i < n; i++)
		sent = send_message(store, &messages[i]) && ((i + 1) % FLUSH_EVERY != 0 || PQsendFlushRequest(store->pg->conn) == 1);
	if (!sent || !send_end(store, offsets, offset_count, &others))
		return lost(store, PQerrorMessage(store->pg->conn));
	if (take_all(store, messages, n, others, sqlstate) != STORE_DONE)
		return STORE_LOST;
	if (sqlstate[0] == '\0')
		return leave(store, STORE_DONE);
	return leave(store, ingest_fault(sqlstate) == FAULT_MESSAGE ? STORE_REDO : STORE_RETRY);
}

/* One message within its savepoint. */
static StoreOutcome
redo_message(Store *store, StoreMessage *message)
{
	char		state[8];
	char		first[8] = "";

	if (!send_command(store, "SAVEPOINT message") || !send_message(store, message) ||
		!send_command(store, "RELEASE message") || !PQpipelineSync(store->pg->conn))
		return lost(store, PQerrorMessage(store->pg->conn));
	for (int i = 0; i < 4; i++)
	{
		if (take(store, i == 3, state, i == 1 ? &message->accepted : NULL) != STORE_DONE)
			return STORE_LOST;
		if (first[0] == '\0' && state[0] != '\0')
			strcpy(first, state);
	}
	if (first[0] == '\0')
		return STORE_DONE;
	if (ingest_fault(first) == FAULT_PASSING || message->item.park)
		return STORE_RETRY;
	message->item.park = true;
	snprintf(message->item.reason, sizeof(message->item.reason), "%s: %s", first, store->error);
	ingest_plain(message->item.reason);
	if (run_command(store, "ROLLBACK TO message") != STORE_DONE)
		return STORE_RETRY;
	return redo_message(store, message);
}

StoreOutcome
store_redo(Store *store, StoreMessage *messages, size_t n, const StoreOffset *offsets, size_t offset_count)
{
	StoreOutcome outcome;
	char		sqlstate[8];
	size_t		others;

	if (!PQenterPipelineMode(store->pg->conn))
		return lost(store, PQerrorMessage(store->pg->conn));
	outcome = run_command(store, "BEGIN");
	for (size_t i = 0; outcome == STORE_DONE && i < n; i++)
		outcome = redo_message(store, &messages[i]);
	if (outcome != STORE_DONE)
		return leave(store, outcome);
	if (!send_command(store, "SAVEPOINT message") || !send_end(store, offsets, offset_count, &others))
		return lost(store, PQerrorMessage(store->pg->conn));
	if (take_all(store, NULL, 0, others, sqlstate) != STORE_DONE)
		return STORE_LOST;
	return leave(store, sqlstate[0] == '\0' ? STORE_DONE : STORE_RETRY);
}
