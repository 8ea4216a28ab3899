/* oidc: fetches the keys of OpenID providers for the database. Settings, start, loop, end, exit code. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/conf.h"
#include "lib/log.h"
#include "lib/worker.h"
#include "oidc/oidc.h"

Metric		metric_fetches = {.name = "backoffice_oidc_fetches_total", .help = "Documents asked for.", .type = METRIC_COUNTER};
Metric		metric_unchanged = {.name = "backoffice_oidc_unchanged_total", .help = "Key sets that were unchanged by their ETag.", .type = METRIC_COUNTER};
Metric		metric_failures = {.name = "backoffice_oidc_failures_total", .help = "Rounds that ended without keys.", .type = METRIC_COUNTER};
Metric		metric_refused = {.name = "backoffice_oidc_refused_total", .help = "Addresses that were not asked because they are not allowed.", .type = METRIC_COUNTER};
Metric		metric_stored = {.name = "backoffice_oidc_stored_total", .help = "Times keys were given to the database.", .type = METRIC_COUNTER};
Metric		metric_keys_dropped = {.name = "backoffice_oidc_keys_dropped_total", .help = "Keys in key sets that are not for signatures, or not whole.", .type = METRIC_COUNTER};
Metric		metric_issuers = {.name = "backoffice_oidc_issuers", .help = "Issuers known to this instance.", .type = METRIC_GAUGE};
Metric		metric_connects = {.name = "backoffice_oidc_database_connects_total", .help = "Connections made to the database.", .type = METRIC_COUNTER};
Metric		metric_fetch_seconds = {.name = "backoffice_oidc_fetch_seconds", .help = "From asking for a document to its answer or failure.", .type = METRIC_HISTOGRAM};

static Oidc oidc;

static const ConfItem items[] = {
	{"database", CONF_TEXT, &oidc.settings.database, NULL, 1, 0, NULL,
	"libpq connection string of the database; its role is a member of backoffice_worker. Put the password into ~/.pgpass or a service file."},
	{"instance", CONF_TEXT, &oidc.settings.instance, "", 0, 0, NULL, "name of this copy; default: host and process id"},
	{"port", CONF_INT, &oidc.settings.port, "9103", -1, 65535, NULL, "loopback port of /metrics and /health; 0: any free one (logged), -1: none"},
	{"log-level", CONF_TEXT, &oidc.settings.log_level, "info", 1, 0, NULL, "debug, info, warn or error"},
	{"allow-networks", CONF_LIST, &oidc.settings.allow_networks, "", 0, 0, "network/bits[,network/bits...]",
	"networks that may be asked although they are not of the Internet: 10.1.0.0/16,fd00::/8"},
	{"allow-http-loopback", CONF_BOOL, &oidc.settings.allow_http_loopback, "off", 0, 0, NULL,
	"loopback addresses may be asked, without TLS too: for development and tests"},
	{"ca-file", CONF_TEXT, &oidc.settings.ca_file, "", 0, 0, NULL, "PEM file of certificates to trust instead of the system's"},
	{"poll-ms", CONF_INT, &oidc.settings.poll_ms, "1000", 50, 60000, "ms", "how often the database is asked which keys are due"},
	{"timeout-ms", CONF_INT, &oidc.settings.timeout_ms, "10000", 100, 60000, "ms", "for one document; half of it for connecting"},
	{"fetches", CONF_INT, &oidc.settings.fetches, "4", 1, 64, "issuers", "asked at the same time at most"},
	{"default-age-s", CONF_INT, &oidc.settings.default_age_s, "300", 1, 86400, "s", "how long keys are good when the issuer does not say (no max-age)"},
	{"min-age-s", CONF_INT, &oidc.settings.min_age_s, "60", 1, 86400, "s", "keys are fetched again after that at the earliest, whatever the issuer says"},
	{"max-age-s", CONF_INT, &oidc.settings.max_age_s, "86400", 1, 604800, "s", "keys are fetched again after that at the latest"},
	{"discovery-age-s", CONF_INT, &oidc.settings.discovery_age_s, "3600", 0, 604800, "s", "how long a discovery document is good"},
	{"retry-ms", CONF_INT, &oidc.settings.retry_ms, "1000", 10, 60000, "ms", "after a first failure; doubles with each, with jitter"},
	{"retry-max-ms", CONF_INT, &oidc.settings.retry_max_ms, "300000", 10, 3600000, "ms", "longest distance between tries"},
	{"statement-timeout-ms", CONF_INT, &oidc.settings.statement_timeout_ms, "30000", 100, 3600000, "ms", "of statements in the database"},
	{"heartbeat-ms", CONF_INT, &oidc.settings.heartbeat_ms, "5000", 100, 60000, "ms", "how often backoffice.workers hears of us"},
};

static const ConfProgram program = {
	.name = "oidc",
	.purpose = "fetches the signing keys of OpenID Connect providers into the database of backoffice, and keeps them fresh",
	.examples =
	"  oidc --database 'service=backoffice'\n"
	"  BACKOFFICE_DATABASE='host=/run/postgresql dbname=shop user=oidc' oidc --allow-networks 10.0.0.0/8 --ca-file /etc/ssl/company.pem\n"
	"  oidc --database 'service=backoffice' --check\n",
	.items = items,
	.item_count = sizeof(items) / sizeof(items[0])
};

static Metric *const metrics[] = {
	&metric_fetches, &metric_unchanged, &metric_failures, &metric_refused, &metric_stored, &metric_keys_dropped, &metric_issuers,
	&metric_connects, &metric_fetch_seconds
};

static bool
start(void)
{
	int			port;

	atomic_store(&health.no_kafka, true);
	metrics_register(metrics, sizeof(metrics) / sizeof(metrics[0]));
	port = metrics_serve((int) oidc.settings.port);
	log_info("started", F_INT("port", port), F_INT("pid", getpid()));
	if (port < 0 && oidc.settings.port >= 0)
		log_warn("the port for /metrics and /health is not free: going on without", F_INT("port", oidc.settings.port));
	oidc.fetcher = (Fetcher) {.loop = &oidc.loop, .rules = &oidc.rules, .ca_file = oidc.settings.ca_file,
		.timeout_ms = oidc.settings.timeout_ms};
	if (!fetcher_init(&oidc.fetcher))
		return false;
	control_init(&oidc);
	return true;
}

static void
run(void)
{
	worker_ready();
	while (!oidc.loop.stopping)
	{
		worker_progress();
		loop_once(&oidc.loop, 1000);
	}
	log_info("draining");
	worker_stopping();
	fetcher_close(&oidc.fetcher);
	control_finish(&oidc);
	metrics_close();
	issuer_free_all(&oidc);
	log_info("stopped", F_INT("fetches", atomic_load(&metric_fetches.value)), F_INT("failures", atomic_load(&metric_failures.value)));
}

static bool
settings_good(void)
{
	LogLevel	level;
	bool		good = worker_check(oidc.settings.database, oidc.settings.log_level, stderr);

	if (good && log_level_parse(oidc.settings.log_level, &level))
		log_init("oidc", oidc.settings.instance, level);
	oidc.rules.loopback = oidc.settings.allow_http_loopback;
	if (!address_networks_parse(oidc.settings.allow_networks, &oidc.rules))
	{
		fprintf(stderr, "BACKOFFICE_ALLOW_NETWORKS: \"%s\" is not network/bits[,network/bits...], at most %d\n",
				oidc.settings.allow_networks, ADDRESS_MAX_NETWORKS);
		good = false;
	}
	if (*oidc.settings.ca_file != '\0' && access(oidc.settings.ca_file, R_OK) != 0)
	{
		fprintf(stderr, "BACKOFFICE_CA_FILE: \"%s\" cannot be read\n", oidc.settings.ca_file);
		good = false;
	}
	if (oidc.settings.min_age_s > oidc.settings.max_age_s || oidc.settings.retry_ms > oidc.settings.retry_max_ms)
	{
		fprintf(stderr, "BACKOFFICE_MIN_AGE_S, BACKOFFICE_RETRY_MS: more than what is given as the most\n");
		good = false;
	}
	return good;
}

int
main(int argc, char **argv)
{
	int			exit_code;

	if (!worker_settings(&program, argc, argv, &oidc.settings.instance, settings_good, &exit_code))
		return exit_code;
	if (!loop_init(&oidc.loop, loop_monotonic_ms) || !start())
	{
		perror("oidc");
		return 1;
	}
	run();
	return 0;
}
