/*
 * idempotency.c
 *		Keys of requests that may be sent twice.
 *
 * The key is inserted in the transaction of its effect: a concurrent twin
 * waits in the unique index until that transaction ends, and then replays its
 * answer or, after a rollback, does the work itself.
 */
#include "core/idempotency.h"

#include "catalog/pg_type.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "core/principal.h"
#include "core/spi.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"

/* On another's key: how often a key that vanishes (rollback of its holder) is tried again. */
#define MAX_ATTEMPTS 100

struct IdempotencyHash
{
	pg_cryptohash_ctx *sha;
};

IdempotencyHash *
idempotency_hash_begin(void)
{
	IdempotencyHash *hash = palloc(sizeof(IdempotencyHash));

	hash->sha = pg_cryptohash_create(PG_SHA256);
	if (hash->sha == NULL || pg_cryptohash_init(hash->sha) < 0)
		elog(ERROR, "could not start SHA-256");
	return hash;
}

static void
add(IdempotencyHash *hash, const void *bytes, Size length)
{
	if (pg_cryptohash_update(hash->sha, bytes, length) < 0)
		elog(ERROR, "could not go on with SHA-256: %s", pg_cryptohash_error(hash->sha));
}

void
idempotency_hash_int64(IdempotencyHash *hash, int64 number)
{
	uint64		network = pg_hton64((uint64) number);

	add(hash, &network, sizeof(network));
}

void
idempotency_hash_bytes(IdempotencyHash *hash, const void *bytes, Size length)
{
	idempotency_hash_int64(hash, bytes ? (int64) length : -1);
	if (bytes && length > 0)
		add(hash, bytes, length);
}

void
idempotency_hash_text(IdempotencyHash *hash, const char *text)
{
	idempotency_hash_bytes(hash, text, text ? strlen(text) : 0);
}

void
idempotency_hash_jsonb(IdempotencyHash *hash, Jsonb *json)
{
	idempotency_hash_text(hash, json ? JsonbToCString(NULL, &json->root, VARSIZE(json)) : NULL);
}

bytea *
idempotency_hash_end(IdempotencyHash *hash)
{
	bytea	   *result = palloc(VARHDRSZ + PG_SHA256_DIGEST_LENGTH);

	SET_VARSIZE(result, VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	if (pg_cryptohash_final(hash->sha, (uint8 *) VARDATA(result), PG_SHA256_DIGEST_LENGTH) < 0)
		elog(ERROR, "could not end SHA-256: %s", pg_cryptohash_error(hash->sha));
	pg_cryptohash_free(hash->sha);
	pfree(hash);
	return result;
}

/* The tenants' policy would not let a user write who acts for none. */
static BoUser
become_writer(void)
{
	return principal_require()->without_organization ? bo_user_kernel() : bo_user_definer();
}

/* Organization, scope and key as the first three arguments of a statement. */
static void
key_arguments(const char *scope, const char *key, Datum *args)
{
	const Principal *principal = principal_require();
	pg_uuid_t  *organization = palloc(sizeof(pg_uuid_t));

	if (key == NULL || key[0] == '\0' || strlen(key) > IDEMPOTENCY_KEY_MAX_BYTES)
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("invalid idempotency key"),
				 bo_code("invalid_idempotency_key", "the key is a text of 1 to %d bytes", IDEMPOTENCY_KEY_MAX_BYTES),
				 errhint("Send a fresh UUID per operation, and the same one when you repeat it.")));
	/* The keys of a user who acts for no organization are the user's own. */
	*organization = principal->without_organization ? principal->user_id : principal->organization_id;
	args[0] = UUIDPGetDatum(organization);
	args[1] = CStringGetTextDatum(scope);
	args[2] = CStringGetTextDatum(key);
}

void
idempotency_conflict(void)
{
	ereport(ERROR,
			(errcode(BO_CONFLICT),
			 errmsg("the idempotency key was used for another request"),
			 bo_code("idempotency_conflict", "the same key came with other arguments before"),
			 errhint("Use a new key for a new request.")));
}

/* Compares with the stored request; the row is the current result. */
static Jsonb *
replay(const char *key, const bytea *request_hash, MemoryContext caller)
{
	bool		isnull;
	bytea	   *stored = DatumGetByteaPP(bo_spi_datum(0, 1, &isnull));
	Datum		response;
	Jsonb	   *copy = NULL;

	if (VARSIZE_ANY_EXHDR(stored) != VARSIZE_ANY_EXHDR(request_hash) ||
		memcmp(VARDATA_ANY(stored), VARDATA_ANY(request_hash), VARSIZE_ANY_EXHDR(request_hash)) != 0)
		idempotency_conflict();
	response = bo_spi_datum(0, 2, &isnull);
	if (!isnull)
	{
		MemoryContext old = MemoryContextSwitchTo(caller);

		copy = DatumGetJsonbPCopy(response);
		MemoryContextSwitchTo(old);
	}
	return copy;
}

bool
idempotency_begin(const char *scope, const char *key, IdempotencyHash *hash, Jsonb **response)
{
	static BoPlan claim = {
		"INSERT INTO backoffice.idempotency_keys (organization_id, scope, key, request_hash)"
		" VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING", 4, {UUIDOID, TEXTOID, TEXTOID, BYTEAOID}
	};
	static BoPlan find = {
		"SELECT request_hash, response FROM backoffice.idempotency_keys"
		" WHERE organization_id = $1 AND scope = $2 AND key = $3", 3, {UUIDOID, TEXTOID, TEXTOID}
	};
	MemoryContext caller = CurrentMemoryContext;
	bytea	   *request_hash = idempotency_hash_end(hash);
	Datum		args[4];
	BoUser		saved;
	bool		ours = false;

	*response = NULL;
	key_arguments(scope, key, args);
	args[3] = PointerGetDatum(request_hash);

	saved = become_writer();
	bo_spi_begin();
	for (int attempt = 1;; attempt++)
	{
		CHECK_FOR_INTERRUPTS();
		if (bo_spi_run(&claim, args, NULL, 0) == 1)
		{
			ours = true;
			break;
		}
		if (bo_spi_run(&find, args, NULL, 1) == 1)
		{
			*response = replay(key, request_hash, caller);
			break;
		}
		if (attempt == MAX_ATTEMPTS)
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("the idempotency key is being removed"),
					 bo_code("removed_meanwhile", "backoffice.prune_idempotency_keys() runs in another transaction"),
					 errhint("Try again.")));
	}
	bo_spi_end();
	bo_user_restore(saved);
	return ours;
}

void
idempotency_finish(const char *scope, const char *key, Jsonb *response)
{
	static BoPlan store = {
		"UPDATE backoffice.idempotency_keys SET response = $4"
		" WHERE organization_id = $1 AND scope = $2 AND key = $3", 4, {UUIDOID, TEXTOID, TEXTOID, JSONBOID}
	};
	Datum		args[4];
	char		nulls[4] = {' ', ' ', ' ', ' '};
	BoUser		saved;

	key_arguments(scope, key, args);
	args[3] = response ? JsonbPGetDatum(response) : (Datum) 0;
	if (response == NULL)
		nulls[3] = 'n';

	saved = become_writer();
	bo_spi_begin();
	if (bo_spi_run(&store, args, nulls, 0) != 1)
		elog(ERROR, "idempotency_finish without idempotency_begin in scope \"%s\"", scope);
	bo_spi_end();
	bo_user_restore(saved);
}

void
idempotency_forget(const char *scope, const char *key)
{
	static BoPlan forget = {
		"DELETE FROM backoffice.idempotency_keys WHERE organization_id = $1 AND scope = $2 AND key = $3",
		3, {UUIDOID, TEXTOID, TEXTOID}
	};
	Datum		args[3];
	BoUser		saved;

	key_arguments(scope, key, args);
	saved = bo_user_kernel();
	bo_spi_begin();
	bo_spi_run(&forget, args, NULL, 0);
	bo_spi_end();
	bo_user_restore(saved);
}
