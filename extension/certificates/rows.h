/*
 * rows.h
 *		Rows of certificates.certificates, read and written without SQL, and
 *		the events of their steps.
 */
#ifndef BACKOFFICE_ROWS_H
#define BACKOFFICE_ROWS_H

#include "core/core.h"

#include "access/htup.h"
#include "lifecycle/lifecycle.h"
#include "utils/rel.h"
#include "utils/snapshot.h"

#define CERTIFICATE_LIFE "certificates.certificates"
#define POOL_LIFE "certificates.pools"

typedef enum CertificateColumn
{
	C_ORGANIZATION_ID,
	C_ID,
	C_POOL_ID,
	C_SLOT_NO,
	C_FACE_VALUE_MINOR,
	C_BALANCE_MINOR,
	C_HELD_MINOR,
	C_CREATED_AT,
	C_VERSION,
	C_STATE,
	C_CODE_INDEX,
	C_CODE_SECRET,
	C_CVC_HASH,
	C_CVC_SECRET,
	C_CODE_LAST4,
	C_HOLD_UNTIL,
	C_VALID_UNTIL,
	C_REPLACED_BY,
	C_CHANNEL,
	C_ORDER_REF,
	C_ORDER_LINE,
	C_CLIENT_REF,
	C_PAYMENT_REF,
	CERTIFICATE_COLUMNS
} CertificateColumn;

/* What the columns' numbers are, and the indexes; good after certificates_open(). */
typedef struct CertificatesTable
{
	Oid			relid;
	Oid			slot_index;		/* (organization_id, pool_id, slot_no) */
	Oid			code_index;		/* (organization_id, code_index) */
	AttrNumber	column[CERTIFICATE_COLUMNS];
} CertificatesTable;

extern CertificatesTable certificates_table;

/* Opens the table (index "column" is attribute number - 1 in deformed arrays). */
extern Relation certificates_open(LOCKMODE lock);

extern bool certificate_is_available(HeapTuple row, TupleDesc desc);

/* Is this version being replaced: by this transaction, or by one in progress as the snapshot has it? */
extern bool certificate_is_taken(HeapTuple row, Snapshot snapshot);

/*
 * Why the next steps happen, for their events: reason goes into the payload,
 * status takes the place of the state's name.  Either may be NULL; both must
 * outlive the steps.  An error forgets them.
 */
extern void certificates_step_note(const char *status, const char *reason);

/* The event of a certificate's step; the lifecycle trigger's emitter, also called for direct writes. */
extern void certificate_emit_step(const LifecycleStep *step);

extern void rows_init(void);

#endif
