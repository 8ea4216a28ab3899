/*
 * read.c
 *		events.read(), events.fetch() and events.position(): short, never waiting.
 */
#include "events/reader.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "core/principal.h"
#include "events/json_text.h"
#include "events/slots.h"
#include "events/topics.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(events_read);
PG_FUNCTION_INFO_V1(events_fetch);
PG_FUNCTION_INFO_V1(events_latest_position);

#define READ_COLUMNS		9
#define FETCH_COLUMNS		3
#define FETCH_BYTES_MAX		(256 * 1024 * 1024)
#define FETCH_BYTES_FIRST	(256 * 1024)
#define FETCH_MEMORY_KEPT	(16 * 1024 * 1024)
#define SHARDS_MAX			4096

/* Flags of a packed event, see docs/events.md. */
#define PACKED_ORGANIZATION 0x01
#define PACKED_KEY			0x02
#define PACKED_HEADERS		0x04

/* ---- arguments ---- */

static bool
is_member(const char *role)
{
	Oid			oid = get_role_oid(role, true);

	return OidIsValid(oid) && has_privs_of_role(GetUserId(), oid);
}

/* Workers and administrators see every organization, everybody else the principal's. */
static const pg_uuid_t *
readable_organization(void)
{
	if (superuser() || is_member("backoffice_worker") || is_member("backoffice_admin") ||
		is_member("backoffice_kernel"))
		return NULL;
	return &principal_require()->organization_id;
}

static int
positive_argument(FunctionCallInfo fcinfo, int number, const char *name, int max)
{
	int32		value = PG_ARGISNULL(number) ? 0 : PG_GETARG_INT32(number);

	if (value < 1 || value > max)
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("%s must be between 1 and %d", name, max),
				 bo_code("bad_limit", "it is %s", PG_ARGISNULL(number) ? "null" : psprintf("%d", value)),
				 errhint("Leave it out to take the default.")));
	return value;
}

static Datum *
array_argument(FunctionCallInfo fcinfo, int number, Oid type, int *count)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(number);
	Datum	   *elements;
	bool	   *nulls;

	if (type == TEXTOID)
		deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, count);
	else
		deconstruct_array(array, INT4OID, 4, true, TYPALIGN_INT, &elements, &nulls, count);
	for (int i = 0; i < *count; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("topics and shards must not contain nulls"),
					 bo_code("missing_argument", "element %d is null", i + 1),
					 errhint("Pass NULL instead of the array for all of them.")));
	}
	return elements;
}

static void
topics_argument(FunctionCallInfo fcinfo, int number, EventFilter *filter)
{
	int32	   *ids;
	Datum	   *names;
	int			count;

	if (PG_ARGISNULL(number))
		return;
	names = array_argument(fcinfo, number, TEXTOID, &count);
	ids = palloc(Max(count, 1) * sizeof(int32));
	for (int i = 0; i < count; i++)
		ids[i] = topic_lookup(TextDatumGetCString(names[i]))->id;
	filter->topic_ids = ids;
	filter->ntopics = count;
}

static void
shards_argument(FunctionCallInfo fcinfo, int count_number, int shards_number, EventFilter *filter)
{
	int			shard_count = positive_argument(fcinfo, count_number, "shard_count", SHARDS_MAX);
	bool	   *wanted;
	Datum	   *shards;
	int			count;

	if (PG_ARGISNULL(shards_number))
		return;
	wanted = palloc0(shard_count * sizeof(bool));
	shards = array_argument(fcinfo, shards_number, INT4OID, &count);
	for (int i = 0; i < count; i++)
	{
		int32		shard = DatumGetInt32(shards[i]);

		if (shard < 0 || shard >= shard_count)
			ereport(ERROR,
					(errcode(BO_BAD_REQUEST),
					 errmsg("there is no shard %d of %d", shard, shard_count),
					 bo_code("bad_shard", "shards are numbered from 0"),
					 errhint("Pass the shards that events.lease() gave.")));
		wanted[shard] = true;
	}
	filter->shard_count = shard_count;
	filter->shards = wanted;
}

/* The ticker hurries while somebody reads. */
static void
note_reading(void)
{
	DatabaseSlot *slot = RecoveryInProgress() ? NULL : slot_mine();

	if (slot != NULL)
		pg_atomic_write_u64(&slot->read_at, (uint64) bo_monotonic());
}

/* ---- events.read(): a row per event ---- */

/* The name of a topic as a datum that stays; most events have the topic of the one before. */
static Datum
topic_name(int32 id)
{
	const Topic *topic = topic_by_id(id);

	return CStringGetTextDatum(topic ? topic->name : psprintf("%d", id));
}

static void
put_row(ReturnSetInfo *result, Event *event)
{
	Datum		values[READ_COLUMNS];
	bool		nulls[READ_COLUMNS] = {false};
	Datum		topic = topic_name(event->topic_id);

	values[0] = PositionPGetDatum(&event->position);
	values[1] = UUIDPGetDatum(&event->id);
	values[2] = UUIDPGetDatum(&event->organization_id);
	nulls[2] = !event->has_organization;
	values[3] = topic;
	values[4] = PointerGetDatum(event->key);
	nulls[4] = event->key == NULL;
	values[5] = PointerGetDatum(event->type);
	values[6] = JsonbPGetDatum(event->payload);
	values[7] = JsonbPGetDatum(event->headers);
	nulls[7] = event->headers == NULL;
	values[8] = TimestampTzGetDatum(event->occurred_at);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	pfree(DatumGetPointer(topic));
}

/* read(after events.position, max_events int, topics text[]) returns table (...) */
Datum
events_read(PG_FUNCTION_ARGS)
{
	EventPosition *after = PG_ARGISNULL(0) ? NULL : PG_GETARG_POSITION_P(0);
	int			max_events = positive_argument(fcinfo, 1, "max_events", PG_INT32_MAX);
	EventFilter filter = {0};
	EventReader *reader;
	Event		event;

	filter.organization = readable_organization();
	topics_argument(fcinfo, 2, &filter);
	InitMaterializedSRF(fcinfo, 0);

	note_reading();
	reader = reader_open(after, &filter);
	for (int i = 0; i < max_events && reader_next(reader, &event); i++)
		put_row((ReturnSetInfo *) fcinfo->resultinfo, &event);
	reader_close(reader);
	return (Datum) 0;
}

/* ---- events.fetch(): one packed batch ---- */

/* The topic as it is packed; most events have the topic of the one before. */
typedef struct PackedTopic
{
	int32		id;
	int			length;			/* 0: none yet */
	char		bytes[8 + TOPIC_NAME_MAX];
} PackedTopic;

static char *
put_int32(char *at, uint32 value)
{
	value = pg_hton32(value);
	memcpy(at, &value, sizeof(value));
	return at + sizeof(value);
}

static char *
put_int64(char *at, uint64 value)
{
	value = pg_hton64(value);
	memcpy(at, &value, sizeof(value));
	return at + sizeof(value);
}

static char *
put_uuid(char *at, const pg_uuid_t *value)
{
	memcpy(at, value->data, UUID_LEN);
	return at + UUID_LEN;
}

static void
pack_counted(StringInfo batch, const text *value)
{
	int			length = VARSIZE_ANY_EXHDR(value);

	enlargeStringInfo(batch, length + 4);
	put_int32(batch->data + batch->len, (uint32) length);
	memcpy(batch->data + batch->len + 4, VARDATA_ANY(value), length);
	batch->len += length + 4;
}

static void
pack_json(StringInfo batch, Jsonb *value)
{
	int			at = batch->len;

	pq_sendint32(batch, 0);
	json_text_append(batch, value);
	put_int32(batch->data + at, (uint32) (batch->len - at - 4));
}

static void
pack_topic(StringInfo batch, int32 id, PackedTopic *packed)
{
	if (packed->length == 0 || packed->id != id)
	{
		const Topic *topic = topic_by_id(id);
		const char *name = topic ? topic->name : "";
		int			length = strlen(name);

		packed->id = id;
		packed->length = 8 + length;
		memcpy(put_int32(put_int32(packed->bytes, (uint32) id), (uint32) length), name, length);
	}
	appendBinaryStringInfoNT(batch, packed->bytes, packed->length);
}

static void
pack_event(StringInfo batch, Event *event, PackedTopic *topic)
{
	static const pg_uuid_t nobody = {{0}};
	int			at = batch->len;
	char		fixed[4 + 1 + 4 + 8 + 8 + UUID_LEN + UUID_LEN + 8];
	char	   *next = fixed + 4;	/* behind the length, which is filled in below */

	*next++ = (event->has_organization ? PACKED_ORGANIZATION : 0) |
		(event->key ? PACKED_KEY : 0) | (event->headers ? PACKED_HEADERS : 0);
	next = put_int32(next, event->position.epoch);
	next = put_int64(next, (uint64) event->position.tick);
	next = put_int64(next, (uint64) event->position.seq);
	next = put_uuid(next, &event->id);
	next = put_uuid(next, event->has_organization ? &event->organization_id : &nobody);
	put_int64(next, (uint64) (event->occurred_at + BO_UNIX_EPOCH_US));
	appendBinaryStringInfoNT(batch, fixed, sizeof(fixed));
	pack_topic(batch, event->topic_id, topic);
	if (event->key != NULL)
		pack_counted(batch, event->key);
	pack_counted(batch, event->type);
	pack_json(batch, event->payload);
	if (event->headers != NULL)
		pack_json(batch, event->headers);
	put_int32(batch->data + at, (uint32) (batch->len - at - 4));
}

/* Packs until a limit is reached; returns the number of events, *next: what to read on after. */
static int
pack_batch(EventReader *reader, StringInfo batch, int max_events, int max_bytes, EventPosition *next)
{
	PackedTopic topic = {0};
	Event		event;
	int			events = 0;

	while (events < max_events)
	{
		int			before = batch->len;

		if (!reader_next(reader, &event))
		{
			*next = reader_position(reader);
			return events;
		}
		pack_event(batch, &event, &topic);
		if (batch->len > max_bytes && events > 0)
		{
			batch->len = before;
			return events;
		}
		*next = event.position;
		events++;
	}
	return events;
}

/*
 * Whoever fetches does it again and again, and on its way to the client a batch is copied several times.  The C library
 * would give the memory of each copy back to the system, page by page, and take it anew at the next call: a third of the
 * time that a fetch takes.
 */
static void
keep_freed_memory(void)
{
#ifdef M_TRIM_THRESHOLD
	static bool done = false;

	if (!done)
	{
		mallopt(M_MMAP_THRESHOLD, FETCH_MEMORY_KEPT);
		mallopt(M_TRIM_THRESHOLD, FETCH_MEMORY_KEPT);
		done = true;
	}
#endif
}

/* fetch(after, max_events int, max_bytes int, topics text[], shard_count int, shards int[]) returns record */
Datum
events_fetch(PG_FUNCTION_ARGS)
{
	EventPosition *after = PG_ARGISNULL(0) ? NULL : PG_GETARG_POSITION_P(0);
	int			max_events = positive_argument(fcinfo, 1, "max_events", PG_INT32_MAX);
	int			max_bytes = positive_argument(fcinfo, 2, "max_bytes", FETCH_BYTES_MAX);
	EventFilter filter = {0};
	EventReader *reader;
	EventPosition next;
	StringInfoData batch;
	TupleDesc	descriptor;
	Datum		values[FETCH_COLUMNS];
	bool		nulls[FETCH_COLUMNS] = {false};

	filter.organization = readable_organization();
	topics_argument(fcinfo, 3, &filter);
	shards_argument(fcinfo, 4, 5, &filter);
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	keep_freed_memory();
	initStringInfo(&batch);
	enlargeStringInfo(&batch, Min(max_bytes, FETCH_BYTES_FIRST));
	appendStringInfoSpaces(&batch, VARHDRSZ);
	note_reading();
	reader = reader_open(after, &filter);
	values[1] = Int32GetDatum(pack_batch(reader, &batch, max_events, max_bytes, &next));
	reader_close(reader);

	SET_VARSIZE(batch.data, batch.len);
	values[0] = PositionPGetDatum(&next);
	values[2] = PointerGetDatum(batch.data);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}

Datum
events_latest_position(PG_FUNCTION_ARGS)
{
	EventPosition *latest = palloc(sizeof(EventPosition));

	note_reading();
	*latest = reader_latest();
	PG_RETURN_POSITION_P(latest);
}
