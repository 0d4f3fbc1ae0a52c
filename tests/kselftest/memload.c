// SPDX-License-Identifier: GPL-2.0
/*
 * Loads whose speed is to be measured.
 *
 *	memload fault THREADS SECONDS
 *				each thread maps FAULT_MIB, touches every page of
 *				it and unmaps it, over and over; say how many
 *				pages were touched in a second, by all together
 *	memload build JOBS PROCESSES MIB
 *				run so many short processes, JOBS at a time, which
 *				use up to MIB each; say how long that took
 *
 * The first second of "fault" does not count: memory that the host has taken
 * away comes back meanwhile. It uses no huge pages, so that each touch is a fault.
 * The processes of "build" have the same sizes each time.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "mem.h"

#define FAULT_MIB	128UL
#define FAULT_BYTES	(FAULT_MIB * MIB)
#define WARM_UP_S	1.0
#define THREADS_MAX	64

struct worker {
	pthread_t thread;
	unsigned long pages;
	double seconds;		/* to measure for, then how long it was */
};

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void touch_and_unmap(void)
{
	char *p = map(FAULT_BYTES);

	/* A kernel without huge pages refuses, and needs no telling. */
	madvise(p, FAULT_BYTES, MADV_NOHUGEPAGE);
	touch(p, FAULT_BYTES);
	munmap(p, FAULT_BYTES);
}

static void *fault_worker(void *data)
{
	struct worker *worker = data;
	double start = now_s(), end;

	while (now_s() < start + WARM_UP_S)
		touch_and_unmap();
	start = now_s();
	end = start + worker->seconds;
	while (now_s() < end) {
		touch_and_unmap();
		worker->pages += FAULT_BYTES / PAGE_BYTES;
	}
	worker->seconds = now_s() - start;
	return NULL;
}

static int fault(unsigned long threads, double seconds)
{
	struct worker workers[THREADS_MAX] = { 0 };
	double each_second = 0;
	unsigned long i;

	if (!threads || threads > THREADS_MAX) {
		fprintf(stderr, "memload: 1 to %d threads\n", THREADS_MAX);
		return 2;
	}
	for (i = 0; i < threads; i++) {
		workers[i].seconds = seconds;
		if (pthread_create(&workers[i].thread, NULL, fault_worker,
				   &workers[i])) {
			fprintf(stderr, "memload: no thread can be made\n");
			return 1;
		}
	}
	for (i = 0; i < threads; i++) {
		pthread_join(workers[i].thread, NULL);
		each_second += (double)workers[i].pages / workers[i].seconds;
	}
	printf("faults_per_second %.1f\n", each_second);
	return 0;
}

/* One process of a build: takes memory, reads it twice, ends. */
static int compile(unsigned long mib)
{
	volatile unsigned char *p = (unsigned char *)map(mib * MIB);
	unsigned long sum = 0;
	size_t i;
	int n;

	for (i = 0; i < mib * MIB; i += PAGE_BYTES)
		p[i] = i / PAGE_BYTES;
	for (n = 0; n < 2; n++)
		for (i = 0; i < mib * MIB; i += 64)
			sum += p[i];
	return !sum;
}

static void start_compile(unsigned long mib)
{
	char text[24];
	pid_t child = fork();

	if (child < 0)
		fail("memload: fork");
	if (child)
		return;
	snprintf(text, sizeof(text), "%lu", mib);
	execl("/proc/self/exe", "memload", "compile", text, NULL);
	fail("memload: exec");
}

static void wait_for_one(void)
{
	int status;

	if (wait(&status) < 0)
		fail("memload: wait");
	if (status) {
		fprintf(stderr, "memload: a process failed\n");
		exit(1);
	}
}

static int build(unsigned long jobs, unsigned long processes, unsigned long mib)
{
	unsigned long running = 0, random = 1, i;
	double start = now_s();

	if (!jobs || !mib) {
		fprintf(stderr, "memload: no jobs, or no memory for them\n");
		return 2;
	}
	for (i = 0; i < processes; i++) {
		if (running == jobs)
			wait_for_one();
		else
			running++;
		/* A linear congruential generator; its high bits are good. */
		random = (random * 1103515245 + 12345) & 0x7fffffff;
		start_compile(1 + (random >> 12) % mib);
	}
	for (; running; running--)
		wait_for_one();
	printf("seconds %.6f\n", now_s() - start);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "fault"))
		return fault(strtoul(argv[2], NULL, 0), strtod(argv[3], NULL));
	if (argc == 5 && !strcmp(argv[1], "build"))
		return build(strtoul(argv[2], NULL, 0),
			     strtoul(argv[3], NULL, 0),
			     strtoul(argv[4], NULL, 0));
	if (argc == 3 && !strcmp(argv[1], "compile"))
		return compile(strtoul(argv[2], NULL, 0));
	fprintf(stderr,
		"usage: memload fault THREADS SECONDS | build JOBS PROCESSES MIB\n");
	return 2;
}
