/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A device with guest memory of its own, for tests and fuzzers of hintd.
 *
 * The memory is one file:
 *
 *	canary | LOW, at 0 | canary | HIGH, at 4 GiB | canary
 *
 * The daemon maps LOW and HIGH, each between pages without access, so to read or
 * write beyond them is a fault. What it releases beyond them is a canary.
 */
#ifndef HOST_BENCH_H
#define HOST_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include "balloon.h"

#define BENCH_PAGE	4096ULL
#define BENCH_LOW	(16 * BENCH_PAGE)
#define BENCH_HIGH	(8 * BENCH_PAGE)
#define BENCH_HIGH_AT	(1ULL << 32)
#define BENCH_USER	0x7f0000000000ULL
#define BENCH_FILE	(BENCH_LOW + BENCH_HIGH + 3 * BENCH_PAGE)
#define BENCH_FILL	0xaa

/* Ends the program, under a fuzzer with the input that did it. */
#define MUST(cond)							\
	do {								\
		if (!(cond)) {						\
			fprintf(stderr, "%s:%d: %s does not hold\n",	\
				__FILE__, __LINE__, #cond);		\
			abort();					\
		}							\
	} while (0)

struct bench {
	struct balloon b;
	uint8_t *file;		/* all of it, mapped by the test */
	uint8_t *low;
	uint8_t *high;
	int fd;
};

struct bench *bench(enum wire wire);
void bench_add_memory(struct bench *t);
void bench_check(const struct bench *t);
bool bench_is_zero(const uint8_t *at, size_t bytes);
struct queue *bench_queue(struct bench *t, enum role role, uint32_t num,
			  uint16_t base, uint64_t desc, uint64_t avail,
			  uint64_t used);

void bench_serve(struct bench *t, struct queue *q);
void bench_put_report(struct bench *t);

#endif /* HOST_BENCH_H */
