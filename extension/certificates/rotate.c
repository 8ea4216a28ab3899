/*
 * rotate.c
 *		Stored secrets made anew with the current key.
 *
 * A CVC whose encrypted copy was destroyed leaves only its hash, which cannot
 * be made anew without the CVC: it stays under its old key, and that key must
 * stay in the key file for as long as key_usage() counts it.
 */
#include "certificates/certificates.h"

#include "catalog/pg_type_d.h"
#include "certificates/codes.h"
#include "certificates/movers.h"
#include "core/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(certificates_rotate_keys);

#define NOT_CURRENT(column) "substr(" column ", 1, length($1)) <> $1"

static BoPlan stale_plan = {
	"SELECT organization_id, id, code_secret, cvc_secret FROM certificates.certificates "
	"WHERE " NOT_CURRENT("code_secret") " OR " NOT_CURRENT("code_index") " OR " NOT_CURRENT("cvc_secret") " "
	"    OR (cvc_secret IS NOT NULL AND " NOT_CURRENT("cvc_hash") ") "
	"LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED",
	2, {BYTEAOID, INT8OID}
};

static BoPlan renew_plan = {
	"UPDATE certificates.certificates SET code_index = $3, code_secret = $4, "
	"    cvc_hash = coalesce($5, cvc_hash), cvc_secret = coalesce($6, cvc_secret) "
	"WHERE organization_id = $1 AND id = $2",
	6, {UUIDOID, UUIDOID, BYTEAOID, BYTEAOID, BYTEAOID, BYTEAOID}
};

typedef struct Stale
{
	SecretOwner owner;
	bytea	   *code_secret;
	bytea	   *cvc_secret;		/* NULL: destroyed */
} Stale;

static bytea *
copied(uint64 row, int column, MemoryContext context)
{
	MemoryContext caller;
	bytea	   *copy;
	bool		isnull;
	Datum		value = bo_spi_datum(row, column, &isnull);

	if (isnull)
		return NULL;
	caller = MemoryContextSwitchTo(context);
	copy = DatumGetByteaPCopy(value);
	MemoryContextSwitchTo(caller);
	return copy;
}

static void
renew(const Stale *stale)
{
	Datum		args[6] = {UUIDPGetDatum(&stale->owner.organization_id), UUIDPGetDatum(&stale->owner.id)};
	char		nulls[6] = {' ', ' ', ' ', ' ', 'n', 'n'};
	char		normal[CODE_MAX + 1];
	Size		length;
	char	   *clear = keys_decrypt(PURPOSE_CODE, &stale->owner, stale->code_secret, &length);
	int			symbols = code_normalise(clear, length, normal);

	args[2] = PointerGetDatum(code_index(0, &stale->owner.organization_id, normal, symbols));
	args[3] = PointerGetDatum(keys_encrypt(PURPOSE_CODE, &stale->owner, clear, length));
	keys_wipe(clear, length);
	explicit_bzero(normal, sizeof(normal));
	if (stale->cvc_secret != NULL)
	{
		clear = keys_decrypt(PURPOSE_CVC, &stale->owner, stale->cvc_secret, &length);
		args[4] = PointerGetDatum(keys_hash(0, PURPOSE_CVC, &stale->owner, clear, length));
		args[5] = PointerGetDatum(keys_encrypt(PURPOSE_CVC, &stale->owner, clear, length));
		nulls[4] = nulls[5] = ' ';
		keys_wipe(clear, length);
	}
	bo_spi_run(&renew_plan, args, nulls, 0);
}

/* rotate_keys(batch int) */
Datum
certificates_rotate_keys(PG_FUNCTION_ARGS)
{
	int32		batch = PG_ARGISNULL(0) ? 0 : PG_GETARG_INT32(0);
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext row = AllocSetContextCreate(caller, "backoffice rotate keys", ALLOCSET_DEFAULT_SIZES);
	Datum		args[2];
	Stale	   *stale;
	BoUser		user;
	uint64		count;

	if (batch < 1 || batch > 1000000)
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("the batch must be 1 to 1000000 certificates"),
				 bo_code("invalid_argument", "batch is %d", batch)));
	PreventCommandIfReadOnly("rotate_keys()");
	args[0] = PointerGetDatum(keys_current_prefix());
	args[1] = Int64GetDatum(batch);
	user = bo_user_kernel();
	movers_enter();
	bo_spi_begin();
	count = bo_spi_run(&stale_plan, args, NULL, 0);
	stale = MemoryContextAlloc(caller, Max(count, 1) * sizeof(Stale));
	for (uint64 i = 0; i < count; i++)
		stale[i] = (Stale) {{bo_spi_uuid(i, 1), bo_spi_uuid(i, 2)}, copied(i, 3, caller), copied(i, 4, caller)};
	for (uint64 i = 0; i < count; i++)
	{
		MemoryContext spi = MemoryContextSwitchTo(row);

		CHECK_FOR_INTERRUPTS();
		renew(&stale[i]);
		MemoryContextSwitchTo(spi);
		MemoryContextReset(row);
	}
	bo_spi_end();
	bo_user_restore(user);
	MemoryContextDelete(row);
	PG_RETURN_INT64(count);
}
