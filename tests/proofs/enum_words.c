// SPDX-License-Identifier: GPL-2.0
/*
 * What a guest or a front-end may say to hintd, all of it within bounds: words of the
 * hinting queue, in every cut; blocks of the other wire; memory tables; chains and ring
 * indices; messages. And the driver's encoder: it makes just the words that the daemon
 * takes.
 *
 * Each is compared with a second, simpler way to say what is right. Bounds: see each
 * case.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "balloon.h"
#include "enum.h"
#include "log.h"
#include "message.h"

typedef unsigned __int128 wide;

/* backends/virtio/hints.c: u64, unsigned int, unsigned int, __le64 *. */
int aeration_hint_encode(unsigned long long pfn, unsigned int order,
			 unsigned int page_shift, unsigned long long *word);

/* What report.c wants of the rest of the daemon. */
void say(const char *fmt, ...)
{
	(void)fmt;
}

void hints_heard(struct balloon *b)
{
	(void)b;
}

void hints_word(struct balloon *b, uint32_t word)
{
	(void)b;
	(void)word;
}

/* Numbers that have one bit, all from one on, or all up to one; and their neighbours. */
static uint64_t odd_number(unsigned int i)
{
	unsigned int bit = i / 5 % 64;

	switch (i % 5) {
	case 0:
		return 1ULL << bit;
	case 1:
		return ~0ULL << bit;
	case 2:
		return (1ULL << bit) - 1;
	case 3:
		return (1ULL << bit) + 1;
	default:
		return 1ULL << 63 | 1ULL << bit;
	}
}

#define ODD_NUMBERS	(5 * 64)

static void check_word(uint64_t word)
{
	unsigned int order = word & 0xfff;
	uint64_t address = word - order, start, length;
	wide bytes = order < 100 ? (wide)4096 << order : 0;
	enum refusal why = word_decode(word, &start, &length), want;

	/* A block has its place in 64 bits, and begins at a multiple of its length. */
	if (!bytes || bytes > ~0ULL)
		want = REFUSAL_ORDER;
	else
		want = address % bytes ? REFUSAL_MISALIGNED : REFUSAL_NONE;
	EXPECT_EQ(why, want);
	EXPECT_EQ(start, address);
	EXPECT_EQ(length, want == REFUSAL_ORDER ? 0 : (uint64_t)bytes);
	cases++;
}

static void every_word(void)
{
	unsigned int i, low;

	for (i = 0; i <= ODD_NUMBERS && !ktap_case_bad; i++)
		for (low = 0; low < 4096; low++) {
			uint64_t high = i < ODD_NUMBERS ? odd_number(i) & ~0xfffULL : 0;

			check_word(high | low);
		}
	/* Next to what is aligned, in every order. */
	for (i = 0; i < 64; i++)
		for (low = 0; low < 64; low++) {
			check_word((1ULL << i & ~0xfffULL) | low);
			check_word(((3ULL << i) & ~0xfffULL) | low);
			check_word((0 - (1ULL << i)) & (~0xfffULL | low));
		}
	say_cases("words: 321 addresses, of all shapes, with each of the 4096 orders");
}

static void check_encoded(uint64_t pfn, unsigned int order, unsigned int shift)
{
	unsigned long long word = 42;
	wide start = (wide)pfn << (shift < 64 ? shift : 0), bytes;
	uint64_t at, length;
	int err = aeration_hint_encode(pfn, order, shift, &word);
	bool can = shift >= 12 && shift < 64 && order < 52 && shift + order < 64;

	bytes = can ? (wide)1 << (shift + order) : 1;
	can = can && start <= ~0ULL && start % bytes == 0;
	EXPECT_EQ(!err, can);
	cases++;
	if (!can) {
		EXPECT_EQ(word, 42);
		return;
	}
	EXPECT_EQ(word_decode(le64toh(word), &at, &length), REFUSAL_NONE);
	EXPECT_EQ(at, (uint64_t)start);
	EXPECT_EQ(length, (uint64_t)bytes);
}

static void every_block_there_and_back(void)
{
	unsigned int i, order, shift;

	for (i = 0; i <= ODD_NUMBERS && !ktap_case_bad; i++)
		for (order = 0; order < 70; order++)
			for (shift = 0; shift < 70; shift++)
				check_encoded(i < ODD_NUMBERS ? odd_number(i) : 0,
					      order, shift);
	say_cases("blocks: 321 page numbers, orders and page sizes of up to 70 bits");
}

/* Guest memory of a few bytes, at CELLS places. */
#define CELLS	7
#define REGIONS	3

static uint8_t backing[REGIONS][4096];

struct layout {
	struct memory mem;
	int region[CELLS];	/* whose each cell is, or -1 */
	uint64_t base;		/* where the first cell is */
};

/* A cell is nobody's, or begins a region, or goes on with the one before. */
static bool lay_out(struct layout *l, uint64_t base)
{
	unsigned int i;
	int now = -1;

	memset(l->mem.region, 0, REGIONS * sizeof(l->mem.region[0]));
	l->mem.nr = 0;
	l->base = base;
	for (i = 0; i < CELLS; i++) {
		unsigned int what = choose(now < 0 ? 2 : 3);
		struct region *r;

		if (!what)
			now = -1;
		if (what == 1) {
			if (l->mem.nr == REGIONS)
				return false;
			now = (int)l->mem.nr++;
			r = &l->mem.region[now];
			r->guest = base + i;
			/* In the front-end they lie apart, and in another order. */
			r->user = 1000 - 100ULL * (unsigned int)now;
			r->map = backing[now];
		}
		if (what)
			l->mem.region[now].size++;
		l->region[i] = now;
	}
	return true;
}

/* Return: how many bytes from a cell on are guest memory. */
static uint64_t there(const struct layout *l, uint64_t cell)
{
	uint64_t nr = 0;

	while (cell + nr < CELLS && l->region[cell + nr] >= 0)
		nr++;
	return nr;
}

static void look_up(const struct layout *l, uint64_t cell, uint64_t length)
{
	uint64_t part = 99, nr = 0, at = l->base + cell;
	const struct region *r = memory_find(&l->mem, at, length, &part);
	int who = cell < CELLS ? l->region[cell] : -1;
	uint8_t got[CELLS + 2];
	unsigned int i;

	EXPECT_EQ(r != NULL, who >= 0);
	EXPECT_EQ(memory_covers(&l->mem, at, length), length <= there(l, cell));
	if (!r)
		return;
	EXPECT(r == &l->mem.region[who]);
	while (nr < length && cell + nr < CELLS && l->region[cell + nr] == who)
		nr++;
	EXPECT_EQ(part, nr);
	EXPECT_EQ(memory_read(&l->mem, at, got, length), length <= there(l, cell));
	for (i = 0; length <= there(l, cell) && i < length; i++) {
		const struct region *of = &l->mem.region[l->region[cell + i]];

		EXPECT_EQ(got[i], of->map[at + i - of->guest]);
	}
}

static void look_at_user(const struct layout *l, uint64_t user, uint64_t length)
{
	uint8_t *at = memory_at(&l->mem, user, length), *want = NULL;
	unsigned int i;

	for (i = 0; i < l->mem.nr; i++) {
		const struct region *r = &l->mem.region[i];

		if (user >= r->user && (wide)user + length <= (wide)r->user + r->size)
			want = r->map + (user - r->user);
	}
	EXPECT(at == want);
	cases++;
}

static void every_memory_table(void)
{
	static const uint64_t bases[] = { 0, 5, UINT64_MAX - CELLS };
	static struct layout l;
	unsigned int b, cell, length, i;

	for (i = 0; i < sizeof(backing); i++)
		((uint8_t *)backing)[i] = (uint8_t)(i * 7 + (i >> 8));
	for (b = 0; b < 3; b++)
		do {
			if (!lay_out(&l, bases[b]))
				continue;
			for (cell = 0; cell < CELLS + 2; cell++)
				for (length = 0; length < CELLS + 2; length++) {
					/* The end of all addresses is nowhere. */
					if (bases[b] + cell < bases[b])
						continue;
					look_up(&l, cell, length);
					cases++;
				}
			EXPECT(!memory_covers(&l.mem, bases[b], ~0ULL));
			for (i = 0; i < REGIONS; i++)
				for (cell = 0; cell < CELLS + 2; cell++)
					for (length = 0; length < CELLS + 2; length++)
						look_at_user(&l, 999 - 100 * i + cell,
							     length);
			look_at_user(&l, 1000, ~0ULL);
			look_at_user(&l, ~0ULL, 2);
			if (ktap_case_bad)
				show_path();
		} while (next_path());
	say_cases("look-ups: up to 3 regions in 7 bytes, at 3 places, every address and length");
}

static void every_four_runs(void)
{
	enum { SPACE = 6, MOST = 4 };
	static struct runs runs;
	bool is[SPACE + 1], got[SPACE + 1];
	unsigned int i, nr, at, length;
	uint64_t bytes, want;

	do {
		memset(is, 0, sizeof(is));
		memset(got, 0, sizeof(got));
		runs_clear(&runs);
		nr = choose(MOST + 1);
		for (i = 0; i < nr; i++) {
			at = choose(SPACE);
			length = 1 + choose(SPACE - at);
			runs_add(&runs, at, length);
			memset(is + at, 1, length);
		}
		bytes = runs_merge(&runs);
		for (i = 0, want = 0; i < SPACE; i++)
			want += is[i];
		EXPECT_EQ(bytes, want);
		EXPECT(runs.nr <= nr && !runs.next);
		for (i = 0; i < runs.nr && !ktap_case_bad; i++) {
			EXPECT(runs.run[i].length && runs.run[i].start +
			       runs.run[i].length <= SPACE);
			if (i)
				EXPECT(runs.run[i].start > runs.run[i - 1].start +
				       runs.run[i - 1].length);
			if (!ktap_case_bad)
				memset(got + runs.run[i].start, 1, runs.run[i].length);
		}
		EXPECT(!memcmp(is, got, sizeof(is)));
		if (ktap_case_bad)
			show_path();
	} while (next_path());
	say_cases("up to 4 runs in 6 bytes");
}

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };

/* Where an indirect table of TABLE descriptors is; behind it there is nothing. */
#define TABLE_AT	0x1000ULL
#define TABLE		2U

static struct desc table[TABLE];

/* What a walk should come to. */
struct wanted {
	unsigned int nr;
	bool indirect;
	struct segment seg[8];
};

static void want_segment(struct wanted *w, const struct desc *desc)
{
	if (w->nr < 8)
		w->seg[w->nr] = (struct segment){
			.addr = le64toh(desc->addr),
			.len = le32toh(desc->len),
			.writable = le16toh(desc->flags) & WRITE,
		};
	w->nr++;
}

/* No descriptor may be met twice: that is a loop. Return: false if it is broken. */
static bool want_table(struct wanted *w, const struct desc *desc, unsigned int nr,
		       unsigned int readable, unsigned int i, bool outer)
{
	unsigned int seen = 0;

	for (;;) {
		uint16_t flags;
		uint32_t len;

		if (i >= nr || i >= readable || seen >> i & 1)
			return false;
		seen |= 1U << i;
		flags = le16toh(desc[i].flags);
		len = le32toh(desc[i].len);
		if (flags & INDIRECT) {
			uint64_t at = le64toh(desc[i].addr) - TABLE_AT;

			if (!outer || flags & NEXT || !len || len % 16)
				return false;
			w->indirect = true;
			/* Of a table that is not whole what is there may be used. */
			if (le64toh(desc[i].addr) < TABLE_AT || at % 16 || at / 16 >= TABLE)
				return false;
			return want_table(w, table + at / 16, len / 16,
					  TABLE - (unsigned int)(at / 16), 0, false);
		}
		want_segment(w, &desc[i]);
		if (!(flags & NEXT))
			return true;
		i = le16toh(desc[i].next);
	}
}

/* A queue whose three parts end where their memory does. */
static struct queue_memory {
	struct memory mem;
	struct ring ring;
	struct desc *desc;
	uint16_t *avail;
	uint16_t *used;
} at;

static void make_queue(unsigned int num)
{
	free(at.desc);
	free(at.avail);
	free(at.used);
	at.desc = calloc(num, sizeof(*at.desc));
	at.avail = calloc(num + 2, sizeof(*at.avail));
	at.used = calloc(4 * num + 2, sizeof(*at.used));
	if (!at.desc || !at.avail || !at.used)
		exit(1);
	at.ring = (struct ring){
		.num = (uint16_t)num,
		.desc = (uint8_t *)at.desc,
		.avail = (uint8_t *)at.avail,
		.used = (uint8_t *)at.used,
	};
	at.mem.nr = 1;
	at.mem.region[0] = (struct region){
		.guest = TABLE_AT, .size = sizeof(table), .map = (uint8_t *)table,
	};
}

static struct chain chain;

static void walk(unsigned int num, unsigned int head)
{
	struct wanted w = { 0 };
	const char *why = NULL;
	bool good = want_table(&w, at.desc, num, num, head, true);
	unsigned int i;

	at.avail[1] = htole16(1);
	at.avail[2] = htole16((uint16_t)head);
	at.ring.last_avail = 0;
	EXPECT_EQ(ring_pop(&at.ring, &at.mem, &chain, &why),
		  good ? RING_BUFFER : RING_BROKEN);
	EXPECT_EQ(why == NULL, good);
	EXPECT_EQ(at.ring.last_avail, good);
	EXPECT(chain.nr <= RING_MAX);
	if (!good || ktap_case_bad)
		return;
	EXPECT_EQ(chain.head, head);
	EXPECT_EQ(chain.indirect, w.indirect);
	EXPECT_EQ(chain.nr, w.nr);
	for (i = 0; i < w.nr && i < 8; i++) {
		EXPECT_EQ(chain.seg[i].addr, w.seg[i].addr);
		EXPECT_EQ(chain.seg[i].len, w.seg[i].len);
		EXPECT_EQ(chain.seg[i].writable, w.seg[i].writable);
	}
}

static void set(struct desc *desc, uint64_t addr, uint32_t len, unsigned int flags,
		unsigned int next)
{
	desc->addr = htole64(addr);
	desc->len = htole32(len);
	desc->flags = htole16((uint16_t)flags);
	desc->next = htole16((uint16_t)next);
}

/* Any descriptor there is, of few addresses and lengths; fewer if it must be. */
static void choose_desc(struct desc *desc, unsigned int num, bool few)
{
	static const uint64_t addrs[] = {
		TABLE_AT, TABLE_AT + 16, TABLE_AT + 32, TABLE_AT - 16, ~0ULL - 8,
	};
	static const uint32_t lens[] = { 32, 0, 8, 16, 48, ~0U & ~15U };
	unsigned int next = choose(num + 2), flags;

	if (next == num + 1)
		next = 0xffff;
	if (few && next == 0xffff) {
		/* Instead, the two ends that there are. */
		flags = choose(2) ? INDIRECT : 0;
		set(desc, TABLE_AT, 32, flags, 0);
		return;
	}
	flags = few ? NEXT : choose(8);
	/* Without NEXT it does not matter; with both it is broken anyway. */
	if (!few && next && (!(flags & NEXT) || flags & INDIRECT))
		flags = NEXT | WRITE;
	if (flags & INDIRECT)
		set(desc, addrs[choose(5)], lens[choose(6)], flags, next);
	else
		set(desc, 0x9000 + 256 * next, 16 + flags, flags, next);
}

static void every_chain_of(unsigned int num, bool few)
{
	unsigned int i, head;

	make_queue(num);
	do {
		for (i = 0; i < num; i++)
			choose_desc(&at.desc[i], num, few);
		/* Of what is not met nothing matters. */
		head = choose(num + 2);
		for (i = 0; i < TABLE; i++)
			set(&table[i], 0xb000 + i, 7 + i, 0, 0);
		walk(num, head <= num ? head : 0xffff);
		for (i = 0; i < TABLE && chain.indirect; i++)
			choose_desc(&table[i], TABLE, true);
		if (chain.indirect)
			walk(num, head <= num ? head : 0xffff);
		if (ktap_case_bad)
			show_path();
	} while (next_path());
}

static void every_chain(void)
{
	every_chain_of(1, false);
	every_chain_of(2, false);
	every_chain_of(4, true);
	say_cases("chains: in queues of 1 and 2 any descriptors, of 4 any links, with an indirect table of any 2");
}

/* The longest that there may be, and one more: in a queue, and in a table. */
static void the_longest_chains(void)
{
	unsigned int num, nr, i;
	const char *why;
	struct desc *large = calloc(RING_MAX + 1, sizeof(*large));

	if (!large)
		exit(1);
	for (num = 1; num <= RING_MAX; num *= 2) {
		make_queue(num);
		for (i = 0; i < num; i++)
			set(&at.desc[i], i, 1, i + 1 < num ? NEXT : 0, i + 1);
		at.avail[1] = htole16(1);
		EXPECT_EQ(ring_pop(&at.ring, &at.mem, &chain, &why), RING_BUFFER);
		EXPECT_EQ(chain.nr, num);
		/* The last leads to the first. */
		set(&at.desc[num - 1], 0, 1, NEXT, 0);
		at.ring.last_avail = 0;
		EXPECT_EQ(ring_pop(&at.ring, &at.mem, &chain, &why), RING_BROKEN);
		cases += 2;
	}
	for (nr = RING_MAX - 1; nr <= RING_MAX + 1; nr++) {
		make_queue(4);
		at.mem.region[0].size = (RING_MAX + 1) * sizeof(*large);
		at.mem.region[0].map = (uint8_t *)large;
		for (i = 0; i < nr; i++)
			set(&large[i], i, 1, i + 1 < nr ? NEXT : 0, i + 1);
		set(&at.desc[0], TABLE_AT, nr * 16, INDIRECT, 0);
		at.avail[1] = htole16(1);
		EXPECT_EQ(ring_pop(&at.ring, &at.mem, &chain, &why),
			  nr <= RING_MAX ? RING_BUFFER : RING_BROKEN);
		/* One before the table counts, too. */
		set(&at.desc[0], 0, 1, NEXT, 1);
		set(&at.desc[1], TABLE_AT, nr * 16, INDIRECT, 0);
		at.ring.last_avail = 0;
		EXPECT_EQ(ring_pop(&at.ring, &at.mem, &chain, &why),
			  nr + 1 <= RING_MAX ? RING_BUFFER : RING_BROKEN);
		cases += 2;
	}
	free(large);
	say_cases("the longest chains");
}

static void every_index(void)
{
	static const unsigned int nums[] = { 1, 2, 256, RING_MAX };
	static const unsigned int lasts[] = {
		0, 1, 2, 255, 256, 1023, 1024, 32767, 32768, 65279, 65534, 65535,
	};
	unsigned int n, l, idx;
	const char *why;

	for (n = 0; n < 4; n++) {
		unsigned int num = nums[n], i;

		make_queue(num);
		for (i = 0; i < num; i++)
			at.avail[2 + i] = htole16((uint16_t)(num - 1 - i));
		for (l = 0; l < 12; l++)
			for (idx = 0; idx < 65536; idx++) {
				uint16_t last = (uint16_t)lasts[l];
				unsigned int waiting = (idx + 65536 - last) % 65536;
				enum ring_look look;

				at.avail[1] = htole16((uint16_t)idx);
				at.ring.last_avail = last;
				look = ring_pop(&at.ring, &at.mem, &chain, &why);
				EXPECT_EQ(look, !waiting ? RING_EMPTY : waiting > num ?
					  RING_BROKEN : RING_BUFFER);
				if (look == RING_BUFFER)
					EXPECT_EQ(chain.head, num - 1 - last % num);
				EXPECT_EQ(at.ring.last_avail,
					  (uint16_t)(last + (look == RING_BUFFER)));
				cases++;
			}
		for (idx = 0; idx < 65536; idx++) {
			uint16_t *elem = at.used + 2 + 4 * (idx % num);

			at.ring.used_idx = (uint16_t)idx;
			ring_push(&at.ring, (uint16_t)(idx * 3), idx);
			EXPECT_EQ(le16toh(elem[0]), (uint16_t)(idx * 3));
			EXPECT_EQ(le16toh(elem[2]), idx);
			ring_publish(&at.ring);
			EXPECT_EQ(le16toh(at.used[1]), (uint16_t)(idx + 1));
			EXPECT_EQ(at.used[0], 0);
			cases++;
		}
	}
	say_cases("ring indices: 12 places, all 65536 that a driver may write, 4 sizes; all used ones");
}

/* A table of one region, and a queue in it anywhere. */
static void every_place_of_a_queue(void)
{
	enum { SIZE = 64 };
	static struct memory mem;
	static uint8_t bytes[SIZE] __attribute__((aligned(16)));
	uint64_t desc, avail, used;
	unsigned int num;
	struct ring ring;

	mem.nr = 1;
	mem.region[0] = (struct region){ .user = 160, .size = SIZE, .map = bytes };
	for (num = 0; num <= 2050; num++)
		EXPECT(ring_place(&ring, &mem, num, 160, 160, 160) ||
		       num == 1 || num == 2 || num == 4);
	for (num = 1; num <= 4; num++)
		for (desc = 144; desc < 160 + SIZE; desc += 4)
			for (avail = 156; avail < 162 + SIZE; avail++)
				for (used = 156; used < 162 + SIZE; used++) {
					bool good = num != 3 && desc % 16 == 0 &&
						    avail % 2 == 0 && used % 4 == 0 &&
						    desc >= 160 && avail >= 160 &&
						    used >= 160 &&
						    desc + 16 * num <= 160 + SIZE &&
						    avail + 4 + 2 * num <= 160 + SIZE &&
						    used + 4 + 8 * num <= 160 + SIZE;
					const char *why = ring_place(&ring, &mem, num,
								     desc, avail, used);

					EXPECT_EQ(!why, good);
					cases++;
					if (why)
						continue;
					EXPECT(ring.desc == bytes + desc - 160);
					EXPECT(ring.avail == bytes + avail - 160);
					EXPECT(ring.used == bytes + used - 160);
				}
	say_cases("places of queues of 1 to 4 in 64 bytes");
}

/* Guest memory for reports: pages at 0 to 3 and 5; words lie in the first. */
#define PAGE		4096ULL
#define REPORT_END	(4 * PAGE)

static struct balloon b;
static uint8_t low[REPORT_END];

static void report_memory(enum wire wire)
{
	memset(&b, 0, sizeof(b));
	b.wire = wire;
	b.mem.nr = 2;
	b.mem.region[0] = (struct region){ .size = REPORT_END, .map = low };
	b.mem.region[1] = (struct region){ .guest = 5 * PAGE, .size = PAGE, .map = low };
}

static bool in_memory(uint64_t start, uint64_t length)
{
	return length && ((wide)start + length <= REPORT_END ||
			  (start >= 5 * PAGE && (wide)start + length <= 6 * PAGE));
}

/* Some of all kinds: good, of more pages, misaligned, too large, outside. */
static const uint64_t some_words[] = {
	2 * PAGE, 2 * PAGE | 1, 0 | 2, 5 * PAGE, 5 * PAGE | 1, 4 * PAGE, 0 | 3, 51, 52,
	4095, ~0ULL, 1ULL << 63 | 51,
};

#define SOME_WORDS	(sizeof(some_words) / sizeof(some_words[0]))

static void check_words(const uint64_t *words, unsigned int nr)
{
	unsigned int i, good = 0;
	uint64_t start, length;

	for (i = 0; i < nr; i++) {
		if (word_decode(words[i], &start, &length) ||
		    !in_memory(start, length))
			continue;
		if (good < b.runs.nr) {
			EXPECT_EQ(b.runs.run[good].start, start);
			EXPECT_EQ(b.runs.run[good].length, length);
		}
		good++;
	}
	EXPECT_EQ(b.runs.nr, good);
	EXPECT_EQ(b.stats.told, nr);
	EXPECT_EQ(b.stats.blocks, good);
}

/* How a buffer is cut into segments means nothing, virtio 1.2, 2.7.4. */
static void every_cut_of_words(void)
{
	uint64_t words[3], first;
	unsigned int i, nr, cut[2], bytes, odd, total;

	do {
		report_memory(WIRE_HINTS);
		nr = choose(4);
		for (i = 0; i < nr; i++) {
			/* Only the first is any; the others are what is left. */
			first = i ? some_words[choose(3) * 4] :
				    some_words[choose(SOME_WORDS)];
			words[i] = first;
			first = htole64(first);
			memcpy(low + 8 * i, &first, sizeof(first));
		}
		/* A few bytes too many, or one too few. */
		odd = choose(4);
		bytes = 8 * nr + (odd == 3 ? 0 : odd);
		total = odd == 3 && bytes ? bytes - 1 : bytes;
		cut[0] = choose(total + 1);
		cut[1] = cut[0] + choose(total - cut[0] + 1);
		b.chain.nr = 3;
		b.chain.seg[0] = (struct segment){ .addr = 0, .len = cut[0] };
		b.chain.seg[1] = (struct segment){ .addr = cut[0], .len = cut[1] - cut[0] };
		b.chain.seg[2] = (struct segment){ .addr = cut[1], .len = total - cut[1] };
		report_decode(&b);
		EXPECT_EQ(b.stats.seen, 1);
		if (!total || total % 8) {
			EXPECT_EQ(b.stats.violations[VIOLATION_SIZE], 1);
			EXPECT(!b.runs.nr && !b.stats.told);
		} else {
			EXPECT_EQ(b.stats.violations[VIOLATION_SIZE], 0);
			check_words(words, total / 8);
		}
		if (ktap_case_bad)
			show_path();
	} while (next_path());
	say_cases("up to 3 words and a few bytes, in 3 segments cut anywhere");
}

/* How many there may be, which way they go, and where they are. */
static void every_kind_of_words(void)
{
	unsigned int nr, writable, place;

	for (nr = 0; nr <= 34; nr++)
		for (writable = 0; writable < 2; writable++)
			for (place = 0; place <= 300; place++) {
				uint64_t at = REPORT_END - place;
				bool there = 8 * nr <= place;

				report_memory(WIRE_HINTS);
				memset(low, 0, sizeof(low));
				b.chain.nr = 1;
				b.chain.seg[0] = (struct segment){
					.addr = at, .len = 8 * nr, .writable = writable,
				};
				report_decode(&b);
				EXPECT_EQ(b.stats.violations[VIOLATION_WRITABLE], writable);
				EXPECT_EQ(b.stats.violations[VIOLATION_SIZE],
					  !writable && (!nr || nr > 32));
				EXPECT_EQ(b.stats.violations[VIOLATION_OUTSIDE],
					  !writable && nr && nr <= 32 && !there);
				EXPECT_EQ(b.runs.nr, !writable && nr <= 32 && there ? nr : 0);
				cases++;
			}
	say_cases("0 to 34 words, at each byte near the end of memory, both ways");
}

static void every_block_of_the_other_wire(void)
{
	static const uint32_t lens[] = {
		0, 1, 4095, 4096, 4097, 8192, 16384, 20480, 0x80000000, 0xfffff000, ~0U,
	};
	static const uint64_t addrs[] = {
		0, 1, 4095, 4096, 8192, 3 * PAGE, 4 * PAGE, 5 * PAGE, 6 * PAGE,
		~0ULL & ~4095ULL, ~0ULL,
	};
	unsigned int i, nr = 0, poison;

	do {
		poison = choose(2);
		report_memory(WIRE_SG);
		b.acked = poison ? 1ULL << BALLOON_F_PAGE_POISON : 0;
		b.config.poison_val = poison;
		b.chain.nr = 2;
		for (i = 0, nr = 0; i < 2; i++) {
			struct segment *seg = &b.chain.seg[i];

			*seg = (struct segment){
				.addr = addrs[choose(11)], .len = lens[choose(11)],
				.writable = choose(2),
			};
			nr += seg->writable && seg->addr % PAGE == 0 &&
			      seg->len % PAGE == 0 && in_memory(seg->addr, seg->len);
		}
		report_decode(&b);
		EXPECT_EQ(b.stats.told, 2);
		EXPECT_EQ(b.runs.nr, poison ? 0 : nr);
		EXPECT_EQ(b.stats.poisoned, poison ? nr : 0);
		if (ktap_case_bad)
			show_path();
	} while (next_path());
	say_cases("reports of 2 blocks: 11 addresses, 11 lengths, both ways");
}

/**
 * struct kind - what docs/interop/vhost-user.rst of QEMU says of a message
 * @least, @most: bytes of payload
 * @fds: least and most descriptors
 * @feature: the protocol feature that it needs, or -1
 */
struct kind {
	uint32_t request;
	uint32_t least, most;
	unsigned int fds[2];
	int feature;
};

static const struct kind kinds[] = {
	{ 1, 0, 0, { 0, 0 }, -1 },		/* GET_FEATURES */
	{ 2, 8, 8, { 0, 0 }, -1 },		/* SET_FEATURES */
	{ 3, 0, 0, { 0, 0 }, -1 },		/* SET_OWNER */
	{ 4, 0, 0, { 0, 0 }, -1 },		/* RESET_OWNER */
	{ 5, 8, 8 + 8 * 32, { 0, 8 }, -1 },	/* SET_MEM_TABLE */
	{ 8, 8, 8, { 0, 0 }, -1 },		/* SET_VRING_NUM */
	{ 9, 40, 40, { 0, 0 }, -1 },		/* SET_VRING_ADDR */
	{ 10, 8, 8, { 0, 0 }, -1 },		/* SET_VRING_BASE */
	{ 11, 8, 8, { 0, 0 }, -1 },		/* GET_VRING_BASE */
	{ 12, 8, 8, { 0, 1 }, -1 },		/* SET_VRING_KICK */
	{ 13, 8, 8, { 0, 1 }, -1 },		/* SET_VRING_CALL */
	{ 14, 8, 8, { 0, 1 }, -1 },		/* SET_VRING_ERR */
	{ 15, 0, 0, { 0, 0 }, -1 },		/* GET_PROTOCOL_FEATURES */
	{ 16, 8, 8, { 0, 0 }, -1 },		/* SET_PROTOCOL_FEATURES */
	{ 17, 0, 0, { 0, 0 }, 0 },		/* GET_QUEUE_NUM: MQ */
	{ 18, 8, 8, { 0, 0 }, -1 },		/* SET_VRING_ENABLE */
	{ 21, 0, 0, { 1, 1 }, 5 },		/* SET_BACKEND_REQ_FD */
	{ 24, 12, 12 + 256, { 0, 0 }, 9 },	/* GET_CONFIG */
	{ 25, 12, 12 + 256, { 0, 0 }, 9 },	/* SET_CONFIG */
	{ 34, 0, 0, { 0, 0 }, 13 },		/* RESET_DEVICE */
	{ 36, 0, 0, { 0, 0 }, 15 },		/* GET_MAX_MEM_SLOTS */
	{ 37, 40, 40, { 1, 1 }, 15 },		/* ADD_MEM_REG */
	{ 38, 40, 40, { 0, 1 }, 15 },		/* REM_MEM_REG */
};

#define KINDS	(sizeof(kinds) / sizeof(kinds[0]))

static const struct kind *kind_of(uint32_t request)
{
	unsigned int i;

	for (i = 0; i < KINDS; i++)
		if (kinds[i].request == request)
			return &kinds[i];
	return NULL;
}

/* What the document says of the content. */
static bool fits_content(const struct message *msg)
{
	uint32_t size = msg->header.size;

	switch (msg->header.request) {
	case 5:
		return msg->payload.table.nr <= 8 &&
		       size == 8 + 32 * msg->payload.table.nr &&
		       msg->nr_fds == msg->payload.table.nr;
	case 24:
	case 25:
		return size == 12 + msg->payload.config.size;
	case 12:
	case 13:
	case 14:
		return msg->nr_fds == (msg->payload.u64 & 0x100 ? 0 : 1);
	}
	return true;
}

static void check_message(struct message *msg, uint64_t protocol)
{
	const struct kind *kind = kind_of(msg->header.request);
	uint32_t size = msg->header.size;
	bool known = !kind, good;

	good = kind && (msg->header.flags & 3) == 1 &&
	       (kind->feature < 0 || protocol >> kind->feature & 1) &&
	       size >= kind->least && size <= kind->most &&
	       msg->nr_fds >= kind->fds[0] && msg->nr_fds <= kind->fds[1] &&
	       fits_content(msg);
	EXPECT_EQ(!message_check(msg, protocol, &known), good);
	EXPECT_EQ(known, kind != NULL);
	cases++;
}

/* What content matters, in few numbers. */
static void set_content(struct message *msg, unsigned int i)
{
	static const uint32_t numbers[] = { 0, 1, 2, 7, 8, 9, 256, ~0U };

	memset(&msg->payload, 0, sizeof(msg->payload));
	if (msg->header.request == 5)
		msg->payload.table.nr = numbers[i];
	else if (msg->header.request == 24 || msg->header.request == 25)
		msg->payload.config.size = i < 6 ? msg->header.size - 12 :
						   numbers[i] + msg->header.size;
	else
		msg->payload.u64 = i & 1 ? 0x100 | i : i;
}

static void every_message(void)
{
	static struct message msg;
	uint64_t protocol;
	unsigned int request, i, flags, bit;

	for (request = 0; request <= 45 && !ktap_case_bad; request++)
		for (msg.header.size = 0; msg.header.size <= sizeof(msg.payload);
		     msg.header.size++)
			for (msg.nr_fds = 0; msg.nr_fds <= 8; msg.nr_fds++)
				for (i = 0; i < 8; i++) {
					msg.header.request = request == 45 ? ~0U : request;
					msg.header.flags = 1;
					set_content(&msg, i);
					check_message(&msg, ~0ULL);
				}
	for (request = 0; request < KINDS; request++)
		for (flags = 0; flags < 16; flags++)
			for (bit = 0; bit < 64; bit++) {
				msg.header.request = kinds[request].request;
				msg.header.size = kinds[request].least;
				msg.header.flags = flags;
				msg.nr_fds = kinds[request].fds[0];
				set_content(&msg, 1);
				if (msg.header.request == 5)
					msg.payload.table.nr = 0;
				protocol = 1ULL << bit;
				check_message(&msg, protocol);
				check_message(&msg, ~protocol);
			}
	say_cases("messages: 46 requests, every size, 0 to 8 descriptors, 8 contents; every flag and feature");
}

static int open_fds(void)
{
	int fd, nr = 0;

	for (fd = 0; fd < 64; fd++)
		nr += fcntl(fd, F_GETFD) >= 0;
	return nr;
}

/* Send some bytes, and so many descriptors with them. */
static void send_part(int sock, const void *bytes, size_t size, unsigned int fds)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(16 * sizeof(int))];
	} control;
	struct iovec iov = { (void *)bytes, size };
	struct msghdr hdr = { .msg_iov = &iov, .msg_iovlen = 1 };
	static const int some_fd = STDERR_FILENO;
	struct cmsghdr *c;
	unsigned int i;

	if (fds) {
		memset(&control, 0, sizeof(control));
		hdr.msg_control = &control;
		hdr.msg_controllen = CMSG_SPACE(fds * sizeof(int));
		c = CMSG_FIRSTHDR(&hdr);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(fds * sizeof(int));
		for (i = 0; i < fds; i++)
			memcpy(CMSG_DATA(c) + i * sizeof(int), &some_fd, sizeof(int));
	}
	EXPECT_EQ(sendmsg(sock, &hdr, MSG_NOSIGNAL), (ssize_t)size);
}

/* A stream of two messages, in three pieces cut anywhere, that ends or goes on. */
static void every_cut_of_a_message(void)
{
	enum { PAYLOAD = 8, ONE = 12 + PAYLOAD };
	struct vu_header header = { .request = 2, .flags = 1, .size = PAYLOAD };
	uint8_t bytes[2 * ONE];
	static struct message msg;
	unsigned int cut[2], i, got, fds;
	int sock[2], before = open_fds(), on = 1;	/* as peer_listen() has it */
	const char *why = NULL;
	enum receipt end;

	for (i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i + 1);
	memcpy(bytes, &header, sizeof(header));
	memcpy(bytes + ONE, &header, sizeof(header));
	do {
		unsigned int sent = 0, last = choose(2 * ONE + 1);

		cut[0] = choose(last + 1);
		cut[1] = cut[0] + choose(last - cut[0] + 1);
		/* With the first byte; more than fit, too. */
		fds = choose(2) ? 9 : cut[0] % 3;
		if (!cut[0])
			fds = 0;
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, sock) ||
		    setsockopt(sock[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)))
			exit(1);
		got = 0;
		for (i = 0; i < 3; i++) {
			unsigned int to = i < 2 ? cut[i] : last;

			if (to > sent)
				send_part(sock[1], bytes + sent, to - sent,
					  sent ? 0 : fds);
			sent = to;
			while ((end = message_receive(sock[0], &msg, &why)) ==
			       RECEIPT_WHOLE) {
				EXPECT_EQ(msg.header.size, PAYLOAD);
				EXPECT(!memcmp(&msg.payload, bytes + got * ONE + 12,
					       PAYLOAD));
				EXPECT_EQ(msg.nr_fds, got ? 0 : fds);
				message_clear(&msg);
				got++;
			}
			if (fds > MESSAGE_FDS_MAX) {
				EXPECT_EQ(end, RECEIPT_BAD);
				break;
			}
			EXPECT_EQ(end, RECEIPT_PART);
			EXPECT_EQ(got, sent / ONE);
			EXPECT_EQ(msg.have, sent % ONE);
		}
		close(sock[1]);
		if (fds <= MESSAGE_FDS_MAX)
			EXPECT_EQ(message_receive(sock[0], &msg, &why),
				  last % ONE ? RECEIPT_BAD : RECEIPT_END);
		message_clear(&msg);
		close(sock[0]);
		/* Now and then: it takes long. */
		if (cases % 64 == 0)
			EXPECT_EQ(open_fds(), before);
		if (ktap_case_bad)
			show_path();
	} while (next_path());
	EXPECT_EQ(open_fds(), before);
	say_cases("two messages, cut anywhere into 3 pieces or broken off, with descriptors");
}

int main(void)
{
	ENUM(every_word);
	ENUM(every_block_there_and_back);
	ENUM(every_memory_table);
	ENUM(every_four_runs);
	ENUM(every_chain);
	ENUM(the_longest_chains);
	ENUM(every_index);
	ENUM(every_place_of_a_queue);
	ENUM(every_cut_of_words);
	ENUM(every_kind_of_words);
	ENUM(every_block_of_the_other_wire);
	ENUM(every_message);
	ENUM(every_cut_of_a_message);
	free(at.desc);
	free(at.avail);
	free(at.used);
	return enum_end();
}
