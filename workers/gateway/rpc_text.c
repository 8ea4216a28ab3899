#include "gateway/rpc_text.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_SIZE 8192

typedef struct Chunk
{
	struct Chunk *next;
	size_t		used;
	size_t		size;
	_Alignas(16) char at[];
} Chunk;

struct RpcArena
{
	Chunk	   *first;
};

static void *
must(void *memory)
{
	if (memory == NULL)
	{
		fputs("out of memory\n", stderr);
		abort();
	}
	return memory;
}

RpcArena *
arena_new(void)
{
	return must(calloc(1, sizeof(RpcArena)));
}

void
arena_free(RpcArena *arena)
{
	Chunk	   *next;

	if (arena == NULL)
		return;
	for (Chunk *chunk = arena->first; chunk != NULL; chunk = next)
	{
		next = chunk->next;
		free(chunk);
	}
	free(arena);
}

void *
arena_raw(RpcArena *arena, size_t size)
{
	Chunk	   *chunk = arena->first;
	void	   *taken;

	size = (size + 15) & ~(size_t) 15;
	if (chunk == NULL || chunk->size - chunk->used < size)
	{
		size_t		room = size > CHUNK_SIZE ? size : CHUNK_SIZE;

		chunk = must(malloc(sizeof(Chunk) + room));
		chunk->size = room;
		chunk->used = 0;
		chunk->next = arena->first;
		arena->first = chunk;
	}
	taken = chunk->at + chunk->used;
	chunk->used += size;
	return taken;
}

void *
arena_take(RpcArena *arena, size_t size)
{
	return memset(arena_raw(arena, size), 0, size);
}

char *
arena_copy(RpcArena *arena, const char *text, size_t length)
{
	char	   *copy = arena_raw(arena, length + 1);

	if (length > 0)
		memcpy(copy, text, length);
	copy[length] = '\0';
	return copy;
}

char *
arena_print(RpcArena *arena, const char *format, ...)
{
	va_list		args;
	int			length;
	char	   *text;

	va_start(args, format);
	length = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (length < 0)
		return arena_take(arena, 1);
	text = arena_take(arena, (size_t) length + 1);
	va_start(args, format);
	vsnprintf(text, (size_t) length + 1, format, args);
	va_end(args);
	return text;
}

void *
arena_grow(RpcArena *arena, void *array, size_t count, size_t size)
{
	void	   *larger;

	/* Full at 0, 4, 8, 16, ... */
	if (count != 0 && (count < 4 || (count & (count - 1)) != 0))
		return array;
	larger = arena_take(arena, (count == 0 ? 4 : count * 2) * size);
	if (count > 0)
		memcpy(larger, array, count * size);
	return larger;
}

RpcText
text_new(RpcArena *arena)
{
	RpcText		text = {.arena = arena, .at = arena_raw(arena, 128), .room = 128};

	text.at[0] = '\0';
	return text;
}

void
text_add_bytes(RpcText *text, const char *more, size_t length)
{
	if (text->room - text->length <= length)
	{
		size_t		room = (text->length + length + 1) * 2;
		char	   *larger = arena_raw(text->arena, room);

		memcpy(larger, text->at, text->length);
		text->at = larger;
		text->room = room;
	}
	if (length > 0)
		memcpy(text->at + text->length, more, length);
	text->length += length;
	text->at[text->length] = '\0';
}

void
text_add(RpcText *text, const char *more)
{
	text_add_bytes(text, more, strlen(more));
}

void
text_add_char(RpcText *text, char c)
{
	text_add_bytes(text, &c, 1);
}

void
text_add_number(RpcText *text, unsigned number)
{
	char		digits[12];
	size_t		at = sizeof(digits);

	do
		digits[--at] = (char) ('0' + number % 10);
	while ((number /= 10) > 0);
	text_add_bytes(text, digits + at, sizeof(digits) - at);
}

void
text_print(RpcText *text, const char *format, ...)
{
	char		line[512];
	va_list		args;
	int			length;

	va_start(args, format);
	length = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (length < 0)
		return;
	if ((size_t) length < sizeof(line))
		text_add_bytes(text, line, (size_t) length);
	else
	{
		char	   *large = arena_take(text->arena, (size_t) length + 1);

		va_start(args, format);
		vsnprintf(large, (size_t) length + 1, format, args);
		va_end(args);
		text_add_bytes(text, large, (size_t) length);
	}
}

void
text_add_identifier(RpcText *text, const char *name)
{
	text_add_char(text, '"');
	while (*name != '\0')
	{
		size_t		plain = strcspn(name, "\"");

		text_add_bytes(text, name, plain);
		name += plain;
		if (*name != '\0')
		{
			text_add(text, "\"\"");
			name++;
		}
	}
	text_add_char(text, '"');
}

void
text_add_json(RpcText *text, const char *value)
{
	static const char *const shorts = "\nn\rr\tt\"\"\\\\";

	if (value == NULL)
	{
		text_add(text, "null");
		return;
	}
	text_add_char(text, '"');
	while (*value != '\0')
	{
		const char *from = value;
		const char *pair = shorts;

		while ((unsigned char) *value >= 0x20 && *value != '"' && *value != '\\')
			value++;
		text_add_bytes(text, from, (size_t) (value - from));
		if (*value == '\0')
			break;
		while (*pair != '\0' && *pair != *value)
			pair += 2;
		if (*pair != '\0')
			text_print(text, "\\%c", pair[1]);
		else
			text_print(text, "\\u%04x", (unsigned char) *value);
		value++;
	}
	text_add_char(text, '"');
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

char *
text_decoded(RpcArena *arena, const char *text, size_t length, bool plus, size_t *out_length)
{
	char	   *out = arena_raw(arena, length + 1);
	size_t		n = 0;

	for (size_t i = 0; i < length; i++)
	{
		if (text[i] == '%' && i + 2 < length && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0)
		{
			out[n++] = (char) (hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
			i += 2;
		}
		else
			out[n++] = plus && text[i] == '+' ? ' ' : text[i];
	}
	out[n] = '\0';
	*out_length = n;
	return out;
}
