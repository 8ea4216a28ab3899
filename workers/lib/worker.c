#include "lib/worker.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <string.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/loop.h"
#include "lib/metrics.h"

/* host:pid:random, kept for the life of the process. */
static const char *
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

bool
worker_settings(const ConfProgram *program, int argc, char **argv, const char **instance, bool (*good) (void), int *exit_code)
{
	ConfVerdict verdict = conf_read(program, argc, argv, getenv, stdout, stderr);

	*exit_code = verdict == CONF_WRONG ? 2 : 0;
	if (verdict == CONF_DONE || verdict == CONF_WRONG)
		return false;
	if (**instance == '\0')
		*instance = worker_instance();
	if (!good())
	{
		*exit_code = 2;
		return false;
	}
	if (verdict != CONF_CHECK)
		return true;
	printf("settings are good\n");
	return false;
}

/* A datagram to the socket of $NOTIFY_SOCKET: the protocol of sd_notify(3). */
static void
notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t		len = path == NULL ? 0 : strlen(path);
	int			fd;

	if (len == 0 || len >= sizeof(address.sun_path) || (*path != '/' && *path != '@'))
		return;
	memcpy(address.sun_path, path, len);
	if (*path == '@')
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *) &address,
			   (socklen_t) (offsetof(struct sockaddr_un, sun_path) + len)) < 0)
		log_debug("the service manager does not listen", F_STR("state", state));
	close(fd);
}

void
worker_ready(void)
{
	notify("READY=1");
}

void
worker_stopping(void)
{
	atomic_store(&health.stopping, true);
	notify("STOPPING=1");
}

void
worker_progress(void)
{
	static int64_t told_ms;
	static int64_t every_ms = -1;
	int64_t		now = loop_monotonic_ms();

	atomic_store(&health.progress_ms, now);
	if (every_ms < 0)
	{
		const char *limit_us = getenv("WATCHDOG_USEC");

		/* Well within the limit, so that a late round does no harm. */
		every_ms = limit_us == NULL ? 0 : strtoll(limit_us, NULL, 10) / 4000;
	}
	if (every_ms == 0 || now - told_ms < every_ms)
		return;
	told_ms = now;
	notify("WATCHDOG=1");
}
