#include "gateway/events_format.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gateway/events_frame.h"
#include "gateway/text.h"

#define MEMBERS 512				/* room for names, ids, times and punctuation */
#define MESSAGE_MAX 80			/* of a closing's message: six times that fits into MEMBERS */

void
chunk_free(Chunk *chunk)
{
	if (chunk != NULL && --chunk->refs == 0)
		free(chunk);
}

static Chunk *
chunk_of(size_t room)
{
	Chunk	   *chunk = malloc(sizeof(Chunk) + room);

	if (chunk != NULL)
		*chunk = (Chunk) {.refs = 1};
	return chunk;
}

void
position_text(const Position *position, char *text)
{
	snprintf(text, POSITION_TEXT, "%" PRIx32 ":%" PRId64 ":%" PRId64, position->epoch, position->tick, position->seq);
}

static bool
parse_part(const char **text, int base, uint64_t max, uint64_t *value)
{
	const char *at = *text;

	*value = 0;
	for (;; at++)
	{
		int			digit = *at >= '0' && *at <= '9' ? *at - '0' : base == 16 && *at >= 'a' && *at <= 'f' ? *at - 'a' + 10 :
			base == 16 && *at >= 'A' && *at <= 'F' ? *at - 'A' + 10 : -1;

		if (digit < 0)
			break;
		if (*value > (max - (uint64_t) digit) / (uint64_t) base)
			return false;
		*value = *value * (uint64_t) base + (uint64_t) digit;
	}
	if (at == *text)
		return false;
	*text = at;
	return true;
}

bool
position_parse(const char *text, Position *position)
{
	uint64_t	epoch;
	uint64_t	tick;
	uint64_t	seq;

	if (!parse_part(&text, 16, UINT32_MAX, &epoch) || *text++ != ':' || !parse_part(&text, 10, INT64_MAX, &tick) || *text++ != ':' ||
		!parse_part(&text, 10, INT64_MAX, &seq) || *text != '\0')
		return false;
	*position = (Position) {(uint32_t) epoch, (int64_t) tick, (int64_t) seq};
	return true;
}

/* ---- JSON ---- */

static char *
put(char *at, const char *text)
{
	size_t		len = strlen(text);

	memcpy(at, text, len);
	return at + len;
}

static char *
put_uuid(char *at, const unsigned char *id)
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < 16; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*at++ = '-';
		*at++ = digits[id[i] >> 4];
		*at++ = digits[id[i] & 15];
	}
	return at;
}

static char *
put_time(char *at, int64_t us)
{
	time_t		seconds = (time_t) (us >= 0 ? us / 1000000 : (us - 999999) / 1000000);
	struct tm	tm;

	gmtime_r(&seconds, &tm);
	return at + sprintf(at, "\"%04d-%02d-%02dT%02d:%02d:%02d.%06dZ\"", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
						tm.tm_sec, (int) (us - (int64_t) seconds * 1000000));
}

/* JSON on one line: an end of line can stand only between its tokens. */
static char *
put_json(char *at, const Bytes *json)
{
	for (size_t i = 0; i < json->len; i++)
		*at++ = json->data[i] == '\n' || json->data[i] == '\r' ? ' ' : json->data[i];
	return at;
}

static size_t
event_room(const Event *event)
{
	return MEMBERS + 6 * (event->topic.len + event->key.len + event->type.len) + event->payload.len + event->headers.len;
}

static char *
put_event(char *at, const Event *event, const char *position)
{
	at = put(at, "{\"position\":\"");
	at = put(at, position);
	at = put(at, "\",\"id\":\"");
	at = put_uuid(at, event->id);
	at = put(at, "\",\"topic\":");
	at = text_json_string(at, event->topic.data, event->topic.len);
	at = put(at, ",\"key\":");
	at = event->key.data != NULL ? text_json_string(at, event->key.data, event->key.len) : put(at, "null");
	at = put(at, ",\"type\":");
	at = text_json_string(at, event->type.data, event->type.len);
	at = put(at, ",\"occurred_at\":");
	at = put_time(at, event->occurred_at_us);
	at = put(at, ",\"payload\":");
	at = put_json(at, &event->payload);
	at = put(at, ",\"headers\":");
	at = event->headers.data != NULL ? put_json(at, &event->headers) : put(at, "null");
	return put(at, "}");
}

/* ---- the forms ---- */

/* The text behind the place of the longest head moves up to its own, shorter one. */
static void
finish_message(Chunk *chunk, size_t len)
{
	char		head[FRAME_HEAD_MAX];
	size_t		head_len = frame_head(head, FRAME_TEXT, len);

	memmove(chunk->bytes + head_len, chunk->bytes + FRAME_HEAD_MAX, len);
	memcpy(chunk->bytes, head, head_len);
	chunk->len = head_len + len;
}

Chunk *
format_event(const Event *event, const char *position, Form form)
{
	Chunk	   *chunk = chunk_of(event_room(event) + FRAME_HEAD_MAX);
	char	   *at;

	if (chunk == NULL)
		return NULL;
	chunk->position = event->position;
	if (form == FORM_WEBSOCKET)
	{
		at = put_event(chunk->bytes + FRAME_HEAD_MAX, event, position);
		finish_message(chunk, (size_t) (at - chunk->bytes) - FRAME_HEAD_MAX);
		return chunk;
	}
	at = put(chunk->bytes, "id: ");
	at = put(at, position);
	at = put(at, "\ndata: ");
	at = put_event(at, event, position);
	at = put(at, "\n\n");
	chunk->len = (size_t) (at - chunk->bytes);
	return chunk;
}

static Chunk * __attribute__((format(printf, 2, 3)))
format_text(Form form, const char *format, ...)
{
	Chunk	   *chunk = chunk_of(MEMBERS * 2);
	size_t		skipped = form == FORM_WEBSOCKET ? FRAME_HEAD_MAX : 0;
	va_list		args;
	int			len;

	if (chunk == NULL)
		return NULL;
	va_start(args, format);
	len = vsnprintf(chunk->bytes + skipped, MEMBERS * 2 - skipped, format, args);
	va_end(args);
	if (len < 0 || (size_t) len >= MEMBERS * 2 - skipped)
		len = 0;
	if (form == FORM_WEBSOCKET)
		finish_message(chunk, (size_t) len);
	else
		chunk->len = (size_t) len;
	return chunk;
}

Chunk *
format_start(const char *position, int64_t retry_ms, Form form)
{
	if (form == FORM_WEBSOCKET)
		return format_text(form, "{\"control\":\"ready\",\"position\":\"%s\"}", position);
	return format_text(form, "retry: %" PRId64 "\nid: %s\n\n", retry_ms, position);
}

Chunk *
format_ping(const char *position, Form form)
{
	if (position == NULL)
		return form == FORM_WEBSOCKET ? format_frame(FRAME_PING, "", 0) : format_text(form, ":\n\n");
	if (form == FORM_WEBSOCKET)
		return format_text(form, "{\"control\":\"position\",\"position\":\"%s\"}", position);
	return format_text(form, ":\nid: %s\n\n", position);
}

Chunk *
format_closing(const char *code, const char *message, int close_code, int64_t retry_ms, bool forget, Form form)
{
	char		told[MEMBERS];
	size_t		len = strlen(message);
	Chunk	   *text;
	Chunk	   *chunk;
	unsigned char close[2 + FRAME_MAX_CONTROL];
	size_t		head_len;

	for (len = len < MESSAGE_MAX ? len : MESSAGE_MAX; message[len] != '\0' && (message[len] & 0xc0) == 0x80; len--)
		;
	*text_json_string(told, message, len) = '\0';
	if (form == FORM_SSE)
		return format_text(form, "retry: %" PRId64 "\n%sevent: closing\ndata: {\"code\":\"%s\",\"message\":%s}\n\n", retry_ms,
						   forget ? "id\n" : "", code, told);
	text = format_text(form, "{\"control\":\"closing\",\"code\":\"%s\",\"message\":%s,\"retry_ms\":%" PRId64 "}", code, told, retry_ms);
	len = strlen(code) < 100 ? strlen(code) : 100;
	chunk = text != NULL ? chunk_of(text->len + FRAME_HEAD_MAX + 2 + len) : NULL;
	if (chunk != NULL)
	{
		memcpy(chunk->bytes, text->bytes, text->len);
		head_len = frame_head(chunk->bytes + text->len, FRAME_CLOSE, 2 + len);
		close[0] = (unsigned char) (close_code >> 8);
		close[1] = (unsigned char) close_code;
		memcpy(close + 2, code, len);
		memcpy(chunk->bytes + text->len + head_len, close, 2 + len);
		chunk->len = text->len + head_len + 2 + len;
	}
	chunk_free(text);
	return chunk;
}

Chunk *
format_frame(int opcode, const void *bytes, size_t len)
{
	Chunk	   *chunk = chunk_of(FRAME_HEAD_MAX + len);

	if (chunk == NULL)
		return NULL;
	chunk->len = frame_head(chunk->bytes, opcode, len);
	memcpy(chunk->bytes + chunk->len, bytes, len);
	chunk->len += len;
	return chunk;
}
