// SPDX-License-Identifier: GPL-2.0
/*
 * A queue that is changed while it is walked: another thread writes to guest
 * memory all the time, as a guest's other processor may. Whatever is read twice
 * may be two things; the daemon ends its look, and touches nothing but guest
 * memory.
 *
 * Input: as fuzz_ring.c's; the other thread writes what lies at the end of it.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include "bench.h"

#define LOOKS	8

/* Bytes at the end of the input: where to write what, by the other thread. */
struct change {
	uint16_t at;		/* in the first pages, where the parts are */
	uint8_t value;
} __attribute__((packed));

#define CHANGES		16
#define CHANGED_BYTES	(3 * BENCH_PAGE)

struct setup {
	uint8_t wire;		/* in bit 0; which queue, in bits 1 and 2 */
	uint8_t order;
	uint16_t base;
	uint16_t parts;		/* desc, avail and used follow each other there */
} __attribute__((packed));

struct guest {
	struct bench *t;
	struct change change[CHANGES];
	atomic_bool end;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* By the test's own mapping, which the daemon's sanitizer does not watch. */
static void *write_on(void *arg)
{
	struct guest *g = arg;
	uint8_t old[CHANGES];
	int i;

	while (!atomic_load(&g->end)) {
		for (i = 0; i < CHANGES; i++) {
			volatile uint8_t *at = g->t->low +
				g->change[i].at % CHANGED_BYTES;

			old[i] = *at;
			*at = g->change[i].value;
		}
		for (i = CHANGES - 1; i >= 0; i--)
			*(volatile uint8_t *)(g->t->low + g->change[i].at %
					      CHANGED_BYTES) = old[i];
	}
	return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum role roles[] = {
		ROLE_REPORTING, ROLE_INFLATE, ROLE_DEFLATE, ROLE_STATS,
	};
	struct guest g = { .end = false };
	struct setup setup;
	uint64_t parts, table;
	struct queue *q;
	pthread_t thread;
	int i;

	if (size < sizeof(setup) + sizeof(g.change))
		return 0;
	memcpy(&setup, data, sizeof(setup));
	size -= sizeof(g.change);
	memcpy(g.change, data + size, sizeof(g.change));
	data += sizeof(setup);
	size -= sizeof(setup);
	g.t = bench(setup.wire & 1 ? WIRE_HINTS : WIRE_SG);
	bench_add_memory(g.t);
	memcpy(g.t->low, data, size < BENCH_LOW ? size : BENCH_LOW);
	setup.order %= 6;
	parts = setup.parts % 64 * 16U;
	table = 16ULL << setup.order;
	q = bench_queue(g.t, roles[setup.wire >> 1 & 3], 1U << setup.order,
			setup.base, parts, parts + table, parts + 2 * table);
	if (!q)
		return 0;
	MUST(!pthread_create(&thread, NULL, write_on, &g));
	for (i = 0; i < LOOKS && q->state == QUEUE_STARTED; i++)
		bench_serve(g.t, q);
	atomic_store(&g.end, true);
	MUST(!pthread_join(thread, NULL));
	MUST(!g.t->b.runs.nr && !g.t->b.pending.q);
	MUST(g.t->b.stats.buffers == g.t->b.stats.seen);
	bench_check(g.t);
	return 0;
}
