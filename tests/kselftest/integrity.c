// SPDX-License-Identifier: GPL-2.0
/*
 * Fill memory with patterns derived from its address, free and take it in
 * turns while batches fly, and check every word that is still owned.
 *
 *	integrity BATCHES SECONDS MIB SLOT_KIB
 *
 * Goes on until the core has delivered BATCHES more batches; it is a failure if
 * that takes more than SECONDS. Prints words checked and mismatches, exits 0
 * only if enough batches flew and no word was wrong.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define BATCHES_FILE	"/sys/kernel/aeration/stats/batches"
#define MIB		(1UL << 20)
#define HUGE_BYTES	(2 * MIB)
#define STEPS_PER_LOOK	64
#define REPORTED_BAD	10

/* Odd and wide, so that each turn differs from the others in many bits. */
#define TURN_STEP	0x2545f4914f6cdd1dULL

struct slot {
	uint64_t *words;
	uint64_t turn;		/* 0: free */
};

static uint64_t checked, bad;
static uint64_t random_state = 0x9e3779b97f4a7c15ULL;

static uint64_t random_word(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static uint64_t pattern(const uint64_t *where, uint64_t turn)
{
	return (uint64_t)(uintptr_t)where ^ turn;
}

static void fill(struct slot *s, size_t bytes, uint64_t turn)
{
	uint64_t *words = s->words;
	size_t i;

	s->turn = turn;
	for (i = 0; i < bytes / 8; i++)
		words[i] = pattern(&words[i], turn);
}

/* Bits in which any word of a slot differs from its pattern: a loop that the
 * compiler can vectorise, because most of the time goes here.
 */
static uint64_t differing_bits(const struct slot *s, size_t bytes)
{
	const uint64_t *words = s->words;
	uint64_t turn = s->turn, bits = 0;
	size_t i;

	for (i = 0; i < bytes / 8; i++)
		bits |= words[i] ^ pattern(&words[i], turn);
	return bits;
}

static void check(const struct slot *s, size_t bytes)
{
	size_t i;

	checked += bytes / 8;
	if (!differing_bits(s, bytes))
		return;
	for (i = 0; i < bytes / 8; i++) {
		uint64_t want = pattern(&s->words[i], s->turn);

		if (s->words[i] == want)
			continue;
		if (bad++ < REPORTED_BAD)
			printf("# %p is %016llx, should be %016llx\n",
			       (void *)&s->words[i],
			       (unsigned long long)s->words[i],
			       (unsigned long long)want);
	}
}

static void release(struct slot *s, size_t bytes)
{
	check(s, bytes);
	s->turn = 0;
	if (madvise(s->words, bytes, MADV_DONTNEED)) {
		perror("integrity: madvise");
		exit(1);
	}
}

static uint64_t batches(void)
{
	unsigned long long value = 0;
	FILE *f = fopen(BATCHES_FILE, "r");

	if (!f || fscanf(f, "%llu", &value) != 1) {
		perror("integrity: " BATCHES_FILE);
		exit(1);
	}
	fclose(f);
	return value;
}

/* Huge pages only for slots of whole ones: a part of one is not freed alone. */
static char *arena(size_t bytes, size_t slot_bytes)
{
	char *p = mmap(NULL, bytes + HUGE_BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED) {
		perror("integrity: mmap");
		exit(1);
	}
	p = (char *)(((uintptr_t)p + HUGE_BYTES - 1) & ~(HUGE_BYTES - 1));
	madvise(p, bytes, slot_bytes % HUGE_BYTES ? MADV_NOHUGEPAGE :
						   MADV_HUGEPAGE);
	return p;
}

/* One turn: a slot that is free is filled, one that is not is checked and freed. */
static void step(struct slot *slots, size_t count, size_t bytes)
{
	struct slot *s = &slots[random_word() % count];
	static uint64_t turn;

	if (s->turn)
		release(s, bytes);
	else
		fill(s, bytes, (turn += TURN_STEP));
}

int main(int argc, char **argv)
{
	uint64_t goal, start, flown = 0;
	size_t total, bytes, count, i;
	struct slot *slots;
	time_t end;
	char *base;

	if (argc != 5) {
		fprintf(stderr,
			"usage: integrity BATCHES SECONDS MIB SLOT_KIB\n");
		return 2;
	}
	goal = strtoull(argv[1], NULL, 0);
	end = time(NULL) + (time_t)strtoul(argv[2], NULL, 0);
	total = strtoul(argv[3], NULL, 0) * MIB;
	bytes = strtoul(argv[4], NULL, 0) * 1024;
	count = total / bytes;
	base = arena(total, bytes);
	slots = calloc(count, sizeof(*slots));
	if (!slots)
		return 1;
	for (i = 0; i < count; i++)
		slots[i].words = (uint64_t *)(base + i * bytes);

	start = batches();
	while (flown < goal && time(NULL) < end && !bad) {
		for (i = 0; i < STEPS_PER_LOOK; i++)
			step(slots, count, bytes);
		flown = batches() - start;
	}
	for (i = 0; i < count; i++)
		if (slots[i].turn)
			check(&slots[i], bytes);
	printf("# %llu batches, %llu words checked, %llu wrong\n",
	       (unsigned long long)flown, (unsigned long long)checked,
	       (unsigned long long)bad);
	return bad || flown < goal;
}
