/* Events and notices as listeners get them: bytes that many listeners share. */
#ifndef BACKOFFICE_EVENTS_FORMAT_H
#define BACKOFFICE_EVENTS_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/event.h"

#define POSITION_TEXT 52

typedef enum Form
{
	FORM_SSE,
	FORM_WEBSOCKET,
	FORMS
} Form;

typedef struct Chunk
{
	int			refs;
	size_t		len;
	Position	position;		/* of whoever was sent it; zeros: it says nothing of that */
	char		bytes[];
} Chunk;

extern void chunk_free(Chunk *chunk);	/* one reference less */

extern void position_text(const Position *position, char *text);
extern bool position_parse(const char *text, Position *position);

/* All of these: NULL when there is no memory. position: as its organization's clients see it (events_seal.h). */
extern Chunk *format_event(const Event *event, const char *position, Form form);

/* The first bytes of a stream: where it begins, and when to come again. */
extern Chunk *format_start(const char *position, int64_t retry_ms, Form form);

/* A sign of life. position: everything up to here was sent; NULL: unknown. */
extern Chunk *format_ping(const char *position, Form form);

/* The last words. close_code: of the WebSocket. forget: the position must not be used again. */
extern Chunk *format_closing(const char *code, const char *message, int close_code, int64_t retry_ms, bool forget, Form form);

/* A control frame of a WebSocket. */
extern Chunk *format_frame(int opcode, const void *bytes, size_t len);

#endif
