/*
 * authenticate.c
 *		From a token to who acts; and the whole beginning of an HTTP request.
 *
 * With the token in the cache and the user's rights too, no table is read.
 */
#include "access/tokens.h"

#include "catalog/pg_type.h"
#include "core/request.h"
#include "core/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#define USER_ROLE "backoffice_user"

PG_FUNCTION_INFO_V1(access_authenticate);
PG_FUNCTION_INFO_V1(access_begin_request);

/* ---- for whom ---- */

/* The one organization of a user who belongs to one only. */
static bool
only_organization(const pg_uuid_t *user, pg_uuid_t *organization)
{
	static BoPlan plan = {
		"SELECT organization_id FROM access.memberships WHERE user_id = $1 AND state = 'active' LIMIT 2", 1, {UUIDOID}
	};
	Datum		args[1] = {UUIDPGetDatum(user)};
	BoUser		saved = bo_user_kernel();
	bool		found;

	PushActiveSnapshot(GetLatestSnapshot());
	bo_spi_begin();
	found = bo_spi_run_readonly(&plan, args, NULL, 2) == 1;
	if (found)
		*organization = bo_spi_uuid(0, 1);
	bo_spi_end();
	PopActiveSnapshot();
	bo_user_restore(saved);
	return found;
}

static void
choose_organization(const VerifiedToken *verified, const pg_uuid_t *asked, Principal *principal)
{
	if (asked != NULL)
		principal->organization_id = *asked;
	else if (verified->has_organization)
		principal->organization_id = verified->organization_id;
	else
		principal->without_organization = !only_organization(&principal->user_id, &principal->organization_id);
	if (verified->is_bound &&
		(principal->without_organization || memcmp(&principal->organization_id, &verified->bound_to, UUID_LEN) != 0))
		ereport(ERROR,
				(errcode(BO_FORBIDDEN),
				 errmsg("the token is good for another organization only"),
				 bo_code("other_organization", "an API key, or an OpenID provider that speaks for one organization, opens no other"),
				 errhint("Leave the organization out, or log in by other means.")));
}

/* No more than the token's own limits. */
static void
limit_rights(const VerifiedToken *verified, Principal *principal)
{
	if (verified->has_api_key)
	{
		for (int i = 0; i < PRINCIPAL_RIGHTS / 64; i++)
			principal->rights[i] = verified->scopes[i] & (verified->has_user ? principal->rights[i] : ~UINT64CONST(0));
	}
	else if (verified->aal < 2)
		rights_without_aal2(principal->rights);
}

/* Looks at the session again only when one has ended anywhere. */
static void
check_session(VerifiedToken *verified)
{
	uint64		generation = session_generation();

	if (verified->session_generation == generation || !(verified->has_session || verified->issuer != NULL))
		return;
	if (verified->has_session ? !session_is_alive(&verified->session_id) : !external_session_is_alive(verified))
	{
		token_forget(verified);
		refuse_token(TOKEN_SESSION_ENDED, "it was ended, or has expired");
	}
	verified->session_generation = generation;
}

VerifiedToken *
token_principal(const char *token, Size length, const pg_uuid_t *organization, Principal *principal)
{
	VerifiedToken *verified = token_verified(token, length);
	ActingState state;

	memset(principal, 0, sizeof(*principal));
	if (!verified->has_user && !verified->has_api_key)
		return verified;
	check_session(verified);
	principal->has_user = verified->has_user;
	principal->user_id = verified->user_id;
	principal->has_session = verified->has_session;
	principal->session_id = verified->session_id;
	principal->has_api_key = verified->has_api_key;
	principal->api_key_id = verified->api_key_id;
	principal->bound = verified->is_bound;
	principal->aal = verified->aal;
	choose_organization(verified, organization, principal);
	state = rights_of(principal);
	if (state == ACTING_UNKNOWN_USER)
		refuse_token(TOKEN_UNKNOWN_USER, "no user has this id");
	/* Nobody learns which organizations there are by trying ids. */
	if (state == ACTING_UNKNOWN_ORGANIZATION && organization != NULL)
		state = ACTING_NOT_A_MEMBER;
	if (state != ACTING_ALLOWED)
		refuse_acting(state, principal);
	limit_rights(verified, principal);
	return verified;
}

const VerifiedToken *
authenticate(const char *token, Size length, const pg_uuid_t *organization)
{
	Principal	principal;
	VerifiedToken *verified = token_principal(token, length, organization, &principal);

	if (!verified->has_user && !verified->has_api_key)
		return verified;
	if (verified->has_api_key)
		api_key_used(verified);
	principal_set(&principal);
	return verified;
}

/* authenticate(token text, organization uuid): the user, or NULL */
Datum
access_authenticate(PG_FUNCTION_ARGS)
{
	const VerifiedToken *verified;
	text	   *token;

	if (PG_ARGISNULL(0))
		(void) required_text(fcinfo, 0, "token");
	token = PG_GETARG_TEXT_PP(0);
	verified = authenticate(VARDATA_ANY(token), VARSIZE_ANY_EXHDR(token), optional_uuid(fcinfo, 1));
	if (!verified->has_user)
		PG_RETURN_NULL();
	PG_RETURN_UUID_P((pg_uuid_t *) memcpy(palloc(sizeof(pg_uuid_t)), &verified->user_id, sizeof(pg_uuid_t)));
}

/* ---- the beginning of a request ---- */

static void
set_local(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
}

/* An argument that may be NULL, as a setting of the transaction. */
static void
set_argument(FunctionCallInfo fcinfo, int n, const char *name)
{
	set_local(name, PG_ARGISNULL(n) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(n)));
}

static void
set_anonymous(void)
{
	StringInfoData claims;

	initStringInfo(&claims);
	appendStringInfoString(&claims, "{\"role\":");
	escape_json(&claims, token_anon_role);
	appendStringInfoChar(&claims, '}');
	set_local("request.jwt.claims", claims.data);
	set_local("role", token_anon_role);
}

/*
 * May the role that was just set execute the function?  PostgreSQL asks that when
 * it plans a call that it then takes apart (a function in SQL), and when it looks
 * its schema up; a prepared plan that another role made would not ask again.
 */
static void
require_callee(Oid function)
{
	Oid			schema = get_func_namespace(function);
	AclResult	allowed;

	if (!OidIsValid(schema))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("the function does not exist any more"),
				 bo_code("function_gone", "it was dropped since the gateway read its catalogue"),
				 errhint("Ask again: NOTIFY pgrst makes the gateway read it at once.")));
	allowed = pg_namespace_aclcheck(schema, GetUserId(), ACL_USAGE);
	if (allowed != ACLCHECK_OK)
		aclcheck_error(allowed, OBJECT_SCHEMA, get_namespace_name(schema));
	allowed = pg_proc_aclcheck(function, GetUserId(), ACL_EXECUTE);
	if (allowed != ACLCHECK_OK)
		aclcheck_error(allowed, OBJECT_FUNCTION, get_func_name(function));
}

/* begin_request(token text, organization uuid, read_only boolean, method text, path text, headers text, cookies text, callee oid) */
Datum
access_begin_request(PG_FUNCTION_ARGS)
{
	text	   *label;

	bo_bound_errors();
	/* First what does not depend on the token: an error hook may read it. */
	set_argument(fcinfo, 3, "request.method");
	set_argument(fcinfo, 4, "request.path");
	set_argument(fcinfo, 5, "request.headers");
	set_argument(fcinfo, 6, "request.cookies");
	set_local("response.status", "");
	set_local("response.headers", "");
	if (PG_ARGISNULL(0))
	{
		set_anonymous();
		label = cstring_to_text("anon");
	}
	else
	{
		text	   *token = PG_GETARG_TEXT_PP(0);
		const VerifiedToken *verified = authenticate(VARDATA_ANY(token), VARSIZE_ANY_EXHDR(token), optional_uuid(fcinfo, 1));

		set_local("request.jwt.claims", verified->claims);
		set_local("role", verified->role ? verified->role : USER_ROLE);
		label = cstring_to_text(verified->label);
	}
	if (!PG_ARGISNULL(2) && PG_GETARG_BOOL(2))
		set_local("transaction_read_only", "on");
	if (!PG_ARGISNULL(7))
		require_callee(PG_GETARG_OID(7));
	PG_RETURN_TEXT_P(label);
}
