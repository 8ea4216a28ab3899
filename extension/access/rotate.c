/*
 * rotate.c
 *		Stored secrets of this context made anew with the current key of the key file.
 *
 * Keyed hashes cannot be made anew without what was hashed: an API key's is when
 * the key is used (api_keys.c), recovery codes are used up or replaced.
 */
#include "access/mfa.h"
#include "access/sessions.h"
#include "access/tokens.h"

#include "catalog/pg_type.h"
#include "core/keys.h"
#include "core/spi.h"
#include "miscadmin.h"

#define BATCH_MAX 1000000
#define STALE(columns, table, column) \
	{"SELECT " columns ", " column " FROM " table " WHERE substr(" column ", 1, length($1)) <> $1 " \
		"LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED", 2, {BYTEAOID, INT8OID}}
#define RENEW(table, column) \
	{"UPDATE " table " SET " column " = $2 WHERE id = $1", 2, {UUIDOID, BYTEAOID}}
#define NIL_ID "'00000000-0000-0000-0000-000000000000'::uuid, id"

PG_FUNCTION_INFO_V1(access_rotate_keys);

typedef struct Store
{
	const char *purpose;
	BoPlan		stale;			/* owner, id, secret of those made with another key */
	BoPlan		renew;
} Store;

static Store stores[] = {
	{TOKEN_KEY_PURPOSE, STALE(NIL_ID, "access.token_keys", "secret"), RENEW("access.token_keys", "secret")},
	{ISSUER_SECRET_PURPOSE, STALE(NIL_ID, "access.issuers", "client_secret"), RENEW("access.issuers", "client_secret")},
	{SESSION_KEY_PURPOSE, STALE(NIL_ID, "access.sessions", "refresh_key"), RENEW("access.sessions", "refresh_key")},
	{PURPOSE_SEED, STALE("user_id, id", "access.mfa_factors", "seed"), RENEW("access.mfa_factors", "seed")},
};

typedef struct Stale
{
	SecretOwner owner;
	bytea	   *secret;
} Stale;

static void
renew(Store *store, const Stale *stale)
{
	Size		length;
	char	   *clear = keys_decrypt(store->purpose, &stale->owner, stale->secret, &length);
	bytea	   *secret = keys_encrypt(store->purpose, &stale->owner, clear, length);
	Datum		args[2] = {UUIDPGetDatum(&stale->owner.id), PointerGetDatum(secret)};

	keys_wipe(clear, length);
	bo_spi_run(&store->renew, args, NULL, 0);
	pfree(secret);
}

/* At most batch rows of one table; how many. */
static int64
renew_some(Store *store, int64 batch)
{
	Datum		args[2] = {PointerGetDatum(keys_current_prefix()), Int64GetDatum(batch)};
	int64		count = (int64) bo_spi_run(&store->stale, args, NULL, 0);
	Stale	   *stale = palloc(sizeof(Stale) * Max(count, 1));
	bool		isnull;

	for (int64 i = 0; i < count; i++)
		stale[i] = (Stale) {{bo_spi_uuid(i, 1), bo_spi_uuid(i, 2)}, DatumGetByteaPCopy(bo_spi_datum(i, 3, &isnull))};
	for (int64 i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		renew(store, &stale[i]);
	}
	return count;
}

/* rotate_keys(batch integer): how many were made anew */
Datum
access_rotate_keys(PG_FUNCTION_ARGS)
{
	int64		batch = PG_ARGISNULL(0) ? 0 : PG_GETARG_INT32(0);
	int64		count = 0;
	BoUser		saved;

	if (batch < 1 || batch > BATCH_MAX)
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("the batch must be 1 to %d secrets", BATCH_MAX),
				 bo_code("invalid_argument", "it is NULL or another number"),
				 errhint("Leave it out.")));
	saved = bo_user_kernel();
	bo_spi_begin();
	for (int i = 0; i < lengthof(stores) && count < batch; i++)
		count += renew_some(&stores[i], batch - count);
	if (count > 0)
		audit_named("secrets.renewed", "key", keys_id(0));
	bo_spi_end();
	bo_user_restore(saved);
	PG_RETURN_INT64(count);
}
