/*
 * pools_admin.c
 *		Making, pausing, resuming and closing pools.
 */
#include "certificates/level.h"

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
	"WITH made AS ("
	"    INSERT INTO certificates.pools (organization_id, id, code, currency, face_value_minor, validity, low_water, hold, "
	"        requires_activation, destroy_cvc_after_delivery, cvc_digits, code_format, state) "
	"    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 'empty') "
	"    ON CONFLICT (organization_id, code) DO NOTHING RETURNING organization_id, id) "
	"INSERT INTO certificates.pool_slots (organization_id, pool_id) SELECT m.organization_id, m.id FROM made m",
	12, {UUIDOID, UUIDOID, TEXTOID, TEXTOID, INT8OID, INTERVALOID, INT8OID, INTERVALOID,
	BOOLOID, BOOLOID, INT4OID, TEXTOID}
};

static BoPlan state_plan = {
	"SELECT state, coalesce(paused_from, 'open') FROM certificates.pools WHERE organization_id = $1 AND id = $2 FOR UPDATE",
	2, {UUIDOID, UUIDOID}
};

static BoPlan set_state_plan = {
	"UPDATE certificates.pools SET state = $3, paused_from = CASE WHEN $3 = 'paused' THEN state END WHERE organization_id = $1 AND id = $2",
	3, {UUIDOID, UUIDOID, TEXTOID}
};

/* Imports hold them: one that is under way comes in before the pool is closed. */
static BoPlan lock_slots_plan = {
	"SELECT FROM certificates.pool_slots WHERE organization_id = $1 AND pool_id = $2 FOR UPDATE",
	2, {UUIDOID, UUIDOID}
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
	pg_uuid_t	id;

	if (!matches(code, ALNUM "._-", 1, POOL_CODE_MAX) || strspn(code, ALNUM) == 0)
		invalid_pool("code", "1 to 63 letters, digits, \".\", \"_\" and \"-\", beginning with a letter or digit");
	if (bo_uuid_parse(code, strlen(code), &id))
		invalid_pool("code", "it must not look like an id");
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
	if (compare_interval(PG_GETARG_INTERVAL_P(3), 0) <= 0 || !certificates_is_within_calendar(PG_GETARG_INTERVAL_P(3)))
		invalid_pool("validity", "it must be longer than 0, and no longer than 1000 years");
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

/* to NULL: where it was paused. */
static void
set_pool_state(const Pool *pool, const char *verb, const char *to, bool (*legal) (const char *from))
{
	Datum		args[3] = {UUIDPGetDatum(&pool->organization_id), UUIDPGetDatum(&pool->id)};
	BoUser		caller = bo_user_definer();
	char	   *from;

	bo_spi_begin();
	if (to != NULL && strcmp(to, "closed") == 0)
		bo_spi_run(&lock_slots_plan, args, NULL, 1);
	if (bo_spi_run(&state_plan, args, NULL, 1) == 0)
		elog(ERROR, "pool \"%s\" vanished", pool->code);
	from = bo_spi_text(0, 1);
	if (to == NULL)
		to = bo_spi_text(0, 2);
	if (strcmp(from, to) != 0)
	{
		if (!legal(from))
			ereport(ERROR,
					(errcode(BO_CONFLICT),
					 errmsg("pool \"%s\" cannot be %s: it is %s", pool->code, verb, from),
					 bo_code("pool_state", "the pool is %s", from)));
		args[2] = CStringGetTextDatum(to);
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

static Pool
pool_to_manage(FunctionCallInfo fcinfo)
{
	access_require("certificates.manage_pools");
	return *pool_require(certificates_arg(fcinfo, 0, "pool", 64, true));
}

Datum
certificates_pause_pool(PG_FUNCTION_ARGS)
{
	Pool		pool = pool_to_manage(fcinfo);

	set_pool_state(&pool, "paused", "paused", not_closed);
	PG_RETURN_VOID();
}

/* Back to where it was paused, and then to what the stock says. */
Datum
certificates_resume_pool(PG_FUNCTION_ARGS)
{
	Pool		pool = pool_to_manage(fcinfo);

	if (pool.state == POOL_PAUSED || pool.state == POOL_CLOSED)
	{
		set_pool_state(&pool, "resumed", NULL, paused);
		level_settle(pool_by_id(&pool.organization_id, &pool.id));
	}
	PG_RETURN_VOID();
}

Datum
certificates_close_pool(PG_FUNCTION_ARGS)
{
	Pool		pool = pool_to_manage(fcinfo);

	set_pool_state(&pool, "closed", "closed", not_closed);
	PG_RETURN_VOID();
}
