/*
 * alerts.c
 *		The kernel's own events.
 */
#include "events/alerts.h"

#include "events/events.h"
#include "events/topics.h"
#include "utils/jsonb.h"

static void
push_text(JsonbParseState **state, JsonbIteratorToken token, const char *text)
{
	JsonbValue	value = {.type = jbvString};

	value.val.string.val = (char *) text;
	value.val.string.len = strlen(text);
	(void) pushJsonbValue(state, token, &value);
}

void
alert_emit(const char *type, const char *key, const pg_uuid_t *organization,...)
{
	JsonbParseState *state = NULL;
	JsonbValue *object;
	BoUser		saved;
	va_list		pairs;
	const char *name;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	va_start(pairs, organization);
	while ((name = va_arg(pairs, const char *)) != NULL)
	{
		const char *value = va_arg(pairs, const char *);

		if (value == NULL)
			continue;
		push_text(&state, WJB_KEY, name);
		push_text(&state, WJB_VALUE, value);
	}
	va_end(pairs);
	object = pushJsonbValue(&state, WJB_END_OBJECT, NULL);

	saved = bo_user_kernel();
	(void) events_emit(TOPIC_ALERTS, key, type, JsonbValueToJsonb(object), NULL, organization, NULL);
	bo_user_restore(saved);
}
