#include "lib/loop.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
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
	for (int i = 0; i < LOOP_MAX_FDS; i++)
		loop->fds[i].fd = -1;
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
}

bool
loop_watch(Loop *loop, int fd, uint32_t epoll_events, LoopFdFunction function, void *context)
{
	LoopFd	   *slot = NULL;
	struct epoll_event event = {.events = epoll_events};

	for (int i = 0; i < LOOP_MAX_FDS; i++)
	{
		if (loop->fds[i].fd == fd)
		{
			slot = &loop->fds[i];
			break;
		}
		if (slot == NULL && loop->fds[i].fd == -1)
			slot = &loop->fds[i];
	}
	if (slot == NULL)
	{
		errno = ENOSPC;
		return false;
	}
	event.data.u32 = (uint32_t) (slot - loop->fds);
	if (slot->fd == fd)
	{
		slot->function = function;
		slot->context = context;
		if (slot->events == epoll_events)
			return true;
		slot->events = epoll_events;
		return epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0;
	}
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
		return false;
	*slot = (LoopFd) {.fd = fd, .events = epoll_events, .function = function, .context = context};
	return true;
}

void
loop_forget(Loop *loop, int fd)
{
	for (int i = 0; i < LOOP_MAX_FDS; i++)
		if (fd >= 0 && loop->fds[i].fd == fd)
		{
			epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
			loop->fds[i].fd = -1;
		}
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
	struct epoll_event events[LOOP_MAX_FDS];
	int64_t		wait_ms = loop_run_timers(loop);
	int			n;

	if (max_wait_ms >= 0 && (wait_ms < 0 || wait_ms > max_wait_ms))
		wait_ms = max_wait_ms;
	n = epoll_wait(loop->epoll_fd, events, LOOP_MAX_FDS, wait_ms < 0 ? -1 : wait_ms > INT_MAX ? INT_MAX : (int) wait_ms);
	for (int i = 0; i < n; i++)
	{
		LoopFd	   *slot = &loop->fds[events[i].data.u32];

		/* An earlier callback of this round may have forgotten it. */
		if (slot->fd >= 0)
			slot->function(slot->context, events[i].events);
	}
}
