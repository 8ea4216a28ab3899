/*
 * listeners.c
 *		What many tokens may listen to, in one statement.
 *
 * The HTTP gateway asks again and again for thousands of event streams.  A request
 * for each (begin_request() and api.event_topics()) costs many times what is done here: with
 * token and rights in the caches of the backend, no table is read but events.topics, once.
 */
#include "access/tokens.h"

#include "catalog/pg_type.h"
#include "core/keys.h"
#include "core/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define LISTEN_PERMISSION "events.read"	/* of api.event_topics() */
#define LISTENERS_MAX 10000
#define POSITION_PURPOSE "access.position"	/* of core/keys.h */

typedef struct Topic
{
	char	   *name;
	int			bit;
} Topic;

PG_FUNCTION_INFO_V1(access_listener_rights);
PG_FUNCTION_INFO_V1(access_position_keys);

/* By name, as api.event_topics() has them. */
static Topic *
read_topics(int *count)
{
	static BoPlan plan = {
		"SELECT name, listen_permission FROM events.topics WHERE listen_permission IS NOT NULL ORDER BY name", 0, {0}
	};
	MemoryContext caller = CurrentMemoryContext;
	BoUser		saved = bo_user_kernel();
	Topic	   *topics;

	PushActiveSnapshot(GetLatestSnapshot());
	bo_spi_begin();
	*count = (int) bo_spi_run_readonly(&plan, NULL, NULL, 0);
	topics = MemoryContextAlloc(caller, sizeof(Topic) * (*count + 1));
	for (int i = 0; i < *count; i++)
	{
		char	   *permission = bo_spi_text(i, 2);

		topics[i].name = MemoryContextStrdup(caller, bo_spi_text(i, 1));
		topics[i].bit = permission_known_bit(permission, strlen(permission));
	}
	bo_spi_end();
	PopActiveSnapshot();
	bo_user_restore(saved);
	return topics;
}

/* "organization topic,topic", or NULL: this is no listener. */
static char *
rights_text(const text *token, const pg_uuid_t *organization, const Topic *topics, int ntopics)
{
	Principal	principal;
	VerifiedToken *verified = token_principal(VARDATA_ANY(token), VARSIZE_ANY_EXHDR(token), organization, &principal);
	StringInfoData out;
	const char *separator = " ";

	if ((!verified->has_user && !verified->has_api_key) || principal.without_organization ||
		!permission_held(&principal, permission_bit(LISTEN_PERMISSION, strlen(LISTEN_PERMISSION))))
		return NULL;
	initStringInfo(&out);
	appendStringInfoString(&out, bo_uuid_text(&principal.organization_id));
	for (int i = 0; i < ntopics; i++)
		if (permission_held(&principal, topics[i].bit))
		{
			appendStringInfo(&out, "%s%s", separator, topics[i].name);
			separator = ",";
		}
	return out.data;
}

static void
check_arguments(int ntokens, int norganizations, const bool *nulls)
{
	bool		good = ntokens == norganizations && ntokens <= LISTENERS_MAX;

	for (int i = 0; good && i < ntokens; i++)
		good = !nulls[i];
	if (!good)
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("the tokens and the organizations are not two lists of the same length"),
				 bo_code("bad_list", "at most %d tokens, none of them NULL", LISTENERS_MAX),
				 errhint("Give an organization, or NULL, for each token.")));
}

/* listener_rights(tokens text[], organizations uuid[]) */
Datum
access_listener_rights(PG_FUNCTION_ARGS)
{
	MemoryContext result = CurrentMemoryContext;
	MemoryContext each = AllocSetContextCreate(result, "backoffice listener", ALLOCSET_DEFAULT_SIZES);
	Datum	   *tokens,
			   *organizations,
			   *texts;
	bool	   *no_token,
			   *no_organization,
			   *no_text;
	int			n,
				norganizations,
				ntopics;
	Topic	   *topics;
	int			lower = 1;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &tokens, &no_token, &n);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &organizations, &no_organization, &norganizations);
	check_arguments(n, norganizations, no_token);
	/* Nobody is taken in, nor given roles, because a stream goes on. */
	(void) set_config_option("transaction_read_only", "on", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	topics = read_topics(&ntopics);
	texts = palloc(sizeof(Datum) * (n + 1));
	no_text = palloc(sizeof(bool) * (n + 1));
	for (int i = 0; i < n; i++)
	{
		char	   *rights;

		MemoryContextSwitchTo(each);
		rights = rights_text(DatumGetTextPP(tokens[i]), no_organization[i] ? NULL : DatumGetUUIDP(organizations[i]), topics, ntopics);
		MemoryContextSwitchTo(result);
		no_text[i] = rights == NULL;
		texts[i] = rights == NULL ? (Datum) 0 : CStringGetTextDatum(rights);
		MemoryContextReset(each);
	}
	if (n == 0)
		PG_RETURN_ARRAYTYPE_P(construct_empty_array(TEXTOID));
	PG_RETURN_ARRAYTYPE_P(construct_md_array(texts, no_text, 1, &n, &lower, TEXTOID, -1, false, TYPALIGN_INT));
}

/* position_keys(): "id hex" of each, the current one first */
Datum
access_position_keys(PG_FUNCTION_ARGS)
{
	int			count = keys_count();
	Datum	   *texts = palloc(sizeof(Datum) * count);
	uint8		key[KEYS_EXPORT_BYTES];
	char		hex[2 * KEYS_EXPORT_BYTES + 1];

	for (int i = 0; i < count; i++)
	{
		keys_export(i, POSITION_PURPOSE, key);
		hex[hex_encode((char *) key, sizeof(key), hex)] = '\0';
		texts[i] = CStringGetTextDatum(psprintf("%s %s", keys_id(i), hex));
	}
	explicit_bzero(key, sizeof(key));
	explicit_bzero(hex, sizeof(hex));
	PG_RETURN_ARRAYTYPE_P(construct_array(texts, count, TEXTOID, -1, false, TYPALIGN_INT));
}
