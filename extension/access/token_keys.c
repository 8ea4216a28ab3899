/*
 * token_keys.c
 *		Keys of tokens: found by issuer and key id, remembered per backend.
 *
 * Remembered keys are dropped, all of them, when tokens_marker moves.  Read
 * under the latest snapshot, as in rights.c: an older one could put a removed
 * key back, with no message left to drop it.
 */
#include "access/sessions.h"
#include "access/tokens.h"

#include "catalog/pg_type.h"
#include "core/keys.h"
#include "core/spi.h"
#include "events/events.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define REMEMBERED_MAX	64
#define KEEPER_INTERVAL_MS	10000
#define RETIRED_EXTRA	(INT64CONST(3600) * USECS_PER_SEC)	/* for transactions that began before the rotation */

PG_FUNCTION_INFO_V1(access_rotate_signing_key);

static TokenKey *remembered[REMEMBERED_MAX];
static int	nremembered = 0;
static TokenKey *current = NULL;	/* with its private key */
static uint64 remembered_generation = 0;
static MemoryContext context = NULL;

static BoPlan find_plan = {
	"SELECT k.id, k.kid, k.kind, k.alg, k.public_key::text, k.secret, k.verify_until, k.role_claim, k.expires_required, "
	" CASE k.kind WHEN 'issuer' THEN i.audience ELSE k.audience END, i.issuer, i.client_id, i.role_map::text, "
	" i.home_organization, i.provision, i.link_by_email, i.aal2_values "
	"FROM access.token_keys k LEFT JOIN access.issuers i ON i.issuer = k.issuer AND k.issuer <> '' "
	"WHERE k.kid = $2 AND k.issuer = COALESCE((SELECT issuer FROM access.issuers WHERE issuer = $1), '') "
	"AND (k.issuer = '' OR i.state = 'active')",
	2, {TEXTOID, TEXTOID}
};

static BoPlan current_plan = {
	"SELECT id, kid, kind, alg, public_key::text, secret, verify_until, NULL::text, true, "
	" audience, NULL::text, NULL::text, NULL::text, NULL::uuid, false, false, NULL::text[] "
	"FROM access.token_keys WHERE kind = 'own' AND state = 'current'",
	0, {0}
};

/* ---- rows ---- */

static List *
text_list(Datum array)
{
	Datum	   *items;
	int			count;
	List	   *list = NIL;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &items, NULL, &count);
	for (int i = 0; i < count; i++)
		list = lappend(list, TextDatumGetCString(items[i]));
	return list;
}

static char *
column_text(int column)
{
	char	   *value = bo_spi_text(0, column);

	return value == NULL ? NULL : MemoryContextStrdup(context, value);
}

static List *
column_list(int column)
{
	bool		isnull;
	Datum		value = bo_spi_datum(0, column, &isnull);

	return isnull ? NIL : text_list(value);
}

/* A column's secret, decrypted; to be wiped. */
static char *
column_secret(const pg_uuid_t *id, Size *length)
{
	SecretOwner owner = {{{0}}, *id};
	bool		isnull;
	Datum		value = bo_spi_datum(0, 6, &isnull);

	if (isnull)
		elog(ERROR, "a key without secret");
	return keys_decrypt(TOKEN_KEY_PURPOSE, &owner, DatumGetByteaPP(value), length);
}

static const char *
read_public(TokenKey *key, JwsAlgorithm algorithm)
{
	char	   *text = bo_spi_text(0, 5);
	JsonDocument *document = palloc(sizeof(JsonDocument));

	if (text == NULL || !json_parse_strict(text, strlen(text), document))
		return "it is not a JWK";
	return jws_key_from_jwk(document, document->nodes, algorithm, &key->key);
}

/* The key itself: public, or the secret where the token is HMAC's or we are to sign. */
static void
read_key(TokenKey *key, bool private)
{
	char	   *name = bo_spi_text(0, 4);
	JwsAlgorithm algorithm = jws_algorithm(name, strlen(name));
	const char *problem = NULL;
	Size		length;
	char	   *secret;

	if (algorithm != JWS_HS256 && !private)
		problem = read_public(key, algorithm);
	else
	{
		secret = column_secret(&key->id, &length);
		if (algorithm == JWS_HS256)
			problem = jws_key_from_secret((uint8 *) secret, length, &key->key);
		else if (!jws_key_from_private((uint8 *) secret, length, algorithm, &key->key))
			problem = "it is not a private key";
		keys_wipe(secret, length);
	}
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("a stored token key is damaged"),
				 bo_code("token_key_damaged", "%s", problem)));
}

/* The row found, into the backend's memory. */
static TokenKey *
read_row(bool private)
{
	MemoryContext caller = MemoryContextSwitchTo(context);
	TokenKey   *key = palloc0(sizeof(TokenKey));
	char	   *kind = bo_spi_text(0, 3);
	bool		isnull;
	Datum		until;

	key->id = bo_spi_uuid(0, 1);
	key->kid = column_text(2);
	key->kind = strcmp(kind, "own") == 0 ? KEY_OWN : strcmp(kind, "given") == 0 ? KEY_GIVEN : KEY_ISSUER;
	until = bo_spi_datum(0, 7, &isnull);
	key->verify_until = isnull ? DT_NOEND : DatumGetTimestampTz(until);
	key->role_claim = column_text(8);
	key->expires_required = bo_spi_bool(0, 9);
	key->audience = column_list(10);
	key->issuer = column_text(11);
	key->client_id = column_text(12);
	key->role_map = column_text(13);
	key->has_home = !bo_spi_isnull(0, 14);
	if (key->has_home)
		key->home_organization = bo_spi_uuid(0, 14);
	if (key->kind == KEY_ISSUER)
	{
		key->provision = bo_spi_bool(0, 15);
		key->link_by_email = bo_spi_bool(0, 16);
	}
	key->aal2_values = column_list(17);
	MemoryContextSwitchTo(caller);
	read_key(key, private);
	return key;
}

/* ---- memory ---- */

static void
forget_all(void)
{
	for (int i = 0; i < nremembered; i++)
		jws_key_free(&remembered[i]->key);
	if (current != NULL)
		jws_key_free(&current->key);
	nremembered = 0;
	current = NULL;
	if (context == NULL)
		context = AllocSetContextCreate(CacheMemoryContext, "backoffice token keys", ALLOCSET_SMALL_SIZES);
	else
		MemoryContextReset(context);
}

static void
forget_stale(void)
{
	if (context == NULL || remembered_generation != tokens_marker.generation || nremembered == REMEMBERED_MAX)
		forget_all();
}

/* Runs a plan that finds at most one key, as the kernel and under the latest snapshot. */
static TokenKey *
look_up(BoPlan *plan, const Datum *args, bool private)
{
	TokenKey   *key = NULL;
	BoUser		saved;

	/* What this transaction must not keep any more goes with the next look-up. */
	if (marker_read(&tokens_marker) != remembered_generation)
		forget_all();
	remembered_generation = tokens_marker.generation;
	saved = bo_user_kernel();
	PushActiveSnapshot(GetLatestSnapshot());
	bo_spi_begin();
	if (bo_spi_run_readonly(plan, args, NULL, 1) > 0)
		key = read_row(private);
	bo_spi_end();
	PopActiveSnapshot();
	bo_user_restore(saved);
	return key;
}

/* By what was asked, not by what was found: a key of ours does not answer for another issuer. */
static const TokenKey *
find_remembered(const char *issuer, const char *kid)
{
	for (int i = 0; i < nremembered; i++)
		if (strcmp(remembered[i]->kid, kid) == 0 && strcmp(remembered[i]->asked_issuer, issuer) == 0)
			return remembered[i];
	return NULL;
}

const TokenKey *
token_key_find(const char *issuer, const char *kid)
{
	const TokenKey *known;
	TokenKey   *key;
	Datum		args[2];

	forget_stale();
	known = find_remembered(issuer, kid);
	if (known == NULL)
	{
		args[0] = CStringGetTextDatum(issuer);
		args[1] = CStringGetTextDatum(kid);
		key = look_up(&find_plan, args, false);
		if (key == NULL)
			return NULL;
		key->asked_issuer = MemoryContextStrdup(context, issuer);
		remembered[nremembered++] = key;
		known = key;
	}
	return known->verify_until > bo_now() ? known : NULL;
}

/* ---- our own keys ---- */

static void
insert_own(JwsAlgorithm algorithm, const char *state)
{
	static BoPlan plan = {
		"INSERT INTO access.token_keys (id, issuer, kid, kind, alg, state, public_key, secret, current_since) "
		"VALUES ($1, '', $2, 'own', $3, $4, $5::jsonb, $6, CASE $4 WHEN 'current' THEN $7 END)",
		7, {UUIDOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, BYTEAOID, TIMESTAMPTZOID}
	};
	SecretOwner owner = {{{0}}};
	JwsKey		key;
	char		jwk[1024];
	uint8	   *der = NULL;
	char	   *clear;
	int			length = -1;
	Datum		args[7];
	bool		good;

	bo_uuid7(&owner.id);
	good = jws_key_generate(algorithm, &key) && jws_key_write_jwk(&key, jwk, sizeof(jwk));
	if (good)
		length = jws_key_private_der(&key, &der);
	jws_key_free(&key);
	if (length <= 0)
		crypto_failed("could not make a key");
	args[0] = UUIDPGetDatum(&owner.id);
	args[1] = CStringGetTextDatum(bo_uuid_text(&owner.id));
	args[2] = CStringGetTextDatum(jws_algorithm_name(algorithm));
	args[3] = CStringGetTextDatum(state);
	args[4] = CStringGetTextDatum(psprintf("{%s}", jwk));
	/* Ours, so that an error of the encryption leaves no key behind in the library's memory. */
	clear = palloc(length);
	memcpy(clear, der, length);
	OPENSSL_clear_free(der, length);
	args[5] = PointerGetDatum(keys_encrypt(TOKEN_KEY_PURPOSE, &owner, clear, length));
	keys_wipe(clear, length);
	args[6] = TimestampTzGetDatum(bo_now());
	bo_spi_run(&plan, args, NULL, 0);
}

/* Within SPI, as the kernel.  Two who begin at once: the second finds the first's. */
static void
lock_own(void)
{
	static BoPlan plan = {"LOCK TABLE access.token_keys IN SHARE ROW EXCLUSIVE MODE", 0, {0}};

	bo_spi_run(&plan, NULL, NULL, 0);
}

static bool
has_own(void)
{
	bool		found;

	PushActiveSnapshot(GetLatestSnapshot());
	found = bo_spi_run_readonly(&current_plan, NULL, NULL, 1) > 0;
	PopActiveSnapshot();
	return found;
}

static void
make_first(JwsAlgorithm algorithm)
{
	BoUser		saved = bo_user_kernel();

	bo_spi_begin();
	lock_own();
	if (!has_own())
	{
		insert_own(algorithm, "current");
		insert_own(algorithm, "next");
	}
	bo_spi_end();
	bo_user_restore(saved);
}

const TokenKey *
token_key_current(void)
{
	forget_stale();
	if (current != NULL)
		return current;
	current = look_up(&current_plan, NULL, true);
	if (current == NULL)
	{
		make_first(JWS_ES256);
		current = look_up(&current_plan, NULL, true);
	}
	if (current == NULL)
		elog(ERROR, "no key to issue tokens with");
	return current;
}

/* next becomes current, current retires, a new next is made.  Within SPI, as the kernel. */
static void
rotate(JwsAlgorithm algorithm)
{
	static BoPlan drop_plan = {
		"DELETE FROM access.token_keys WHERE kind = 'own' AND state = 'retired' AND verify_until < $1", 1, {TIMESTAMPTZOID}
	};
	static BoPlan retire_plan = {
		"UPDATE access.token_keys SET state = 'retired', verify_until = $1 WHERE kind = 'own' AND state = 'current'",
		1, {TIMESTAMPTZOID}
	};
	static BoPlan promote_plan = {
		"UPDATE access.token_keys SET state = 'current', current_since = $1 WHERE kind = 'own' AND state = 'next'", 1, {TIMESTAMPTZOID}
	};
	TimestampTz now = bo_now();
	Datum		until = TimestampTzGetDatum(now + (token_lifetime_s + token_skew_s) * USECS_PER_SEC + RETIRED_EXTRA);
	Datum		past = TimestampTzGetDatum(now);

	bo_spi_run(&drop_plan, &past, NULL, 0);
	bo_spi_run(&retire_plan, &until, NULL, 0);
	if (bo_spi_run(&promote_plan, &past, NULL, 0) == 0)
		insert_own(algorithm, "current");
	insert_own(algorithm, "next");
	audit_named("signing_key.rotated", "algorithm", jws_algorithm_name(algorithm));
}

/* Keeper: a key that was current for long enough; the next one but one has the algorithm of the next. */
static bool
rotate_old(void)
{
	static BoPlan plan = {
		"SELECT n.alg FROM access.token_keys c, access.token_keys n WHERE c.kind = 'own' AND c.state = 'current' "
		"AND n.kind = 'own' AND n.state = 'next' AND c.current_since < $1", 1, {TIMESTAMPTZOID}
	};
	Datum		args[1] = {TimestampTzGetDatum(bo_now() - signing_key_lifetime_s * USECS_PER_SEC)};
	char	   *name;

	if (signing_key_lifetime_s == 0)
		return false;
	bo_spi_begin();
	if (bo_spi_run(&plan, args, NULL, 1) > 0)
	{
		lock_own();
		if (bo_spi_run(&plan, args, NULL, 1) > 0)
		{
			name = bo_spi_text(0, 1);
			rotate(jws_algorithm(name, strlen(name)));
		}
	}
	bo_spi_end();
	return false;
}

void
token_keys_init(void)
{
	events_register_keeper_task("access: signing keys", KEEPER_INTERVAL_MS, rotate_old);
}

/* rotate_signing_key(alg text): the id of the key that signs from now on */
Datum
access_rotate_signing_key(PG_FUNCTION_ARGS)
{
	char	   *name = required_text(fcinfo, 0, "alg");
	JwsAlgorithm algorithm = jws_algorithm(name, strlen(name));
	text	   *kid;
	BoUser		saved;

	if (algorithm == JWS_NONE || algorithm == JWS_HS256)
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("\"%s\" is no algorithm to issue tokens with", bo_clipped(name, 16)),
				 bo_code("bad_algorithm", "RS256, PS256, ES256 and EdDSA are"),
				 errhint("ES256 is a good choice.")));
	saved = bo_user_kernel();
	bo_spi_begin();
	lock_own();
	rotate(algorithm);
	bo_spi_end();
	bo_user_restore(saved);
	kid = cstring_to_text(token_key_current()->kid);
	PG_RETURN_TEXT_P(kid);
}
