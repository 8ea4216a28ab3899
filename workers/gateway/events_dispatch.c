/* Each event of a batch to the live listeners that may and want to have it: formatted once, shared by all. */
#include <stdlib.h>
#include <string.h>

#include "gateway/events_internal.h"
#include "gateway/stats.h"
#include "lib/log.h"
#include "lib/packed.h"

/* ---- audiences ---- */

static Audience **
audience_bucket(Feed *feed, const unsigned char *organization)
{
	uint32_t	hash;

	/* The last bytes of a UUIDv7 are random. */
	memcpy(&hash, organization + 12, sizeof(hash));
	return &feed->audiences[hash & (EVENTS_BUCKETS - 1)];
}

Audience *
audience_of(Feed *feed, const unsigned char *organization, bool make)
{
	Audience  **bucket = audience_bucket(feed, organization);
	Audience   *audience = *bucket;

	while (audience != NULL && memcmp(audience->organization, organization, sizeof(audience->organization)) != 0)
		audience = audience->next;
	if (audience != NULL || !make)
		return audience;
	audience = calloc(1, sizeof(*audience));
	if (audience == NULL)
		return NULL;
	memcpy(audience->organization, organization, sizeof(audience->organization));
	audience->feed = feed;
	audience->next = *bucket;
	*bucket = audience;
	return audience;
}

void
audience_add(Audience *audience, Listener *listener)
{
	listener->audience = audience;
	listener->audience_previous = NULL;
	listener->audience_next = audience->first;
	if (audience->first != NULL)
		audience->first->audience_previous = listener;
	audience->first = listener;
}

void
audience_remove(Listener *listener)
{
	Audience   *audience = listener->audience;
	Audience  **link;

	if (listener->audience_previous != NULL)
		listener->audience_previous->audience_next = listener->audience_next;
	else
		audience->first = listener->audience_next;
	if (listener->audience_next != NULL)
		listener->audience_next->audience_previous = listener->audience_previous;
	listener->audience = NULL;
	if (audience->first != NULL)
		return;
	link = audience_bucket(audience->feed, audience->organization);
	while (*link != audience)
		link = &(*link)->next;
	*link = audience->next;
	free(audience);
}

/* ---- events ---- */

/* An event in the forms that somebody wanted so far. */
typedef struct Formatted
{
	Chunk	   *forms[FORMS];
} Formatted;

static void
offer(Listener *listener, const Event *event, Formatted *formatted)
{
	const Identity *identity = listener->identity;
	Chunk	  **chunk = &formatted->forms[listener_form(listener)];

	if (position_compare(&event->position, &listener->cursor) <= 0 ||
		!filter_has(identity->topics, identity->topic_count, event->topic.data, event->topic.len) ||
		!filter_matches(listener->filter, event))
		return;
	if (*chunk == NULL)
	{
		char		position[SEAL_TEXT];

		seal_position(listener->feed->seal, event->organization, &event->position, position);
		*chunk = format_event(event, position, listener_form(listener));
	}
	listener_queue(listener, *chunk);
	listener_mark(listener);
	listener->sent++;
	stats_count(listener->events->gateway, STAT_EVENTS_SENT);
}

static void
discard(Formatted *formatted)
{
	for (int i = 0; i < FORMS; i++)
		chunk_free(formatted->forms[i]);
}

void
dispatch_events(Feed *feed, const char *bytes, size_t len)
{
	PackedEvents packed;
	Event		event;
	const char *why = NULL;

	packed_open(&packed, bytes, len);
	while (packed_next(&packed, &event, &why))
	{
		Audience   *audience = event.has_organization ? audience_of(feed, event.organization, false) : NULL;
		Formatted	formatted = {{NULL}};

		for (Listener *listener = audience != NULL ? audience->first : NULL; listener != NULL; listener = listener->audience_next)
			offer(listener, &event, &formatted);
		discard(&formatted);
		identities_hint(feed, &event);
	}
	if (why != NULL)
		log_error("a batch of the log is malformed", F_STR("error", why));
}

static void
offer_batch(Listener *listener, const char *bytes, size_t len)
{
	PackedEvents packed;
	Event		event;
	const char *why = NULL;

	packed_open(&packed, bytes, len);
	while (packed_next(&packed, &event, &why))
	{
		Formatted	formatted = {{NULL}};

		/* Not its organization's: what is held is everybody's. */
		if (!event.has_organization || memcmp(event.organization, listener->identity->organization, sizeof(event.organization)) != 0)
			continue;
		offer(listener, &event, &formatted);
		discard(&formatted);
	}
}

void
dispatch_held(Feed *feed, Listener *listener)
{
	for (int i = 0; i < feed->held_count; i++)
		if (position_compare(&feed->held[i].until, &listener->cursor) > 0)
			offer_batch(listener, feed->held[i].bytes, feed->held[i].len);
}

void
dispatch_page(Listener *listener, const char *bytes, size_t len)
{
	offer_batch(listener, bytes, len);
}

void
audiences_free(Feed *feed)
{
	for (int i = 0; i < EVENTS_BUCKETS; i++)
		while (feed->audiences[i] != NULL)
		{
			Audience   *audience = feed->audiences[i];

			feed->audiences[i] = audience->next;
			free(audience);
		}
}
