/*
 * import_sql.c
 *		The ways in for codes: arrays, COPY, and making them here.
 *
 * COPY certificates.import FROM ... writes into a view: its row trigger keeps
 * the clear text in memory, its statement trigger imports what was kept.
 * A table to stage in would put the codes onto pages and into WAL.
 * The row trigger raises nothing about a row's content: COPY would add the
 * whole line to the error, and that to the server's log.
 */
#include "certificates/import.h"

#include "access/access.h"
#include "access/xact.h"
#include "catalog/pg_type_d.h"
#include "certificates/certificates.h"
#include "certificates/codes.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(certificates_import_codes);
PG_FUNCTION_INFO_V1(certificates_generate_codes);
PG_FUNCTION_INFO_V1(certificates_import_row);
PG_FUNCTION_INFO_V1(certificates_import_end);

/* ---- arrays ---- */

static Datum *
array_elements(ArrayType *array, const char *name, bool **nulls, int *count)
{
	Datum	   *elements;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("%s must have one dimension", name),
				 bo_code("invalid_argument", "%s has %d", name, ARR_NDIM(array))));
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, nulls, count);
	return elements;
}

static Secret
secret_of(Datum element, bool isnull)
{
	Secret		secret = {NULL, 0};

	if (!isnull)
	{
		text	   *value = DatumGetTextPP(element);

		secret.data = VARDATA_ANY(value);
		secret.length = VARSIZE_ANY_EXHDR(value);
	}
	return secret;
}

/* import_codes(pool text, codes text[], cvcs text[]) */
Datum
certificates_import_codes(PG_FUNCTION_ARGS)
{
	Pool		pool;
	ImportRow  *rows;
	Datum	   *codes,
			   *cvcs = NULL;
	bool	   *code_nulls,
			   *cvc_nulls = NULL;
	int			ncodes,
				ncvcs;

	access_require("certificates.import");
	pool = *pool_require(certificates_arg(fcinfo, 0, "pool", 64, true));
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("the codes are missing"),
				 bo_code("invalid_argument", "codes is NULL")));
	codes = array_elements(PG_GETARG_ARRAYTYPE_P(1), "codes", &code_nulls, &ncodes);
	if (!PG_ARGISNULL(2))
	{
		cvcs = array_elements(PG_GETARG_ARRAYTYPE_P(2), "cvcs", &cvc_nulls, &ncvcs);
		if (ncvcs != ncodes)
			ereport(ERROR,
					(errcode(BO_BAD_REQUEST),
					 errmsg("there must be as many CVCs as codes"),
					 bo_code("invalid_argument", "%d codes, %d CVCs", ncodes, ncvcs)));
	}
	if (ncodes > import_max_codes)
		import_too_many(ncodes);
	rows = MemoryContextAllocHuge(CurrentMemoryContext, Max(ncodes, 1) * sizeof(ImportRow));
	for (int i = 0; i < ncodes; i++)
	{
		rows[i].number = i + 1;
		rows[i].code = secret_of(codes[i], code_nulls[i]);
		rows[i].cvc = cvcs ? secret_of(cvcs[i], cvc_nulls[i]) : (Secret) {NULL, 0};
	}
	import_run(&pool, rows, ncodes, "imported");
	pfree(rows);
	PG_RETURN_INT64(ncodes);
}

/* ---- making them here ---- */

/* generate_codes(pool text, count int) */
Datum
certificates_generate_codes(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context;
	Pool		pool;
	ImportRow  *rows;
	char	   *codes;
	int			count;

	access_require("certificates.import");
	pool = *pool_require(certificates_arg(fcinfo, 0, "pool", 64, true));
	if (PG_ARGISNULL(1) || PG_GETARG_INT32(1) < 1)
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("the number of codes must be above 0"),
				 bo_code("invalid_argument", "count is NULL or less than 1")));
	count = PG_GETARG_INT32(1);
	if (count > import_max_codes)
		import_too_many(count);

	context = AllocSetContextCreate(caller, "backoffice import", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	rows = MemoryContextAllocHuge(context, count * sizeof(ImportRow));
	codes = MemoryContextAllocHuge(context, (Size) count * GENERATED_CODE_BYTES);
	for (int i = 0; i < count; i++)
	{
		char	   *code = codes + (Size) i * GENERATED_CODE_BYTES;

		CHECK_FOR_INTERRUPTS();
		code_generate(code);
		rows[i] = (ImportRow) {i + 1, {code, strlen(code)}, {NULL, 0}};
	}
	import_run(&pool, rows, count, "generated");
	explicit_bzero(codes, (Size) count * GENERATED_CODE_BYTES);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	PG_RETURN_INT64(count);
}

/* ---- COPY ---- */

/* Of one statement: their list is gone through for each row. */
#define IMPORT_POOLS_MAX 100

/* What one statement's rows brought for one pool. */
typedef struct Staged
{
	char		pool[POOL_CODE_MAX + 2];	/* longer names are cut, and then not found */
	ImportRow  *rows;
	int64		nrows;
	int64		room;
	Pool		found;			/* once the statement has ended */
	struct Staged *next;
} Staged;

static MemoryContext staging = NULL;	/* child of the transaction's */
static SubTransactionId staging_subid;
static Staged *staged_pools;
static int	staged_npools;
static int64 staged_total;

static void
forget_staging(void)
{
	staging = NULL;
	staged_pools = NULL;
	staged_npools = 0;
	staged_total = 0;
}

static void
staging_at_xact_end(XactEvent event, void *arg)
{
	forget_staging();
}

static void
staging_at_subxact_end(SubXactEvent event, SubTransactionId my_subid, SubTransactionId parent_subid, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB && staging != NULL && staging_subid == my_subid)
		forget_staging();
	else if (event == SUBXACT_EVENT_COMMIT_SUB && staging_subid == my_subid)
		staging_subid = parent_subid;
}

static void
need_staging(void)
{
	static bool registered = false;

	if (!registered)
	{
		RegisterXactCallback(staging_at_xact_end, NULL);
		RegisterSubXactCallback(staging_at_subxact_end, NULL);
		registered = true;
	}
	if (staging == NULL)
	{
		staging = AllocSetContextCreate(CurTransactionContext, "backoffice import staging", ALLOCSET_DEFAULT_SIZES);
		staging_subid = GetCurrentSubTransactionId();
	}
}

static Secret
staged_secret(HeapTuple row, TupleDesc desc, int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(row, desc, column, &isnull);
	Secret		secret = secret_of(value, isnull);

	if (secret.data != NULL)
	{
		/* Longer than any code: malformed, and malformed it stays when cut. */
		Size		length = Min(secret.length, CODE_BYTES_MAX + 1);
		char	   *copy = MemoryContextAlloc(staging, length + 1);

		memcpy(copy, secret.data, length);
		secret.data = copy;
		secret.length = length;
	}
	return secret;
}

/* NULL: a pool too many, which is told at the end of the statement. */
static Staged *
staged_for(const char *pool)
{
	Staged	   *staged;

	for (staged = staged_pools; staged != NULL; staged = staged->next)
		if (strcmp(staged->pool, pool) == 0)
			return staged;
	if (++staged_npools > IMPORT_POOLS_MAX)
		return NULL;
	staged = MemoryContextAllocZero(staging, sizeof(Staged));
	strlcpy(staged->pool, pool, sizeof(staged->pool));
	staged->room = 64;
	staged->rows = MemoryContextAlloc(staging, sizeof(ImportRow) * staged->room);
	staged->next = staged_pools;
	staged_pools = staged;
	return staged;
}

/* INSTEAD OF INSERT, for each row */
Datum
certificates_import_row(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	TupleDesc	desc;
	Staged	   *staged;
	char	   *pool;
	char		name[POOL_CODE_MAX + 2];

	if (!CALLED_AS_TRIGGER(fcinfo))
		elog(ERROR, "not called as a trigger");
	need_staging();
	if (++staged_total > import_max_codes)
		return PointerGetDatum(data->tg_trigtuple);	/* told at the end of the statement */
	desc = RelationGetDescr(data->tg_relation);
	pool = SPI_getvalue(data->tg_trigtuple, desc, 1);
	strlcpy(name, pool ? pool : "", sizeof(name));
	staged = staged_for(name);
	if (staged == NULL)
		return PointerGetDatum(data->tg_trigtuple);
	if (staged->nrows == staged->room)
	{
		staged->room *= 2;
		staged->rows = repalloc_huge(staged->rows, sizeof(ImportRow) * staged->room);
	}
	staged->rows[staged->nrows].number = staged_total;
	staged->rows[staged->nrows].code = staged_secret(data->tg_trigtuple, desc, 2);
	staged->rows[staged->nrows].cvc = staged_secret(data->tg_trigtuple, desc, 3);
	staged->nrows++;
	return PointerGetDatum(data->tg_trigtuple);
}

static int
by_pool(const ListCell *a, const ListCell *b)
{
	return memcmp(&((Staged *) lfirst(a))->found.id, &((Staged *) lfirst(b))->found.id, sizeof(pg_uuid_t));
}

/* In an order that does not depend on the rows': two imports into the same pools may wait for each other, but not both. */
static void
import_staged(Staged *pools)
{
	List	   *in_order = NIL;
	ListCell   *cell;

	for (Staged *staged = pools; staged != NULL; staged = staged->next)
	{
		staged->found = *pool_require(staged->pool);
		in_order = lappend(in_order, staged);
	}
	list_sort(in_order, by_pool);
	foreach(cell, in_order)
	{
		Staged	   *staged = lfirst(cell);

		import_run(&staged->found, staged->rows, staged->nrows, "imported");
	}
	list_free(in_order);
}

/* AFTER INSERT, for each statement */
Datum
certificates_import_end(PG_FUNCTION_ARGS)
{
	MemoryContext context = staging;
	Staged	   *pools = staged_pools;
	int			npools = staged_npools;
	int64		total = staged_total;

	if (!CALLED_AS_TRIGGER(fcinfo))
		elog(ERROR, "not called as a trigger");
	forget_staging();
	access_require("certificates.import");
	if (total > import_max_codes)
		import_too_many(total);
	if (npools > IMPORT_POOLS_MAX)
		ereport(ERROR,
				(errcode(BO_TOO_LARGE),
				 errmsg("too many pools in one import"),
				 bo_code("too_many_pools", "at most %d are filled by one statement", IMPORT_POOLS_MAX),
				 errhint("Import them in several statements.")));
	import_staged(pools);
	if (context != NULL)
		MemoryContextDelete(context);
	return PointerGetDatum(NULL);
}
