/*
 * spi.h
 *		Saved plans and typed results.  All SQL that C runs goes through here.
 */
#ifndef BACKOFFICE_SPI_H
#define BACKOFFICE_SPI_H

#include "core/core.h"
#include "executor/spi.h"

#define BO_PLAN_MAX_ARGS 20

/* A statement with $n parameters; prepared once per backend.  Declare as static. */
typedef struct BoPlan
{
	const char *sql;			/* every name catalog-qualified */
	int			nargs;
	Oid			argtypes[BO_PLAN_MAX_ARGS];
	SPIPlanPtr	plan;			/* NULL until first use */
	bool		replan;			/* plan at each use: for a table that is empty or large, as it comes */
	bool		first_of_many;	/* with replan: walk an index, never gather and sort; statistics may be none, or of an empty table */
} BoPlan;

/* Between begin and end, results of bo_spi_run() are readable. */
extern void bo_spi_begin(void);
extern void bo_spi_end(void);

/* Runs a saved plan, read-write; nulls may be NULL.  Returns the rows processed; max_rows 0 = all. */
extern uint64 bo_spi_run(BoPlan *plan, const Datum *args, const char *nulls, long max_rows);

/* The same with the snapshot of the calling statement, for STABLE functions. */
extern uint64 bo_spi_run_readonly(BoPlan *plan, const Datum *args, const char *nulls, long max_rows);

/* Result cells: row from 0, column from 1.  The typed getters error on NULL. */
extern bool bo_spi_isnull(uint64 row, int column);
extern Datum bo_spi_datum(uint64 row, int column, bool *isnull);
extern int64 bo_spi_int64(uint64 row, int column);
extern int32 bo_spi_int32(uint64 row, int column);
extern bool bo_spi_bool(uint64 row, int column);
extern pg_uuid_t bo_spi_uuid(uint64 row, int column);
extern char *bo_spi_text(uint64 row, int column);	/* in the SPI context; NULL for NULL */

#endif
