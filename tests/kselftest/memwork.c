// SPDX-License-Identifier: GPL-2.0
/*
 * A memory workload with steps that a test can wait for.
 *
 *	memwork hold MIB	touch MIB, say "touched", free it on SIGUSR1,
 *				say "freed", stay until the next SIGUSR1
 *	memwork churn MIB SECONDS
 *				touch and free MIB over and over; say how often
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE_BYTES	4096UL
#define MIB		(1UL << 20)

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static char *take(size_t bytes)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t i;

	if (p == MAP_FAILED) {
		perror("memwork: mmap");
		exit(1);
	}
	for (i = 0; i < bytes; i += PAGE_BYTES)
		p[i] = 1;
	return p;
}

static void say(const char *what)
{
	printf("%s %.3f\n", what, now_s());
	fflush(stdout);
}

static int hold(size_t bytes)
{
	sigset_t wake;
	int sig;
	char *p;

	sigemptyset(&wake);
	sigaddset(&wake, SIGUSR1);
	sigprocmask(SIG_BLOCK, &wake, NULL);
	p = take(bytes);
	say("touched");
	sigwait(&wake, &sig);
	munmap(p, bytes);
	say("freed");
	sigwait(&wake, &sig);
	return 0;
}

static int churn(size_t bytes, double seconds)
{
	double end = now_s() + seconds;
	unsigned long cycles = 0;

	while (now_s() < end) {
		munmap(take(bytes), bytes);
		cycles++;
	}
	printf("cycles %lu\n", cycles);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "hold"))
		return hold(strtoul(argv[2], NULL, 0) * MIB);
	if (argc == 4 && !strcmp(argv[1], "churn"))
		return churn(strtoul(argv[2], NULL, 0) * MIB,
			     strtod(argv[3], NULL));
	fprintf(stderr,
		"usage: memwork hold MIB | memwork churn MIB SECONDS\n");
	return 2;
}
