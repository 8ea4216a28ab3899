/* One client: its socket, what waits to be sent, signs of life, the end. */
#include <gnutls/crypto.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "gateway/events_internal.h"
#include "gateway/stats.h"
#include "lib/log.h"

#define IOVECS 64
#define READ_BYTES 4096
#define QUEUE_FIRST 8
#define CLOSING_MS 3000
#define MAX_UNANSWERED 2		/* pings */
#define MAX_PONGS 256			/* that wait for a client which takes none */
#define MAX_TICK_PINGS 2000

static void ready(void *context, uint32_t events);

Form
listener_form(const Listener *listener)
{
	return listener->frames != NULL ? FORM_WEBSOCKET : FORM_SSE;
}

/* ---- lists ---- */

static void
list_append(ListenerList *list, Listener *listener)
{
	listener->next = NULL;
	listener->previous = list->last;
	if (list->last != NULL)
		list->last->next = listener;
	else
		list->first = listener;
	list->last = listener;
}

static void
list_remove(ListenerList *list, Listener *listener)
{
	if (listener->previous != NULL)
		listener->previous->next = listener->next;
	else
		list->first = listener->next;
	if (listener->next != NULL)
		listener->next->previous = listener->previous;
	else
		list->last = listener->previous;
}

/* ---- the queue ---- */

static bool
grow(Listener *listener)
{
	int			size = listener->size > 0 ? listener->size * 2 : QUEUE_FIRST;
	Chunk	  **queue = malloc((size_t) size * sizeof(*queue));

	if (queue == NULL)
		return false;
	for (int i = 0; i < listener->count; i++)
		queue[i] = listener->queue[(listener->first + i) % listener->size];
	free(listener->queue);
	listener->queue = queue;
	listener->size = size;
	listener->first = 0;
	return true;
}

void
listener_queue(Listener *listener, Chunk *chunk)
{
	if (listener->closing || listener->overflowed)
		return;
	/* Something that is missing in between must not go unnoticed: no memory is as bad as no room. */
	if (chunk == NULL || (listener->count == listener->size && !grow(listener)))
	{
		listener->overflowed = true;
		return;
	}
	chunk->refs++;
	listener->queue[(listener->first + listener->count++) % listener->size] = chunk;
	listener->queued += chunk->len;
}

static void
drop_first(Listener *listener)
{
	const Chunk *chunk = listener->queue[listener->first];

	if (chunk->position.tick > 0)
		listener->sent_to = chunk->position;
	chunk_free(listener->queue[listener->first]);
	listener->first = (listener->first + 1) % listener->size;
	listener->count--;
	listener->offset = 0;
}

/* What was not begun to be sent is not sent. */
static void
drop_queue(Listener *listener)
{
	int			keep = listener->count > 0 && (listener->offset > 0 || listener->wire.unsent) ? 1 : 0;

	while (listener->count > keep)
	{
		listener->count--;
		chunk_free(listener->queue[(listener->first + listener->count) % listener->size]);
	}
	listener->queued = keep > 0 ? listener->queue[listener->first]->len - listener->offset : 0;
}

static void
free_queue(Listener *listener)
{
	while (listener->count > 0)
		drop_first(listener);
	free(listener->queue);
	listener->queue = NULL;
	listener->size = listener->first = 0;
	listener->queued = 0;
}

/* ---- sending ---- */

static void
sent(Listener *listener, size_t n)
{
	listener->queued -= n;
	while (n > 0)
	{
		size_t		left = listener->queue[listener->first]->len - listener->offset;

		if (n < left)
		{
			listener->offset += n;
			return;
		}
		n -= left;
		drop_first(listener);
	}
}

/* Sends what the socket takes. False: the connection is broken. */
static bool
send_queue(Listener *listener)
{
	while (listener->count > 0)
	{
		struct iovec parts[IOVECS];
		size_t		len = 0;
		size_t		part_count = 0;
		ssize_t		n;

		for (int i = 0; i < listener->count && i < IOVECS; i++)
		{
			Chunk	   *chunk = listener->queue[(listener->first + i) % listener->size];
			size_t		offset = i == 0 ? listener->offset : 0;

			parts[part_count++] = (struct iovec) {chunk->bytes + offset, chunk->len - offset};
			len += chunk->len - offset;
		}
		n = wire_send(&listener->wire, parts, part_count);
		if (n < 0)
			return false;
		sent(listener, (size_t) n);
		if ((size_t) n < len)
			break;
	}
	return true;
}

static void
watch(Listener *listener, bool out)
{
	if (listener->watching_out == out)
		return;
	listener->watching_out = out;
	loop_watch(&listener->events->gateway->loop, listener->wire.fd, EPOLLIN | EPOLLRDHUP | (out ? EPOLLOUT : 0), ready, listener);
}

static void
drained(Listener *listener)
{
	const Feed *feed = listener->feed;

	free_queue(listener);
	listener->sent_to = listener->cursor;
	if (listener->audience != NULL && position_compare(&feed->position, &listener->cursor) > 0)
		listener->sent_to = feed->position;
	listener->progress = true;
	listener->pongs = 0;
	listener->allowance = 0;
	watch(listener, false);
	if (listener->closing && !listener->shut)
	{
		listener->shut = true;
		wire_finish(&listener->wire);
	}
	if (listener->catch_up != NULL)
		catch_up_go_on(listener);
}

/*
 * More waits than may: what was not begun to be sent is dropped, and read from the log again, page by
 * page, as it is taken.
 */
static void
fall_behind(Listener *listener)
{
	drop_queue(listener);
	if (listener->count > 0 && listener->queue[listener->first]->position.tick > 0)
		listener->sent_to = listener->queue[listener->first]->position;
	listener->cursor = listener->sent_to;
	if (!catch_up_start(listener))
	{
		listener_close(listener, "out_of_memory", "the server is out of memory", CLOSE_INTERNAL);
		return;
	}
	feed_leave(listener);
	watch(listener, true);
}

void
listener_flush(Listener *listener)
{
	size_t		room = (size_t) listener->events->gateway->settings.listener_buffer + listener->allowance;

	if (!send_queue(listener))
	{
		listener_end(listener, "broken");
		return;
	}
	if (listener->overflowed && !listener->closing)
		listener_close(listener, "out_of_memory", "the server is out of memory", CLOSE_INTERNAL);
	else if (listener->count == 0)
		drained(listener);
	else if (listener->count > 1 && listener->queued > room && listener->audience != NULL)
		fall_behind(listener);
	else
		watch(listener, true);
}

void
listener_mark(Listener *listener)
{
	if (listener->dirty)
		return;
	listener->dirty = true;
	listener->dirty_next = listener->events->dirty;
	listener->events->dirty = listener;
}

void
listeners_flush(Events *events)
{
	Listener   *listener;

	while ((listener = events->dirty) != NULL)
	{
		events->dirty = listener->dirty_next;
		listener->dirty = false;
		listener_flush(listener);
	}
}

/* ---- receiving ---- */

static void
answer_close(Listener *listener, int code)
{
	unsigned char payload[2] = {(unsigned char) (code >> 8), (unsigned char) code};
	Chunk	   *chunk;

	if (listener->closing)
		return;
	chunk = format_frame(FRAME_CLOSE, payload, code == CLOSE_NO_STATUS ? 0 : sizeof(payload));
	listener_finish(listener, chunk);
	chunk_free(chunk);
}

/* Not every ping needs an answer of its own (RFC 6455, 5.5.3): who sends them without end, and takes nothing, fills no memory. */
static void
answer_ping(Listener *listener, const FrameReader *frames)
{
	Chunk	   *chunk;

	if (listener->pongs >= MAX_PONGS && !send_queue(listener))
		return;
	if (listener->count == 0)
		listener->pongs = 0;
	if (listener->pongs >= MAX_PONGS)
		return;
	listener->pongs++;
	chunk = format_frame(FRAME_PONG, frames->control, frames->control_len);
	listener_queue(listener, chunk);
	chunk_free(chunk);
}

/* False: nothing more is to be read. */
static bool
take_frame(Listener *listener, FrameResult result)
{
	const FrameReader *frames = listener->frames;

	switch (result)
	{
		case FRAME_PING_CAME:
			answer_ping(listener, frames);
			return true;
		case FRAME_CLOSE_CAME:
		case FRAME_WRONG:
			answer_close(listener, frames->close_code);
			return false;
		case FRAME_PONG_CAME:
		case FRAME_MESSAGE_CAME:
		case FRAME_MORE:
			break;
	}
	return true;
}

/* Of Server-Sent Events nothing is read but the end. */
static void
take_bytes(Listener *listener, const char *bytes, size_t len)
{
	listener->unanswered = 0;
	if (listener->frames == NULL)
		return;
	while (len > 0 && !listener->closing)
	{
		FrameResult result;
		size_t		taken = frame_read(listener->frames, bytes, len, &result);

		bytes += taken;
		len -= taken;
		if (!take_frame(listener, result))
			return;
	}
}

static void
ready(void *context, uint32_t events)
{
	Listener   *listener = context;
	char		bytes[READ_BYTES];
	ssize_t		n = 0;

	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		do
		{
			n = wire_receive(&listener->wire, bytes, sizeof(bytes));
			if (n > 0)
				take_bytes(listener, bytes, (size_t) n);
		} while (n > 0 && wire_has_more(&listener->wire));
	if (n < 0)
	{
		listener_end(listener, "left");
		return;
	}
	if (listener->count > 0 || listener->watching_out)
		listener_flush(listener);
}

/* ---- life ---- */

static void
free_listener(Listener *listener)
{
	free_queue(listener);
	filter_free(listener->filter);
	free(listener->frames);
	free(listener);
}

Listener *
listener_open(Events *events, Feed *feed, Identity *identity, Filter *filter, Form form, const Wire *wire)
{
	Listener   *listener = calloc(1, sizeof(*listener));
	int64_t		now = loop_monotonic_ms();
	int			buffer = (int) events->gateway->settings.listener_buffer / 4;
	unsigned int silence = (unsigned int) events->gateway->settings.events_ping_ms * (MAX_UNANSWERED + 1);

	if (listener == NULL)
		return NULL;
	listener->events = events;
	listener->feed = feed;
	listener->wire = *wire;
	listener->frames = form == FORM_WEBSOCKET ? calloc(1, sizeof(FrameReader)) : NULL;
	listener->number = ++events->next_number;
	listener->opened_ms = now;
	listener->progress = true;
	if ((form == FORM_WEBSOCKET && listener->frames == NULL) ||
		!loop_watch(&events->gateway->loop, wire->fd, EPOLLIN | EPOLLRDHUP, ready, listener))
	{
		free(listener->frames);
		free(listener);
		return NULL;
	}
	/* So much waits in the system at most, not what it would grow to; and a peer that is gone without a word is noticed. */
	setsockopt(wire->fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
	setsockopt(wire->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silence, sizeof(silence));
	listener->filter = filter;
	identity_add(identity, listener);
	listener->ping_ms = now + events->gateway->settings.events_ping_ms;
	list_append(&events->open, listener);
	events->listeners++;
	stats_count(events->gateway, STAT_STREAMS_OPENED);
	stats_gauge(events->gateway, GAUGE_STREAMS, events->listeners);
	return listener;
}

/* It gets no more events. */
static void
withdraw(Listener *listener)
{
	if (listener->audience != NULL)
		feed_leave(listener);
	catch_up_stop(listener);
	if (listener->identity != NULL)
		identity_remove(listener);
}

static void
unmark(Listener *listener)
{
	Listener  **link = &listener->events->dirty;

	if (!listener->dirty)
		return;
	while (*link != listener)
		link = &(*link)->dirty_next;
	*link = listener->dirty_next;
}

void
listener_end(Listener *listener, const char *why)
{
	Events	   *events = listener->events;

	if (events->gateway->settings.access_log)
		log_info("listener left", F_INT("listener", listener->number), F_STR("why", listener->closing ? "closed" : why),
				 F_INT("ms", loop_monotonic_ms() - listener->opened_ms), F_INT("events", listener->sent));
	withdraw(listener);
	unmark(listener);
	list_remove(listener->closing ? &events->closing : &events->open, listener);
	loop_forget(&events->gateway->loop, listener->wire.fd);
	wire_close(&listener->wire);
	events->listeners--;
	stats_gauge(events->gateway, GAUGE_STREAMS, events->listeners);
	free_listener(listener);
}

void
listener_finish(Listener *listener, Chunk *chunk)
{
	Events	   *events = listener->events;

	withdraw(listener);
	drop_queue(listener);
	listener->overflowed = false;
	listener_queue(listener, chunk);
	list_remove(&events->open, listener);
	listener->closing = true;
	listener->ping_ms = loop_monotonic_ms() + CLOSING_MS;
	list_append(&events->closing, listener);
	/* Sent with what is sent next, or by the next tick. */
	listener_mark(listener);
}

void
listener_close(Listener *listener, const char *code, const char *message, int close_code)
{
	Events	   *events = listener->events;
	int64_t		retry = events->gateway->settings.events_retry_ms;
	uint32_t	spread = 0;
	Chunk	   *chunk;

	if (listener->closing)
		return;
	/* Spread, so that those who were closed together do not come back together; by chance, which tells nothing of how many there are. */
	(void) gnutls_rnd(GNUTLS_RND_NONCE, &spread, sizeof(spread));
	retry += retry * (int64_t) (spread % 1000) / 1000;
	chunk = format_closing(code, message, close_code, retry, close_code == CLOSE_POSITION, listener_form(listener));
	log_info("listener closed", F_INT("listener", listener->number), F_STR("code", code));
	listener_finish(listener, chunk);
	chunk_free(chunk);
}

/* ---- time ---- */

static void
ping(Listener *listener)
{
	/* It may have been given more than was read for all: a position never goes back. */
	bool		known = listener->audience != NULL && position_compare(&listener->feed->position, &listener->cursor) >= 0;
	Chunk	   *position = known ? feed_ping(listener) : NULL;

	if (position != NULL)
		listener_queue(listener, position);
	if (listener->frames != NULL || position == NULL)
		listener_queue(listener, listener->events->pings[listener_form(listener)]);
	chunk_free(position);
	listener_mark(listener);
}

/* A sign of life is due; whoever shows none is ended. */
static void
due(Listener *listener, int64_t now_ms)
{
	Events	   *events = listener->events;

	if (listener->frames != NULL && listener->unanswered++ >= MAX_UNANSWERED)
		listener_end(listener, "no answer");
	else if (listener->count > 0 && !listener->progress)
		listener_close(listener, "slow", "what was sent is not taken; go on from the last position", CLOSE_SLOW);
	else
	{
		listener->progress = listener->count == 0;
		list_remove(&events->open, listener);
		listener->ping_ms = now_ms + events->gateway->settings.events_ping_ms;
		list_append(&events->open, listener);
		ping(listener);
	}
}

void
listeners_tick(Events *events, int64_t now_ms)
{
	Listener   *listener;

	for (int i = 0; i < MAX_TICK_PINGS && (listener = events->open.first) != NULL && listener->ping_ms <= now_ms; i++)
		due(listener, now_ms);
	while ((listener = events->closing.first) != NULL && listener->ping_ms <= now_ms)
		listener_end(listener, "closed");
	listeners_flush(events);
}
