/*
 * The rights of all listeners, again and again: those of many tokens in one statement.
 *
 * It only proves that nothing has changed. Whoever's rights are others than they were, and all of a
 * statement that failed, are looked at one by one, as when something happened (events_identity.c).
 */
#include <stdlib.h>
#include <string.h>

#include "gateway/events_internal.h"

/* In one statement; one is begun in each tick, and one at a time. */
#define ROUND_TOKENS (EVENTS_CHECKS_PER_S * EVENTS_TICK_MS / 1000)
#define ROUND_BYTES 524288
#define RETRY_MS 1000
#define UUID_TEXT 36

typedef struct Round
{
	Call		call;
	Statement	statement;
	Events	   *events;
	int64_t		sent_ms;
	int			count;
	Identity   *identities[ROUND_TOKENS];	/* with a reference each */
	char	   *tokens;			/* arrays, as text */
	char	   *organizations;
} Round;

static const char rights_sql[] =
"SELECT r.rights FROM pg_catalog.unnest(access.listener_rights($1::pg_catalog.text[], $2::pg_catalog.uuid[])) WITH ORDINALITY AS r(rights, n)"
" ORDER BY r.n";

static void
free_round(Round *round)
{
	if (round->tokens != NULL)
		explicit_bzero(round->tokens, strlen(round->tokens));
	free(round->tokens);
	free(round->organizations);
	free(round);
}

/* Whether "organization topic,topic" is what the identity has. */
static bool
is_same(const Identity *identity, const char *text)
{
	char		organization[UUID_TEXT + 1] = "";
	Rights		rights;
	const char *now;
	const char *known = identity->topics;
	bool		same;

	if (strlen(text) > UUID_TEXT)
		memcpy(organization, text, UUID_TEXT);
	if (!rights_parse(organization, strlen(text) > UUID_TEXT ? text + UUID_TEXT + 1 : "", &rights))
		return false;
	now = rights.topics;
	same = rights.topic_count == identity->topic_count &&
		memcmp(rights.organization, identity->organization, sizeof(rights.organization)) == 0;
	for (int i = 0; same && i < identity->topic_count; i++)
	{
		same = strcmp(now, known) == 0;
		now += strlen(now) + 1;
		known += strlen(known) + 1;
	}
	free(rights.topics);
	return same;
}

static void
round_done(Call *call, CallOutcome outcome, PGresult *result, const char *principal)
{
	Round	   *round = call->context;
	bool		good = outcome == CALL_DONE && PQntuples(result) == round->count && PQnfields(result) == 1;
	int64_t		now_ms = loop_monotonic_ms();

	(void) principal;
	round->events->round = NULL;
	for (int i = 0; i < round->count; i++)
	{
		Identity   *identity = round->identities[i];

		if (good && is_same(identity, PQgetvalue(result, i, 0)))
			identity->checked_ms = identity->checked_ms > round->sent_ms ? identity->checked_ms : round->sent_ms;
		else if (good || outcome == CALL_FAILED)
			identity_due(identity, now_ms, true);
		else
			identity_due(identity, now_ms + RETRY_MS, false);
		identity_unref(identity);
	}
	PQclear(result);
	free_round(round);
}

/* ---- beginning one ---- */

static char *
add_quoted(char *at, const char *text)
{
	*at++ = '"';
	for (; *text != '\0'; text++)
	{
		if (*text == '"' || *text == '\\')
			*at++ = '\\';
		*at++ = *text;
	}
	*at++ = '"';
	return at;
}

/* False: out of memory. */
static bool
write_arrays(Round *round, size_t bytes)
{
	char	   *token = round->tokens = malloc(2 * bytes + (size_t) round->count * 3 + 3);
	char	   *organization = round->organizations = malloc((size_t) round->count * (UUID_TEXT + 1) + 3);

	if (token == NULL || organization == NULL)
		return false;
	for (int i = 0; i < round->count; i++)
	{
		const Identity *identity = round->identities[i];

		*token++ = *organization++ = i == 0 ? '{' : ',';
		token = add_quoted(token, identity->token);
		organization = stpcpy(organization, identity->asked != NULL ? identity->asked : "NULL");
	}
	strcpy(token, "}");
	strcpy(organization, "}");
	return true;
}

/* Those of one database whose time has come. Returns the bytes of their tokens. */
static size_t
gather(Round *round, int64_t now_ms)
{
	const Feed *feed = NULL;
	size_t		bytes = 0;

	for (Identity *identity = round->events->first_due; identity != NULL && round->count < ROUND_TOKENS && bytes < ROUND_BYTES;
		 identity = identity->next)
	{
		if (identity->due_ms > now_ms || identity->hinted || identity->check != NULL || (feed != NULL && identity->feed != feed))
			continue;
		feed = identity->feed;
		bytes += strlen(identity->token);
		round->identities[round->count++] = identity;
	}
	return bytes;
}

void
round_start(Events *events, int64_t now_ms)
{
	Round	   *round = events->round == NULL ? calloc(1, sizeof(*round)) : NULL;
	size_t		bytes;

	if (round == NULL)
		return;
	round->events = events;
	round->sent_ms = now_ms;
	bytes = gather(round, now_ms);
	if (round->count == 0 || !write_arrays(round, bytes))
	{
		free_round(round);
		return;
	}
	for (int i = 0; i < round->count; i++)
	{
		Identity   *identity = round->identities[i];

		identity->refs++;
		identity_due(identity, now_ms + events->gateway->settings.events_check_ms, false);
	}
	events->round = round;
	round->statement = (Statement) {.sql = rights_sql, .n = 2, .values = {round->tokens, round->organizations}};
	round->call = (Call) {.internal = true, .main = &round->statement, .done = round_done, .context = round};
	pool_submit(round->identities[0]->feed->pool, &round->call);
}

void
round_abandon(Events *events)
{
	Round	   *round = events->round;

	if (round == NULL)
		return;
	events->round = NULL;
	pool_abandon(&round->call);
	for (int i = 0; i < round->count; i++)
		identity_unref(round->identities[i]);
	free_round(round);
}
