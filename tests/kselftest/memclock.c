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
 *
 * It looks with a pause between two looks, the same for both, so that one way
 * of moving memory can be compared with another.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Between two looks, us. */
#define PAUSE_US	2000

/* It is given up after this long, s. */
#define LIMIT_S		300

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

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

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "order"))
		return order(argv[2], argv[3], argv[4]);
	if (argc == 4 && !strcmp(argv[1], "follow"))
		return follow(argv[2], argv[3]);
	fprintf(stderr,
		"usage: memclock order FILE WATCHED NUMBER | follow TARGET WATCHED\n");
	return 2;
}
