/* The table itself; match.c finds routes in it, call.c makes the calls, openapi.c describes it. */
#include "gateway/routes.h"

#include "gateway/events.h"
#include "gateway/health.h"
#include "gateway/oidc_login.h"
#include "gateway/openapi.h"
#include "gateway/rpc_serve.h"

#define PATH(name, type, help) {name, FROM_PATH, type, true, help}
#define QUERY(name, type, help) {name, FROM_QUERY, type, false, help}
#define QUERY_REQUIRED(name, type, help) {name, FROM_QUERY, type, true, help}
#define BODY(name, type, help) {name, FROM_BODY, type, true, help}
#define BODY_OPTIONAL(name, type, help) {name, FROM_BODY, type, false, help}

#define CERTIFICATE_ID PATH("id", ARGUMENT_UUID, "the certificate")
#define REDEMPTION_ID PATH("id", ARGUMENT_UUID, "the hold or redemption")
#define POOL PATH("pool", ARGUMENT_TEXT, "code or id")
#define REASON BODY_OPTIONAL("reason", ARGUMENT_TEXT, "told in the event")
#define PAGE(type) QUERY("after", type, "next of the page before"), QUERY("max_items", ARGUMENT_INT4, "1 to 1000, 100 if left out")

#define LISTEN QUERY("topics", ARGUMENT_TEXT, "only these, separated by commas"), \
	QUERY("types", ARGUMENT_TEXT, "only these, separated by commas; one that ends in * stands for all that begin so"), \
	QUERY("key", ARGUMENT_TEXT, "only events with this key"), \
	QUERY("last_event_id", ARGUMENT_TEXT, "go on after this position; the header Last-Event-ID says the same"), \
	QUERY("ticket", ARGUMENT_TEXT, "of POST /events/tickets, instead of the Authorization header")

/* A function of schema api that needs a token. */
#define API(verb, path, name, ...) \
	{METHOD_ ## verb, path, .function = name, .handler = route_call, .auth = AUTH_TOKEN, .rate = RATE_READ, .status = 200, __VA_ARGS__}
#define CHANGE(verb, path, name, good, ...) \
	{METHOD_ ## verb, path, .function = name, .handler = route_call, .auth = AUTH_TOKEN, .rate = RATE_WRITE, .status = good, __VA_ARGS__}
/* One that anybody may call. */
#define PUBLIC(verb, path, name, good, ...) \
	{METHOD_ ## verb, path, .function = name, .handler = route_call, .auth = AUTH_NONE, .rate = RATE_AUTH, .status = good, __VA_ARGS__}
/* What takes a password or a code, as a user. */
#define SECRET(path, name, ...) \
	{METHOD_POST, path, .function = name, .handler = route_call, .auth = AUTH_TOKEN, .rate = RATE_AUTH, .status = 200, .tag = "auth", __VA_ARGS__}
/* All methods: what PostgREST refuses, it refuses in its own way. */
#define RPC(verb) \
	{METHOD_ ## verb, "/rpc/{function}", .handler = rpc_serve, .auth = AUTH_OPTIONAL, .rate = RATE_RPC, .writes = true, .status = 200, \
		.tag = "rpc", .summary = "Any function of the schema, by PostgREST's rules", \
		.arguments = {PATH("function", ARGUMENT_TEXT, "its name")}}
#define OWN(path, function, ...) \
	{METHOD_GET, path, .handler = function, .auth = AUTH_NONE, .rate = RATE_NONE, .status = 200, __VA_ARGS__}

/* A fixed segment stands before a {parameter} at the same place: the first pattern that fits is the path's. */
const Route routes[] = {
	OWN("/health/live", health_live, .tag = "system", .summary = "The process answers", .answer = "#Live"),
	OWN("/health/ready", health_ready, .tag = "system", .summary = "The database answers, and nothing is being stopped", .answer = "#Ready"),
	OWN("/metrics", health_metrics, .tag = "system", .summary = "Prometheus metrics"),
	{METHOD_GET, "/openapi.json", .handler = openapi_serve, .auth = AUTH_OPTIONAL, .rate = RATE_READ, .status = 200, .tag = "system",
		.summary = "This description: the routes, and the functions of /rpc that one may call", .answer = "{\"type\":\"object\"}"},

	CHANGE(GET, "/certificates/next", "reserve_next_certificate", 200, .writes = true, .tag = "certificates",
		.summary = "Reserve the next certificate of a pool", .answer = "#Reservation",
		.arguments = {QUERY_REQUIRED("pool", ARGUMENT_TEXT, "code or id of the pool"), QUERY_REQUIRED("channel", ARGUMENT_TEXT, "who sells it"),
		QUERY("order_ref", ARGUMENT_TEXT, "the order it is for"), QUERY("hold_s", ARGUMENT_INT4, "seconds that the reservation lasts")}),
	CHANGE(POST, "/certificates/reservations", "reserve_next_certificate", 201, .tag = "certificates",
		   .summary = "Reserve the next certificate of a pool", .answer = "#Reservation",
		   .arguments = {BODY("pool", ARGUMENT_TEXT, "code or id of the pool"), BODY("channel", ARGUMENT_TEXT, "who sells it"),
		   BODY_OPTIONAL("order_ref", ARGUMENT_TEXT, "the order it is for"), BODY_OPTIONAL("hold_s", ARGUMENT_INT4, "seconds that the reservation lasts")}),
	CHANGE(POST, "/certificates/check", "check_certificate", 200, .tag = "certificates", .summary = "Is this the CVC of a sold certificate with this code?",
		   .answer = "#Check",
		   .arguments = {BODY("code", ARGUMENT_TEXT, "the certificate's code"), BODY("cvc", ARGUMENT_TEXT, "its CVC")}),
	API(GET, "/certificates/{id}", "certificate", .tag = "certificates", .summary = "A certificate, without code and CVC", .answer = "#Certificate",
		.arguments = {CERTIFICATE_ID}),
	CHANGE(GET, "/certificates/{id}/cvc", "certificate_cvc", 200, .writes = true, .tag = "certificates",
		.summary = "The CVC of a certificate whose client was notified; leaves a trace", .answer = "#Cvc", .arguments = {CERTIFICATE_ID}),
	CHANGE(POST, "/certificates/{id}/notify", "notify_certificate", 200, .tag = "certificates", .summary = "Ask that the client is sent the CVC",
		   .answer = "#Notification", .arguments = {CERTIFICATE_ID}),
	CHANGE(POST, "/certificates/{id}/release", "release_certificate", 200, .tag = "certificates", .summary = "Give a reservation back",
		   .answer = "#CertificateState", .arguments = {CERTIFICATE_ID, REASON}),
	CHANGE(POST, "/certificates/{id}/issue", "issue_certificate", 200, .tag = "certificates", .summary = "Sell a reserved certificate and show its code",
		   .answer = "#Issued",
		   .arguments = {CERTIFICATE_ID, BODY_OPTIONAL("order_ref", ARGUMENT_TEXT, "the order"), BODY_OPTIONAL("client_ref", ARGUMENT_TEXT, "the client")}),
	CHANGE(GET, "/certificates/{id}/code", "certificate_code", 200, .writes = true, .tag = "certificates",
		.summary = "The code of a certificate that is reserved or sold; leaves a trace", .answer = "#Code", .arguments = {CERTIFICATE_ID}),
	CHANGE(POST, "/certificates/{id}/activate", "activate_certificate", 200, .tag = "certificates",
		   .summary = "Make an issued certificate redeemable, where its pool asks for that", .answer = "#CertificateState", .arguments = {CERTIFICATE_ID}),
	CHANGE(POST, "/certificates/{id}/holds", "hold_certificate", 201, .tag = "certificates", .summary = "Hold money on a certificate",
		   .answer = "#Redemption",
		   .arguments = {CERTIFICATE_ID, BODY("amount_minor", ARGUMENT_INT, "minor units of its currency"),
		   BODY_OPTIONAL("hold_s", ARGUMENT_INT4, "seconds until it ends by itself, 1800 if left out"),
		   BODY_OPTIONAL("channel", ARGUMENT_TEXT, "where"), BODY_OPTIONAL("order_ref", ARGUMENT_TEXT, "for which order")}),
	API(GET, "/redemptions/{id}", "redemption", .tag = "certificates", .summary = "A hold or redemption", .answer = "#Redemption",
		.arguments = {REDEMPTION_ID}),
	CHANGE(POST, "/redemptions/{id}/capture", "capture_hold", 200, .tag = "certificates", .summary = "Take money that is held", .answer = "#Movement",
		   .arguments = {REDEMPTION_ID, BODY_OPTIONAL("amount_minor", ARGUMENT_INT, "how much of it; left out: all")}),
	CHANGE(POST, "/redemptions/{id}/release", "release_hold", 200, .tag = "certificates", .summary = "Give a hold up", .answer = "#Movement",
		   .arguments = {REDEMPTION_ID}),
	CHANGE(POST, "/certificates/{id}/redeem", "redeem_certificate", 200, .tag = "certificates", .summary = "Take money from a certificate",
		   .answer = "#Movement",
		   .arguments = {CERTIFICATE_ID, BODY("amount_minor", ARGUMENT_INT, "minor units of its currency"),
		   BODY_OPTIONAL("channel", ARGUMENT_TEXT, "where"), BODY_OPTIONAL("order_ref", ARGUMENT_TEXT, "for which order")}),
	CHANGE(POST, "/certificates/{id}/refund", "refund_certificate", 200, .tag = "certificates", .summary = "Give redeemed money back to the certificate",
		   .answer = "#Movement",
		   .arguments = {CERTIFICATE_ID, BODY("amount_minor", ARGUMENT_INT, "minor units of its currency"),
		   BODY_OPTIONAL("redemption_id", ARGUMENT_UUID, "of which redemption; left out: of all"), REASON}),
	CHANGE(POST, "/certificates/{id}/block", "block_certificate", 200, .tag = "certificates", .summary = "Stop a certificate",
		   .answer = "#CertificateState", .arguments = {CERTIFICATE_ID, REASON}),
	CHANGE(POST, "/certificates/{id}/unblock", "unblock_certificate", 200, .tag = "certificates",
		   .summary = "Return a blocked certificate to the state before", .answer = "#CertificateState", .arguments = {CERTIFICATE_ID, REASON}),
	CHANGE(POST, "/certificates/{id}/extend", "extend_certificate", 200, .tag = "certificates", .summary = "Set a new end of validity",
		   .answer = "#Extended", .arguments = {CERTIFICATE_ID, BODY("valid_until", ARGUMENT_TIME, "still to come")}),
	CHANGE(POST, "/certificates/{id}/replace", "replace_certificate", 201, .tag = "certificates",
		   .summary = "Give the money of a lost certificate to a new one", .answer = "#Replaced", .arguments = {CERTIFICATE_ID, REASON}),
	CHANGE(POST, "/certificates/{id}/refund-purchase", "refund_purchase", 200, .tag = "certificates",
		   .summary = "End a certificate whose buyer gets the money back", .answer = "#CertificateState", .arguments = {CERTIFICATE_ID, REASON}),
	CHANGE(POST, "/certificates/{id}/void-purchase", "void_purchase", 200, .tag = "certificates",
		   .summary = "End a certificate whose purchase was cancelled", .answer = "#CertificateState", .arguments = {CERTIFICATE_ID, REASON}),
	CHANGE(POST, "/orders/{order_ref}/retry", "retry_order", 200, .tag = "certificates", .summary = "Look at an order again", .answer = "#OrderState",
		   .arguments = {PATH("order_ref", ARGUMENT_TEXT, "the order")}),
	API(GET, "/pools", "pools", .tag = "certificates", .summary = "Pools by code", .answer = "#PoolPage", .arguments = {PAGE(ARGUMENT_TEXT)}),
	API(GET, "/pools/{pool}", "pool", .tag = "certificates", .summary = "A pool and the numbers of its certificates", .answer = "#Pool",
		.arguments = {POOL}),
	CHANGE(POST, "/pools", "create_pool", 201, .tag = "certificates", .summary = "Make an empty pool", .answer = "#PoolItem",
		   .arguments = {BODY("code", ARGUMENT_TEXT, "its name within the organization"), BODY("currency", ARGUMENT_TEXT, "ISO 4217"),
		   BODY("face_value_minor", ARGUMENT_INT, "minor units"), BODY_OPTIONAL("validity_months", ARGUMENT_INT4, "from issue on, 12 if left out"),
		   BODY_OPTIONAL("low_water", ARGUMENT_INT, "pool.low is told when so few are left"),
		   BODY_OPTIONAL("hold_s", ARGUMENT_INT4, "seconds that a reservation lasts unless the caller says, 1800 if left out"),
		   BODY_OPTIONAL("requires_activation", ARGUMENT_BOOL, "issued certificates are activated separately"),
		   BODY_OPTIONAL("destroy_cvc_after_delivery", ARGUMENT_BOOL, "the CVC goes when it was delivered"),
		   BODY_OPTIONAL("cvc_digits", ARGUMENT_INT4, "of generated CVCs, 3 to 6"),
		   BODY_OPTIONAL("code_format", ARGUMENT_TEXT, "of imported codes: any, or checked")}),
	CHANGE(POST, "/pools/{pool}/pause", "pause_pool", 200, .tag = "certificates", .summary = "Stop reservations from a pool", .answer = "#PoolItem",
		   .arguments = {POOL}),
	CHANGE(POST, "/pools/{pool}/resume", "resume_pool", 200, .tag = "certificates", .summary = "Open a paused pool again", .answer = "#PoolItem",
		   .arguments = {POOL}),
	CHANGE(POST, "/pools/{pool}/close", "close_pool", 200, .tag = "certificates", .summary = "Close a pool for good", .answer = "#PoolItem",
		   .arguments = {POOL}),
	CHANGE(POST, "/pools/{pool}/generate", "generate_codes", 200, .tag = "certificates", .summary = "Make codes for a pool", .answer = "#Imported",
		   .arguments = {POOL, BODY("count", ARGUMENT_INT4, "how many")}),
	CHANGE(POST, "/pools/{pool}/import", "import_codes", 200, .tag = "certificates", .summary = "Put codes made elsewhere into a pool, all or none",
		   .answer = "#Imported",
		   .arguments = {POOL, BODY("codes", ARGUMENT_TEXTS, "4 to 64 letters and digits each"),
		   BODY_OPTIONAL("cvcs", ARGUMENT_TEXTS, "3 to 8 digits each, in the same order; left out: random ones")}),

	API(GET, "/members", "members", .tag = "administration", .summary = "Members of the organization", .answer = "#MemberPage",
		.arguments = {PAGE(ARGUMENT_UUID)}),
	CHANGE(DELETE, "/members/{user_id}", "remove_member", 200, .tag = "administration", .summary = "End a membership with all its roles",
		   .answer = "#MemberRemoved", .arguments = {PATH("user_id", ARGUMENT_UUID, "the member")}),
	CHANGE(PUT, "/members/{user_id}/roles/{role}", "grant_role", 200, .tag = "administration", .summary = "Give a member a role", .answer = "#Grant",
		   .arguments = {PATH("user_id", ARGUMENT_UUID, "the member"), PATH("role", ARGUMENT_TEXT, "the role"),
		   BODY_OPTIONAL("valid_until", ARGUMENT_TIME, "until when; left out: until revoked")}),
	CHANGE(DELETE, "/members/{user_id}/roles/{role}", "revoke_role", 200, .tag = "administration", .summary = "Take a role away", .answer = "#Revoked",
		   .arguments = {PATH("user_id", ARGUMENT_UUID, "the member"), PATH("role", ARGUMENT_TEXT, "the role")}),
	CHANGE(POST, "/invitations", "invite_member", 201, .tag = "administration", .summary = "Ask somebody to join the organization",
		   .answer = "#Invitation",
		   .arguments = {BODY("email", ARGUMENT_TEXT, "the person's address"), BODY_OPTIONAL("role", ARGUMENT_TEXT, "member, if left out")}),
	API(GET, "/invitations", "invitations", .tag = "administration", .summary = "Invitations that nobody has accepted", .answer = "#InvitationPage",
		.arguments = {PAGE(ARGUMENT_UUID)}),
	CHANGE(DELETE, "/invitations/{id}", "withdraw_invitation", 200, .tag = "administration", .summary = "Take an invitation back",
		   .answer = "#InvitationWithdrawn", .arguments = {PATH("id", ARGUMENT_UUID, "the invitation")}),
	API(GET, "/roles", "roles", .tag = "administration", .summary = "Roles of the organization", .answer = "#RolePage",
		.arguments = {PAGE(ARGUMENT_TEXT)}),
	CHANGE(PUT, "/roles/{name}", "define_role", 200, .tag = "administration", .summary = "Make or redefine a role", .answer = "#Role",
		   .arguments = {PATH("name", ARGUMENT_TEXT, "its name"), BODY("permissions", ARGUMENT_TEXTS, "names, context.* or *"),
		   BODY_OPTIONAL("inherits", ARGUMENT_TEXTS, "roles whose permissions it has too")}),
	API(GET, "/permissions", "permissions", .tag = "administration", .summary = "Every permission that a role can have", .answer = "#PermissionPage"),

	PUBLIC(POST, "/auth/login", "login", 200, .tag = "auth", .summary = "Log in by password", .answer = "#Tokens",
		   .arguments = {BODY("email", ARGUMENT_TEXT, "the user's address"), BODY("password", ARGUMENT_TEXT, "the password"),
		   BODY_OPTIONAL("organization_id", ARGUMENT_UUID, "for which the tokens are; left out: the first the user belongs to"),
		   BODY_OPTIONAL("device_info", ARGUMENT_OBJECT, "what the user will recognize the device by; at most 4 kB")}),
	PUBLIC(POST, "/auth/refresh", "refresh", 200, .tag = "auth", .summary = "Trade a refresh token for the next one and a new access token",
		   .answer = "#Tokens", .arguments = {BODY("refresh_token", ARGUMENT_TEXT, "the last one")}),
	CHANGE(POST, "/auth/logout", "logout", 200, .tag = "auth", .summary = "End this session", .answer = "#Ended"),
	CHANGE(POST, "/auth/logout-all", "logout_all", 200, .tag = "auth", .summary = "End all of one's sessions", .answer = "#EndedCount"),
	API(GET, "/auth/me", "me", .tag = "auth", .summary = "Who acts, with roles and permissions", .answer = "#Me"),
	API(GET, "/auth/sessions", "sessions", .tag = "auth", .summary = "One's sessions that have not ended", .answer = "#SessionPage"),
	CHANGE(DELETE, "/auth/sessions/{id}", "end_session", 200, .tag = "auth", .summary = "End a session", .answer = "#SessionEnded",
		   .arguments = {PATH("id", ARGUMENT_UUID, "the session")}),
	SECRET("/auth/password", "change_password", .summary = "Change one's password; ends the other sessions", .answer = "{\"type\":\"object\"}",
		   .arguments = {BODY("old_password", ARGUMENT_TEXT, "the one until now"), BODY("new_password", ARGUMENT_TEXT, "the one from now on")}),
	SECRET("/auth/mfa/enroll", "mfa_enroll", .summary = "Begin to enroll an authenticator", .answer = "#Factor",
		   .arguments = {BODY_OPTIONAL("label", ARGUMENT_TEXT, "a name for it")}),
	SECRET("/auth/mfa/activate", "mfa_activate", .summary = "Activate an authenticator by its first code", .answer = "#Tokens",
		   .arguments = {BODY("factor_id", ARGUMENT_UUID, "the enrolled factor"), BODY("code", ARGUMENT_TEXT, "its code now")}),
	SECRET("/auth/mfa/verify", "mfa_verify", .summary = "Show a second factor; raises the session to aal2", .answer = "#Tokens",
		   .arguments = {BODY("code", ARGUMENT_TEXT, "a code, or a recovery code")}),
	SECRET("/auth/mfa/disable", "mfa_disable", .summary = "Remove an authenticator", .answer = "{\"type\":\"object\"}",
		   .arguments = {BODY("factor_id", ARGUMENT_UUID, "the factor"), BODY("code", ARGUMENT_TEXT, "of any active one, or a recovery code")}),
	SECRET("/auth/mfa/recovery-codes", "mfa_recovery_codes", .summary = "New recovery codes in the place of the old ones", .answer = "#RecoveryCodes",
		   .arguments = {BODY("code", ARGUMENT_TEXT, "a code, or a recovery code")}),
	API(GET, "/auth/invitations", "my_invitations", .tag = "auth", .summary = "Invitations to one's own address", .answer = "#MyInvitationPage"),
	CHANGE(POST, "/auth/invitations/{id}/accept", "accept_invitation", 200, .tag = "auth", .summary = "Join the organization that asks",
		   .answer = "#InvitationAccepted", .arguments = {PATH("id", ARGUMENT_UUID, "the invitation")}),

	RPC(GET), RPC(POST), RPC(OPTIONS), RPC(PUT), RPC(PATCH), RPC(DELETE),

	{METHOD_GET, "/auth/oidc/callback", .handler = oidc_callback, .auth = AUTH_NONE, .rate = RATE_AUTH, .status = 200, .tag = "auth",
	.summary = "Where an OpenID provider sends the browser back to", .answer = "#Tokens",
	.arguments = {QUERY("state", ARGUMENT_TEXT, "of the log-in"), QUERY("code", ARGUMENT_TEXT, "the provider's"), QUERY("error", ARGUMENT_TEXT, "why there is none")}},
	{METHOD_POST, "/auth/oidc/backchannel-logout", .handler = oidc_logout, .auth = AUTH_NONE, .rate = RATE_AUTH, .status = 200, .tag = "auth",
	.summary = "An OpenID provider tells that somebody logged out there", .answer = "{\"type\":\"object\"}",
	.arguments = {{"logout_token", FROM_FORM, ARGUMENT_TEXT, true, "the provider's"}}},
	{METHOD_GET, "/auth/oidc/{issuer}/login", .handler = oidc_login, .auth = AUTH_NONE, .rate = RATE_AUTH, .status = 302, .tag = "auth",
	.summary = "Send the browser to an OpenID provider to log in",
	.arguments = {PATH("issuer", ARGUMENT_TEXT, "its URL, percent-encoded"), QUERY("organization_id", ARGUMENT_UUID, "for which the user wants to act")}},
	{METHOD_GET, "/.well-known/jwks.json", .function = "jwks", .handler = route_call, .auth = AUTH_NONE, .rate = RATE_READ, .status = 200,
	.tag = "auth", .summary = "Public keys of access tokens (RFC 7517)", .answer = "#Jwks"},

	API(GET, "/teams", "teams", .tag = "administration", .summary = "Teams and who is in them", .answer = "#TeamPage",
		.arguments = {PAGE(ARGUMENT_UUID)}),
	CHANGE(POST, "/teams", "create_team", 201, .tag = "administration", .summary = "Make a team", .answer = "#Team",
		   .arguments = {BODY("name", ARGUMENT_TEXT, "unique in the organization")}),
	CHANGE(PUT, "/teams/{id}", "rename_team", 200, .tag = "administration", .summary = "Give a team another name", .answer = "#Team",
		   .arguments = {PATH("id", ARGUMENT_UUID, "the team"), BODY("name", ARGUMENT_TEXT, "unique in the organization")}),
	CHANGE(DELETE, "/teams/{id}", "delete_team", 200, .tag = "administration", .summary = "Delete a team; its members stay", .answer = "#TeamDeleted",
		   .arguments = {PATH("id", ARGUMENT_UUID, "the team")}),
	CHANGE(PUT, "/teams/{team_id}/members/{user_id}", "add_team_member", 200, .tag = "administration", .summary = "Put a member into a team",
		   .answer = "#TeamMember", .arguments = {PATH("team_id", ARGUMENT_UUID, "the team"), PATH("user_id", ARGUMENT_UUID, "the member")}),
	CHANGE(DELETE, "/teams/{team_id}/members/{user_id}", "remove_team_member", 200, .tag = "administration", .summary = "Take a user out of a team",
		   .answer = "#TeamMember", .arguments = {PATH("team_id", ARGUMENT_UUID, "the team"), PATH("user_id", ARGUMENT_UUID, "the user")}),
	API(GET, "/organizations", "organizations", .tag = "platform", .summary = "Every organization, for platform administrators",
		.answer = "#OrganizationPage", .arguments = {PAGE(ARGUMENT_UUID)}),
	CHANGE(POST, "/organizations", "create_organization", 201, .tag = "platform", .summary = "Make an organization", .answer = "#Organization",
		   .arguments = {BODY("name", ARGUMENT_TEXT, "for people"), BODY_OPTIONAL("owner_id", ARGUMENT_UUID, "a user who becomes its owner")}),
	CHANGE(PUT, "/organizations/{id}/state", "set_organization_state", 200, .tag = "platform", .summary = "Suspend an organization, or take it back",
		   .answer = "#OrganizationState",
		   .arguments = {PATH("id", ARGUMENT_UUID, "the organization"), BODY("state", ARGUMENT_TEXT, "active or suspended")}),
	CHANGE(POST, "/api-keys", "create_api_key", 201, .tag = "administration", .summary = "Make a key for a machine", .answer = "#ApiKeyMade",
		   .arguments = {BODY("name", ARGUMENT_TEXT, "for people"), BODY("scopes", ARGUMENT_TEXTS, "permissions, context.* or *"),
		   BODY_OPTIONAL("expires_at", ARGUMENT_TIME, "left out: never")}),
	API(GET, "/api-keys", "api_keys", .tag = "administration", .summary = "API keys, revoked ones too", .answer = "#ApiKeyPage",
		.arguments = {PAGE(ARGUMENT_UUID)}),
	CHANGE(DELETE, "/api-keys/{id}", "revoke_api_key", 200, .tag = "administration", .summary = "End an API key", .answer = "#ApiKeyRevoked",
		   .arguments = {PATH("id", ARGUMENT_UUID, "the key")}),
	API(GET, "/audit", "audit", .tag = "administration", .summary = "What happened to users and rights, the newest first", .answer = "#AuditPage",
		.arguments = {PAGE(ARGUMENT_UUID)}),

	{METHOD_GET, "/events", .handler = events_open, .auth = AUTH_OPTIONAL, .rate = RATE_STREAM, .status = 200, .tag = "events",
		.summary = "Events as they happen, as Server-Sent Events", .arguments = {LISTEN}},
	{METHOD_GET, "/ws", .handler = events_open, .auth = AUTH_OPTIONAL, .rate = RATE_STREAM, .status = 101, .tag = "events",
		.summary = "The same as a WebSocket", .arguments = {LISTEN}},
	{METHOD_POST, "/events/tickets", .handler = events_ticket, .auth = AUTH_TOKEN, .rate = RATE_STREAM, .status = 201, .tag = "events",
		.summary = "A ticket for one stream, for browsers", .answer = "#Ticket"},
	API(GET, "/events/topics", "event_topics", .tag = "events", .summary = "Topics that one may listen to", .answer = "#TopicPage"),
};

const int	route_count = sizeof(routes) / sizeof(routes[0]);
