/*
 * sessions.h
 *		Log-in, sessions, second factors: between their files.
 */
#ifndef BACKOFFICE_SESSIONS_H
#define BACKOFFICE_SESSIONS_H

#include "access/access_internal.h"
#include "core/json_out.h"
#include "utils/rel.h"

/* ---- audit.c: events; json is ended by them, with who did it ---- */

/* What matters to security.  organization NULL: the principal's, if it has one.  The row it is about is locked. */
extern void audit_emit(const pg_uuid_t *organization, const char *key, const char *type, JsonOut *json);

/* The same, of one id (a member "what") and one other value, or NULL. */
extern void audit_about(const pg_uuid_t *organization, const char *type, const char *what, const pg_uuid_t *id,
						const char *name, const char *value);

/* The same, of something of the platform that has a name and no id. */
extern void audit_named(const char *type, const char *what, const char *name);

/* What others want to know of a user. */
extern void user_emit(const pg_uuid_t *organization, const pg_uuid_t *user, const char *type, JsonOut *json);

/* What others want to know of a team. */
extern void team_emit(const pg_uuid_t *organization, const pg_uuid_t *team, const char *type, JsonOut *json);

/* ---- teams.c, platform.c: within SPI ---- */

/* With an event each; a member is about to go. */
extern void teams_leave_all(const pg_uuid_t *organization, const pg_uuid_t *user);

/* Error platform_administrator: after a membership was inserted, so that neither comes past the other. */
extern void refuse_platform_administrator(const pg_uuid_t *user);

/* A platform administrator acts, or a service as for require_service().  Outside SPI. */
extern void require_platform(void);

/* ---- hashing.c ---- */

/* A place among those who hash; false: too many do, answer "busy".  No errors until hashing_end(). */
extern bool hashing_begin(void);
extern void hashing_end(void);
extern void hashing_init(void);

/* ---- password.c ---- */

typedef enum PasswordCheck
{
	PASSWORD_WRONG,
	PASSWORD_RIGHT,
	PASSWORD_BUSY
} PasswordCheck;

/* Errors password_too_short, password_too_long. */
extern void password_check_rules(const char *password);

/* One hash, whatever the answer; stored NULL: the same work, and PASSWORD_WRONG. */
extern PasswordCheck password_check(const char *password, const char *stored);

/* Was it made with less work than is asked for today? */
extern bool password_is_outdated(const char *stored);

/* A hash of a password that was accepted before; NULL when too many hash now. */
extern char *password_rehash(const char *password);

/* ---- lockout.c ---- */

typedef enum AttemptPurpose
{
	ATTEMPT_PASSWORD = 1,
	ATTEMPT_FACTOR,
	ATTEMPT_CHANGE
} AttemptPurpose;

typedef struct Attempt
{
	AttemptPurpose purpose;
	uint64		account;		/* hashes */
	uint64		address;		/* 0: not known */
	bool		known_address;	/* the account has logged in from it before */
} Attempt;

typedef enum LockoutState
{
	LOCKOUT_FREE,
	LOCKOUT_ACCOUNT,
	LOCKOUT_ADDRESS
} LockoutState;

extern uint64 lockout_subject(const void *data, Size length);

/* Counts a failure in advance, unless it is refused: then retry_after_s is set. */
extern LockoutState lockout_enter(const Attempt *attempt, int *retry_after_s);

/* The attempt was none (success false), or a success. */
extern void lockout_forgive(const Attempt *attempt, bool success);
extern void lockout_init(void);

/* ---- sessions.c: rows of access.sessions; all within SPI, as the kernel ---- */

#define SESSION_KEY_BYTES 32
#define SESSION_KEY_PURPOSE "access.session"	/* of core/keys.h; bound to the session's id */

/* The client's side of a session. */
typedef struct SessionOrigin
{
	Jsonb	   *device_info;	/* or NULL */
	Datum		ip;				/* inet, if has_ip */
	bool		has_ip;
} SessionOrigin;

typedef struct Session
{
	pg_uuid_t	id;
	pg_uuid_t	user_id;
	pg_uuid_t	organization_id;
	bool		has_organization;
	bool		active;			/* by its state; see session_over() for its times */
	char	   *ended_why;		/* NULL while active */
	TimestampTz authenticated_at;
	TimestampTz last_seen_at;
	TimestampTz expires_at;
	int64		counter;
	int			aal;
	char	   *amr;			/* words with blanks between them */
	char		key[SESSION_KEY_BYTES];
	SessionOrigin origin;
} Session;

/* Starts a session for a user who has proved to be one; user, organization, aal, amr and origin are set. */
extern void session_start(Session *session);

/* Locks the row; false: there is none. */
extern bool session_lock(const pg_uuid_t *id, Session *session);
extern void session_move_counter(Session *session);

/* A new key: what was made with the old one is void. */
extern void session_raise(Session *session, const char *method);

/* The key of its refresh tokens, out of what is stored. */
extern void session_read_key(Session *session, Datum stored);
extern const char *session_over(const Session *session);	/* "expired", "idle", or NULL */

/* With its audit event.  Sessions that are over already are left alone. */
extern void session_end(const pg_uuid_t *id, const char *why);
extern int	session_lock_all(const pg_uuid_t *user);

/* Of the user's, or of those for one organization (NULL: for any or none), all but one (NULL: all). */
extern int	session_end_all(const pg_uuid_t *user, const pg_uuid_t *organization, const pg_uuid_t *but, const char *why);

extern void sessions_init(void);

/* ---- password_change.c ---- */

/* Before the user's sessions are ended for good: the password's hash, or NULL.  Nobody logs in meanwhile. */
extern char *user_lock(const pg_uuid_t *user);

/* ---- logout.c ---- */

/* A user acts, in a session or not; errors user_only, no_session. */
extern const Principal *require_user(void);
extern const Principal *require_session(void);

/* ---- refresh_token.c ---- */

typedef struct RefreshToken
{
	pg_uuid_t	session_id;
	int64		counter;
	int			head_length;
	uint8		bytes[64];		/* head and HMAC */
} RefreshToken;

/* The token of the session's counter, palloc'd. */
extern char *refresh_token_write(const Session *session);

/* Its form only; false: it is none. */
extern bool refresh_token_read(const char *text, RefreshToken *token);
extern bool refresh_token_is_of(const RefreshToken *token, const Session *session);

/* ---- session_rows.c: the same row, directly ---- */

typedef struct SessionRow
{
	Relation	rel;
	HeapTuple	tuple;
	Datum	   *values;
	bool	   *nulls;
} SessionRow;

/* As it is now, not locked; false: not there, or not to be had this way.  To be put back. */
extern bool session_peek(const pg_uuid_t *id, Session *session, SessionRow *row);

/* What session_move_counter() does; false, and nothing done: somebody else has it locked, or changed it. */
extern bool session_try_move(SessionRow *row, Session *session);
extern void session_put_back(SessionRow *row);

/* ---- person.c ---- */

/* A user, as the answers with tokens show one. */
typedef struct Person
{
	char	   *email;
	bool		active;
	Jsonb	   *organizations;
	Jsonb	   *factors;
	bool		has_organization;
	pg_uuid_t	organization_id;	/* preferred, if the user belongs to it, else the first */
} Person;

/* Within SPI, as the kernel; false: no such user.  What *person points to is good until the next call. */
extern bool person_read(const pg_uuid_t *user, const pg_uuid_t *preferred, Person *person);
extern void person_init(void);

/* ---- refresh.c ---- */

/* What goes with status "ok" in the answers of log-in, refresh and second factor. */
extern void answer_tokens(JsonOut *json, const Session *session, const Person *person);

/* ---- login.c ---- */

/* From arguments; error bad_device_info.  device_info < 0: there is none. */
extern void session_origin(FunctionCallInfo fcinfo, int device_info, int ip, SessionOrigin *origin);
extern uint64 lockout_address(const SessionOrigin *origin);

/* Has the user proved from there to know the password (aal 1), or to have the second factor (2)?  What a provider says of it is no proof. */
extern bool address_is_known(const pg_uuid_t *user, const SessionOrigin *origin, int aal);

/*
 * Starts the session of a user who is known by now (user_id, aal, amr and
 * origin are set), for the organization asked for or, without one, the user's first.
 * Error not_a_member.  Within SPI, as the kernel.
 */
extern void login_start(Session *session, const pg_uuid_t *organization, Person *person);

#endif
