#include "gateway/problem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/bound.h"
#include "gateway/reply.h"
#include "gateway/text.h"

typedef struct StateRow
{
	const char *prefix;			/* a whole SQLSTATE, or its class */
	int			status;
	const char *code;
} StateRow;

/* The table of PostgREST's mapSQLtoHTTP; whole states before their classes. */
static const StateRow states[] = {
	{"23503", 409, "foreign_key_violation"},
	{"23505", 409, "unique_violation"},
	{"25006", 405, "read_only_transaction"},
	{"21000", 500, "cardinality_violation"},
	{"22023", 400, "invalid_parameter_value"},
	{"42883", 404, "undefined_function"},
	{"42P01", 404, "undefined_table"},
	{"42P17", 500, "invalid_object_definition"},
	{"42501", 403, "insufficient_privilege"},
	{"53400", 500, "configuration_limit_exceeded"},
	{"57P01", 503, "database_shutting_down"},
	{"57014", 500, "query_canceled"},
	{"40001", 500, "serialization_failure"},
	{"40P01", 500, "deadlock_detected"},
	{"55P03", 500, "lock_not_available"},
	{"23502", 400, "not_null_violation"},
	{"23514", 400, "check_violation"},
	{"22P02", 400, "invalid_text_representation"},
	{"P0001", 400, "raised_exception"},
	{"08", 503, "connection_exception"},
	{"09", 500, "triggered_action_exception"},
	{"0L", 403, "invalid_grantor"},
	{"0P", 403, "invalid_role"},
	{"28", 403, "invalid_authorization"},
	{"25", 500, "invalid_transaction_state"},
	{"2D", 500, "invalid_transaction_termination"},
	{"38", 500, "external_routine_exception"},
	{"39", 500, "external_routine_invocation_exception"},
	{"3B", 500, "savepoint_exception"},
	{"40", 500, "transaction_rollback"},
	{"53", 503, "insufficient_resources"},
	{"54", 500, "program_limit_exceeded"},
	{"55", 500, "object_not_in_prerequisite_state"},
	{"57", 500, "operator_intervention"},
	{"58", 500, "system_error"},
	{"F0", 500, "config_file_error"},
	{"HV", 500, "foreign_data_wrapper_error"},
	{"P0", 500, "plpgsql_error"},
	{"XX", 500, "internal_error"},
	{"22", 400, "data_exception"},
	{"23", 400, "integrity_constraint_violation"},
};

typedef struct Title
{
	int			status;
	const char *title;
	const char *code;			/* of an error without any other */
} Title;

static const Title titles[] = {
	{400, "Bad Request", "bad_request"},
	{401, "Unauthorized", "unauthorized"},
	{402, "Payment Required", "payment_required"},
	{403, "Forbidden", "forbidden"},
	{404, "Not Found", "not_found"},
	{405, "Method Not Allowed", "method_not_allowed"},
	{406, "Not Acceptable", "not_acceptable"},
	{408, "Request Timeout", "request_timeout"},
	{409, "Conflict", "conflict"},
	{410, "Gone", "gone"},
	{412, "Precondition Failed", "precondition_failed"},
	{413, "Content Too Large", "body_too_large"},
	{414, "URI Too Long", "target_too_long"},
	{415, "Unsupported Media Type", "unsupported_media_type"},
	{417, "Expectation Failed", "expectation_failed"},
	{422, "Unprocessable Content", "unprocessable"},
	{423, "Locked", "locked"},
	{426, "Upgrade Required", "upgrade_required"},
	{428, "Precondition Required", "precondition_required"},
	{429, "Too Many Requests", "too_many_requests"},
	{431, "Request Header Fields Too Large", "headers_too_large"},
	{500, "Internal Server Error", "internal_error"},
	{501, "Not Implemented", "not_implemented"},
	{502, "Bad Gateway", "bad_gateway"},
	{503, "Service Unavailable", "unavailable"},
	{504, "Gateway Timeout", "gateway_timeout"},
	{505, "HTTP Version Not Supported", "version_not_supported"},
};

static const Title *
find_title(int status)
{
	for (size_t i = 0; i < sizeof(titles) / sizeof(titles[0]); i++)
		if (titles[i].status == status)
			return &titles[i];
	return NULL;
}

static const char *
problem_title(int status)
{
	const Title *title = find_title(status);

	return title != NULL ? title->title : "Error";
}

static const StateRow *
find_state(const char *sqlstate)
{
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		if (strncmp(sqlstate, states[i].prefix, strlen(states[i].prefix)) == 0)
			return &states[i];
	return NULL;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

int
problem_status(const char *sqlstate, const char *message, bool authenticated)
{
	const StateRow *row;

	if (strncmp(sqlstate, "PT", 2) == 0)
	{
		int			status = is_digit(sqlstate[2]) && is_digit(sqlstate[3]) && is_digit(sqlstate[4]) ? atoi(sqlstate + 2) : 500;

		/* libmicrohttpd, like HTTP, knows three digits from 100; an error is never an interim answer. */
		return status >= 200 && status <= 599 ? status : 500;
	}
	if (strcmp(sqlstate, "42501") == 0)
		return authenticated ? 403 : 401;
	if (strcmp(sqlstate, "42883") == 0 && message != NULL && strncmp(message, "function xmlagg(", 16) == 0)
		return 406;
	if (strcmp(sqlstate, "21000") == 0 && message != NULL && strstr(message, "requires a WHERE clause") != NULL)
		return 400;
	if (strcmp(sqlstate, "22023") == 0 && message != NULL && strncmp(message, "role", 4) == 0 && strstr(message, "does not exist") != NULL)
		return 401;
	row = find_state(sqlstate);
	return row != NULL ? row->status : 400;
}

const char *
problem_code(const char *sqlstate)
{
	const StateRow *row = find_state(sqlstate);
	const Title *title = strncmp(sqlstate, "PT", 2) == 0 ? find_title(atoi(sqlstate + 2)) : NULL;

	return title != NULL ? title->code : row != NULL ? row->code : "database_error";
}

static bool
is_symbol(const char *text)
{
	if (text == NULL || !(*text >= 'a' && *text <= 'z'))
		return false;
	for (; *text != '\0'; text++)
		if (!((*text >= 'a' && *text <= 'z') || is_digit(*text) || *text == '_'))
			return false;
	return true;
}

const char *
problem_detail(const char *detail, const char *code)
{
	size_t		len = strlen(code);

	return detail != NULL && strncmp(detail, code, len) == 0 && strncmp(detail + len, ": ", 2) == 0 ? detail + len + 2 : detail;
}

void
problem_parts(const PGresult *result, bool authenticated, ErrorParts *parts)
{
	const char *constraint = PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME);

	parts->sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	parts->message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	parts->detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
	parts->hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
	/* What libpq itself complains of has no fields. */
	if (parts->sqlstate == NULL)
		parts->sqlstate = "XX000";
	if (parts->message == NULL)
		parts->message = "the database gave no answer";
	if (bound_exceeded(parts->sqlstate, parts->message))
	{
		*parts = (ErrorParts) {.sqlstate = parts->sqlstate, .message = BOUND_MESSAGE, .hint = BOUND_HINT, .code = BOUND_CODE,
			.status = BOUND_STATUS};
		return;
	}
	parts->status = problem_status(parts->sqlstate, parts->message, authenticated);
	/* Class 23 names a real constraint: its code is the SQLSTATE's. */
	parts->code = is_symbol(constraint) && strncmp(parts->sqlstate, "23", 2) != 0 ? constraint : problem_code(parts->sqlstate);
	parts->detail = problem_detail(parts->detail, parts->code);
}

static char *
put_member(char *at, const char *name, const char *value)
{
	if (value == NULL)
		return at;
	*at++ = ',';
	at = text_json_string(at, name, strlen(name));
	*at++ = ':';
	return text_json_string(at, value, strlen(value));
}

void
problem_body(Request *request, int status, const char *code, const char *message, const char *detail, const char *hint)
{
	const char *title = problem_title(status);
	size_t		size = 400 + 6 * (strlen(title) + strlen(code) + (message != NULL ? strlen(message) : 0) +
								  (detail != NULL ? strlen(detail) : 0) + (hint != NULL ? strlen(hint) : 0) + strlen(request->id));
	char	   *body = request_alloc(request, size);
	char	   *at = body;

	if (body == NULL)
	{
		reply_static(request, 500, NULL, NULL, 0);
		return;
	}
	at += sprintf(at, "{\"type\":\"about:blank\"");
	at = put_member(at, "title", title);
	at += sprintf(at, ",\"status\":%d", status);
	at = put_member(at, "code", code);
	/* detail is what went wrong here; the database's own DETAIL, where there is one, follows it. */
	at = put_member(at, "detail", message);
	at = put_member(at, "explanation", detail);
	at = put_member(at, "hint", hint);
	at = put_member(at, "request_id", request->id);
	*at++ = '}';
	request->reply.code = request_copy(request, code, strlen(code));
	if (status == 401 && !reply_has_header(request, "WWW-Authenticate"))
		reply_header(request, "WWW-Authenticate", "Bearer");
	reply_header(request, "Cache-Control", "no-store");
	reply_text(request, status, TYPE_PROBLEM, body, (size_t) (at - body));
}

void
problem_reply(Request *request, int status, const char *code, const char *detail, const char *hint)
{
	problem_body(request, status, code, detail, NULL, hint);
}

void
problem_reply_arguments(Request *request, const Complaint *complaint)
{
	int			status = strcmp(complaint->code, "unsupported_media_type") == 0 ? 415 : 400;

	problem_reply(request, status, complaint->code, complaint->text, complaint->hint);
}

/* It was --request-ms that stopped the statement. Told by what no language of messages changes, and by the time it took. */
static bool
is_deadline(const Request *request, const PGresult *result, const ErrorParts *parts)
{
	const char *function = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);

	return strcmp(parts->sqlstate, "57014") == 0 && function != NULL && strcmp(function, "ProcessInterrupts") == 0 &&
		gateway_monotonic_us() - request->started_us >= request->gateway->settings.request_ms * 1000;
}

void
problem_outcome(Request *request, CallOutcome outcome, PGresult *result)
{
	ErrorParts	parts;

	switch (outcome)
	{
		case CALL_SHED:
			reply_header(request, "Retry-After", "1");
			problem_reply(request, 503, "overloaded", "too many requests are waiting for the database", "Try again after a moment.");
			break;
		case CALL_DOWN:
			reply_header(request, "Retry-After", "2");
			problem_reply(request, 503, "database_unavailable", "there is no connection to the database", "Try again after a moment.");
			break;
		case CALL_LOST:
			reply_header(request, "Retry-After", "2");
			problem_reply(request, 503, "database_connection_lost",
						  "the connection to the database broke while this request was in it: it may or may not have been done",
						  "Repeat it with the same Idempotency-Key.");
			break;
		case CALL_DONE:
		case CALL_FAILED:
			/* A token that is no good raises PT401: whatever else it says, it says of somebody who is known. */
			problem_parts(result, request->token != NULL, &parts);
			if (is_deadline(request, result, &parts))
				parts = (ErrorParts) {.status = 504, .code = "deadline_exceeded", .message = "the database took longer for this than it may; nothing was changed",
					.hint = "Ask for less, or try again later with the same Idempotency-Key."};
			if (parts.status == 503)
				reply_header(request, "Retry-After", "2");
			problem_body(request, parts.status, parts.code, parts.message, parts.detail, parts.hint);
			break;
	}
	PQclear(result);
}
