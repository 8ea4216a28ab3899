/* Connecting without waiting, where hosts of the database are there and do not answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/pg.h"

#define TIMEOUT_S 3
#define ROUNDS 300				/* of 10 ms: for the kernel to deliver what is on the way */

static int64_t now_ms;
static int	told;				/* how often, and what last */
static bool told_good;

static int64_t
fake_clock(void)
{
	return now_ms;
}

static void
note_connected(void *context, bool good)
{
	(void) context;
	told++;
	told_good = good;
}

/* A socket that listens on an address of this machine; *port 0: any free one. -1: it can't. */
static int
listen_at(const char *address, int *port, int backlog)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
	struct addrinfo *found;
	struct sockaddr_storage bound;
	socklen_t	len = sizeof(bound);
	char		number[16];
	int			door;

	snprintf(number, sizeof(number), "%d", *port);
	assert_int_equal(getaddrinfo(address, number, &hints, &found), 0);
	door = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (door >= 0 && (bind(door, found->ai_addr, found->ai_addrlen) != 0 || listen(door, backlog) != 0 ||
					  getsockname(door, (struct sockaddr *) &bound, &len) != 0))
	{
		close(door);
		door = -1;
	}
	else if (door >= 0)
		*port = ntohs(found->ai_family == AF_INET ? ((struct sockaddr_in *) &bound)->sin_port : ((struct sockaddr_in6 *) &bound)->sin6_port);
	freeaddrinfo(found);
	return door;
}

/* As many connections as its backlog holds: what comes then is dropped by the kernel without a word. */
static void
fill_backlog(int port, int guests[2])
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t) port)};

	for (int i = 0; i < 2; i++)
	{
		guests[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		connect(guests[i], (struct sockaddr *) &address, sizeof(address));
	}
}

/* Whether somebody comes to the door and asks for a session. */
static bool
asked(Loop *loop, int door)
{
	char		startup[400];
	int			guest = -1;
	ssize_t		heard = -1;

	for (int round = 0; round < ROUNDS && heard <= 0 && told == 0; round++)
	{
		loop_once(loop, 10);
		if (guest < 0)
			guest = accept4(door, NULL, NULL, SOCK_NONBLOCK);
		if (guest >= 0)
			heard = recv(guest, startup, sizeof(startup), 0);
	}
	if (guest >= 0)
		close(guest);
	return heard > 0;
}

static void
begin(Loop *loop, Pg *pg, const char *dsn)
{
	told = 0;
	log_init("test", "test", LOG_LEVEL_ERROR);
	assert_true(loop_init(loop, fake_clock));
	pg_init(pg, loop, dsn, "test", 1000);
	pg_start(pg, TIMEOUT_S, note_connected);
	for (int round = 0; round < 5; round++)
		loop_once(loop, 10);
	assert_int_equal(told, 0);
	now_ms += TIMEOUT_S * 1000 - 1;
	loop_once(loop, 0);
	assert_int_equal(told, 0);
	now_ms++;
}

static void
first_host_says_nothing(void **state)
{
	int			mute_port = 0;
	int			port = 0;
	int			mute = listen_at("127.0.0.1", &mute_port, 8);
	int			door = listen_at("127.0.0.1", &port, 8);
	char		dsn[200];
	Loop		loop;
	Pg			pg;

	(void) state;
	snprintf(dsn, sizeof(dsn), "host=127.0.0.1,127.0.0.1 port=%d,%d dbname=d user=u sslmode=disable gssencmode=disable", mute_port, port);
	begin(&loop, &pg, dsn);
	assert_true(asked(&loop, door));
	pg_close(&pg);
	close(mute);
	close(door);
	loop_close(&loop);
}

static void
first_host_takes_no_packets(void **state)
{
	int			hole_port = 0;
	int			port = 0;
	int			guests[2];
	int			hole = listen_at("127.0.0.1", &hole_port, 0);
	int			door = listen_at("127.0.0.1", &port, 8);
	char		dsn[200];
	Loop		loop;
	Pg			pg;

	(void) state;
	fill_backlog(hole_port, guests);
	snprintf(dsn, sizeof(dsn), "postgresql://u@127.0.0.1:%d,127.0.0.1:1,127.0.0.1:%d/d?sslmode=disable", hole_port, port);
	begin(&loop, &pg, dsn);
	assert_true(asked(&loop, door));
	pg_close(&pg);
	close(guests[0]);
	close(guests[1]);
	close(hole);
	close(door);
	loop_close(&loop);
}

/* libpq calls ours: a name that stands for two addresses. */
int
getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
	int			(*real) (const char *, const char *, const struct addrinfo *, struct addrinfo **);
	int			failed;

	*(void **) &real = dlsym(RTLD_NEXT, "getaddrinfo");
	if (name == NULL || strcmp(name, "twins.test") != 0)
		return real(name, service, hints, found);
	failed = real("127.0.0.1", service, hints, found);
	return failed != 0 ? failed : real("127.0.0.2", service, hints, &(*found)->ai_next);
}

/* Each has its time, as in libpq's own waiting. */
static void
first_address_says_nothing(void **state)
{
	int			port = 0;
	int			mute = listen_at("127.0.0.1", &port, 8);
	int			door = listen_at("127.0.0.2", &port, 8);
	char		dsn[200];
	Loop		loop;
	Pg			pg;

	(void) state;
	assert_true(door >= 0);
	snprintf(dsn, sizeof(dsn), "host=twins.test,127.0.0.1 hostaddr=, port=%d dbname=d user=u sslmode=disable", port);
	begin(&loop, &pg, dsn);
	assert_true(asked(&loop, door));
	pg_close(&pg);
	close(mute);
	close(door);
	loop_close(&loop);
}

/* The place of a list with empty items is taken by one item, which is empty. */
static void
last_host_has_no_address(void **state)
{
	int			port = 0;
	int			mute = listen_at("127.0.0.1", &port, 8);
	int			door = listen_at("127.0.0.2", &port, 8);
	char		dsn[200];
	Loop		loop;
	Pg			pg;

	(void) state;
	assert_true(door >= 0);
	snprintf(dsn, sizeof(dsn), "host=a,127.0.0.2 hostaddr=127.0.0.1, port=%d dbname=d user=u sslmode=disable", port);
	begin(&loop, &pg, dsn);
	assert_true(asked(&loop, door));
	pg_close(&pg);
	close(mute);
	close(door);
	loop_close(&loop);
}

static void
nobody_answers(void **state)
{
	int			port = 0;
	int			mute = listen_at("0.0.0.0", &port, 8);
	char		dsn[200];
	Loop		loop;
	Pg			pg;

	(void) state;
	snprintf(dsn, sizeof(dsn), "hostaddr=127.0.0.1,127.0.0.2 port=%d dbname=d user=u sslmode=disable", port);
	begin(&loop, &pg, dsn);
	for (int round = 0; round < 5; round++)
		loop_once(&loop, 10);
	assert_int_equal(told, 0);
	now_ms += TIMEOUT_S * 1000;
	for (int round = 0; round < ROUNDS && told == 0; round++)
		loop_once(&loop, 10);
	assert_int_equal(told, 1);
	assert_false(told_good);
	assert_null(pg.conn);
	/* And again from the first. */
	pg_start(&pg, TIMEOUT_S, note_connected);
	assert_non_null(pg.conn);
	pg_close(&pg);
	close(mute);
	loop_close(&loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_host_says_nothing), cmocka_unit_test(first_host_takes_no_packets),
		cmocka_unit_test(first_address_says_nothing), cmocka_unit_test(last_host_has_no_address), cmocka_unit_test(nobody_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
