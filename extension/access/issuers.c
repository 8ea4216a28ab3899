/*
 * issuers.c
 *		OpenID providers whose tokens are accepted, and their keys.
 *
 * The server fetches nothing.  A worker asks issuers_due() whose keys are old,
 * or lack a key id that a token named, and brings them with set_issuer_keys().
 * Keys are written only when they changed: writing empties the memories of all
 * backends.
 */
#include "access/sessions.h"
#include "access/tokens.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "core/keys.h"
#include "core/spi.h"
#include "events/events.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define NOTES			64
#define ASK_AGAIN_US	(10 * USECS_PER_SEC)
#define ROLES_MAX		256
#define SECRET_MAX		1024

/* When a token last named a key that an issuer does not have. */
typedef struct Note
{
	Oid			database;
	uint64		issuer;			/* hash */
	TimestampTz at;
	TimestampTz asked_at;		/* when that made its keys due last */
} Note;

static Note *notes;
static LWLock *notes_lock;

PG_FUNCTION_INFO_V1(access_define_issuer);
PG_FUNCTION_INFO_V1(access_disable_issuer);
PG_FUNCTION_INFO_V1(access_set_issuer_keys);
PG_FUNCTION_INFO_V1(access_unknown_key_due);

/* ---- notes ---- */

static Size
notes_size(void)
{
	return sizeof(Note) * NOTES;
}

static uint64
hash_issuer(const char *issuer)
{
	return hash_bytes_extended((const unsigned char *) issuer, strlen(issuer), 0);
}

static bool
is_note_of(const Note *note, uint64 issuer)
{
	return note->database == MyDatabaseId && note->issuer == issuer && note->at != 0;
}

/* The issuer's note, or the oldest. */
static Note *
find_note(uint64 issuer)
{
	Note	   *oldest = &notes[0];

	for (int i = 0; i < NOTES; i++)
	{
		if (is_note_of(&notes[i], issuer))
			return &notes[i];
		if (notes[i].at < oldest->at)
			oldest = &notes[i];
	}
	return oldest;
}

void
issuer_note_unknown_key(const char *issuer)
{
	static BoPlan plan = {
		"SELECT FROM access.issuers WHERE issuer = $1 AND state = 'active'", 1, {TEXTOID}
	};
	Datum		args[1] = {CStringGetTextDatum(issuer)};
	BoUser		saved = bo_user_kernel();
	bool		known;
	Note	   *note;

	PushActiveSnapshot(GetLatestSnapshot());
	bo_spi_begin();
	known = bo_spi_run_readonly(&plan, args, NULL, 1) > 0;
	bo_spi_end();
	PopActiveSnapshot();
	bo_user_restore(saved);
	if (!known)
		return;
	LWLockAcquire(notes_lock, LW_EXCLUSIVE);
	note = find_note(hash_issuer(issuer));
	if (!is_note_of(note, hash_issuer(issuer)))
		*note = (Note) {MyDatabaseId, hash_issuer(issuer), 0, 0};
	note->at = bo_now();
	LWLockRelease(notes_lock);
}

/* unknown_key_due(issuer text, since timestamptz): to be asked now; true once in ASK_AGAIN_US */
Datum
access_unknown_key_due(PG_FUNCTION_ARGS)
{
	uint64		issuer = hash_issuer(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	TimestampTz now = bo_now();
	Note	   *note;
	bool		due;

	LWLockAcquire(notes_lock, LW_EXCLUSIVE);
	note = find_note(issuer);
	/* A clock that was set back does not silence it. */
	due = is_note_of(note, issuer) && note->at > PG_GETARG_TIMESTAMPTZ(1) &&
		(now >= note->asked_at + ASK_AGAIN_US || now < note->asked_at);
	if (due)
		note->asked_at = now;
	LWLockRelease(notes_lock);
	PG_RETURN_BOOL(due);
}

void
issuers_init(void)
{
	bo_shmem_register("backoffice issuers", notes_size, (void **) &notes, NULL, &notes_lock);
}

/* ---- defining ---- */

static void
refuse_issuer(const char *why)
{
	ereport(ERROR,
			(errcode(BO_BAD_REQUEST),
			 errmsg("the issuer cannot be defined so"),
			 bo_code("bad_issuer", "%s", why),
			 errhint("issuer is the URL that stands in the tokens' claim iss, byte by byte; role_map is an object of strings.")));
}

static bool
is_printable(const char *text, Size longest)
{
	Size		length = strlen(text);

	for (const char *c = text; *c; c++)
		if ((unsigned char) *c <= ' ' || *c == 0x7F || *c == '"' || *c == '<' || *c == '>' || *c == '\\')
			return false;
	return length > 0 && length <= longest;
}

static void
check_issuer(const char *issuer, const char *client_id)
{
	if (!is_printable(issuer, ISSUER_MAX) || (strncmp(issuer, "https://", 8) != 0 && strncmp(issuer, "http://", 7) != 0))
		refuse_issuer("it is not a URL of at most 512 bytes");
	if (strcmp(issuer, token_issuer) == 0)
		refuse_issuer("backoffice.token_issuer has this name: it is we");
	if (!is_printable(client_id, SUBJECT_MAX))
		refuse_issuer("client_id is not 1 to 255 visible characters");
}

/* Names of algorithms with public keys. */
static void
check_algorithms(ArrayType *array)
{
	Datum	   *items;
	bool	   *nulls;
	int			count;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &items, &nulls, &count);
	if (count == 0)
		refuse_issuer("algorithms is empty");
	for (int i = 0; i < count; i++)
	{
		JwsAlgorithm algorithm = nulls[i] ? JWS_NONE :
			jws_algorithm(VARDATA_ANY(DatumGetTextPP(items[i])), VARSIZE_ANY_EXHDR(DatumGetTextPP(items[i])));

		if (algorithm == JWS_NONE || algorithm == JWS_HS256)
			refuse_issuer("algorithms are of RS256, PS256, ES256 and EdDSA");
	}
}

static void
check_role_map(Jsonb *map)
{
	static BoPlan plan = {
		"SELECT NOT EXISTS (SELECT FROM jsonb_each($1) WHERE jsonb_typeof(value) <> 'string'), "
		"(SELECT count(*) FROM jsonb_object_keys($1))",
		1, {JSONBOID}
	};
	Datum		args[1] = {JsonbPGetDatum(map)};

	if (!JB_ROOT_IS_OBJECT(map))
		refuse_issuer("role_map is not an object");
	bo_spi_run(&plan, args, NULL, 1);
	if (!bo_spi_bool(0, 1) || bo_spi_int64(0, 2) > ROLES_MAX)
		refuse_issuer("role_map has more than 256 members, or one that is not a string");
}

static bytea *
encrypt_secret(const char *secret, const pg_uuid_t *id)
{
	SecretOwner owner = {{{0}}, *id};

	if (!is_printable(secret, SECRET_MAX))
		refuse_issuer("client_secret is not 1 to 1024 visible characters");
	return keys_encrypt(ISSUER_SECRET_PURPOSE, &owner, secret, strlen(secret));
}

/* The id of the row, made before if there is none: the secret is bound to it. */
static pg_uuid_t
issuer_id(const char *issuer)
{
	static BoPlan plan = {"SELECT id FROM access.issuers WHERE issuer = $1 FOR NO KEY UPDATE", 1, {TEXTOID}};
	Datum		args[1] = {CStringGetTextDatum(issuer)};
	pg_uuid_t	id;

	if (bo_spi_run(&plan, args, NULL, 1) > 0)
		id = bo_spi_uuid(0, 1);
	else
		bo_uuid7(&id);
	return id;
}

static Datum
list_or_default(FunctionCallInfo fcinfo, int n, bool *has)
{
	*has = !PG_ARGISNULL(n);
	return *has ? PG_GETARG_DATUM(n) : PointerGetDatum(construct_empty_array(TEXTOID));
}

/* Who is trusted beyond its organization from now on has said addresses for everybody; what somebody has stays that one's. */
static void
trust_addresses(Datum issuer)
{
	static BoPlan plan = {
		"UPDATE access.users u SET email_said_by = NULL FROM access.identities d, access.issuers s "
		"WHERE s.issuer = $1 AND (s.link_by_email OR s.home_organization IS NULL) AND d.issuer = $1 AND u.id = d.user_id AND u.email_said_by IS NOT NULL "
		"AND NOT EXISTS (SELECT FROM access.users o WHERE lower(o.email) = lower(u.email) AND o.id <> u.id "
		" AND (o.email_said_by IS NULL OR (o.id < u.id AND EXISTS (SELECT FROM access.identities e WHERE e.issuer = $1 AND e.user_id = o.id))))",
		1, {TEXTOID}
	};

	bo_spi_run(&plan, &issuer, NULL, 0);
}

#define DEFINE_ARGS 13

/*
 * define_issuer(issuer text, client_id text, client_secret text, audience text[], role_map jsonb, organization uuid,
 * provision boolean, link_by_email boolean, aal2_values text[], algorithms text[], scope text, redirect_uris text[])
 */
Datum
access_define_issuer(PG_FUNCTION_ARGS)
{
	static BoPlan plan = {
		"INSERT INTO access.issuers AS i (issuer, client_id, client_secret, audience, role_map, home_organization, provision, "
		" link_by_email, aal2_values, algorithms, scope, redirect_uris, id) "
		"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT (issuer) DO UPDATE SET "
		" client_id = excluded.client_id, client_secret = excluded.client_secret, audience = excluded.audience, "
		" role_map = excluded.role_map, home_organization = excluded.home_organization, provision = excluded.provision, "
		" link_by_email = excluded.link_by_email, aal2_values = excluded.aal2_values, algorithms = excluded.algorithms, "
		" scope = excluded.scope, redirect_uris = excluded.redirect_uris, state = 'active', keys_at = NULL",
		DEFINE_ARGS, {TEXTOID, TEXTOID, BYTEAOID, TEXTARRAYOID, JSONBOID, UUIDOID, BOOLOID, BOOLOID, TEXTARRAYOID, TEXTARRAYOID,
			TEXTOID, TEXTARRAYOID, UUIDOID}
	};
	char	   *issuer = required_text(fcinfo, 0, "issuer");
	char	   *client_id = required_text(fcinfo, 1, "client_id");
	Datum		args[DEFINE_ARGS] = {0};
	char		nulls[DEFINE_ARGS + 1] = "             ";
	pg_uuid_t	id;
	bool		has;
	BoUser		saved;

	check_issuer(issuer, client_id);
	for (int i = 0; i < DEFINE_ARGS - 1; i++)
		args[i] = PG_ARGISNULL(i) ? 0 : PG_GETARG_DATUM(i);
	args[3] = list_or_default(fcinfo, 3, &has);
	args[6] = BoolGetDatum(!PG_ARGISNULL(6) && PG_GETARG_BOOL(6));
	args[7] = BoolGetDatum(!PG_ARGISNULL(7) && PG_GETARG_BOOL(7));
	args[8] = list_or_default(fcinfo, 8, &has);
	args[9] = list_or_default(fcinfo, 9, &has);
	check_algorithms(DatumGetArrayTypeP(args[9]));
	args[10] = CStringGetTextDatum(required_text(fcinfo, 10, "scope"));
	args[11] = list_or_default(fcinfo, 11, &has);
	nulls[5] = PG_ARGISNULL(5) ? 'n' : ' ';

	saved = bo_user_kernel();
	bo_spi_begin();
	args[4] = PG_ARGISNULL(4) ? DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")) : args[4];
	check_role_map(DatumGetJsonbP(args[4]));
	id = issuer_id(issuer);
	args[12] = UUIDPGetDatum(&id);
	if (PG_ARGISNULL(2))
		nulls[2] = 'n';
	else
		args[2] = PointerGetDatum(encrypt_secret(text_to_cstring(PG_GETARG_TEXT_PP(2)), &id));
	bo_spi_run(&plan, args, nulls, 0);
	trust_addresses(args[0]);
	audit_named("issuer.defined", "issuer", issuer);
	bo_spi_end();
	bo_user_restore(saved);
	PG_RETURN_VOID();
}

/* disable_issuer(issuer text): false when there was none in use */
Datum
access_disable_issuer(PG_FUNCTION_ARGS)
{
	static BoPlan plan = {
		"UPDATE access.issuers SET state = 'disabled' WHERE issuer = $1 AND state = 'active'", 1, {TEXTOID}
	};
	char	   *issuer = required_text(fcinfo, 0, "issuer");
	Datum		args[1] = {PG_GETARG_DATUM(0)};
	BoUser		saved = bo_user_kernel();
	bool		found;

	bo_spi_begin();
	found = bo_spi_run(&plan, args, NULL, 0) > 0;
	if (found)
		audit_named("issuer.disabled", "issuer", issuer);
	bo_spi_end();
	bo_user_restore(saved);
	PG_RETURN_BOOL(found);
}

/* ---- keys ---- */

/* What a set has of use to us, as JSON: [{kid, alg, key}]. */
typedef struct KeySet
{
	StringInfoData json;
	List	   *kids;			/* char *, each once */
} KeySet;

static bool
accepts(ArrayType *algorithms, JwsAlgorithm algorithm)
{
	Datum	   *items;
	int			count;

	deconstruct_array(algorithms, TEXTOID, -1, false, TYPALIGN_INT, &items, NULL, &count);
	for (int i = 0; i < count; i++)
		if (strcmp(TextDatumGetCString(items[i]), jws_algorithm_name(algorithm)) == 0)
			return true;
	return false;
}

static bool
has_kid(const KeySet *set, const char *kid)
{
	ListCell   *cell;

	foreach(cell, set->kids)
		if (strcmp(lfirst(cell), kid) == 0)
			return true;
	return false;
}

/* Keys for encryption, of unknown kinds, without a key id and second ones of a key id are passed over. */
static void
take_jwk(const JsonDocument *document, const JsonNode *jwk, ArrayType *algorithms, KeySet *set)
{
	const JsonNode *kid = json_member(document, jwk, "kid");
	char	   *name;
	char		written[4096];
	JwsKey		key;

	if (kid == NULL || kid->kind != JSON_IS_STRING || kid->length < 1 || kid->length > JWS_KID_MAX ||
		jws_key_from_jwk(document, jwk, JWS_NONE, &key) != NULL)
		return;
	name = token_node_text(kid);
	if (accepts(algorithms, key.algorithm) && !has_kid(set, name) && jws_key_write_jwk(&key, written, sizeof(written)))
	{
		appendStringInfo(&set->json, "%s{\"kid\":", set->kids != NIL ? "," : "");
		escape_json(&set->json, name);
		set->kids = lappend(set->kids, name);
		appendStringInfo(&set->json, ",\"alg\":\"%s\",\"key\":{%s}}", jws_algorithm_name(key.algorithm), written);
	}
	jws_key_free(&key);
}

static void
refuse_jwks(const char *why)
{
	ereport(ERROR,
			(errcode(BO_BAD_REQUEST),
			 errmsg("the keys cannot be used"),
			 bo_code("bad_jwks", "%s", why),
			 errhint("Fetch what the issuer's jwks_uri answers: {\"keys\": [...]}, with at least one public key for signatures.")));
}

static Datum
read_jwks(Jsonb *jwks, ArrayType *algorithms)
{
	char	   *text = JsonbToCString(NULL, &jwks->root, VARSIZE(jwks));
	JsonDocument *document = palloc(sizeof(JsonDocument));
	const JsonNode *keys;
	KeySet		set = {.kids = NIL};

	if (!json_parse_strict(text, strlen(text), document))
		refuse_jwks("there are too many keys");
	keys = json_member(document, document->nodes, "keys");
	if (keys == NULL || keys->kind != JSON_IS_ARRAY)
		refuse_jwks("there is no array \"keys\"");
	initStringInfo(&set.json);
	appendStringInfoChar(&set.json, '[');
	for (const JsonNode *one = json_first(document, keys); one != NULL; one = json_next(document, one))
		take_jwk(document, one, algorithms, &set);
	appendStringInfoChar(&set.json, ']');
	if (set.kids == NIL)
		refuse_jwks("none of them is a public key for an algorithm of this issuer, with a key id");
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(set.json.data));
}

/*
 * Within SPI, as the kernel, with the issuer's row locked.  True: something
 * changed.  A key that is in the set no longer is good for a while yet: the
 * nodes of a provider need not have the same keys at the same moment.
 */
static bool
store_keys(Datum issuer, Datum set)
{
	static BoPlan differ_plan = {
		"SELECT (SELECT COALESCE(jsonb_object_agg(kid, jsonb_build_array(alg, public_key)), '{}') FROM access.token_keys "
		"  WHERE issuer = $1 AND verify_until IS NULL) "
		"IS DISTINCT FROM (SELECT jsonb_object_agg(k->>'kid', jsonb_build_array(k->>'alg', k->'key')) FROM jsonb_array_elements($2) k), "
		"EXISTS (SELECT FROM access.token_keys WHERE issuer = $1 AND verify_until <= $3)",
		3, {TEXTOID, JSONBOID, TIMESTAMPTZOID}
	};
	static BoPlan retire_plan = {
		"UPDATE access.token_keys SET verify_until = $3 WHERE issuer = $1 AND verify_until IS NULL "
		"AND kid NOT IN (SELECT k->>'kid' FROM jsonb_array_elements($2) k)",
		3, {TEXTOID, JSONBOID, TIMESTAMPTZOID}
	};
	static BoPlan delete_plan = {
		"DELETE FROM access.token_keys WHERE issuer = $1 AND verify_until <= $2", 2, {TEXTOID, TIMESTAMPTZOID}
	};
	static BoPlan upsert_plan = {
		"INSERT INTO access.token_keys (id, issuer, kid, kind, alg, public_key) "
		"SELECT backoffice.uuid7(), $1, k->>'kid', 'issuer', k->>'alg', k->'key' FROM jsonb_array_elements($2) k "
		"ON CONFLICT (issuer, kid) DO UPDATE SET alg = excluded.alg, public_key = excluded.public_key, verify_until = NULL",
		2, {TEXTOID, JSONBOID}
	};
	TimestampTz now = bo_now();
	Datum		args[3] = {issuer, set, TimestampTzGetDatum(now)};
	Datum		over[2] = {issuer, TimestampTzGetDatum(now)};
	bool		differ;
	bool		any_over;

	bo_spi_run(&differ_plan, args, NULL, 1);
	differ = bo_spi_bool(0, 1);
	any_over = bo_spi_bool(0, 2);
	if (differ)
	{
		args[2] = TimestampTzGetDatum(now + issuer_key_grace_s * USECS_PER_SEC);
		bo_spi_run(&retire_plan, args, NULL, 0);
		bo_spi_run(&upsert_plan, args, NULL, 0);
	}
	if (any_over)
		bo_spi_run(&delete_plan, over, NULL, 0);
	return differ;
}

void
refuse_unknown_issuer(void)
{
	ereport(ERROR,
			(errcode(BO_NOT_FOUND),
			 errmsg("there is no such issuer"),
			 bo_code("unknown_issuer", "access.define_issuer() has not defined it, or it is disabled"),
			 errhint("SELECT issuer FROM access.issuers lists them.")));
}

/* Locks the row and answers its algorithms; *moved: the metadata (NULL: as before) names other endpoints. */
static ArrayType *
lock_issuer(Datum issuer, Jsonb *metadata, bool *moved)
{
	static BoPlan plan = {
		"SELECT algorithms, COALESCE(metadata, '{}') IS DISTINCT FROM COALESCE($2, metadata, '{}') FROM access.issuers"
		" WHERE issuer = $1 AND state = 'active' FOR NO KEY UPDATE",
		2, {TEXTOID, JSONBOID}
	};
	Datum		args[2] = {issuer, metadata ? JsonbPGetDatum(metadata) : (Datum) 0};
	bool		isnull;

	if (bo_spi_run(&plan, args, metadata ? NULL : " n", 1) == 0)
		refuse_unknown_issuer();
	*moved = bo_spi_bool(0, 2);
	return DatumGetArrayTypeP(bo_spi_datum(0, 1, &isnull));
}

/* Whose tokens are good from now on: the key ids are public. */
static void
tell_keys(const char *issuer, Datum set)
{
	static BoPlan plan = {"SELECT jsonb_agg(k->'kid' ORDER BY k->>'kid') FROM jsonb_array_elements($1) k", 1, {JSONBOID}};
	JsonOut		json;
	bool		isnull;

	bo_spi_run(&plan, &set, NULL, 1);
	json_begin(&json);
	json_text(&json, "issuer", issuer);
	json_jsonb(&json, "keys", DatumGetJsonbP(bo_spi_datum(0, 1, &isnull)));
	audit_emit(&events_of_nobody, psprintf("issuer:%s", issuer), "issuer.keys_changed", &json);
}

/* set_issuer_keys(issuer text, jwks jsonb, max_age_s integer, metadata jsonb): whether keys changed */
Datum
access_set_issuer_keys(PG_FUNCTION_ARGS)
{
	static BoPlan plan = {
		"UPDATE access.issuers SET keys_at = $2, keys_max_age_s = $3, metadata = COALESCE($4, metadata) WHERE issuer = $1",
		4, {TEXTOID, TIMESTAMPTZOID, INT4OID, JSONBOID}
	};
	char	   *issuer = required_text(fcinfo, 0, "issuer");
	Jsonb	   *metadata = PG_ARGISNULL(3) ? NULL : PG_GETARG_JSONB_P(3);
	Datum		args[4];
	Datum		set;
	bool		moved;
	bool		changed;
	BoUser		saved;

	args[0] = CStringGetTextDatum(issuer);
	if (PG_ARGISNULL(1))
		refuse_jwks("they are NULL");
	args[1] = TimestampTzGetDatum(bo_now());
	args[2] = Int32GetDatum(PG_ARGISNULL(2) ? 300 : Min(Max(PG_GETARG_INT32(2), 60), 86400));
	args[3] = metadata ? JsonbPGetDatum(metadata) : 0;
	if (metadata && !JB_ROOT_IS_OBJECT(metadata))
		refuse_jwks("the metadata is not an object");

	saved = bo_user_kernel();
	bo_spi_begin();
	set = read_jwks(PG_GETARG_JSONB_P(1), lock_issuer(args[0], metadata, &moved));
	changed = store_keys(args[0], set);
	bo_spi_run(&plan, args, metadata ? NULL : "   n", 0);
	if (changed)
		tell_keys(issuer, set);
	if (moved)
		audit_named("issuer.endpoints_changed", "issuer", issuer);
	bo_spi_end();
	bo_user_restore(saved);
	PG_RETURN_BOOL(changed);
}
