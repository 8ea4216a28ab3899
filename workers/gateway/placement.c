#include "gateway/placement.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/pool_parts.h"
#include "gateway/text.h"
#include "lib/log.h"

#define MAX_PAYLOAD 16384

/* ---- the file ---- */

/* One line: false with why when it is wrong, true without organization when it is empty. */
static bool
parse_line(char *line, char *organization, char **dsn, const char **why)
{
	PQconninfoOption *options;
	size_t		len;

	line += strspn(line, " \t");
	line[strcspn(line, "\r\n")] = '\0';
	organization[0] = '\0';
	if (*line == '\0' || *line == '#')
		return true;
	len = strcspn(line, " \t");
	*why = "does not begin with an organization's UUID and a space";
	if (len != 36 || line[36] == '\0')
		return false;
	line[36] = '\0';
	if (!text_is_uuid(line))
		return false;
	memcpy(organization, line, 37);
	text_lower(organization);
	*dsn = line + 37 + strspn(line + 37, " \t");
	options = PQconninfoParse(*dsn, NULL);
	*why = "has no libpq connection string";
	if (options == NULL || **dsn == '\0')
	{
		PQconninfoFree(options);
		return false;
	}
	PQconninfoFree(options);
	log_secret_in_dsn(*dsn);
	return true;
}

/* Calls take() for each placement; complaints, which never show the DSN, go to err. */
static bool
read_file(const char *file, FILE *err, bool (*take) (void *context, const char *organization, const char *dsn), void *context)
{
	FILE	   *in = *file != '\0' ? fopen(file, "re") : NULL;
	char		line[4096];
	bool		good = true;

	if (*file == '\0')
		return true;
	if (in == NULL)
	{
		fprintf(err, "databases-file: %s: %s\n", file, strerror(errno));
		return false;
	}
	for (int number = 1; good && fgets(line, sizeof(line), in) != NULL; number++)
	{
		char		organization[37];
		char	   *dsn = NULL;
		const char *why = NULL;

		good = parse_line(line, organization, &dsn, &why);
		if (!good)
			fprintf(err, "databases-file: line %d %s\n", number, why);
		else if (organization[0] != '\0' && take != NULL && !take(context, organization, dsn))
		{
			fprintf(err, "databases-file: out of memory\n");
			good = false;
		}
	}
	fclose(in);
	return good;
}

bool
pools_check(const char *file, FILE *err)
{
	return read_file(file, err, NULL, NULL);
}

static bool
place(void *context, const char *organization, const char *dsn)
{
	Pools	   *pools = context;
	Placement  *grown = realloc(pools->placements, (size_t) (pools->placement_count + 1) * sizeof(*grown));

	if (grown == NULL)
		return false;
	pools->placements = grown;
	grown += pools->placement_count;
	memcpy(grown->organization, organization, 37);
	grown->pool = pools_of_dsn(pools, dsn);
	pools->placement_count += grown->pool != NULL;
	return grown->pool != NULL;
}

static int
compare(const void *a, const void *b)
{
	return strcmp(((const Placement *) a)->organization, ((const Placement *) b)->organization);
}

bool
placement_load(Pools *pools, const char *file, FILE *err)
{
	if (!read_file(file, err, place, pools))
		return false;
	if (pools->placement_count > 0)
		qsort(pools->placements, (size_t) pools->placement_count, sizeof(Placement), compare);
	return true;
}

void
placement_free(Pools *pools)
{
	free(pools->placements);
}

Pool *
pools_find(Pools *pools, const char *organization)
{
	Placement	wanted = {.pool = NULL};
	const Placement *found;

	if (organization == NULL || pools->placement_count == 0)
		return pools->pools[0];
	snprintf(wanted.organization, sizeof(wanted.organization), "%s", organization);
	text_lower(wanted.organization);
	found = bsearch(&wanted, pools->placements, (size_t) pools->placement_count, sizeof(Placement), compare);
	return found != NULL ? found->pool : pools->pools[0];
}

bool
pools_placed(const Pools *pools)
{
	return pools->placement_count > 0;
}

/* ---- the token's organization ---- */

bool
placement_token_organization(const char *token, char *organization)
{
	const char *payload = strchr(token, '.');
	const char *end = payload != NULL ? strchr(payload + 1, '.') : NULL;
	char		bytes[MAX_PAYLOAD];
	json_t	   *claims;
	const char *org;
	bool		good = false;

	if (end == NULL || end - payload > MAX_PAYLOAD)
		return false;
	claims = json_loadb(bytes, text_base64url_decode(payload + 1, (size_t) (end - payload - 1), bytes), 0, NULL);
	org = json_string_value(json_object_get(claims, "org"));
	if (org != NULL && strlen(org) == 36 && text_is_uuid(org))
	{
		memcpy(organization, org, 37);
		good = true;
	}
	json_decref(claims);
	return good;
}
