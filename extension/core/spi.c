/*
 * spi.c
 *		Saved plans and typed results.
 */
#include "core/spi.h"

#include "utils/guc.h"

#include "nodes/parsenodes.h"
#include "utils/builtins.h"

void
bo_spi_begin(void)
{
	int			rc = SPI_connect();

	if (rc != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed: %s", SPI_result_code_string(rc));
}

void
bo_spi_end(void)
{
	int			rc = SPI_finish();

	if (rc != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed: %s", SPI_result_code_string(rc));
}

static uint64
run(BoPlan *plan, const Datum *args, const char *nulls, bool read_only, long max_rows)
{
	int			rc;
	int			guc_level = 0;

	if (plan->plan == NULL)
	{
		SPIPlanPtr	prepared = SPI_prepare_cursor(plan->sql, plan->nargs, plan->argtypes,
														 plan->replan ? CURSOR_OPT_CUSTOM_PLAN : 0);

		if (prepared == NULL)
			elog(ERROR, "SPI_prepare failed: %s: %s", SPI_result_code_string(SPI_result), plan->sql);
		SPI_keepplan(prepared);
		plan->plan = prepared;
	}
	if (plan->first_of_many)
	{
		guc_level = NewGUCNestLevel();
		(void) set_config_option("enable_bitmapscan", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
		(void) set_config_option("enable_sort", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	}
	rc = SPI_execute_plan(plan->plan, (Datum *) args, nulls, read_only, max_rows);
	if (plan->first_of_many)
		AtEOXact_GUC(true, guc_level);
	if (rc < 0)
		elog(ERROR, "SPI_execute_plan failed: %s: %s", SPI_result_code_string(rc), plan->sql);
	return SPI_processed;
}

uint64
bo_spi_run(BoPlan *plan, const Datum *args, const char *nulls, long max_rows)
{
	return run(plan, args, nulls, false, max_rows);
}

uint64
bo_spi_run_readonly(BoPlan *plan, const Datum *args, const char *nulls, long max_rows)
{
	return run(plan, args, nulls, true, max_rows);
}

Datum
bo_spi_datum(uint64 row, int column, bool *isnull)
{
	Assert(SPI_tuptable != NULL && row < SPI_tuptable->numvals);
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}

static Datum
value(uint64 row, int column)
{
	bool		isnull;
	Datum		datum = bo_spi_datum(row, column, &isnull);

	if (isnull)
		elog(ERROR, "unexpected null in column %d", column);
	return datum;
}

bool
bo_spi_isnull(uint64 row, int column)
{
	bool		isnull;

	(void) bo_spi_datum(row, column, &isnull);
	return isnull;
}

int64
bo_spi_int64(uint64 row, int column)
{
	return DatumGetInt64(value(row, column));
}

int32
bo_spi_int32(uint64 row, int column)
{
	return DatumGetInt32(value(row, column));
}

bool
bo_spi_bool(uint64 row, int column)
{
	return DatumGetBool(value(row, column));
}

pg_uuid_t
bo_spi_uuid(uint64 row, int column)
{
	return *DatumGetUUIDP(value(row, column));
}

char *
bo_spi_text(uint64 row, int column)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);
}
