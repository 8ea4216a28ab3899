/* libFuzzer: a client's WebSocket frames, whole and in pieces, and what a stream's query may hold. make fuzz FUZZ=frames SECONDS=60 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/events_filter.h"
#include "gateway/events_format.h"
#include "gateway/events_frame.h"
#include "gateway/events_ticket.h"

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What came of the bytes: a number that does not depend on how they were cut. */
static uint64_t
read_all(const uint8_t *data, size_t size, size_t piece)
{
	FrameReader reader = {.head_len = 0};
	FrameResult result = FRAME_MORE;
	uint64_t	seen = 1;

	while (size > 0 && result != FRAME_WRONG)
	{
		size_t		n = piece < size ? piece : size;
		size_t		taken = frame_read(&reader, data, n, &result);

		if (taken == 0 || taken > n || reader.control_len > FRAME_MAX_CONTROL || reader.message_len > FRAME_MAX_MESSAGE)
			abort();
		data += taken;
		size -= taken;
		if (result != FRAME_MORE)
			seen = seen * 31 + (uint64_t) result * 7 + reader.control_len + (result >= FRAME_CLOSE_CAME ? reader.close_code : 0);
	}
	return seen;
}

static void
try_texts(const uint8_t *data, size_t size)
{
	static Ticket tickets[TICKETS];
	char	   *text = calloc(1, size + 1);
	char		token[TICKET_MAX_TOKEN];
	char		organization[37];
	char		accept[32];
	Position	position;
	char	   *list;
	int			count;

	if (text == NULL)
		return;
	memcpy(text, data, size);
	list = filter_list(text, FILTER_MAX_TYPE, &count);
	if (list != NULL && (count < 1 || count > FILTER_MAX_ITEMS))
		abort();
	free(list);
	if (position_parse(text, &position) && (position.tick < 0 || position.seq < 0))
		abort();
	if (frame_accept(text, accept) && strlen(accept) != 28)
		abort();
	if (ticket_take(tickets, 0, text, 1, token, organization))
		abort();
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t	whole = read_all(data, size, size);

	if (whole != read_all(data, size, 1) || whole != read_all(data, size, 3))
		abort();
	try_texts(data, size);
	return 0;
}
