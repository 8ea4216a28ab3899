/*
 * pools.c
 *		The backend's cache of pools.
 *
 * Cached pools are forgotten when the relcache entry of certificates.
 * pools_marker is invalidated, which a trigger on certificates.pools does for
 * every change that matters here; the message travels with the commit, with
 * COMMIT PREPARED and with a standby's replay, and is applied locally when
 * the changing transaction aborts.  A pool is read under the latest snapshot,
 * and kept only when no such message came in meanwhile.
 */
#include "certificates/pools.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type_d.h"
#include "certificates/certificates.h"
#include "certificates/rows.h"
#include "certificates/stream.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "core/principal.h"
#include "core/spi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#define POOL_NAME_MAX 64		/* code, or id as text; the rest is zero */

typedef struct PoolKey
{
	pg_uuid_t	organization_id;
	char		name[POOL_NAME_MAX];
} PoolKey;

typedef struct PoolEntry
{
	PoolKey		key;
	Pool		pool;
} PoolEntry;

#define MAX_CACHED_POOLS 4096

static const char *const state_names[] = {"open", "low", "empty", "paused", "closed"};

static HTAB *cache = NULL;
static uint64 generation = 0;	/* moves with every invalidation */
static uint64 cache_generation = 0; /* of the cache's contents */
static Oid	marker_oid = InvalidOid;

PG_FUNCTION_INFO_V1(certificates_pools_changed);

static BoPlan pool_by_code_plan = {
	"SELECT organization_id, id, code, currency, state, face_value_minor, low_water, hold, validity, cvc_digits, "
	"       requires_activation, destroy_cvc_after_delivery, code_format = 'checked' "
	"FROM certificates.pools WHERE organization_id = $1 AND code = $2",
	2, {UUIDOID, TEXTOID}
};

static BoPlan pool_by_id_plan = {
	"SELECT organization_id, id, code, currency, state, face_value_minor, low_water, hold, validity, cvc_digits, "
	"       requires_activation, destroy_cvc_after_delivery, code_format = 'checked' "
	"FROM certificates.pools WHERE organization_id = $1 AND id = $2",
	2, {UUIDOID, UUIDOID}
};

static BoPlan marks_plan = {
	"SELECT next_slot, sweep_slot, hold_slot FROM certificates.pool_slots WHERE organization_id = $1 AND pool_id = $2",
	2, {UUIDOID, UUIDOID}
};

const char *
pool_state_name(PoolState state)
{
	return state_names[state];
}

PoolState
pool_state_by_name(const char *name)
{
	for (int i = 0; i < lengthof(state_names); i++)
		if (strcmp(state_names[i], name) == 0)
			return (PoolState) i;
	elog(ERROR, "unknown state of a pool: %s", name);
	return POOL_CLOSED;			/* keep the compiler quiet */
}

static void
forget_pools(Datum arg, Oid relid)
{
	if (relid == marker_oid || !OidIsValid(relid))
		generation++;
}

static void
prepare_cache(void)
{
	static bool registered = false;
	HASHCTL		ctl = {0};

	if (cache != NULL && cache_generation == generation && hash_get_num_entries(cache) < MAX_CACHED_POOLS)
		return;
	if (cache != NULL)
		hash_destroy(cache);
	cache = NULL;
	if (!registered)
		CacheRegisterRelcacheCallback(forget_pools, (Datum) 0);
	registered = true;
	cache_generation = generation;
	marker_oid = get_relname_relid("pools_marker", get_namespace_oid("certificates", false));
	ctl.keysize = sizeof(PoolKey);
	ctl.entrysize = sizeof(PoolEntry);
	ctl.hcxt = TopMemoryContext;
	cache = hash_create("backoffice pools", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Row 0 of the SPI result. */
static void
fill_pool(Pool *pool)
{
	memset(pool, 0, sizeof(Pool));
	pool->organization_id = bo_spi_uuid(0, 1);
	pool->id = bo_spi_uuid(0, 2);
	strlcpy(pool->code, bo_spi_text(0, 3), sizeof(pool->code));
	strlcpy(pool->currency, bo_spi_text(0, 4), sizeof(pool->currency));
	pool->state = pool_state_by_name(bo_spi_text(0, 5));
	pool->face_value_minor = bo_spi_int64(0, 6);
	pool->low_water = bo_spi_int64(0, 7);
	pool->hold = *DatumGetIntervalP(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 8, &(bool) {0}));
	pool->validity = *DatumGetIntervalP(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 9, &(bool) {0}));
	pool->cvc_digits = bo_spi_int32(0, 10);
	pool->requires_activation = bo_spi_bool(0, 11);
	pool->destroy_cvc_after_delivery = bo_spi_bool(0, 12);
	pool->checked_codes = bo_spi_bool(0, 13);
}

/* Reads one pool as of now; false: there is none. */
static bool
read_pool(BoPlan *plan, const pg_uuid_t *organization, Datum name, Pool *pool)
{
	Datum		args[2] = {UUIDPGetDatum(organization), name};
	BoUser		caller = bo_user_kernel();
	bool		found;

	PushActiveSnapshot(GetLatestSnapshot());
	bo_spi_begin();
	found = bo_spi_run_readonly(plan, args, NULL, 1) > 0;
	if (found)
		fill_pool(pool);
	bo_spi_end();
	PopActiveSnapshot();
	bo_user_restore(caller);
	return found;
}

static const Pool *
lookup(const pg_uuid_t *organization, const char *name, const pg_uuid_t *id)
{
	static Pool uncached;
	PoolKey		key;
	PoolEntry  *entry;
	uint64		before;
	bool		found;

	memset(&key, 0, sizeof(key));
	key.organization_id = *organization;
	if (id != NULL)
		memcpy(key.name + 1, id, sizeof(pg_uuid_t));	/* no code begins with a zero byte */
	else
		strlcpy(key.name, name, sizeof(key.name));

	prepare_cache();
	entry = hash_search(cache, &key, HASH_FIND, NULL);
	if (entry != NULL)
		return &entry->pool;

	before = generation;
	if (id != NULL)
		found = read_pool(&pool_by_id_plan, organization, UUIDPGetDatum(id), &uncached);
	else
		found = read_pool(&pool_by_code_plan, organization, CStringGetTextDatum(name), &uncached);
	if (!found)
		return NULL;
	if (before != generation)
		return &uncached;
	entry = hash_search(cache, &key, HASH_ENTER, NULL);
	entry->pool = uncached;
	return &entry->pool;
}

const Pool *
pool_by_id(const pg_uuid_t *organization, const pg_uuid_t *id)
{
	return lookup(organization, NULL, id);
}

const Pool *
pool_require(const char *code)
{
	const pg_uuid_t *organization = &principal_require()->organization_id;
	const Pool *pool = NULL;
	Size		length = strlen(code);
	pg_uuid_t	id;

	/* A long transaction would not hear what others have committed: it takes no new locks. */
	AcceptInvalidationMessages();
	if (bo_uuid_parse(code, length, &id))
		pool = pool_by_id(organization, &id);
	else if (length >= 1 && length <= POOL_CODE_MAX)
		pool = lookup(organization, code, NULL);
	if (pool == NULL)
		ereport(ERROR,
				(errcode(BO_NOT_FOUND),
				 errmsg("pool \"%.*s\" does not exist", pg_mbcliplen(code, length, POOL_CODE_MAX), code),
				 bo_code("pool_not_found", "the organization has no pool with this code or id"),
				 errhint("certificates.pool_status lists the pools.")));
	return pool;
}

PoolMarks
pool_marks(const Pool *pool, Snapshot snapshot)
{
	Datum		args[2] = {UUIDPGetDatum(&pool->organization_id), UUIDPGetDatum(&pool->id)};
	BoUser		caller = bo_user_kernel();
	PoolMarks	marks = {1, 1, 1};

	PushActiveSnapshot(snapshot);
	bo_spi_begin();
	if (bo_spi_run_readonly(&marks_plan, args, NULL, 1) > 0)
		marks = (PoolMarks) {bo_spi_int64(0, 1), bo_spi_int64(0, 2), bo_spi_int64(0, 3)};
	bo_spi_end();
	PopActiveSnapshot();
	bo_user_restore(caller);
	return marks;
}

void
pools_forget_all(void)
{
	CacheInvalidateRelcacheByRelid(get_relname_relid("pools_marker", get_namespace_oid("certificates", false)));
}

/* Trigger on certificates.pools. */
Datum
certificates_pools_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		elog(ERROR, "not called as a trigger");
	pools_forget_all();
	return PointerGetDatum(NULL);
}
