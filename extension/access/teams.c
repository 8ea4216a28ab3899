/*
 * teams.c
 *		Teams of an organization, and who is in them.
 */
#include "access/sessions.h"

#include "catalog/pg_type.h"
#include "core/spi.h"
#include "utils/builtins.h"

#define NAME_MAX_BYTES 100
#define MANAGE "access.manage_teams"

PG_FUNCTION_INFO_V1(access_create_team);
PG_FUNCTION_INFO_V1(access_rename_team);
PG_FUNCTION_INFO_V1(access_delete_team);
PG_FUNCTION_INFO_V1(access_add_team_member);
PG_FUNCTION_INFO_V1(access_remove_team_member);

static void
tell(const pg_uuid_t *organization, const char *type, const pg_uuid_t *team, const pg_uuid_t *user, const char *name)
{
	for (int i = 0; i < 2; i++)
	{
		JsonOut		json;

		json_begin(&json);
		json_uuid(&json, "teamId", team);
		json_uuid(&json, "userId", user);
		json_text(&json, "name", name);
		if (i == 0)
			team_emit(organization, team, type, &json);
		else
			audit_emit(organization, bo_uuid_text(team), type, &json);
	}
}

static char *
checked_name(FunctionCallInfo fcinfo, int n)
{
	char	   *name = required_text(fcinfo, n, "name");

	if (strspn(name, " \t\r\n") == strlen(name) || strlen(name) > NAME_MAX_BYTES)
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("a team's name cannot be blank, nor longer than %d bytes", NAME_MAX_BYTES),
				 bo_code("bad_team_name", "the name has %zu bytes", strlen(name)),
				 errhint("Give a name that people recognize.")));
	return name;
}

static void
refuse_name(const char *name)
{
	ereport(ERROR,
			(errcode(BO_CONFLICT),
			 errmsg("the organization has a team \"%s\"", name),
			 bo_code("team_name_taken", "upper and lower case are alike"),
			 errhint("Give another name.")));
}

static void
refuse_unknown(const pg_uuid_t *team)
{
	ereport(ERROR,
			(errcode(BO_NOT_FOUND),
			 errmsg("the organization has no team %s", bo_uuid_text(team)),
			 bo_code("unknown_team", "no team has this id"),
			 errhint("access.teams lists them.")));
}

/* create_team(name text, organization uuid) */
Datum
access_create_team(PG_FUNCTION_ARGS)
{
	static BoPlan plan = {
		"INSERT INTO access.teams (organization_id, id, name) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
		3, {UUIDOID, UUIDOID, TEXTOID}
	};
	char	   *name = checked_name(fcinfo, 0);
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));
	Datum		args[3];
	AdminCall	call;

	bo_uuid7(id);
	admin_begin(&call, optional_uuid(fcinfo, 1), MANAGE);
	args[0] = UUIDPGetDatum(&call.organization_id);
	args[1] = UUIDPGetDatum(id);
	args[2] = CStringGetTextDatum(name);
	if (bo_spi_run(&plan, args, NULL, 0) == 0)
		refuse_name(name);
	tell(&call.organization_id, "team.created", id, NULL, name);
	admin_end(&call);
	PG_RETURN_UUID_P(id);
}

/* rename_team(team uuid, name text, organization uuid) */
Datum
access_rename_team(PG_FUNCTION_ARGS)
{
	static BoPlan taken_plan = {
		"SELECT FROM access.teams WHERE organization_id = $1 AND id <> $2 AND lower(name) = lower($3)", 3, {UUIDOID, UUIDOID, TEXTOID}
	};
	static BoPlan plan = {
		"UPDATE access.teams SET name = $3 WHERE organization_id = $1 AND id = $2", 3, {UUIDOID, UUIDOID, TEXTOID}
	};
	const pg_uuid_t *team = required_uuid(fcinfo, 0, "team");
	char	   *name = checked_name(fcinfo, 1);
	Datum		args[3];
	AdminCall	call;

	admin_begin(&call, optional_uuid(fcinfo, 2), MANAGE);
	args[0] = UUIDPGetDatum(&call.organization_id);
	args[1] = UUIDPGetDatum(team);
	args[2] = CStringGetTextDatum(name);
	if (bo_spi_run(&taken_plan, args, NULL, 1) > 0)
		refuse_name(name);
	if (bo_spi_run(&plan, args, NULL, 0) == 0)
		refuse_unknown(team);
	tell(&call.organization_id, "team.updated", team, NULL, name);
	admin_end(&call);
	PG_RETURN_VOID();
}

/* delete_team(team uuid, organization uuid): false when there was none */
Datum
access_delete_team(PG_FUNCTION_ARGS)
{
	static BoPlan plan = {
		"DELETE FROM access.teams WHERE organization_id = $1 AND id = $2", 2, {UUIDOID, UUIDOID}
	};
	const pg_uuid_t *team = required_uuid(fcinfo, 0, "team");
	Datum		args[2];
	AdminCall	call;
	bool		found;

	admin_begin(&call, optional_uuid(fcinfo, 1), MANAGE);
	args[0] = UUIDPGetDatum(&call.organization_id);
	args[1] = UUIDPGetDatum(team);
	found = bo_spi_run(&plan, args, NULL, 0) > 0;
	if (found)
		tell(&call.organization_id, "team.deleted", team, NULL, NULL);
	admin_end(&call);
	PG_RETURN_BOOL(found);
}

/* ---- who is in them ---- */

/* Locks the membership, so that two who add the user to teams at once are counted one after the other. */
static void
check_number(const AdminCall *call, const pg_uuid_t *user)
{
	static BoPlan lock_plan = {
		"SELECT FROM access.memberships WHERE organization_id = $1 AND user_id = $2 FOR NO KEY UPDATE", 2, {UUIDOID, UUIDOID}
	};
	static BoPlan plan = {
		"SELECT count(*) FROM access.team_members WHERE organization_id = $1 AND user_id = $2", 2, {UUIDOID, UUIDOID}
	};
	Datum		args[2] = {UUIDPGetDatum(&call->organization_id), UUIDPGetDatum(user)};

	bo_spi_run(&lock_plan, args, NULL, 0);
	bo_spi_run(&plan, args, NULL, 1);
	if (bo_spi_int64(0, 1) >= PRINCIPAL_TEAMS)
		ereport(ERROR,
				(errcode(BO_CONFLICT),
				 errmsg("the user is in enough teams"),
				 bo_code("too_many_teams", "a user can be in %d teams of an organization", PRINCIPAL_TEAMS),
				 errhint("Grant the permission without :team to who has to see everything.")));
}

/* add_team_member(team uuid, user uuid, organization uuid) */
Datum
access_add_team_member(PG_FUNCTION_ARGS)
{
	static BoPlan team_plan = {
		"SELECT FROM access.teams WHERE organization_id = $1 AND id = $2 FOR KEY SHARE", 2, {UUIDOID, UUIDOID}
	};
	static BoPlan in_plan = {
		"SELECT FROM access.team_members WHERE organization_id = $1 AND team_id = $2 AND user_id = $3", 3, {UUIDOID, UUIDOID, UUIDOID}
	};
	static BoPlan plan = {
		"INSERT INTO access.team_members (organization_id, team_id, user_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
		3, {UUIDOID, UUIDOID, UUIDOID}
	};
	const pg_uuid_t *team = required_uuid(fcinfo, 0, "team");
	const pg_uuid_t *user = required_uuid(fcinfo, 1, "user");
	Datum		args[3];
	AdminCall	call;

	admin_begin(&call, optional_uuid(fcinfo, 2), MANAGE);
	args[0] = UUIDPGetDatum(&call.organization_id);
	args[1] = UUIDPGetDatum(team);
	args[2] = UUIDPGetDatum(user);
	if (bo_spi_run(&team_plan, args, NULL, 1) == 0)
		refuse_unknown(team);
	require_member(&call, user);
	if (bo_spi_run(&in_plan, args, NULL, 1) == 0)
	{
		check_number(&call, user);
		if (bo_spi_run(&plan, args, NULL, 0) > 0)
			tell(&call.organization_id, "team.member.added", team, user, NULL);
	}
	admin_end(&call);
	PG_RETURN_VOID();
}

/* remove_team_member(team uuid, user uuid, organization uuid): false when the user was not in it */
Datum
access_remove_team_member(PG_FUNCTION_ARGS)
{
	static BoPlan plan = {
		"DELETE FROM access.team_members WHERE organization_id = $1 AND team_id = $2 AND user_id = $3", 3, {UUIDOID, UUIDOID, UUIDOID}
	};
	const pg_uuid_t *team = required_uuid(fcinfo, 0, "team");
	const pg_uuid_t *user = required_uuid(fcinfo, 1, "user");
	Datum		args[3];
	AdminCall	call;
	bool		found;

	admin_begin(&call, optional_uuid(fcinfo, 2), MANAGE);
	args[0] = UUIDPGetDatum(&call.organization_id);
	args[1] = UUIDPGetDatum(team);
	args[2] = UUIDPGetDatum(user);
	found = bo_spi_run(&plan, args, NULL, 0) > 0;
	if (found)
		tell(&call.organization_id, "team.member.removed", team, user, NULL);
	admin_end(&call);
	PG_RETURN_BOOL(found);
}

void
teams_leave_all(const pg_uuid_t *organization, const pg_uuid_t *user)
{
	static BoPlan plan = {
		"DELETE FROM access.team_members WHERE organization_id = $1 AND user_id = $2 RETURNING team_id", 2, {UUIDOID, UUIDOID}
	};
	Datum		args[2] = {UUIDPGetDatum(organization), UUIDPGetDatum(user)};
	int			count = (int) bo_spi_run(&plan, args, NULL, 0);
	pg_uuid_t  *teams = palloc(Max(count, 1) * sizeof(pg_uuid_t));

	for (int i = 0; i < count; i++)
		teams[i] = bo_spi_uuid(i, 1);
	for (int i = 0; i < count; i++)
		tell(organization, "team.member.removed", &teams[i], user, NULL);
}
