// SPDX-License-Identifier: GPL-2.0
/*
 * A memory workload with steps that a test can wait for.
 *
 *	memwork hold MIB	touch MIB, say "touched", free it on SIGUSR1,
 *				say "freed", stay until the next SIGUSR1
 *	memwork churn MIB SECONDS
 *				touch and free MIB over and over; say how often,
 *				and how long the touching took each time
 *	memwork burst MIB	touch MIB once, say how long that took, free it
 *	memwork huge MIB	the same of memory that shall be in huge pages
 *	memwork mark MIB WORD	fill MIB with a 64-bit word and free it
 *	memwork verify MIB	fill MIB with words that tell where they are, as fast
 *				as it can, check every one, and free it
 *	memwork fragment MIB	touch MIB, free every second page, say "touched",
 *				free the rest on SIGUSR1, and so on as "hold"
 *	memwork pinned MIB	as "fragment", with the rest locked: where
 *				vm.compact_unevictable_allowed is 0 nobody moves it
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "mem.h"

#define HUGE_BYTES	(2 * MIB)

static char *take(size_t bytes)
{
	char *p = map(bytes);

	touch(p, bytes);
	return p;
}

static void say(const char *what)
{
	printf("%s %.3f\n", what, now_s());
	fflush(stdout);
}

/* No page of what is left can be part of a larger free block. */
static void drop_every_second(char *p, size_t bytes)
{
	size_t i;

	for (i = 0; i < bytes; i += 2 * PAGE_BYTES)
		if (madvise(p + i, PAGE_BYTES, MADV_DONTNEED)) {
			perror("memwork: madvise");
			exit(1);
		}
}

/* What is there is locked, and nothing is brought in for that. */
static void lock_rest(char *p, size_t bytes)
{
	if (mlock2(p, bytes, MLOCK_ONFAULT)) {
		perror("memwork: mlock2");
		exit(1);
	}
}

/* What is done with memory that was touched, before it is said. */
enum then { KEEP, FRAGMENT, PIN };

static int hold(size_t bytes, enum then then)
{
	sigset_t wake;
	int sig;
	char *p;

	sigemptyset(&wake);
	sigaddset(&wake, SIGUSR1);
	sigprocmask(SIG_BLOCK, &wake, NULL);
	p = take(bytes);
	if (then != KEEP)
		drop_every_second(p, bytes);
	if (then == PIN)
		lock_rest(p, bytes);
	say("touched");
	sigwait(&wake, &sig);
	munmap(p, bytes);
	say("freed");
	sigwait(&wake, &sig);
	return 0;
}

static int churn(size_t bytes, double seconds)
{
	double start = now_s(), end = start + seconds, taking = 0;
	unsigned long cycles = 0;
	char *p;

	while (start < end) {
		p = take(bytes);
		taking += now_s() - start;
		munmap(p, bytes);
		cycles++;
		start = now_s();
	}
	printf("cycles %lu\nseconds %.6f\n", cycles,
	       cycles ? taking / (double)cycles : 0);
	return 0;
}

static int burst(size_t bytes)
{
	double start = now_s();
	char *p = take(bytes);

	printf("seconds %.6f\n", now_s() - start);
	munmap(p, bytes);
	return 0;
}

static int huge(size_t bytes)
{
	char *p = map(bytes + HUGE_BYTES);
	char *start = p + (-(uintptr_t)p & (HUGE_BYTES - 1));
	double began;

	if (madvise(start, bytes, MADV_HUGEPAGE)) {
		perror("memwork: madvise");
		return 1;
	}
	began = now_s();
	touch(start, bytes);
	printf("seconds %.6f\n", now_s() - began);
	munmap(p, bytes + HUGE_BYTES);
	return 0;
}

static int mark(size_t bytes, uint64_t word)
{
	uint64_t *p = (uint64_t *)take(bytes);
	size_t i;

	for (i = 0; i < bytes / sizeof(word); i++)
		p[i] = word;
	__asm__ volatile("" : : "r" (p) : "memory");
	munmap(p, bytes);
	return 0;
}

static int verify(size_t bytes)
{
	uint64_t *p = (uint64_t *)map(bytes);
	size_t i, bad = 0;

	for (i = 0; i < bytes / sizeof(*p); i++)
		p[i] = (uint64_t)(uintptr_t)&p[i];
	__asm__ volatile("" : : "r" (p) : "memory");
	for (i = 0; i < bytes / sizeof(*p); i++)
		bad += p[i] != (uint64_t)(uintptr_t)&p[i];
	munmap(p, bytes);
	printf("words %zu wrong %zu\n", i, bad);
	return !!bad;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "hold"))
		return hold(strtoul(argv[2], NULL, 0) * MIB, KEEP);
	if (argc == 3 && !strcmp(argv[1], "fragment"))
		return hold(strtoul(argv[2], NULL, 0) * MIB, FRAGMENT);
	if (argc == 3 && !strcmp(argv[1], "pinned"))
		return hold(strtoul(argv[2], NULL, 0) * MIB, PIN);
	if (argc == 3 && !strcmp(argv[1], "burst"))
		return burst(strtoul(argv[2], NULL, 0) * MIB);
	if (argc == 3 && !strcmp(argv[1], "huge"))
		return huge(strtoul(argv[2], NULL, 0) * MIB);
	if (argc == 3 && !strcmp(argv[1], "verify"))
		return verify(strtoul(argv[2], NULL, 0) * MIB);
	if (argc == 4 && !strcmp(argv[1], "mark"))
		return mark(strtoul(argv[2], NULL, 0) * MIB,
			    strtoull(argv[3], NULL, 0));
	if (argc == 4 && !strcmp(argv[1], "churn"))
		return churn(strtoul(argv[2], NULL, 0) * MIB,
			     strtod(argv[3], NULL));
	fprintf(stderr,
		"usage: memwork hold MIB | churn MIB SECONDS | burst MIB | huge MIB | mark MIB WORD | verify MIB | fragment MIB | pinned MIB\n");
	return 2;
}
