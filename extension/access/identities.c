/*
 * identities.c
 *		From the subject of an OpenID provider's token to one of our users.
 *
 * Seen first, a subject is provisioned (if the issuer's record says so); its
 * roles at the issuer are mapped to roles in the home organization, and those
 * that are gone are taken away.  An older token than the one that was last
 * mapped changes nothing.  All this happens in the transaction of the request,
 * and a token that made it write is not remembered: the transaction may roll
 * back.
 */
#include "access/sessions.h"
#include "access/tokens.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "core/spi.h"
#include "storage/lock.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"

/* What an identity is, and what it should be. */
typedef struct Identity
{
	const TokenKey *key;
	char	   *issuer;
	char	   *subject;
	char	   *email;			/* verified by the issuer; NULL: none */
	int64		issued_s;
	Datum		wanted;			/* text[]: our roles by the token, those that exist */
	bool		found;
	pg_uuid_t	user_id;
	bool		is_current;		/* its roles are those wanted, or the token is too old to say */
	bool		would_lose;		/* a role would be taken away */
} Identity;

/* ---- roles in claims ---- */

typedef struct RoleNames
{
	const JsonDocument *map;
	Datum	   *names;
	int			count;
	int			room;
} RoleNames;

/* Prefix and name, as role_map has them: "admin", or "client/admin". */
static void
map_role(RoleNames *roles, const char *prefix, const JsonNode *role)
{
	const JsonNode *ours;

	if (role->kind != JSON_IS_STRING || roles->count == roles->room)
		return;
	ours = json_member(roles->map, roles->map->nodes, psprintf("%s%.*s", prefix, (int) role->length, role->text));
	if (ours != NULL)
		roles->names[roles->count++] = CStringGetTextDatum(token_node_text(ours));
}

static void
map_roles(RoleNames *roles, const JsonDocument *claims, const char *prefix, const JsonNode *list)
{
	if (list == NULL || list->kind != JSON_IS_ARRAY)
		return;
	for (const JsonNode *one = json_first(claims, list); one != NULL; one = json_next(claims, one))
		map_role(roles, prefix, one);
}

/* Keycloak's realm_access and resource_access; others' roles and groups. */
static Datum
mapped_roles(const JwsToken *token, const TokenKey *key)
{
	JsonDocument *map = palloc(sizeof(JsonDocument));
	const JsonDocument *claims = &token->claims;
	const JsonNode *clients = token_claim(token, "resource_access");
	RoleNames	roles = {map, palloc(sizeof(Datum) * JSON_NODES_MAX), 0, JSON_NODES_MAX};
	char	   *text = pstrdup(key->role_map);

	if (!json_parse_strict(text, strlen(text), map))
		return PointerGetDatum(construct_empty_array(TEXTOID));
	map_roles(&roles, claims, "", json_member(claims, token_claim(token, "realm_access"), "roles"));
	map_roles(&roles, claims, "", token_claim(token, "roles"));
	map_roles(&roles, claims, "", token_claim(token, "groups"));
	if (clients != NULL && clients->kind == JSON_IS_OBJECT)
		for (const JsonNode *client = json_first(claims, clients); client != NULL; client = json_next(claims, client))
			map_roles(&roles, claims, psprintf("%.*s/", (int) client->name_length, client->name), json_member(claims, client, "roles"));
	return PointerGetDatum(construct_array(roles.names, roles.count, TEXTOID, -1, false, TYPALIGN_INT));
}

/* ---- reading ---- */

/* Fills what there is; wanted is cut down to the roles that exist in the home organization, sorted. */
static void
read_identity(Identity *identity)
{
	static BoPlan plan = {
		"SELECT ARRAY(SELECT DISTINCT r.name FROM access.roles r WHERE r.organization_id = $3 AND r.name = ANY ($4) ORDER BY 1), "
		" i.user_id, i.roles_as_of > $5, i.roles "
		"FROM (SELECT 1) one LEFT JOIN access.identities i ON i.issuer = $1 AND i.subject = $2",
		5, {TEXTOID, TEXTOID, UUIDOID, TEXTARRAYOID, INT8OID}
	};
	static BoPlan compare_plan = {
		"SELECT $1 = $2, NOT $1 <@ $2", 2, {TEXTARRAYOID, TEXTARRAYOID}
	};
	Datum		args[5];
	Datum		both[2];
	bool		isnull;
	bool		is_older;

	args[0] = CStringGetTextDatum(identity->issuer);
	args[1] = CStringGetTextDatum(identity->subject);
	args[2] = UUIDPGetDatum(&identity->key->home_organization);
	args[3] = identity->wanted;
	args[4] = Int64GetDatum(identity->issued_s);
	PushActiveSnapshot(GetLatestSnapshot());
	bo_spi_run_readonly(&plan, args, identity->key->has_home ? NULL : "  n  ", 1);
	identity->wanted = bo_spi_datum(0, 1, &isnull);
	identity->found = !bo_spi_isnull(0, 2);
	identity->is_current = identity->would_lose = false;
	if (identity->found)
	{
		identity->user_id = bo_spi_uuid(0, 2);
		is_older = bo_spi_bool(0, 3);
		both[0] = bo_spi_datum(0, 4, &isnull);
		both[1] = identity->wanted;
		bo_spi_run_readonly(&compare_plan, both, NULL, 1);
		identity->is_current = is_older || !identity->key->has_home || bo_spi_bool(0, 1);
		identity->would_lose = !identity->is_current && bo_spi_bool(0, 2);
	}
	PopActiveSnapshot();
}

/* One at a time for each subject, to the end of the transaction. */
static void
lock_subject(const Identity *identity)
{
	uint64		key = hash_bytes_extended((const unsigned char *) identity->subject, strlen(identity->subject),
										  hash_bytes_extended((const unsigned char *) identity->issuer, strlen(identity->issuer), 0));

	(void) DirectFunctionCall1(pg_advisory_xact_lock_int8, Int64GetDatum((int64) key));
}

/* ---- provisioning ---- */

/* Who speaks for one organization, and is not trusted beyond it. */
static bool
is_bound(const TokenKey *key)
{
	return key->has_home && !key->link_by_email;
}

/* The user whose address that is, if the issuer may say who that is. */
static bool
link_by_email(Identity *identity)
{
	static BoPlan plan = {
		"SELECT id FROM access.users WHERE lower(email) = lower($1) AND email_said_by IS NULL", 1, {TEXTOID}
	};
	Datum		args[1];

	if (!identity->key->link_by_email || identity->email == NULL)
		return false;
	args[0] = CStringGetTextDatum(identity->email);
	if (bo_spi_run(&plan, args, NULL, 1) == 0)
		return false;
	identity->user_id = bo_spi_uuid(0, 1);
	return true;
}

/*
 * With its verified address, unless somebody has that; else with one that leads nowhere.  What the provider of one
 * organization says is that organization's word: only there anybody can have the address already, and whose it is
 * finds it free.
 */
static void
insert_new_user(Identity *identity)
{
	static BoPlan plan = {
		"INSERT INTO access.users (id, email, email_said_by) SELECT $1, $2, $3 WHERE $3 IS NULL OR NOT EXISTS "
		"(SELECT FROM access.users u JOIN access.memberships m ON m.user_id = u.id AND m.organization_id = $3 WHERE lower(u.email) = lower($2)) "
		"ON CONFLICT DO NOTHING", 3, {UUIDOID, TEXTOID, UUIDOID}
	};
	Datum		args[3];

	bo_uuid7(&identity->user_id);
	args[0] = UUIDPGetDatum(&identity->user_id);
	args[1] = identity->email ? CStringGetTextDatum(identity->email) : 0;
	args[2] = UUIDPGetDatum(&identity->key->home_organization);
	if (identity->email == NULL || bo_spi_run(&plan, args, is_bound(identity->key) ? NULL : "  n", 0) == 0)
	{
		identity->email = psprintf("%s@oidc.invalid", bo_uuid_text(&identity->user_id));
		args[1] = CStringGetTextDatum(identity->email);
		bo_spi_run(&plan, args, "  n", 0);
	}
	tell_user_created(identity->key->has_home ? &identity->key->home_organization : NULL, &identity->user_id, identity->email);
}

static void
tell_identity(const Identity *identity, const char *type)
{
	JsonOut		json;

	json_begin(&json);
	json_uuid(&json, "userId", &identity->user_id);
	json_text(&json, "issuer", identity->issuer);
	audit_emit(identity->key->has_home ? &identity->key->home_organization : NULL,
			   bo_uuid_text(&identity->user_id), type, &json);
}

static void
provision(Identity *identity)
{
	static BoPlan plan = {
		"INSERT INTO access.identities (issuer, subject, user_id) VALUES ($1, $2, $3)", 3, {TEXTOID, TEXTOID, UUIDOID}
	};
	Datum		args[3];
	bool		linked = link_by_email(identity);

	if (!linked)
	{
		if (!identity->key->provision)
			refuse_token(TOKEN_UNKNOWN_USER, "the issuer's users are not taken in by themselves");
		insert_new_user(identity);
		if (identity->key->has_home)
			insert_membership(&identity->key->home_organization, &identity->user_id);
	}
	args[0] = CStringGetTextDatum(identity->issuer);
	args[1] = CStringGetTextDatum(identity->subject);
	args[2] = UUIDPGetDatum(&identity->user_id);
	bo_spi_run(&plan, args, NULL, 0);
	tell_identity(identity, linked ? "identity.linked" : "identity.provisioned");
}

/* ---- roles ---- */

static void
tell_roles(const Identity *identity, const char *type, uint64 count)
{
	char	  **roles = palloc(sizeof(char *) * (count + 1));

	for (uint64 i = 0; i < count; i++)
		roles[i] = bo_spi_text(i, 1);
	for (uint64 i = 0; i < count; i++)
	{
		RightsChange change = {.role = roles[i], .user = &identity->user_id};

		audit(&identity->key->home_organization, type, &change);
	}
}

/* With the subject locked. */
static void
store_roles(const Identity *identity)
{
	static BoPlan revoke_plan = {
		"DELETE FROM access.role_grants g USING access.identities i WHERE i.issuer = $1 AND i.subject = $2 AND g.organization_id = $3 "
		"AND g.user_id = i.user_id AND g.role = ANY (i.roles) AND g.role <> ALL ($4) RETURNING g.role",
		4, {TEXTOID, TEXTOID, UUIDOID, TEXTARRAYOID}
	};
	static BoPlan grant_plan = {
		"INSERT INTO access.role_grants (organization_id, user_id, role) SELECT m.organization_id, m.user_id, r.role "
		"FROM access.memberships m CROSS JOIN unnest($4) AS r(role) "
		"WHERE m.organization_id = $3 AND m.user_id = (SELECT user_id FROM access.identities WHERE issuer = $1 AND subject = $2) "
		"ON CONFLICT DO NOTHING RETURNING role",
		4, {TEXTOID, TEXTOID, UUIDOID, TEXTARRAYOID}
	};
	static BoPlan note_plan = {
		"UPDATE access.identities SET roles = $4, roles_as_of = $5 WHERE issuer = $1 AND subject = $2 AND $3 IS NOT NULL",
		5, {TEXTOID, TEXTOID, UUIDOID, TEXTARRAYOID, INT8OID}
	};
	Datum		args[5];

	args[0] = CStringGetTextDatum(identity->issuer);
	args[1] = CStringGetTextDatum(identity->subject);
	args[2] = UUIDPGetDatum(&identity->key->home_organization);
	args[3] = identity->wanted;
	args[4] = Int64GetDatum(identity->issued_s);
	tell_roles(identity, "role.revoked", bo_spi_run(&revoke_plan, args, NULL, 0));
	tell_roles(identity, "role.granted", bo_spi_run(&grant_plan, args, NULL, 0));
	bo_spi_run(&note_plan, args, NULL, 0);
}

/* ---- an identity, brought up to date ---- */

static void
refuse_read_only(const Identity *identity)
{
	if (!identity->found)
		refuse_token(TOKEN_UNKNOWN_USER, "the user is new here, and this transaction may not write");
	ereport(ERROR,
			(errcode(BO_CONFLICT),
			 errmsg("the user's roles have to be brought up to date first"),
			 bo_code("identity_out_of_date", "the issuer took a role away, and this transaction may not write"),
			 errhint("Begin with a request that may write, or log in again.")));
}

static void
update_identity(Identity *identity)
{
	lock_subject(identity);
	read_identity(identity);
	if (!identity->found)
	{
		provision(identity);
		store_roles(identity);
	}
	else if (!identity->is_current)
		store_roles(identity);
}

void
identity_of(const JwsToken *token, const JwsToken *roles, const TokenKey *key, VerifiedToken *verified)
{
	const JsonNode *email_verified = token_claim(token, "email_verified");
	Identity	identity = {.key = key, .issuer = verified->issuer, .subject = verified->subject, .issued_s = verified->issued_s};
	BoUser		saved;

	if (email_verified != NULL && email_verified->kind == JSON_IS_TRUE)
		identity.email = token_claim_text(token, "email", EMAIL_MAX_BYTES);
	if (identity.email != NULL && !is_email(identity.email))
		identity.email = NULL;
	identity.wanted = mapped_roles(roles, key);
	saved = bo_user_kernel();
	bo_spi_begin();
	read_identity(&identity);
	if (!identity.found || !identity.is_current)
	{
		/* Rights to be added may wait for a request that writes; those to be taken away may not. */
		if (!XactReadOnly)
			update_identity(&identity);
		else if (!identity.found || identity.would_lose)
			refuse_read_only(&identity);
		verified->fleeting = true;
	}
	bo_spi_end();
	bo_user_restore(saved);
	verified->has_user = true;
	verified->user_id = identity.user_id;
	verified->has_organization = key->has_home;
	verified->organization_id = key->home_organization;
	/* Who may say which user has which address is trusted beyond its organization. */
	verified->is_bound = is_bound(key);
	verified->bound_to = key->home_organization;
}

/* ---- tokens ---- */

/* Was the user authenticated as surely as the issuer's record demands for aal2? */
static uint8
assurance(const JwsToken *token, const TokenKey *key)
{
	ListCell   *cell;

	foreach(cell, key->aal2_values)
		if (json_string_is(token_claim(token, "acr"), lfirst(cell)) ||
			token_claim_includes(&token->claims, token_claim(token, "amr"), lfirst(cell)))
			return 2;
	return 1;
}

void
read_external_claims(const JwsToken *token, const TokenKey *key, VerifiedToken *verified)
{
	verified->issuer = pstrdup(key->issuer);
	verified->subject = token_claim_text(token, "sub", SUBJECT_MAX);
	if (verified->subject == NULL || *verified->subject == '\0')
		refuse_token(TOKEN_MALFORMED, "there is no subject");
	verified->sid = token_claim_text(token, "sid", SUBJECT_MAX);
	(void) json_seconds(token_claim(token, "iat"), &verified->issued_s);
	verified->aal = assurance(token, key);
}

/* An access token, not an ID token: those carry the user agent's nonce and hashes of what came with them. */
static void
check_is_access_token(const JwsToken *token, const TokenKey *key)
{
	const JsonNode *type = token_claim(token, "typ");

	if (token->type != NULL && !token_has_type(token, "JWT") && !token_has_type(token, "at+jwt"))
		refuse_token(TOKEN_WRONG_TYPE, "the header's type is neither JWT nor at+jwt");
	if (type != NULL && !json_string_is(type, "Bearer"))
		refuse_token(TOKEN_WRONG_TYPE, "the claim typ is not Bearer");
	if (token_claim(token, "at_hash") != NULL || token_claim(token, "c_hash") != NULL || token_claim(token, "events") != NULL)
		refuse_token(TOKEN_WRONG_TYPE, "it is an identity or log-out token");
	if (key->audience == NIL ? !json_string_is(token_claim(token, "azp"), key->client_id) : !token_is_for(token, key->audience))
		refuse_token(TOKEN_WRONG_AUDIENCE, "neither its audience nor its client is ours");
}

void
read_external(const JwsToken *token, const TokenKey *key, VerifiedToken *verified)
{
	check_is_access_token(token, key);
	read_external_claims(token, key, verified);
	identity_of(token, token, key, verified);
	verified->label = psprintf("user:%s", bo_uuid_text(&verified->user_id));
}

void
bind_session(VerifiedToken *verified)
{
	static BoPlan plan = {
		"SELECT i.home_organization FROM access.external_sessions e JOIN access.issuers i ON i.issuer = e.issuer "
		"WHERE e.session_id = $1 AND i.home_organization IS NOT NULL AND NOT i.link_by_email", 1, {UUIDOID}
	};
	Datum		args[1] = {UUIDPGetDatum(&verified->session_id)};
	BoUser		saved = bo_user_kernel();

	PushActiveSnapshot(GetLatestSnapshot());
	bo_spi_begin();
	verified->is_bound = bo_spi_run_readonly(&plan, args, NULL, 1) > 0;
	if (verified->is_bound)
		verified->bound_to = bo_spi_uuid(0, 1);
	bo_spi_end();
	PopActiveSnapshot();
	bo_user_restore(saved);
}

bool
external_session_is_alive(const VerifiedToken *verified)
{
	static BoPlan plan = {
		"SELECT FROM access.external_logouts WHERE issuer = $1 AND sid = $2 "
		"UNION ALL SELECT FROM access.external_logouts WHERE issuer = $1 AND subject = $3 AND sid IS NULL AND as_of >= $4",
		4, {TEXTOID, TEXTOID, TEXTOID, INT8OID}
	};
	Datum		args[4];
	BoUser		saved;
	bool		ended;

	args[0] = CStringGetTextDatum(verified->issuer);
	args[1] = CStringGetTextDatum(verified->sid ? verified->sid : "");
	args[2] = CStringGetTextDatum(verified->subject);
	args[3] = Int64GetDatum(verified->issued_s);
	saved = bo_user_kernel();
	PushActiveSnapshot(GetLatestSnapshot());
	bo_spi_begin();
	ended = bo_spi_run_readonly(&plan, args, verified->sid ? NULL : " n  ", 1) > 0;
	bo_spi_end();
	PopActiveSnapshot();
	bo_user_restore(saved);
	return !ended;
}
