/*
 * session_rows.c
 *		A session's row without the executor, for the one thing that every
 *		session does again and again: the rotation of its refresh token.
 *
 * Nothing here waits.  Where the row is locked, or changes under our eyes, the
 * caller goes the way of session_lock(), which is the SQL variant too.
 */
#include "access/sessions.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type_d.h"
#include "core/storage.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

typedef enum SessionColumn
{
	S_USER,
	S_ORGANIZATION,
	S_STATE,
	S_AUTHENTICATED_AT,
	S_LAST_SEEN_AT,
	S_EXPIRES_AT,
	S_COUNTER,
	S_AAL,
	S_AMR,
	S_KEY,
	S_IP,
	SESSION_COLUMNS
} SessionColumn;

static const char *const column_names[SESSION_COLUMNS] = {
	"user_id", "for_organization", "state", "authenticated_at", "last_seen_at", "expires_at", "refresh_counter", "aal", "amr",
	"refresh_key", "ip"
};

static Oid	table = InvalidOid;	/* what the rest is of */
static Oid	primary_key;
static AttrNumber columns[SESSION_COLUMNS];

#define AT(column) (columns[column] - 1)

static Relation
open_table(void)
{
	Oid			schema = get_namespace_oid("access", false);
	Oid			relid = get_relname_relid("sessions", schema);
	Relation	rel;

	if (!OidIsValid(relid))
		elog(ERROR, "table access.sessions does not exist");
	rel = table_open(relid, RowExclusiveLock);
	/* Each time: REINDEX CONCURRENTLY puts another in its place. */
	primary_key = get_relname_relid("sessions_pkey", schema);
	if (!OidIsValid(primary_key))
		elog(ERROR, "the primary key of access.sessions does not exist");
	if (table != relid)
	{
		table = InvalidOid;
		for (int i = 0; i < SESSION_COLUMNS; i++)
		{
			columns[i] = get_attnum(relid, column_names[i]);
			if (columns[i] == InvalidAttrNumber)
				elog(ERROR, "column access.sessions.%s does not exist", column_names[i]);
		}
		table = relid;
	}
	return rel;
}

static HeapTuple
find(Relation rel, const pg_uuid_t *id)
{
	Relation	index = index_open(primary_key, AccessShareLock);
	ScanKeyData key;
	HeapTuple	row;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(id));
	row = bo_storage_find(rel, index, &key, 1);
	index_close(index, NoLock);
	return row;
}

static char *
joined(Datum words)
{
	StringInfoData out;
	Datum	   *elements;
	int			count;

	initStringInfo(&out);
	deconstruct_array(DatumGetArrayTypeP(words), TEXTOID, -1, false, TYPALIGN_INT, &elements, NULL, &count);
	for (int i = 0; i < count; i++)
		appendStringInfo(&out, "%s%s", i > 0 ? " " : "", TextDatumGetCString(elements[i]));
	return out.data;
}

static void
read_row(const Datum *values, const bool *nulls, Session *session)
{
	session->user_id = *DatumGetUUIDP(values[AT(S_USER)]);
	session->has_organization = !nulls[AT(S_ORGANIZATION)];
	if (session->has_organization)
		session->organization_id = *DatumGetUUIDP(values[AT(S_ORGANIZATION)]);
	session->active = strcmp(TextDatumGetCString(values[AT(S_STATE)]), "active") == 0;
	session->authenticated_at = DatumGetTimestampTz(values[AT(S_AUTHENTICATED_AT)]);
	session->last_seen_at = DatumGetTimestampTz(values[AT(S_LAST_SEEN_AT)]);
	session->expires_at = DatumGetTimestampTz(values[AT(S_EXPIRES_AT)]);
	session->counter = DatumGetInt64(values[AT(S_COUNTER)]);
	session->aal = DatumGetInt16(values[AT(S_AAL)]);
	session->amr = joined(values[AT(S_AMR)]);
	session->origin.has_ip = !nulls[AT(S_IP)];
	session->origin.ip = values[AT(S_IP)];
	session_read_key(session, values[AT(S_KEY)]);
}

bool
session_peek(const pg_uuid_t *id, Session *session, SessionRow *row)
{
	TupleDesc	desc;

	if (!bo_direct_writes || IsolationUsesXactSnapshot())
		return false;
	PreventCommandIfReadOnly("access.refresh()");
	row->rel = open_table();
	desc = RelationGetDescr(row->rel);
	row->tuple = find(row->rel, id);
	if (row->tuple == NULL)
	{
		table_close(row->rel, NoLock);
		return false;
	}
	row->values = palloc(desc->natts * sizeof(Datum));
	row->nulls = palloc(desc->natts * sizeof(bool));
	heap_deform_tuple(row->tuple, desc, row->values, row->nulls);
	memset(session, 0, sizeof(Session));
	session->id = *id;
	read_row(row->values, row->nulls, session);
	return true;
}

bool
session_try_move(SessionRow *row, Session *session)
{
	HeapTuple	moved;

	session->last_seen_at = bo_now();
	row->values[AT(S_COUNTER)] = Int64GetDatum(session->counter);
	row->values[AT(S_LAST_SEEN_AT)] = TimestampTzGetDatum(session->last_seen_at);
	row->values[AT(S_IP)] = session->origin.ip;
	row->nulls[AT(S_IP)] = !session->origin.has_ip;
	moved = heap_form_tuple(RelationGetDescr(row->rel), row->values, row->nulls);
	moved->t_tableOid = RelationGetRelid(row->rel);
	return bo_storage_update(row->rel, row->tuple, moved);
}

void
session_put_back(SessionRow *row)
{
	table_close(row->rel, NoLock);
}
