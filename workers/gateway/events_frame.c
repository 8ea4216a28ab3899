#include "gateway/events_frame.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <string.h>

#define HANDSHAKE_GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define KEY_LEN 24

/* ---- text in pieces ---- */

static bool
utf8_start(Utf8State *state, uint8_t byte)
{
	if (byte < 0x80)
		return true;
	if (byte < 0xc2 || byte > 0xf4)
		return false;
	state->missing = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
	/* No overlong forms, no surrogates, nothing beyond U+10FFFF. */
	state->low = byte == 0xe0 ? 0xa0 : byte == 0xf0 ? 0x90 : 0x80;
	state->high = byte == 0xed ? 0x9f : byte == 0xf4 ? 0x8f : 0xbf;
	return true;
}

static bool
utf8_next(Utf8State *state, uint8_t byte)
{
	if (state->missing == 0)
		return utf8_start(state, byte);
	if (byte < state->low || byte > state->high)
		return false;
	state->missing--;
	state->low = 0x80;
	state->high = 0xbf;
	return true;
}

/* ---- reading ---- */

static FrameResult
wrong(FrameReader *reader, int code)
{
	reader->close_code = (uint16_t) code;
	return FRAME_WRONG;
}

static bool
is_control(const FrameReader *reader)
{
	return reader->opcode >= FRAME_CLOSE;
}

static size_t
head_needs(const FrameReader *reader)
{
	int			short_len = reader->head_len < 2 ? 0 : reader->head[1] & 0x7f;

	return 2 + (short_len == 126 ? 2 : short_len == 127 ? 8 : 0) + 4;
}

static uint64_t
long_length(const uint8_t *bytes, int n)
{
	uint64_t	length = 0;

	for (int i = 0; i < n; i++)
		length = length << 8 | bytes[i];
	return length;
}

/* The first two bytes say enough to refuse a frame before the rest of it comes. */
static FrameResult
check_start(FrameReader *reader)
{
	int			short_len = reader->head[1] & 0x7f;

	reader->opcode = reader->head[0] & 0x0f;
	reader->last = (reader->head[0] & 0x80) != 0;
	if ((reader->head[0] & 0x70) != 0 || (reader->head[1] & 0x80) == 0)
		return wrong(reader, CLOSE_PROTOCOL);
	if (reader->opcode > FRAME_PONG || (reader->opcode > FRAME_BINARY && reader->opcode < FRAME_CLOSE))
		return wrong(reader, CLOSE_PROTOCOL);
	if (is_control(reader))
		return !reader->last || short_len > FRAME_MAX_CONTROL || (reader->opcode == FRAME_CLOSE && short_len == 1) ?
			wrong(reader, CLOSE_PROTOCOL) : FRAME_MORE;
	/* A continuation needs something to continue, and nothing may come between. */
	if ((reader->opcode == 0) != reader->in_message)
		return wrong(reader, CLOSE_PROTOCOL);
	return FRAME_MORE;
}

static FrameResult
check_head(FrameReader *reader)
{
	int			short_len = reader->head[1] & 0x7f;

	reader->length = short_len < 126 ? (uint64_t) short_len : long_length(reader->head + 2, short_len == 126 ? 2 : 8);
	/* The shortest form only, as the RFC wants it. */
	if ((short_len == 126 && reader->length < 126) || (short_len == 127 && (reader->length < 65536 || reader->length >> 63 != 0)))
		return wrong(reader, CLOSE_PROTOCOL);
	if (!is_control(reader))
	{
		if (!reader->in_message)
		{
			reader->is_text = reader->opcode == FRAME_TEXT;
			reader->message_len = 0;
			reader->utf8 = (Utf8State) {.missing = 0};
		}
		if (reader->message_len + reader->length > FRAME_MAX_MESSAGE)
			return wrong(reader, CLOSE_TOO_BIG);
		reader->message_len += reader->length;
		reader->in_message = true;
	}
	reader->in_payload = true;
	reader->at = 0;
	reader->control_len = 0;
	return FRAME_MORE;
}

static bool
is_close_code(int code)
{
	return (code >= 1000 && code <= 1014 && code != 1004 && code != CLOSE_NO_STATUS && code != 1006) || (code >= 3000 && code <= 4999);
}

static FrameResult
finish_close(FrameReader *reader)
{
	Utf8State	utf8 = {.missing = 0};

	reader->close_code = CLOSE_NO_STATUS;
	if (reader->control_len == 0)
		return FRAME_CLOSE_CAME;
	reader->close_code = (uint16_t) long_length(reader->control, 2);
	if (!is_close_code(reader->close_code))
		return wrong(reader, CLOSE_PROTOCOL);
	for (int i = 2; i < reader->control_len; i++)
		if (!utf8_next(&utf8, reader->control[i]))
			return wrong(reader, CLOSE_NOT_UTF8);
	return utf8.missing > 0 ? wrong(reader, CLOSE_NOT_UTF8) : FRAME_CLOSE_CAME;
}

static FrameResult
finish_frame(FrameReader *reader)
{
	reader->in_payload = false;
	reader->head_len = 0;
	if (reader->opcode == FRAME_CLOSE)
		return finish_close(reader);
	if (reader->opcode == FRAME_PING)
		return FRAME_PING_CAME;
	if (reader->opcode == FRAME_PONG)
		return FRAME_PONG_CAME;
	if (!reader->last)
		return FRAME_MORE;
	reader->in_message = false;
	return reader->is_text && reader->utf8.missing > 0 ? wrong(reader, CLOSE_NOT_UTF8) : FRAME_MESSAGE_CAME;
}

static FrameResult
take_payload_byte(FrameReader *reader, uint8_t byte)
{
	byte ^= reader->head[head_needs(reader) - 4 + (reader->at++ & 3)];
	if (is_control(reader))
		reader->control[reader->control_len++] = byte;
	else if (reader->is_text && !utf8_next(&reader->utf8, byte))
		return wrong(reader, CLOSE_NOT_UTF8);
	return FRAME_MORE;
}

static FrameResult
take_head_byte(FrameReader *reader, uint8_t byte)
{
	reader->head[reader->head_len++] = byte;
	if (reader->head_len == 2)
		return check_start(reader);
	return reader->head_len > 2 && reader->head_len == head_needs(reader) ? check_head(reader) : FRAME_MORE;
}

size_t
frame_read(FrameReader *reader, const void *bytes, size_t len, FrameResult *result)
{
	const uint8_t *at = bytes;
	const uint8_t *end = at + len;

	*result = FRAME_MORE;
	while (*result == FRAME_MORE && at < end)
	{
		*result = reader->in_payload ? take_payload_byte(reader, *at) : take_head_byte(reader, *at);
		at++;
		if (*result == FRAME_MORE && reader->in_payload && reader->at == reader->length)
			*result = finish_frame(reader);
	}
	return (size_t) (at - (const uint8_t *) bytes);
}

/* ---- writing ---- */

size_t
frame_head(void *out, int opcode, uint64_t len)
{
	uint8_t    *bytes = out;
	int			extra = len < 126 ? 0 : len < 65536 ? 2 : 8;

	bytes[0] = (uint8_t) (0x80 | opcode);
	bytes[1] = (uint8_t) (extra == 0 ? len : extra == 2 ? 126 : 127);
	for (int i = 0; i < extra; i++)
		bytes[2 + i] = (uint8_t) (len >> (8 * (extra - 1 - i)));
	return (size_t) (2 + extra);
}

bool
frame_accept(const char *key, char *accept)
{
	char		text[KEY_LEN + sizeof(HANDSHAKE_GUID)];
	unsigned char hash[20];
	gnutls_datum_t raw = {(unsigned char *) hash, sizeof(hash)};
	gnutls_datum_t encoded = {(unsigned char *) text, KEY_LEN};
	gnutls_datum_t decoded;
	bool		good;

	if (strlen(key) != KEY_LEN)
		return false;
	memcpy(text, key, KEY_LEN);
	if (gnutls_base64_decode2(&encoded, &decoded) != 0)
		return false;
	good = decoded.size == 16;
	gnutls_free(decoded.data);
	if (!good)
		return false;
	memcpy(text + KEY_LEN, HANDSHAKE_GUID, sizeof(HANDSHAKE_GUID));
	if (gnutls_hash_fast(GNUTLS_DIG_SHA1, text, strlen(text), hash) != 0 || gnutls_base64_encode2(&raw, &encoded) != 0)
		return false;
	snprintf(accept, 29, "%.*s", (int) encoded.size, (const char *) encoded.data);
	gnutls_free(encoded.data);
	return true;
}
