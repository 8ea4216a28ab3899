/* conf, log, backoff, loop, metrics, kafka settings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <jansson.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/backoff.h"
#include "lib/conf.h"
#include "lib/kafka.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/metrics.h"
#include "lib/pg.h"

static const char *text;
static int64_t number;
static bool flag;

static const ConfItem items[] = {
	{"database", CONF_TEXT, &text, NULL, 1, 0, NULL, "a text"},
	{"kafka-number", CONF_INT, &number, "7", 1, 100, "ms", "a number"},
	{"flag", CONF_BOOL, &flag, "off", 0, 0, NULL, "a flag"},
};
static const ConfProgram program = {"test", "tests", "  test --check\n", items, 3};

static const char *environment[8][2];

static char *
fake_env(const char *name)
{
	for (int i = 0; i < 8 && environment[i][0] != NULL; i++)
		if (strcmp(environment[i][0], name) == 0)
			return (char *) (uintptr_t) environment[i][1];
	return NULL;
}

static ConfVerdict
read_conf(int argc, const char **argv)
{
	FILE	   *sink = fopen("/dev/null", "w");
	ConfVerdict verdict = conf_read(&program, argc, (char **) (uintptr_t) argv, fake_env, sink, sink);

	fclose(sink);
	return verdict;
}

static void
conf_flags_and_environment(void **state)
{
	const char *flags[] = {"test", "--database", "d", "--kafka-number=42", "--flag"};

	(void) state;
	memset(environment, 0, sizeof(environment));
	assert_int_equal(read_conf(5, flags), CONF_RUN);
	assert_string_equal(text, "d");
	assert_int_equal(number, 42);
	assert_true(flag);

	environment[0][0] = "BACKOFFICE_DATABASE", environment[0][1] = "e";
	environment[1][0] = "KAFKA_NUMBER", environment[1][1] = "9";
	environment[2][0] = "BACKOFFICE_FLAG", environment[2][1] = "yes";
	assert_int_equal(read_conf(1, flags), CONF_RUN);
	assert_string_equal(text, "e");
	assert_int_equal(number, 9);
	assert_true(flag);
	assert_int_equal(read_conf(3, flags), CONF_RUN);
	assert_string_equal(text, "d");
	environment[1][1] = NULL, environment[1][0] = "X";
	assert_int_equal(read_conf(1, flags), CONF_RUN);
	assert_int_equal(number, 7);
}

static void
conf_wrong(void **state)
{
	const char *wrong[][4] = {
		{"test"}, {"test", "--database"}, {"test", "--database="}, {"test", "--database=x", "--kafka-number=0"},
		{"test", "--database=x", "--kafka-number=101"}, {"test", "--database=x", "--kafka-number=1x"},
		{"test", "--database=x", "--kafka-number=99999999999999999999"}, {"test", "--database=x", "--flag=perhaps"},
		{"test", "--database=x", "--flags"}, {"test", "--database=x", "stray"}, {"test", "--database=x", "--"},
	};

	(void) state;
	memset(environment, 0, sizeof(environment));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
	{
		int			argc = 0;

		while (argc < 4 && wrong[i][argc] != NULL)
			argc++;
		assert_int_equal(read_conf(argc, wrong[i]), CONF_WRONG);
	}
	assert_int_equal(read_conf(2, (const char *[]) {"test", "--help"}), CONF_DONE);
	assert_int_equal(read_conf(3, (const char *[]) {"test", "--database=x", "--check"}), CONF_CHECK);
}

static void
conf_lists(void **state)
{
	static const struct
	{
		const char *given;
		const char *taken;		/* NULL: refused */
	}			lists[] = {
		{"", ""}, {"a", "a"}, {"a,b", "a,b"}, {" a ,\tb,  c d ", "a,b,c d"}, {"a,", NULL}, {",a", NULL}, {"a, ,b", NULL}, {" ", NULL}, {",", NULL},
	};
	const char *list = NULL;
	const ConfItem list_items[] = {{"topics", CONF_LIST, &list, "x, y", 0, 0, NULL, "a list"}};
	const ConfProgram listed = {"test", "tests", "", list_items, 1};

	(void) state;
	memset(environment, 0, sizeof(environment));
	environment[0][0] = "BACKOFFICE_TOPICS";
	for (size_t i = 0; i <= sizeof(lists) / sizeof(lists[0]); i++)
	{
		bool		fallback = i == sizeof(lists) / sizeof(lists[0]);
		const char *taken = fallback ? "x,y" : lists[i].taken;
		char	   *complaints = NULL;
		size_t		size;
		FILE	   *err = open_memstream(&complaints, &size);

		environment[0][1] = fallback ? NULL : lists[i].given;
		assert_int_equal(conf_read(&listed, 1, (char *[]) {(char[]) {"test"}}, fake_env, err, err), taken != NULL ? CONF_RUN : CONF_WRONG);
		fclose(err);
		if (taken != NULL)
		{
			assert_string_equal(list, taken);
			free((void *) (uintptr_t) list);
		}
		else
			assert_non_null(strstr(complaints, "BACKOFFICE_TOPICS: an item of the list is empty"));
		free(complaints);
	}
}

/* A password stands in a value, and in an argument that was torn from its flag. */
static void
conf_tells_no_values(void **state)
{
	static const struct
	{
		const char *argv[4];
		const char *told;
	}			wrong[] = {
		{{"test", "--databse=postgres://u:s3cret@h"}, "--databse: "},
		{{"test", "--databse", "postgres://u:s3cret@h"}, "argument 2: "},
		{{"test", "password=s3cret"}, "argument 1: "},
		{{"test", "-ps3cret"}, "argument 1: "},
		{{"test", "--postgres://u:s3cret@h"}, "argument 1: "},
		{{"test", "--kafka-number=s3cret"}, "kafka-number: "},
		{{"test", "--database=x", "--flag=s3cret"}, "flag: "},
	};

	(void) state;
	memset(environment, 0, sizeof(environment));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
	{
		char	   *complaints = NULL;
		size_t		size;
		FILE	   *err = open_memstream(&complaints, &size);
		int			argc = 0;

		while (argc < 4 && wrong[i].argv[argc] != NULL)
			argc++;
		assert_int_equal(conf_read(&program, argc, (char **) (uintptr_t) wrong[i].argv, fake_env, err, err), CONF_WRONG);
		fclose(err);
		if (strstr(complaints, "s3cret") != NULL || strstr(complaints, wrong[i].told) == NULL)
			fail_msg("%s", complaints);
		free(complaints);
	}
}

static void
log_lines_are_json(void **state)
{
	static const char *const hostile[] = {
		"", "plain", "quote \" and \\ backslash", "line\nbreak\ttab", "\x01\x1f\x7f", "\xff\xfe", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
		"\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc0\x80", "cut \xe2\x82", "password=s3cret;s3cret"
	};
	char		line[2000];

	(void) state;
	log_init("test", "inst\"ance", LOG_LEVEL_INFO);
	log_secret("s3cret");
	log_secret("ab");
	for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++)
	{
		LogField	fields[] = {F_STR("text", hostile[i]), F_INT("number", INT64_MIN), F_STR("null", NULL), {.name = NULL}};
		size_t		len = log_format(line, sizeof(line), 1700000000123, LOG_LEVEL_WARN, hostile[i], fields, 4);
		json_t	   *json = json_loadb(line, len, 0, NULL);

		assert_non_null(json);
		assert_string_equal(json_string_value(json_object_get(json, "ts")), "2023-11-14T22:13:20.123Z");
		assert_string_equal(json_string_value(json_object_get(json, "level")), "warn");
		assert_null(strstr(line, "s3cret"));
		json_decref(json);
	}
}

static void
log_lines_fit(void **state)
{
	char		big[20000];
	char		line[8192];

	(void) state;
	memset(big, '"', sizeof(big));
	for (size_t len = 0; len < sizeof(big); len = len * 2 + 1)
	{
		LogField	fields[] = {F_TEXT("a", big, len), F_TEXT("b", big, len), F_TEXT("c", big, len)};
		size_t		used = log_format(line, sizeof(line), 0, LOG_LEVEL_INFO, "m", fields, 3);
		json_t	   *json = json_loadb(line, used, 0, NULL);

		assert_true(used < sizeof(line));
		assert_non_null(json);
		json_decref(json);
	}
	for (size_t size = 1; size < 12; size++)
	{
		size_t		used = log_json_string(line, size, "\"\"\"", 3);

		assert_true(used < size);
	}
}

static void
backoff_grows_and_is_capped(void **state)
{
	Backoff		backoff;
	int64_t		ceiling = 100;

	(void) state;
	backoff_init(&backoff, 100, 5000, 42);
	for (int i = 0; i < 5000; i++)
	{
		int64_t		delay = backoff_next_ms(&backoff);

		assert_true(delay <= ceiling && delay >= ceiling - ceiling / 2);
		ceiling = ceiling * 2 > 5000 ? 5000 : ceiling * 2;
	}
	backoff_reset(&backoff);
	assert_true(backoff_next_ms(&backoff) <= 100);
	backoff_init(&backoff, 0, -1, 0);
	assert_true(backoff_next_ms(&backoff) <= 1);
	backoff_init(&backoff, INT64_MAX / 2, INT64_MAX, 7);
	for (int i = 0; i < 100; i++)
		assert_true(backoff_next_ms(&backoff) > 0);
}

static int64_t fake_now;
static int	fired;

static int64_t
fake_clock(void)
{
	return fake_now;
}

static void
fire(void *context)
{
	LoopTimer  *timer = context;

	fired++;
	if (fired < 3)
		timer->at_ms = fake_now + 10;
}

static void
loop_timers_follow_the_clock(void **state)
{
	Loop		loop = {.clock_ms = fake_clock};
	LoopTimer	timer;
	LoopTimer	other;

	(void) state;
	loop_timer_init(&loop, &timer, fire, &timer);
	loop_timer_init(&loop, &other, fire, &other);
	assert_int_equal(loop_run_timers(&loop), -1);
	loop_timer_in(&loop, &timer, 10);
	assert_int_equal(loop_run_timers(&loop), 10);
	fake_now = 9;
	assert_int_equal(loop_run_timers(&loop), 1);
	assert_int_equal(fired, 0);
	fake_now = 10;
	assert_int_equal(loop_run_timers(&loop), 10);
	assert_int_equal(fired, 1);
	fake_now = 1000;
	assert_int_equal(loop_run_timers(&loop), 10);
	loop_timer_off(&timer);
	fake_now = 5000;
	assert_int_equal(loop_run_timers(&loop), -1);
	assert_int_equal(fired, 2);
}

static void
metrics_text(void **state)
{
	static Metric counter = {.name = "c_total", .help = "h", .type = METRIC_COUNTER, .labels = "a=\"b\""};
	static Metric histogram = {.name = "h_seconds", .help = "h", .type = METRIC_HISTOGRAM};
	Metric	   *all[] = {&counter, &histogram};
	bool		healthy;
	char	   *out;

	(void) state;
	metrics_register(all, 2);
	metric_add(&counter, 3);
	metric_observe_us(&histogram, -5000);
	metric_observe_us(&histogram, 100);
	metric_observe_us(&histogram, 101);
	metric_observe_us(&histogram, 100000000);
	out = metrics_render();
	assert_non_null(strstr(out, "# TYPE c_total counter\nc_total{a=\"b\"} 3\n"));
	assert_non_null(strstr(out, "h_seconds_bucket{le=\"0.0001\"} 2\nh_seconds_bucket{le=\"0.00025\"} 3\n"));
	assert_non_null(strstr(out, "h_seconds_bucket{le=\"+Inf\"} 4\nh_seconds_sum 100.000201\nh_seconds_count 4\n"));
	free(out);
	out = health_render(0, &healthy);
	assert_false(healthy);
	free(out);
	atomic_store(&health.database, true);
	atomic_store(&health.kafka, true);
	out = health_render(1000, &healthy);
	assert_true(healthy);
	free(out);
	out = health_render(60000, &healthy);
	assert_false(healthy);
	free(out);
}

static void
bootstrap_servers(void **state)
{
	static const char *const good[] = {"a", "a:1", "a:65535,b:2", "[::1]:9092", "[::1]"};
	static const char *const bad[] = {"", ",", "a,", ",a", "a:", "a:0", "a:65536", "a:x", "a b:1", ":9092", "[::1]:"};

	(void) state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(kafka_bootstrap_good(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(kafka_bootstrap_good(bad[i]));
}

static void
note_connected(void *context, bool good)
{
	(void) context, (void) good;
}

/* Nobody is at the first address; the socket for the second has the number of the first one's, which is closed. */
static void
second_address_is_tried(void **state)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t	len = sizeof(address);
	int			door = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	int			guest = -1;
	char		dsn[200];
	char		startup[400];
	ssize_t		heard = -1;
	Loop		loop;
	Pg			pg;

	(void) state;
	assert_int_equal(bind(door, (struct sockaddr *) &address, sizeof(address)), 0);
	assert_int_equal(getsockname(door, (struct sockaddr *) &address, &len), 0);
	assert_int_equal(listen(door, 1), 0);
	snprintf(dsn, sizeof(dsn), "hostaddr=127.0.0.1,127.0.0.1 port=1,%d dbname=d user=u sslmode=disable", ntohs(address.sin_port));
	assert_true(loop_init(&loop, loop_monotonic_ms));
	pg_init(&pg, &loop, dsn, "test", 1000);
	pg_start(&pg, 3, note_connected);
	for (int round = 0; round < 20 && heard <= 0; round++)
	{
		loop_once(&loop, 100);
		if (guest < 0)
			guest = accept4(door, NULL, NULL, SOCK_NONBLOCK);
		if (guest >= 0)
			heard = recv(guest, startup, sizeof(startup), 0);
	}
	assert_true(heard > 0);
	pg_close(&pg);
	close(guest);
	close(door);
	loop_close(&loop);
}

static void
count_errors(rd_kafka_t *producer, int err, const char *reason, void *count)
{
	(void) producer, (void) err, (void) reason;
	(*(int *) count)++;
}

/* An error may be queued before anybody watches the queue: a property of TLS, a broker's name that nobody knows. */
static void
queue_is_watched_late(void **state)
{
	char		error[256] = "";
	int			errors = 0;
	rd_kafka_conf_t *conf = kafka_conf("127.0.0.1:1", "test", "", error, sizeof(error));
	rd_kafka_t *producer;
	rd_kafka_queue_t *queue;
	struct pollfd watched = {.events = POLLIN};

	(void) state;
	assert_non_null(conf);
	rd_kafka_conf_set_error_cb(conf, count_errors);
	rd_kafka_conf_set_opaque(conf, &errors);
	producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof(error));
	assert_non_null(producer);
	rd_kafka_test_fatal_error(producer, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "an early one");
	queue = rd_kafka_queue_get_main(producer);
	watched.fd = kafka_queue_fd(queue);
	assert_true(watched.fd >= 0);
	assert_int_equal(poll(&watched, 1, 2000), 1);
	kafka_drain_fd(watched.fd);
	rd_kafka_poll(producer, 0);
	assert_true(errors > 0);
	rd_kafka_queue_io_event_enable(queue, -1, NULL, 0);
	rd_kafka_queue_destroy(queue);
	rd_kafka_destroy(producer);
	close(watched.fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(conf_flags_and_environment), cmocka_unit_test(conf_wrong), cmocka_unit_test(conf_tells_no_values), cmocka_unit_test(conf_lists),
		cmocka_unit_test(log_lines_are_json), cmocka_unit_test(log_lines_fit),
		cmocka_unit_test(backoff_grows_and_is_capped), cmocka_unit_test(loop_timers_follow_the_clock),
		cmocka_unit_test(metrics_text), cmocka_unit_test(bootstrap_servers),
		cmocka_unit_test(queue_is_watched_late), cmocka_unit_test(second_address_is_tried),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
