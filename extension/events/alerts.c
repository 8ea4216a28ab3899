/*
 * alerts.c
 *		The kernel's own events.
 */
#include "events/alerts.h"

#include "core/json_out.h"
#include "events/events.h"
#include "events/topics.h"

#define REASON_MAX_BYTES 2000

char *
clipped_reason(const char *reason)
{
	return reason ? bo_clipped(reason, REASON_MAX_BYTES) : NULL;
}

void
alert_emit(const char *type, const char *key, const pg_uuid_t *organization,...)
{
	JsonOut		json;
	BoUser		saved;
	va_list		pairs;
	const char *name;

	json_begin(&json);
	va_start(pairs, organization);
	while ((name = va_arg(pairs, const char *)) != NULL)
		json_text(&json, name, va_arg(pairs, const char *));
	va_end(pairs);

	saved = bo_user_kernel();
	(void) events_emit(TOPIC_ALERTS, key, type, json_end(&json), NULL, organization, NULL);
	bo_user_restore(saved);
}
