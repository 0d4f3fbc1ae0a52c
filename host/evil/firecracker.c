// SPDX-License-Identifier: GPL-2.0
/*
 * Hint runs as Firecracker has them, by its source (src/vmm/src/devices/virtio/balloon,
 * read in 2026); no Firecracker has been run with this. Whoever uses its API starts a run
 * and may stop it:
 *
 * - start: the next command id, from 2 on; a run that is under way is no matter;
 * - a segment of 4 bytes is the driver's word, any other is a block, wherever they are in
 *   a buffer, and that is used with length 0;
 * - a block is discarded at once if the driver's last word is the id that is in the
 *   configuration;
 * - at the driver's STOP the configuration becomes DONE if that was asked for at the
 *   start, and else when somebody says stop.
 */
#include <inttypes.h>
#include <stdio.h>
#include "evil.h"

#define WORD_BYTES	4
#define FIRST_ID	(HINT_DONE + 1)

/* More words than any test has. */
#define SAID_MAX	64

/**
 * struct said - what the driver has said
 * @word: its word
 * @taken: bytes of blocks after it that were discarded
 * @left: and that were not
 */
struct said {
	uint32_t word;
	uint64_t taken;
	uint64_t left;
};

static struct said said[SAID_MAX];
static unsigned int nr_said;
static uint32_t last_id;
static bool acknowledge;

static void command(struct balloon *b, uint32_t id)
{
	b->config.hint_cmd = id;
	b->config_changed = true;
}

/**
 * firecracker_start - begin a run
 * @b: the device
 * @on_stop: be done when the driver is
 */
void firecracker_start(struct balloon *b, bool on_stop)
{
	last_id = last_id + 1 < FIRST_ID ? FIRST_ID : last_id + 1;
	acknowledge = on_stop;
	command(b, last_id);
}

/**
 * firecracker_stop - be done
 * @b: the device
 */
void firecracker_stop(struct balloon *b)
{
	command(b, HINT_DONE);
}

static void hear(struct balloon *b, const struct segment *seg)
{
	uint8_t bytes[WORD_BYTES];
	struct said *new = &said[nr_said % SAID_MAX];

	if (!memory_read(&b->mem, seg->addr, bytes, sizeof(bytes)))
		return;
	*new = (struct said){
		.word = bytes[0] | (uint32_t)bytes[1] << 8 |
			(uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24,
	};
	nr_said++;
}

static void discard(struct balloon *b, const struct segment *seg)
{
	struct said *last = &said[(nr_said - 1) % SAID_MAX];

	if (!nr_said)
		return;
	if (b->config.hint_cmd < FIRST_ID || last->word != b->config.hint_cmd) {
		last->left += seg->len;
		return;
	}
	last->taken += seg->len;
	if (!memory_covers(&b->mem, seg->addr, seg->len))
		return;
	runs_add(&b->runs, seg->addr, seg->len);
	balloon_release(b, NEVER_NS);
	runs_clear(&b->runs);
}

/**
 * firecracker_serve - look at the queue of hints
 * @b: the device
 * @q: the queue
 */
void firecracker_serve(struct balloon *b, struct queue *q)
{
	bool any = false, complete = false;
	unsigned int i;

	while (balloon_take(b, q)) {
		for (i = 0; i < b->chain.nr; i++) {
			if (b->chain.seg[i].len != WORD_BYTES) {
				discard(b, &b->chain.seg[i]);
				continue;
			}
			hear(b, &b->chain.seg[i]);
			complete = nr_said &&
				said[(nr_said - 1) % SAID_MAX].word < FIRST_ID;
		}
		ring_push(&q->ring, b->chain.head, 0);
		any = true;
	}
	if (any)
		balloon_signal(q);
	if (complete && acknowledge)
		command(b, HINT_DONE);
}

/** firecracker_show - print what the driver has said, as JSON: [[word, taken, left], ...] */
void firecracker_show(void)
{
	unsigned int i;

	putchar('[');
	for (i = 0; i < nr_said && i < SAID_MAX; i++)
		printf("%s[%" PRIu32 ", %" PRIu64 ", %" PRIu64 "]", i ? ", " : "",
		       said[i].word, said[i].taken, said[i].left);
	putchar(']');
}
