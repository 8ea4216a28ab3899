/*
 * access.c
 *		Start-up of this context, and acting as somebody.
 */
#include "access/mfa.h"

#include "access/marker.h"
#include "access/tokens.h"

#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(access_act_as);

void
access_init(void)
{
	rights_init();
	markers_init();
	password_init();
	hashing_init();
	lockout_init();
	sessions_init();
	person_init();
	tokens_init();
	mfa_init();
	issuers_init();
	oidc_init();
	api_keys_init();
}

static void
refuse_organization(ActingState state, const pg_uuid_t *organization)
{
	if (state == ACTING_UNKNOWN_ORGANIZATION)
		ereport(ERROR,
				(errcode(BO_NOT_FOUND),
				 errmsg("organization %s does not exist", bo_uuid_text(organization)),
				 bo_code("unknown_organization", "no organization has this id"),
				 errhint("access.create_organization(name) answers the id to use.")));
	if (state == ACTING_ORGANIZATION_SUSPENDED)
		ereport(ERROR,
				(errcode(BO_FORBIDDEN),
				 errmsg("organization %s is suspended", bo_uuid_text(organization)),
				 bo_code("organization_suspended", "nobody can act for it"),
				 errhint("access.set_organization_state(organization, 'active') takes it back into service.")));
}

void
refuse_acting(ActingState state, const Principal *principal)
{
	char	   *user = bo_uuid_text(&principal->user_id);

	refuse_organization(state, &principal->organization_id);
	switch (state)
	{
		case ACTING_UNKNOWN_USER:
			ereport(ERROR,
					(errcode(BO_NOT_FOUND),
					 errmsg("user %s does not exist", user),
					 bo_code("unknown_user", "no user has this id"),
					 errhint("access.create_user(email, password) answers the id to use.")));
			break;
		case ACTING_USER_DISABLED:
			ereport(ERROR,
					(errcode(BO_FORBIDDEN),
					 errmsg("user %s is disabled", user),
					 bo_code("user_disabled", "nobody can act as this user"),
					 errhint("access.set_user_state(user, 'active') undoes it.")));
			break;
		case ACTING_NOT_A_MEMBER:
			ereport(ERROR,
					(errcode(BO_FORBIDDEN),
					 errmsg("user %s is not a member of organization %s", user, bo_uuid_text(&principal->organization_id)),
					 bo_code("not_a_member", "a user acts for an organization it belongs to"),
					 errhint("access.add_member(organization, user) makes it one.")));
			break;
		case ACTING_MEMBERSHIP_SUSPENDED:
			ereport(ERROR,
					(errcode(BO_FORBIDDEN),
					 errmsg("the membership of user %s is suspended", user),
					 bo_code("membership_suspended", "the user cannot act for organization %s", bo_uuid_text(&principal->organization_id)),
					 errhint("access.add_member(organization, user) takes it back.")));
			break;
		default:
			break;
	}
}

/* act_as(organization uuid, user uuid) */
Datum
access_act_as(PG_FUNCTION_ARGS)
{
	Principal	principal = {0};
	ActingState state;

	principal.organization_id = *required_uuid(fcinfo, 0, "organization");
	if (!PG_ARGISNULL(1))
	{
		principal.user_id = *PG_GETARG_UUID_P(1);
		principal.has_user = true;
		principal.aal = 2;		/* the service vouches for the user */
	}
	state = rights_of(&principal);
	if (state != ACTING_ALLOWED)
		refuse_acting(state, &principal);
	principal_set(&principal);
	PG_RETURN_VOID();
}
