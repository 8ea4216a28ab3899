/*
 * mock-broker: librdkafka's mock cluster as a process of its own, over real TCP.
 *
 *	mock-broker [--brokers N] [--stay] [topic:partitions ...]
 *
 * Prints the bootstrap servers on its first line, then obeys commands from
 * standard input, one a line, each answered by "ok" or "error <why>":
 *
 *	topic <name> <partitions>			make a topic
 *	error <request> <code> [count]		the next requests of this kind fail so
 *	clear <request>						forget pushed errors
 *	topic-error <name> <code>			metadata of the topic fails so (0: heals)
 *	rtt <broker|all> <ms>				answers take so long
 *	down <broker|all>, up <broker|all>	broker off and on
 *	leader <topic> <partition> <broker>	move a partition
 *	quit
 *
 * Ends at the end of its input, so that it dies with who started it; --stay
 * keeps it until SIGTERM.  Messages live in memory, about 5 MB a partition.
 */
#include <errno.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_WORDS 5
#define MAX_PUSHED 1000

typedef struct Mock
{
	rd_kafka_mock_cluster_t *cluster;
	int			brokers;
} Mock;

static const struct
{
	const char *name;
	int			api_key;
}			requests[] = {
	{"produce", 0}, {"fetch", 1}, {"list-offsets", 2}, {"metadata", 3},
	{"offset-commit", 8}, {"offset-fetch", 9}, {"find-coordinator", 10},
	{"join-group", 11}, {"heartbeat", 12}, {"leave-group", 13},
	{"sync-group", 14}, {"create-topics", 19}, {"init-producer-id", 22}
};

static bool
parse_int(const char *text, int min, int max, int *value)
{
	char	   *end;
	long		parsed;

	errno = 0;
	parsed = strtol(text, &end, 10);
	if (errno != 0 || *end != '\0' || end == text || parsed < min || parsed > max)
		return false;
	*value = (int) parsed;
	return true;
}

static bool
parse_request(const char *text, int *api_key)
{
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		if (strcasecmp(text, requests[i].name) == 0)
		{
			*api_key = requests[i].api_key;
			return true;
		}
	return parse_int(text, 0, 100, api_key);
}

static const char *
push_errors(Mock *mock, char **words, int n)
{
	rd_kafka_resp_err_t errors[MAX_PUSHED];
	int			api_key;
	int			code;
	int			count = 1;

	if (n < 3 || !parse_request(words[1], &api_key) || !parse_int(words[2], -1, 200, &code) ||
		(n > 3 && !parse_int(words[3], 1, MAX_PUSHED, &count)))
		return "usage: error <request> <code> [count]";
	for (int i = 0; i < count; i++)
		errors[i] = (rd_kafka_resp_err_t) code;
	rd_kafka_mock_push_request_errors_array(mock->cluster, (int16_t) api_key, (size_t) count, errors);
	return NULL;
}

/* down, up and rtt, for one broker or all. */
static const char *
each_broker(Mock *mock, char **words, int n)
{
	int			first = 1;
	int			last = mock->brokers;
	int			ms = 0;

	if (n < 2 || (strcmp(words[0], "rtt") == 0 && (n < 3 || !parse_int(words[2], 0, 600000, &ms))))
		return "usage: rtt <broker|all> <ms>, down <broker|all>, up <broker|all>";
	if (strcmp(words[1], "all") != 0)
	{
		if (!parse_int(words[1], 1, mock->brokers, &first))
			return "no such broker";
		last = first;
	}
	for (int broker = first; broker <= last; broker++)
	{
		rd_kafka_resp_err_t err;

		if (words[0][0] == 'r')
			err = rd_kafka_mock_broker_set_rtt(mock->cluster, broker, ms);
		else if (words[0][0] == 'd')
			err = rd_kafka_mock_broker_set_down(mock->cluster, broker);
		else
			err = rd_kafka_mock_broker_set_up(mock->cluster, broker);
		if (err)
			return rd_kafka_err2str(err);
	}
	return NULL;
}

static const char *
make_topic(Mock *mock, const char *name, const char *partitions_text)
{
	int			partitions;
	rd_kafka_resp_err_t err;

	if (!parse_int(partitions_text, 1, 1000, &partitions))
		return "usage: topic <name> <partitions>";
	err = rd_kafka_mock_topic_create(mock->cluster, name, partitions, mock->brokers < 3 ? mock->brokers : 3);
	return err ? rd_kafka_err2str(err) : NULL;
}

static const char *
move_leader(Mock *mock, char **words, int n)
{
	int			partition;
	int			broker;
	rd_kafka_resp_err_t err;

	if (n < 4 || !parse_int(words[2], 0, 1000, &partition) || !parse_int(words[3], -1, mock->brokers, &broker))
		return "usage: leader <topic> <partition> <broker>";
	err = rd_kafka_mock_partition_set_leader(mock->cluster, words[1], partition, broker);
	return err ? rd_kafka_err2str(err) : NULL;
}

static const char *
obey(Mock *mock, char **words, int n)
{
	int			value;

	if (strcmp(words[0], "topic") == 0)
		return n < 3 ? "usage: topic <name> <partitions>" : make_topic(mock, words[1], words[2]);
	if (strcmp(words[0], "error") == 0)
		return push_errors(mock, words, n);
	if (strcmp(words[0], "clear") == 0)
	{
		if (n < 2 || !parse_request(words[1], &value))
			return "usage: clear <request>";
		rd_kafka_mock_clear_request_errors(mock->cluster, (int16_t) value);
		return NULL;
	}
	if (strcmp(words[0], "topic-error") == 0)
	{
		if (n < 3 || !parse_int(words[2], -1, 200, &value))
			return "usage: topic-error <name> <code>";
		rd_kafka_mock_topic_set_error(mock->cluster, words[1], (rd_kafka_resp_err_t) value);
		return NULL;
	}
	if (strcmp(words[0], "rtt") == 0 || strcmp(words[0], "down") == 0 || strcmp(words[0], "up") == 0)
		return each_broker(mock, words, n);
	if (strcmp(words[0], "leader") == 0)
		return move_leader(mock, words, n);
	return "unknown command";
}

static void
obey_all(Mock *mock)
{
	char		line[1024];

	while (fgets(line, sizeof(line), stdin) != NULL)
	{
		char	   *words[MAX_WORDS];
		char	   *rest = NULL;
		int			n = 0;
		const char *why;

		for (char *word = strtok_r(line, " \t\r\n", &rest); word != NULL && n < MAX_WORDS;
			 word = strtok_r(NULL, " \t\r\n", &rest))
			words[n++] = word;
		if (n == 0)
			continue;
		if (strcmp(words[0], "quit") == 0)
			return;
		why = obey(mock, words, n);
		if (why != NULL)
			printf("error %s\n", why);
		else
			printf("ok\n");
		fflush(stdout);
	}
}

static void
silent(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
	(void) rk;
	if (level <= 3)
		fprintf(stderr, "%s: %s\n", facility, text);
}

static const char *
make_topics(Mock *mock, int argc, char **argv, int first)
{
	for (int i = first; i < argc; i++)
	{
		char	   *colon = strrchr(argv[i], ':');
		const char *why;

		if (colon == NULL)
			return "a topic is given as name:partitions";
		*colon = '\0';
		why = make_topic(mock, argv[i], colon + 1);
		if (why != NULL)
			return why;
	}
	return NULL;
}

int
main(int argc, char **argv)
{
	Mock		mock = {NULL, 1};
	bool		stay = false;
	int			arg = 1;
	char		errstr[512];
	const char *why;
	rd_kafka_conf_t *conf;
	rd_kafka_t *rk;
	sigset_t	ends;

	for (; arg < argc && argv[arg][0] == '-'; arg++)
	{
		if (strcmp(argv[arg], "--stay") == 0)
			stay = true;
		else if (strcmp(argv[arg], "--brokers") == 0 && arg + 1 < argc && parse_int(argv[arg + 1], 1, 20, &mock.brokers))
			arg++;
		else
		{
			fprintf(stderr, "usage: mock-broker [--brokers N] [--stay] [topic:partitions ...]\n");
			return 2;
		}
	}
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	if (stay)
		sigprocmask(SIG_BLOCK, &ends, NULL);

	conf = rd_kafka_conf_new();
	rd_kafka_conf_set_log_cb(conf, silent);
	rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, errstr, sizeof(errstr));
	if (rk == NULL || (mock.cluster = rd_kafka_mock_cluster_new(rk, mock.brokers)) == NULL)
	{
		fprintf(stderr, "mock-broker: %s\n", rk == NULL ? errstr : "no mock cluster");
		return 1;
	}
	why = make_topics(&mock, argc, argv, arg);
	if (why != NULL)
	{
		fprintf(stderr, "mock-broker: %s\n", why);
		return 2;
	}
	printf("%s\n", rd_kafka_mock_cluster_bootstraps(mock.cluster));
	fflush(stdout);

	obey_all(&mock);
	if (stay)
	{
		int			signal_number;

		sigwait(&ends, &signal_number);
	}
	rd_kafka_mock_cluster_destroy(mock.cluster);
	rd_kafka_destroy(rk);
	return 0;
}
