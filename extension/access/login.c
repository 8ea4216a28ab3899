/*
 * login.c
 *		Log-in by password, and changes of passwords.
 *
 * An unknown user, a user without password and a wrong password are one answer
 * after the same work: the same queries, one hash, one event.  Failures are
 * results, not errors: their events have to commit.
 */
#include "access/sessions.h"

#include <sys/socket.h>

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "core/keys.h"
#include "core/spi.h"
#include "events/events.h"
#include "utils/builtins.h"
#include "utils/formatting.h"
#include "utils/inet.h"

#define DEVICE_INFO_MAX_BYTES 4096

PG_FUNCTION_INFO_V1(access_login);

/* One log-in. */
typedef struct Login
{
	char	   *email;
	char	   *password;
	const pg_uuid_t *organization;	/* asked for, or NULL */
	SessionOrigin origin;
	pg_uuid_t	user_id;		/* nil: unknown */
	char	   *stored;			/* password hash, or NULL */
	bool		active;
	Attempt		attempt;
} Login;

void
session_origin(FunctionCallInfo fcinfo, int device_info, int ip, SessionOrigin *origin)
{
	memset(origin, 0, sizeof(SessionOrigin));
	if (device_info >= 0 && !PG_ARGISNULL(device_info))
	{
		origin->device_info = PG_GETARG_JSONB_P(device_info);
		if (!JB_ROOT_IS_OBJECT(origin->device_info) || VARSIZE(origin->device_info) > DEVICE_INFO_MAX_BYTES)
			ereport(ERROR,
					(errcode(BO_BAD_REQUEST),
					 errmsg("device_info is not a small object"),
					 bo_code("bad_device_info", "it is a JSON object of at most %d bytes", DEVICE_INFO_MAX_BYTES),
					 errhint("Say what people recognize their device by, such as {\"name\": \"Ann's phone\"}.")));
	}
	origin->has_ip = !PG_ARGISNULL(ip);
	if (origin->has_ip)
		origin->ip = PG_GETARG_DATUM(ip);
}

/*
 * An IPv6 address stands for its /64: whoever has one, has all of them.  But
 * ::ffff:192.0.2.1 is an IPv4 address, and all of these are in one /64.  Never 0.
 */
uint64
lockout_address(const SessionOrigin *origin)
{
	static const unsigned char mapped[12] = {[10] = 0xFF,[11] = 0xFF};
	inet	   *ip;
	uint64		hash;

	if (!origin->has_ip)
		return 0;
	ip = DatumGetInetPP(origin->ip);
	if (ip_family(ip) != PGSQL_AF_INET6)
		hash = lockout_subject(ip_addr(ip), ip_addrsize(ip));
	else if (memcmp(ip_addr(ip), mapped, sizeof(mapped)) == 0)
		hash = lockout_subject(ip_addr(ip) + sizeof(mapped), ip_addrsize(ip) - sizeof(mapped));
	else
		hash = lockout_subject(ip_addr(ip), 8);
	return hash ? hash : 1;
}

static char *
ip_text(const SessionOrigin *origin)
{
	return origin->has_ip ? DatumGetCString(DirectFunctionCall1(inet_out, origin->ip)) : NULL;
}

/* Within SPI, as the kernel. */
bool
address_is_known(const pg_uuid_t *user, const SessionOrigin *origin, int aal)
{
	static BoPlan plan = {
		"SELECT FROM access.sessions WHERE user_id = $1 AND ip = $2 AND aal >= $3 "
		"AND amr && CASE WHEN $3 < 2 THEN '{pwd}' ELSE '{otp,recovery}'::text[] END", 3, {UUIDOID, INETOID, INT2OID}
	};
	Datum		args[3] = {UUIDPGetDatum(user), origin->ip, Int16GetDatum(aal)};

	return origin->has_ip && bo_spi_run(&plan, args, NULL, 1) > 0;
}

/* Fills user_id, stored and active.  Whose the address is comes before those of whom an OpenID provider said it. */
static void
find_user(Login *login)
{
	static BoPlan plan = {
		"SELECT id, password_hash, state = 'active' FROM access.users WHERE lower(email) = lower($1) "
		"ORDER BY email_said_by IS NOT NULL, password_hash IS NULL, id", 1, {TEXTOID}
	};
	Datum		args[1] = {CStringGetTextDatum(login->email)};

	memset(&login->user_id, 0, sizeof(pg_uuid_t));
	login->stored = NULL;
	login->active = false;
	if (strlen(login->email) <= EMAIL_MAX_BYTES && bo_spi_run(&plan, args, NULL, 1) > 0)
	{
		login->user_id = bo_spi_uuid(0, 1);
		login->stored = bo_spi_text(0, 2);
		login->active = bo_spi_bool(0, 3);
	}
}

static void
describe_attempt(Login *login)
{
	char	   *folded = str_tolower(login->email, strlen(login->email), DEFAULT_COLLATION_OID);

	login->attempt.purpose = ATTEMPT_PASSWORD;
	login->attempt.account = lockout_subject(folded, strlen(folded));
	login->attempt.address = lockout_address(&login->origin);
	login->attempt.known_address = address_is_known(&login->user_id, &login->origin, 1);
}

/* For nobody known too: the same work. No organization is told, whoever acts: its people would learn who has an account. */
static void
tell_failure(const Login *login, const char *why)
{
	static const pg_uuid_t nil = {{0}};
	bool		known = memcmp(&login->user_id, &nil, UUID_LEN) != 0;
	JsonOut		json;

	json_begin(&json);
	json_uuid(&json, "userId", known ? &login->user_id : NULL);
	json_text(&json, "why", why);
	json_text(&json, "ip", ip_text(&login->origin));
	audit_emit(&events_of_nobody, bo_uuid_text(&login->user_id), "login.failed", &json);
}

static void
tell_success(const Session *session)
{
	JsonOut		json;

	json_begin(&json);
	json_uuid(&json, "userId", &session->user_id);
	json_uuid(&json, "sessionId", &session->id);
	json_text(&json, "ip", ip_text(&session->origin));
	json_text(&json, "method", session->amr);
	user_emit(session->has_organization ? &session->organization_id : &events_of_nobody, &session->user_id, "user.logged_in", &json);
}

/*
 * Neither disabled nor given another password since it was read; and not until
 * this transaction ends: who changes that locks the row first (user_lock()),
 * and then ends the sessions there are.
 */
static bool
is_as_before(const Login *login)
{
	static BoPlan plan = {
		"SELECT FROM access.users WHERE id = $1 AND state = 'active' AND password_hash = $2 FOR KEY SHARE", 2, {UUIDOID, TEXTOID}
	};
	Datum		args[2] = {UUIDPGetDatum(&login->user_id), CStringGetTextDatum(login->stored)};

	return bo_spi_run(&plan, args, NULL, 1) > 0;
}

/* Was the stored hash made with less work than is asked for today? */
static void
renew_hash(const Login *login)
{
	static BoPlan plan = {
		"UPDATE access.users SET password_hash = $2 WHERE id = $1 AND password_hash = $3", 3, {UUIDOID, TEXTOID, TEXTOID}
	};
	Datum		args[3] = {UUIDPGetDatum(&login->user_id), 0, CStringGetTextDatum(login->stored)};
	char	   *hash = password_is_outdated(login->stored) ? password_rehash(login->password) : NULL;

	if (hash == NULL)
		return;
	args[1] = CStringGetTextDatum(hash);
	bo_spi_run(&plan, args, NULL, 0);
}

void
login_start(Session *session, const pg_uuid_t *organization, Person *person)
{
	if (!person_read(&session->user_id, organization, person))
		elog(ERROR, "user %s has gone", bo_uuid_text(&session->user_id));
	if (organization != NULL &&
		(!person->has_organization || memcmp(&person->organization_id, organization, UUID_LEN) != 0))
	{
		Principal	wanted = {.organization_id = *organization, .user_id = session->user_id};

		refuse_acting(ACTING_NOT_A_MEMBER, &wanted);
	}
	session->has_organization = person->has_organization;
	session->organization_id = person->organization_id;
	session_start(session);
	tell_success(session);
}

/* Within SPI, as the kernel. */
static const char *
check(Login *login, int *retry_after_s)
{
	LockoutState lockout;

	find_user(login);
	describe_attempt(login);
	lockout = lockout_enter(&login->attempt, retry_after_s);
	if (lockout != LOCKOUT_FREE)
		return lockout == LOCKOUT_ADDRESS ? "throttled" : "locked";
	switch (password_check(login->password, login->stored))
	{
		case PASSWORD_BUSY:
			lockout_forgive(&login->attempt, false);
			*retry_after_s = 1;
			return "busy";
		case PASSWORD_WRONG:
			tell_failure(login, "password");
			return "denied";
		case PASSWORD_RIGHT:
			break;
	}
	if (!login->active || !is_as_before(login))
	{
		tell_failure(login, login->active ? "changed" : "disabled");
		return "denied";
	}
	lockout_forgive(&login->attempt, true);
	renew_hash(login);
	return "ok";
}

/* login(email text, password text, organization uuid, device_info jsonb, ip inet) */
Datum
access_login(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	Login		login = {0};
	Session		session = {.aal = 1, .amr = "pwd"};
	Person		person;
	const char *status;
	int			retry_after_s = 0;
	JsonOut		json;
	Jsonb	   *answer;
	BoUser		user;

	login.email = required_text(fcinfo, 0, "email");
	login.password = required_text(fcinfo, 1, "password");
	login.organization = optional_uuid(fcinfo, 2);
	session_origin(fcinfo, 3, 4, &login.origin);

	user = bo_user_kernel();
	bo_spi_begin();
	status = check(&login, &retry_after_s);
	keys_wipe(login.password, strlen(login.password));
	if (strcmp(status, "ok") == 0)
	{
		session.user_id = login.user_id;
		session.origin = login.origin;
		login_start(&session, login.organization, &person);
	}
	MemoryContextSwitchTo(caller);
	json_begin(&json);
	if (strcmp(status, "ok") == 0)
		answer_tokens(&json, &session, &person);
	else
	{
		json_text(&json, "status", status);
		if (retry_after_s > 0)
			json_int(&json, "retry_after_s", retry_after_s);
	}
	answer = json_end(&json);
	bo_spi_end();
	bo_user_restore(user);
	explicit_bzero(&session, sizeof(session));
	PG_RETURN_JSONB_P(answer);
}
