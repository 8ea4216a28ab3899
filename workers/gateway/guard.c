#include "gateway/guard.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <stdio.h>

typedef struct Reason
{
	const char *name;
	int			status;
} Reason;

static const Reason reasons[] = {
	{"bad_request_line", 400},
	{"bad_target", 400},
	{"too_many_parameters", 400},
	{"bad_header", 400},
	{"folded_header", 400},
	{"bad_line_end", 400},
	{"bad_host", 400},
	{"bad_content_length", 400},
	{"bad_transfer_encoding", 400},
	{"length_and_encoding", 400},
	{"early_data", 400},
	{"expectation_failed", 417},
	{"target_too_long", 414},
	{"headers_too_large", 431},
	{"method_not_known", 501},
	{"version_not_supported", 505},
	{"request_timeout", 408},
};

int
guard_status(const char *reason)
{
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (strcmp(reasons[i].name, reason) == 0)
			return reasons[i].status;
	return 400;
}

void
guard_init(Guard *guard, int fd, uint64_t max_body)
{
	memset(guard, 0, sizeof(*guard));
	guard->fd = fd;
	guard->max_body = max_body;
}

void
guard_free(Guard *guard)
{
	free(guard->bytes);
	guard->bytes = NULL;
}

bool
guard_in_head(const Guard *guard)
{
	return guard->phase == GUARD_HEAD && guard->len > guard->start + guard->ready;
}

bool
guard_in_body(const Guard *guard)
{
	return guard->phase >= GUARD_BODY && guard->phase <= GUARD_TRAILER;
}

/* ---- heads ---- */

/* Of tokens (RFC 9110, 5.6.2), by byte; all others are 0. */
static const bool token_bytes[256] = {
	['!'] = true, ['#'] = true, ['$'] = true, ['%'] = true, ['&'] = true, ['\''] = true, ['*'] = true, ['+'] = true,
	['-'] = true, ['.'] = true, ['^'] = true, ['_'] = true, ['`'] = true, ['|'] = true, ['~'] = true,
	['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true,
};

static bool
is_token(unsigned char c)
{
	return token_bytes[c];
}

/* Has it a control character, other than a tab? */
static bool
has_control(const char *value, size_t len)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);
	const uint64_t highs = UINT64_C(0x8080808080808080);
	size_t		at = 0;

	for (; len - at >= 8; at += 8)
	{
		uint64_t	word;

		/* May be wrong about bytes behind one that is a control character, or a tab: then they are looked at one by one. */
		memcpy(&word, value + at, sizeof(word));
		if ((((word - ones * 0x20) | ((word ^ ones * 0x7f) - ones)) & ~word & highs) != 0)
			break;
	}
	for (; at < len; at++)
	{
		unsigned char c = (unsigned char) value[at];

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return true;
	}
	return false;
}

/* What a head says of the message behind it. */
typedef struct Framing
{
	bool		http10;
	int			hosts;
	int			lengths;
	int			encodings;
	bool		upgrade;
	uint64_t	length;
} Framing;

static const char *
check_method(const char *method, size_t len)
{
	/* TRACE and QUERY are known, but no route has them: 405. */
	static const char *const known[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strlen(known[i]) == len && memcmp(known[i], method, len) == 0)
			return NULL;
	for (size_t i = 0; i < len; i++)
		if (!is_token((unsigned char) method[i]))
			return "bad_request_line";
	return len == 0 ? "bad_request_line" : "method_not_known";
}

static const char *
check_target(const char *target, size_t len, bool options)
{
	int			pairs = 0;

	if (len == 1 && target[0] == '*' && options)
		return NULL;
	if (len == 0 || target[0] != '/')
		return "bad_target";
	for (size_t i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) target[i];

		if (c <= 0x20 || c >= 0x7f || c == '#')
			return "bad_target";
		if (c == '&' && ++pairs >= GUARD_MAX_PAIRS)
			return "too_many_parameters";
	}
	return NULL;
}

static const char *
check_request_line(const char *line, size_t len, Framing *framing)
{
	const char *first = memchr(line, ' ', len);
	const char *second = first == NULL ? NULL : memchr(first + 1, ' ', len - (size_t) (first + 1 - line));
	const char *version;
	const char *why;

	if (second == NULL)
		return "bad_request_line";
	why = check_method(line, (size_t) (first - line));
	if (why != NULL)
		return why;
	why = check_target(first + 1, (size_t) (second - first - 1), line[0] == 'O');
	if (why != NULL)
		return why;
	version = second + 1;
	if (len - (size_t) (version - line) != 8 || memcmp(version, "HTTP/", 5) != 0)
		return "bad_request_line";
	if (memcmp(version, "HTTP/1.1", 8) != 0 && memcmp(version, "HTTP/1.0", 8) != 0)
		return version[5] >= '0' && version[5] <= '9' && version[6] == '.' && version[7] >= '0' && version[7] <= '9' ?
			"version_not_supported" : "bad_request_line";
	framing->http10 = version[7] == '0';
	return NULL;
}

static bool
is_value(const char *value, size_t len, const char *wanted)
{
	return strlen(wanted) == len && strncasecmp(value, wanted, len) == 0;
}

static const char *
check_length(const char *value, size_t len, Framing *framing)
{
	if (len == 0 || len > 18 || ++framing->lengths > 1)
		return "bad_content_length";
	framing->length = 0;
	for (size_t i = 0; i < len; i++)
	{
		if (value[i] < '0' || value[i] > '9')
			return "bad_content_length";
		framing->length = framing->length * 10 + (uint64_t) (value[i] - '0');
	}
	return NULL;
}

static const char *
check_host(const char *value, size_t len, Framing *framing)
{
	if (++framing->hosts > 1 || len > 255)
		return "bad_host";
	for (size_t i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) value[i];

		if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
			(c == '\0' || strchr(".-_:[]%~", c) == NULL))
			return "bad_host";
	}
	return NULL;
}

static const char *
check_cookie(const char *value, size_t len)
{
	int			pairs = 0;

	for (size_t i = 0; i < len; i++)
		if (value[i] == ';' && ++pairs >= GUARD_MAX_PAIRS)
			return "too_many_parameters";
	return NULL;
}

/* Headers that frame the message, or that libmicrohttpd acts upon. */
static const char *
check_known(const char *name, size_t name_len, const char *value, size_t len, Framing *framing)
{
	if (is_value(name, name_len, "content-length"))
		return check_length(value, len, framing);
	if (is_value(name, name_len, "transfer-encoding"))
		return ++framing->encodings > 1 || !is_value(value, len, "chunked") ? "bad_transfer_encoding" : NULL;
	if (is_value(name, name_len, "host"))
		return check_host(value, len, framing);
	if (is_value(name, name_len, "expect"))
		return is_value(value, len, "100-continue") ? NULL : "expectation_failed";
	if (is_value(name, name_len, "cookie"))
		return check_cookie(value, len);
	if (is_value(name, name_len, "upgrade"))
		framing->upgrade = true;
	return NULL;
}

static const char *
check_header(const char *line, size_t len, Framing *framing)
{
	size_t		name_len = 0;
	size_t		at;

	if (line[0] == ' ' || line[0] == '\t')
		return "folded_header";
	while (name_len < len && is_token((unsigned char) line[name_len]))
		name_len++;
	if (name_len == 0 || name_len == len || line[name_len] != ':')
		return "bad_header";
	if (has_control(line + name_len + 1, len - name_len - 1))
		return "bad_header";
	at = name_len + 1;
	while (at < len && (line[at] == ' ' || line[at] == '\t'))
		at++;
	while (len > at && (line[len - 1] == ' ' || line[len - 1] == '\t'))
		len--;
	return check_known(line, name_len, line + at, len - at, framing);
}

/* The head, with its empty line; NULL: well-formed. */
static const char *
check_head(const char *head, size_t len, Framing *framing)
{
	const char *at = head;
	const char *end = head + len - 2;
	int			headers = 0;

	if (at >= end)
		return "bad_request_line";
	while (at < end)
	{
		const char *lf = memchr(at, '\n', (size_t) (head + len - at));
		size_t		line_len;
		const char *why;

		if (lf == NULL || lf == at || lf[-1] != '\r')
			return "bad_line_end";
		line_len = (size_t) (lf - 1 - at);
		if (memchr(at, '\r', line_len) != NULL)
			return "bad_line_end";
		if (at != head && ++headers > GUARD_MAX_HEADERS)
			return "headers_too_large";
		if (at == head && line_len > GUARD_MAX_LINE)
			return "target_too_long";
		why = at == head ? check_request_line(at, line_len, framing) : check_header(at, line_len, framing);
		if (why != NULL)
			return why;
		at = lf + 1;
	}
	if (framing->hosts != 1 && !(framing->http10 && framing->hosts == 0))
		return "bad_host";
	if (framing->encodings > 0 && framing->lengths > 0)
		return "length_and_encoding";
	if (framing->encodings > 0 && framing->http10)
		return "bad_transfer_encoding";
	return NULL;
}

/* Where the head ends (behind its empty line), 0: not yet. A bare LF ends it too: so that it is judged, not waited for. */
static size_t
head_end(const char *bytes, size_t len)
{
	const char *at = bytes;
	const char *end = bytes + len;

	/* An empty line where the request line should be. */
	if (len > 0 && bytes[0] == '\n')
		return 1;
	if (len > 1 && bytes[0] == '\r' && bytes[1] == '\n')
		return 2;
	while (at < end && (at = memchr(at, '\n', (size_t) (end - at))) != NULL)
	{
		if (at + 1 < end && at[1] == '\n')
			return (size_t) (at + 2 - bytes);
		if (at + 2 < end && at[1] == '\r' && at[2] == '\n')
			return (size_t) (at + 3 - bytes);
		at++;
	}
	return 0;
}

/* ---- the stream ---- */

static bool
reserve(Guard *guard, size_t more)
{
	size_t		used = guard->len - guard->start;
	char	   *bytes;

	if (guard->start > 0 && used > 0)
		memmove(guard->bytes, guard->bytes + guard->start, used);
	guard->start = 0;
	guard->len = used;
	if (used + more <= guard->size)
		return true;
	bytes = realloc(guard->bytes, used + more + 1024);
	if (bytes == NULL)
		return false;
	guard->bytes = bytes;
	guard->size = used + more + 1024;
	return true;
}

/* Puts the replacement where the refused request begins, and drops the rest. */
static bool
refuse(Guard *guard, const char *reason)
{
	char		text[GUARD_REFUSAL_MAX];
	int			len = snprintf(text, sizeof(text), GUARD_METHOD " /%s HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n", reason);

	guard->len = guard->start + guard->ready;
	if (!reserve(guard, (size_t) len))
		return false;
	memcpy(guard->bytes + guard->len, text, (size_t) len);
	guard->len += (size_t) len;
	guard->ready += (size_t) len;
	guard->requests++;
	guard->phase = GUARD_REFUSED;
	return true;
}

/* A head may be complete at the end of what passed. False: out of memory, or nothing more to do. */
static bool
pass_head(Guard *guard)
{
	const char *head = guard->bytes + guard->start + guard->ready;
	size_t		len = guard->len - guard->start - guard->ready;
	size_t		end = head_end(head, len);
	Framing		framing = {.http10 = false};
	bool		upgrade;
	const char *why;

	if (end == 0)
	{
		if (len > GUARD_MAX_LINE + 2 && memchr(head, '\n', len) == NULL)
			return refuse(guard, "target_too_long") && false;
		return len > GUARD_MAX_HEAD && refuse(guard, "headers_too_large") && false;
	}
	why = end > GUARD_MAX_HEAD ? "headers_too_large" : check_head(head, end, &framing);
	upgrade = framing.upgrade && framing.length == 0 && framing.encodings == 0;
	if (why == NULL && upgrade && len > end)
		why = "early_data";
	if (why != NULL)
		return refuse(guard, why) && false;
	guard->ready += end;
	guard->requests++;
	guard->body = 0;
	guard->left = framing.length;
	guard->line = 0;
	guard->phase = upgrade ? GUARD_UPGRADE : framing.encodings > 0 ? GUARD_CHUNK_SIZE : framing.length > 0 ? GUARD_BODY : GUARD_HEAD;
	return true;
}

static bool
break_off(Guard *guard, const char *why)
{
	guard->broken = why;
	guard->phase = GUARD_REFUSED;
	guard->len = guard->start + guard->ready;
	return false;
}

static int
hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* One byte of a chunk's size line: hexadecimal digits, CR, LF; no extensions. */
static bool
pass_chunk_size(Guard *guard, char c)
{
	int			digit = hex_digit(c);

	if (guard->line == 0)
	{
		guard->left = 0;
		guard->cr = false;
	}
	guard->line++;
	if (digit >= 0 && !guard->cr && guard->line <= 8)
		guard->left = guard->left * 16 + (uint64_t) digit;
	else if (c == '\r' && !guard->cr && guard->line > 1)
		guard->cr = true;
	else if (c == '\n' && guard->cr)
	{
		guard->line = 0;
		guard->cr = false;
		if (guard->body + guard->left > guard->max_body)
			return break_off(guard, "body_too_large");
		guard->phase = guard->left > 0 ? GUARD_CHUNK_DATA : GUARD_TRAILER;
	}
	else
		return break_off(guard, "bad_chunk");
	guard->ready++;
	return true;
}

/* The CR LF behind a chunk's data, or the one that ends the message (trailers are refused). */
static bool
pass_line_end(Guard *guard, char c)
{
	if (c != (guard->line == 0 ? '\r' : '\n'))
		return break_off(guard, guard->phase == GUARD_TRAILER ? "trailers_refused" : "bad_chunk");
	guard->ready++;
	if (guard->line++ == 1)
	{
		guard->line = 0;
		guard->phase = guard->phase == GUARD_TRAILER ? GUARD_HEAD : GUARD_CHUNK_SIZE;
	}
	return true;
}

static bool
pass_data(Guard *guard, size_t available)
{
	size_t		n = guard->left < available ? (size_t) guard->left : available;

	guard->ready += n;
	guard->left -= n;
	guard->body += n;
	if (guard->left == 0)
	{
		guard->line = 0;
		guard->phase = guard->phase == GUARD_BODY ? GUARD_HEAD : GUARD_CHUNK_END;
	}
	return true;
}

bool
guard_feed(Guard *guard, const char *bytes, size_t len)
{
	bool		more = true;

	if (guard->phase == GUARD_REFUSED || len == 0)
		return true;
	if (!reserve(guard, len))
		return false;
	memcpy(guard->bytes + guard->len, bytes, len);
	guard->len += len;
	while (more && guard->len > guard->start + guard->ready)
	{
		size_t		at = guard->start + guard->ready;

		switch (guard->phase)
		{
			case GUARD_HEAD:
				more = pass_head(guard);
				break;
			case GUARD_BODY:
			case GUARD_CHUNK_DATA:
				more = pass_data(guard, guard->len - at);
				break;
			case GUARD_CHUNK_SIZE:
				more = pass_chunk_size(guard, guard->bytes[at]);
				break;
			case GUARD_CHUNK_END:
			case GUARD_TRAILER:
				more = pass_line_end(guard, guard->bytes[at]);
				break;
			case GUARD_UPGRADE:
				more = break_off(guard, "early_data");
				break;
			case GUARD_REFUSED:
				more = false;
				break;
		}
	}
	return true;
}

size_t
guard_take(Guard *guard, char *out, size_t max)
{
	size_t		n = guard->ready < max ? guard->ready : max;

	if (n > 0)
		memcpy(out, guard->bytes + guard->start, n);
	guard->start += n;
	guard->ready -= n;
	if (guard->start == guard->len)
	{
		/* Idle connections hold no buffer. */
		guard->start = 0;
		guard->len = 0;
		if (guard->size > 8192 || guard->phase == GUARD_HEAD)
		{
			free(guard->bytes);
			guard->bytes = NULL;
			guard->size = 0;
		}
	}
	return n;
}
