/*
 * guard.c
 *		Statements that concern the log or its workers as a whole.
 *
 * - Dropping or truncating a partition of the log that has events is refused, by
 *   whatever way it comes (DROP EXTENSION, DROP SCHEMA ... CASCADE, DROP OWNED):
 *   the hook sits where the object is dropped.
 * - DROP DATABASE, CREATE DATABASE ... TEMPLATE and ALTER DATABASE ... RENAME or
 *   SET TABLESPACE need the database without connections: the workers leave
 *   first, and stay away until the statement is over, however it ends.
 * - Creating or dropping the extension: workers come and go at commit.
 * - COMMIT PREPARED: the transaction may have emitted in another backend.
 */
#include "events/internal.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "events/slots.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/procarray.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#define EVICT_POLL_MS	10
#define EVICT_ASK_MS	1000	/* then they are told */
#define EVICT_MAX_MS	15000

bool		guard_lets_pass = false;

static bool allow_drop = false;
static ProcessUtility_hook_type prev_utility;
static object_access_hook_type prev_access;

/* The extension comes or goes in this transaction: our slot is held until it ends. */
static DatabaseSlot *held;

/* ---- a log with events is not dropped ---- */

static bool
is_log_leaf(Oid relid)
{
	Oid			namespace = get_namespace_oid("events", true);
	char	   *name;

	if (!OidIsValid(namespace) || get_rel_namespace(relid) != namespace || get_rel_relkind(relid) != RELKIND_RELATION)
		return false;
	name = get_rel_name(relid);
	return name != NULL && strncmp(name, "log_", 4) == 0 && strspn(name + 4, "0123456789") == strlen(name + 4);
}

static void
refuse_if_not_empty(Oid relid)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	Relation	leaf = table_open(relid, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(leaf, NULL);
	TableScanDesc scan = table_beginscan(leaf, snapshot, 0, NULL);
	bool		found = table_scan_getnextslot(scan, ForwardScanDirection, slot);

	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	if (found)
		ereport(ERROR,
				(errcode(BO_CONFLICT),
				 errmsg("the event log is not empty"),
				 bo_code("log_not_empty", "partition events.%s has events", RelationGetRelationName(leaf)),
				 errhint("If they may be lost for good: SET backoffice.allow_drop = on, and try again.")));
	table_close(leaf, NoLock);
}

static void
hold_slot(void)
{
	if (held == NULL)
		held = slot_keep_out(MyDatabaseId);
}

static void
on_object_access(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void *arg)
{
	if (prev_access)
		prev_access(access, class_id, object_id, sub_id, arg);

	if (class_id == RelationRelationId && sub_id == 0 && (access == OAT_DROP || access == OAT_TRUNCATE))
	{
		if (!allow_drop && !guard_lets_pass && is_log_leaf(object_id))
			refuse_if_not_empty(object_id);
	}
	else if (class_id == ExtensionRelationId && access == OAT_DROP)
	{
		char	   *name = get_extension_name(object_id);

		if (name != NULL && strcmp(name, "backoffice") == 0)
			hold_slot();
	}
	else if (class_id == ExtensionRelationId && access == OAT_POST_CREATE)
	{
		/* Its name cannot be seen yet. Where our workers run, it is another one. */
		DatabaseSlot *slot = slot_find(MyDatabaseId);

		if (slot == NULL || pg_atomic_read_u32(&slot->state) != SLOT_PRESENT)
			hold_slot();
	}
}

static void
at_xact_end(XactEvent event, void *arg)
{
	DatabaseSlot *slot = held;

	if (slot == NULL ||
		(event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE))
		return;
	held = NULL;
	slot_let_in(slot);
}

/* ---- statements that need a database without workers ---- */

static bool
is_template(Oid database)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	bool		answer = HeapTupleIsValid(tuple) && ((Form_pg_database) GETSTRUCT(tuple))->datistemplate;

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return answer;
}

/* The database such a statement is about, if this user may do that to it. */
static Oid
database_to_free(Node *statement)
{
	const char *name = NULL;
	Oid			database;

	switch (nodeTag(statement))
	{
		case T_DropdbStmt:
			name = ((DropdbStmt *) statement)->dbname;
			break;
		case T_CreatedbStmt:
			{
				ListCell   *lc;

				name = "template1";
				foreach(lc, ((CreatedbStmt *) statement)->options)
				{
					DefElem    *option = lfirst(lc);

					if (strcmp(option->defname, "template") == 0 && option->arg != NULL)
						name = defGetString(option);
				}
				if (!superuser() && !have_createdb_privilege())
					return InvalidOid;
				database = get_database_oid(name, true);
				/* Another's is copied only where it is marked as a template. */
				if (!OidIsValid(database) || (!pg_database_ownercheck(database, GetUserId()) && !is_template(database)))
					return InvalidOid;
				return database;
			}
		case T_AlterDatabaseStmt:
			{
				ListCell   *lc;

				foreach(lc, ((AlterDatabaseStmt *) statement)->options)
				{
					if (strcmp(((DefElem *) lfirst(lc))->defname, "tablespace") == 0)
						name = ((AlterDatabaseStmt *) statement)->dbname;
				}
				break;
			}
		case T_RenameStmt:
			if (((RenameStmt *) statement)->renameType == OBJECT_DATABASE)
				name = ((RenameStmt *) statement)->subname;
			break;
		default:
			break;
	}
	if (name == NULL)
		return InvalidOid;
	database = get_database_oid(name, true);
	if (!OidIsValid(database) || !pg_database_ownercheck(database, GetUserId()))
		return InvalidOid;
	return database;
}

static void
tell_to_leave(DatabaseSlot *slot)
{
	for (int kind = 0; kind < WORKER_KINDS; kind++)
	{
		int			pid = (int) pg_atomic_read_u32(&slot->pid[kind]);

		if (pid != 0 && BackendPidGetProc(pid) != NULL)
			kill(pid, SIGTERM);
	}
}

static void
wait_until_empty(DatabaseSlot *slot)
{
	for (int waited = 0; !slot_is_empty(slot) && waited < EVICT_MAX_MS; waited += EVICT_POLL_MS)
	{
		if (waited == EVICT_ASK_MS)
			tell_to_leave(slot);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, EVICT_POLL_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

static void
let_in_again(int code, Datum arg)
{
	slot_let_in((DatabaseSlot *) DatumGetPointer(arg));
}

static void
next_utility(PlannedStmt *statement, const char *query, bool read_only_tree, ProcessUtilityContext context,
			 ParamListInfo params, QueryEnvironment *environment, DestReceiver *destination, QueryCompletion *completion)
{
	if (prev_utility)
		prev_utility(statement, query, read_only_tree, context, params, environment, destination, completion);
	else
		standard_ProcessUtility(statement, query, read_only_tree, context, params, environment, destination, completion);
}

/* The ticker has to look whether the prepared transaction emitted. */
static void
look_for_events(void)
{
	DatabaseSlot *slot = slot_find(MyDatabaseId);
	uint32		clean = 0;

	if (slot == NULL)
		return;
	(void) pg_atomic_compare_exchange_u32(&slot->dirty, &clean, DIRTY_MAYBE);
	slot_wake(slot, WORKER_TICKER);
}

/*
 * DROP of the extension, or of the schema it hangs on: the workers hold locks for
 * moments only, but in an order of their own, and would end up in a deadlock.
 */
static void
leave_for_drop(Node *node)
{
	DropStmt   *statement = (DropStmt *) node;
	ListCell   *lc;

	if (!IsA(node, DropStmt) ||
		(statement->removeType != OBJECT_EXTENSION && statement->removeType != OBJECT_SCHEMA))
		return;
	foreach(lc, statement->objects)
	{
		Oid			extension = get_extension_oid("backoffice", true);

		if (strcmp(strVal(lfirst(lc)), "backoffice") != 0 || !OidIsValid(extension) ||
			!pg_extension_ownercheck(extension, GetUserId()))
			continue;
		hold_slot();
		if (held != NULL)
			wait_until_empty(held);
	}
}

static void
on_utility(PlannedStmt *planned, const char *query, bool read_only_tree, ProcessUtilityContext context,
		   ParamListInfo params, QueryEnvironment *environment, DestReceiver *destination, QueryCompletion *completion)
{
	Node	   *statement = planned->utilityStmt;
	Oid			database = database_to_free(statement);
	DatabaseSlot *slot = OidIsValid(database) ? slot_keep_out(database) : NULL;
	bool		second_phase = IsA(statement, TransactionStmt) &&
		((TransactionStmt *) statement)->kind == TRANS_STMT_COMMIT_PREPARED;

	if (slot != NULL)
	{
		PG_ENSURE_ERROR_CLEANUP(let_in_again, PointerGetDatum(slot));
		{
			wait_until_empty(slot);
			next_utility(planned, query, read_only_tree, context, params, environment, destination, completion);
		}
		PG_END_ENSURE_ERROR_CLEANUP(let_in_again, PointerGetDatum(slot));
		slot_let_in(slot);
		return;
	}

	leave_for_drop(statement);
	next_utility(planned, query, read_only_tree, context, params, environment, destination, completion);
	if (second_phase)
		look_for_events();
}

void
guard_init(void)
{
	DefineCustomBoolVariable("backoffice.allow_drop",
							 "Lets the event log be dropped although it has events.",
							 NULL,
							 &allow_drop, false, PGC_SUSET, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	prev_utility = ProcessUtility_hook;
	ProcessUtility_hook = on_utility;
	prev_access = object_access_hook;
	object_access_hook = on_object_access;
	RegisterXactCallback(at_xact_end, NULL);
}
