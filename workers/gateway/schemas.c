#include "gateway/schemas.h"

#define T(type) "{\"type\":" type "}"
#define UUID "{\"type\":\"string\",\"format\":\"uuid\"}"
#define UUID_OR_NULL "{\"type\":[\"string\",\"null\"],\"format\":\"uuid\"}"
#define TEXT T("\"string\"")
#define TEXT_OR_NULL T("[\"string\",\"null\"]")
#define INT T("\"integer\"")
#define INT_OR_NULL T("[\"integer\",\"null\"]")
#define BOOLEAN T("\"boolean\"")
#define TIME "{\"type\":\"string\",\"format\":\"date-time\"}"
#define TIME_OR_NULL "{\"type\":[\"string\",\"null\"],\"format\":\"date-time\"}"
#define CURRENCY "{\"type\":\"string\",\"pattern\":\"^[A-Z]{3}$\"}"
#define LIST(items) "{\"type\":\"array\",\"items\":" items "}"

/* An object: its members, and the names of those that are always there. */
#define OBJECT(required, members) "{\"type\":\"object\",\"required\":[" required "],\"properties\":{" members "}}"
#define M(name, schema) "\"" name "\":" schema
#define PAGE_OF(item) OBJECT("\"items\",\"next\"", M("items", LIST(item)) "," M("next", TEXT_OR_NULL))

#define KEY "{\"type\":\"object\",\"required\":[\"kty\",\"kid\"],\"properties\":{\"kty\":" TEXT ",\"kid\":" TEXT ",\"alg\":" TEXT "}}"
/* Whose tokens they are. */
#define ORGANIZATION "{\"type\":\"object\",\"required\":[\"id\",\"name\"],\"properties\":{\"id\":" UUID ",\"name\":" TEXT "}}"
#define USER "{\"type\":\"object\",\"required\":[\"id\",\"email\"],\"properties\":{\"id\":" UUID ",\"email\":" TEXT_OR_NULL \
	",\"organization_id\":" UUID_OR_NULL ",\"organizations\":" LIST(ORGANIZATION) "}}"

const Schema schemas[] = {
	{"Problem", OBJECT("\"type\",\"title\",\"status\",\"code\"",
					   M("type", "{\"type\":\"string\",\"format\":\"uri-reference\"}") "," M("title", TEXT) "," M("status", INT) ","
					   M("code", "{\"type\":\"string\",\"description\":\"symbolic, never renamed\"}") "," M("detail", TEXT) ","
					   M("explanation", TEXT) "," M("hint", TEXT) "," M("request_id", TEXT))},
	{"Live", OBJECT("\"status\"", M("status", "{\"const\":\"ok\"}"))},
	{"Ready", OBJECT("\"status\",\"database\"", M("status", TEXT) "," M("connections", INT) "," M("in_flight", INT) "," M("waiting", INT) ","
					 M("database", T("[\"object\",\"null\"]")))},

	{"Tokens", OBJECT("\"access_token\",\"token_type\",\"expires_in\",\"refresh_token\",\"session_id\",\"aal\",\"user\"",
					  M("access_token", TEXT) "," M("token_type", TEXT) "," M("expires_in", INT) "," M("refresh_token", TEXT) ","
					  M("session_id", UUID) "," M("aal", TEXT) "," M("mfa", T("\"object\"")) "," M("recovery_codes", LIST(TEXT)) ","
					  M("user", USER))},
	{"Ended", OBJECT("\"ended\"", M("ended", BOOLEAN))},
	{"EndedCount", OBJECT("\"ended\"", M("ended", INT))},
	{"Me", OBJECT("\"user\"", M("user", T("\"object\"")) "," M("organization", T("[\"object\",\"null\"]")) "," M("permissions", LIST(TEXT)))},
	{"SessionPage", PAGE_OF(OBJECT("\"id\",\"current\",\"aal\"",
								   M("id", UUID) "," M("current", BOOLEAN) "," M("organization_id", UUID_OR_NULL) ","
								   M("device_info", T("[\"object\",\"null\"]")) "," M("ip", TEXT_OR_NULL) "," M("user_agent", TEXT_OR_NULL) ","
								   M("aal", TEXT) "," M("amr", LIST(TEXT)) "," M("created_at", TIME) "," M("authenticated_at", TIME) ","
								   M("last_seen_at", TIME) "," M("expires_at", TIME)))},
	{"SessionEnded", OBJECT("\"id\",\"ended\"", M("id", UUID) "," M("ended", BOOLEAN))},
	{"Factor", OBJECT("\"factor_id\",\"secret\",\"otpauth_uri\"", M("factor_id", UUID) "," M("secret", TEXT) "," M("otpauth_uri", TEXT))},
	{"RecoveryCodes", OBJECT("\"recovery_codes\"", M("recovery_codes", LIST(TEXT)))},
	{"Jwks", OBJECT("\"keys\"", M("keys", LIST(KEY)))},
	{"ApiKeyMade", OBJECT("\"id\",\"key\"", M("id", UUID) "," M("key", TEXT))},
	{"ApiKeyPage", PAGE_OF(OBJECT("\"id\",\"name\",\"scopes\",\"state\"",
								  M("id", UUID) "," M("name", TEXT) "," M("user_id", UUID_OR_NULL) "," M("scopes", LIST(TEXT)) "," M("state", TEXT) ","
								  M("created_by", UUID_OR_NULL) "," M("created_at", TIME) "," M("expires_at", TIME_OR_NULL) ","
								  M("last_used_at", TIME_OR_NULL)))},
	{"ApiKeyRevoked", OBJECT("\"id\",\"revoked\"", M("id", UUID) "," M("revoked", BOOLEAN))},
	{"AuditPage", PAGE_OF(OBJECT("\"id\",\"type\",\"occurred_at\",\"data\"",
								 M("id", UUID) "," M("type", TEXT) "," M("occurred_at", TIME) "," M("data", T("\"object\""))))},

	{"Reservation", OBJECT("\"id\",\"state\",\"pool\",\"face_value_minor\",\"currency\",\"hold_until\"",
						   M("id", UUID) "," M("state", TEXT) "," M("pool", TEXT) "," M("face_value_minor", INT) "," M("currency", CURRENCY) ","
						   M("hold_until", TIME))},
	{"Check", OBJECT("\"valid\",\"id\"", M("valid", BOOLEAN) "," M("id", UUID_OR_NULL))},
	{"Certificate", OBJECT("\"id\",\"pool\",\"state\",\"currency\",\"face_value_minor\",\"balance_minor\",\"held_minor\",\"available_minor\",\"version\"",
						   M("id", UUID) "," M("pool", TEXT) "," M("state", TEXT) "," M("currency", CURRENCY) "," M("face_value_minor", INT) ","
						   M("balance_minor", INT) "," M("held_minor", INT) "," M("available_minor", INT) "," M("code_last4", TEXT_OR_NULL) ","
						   M("channel", TEXT_OR_NULL) "," M("order_ref", TEXT_OR_NULL) "," M("client_ref", TEXT_OR_NULL) "," M("version", INT) ","
						   M("created_at", TIME) "," M("hold_until", TIME_OR_NULL) "," M("issued_at", TIME_OR_NULL) ","
						   M("activated_at", TIME_OR_NULL) "," M("valid_until", TIME_OR_NULL) "," M("replaced_by", UUID_OR_NULL))},
	{"Cvc", OBJECT("\"id\",\"cvc\"", M("id", UUID) "," M("cvc", TEXT))},
	{"Code", OBJECT("\"id\",\"code\"", M("id", UUID) "," M("code", TEXT))},
	{"Extended", OBJECT("\"id\",\"state\",\"valid_until\"", M("id", UUID) "," M("state", TEXT) "," M("valid_until", TIME))},
	{"Replaced", OBJECT("\"id\",\"state\",\"replaced_by\"", M("id", UUID) "," M("state", TEXT) "," M("replaced_by", UUID))},
	{"OrderState", OBJECT("\"order_ref\",\"state\"", M("order_ref", TEXT) "," M("state", TEXT))},
	{"Imported", OBJECT("\"pool\",\"imported\"", M("pool", TEXT) "," M("imported", INT))},
	{"Redemption", OBJECT("\"id\",\"certificate_id\",\"state\",\"amount_minor\",\"captured_minor\",\"refunded_minor\",\"currency\",\"available_minor\"",
						  M("id", UUID) "," M("certificate_id", UUID) "," M("state", TEXT) "," M("amount_minor", INT) "," M("captured_minor", INT) ","
						  M("refunded_minor", INT) "," M("currency", CURRENCY) "," M("channel", TEXT_OR_NULL) "," M("order_ref", TEXT_OR_NULL) ","
						  M("available_minor", INT) "," M("created_at", TIME) "," M("hold_until", TIME_OR_NULL) "," M("captured_at", TIME_OR_NULL))},
	{"Notification", OBJECT("\"id\",\"status\"", M("id", UUID) "," M("status", TEXT))},
	{"CertificateState", OBJECT("\"id\",\"state\"", M("id", UUID) "," M("state", TEXT) "," M("blocked_from", TEXT))},
	{"Issued", OBJECT("\"id\",\"state\",\"code\",\"face_value_minor\",\"balance_minor\",\"currency\"",
					  M("id", UUID) "," M("state", TEXT) "," M("code", TEXT) "," M("face_value_minor", INT) "," M("balance_minor", INT) ","
					  M("currency", CURRENCY) "," M("valid_until", TIME_OR_NULL))},
	{"Movement", OBJECT("\"id\",\"certificate_id\",\"kind\",\"state\",\"amount_minor\",\"balance_minor\",\"available_minor\",\"currency\"",
						M("id", UUID) "," M("certificate_id", UUID) "," M("kind", TEXT) "," M("state", TEXT) "," M("amount_minor", INT) ","
						M("balance_minor", INT) "," M("available_minor", INT) "," M("currency", CURRENCY))},
	{"PoolItem", OBJECT("\"id\",\"code\",\"state\",\"currency\",\"face_value_minor\"",
						M("id", UUID) "," M("code", TEXT) "," M("state", TEXT) "," M("currency", CURRENCY) "," M("face_value_minor", INT) ","
						M("low_water", INT_OR_NULL) "," M("created_at", TIME))},
	{"PoolPage", PAGE_OF("{\"$ref\":\"#/components/schemas/PoolItem\"}")},
	{"Pool", OBJECT("\"id\",\"code\",\"state\",\"currency\",\"face_value_minor\",\"created\",\"available\",\"reserved\",\"issued\",\"terminal\",\"outstanding_minor\"",
					M("id", UUID) "," M("code", TEXT) "," M("state", TEXT) "," M("currency", CURRENCY) "," M("face_value_minor", INT) ","
					M("low_water", INT_OR_NULL) "," M("created_at", TIME) "," M("created", INT) "," M("available", INT) "," M("reserved", INT) ","
					M("issued", INT) "," M("terminal", INT) "," M("outstanding_minor", INT))},

	{"Team", OBJECT("\"id\",\"name\"", M("id", UUID) "," M("name", TEXT))},
	{"TeamPage", PAGE_OF(OBJECT("\"id\",\"name\",\"members\"", M("id", UUID) "," M("name", TEXT) "," M("members", LIST(UUID)) "," M("created_at", TIME)))},
	{"TeamDeleted", OBJECT("\"id\",\"deleted\"", M("id", UUID) "," M("deleted", BOOLEAN))},
	{"TeamMember", OBJECT("\"team_id\",\"user_id\"", M("team_id", UUID) "," M("user_id", UUID) "," M("removed", BOOLEAN))},
	{"Organization", OBJECT("\"id\",\"name\"", M("id", UUID) "," M("name", TEXT))},
	{"OrganizationPage", PAGE_OF(OBJECT("\"id\",\"name\",\"state\"", M("id", UUID) "," M("name", TEXT) "," M("state", TEXT) "," M("created_at", TIME)))},
	{"OrganizationState", OBJECT("\"id\",\"state\"", M("id", UUID) "," M("state", TEXT))},
	{"MemberPage", PAGE_OF(OBJECT("\"user_id\",\"email\",\"state\",\"roles\"",
								  M("user_id", UUID) "," M("email", TEXT) "," M("state", TEXT) "," M("user_state", TEXT) ","
								  M("roles", LIST(TEXT)) "," M("created_at", TIME)))},
	{"MemberRemoved", OBJECT("\"user_id\",\"removed\"", M("user_id", UUID) "," M("removed", BOOLEAN))},
	{"Grant", OBJECT("\"user_id\",\"role\",\"valid_until\"", M("user_id", UUID) "," M("role", TEXT) "," M("valid_until", TIME_OR_NULL))},
	{"Revoked", OBJECT("\"user_id\",\"role\",\"revoked\"", M("user_id", UUID) "," M("role", TEXT) "," M("revoked", BOOLEAN))},
	{"Invitation", OBJECT("\"id\",\"email\",\"role\"", M("id", UUID) "," M("email", TEXT) "," M("role", TEXT))},
	{"InvitationPage", PAGE_OF(OBJECT("\"id\",\"email\",\"role\"",
									  M("id", UUID) "," M("email", TEXT) "," M("role", TEXT) "," M("invited_by", UUID_OR_NULL) ","
									  M("created_at", TIME) "," M("expires_at", TIME_OR_NULL)))},
	{"InvitationWithdrawn", OBJECT("\"id\",\"withdrawn\"", M("id", UUID) "," M("withdrawn", BOOLEAN))},
	{"MyInvitationPage", PAGE_OF(OBJECT("\"id\",\"organization_id\",\"organization\",\"role\"",
										M("id", UUID) "," M("organization_id", UUID) "," M("organization", TEXT) "," M("role", TEXT) ","
										M("created_at", TIME) "," M("expires_at", TIME_OR_NULL)))},
	{"InvitationAccepted", OBJECT("\"organization_id\"", M("organization_id", UUID))},
	{"Role", OBJECT("\"name\",\"permissions\",\"inherits\"",
					M("name", TEXT) "," M("permissions", LIST(TEXT)) "," M("inherits", LIST(TEXT)) "," M("created_at", TIME))},
	{"RolePage", PAGE_OF("{\"$ref\":\"#/components/schemas/Role\"}")},
	{"PermissionPage", PAGE_OF(OBJECT("\"name\"", M("name", TEXT) "," M("description", TEXT_OR_NULL)))},
	{"Ticket", OBJECT("\"ticket\",\"expires_in\"", M("ticket", TEXT) "," M("expires_in", INT))},
	{"TopicPage", PAGE_OF(OBJECT("\"topic\"", M("topic", TEXT) "," M("description", TEXT_OR_NULL)))},
};

const int	schema_count = sizeof(schemas) / sizeof(schemas[0]);
