/*
 * access_internal.h
 *		Between the files of this context.
 */
#ifndef BACKOFFICE_ACCESS_INTERNAL_H
#define BACKOFFICE_ACCESS_INTERNAL_H

#include "access/access.h"
#include "core/principal.h"

/* ---- rights.c ---- */

/* What stands in the way of acting as somebody; ACTING_ALLOWED when nothing does. */
typedef enum ActingState
{
	ACTING_ALLOWED,
	ACTING_UNKNOWN_ORGANIZATION,
	ACTING_ORGANIZATION_SUSPENDED,
	ACTING_UNKNOWN_USER,
	ACTING_USER_DISABLED,
	ACTING_NOT_A_MEMBER,
	ACTING_MEMBERSHIP_SUSPENDED
} ActingState;

/* Fills principal->rights, from the cache or the tables. */
extern ActingState rights_of(Principal *principal);

/* Moves whenever rights or permissions may have changed. */
extern uint64 rights_generation(void);
extern void rights_init(void);

/* ---- access.c ---- */

/* The error for a state that is not ACTING_ALLOWED. */
extern void refuse_acting(ActingState state, const Principal *principal);

/* ---- permissions.c ---- */

/* How far a permission reaches: deals.read, deals.read:team, deals.read:own. */
typedef enum PermissionScope
{
	SCOPE_ALL,
	SCOPE_TEAM,
	SCOPE_OWN
} PermissionScope;

/* What a permission's name ends with, by scope: "", ":team", ":own". */
extern const char *const permission_scope_suffixes[];

#define PERMISSION_NAME_BYTES 64	/* with the terminating zero */

/* -1: no such permission. */
extern int	permission_known_bit(const char *name, int length);

/* False without a principal; a service holds all that there are. */
extern bool permission_held(const Principal *principal, int bit);

/* Error: unknown_permission. */
extern int	permission_bit(const char *name, int length);
extern void permission_define_missing(const char *name, const char *role);

/* Takes away the permissions that demand a second factor. */
extern void rights_without_aal2(uint64 *rights);

/* Whether every right of the one is in the other. */
extern bool rights_include(const uint64 *rights, const uint64 *part);

/* ---- admin.c: one call of an administrative function ---- */

typedef struct AdminCall
{
	pg_uuid_t	organization_id;
	const Principal *principal; /* NULL: a service names the organization */
	BoUser		caller;
} AdminCall;

/*
 * Finds the organization (NULL: the principal's) and checks the principal's
 * permission, or without a principal that a service calls; then connects SPI
 * and switches the role: to backoffice_definer, bound to the principal's
 * organization, or without one to backoffice_kernel.
 */
extern void admin_begin(AdminCall *call, const pg_uuid_t *organization, const char *permission);
extern void admin_end(AdminCall *call);

/* Errors unless the caller is a service or superuser, and no user acts. */
extern void require_service(void);

/* A user hands out, takes away and changes only what it has itself. */
extern void require_rights(const AdminCall *call, const uint64 *rights, const char *what);

/* Arguments that must not be NULL; error: missing_argument. */
extern const pg_uuid_t *required_uuid(FunctionCallInfo fcinfo, int n, const char *name);
extern char *required_text(FunctionCallInfo fcinfo, int n, const char *name);
extern const pg_uuid_t *optional_uuid(FunctionCallInfo fcinfo, int n);

/* ---- roles.c ---- */

/* The elements of a list argument (text[] without NULLs); NULL is the empty list.  Error: bad_list. */
extern int	text_items(FunctionCallInfo fcinfo, int n, const char *name, char ***items);

/* A permission's name, "context.*" or "*".  Within SPI; error: unknown_permission. */
extern void check_pattern(const char *pattern);

/* The rights behind permissions (text[]).  Within SPI. */
extern void rights_behind(const pg_uuid_t *organization, Datum permissions, uint64 *rights);

/* The rights of an existing role, which stays until the end of the transaction; false: there is none. */
extern bool role_rights(const pg_uuid_t *organization, const char *name, uint64 *rights);
extern void refuse_unknown_role(const char *name);

/* ---- owners.c: users do not leave their organization without an owner ---- */

/* Error: owner_role, when a user would redefine it. */
extern void refuse_other_owner_role(const AdminCall *call, const char *role);

/* Error: last_owner, when a user would take the role owner from the last who has it.  Within SPI. */
extern void require_other_owner(const AdminCall *call, const pg_uuid_t *user, const char *role);

/* ---- audit.c ---- */

/* What is not concerned is NULL or 0. */
typedef struct RightsChange
{
	const char *role;
	const pg_uuid_t *user;
	const TimestampTz *valid_until;
	Datum		permissions;	/* text[] */
	Datum		inherits;		/* text[] */
} RightsChange;

/* Emits role.defined, role.granted or role.revoked. */
extern void audit(const pg_uuid_t *organization, const char *type, const RightsChange *change);

/* ---- members.c ---- */

/* Error: unknown_user.  For a service, a user who belongs to no organization becomes a member. */
extern void require_member(const AdminCall *call, const pg_uuid_t *user);
extern void insert_membership(const pg_uuid_t *organization, const pg_uuid_t *user);
#define EMAIL_MAX_BYTES 254		/* RFC 5321 */

extern void check_email(const char *email);

extern bool is_email(const char *email);

/* The events of a new user; organization may be NULL. */
extern void tell_user_created(const pg_uuid_t *organization, const pg_uuid_t *user, const char *email);

/* ---- sessions.c: for cached tokens ---- */

/* Has the session not ended, by the newest rows? */
extern bool session_is_alive(const pg_uuid_t *session_id);

/* Moves when a session may have ended: read it before session_is_alive(). */
extern uint64 session_generation(void);

/* ---- tokens.c, token_issue.c ---- */

typedef struct TokenSubject
{
	pg_uuid_t	user_id;
	bool		has_organization;
	pg_uuid_t	organization_id;
	pg_uuid_t	session_id;
	int			aal;			/* 1 or 2 */
	const char *amr;			/* RFC 8176, separated by spaces: "pwd otp" */
	TimestampTz issued_at;
	TimestampTz expires_at;		/* of the session: no token outlives it */
} TokenSubject;

/* An access token (compact JWS), palloc'd, good for token_lifetime() seconds. */
extern char *token_issue(const TokenSubject *subject);
extern int	token_lifetime(void);
extern void tokens_init(void);

/* ---- password.c ---- */

/* Palloc'd; errors: password_too_short, password_too_long. */
extern char *password_hash(const char *password);
extern void password_init(void);

#endif
