/*
 * The pool's bookkeeping of calls when a connection ends at the worst moment. The server is a thread that speaks just
 * enough of the protocol: a real one ends between an error and the Sync behind it too, but not when it is told to.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "gateway/intercept.h"
#include "gateway/pool.h"
#include "gateway/shared.h"
#include "lib/log.h"

typedef enum Behaviour
{
	ANSWERS,
	DIES,						/* an error to the next Bind, and then nothing any more */
	FINDS_ABORTED				/* the next Bind finds a transaction that another left behind */
} Behaviour;

static _Atomic Behaviour behaviour;
static char folder[] = "/tmp/backoffice-pool-XXXXXX";
static Gateway gateway;

/* ---- the server ---- */

static bool
read_all(int fd, void *bytes, size_t len)
{
	return len == 0 || recv(fd, bytes, len, MSG_WAITALL) == (ssize_t) len;
}

static void
say(int fd, char type, const void *bytes, size_t len)
{
	char		message[200];
	uint32_t	size = htonl((uint32_t) len + 4);

	message[0] = type;
	memcpy(message + 1, &size, 4);
	memcpy(message + 5, bytes, len);
	/* Nobody may be there any more. */
	(void) !send(fd, message, len + 5, MSG_NOSIGNAL);
}

static void
say_error(int fd, const char *state)
{
	char		fields[100];
	int			len = snprintf(fields, sizeof(fields), "SERROR%cVERROR%cC%s%cMno%c", 0, 0, state, 0, 0);

	say(fd, 'E', fields, (size_t) len + 1);
}

/* False: the connection is over. */
static bool
answer(int fd, char type, bool *skipping)
{
	Behaviour	now = atomic_load(&behaviour);

	if (type == 'S')
	{
		*skipping = false;
		say(fd, 'Z', "I", 1);
	}
	else if (type == 'B' && !*skipping && now != ANSWERS)
	{
		*skipping = true;
		atomic_store(&behaviour, ANSWERS);
		say_error(fd, now == DIES ? "P0001" : "25P02");
		return now != DIES;
	}
	else if (!*skipping && strchr("PBDE", type) != NULL)
		say(fd, type == 'P' ? '1' : type == 'B' ? '2' : type == 'D' ? 'n' : 'C', "SELECT 0", type == 'E' ? 9 : 0);
	return type != 'X';
}

static void
serve(int fd)
{
	char		bytes[4096];
	uint32_t	size;
	char		type = 0;
	bool		skipping = false;

	/* The start-up packet has no type. */
	if (!read_all(fd, &size, 4) || !read_all(fd, bytes, ntohl(size) - 4))
		return;
	say(fd, 'R', "\0\0\0", 4);
	say(fd, 'Z', "I", 1);
	while (read_all(fd, &type, 1) && read_all(fd, &size, 4) && ntohl(size) <= sizeof(bytes) && read_all(fd, bytes, ntohl(size) - 4) &&
		   answer(fd, type, &skipping))
		;
}

static void *
server(void *context)
{
	int			listener = *(int *) context;
	int			fd;

	while ((fd = accept(listener, NULL, NULL)) >= 0)
	{
		serve(fd);
		close(fd);
	}
	return NULL;
}

static int
start(void **state)
{
	static int	listener;
	static char dsn[100];
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	pthread_t	thread;

	(void) state;
	log_init("test", "", LOG_LEVEL_ERROR);
	if (mkdtemp(folder) == NULL || !intercept_init() || !loop_init(&gateway.loop, loop_monotonic_ms))
		return -1;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/.s.PGSQL.5432", folder);
	snprintf(dsn, sizeof(dsn), "host=%s port=5432 user=a dbname=a", folder);
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	if (bind(listener, (struct sockaddr *) &address, sizeof(address)) != 0 || listen(listener, 5) != 0 ||
		pthread_create(&thread, NULL, server, &listener) != 0)
		return -1;
	pthread_detach(thread);
	gateway.settings = (Settings) {.database = dsn, .databases_file = "", .pool = 1, .depth = 4, .fast_us = 60000000, .queue = 10,
		.queue_ms = 5000, .request_ms = 10000};
	gateway.shared = calloc(1, sizeof(Shared) + sizeof(ProcessStats));
	gateway.pools = pools_open(&gateway, stderr);
	if (gateway.pools == NULL)
		return -1;
	pools_start(gateway.pools);
	return 0;
}

static int
stop(void **state)
{
	char		path[100];

	(void) state;
	pools_close(gateway.pools);
	loop_close(&gateway.loop);
	free(gateway.shared);
	snprintf(path, sizeof(path), "%s/.s.PGSQL.5432", folder);
	return unlink(path) + rmdir(folder);
}

/* ---- calls ---- */

typedef struct Asked
{
	Call		call;
	Statement	statement;
	struct Asked *ends;			/* whom nobody waits for once this one is over */
	int			over;
	CallOutcome outcome;
} Asked;

static void
is_over(Call *call, CallOutcome outcome, PGresult *result, const char *principal)
{
	Asked	   *asked = call->context;

	(void) principal;
	asked->over++;
	asked->outcome = outcome;
	PQclear(result);
	if (asked->ends != NULL)
		pool_abandon(&asked->ends->call);
}

static void
ask(Asked *asked, const char *sql, Asked *ends)
{
	*asked = (Asked) {.statement = {.sql = sql}, .ends = ends};
	asked->call = (Call) {.internal = true, .main = &asked->statement, .done = is_over, .context = asked};
	pool_submit(pools_find(gateway.pools, NULL), &asked->call);
}

static void
go_on(const Asked *asked)
{
	for (int i = 0; i < 1000 && asked->over == 0; i++)
	{
		gateway.now_us = gateway_monotonic_us();
		pools_flush(gateway.pools);
		loop_once(&gateway.loop, 10);
	}
	assert_int_equal(asked->over, 1);
}

/* Both statements are prepared, and known to be fast. */
static void
warm_up(void)
{
	for (int i = 0; i < 10; i++)
	{
		Asked		asked;

		ask(&asked, i % 2 == 0 ? "first" : "second", NULL);
		go_on(&asked);
		assert_int_equal(asked.outcome, CALL_DONE);
	}
}

static void
nothing_is_left(void)
{
	PoolState	state;
	Asked		last;

	ask(&last, "first", NULL);
	go_on(&last);
	assert_int_equal(last.outcome, CALL_DONE);
	pools_state(gateway.pools, &state);
	assert_int_equal(state.in_flight, 0);
	assert_int_equal(state.queued, 0);
}

/* As when a listener's rights turn out to be gone: its page of the log is behind that on the same connection. */
static void
a_lost_call_ends_another(void **state)
{
	Asked		first;
	Asked		second;

	(void) state;
	warm_up();
	atomic_store(&behaviour, DIES);
	ask(&first, "first", &second);
	ask(&second, "second", NULL);
	go_on(&first);
	assert_int_equal(first.outcome, CALL_FAILED);
	assert_int_equal(second.over, 0);
	nothing_is_left();
	assert_int_equal(second.over, 0);
}

static void
a_lost_call_ends_the_one_that_broke_the_connection(void **state)
{
	Asked		first;
	Asked		second;

	(void) state;
	warm_up();
	atomic_store(&behaviour, FINDS_ABORTED);
	ask(&first, "first", NULL);
	ask(&second, "second", &first);
	go_on(&second);
	assert_int_equal(second.outcome, CALL_LOST);
	nothing_is_left();
	assert_int_equal(first.over, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_lost_call_ends_another),
		cmocka_unit_test(a_lost_call_ends_the_one_that_broke_the_connection),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
