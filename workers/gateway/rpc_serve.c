#include "gateway/rpc_serve.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "gateway/openapi.h"
#include "gateway/reply.h"
#include "gateway/rpc_internal.h"
#include "gateway/rpc_openapi.h"
#include "gateway/text.h"
#include "lib/backoff.h"
#include "lib/log.h"
#include "lib/pg.h"

#define MAX_SCHEMAS 16
#define CONNECT_TIMEOUT_S 5
#define RELOAD_MS 60000
/* NOTIFY often comes in bursts, one for each statement of a migration. */
#define DEBOUNCE_MS 100
#define QUERY_TIMEOUT_MS 30000

_Static_assert(RPC_MAX_PARAMS <= STATEMENT_MAX_PARAMS, "a plan's statement fits into the pool's");

/* Requests under way keep the catalogue that they were planned with. */
typedef struct Loaded
{
	RpcCatalogue *catalogue;
	uint64_t	fingerprint;
	int			users;
} Loaded;

struct RpcService
{
	Gateway    *gateway;
	Pg			pg;				/* listens, and loads */
	LoopTimer	timer;
	Backoff		backoff;
	char	   *schema_names;	/* cut into pieces */
	const char *schemas[MAX_SCHEMAS];
	RpcConfig	config;
	char	   *schema_array;	/* the same as an array's text */
	Loaded	   *loaded;			/* NULL: not yet */
};

typedef struct Serving
{
	RpcPlan		plan;
	Loaded	   *loaded;
} Serving;

/* ---- catalogue ---- */

static void
release(Loaded *loaded)
{
	if (loaded == NULL || --loaded->users > 0)
		return;
	rpc_catalogue_free(loaded->catalogue);
	free(loaded);
}

static uint64_t
fingerprint_of(const PGresult *result)
{
	uint64_t	fingerprint = 1;

	for (int i = 0; i < PQntuples(result); i++)
		fingerprint = fingerprint * 1099511628211u + text_hash64(PQgetvalue(result, i, 1), (size_t) PQgetlength(result, i, 1));
	return fingerprint;
}

static void
take_catalogue(RpcService *service, const PGresult *result)
{
	uint64_t	fingerprint = fingerprint_of(result);
	Loaded	   *loaded;
	const char *why;

	if (service->loaded != NULL && service->loaded->fingerprint == fingerprint)
		return;
	loaded = calloc(1, sizeof(*loaded));
	if (loaded == NULL)
		return;
	loaded->catalogue = rpc_catalogue_load(result, &why);
	if (loaded->catalogue == NULL)
	{
		log_error("the catalogue of functions was not understood", F_STR("why", why));
		free(loaded);
		return;
	}
	loaded->fingerprint = fingerprint;
	loaded->users = 1;
	release(service->loaded);
	service->loaded = loaded;
	openapi_set_rpc(rpc_openapi_paths(loaded->catalogue, service->schemas[0]), service->schemas[0]);
	log_info("functions loaded", F_INT("functions", (int64_t) rpc_catalogue_size(loaded->catalogue)));
}

static void
catalogue_came(void *context, PGresult *result)
{
	RpcService *service = context;
	char		sqlstate[6];

	if (result != NULL && pg_good(&service->pg, result, sqlstate))
		take_catalogue(service, result);
	else if (result != NULL)
		log_error("the catalogue of functions could not be read", F_STR("error", service->pg.error));
	PQclear(result);
	if (result != NULL)
		loop_timer_in(&service->gateway->loop, &service->timer, RELOAD_MS);
}

static void
load(RpcService *service)
{
	PgParams	params = {.n = 0};

	pg_text(&params, service->schema_array);
	pg_send(&service->pg, rpc_catalogue_sql, &params, 0, catalogue_came, service);
}

static const PgParams no_params = {.n = 0};

static void
listening(void *context, PGresult *result)
{
	PQclear(result);
	if (result != NULL)
		load(context);
}

static void
begin_listening(void *context, PGresult *result)
{
	RpcService *service = context;

	PQclear(result);
	if (result != NULL)
		pg_send(&service->pg, "LISTEN pgrst", &no_params, 0, listening, service);
}

static void
connected(void *context, bool good)
{
	RpcService *service = context;

	if (good)
	{
		backoff_reset(&service->backoff);
		/* Compiling the catalogue's query takes a hundred times as long as running it. */
		pg_send(&service->pg, "SET jit = off", &no_params, 0, begin_listening, service);
		return;
	}
	log_warn("the catalogue of functions waits for the database", F_STR("error", service->pg.error));
	loop_timer_in(&service->gateway->loop, &service->timer, backoff_next_ms(&service->backoff));
}

/* Connects, or loads again. */
static void
tick(void *context)
{
	RpcService *service = context;

	loop_timer_in(&service->gateway->loop, &service->timer, RELOAD_MS);
	if (service->pg.conn != NULL)
	{
		if (pg_idle(&service->pg))
			load(service);
	}
	else
		pg_start(&service->pg, CONNECT_TIMEOUT_S, connected);
}

static void
notified(void *context)
{
	RpcService *service = context;

	/* The first of several decides: who notifies without a pause does not put it off for ever. */
	if (service->timer.at_ms > service->gateway->loop.clock_ms() + DEBOUNCE_MS)
		loop_timer_in(&service->gateway->loop, &service->timer, DEBOUNCE_MS);
}

static void
lost(void *context)
{
	RpcService *service = context;

	loop_timer_in(&service->gateway->loop, &service->timer, backoff_next_ms(&service->backoff));
}

/* ---- settings ---- */

/* Names between commas. False: none, too many, or an empty one. */
static bool
split_schemas(RpcService *service, const char *text)
{
	RpcArena   *arena = arena_new();
	RpcText		array = text_new(arena);
	char	   *rest = NULL;

	service->schema_names = strdup(text);
	for (char *name = service->schema_names == NULL ? NULL : strtok_r(service->schema_names, ",", &rest); name != NULL;
		 name = strtok_r(NULL, ",", &rest))
	{
		name += strspn(name, " ");
		for (size_t length = strlen(name); length > 0 && name[length - 1] == ' '; length--)
			name[length - 1] = '\0';
		if (*name == '\0' || service->config.schema_count == MAX_SCHEMAS)
		{
			service->config.schema_count = 0;
			break;
		}
		text_add(&array, service->config.schema_count > 0 ? ",\"" : "{\"");
		for (const char *c = name; *c != '\0'; c++)
			text_print(&array, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
		text_add(&array, "\"");
		service->schemas[service->config.schema_count++] = name;
	}
	text_add(&array, "}");
	service->schema_array = strdup(array.at);
	arena_free(arena);
	return service->config.schema_count > 0 && service->schema_array != NULL;
}

static void
free_settings(RpcService *service)
{
	free(service->schema_names);
	free(service->schema_array);
}

bool
rpc_service_check(const Settings *settings, FILE *err)
{
	RpcService	service = {.gateway = NULL};
	bool		good = split_schemas(&service, settings->schemas);

	if (!good)
		fprintf(err, "schemas: \"%s\" is not a list of 1 to %d names\n", settings->schemas, MAX_SCHEMAS);
	if (strchr(settings->pre_request, '"') != NULL)
	{
		fprintf(err, "pre-request: \"%s\" is not the name of a function\n", settings->pre_request);
		good = false;
	}
	free_settings(&service);
	return good;
}

RpcService *
rpc_service_open(Gateway *gateway)
{
	RpcService *service = calloc(1, sizeof(*service));
	const Settings *settings = &gateway->settings;

	if (service == NULL || !split_schemas(service, settings->schemas))
		return NULL;
	service->gateway = gateway;
	service->config.schemas = service->schemas;
	service->config.max_rows = settings->rpc_max_rows;
	service->config.max_depth = (int) settings->max_json_depth;
	service->config.max_answer = settings->max_answer;
	service->config.tx_override = settings->rpc_tx_override;
	service->config.aggregates = settings->rpc_aggregates;
	service->config.pre_request = *settings->pre_request != '\0' ? settings->pre_request : NULL;
	backoff_init(&service->backoff, 100, 10000, (uint64_t) gateway->process + 1);
	pg_init(&service->pg, &gateway->loop, settings->database, "backoffice-gateway functions", QUERY_TIMEOUT_MS);
	service->pg.notified = notified;
	service->pg.lost = lost;
	service->pg.context = service;
	loop_timer_init(&gateway->loop, &service->timer, tick, service);
	tick(service);
	return service;
}

void
rpc_service_close(RpcService *service)
{
	loop_timer_off(&service->timer);
	pg_close(&service->pg);
	release(service->loaded);
	free_settings(service);
	free(service);
}

/* ---- requests ---- */

/* Whether the body is a result's own text. */
static bool
is_body_of(const PGresult *result, const RpcResponse *response)
{
	return PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1 && PQnfields(result) == RPC_COLUMNS &&
		response->body == PQgetvalue(result, 0, RPC_COLUMN_BODY);
}

/* Frees the result (or NULL), when nothing of it is needed any more. */
static void
send_response(Request *request, const RpcResponse *response, PGresult *result)
{
	const char *type = NULL;

	for (size_t i = 0; i < response->header_count; i++)
		if (strcasecmp(response->headers[i].name, "content-type") == 0)
			type = response->headers[i].value;
		else
			reply_header(request, response->headers[i].name, response->headers[i].value);
	request->reply.code = response->code == NULL ? NULL : request_copy(request, response->code, strlen(response->code));
	request->reply.reason = response->reason == NULL ? NULL : request_copy(request, response->reason, strlen(response->reason));
	request->reply.no_length = request->method == METHOD_HEAD;
	/* Without a type there is no body. */
	if (type != NULL && request->method != METHOD_HEAD && is_body_of(result, response))
	{
		reply_result(request, response->status, type, result, response->body, response->body_length);
		return;
	}
	reply_text(request, response->status, type, response->body, request->method == METHOD_HEAD ? 0 : response->body_length);
	PQclear(result);
}

static void
unavailable(Request *request, RpcArena *arena, const char *code, const char *message)
{
	RpcResponse response;

	rpc_problem_response(arena, &(RpcProblem) {.status = 503, .code = code, .message = message}, &response);
	reply_header(request, "Retry-After", "1");
	send_response(request, &response, NULL);
}

static void
free_serving(void *state)
{
	Serving    *serving = state;

	release(serving->loaded);
	rpc_plan_free(&serving->plan);
	free(serving);
}

static void
answered(Request *request, CallOutcome outcome, PGresult *result)
{
	Serving    *serving = request->state;
	/* A token whose user may not act for the organization asked for was accepted all the same. */
	bool		authenticated = request->principal[0] != '\0' ? strncmp(request->principal, "anon", 4) != 0 : request->token != NULL;
	/* Nobody acts: begin_request() failed. What a function says of another token is its own error. */
	RpcOutcome	told = {.authenticated = authenticated, .token = request->principal[0] == '\0' ? request->token : NULL};
	RpcResponse response;

	switch (outcome)
	{
		case CALL_DONE:
		case CALL_FAILED:
			told.main = outcome == CALL_DONE ? result : NULL;
			told.error = outcome == CALL_FAILED ? result : NULL;
			rpc_answer(&serving->plan, &told, &response);
			send_response(request, &response, result);
			return;
		case CALL_SHED:
			unavailable(request, serving->plan.arena, "PGRST003", "Timed out acquiring connection from connection pool.");
			break;
		case CALL_DOWN:
			unavailable(request, serving->plan.arena, "PGRST000", "Database connection error.");
			break;
		case CALL_LOST:
			unavailable(request, serving->plan.arena, "PGRST001", "Database client error. Retrying the connection.");
			break;
	}
	PQclear(result);
}

/* In the request's memory. NULL: there is none left. */
static Statement *
statement_of(Request *request, const RpcStatement *from)
{
	Statement  *statement = request_alloc(request, sizeof(Statement));

	if (statement == NULL)
		return NULL;
	memset(statement, 0, sizeof(*statement));
	statement->sql = from->sql;
	statement->one_off = from->one_off;
	statement->n = from->param_count;
	for (int i = 0; i < from->param_count; i++)
	{
		statement->values[i] = from->values[i];
		statement->lengths[i] = from->lengths[i];
		statement->formats[i] = from->formats[i];
	}
	return statement;
}

static void
run(Request *request, Serving *serving)
{
	static const RpcStatement nothing = {.sql = "SELECT"};
	const RpcPlan *plan = &serving->plan;
	Statement  *before = plan->settings.sql != NULL ? statement_of(request, &plan->settings) : NULL;
	Statement  *main_statement = statement_of(request, plan->main.sql != NULL ? &plan->main : &nothing);

	if (main_statement == NULL || (before == NULL && plan->settings.sql != NULL))
		unavailable(request, plan->arena, "PGRST000", "The server is out of memory.");
	else
	{
		main_statement->callee = plan->callee;
		request_call(request, before, main_statement, plan->read_only, plan->endings[0] != NULL, answered);
	}
}

/* "Authorization: Bearer" and nothing else is an error, not nobody. */
static bool
empty_token(Request *request, RpcArena *arena)
{
	const char *authorization = request_header(request, "authorization");
	RpcProblem	problem;
	RpcResponse response;

	if (authorization == NULL || request->token != NULL || strncasecmp(authorization, "bearer", 6) != 0 ||
		authorization[6 + strspn(authorization + 6, " ")] != '\0')
		return false;
	rpc_token_problem(arena, "token_malformed", "", NULL, &problem);
	rpc_problem_response(arena, &problem, &response);
	send_response(request, &response, NULL);
	return true;
}

void
rpc_serve(Request *request)
{
	RpcService *service = request->gateway->rpc;
	Serving    *serving = calloc(1, sizeof(*serving));
	RpcRequest	asked = {.method = request->method_text, .function = request->params[0], .query = request->query,
		.body = request->body, .body_length = request->body_len};
	RpcHeader  *headers;

	if (serving == NULL || service->loaded == NULL)
	{
		RpcArena   *arena = arena_new();

		unavailable(request, arena, "PGRST002", "Could not query the database for the schema cache. Retrying.");
		arena_free(arena);
		free(serving);
		return;
	}
	headers = request_alloc(request, sizeof(RpcHeader) * REQUEST_MAX_HEADERS);
	for (int i = 0; headers != NULL && i < request->header_count; i++)
		headers[i] = (RpcHeader) {request->headers[i].name, request->headers[i].value};
	asked.headers = headers;
	asked.header_count = headers != NULL ? (size_t) request->header_count : 0;
	serving->loaded = service->loaded;
	serving->loaded->users++;
	request->state = serving;
	request->free_state = free_serving;
	rpc_plan(&service->config, service->loaded->catalogue, &asked, &serving->plan);
	if (empty_token(request, serving->plan.arena))
		return;
	/* A token is looked at even if nothing else is. */
	if (serving->plan.main.sql != NULL || request->token != NULL)
		run(request, serving);
	else
	{
		RpcResponse response;

		rpc_answer(&serving->plan, &(RpcOutcome) {.authenticated = false}, &response);
		send_response(request, &response, NULL);
	}
}
