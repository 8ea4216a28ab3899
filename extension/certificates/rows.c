/*
 * rows.c
 *		Columns of certificates, and the events of their steps.
 */
#include "certificates/rows.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "certificates/pools.h"
#include "certificates/stream.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

CertificatesTable certificates_table = {InvalidOid};

static const char *const column_names[CERTIFICATE_COLUMNS] = {
	"organization_id", "id", "pool_id", "slot_no", "face_value_minor", "balance_minor", "held_minor",
	"created_at", "version", "state", "code_index", "code_secret", "cvc_hash", "cvc_secret", "code_last4",
	"hold_until", "valid_until", "replaced_by", "channel", "order_ref", "order_line", "client_ref", "payment_ref"
};

static const char *note_status = NULL;
static const char *note_reason = NULL;

Relation
certificates_open(LOCKMODE lock)
{
	Oid			schema = get_namespace_oid("certificates", false);
	Oid			relid = get_relname_relid("certificates", schema);
	Relation	rel;

	if (!OidIsValid(relid))
		elog(ERROR, "table certificates.certificates does not exist");
	rel = table_open(relid, lock);
	/* Each time: REINDEX CONCURRENTLY puts others in their places. */
	certificates_table.slot_index = get_relname_relid("certificates_slot_key", schema);
	certificates_table.code_index = get_relname_relid("certificates_code_key", schema);
	if (!OidIsValid(certificates_table.slot_index) || !OidIsValid(certificates_table.code_index))
		elog(ERROR, "an index of certificates.certificates does not exist");
	if (certificates_table.relid != relid)
	{
		certificates_table.relid = InvalidOid;
		for (int i = 0; i < CERTIFICATE_COLUMNS; i++)
		{
			certificates_table.column[i] = get_attnum(relid, column_names[i]);
			if (certificates_table.column[i] == InvalidAttrNumber)
				elog(ERROR, "column certificates.certificates.%s does not exist", column_names[i]);
		}
		certificates_table.relid = relid;
	}
	return rel;
}

bool
certificate_is_available(HeapTuple row, TupleDesc desc)
{
	bool		isnull;
	text	   *state = DatumGetTextPP(heap_getattr(row, certificates_table.column[C_STATE], desc, &isnull));

	return VARSIZE_ANY_EXHDR(state) == strlen("available") &&
		memcmp(VARDATA_ANY(state), "available", strlen("available")) == 0;
}

bool
certificate_is_taken(HeapTuple row, Snapshot snapshot)
{
	HeapTupleHeader header = row->t_data;
	TransactionId changer;

	if ((header->t_infomask & HEAP_XMAX_INVALID) || HEAP_XMAX_IS_LOCKED_ONLY(header->t_infomask))
		return false;
	changer = HeapTupleHeaderGetUpdateXid(header);
	return TransactionIdIsValid(changer) &&
		(TransactionIdIsCurrentTransactionId(changer) || XidInMVCCSnapshot(changer, snapshot));
}

void
certificates_step_note(const char *status, const char *reason)
{
	note_status = status;
	note_reason = reason;
}

static void
forget_note(XactEvent event, void *arg)
{
	note_status = note_reason = NULL;
}

static void
forget_note_sub(SubXactEvent event, SubTransactionId my_subid, SubTransactionId parent_subid, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		note_status = note_reason = NULL;
}

/* ---- events ---- */

typedef struct Row
{
	Datum	   *values;
	bool	   *nulls;
} Row;

static Row
deform(HeapTuple tuple, TupleDesc desc)
{
	Row			row;

	row.values = palloc(sizeof(Datum) * desc->natts);
	row.nulls = palloc(sizeof(bool) * desc->natts);
	heap_deform_tuple(tuple, desc, row.values, row.nulls);
	return row;
}

#define AT(number) (certificates_table.column[number] - 1)

/* A text of the new row, or where that is gone, of the old. */
static char *
text_of(const Row *new_row, const Row *old_row, CertificateColumn column)
{
	int			at = AT(column);

	if (!new_row->nulls[at])
		return TextDatumGetCString(new_row->values[at]);
	if (old_row->values != NULL && !old_row->nulls[at])
		return TextDatumGetCString(old_row->values[at]);
	return NULL;
}

void
certificate_emit_step(const LifecycleStep *step)
{
	Row			new_row,
				old_row = {NULL, NULL};
	const pg_uuid_t *organization,
			   *id,
			   *pool_id;
	const Pool *pool;
	StreamEvent event;

	if (certificates_table.relid == InvalidOid)
		table_close(certificates_open(AccessShareLock), NoLock);
	new_row = deform(step->new_row, step->desc);
	if (step->old_row != NULL)
		old_row = deform(step->old_row, step->desc);
	organization = DatumGetUUIDP(new_row.values[AT(C_ORGANIZATION_ID)]);
	id = DatumGetUUIDP(new_row.values[AT(C_ID)]);
	pool_id = DatumGetUUIDP(new_row.values[AT(C_POOL_ID)]);
	pool = pool_by_id(organization, pool_id);

	stream_begin(&event, step->event, text_of(&new_row, &old_row, C_CHANNEL), note_status ? note_status : step->to);
	/* In the order of jsonb: see stream.c. */
	stream_text(&event, "pool", pool ? pool->code : NULL);
	stream_text(&event, "reason", note_reason);
	stream_int64(&event, "version", step->version);
	stream_text(&event, "currency", pool ? pool->currency : NULL);
	stream_text(&event, "orderRef", text_of(&new_row, &old_row, C_ORDER_REF));
	stream_text(&event, "clientRef", text_of(&new_row, &old_row, C_CLIENT_REF));
	stream_int64(&event, "heldMinor", DatumGetInt64(new_row.values[AT(C_HELD_MINOR)]));
	if (!new_row.nulls[AT(C_HOLD_UNTIL)])
		stream_time(&event, "holdUntil", DatumGetTimestampTz(new_row.values[AT(C_HOLD_UNTIL)]));
	stream_text(&event, "orderLine", text_of(&new_row, &old_row, C_ORDER_LINE));
	stream_text(&event, "paymentRef", text_of(&new_row, &old_row, C_PAYMENT_REF));
	if (!new_row.nulls[AT(C_REPLACED_BY)])
		stream_uuid(&event, "replacedBy", DatumGetUUIDP(new_row.values[AT(C_REPLACED_BY)]));
	if (!new_row.nulls[AT(C_VALID_UNTIL)])
		stream_time(&event, "validUntil", DatumGetTimestampTz(new_row.values[AT(C_VALID_UNTIL)]));
	stream_int64(&event, "balanceMinor", DatumGetInt64(new_row.values[AT(C_BALANCE_MINOR)]));
	stream_uuid(&event, "certificateId", id);
	stream_int64(&event, "faceValueMinor", DatumGetInt64(new_row.values[AT(C_FACE_VALUE_MINOR)]));
	stream_text(&event, "previousStatus", step->from);
	stream_emit(&event, id, organization);
}

void
rows_init(void)
{
	RegisterXactCallback(forget_note, NULL);
	RegisterSubXactCallback(forget_note_sub, NULL);
	lifecycle_register_emitter(CERTIFICATE_LIFE, certificate_emit_step);
}
