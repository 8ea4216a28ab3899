/* Who listens: what a token may hear, seen again every --events-check-ms (events_rounds.c), and at once when an audit event is about it. */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gateway/events_internal.h"
#include "gateway/problem.h"
#include "gateway/text.h"
#include "lib/log.h"

#define CHECKS_AT_ONCE 8
/* Looked through for one that is due, when a check is over. */
#define LOOK_AT 64
/* After a hint, not more often than this. */
#define HINTED_MS 500
#define RETRY_MS 1000
/* Unseen for so many times the interval, with a database that answers: closed, to be safe. */
#define TOO_LONG 6

#define AUDIT_TOPIC "access.audit"

const char	events_check_sql[] =
"SELECT access.organization_id()::pg_catalog.text,"
" (SELECT pg_catalog.string_agg(i.value->>'topic', ',') FROM pg_catalog.jsonb_array_elements(api.event_topics()->'items') i),"
" NULLIF(pg_catalog.current_setting('request.jwt.claims', true), '')::pg_catalog.jsonb->>'exp',"
" events.position()::pg_catalog.text";

static void take_rights(Identity *identity, Rights *rights);
static void start_checks(Events *events, int64_t now_ms, int look_at);

typedef struct Check
{
	Call		call;
	Statement	statement;
	Identity   *identity;
} Check;

/* ---- rights ---- */

static bool
read_uuid(const char *text, unsigned char *id)
{
	if (!text_is_uuid(text))
		return false;
	for (int i = 0; i < 16; text++)
	{
		unsigned int byte;

		if (*text == '-')
			continue;
		if (sscanf(text, "%2x", &byte) != 1)
			return false;
		id[i++] = (unsigned char) byte;
		text++;
	}
	return true;
}

bool
rights_parse(const char *organization, const char *topics, Rights *rights)
{
	memset(rights, 0, sizeof(*rights));
	if (!read_uuid(organization, rights->organization))
		return false;
	rights->topics = strdup(topics);
	if (rights->topics == NULL)
		return false;
	for (char *at = rights->topics; *at != '\0'; at++)
		if (*at == ',')
		{
			*at = '\0';
			rights->topic_count++;
		}
	rights->topic_count += *topics != '\0';
	return true;
}

bool
rights_read(const PGresult *result, Rights *rights)
{
	if (PQntuples(result) != 1 || PQnfields(result) < EVENTS_CHECK_SQL_COLUMNS ||
		!rights_parse(PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1), rights))
		return false;
	rights->expires_s = (int64_t) strtod(PQgetvalue(result, 0, 2), NULL);
	return true;
}

bool
identity_allows(const Identity *identity, const Filter *filter)
{
	const char *topic = filter != NULL ? filter->topics : NULL;

	for (int i = 0; topic != NULL && i < filter->topic_count; i++)
	{
		if (!filter_has(identity->topics, identity->topic_count, topic, strlen(topic)))
			return false;
		topic += strlen(topic) + 1;
	}
	return true;
}

/* Whether something that this listener may have heard is no longer in the rights. */
static bool
loses(const Listener *listener, const Rights *rights)
{
	const Identity *identity = listener->identity;
	const char *topic = identity->topics;

	for (int i = 0; i < identity->topic_count; i++)
	{
		const Filter *filter = listener->filter;
		size_t		len = strlen(topic);

		if (!filter_has(rights->topics, rights->topic_count, topic, len) &&
			(filter == NULL || filter->topics == NULL || filter_has(filter->topics, filter->topic_count, topic, len)))
			return true;
		topic += len + 1;
	}
	return false;
}

/* ---- persons ---- */

static Person *
person_of(Events *events, const char *principal)
{
	Person	  **bucket = &events->persons[text_hash(principal, strlen(principal)) & (EVENTS_BUCKETS - 1)];
	Person	   *person = *bucket;

	while (person != NULL && strcmp(person->principal, principal) != 0)
		person = person->next;
	if (person == NULL)
	{
		person = calloc(1, sizeof(*person));
		if (person == NULL || (person->principal = strdup(principal)) == NULL)
		{
			free(person);
			return NULL;
		}
		person->next = *bucket;
		*bucket = person;
	}
	person->refs++;
	return person;
}

static void
person_release(Events *events, Person *person)
{
	Person	  **link = &events->persons[text_hash(person->principal, strlen(person->principal)) & (EVENTS_BUCKETS - 1)];

	if (--person->refs > 0)
		return;
	while (*link != person)
		link = &(*link)->next;
	*link = person->next;
	free(person->principal);
	free(person);
}

/* ---- the order of checks ---- */

static void
order_remove(Events *events, Identity *identity)
{
	if (identity->previous != NULL)
		identity->previous->next = identity->next;
	else if (events->first_due == identity)
		events->first_due = identity->next;
	if (identity->next != NULL)
		identity->next->previous = identity->previous;
	else if (events->last_due == identity)
		events->last_due = identity->previous;
	identity->next = identity->previous = NULL;
}

static void
order_last(Events *events, Identity *identity, int64_t due_ms)
{
	order_remove(events, identity);
	identity->due_ms = due_ms;
	identity->previous = events->last_due;
	if (events->last_due != NULL)
		events->last_due->next = identity;
	else
		events->first_due = identity;
	events->last_due = identity;
}

static void
order_first(Events *events, Identity *identity, int64_t due_ms)
{
	order_remove(events, identity);
	identity->due_ms = due_ms;
	identity->next = events->first_due;
	if (events->first_due != NULL)
		events->first_due->previous = identity;
	else
		events->last_due = identity;
	events->first_due = identity;
}

/* ---- identities ---- */

static uint32_t
bucket_of(const unsigned char *hash)
{
	uint32_t	bucket;

	memcpy(&bucket, hash, sizeof(bucket));
	return bucket & (EVENTS_BUCKETS - 1);
}

static bool
hash_of(const char *token, const char *asked, unsigned char *hash)
{
	gnutls_hash_hd_t handle;

	if (gnutls_hash_init(&handle, GNUTLS_DIG_SHA256) != 0)
		return false;
	gnutls_hash(handle, token, strlen(token) + 1);
	if (asked != NULL)
		gnutls_hash(handle, asked, strlen(asked));
	gnutls_hash_deinit(handle, hash);
	return true;
}

static void
free_identity(Identity *identity)
{
	if (identity->token != NULL)
		explicit_bzero(identity->token, strlen(identity->token));
	free(identity->token);
	free(identity->asked);
	free(identity->topics);
	free(identity);
}

static Identity *
make_identity(Feed *feed, const Request *request, const unsigned char *hash)
{
	Events	   *events = feed->events;
	Identity   *identity = calloc(1, sizeof(*identity));

	if (identity == NULL)
		return NULL;
	identity->feed = feed;
	memcpy(identity->hash, hash, sizeof(identity->hash));
	identity->token = strdup(request->token);
	identity->asked = request->organization != NULL ? strdup(request->organization) : NULL;
	if (identity->token == NULL || (request->organization != NULL && identity->asked == NULL) ||
		(identity->person = person_of(events, request->principal)) == NULL)
	{
		free_identity(identity);
		return NULL;
	}
	identity->bucket_next = events->identities[bucket_of(hash)];
	events->identities[bucket_of(hash)] = identity;
	order_last(events, identity, 0);
	events->identity_count++;
	return identity;
}

Identity *
identity_of(Feed *feed, const Request *request, Rights *rights)
{
	Events	   *events = feed->events;
	unsigned char hash[32];
	Identity   *identity = NULL;
	int64_t		now = loop_monotonic_ms();

	if (hash_of(request->token, request->organization, hash))
	{
		identity = events->identities[bucket_of(hash)];
		while (identity != NULL && (memcmp(identity->hash, hash, sizeof(hash)) != 0 || identity->feed != feed))
			identity = identity->bucket_next;
		if (identity != NULL)
		{
			identity->refs++;
			take_rights(identity, rights);
			return identity;
		}
		identity = make_identity(feed, request, hash);
	}
	if (identity == NULL)
	{
		free(rights->topics);
		return NULL;
	}
	memcpy(identity->organization, rights->organization, sizeof(identity->organization));
	identity->topics = rights->topics;
	identity->topic_count = rights->topic_count;
	identity->expires_s = rights->expires_s;
	identity->checked_ms = now;
	identity->refs = 1;
	rights->topics = NULL;
	order_last(events, identity, now + events->gateway->settings.events_check_ms);
	return identity;
}

void
identity_unref(Identity *identity)
{
	Events	   *events = identity->feed->events;
	Identity  **link = &events->identities[bucket_of(identity->hash)];

	if (--identity->refs > 0)
		return;
	while (*link != identity)
		link = &(*link)->bucket_next;
	*link = identity->bucket_next;
	order_remove(events, identity);
	events->identity_count--;
	person_release(events, identity->person);
	free_identity(identity);
}

void
identity_add(Identity *identity, Listener *listener)
{
	listener->identity = identity;
	listener->identity_next = identity->first;
	if (identity->first != NULL)
		identity->first->identity_previous = listener;
	identity->first = listener;
	identity->refs++;
	identity->person->listeners++;
}

void
identity_remove(Listener *listener)
{
	Identity   *identity = listener->identity;

	if (listener->identity_previous != NULL)
		listener->identity_previous->identity_next = listener->identity_next;
	else
		identity->first = listener->identity_next;
	if (listener->identity_next != NULL)
		listener->identity_next->identity_previous = listener->identity_previous;
	listener->identity = NULL;
	identity->person->listeners--;
	identity_unref(identity);
}

/* Closes its listeners, or those who lose something by the rights given. */
static void
close_listeners(Identity *identity, const Rights *rights, const char *code, const char *message, int close_code)
{
	Listener   *next;

	identity->refs++;
	for (Listener *listener = identity->first; listener != NULL; listener = next)
	{
		next = listener->identity_next;
		if (rights == NULL || loses(listener, rights))
			listener_close(listener, code, message, close_code);
	}
	identity_unref(identity);
}

/* ---- checking ---- */

static void
take_rights(Identity *identity, Rights *rights)
{
	if (memcmp(rights->organization, identity->organization, sizeof(rights->organization)) != 0)
		close_listeners(identity, NULL, "organization_changed", "the token acts for another organization now", CLOSE_FORBIDDEN);
	memcpy(identity->organization, rights->organization, sizeof(identity->organization));
	close_listeners(identity, rights, "rights_changed", "a topic may not be listened to any more", CLOSE_FORBIDDEN);
	free(identity->topics);
	identity->topics = rights->topics;
	identity->topic_count = rights->topic_count;
	identity->expires_s = rights->expires_s;
	identity->checked_ms = loop_monotonic_ms();
	rights->topics = NULL;
}

static void
check_failed(Identity *identity, CallOutcome outcome, const PGresult *result)
{
	ErrorParts	parts = {.status = 503};

	if (outcome == CALL_FAILED)
		problem_parts(result, true, &parts);
	if (parts.status == 401 || parts.status == 403)
		close_listeners(identity, NULL, parts.code, parts.message, parts.status == 401 ? CLOSE_NO_TOKEN : CLOSE_FORBIDDEN);
	else
		order_first(identity->feed->events, identity, loop_monotonic_ms() + RETRY_MS);
}

static void
check_done(Call *call, CallOutcome outcome, PGresult *result, const char *principal)
{
	Check	   *check = call->context;
	Identity   *identity = check->identity;
	Events	   *events = identity->feed->events;
	Rights		rights;

	(void) principal;
	events->checks--;
	identity->check = NULL;
	free(check);
	if (outcome == CALL_DONE && rights_read(result, &rights))
		take_rights(identity, &rights);
	else if (outcome == CALL_DONE)
		close_listeners(identity, NULL, "no_organization", "the token acts for no organization any more", CLOSE_FORBIDDEN);
	else
		check_failed(identity, outcome, result);
	PQclear(result);
	identity_unref(identity);
	start_checks(events, loop_monotonic_ms(), LOOK_AT);
}

static void
check_rights(Events *events, Identity *identity, int64_t now_ms)
{
	Check	   *check = calloc(1, sizeof(*check));

	order_last(events, identity, now_ms + events->gateway->settings.events_check_ms);
	if (check == NULL)
		return;
	identity->hinted = false;
	check->identity = identity;
	check->statement = (Statement) {.sql = events_check_sql};
	check->call = (Call) {.begin = {identity->token, identity->asked, "t", "GET", "/events", "{}", "{}"}, .main = &check->statement,
		.fair_key = text_hash(identity->token, strlen(identity->token)), .done = check_done, .context = check};
	identity->check = check;
	identity->refs++;
	events->checks++;
	pool_submit(identity->feed->pool, &check->call);
}

void
identity_due(Identity *identity, int64_t due_ms, bool alone)
{
	Events	   *events = identity->feed->events;

	identity->hinted = identity->hinted || alone;
	if (due_ms <= loop_monotonic_ms())
		order_first(events, identity, due_ms);
	else
		order_last(events, identity, due_ms);
}

void
identities_abandon(Events *events)
{
	Identity   *next;

	round_abandon(events);
	for (Identity *identity = events->first_due; identity != NULL; identity = next)
	{
		next = identity->next;
		if (identity->check == NULL)
			continue;
		pool_abandon(&identity->check->call);
		free(identity->check);
		identity->check = NULL;
		identity_unref(identity);
	}
}

static bool
begins(const Event *event, const char *prefix)
{
	return event->type.len >= strlen(prefix) && memcmp(event->type.data, prefix, strlen(prefix)) == 0;
}

/* Whether the event is about this identity's rights: its user's, or its organization's roles. */
static bool
concerns(const Event *event, const Identity *identity)
{
	const char *id = strchr(identity->person->principal, ':');

	if (id != NULL && event->key.data != NULL && strlen(id + 1) == event->key.len && memcmp(id + 1, event->key.data, event->key.len) == 0)
		return true;
	if (begins(event, "session.") || begins(event, "password.") || begins(event, "mfa.") || begins(event, "user.") || begins(event, "login."))
		return false;
	return event->has_organization && memcmp(event->organization, identity->organization, sizeof(identity->organization)) == 0;
}

void
identities_hint(Feed *feed, const Event *event)
{
	Identity   *next;

	if (event->topic.len != strlen(AUDIT_TOPIC) || memcmp(event->topic.data, AUDIT_TOPIC, event->topic.len) != 0 || begins(event, "login."))
		return;
	for (Identity *identity = feed->events->first_due; identity != NULL; identity = next)
	{
		next = identity->next;
		if (identity->feed != feed || !concerns(event, identity))
			continue;
		identity->hinted = true;
		order_first(feed->events, identity, identity->checked_ms + HINTED_MS);
	}
}

/* ---- time ---- */

static void
check_time(Identity *identity, int64_t now_ms, int64_t now_s, int64_t interval_ms)
{
	if (identity->expires_s > 0 && identity->expires_s <= now_s)
		close_listeners(identity, NULL, "token_expired", "the token has expired", CLOSE_NO_TOKEN);
	else if (identity->feed->connected && now_ms - identity->checked_ms > TOO_LONG * interval_ms + RETRY_MS)
		close_listeners(identity, NULL, "not_checked", "the rights could not be checked", CLOSE_INTERNAL);
}

static void
start_checks(Events *events, int64_t now_ms, int look_at)
{
	Identity   *next;

	/* A call that fails at once comes back here. */
	if (events->starting_checks)
		return;
	events->starting_checks = true;
	for (Identity *identity = events->first_due; identity != NULL && events->checks < CHECKS_AT_ONCE && look_at > 0; identity = next)
	{
		next = identity->next;
		look_at--;
		if (identity->due_ms <= now_ms && identity->check == NULL && identity->hinted)
			check_rights(events, identity, now_ms);
	}
	events->starting_checks = false;
}

void
identities_tick(Events *events, int64_t now_ms)
{
	int64_t		now_s = (int64_t) time(NULL);
	int64_t		interval_ms = events->identity_count * INT64_C(1000) / EVENTS_CHECKS_PER_S;
	Identity   *next;

	if (interval_ms < events->gateway->settings.events_check_ms)
		interval_ms = events->gateway->settings.events_check_ms;
	for (Identity *identity = events->first_due; identity != NULL; identity = next)
	{
		next = identity->next;
		check_time(identity, now_ms, now_s, interval_ms);
	}
	start_checks(events, now_ms, events->identity_count);
	round_start(events, now_ms);
}
