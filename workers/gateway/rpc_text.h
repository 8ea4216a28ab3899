/* Memory of one request, and text that grows in it. */
#ifndef BACKOFFICE_RPC_TEXT_H
#define BACKOFFICE_RPC_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct RpcArena RpcArena;

/* Out of memory ends the process: a gateway that cannot have some kilobytes can't go on. */
extern RpcArena *arena_new(void);
extern void arena_free(RpcArena *arena);
extern void *arena_take(RpcArena *arena, size_t size);	/* zeroed */
extern void *arena_raw(RpcArena *arena, size_t size);	/* not */
extern char *arena_copy(RpcArena *arena, const char *text, size_t length);	/* with a NUL behind it */
extern char *arena_print(RpcArena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* An array that is full at count is doubled: how lists grow. */
extern void *arena_grow(RpcArena *arena, void *array, size_t count, size_t size);

typedef struct RpcText
{
	RpcArena   *arena;
	char	   *at;				/* always ended by a NUL */
	size_t		length;
	size_t		room;
} RpcText;

extern RpcText text_new(RpcArena *arena);
extern void text_add(RpcText *text, const char *more);
extern void text_add_bytes(RpcText *text, const char *more, size_t length);
extern void text_add_char(RpcText *text, char c);
extern void text_add_number(RpcText *text, unsigned number);
extern void text_print(RpcText *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
extern void text_add_identifier(RpcText *text, const char *name);	/* "na""me" */
extern void text_add_json(RpcText *text, const char *value);	/* "..." , NULL as null */

/* %XX and, if plus, "+" for a blank; what is no escape stays. */
extern char *text_decoded(RpcArena *arena, const char *text, size_t length, bool plus, size_t *out_length);

#endif
