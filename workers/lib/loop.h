/*
 * One thread's event loop: file descriptors (epoll), timers, SIGTERM and SIGINT
 * (signalfd), and a clock that tests replace.
 */
#ifndef BACKOFFICE_LOOP_H
#define BACKOFFICE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#define LOOP_ROUND_EVENTS 128	/* handled at most in one round */
#define LOOP_NEVER INT64_MAX

typedef struct Loop Loop;
typedef struct LoopTimer LoopTimer;

typedef void (*LoopFdFunction) (void *context, uint32_t epoll_events);
typedef void (*LoopTimerFunction) (void *context);

struct LoopTimer
{
	LoopTimerFunction function;
	void	   *context;
	int64_t		at_ms;			/* LOOP_NEVER: off */
	LoopTimer  *next;
};

/* What is known of one descriptor; the table is indexed by it. */
typedef struct LoopFd
{
	uint32_t	generation;		/* counts registrations: an event of an earlier one is not ours */
	uint32_t	events;
	bool		watched;
	LoopFdFunction function;
	void	   *context;
} LoopFd;

struct Loop
{
	int			epoll_fd;
	int			signal_fd;
	int64_t		(*clock_ms) (void);	/* monotonic */
	LoopTimer  *timers;
	LoopFd	   *fds;			/* grows with the descriptors */
	int			fd_count;
	bool		stopping;		/* SIGTERM or SIGINT came */
	bool		ended;
};

extern int64_t loop_monotonic_ms(void);

/* Blocks SIGTERM and SIGINT for this thread and those it starts later: call before any thread. False: see errno. */
extern bool loop_init(Loop *loop, int64_t (*clock_ms) (void));
extern void loop_close(Loop *loop);

/* Watches a descriptor, or changes what is watched (events 0: registered, quiet). */
extern bool loop_watch(Loop *loop, int fd, uint32_t epoll_events, LoopFdFunction function, void *context);
extern void loop_forget(Loop *loop, int fd);

extern void loop_timer_init(Loop *loop, LoopTimer *timer, LoopTimerFunction function, void *context);
extern void loop_timer_in(Loop *loop, LoopTimer *timer, int64_t delay_ms);
extern void loop_timer_off(LoopTimer *timer);

/* Runs what is due; returns how long until the next timer, -1 when there is none. */
extern int64_t loop_run_timers(Loop *loop);

/* One round: waits for something (at most max_wait_ms when that is not negative) and handles it. */
extern void loop_once(Loop *loop, int64_t max_wait_ms);

#endif
