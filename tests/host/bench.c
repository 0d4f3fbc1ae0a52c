// SPDX-License-Identifier: GPL-2.0
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "bench.h"
#include "log.h"

/* The daemon's words, made and thrown away; nobody listens. */
bool log_takes(int fd)
{
	return fd == STDOUT_FILENO;
}

void say(const char *fmt, ...)
{
	char text[1024];
	va_list args;

	va_start(args, fmt);
	MUST(vsnprintf(text, sizeof(text), fmt, args) > 0);
	va_end(args);
}

static uint8_t *canary(const struct bench *t, int i)
{
	static const uint64_t at[] = {
		0, BENCH_PAGE + BENCH_LOW,
		2 * BENCH_PAGE + BENCH_LOW + BENCH_HIGH,
	};

	return t->file + at[i];
}

/* A fresh device; its memory is full of BENCH_FILL. */
struct bench *bench(enum wire wire)
{
	static struct bench t = { .fd = -1 };

	memory_clear(&t.b.mem);
	if (t.fd < 0) {
		t.fd = memfd_create("guest", MFD_CLOEXEC);
		MUST(t.fd >= 0 && !ftruncate(t.fd, BENCH_FILE));
		t.file = mmap(NULL, BENCH_FILE, PROT_READ | PROT_WRITE,
			      MAP_SHARED, t.fd, 0);
		MUST(t.file != MAP_FAILED);
		t.low = t.file + BENCH_PAGE;
		t.high = t.low + BENCH_LOW + BENCH_PAGE;
	}
	memset(t.file, BENCH_FILL, BENCH_FILE);
	balloon_init(&t.b, wire, BALLOON_FEATURES, &honest);
	t.b.acked = BALLOON_FEATURES;
	/* There is no process that could have pinned anything. */
	t.b.allow_pinned = true;
	return &t;
}

void bench_add_memory(struct bench *t)
{
	MUST(!memory_add(&t->b.mem, 0, BENCH_LOW, BENCH_USER, BENCH_PAGE,
			 dup(t->fd)));
	MUST(!memory_add(&t->b.mem, BENCH_HIGH_AT, BENCH_HIGH,
			 BENCH_USER + BENCH_LOW, BENCH_LOW + 2 * BENCH_PAGE,
			 dup(t->fd)));
}

static bool all_are(const uint8_t *at, size_t bytes, uint8_t value)
{
	return at[0] == value && !memcmp(at, at + 1, bytes - 1);
}

bool bench_is_zero(const uint8_t *at, size_t bytes)
{
	return all_are(at, bytes, 0);
}

/* Nothing outside of the regions was written to or released. */
void bench_check(const struct bench *t)
{
	int i;

	for (i = 0; i < 3; i++)
		MUST(all_are(canary(t, i), BENCH_PAGE, BENCH_FILL));
}

/* A queue, set up in LOW; NULL if there can be no such queue. */
struct queue *bench_queue(struct bench *t, enum role role, uint32_t num,
			  uint16_t base, uint64_t desc, uint64_t avail,
			  uint64_t used)
{
	struct queue *q = t->b.queue;

	while (balloon_role(&t->b, q) != role)
		q++;
	if (ring_place(&q->ring, &t->b.mem, num, BENCH_USER + desc,
		       BENCH_USER + avail, BENCH_USER + used))
		return NULL;
	ring_start(&q->ring, base);
	q->state = QUEUE_STARTED;
	q->enabled = true;
	return q;
}

/* Serve a queue as often as one look at it takes turns. */
void bench_serve(struct bench *t, struct queue *q)
{
	do
		honest.serve(&t->b, q);
	while (t->b.pending.q == q && q->state == QUEUE_STARTED);
}

/* A ring with one report where the seeds have queue 3: a page for each. */
void bench_put_report(struct bench *t)
{
	uint64_t desc[] = { 8 * BENCH_PAGE, 2 * sizeof(uint64_t) };
	uint64_t words[] = { 9 * BENCH_PAGE, 12 * BENCH_PAGE | 2 };
	uint8_t *ring = t->low + 3 * BENCH_PAGE;

	memset(t->low, 0, BENCH_LOW);
	memcpy(ring, desc, sizeof(desc));
	ring[0x400 + 2] = 1;
	memcpy(t->low + 8 * BENCH_PAGE, words, sizeof(words));
}
