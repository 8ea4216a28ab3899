/*
 * workers.c
 *		Signs of life of the thin workers.
 */
#include "core/core.h"

#include "catalog/pg_type.h"
#include "core/spi.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#define NAME_MAX_BYTES 255
#define DETAILS_MAX_BYTES 8192

PG_FUNCTION_INFO_V1(backoffice_heartbeat);

static void
refuse(const char *what)
{
	ereport(ERROR,
			(errcode(BO_BAD_REQUEST),
			 errmsg("invalid heartbeat"),
			 bo_code("invalid_heartbeat", "%s", what)));
}

static void
check_name(FunctionCallInfo fcinfo, int number, const char *what)
{
	if (PG_ARGISNULL(number) || VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(number)) == 0 ||
		VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(number)) > NAME_MAX_BYTES)
		refuse(psprintf("%s is a text of 1 to %d bytes", what, NAME_MAX_BYTES));
}

/* heartbeat(worker text, instance text, state text, position text, last_error text, details jsonb) */
Datum
backoffice_heartbeat(PG_FUNCTION_ARGS)
{
	static BoPlan beat = {
		"INSERT INTO backoffice.heartbeats AS h"
		" (worker, instance, state, heartbeat, \"position\", last_error, last_error_at, details, started_at)"
		" SELECT $1, $2, $3, now, pg_catalog.left($4, 200), pg_catalog.left($5, 2000), CASE WHEN $5 IS NOT NULL THEN now END, $6, now"
		" FROM (SELECT pg_catalog.clock_timestamp() AS now) AS clock"
		" ON CONFLICT (worker, instance) DO UPDATE SET state = EXCLUDED.state, heartbeat = EXCLUDED.heartbeat,"
		" \"position\" = coalesce(EXCLUDED.\"position\", h.\"position\"),"
		" last_error = coalesce(EXCLUDED.last_error, h.last_error),"
		" last_error_at = coalesce(EXCLUDED.last_error_at, h.last_error_at),"
		" details = coalesce(EXCLUDED.details, h.details)",
		6, {TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID}
	};
	Datum		args[6];
	char		nulls[6];
	char	   *state;
	BoUser		saved;

	check_name(fcinfo, 0, "worker");
	check_name(fcinfo, 1, "instance");
	state = PG_ARGISNULL(2) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(2));
	if (strcmp(state, "running") != 0 && strcmp(state, "draining") != 0 && strcmp(state, "stopped") != 0)
		refuse("state is running, draining or stopped");
	if (!PG_ARGISNULL(5) &&
		(!JB_ROOT_IS_OBJECT(PG_GETARG_JSONB_P(5)) || VARSIZE_ANY_EXHDR(PG_GETARG_JSONB_P(5)) > DETAILS_MAX_BYTES))
		refuse(psprintf("details is an object of at most %d bytes", DETAILS_MAX_BYTES));

	for (int i = 0; i < 6; i++)
	{
		args[i] = PG_ARGISNULL(i) ? (Datum) 0 : PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
	saved = bo_user_kernel();
	bo_spi_begin();
	bo_spi_run(&beat, args, nulls, 0);
	bo_spi_end();
	bo_user_restore(saved);
	PG_RETURN_VOID();
}
