#include "lib/worker.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "lib/log.h"

const char *
worker_instance(void)
{
	static char name[128];
	char		host[64] = "";
	uint32_t	random = 0;

	if (*name != '\0')
		return name;
	if (gethostname(host, sizeof(host) - 1) != 0)
		strcpy(host, "host");
	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		random = (uint32_t) getpid();
	snprintf(name, sizeof(name), "%s:%d:%08" PRIx32, host, (int) getpid(), random);
	return name;
}

bool
worker_check(const char *database, const char *log_level, FILE *err)
{
	char	   *why = NULL;
	PQconninfoOption *options = PQconninfoParse(database, &why);
	LogLevel	level;
	bool		good = true;

	if (options == NULL)
	{
		/* libpq quotes the string, password and all: its words are not shown. */
		fprintf(err, "BACKOFFICE_DATABASE: not a libpq connection string (keyword=value pairs, or postgresql://...)\n");
		PQfreemem(why);
		good = false;
	}
	else
		log_secret_in_dsn(database);
	PQconninfoFree(options);
	if (!log_level_parse(log_level, &level))
	{
		fprintf(err, "BACKOFFICE_LOG_LEVEL: \"%s\" is not debug, info, warn or error\n", log_level);
		good = false;
	}
	return good;
}
