#include "kafka-ingest/step.h"

#include <ctype.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/utf8.h"

static void
park(Item *item, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void
park(Item *item, const char *format, ...)
{
	va_list		args;

	item->park = true;
	va_start(args, format);
	vsnprintf(item->reason, sizeof(item->reason), format, args);
	va_end(args);
	ingest_plain(item->reason);
}

void
ingest_plain(char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char) *text < 0x20 || (unsigned char) *text > 0x7e)
			*text = '?';
}

bool
ingest_uuid_good(const char *text, size_t len)
{
	if (len != 36)
		return false;
	for (size_t i = 0; i < len; i++)
	{
		bool		dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? text[i] != '-' : !isxdigit((unsigned char) text[i]))
			return false;
	}
	return true;
}

/* The last header of that name counts, as in a map. */
static const InboundHeader *
find_header(const Inbound *message, const char *name)
{
	for (size_t i = message->header_count; i > 0; i--)
		if (strcmp(message->headers[i - 1].name, name) == 0 && message->headers[i - 1].value != NULL)
			return &message->headers[i - 1];
	return NULL;
}

/* Nesting of arrays and objects, no deeper than limit + 1. The parser has bounded it already. */
static int
depth_of(json_t *value, int limit)
{
	int			deepest = 0;
	int			depth;

	if (limit < 0 || (!json_is_object(value) && !json_is_array(value)))
		return 0;
	for (void *at = json_object_iter(value); at != NULL; at = json_object_iter_next(value, at))
	{
		depth = depth_of(json_object_iter_value(at), limit - 1);
		deepest = depth > deepest ? depth : deepest;
	}
	for (size_t i = 0; i < json_array_size(value); i++)
	{
		depth = depth_of(json_array_get(value, i), limit - 1);
		deepest = depth > deepest ? depth : deepest;
	}
	return deepest + 1;
}

static json_t *
parse_value(const IngestRules *rules, const Inbound *message, Item *item)
{
	json_error_t error;
	json_t	   *json;
	char	   *near;

	if (message->value == NULL)
		park(item, "the message has no value");
	else if ((int64_t) message->value_len > rules->max_bytes)
		park(item, "the value has %zu bytes, allowed are %" PRId64, message->value_len, rules->max_bytes);
	else if (!utf8_is_text(message->value, message->value_len))
		park(item, "the value is not UTF-8 text, or has a NUL byte");
	if (item->park)
		return NULL;
	/* Whole numbers of any size are left to the database, which reads the text itself. */
	json = json_loadb(message->value, message->value_len, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &error);
	if (json == NULL)
	{
		/* What stands there may be a secret: the place is enough. */
		near = strstr(error.text, " near ");
		if (near != NULL)
			*near = '\0';
		park(item, "the value is not JSON: %s (byte %d)", error.text, error.position);
	}
	else if (!json_is_object(json))
		park(item, "the value is not a JSON object");
	else if (depth_of(json, INGEST_MAX_DEPTH) > INGEST_MAX_DEPTH)
		park(item, "the value is nested deeper than %d", INGEST_MAX_DEPTH);
	if (item->park)
	{
		json_decref(json);
		return NULL;
	}
	return json;
}

/* ce_id, else eventId, else where it stands. */
static void
choose_id(const Inbound *message, json_t *value, Item *item)
{
	const InboundHeader *header = find_header(message, "ce_id");
	json_t	   *event_id = json_object_get(value, "eventId");
	const char *id = NULL;
	size_t		len = 0;

	if (header != NULL)
	{
		id = header->value;
		len = header->len;
	}
	else if (json_is_string(event_id))
	{
		id = json_string_value(event_id);
		len = json_string_length(event_id);
	}
	else if (event_id != NULL)
	{
		park(item, "eventId is not a string");
		return;
	}
	if (id == NULL)
		snprintf(item->id, sizeof(item->id), "%s/%" PRId32 "/%" PRId64, message->topic, message->partition, message->offset);
	else if (len == 0 || len > INGEST_ID_MAX || !utf8_is_text(id, len))
		park(item, "the id (%s) is not a text of 1 to %d bytes", header != NULL ? "ce_id" : "eventId", INGEST_ID_MAX);
	else
		snprintf(item->id, sizeof(item->id), "%.*s", (int) len, id);
}

/* Ids are unique within a topic and, when it says so, a CloudEvents source. */
static void
choose_source(const IngestRules *rules, const Inbound *message, Item *item)
{
	const InboundHeader *header = find_header(message, "ce_source");
	int			used = snprintf(item->source, sizeof(item->source), "%s:%s", rules->source, message->topic);

	if (used < 0 || (size_t) used >= sizeof(item->source) || (header != NULL && !utf8_is_text(header->value, header->len)))
		park(item, "the source is not a text of at most %zu bytes", sizeof(item->source) - 1);
	else if (header != NULL && header->len > 0)
	{
		if ((size_t) used + 1 + header->len >= sizeof(item->source))
			park(item, "the source is longer than %zu bytes", sizeof(item->source) - 1);
		else
			snprintf(item->source + used, sizeof(item->source) - (size_t) used, ":%.*s", (int) header->len,
					 (const char *) header->value);
	}
}

static void
choose_organization(const IngestRules *rules, const Inbound *message, Item *item)
{
	const InboundHeader *header = find_header(message, "organization_id");

	if (header != NULL && !ingest_uuid_good(header->value, header->len))
		park(item, "the header organization_id is not a UUID");
	else if (header != NULL && *rules->organization != '\0' &&
			 strncasecmp(header->value, rules->organization, 36) != 0)
		park(item, "the header organization_id names another organization than this ingester's");
	else if (header != NULL)
		memcpy(item->organization, header->value, 36);
	else if (*rules->organization != '\0')
		memcpy(item->organization, rules->organization, 36);
	else
		park(item, "neither the header organization_id nor a setting names the organization");
	item->organization[36] = '\0';
}

/* Headers that are text go along; binary ones mean nothing to an event. */
static bool
copy_headers(const Inbound *message, Item *item)
{
	json_t	   *object;

	if (message->header_count == 0)
		return true;
	object = json_object();
	for (size_t i = 0; i < message->header_count; i++)
	{
		const InboundHeader *header = &message->headers[i];

		if (header->value != NULL && utf8_is_text(header->value, header->len) &&
			utf8_is_text(header->name, strlen(header->name)))
			json_object_set_new(object, header->name, json_stringn(header->value, header->len));
	}
	item->headers = json_dumps(object, JSON_COMPACT);
	json_decref(object);
	return item->headers != NULL;
}

bool
ingest_judge(const IngestRules *rules, const Inbound *message, Item *item)
{
	json_t	   *value;
	bool		good;

	memset(item, 0, sizeof(*item));
	value = parse_value(rules, message, item);
	if (!item->park && message->key != NULL && !utf8_is_text(message->key, message->key_len))
		park(item, "the key is not UTF-8 text, or has a NUL byte");
	if (!item->park && message->header_count >= INGEST_MAX_HEADERS)
		park(item, "the message has more than %d headers", INGEST_MAX_HEADERS - 1);
	if (!item->park)
		choose_id(message, value, item);
	if (!item->park)
		choose_source(rules, message, item);
	if (!item->park)
		choose_organization(rules, message, item);
	json_decref(value);
	if (item->park)
		return true;
	good = copy_headers(message, item);
	item->payload = strndup(message->value, message->value_len);
	if (message->key != NULL)
	{
		item->key = strndup(message->key, message->key_len);
		good = good && item->key != NULL;
	}
	return good && item->payload != NULL;
}

void
ingest_free(Item *item)
{
	free(item->key);
	free(item->payload);
	free(item->headers);
	memset(item, 0, sizeof(*item));
}

Fault
ingest_fault(const char *sqlstate)
{
	/* Data, integrity, limits of a program, and what the contexts refuse (PT4xx), but for rights and throttling. */
	static const char *const classes[] = {"21", "22", "23", "54", "P0", "PT4"};
	static const char *const passing[] = {"PT401", "PT429", "54000"};

	for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++)
		if (strcmp(sqlstate, passing[i]) == 0)
			return FAULT_PASSING;
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
		if (strncmp(sqlstate, classes[i], strlen(classes[i])) == 0)
			return FAULT_MESSAGE;
	return FAULT_PASSING;
}
