/*
 * import.c
 *		A million codes in one call.
 *
 * First everything is checked: form, duplicates among the rows (by sorting
 * their hashes), duplicates in the table (by the blind index, under every key
 * loaded).  Only then are the pool's slots locked and taken, and rows written,
 * a thousand at a time, each thousand's clear texts wiped with its memory.
 * Two calls that bring the same code at once meet at the unique index.
 */
#include "certificates/import.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type_d.h"
#include "certificates/codes.h"
#include "certificates/level.h"
#include "certificates/rows.h"
#include "certificates/stream.h"
#include "core/spi.h"
#include "core/storage.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define BATCH 1000
#define REPORTED_ROWS 20
#define LAST_SYMBOLS 4
#define LAST_SYMBOLS_FROM 12	/* of shorter codes none are kept: they would give too much away */

int			import_max_codes = 2000000;

typedef enum Fault
{
	FAULT_CODE,
	FAULT_CHECK_SYMBOL,
	FAULT_CVC,
	FAULT_REPEATED,
	FAULT_EXISTS
} Fault;

static const char *const fault_names[] = {
	"malformed code", "wrong check symbol", "malformed CVC", "code repeated", "code exists"
};

typedef struct Hashed
{
	uint8		mac[KEYS_MAC_BYTES];
	int64		at;				/* index of its row */
} Hashed;

typedef struct Import
{
	const Pool *pool;
	const ImportRow *rows;
	int64		nrows;
	MemoryContext batch;		/* reset after each batch */
	int64		nfaults;
	struct
	{
		int64		number;
		Fault		fault;
	}			faults[REPORTED_ROWS];
} Import;

static BoPlan existing_plan = {
	"SELECT code_index FROM certificates.certificates WHERE organization_id = $1 AND code_index = ANY ($2)",
	2, {UUIDOID, BYTEAARRAYOID}
};

static BoPlan take_slots_plan = {
	"UPDATE certificates.pool_slots SET created = created + $3, next_slot = next_slot + $3 "
	"WHERE organization_id = $1 AND pool_id = $2 RETURNING next_slot - $3",
	3, {UUIDOID, UUIDOID, INT8OID}
};

static BoPlan is_closed_plan = {
	"SELECT FROM certificates.pools WHERE organization_id = $1 AND id = $2 AND state = 'closed'",
	2, {UUIDOID, UUIDOID}
};

/* The SQL variant of a batch: row by row. */
static BoPlan insert_plan = {
	"INSERT INTO certificates.certificates (organization_id, id, pool_id, slot_no, face_value_minor, balance_minor, created_at, "
	"    code_index, code_secret, cvc_hash, cvc_secret, code_last4) "
	"VALUES ($1, $2, $3, $4, $5, $5, $6, $7, $8, $9, $10, $11)",
	11, {UUIDOID, UUIDOID, UUIDOID, INT8OID, INT8OID, TIMESTAMPTZOID, BYTEAOID, BYTEAOID, BYTEAOID, BYTEAOID, TEXTOID}
};

/* ---- checking ---- */

/* Keeps the faults of the lowest rows: they come in the order of hashes. */
static void
fault(Import *import, int64 at, Fault what)
{
	int64		number = import->rows[at].number;
	int			place = (int) Min(import->nfaults, REPORTED_ROWS);

	import->nfaults++;
	while (place > 0 && import->faults[place - 1].number > number)
	{
		if (place < REPORTED_ROWS)
			import->faults[place] = import->faults[place - 1];
		place--;
	}
	if (place < REPORTED_ROWS)
	{
		import->faults[place].number = number;
		import->faults[place].fault = what;
	}
}

static int
by_number(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return x < y ? -1 : x > y;
}

/* Rows are named by their numbers, never by their codes. */
static void
report_faults(Import *import)
{
	StringInfoData list;
	int			shown = Min(import->nfaults, REPORTED_ROWS);

	if (import->nfaults == 0)
		return;
	initStringInfo(&list);
	for (int i = 0; i < shown; i++)
		appendStringInfo(&list, "%srow " INT64_FORMAT ": %s", i > 0 ? ", " : "",
						 import->faults[i].number, fault_names[import->faults[i].fault]);
	if (import->nfaults > shown)
		appendStringInfoString(&list, ", ...");
	ereport(ERROR,
			(errcode(BO_UNPROCESSABLE),
			 errmsg(INT64_FORMAT " of " INT64_FORMAT " codes are not acceptable, none was imported",
					import->nfaults, import->nrows),
			 bo_code("invalid_codes", "%s", list.data),
			 errhint("A code has %d to %d letters and digits (spaces, \"-\", \"_\" and \".\" do not count), a CVC %d to %d digits.",
					 CODE_MIN, CODE_MAX, CVC_MIN, CVC_MAX)));
}

static const uint8 *
mac_of(const bytea *hash)
{
	return (const uint8 *) VARDATA_ANY(hash) + VARSIZE_ANY_EXHDR(hash) - KEYS_MAC_BYTES;
}

static int
by_mac(const void *a, const void *b)
{
	return memcmp(((const Hashed *) a)->mac, ((const Hashed *) b)->mac, KEYS_MAC_BYTES);
}

/* By hash, then by row: of equal codes the first row stays, the others are repetitions. */
static int
by_mac_and_row(const void *a, const void *b)
{
	int			order = by_mac(a, b);

	return order != 0 ? order : by_number(&((const Hashed *) a)->at, &((const Hashed *) b)->at);
}

/* Hashes of all well-formed codes under one key, sorted; returns how many. */
static int64
hash_codes(Import *import, int key_number, bool report, Hashed *hashed)
{
	MemoryContext caller = MemoryContextSwitchTo(import->batch);
	int64		n = 0;

	for (int64 i = 0; i < import->nrows; i++)
	{
		const ImportRow *row = &import->rows[i];
		char		normal[CODE_MAX + 1];
		int			length = row->code.data ? code_normalise(row->code.data, row->code.length, normal) : 0;
		Fault		what = FAULT_EXISTS;

		CHECK_FOR_INTERRUPTS();
		if (length == 0)
			what = FAULT_CODE;
		else if (import->pool->checked_codes && !code_check_symbol_matches(normal, length))
			what = FAULT_CHECK_SYMBOL;
		else if (row->cvc.data != NULL && !cvc_is_well_formed(row->cvc.data, row->cvc.length))
			what = FAULT_CVC;
		if (what != FAULT_EXISTS)
		{
			if (report)
				fault(import, i, what);
			continue;
		}
		memcpy(hashed[n].mac, mac_of(code_index(key_number, &import->pool->organization_id, normal, length)),
			   KEYS_MAC_BYTES);
		hashed[n++].at = i;
		explicit_bzero(normal, sizeof(normal));
		if (i % BATCH == BATCH - 1)
			MemoryContextReset(import->batch);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextReset(import->batch);
	qsort(hashed, n, sizeof(Hashed), by_mac_and_row);
	return n;
}

/* Leaves one of each, the first row; returns how many.  So each row is at fault once, however many like it there are. */
static int64
drop_repetitions(Import *import, bool report, Hashed *hashed, int64 n)
{
	int64		kept = Min(n, 1);

	for (int64 i = 1; i < n; i++)
	{
		if (by_mac(&hashed[kept - 1], &hashed[i]) != 0)
			hashed[kept++] = hashed[i];
		else if (report)
			fault(import, hashed[i].at, FAULT_REPEATED);
	}
	return kept;
}

/* A hash as it is stored, with its key's id. */
static bytea *
stored_hash(int key_number, const uint8 *mac)
{
	const char *id = keys_id(key_number);
	Size		length = strlen(id);
	bytea	   *hash = palloc(VARHDRSZ + 1 + length + KEYS_MAC_BYTES);

	SET_VARSIZE(hash, VARHDRSZ + 1 + length + KEYS_MAC_BYTES);
	VARDATA(hash)[0] = (char) length;
	memcpy(VARDATA(hash) + 1, id, length);
	memcpy(VARDATA(hash) + 1 + length, mac, KEYS_MAC_BYTES);
	return hash;
}

static void
find_existing_directly(Import *import, int key_number, const Hashed *hashed, int64 n)
{
	Relation	rel = certificates_open(AccessShareLock);
	StorageProbe *probe = bo_storage_probe_begin(rel, certificates_table.code_index);
	MemoryContext caller = MemoryContextSwitchTo(import->batch);

	for (int64 i = 0; i < n; i++)
	{
		ScanKeyData keys[2];

		CHECK_FOR_INTERRUPTS();
		ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(&import->pool->organization_id));
		ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_BYTEAEQ, PointerGetDatum(stored_hash(key_number, hashed[i].mac)));
		if (bo_storage_probe(probe, keys, 2))
			fault(import, hashed[i].at, FAULT_EXISTS);
		if (i % BATCH == BATCH - 1)
			MemoryContextReset(import->batch);
	}
	MemoryContextSwitchTo(caller);
	bo_storage_probe_end(probe);
	table_close(rel, NoLock);
	MemoryContextReset(import->batch);
}

static void
find_existing_by_sql(Import *import, int key_number, const Hashed *hashed, int64 n)
{
	for (int64 from = 0; from < n; from += BATCH)
	{
		int64		count = Min(BATCH, n - from);
		MemoryContext caller = MemoryContextSwitchTo(import->batch);
		Datum	   *hashes = palloc(sizeof(Datum) * count);
		Datum		args[2];
		uint64		found;

		for (int64 i = 0; i < count; i++)
			hashes[i] = PointerGetDatum(stored_hash(key_number, hashed[from + i].mac));
		args[0] = UUIDPGetDatum(&import->pool->organization_id);
		args[1] = PointerGetDatum(construct_array(hashes, count, BYTEAOID, -1, false, TYPALIGN_INT));
		bo_spi_begin();
		found = bo_spi_run(&existing_plan, args, NULL, 0);
		for (uint64 i = 0; i < found; i++)
		{
			bool		isnull;
			Hashed		wanted = {0};
			const Hashed *match;

			memcpy(wanted.mac, mac_of(DatumGetByteaPP(bo_spi_datum(i, 1, &isnull))), KEYS_MAC_BYTES);
			match = bsearch(&wanted, hashed + from, count, sizeof(Hashed), by_mac);
			if (match != NULL)
				fault(import, match->at, FAULT_EXISTS);
		}
		bo_spi_end();
		MemoryContextSwitchTo(caller);
		MemoryContextReset(import->batch);
	}
}

static void
check_rows(Import *import)
{
	Hashed	   *hashed = MemoryContextAllocHuge(CurrentMemoryContext, Max(import->nrows, 1) * sizeof(Hashed));

	for (int key = 0; key < keys_count(); key++)
	{
		int64		n = hash_codes(import, key, key == 0, hashed);

		n = drop_repetitions(import, key == 0, hashed, n);
		if (bo_direct_writes)
			find_existing_directly(import, key, hashed, n);
		else
			find_existing_by_sql(import, key, hashed, n);
	}
	pfree(hashed);
	report_faults(import);
}

/* ---- writing ---- */

static int64
take_slots(const Import *import)
{
	Datum		args[3] = {UUIDPGetDatum(&import->pool->organization_id), UUIDPGetDatum(&import->pool->id),
	Int64GetDatum(import->nrows)};
	int64		first;

	bo_spi_begin();
	if (bo_spi_run(&take_slots_plan, args, NULL, 0) == 0)
		elog(ERROR, "pool \"%s\" has no slots", import->pool->code);
	first = bo_spi_int64(0, 1);
	/* Who closes a pool locks its slots before. */
	PushActiveSnapshot(GetLatestSnapshot());
	if (bo_spi_run_readonly(&is_closed_plan, args, NULL, 1) > 0)
		ereport(ERROR,
				(errcode(BO_CONFLICT),
				 errmsg("pool \"%s\" is closed", import->pool->code),
				 bo_code("pool_closed", "it takes no codes any more")));
	PopActiveSnapshot();
	bo_spi_end();
	return first;
}

#define SET(col, value) \
	(values[certificates_table.column[col] - 1] = (value), nulls[certificates_table.column[col] - 1] = false)

/* Values of a new row, in the current memory context. */
static void
fill_row(const Import *import, const ImportRow *row, int64 slot, Datum *values, bool *nulls)
{
	const Pool *pool = import->pool;
	SecretOwner owner = {pool->organization_id};
	char		normal[CODE_MAX + 1];
	char		made_cvc[CVC_MAX + 1];
	Secret		cvc = row->cvc;
	int			length = code_normalise(row->code.data, row->code.length, normal);
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));

	bo_uuid7(id);
	owner.id = *id;
	if (cvc.data == NULL)
	{
		cvc_generate(made_cvc, pool->cvc_digits);
		cvc.data = made_cvc;
		cvc.length = pool->cvc_digits;
	}
	SET(C_ORGANIZATION_ID, UUIDPGetDatum(&pool->organization_id));
	SET(C_ID, UUIDPGetDatum(id));
	SET(C_POOL_ID, UUIDPGetDatum(&pool->id));
	SET(C_SLOT_NO, Int64GetDatum(slot));
	SET(C_FACE_VALUE_MINOR, Int64GetDatum(pool->face_value_minor));
	SET(C_BALANCE_MINOR, Int64GetDatum(pool->face_value_minor));
	SET(C_HELD_MINOR, Int64GetDatum(0));
	SET(C_CREATED_AT, TimestampTzGetDatum(bo_now()));
	SET(C_VERSION, Int32GetDatum(1));
	SET(C_STATE, CStringGetTextDatum("available"));
	SET(C_CODE_INDEX, PointerGetDatum(code_index(0, &pool->organization_id, normal, length)));
	SET(C_CODE_SECRET, PointerGetDatum(keys_encrypt(PURPOSE_CODE, &owner, row->code.data, row->code.length)));
	SET(C_CVC_HASH, PointerGetDatum(keys_hash(0, PURPOSE_CVC, &owner, cvc.data, cvc.length)));
	SET(C_CVC_SECRET, PointerGetDatum(keys_encrypt(PURPOSE_CVC, &owner, cvc.data, cvc.length)));
	if (length >= LAST_SYMBOLS_FROM)
		SET(C_CODE_LAST4, CStringGetTextDatum(normal + length - LAST_SYMBOLS));
	explicit_bzero(normal, sizeof(normal));
	explicit_bzero(made_cvc, sizeof(made_cvc));
}

static void
insert_by_sql(const Datum *values, const bool *nulls)
{
	static const CertificateColumn columns[11] = {
		C_ORGANIZATION_ID, C_ID, C_POOL_ID, C_SLOT_NO, C_FACE_VALUE_MINOR, C_CREATED_AT,
		C_CODE_INDEX, C_CODE_SECRET, C_CVC_HASH, C_CVC_SECRET, C_CODE_LAST4
	};
	Datum		args[11];
	char		arg_nulls[11];

	for (int i = 0; i < 11; i++)
	{
		int			at = certificates_table.column[columns[i]] - 1;

		args[i] = values[at];
		arg_nulls[i] = nulls[at] ? 'n' : ' ';
	}
	bo_spi_begin();
	bo_spi_run(&insert_plan, args, arg_nulls, 0);
	bo_spi_end();
}

static void
write_rows(Import *import, int64 first_slot)
{
	Relation	rel = certificates_open(RowExclusiveLock);
	TupleDesc	desc = RelationGetDescr(rel);
	BulkInsertState bulk = GetBulkInsertState();
	Datum	   *values = palloc(sizeof(Datum) * desc->natts);
	bool	   *nulls = palloc(sizeof(bool) * desc->natts);
	HeapTuple	tuples[BATCH];

	(void) lifecycle_check_transition(CERTIFICATE_LIFE, NULL, "available");
	for (int64 from = 0; from < import->nrows; from += BATCH)
	{
		int			count = (int) Min(BATCH, import->nrows - from);
		MemoryContext caller = MemoryContextSwitchTo(import->batch);

		for (int i = 0; i < count; i++)
		{
			CHECK_FOR_INTERRUPTS();
			memset(nulls, true, sizeof(bool) * desc->natts);
			fill_row(import, &import->rows[from + i], first_slot + from + i, values, nulls);
			if (bo_direct_writes)
				tuples[i] = heap_form_tuple(desc, values, nulls);
			else
				insert_by_sql(values, nulls);
		}
		if (bo_direct_writes)
			bo_storage_insert_many(rel, tuples, count, bulk);
		MemoryContextSwitchTo(caller);
		MemoryContextReset(import->batch);
	}
	FreeBulkInsertState(bulk);
	table_close(rel, NoLock);
	CommandCounterIncrement();
}

static void
tell_imported(const Import *import, const char *source)
{
	const Pool *pool = import->pool;
	StreamEvent event;

	stream_begin(&event, "pool.imported", NULL, source);
	stream_uuid(&event, "poolId", &pool->id);
	stream_text(&event, "pool", pool->code);
	stream_int64(&event, "count", import->nrows);
	stream_emit(&event, &pool->id, &pool->organization_id);
}

void
import_run(const Pool *given, const ImportRow *rows, int64 nrows, const char *source)
{
	Pool		pool = *given;
	Import		import = {&pool, rows, nrows};
	int64		first_slot;
	BoUser		caller;

	PreventCommandIfReadOnly("an import of codes");
	if (nrows == 0)
		return;
	if (nrows > import_max_codes)
		import_too_many(nrows);
	import.batch = AllocSetContextCreate(CurrentMemoryContext, "backoffice import batch", ALLOCSET_DEFAULT_SIZES);
	caller = bo_user_definer();
	check_rows(&import);
	first_slot = take_slots(&import);
	write_rows(&import, first_slot);
	bo_user_restore(caller);
	MemoryContextDelete(import.batch);
	tell_imported(&import, source);
	level_settle(&pool);
	level_raised(&pool);
}

void
import_too_many(int64 n)
{
	ereport(ERROR,
			(errcode(BO_TOO_LARGE),
			 errmsg("too many codes in one call: " INT64_FORMAT, n),
			 bo_code("too_many_codes", "backoffice.max_import_codes is %d", import_max_codes),
			 errhint("Import them in several calls.")));
}

void
import_init(void)
{
	DefineCustomIntVariable("backoffice.max_import_codes",
							"Most codes that one call imports or generates.",
							NULL, &import_max_codes, 2000000, 1, 20000000, PGC_SUSET, 0, NULL, NULL, NULL);
}
