// SPDX-License-Identifier: GPL-2.0
/*
 * What buffers say: reports on both wires, inflated pages, guest statistics.
 * All of it may be wrong in any way.
 */
#include <endian.h>
#include "balloon.h"
#include "log.h"

/* Virtio 1.2, 5.5.6: pages of the balloon proper. */
#define PFN_SHIFT		12
#define PAGE_BYTES		(1ULL << PFN_SHIFT)

/* Most pages in an inflate buffer that are looked at; Linux sends 256. */
#define INFLATE_MAX		RUNS_MAX

/* Bytes of a descriptor in a table, virtio 1.2, 2.7.5. */
#define DESC_BYTES		16

/* Virtio 1.2, 5.5.6.4: a statistic is a 16-bit tag and a 64-bit value. */
struct guest_stat {
	uint16_t tag;
	uint64_t value;
} __attribute__((packed));

/* Virtio 1.2, 5.5.6.7.2: with a poison value the content has to stay. */
static bool keeps_content(const struct balloon *b)
{
	return b->acked >> BALLOON_F_PAGE_POISON & 1 && b->config.poison_val;
}

static void accept(struct balloon *b, uint64_t start, uint64_t length)
{
	if (keeps_content(b)) {
		b->stats.poisoned++;
		return;
	}
	b->stats.blocks++;
	b->stats.bytes_told += length;
	runs_add(&b->runs, start, length);
}

static void judge(struct balloon *b, enum refusal why, uint64_t start,
		  uint64_t length)
{
	b->stats.told++;
	if (!why && !memory_covers(&b->mem, start, length))
		why = REFUSAL_OUTSIDE;
	if (!why) {
		accept(b, start, length);
		return;
	}
	b->stats.refused[why]++;
	if (b->said >> why & 1)
		return;
	b->said |= 1U << why;
	say("refused a block at 0x%llx, %llu bytes: %s; further ones are only counted",
	    (unsigned long long)start, (unsigned long long)length,
	    refusal_name(why));
}

/* Once a connection: it is what an operator gets wrong. */
static void say_wire(struct balloon *b)
{
	if (b->said_wire)
		return;
	b->said_wire = true;
	say("the guest is on the other wire: its aeration_virtio.wire= and --wire %s here have to agree",
	    b->wire == WIRE_SG ? "sg" : "hints");
}

/* A block that is described by an entry that the device may write to. */
static void judge_block(struct balloon *b, const struct segment *seg)
{
	enum refusal why = REFUSAL_NONE;

	if (!seg->len || (seg->addr | seg->len) % PAGE_BYTES)
		why = REFUSAL_MISALIGNED;
	judge(b, why, seg->addr, seg->len);
}

static void decode_sg(struct balloon *b)
{
	const struct segment *seg;

	for (seg = b->chain.seg; seg < b->chain.seg + b->chain.nr; seg++) {
		if (seg->writable) {
			judge_block(b, seg);
			continue;
		}
		say_wire(b);
		judge(b, REFUSAL_DIRECTION, seg->addr, seg->len);
	}
}

/*
 * Copy what the device may read of a buffer. Virtio 1.2, 2.7.4: how it is cut
 * into segments means nothing. Return: bytes, or 0 if there are none, they are
 * more than @most, or any is not guest memory.
 */
static size_t gather(const struct balloon *b, void *to, size_t most)
{
	const struct segment *seg;
	size_t bytes = 0;

	for (seg = b->chain.seg; seg < b->chain.seg + b->chain.nr; seg++) {
		if (seg->writable)
			continue;
		if (seg->len > most - bytes ||
		    !memory_read(&b->mem, seg->addr, (char *)to + bytes,
				 seg->len))
			return 0;
		bytes += seg->len;
	}
	return bytes;
}

static bool check_words(struct balloon *b)
{
	enum violation violation;
	uint64_t bytes = 0;
	unsigned int i;

	for (i = 0; i < b->chain.nr; i++) {
		if (b->chain.seg[i].writable) {
			say_wire(b);
			violation = VIOLATION_WRITABLE;
			goto bad;
		}
		bytes += b->chain.seg[i].len;
	}
	if (bytes && bytes % sizeof(uint64_t) == 0 &&
	    bytes <= WORDS_MAX * sizeof(uint64_t))
		return true;
	violation = VIOLATION_SIZE;
bad:
	b->stats.violations[violation]++;
	return false;
}

static void decode_words(struct balloon *b)
{
	uint64_t words[WORDS_MAX], start, length;
	enum refusal why;
	size_t bytes, i;

	if (!check_words(b))
		return;
	bytes = gather(b, words, sizeof(words));
	if (!bytes)
		b->stats.violations[VIOLATION_OUTSIDE]++;
	b->stats.payload += bytes;
	for (i = 0; i < bytes / sizeof(words[0]); i++) {
		why = word_decode(le64toh(words[i]), &start, &length);
		judge(b, why, start, length);
	}
}

/**
 * report_decode - look at a report
 * @b: the device; its chain is the report, its runs have room for RING_MAX
 *
 * Blocks that may be released are added to the runs.
 */
void report_decode(struct balloon *b)
{
	b->stats.seen++;
	hints_heard(b);
	b->stats.descriptors += b->chain.nr;
	b->stats.payload += b->chain.nr * DESC_BYTES;
	b->stats.indirect += b->chain.indirect;
	if (b->chain.nr > b->stats.max_descriptors)
		b->stats.max_descriptors = b->chain.nr;
	if (b->wire == WIRE_SG)
		decode_sg(b);
	else
		decode_words(b);
}

/**
 * report_hints - look at a buffer of the hinting queue
 * @b: the device; its chain is the buffer, its runs have room for RING_MAX
 *
 * Virtio 1.2, 5.5.6.5: a word that the device may read says which run the driver is in,
 * entries that it may write to are free blocks. Those of a run are added to the runs.
 */
void report_hints(struct balloon *b)
{
	uint64_t before = b->stats.bytes_told;
	const struct segment *seg;
	uint32_t word;

	b->stats.other++;
	hints_heard(b);
	if (gather(b, &word, sizeof(word)) == sizeof(word))
		hints_word(b, le32toh(word));
	if (b->hints.state != HINTS_COMING)
		return;
	for (seg = b->chain.seg; seg < b->chain.seg + b->chain.nr; seg++)
		if (seg->writable)
			judge_block(b, seg);
	b->hints.told += b->stats.bytes_told - before;
}

/**
 * report_inflate - look at an inflate buffer
 * @b: the device; its chain is the buffer, its runs are empty
 *
 * Pages that may be released are added to the runs. Virtio 1.2, 5.5.6.1: page
 * numbers of 32 bits.
 */
void report_inflate(struct balloon *b)
{
	uint32_t pfns[INFLATE_MAX];
	size_t nr = gather(b, pfns, sizeof(pfns)) / sizeof(pfns[0]);
	uint64_t start;
	size_t i;

	for (i = 0; i < nr; i++) {
		start = (uint64_t)le32toh(pfns[i]) << PFN_SHIFT;
		if (memory_covers(&b->mem, start, PAGE_BYTES))
			runs_add(&b->runs, start, PAGE_BYTES);
		else
			b->stats.refused[REFUSAL_OUTSIDE]++;
	}
	b->stats.inflated += b->runs.nr;
}

/**
 * report_guest_stats - note the guest's statistics
 * @b: the device; its chain is a statistics buffer
 */
void report_guest_stats(struct balloon *b)
{
	struct guest_stat stat[2 * NR_GUEST_STATS];
	size_t nr = gather(b, stat, sizeof(stat)) / sizeof(stat[0]);
	uint16_t tag;
	size_t i;

	for (i = 0; i < nr; i++) {
		tag = le16toh(stat[i].tag);
		if (tag >= NR_GUEST_STATS)
			continue;
		b->stats.guest[tag] = le64toh(stat[i].value);
		b->stats.guest_has |= 1U << tag;
	}
}
