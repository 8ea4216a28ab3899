/*
 * pre_request.c
 *		api.pre_request(): who acts, under an unmodified PostgREST.
 *
 * PostgREST has checked the token with a key of its configuration and put the
 * claims into settings, which anybody who can run SQL could have done.  So
 * the token itself, in request.headers, is verified again.
 */
#include "api/api.h"

#include "catalog/pg_type.h"
#include "core/request.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#define BEARER "bearer "

PG_FUNCTION_INFO_V1(api_pre_request);

/* NULL: no token (other schemes are none of ours). */
static char *
bearer_token(void)
{
	char	   *authorization = bo_request_header("authorization");

	if (authorization == NULL || pg_strncasecmp(authorization, BEARER, strlen(BEARER)) != 0)
		return NULL;
	authorization += strlen(BEARER);
	return authorization + strspn(authorization, " ");
}

static Datum
wanted_organization(bool *isnull)
{
	char	   *header = bo_request_header("x-organization-id");

	*isnull = header == NULL;
	return header ? DirectFunctionCall1(uuid_in, CStringGetDatum(header)) : (Datum) 0;
}

/* pre_request() */
Datum
api_pre_request(PG_FUNCTION_ARGS)
{
	static BoPlan plan = {"SELECT access.authenticate($1, $2)", 2, {TEXTOID, UUIDOID}};
	char	   *token = bearer_token();
	Datum		args[2];
	char		nulls[2] = {' ', ' '};
	bool		isnull;
	BoUser		user;

	if (token == NULL)
		PG_RETURN_VOID();
	args[0] = CStringGetTextDatum(token);
	args[1] = wanted_organization(&isnull);
	if (isnull)
		nulls[1] = 'n';
	user = bo_user_definer();
	bo_spi_begin();
	bo_spi_run(&plan, args, nulls, 1);
	bo_spi_end();
	bo_user_restore(user);
	PG_RETURN_VOID();
}
