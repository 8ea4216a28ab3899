#include "lib/kafka.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/metrics.h"

#define SCRAM_WORKS_SINCE 0x020601ff
#define TELL_AGAIN_MS 60000

static void
kafka_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
	LogLevel	ours = level <= 3 ? LOG_LEVEL_ERROR : level <= 4 ? LOG_LEVEL_WARN : level <= 6 ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG;

	(void) rk;
	/* Failed connections come as errors too (kafka_trouble), and at every attempt. */
	if (strcmp(facility, "CONFWARN") == 0 || strcmp(facility, "FAIL") == 0 || strcmp(facility, "ERROR") == 0)
		ours = LOG_LEVEL_DEBUG;
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
		bool		cut = strchr(line, '\n') == NULL && !feof(file);
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
		if (cut)
		{
			/* Its rest would be read as another line. */
			snprintf(error, error_size, "%s: line %d is longer than %zu bytes", path, number, sizeof(line) - 2);
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

static bool
conf_is(const rd_kafka_conf_t *conf, const char *name, const char *wanted)
{
	char		value[64];
	size_t		size = sizeof(value);

	return rd_kafka_conf_get(conf, name, value, &size) == RD_KAFKA_CONF_OK && strncasecmp(value, wanted, strlen(wanted)) == 0;
}

/* What works, or seems to, and should not be left so. */
static void
warn_of(const rd_kafka_conf_t *conf, const char *file)
{
	struct stat status;
	bool		sasl = conf_is(conf, "security.protocol", "sasl_");

	if (*file != '\0' && stat(file, &status) == 0 && (status.st_mode & S_IROTH) != 0 && sasl)
		log_warn("everybody on this host can read the file with the password for Kafka", F_STR("file", file));
	if (conf_is(conf, "security.protocol", "sasl_plaintext") && conf_is(conf, "sasl.mechanisms", "PLAIN"))
		log_warn("the password for Kafka is sent as it is: set security.protocol=SASL_SSL");
	if (conf_is(conf, "enable.ssl.certificate.verification", "false"))
		log_warn("the brokers' certificates are not verified: anybody between can read and change messages");
	/* CVE-2024-56128: since then brokers look at the second nonce, which librdkafka sent wrong. */
	if (sasl && conf_is(conf, "sasl.mechanisms", "SCRAM-") && rd_kafka_version() < SCRAM_WORKS_SINCE)
		log_warn("Kafka 3.7.2, 3.8.1, 3.9 and newer refuse SCRAM of this librdkafka: use PLAIN over TLS, a client certificate, or librdkafka 2.6.1",
				 F_STR("librdkafka", rd_kafka_version_str()));
}

bool
kafka_check(rd_kafka_conf_t *conf, rd_kafka_type_t type, const char *file, char *error, size_t error_size)
{
	rd_kafka_t *handle;

	warn_of(conf, file);
	/* Nobody to connect to: only files, keys and combinations of properties are looked at. */
	kafka_set(conf, "bootstrap.servers", "");
	kafka_set(conf, "log_level", "0");
	handle = rd_kafka_new(type, conf, error, error_size);
	if (handle == NULL)
	{
		rd_kafka_conf_destroy(conf);
		return false;
	}
	rd_kafka_destroy(handle);
	return true;
}

/* When the log heard of this kind of error last, in milliseconds; each is told again after a while. */
static struct
{
	rd_kafka_resp_err_t err;
	int64_t		at_ms;
}			told[8];

bool
kafka_trouble(rd_kafka_resp_err_t err, const char *reason)
{
	int64_t		now = loop_monotonic_ms();
	size_t		oldest = 0;
	bool		down = err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN;

	if (down)
		atomic_store(&health.kafka, false);
	for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++)
	{
		/* That all are down says less than why, which came just before. */
		if (told[i].at_ms != 0 && now - told[i].at_ms < TELL_AGAIN_MS && (told[i].err == err || down))
			return !down;
		if (told[i].at_ms < told[oldest].at_ms)
			oldest = i;
	}
	told[oldest].err = err;
	told[oldest].at_ms = now;
	log_warn("trouble with Kafka", F_STR("error", reason), F_STR("code", rd_kafka_err2name(err)));
	return true;
}

void
kafka_reachable(bool up)
{
	if (up == atomic_exchange(&health.kafka, up))
		return;
	if (up)
		memset(told, 0, sizeof(told));
	log_info(up ? "Kafka is reachable" : "Kafka is not reachable");
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
	/* It begins readable: what has been queued before is not announced, nor is what comes while it lies there. */
	int			fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);

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
