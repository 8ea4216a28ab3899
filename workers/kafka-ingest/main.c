/* kafka-ingest: brings Kafka's messages into the event log, each once. Settings, start, loop, drain, exit code. */
#include "kafka-ingest/ingest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/conf.h"
#include "lib/kafka.h"
#include "lib/log.h"
#include "lib/utf8.h"
#include "lib/worker.h"

Metric		metric_consumed = {.name = "backoffice_ingest_messages_total", .help = "Messages stored or parked.", .type = METRIC_COUNTER};
Metric		metric_accepted = {.name = "backoffice_ingest_accepted_total", .help = "Messages that became events.", .type = METRIC_COUNTER};
Metric		metric_duplicates = {.name = "backoffice_ingest_duplicates_total", .help = "Messages that were seen before.", .type = METRIC_COUNTER};
Metric		metric_parked = {.name = "backoffice_ingest_parked_total", .help = "Messages set aside.", .type = METRIC_COUNTER};
Metric		metric_batches = {.name = "backoffice_ingest_batches_total", .help = "Transactions.", .type = METRIC_COUNTER};
Metric		metric_redone = {.name = "backoffice_ingest_batches_redone_total", .help = "Batches done again message by message.", .type = METRIC_COUNTER};
Metric		metric_retries = {.name = "backoffice_ingest_retries_total", .help = "Batches given back because of the database.", .type = METRIC_COUNTER};
Metric		metric_connects = {.name = "backoffice_ingest_database_connects_total", .help = "Connections made to the database.", .type = METRIC_COUNTER};
Metric		metric_partitions = {.name = "backoffice_ingest_partitions", .help = "Partitions assigned to this instance.", .type = METRIC_GAUGE};
Metric		metric_lag = {.name = "backoffice_ingest_lag_messages", .help = "Messages in the assigned partitions that were not read yet.", .type = METRIC_GAUGE};
Metric		metric_batch_seconds = {.name = "backoffice_ingest_batch_seconds", .help = "From taking a batch to its commit.", .type = METRIC_HISTOGRAM};

static Ingest ingest;

static const ConfItem items[] = {
	{"database", CONF_TEXT, &ingest.settings.database, NULL, 1, 0, NULL,
	"libpq connection string of the database; its role is a member of backoffice_worker. Put the password into ~/.pgpass or a service file."},
	{"kafka-bootstrap", CONF_LIST, &ingest.settings.bootstrap, NULL, 1, 0, NULL, "brokers: host:port[,host:port...]"},
	{"kafka-config", CONF_TEXT, &ingest.settings.kafka_config, "", 0, 0, NULL, "file of librdkafka properties, name=value lines (TLS, SASL)"},
	{"group", CONF_TEXT, &ingest.settings.group, "backoffice-ingest", 1, 0, NULL, "consumer group, also the name under which the database keeps the offsets"},
	{"instance", CONF_TEXT, &ingest.settings.instance, "", 0, 0, NULL, "name of this copy; default: host and process id"},
	{"topics", CONF_LIST, &ingest.settings.topics, "", 0, 0, NULL, "only these topics, separated by commas; default: every topic of direction in"},
	{"organization", CONF_TEXT, &ingest.settings.organization, "", 0, 0, NULL,
	"UUID of the organization whose messages these are; default: the header organization_id of each message tells"},
	{"source", CONF_TEXT, &ingest.settings.source, "kafka", 1, 0, NULL, "first part of the source under which message ids are unique: source:topic[:ce_source]"},
	{"port", CONF_INT, &ingest.settings.port, "9102", -1, 65535, NULL, "loopback port of /metrics and /health; 0: any free one (logged), -1: none"},
	{"log-level", CONF_TEXT, &ingest.settings.log_level, "info", 1, 0, NULL, "debug, info, warn or error"},
	{"batch-messages", CONF_INT, &ingest.settings.batch_messages, "500", 1, 10000, "messages", "in a transaction at most"},
	{"max-bytes", CONF_INT, &ingest.settings.max_bytes, "1048576", 100, 268435456, "bytes", "largest value; larger ones are parked"},
	{"session-timeout-ms", CONF_INT, &ingest.settings.session_timeout_ms, "10000", 6000, 300000, "ms", "without a sign of life for so long, the group gives our partitions to others"},
	{"statement-timeout-ms", CONF_INT, &ingest.settings.statement_timeout_ms, "30000", 100, 3600000, "ms", "of statements in the database"},
	{"heartbeat-ms", CONF_INT, &ingest.settings.heartbeat_ms, "5000", 100, 60000, "ms", "how often backoffice.workers hears of us"},
};

static const ConfProgram program = {
	.name = "kafka-ingest",
	.purpose = "brings messages from Kafka into the event log of backoffice, each exactly once",
	.examples =
	"  kafka-ingest --database 'service=backoffice' --kafka-bootstrap localhost:9092\n"
	"  BACKOFFICE_DATABASE='host=/run/postgresql dbname=shop user=ingest' KAFKA_BOOTSTRAP=k1:9092,k2:9092 kafka-ingest --topics All_Payments\n"
	"  kafka-ingest --database 'service=backoffice' --kafka-bootstrap localhost:9092 --check\n",
	.items = items,
	.item_count = sizeof(items) / sizeof(items[0])
};

static Metric *const metrics[] = {
	&metric_consumed, &metric_accepted, &metric_duplicates, &metric_parked, &metric_batches, &metric_redone, &metric_retries,
	&metric_connects, &metric_partitions, &metric_lag, &metric_batch_seconds
};

/* The database refuses a heartbeat with half a character in it. */
void
ingest_note_error(Ingest *self, const char *error)
{
	snprintf(self->last_error, sizeof(self->last_error), "%s", error);
	utf8_mend(self->last_error);
}

void
ingest_trouble(Ingest *self, const char *what, const char *error)
{
	log_warn(what, F_STR("error", error));
	ingest_note_error(self, error);
}

static void
read_topics(void)
{
	PgParams	params = {.n = 0};
	PGresult   *rows;

	pg_text(&params, ingest.settings.topics);
	rows = pg_query(&ingest.pg, "SELECT name FROM events.topics WHERE direction = 'in'"
					" AND ($1 = '' OR name = ANY (pg_catalog.string_to_array($1, ','))) ORDER BY name", &params, 0);
	if (rows == NULL)
		ingest_trouble(&ingest, "topics not read", ingest.pg.error);
	else
		consume_subscribe(&ingest, rows);
	PQclear(rows);
}

static int64_t
lag(void)
{
	int64_t		total = 0;
	rd_kafka_topic_partition_list_t *list = ingest.assigned != NULL ? rd_kafka_topic_partition_list_copy(ingest.assigned) : NULL;

	if (list == NULL)
		return 0;
	rd_kafka_position(ingest.consumer, list);
	for (int i = 0; i < list->cnt; i++)
	{
		int64_t		low;
		int64_t		high;

		if (rd_kafka_get_watermark_offsets(ingest.consumer, list->elems[i].topic, list->elems[i].partition, &low, &high) ==
			RD_KAFKA_RESP_ERR_NO_ERROR && list->elems[i].offset >= 0 && high > list->elems[i].offset)
			total += high - list->elems[i].offset;
	}
	rd_kafka_topic_partition_list_destroy(list);
	return total;
}

static void
send_heartbeat(const char *state)
{
	PgParams	params = {.n = 0};
	char		details[200];
	PGresult   *result;

	if (ingest.consumer != NULL)
		metric_set(&metric_lag, lag());
	snprintf(details, sizeof(details), "{\"partitions\": %d, \"accepted\": %lld, \"duplicates\": %lld, \"parked\": %lld, \"lag_messages\": %lld}",
			 ingest.assigned != NULL ? ingest.assigned->cnt : 0, (long long) atomic_load(&metric_accepted.value),
			 (long long) atomic_load(&metric_duplicates.value), (long long) atomic_load(&metric_parked.value),
			 (long long) atomic_load(&metric_lag.value));
	pg_text(&params, ingest.settings.instance);
	pg_text(&params, state);
	pg_text(&params, ingest.last_error);
	pg_text(&params, details);
	result = pg_query(&ingest.pg, "SELECT backoffice.heartbeat('kafka-ingest', $1, $2, NULL, nullif($3, ''), $4::jsonb)", &params, 0);
	if (result == NULL)
		log_warn("heartbeat refused", F_STR("error", ingest.pg.error));
	else
		ingest.last_error[0] = '\0';
	PQclear(result);
}

static void
heartbeat_due(void *context)
{
	(void) context;
	loop_timer_in(&ingest.loop, &ingest.heartbeat_timer, ingest.settings.heartbeat_ms);
	if (!pg_idle(&ingest.pg))
		return;
	send_heartbeat("running");
	if (pg_idle(&ingest.pg))
		read_topics();
}

static void
database_lost(void *context)
{
	(void) context;
	ingest_trouble(&ingest, "database lost", ingest.pg.error);
	atomic_store(&health.database, false);
	consume_hold(&ingest);
	loop_timer_in(&ingest.loop, &ingest.connect_timer, backoff_next_ms(&ingest.backoff));
}

/* Connects when that is needed, and lets the partitions go on. */
static void
connect_due(void *context)
{
	(void) context;
	if (!pg_idle(&ingest.pg))
	{
		if (!pg_connect(&ingest.pg, 3) || !store_prepare(&ingest.store))
		{
			ingest_trouble(&ingest, "database not reachable", ingest.pg.error);
			pg_close(&ingest.pg);
			loop_timer_in(&ingest.loop, &ingest.connect_timer, backoff_next_ms(&ingest.backoff));
			return;
		}
		metric_add(&metric_connects, 1);
		atomic_store(&health.database, true);
		loop_timer_in(&ingest.loop, &ingest.heartbeat_timer, 0);
	}
	if (!ingest.started)
		consume_assign(&ingest);
}

static bool
start(void)
{
	int			port;

	metrics_register(metrics, sizeof(metrics) / sizeof(metrics[0]));
	port = metrics_serve((int) ingest.settings.port);
	log_info("started", F_STR("group", ingest.settings.group), F_STR("kafka", ingest.settings.bootstrap),
			 F_INT("port", port), F_INT("pid", getpid()));
	if (port < 0 && ingest.settings.port >= 0)
		log_warn("the port for /metrics and /health is not free: going on without", F_INT("port", ingest.settings.port));
	ingest.rules = (IngestRules) {ingest.settings.source, ingest.settings.organization, ingest.settings.max_bytes};
	ingest.messages = calloc((size_t) ingest.settings.batch_messages, sizeof(StoreMessage));
	ingest.offsets = calloc((size_t) ingest.settings.batch_messages, sizeof(StoreOffset));
	if (ingest.messages == NULL || ingest.offsets == NULL)
		return false;
	pg_init(&ingest.pg, &ingest.loop, ingest.settings.database, "backoffice kafka-ingest", ingest.settings.statement_timeout_ms);
	ingest.pg.lost = database_lost;
	ingest.store = (Store) {.pg = &ingest.pg, .group = ingest.settings.group, .source = ingest.settings.source};
	backoff_init(&ingest.backoff, 100, 5000, (uint64_t) loop_monotonic_ms() * 11);
	loop_timer_init(&ingest.loop, &ingest.connect_timer, connect_due, NULL);
	loop_timer_init(&ingest.loop, &ingest.heartbeat_timer, heartbeat_due, NULL);
	loop_timer_in(&ingest.loop, &ingest.connect_timer, 0);
	return consume_start(&ingest);
}

static void
run(void)
{
	worker_ready();
	while (!ingest.loop.stopping)
	{
		worker_progress();
		loop_once(&ingest.loop, ingest.more ? 0 : 500);
		if (!ingest.loop.stopping)
			batch_take(&ingest);
	}
	/* The batch in hand was finished: what the consumer holds besides is simply read again. */
	log_info("draining");
	worker_stopping();
	ingest.pg.lost = NULL;
	loop_timer_off(&ingest.heartbeat_timer);
	consume_stop(&ingest);
	if (pg_idle(&ingest.pg))
		send_heartbeat("stopped");
	pg_close(&ingest.pg);
	metrics_close();
	log_info("stopped", F_INT("accepted", atomic_load(&metric_accepted.value)), F_INT("parked", atomic_load(&metric_parked.value)));
}

static bool
settings_good(void)
{
	char		why[512] = "";
	LogLevel	level;
	const char *organization = ingest.settings.organization;
	bool		good = worker_check(ingest.settings.database, ingest.settings.log_level, stderr);

	good = kafka_bootstrap_check(ingest.settings.bootstrap, stderr) && good;
	if (good && log_level_parse(ingest.settings.log_level, &level))
		log_init("kafka-ingest", ingest.settings.instance, level);
	if (*organization != '\0' && !ingest_uuid_good(organization, strlen(organization)))
	{
		fprintf(stderr, "BACKOFFICE_ORGANIZATION: \"%s\" is not a UUID\n", organization);
		good = false;
	}
	if (good && !consume_check(&ingest.settings, why, sizeof(why)))
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

	if (!worker_settings(&program, argc, argv, &ingest.settings.instance, settings_good, &exit_code))
		return exit_code;
	if (!loop_init(&ingest.loop, loop_monotonic_ms) || !start())
	{
		perror("kafka-ingest");
		return 1;
	}
	run();
	free(ingest.messages);
	free(ingest.offsets);
	return 0;
}
