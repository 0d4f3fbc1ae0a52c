// SPDX-License-Identifier: GPL-2.0
/*
 * How long memory takes to go or to come, by numbers that the kernel shows.
 *
 *	memclock order FILE WATCHED NUMBER
 *				write "1" to FILE, and say how long it takes from
 *				there until WATCHED reads NUMBER; the write has to
 *				bring that about before it returns
 *	memclock follow TARGET WATCHED
 *				say "ready", wait until TARGET reads another
 *				number, and say how long it takes from there until
 *				WATCHED reads the same
 *	memclock churn MIB SECONDS TURN_MS
 *				touch MIB, bit by bit in TURN_MS, and free it, over
 *				and over; say how often
 *	memclock late MIB SECONDS
 *				touch MIB and free it, sleep for 10 ms, over and
 *				over; say how long the longest turn took, us, and
 *				how many there were
 *	memclock asleep MS
 *				sleep for MS, over and over; after a SIGTERM say how much
 *				longer than that the longest took, us, and how many there
 *				were; MS may have a fraction
 *	memclock busy MIB SECONDS
 *				touch MIB, sleep, free it, sleep, and say for how
 *				many ns the first processor was not idle from the
 *				free on; the only one, for that
 *
 * The first two look with a pause between two looks, the same for both, so that
 * one way of moving memory can be compared with another.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "mem.h"

/* A turn of churn touches so many parts, with a pause after each. */
#define PARTS		64

/* Between two turns of "late", us. */
#define LATE_PAUSE_US	10000

/* Between two looks, us. */
#define PAUSE_US	2000

/* It is given up after this long, s. */
#define LIMIT_S		300

static void fail(const char *what)
{
	fprintf(stderr, "memclock: ");
	perror(what);
	exit(1);
}

static int open_or_fail(const char *path, int flags)
{
	int fd = open(path, flags);

	if (fd < 0)
		fail(path);
	return fd;
}

static unsigned long long number(int fd, const char *path)
{
	char text[64];
	ssize_t got = pread(fd, text, sizeof(text) - 1, 0);

	if (got <= 0)
		fail(path);
	text[got] = '\0';
	return strtoull(text, NULL, 10);
}

static void give_up(const char *when, int fd, const char *path)
{
	fprintf(stderr, "memclock: %s %s reads %llu\n", when, path,
		number(fd, path));
	exit(1);
}

/* Return: the time at which `fd` was seen to read `wanted`, or not to. */
static double seen(int fd, const char *path, unsigned long long wanted,
		   int equal)
{
	double end = now_s() + LIMIT_S;

	while ((number(fd, path) == wanted) != equal) {
		if (now_s() > end)
			give_up("after a long time", fd, path);
		usleep(PAUSE_US);
	}
	return now_s();
}

/* The write may return only when all is done, so another process makes it. */
static pid_t write_beside(int fd, const char *path)
{
	pid_t child = fork();

	if (child < 0)
		fail("fork");
	if (child)
		return child;
	if (write(fd, "1", 1) != 1)
		fail(path);
	exit(0);
}

static int order(const char *file, const char *watched, const char *text)
{
	unsigned long long wanted = strtoull(text, NULL, 10);
	int to = open_or_fail(file, O_WRONLY);
	int fd = open_or_fail(watched, O_RDONLY);
	int status = 0, done = 0;
	double start = now_s(), end;
	pid_t child = write_beside(to, file);

	while (number(fd, watched) != wanted) {
		if (done)
			give_up("when all was done", fd, watched);
		done = waitpid(child, &status, WNOHANG) == child;
		if (!done)
			usleep(PAUSE_US);
	}
	end = now_s();
	if (!done && waitpid(child, &status, 0) != child)
		fail("waitpid");
	if (status)
		return 1;
	printf("seconds %.6f\n", end - start);
	return 0;
}

static int follow(const char *target, const char *watched)
{
	int to = open_or_fail(target, O_RDONLY);
	int fd = open_or_fail(watched, O_RDONLY);
	unsigned long long before = number(to, target);
	double start;

	printf("ready\n");
	fflush(stdout);
	start = seen(to, target, before, 0);
	printf("seconds %.6f\n",
	       seen(fd, watched, number(to, target), 1) - start);
	return 0;
}

static void sleep_until(double when)
{
	double left = when - now_s();

	if (left > 0)
		usleep((useconds_t)(left * 1e6));
}

static int churn(size_t bytes, double seconds, double turn)
{
	double start = now_s(), end = start + seconds;
	size_t part = bytes / PARTS;
	unsigned long cycles = 0;
	char *p;
	size_t i;

	for (; start < end; start = now_s()) {
		p = map(bytes);
		for (i = 0; i < PARTS; i++) {
			touch(p + i * part, part);
			sleep_until(start + turn * (double)(i + 1) / PARTS);
		}
		munmap(p, bytes);
		cycles++;
	}
	printf("cycles %lu\n", cycles);
	return 0;
}

static int late(size_t bytes, double seconds)
{
	double start = now_s(), end = start + seconds, worst = 0, now;
	unsigned long turns = 0;
	char *p;

	while (start < end) {
		p = map(bytes);
		touch(p, bytes);
		munmap(p, bytes);
		now = now_s();
		if (now - start > worst)
			worst = now - start;
		turns++;
		usleep(LATE_PAUSE_US);
		start = now_s();
	}
	printf("worst %.0f\nturns %lu\n", 1e6 * worst, turns);
	return 0;
}

/* The end comes as a signal that the sleep waits for. */
static int asleep(double ms)
{
	long ns = (long)(ms * 1e6);
	struct timespec nap = { ns / 1000000000, ns % 1000000000 };
	double start, over, worst = 0;
	unsigned long turns = 0;
	sigset_t end;

	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	sigprocmask(SIG_BLOCK, &end, NULL);
	for (start = now_s(); sigtimedwait(&end, NULL, &nap) < 0;
	     start = now_s()) {
		over = now_s() - start - ms / 1e3;
		if (over > worst)
			worst = over;
		turns++;
	}
	printf("worst %.0f\nturns %lu\n", 1e6 * worst, turns);
	return 0;
}

/* What the kernel says of time, read before anything of it is looked at. */
struct clocks {
	char timers[1 << 16];
	char sched[1 << 12];
};

static void slurp(const char *path, char *text, size_t size)
{
	int fd = open_or_fail(path, O_RDONLY);
	size_t have = 0;
	ssize_t got;

	while ((got = read(fd, text + have, size - 1 - have)) > 0)
		have += (size_t)got;
	if (got < 0)
		fail(path);
	text[have] = '\0';
	close(fd);
}

static void read_clocks(struct clocks *c)
{
	slurp("/proc/timer_list", c->timers, sizeof(c->timers));
	slurp("/proc/schedstat", c->sched, sizeof(c->sched));
}

/* Return: the number after the first of a text's lines that begins so. */
static int64_t number_after(const char *text, const char *begin, int *found)
{
	const char *at = strstr(text, begin);

	*found = !!at;
	if (!at)
		return 0;
	at += strlen(begin);
	at += strspn(at, " \t:");
	return strtoll(at, NULL, 10);
}

/*
 * Kernels that do not say how long they were idle say how long tasks ran, which
 * leaves out interrupts that come while the processor is idle.
 */
static int64_t busy_ns(const struct clocks *c)
{
	int64_t now, idle, wait, ran;
	int found, waited;
	const char *cpu;

	now = number_after(c->timers, "now at", &found);
	idle = number_after(c->timers, ".idle_sleeptime", &found);
	wait = number_after(c->timers, ".iowait_sleeptime", &waited);
	if (found && waited)
		return now - idle - wait;
	cpu = strstr(c->sched, "cpu0 ");
	if (!cpu || sscanf(cpu, "cpu0 %*s %*s %*s %*s %*s %*s %" SCNd64,
			   &ran) != 1) {
		fprintf(stderr, "memclock: the kernel does not say how long it was idle\n");
		exit(1);
	}
	return ran;
}

static int busy(size_t bytes, unsigned int seconds)
{
	static struct clocks before, after;
	char *p = map(bytes);

	touch(p, bytes);
	/* Not for the first time when it counts. */
	read_clocks(&before);
	read_clocks(&after);
	sleep(seconds);
	read_clocks(&before);
	munmap(p, bytes);
	sleep(seconds);
	read_clocks(&after);
	printf("busy %" PRId64 "\n", busy_ns(&after) - busy_ns(&before));
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "order"))
		return order(argv[2], argv[3], argv[4]);
	if (argc == 4 && !strcmp(argv[1], "follow"))
		return follow(argv[2], argv[3]);
	if (argc == 5 && !strcmp(argv[1], "churn"))
		return churn(strtoul(argv[2], NULL, 0) * MIB,
			     strtod(argv[3], NULL), strtod(argv[4], NULL) / 1e3);
	if (argc == 4 && !strcmp(argv[1], "late"))
		return late(strtoul(argv[2], NULL, 0) * MIB,
			    strtod(argv[3], NULL));
	if (argc == 3 && !strcmp(argv[1], "asleep"))
		return asleep(strtod(argv[2], NULL));
	if (argc == 4 && !strcmp(argv[1], "busy"))
		return busy(strtoul(argv[2], NULL, 0) * MIB,
			    (unsigned int)strtoul(argv[3], NULL, 0));
	fprintf(stderr,
		"usage: memclock order FILE WATCHED NUMBER | follow TARGET WATCHED | churn MIB SECONDS TURN_MS | late MIB SECONDS | asleep MS | busy MIB SECONDS\n");
	return 2;
}
