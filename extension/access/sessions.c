/*
 * sessions.c
 *		Rows of access.sessions, their ends, and whether one still lives.
 *
 * Verified tokens are cached (tokens.c); that a session has ended must reach
 * every cache at once.  As with rights (rights.c), the relcache invalidation
 * of an empty marker table tells: a cached token whose generation is not
 * session_generation() asks session_is_alive() again.
 */
#include "access/marker.h"
#include "access/sessions.h"

#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "core/keys.h"
#include "core/spi.h"
#include "events/events.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define KEEPER_INTERVAL_MS 10000
#define KEEPER_BATCH 50			/* each in a subtransaction: not more than a snapshot has room for */

static Marker marker = {.table = "sessions_marker"};
static int	lifetime_s = 30 * 86400;
static int	idle_s = 7 * 86400;
static int	retention_s = 30 * 86400;

PG_FUNCTION_INFO_V1(access_session_ended);

static BoPlan alive_plan = {
	"SELECT last_seen_at, expires_at FROM access.sessions WHERE id = $1 AND state = 'active'", 1, {UUIDOID}
};

static BoPlan insert_plan = {
	"INSERT INTO access.sessions (id, user_id, for_organization, device_info, ip, user_agent, created_at, authenticated_at, last_seen_at, "
	"expires_at, due_at, aal, amr, refresh_key) VALUES ($1, $2, $3, $4, $5, left($4->>'user_agent', 500), $6, $6, $6, $7, $8, $9, "
	"string_to_array($10, ' '), $11)",
	11, {UUIDOID, UUIDOID, UUIDOID, JSONBOID, INETOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT2OID, TEXTOID, BYTEAOID}
};

static BoPlan lock_plan = {
	"SELECT user_id, for_organization, state = 'active', ended_why, authenticated_at, last_seen_at, expires_at, refresh_counter, "
	"aal::integer, array_to_string(amr, ' '), refresh_key, ip FROM access.sessions WHERE id = $1 FOR NO KEY UPDATE",
	1, {UUIDOID}
};

static BoPlan refresh_plan = {
	"UPDATE access.sessions SET refresh_counter = $2, last_seen_at = $3, ip = coalesce($4, ip) WHERE id = $1",
	4, {UUIDOID, INT8OID, TIMESTAMPTZOID, INETOID}
};

static BoPlan raise_plan = {
	"UPDATE access.sessions SET aal = $2, amr = string_to_array($3, ' '), refresh_counter = $4, refresh_key = $5, "
	"authenticated_at = $6, last_seen_at = $6 WHERE id = $1",
	6, {UUIDOID, INT2OID, TEXTOID, INT8OID, BYTEAOID, TIMESTAMPTZOID}
};

static BoPlan end_plan = {
	"UPDATE access.sessions SET state = 'ended', ended_at = $2, ended_why = $3, due_at = $4 "
	"WHERE id = $1 AND state = 'active' RETURNING user_id, for_organization",
	4, {UUIDOID, TIMESTAMPTZOID, TEXTOID, TIMESTAMPTZOID}
};

/* ---- does it live ---- */

uint64
session_generation(void)
{
	return marker.generation;
}

/* session_ended(): trigger */
Datum
access_session_ended(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("access.session_ended() is a trigger")));
	marker_invalidate(&marker);
	return PointerGetDatum(NULL);
}

static TimestampTz
after(TimestampTz from, int seconds)
{
	return from + (int64) seconds * USECS_PER_SEC;
}

static const char *
over(TimestampTz last_seen_at, TimestampTz expires_at)
{
	TimestampTz now = bo_now();

	if (now >= expires_at)
		return "expired";
	if (now >= after(last_seen_at, idle_s))
		return "idle";
	return NULL;
}

const char *
session_over(const Session *session)
{
	return over(session->last_seen_at, session->expires_at);
}

/* Under the latest snapshot: what has committed counts, whenever this transaction began. */
bool
session_is_alive(const pg_uuid_t *id)
{
	Datum		args[1] = {UUIDPGetDatum(id)};
	BoUser		saved;
	bool		alive;

	(void) marker_read(&marker);
	saved = bo_user_kernel();
	PushActiveSnapshot(GetLatestSnapshot());
	bo_spi_begin();
	alive = bo_spi_run_readonly(&alive_plan, args, NULL, 1) > 0 &&
		over(DatumGetTimestampTz(bo_spi_int64(0, 1)), DatumGetTimestampTz(bo_spi_int64(0, 2))) == NULL;
	bo_spi_end();
	PopActiveSnapshot();
	bo_user_restore(saved);
	return alive;
}

/* ---- keys of refresh tokens ---- */

static SecretOwner
owner_of(const Session *session)
{
	SecretOwner owner = {.id = session->id};

	return owner;
}

static Datum
new_key(Session *session)
{
	SecretOwner owner = owner_of(session);

	crypto_random(session->key, SESSION_KEY_BYTES);
	return PointerGetDatum(keys_encrypt(SESSION_KEY_PURPOSE, &owner, session->key, SESSION_KEY_BYTES));
}

void
session_read_key(Session *session, Datum stored)
{
	SecretOwner owner = owner_of(session);
	Size		length;
	char	   *clear = keys_decrypt(SESSION_KEY_PURPOSE, &owner, DatumGetByteaPP(stored), &length);

	memcpy(session->key, clear, Min(length, SESSION_KEY_BYTES));
	keys_wipe(clear, length);
}

/* ---- rows ---- */

void
session_start(Session *session)
{
	const SessionOrigin *origin = &session->origin;
	TimestampTz now = bo_now();
	Datum		args[11];
	char		nulls[12] = "           ";

	bo_uuid7(&session->id);
	session->active = true;
	session->ended_why = NULL;
	session->authenticated_at = session->last_seen_at = now;
	session->expires_at = after(now, lifetime_s);
	session->counter = 0;
	args[0] = UUIDPGetDatum(&session->id);
	args[1] = UUIDPGetDatum(&session->user_id);
	args[2] = UUIDPGetDatum(&session->organization_id);
	args[3] = PointerGetDatum(origin->device_info);
	args[4] = origin->ip;
	args[5] = TimestampTzGetDatum(now);
	args[6] = TimestampTzGetDatum(session->expires_at);
	args[7] = TimestampTzGetDatum(Min(session->expires_at, after(now, idle_s)));
	args[8] = Int16GetDatum(session->aal);
	args[9] = CStringGetTextDatum(session->amr);
	args[10] = new_key(session);
	nulls[2] = session->has_organization ? ' ' : 'n';
	nulls[3] = origin->device_info ? ' ' : 'n';
	nulls[4] = origin->has_ip ? ' ' : 'n';
	bo_spi_run(&insert_plan, args, nulls, 0);
}

bool
session_lock(const pg_uuid_t *id, Session *session)
{
	Datum		args[1] = {UUIDPGetDatum(id)};
	bool		isnull;

	if (bo_spi_run(&lock_plan, args, NULL, 1) == 0)
		return false;
	memset(session, 0, sizeof(Session));
	session->id = *id;
	session->user_id = bo_spi_uuid(0, 1);
	session->has_organization = !bo_spi_isnull(0, 2);
	if (session->has_organization)
		session->organization_id = bo_spi_uuid(0, 2);
	session->active = bo_spi_bool(0, 3);
	session->ended_why = bo_spi_text(0, 4);
	session->authenticated_at = DatumGetTimestampTz(bo_spi_datum(0, 5, &isnull));
	session->last_seen_at = DatumGetTimestampTz(bo_spi_datum(0, 6, &isnull));
	session->expires_at = DatumGetTimestampTz(bo_spi_datum(0, 7, &isnull));
	session->counter = bo_spi_int64(0, 8);
	session->aal = bo_spi_int32(0, 9);
	session->amr = bo_spi_text(0, 10);
	session_read_key(session, bo_spi_datum(0, 11, &isnull));
	session->origin.ip = bo_spi_datum(0, 12, &isnull);
	session->origin.has_ip = !isnull;
	return true;
}

void
session_move_counter(Session *session)
{
	Datum		args[4] = {UUIDPGetDatum(&session->id), Int64GetDatum(session->counter),
	TimestampTzGetDatum(bo_now()), session->origin.ip};

	session->last_seen_at = bo_now();
	bo_spi_run(&refresh_plan, args, session->origin.has_ip ? NULL : "   n", 0);
}

void
session_raise(Session *session, const char *method)
{
	TimestampTz now = bo_now();
	Datum		args[6];

	if (strstr(session->amr, method) == NULL)
		session->amr = psprintf("%s %s", session->amr, method);
	session->aal = 2;
	session->counter = 0;
	session->authenticated_at = session->last_seen_at = now;
	args[0] = UUIDPGetDatum(&session->id);
	args[1] = Int16GetDatum(session->aal);
	args[2] = CStringGetTextDatum(session->amr);
	args[3] = Int64GetDatum(session->counter);
	args[4] = new_key(session);
	args[5] = TimestampTzGetDatum(now);
	bo_spi_run(&raise_plan, args, NULL, 0);
}

/* ---- ends ---- */

static void
tell_end(const pg_uuid_t *id, const pg_uuid_t *user, const pg_uuid_t *organization, const char *why)
{
	JsonOut		json;

	json_begin(&json);
	json_uuid(&json, "sessionId", id);
	json_uuid(&json, "userId", user);
	json_text(&json, "why", why);
	audit_emit(organization, bo_uuid_text(user), "session.ended", &json);
}

void
session_end(const pg_uuid_t *id, const char *why)
{
	TimestampTz now = bo_now();
	Datum		args[4] = {UUIDPGetDatum(id), TimestampTzGetDatum(now), CStringGetTextDatum(why),
	TimestampTzGetDatum(after(now, retention_s))};
	pg_uuid_t	user,
				organization;
	bool		has_organization;

	if (bo_spi_run(&end_plan, args, NULL, 0) == 0)
		return;
	user = bo_spi_uuid(0, 1);
	has_organization = !bo_spi_isnull(0, 2);
	if (has_organization)
		organization = bo_spi_uuid(0, 2);
	tell_end(id, &user, has_organization ? &organization : &events_of_nobody, why);
}

/*
 * The user first, then the sessions in one order: of two who want several, one
 * waits before it holds any (seen without: a deadlock of logout_all() and another).
 */
static int
lock_all(const pg_uuid_t *user, const pg_uuid_t *organization)
{
	static BoPlan plan = {
		"SELECT id FROM access.sessions WHERE user_id = $1 AND ($2 IS NULL OR for_organization = $2) AND state = 'active' "
		"ORDER BY id FOR NO KEY UPDATE", 2, {UUIDOID, UUIDOID}
	};
	Datum		args[2] = {UUIDPGetDatum(user), UUIDPGetDatum(organization)};

	(void) user_lock(user);
	return (int) bo_spi_run(&plan, args, organization ? NULL : " n", 0);
}

int
session_lock_all(const pg_uuid_t *user)
{
	return lock_all(user, NULL);
}

int
session_end_all(const pg_uuid_t *user, const pg_uuid_t *organization, const pg_uuid_t *but, const char *why)
{
	int			count = lock_all(user, organization);
	pg_uuid_t  *ids = palloc(Max(count, 1) * sizeof(pg_uuid_t));
	int			ended = 0;

	for (int i = 0; i < count; i++)
		ids[i] = bo_spi_uuid(i, 1);
	for (int i = 0; i < count; i++)
		if (but == NULL || memcmp(&ids[i], but, UUID_LEN) != 0)
		{
			session_end(&ids[i], why);
			ended++;
		}
	return ended;
}

/* ---- keeper ---- */

/* A session that is due. */
typedef struct Due
{
	pg_uuid_t	id;
	TimestampTz due_at,
				last_seen_at,
				expires_at;
	bool		active;
} Due;

/* Up to where this round of the keeper has come. */
static Due passed = {.due_at = DT_NOBEGIN};

/* Locks them; one that somebody else has locked waits for the next round. */
static int
find_due(Due *due)
{
	static BoPlan plan = {
		"SELECT id, due_at, last_seen_at, expires_at, state = 'active' FROM access.sessions "
		"WHERE due_at <= $1 AND due_at >= $2 AND (due_at, id) > ($2, $3) "
		"ORDER BY due_at, id LIMIT " CppAsString2(KEEPER_BATCH) " FOR NO KEY UPDATE SKIP LOCKED",
		3, {TIMESTAMPTZOID, TIMESTAMPTZOID, UUIDOID}
	};
	Datum		args[3] = {TimestampTzGetDatum(bo_now()), TimestampTzGetDatum(passed.due_at), UUIDPGetDatum(&passed.id)};
	int			count = (int) bo_spi_run(&plan, args, NULL, 0);

	for (int i = 0; i < count; i++)
		due[i] = (Due) {
			.id = bo_spi_uuid(i, 1),
			.due_at = DatumGetTimestampTz(bo_spi_int64(i, 2)),
			.last_seen_at = DatumGetTimestampTz(bo_spi_int64(i, 3)),
			.expires_at = DatumGetTimestampTz(bo_spi_int64(i, 4)),
			.active = bo_spi_bool(i, 5)
		};
	return count;
}

/* Ends it, deletes it, or puts it off: it was refreshed since. */
static void
keep_one(void *thing)
{
	static BoPlan later_plan = {
		"UPDATE access.sessions SET due_at = $2 WHERE id = $1", 2, {UUIDOID, TIMESTAMPTZOID}
	};
	static BoPlan delete_plan = {"DELETE FROM access.sessions WHERE id = $1", 1, {UUIDOID}};
	Due		   *due = thing;
	const char *why = over(due->last_seen_at, due->expires_at);
	Datum		args[2] = {UUIDPGetDatum(&due->id), TimestampTzGetDatum(Min(due->expires_at, after(due->last_seen_at, idle_s)))};

	if (!due->active)
		bo_spi_run(&delete_plan, args, NULL, 0);
	else if (why != NULL)
		session_end(&due->id, why);
	else
		bo_spi_run(&later_plan, args, NULL, 0);
}

/* Some at a time: nobody waits long for one of them.  What cannot be written is passed, and is due again in the next round. */
static bool
keep(void)
{
	Due			due[KEEPER_BATCH];
	int			count;

	bo_spi_begin();
	count = find_due(due);
	for (int i = 0; i < count; i++)
		(void) events_keeper_try(keep_one, &due[i], psprintf("session %s", bo_uuid_text(&due[i].id)));
	bo_spi_end();
	if (count == KEEPER_BATCH)
		passed = due[count - 1];
	else
		passed = (Due) {.due_at = DT_NOBEGIN};
	return count == KEEPER_BATCH;
}

void
sessions_init(void)
{
	DefineCustomIntVariable("backoffice.session_lifetime",
							"How long a session lasts at most, however often it is refreshed.",
							"Applies to sessions started from now on.",
							&lifetime_s, 30 * 86400, 60, INT_MAX / 2, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("backoffice.session_idle_timeout",
							"How long a session lasts without being refreshed.",
							"Longer than access tokens live, or nobody stays logged in.",
							&idle_s, 7 * 86400, 60, INT_MAX / 2, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("backoffice.session_retention",
							"How long sessions that have ended are kept.",
							"They tell from which addresses a user has logged in before.",
							&retention_s, 30 * 86400, 0, INT_MAX / 2, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	marker_register(&marker);
	events_register_keeper_task("access: sessions", KEEPER_INTERVAL_MS, keep);
}
