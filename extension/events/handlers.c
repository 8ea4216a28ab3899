/*
 * handlers.c
 *		Subscriptions of in-database handlers, and moving consumers.
 */
#include "core/core.h"

#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "core/spi.h"
#include "events/position.h"
#include "events/reader.h"
#include "events/topics.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#define NAME_MAX_BYTES 255
#define MAX_ATTEMPTS 1000
#define MAX_TOPICS 1000

PG_FUNCTION_INFO_V1(events_subscribe);
PG_FUNCTION_INFO_V1(events_unsubscribe);
PG_FUNCTION_INFO_V1(events_pause);
PG_FUNCTION_INFO_V1(events_resume);
PG_FUNCTION_INFO_V1(events_seek);
PG_FUNCTION_INFO_V1(events_seek_time);

typedef struct SubscribeRequest
{
	char	   *name;
	Datum		topics;
	char	   *handler;
	int32		max_attempts;
	Oid			role;
	char	   *start;			/* a position */
} SubscribeRequest;

static void
refuse(const char *what)
{
	ereport(ERROR,
			(errcode(BO_BAD_REQUEST),
			 errmsg("invalid subscription"),
			 bo_code("invalid_subscription", "%s", what)));
}

static void
check_topics(ArrayType *topics)
{
	Datum	   *names;
	bool	   *nulls;
	int			count;

	deconstruct_array(topics, TEXTOID, -1, false, TYPALIGN_INT, &names, &nulls, &count);
	if (count < 1 || count > MAX_TOPICS)
		refuse(psprintf("topics names 1 to %d topics", MAX_TOPICS));
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			refuse("topics has a null element");
		(void) topic_lookup(TextDatumGetCString(names[i]));
	}
}

static void
refuse_handler(Oid function, const char *what)
{
	ereport(ERROR,
			(errcode(BO_BAD_REQUEST),
			 errmsg("function %s cannot be a handler", format_procedure(function)),
			 bo_code("invalid_handler", "%s", what),
			 errhint("Write CREATE FUNCTION ...(event events.event) RETURNS void, and let its role execute it.")));
}

static void
check_handler(Oid function, Oid role)
{
	Oid			event_type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("event"),
											 ObjectIdGetDatum(get_namespace_oid("events", false)));
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc proc;

	if (!HeapTupleIsValid(tuple))
		refuse("there is no such handler function");
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	if (proc->prokind != PROKIND_FUNCTION || proc->pronargs != 1 ||
		proc->proargtypes.values[0] != event_type || proc->proretset ||
		(get_typtype(proc->prorettype) == TYPTYPE_PSEUDO && proc->prorettype != VOIDOID))
		refuse_handler(function, "it is not a function that takes one events.event and returns void or one value");
	ReleaseSysCache(tuple);
	if (pg_proc_aclcheck(function, role, ACL_EXECUTE) != ACLCHECK_OK)
		refuse_handler(function, psprintf("role \"%s\" may not execute it", GetUserNameFromId(role, false)));
}

/* Never a superuser: a handler runs unattended, for every organization. */
static void
check_role(Oid role)
{
	if (superuser_arg(role))
		ereport(ERROR,
				(errcode(BO_FORBIDDEN),
				 errmsg("a handler cannot run as a superuser"),
				 bo_code("superuser_handler", "role \"%s\" is one", GetUserNameFromId(role, false)),
				 errhint("Pass another role => ... that may execute the handler.")));
	if (!has_privs_of_role(GetUserId(), role))
		ereport(ERROR,
				(errcode(BO_FORBIDDEN),
				 errmsg("may not subscribe for role \"%s\"", GetUserNameFromId(role, false)),
				 bo_code("subscription_forbidden", "the caller is no member of it"),
				 errhint("Subscribe as that role.")));
}

/* Other texts are left to the input function of events.position. */
static char *
start_of(char *start)
{
	EventPosition latest;

	if (strcmp(start, "earliest") == 0 || strcmp(start, "0:0:0") == 0)
	{
		latest = reader_earliest();
		return position_print(palloc(POSITION_TEXT_MAX), &latest);
	}
	if (strcmp(start, "latest") != 0)
		return start;
	PushActiveSnapshot(GetLatestSnapshot());
	latest = reader_latest();
	PopActiveSnapshot();
	return position_print(palloc(POSITION_TEXT_MAX), &latest);
}

/* The caller; a superuser's handlers run as the service, since they never run as a superuser. */
static Oid
default_role(void)
{
	if (!superuser())
		return GetUserId();
	ereport(NOTICE,
			(errmsg("the handler will run as backoffice_service"),
			 errdetail("A handler never runs as a superuser."),
			 errhint("Grant backoffice_service what the handler needs, or pass another role => ... .")));
	return get_role_oid("backoffice_service", false);
}

static SubscribeRequest
request_of(FunctionCallInfo fcinfo)
{
	SubscribeRequest request = {0};

	if (PG_ARGISNULL(0) || VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(0)) == 0 ||
		VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(0)) > NAME_MAX_BYTES)
		refuse(psprintf("name is a text of 1 to %d bytes", NAME_MAX_BYTES));
	if (PG_ARGISNULL(1))
		refuse("topics is null");
	if (PG_ARGISNULL(2))
		refuse("handler is null");
	if (PG_ARGISNULL(3) || PG_GETARG_INT32(3) < 1 || PG_GETARG_INT32(3) > MAX_ATTEMPTS)
		refuse(psprintf("max_attempts is from 1 to %d", MAX_ATTEMPTS));
	if (PG_ARGISNULL(4))
		refuse("start is null");
	check_topics(PG_GETARG_ARRAYTYPE_P(1));
	request.role = PG_ARGISNULL(5) ? default_role() : PG_GETARG_OID(5);
	check_role(request.role);
	check_handler(PG_GETARG_OID(2), request.role);

	request.name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	request.topics = PG_GETARG_DATUM(1);
	request.handler = format_procedure_qualified(PG_GETARG_OID(2));
	request.max_attempts = PG_GETARG_INT32(3);
	request.start = start_of(text_to_cstring(PG_GETARG_TEXT_PP(4)));
	return request;
}

static void
require_owner(const char *name, const char *role, Oid caller)
{
	Oid			owner = get_role_oid(role, true);

	if ((OidIsValid(owner) && has_privs_of_role(caller, owner)) ||
		has_privs_of_role(caller, get_role_oid("backoffice_admin", false)))
		return;
	ereport(ERROR,
			(errcode(BO_FORBIDDEN),
			 errmsg("may not change subscription \"%s\"", name),
			 bo_code("subscription_forbidden", "it belongs to role \"%s\"", role),
			 errhint("Ask a member of that role, or an administrator.")));
}

static void
insert_subscription(const SubscribeRequest *request, Datum *args)
{
	static BoPlan add_cursor = {
		"INSERT INTO events.cursors (consumer, shard, position) VALUES ($1, 0, $2::text::events.position)", 2, {TEXTOID, TEXTOID}
	};
	static BoPlan add_subscription = {
		"INSERT INTO events.subscriptions (name, handler, role, max_attempts) VALUES ($1, $3, $4, $5)",
		5, {TEXTOID, TEXTARRAYOID, TEXTOID, NAMEOID, INT4OID}
	};
	Datum		cursor[2] = {args[0], CStringGetTextDatum(request->start)};

	bo_spi_run(&add_cursor, cursor, NULL, 0);
	bo_spi_run(&add_subscription, args, NULL, 0);
}

/* False: it was taken away in this moment. */
static bool
change_subscription(const SubscribeRequest *request, Datum *args, Oid caller)
{
	static BoPlan find = {
		"SELECT s.role::text FROM events.registered_consumers r LEFT JOIN events.subscriptions s ON s.name = r.name"
		" WHERE r.name = $1 FOR NO KEY UPDATE OF r", 1, {TEXTOID}
	};
	static BoPlan set_topics = {
		"UPDATE events.registered_consumers SET topics = $2 WHERE name = $1 AND topics IS DISTINCT FROM $2", 2, {TEXTOID, TEXTARRAYOID}
	};
	static BoPlan set_rest = {
		"UPDATE events.subscriptions SET handler = $3, role = $4, max_attempts = $5"
		" WHERE name = $1 AND (handler, role, max_attempts) IS DISTINCT FROM ($3, $4, $5)",
		5, {TEXTOID, TEXTARRAYOID, TEXTOID, NAMEOID, INT4OID}
	};

	if (bo_spi_run(&find, args, NULL, 1) == 0)
		return false;
	if (bo_spi_isnull(0, 1))
		ereport(ERROR,
				(errcode(BO_CONFLICT),
				 errmsg("consumer \"%s\" is a thin worker", request->name),
				 bo_code("not_a_handler", "it reads by leases"),
				 errhint("Choose another name.")));
	require_owner(request->name, bo_spi_text(0, 1), caller);
	bo_spi_run(&set_topics, args, NULL, 0);
	bo_spi_run(&set_rest, args, NULL, 0);
	return true;
}

/* subscribe(name, topics, handler, max_attempts, start, role) */
Datum
events_subscribe(PG_FUNCTION_ARGS)
{
	static BoPlan create = {
		"INSERT INTO events.registered_consumers (name, kind, shard_count, topics) VALUES ($1, 'handler', 1, $2)"
		" ON CONFLICT (name) DO NOTHING", 2, {TEXTOID, TEXTARRAYOID}
	};
	SubscribeRequest request = request_of(fcinfo);
	Oid			caller = GetUserId();
	NameData	role;
	Datum		args[5];
	BoUser		saved;
	bool		done = false;

	namestrcpy(&role, GetUserNameFromId(request.role, false));
	args[0] = CStringGetTextDatum(request.name);
	args[1] = request.topics;
	args[2] = CStringGetTextDatum(request.handler);
	args[3] = NameGetDatum(&role);
	args[4] = Int32GetDatum(request.max_attempts);

	saved = bo_user_kernel();
	bo_spi_begin();
	while (!done)
	{
		CHECK_FOR_INTERRUPTS();
		done = bo_spi_run(&create, args, NULL, 0) == 1;
		if (done)
			insert_subscription(&request, args);
		else
			done = change_subscription(&request, args, caller);
	}
	bo_spi_end();
	bo_user_restore(saved);
	PG_RETURN_VOID();
}

/* Runs a statement on one subscription of the caller's; false: there is none of that name. */
static bool
on_subscription(FunctionCallInfo fcinfo, BoPlan *first, BoPlan *second)
{
	static BoPlan find = {"SELECT role::text FROM events.subscriptions WHERE name = $1", 1, {TEXTOID}};
	Oid			caller = GetUserId();
	Datum		name = PG_GETARG_DATUM(0);
	BoUser		saved = bo_user_kernel();
	bool		found;

	bo_spi_begin();
	found = bo_spi_run(&find, &name, NULL, 1) == 1;
	if (found)
	{
		require_owner(TextDatumGetCString(name), bo_spi_text(0, 1), caller);
		found = bo_spi_run(first, &name, NULL, 0) > 0;
		if (second)
			bo_spi_run(second, &name, NULL, 0);
	}
	bo_spi_end();
	bo_user_restore(saved);
	return found;
}

Datum
events_unsubscribe(PG_FUNCTION_ARGS)
{
	static BoPlan remove = {"DELETE FROM events.registered_consumers WHERE name = $1 AND kind = 'handler'", 1, {TEXTOID}};
	static BoPlan forget = {"DELETE FROM events.parked_events WHERE consumer = $1", 1, {TEXTOID}};

	PG_RETURN_BOOL(on_subscription(fcinfo, &remove, &forget));
}

Datum
events_pause(PG_FUNCTION_ARGS)
{
	static BoPlan pause = {"UPDATE events.subscriptions SET paused = true WHERE name = $1", 1, {TEXTOID}};

	PG_RETURN_BOOL(on_subscription(fcinfo, &pause, NULL));
}

Datum
events_resume(PG_FUNCTION_ARGS)
{
	static BoPlan resume = {"UPDATE events.subscriptions SET paused = false WHERE name = $1", 1, {TEXTOID}};

	PG_RETURN_BOOL(on_subscription(fcinfo, &resume, NULL));
}

/* ---- seek ---- */

static int32
move_consumer(Datum consumer, const EventPosition *position)
{
	static BoPlan lock = {"SELECT 1 FROM events.registered_consumers WHERE name = $1 FOR NO KEY UPDATE", 1, {TEXTOID}};
	/* In the order of advance(): whatever order an UPDATE would come to them in. */
	static BoPlan lock_shards = {"SELECT FROM events.cursors WHERE consumer = $1 ORDER BY shard FOR NO KEY UPDATE", 1, {TEXTOID}};
	static BoPlan move = {
		"UPDATE events.cursors SET position = $2::text::events.position, fence = fence + 1, updated_at = pg_catalog.clock_timestamp()"
		" WHERE consumer = $1", 2, {TEXTOID, TEXTOID}
	};
	char		buffer[POSITION_TEXT_MAX];
	char	   *printed = position_print(buffer, position);
	Datum		args[2] = {consumer, CStringGetTextDatum(printed)};

	if (bo_spi_run(&lock, args, NULL, 1) == 0)
		ereport(ERROR,
				(errcode(BO_NOT_FOUND),
				 errmsg("there is no consumer \"%s\"", TextDatumGetCString(consumer)),
				 bo_code("unknown_consumer", "no thin worker leased under this name, and no handler subscribed"),
				 errhint("events.consumers lists them.")));
	bo_spi_run(&lock_shards, args, NULL, 0);
	return (int32) bo_spi_run(&move, args, NULL, 0);
}

/* seek(consumer text, position events.position) */
Datum
events_seek(PG_FUNCTION_ARGS)
{
	EventPosition position = *PG_GETARG_POSITION_P(1);
	EventPosition latest;
	BoUser		saved;
	int32		moved;

	PushActiveSnapshot(GetLatestSnapshot());
	latest = reader_latest();
	PopActiveSnapshot();
	if (position_compare(&position, &latest) > 0)
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("the position is not in the log yet"),
				 bo_code("position_ahead", "it is behind the latest that is readable"),
				 errhint("events.position() tells the latest.")));
	if (position.tick == 0 && position.seq == 0)
		position = reader_earliest();
	saved = bo_user_kernel();
	bo_spi_begin();
	moved = move_consumer(PG_GETARG_DATUM(0), &position);
	bo_spi_end();
	bo_user_restore(saved);
	PG_RETURN_INT32(moved);
}

/* seek(consumer text, since timestamptz) */
Datum
events_seek_time(PG_FUNCTION_ARGS)
{
	static BoPlan find = {
		"SELECT tick, seq_hi, epoch FROM events.ticks WHERE at < $1 ORDER BY tick DESC LIMIT 1", 1, {TIMESTAMPTZOID}
	};
	EventPosition position = {0};
	EventPosition earliest = reader_earliest();
	Datum		since = PG_GETARG_DATUM(1);
	BoUser		saved = bo_user_kernel();
	int32		moved;

	bo_spi_begin();
	if (bo_spi_run(&find, &since, NULL, 1) == 1)
	{
		position.tick = bo_spi_int64(0, 1);
		position.seq = bo_spi_int64(0, 2);
		position.epoch = (uint32) bo_spi_int32(0, 3);
	}
	/* Some ticks outlive their events. */
	if (position_compare(&position, &earliest) < 0)
		position = earliest;
	moved = move_consumer(PG_GETARG_DATUM(0), &position);
	bo_spi_end();
	bo_user_restore(saved);
	PG_RETURN_INT32(moved);
}
