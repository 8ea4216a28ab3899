/*
 * clock.c
 *		Time as the business sees it: the transaction's, or the test's.
 */
#include "core/core.h"

#include <time.h>

#include "access/xact.h"
#include "catalog/pg_type_d.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#include "core/settings.h"

PG_FUNCTION_INFO_V1(backoffice_now);
PG_FUNCTION_INFO_V1(backoffice_time_text);

static char *frozen_now_text;
static TimestampTz *frozen_now;	/* NULL: the real clock */

static bool
check_frozen_now(char **newval, void **extra, GucSource source)
{
	Datum		parsed;
	TimestampTz *copy;

	if (*newval == NULL || **newval == '\0')
		return true;

	/* The input function reports bad text itself, with the usual timestamp errors. */
	parsed = DirectFunctionCall3(timestamptz_in, CStringGetDatum(*newval),
								 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	copy = bo_guc_malloc(sizeof(TimestampTz));
	if (copy == NULL)
		return false;
	*copy = DatumGetTimestampTz(parsed);
	*extra = copy;
	return true;
}

static void
assign_frozen_now(const char *newval, void *extra)
{
	frozen_now = extra;
}

TimestampTz
bo_now(void)
{
	return frozen_now ? *frozen_now : GetCurrentTransactionStartTimestamp();
}

Datum
backoffice_now(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(bo_now());
}

TimestampTz
bo_monotonic(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (TimestampTz) now.tv_sec * USECS_PER_SEC + now.tv_nsec / 1000;
}

char *
bo_time_text(TimestampTz at)
{
	char	   *text = palloc(MAXDATELEN + 1);
	int			utc = 0;

	return JsonEncodeDateTime(text, TimestampTzGetDatum(at), TIMESTAMPTZOID, &utc);
}

/* time_text(at timestamptz): NULL for the infinities, which RFC 3339 does not have */
Datum
backoffice_time_text(PG_FUNCTION_ARGS)
{
	TimestampTz at = PG_GETARG_TIMESTAMPTZ(0);

	if (TIMESTAMP_NOT_FINITE(at))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(bo_time_text(at)));
}

void
clock_init(void)
{
	DefineCustomStringVariable("backoffice.frozen_now",
							   "Time that backoffice.now() answers instead of the transaction's start; empty: the real clock.",
							   "A timestamp with time zone. For tests: superusers only.",
							   &frozen_now_text, "", PGC_SUSET, GUC_NOT_IN_SAMPLE,
							   check_frozen_now, assign_frozen_now, NULL);
}
