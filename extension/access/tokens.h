/*
 * tokens.h
 *		Between the files that issue, verify and use tokens.
 */
#ifndef BACKOFFICE_TOKENS_H
#define BACKOFFICE_TOKENS_H

#include "access/access_internal.h"
#include "access/jws.h"
#include "access/marker.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

/* ---- tokens.c: settings, errors ---- */

extern char *token_issuer;
extern char *token_audience;
extern char *token_anon_role;
extern int	token_lifetime_s;
extern int	token_skew_s;
extern int	issuer_key_grace_s;
extern int	token_cache_kb;
extern int	signing_key_lifetime_s;

/* Of the tables of keys, issuers and API keys, and of the settings. */
extern Marker tokens_marker;

/* The end of a NumericDate: DT_NOBEGIN or DT_NOEND when out of range. */
extern TimestampTz time_from_seconds(int64 seconds);
extern int64 seconds_from_time(TimestampTz time);

typedef enum TokenProblem
{
	TOKEN_MALFORMED,
	TOKEN_UNKNOWN_KEY,
	TOKEN_BAD_SIGNATURE,
	TOKEN_EXPIRED,
	TOKEN_NOT_YET_VALID,
	TOKEN_WRONG_ISSUER,
	TOKEN_WRONG_AUDIENCE,
	TOKEN_WRONG_TYPE,
	TOKEN_SESSION_ENDED,
	TOKEN_API_KEY_UNKNOWN,
	TOKEN_API_KEY_EXPIRED,
	TOKEN_UNKNOWN_USER
} TokenProblem;

/* PT401.  detail is a constant: nothing of the token goes into an error. */
extern void refuse_token(TokenProblem problem, const char *detail) pg_attribute_noreturn();

/* ---- token_keys.c ---- */

#define TOKEN_KEY_PURPOSE "access.token_key"	/* of core/keys.h; bound to the key's id */

typedef enum TokenKeyKind
{
	KEY_OWN,
	KEY_GIVEN,
	KEY_ISSUER
} TokenKeyKind;

/* A row of access.token_keys with its issuer's, kept by the backend. */
typedef struct TokenKey
{
	TokenKeyKind kind;
	pg_uuid_t	id;
	char	   *kid;
	char	   *asked_issuer;	/* by which it was looked up */
	JwsKey		key;
	TimestampTz verify_until;
	char	   *role_claim;		/* of a given key; NULL: none */
	bool		expires_required;
	List	   *audience;		/* of char *; one of them must be in "aud" (empty: not asked) */

	/* Of an issuer's key only. */
	char	   *issuer;
	char	   *client_id;
	char	   *role_map;		/* JSON */
	bool		has_home;
	pg_uuid_t	home_organization;
	bool		provision;
	bool		link_by_email;
	List	   *aal2_values;
} TokenKey;

/* NULL: no such key, or no longer.  Valid until the next call. */
extern const TokenKey *token_key_find(const char *issuer, const char *kid);

extern void token_keys_init(void);

/* The key that tokens are issued with; made when there is none. */
extern const TokenKey *token_key_current(void);

/* ---- token_verify.c ---- */

#define TOKEN_HASH_BYTES 32
#define ISSUER_MAX		512		/* bytes */
#define SUBJECT_MAX		255

/* What a token says, verified; what authenticate() needs of it. */
typedef struct VerifiedToken
{
	uint8		hash[TOKEN_HASH_BYTES];
	uint64		generation;		/* of tokens_marker */
	uint64		rights_generation;	/* of the scopes */
	uint64		session_generation;	/* at which the session was last seen alive */
	TimestampTz valid_from;
	TimestampTz valid_until;
	bool		has_user;
	bool		has_organization;
	bool		has_session;
	bool		has_api_key;
	bool		is_bound;		/* good for the organization bound_to only */
	uint8		aal;
	pg_uuid_t	bound_to;
	pg_uuid_t	user_id;
	pg_uuid_t	organization_id;
	pg_uuid_t	session_id;
	pg_uuid_t	api_key_id;
	TimestampTz used_at;		/* of an API key: when that was noted last */
	bool		fleeting;		/* rests on what this transaction wrote: not to be remembered */
	int64		issued_s;		/* iat, of an issuer's token */
	char	   *issuer;			/* of an issuer's token, else NULL */
	char	   *subject;
	char	   *sid;			/* the issuer's session; NULL: none */
	uint64	   *scopes;			/* of an API key */
	char	   *role;			/* the database role to take; NULL: backoffice_user */
	char	   *claims;			/* JSON */
	char	   *label;			/* for rate limits and logs */
} VerifiedToken;

extern const JsonNode *token_claim(const JwsToken *token, const char *name);
extern char *token_node_text(const JsonNode *node);

/* NULL: not there; raises (token_malformed) when of another kind. */
extern char *token_claim_text(const JwsToken *token, const char *name, Size longest);

/* Is the node this string, or an array that has it? */
extern bool token_claim_includes(const JsonDocument *document, const JsonNode *node, const char *wanted);
extern bool token_is_for(const JwsToken *token, List *audience);
extern bool token_has_type(const JwsToken *token, const char *type);

/* Parses a token, finds its key and checks the signature, no more; raises.  The key is valid until the next is looked for. */
extern const TokenKey *token_open(const char *text, Size length, JwsToken *token);

/* Checks exp, nbf, iat, and notes between when the token is good. */
extern void token_check_times(const JwsToken *token, const TokenKey *key, VerifiedToken *verified);

/* Fills all but hash and generations; raises. */
extern void token_verify(const char *token, Size length, VerifiedToken *verified);

/* ---- issuers.c ---- */

#define ISSUER_SECRET_PURPOSE "access.issuer"	/* of core/keys.h; bound to the issuer's id */

/* A key id that the issuer's keys do not have: its keys will be fetched, if there is such an issuer. */
extern void issuer_note_unknown_key(const char *issuer);
extern void refuse_unknown_issuer(void);
extern void issuers_init(void);

/* ---- identities.c ---- */

/* An access token of an issuer: who that is here; provisions and maps roles. */
extern void read_external(const JwsToken *token, const TokenKey *key, VerifiedToken *verified);

/*
 * The user that the subject of claims is here.  roles: where its roles stand
 * (an access token's claims, or the same).
 */
extern void identity_of(const JwsToken *token, const JwsToken *roles, const TokenKey *key, VerifiedToken *verified);

/* Fills issuer, subject, sid, issued_s, aal. */
extern void read_external_claims(const JwsToken *token, const TokenKey *key, VerifiedToken *verified);

/* A session that began at an issuer who speaks for one organization is bound to it. */
extern void bind_session(VerifiedToken *verified);

/* Did the issuer tell us that this token's session has ended? */
extern bool external_session_is_alive(const VerifiedToken *verified);

/* ---- oidc.c ---- */

extern void oidc_init(void);

/* A text as a part of a URI, palloc'd: all but the unreserved characters of RFC 3986 as %XX. */
extern char *uri_encoded(const char *text);

/* ---- api_keys.c ---- */

#define API_KEY_PREFIX "bok_"

extern void api_key_verify(const char *key, Size length, VerifiedToken *verified);

/* Seen in use: written down by the keeper. */
extern void api_key_used(VerifiedToken *verified);
extern void api_keys_init(void);

/* ---- token_cache.c ---- */

/* From the cache, or verified now; raises.  Valid until the next call. */
extern VerifiedToken *token_verified(const char *token, Size length);
extern void token_forget(const VerifiedToken *verified);

/* ---- authenticate.c ---- */

/* Verifies the token, and finds out who acts by it, with which rights; raises.  Of nobody the principal is empty. */
extern VerifiedToken *token_principal(const char *token, Size length, const pg_uuid_t *organization, Principal *principal);

/* Verifies the token and sets the principal (if it names somebody); organization NULL: the token's. */
extern const VerifiedToken *authenticate(const char *token, Size length, const pg_uuid_t *organization);

/* ---- token_issue.c: see access_internal.h ---- */

#endif
