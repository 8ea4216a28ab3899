/*
 * audit.c
 *		Who changed whose rights: events on the topic access.audit.
 */
#include "access/access_internal.h"

#include "catalog/pg_type.h"
#include "core/spi.h"
#include "events/events.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define TOPIC "access.audit"

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
