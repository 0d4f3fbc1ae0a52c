// SPDX-License-Identifier: GPL-2.0
/*
 * Fill memory with patterns derived from its address, free and take it in
 * turns while batches fly, and check what is still owned.
 *
 *	integrity BATCHES SECONDS MIB SLOT_KIB [every] [failing]
 *
 * Eight words of each page are filled and checked: the first, the last, and six
 * that are others each turn. A host drops or overwrites pages, never less, and
 * each page of a slot has words in it that differ from those of any other page
 * and any other turn: a page that is zeroed, overwritten, stale or another's is
 * found as surely as with all of its words. What a device might do to a part of
 * a page only, "every" finds, which fills and checks every word. It takes much
 * longer.
 *
 * Two processes share MIB. One frees many slots, has the core flush them, and
 * fills them again, so that many batches fly; the other takes and frees slots at
 * random all the while, so that they fly through moving memory.
 *
 * A flush may be refused by the device (EIO) or come at a bad time (EAGAIN). With
 * "failing" there may be no device at times (ENODEV), too. Any other error is
 * wrong.
 *
 * Goes on until the core has delivered BATCHES more batches; it is a failure if
 * that takes more than SECONDS. SIGTERM ends it early and well. Prints words
 * checked and mismatches, exits 0 only if enough batches flew, no word was wrong
 * and no flush failed as none may.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FLUSH_FILE	"/sys/kernel/aeration/flush"
#define BATCHES_FILE	"/sys/kernel/aeration/stats/batches"
#define MIB		(1UL << 20)
#define HUGE_BYTES	(2 * MIB)
#define PAGE_WORDS	(4096 / sizeof(uint64_t))
#define WORDS_CHECKED	8	/* of a page, unless it is every one */
#define BURST		64	/* slots freed between two flushes */
#define MOVER_SHARE	4	/* part of the memory that moves at random */
#define MOVER_PAUSE_US	2000	/* leaves the other process time to flush */
#define REPORTED_BAD	10

/* Odd and wide, so that each turn differs from the others in many bits. */
#define TURN_STEP	0x2545f4914f6cdd1dULL

struct slot {
	uint64_t *words;
	uint64_t turn;		/* 0: free */
};

static uint64_t checked, bad, bad_flushes;
static int every, failing;
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

/* Which words of each page of a slot count in this turn. */
static void choose_words(uint64_t turn, size_t where[WORDS_CHECKED])
{
	/* Turns are multiples of a wide number: the upper bits vary. */
	uint64_t bits = turn >> 10;
	size_t i;

	where[0] = 0;
	where[1] = PAGE_WORDS - 1;
	for (i = 2; i < WORDS_CHECKED; i++, bits /= PAGE_WORDS)
		where[i] = bits % PAGE_WORDS;
}

static void fill(struct slot *s, size_t bytes, uint64_t turn)
{
	size_t i, k, where[WORDS_CHECKED];
	uint64_t *words = s->words;

	s->turn = turn;
	if (every) {
		for (i = 0; i < bytes / 8; i++)
			words[i] = pattern(&words[i], turn);
		return;
	}
	choose_words(turn, where);
	for (i = 0; i < bytes / 8; i += PAGE_WORDS)
		for (k = 0; k < WORDS_CHECKED; k++)
			words[i + where[k]] = pattern(&words[i + where[k]], turn);
}

static void check_word(const uint64_t *word, uint64_t turn)
{
	uint64_t want = pattern(word, turn);

	if (*word == want || bad++ >= REPORTED_BAD)
		return;
	printf("# %p is %016llx, should be %016llx\n", (void *)word,
	       (unsigned long long)*word, (unsigned long long)want);
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

static void check_every(const struct slot *s, size_t bytes)
{
	size_t i;

	checked += bytes / 8;
	if (!differing_bits(s, bytes))
		return;
	for (i = 0; i < bytes / 8; i++)
		check_word(&s->words[i], s->turn);
}

static void check(const struct slot *s, size_t bytes)
{
	size_t i, k, where[WORDS_CHECKED];

	if (every) {
		check_every(s, bytes);
		return;
	}
	choose_words(s->turn, where);
	for (i = 0; i < bytes / 8; i += PAGE_WORDS)
		for (k = 0; k < WORDS_CHECKED; k++)
			check_word(&s->words[i + where[k]], s->turn);
	checked += bytes / 4096 * WORDS_CHECKED;
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
static char *map_arena(size_t bytes, size_t slot_bytes)
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

struct arena {
	struct slot *slots;
	size_t count, slot_bytes;
};

static struct arena make_arena(size_t bytes, size_t slot_bytes)
{
	struct arena a = { .count = bytes / slot_bytes,
			   .slot_bytes = slot_bytes };
	char *base = map_arena(bytes, slot_bytes);
	size_t i;

	a.slots = calloc(a.count, sizeof(*a.slots));
	if (!a.slots) {
		perror("integrity: calloc");
		exit(1);
	}
	for (i = 0; i < a.count; i++)
		a.slots[i].words = (uint64_t *)(base + i * slot_bytes);
	return a;
}

/* A slot that is free is filled, one that is not is checked and freed. */
static void turn_slot(struct arena *a, size_t i)
{
	static uint64_t turn;

	if (a->slots[i].turn)
		release(&a->slots[i], a->slot_bytes);
	else
		fill(&a->slots[i], a->slot_bytes, turn += TURN_STEP);
}

static void check_all(struct arena *a)
{
	size_t i;

	for (i = 0; i < a->count; i++)
		if (a->slots[i].turn)
			check(&a->slots[i], a->slot_bytes);
}

static volatile sig_atomic_t stop;

static void on_term(int sig)
{
	(void)sig;
	stop = 1;
}

/* The process that moves memory at random until it is told to stop. */
static int mover(size_t bytes, size_t slot_bytes)
{
	struct arena a = make_arena(bytes, slot_bytes);

	while (!stop && !bad) {
		turn_slot(&a, random_word() % a.count);
		usleep(MOVER_PAUSE_US);
	}
	check_all(&a);
	printf("# mover: %llu words checked, %llu wrong\n",
	       (unsigned long long)checked, (unsigned long long)bad);
	fflush(stdout);
	return !!bad;
}

/* An error that the device makes is one thing; one of the core's is another. */
static int may_fail_with(int err)
{
	return err == EIO || err == EAGAIN || (failing && err == ENODEV);
}

static void flush_core(void)
{
	int fd = open(FLUSH_FILE, O_WRONLY);

	if (fd < 0) {
		perror("integrity: " FLUSH_FILE);
		exit(1);
	}
	if (write(fd, "1", 1) != 1) {
		if (!may_fail_with(errno))
			bad_flushes++;
		printf("# flush: %s\n", strerror(errno));
	}
	close(fd);
}

/* Free a run of slots, let them be reported, fill them again. */
static void burst(struct arena *a, size_t *where)
{
	size_t first = *where, i;

	for (i = 0; i < BURST; i++)
		if (a->slots[(first + i) % a->count].turn)
			turn_slot(a, (first + i) % a->count);
	flush_core();
	for (i = 0; i < BURST; i++)
		turn_slot(a, (first + i) % a->count);
	*where = (first + BURST) % a->count;
}

int main(int argc, char **argv)
{
	uint64_t goal, start, flown = 0;
	size_t bytes, slot_bytes, where = 0;
	int status = 0;
	struct arena a;
	time_t end;
	pid_t child;

	for (; argc > 5; argc--)
		if (!strcmp(argv[argc - 1], "every"))
			every = 1;
		else if (!strcmp(argv[argc - 1], "failing"))
			failing = 1;
		else
			break;
	if (argc != 5) {
		fprintf(stderr,
			"usage: integrity BATCHES SECONDS MIB SLOT_KIB [every] [failing]\n");
		return 2;
	}
	goal = strtoull(argv[1], NULL, 0);
	end = time(NULL) + (time_t)strtoul(argv[2], NULL, 0);
	bytes = strtoul(argv[3], NULL, 0) * MIB;
	slot_bytes = strtoul(argv[4], NULL, 0) * 1024;

	signal(SIGTERM, on_term);
	child = fork();
	if (child < 0) {
		perror("integrity: fork");
		return 1;
	}
	if (!child)
		return mover(bytes / MOVER_SHARE, slot_bytes);

	a = make_arena(bytes - bytes / MOVER_SHARE, slot_bytes);
	start = batches();
	while (flown < goal && time(NULL) < end && !bad && !stop) {
		burst(&a, &where);
		flown = batches() - start;
	}
	check_all(&a);
	kill(child, SIGTERM);
	waitpid(child, &status, 0);
	printf("# %llu batches, %llu words checked, %llu wrong\n",
	       (unsigned long long)flown, (unsigned long long)checked,
	       (unsigned long long)bad);
	if (bad_flushes)
		printf("# %llu flushes failed that may not\n",
		       (unsigned long long)bad_flushes);
	return bad || bad_flushes || (flown < goal && !stop) || status;
}
