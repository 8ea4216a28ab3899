/* The parent: holds the port, forks the processes, restarts those that end, passes signals on. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gateway/gateway.h"
#include "gateway/process.h"
#include "gateway/shared.h"
#include "lib/backoff.h"
#include "lib/log.h"
#include "lib/worker.h"

#define BACKLOG 1024
#define LOOK_MS 200
/* A process that ran so long had a good start: the next failure begins the backoff anew. */
#define GOOD_RUN_MS 60000

typedef struct Child
{
	pid_t		pid;			/* 0: not running */
	int64_t		started_ms;
	int64_t		start_at_ms;
	int64_t		rounds;			/* of its loop, when they were looked at */
	int64_t		looks;			/* since they changed */
	Backoff		backoff;
} Child;

static Child children[GATEWAY_MAX_PROCESSES];
static bool stopping;
static int	exit_code;

/* A socket on the port; every process has its own, and the kernel spreads connections over those that listen. */
static int
open_socket(const Gateway *gateway, int port, bool listening)
{
	char		service[16];
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE, .ai_socktype = SOCK_STREAM};
	struct addrinfo *found;
	int			fd;
	int			on = 1;

	snprintf(service, sizeof(service), "%d", port);
	if (getaddrinfo(gateway->settings.address, service, &hints, &found) != 0)
	{
		errno = EINVAL;
		return -1;
	}
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* Small answers go out at once: libmicrohttpd corks and uncorks by itself. */
	if (fd >= 0 && (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
					setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0 ||
					setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0 ||
					bind(fd, found->ai_addr, found->ai_addrlen) != 0 || (listening && listen(fd, BACKLOG) != 0)))
	{
		close(fd);
		fd = -1;
	}
	freeaddrinfo(found);
	return fd;
}

static int
bound_port(int fd)
{
	struct sockaddr_storage address;
	socklen_t	len = sizeof(address);

	if (getsockname(fd, (struct sockaddr *) &address, &len) != 0)
		return -1;
	/* The port lies at the same place in both kinds of addresses. */
	return ntohs(((struct sockaddr_in *) (void *) &address)->sin_port);
}

static int
child_main(Gateway *gateway, int number, const sigset_t *mask, int held_fd)
{
	close(held_fd);
	/* Whatever ends the parent ends the processes: they drain. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	sigprocmask(SIG_SETMASK, mask, NULL);
	gateway->process = number;
	gateway->listen_fd = open_socket(gateway, gateway->port, true);
	if (gateway->listen_fd < 0)
	{
		log_error("could not listen", F_STR("address", gateway->settings.address), F_INT("port", gateway->port), F_STR("error", strerror(errno)));
		return 1;
	}
	return process_child(gateway);
}

static void
start_child(Gateway *gateway, int number, const sigset_t *mask, int held_fd)
{
	Child	   *child = &children[number];
	pid_t		parent = getpid();

	child->start_at_ms = LOOP_NEVER;
	child->started_ms = loop_monotonic_ms();
	child->looks = 0;
	child->pid = fork();
	if (child->pid == 0)
	{
		if (getppid() != parent)
			_exit(1);
		exit(child_main(gateway, number, mask, held_fd));
	}
	if (child->pid < 0)
	{
		child->pid = 0;
		child->start_at_ms = child->started_ms + backoff_next_ms(&child->backoff);
		log_error("could not fork", F_STR("error", strerror(errno)));
	}
}

static void
reap(Gateway *gateway)
{
	pid_t		pid;
	int			status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (int i = 0; i < gateway->settings.processes; i++)
			if (children[i].pid == pid)
			{
				int64_t		now = loop_monotonic_ms();

				children[i].pid = 0;
				tickets_release(gateway->shared->tickets, i);
				if (stopping)
				{
					exit_code = WIFEXITED(status) && WEXITSTATUS(status) == 0 ? exit_code : 1;
					break;
				}
				if (now - children[i].started_ms > GOOD_RUN_MS)
					backoff_reset(&children[i].backoff);
				children[i].start_at_ms = now + backoff_next_ms(&children[i].backoff);
				atomic_fetch_add(&gateway->shared->restarts, 1);
				log_error("a process ended and is started again", F_INT("process", i), F_INT("pid", pid),
						  F_INT("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0),
						  F_INT("exit_code", WIFEXITED(status) ? WEXITSTATUS(status) : 0),
						  F_INT("in_ms", children[i].start_at_ms - now));
			}
}

static void
tell_all(const Gateway *gateway, int signal_number)
{
	for (int i = 0; i < gateway->settings.processes; i++)
		if (children[i].pid > 0)
			kill(children[i].pid, signal_number);
}

static bool
any_left(const Gateway *gateway)
{
	for (int i = 0; i < gateway->settings.processes; i++)
		if (children[i].pid > 0)
			return true;
	return false;
}

/* Looks are counted, not time: when all of us were stopped, the processes need not be the ones to blame. */
static void
kill_stuck(Gateway *gateway)
{
	for (int i = 0; i < gateway->settings.processes; i++)
	{
		Child	   *child = &children[i];
		int64_t		rounds = atomic_load_explicit(&gateway->shared->processes[i].rounds, memory_order_relaxed);

		if (child->pid == 0 || rounds != child->rounds)
			child->looks = 0;
		child->rounds = rounds;
		if (child->pid == 0 || child->looks++ * LOOK_MS < gateway->settings.stuck_ms)
			continue;
		log_error("a process is stuck and is killed", F_INT("process", i), F_INT("pid", child->pid));
		kill(child->pid, SIGKILL);
		child->looks = 0;
	}
}

static void
watch(Gateway *gateway, const sigset_t *signals, const sigset_t *mask, int held_fd)
{
	int64_t		kill_at_ms = LOOP_NEVER;

	while (!stopping || any_left(gateway))
	{
		struct timespec wait = {.tv_sec = 0, .tv_nsec = LOOK_MS * 1000000};
		int			got = sigtimedwait(signals, NULL, &wait);
		int64_t		now = loop_monotonic_ms();

		if ((got == SIGTERM || got == SIGINT) && !stopping)
		{
			stopping = true;
			worker_stopping();
			kill_at_ms = now + gateway->settings.drain_ms + 5000;
			tell_all(gateway, SIGTERM);
		}
		reap(gateway);
		if (got < 0)
			kill_stuck(gateway);
		worker_progress();
		for (int i = 0; i < gateway->settings.processes && !stopping; i++)
			if (children[i].pid == 0 && children[i].start_at_ms <= now)
				start_child(gateway, i, mask, held_fd);
		if (now >= kill_at_ms)
		{
			log_error("processes did not stop in time and are killed");
			tell_all(gateway, SIGKILL);
			kill_at_ms = LOOP_NEVER;
		}
	}
}

static bool
share_memory(Gateway *gateway)
{
	size_t		size = sizeof(Shared) + (size_t) gateway->settings.processes * sizeof(ProcessStats);
	void	   *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	gateway->shared = memory != MAP_FAILED ? memory : NULL;
	return gateway->shared != NULL;
}

/* Descriptors for all the connections, as far as the system lets us. */
static void
raise_file_limit(const Gateway *gateway)
{
	struct rlimit limit;
	rlim_t		wanted = (rlim_t) gateway->settings.connections * 2 + (rlim_t) gateway->settings.pool + 256;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
		return;
	limit.rlim_cur = limit.rlim_max == RLIM_INFINITY || wanted < limit.rlim_max ? wanted : limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < wanted)
		log_warn("fewer open files are allowed than connections are configured", F_INT("open_files", limit.rlim_cur));
}

int
process_parent(Gateway *gateway)
{
	sigset_t	signals;
	sigset_t	mask;
	int			held_fd = open_socket(gateway, (int) gateway->settings.port, false);

	gateway->port = held_fd >= 0 ? bound_port(held_fd) : -1;
	if (gateway->port <= 0 || !share_memory(gateway))
	{
		log_error("could not start", F_STR("address", gateway->settings.address), F_INT("port", gateway->settings.port),
				  F_STR("error", strerror(errno)));
		return 1;
	}
	raise_file_limit(gateway);
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGCHLD);
	sigprocmask(SIG_BLOCK, &signals, &mask);
	signal(SIGPIPE, SIG_IGN);
	log_info("started", F_STR("address", gateway->settings.address), F_INT("port", gateway->port),
			 F_INT("processes", gateway->settings.processes), F_INT("pid", getpid()));
	for (int i = 0; i < gateway->settings.processes; i++)
	{
		backoff_init(&children[i].backoff, 100, 10000, (uint64_t) getpid() * 64 + (uint64_t) i);
		start_child(gateway, i, &mask, held_fd);
	}
	worker_ready();
	watch(gateway, &signals, &mask, held_fd);
	close(held_fd);
	log_info("ended", F_INT("exit_code", exit_code));
	return exit_code;
}
