#include "gateway/events_filter.h"

#include <stdlib.h>
#include <string.h>

char *
filter_list(const char *text, size_t max, int *count)
{
	char	   *list = strdup(text);
	char	   *item = list;

	*count = 0;
	while (item != NULL)
	{
		size_t		len = strcspn(item, ",");
		bool		last = item[len] == '\0';

		if (len == 0 || len > max || ++*count > FILTER_MAX_ITEMS)
		{
			free(list);
			return NULL;
		}
		item[len] = '\0';
		item = last ? NULL : item + len + 1;
	}
	return list;
}

bool
filter_has(const char *list, int count, const char *text, size_t len)
{
	for (int i = 0; i < count; i++)
	{
		size_t		item = strlen(list);

		if (item == len && memcmp(list, text, len) == 0)
			return true;
		list += item + 1;
	}
	return false;
}

static bool
type_wanted(const Filter *filter, const Bytes *type)
{
	const char *wanted = filter->types;

	for (int i = 0; i < filter->type_count; i++)
	{
		size_t		len = strlen(wanted);
		bool		prefix = wanted[len - 1] == '*';

		if (prefix ? type->len >= len - 1 && memcmp(type->data, wanted, len - 1) == 0 :
			type->len == len && memcmp(type->data, wanted, len) == 0)
			return true;
		wanted += len + 1;
	}
	return false;
}

bool
filter_matches(const Filter *filter, const Event *event)
{
	if (filter == NULL)
		return true;
	if (filter->topics != NULL && !filter_has(filter->topics, filter->topic_count, event->topic.data, event->topic.len))
		return false;
	if (filter->types != NULL && !type_wanted(filter, &event->type))
		return false;
	return filter->key == NULL ||
		(event->key.data != NULL && strlen(filter->key) == event->key.len && memcmp(filter->key, event->key.data, event->key.len) == 0);
}

void
filter_free(Filter *filter)
{
	if (filter == NULL)
		return;
	free(filter->topics);
	free(filter->types);
	free(filter->key);
	free(filter);
}
