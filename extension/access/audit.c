/*
 * audit.c
 *		What matters to security (topic access.audit), and what others want to
 *		know of users and teams (access.users, access.teams).
 *
 * Payloads hold ids, names and reasons: never a password, token, code or seed.
 */
#include "access/sessions.h"

#include "catalog/pg_type.h"
#include "core/spi.h"
#include "events/events.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define TOPIC "access.audit"
#define USERS_TOPIC "access.users"
#define TEAMS_TOPIC "access.teams"

static char *
uuid_or_null(const pg_uuid_t *uuid)
{
	return uuid ? bo_uuid_text(uuid) : NULL;
}

/*
 * The key is the user, or the role's name for what concerns a role itself.
 * The row has been written and with it locked, so that events of one key come
 * in the order of their commits.
 */
void
audit(const pg_uuid_t *organization, const char *type, const RightsChange *change)
{
	static BoPlan plan = {
		"SELECT jsonb_strip_nulls(jsonb_build_object('role', $1, 'userId', $2, 'validUntil', $3, "
		"'permissions', to_jsonb($4), 'inherits', to_jsonb($5), 'by', $6))",
		6, {TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTARRAYOID, TEXTARRAYOID, TEXTOID}
	};
	char	   *user = uuid_or_null(change->user);
	const Principal *principal = principal_get();
	char	   *by = uuid_or_null(principal && principal->has_user ? &principal->user_id : NULL);
	char		nulls[] = "      ";
	Datum		args[6] = {0};
	bool		isnull;

	args[0] = CStringGetTextDatum(change->role);
	args[1] = user ? CStringGetTextDatum(user) : 0;
	args[2] = change->valid_until ? TimestampTzGetDatum(*change->valid_until) : 0;
	args[3] = change->permissions;
	args[4] = change->inherits;
	args[5] = by ? CStringGetTextDatum(by) : 0;
	nulls[1] = user ? ' ' : 'n';
	nulls[2] = change->valid_until ? ' ' : 'n';
	nulls[3] = change->permissions ? ' ' : 'n';
	nulls[4] = change->inherits ? ' ' : 'n';
	nulls[5] = by ? ' ' : 'n';

	bo_spi_run(&plan, args, nulls, 1);
	(void) events_emit(TOPIC, user ? user : change->role, type, DatumGetJsonbP(bo_spi_datum(0, 1, &isnull)),
					   NULL, organization, NULL);
}

/* Adds who did it. */
static Jsonb *
signed_by(JsonOut *json)
{
	const Principal *principal = principal_get();

	if (principal != NULL && principal->has_user)
		json_uuid(json, "by", &principal->user_id);
	return json_end(json);
}

/* organization NULL: the principal's, if it has one. */
static void
emit(const char *topic, const pg_uuid_t *organization, const char *key, const char *type, JsonOut *json)
{
	const Principal *principal = principal_get();

	if (organization == NULL && principal != NULL && !principal->without_organization)
		organization = &principal->organization_id;
	(void) events_emit(topic, key, type, signed_by(json), NULL, organization, NULL);
}

void
audit_emit(const pg_uuid_t *organization, const char *key, const char *type, JsonOut *json)
{
	emit(TOPIC, organization, key, type, json);
}

void
audit_about(const pg_uuid_t *organization, const char *type, const char *what, const pg_uuid_t *id, const char *name, const char *value)
{
	JsonOut		json;

	json_begin(&json);
	json_uuid(&json, what, id);
	if (value != NULL)
		json_text(&json, name, value);
	emit(TOPIC, organization, bo_uuid_text(id), type, &json);
}

void
audit_named(const char *type, const char *what, const char *name)
{
	JsonOut		json;

	json_begin(&json);
	json_text(&json, what, name);
	emit(TOPIC, &events_of_nobody, psprintf("%s:%s", what, name), type, &json);
}

void
user_emit(const pg_uuid_t *organization, const pg_uuid_t *user, const char *type, JsonOut *json)
{
	emit(USERS_TOPIC, organization, bo_uuid_text(user), type, json);
}

void
team_emit(const pg_uuid_t *organization, const pg_uuid_t *team, const char *type, JsonOut *json)
{
	emit(TEAMS_TOPIC, organization, bo_uuid_text(team), type, json);
}
