/* Which route a path is. */
#include <string.h>

#include "gateway/routes.h"

/* Matches one path against one pattern; "{name}" takes one segment that is not empty. */
static bool
matches(const char *pattern, const char *path, Match *match)
{
	int			count = 0;

	while (*pattern != '\0')
	{
		if (*pattern == '{')
		{
			size_t		len = strcspn(path, "/");

			if (len == 0 || count == REQUEST_MAX_PARAMS)
				return false;
			match->params[count].text = path;
			match->params[count++].len = len;
			path += len;
			pattern = strchr(pattern, '}') + 1;
			continue;
		}
		if (*pattern != *path)
			return false;
		pattern++;
		path++;
	}
	match->param_count = count;
	return *path == '\0';
}

/* Whoever asks for the head only must change nothing; /rpc looks after itself. */
static bool
has_head(const Route *route)
{
	return route->method == METHOD_GET && (!route->writes || route->function == NULL);
}

MatchResult
route_match(const char *path, Method method, Match *match)
{
	Method		wanted = method == METHOD_HEAD ? METHOD_GET : method;
	const Route *found = NULL;

	memset(match, 0, sizeof(*match));
	/* The first pattern that fits is the path's: a fixed segment stands before {} in the table. */
	for (int i = 0; i < route_count; i++)
	{
		Match		try;

		memset(&try, 0, sizeof(try));
		if ((found != NULL || match->allowed != 0) && strcmp(routes[i].pattern, match->route->pattern) != 0)
			continue;
		if (!matches(routes[i].pattern, path, &try))
			continue;
		try.allowed = match->allowed | 1u << routes[i].method | (has_head(&routes[i]) ? 1u << METHOD_HEAD : 0);
		try.route = found != NULL ? found : &routes[i];
		*match = try;
		if (routes[i].method == wanted && (method != METHOD_HEAD || has_head(&routes[i])))
		{
			found = &routes[i];
			match->route = found;
		}
	}
	return match->allowed == 0 ? MATCH_NO_PATH : found != NULL ? MATCH_FOUND : MATCH_NO_METHOD;
}
