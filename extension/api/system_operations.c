/*
 * system_operations.c
 *		Health, and which topics one may listen to.
 */
#include "api/api.h"

ApiOperation api_system[] = {
	{"health", API_ANONYMOUS, 0, {
		"SELECT jsonb_build_object('status', CASE WHEN pg_is_in_recovery()"
		"           OR (SELECT count(DISTINCT worker) FROM backoffice.list_workers()"
		"               WHERE worker IN ('backoffice ticker', 'backoffice dispatcher', 'backoffice keeper')) = 3"
		"         THEN 'ok' ELSE 'degraded' END, 'version', backoffice.version())"
	}},
	{"event_topics", "events.read", 0, {
		"SELECT jsonb_build_object('items', coalesce(jsonb_agg(jsonb_build_object('topic', t.name, 'description', t.description)"
		"         ORDER BY t.name), '[]'), 'next', NULL)"
		" FROM events.topics t WHERE t.listen_permission IS NOT NULL AND access.can(t.listen_permission)"
	}},
	{NULL}
};
