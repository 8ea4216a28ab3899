/*
 * rights.c
 *		What a user may do in an organization: a bitmap, cached per backend.
 *
 * The bitmap is looked up when the principal is set, and pinned there (in the
 * shared slot, so that parallel workers answer from the same bits): answers
 * never change within a transaction.  The cache is kept true by relcache
 * invalidation of an empty marker table.  Such a message travels with the
 * commit record: through COMMIT, COMMIT PREPARED by anybody, and the replay
 * of a standby; a counter in shared memory does none of that.  The callback
 * only counts.
 *
 * A look-up reads under the latest snapshot, not the transaction's: under
 * REPEATABLE READ the latter would put old rights into the cache, with no
 * message left to remove them.  It notes the count before it takes the
 * snapshot; when a message arrived in between, the result still is right for
 * this transaction (the snapshot is younger than its start) but is not kept.
 *
 * The promise: a transaction that starts after the revoke's COMMIT returned
 * does not have the right (its start has processed the message, or its
 * look-up sees the row).  A transaction open at that time keeps it.
 *
 * Only positive answers are cached, so that new users and memberships need
 * no message.
 */
#include "access/access_internal.h"

#include "access/marker.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "core/spi.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define CACHED_MAX	16384		/* users a backend remembers (some 12 MB); then it starts anew */

typedef struct RightsKey		/* bytes only: no padding to compare */
{
	pg_uuid_t	organization_id;
	pg_uuid_t	user_id;
	bool		has_user;
	bool		without_organization;
} RightsKey;

typedef struct RightsEntry
{
	RightsKey	key;
	uint64		generation;		/* valid while equal to the backend's */
	TimestampTz read_at;		/* bo_now() of the look-up ... */
	TimestampTz valid_until;	/* ... and when the first grant in it runs out */
	bool		has_factor;		/* of the user: sessions that have not shown it have no rights */
	bool		platform;		/* the user is a platform administrator */
	int			nteams;
	uint64		rights[PRINCIPAL_RIGHTS / 64];
	pg_uuid_t	teams[PRINCIPAL_TEAMS];
} RightsEntry;

static Marker marker = {.table = "rights_marker"};
static HTAB *cache = NULL;

PG_FUNCTION_INFO_V1(access_rights_changed);

static BoPlan state_plan = {
	"SELECT o.state, u.state, m.state, "
	"EXISTS (SELECT FROM access.mfa_factors f WHERE f.user_id = $2 AND f.state = 'active'), "
	"EXISTS (SELECT FROM access.platform_administrators p WHERE p.user_id = $2) "
	"FROM (SELECT 1) one "
	"LEFT JOIN access.organizations o ON o.id = $1 "
	"LEFT JOIN access.users u ON u.id = $2 "
	"LEFT JOIN access.memberships m ON m.organization_id = $1 AND m.user_id = $2",
	2, {UUIDOID, UUIDOID}
};

static BoPlan teams_plan = {
	"SELECT team_id FROM access.team_members WHERE organization_id = $1 AND user_id = $2", 2, {UUIDOID, UUIDOID}
};

static BoPlan rights_plan = {
	"WITH RECURSIVE granted AS ("
	"  SELECT g.role, g.valid_until FROM access.role_grants g"
	"  WHERE g.organization_id = $1 AND g.user_id = $2"
	"    AND (g.valid_until IS NULL OR g.valid_until > $3)"
	"), held AS ("
	"  SELECT role FROM granted"
	"  UNION"
	"  SELECT i.role FROM held h"
	"  JOIN access.roles r ON r.organization_id = $1 AND r.name = h.role"
	"  CROSS JOIN LATERAL unnest(r.inherits) AS i(role)"
	"), patterns AS ("
	"  SELECT DISTINCT p.pattern FROM held h"
	"  JOIN access.roles r ON r.organization_id = $1 AND r.name = h.role"
	"  CROSS JOIN LATERAL unnest(r.permissions) AS p(pattern)"
	") "
	"SELECT DISTINCT p.bit, (SELECT min(valid_until) FROM granted) "
	"FROM patterns t JOIN access.permissions p ON access.permission_matches(p.name, t.pattern)",
	3, {UUIDOID, UUIDOID, TIMESTAMPTZOID}
};

uint64
rights_generation(void)
{
	return marker.generation;
}

Datum
access_rights_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("access.rights_changed() is a trigger")));
	marker_invalidate(&marker);
	return PointerGetDatum(NULL);
}

static HTAB *
create_cache(void)
{
	HASHCTL		info = {0};

	info.keysize = sizeof(RightsKey);
	info.entrysize = sizeof(RightsEntry);
	info.hcxt = CacheMemoryContext;
	return hash_create("backoffice rights", 64, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static ActingState
read_state(const Datum *args, RightsEntry *entry)
{
	const RightsKey *key = &entry->key;
	char	   *organization,
			   *user,
			   *membership;

	if (bo_spi_run_readonly(&state_plan, args, NULL, 1) != 1)
		elog(ERROR, "no answer about a membership");
	organization = bo_spi_text(0, 1);
	user = bo_spi_text(0, 2);
	membership = bo_spi_text(0, 3);
	entry->has_factor = bo_spi_bool(0, 4);
	entry->platform = bo_spi_bool(0, 5);

	if (organization == NULL && !key->without_organization)
		return ACTING_UNKNOWN_ORGANIZATION;
	if (key->has_user && user == NULL)
		return ACTING_UNKNOWN_USER;
	if (key->has_user && strcmp(user, "active") != 0)
		return ACTING_USER_DISABLED;
	if (key->without_organization)
		return ACTING_ALLOWED;
	/* Strangers do not learn how the organization is. */
	if (key->has_user && membership == NULL)
		return ACTING_NOT_A_MEMBER;
	if (strcmp(organization, "active") != 0)
		return ACTING_ORGANIZATION_SUSPENDED;
	if (!key->has_user)
		return ACTING_ALLOWED;
	if (strcmp(membership, "active") != 0)
		return ACTING_MEMBERSHIP_SUSPENDED;
	return ACTING_ALLOWED;
}

static void
read_rights(const Datum *args, RightsEntry *entry)
{
	uint64		nrows = bo_spi_run_readonly(&rights_plan, args, NULL, 0);

	for (uint64 i = 0; i < nrows; i++)
	{
		int32		bit = bo_spi_int32(i, 1);

		entry->rights[bit / 64] |= UINT64CONST(1) << (bit % 64);
		if (i == 0 && !bo_spi_isnull(i, 2))
		{
			bool		isnull;

			entry->valid_until = DatumGetTimestampTz(bo_spi_datum(i, 2, &isnull));
		}
	}
}

static void
read_teams(const Datum *args, RightsEntry *entry)
{
	entry->nteams = (int) bo_spi_run_readonly(&teams_plan, args, NULL, PRINCIPAL_TEAMS);
	for (int i = 0; i < entry->nteams; i++)
		entry->teams[i] = bo_spi_uuid(i, 1);
}

/* Reads the tables; *entry is complete only when the answer is ACTING_ALLOWED. */
static ActingState
look_up(RightsEntry *entry)
{
	Datum		args[3];
	ActingState state;
	BoUser		saved;

	entry->read_at = bo_now();
	args[0] = UUIDPGetDatum(&entry->key.organization_id);
	args[1] = UUIDPGetDatum(&entry->key.user_id);
	args[2] = TimestampTzGetDatum(entry->read_at);

	entry->generation = marker_read(&marker);

	saved = bo_user_kernel();
	PushActiveSnapshot(GetLatestSnapshot());
	bo_spi_begin();
	state = read_state(args, entry);
	entry->valid_until = DT_NOEND;
	if (state == ACTING_ALLOWED && entry->key.has_user)
	{
		read_rights(args, entry);
		read_teams(args, entry);
	}
	bo_spi_end();
	PopActiveSnapshot();
	bo_user_restore(saved);
	return state;
}

static bool
is_fresh(const RightsEntry *entry)
{
	TimestampTz now = bo_now();

	return entry->generation == marker.generation && now >= entry->read_at && now < entry->valid_until;
}

static void
keep(const RightsEntry *entry)
{
	RightsEntry *kept;

	if (entry->generation != marker.generation)
		return;
	if (cache != NULL && hash_get_num_entries(cache) >= CACHED_MAX)
	{
		hash_destroy(cache);
		cache = NULL;
	}
	if (cache == NULL)
		cache = create_cache();
	kept = hash_search(cache, &entry->key, HASH_ENTER, NULL);
	*kept = *entry;
}

/* A session that has not shown the factor its user has is as good as none. */
static void
pin(const RightsEntry *entry, Principal *principal)
{
	bool		half_way = entry->has_factor && principal->has_session && principal->aal < 2;

	memcpy(principal->rights, entry->rights, sizeof(principal->rights));
	principal->platform = entry->platform && principal->without_organization && !half_way;
	principal->nteams = entry->nteams;
	memcpy(principal->teams, entry->teams, entry->nteams * sizeof(pg_uuid_t));
	if (half_way)
		memset(principal->rights, 0, sizeof(principal->rights));
}

ActingState
rights_of(Principal *principal)
{
	RightsEntry entry;
	RightsEntry *cached = NULL;
	ActingState state;

	memset(&entry, 0, sizeof(entry));
	entry.key.organization_id = principal->organization_id;
	entry.key.has_user = principal->has_user;
	entry.key.without_organization = principal->without_organization;
	if (principal->has_user)
		entry.key.user_id = principal->user_id;

	if (cache != NULL)
		cached = hash_search(cache, &entry.key, HASH_FIND, NULL);
	if (cached == NULL || !is_fresh(cached))
	{
		state = look_up(&entry);
		if (state != ACTING_ALLOWED)
			return state;
		keep(&entry);
		cached = &entry;
	}
	pin(cached, principal);
	return ACTING_ALLOWED;
}

void
rights_init(void)
{
	marker_register(&marker);
}
