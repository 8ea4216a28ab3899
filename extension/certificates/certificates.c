/*
 * certificates.c
 *		Start-up of this context, and its arguments.
 */
#include "certificates/certificates.h"

#include "certificates/allocator.h"
#include "certificates/import.h"
#include "certificates/level.h"
#include "certificates/life.h"
#include "certificates/movers.h"
#include "certificates/rows.h"
#include "certificates/sweep.h"
#include "certificates/throttle.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

char *
certificates_arg(FunctionCallInfo fcinfo, int number, const char *name, int max_bytes, bool required)
{
	Size		length;

	if (PG_ARGISNULL(number))
	{
		if (!required)
			return NULL;
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("%s is missing", name),
				 bo_code("invalid_argument", "%s is NULL", name)));
	}
	length = VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(number));
	if (length == 0 || length > max_bytes)
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("%s is %s", name, length == 0 ? "empty" : "too long"),
				 bo_code("invalid_argument", "%s has %zu bytes, 1 to %d are allowed", name, length, max_bytes)));
	return text_to_cstring(PG_GETARG_TEXT_PP(number));
}

static bool
is_between(int64 value, int64 bound)
{
	return value >= -bound && value <= bound;
}

bool
certificates_is_within_calendar(const Interval *interval)
{
	return is_between(interval->month, 1000 * MONTHS_PER_YEAR) && is_between(interval->day, 366000) &&
		is_between(interval->time, 366000 * USECS_PER_DAY);
}

TimestampTz
certificates_later(TimestampTz time, const Interval *interval)
{
	if (!certificates_is_within_calendar(interval))
		return DT_NOEND;
	return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(time), IntervalPGetDatum(interval)));
}

pg_uuid_t *
certificates_arg_id(FunctionCallInfo fcinfo, int number)
{
	if (PG_ARGISNULL(number))
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("the certificate's id is missing"),
				 bo_code("invalid_argument", "id is NULL")));
	return PG_GETARG_UUID_P(number);
}

void
certificate_not_found(const pg_uuid_t *id)
{
	ereport(ERROR,
			(errcode(BO_NOT_FOUND),
			 errmsg("certificate %s does not exist", bo_uuid_text(id)),
			 bo_code("certificate_not_found", "the organization has no certificate with this id")));
}

void
certificates_init(void)
{
	allocator_init();
	import_init();
	level_init();
	movers_init();
	rows_init();
	life_keeper_init();
	sweep_init();
	throttle_init();
}
