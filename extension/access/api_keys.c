/*
 * api_keys.c
 *		Keys of machines: bok_ and base64url of (organization, id, 24 random bytes).
 *
 * A key may do what its scopes say, and no more than its user, if it has one.
 * When it was used is noted in shared memory, at most every ten seconds by each
 * backend, and written by the keeper: a request must not wait for another's row
 * lock, nor need a transaction that may write.
 */
#include "access/sessions.h"
#include "access/tokens.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "core/keys.h"
#include "core/spi.h"
#include "events/events.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define PURPOSE			"access.api_key"
#define SECRET_BYTES	24
#define KEY_BYTES		(2 * UUID_LEN + SECRET_BYTES)
#define KEY_CHARACTERS	((KEY_BYTES * 4 + 2) / 3)
#define NAME_BYTES_MAX	200
#define USES			256
#define NOTE_EVERY		(INT64CONST(10) * USECS_PER_SEC)
#define KEEPER_INTERVAL_MS	10000

typedef struct Use
{
	Oid			database;
	pg_uuid_t	organization_id;
	pg_uuid_t	id;
	TimestampTz at;				/* 0: free */
} Use;

static Use *uses;
static LWLock *uses_lock;

PG_FUNCTION_INFO_V1(access_create_api_key);
PG_FUNCTION_INFO_V1(access_revoke_api_key);

/* ---- last use ---- */

static Size
uses_size(void)
{
	return sizeof(Use) * USES;
}

/* The key's note, else a free one, else NULL. */
static Use *
find_use(const VerifiedToken *verified)
{
	Use		   *spare = NULL;

	for (int i = 0; i < USES; i++)
	{
		if (uses[i].at == 0)
			spare = &uses[i];
		else if (uses[i].database == MyDatabaseId && memcmp(&uses[i].id, &verified->api_key_id, UUID_LEN) == 0)
			return &uses[i];
	}
	return spare;
}

void
api_key_used(VerifiedToken *verified)
{
	TimestampTz now = bo_now();
	Use		   *use;

	if (verified->used_at != 0 && now - verified->used_at < NOTE_EVERY)
		return;
	verified->used_at = now;
	LWLockAcquire(uses_lock, LW_EXCLUSIVE);
	use = find_use(verified);
	if (use != NULL && use->at < now)
		*use = (Use) {MyDatabaseId, verified->organization_id, verified->api_key_id, now};
	LWLockRelease(uses_lock);
}

/* Takes one note of this database away. */
static bool
take_use(Use *taken)
{
	bool		found = false;

	LWLockAcquire(uses_lock, LW_EXCLUSIVE);
	for (int i = 0; i < USES && !found; i++)
		if (uses[i].at != 0 && uses[i].database == MyDatabaseId)
		{
			*taken = uses[i];
			uses[i].at = 0;
			found = true;
		}
	LWLockRelease(uses_lock);
	return found;
}

/* Keeper: a note that is lost with a rolled-back round is no loss. */
static bool
write_uses(void)
{
	static BoPlan plan = {
		"UPDATE access.api_key_records SET last_used_at = $3 "
		"WHERE organization_id = $1 AND id = $2 AND (last_used_at IS NULL OR last_used_at < $3)",
		3, {UUIDOID, UUIDOID, TIMESTAMPTZOID}
	};
	Use			use;
	Datum		args[3];

	bo_spi_begin();
	for (int i = 0; i < USES && take_use(&use); i++)
	{
		args[0] = UUIDPGetDatum(&use.organization_id);
		args[1] = UUIDPGetDatum(&use.id);
		args[2] = TimestampTzGetDatum(use.at);
		bo_spi_run(&plan, args, NULL, 0);
	}
	bo_spi_end();
	return false;
}

void
api_keys_init(void)
{
	bo_shmem_register("backoffice API keys", uses_size, (void **) &uses, NULL, &uses_lock);
	events_register_keeper_task("access: API keys", KEEPER_INTERVAL_MS, write_uses);
}

/* ---- verifying ---- */

/* What the parts of a key are. */
typedef struct ApiKey
{
	pg_uuid_t	organization_id;
	pg_uuid_t	id;
	uint8		secret[SECRET_BYTES];
} ApiKey;

static bool
read_form(const char *text, Size length, ApiKey *key)
{
	uint8		bytes[KEY_BYTES + 2];
	size_t		count;
	Size		prefix = strlen(API_KEY_PREFIX);

	if (length != prefix + KEY_CHARACTERS || !base64url_decode(text + prefix, length - prefix, bytes, &count) || count != KEY_BYTES)
		return false;
	memcpy(&key->organization_id, bytes, UUID_LEN);
	memcpy(&key->id, bytes + UUID_LEN, UUID_LEN);
	memcpy(key->secret, bytes + 2 * UUID_LEN, SECRET_BYTES);
	return true;
}

/* With the current key of the key file, now that the secret is here. */
static void
renew_hash(const ApiKey *key, const SecretOwner *owner)
{
	static BoPlan plan = {
		"UPDATE access.api_key_records SET hash = $3 WHERE organization_id = $1 AND id = $2", 3, {UUIDOID, UUIDOID, BYTEAOID}
	};
	Datum		args[3];

	args[0] = UUIDPGetDatum(&key->organization_id);
	args[1] = UUIDPGetDatum(&key->id);
	args[2] = PointerGetDatum(keys_hash(0, PURPOSE, owner, (const char *) key->secret, SECRET_BYTES));
	bo_spi_run(&plan, args, NULL, 0);
}

/* The row found, if the secret is its: into *verified. */
static void
take_row(const ApiKey *key, VerifiedToken *verified)
{
	SecretOwner owner = {key->organization_id, key->id};
	bool		isnull;
	bytea	   *hash = DatumGetByteaPP(bo_spi_datum(0, 1, &isnull));

	if (!keys_hash_matches(hash, PURPOSE, &owner, (const char *) key->secret, SECRET_BYTES))
		refuse_token(TOKEN_API_KEY_UNKNOWN, "there is none of this organization, or it was revoked");
	verified->valid_from = DT_NOBEGIN;
	verified->valid_until = bo_spi_isnull(0, 2) ? DT_NOEND : DatumGetTimestampTz(bo_spi_datum(0, 2, &isnull));
	if (bo_now() >= verified->valid_until)
		refuse_token(TOKEN_API_KEY_EXPIRED, "its time is past");
	verified->has_user = !bo_spi_isnull(0, 3);
	if (verified->has_user)
		verified->user_id = bo_spi_uuid(0, 3);
	rights_behind(&key->organization_id, bo_spi_datum(0, 4, &isnull), verified->scopes);
	if (!keys_is_current(hash) && !XactReadOnly)
		renew_hash(key, &owner);
}

void
api_key_verify(const char *text, Size length, VerifiedToken *verified)
{
	static BoPlan plan = {
		"SELECT hash, expires_at, user_id, scopes FROM access.api_key_records "
		"WHERE organization_id = $1 AND id = $2 AND state = 'active'", 2, {UUIDOID, UUIDOID}
	};
	ApiKey		key;
	Datum		args[2];
	BoUser		saved;

	if (!read_form(text, length, &key))
		refuse_token(TOKEN_MALFORMED, "it does not have the form of an API key");
	args[0] = UUIDPGetDatum(&key.organization_id);
	args[1] = UUIDPGetDatum(&key.id);
	verified->scopes = palloc0(sizeof(uint64) * (PRINCIPAL_RIGHTS / 64));
	saved = bo_user_kernel();
	PushActiveSnapshot(GetLatestSnapshot());
	bo_spi_begin();
	if (bo_spi_run_readonly(&plan, args, NULL, 1) == 0)
		refuse_token(TOKEN_API_KEY_UNKNOWN, "there is none of this organization, or it was revoked");
	take_row(&key, verified);
	bo_spi_end();
	PopActiveSnapshot();
	bo_user_restore(saved);
	verified->has_api_key = verified->has_organization = true;
	verified->api_key_id = key.id;
	verified->organization_id = key.organization_id;
	verified->is_bound = true;
	verified->bound_to = key.organization_id;
	verified->aal = 2;			/* its scopes were given by somebody who had them */
	verified->label = psprintf("apikey:%s", bo_uuid_text(&key.id));
	verified->claims = psprintf("{\"role\":\"backoffice_user\",\"api_key\":\"%s\"}", bo_uuid_text(&key.id));
}

/* ---- creating and revoking ---- */

static void
check_name(const char *name)
{
	Size		length = strlen(name);

	if (length == strspn(name, " \t\r\n") || length > NAME_BYTES_MAX)
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("an API key's name cannot be blank, nor longer than %d bytes", NAME_BYTES_MAX),
				 bo_code("bad_api_key_name", "the name has %zu bytes", length),
				 errhint("Give a name that tells whose key it is.")));
}

static void
check_expiry(TimestampTz expires_at)
{
	if (expires_at <= bo_now())
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("the API key would have expired already"),
				 bo_code("bad_expires_at", "it lies in the past"),
				 errhint("Give a time in the future, or NULL for a key without end.")));
}

/* The key's user: a member; for a user who acts, only itself. */
static void
check_user(const AdminCall *call, const pg_uuid_t *user)
{
	if (call->principal != NULL && !principal_is_service(call->principal) &&
		(!call->principal->has_user || memcmp(user, &call->principal->user_id, UUID_LEN) != 0))
		ereport(ERROR,
				(errcode(BO_FORBIDDEN),
				 errmsg("a key that acts for a user is made by that user"),
				 bo_code("not_oneself", "\"user\" is somebody else"),
				 errhint("Leave \"user\" out for a key of a machine.")));
	require_member(call, user);
}

static void
check_scopes(const AdminCall *call, FunctionCallInfo fcinfo)
{
	uint64		rights[PRINCIPAL_RIGHTS / 64];
	char	  **patterns;
	int			count = text_items(fcinfo, 1, "scopes", &patterns);

	if (count == 0)
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("an API key needs scopes"),
				 bo_code("bad_list", "scopes is empty"),
				 errhint("List the permissions that the key is for, such as certificates.issue.")));
	for (int i = 0; i < count; i++)
		check_pattern(patterns[i]);
	rights_behind(&call->organization_id, PG_GETARG_DATUM(1), rights);
	require_rights(call, rights, "the key");
}

static void
insert_key(const AdminCall *call, FunctionCallInfo fcinfo, const ApiKey *key)
{
	static BoPlan plan = {
		"INSERT INTO access.api_key_records (organization_id, id, name, scopes, expires_at, user_id, hash, created_by) "
		"VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		8, {UUIDOID, UUIDOID, TEXTOID, TEXTARRAYOID, TIMESTAMPTZOID, UUIDOID, BYTEAOID, UUIDOID}
	};
	SecretOwner owner = {key->organization_id, key->id};
	bool		by_user = call->principal != NULL && call->principal->has_user;
	char		nulls[] = "        ";
	Datum		args[8] = {0};

	args[0] = UUIDPGetDatum(&key->organization_id);
	args[1] = UUIDPGetDatum(&key->id);
	args[2] = PG_GETARG_DATUM(0);
	args[3] = PG_GETARG_DATUM(1);
	args[4] = PG_ARGISNULL(2) ? 0 : PG_GETARG_DATUM(2);
	args[5] = PG_ARGISNULL(4) ? 0 : PG_GETARG_DATUM(4);
	args[6] = PointerGetDatum(keys_hash(0, PURPOSE, &owner, (const char *) key->secret, SECRET_BYTES));
	args[7] = by_user ? UUIDPGetDatum(&call->principal->user_id) : 0;
	nulls[4] = PG_ARGISNULL(2) ? 'n' : ' ';
	nulls[5] = PG_ARGISNULL(4) ? 'n' : ' ';
	nulls[7] = by_user ? ' ' : 'n';
	bo_spi_run(&plan, args, nulls, 0);
}

static void
tell_key(const AdminCall *call, const pg_uuid_t *id, const char *name, const char *type)
{
	JsonOut		json;

	json_begin(&json);
	json_uuid(&json, "apiKeyId", id);
	json_text(&json, "name", name);
	audit_emit(&call->organization_id, bo_uuid_text(id), type, &json);
}

static char *
key_text(const ApiKey *key)
{
	uint8		bytes[KEY_BYTES];
	char		text[KEY_CHARACTERS + 4];

	memcpy(bytes, &key->organization_id, UUID_LEN);
	memcpy(bytes + UUID_LEN, &key->id, UUID_LEN);
	memcpy(bytes + 2 * UUID_LEN, key->secret, SECRET_BYTES);
	(void) base64url_encode(bytes, KEY_BYTES, text);
	return psprintf("%s%s", API_KEY_PREFIX, text);
}

/* create_api_key(name text, scopes text[], expires_at timestamptz, organization uuid, user uuid): {id, key} */
Datum
access_create_api_key(PG_FUNCTION_ARGS)
{
	char	   *name = required_text(fcinfo, 0, "name");
	const pg_uuid_t *user = optional_uuid(fcinfo, 4);
	AdminCall	call;
	ApiKey		key;
	JsonOut		json;

	check_name(name);
	if (!PG_ARGISNULL(2))
		check_expiry(PG_GETARG_TIMESTAMPTZ(2));
	admin_begin(&call, optional_uuid(fcinfo, 3), "access.manage_api_keys");
	check_scopes(&call, fcinfo);
	if (user != NULL)
		check_user(&call, user);
	key.organization_id = call.organization_id;
	bo_uuid7(&key.id);
	crypto_random(key.secret, SECRET_BYTES);
	insert_key(&call, fcinfo, &key);
	tell_key(&call, &key.id, name, "api_key.created");
	admin_end(&call);
	json_begin(&json);
	json_uuid(&json, "id", &key.id);
	json_text(&json, "key", key_text(&key));
	PG_RETURN_JSONB_P(json_end(&json));
}

/* revoke_api_key(id uuid, organization uuid): false when there was no such key in use */
Datum
access_revoke_api_key(PG_FUNCTION_ARGS)
{
	static BoPlan plan = {
		"UPDATE access.api_key_records SET state = 'revoked' WHERE organization_id = $1 AND id = $2 AND state = 'active' RETURNING name",
		2, {UUIDOID, UUIDOID}
	};
	const pg_uuid_t *id = required_uuid(fcinfo, 0, "id");
	AdminCall	call;
	Datum		args[2];
	bool		found;

	admin_begin(&call, optional_uuid(fcinfo, 1), "access.manage_api_keys");
	args[0] = UUIDPGetDatum(&call.organization_id);
	args[1] = UUIDPGetDatum(id);
	found = bo_spi_run(&plan, args, NULL, 0) > 0;
	if (found)
		tell_key(&call, id, bo_spi_text(0, 1), "api_key.revoked");
	admin_end(&call);
	PG_RETURN_BOOL(found);
}
