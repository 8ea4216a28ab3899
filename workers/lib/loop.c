#include "lib/loop.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

int64_t
loop_monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void
signal_came(void *context, uint32_t events)
{
	Loop	   *loop = context;
	struct signalfd_siginfo info;

	(void) events;
	while (read(loop->signal_fd, &info, sizeof(info)) == sizeof(info))
		loop->stopping = true;
}

bool
loop_init(Loop *loop, int64_t (*clock_ms) (void))
{
	sigset_t	ends;

	memset(loop, 0, sizeof(*loop));
	loop->clock_ms = clock_ms;
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	if (sigprocmask(SIG_BLOCK, &ends, NULL) != 0)
		return false;
	signal(SIGPIPE, SIG_IGN);
	loop->signal_fd = signalfd(-1, &ends, SFD_NONBLOCK | SFD_CLOEXEC);
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return loop->signal_fd >= 0 && loop->epoll_fd >= 0 &&
		loop_watch(loop, loop->signal_fd, EPOLLIN, signal_came, loop);
}

void
loop_close(Loop *loop)
{
	close(loop->signal_fd);
	close(loop->epoll_fd);
	free(loop->fds);
	loop->fds = NULL;
	loop->fd_count = 0;
}

static bool
make_room(Loop *loop, int fd)
{
	int			count = loop->fd_count > 0 ? loop->fd_count : 32;
	LoopFd	   *fds;

	if (fd < loop->fd_count)
		return true;
	while (count <= fd)
		count *= 2;
	fds = realloc(loop->fds, (size_t) count * sizeof(*fds));
	if (fds == NULL)
		return false;
	memset(fds + loop->fd_count, 0, (size_t) (count - loop->fd_count) * sizeof(*fds));
	loop->fds = fds;
	loop->fd_count = count;
	return true;
}

bool
loop_watch(Loop *loop, int fd, uint32_t epoll_events, LoopFdFunction function, void *context)
{
	struct epoll_event event = {.events = epoll_events};
	LoopFd	   *slot;

	if (fd < 0 || !make_room(loop, fd))
	{
		errno = fd < 0 ? EBADF : ENOMEM;
		return false;
	}
	slot = &loop->fds[fd];
	if (slot->watched)
	{
		slot->function = function;
		slot->context = context;
		if (slot->events == epoll_events)
			return true;
		slot->events = epoll_events;
		event.data.u64 = (uint64_t) slot->generation << 32 | (uint32_t) fd;
		return epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0;
	}
	event.data.u64 = (uint64_t) (slot->generation + 1) << 32 | (uint32_t) fd;
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
		return false;
	*slot = (LoopFd) {.generation = slot->generation + 1, .events = epoll_events, .watched = true,
		.function = function, .context = context};
	return true;
}

void
loop_forget(Loop *loop, int fd)
{
	if (fd < 0 || fd >= loop->fd_count || !loop->fds[fd].watched)
		return;
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	loop->fds[fd].watched = false;
}

void
loop_timer_init(Loop *loop, LoopTimer *timer, LoopTimerFunction function, void *context)
{
	timer->function = function;
	timer->context = context;
	timer->at_ms = LOOP_NEVER;
	timer->next = loop->timers;
	loop->timers = timer;
}

void
loop_timer_in(Loop *loop, LoopTimer *timer, int64_t delay_ms)
{
	timer->at_ms = loop->clock_ms() + (delay_ms > 0 ? delay_ms : 0);
}

void
loop_timer_off(LoopTimer *timer)
{
	timer->at_ms = LOOP_NEVER;
}

int64_t
loop_run_timers(Loop *loop)
{
	int64_t		now = loop->clock_ms();
	int64_t		next = LOOP_NEVER;

	for (LoopTimer *timer = loop->timers; timer != NULL; timer = timer->next)
		if (timer->at_ms <= now)
		{
			timer->at_ms = LOOP_NEVER;
			timer->function(timer->context);
		}
	for (LoopTimer *timer = loop->timers; timer != NULL; timer = timer->next)
		if (timer->at_ms < next)
			next = timer->at_ms;
	if (next == LOOP_NEVER)
		return -1;
	now = loop->clock_ms();
	return next > now ? next - now : 0;
}

void
loop_once(Loop *loop, int64_t max_wait_ms)
{
	struct epoll_event events[LOOP_ROUND_EVENTS];
	int64_t		wait_ms = loop_run_timers(loop);
	int			n;

	if (max_wait_ms >= 0 && (wait_ms < 0 || wait_ms > max_wait_ms))
		wait_ms = max_wait_ms;
	n = epoll_wait(loop->epoll_fd, events, LOOP_ROUND_EVENTS, wait_ms < 0 ? -1 : wait_ms > INT_MAX ? INT_MAX : (int) wait_ms);
	for (int i = 0; i < n; i++)
	{
		/* A copy: the function may make the table grow, an earlier one of this round may have forgotten it. */
		LoopFd		slot = loop->fds[(uint32_t) events[i].data.u64];

		if (slot.watched && slot.generation == events[i].data.u64 >> 32)
			slot.function(slot.context, events[i].events);
	}
}
