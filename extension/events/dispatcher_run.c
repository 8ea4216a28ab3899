/*
 * dispatcher_run.c
 *		One event, one handler, one subtransaction.
 *
 * A handler runs as its own role, which is never a superuser, with
 * SECURITY_LOCAL_USERID_CHANGE set, so that it can neither SET ROLE nor reset
 * the session's authorization (the session is a superuser's).  Nothing of it
 * may be left for the commit, where code would run with the session's rights:
 * deferred triggers are fired here, still as the handler's role, and portals
 * (WITH HOLD cursors would run their query at commit) are dropped.  Settings
 * are restored by a GUC nest level of our own.
 *
 * Deferred triggers are fired at the level of the transaction, after the
 * subtransaction: the server can fire them only there without changing how
 * constraints behave for later events.  Should one fail, the transaction is
 * lost and the batch goes one by one, which attributes the error.
 */
#include "events/dispatcher.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/prepare.h"
#include "commands/trigger.h"
#include "core/principal.h"
#include "events/workers.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/regproc.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#define EVENT_COLUMNS 9

volatile sig_atomic_t handler_running = false;

static void
load_function(HandlerCall *call)
{
	MemoryContextReset(call->context);
	fmgr_info_cxt(call->function, &call->finfo, call->context);
}

HandlerCall *
handler_prepare(const Subscription *subscription)
{
	HandlerCall *call = palloc0(sizeof(HandlerCall));
	Oid			userid;
	int			sec_context;

	call->subscription = subscription;
	call->role = get_role_oid(subscription->role, false);
	if (superuser_arg(call->role))
		ereport(ERROR,
				(errcode(BO_FORBIDDEN),
				 errmsg("handler \"%s\" would run as a superuser", subscription->name),
				 bo_code("superuser_handler", "role \"%s\" has become a superuser", subscription->role),
				 errhint("Subscribe again with another role.")));
	/* Only a look into the catalogs, which must not depend on rights to the schema. */
	GetUserIdAndSecContext(&userid, &sec_context);
	SetUserIdAndSecContext(GetSessionUserId(), sec_context);
	call->function = DatumGetObjectId(DirectFunctionCall1(regprocedurein, CStringGetDatum(subscription->handler)));
	SetUserIdAndSecContext(userid, sec_context);
	if (pg_proc_aclcheck(call->function, call->role, ACL_EXECUTE) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(BO_FORBIDDEN),
				 errmsg("role \"%s\" may not execute handler %s", subscription->role, subscription->handler),
				 bo_code("handler_forbidden", "the right to execute it was taken away"),
				 errhint("Grant it again; the dispatcher goes on by itself.")));
	call->context = AllocSetContextCreate(CurrentMemoryContext, "backoffice handler function", ALLOCSET_SMALL_SIZES);
	call->scratch = AllocSetContextCreate(CurrentMemoryContext, "backoffice handler event", ALLOCSET_DEFAULT_SIZES);
	load_function(call);
	return call;
}

/* The events.event of a HandlerEvent. */
static Datum
event_datum(const HandlerEvent *event)
{
	Oid			namespace = get_namespace_oid("events", false);
	Oid			type;
	TupleDesc	desc;
	Datum		values[EVENT_COLUMNS];
	bool		nulls[EVENT_COLUMNS] = {false};
	HeapTuple	tuple;

	type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("event"), ObjectIdGetDatum(namespace));
	desc = lookup_rowtype_tupdesc(type, -1);
	if (desc->natts != EVENT_COLUMNS)
		elog(ERROR, "type events.event is of another version than the library");
	values[0] = PositionPGetDatum(&event->position);
	values[1] = UUIDPGetDatum(&event->id);
	values[2] = UUIDPGetDatum(&event->organization_id);
	nulls[2] = !event->has_organization;
	values[3] = CStringGetTextDatum(event->topic);
	values[4] = event->key ? CStringGetTextDatum(event->key) : (Datum) 0;
	nulls[4] = event->key == NULL;
	values[5] = CStringGetTextDatum(event->type);
	values[6] = JsonbPGetDatum(event->payload);
	values[7] = JsonbPGetDatum(event->headers);
	nulls[7] = event->headers == NULL;
	values[8] = TimestampTzGetDatum(event->occurred_at);
	tuple = heap_form_tuple(desc, values, nulls);
	ReleaseTupleDesc(desc);
	return HeapTupleHeaderGetDatum(tuple->t_data);
}

static void
act_for(const HandlerEvent *event)
{
	Principal	principal;

	principal_clear();
	if (!event->has_organization)
		return;
	MemSet(&principal, 0, sizeof(principal));
	principal.organization_id = event->organization_id;
	principal_set(&principal);
}

/* The handler's own part, as its role; the caller's subtransaction undoes it. */
static void
call_handler(HandlerCall *call, const HandlerEvent *event)
{
	LOCAL_FCINFO(fcinfo, 1);

	(void) set_config_option("search_path", worker_default_search_path, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	PushActiveSnapshot(GetTransactionSnapshot());
	SetCurrentStatementStartTimestamp();
	handler_running = true;
	if (handler_timeout_ms > 0)
		enable_timeout_after(STATEMENT_TIMEOUT, handler_timeout_ms);
	/* A function of language sql returns its void as null: the answer does not matter. */
	InitFunctionCallInfoData(*fcinfo, &call->finfo, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = event_datum(event);
	fcinfo->args[0].isnull = false;
	(void) FunctionCallInvoke(fcinfo);
	disable_timeout(STATEMENT_TIMEOUT, false);
	QueryCancelPending = false;
	handler_running = false;
	PopActiveSnapshot();
}

/* What would otherwise happen at commit, with the session's rights. */
static void
finish_deferred(HandlerCall *call)
{
	handler_running = true;
	if (handler_timeout_ms > 0)
		enable_timeout_after(STATEMENT_TIMEOUT, handler_timeout_ms);
	AfterTriggerFireDeferred();
	disable_timeout(STATEMENT_TIMEOUT, false);
	QueryCancelPending = false;
	handler_running = false;
	PortalHashTableDeleteAll();
}

/* Message, detail and where it was raised, for the row of the parked event. */
static char *
describe_error(const ErrorData *edata, TimestampTz started_at)
{
	bool		timed_out = edata->sqlerrcode == ERRCODE_QUERY_CANCELED && handler_timeout_ms > 0 &&
		TimestampDifferenceExceeds(started_at, GetCurrentTimestamp(), handler_timeout_ms);
	StringInfoData text;

	initStringInfo(&text);
	if (timed_out)
		appendStringInfo(&text, "timed out after %d ms (backoffice.handler_timeout_ms)", handler_timeout_ms);
	else
		appendStringInfo(&text, "%s: %s", unpack_sql_state(edata->sqlerrcode), edata->message);
	if (edata->detail)
		appendStringInfo(&text, " (%s)", edata->detail);
	if (edata->context)
		appendStringInfo(&text, "\n%s", edata->context);
	return text.data;
}

RunResult
handler_run(HandlerCall *call, const HandlerEvent *event, char **error)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile RunResult result = RUN_OK;
	char	   *volatile text = NULL;
	int			guc_level = NewGUCNestLevel();
	Oid			userid;
	int			sec_context;

	GetUserIdAndSecContext(&userid, &sec_context);
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(call->scratch);
	PG_TRY();
	{
		act_for(event);
		SetUserIdAndSecContext(call->role, SECURITY_LOCAL_USERID_CHANGE);
		call_handler(call, event);
		MemoryContextSwitchTo(call->scratch);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		handler_running = false;
		disable_timeout(STATEMENT_TIMEOUT, false);
		MemoryContextSwitchTo(caller);
		edata = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		result = edata->sqlerrcode == ERRCODE_T_R_SERIALIZATION_FAILURE ||
			edata->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED ? RUN_AGAIN : RUN_FAILED;
		text = describe_error(edata, GetCurrentStatementStartTimestamp());
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	CurrentResourceOwner = owner;

	if (result == RUN_OK)
	{
		/* Still as the handler's role; an error here ends the transaction. */
		SetUserIdAndSecContext(call->role, SECURITY_LOCAL_USERID_CHANGE);
		MemoryContextSwitchTo(call->scratch);
		finish_deferred(call);
		MemoryContextSwitchTo(caller);
	}
	else
		load_function(call);
	SetUserIdAndSecContext(userid, sec_context);
	AtEOXact_GUC(false, guc_level);
	principal_clear();
	MemoryContextReset(call->scratch);
	*error = text;
	return result;
}

/* Advisory locks of the session outlive the transaction, even one that failed. */
void
handler_release_locks(void)
{
	LockReleaseSession(USER_LOCKMETHOD);
}

void
handler_clean_session(void)
{
	DropAllPreparedStatements();
	ResetTempTableNamespace();
	handler_release_locks();
}
