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

static bool
is_ours(const char *name)
{
	return strncmp(name, "ce_", 3) == 0 || strcmp(name, "content-type") == 0 || strcmp(name, "organization_id") == 0;
}

/* The event's own headers: traceparent and whatever the emitter gave; a name of ours stays ours. */
static bool
add_own(rd_kafka_headers_t *headers, const Bytes *own)
{
	json_t	   *object;
	const char *name;
	json_t	   *value;
	bool		good = true;

	if (own->data == NULL || own->len <= 2)
		return true;
	object = json_loadb(own->data, own->len, 0, NULL);
	json_object_foreach(object, name, value)
	{
		char	   *text = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

		if (is_ours(name) || json_is_null(value))
			;
		else if (json_is_string(value))
			good = !rd_kafka_header_add(headers, name, -1, json_string_value(value), (ssize_t) json_string_length(value)) && good;
		else
			good = text != NULL && !rd_kafka_header_add(headers, name, -1, text, -1) && good;
		free(text);
	}
	json_decref(object);
	return good;
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
