/*
 * lag.c
 *		How far behind a position is.
 */
#include "events/reader.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "events/topics.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

/* Up to here events are counted, beyond it they are estimated by sequence numbers. */
#define COUNTED_MAX 10000

PG_FUNCTION_INFO_V1(events_lag);

typedef struct Lag
{
	int64		events;
	double		seconds;
	bool		known;
} Lag;

/* Topics that are not defined (yet) have no events. */
static void
topics_of(ArrayType *array, EventFilter *filter)
{
	Datum	   *ids;
	int32	   *wanted;
	bool	   *nulls;
	int			count;

	deconstruct_array(array, INT4OID, sizeof(int32), true, TYPALIGN_INT, &ids, &nulls, &count);
	wanted = palloc(sizeof(int32) * Max(count, 1));
	for (int i = 0; i < count; i++)
		wanted[i] = nulls[i] ? 0 : DatumGetInt32(ids[i]);
	filter->topic_ids = wanted;
	filter->ntopics = count;
}

static Lag
measure(const EventPosition *after, const EventFilter *filter)
{
	EventReader *reader = reader_open(after, filter);
	EventPosition latest = reader_latest();
	Lag			lag = {.known = true};
	Event		event;

	while (lag.events < COUNTED_MAX && reader_next(reader, &event))
	{
		CHECK_FOR_INTERRUPTS();
		if (lag.events++ == 0)
			lag.seconds = Max((double) (GetCurrentTimestamp() - event.occurred_at) / USECS_PER_SEC, 0);
	}
	if (lag.events == COUNTED_MAX)
	{
		EventPosition here = reader_position(reader);

		lag.events += Max(latest.seq - here.seq, 0);
	}
	reader_close(reader);
	return lag;
}

/* lag(position, topic_ids int[]) returns (lag_events bigint, lag_seconds float8): nulls where the position cannot be read from */
Datum
events_lag(PG_FUNCTION_ARGS)
{
	EventPosition after = *PG_GETARG_POSITION_P(0);
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	EventFilter filter = {0};
	volatile Lag lag = {0};
	TupleDesc	desc;
	Datum		values[2];
	bool		nulls[2];

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	topics_of(PG_GETARG_ARRAYTYPE_P(1), &filter);
	/* A consumer whose position was cut off or dropped must not hide the others. */
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(caller);
	PG_TRY();
	{
		lag = measure(&after, &filter);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(caller);
		edata = CopyErrorData();
		FlushErrorState();
		/* Whatever it was: a subtransaction left open would leave the session in an aborted transaction for ever. */
		RollbackAndReleaseCurrentSubTransaction();
		if (edata->sqlerrcode == ERRCODE_QUERY_CANCELED)
		{
			CurrentResourceOwner = owner;
			ReThrowError(edata);
		}
		FreeErrorData(edata);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	CurrentResourceOwner = owner;

	values[0] = Int64GetDatum(lag.events);
	values[1] = Float8GetDatum(lag.seconds);
	nulls[0] = nulls[1] = !lag.known;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
