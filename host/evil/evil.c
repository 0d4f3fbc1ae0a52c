// SPDX-License-Identifier: GPL-2.0
/* What a hostile device does with buffers. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../release.h"
#include "evil.h"

#define NS_PER_MS	1000000ULL

/* Between two interrupts without work, and two new configurations. */
#define PESTER_NS	(10 * NS_PER_MS)

#define ABSURD_LEN	0xffffffffU

/* Bytes in a page of the balloon; and pages, from address 0 on, that are kept account of. */
#define PAGE_BYTES	4096ULL
#define KEPT_PAGES	(1U << 20)

struct evil evil = {
	.role = ROLE_REPORTING,
	.delay_ns = 1000 * NS_PER_MS,
};

const char *const mode_names[NR_MODES] = {
	[MODE_NORMAL] = "normal",
	[MODE_SILENT] = "silent",
	[MODE_HOLD] = "hold",
	[MODE_EARLY] = "early",
	[MODE_WRONG_ID] = "wrong-id",
	[MODE_TWICE] = "twice",
	[MODE_ABSURD_LEN] = "absurd-len",
	[MODE_ABSURD_IDX] = "absurd-idx",
	[MODE_NO_WORK_IRQ] = "no-work-irq",
	[MODE_CONFIG_STORM] = "config-storm",
	[MODE_RESET] = "reset",
	[MODE_LEAPS] = "leaps",
	[MODE_RETAKE] = "retake",
	[MODE_FIRECRACKER] = "firecracker",
	[MODE_DIE] = "die",
};

/**
 * struct taken - a buffer that was taken
 * @next: the one taken after it
 * @head: its name
 * @seen_ns: when it was taken
 * @nr: blocks that it told
 * @run: they
 */
struct taken {
	struct taken *next;
	uint16_t head;
	uint64_t seen_ns;
	size_t nr;
	struct run run[];
};

/* Oldest first: buffers not used, and buffers used but not released. */
static struct taken *pending, *late;
static uint64_t next_pester;

/* Is a page in the balloon? Only in MODE_RETAKE. */
static bool kept[KEPT_PAGES];
static uint64_t next_retake;

static void append(struct taken **list, struct taken *t)
{
	while (*list)
		list = &(*list)->next;
	t->next = NULL;
	*list = t;
}

static struct taken *pop(struct taken **list)
{
	struct taken *t = *list;

	*list = t->next;
	return t;
}

static uint16_t drop(struct taken **list)
{
	uint16_t nr = 0;

	while (*list) {
		free(pop(list));
		nr++;
	}
	return nr;
}

static void keep(struct balloon *b)
{
	size_t bytes = b->runs.nr * sizeof(b->runs.run[0]);
	struct taken *t = malloc(sizeof(*t) + bytes);

	if (!t)
		abort();
	t->head = b->chain.head;
	t->seen_ns = now_ns();
	t->nr = b->runs.nr;
	memcpy(t->run, b->runs.run, bytes);
	b->runs.nr = 0;
	append(&pending, t);
}

static void take(struct balloon *b, struct queue *q)
{
	while (balloon_take(b, q)) {
		if (evil.role == ROLE_REPORTING)
			report_decode(b);
		else if (evil.role == ROLE_HINTING)
			report_hints(b);
		else
			b->stats.other++;
		keep(b);
		if (evil.mode == MODE_DIE)
			b->behaviour->hang_up = true;
	}
}

static void release(struct balloon *b, const struct taken *t)
{
	b->runs.nr = t->nr;
	memcpy(b->runs.run, t->run, t->nr * sizeof(t->run[0]));
	runs_merge(&b->runs);
	balloon_release(b, NEVER_NS);
}

static bool is_pending(uint16_t head)
{
	const struct taken *t;

	for (t = pending; t; t = t->next)
		if (t->head == head)
			return true;
	return false;
}

/* An index in the ring, if there is one, of no buffer that we were given. */
static uint16_t not_a_head(const struct queue *q, uint16_t head)
{
	uint16_t i, other;

	for (i = 1; i < q->ring.num; i++) {
		other = (uint16_t)((head + i) % q->ring.num);
		if (!is_pending(other))
			return other;
	}
	return q->ring.num;
}

static void use(struct balloon *b, struct queue *q, const struct taken *t)
{
	uint16_t head = t->head;

	if (evil.mode == MODE_WRONG_ID)
		head = not_a_head(q, head);
	if (evil.mode == MODE_TWICE)
		ring_push(&q->ring, head, 0);
	ring_push(&q->ring, head, evil.mode == MODE_ABSURD_LEN ? ABSURD_LEN : 0);
	if (evil.mode == MODE_ABSURD_IDX)
		q->ring.used_idx = (uint16_t)(q->ring.used_idx + q->ring.num);
	if (evil.role == ROLE_REPORTING)
		b->stats.buffers++;
}

static void come_back(struct balloon *b, uint64_t when)
{
	if (when < b->wake_ns)
		b->wake_ns = when;
}

static bool is_early(const struct balloon *b, const struct taken *t)
{
	if (evil.mode != MODE_HOLD && evil.mode != MODE_CONFIG_STORM &&
	    evil.mode != MODE_LEAPS)
		return false;
	return now_ns() < t->seen_ns + evil.delay_ns && !b->behaviour->hang_up;
}

static void answer(struct balloon *b, struct queue *q)
{
	bool answered = false;
	struct taken *t;

	while (pending) {
		if (is_early(b, pending)) {
			come_back(b, pending->seen_ns + evil.delay_ns);
			break;
		}
		t = pop(&pending);
		if (evil.mode != MODE_EARLY)
			release(b, t);
		use(b, q, t);
		if (evil.mode == MODE_EARLY) {
			append(&late, t);
			evil.late++;
		} else {
			free(t);
		}
		answered = true;
	}
	if (answered)
		balloon_signal(q);
	if (!pending)
		hints_settle(b);
}

/* What was used long ago is released now, whatever the mode. */
static void release_late(struct balloon *b)
{
	uint64_t before = b->stats.bytes_released;
	struct taken *t;

	while (late && now_ns() >= late->seen_ns + evil.delay_ns) {
		t = pop(&late);
		release(b, t);
		free(t);
		evil.late--;
	}
	evil.late_bytes += b->stats.bytes_released - before;
	if (late)
		come_back(b, late->seen_ns + evil.delay_ns);
}

/* None, one, all of 2 GiB, one more, and all that can be written down. */
static uint32_t leap(void)
{
	static const uint32_t to[] = { 0, 1, 1U << 19, (1U << 19) + 1, ~0U };

	return to[(unsigned int)rand() % (sizeof(to) / sizeof(to[0]))];
}

static void pester(struct balloon *b, struct queue *q)
{
	static const uint64_t one = 1;

	if (now_ns() >= next_pester) {
		next_pester = now_ns() + PESTER_NS;
		if (evil.mode != MODE_NO_WORK_IRQ) {
			b->config.num_pages = evil.mode == MODE_LEAPS ?
				leap() : b->config.num_pages ^ 1;
			b->config_changed = true;
			evil.storms++;
		} else if (write(q->call, &one, sizeof(one)) ==
			   sizeof(one)) {
			evil.empty_irqs++;
		}
	}
	come_back(b, next_pester);
}

/* The buffers stay with the guest; nothing of them is released later. */
static void reset(struct queue *q)
{
	if (!drop(&pending))
		return;
	evil.resets++;
	q->ring.used_idx = 0;
	balloon_signal(q);
}

/* Take buffers of inflate or deflate, and use them at once. */
static void account(struct balloon *b, struct queue *q, bool in)
{
	uint64_t before = b->stats.inflated, page;
	bool any = false;
	size_t i;

	while (balloon_take(b, q)) {
		report_inflate(b);
		for (i = 0; i < b->runs.nr; i++) {
			page = b->runs.run[i].start / PAGE_BYTES;
			if (page < KEPT_PAGES)
				kept[page] = in;
		}
		if (in)
			balloon_release(b, NEVER_NS);
		runs_clear(&b->runs);
		ring_push(&q->ring, b->chain.head, 0);
		any = true;
	}
	if (!in)
		b->stats.inflated = before;
	if (any)
		balloon_signal(q);
}

static void retake(struct balloon *b)
{
	uint32_t page;

	if (now_ns() >= next_retake) {
		next_retake = now_ns() + evil.delay_ns;
		for (page = 0; page < KEPT_PAGES; page++) {
			if (kept[page])
				runs_add(&b->runs, page * PAGE_BYTES, PAGE_BYTES);
			if (!runs_room(&b->runs) || page + 1 == KEPT_PAGES) {
				runs_merge(&b->runs);
				balloon_release(b, NEVER_NS);
				runs_clear(&b->runs);
			}
		}
		evil.retaken++;
	}
	come_back(b, next_retake);
}

static void serve(struct balloon *b, struct queue *q)
{
	enum role role = balloon_role(b, q);

	if (evil.mode == MODE_RETAKE &&
	    (role == ROLE_INFLATE || role == ROLE_DEFLATE)) {
		account(b, q, role == ROLE_INFLATE);
		retake(b);
		return;
	}
	if (role != evil.role) {
		/* Its pieces must not lie beside those that are kept here. */
		do
			honest.serve(b, q);
		while (b->pending.q == q);
		return;
	}
	if (evil.mode == MODE_FIRECRACKER) {
		firecracker_serve(b, q);
		return;
	}
	take(b, q);
	release_late(b);
	if (evil.mode == MODE_NO_WORK_IRQ || evil.mode == MODE_CONFIG_STORM ||
	    evil.mode == MODE_LEAPS)
		pester(b, q);
	if (evil.mode == MODE_RESET)
		reset(q);
	if (evil.mode != MODE_SILENT && evil.mode != MODE_NO_WORK_IRQ &&
	    evil.mode != MODE_DIE)
		answer(b, q);
}

static uint16_t forget(struct balloon *b, struct queue *q)
{
	/* Whatever was in the balloon is the guest's. */
	if (balloon_role(b, q) == ROLE_INFLATE)
		memset(kept, 0, sizeof(kept));
	if (balloon_role(b, q) != evil.role)
		return honest.forget(b, q);
	drop(&late);
	evil.late = 0;
	return drop(&pending);
}

struct behaviour evil_behaviour = {
	.serve = serve,
	.forget = forget,
};
