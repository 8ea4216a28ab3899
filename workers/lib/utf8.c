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

bool
utf8_is_valid(const void *text, size_t len)
{
	const unsigned char *at = text;
	const unsigned char *end = at + len;

	while (at < end)
	{
		unsigned char c;
		size_t		n;

		/* Nearly all of it is ASCII: eight bytes at a time. */
		while (end - at >= 8 && (eight_bytes(at) & UINT64_C(0x8080808080808080)) == 0)
			at += 8;
		if (at == end)
			return true;
		c = *at;
		n = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;

		if (n == 0 || n > (size_t) (end - at))
			return false;
		for (size_t i = 1; i < n; i++)
			if ((at[i] & 0xc0) != 0x80)
				return false;
		if ((c == 0xe0 && at[1] < 0xa0) || (c == 0xed && at[1] > 0x9f) || (c == 0xf0 && at[1] < 0x90) || (c == 0xf4 && at[1] > 0x8f))
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
