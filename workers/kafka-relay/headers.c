#include "kafka-relay/headers.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void
uuid_format(const unsigned char *uuid, char *out)
{
	static const char hex[] = "0123456789abcdef";
	static const unsigned char at[16] = {0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34};

	for (int i = 0; i < 16; i++)
	{
		out[at[i]] = hex[uuid[i] >> 4];
		out[at[i] + 1] = hex[uuid[i] & 15];
	}
	out[8] = out[13] = out[18] = out[23] = '-';
	out[36] = '\0';
}

size_t
time_format(int64_t us, char *out)
{
	/* Events come in bursts of the same second. */
	static _Thread_local int64_t cached_second = INT64_MIN;
	static _Thread_local char cached[40];
	static _Thread_local size_t cached_len;
	int64_t		second = us / 1000000 - (us % 1000000 < 0);
	int			micros = (int) (us % 1000000 + (us % 1000000 < 0 ? 1000000 : 0));

	if (second != cached_second)
	{
		time_t		t = (time_t) second;
		struct tm	tm;

		if (gmtime_r(&t, &tm) == NULL || (cached_len = strftime(cached, 30, "%Y-%m-%dT%H:%M:%S.", &tm)) == 0)
			return (size_t) sprintf(out, "1970-01-01T00:00:00Z");
		cached_second = second;
	}
	memcpy(out, cached, cached_len);
	for (int i = 5; i >= 0; i--)
	{
		out[cached_len + (size_t) i] = (char) ('0' + micros % 10);
		micros /= 10;
	}
	out[cached_len + 6] = 'Z';
	out[cached_len + 7] = '\0';
	return cached_len + 7;
}

/* What is left to read of a JSON text that PostgreSQL wrote. */
typedef struct Scan
{
	const char *at;
	const char *end;
} Scan;

static bool
take_char(Scan *scan, char c)
{
	while (scan->at < scan->end && *scan->at == ' ')
		scan->at++;
	if (scan->at == scan->end || *scan->at != c)
		return false;
	scan->at++;
	return true;
}

/* With its quotes and escapes. */
static bool
take_string(Scan *scan, Bytes *text)
{
	const char *from;

	if (!take_char(scan, '"'))
		return false;
	from = scan->at - 1;
	while (scan->at < scan->end && *scan->at != '"')
		scan->at += *scan->at == '\\' && scan->at + 1 < scan->end ? 2 : 1;
	if (scan->at >= scan->end)
		return false;
	scan->at++;
	*text = (Bytes) {from, (size_t) (scan->at - from)};
	return true;
}

/* The text of a value of any kind, up to the comma or brace behind it. */
static bool
take_value(Scan *scan, Bytes *text)
{
	Bytes		inner;
	int			depth = 0;

	while (scan->at < scan->end && *scan->at == ' ')
		scan->at++;
	text->data = scan->at;
	while (scan->at < scan->end && (depth > 0 || (*scan->at != ',' && *scan->at != '}')))
	{
		if (*scan->at == '"')
		{
			if (!take_string(scan, &inner))
				return false;
			continue;
		}
		depth += (*scan->at == '{' || *scan->at == '[') - (*scan->at == '}' || *scan->at == ']');
		scan->at++;
	}
	text->len = (size_t) (scan->at - text->data);
	return text->len > 0;
}

/* The string itself; *held owns it where escapes had to be undone. */
static bool
unquote(const Bytes *quoted, Bytes *text, json_t **held)
{
	*held = NULL;
	*text = (Bytes) {quoted->data + 1, quoted->len - 2};
	if (memchr(quoted->data, '\\', quoted->len) == NULL)
		return true;
	*held = json_loadb(quoted->data, quoted->len, JSON_DECODE_ANY, NULL);
	*text = (Bytes) {json_string_value(*held), json_string_length(*held)};
	return *held != NULL;
}

static bool
is_ours(const Bytes *name)
{
	return (name->len >= 3 && memcmp(name->data, "ce_", 3) == 0) ||
		(name->len == 12 && memcmp(name->data, "content-type", 12) == 0) ||
		(name->len == 15 && memcmp(name->data, "organization_id", 15) == 0);
}

/* A name of ours stays ours; null is none, nor is what is not in UTF-8. */
static bool
add_one(rd_kafka_headers_t *headers, const Bytes *quoted_name, const Bytes *value)
{
	json_t	   *name_held;
	json_t	   *text_held = NULL;
	Bytes		name;
	Bytes		text = *value;
	bool		wanted = unquote(quoted_name, &name, &name_held) && !is_ours(&name) &&
		!(value->len == 4 && memcmp(value->data, "null", 4) == 0);
	bool		good = true;

	if (wanted && *value->data == '"')
		wanted = unquote(value, &text, &text_held);
	if (wanted)
		good = rd_kafka_header_add(headers, name.data, (ssize_t) name.len, text.data, (ssize_t) text.len) == RD_KAFKA_RESP_ERR_NO_ERROR;
	json_decref(name_held);
	json_decref(text_held);
	return good;
}

/*
 * The event's own headers: traceparent and whatever the emitter gave.  They are
 * cut out of the text, so that a number stays as it was written: jsonb knows
 * larger and longer ones than a parser's long long and double.
 */
static bool
add_own(rd_kafka_headers_t *headers, const Bytes *own)
{
	Scan		scan = {own->data, own->data + own->len};
	Bytes		name;
	Bytes		value;

	if (own->data == NULL || own->len <= 2 || !take_char(&scan, '{'))
		return true;
	while (take_string(&scan, &name) && take_char(&scan, ':') && take_value(&scan, &value))
	{
		if (!add_one(headers, &name, &value))
			return false;
		if (!take_char(&scan, ','))
			break;
	}
	return true;
}

#define ADD(name, value, len) \
	rd_kafka_header_add(headers, name, (ssize_t) sizeof(name) - 1, value, (ssize_t) (len))

rd_kafka_headers_t *
headers_make(const Event *event, const char *source)
{
	rd_kafka_headers_t *headers = rd_kafka_headers_new(9);
	char		text[64];
	size_t		time_len;
	bool		bad;

	if (headers == NULL)
		return NULL;
	uuid_format(event->id, text);
	bad = ADD("ce_id", text, UUID_TEXT_LEN) != 0;
	bad |= ADD("ce_type", event->type.data, event->type.len) != 0;
	bad |= ADD("ce_source", source, strlen(source)) != 0;
	bad |= ADD("ce_specversion", "1.0", 3) != 0;
	time_len = time_format(event->occurred_at_us, text);
	bad |= ADD("ce_time", text, time_len) != 0;
	bad |= ADD("content-type", "application/json", 16) != 0;
	if (event->has_organization)
	{
		uuid_format(event->organization, text);
		bad |= ADD("organization_id", text, UUID_TEXT_LEN) != 0;
	}
	if (bad || !add_own(headers, &event->headers))
	{
		rd_kafka_headers_destroy(headers);
		return NULL;
	}
	return headers;
}
