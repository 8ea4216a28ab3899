/*
 * refresh.c
 *		The answer with tokens, and trading a refresh token for the next one.
 *
 * The session's counter is the number in its current token.  That one moves
 * the counter; the one before it gets the current one once more, without
 * moving it (an answer was lost, or two asked at once); an older one was
 * copied, and ends the session.  That end has to commit, so no outcome of a
 * refresh is an error.
 */
#include "access/sessions.h"
#include "access/tokens.h"

#include "catalog/pg_type.h"
#include "core/spi.h"
#include "utils/builtins.h"
#include "utils/guc.h"

PG_FUNCTION_INFO_V1(access_refresh);

/* The organizations that the session may know of: of one that began at a provider who speaks for one organization, that. */
static Jsonb *
organizations_for(const Session *session, const Person *person)
{
	static BoPlan plan = {
		"SELECT coalesce(jsonb_agg(o), '[]') FROM jsonb_array_elements($1) o WHERE o ->> 'id' = $2", 2, {JSONBOID, TEXTOID}
	};
	VerifiedToken verified = {.session_id = session->id};
	MemoryContext caller = CurrentMemoryContext;
	Datum		args[2] = {JsonbPGetDatum(person->organizations)};
	Jsonb	   *organizations;
	bool		isnull;

	if (strstr(session->amr, "oidc") == NULL)
		return person->organizations;
	bind_session(&verified);
	if (!verified.is_bound)
		return person->organizations;
	args[1] = CStringGetTextDatum(bo_uuid_text(&verified.bound_to));
	bo_spi_begin();
	bo_spi_run_readonly(&plan, args, NULL, 1);
	MemoryContextSwitchTo(caller);
	organizations = DatumGetJsonbPCopy(bo_spi_datum(0, 1, &isnull));
	bo_spi_end();
	return organizations;
}

void
answer_tokens(JsonOut *json, const Session *session, const Person *person)
{
	TokenSubject subject = {0};

	subject.user_id = session->user_id;
	subject.has_organization = session->has_organization;
	subject.organization_id = session->organization_id;
	subject.session_id = session->id;
	subject.aal = session->aal;
	subject.amr = session->amr;
	subject.issued_at = bo_now();
	subject.expires_at = session->expires_at;

	/* In the order that jsonb stores keys in: nothing is left to sort. */
	json_text(json, "aal", session->aal == 2 ? "aal2" : "aal1");
	json_begin_object(json, "mfa");
	json_jsonb(json, "factors", person->factors);
	json_bool(json, "required", session->aal < 2 && JB_ROOT_COUNT(person->factors) > 0);
	json_end_object(json);
	json_begin_object(json, "user");
	json_uuid(json, "id", &session->user_id);
	json_text(json, "email", person->email);
	json_jsonb(json, "organizations", organizations_for(session, person));
	json_uuid(json, "organization_id", session->has_organization ? &session->organization_id : NULL);
	json_end_object(json);
	json_text(json, "status", "ok");
	json_int(json, "expires_in", Min(token_lifetime(), (session->expires_at - subject.issued_at) / USECS_PER_SEC));
	json_uuid(json, "session_id", &session->id);
	json_text(json, "token_type", "Bearer");
	json_text(json, "access_token", token_issue(&subject));
	json_text(json, "refresh_token", refresh_token_write(session));
}

/* What an ended session's own token is answered. */
static const char *
status_of_ended(const char *why)
{
	if (strcmp(why, "reused") == 0)
		return "reused";
	if (strcmp(why, "expired") == 0 || strcmp(why, "idle") == 0)
		return "expired";
	return "invalid";
}

/* The user still is one; where not, nothing more of *person is set.  Within SPI, as the kernel. */
static bool
read_person(const Session *session, Person *person)
{
	return person_read(&session->user_id, session->has_organization ? &session->organization_id : NULL, person) && person->active;
}

/* Moves the counter, or does nothing: the current token is not it, or not at once. */
static bool
trade_at_once(const RefreshToken *token, const SessionOrigin *origin, Session *session, Person *person)
{
	SessionRow	row;
	bool		moved = false;

	if (!session_peek(&token->session_id, session, &row))
		return false;
	if (refresh_token_is_of(token, session) && session->active && session_over(session) == NULL &&
		token->counter == session->counter && read_person(session, person))
	{
		session->counter++;
		if (origin->has_ip)
			session->origin = *origin;
		moved = session_try_move(&row, session);
	}
	session_put_back(&row);
	return moved;
}

/* Whatever the token is. */
static const char *
trade_locked(const RefreshToken *token, const SessionOrigin *origin, Session *session, Person *person)
{
	const char *why;

	if (!session_lock(&token->session_id, session) || !refresh_token_is_of(token, session))
		return "invalid";
	if (!session->active)
		return status_of_ended(session->ended_why);
	why = session_over(session);
	if (why != NULL)
	{
		session_end(&session->id, why);
		return "expired";
	}
	if (!read_person(session, person))
	{
		session_end(&session->id, "user_disabled");
		return "invalid";
	}
	if (token->counter < session->counter - 1)
	{
		session_end(&session->id, "reused");
		return "reused";
	}

	/* A token of a later number than ours is genuine too: its rotation was lost with a failover. */
	if (token->counter >= session->counter)
	{
		session->counter = token->counter + 1;
		if (origin->has_ip)
			session->origin = *origin;
		session_move_counter(session);
	}
	return "ok";
}

/* Within SPI, as the kernel. */
static const char *
trade(const RefreshToken *token, const SessionOrigin *origin, Session *session, Person *person)
{
	const char *status = "ok";

	if (!trade_at_once(token, origin, session, person))
		status = trade_locked(token, origin, session, person);
	if (strcmp(status, "ok") == 0 && session->has_organization &&
		(!person->has_organization || memcmp(&person->organization_id, &session->organization_id, UUID_LEN) != 0))
		session->has_organization = false;
	return status;
}

/* refresh(refresh_token text, ip inet) */
Datum
access_refresh(PG_FUNCTION_ARGS)
{
	char	   *text = required_text(fcinfo, 0, "refresh_token");
	SessionOrigin origin = {.has_ip = !PG_ARGISNULL(1)};
	MemoryContext caller = CurrentMemoryContext;
	RefreshToken token;
	Session		session;
	Person		person;
	const char *status = "invalid";
	JsonOut		json;
	Jsonb	   *answer;
	BoUser		user;

	if (origin.has_ip)
		origin.ip = PG_GETARG_DATUM(1);
	user = bo_user_kernel();
	bo_spi_begin();
	if (refresh_token_read(text, &token))
		status = trade(&token, &origin, &session, &person);
	MemoryContextSwitchTo(caller);
	json_begin(&json);
	if (strcmp(status, "ok") == 0)
		answer_tokens(&json, &session, &person);
	else
		json_text(&json, "status", status);
	answer = json_end(&json);
	bo_spi_end();
	bo_user_restore(user);
	explicit_bzero(&session, sizeof(session));
	PG_RETURN_JSONB_P(answer);
}
