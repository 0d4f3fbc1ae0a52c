// SPDX-License-Identifier: GPL-2.0
/*
 * Fill memory with patterns derived from its address, free and take it in
 * turns while batches fly, and check every word that is still owned.
 *
 *	integrity BATCHES SECONDS MIB SLOT_KIB
 *
 * Two processes share MIB. One frees many slots, has the core flush them, and
 * fills them again, so that many batches fly; the other takes and frees slots at
 * random all the while, so that they fly through moving memory.
 *
 * Goes on until the core has delivered BATCHES more batches; it is a failure if
 * that takes more than SECONDS. SIGTERM ends it early and well. Prints words checked and mismatches, exits 0
 * only if enough batches flew and no word was wrong.
 */
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

/* Somebody else's flush may be cut short by an error; ours is tried again. */
static void flush_core(void)
{
	int fd = open(FLUSH_FILE, O_WRONLY);

	if (fd < 0) {
		perror("integrity: " FLUSH_FILE);
		exit(1);
	}
	if (write(fd, "1", 1) != 1)
		perror("# integrity: flush");
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

	if (argc != 5) {
		fprintf(stderr,
			"usage: integrity BATCHES SECONDS MIB SLOT_KIB\n");
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
	return bad || (flown < goal && !stop) || status;
}
