/*
 * logout.c
 *		Ending sessions: one's own, all of one's own, a member's.
 */
#include "access/sessions.h"

#include "catalog/pg_type.h"
#include "core/spi.h"

PG_FUNCTION_INFO_V1(access_logout);
PG_FUNCTION_INFO_V1(access_logout_all);
PG_FUNCTION_INFO_V1(access_end_session);

const Principal *
require_user(void)
{
	const Principal *principal = principal_require();

	if (!principal->has_user || principal->has_api_key)
		ereport(ERROR,
				(errcode(BO_FORBIDDEN),
				 errmsg("only a user can do this"),
				 bo_code("user_only", "a service or an API key acts in this transaction"),
				 errhint("Authenticate with a user's token.")));
	return principal;
}

const Principal *
require_session(void)
{
	const Principal *principal = require_user();

	if (!principal->has_session)
		ereport(ERROR,
				(errcode(BO_FORBIDDEN),
				 errmsg("there is no session"),
				 bo_code("no_session", "the user acts without having logged in here"),
				 errhint("Log in with access.login(email, password) and authenticate with its access token.")));
	return principal;
}

/* logout(): false when the session has ended already */
Datum
access_logout(PG_FUNCTION_ARGS)
{
	const Principal *principal = require_session();
	Session		session;
	BoUser		user;
	bool		active;

	user = bo_user_kernel();
	bo_spi_begin();
	active = session_lock(&principal->session_id, &session) && session.active;
	if (active)
		session_end(&principal->session_id, "logout");
	bo_spi_end();
	bo_user_restore(user);
	PG_RETURN_BOOL(active);
}

/* logout_all(): how many sessions */
Datum
access_logout_all(PG_FUNCTION_ARGS)
{
	const Principal *principal = require_user();
	BoUser		user;
	int			count;

	user = bo_user_kernel();
	bo_spi_begin();
	count = session_end_all(&principal->user_id, principal->bound ? &principal->organization_id : NULL, NULL, "logout_all");
	bo_spi_end();
	bo_user_restore(user);
	PG_RETURN_INT32(count);
}

/* Whose sessions the caller may end. */
static bool
may_end(const Session *session)
{
	const Principal *principal = principal_get();
	bool		is_here;

	if (principal == NULL)
		return true;			/* a service: checked before */
	is_here = session->has_organization && memcmp(&principal->organization_id, &session->organization_id, UUID_LEN) == 0;
	if (principal->has_user && !principal->has_api_key && memcmp(&principal->user_id, &session->user_id, UUID_LEN) == 0 &&
		(is_here || !principal->bound))
		return true;
	return is_here && access_can("access.manage_members");
}

/* end_session(session uuid): false when it has ended already */
Datum
access_end_session(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *id = required_uuid(fcinfo, 0, "session");
	Session		session;
	BoUser		user;
	bool		found;

	if (principal_get() == NULL)
		require_service();
	user = bo_user_kernel();
	bo_spi_begin();
	found = session_lock(id, &session) && may_end(&session);
	if (found && session.active)
		session_end(id, "ended");
	bo_spi_end();
	bo_user_restore(user);
	if (!found)
		ereport(ERROR,
				(errcode(BO_NOT_FOUND),
				 errmsg("there is no session %s", bo_uuid_text(id)),
				 bo_code("unknown_session", "it was deleted, or it is somebody else's"),
				 errhint("access.my_sessions lists one's own.")));
	PG_RETURN_BOOL(session.active);
}
