/*
 * WebSocket frames (RFC 6455) as a server reads and writes them. Pure.
 *
 * Listeners have nothing to say: their messages are checked and dropped, so that no
 * byte of one is kept. Extensions are not negotiated: reserved bits are errors.
 */
#ifndef BACKOFFICE_EVENTS_FRAME_H
#define BACKOFFICE_EVENTS_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_MAX_CONTROL 125
#define FRAME_MAX_MESSAGE 4096
#define FRAME_HEAD_MAX 10		/* that we write */

#define FRAME_TEXT 1
#define FRAME_BINARY 2
#define FRAME_CLOSE 8
#define FRAME_PING 9
#define FRAME_PONG 10

#define CLOSE_GOING_AWAY 1001
#define CLOSE_PROTOCOL 1002
#define CLOSE_NO_STATUS 1005
#define CLOSE_NOT_UTF8 1007
#define CLOSE_TOO_BIG 1009
#define CLOSE_INTERNAL 1011

typedef enum FrameResult
{
	FRAME_MORE,					/* everything was taken, nothing is complete */
	FRAME_MESSAGE_CAME,
	FRAME_PING_CAME,			/* its payload is in control */
	FRAME_PONG_CAME,
	FRAME_CLOSE_CAME,			/* close_code */
	FRAME_WRONG					/* close_code: what to close with; nothing more may be read */
} FrameResult;

/* What may come next of a text that arrives in pieces. */
typedef struct Utf8State
{
	uint8_t		missing;		/* bytes of the character that are still to come */
	uint8_t		low;			/* bounds of the next one */
	uint8_t		high;
} Utf8State;

typedef struct FrameReader
{
	uint8_t		head[14];
	uint8_t		head_len;
	bool		in_payload;
	bool		in_message;		/* a fragmented one is not complete */
	bool		is_text;
	uint8_t		opcode;
	bool		last;
	uint64_t	length;			/* of this frame's payload */
	uint64_t	at;				/* of it, so far */
	uint64_t	message_len;	/* of the message so far */
	Utf8State	utf8;
	uint8_t		control_len;
	uint8_t		control[FRAME_MAX_CONTROL];
	uint16_t	close_code;
} FrameReader;

/* Takes bytes up to the first thing that is complete; returns how many it took. */
extern size_t frame_read(FrameReader *reader, const void *bytes, size_t len, FrameResult *result);

/* Writes the head of an unmasked, unfragmented frame; returns its length. */
extern size_t frame_head(void *out, int opcode, uint64_t len);

/* Sec-WebSocket-Accept of a client's key (28 characters and a NUL). False: the key is not 16 bytes in base64. */
extern bool frame_accept(const char *key, char *accept);

#endif
