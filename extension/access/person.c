/*
 * person.c
 *		A user, as the answers with tokens show one: cached per backend, and
 *		kept true by a marker like rights are (rights.c).
 */
#include "access/marker.h"
#include "access/sessions.h"

#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "core/spi.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define CACHED_MAX 1024			/* users a backend remembers; then it starts anew */

typedef struct PersonKey
{
	pg_uuid_t	user_id;
	pg_uuid_t	preferred;		/* organization; nil: none */
} PersonKey;

typedef struct PersonEntry
{
	PersonKey	key;
	Person		person;
} PersonEntry;

static Marker marker = {.table = "people_marker"};
static MemoryContext memory = NULL;
static HTAB *cache;				/* in that memory; all of one generation */
static uint64 generation;

PG_FUNCTION_INFO_V1(access_people_changed);

static BoPlan plan = {
	"SELECT u.email, u.state = 'active',"
	" (SELECT coalesce(jsonb_agg(jsonb_build_object('id', o.id, 'name', o.name) ORDER BY m.created_at, o.id), '[]')"
	"   FROM access.memberships m JOIN access.organizations o ON o.id = m.organization_id AND o.state = 'active'"
	"   WHERE m.user_id = u.id AND m.state = 'active'),"
	" (SELECT coalesce(jsonb_agg(jsonb_build_object('id', f.id, 'label', f.label, 'type', 'totp') ORDER BY f.created_at, f.id), '[]')"
	"   FROM access.mfa_factors f WHERE f.user_id = u.id AND f.state = 'active'),"
	" (SELECT m.organization_id FROM access.memberships m JOIN access.organizations o ON o.id = m.organization_id AND o.state = 'active'"
	"   WHERE m.user_id = u.id AND m.state = 'active' ORDER BY m.organization_id IS DISTINCT FROM $2, m.created_at, m.organization_id LIMIT 1) "
	"FROM access.users u WHERE u.id = $1",
	2, {UUIDOID, UUIDOID}
};

static Jsonb *
jsonb_of(int column)
{
	bool		isnull;

	return DatumGetJsonbPCopy(bo_spi_datum(0, column, &isnull));
}

static bool
look_up(const PersonKey *key, Person *person)
{
	static const pg_uuid_t nil = {{0}};
	Datum		args[2] = {UUIDPGetDatum(&key->user_id), UUIDPGetDatum(&key->preferred)};
	bool		preferred = memcmp(&key->preferred, &nil, UUID_LEN) != 0;
	bool		found;

	PushActiveSnapshot(GetLatestSnapshot());
	found = bo_spi_run_readonly(&plan, args, preferred ? NULL : " n", 1) > 0;
	PopActiveSnapshot();
	if (!found)
		return false;
	person->email = bo_spi_text(0, 1);
	person->active = bo_spi_bool(0, 2);
	person->organizations = jsonb_of(3);
	person->factors = jsonb_of(4);
	person->has_organization = !bo_spi_isnull(0, 5);
	if (person->has_organization)
		person->organization_id = bo_spi_uuid(0, 5);
	return true;
}

static void
start_cache(uint64 of)
{
	HASHCTL		info = {.keysize = sizeof(PersonKey), .entrysize = sizeof(PersonEntry)};

	if (memory != NULL)
		MemoryContextDelete(memory);
	memory = AllocSetContextCreate(CacheMemoryContext, "backoffice people", ALLOCSET_DEFAULT_SIZES);
	info.hcxt = memory;
	cache = hash_create("backoffice people", 64, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	generation = of;
}

static Jsonb *
copied(const Jsonb *json)
{
	return memcpy(palloc(VARSIZE(json)), json, VARSIZE(json));
}

static void
keep(const PersonKey *key, const Person *person, uint64 of)
{
	MemoryContext caller;
	PersonEntry *entry;

	if (of != marker.generation)
		return;
	if (memory == NULL || generation != of || hash_get_num_entries(cache) >= CACHED_MAX)
		start_cache(of);
	entry = hash_search(cache, key, HASH_ENTER, NULL);
	caller = MemoryContextSwitchTo(memory);
	entry->person = *person;
	entry->person.email = pstrdup(person->email);
	entry->person.organizations = copied(person->organizations);
	entry->person.factors = copied(person->factors);
	MemoryContextSwitchTo(caller);
}

/* The answer is good until the next call. */
bool
person_read(const pg_uuid_t *user, const pg_uuid_t *preferred, Person *person)
{
	PersonKey	key = {.user_id = *user};
	PersonEntry *entry;
	uint64		of;

	if (preferred != NULL)
		key.preferred = *preferred;
	if (memory != NULL && generation == marker.generation &&
		(entry = hash_search(cache, &key, HASH_FIND, NULL)) != NULL)
	{
		*person = entry->person;
		return true;
	}
	of = marker_read(&marker);
	if (!look_up(&key, person))
		return false;
	keep(&key, person, of);
	return true;
}

/* people_changed(): trigger */
Datum
access_people_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("access.people_changed() is a trigger")));
	marker_invalidate(&marker);
	return PointerGetDatum(NULL);
}

void
person_init(void)
{
	marker_register(&marker);
}
