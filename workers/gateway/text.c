#include "gateway/text.h"
#include "gateway/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "lib/utf8.h"

#define MAX_ID 64

static uint64_t
eight_bytes(const void *at)
{
	uint64_t	word;

	memcpy(&word, at, sizeof(word));
	return word;
}

void
text_lower(char *text)
{
	for (; *text != '\0'; text++)
		if (*text >= 'A' && *text <= 'Z')
			*text = (char) (*text - 'A' + 'a');
}

static int
hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool
text_percent_decode(const char *text, size_t len, bool plus, char *out)
{
	char	   *at = out;

	for (size_t i = 0; i < len; i++)
	{
		char		c = text[i];

		if (c == '%')
		{
			int			high = i + 1 < len ? hex(text[i + 1]) : -1;
			int			low = i + 2 < len ? hex(text[i + 2]) : -1;

			if (high < 0 || low < 0)
				return false;
			c = (char) (high * 16 + low);
			i += 2;
		}
		else if (c == '+' && plus)
			c = ' ';
		if (c == '\0')
			return false;
		*at++ = c;
	}
	*at = '\0';
	return utf8_is_valid(out, (size_t) (at - out));
}

/* How many bytes stand for themselves in a JSON string. */
static size_t
json_plain(const char *text, size_t len)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);
	const uint64_t highs = UINT64_C(0x8080808080808080);
	size_t		n = 0;

	/* Eight at a time: what borrows from its high bit is zero after the exclusive or, or below 0x20. */
	for (; len - n >= 8; n += 8)
	{
		uint64_t	word = eight_bytes(text + n);
		uint64_t	quote = word ^ ones * '"';
		uint64_t	backslash = word ^ ones * '\\';
		uint64_t	del = word ^ ones * 0x7f;

		if ((((word - ones * 0x20) | (quote - ones) | (backslash - ones) | (del - ones)) & ~word & highs) != 0)
			break;
	}
	while (n < len && text[n] != '"' && text[n] != '\\' && (unsigned char) text[n] >= 0x20 && text[n] != 0x7f)
		n++;
	return n;
}

char *
text_json_string(char *out, const char *text, size_t len)
{
	static const char digits[] = "0123456789abcdef";

	*out++ = '"';
	for (size_t i = 0; i < len; i++)
	{
		size_t		plain = json_plain(text + i, len - i);
		unsigned char c;

		memcpy(out, text + i, plain);
		out += plain;
		i += plain;
		if (i == len)
			break;
		c = (unsigned char) text[i];
		if (c == '"' || c == '\\')
		{
			*out++ = '\\';
			*out++ = (char) c;
		}
		else
		{
			memcpy(out, "\\u00", 4);
			out[4] = digits[c >> 4];
			out[5] = digits[c & 15];
			out += 6;
		}
	}
	*out++ = '"';
	return out;
}

char *
text_percent_encode(struct Request *request, const char *text)
{
	static const char digits[] = "0123456789ABCDEF";
	char	   *out = request_alloc(request, 3 * strlen(text) + 1);
	char	   *at = out;

	if (out == NULL)
		return NULL;
	for (; *text != '\0'; text++)
	{
		unsigned char c = (unsigned char) *text;

		if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || strchr("-._~", c) != NULL)
			*at++ = (char) c;
		else
		{
			*at++ = '%';
			*at++ = digits[c >> 4];
			*at++ = digits[c & 15];
		}
	}
	*at = '\0';
	return out;
}

static const char base64url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void
text_base64url(const void *bytes, size_t len, char *out)
{
	const unsigned char *at = bytes;
	unsigned int bits = 0;
	int			count = 0;

	for (size_t i = 0; i < len; i++)
	{
		bits = bits << 8 | at[i];
		for (count += 8; count >= 6; count -= 6)
			*out++ = base64url[bits >> (count - 6) & 63];
	}
	if (count > 0)
		*out++ = base64url[bits << (6 - count) & 63];
	*out = '\0';
}

size_t
text_base64url_decode(const char *text, size_t len, char *out)
{
	unsigned int bits = 0;
	int			count = 0;
	size_t		used = 0;

	for (size_t i = 0; i < len; i++)
	{
		const char *digit = text[i] != '\0' ? strchr(base64url, text[i]) : NULL;

		if (digit == NULL)
			return 0;
		bits = bits << 6 | (unsigned int) (digit - base64url);
		count += 6;
		if (count >= 8)
		{
			count -= 8;
			out[used++] = (char) (bits >> count & 0xff);
		}
	}
	return used;
}

bool
text_is_uuid(const char *text)
{
	for (int i = 0; i < 36; i++)
	{
		bool		dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? text[i] != '-' : hex(text[i]) < 0)
			return false;
	}
	return text[36] == '\0';
}

uint64_t
text_hash64(const char *text, size_t len)
{
	uint64_t	hash = UINT64_C(0xcbf29ce484222325) ^ len;
	size_t		i = 0;

	/* As FNV-1a, but eight bytes at a time; what is in the high half must come down in between. */
	for (; len - i >= 8; i += 8)
	{
		hash = (hash ^ eight_bytes(text + i)) * UINT64_C(0x9e3779b97f4a7c15);
		hash ^= hash >> 32;
	}
	for (; i < len; i++)
		hash = (hash ^ (unsigned char) text[i]) * UINT64_C(0x100000001b3);
	/* Low bits are mixed badly so far: finish as MurmurHash does. */
	hash ^= hash >> 33;
	hash *= UINT64_C(0xff51afd7ed558ccd);
	hash ^= hash >> 33;
	return hash;
}

uint32_t
text_hash(const char *text, size_t len)
{
	return (uint32_t) text_hash64(text, len);
}

bool
text_is_request_id(const char *text)
{
	size_t		len = strlen(text);

	if (len == 0 || len > MAX_ID)
		return false;
	for (; *text != '\0'; text++)
		if (!((*text >= '0' && *text <= '9') || (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') ||
			  strchr("._:/+=@-", *text) != NULL))
			return false;
	return true;
}

static bool
is_lower_hex(const char *text, int n, bool all_zero_allowed)
{
	bool		zero = true;

	for (int i = 0; i < n; i++)
	{
		if (!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f')))
			return false;
		zero = zero && text[i] == '0';
	}
	return all_zero_allowed || !zero;
}

bool
text_is_traceparent(const char *text)
{
	return strlen(text) == 55 && memcmp(text, "00-", 3) == 0 && is_lower_hex(text + 3, 32, false) && text[35] == '-' &&
		is_lower_hex(text + 36, 16, false) && text[52] == '-' && is_lower_hex(text + 53, 2, true);
}

void
text_random_hex(char *out, int bytes)
{
	static unsigned char pool[256];
	static size_t left;
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < bytes; i++)
	{
		/* Many at a time: one system call serves several requests. */
		if (left == 0)
		{
			if (getrandom(pool, sizeof(pool), 0) != sizeof(pool))
				abort();
			left = sizeof(pool);
		}
		left--;
		out[2 * i] = digits[pool[left] >> 4];
		out[2 * i + 1] = digits[pool[left] & 15];
	}
	out[2 * bytes] = '\0';
}
