/*
 * emit.c
 *		events.emit(): one row in the log, in the caller's transaction.
 *
 * Two orders matter to the reader (see reader.c): the transaction id is taken
 * before the sequence number, and the sequence has no cache.  Nothing here
 * depends on what happens later in the transaction: savepoints, two-phase
 * commit and crashes are the server's business, as for any other row.
 */
#include "events/events.h"

#include "access/parallel.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "core/principal.h"
#include "core/spi.h"
#include "core/storage.h"
#include "events/internal.h"
#include "events/json_text.h"
#include "events/slots.h"
#include "events/topics.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/wait_event.h"
#include "utils/xid8.h"

PG_FUNCTION_INFO_V1(events_emit_sql);

#define LEAF_WAIT_MS	10000	/* for the keeper to make a leaf */
#define LEAF_POLL_MS	10
#define LEAF_ATTEMPTS	5

static int	max_event_bytes = 1024 * 1024;

/* Only its address counts. */
const pg_uuid_t events_of_nobody = {{0}};

/* The database whose ticker is to be woken when this transaction commits. */
static DatabaseSlot *emitted_to;

typedef struct NewEvent
{
	const Topic *topic;
	text	   *key;
	text	   *type;
	Jsonb	   *payload;
	Jsonb	   *headers;
	const pg_uuid_t *organization;	/* NULL: of no organization */
	pg_uuid_t	id;
} NewEvent;

/* ---- may this transaction emit? ---- */

static void
check_transaction(void)
{
	if (IsInParallelMode())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_STATE),
				 errmsg("cannot emit an event during a parallel operation"),
				 bo_code("parallel_emit", "a function that emits is marked PARALLEL SAFE"),
				 errhint("Mark it PARALLEL UNSAFE.")));
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(BO_READ_ONLY),
				 errmsg("cannot emit an event on a standby"),
				 bo_code("standby", "the server is in recovery"),
				 errhint("Emit on the primary; events can be read here.")));
	if (XactReadOnly)
		ereport(ERROR,
				(errcode(BO_READ_ONLY),
				 errmsg("cannot emit an event in a read-only transaction"),
				 bo_code("read_only_transaction", "the transaction was started READ ONLY"),
				 errhint("Start it READ WRITE.")));
	if (InSecurityRestrictedOperation())
		ereport(ERROR,
				(errcode(BO_FORBIDDEN),
				 errmsg("cannot emit an event within a security-restricted operation"),
				 bo_code("restricted_operation", "an index expression, a materialized view or ANALYZE calls a function that emits"),
				 errhint("Emit from a trigger or a function that is called directly.")));
}

void
events_check_size(Jsonb *payload, Jsonb *headers)
{
	int64		bytes = (int64) VARSIZE_ANY(payload) + json_text_excess(payload);

	if (headers != NULL)
		bytes += (int64) VARSIZE_ANY(headers) + json_text_excess(headers);
	if (bytes > max_event_bytes)
		ereport(ERROR,
				(errcode(BO_TOO_LARGE),
				 errmsg("event of %lld bytes is too large", (long long) bytes),
				 bo_code("event_too_large", "backoffice.max_event_bytes is %d", max_event_bytes),
				 errhint("Store large content elsewhere and put a reference into the event.")));
}

static void
check_sizes(const NewEvent *event)
{
	if (VARSIZE_ANY_EXHDR(event->type) == 0 || VARSIZE_ANY_EXHDR(event->type) > EVENT_TYPE_MAX)
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("an event type has 1 to %d bytes", EVENT_TYPE_MAX),
				 bo_code("bad_event_type", "it has %d", (int) VARSIZE_ANY_EXHDR(event->type)),
				 errhint("Name the type like \"certificate.issued\".")));
	if (event->key != NULL && VARSIZE_ANY_EXHDR(event->key) > EVENT_KEY_MAX)
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("an event key has at most %d bytes", EVENT_KEY_MAX),
				 bo_code("key_too_long", "it has %d", (int) VARSIZE_ANY_EXHDR(event->key)),
				 errhint("Use the id of the entity as the key.")));
	events_check_size(event->payload, event->headers);
	if (event->headers != NULL && !JB_ROOT_IS_OBJECT(event->headers))
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("headers of an event must be a JSON object"),
				 bo_code("bad_headers", "they are another kind of JSON value"),
				 errhint("Pass an object of strings, or NULL.")));
}

static bool
speaks_for_system(void)
{
	return superuser() ||
		has_privs_of_role(GetUserId(), get_role_oid("backoffice_admin", false)) ||
		has_privs_of_role(GetUserId(), get_role_oid("backoffice_kernel", false));
}

/* The principal's organization; NULL where the system itself speaks, or a context of somebody who belongs nowhere. */
static const pg_uuid_t *
acting_organization(void)
{
	const Principal *principal = principal_get();

	if (principal != NULL && !principal->without_organization)
		return &principal->organization_id;
	if (!speaks_for_system())
		(void) principal_require();
	return NULL;
}

void
events_require_organization(void)
{
	const Principal *principal = principal_get();

	if (principal != NULL && principal->without_organization && !speaks_for_system())
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("the organization of the event is not known"),
				 bo_code("organization_required", "who acts belongs to no organization, or did not say for which"),
				 errhint("Pass the organization to access.authenticate().")));
}

/* ---- writing ---- */

/* The leaf of a sequence number is not there: the keeper is behind, or was never started. */
static bool
wait_for_leaf(int64 leaf)
{
	DatabaseSlot *slot = slot_mine();

	for (int waited = 0; waited < LEAF_WAIT_MS; waited += LEAF_POLL_MS)
	{
		if (slot != NULL)
			slot_wake(slot, WORKER_KEEPER);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 LEAF_POLL_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		AcceptInvalidationMessages();
		if (OidIsValid(leaf_find(&log_leaves, leaf)))
			return true;
	}
	return false;
}

/* A sequence number and the leaf for it, opened. */
static Relation
take_number(int64 *seq)
{
	for (int attempt = 0; attempt < LEAF_ATTEMPTS; attempt++)
	{
		int64		number;
		Relation	leaf;

		*seq = nextval_internal(log_sequence(), false);
		number = LEAF_OF(*seq, LOG_LEAF_BITS);
		leaf = leaf_open(&log_leaves, number, RowExclusiveLock);
		if (leaf == NULL && wait_for_leaf(number))
			leaf = leaf_open(&log_leaves, number, RowExclusiveLock);
		if (leaf != NULL)
			return leaf;
	}
	ereport(ERROR,
			(errcode(BO_UNAVAILABLE),
			 errmsg("the event log has no partition for event %lld", (long long) *seq),
			 bo_code("log_partition_missing", "the keeper of this database has not made it in time"),
			 errhint("Look into the server log for \"backoffice keeper\", and whether max_worker_processes is large enough.")));
}

static void
form_row(const NewEvent *event, Datum *values, bool *nulls)
{
	memset(nulls, false, LOG_COLUMNS * sizeof(bool));
	values[LOG_ERA - 1] = Int64GetDatum(log_era());
	/* Before the sequence number: the reader's bounds rest on this order. */
	values[LOG_XID - 1] = FullTransactionIdGetDatum(GetTopFullTransactionId());
	values[LOG_OCCURRED_AT - 1] = TimestampTzGetDatum(bo_now());
	values[LOG_TOPIC_ID - 1] = Int32GetDatum(event->topic->id);
	values[LOG_ID - 1] = UUIDPGetDatum(&event->id);
	values[LOG_ORGANIZATION_ID - 1] = UUIDPGetDatum(event->organization);
	nulls[LOG_ORGANIZATION_ID - 1] = event->organization == NULL;
	values[LOG_KEY - 1] = PointerGetDatum(event->key);
	nulls[LOG_KEY - 1] = event->key == NULL;
	values[LOG_TYPE - 1] = PointerGetDatum(event->type);
	values[LOG_PAYLOAD - 1] = JsonbPGetDatum(event->payload);
	values[LOG_HEADERS - 1] = JsonbPGetDatum(event->headers);
	nulls[LOG_HEADERS - 1] = event->headers == NULL;
}

/* The SQL variant of the same write (backoffice.direct_writes = off). */
static void
write_by_sql(Datum *values, bool *nulls)
{
	static BoPlan insert = {
		"INSERT INTO events.log (seq, era, xid, occurred_at, topic_id, id, organization_id, key, type, payload, headers)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)", LOG_COLUMNS,
		{INT8OID, INT8OID, XID8OID, TIMESTAMPTZOID, INT4OID, UUIDOID, UUIDOID, TEXTOID, TEXTOID, JSONBOID, JSONBOID}
	};
	char		flags[LOG_COLUMNS];
	BoUser		saved = bo_user_kernel();

	for (int i = 0; i < LOG_COLUMNS; i++)
		flags[i] = nulls[i] ? 'n' : ' ';
	bo_spi_begin();
	bo_spi_run(&insert, values, flags, 0);
	bo_spi_end();
	bo_user_restore(saved);
}

static void
write_event(const NewEvent *event)
{
	Datum		values[LOG_COLUMNS];
	bool		nulls[LOG_COLUMNS];
	Relation	leaf;
	int64		seq;

	form_row(event, values, nulls);
	leaf = take_number(&seq);
	values[LOG_SEQ - 1] = Int64GetDatum(seq);
	emitted_to = slot_mine();
	if (emitted_to != NULL)
		slot_note_emitted(emitted_to, event->topic->id, seq);
	if (bo_direct_writes)
		bo_storage_insert(leaf, values, nulls);
	else
		write_by_sql(values, nulls);
	table_close(leaf, NoLock);
}

/* Everything but the topic and the right to it has not been checked yet. */
static pg_uuid_t
emit(NewEvent *event, const pg_uuid_t *id)
{
	check_sizes(event);
	topic_check_key(event->topic, event->key ? text_to_cstring(event->key) : NULL);
	topic_check_payload(event->topic, text_to_cstring(event->type), event->payload);
	if (event->organization == &events_of_nobody)
		event->organization = NULL;
	else if (event->organization == NULL)
		event->organization = acting_organization();
	if (id != NULL)
		event->id = *id;
	else
		bo_uuid7(&event->id);
	write_event(event);
	return event->id;
}

pg_uuid_t
events_emit(const char *topic, const char *key, const char *type, Jsonb *payload, Jsonb *headers,
			const pg_uuid_t *organization, const pg_uuid_t *id)
{
	NewEvent	event = {0};

	check_transaction();
	event.topic = topic_lookup(topic);
	event.key = key ? cstring_to_text(key) : NULL;
	event.type = cstring_to_text(type);
	event.payload = payload;
	event.headers = headers;
	event.organization = organization;
	return emit(&event, id);
}

static void
require_argument(FunctionCallInfo fcinfo, int number, const char *name)
{
	if (PG_ARGISNULL(number))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s of an event must not be null", name),
				 bo_code("missing_argument", "argument \"%s\" is null", name),
				 errhint("Only key and headers may be null.")));
}

/* emit(topic text, key text, type text, payload jsonb, headers jsonb) returns uuid */
Datum
events_emit_sql(PG_FUNCTION_ARGS)
{
	NewEvent	event = {0};
	pg_uuid_t  *id;

	require_argument(fcinfo, 0, "topic");
	require_argument(fcinfo, 2, "type");
	require_argument(fcinfo, 3, "payload");
	check_transaction();
	event.topic = topic_lookup(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	topic_check_right(event.topic, GetUserId());
	events_require_organization();
	event.key = PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1);
	event.type = PG_GETARG_TEXT_PP(2);
	event.payload = PG_GETARG_JSONB_P(3);
	event.headers = PG_ARGISNULL(4) ? NULL : PG_GETARG_JSONB_P(4);

	id = palloc(sizeof(pg_uuid_t));
	*id = emit(&event, NULL);
	PG_RETURN_UUID_P(id);
}

/* ---- the end of the transaction: a flag and a latch, nothing else ---- */

static void
at_xact_end(XactEvent event, void *arg)
{
	DatabaseSlot *slot = emitted_to;

	switch (event)
	{
		case XACT_EVENT_COMMIT:
			emitted_to = NULL;
			if (slot != NULL)
			{
				/* Only the first since the ticker's last snapshot pays for a signal. */
				pg_memory_barrier();
				if (pg_atomic_read_u32(&slot->dirty) != DIRTY_YES &&
					pg_atomic_exchange_u32(&slot->dirty, DIRTY_YES) != DIRTY_YES)
					slot_wake(slot, WORKER_TICKER);
			}
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			emitted_to = NULL;
			break;
		default:
			break;
	}
}

void
emit_init(void)
{
	DefineCustomIntVariable("backoffice.max_event_bytes",
							"Largest event that may be emitted: payload and headers as stored, before compression, and long numbers as text.",
							NULL,
							&max_event_bytes, 1024 * 1024, 1024, 64 * 1024 * 1024,
							PGC_SUSET, GUC_UNIT_BYTE, NULL, NULL, NULL);
	RegisterXactCallback(at_xact_end, NULL);
}
