/* kafka-relay: carries the event log to Kafka. Settings, start, loop, drain, exit code. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kafka-relay/relay.h"
#include "lib/conf.h"
#include "lib/kafka.h"
#include "lib/log.h"
#include "lib/worker.h"

Metric		metric_sent = {.name = "backoffice_relay_sent_total", .help = "Messages given to librdkafka.", .type = METRIC_COUNTER};
Metric		metric_acked = {.name = "backoffice_relay_acknowledged_total", .help = "Messages that the broker acknowledged.", .type = METRIC_COUNTER};
Metric		metric_parked = {.name = "backoffice_relay_parked_total", .help = "Events set aside.", .type = METRIC_COUNTER};
Metric		metric_rewinds = {.name = "backoffice_relay_rewinds_total", .help = "Times the relay read again from what is settled.", .type = METRIC_COUNTER};
Metric		metric_fetches = {.name = "backoffice_relay_fetches_total", .help = "Batches asked for.", .type = METRIC_COUNTER};
Metric		metric_fetched_events = {.name = "backoffice_relay_fetched_events_total", .help = "Events read from the log.", .type = METRIC_COUNTER};
Metric		metric_inflight = {.name = "backoffice_relay_in_flight_events", .help = "Events read and not yet settled.", .type = METRIC_GAUGE};
Metric		metric_inflight_bytes = {.name = "backoffice_relay_in_flight_bytes", .help = "Bytes of those events.", .type = METRIC_GAUGE};
Metric		metric_shards = {.name = "backoffice_relay_shards", .help = "Shards leased by this instance.", .type = METRIC_GAUGE};
Metric		metric_advances = {.name = "backoffice_relay_advances_total", .help = "Times positions were saved.", .type = METRIC_COUNTER};
Metric		metric_reconnects = {.name = "backoffice_relay_database_connects_total", .help = "Connections made to the database.", .type = METRIC_COUNTER};
Metric		metric_ack_seconds = {.name = "backoffice_relay_acknowledge_seconds", .help = "From librdkafka to the broker's acknowledgement.", .type = METRIC_HISTOGRAM};
Metric		metric_event_seconds = {.name = "backoffice_relay_event_seconds", .help = "From emit to the broker's acknowledgement.", .type = METRIC_HISTOGRAM};

static Relay relay;

static const ConfItem items[] = {
	{"database", CONF_TEXT, &relay.settings.database, NULL, 1, 0, NULL,
	"libpq connection string of the database; its role is a member of backoffice_worker. Put the password into ~/.pgpass or a service file."},
	{"kafka-bootstrap", CONF_LIST, &relay.settings.bootstrap, NULL, 1, 0, NULL, "brokers: host:port[,host:port...]"},
	{"kafka-config", CONF_TEXT, &relay.settings.kafka_config, "", 0, 0, NULL,
	"file of librdkafka properties, name=value lines (TLS, SASL)"},
	{"consumer", CONF_TEXT, &relay.settings.consumer, "kafka-relay", 1, 0, NULL, "name of the consumer whose positions are kept; relays of one name share the work"},
	{"instance", CONF_TEXT, &relay.settings.instance, "", 0, 0, NULL, "name of this copy; default: host and process id"},
	{"topics", CONF_LIST, &relay.settings.topics, "", 0, 0, NULL, "only these topics, separated by commas; default: every topic of direction out"},
	{"source", CONF_TEXT, &relay.settings.source, "/backoffice", 1, 0, NULL, "ce_source: the URI that names this system to readers"},
	{"port", CONF_INT, &relay.settings.port, "9101", -1, 65535, NULL, "loopback port of /metrics and /health; 0: any free one (logged), -1: none"},
	{"log-level", CONF_TEXT, &relay.settings.log_level, "info", 1, 0, NULL, "debug, info, warn or error"},
	{"shards", CONF_INT, &relay.settings.shards, "8", 1, WINDOW_MAX_SHARDS, NULL, "shards of a new consumer: as many relays at most can share the work"},
	{"lease-ms", CONF_INT, &relay.settings.lease_ms, "10000", 1000, 3600000, "ms", "how long a shard stays ours without renewal"},
	{"advance-ms", CONF_INT, &relay.settings.advance_ms, "100", 10, 60000, "ms", "how often positions are saved"},
	{"advance-events", CONF_INT, &relay.settings.advance_events, "20000", 1, 10000000, "events", "positions are also saved after so many"},
	{"drain-ms", CONF_INT, &relay.settings.drain_ms, "10000", 0, 600000, "ms", "at the end: how long to wait for acknowledgements"},
	{"linger-ms", CONF_INT, &relay.settings.linger_ms, "0", 0, 1000, "ms", "how long librdkafka waits to fill a batch"},
	{"batch-events", CONF_INT, &relay.settings.batch_events, "2000", 1, 1000000, "events", "read from the log at a time"},
	{"batch-bytes", CONF_INT, &relay.settings.batch_bytes, "4194304", 4096, 268435456, "bytes", "read from the log at a time"},
	{"window-events", CONF_INT, &relay.settings.window_events, "50000", 1, 10000000, "events", "in flight at most"},
	{"window-bytes", CONF_INT, &relay.settings.window_bytes, "67108864", 65536, INT64_C(2147483648), "bytes", "in flight at most"},
	{"kafka-max-bytes", CONF_INT, &relay.settings.message_max_bytes, "1048576", 1000, 1000000000, "bytes", "largest message; larger ones are parked"},
	{"kafka-compression", CONF_TEXT, &relay.settings.compression, "lz4", 1, 0, NULL, "none, lz4, zstd, gzip or snappy; headers repeat, so that lz4 costs less than it saves"},
	{"kafka-in-flight", CONF_INT, &relay.settings.in_flight, "1", 1, 5, "requests", "in flight to each broker; more is faster over a slow line and trusts the brokers' memory of sequence numbers"},
	{"kafka-replication", CONF_INT, &relay.settings.replication, "-1", -1, 100, NULL, "replication factor of topics that are created; -1: the broker's default"},
	{"statement-timeout-ms", CONF_INT, &relay.settings.statement_timeout_ms, "30000", 100, 3600000, "ms", "of statements in the database"},
	{"heartbeat-ms", CONF_INT, &relay.settings.heartbeat_ms, "5000", 100, 60000, "ms", "how often backoffice.workers hears of us"},
};

static const ConfProgram program = {
	.name = "kafka-relay",
	.purpose = "carries events from the log of backoffice to Kafka, at least once, in order per key",
	.examples =
	"  kafka-relay --database 'service=backoffice' --kafka-bootstrap localhost:9092\n"
	"  BACKOFFICE_DATABASE='host=/run/postgresql dbname=shop user=relay' KAFKA_BOOTSTRAP=k1:9092,k2:9092 kafka-relay --port 0\n"
	"  kafka-relay --database 'service=backoffice' --kafka-bootstrap localhost:9092 --check\n",
	.items = items,
	.item_count = sizeof(items) / sizeof(items[0])
};

static Metric *const metrics[] = {
	&metric_sent, &metric_acked, &metric_parked, &metric_rewinds, &metric_fetches, &metric_fetched_events, &metric_inflight,
	&metric_inflight_bytes, &metric_shards, &metric_advances, &metric_reconnects, &metric_ack_seconds, &metric_event_seconds
};

static void
begin_draining(void)
{
	relay.draining = true;
	relay.drain_until_ms = loop_monotonic_ms() + relay.settings.drain_ms;
	worker_stopping();
	log_info("draining", F_INT("in_flight", relay.window.used));
	relay_drop_batches(&relay);
	loop_timer_off(&relay.producer_timer);
	relay.want_heartbeat = true;
	control_next(&relay);
}

static bool
drained(void)
{
	if (!relay.draining)
		return false;
	if (relay.window.used == 0 && relay.parks == NULL && relay.parking == NULL && !relay.due_sent)
		return true;
	if (loop_monotonic_ms() < relay.drain_until_ms && relay.producer != NULL)
		return false;
	log_warn("not everything was acknowledged in time: it will be sent again", F_INT("in_flight", relay.window.used));
	return true;
}

static void
run(void)
{
	int			port;

	relay.step = (Step) {.window = &relay.window, .held_keys = &relay.held_keys, .suspects = &relay.suspects};
	metrics_register(metrics, sizeof(metrics) / sizeof(metrics[0]));
	port = metrics_serve((int) relay.settings.port);
	log_info("started", F_STR("consumer", relay.settings.consumer), F_STR("kafka", relay.settings.bootstrap),
			 F_INT("port", port), F_INT("pid", getpid()));
	if (port < 0 && relay.settings.port >= 0)
		log_warn("the port for /metrics and /health is not free: going on without", F_INT("port", relay.settings.port));
	source_init(&relay);
	control_init(&relay);
	produce_init(&relay);
	worker_ready();
	while (!drained())
	{
		worker_progress();
		loop_once(&relay.loop, relay.draining ? 20 : 1000);
		if (relay.loop.stopping && !relay.draining)
			begin_draining();
	}
	/* Nothing is sent any more: then the leases are given back. */
	produce_stop(&relay);
	control_finish(&relay);
	guard_end(&relay.guard);
	metrics_close();
	pg_close(&relay.reader);
	pg_close(&relay.control);
	log_info("stopped", F_INT("acknowledged", atomic_load(&metric_acked.value)));
}

static bool
settings_good(void)
{
	char		why[512] = "";
	LogLevel	level;
	bool		good = worker_check(relay.settings.database, relay.settings.log_level, stderr);

	relay.settings.batch_limit_bytes = relay.settings.message_max_bytes < 1000000 ? relay.settings.message_max_bytes : 1000000;
	good = kafka_bootstrap_check(relay.settings.bootstrap, stderr) && good;
	if (good && log_level_parse(relay.settings.log_level, &level))
		log_init("kafka-relay", relay.settings.instance, level);
	if (good && !produce_check(&relay.settings, why, sizeof(why)))
	{
		fprintf(stderr, "KAFKA_CONFIG: %s\n", why);
		good = false;
	}
	return good;
}

int
main(int argc, char **argv)
{
	int			exit_code;

	if (!worker_settings(&program, argc, argv, &relay.settings.instance, settings_good, &exit_code))
		return exit_code;
	if (!loop_init(&relay.loop, loop_monotonic_ms) || !window_init(&relay.window, relay.settings.window_events) ||
		!guard_start(&relay.guard))
	{
		perror("kafka-relay");
		return 1;
	}
	run();
	window_close(&relay.window);
	topics_free(&relay);
	idset_clear(&relay.held_keys);
	idset_clear(&relay.suspects);
	return 0;
}
