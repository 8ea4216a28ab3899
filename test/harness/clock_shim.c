/*
 * Preloaded into a server under test: the time of day, moved by as many microseconds as the file says that
 * BACKOFFICE_TEST_CLOCK names. Waits and CLOCK_MONOTONIC are left alone, as when somebody sets the time.
 * (libfaketime forgets a change in processes that PostgreSQL 15 forks out of a signal handler.)
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *ahead_us;

__attribute__((constructor)) static void
look(void)
{
	const char *path = getenv("BACKOFFICE_TEST_CLOCK");
	int			fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	void	   *page = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);

	/* A test that believes it moves the clock, and does not, proves nothing. */
	if (page == MAP_FAILED)
		_exit(70);
	close(fd);
	ahead_us = page;
}

static int64_t
now_us(void)
{
	struct timespec real;

	syscall(SYS_clock_gettime, CLOCK_REALTIME, &real);
	return (int64_t) real.tv_sec * 1000000 + real.tv_nsec / 1000 + *ahead_us;
}

int
gettimeofday(struct timeval *restrict to, void *restrict zone)
{
	int64_t		now = now_us();

	(void) zone;
	to->tv_sec = now / 1000000;
	to->tv_usec = now % 1000000;
	return 0;
}

time_t
time(time_t *to)
{
	time_t		now = now_us() / 1000000;

	if (to != NULL)
		*to = now;
	return now;
}

int
clock_gettime(clockid_t clock, struct timespec *to)
{
	int64_t		now;

	if (clock != CLOCK_REALTIME)
		return (int) syscall(SYS_clock_gettime, clock, to);
	now = now_us();
	to->tv_sec = now / 1000000;
	to->tv_nsec = now % 1000000 * 1000;
	return 0;
}
