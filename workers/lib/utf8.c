#include "lib/utf8.h"

#include <stdint.h>
#include <string.h>

static uint64_t
eight_bytes(const void *at)
{
	uint64_t	word;

	memcpy(&word, at, sizeof(word));
	return word;
}

size_t
utf8_length(const void *text, size_t left)
{
	const unsigned char *at = text;
	unsigned char c = *at;
	size_t		n = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;

	if (n > left)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	if ((c == 0xe0 && at[1] < 0xa0) || (c == 0xed && at[1] > 0x9f) || (c == 0xf0 && at[1] < 0x90) || (c == 0xf4 && at[1] > 0x8f))
		return 0;
	return n;
}

bool
utf8_is_valid(const void *text, size_t len)
{
	const unsigned char *at = text;
	const unsigned char *end = at + len;

	while (at < end)
	{
		size_t		n;

		/* Nearly all of it is ASCII: eight bytes at a time. */
		while (end - at >= 8 && (eight_bytes(at) & UINT64_C(0x8080808080808080)) == 0)
			at += 8;
		if (at == end)
			return true;
		n = utf8_length(at, (size_t) (end - at));
		if (n == 0)
			return false;
		at += n;
	}
	return true;
}

bool
utf8_is_text(const void *text, size_t len)
{
	return (len == 0 || memchr(text, '\0', len) == NULL) && utf8_is_valid(text, len);
}

void
utf8_mend(char *text)
{
	size_t		left = strlen(text);

	while (left > 0)
	{
		size_t		n = utf8_length(text, left);

		if (n == 0)
		{
			*text = '?';
			n = 1;
		}
		text += n;
		left -= n;
	}
}
