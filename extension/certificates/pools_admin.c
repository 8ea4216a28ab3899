/*
 * pools_admin.c
 *		Making, pausing, resuming and closing pools.
 */
#include "certificates/pools.h"

#include "access/access.h"
#include "catalog/pg_type_d.h"
#include "certificates/certificates.h"
#include "core/principal.h"
#include "core/spi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(certificates_create_pool);
PG_FUNCTION_INFO_V1(certificates_pause_pool);
PG_FUNCTION_INFO_V1(certificates_resume_pool);
PG_FUNCTION_INFO_V1(certificates_close_pool);

static BoPlan insert_plan = {
	"INSERT INTO certificates.pools (organization_id, id, code, currency, face_value_minor, validity, low_water, hold, "
	"    requires_activation, destroy_cvc_after_delivery, cvc_digits, code_format, state) "
	"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 'empty') "
	"ON CONFLICT (organization_id, code) DO NOTHING",
	12, {UUIDOID, UUIDOID, TEXTOID, TEXTOID, INT8OID, INTERVALOID, INT8OID, INTERVALOID,
	BOOLOID, BOOLOID, INT4OID, TEXTOID}
};

static BoPlan state_plan = {
	"SELECT state FROM certificates.pools WHERE organization_id = $1 AND id = $2 FOR UPDATE",
	2, {UUIDOID, UUIDOID}
};

static BoPlan set_state_plan = {
	"UPDATE certificates.pools SET state = $3 WHERE organization_id = $1 AND id = $2",
	3, {UUIDOID, UUIDOID, TEXTOID}
};

static void
invalid_pool(const char *what, const char *why)
{
	ereport(ERROR,
			(errcode(BO_UNPROCESSABLE),
			 errmsg("the pool's %s is not valid", what),
			 bo_code("invalid_pool", "%s", why)));
}

static bool
matches(const char *text, const char *alphabet, int min, int max)
{
	Size		length = strlen(text);

	return length >= min && length <= max && strspn(text, alphabet) == length;
}

#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define ALNUM UPPER "abcdefghijklmnopqrstuvwxyz0123456789"

static int
compare_interval(const Interval *interval, int days)
{
	Interval	other = {0, days, 0};

	return DatumGetInt32(DirectFunctionCall2(interval_cmp, IntervalPGetDatum(interval), IntervalPGetDatum(&other)));
}

/* What the table's CHECKs say too, told in terms of arguments. */
static void
check_pool_arguments(FunctionCallInfo fcinfo)
{
	char	   *code = certificates_arg(fcinfo, 0, "code", POOL_CODE_MAX, true);
	char	   *currency = certificates_arg(fcinfo, 1, "currency", 16, true);
	char	   *format;

	if (!matches(code, ALNUM "._-", 1, POOL_CODE_MAX) || strspn(code, ALNUM) == 0)
		invalid_pool("code", "1 to 63 letters, digits, \".\", \"_\" and \"-\", beginning with a letter or digit");
	if (!matches(currency, UPPER, 3, 3))
		invalid_pool("currency", "three capital letters of ISO 4217");
	for (int i = 2; i < 10; i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(BO_BAD_REQUEST),
					 errmsg("an argument is missing"),
					 bo_code("invalid_argument", "argument %d of create_pool is NULL", i + 1)));
	if (PG_GETARG_INT64(2) <= 0)
		invalid_pool("face value", "minor units of the currency, above 0");
	if (compare_interval(PG_GETARG_INTERVAL_P(3), 0) <= 0)
		invalid_pool("validity", "it must be longer than 0");
	if (PG_GETARG_INT64(4) < 0)
		invalid_pool("low-water mark", "a number of certificates, 0 or more");
	if (compare_interval(PG_GETARG_INTERVAL_P(5), 0) <= 0 || compare_interval(PG_GETARG_INTERVAL_P(5), 366) > 0)
		invalid_pool("hold", "it must be longer than 0 and at most 366 days");
	if (PG_GETARG_INT32(8) < 3 || PG_GETARG_INT32(8) > 6)
		invalid_pool("number of CVC digits", "3 to 6");
	format = certificates_arg(fcinfo, 9, "code_format", 16, true);
	if (strcmp(format, "any") != 0 && strcmp(format, "checked") != 0)
		invalid_pool("code format", "any or checked");
}

/* create_pool(code, currency, face_value, validity, low_water, hold, requires_activation, destroy_cvc, cvc_digits, code_format) */
Datum
certificates_create_pool(PG_FUNCTION_ARGS)
{
	pg_uuid_t	organization = principal_require()->organization_id;
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));
	Datum		args[12];
	BoUser		caller;
	bool		inserted;

	access_require("certificates.manage_pools");
	check_pool_arguments(fcinfo);
	bo_uuid7(id);
	args[0] = UUIDPGetDatum(&organization);
	args[1] = UUIDPGetDatum(id);
	for (int i = 0; i < 10; i++)
		args[i + 2] = PG_GETARG_DATUM(i);

	caller = bo_user_definer();
	bo_spi_begin();
	inserted = bo_spi_run(&insert_plan, args, NULL, 0) == 1;
	bo_spi_end();
	bo_user_restore(caller);
	if (!inserted)
		ereport(ERROR,
				(errcode(BO_CONFLICT),
				 errmsg("pool \"%s\" exists already", text_to_cstring(PG_GETARG_TEXT_PP(0))),
				 bo_code("pool_exists", "the organization has a pool with this code"),
				 errhint("Use the pool that there is, or another code.")));
	PG_RETURN_UUID_P(id);
}

static void
set_pool_state(FunctionCallInfo fcinfo, const char *verb, PoolState to, bool (*legal) (const char *from))
{
	Pool		pool;
	Datum		args[3];
	BoUser		caller;
	char	   *from;

	access_require("certificates.manage_pools");
	pool = *pool_require(certificates_arg(fcinfo, 0, "pool", 64, true));
	caller = bo_user_definer();
	bo_spi_begin();
	args[0] = UUIDPGetDatum(&pool.organization_id);
	args[1] = UUIDPGetDatum(&pool.id);
	if (bo_spi_run(&state_plan, args, NULL, 1) == 0)
		elog(ERROR, "pool \"%s\" vanished", pool.code);
	from = bo_spi_text(0, 1);
	if (strcmp(from, pool_state_name(to)) != 0)
	{
		if (!legal(from))
			ereport(ERROR,
					(errcode(BO_CONFLICT),
					 errmsg("pool \"%s\" cannot be %s: it is %s", pool.code, verb, from),
					 bo_code("pool_state", "the pool is %s", from)));
		args[2] = CStringGetTextDatum(pool_state_name(to));
		bo_spi_run(&set_state_plan, args, NULL, 0);
	}
	bo_spi_end();
	bo_user_restore(caller);
}

static bool
not_closed(const char *from)
{
	return strcmp(from, "closed") != 0;
}

static bool
paused(const char *from)
{
	return strcmp(from, "paused") == 0;
}

Datum
certificates_pause_pool(PG_FUNCTION_ARGS)
{
	set_pool_state(fcinfo, "paused", POOL_PAUSED, not_closed);
	PG_RETURN_VOID();
}

/* Back to what the stock says. */
Datum
certificates_resume_pool(PG_FUNCTION_ARGS)
{
	Pool		pool;
	int64		available;

	access_require("certificates.manage_pools");
	pool = *pool_require(certificates_arg(fcinfo, 0, "pool", 64, true));
	available = pool_stock(&pool);
	if (pool.state == POOL_PAUSED || pool.state == POOL_CLOSED)
		set_pool_state(fcinfo, "resumed", pool_state_for(&pool, available), paused);
	PG_RETURN_VOID();
}

Datum
certificates_close_pool(PG_FUNCTION_ARGS)
{
	set_pool_state(fcinfo, "closed", POOL_CLOSED, not_closed);
	PG_RETURN_VOID();
}
