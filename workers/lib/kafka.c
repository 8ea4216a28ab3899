#include "lib/kafka.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/log.h"

static void
kafka_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
	LogLevel	ours = level <= 3 ? LOG_LEVEL_ERROR : level <= 4 ? LOG_LEVEL_WARN : level <= 6 ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG;

	(void) rk;
	/* A broker that is away is told by our own state; librdkafka repeats itself at every attempt. */
	if (strcmp(facility, "CONFWARN") == 0)
		ours = LOG_LEVEL_DEBUG;
	if (strcmp(facility, "FAIL") == 0 || strcmp(facility, "ERROR") == 0)
		ours = LOG_LEVEL_INFO;
	log_at(ours, "librdkafka", F_STR("facility", facility), F_STR("detail", text));
}

static char *
trim(char *text)
{
	char	   *end;

	while (isspace((unsigned char) *text))
		text++;
	end = text + strlen(text);
	while (end > text && isspace((unsigned char) end[-1]))
		*--end = '\0';
	return text;
}

static bool
is_secret(const char *name)
{
	return strstr(name, "password") != NULL || strstr(name, "secret") != NULL || strstr(name, ".pem") != NULL ||
		strcmp(name, "sasl.jaas.config") == 0;
}

static bool
read_file(rd_kafka_conf_t *conf, const char *path, char *error, size_t error_size)
{
	FILE	   *file = fopen(path, "r");
	char		line[4096];
	int			number = 0;
	bool		good = true;

	if (file == NULL)
	{
		snprintf(error, error_size, "%s: %s", path, strerror(errno));
		return false;
	}
	while (good && fgets(line, sizeof(line), file) != NULL)
	{
		char	   *name = trim(line);
		char	   *equals = strchr(name, '=');
		char	   *value;
		char		why[256];

		number++;
		if (*name == '\0' || *name == '#')
			continue;
		good = false;
		if (equals == NULL)
		{
			snprintf(error, error_size, "%s: line %d is not name=value", path, number);
			continue;
		}
		*equals = '\0';
		name = trim(name);
		value = trim(equals + 1);
		if (is_secret(name))
			log_secret(value);
		if (rd_kafka_conf_set(conf, name, value, why, sizeof(why)) != RD_KAFKA_CONF_OK)
			snprintf(error, error_size, "%s: line %d: librdkafka refuses the property \"%s\"", path, number, name);
		else
			good = true;
	}
	fclose(file);
	return good;
}

rd_kafka_conf_t *
kafka_conf(const char *bootstrap, const char *client_id, const char *file, char *error, size_t error_size)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();

	rd_kafka_conf_set_log_cb(conf, kafka_log);
	kafka_set(conf, "bootstrap.servers", bootstrap);
	kafka_set(conf, "client.id", client_id);
	kafka_set(conf, "log.connection.close", "false");
	kafka_set(conf, "socket.keepalive.enable", "true");
	kafka_set(conf, "socket.timeout.ms", "30000");
	kafka_set(conf, "reconnect.backoff.ms", "50");
	kafka_set(conf, "reconnect.backoff.max.ms", "2000");
	kafka_set(conf, "topic.metadata.refresh.interval.ms", "30000");
	if (*file != '\0' && !read_file(conf, file, error, error_size))
	{
		rd_kafka_conf_destroy(conf);
		return NULL;
	}
	return conf;
}

void
kafka_set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
	char		why[256];

	if (rd_kafka_conf_set(conf, name, value, why, sizeof(why)) != RD_KAFKA_CONF_OK)
	{
		log_error("librdkafka refuses a property", F_STR("property", name), F_STR("detail", why));
		abort();
	}
}

void
kafka_set_int(rd_kafka_conf_t *conf, const char *name, int64_t value)
{
	char		text[24];

	snprintf(text, sizeof(text), "%" PRId64, value);
	kafka_set(conf, name, text);
}

int
kafka_queue_fd(rd_kafka_queue_t *queue)
{
	static const uint64_t one = 1;
	int			fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	if (fd >= 0)
		rd_kafka_queue_io_event_enable(queue, fd, &one, sizeof(one));
	return fd;
}

void
kafka_drain_fd(int fd)
{
	uint64_t	count;

	while (read(fd, &count, sizeof(count)) == sizeof(count))
		;
}

bool
kafka_bootstrap_good(const char *bootstrap)
{
	/* host:port[,host:port...], a port may be left out, an IPv6 address stands in brackets */
	const char *at = bootstrap;

	while (*at != '\0')
	{
		size_t		len = strcspn(at, ",");
		const char *close = memchr(at, ']', len);
		const char *colon = memrchr(at, ':', len);

		if (len == 0 || memchr(at, ' ', len) != NULL || *at == ':')
			return false;
		if (colon != NULL && (close == NULL || colon > close))
		{
			char	   *end;
			long		port = strtol(colon + 1, &end, 10);

			if (end == colon + 1 || end != at + len || port < 1 || port > 65535)
				return false;
		}
		at += len;
		if (*at == ',' && *++at == '\0')
			return false;
	}
	return at != bootstrap;
}

bool
kafka_bootstrap_check(const char *bootstrap, FILE *err)
{
	if (kafka_bootstrap_good(bootstrap))
		return true;
	fprintf(err, "KAFKA_BOOTSTRAP: \"%s\" is not host:port[,host:port...]\n", bootstrap);
	return false;
}
