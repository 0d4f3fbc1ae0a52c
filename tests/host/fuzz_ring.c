// SPDX-License-Identifier: GPL-2.0
/*
 * Any queue: the daemon ends its look at it, and touches nothing but guest
 * memory. What it answers it was asked.
 *
 * Input: a struct setup, then guest memory from address 0 on.
 */
#include <string.h>
#include "bench.h"

/* Times the queue is looked at; each ends with what there is. */
#define LOOKS	4

struct setup {
	uint8_t wire;		/* in bit 0; which queue, in bits 1 to 3 */
	uint8_t order;
	uint16_t base;
	uint16_t desc;		/* in units of 16 bytes, as the next two */
	uint16_t avail;
	uint16_t used;
	uint16_t poison;
} __attribute__((packed));

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum role roles[] = {
		ROLE_REPORTING, ROLE_INFLATE, ROLE_DEFLATE, ROLE_STATS,
		ROLE_HINTING, ROLE_HINTING, ROLE_HINTING, ROLE_HINTING,
	};
	struct setup setup;
	struct bench *t;
	struct queue *q;
	uint16_t first;
	int i;

	if (size < sizeof(setup))
		return 0;
	memcpy(&setup, data, sizeof(setup));
	data += sizeof(setup);
	size -= sizeof(setup);
	t = bench(setup.wire & 1 ? WIRE_HINTS : WIRE_SG);
	bench_add_memory(t);
	memcpy(t->low, data, size < BENCH_LOW ? size : BENCH_LOW);
	t->b.acked |= 1ULL << BALLOON_F_FREE_PAGE_HINT;
	q = bench_queue(t, roles[setup.wire >> 1 & 7], 1U << (setup.order % 12),
			setup.base, setup.desc * 16U, setup.avail * 16U,
			setup.used * 16U);
	if (!q)
		return 0;
	t->b.config.poison_val = setup.poison;
	/* With only this queue it can take hints, or there can be none. */
	MUST(!hints_ask(&t->b) == (roles[setup.wire >> 1 & 7] == ROLE_HINTING));
	for (i = 0; i < LOOKS && q->state == QUEUE_STARTED; i++) {
		first = q->ring.used_idx;
		bench_serve(t, q);
		MUST((uint16_t)(q->ring.used_idx - first) <= q->ring.num * 64U);
		MUST(!t->b.runs.nr);
		balloon_ask_stats(&t->b);
	}
	MUST(t->b.stats.buffers == t->b.stats.seen);
	MUST(t->b.stats.bytes_released <= t->b.stats.bytes_told +
	     t->b.stats.inflated * BENCH_PAGE);
	MUST(t->b.hints.told <= t->b.stats.bytes_told);
	bench_check(t);
	return 0;
}
