/*
 * position.c
 *		The base type events.position.
 */
#include "events/position.h"

#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(events_position_in);
PG_FUNCTION_INFO_V1(events_position_out);
PG_FUNCTION_INFO_V1(events_position_recv);
PG_FUNCTION_INFO_V1(events_position_send);
PG_FUNCTION_INFO_V1(events_position_lt);
PG_FUNCTION_INFO_V1(events_position_le);
PG_FUNCTION_INFO_V1(events_position_eq);
PG_FUNCTION_INFO_V1(events_position_ne);
PG_FUNCTION_INFO_V1(events_position_ge);
PG_FUNCTION_INFO_V1(events_position_gt);
PG_FUNCTION_INFO_V1(events_position_cmp);
PG_FUNCTION_INFO_V1(events_position_smaller);
PG_FUNCTION_INFO_V1(events_position_larger);

int
position_compare(const EventPosition *a, const EventPosition *b)
{
	if (a->tick != b->tick)
		return a->tick < b->tick ? -1 : 1;
	if (a->seq != b->seq)
		return a->seq < b->seq ? -1 : 1;
	/* The epoch only makes the order total. */
	if (a->epoch != b->epoch)
		return a->epoch < b->epoch ? -1 : 1;
	return 0;
}

char *
position_print(char *buffer, const EventPosition *position)
{
	snprintf(buffer, POSITION_TEXT_MAX, "%x:" INT64_FORMAT ":" INT64_FORMAT,
			 position->epoch, position->tick, position->seq);
	return buffer;
}

/* Digits of one part up to the separator; false if there are none or too many. */
static bool
parse_part(const char **text, int base, uint64 max, uint64 *value)
{
	const char *p = *text;
	uint64		v = 0;

	for (; *p != '\0'; p++)
	{
		int			digit;

		if (*p >= '0' && *p <= '9')
			digit = *p - '0';
		else if (base == 16 && *p >= 'a' && *p <= 'f')
			digit = *p - 'a' + 10;
		else if (base == 16 && *p >= 'A' && *p <= 'F')
			digit = *p - 'A' + 10;
		else
			break;
		if (v > (max - digit) / base)
			return false;
		v = v * base + digit;
	}
	if (p == *text)
		return false;
	*text = p;
	*value = v;
	return true;
}

static bool
parse(const char *text, EventPosition *position)
{
	uint64		epoch,
				tick,
				seq;

	if (!parse_part(&text, 16, PG_UINT32_MAX, &epoch) || *text++ != ':' ||
		!parse_part(&text, 10, PG_INT64_MAX, &tick) || *text++ != ':' ||
		!parse_part(&text, 10, PG_INT64_MAX, &seq) || *text != '\0')
		return false;
	*position = (EventPosition) {(uint32) epoch, 0, (int64) tick, (int64) seq};
	return true;
}

Datum
events_position_in(PG_FUNCTION_ARGS)
{
	char	   *text = PG_GETARG_CSTRING(0);
	EventPosition *position = palloc(sizeof(EventPosition));

	if (!parse(text, position))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid position in the event log: \"%s\"", text),
				 bo_code("bad_position", "a position is epoch:tick:seq, as events.read() returned it"),
				 errhint("Pass a position unchanged, or NULL to read from the beginning.")));
	PG_RETURN_POSITION_P(position);
}

Datum
events_position_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(position_print(palloc(POSITION_TEXT_MAX), PG_GETARG_POSITION_P(0)));
}

Datum
events_position_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buffer = (StringInfo) PG_GETARG_POINTER(0);
	EventPosition *position = palloc0(sizeof(EventPosition));

	position->epoch = pq_getmsgint(buffer, 4);
	position->tick = pq_getmsgint64(buffer);
	position->seq = pq_getmsgint64(buffer);
	if (position->tick < 0 || position->seq < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid position in the event log"),
				 bo_code("bad_position", "tick and seq are not negative"),
				 errhint("Pass a position unchanged, or NULL to read from the beginning.")));
	PG_RETURN_POSITION_P(position);
}

Datum
events_position_send(PG_FUNCTION_ARGS)
{
	EventPosition *position = PG_GETARG_POSITION_P(0);
	StringInfoData buffer;

	pq_begintypsend(&buffer);
	pq_sendint32(&buffer, position->epoch);
	pq_sendint64(&buffer, position->tick);
	pq_sendint64(&buffer, position->seq);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buffer));
}

#define COMPARED(op) \
	PG_RETURN_BOOL(position_compare(PG_GETARG_POSITION_P(0), PG_GETARG_POSITION_P(1)) op 0)

Datum
events_position_lt(PG_FUNCTION_ARGS)
{
	COMPARED(<);
}

Datum
events_position_le(PG_FUNCTION_ARGS)
{
	COMPARED(<=);
}

Datum
events_position_eq(PG_FUNCTION_ARGS)
{
	COMPARED(==);
}

Datum
events_position_ne(PG_FUNCTION_ARGS)
{
	COMPARED(!=);
}

Datum
events_position_ge(PG_FUNCTION_ARGS)
{
	COMPARED(>=);
}

Datum
events_position_gt(PG_FUNCTION_ARGS)
{
	COMPARED(>);
}

Datum
events_position_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(position_compare(PG_GETARG_POSITION_P(0), PG_GETARG_POSITION_P(1)));
}

Datum
events_position_smaller(PG_FUNCTION_ARGS)
{
	EventPosition *a = PG_GETARG_POSITION_P(0);
	EventPosition *b = PG_GETARG_POSITION_P(1);

	PG_RETURN_POSITION_P(position_compare(a, b) <= 0 ? a : b);
}

Datum
events_position_larger(PG_FUNCTION_ARGS)
{
	EventPosition *a = PG_GETARG_POSITION_P(0);
	EventPosition *b = PG_GETARG_POSITION_P(1);

	PG_RETURN_POSITION_P(position_compare(a, b) >= 0 ? a : b);
}
