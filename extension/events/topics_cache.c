/*
 * topics_cache.c
 *		All topics, their rights and their schemas, per backend.
 *
 * Topics are few and change rarely, so the cache is loaded whole and dropped
 * whole.  The invalidation callback only moves a number; a load reads under
 * the latest snapshot (the statement's may be older than the change, and for
 * ever so in REPEATABLE READ) and is kept only if the number stood still.
 */
#include "events/topics.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "events/json_schema.h"
#include "events/log.h"
#include "executor/tuptable.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/* A load that is invalidated this often in a row serves one lookup and is then repeated. */
#define MAX_LOAD_ATTEMPTS 10

/* Columns, in the order of topics.tables.sql. */
enum
{
	TOPICS_ID = 1, TOPICS_NAME, TOPICS_DIRECTION, TOPICS_KEY_RULE, TOPICS_RETENTION, TOPICS_PARTITIONS
};
enum
{
	GRANTS_TOPIC_ID = 1, GRANTS_ROLE
};
enum
{
	SCHEMAS_TOPIC_ID = 1, SCHEMAS_TYPE, SCHEMAS_SCHEMA
};

typedef struct NameEntry
{
	char		name[TOPIC_NAME_MAX + 1];
	Topic	   *topic;
} NameEntry;

typedef struct IdEntry
{
	int32		id;
	Topic		topic;
} IdEntry;

typedef struct TopicCache
{
	MemoryContext context;
	HTAB	   *by_id;
	HTAB	   *by_name;
	uint64		loaded_at;		/* value of invalidations that the content is of */
} TopicCache;

/* Asked for last, and by whom emitted to last: a session emits to few topics, as one role. */
typedef struct LastUse
{
	const Topic *topic;			/* NULL: none; of this load of the cache */
	const Topic *allowed;
	Oid			userid;
	uint64		roles;			/* role_changes when it was allowed */
} LastUse;

static TopicCache cache;
static LastUse last_use;
static uint64 role_changes = 1;
static uint64 invalidations = 1;
static Oid	topics_relid = InvalidOid;

static void
forget(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == topics_relid || topics_relid == InvalidOid)
		invalidations++;
}

static void
forget_rights(Datum arg, int cacheid, uint32 hashvalue)
{
	role_changes++;
}

/* Calls row() for each row of a table, deformed. */
static void
scan_table(Oid relid, Snapshot snapshot, int natts, void (*row) (const Datum *values, const bool *nulls))
{
	Relation	rel = table_open(relid, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan;

	if (RelationGetDescr(rel)->natts < natts)
		elog(ERROR, "table \"%s\" is of another version than the library", RelationGetRelationName(rel));
	scan = table_beginscan(rel, snapshot, 0, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		slot_getsomeattrs(slot, natts);
		row(slot->tts_values, slot->tts_isnull);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, AccessShareLock);
}

static char *
cached_text(Datum datum)
{
	MemoryContext old = MemoryContextSwitchTo(cache.context);
	char	   *copy = text_to_cstring(DatumGetTextPP(datum));

	MemoryContextSwitchTo(old);
	return copy;
}

static void
load_topic(const Datum *values, const bool *nulls)
{
	int32		id = DatumGetInt32(values[TOPICS_ID - 1]);
	char	   *direction = TextDatumGetCString(values[TOPICS_DIRECTION - 1]);
	IdEntry    *entry = hash_search(cache.by_id, &id, HASH_ENTER, NULL);
	Topic	   *topic = &entry->topic;
	NameEntry  *named;

	MemSet(topic, 0, sizeof(Topic));
	topic->id = id;
	text_to_cstring_buffer(DatumGetTextPP(values[TOPICS_NAME - 1]), topic->name, sizeof(topic->name));
	topic->direction = strcmp(direction, "in") == 0 ? TOPIC_IN :
		strcmp(direction, "out") == 0 ? TOPIC_OUT : TOPIC_INTERNAL;
	topic->key_rule = nulls[TOPICS_KEY_RULE - 1] ? NULL : cached_text(values[TOPICS_KEY_RULE - 1]);
	topic->retention = *DatumGetIntervalP(values[TOPICS_RETENTION - 1]);
	topic->partitions = DatumGetInt32(values[TOPICS_PARTITIONS - 1]);

	named = hash_search(cache.by_name, topic->name, HASH_ENTER, NULL);
	named->topic = topic;
}

/* Room for one more element of a small array in the cache's context. */
static void *
grow(void *array, int used, Size element)
{
	if (array == NULL)
		return MemoryContextAlloc(cache.context, element);
	return repalloc_huge(array, mul_size(used + 1, element));
}

static void
load_grant(const Datum *values, const bool *nulls)
{
	int32		id = DatumGetInt32(values[GRANTS_TOPIC_ID - 1]);
	IdEntry    *entry = hash_search(cache.by_id, &id, HASH_FIND, NULL);
	Topic	   *topic;

	if (entry == NULL)
		return;
	topic = &entry->topic;
	topic->grants = grow(topic->grants, topic->ngrants, sizeof(NameData));
	topic->grants[topic->ngrants++] = *DatumGetName(values[GRANTS_ROLE - 1]);
}

static void
load_schema(const Datum *values, const bool *nulls)
{
	int32		id = DatumGetInt32(values[SCHEMAS_TOPIC_ID - 1]);
	IdEntry    *entry = hash_search(cache.by_id, &id, HASH_FIND, NULL);
	MemoryContext old;
	Topic	   *topic;

	if (entry == NULL)
		return;
	topic = &entry->topic;
	topic->schemas = grow(topic->schemas, topic->nschemas, sizeof(TopicSchema));
	old = MemoryContextSwitchTo(cache.context);
	topic->schemas[topic->nschemas++] = (TopicSchema)
	{
		.type = text_to_cstring(DatumGetTextPP(values[SCHEMAS_TYPE - 1])),
		.source = DatumGetJsonbPCopy(values[SCHEMAS_SCHEMA - 1])
	};
	MemoryContextSwitchTo(old);
}

static void
reset_cache(void)
{
	HASHCTL		by_id = {.keysize = sizeof(int32), .entrysize = sizeof(IdEntry)};
	HASHCTL		by_name = {.keysize = TOPIC_NAME_MAX + 1, .entrysize = sizeof(NameEntry)};

	cache.loaded_at = 0;
	memset(&last_use, 0, sizeof(last_use));
	if (cache.context == NULL)
	{
		cache.context = AllocSetContextCreate(CacheMemoryContext, "backoffice topics", ALLOCSET_SMALL_SIZES);
		CacheRegisterRelcacheCallback(forget, (Datum) 0);
		CacheRegisterSyscacheCallback(AUTHOID, forget_rights, (Datum) 0);
		CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, forget_rights, (Datum) 0);
	}
	MemoryContextReset(cache.context);
	by_id.hcxt = by_name.hcxt = cache.context;
	cache.by_id = hash_create("backoffice topics by id", 64, &by_id, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	cache.by_name = hash_create("backoffice topics by name", 64, &by_name, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

static void
load(void)
{
	for (int attempt = 1;; attempt++)
	{
		uint64		seen;
		Snapshot	snapshot;

		CHECK_FOR_INTERRUPTS();
		reset_cache();
		AcceptInvalidationMessages();
		seen = invalidations;
		topics_relid = events_table("topics", false);
		/* A parallel operation has no other snapshot than its own, perhaps an old one: good for now, not to be kept. */
		snapshot = RegisterSnapshot(IsInParallelMode() ? GetActiveSnapshot() : GetLatestSnapshot());
		scan_table(topics_relid, snapshot, TOPICS_PARTITIONS, load_topic);
		scan_table(events_table("topic_grants", false), snapshot, GRANTS_ROLE, load_grant);
		scan_table(events_table("topic_schemas", false), snapshot, SCHEMAS_SCHEMA, load_schema);
		UnregisterSnapshot(snapshot);
		if (seen == invalidations || attempt == MAX_LOAD_ATTEMPTS)
		{
			cache.loaded_at = IsInParallelMode() ? seen - 1 : seen;
			return;
		}
	}
}

static void
refresh(void)
{
	/* A load inside the callback of another would free what that one holds: the callback never loads. */
	if (cache.context == NULL || cache.loaded_at != invalidations)
		load();
}

const Topic *
topic_lookup(const char *name)
{
	NameEntry  *entry = NULL;
	char		key[TOPIC_NAME_MAX + 1] = {0};

	refresh();
	if (last_use.topic != NULL && strcmp(last_use.topic->name, name) == 0)
		return last_use.topic;
	if (strlen(name) <= TOPIC_NAME_MAX)
	{
		strlcpy(key, name, sizeof(key));
		entry = hash_search(cache.by_name, key, HASH_FIND, NULL);
	}
	if (entry == NULL)
		ereport(ERROR,
				(errcode(BO_NOT_FOUND),
				 errmsg("topic \"%.*s\" is not defined", pg_mbcliplen(name, strlen(name), TOPIC_NAME_MAX), name),
				 bo_code("unknown_topic", "topics are defined before anything is emitted to them"),
				 errhint("An administrator defines it with events.define_topic(topic, ...).")));
	last_use.topic = entry->topic;
	return entry->topic;
}

const Topic *
topic_by_id(int32 id)
{
	IdEntry    *entry;

	refresh();
	entry = hash_search(cache.by_id, &id, HASH_FIND, NULL);
	return entry ? &entry->topic : NULL;
}

void
topic_check_right(const Topic *topic, Oid userid)
{
	uint64		roles = role_changes;

	if (last_use.allowed == topic && last_use.userid == userid && last_use.roles == roles)
		return;
	for (int i = 0; i < topic->ngrants; i++)
	{
		Oid			role = get_role_oid(NameStr(topic->grants[i]), true);

		if (OidIsValid(role) && has_privs_of_role(userid, role))
		{
			last_use.allowed = topic;
			last_use.userid = userid;
			last_use.roles = roles;
			return;
		}
	}
	/* The contexts' own code, and superusers (has_privs_of_role would have said yes to any grant). */
	if (superuser_arg(userid) ||
		userid == get_role_oid("backoffice_definer", true) ||
		userid == get_role_oid("backoffice_kernel", true))
		return;
	ereport(ERROR,
			(errcode(BO_FORBIDDEN),
			 errmsg("role \"%s\" may not emit to topic \"%s\"", GetUserNameFromId(userid, false), topic->name),
			 bo_code("topic_forbidden", "the right to a topic is granted to roles"),
			 errhint("An administrator grants it with events.grant_topic(topic, role).")));
}

void
topic_check_key(const Topic *topic, const char *key)
{
	if (topic->key_rule != NULL && key == NULL)
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("an event of topic \"%s\" must have a key", topic->name),
				 bo_code("key_required", "the key of this topic is: %s", topic->key_rule),
				 errhint("Pass the key; events of one key keep their order.")));
}

void
topic_check_payload(const Topic *topic, const char *type, Jsonb *payload)
{
	for (int i = 0; i < topic->nschemas; i++)
	{
		TopicSchema *schema = &topic->schemas[i];

		if (schema->type[0] != '\0' && strcmp(schema->type, type) != 0)
			continue;
		if (schema->compiled == NULL)
			schema->compiled = json_schema_compile(schema->source, cache.context);
		json_schema_check(schema->compiled, payload, topic->name, type);
	}
}
