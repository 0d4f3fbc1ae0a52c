// SPDX-License-Identifier: GPL-2.0
/* The daemon's parts one by one: words, runs, memory, rings, huge pages. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../unit/ktap.h"
#include "bench.h"
#include "release.h"
#include "sandbox.h"

static void every_order(void)
{
	uint64_t order, start, length;

	for (order = 0; order <= WORD_ORDER_MASK; order++) {
		if (order > WORD_ORDER_MAX) {
			EXPECT_EQ(word_decode(order, &start, &length),
				  REFUSAL_ORDER);
			EXPECT_EQ(length, 0);
			continue;
		}
		EXPECT_EQ(word_decode(order, &start, &length), REFUSAL_NONE);
		EXPECT_EQ(length, WORD_UNIT << order);
		if (order < WORD_ORDER_MAX)
			EXPECT_EQ(word_decode((WORD_UNIT << order) | (order + 1),
					      &start, &length),
				  REFUSAL_MISALIGNED);
	}
}

static void random_runs_merge(void)
{
	enum { SPACE = 512, TURNS = 300 };
	bool is[SPACE], got[SPACE];
	struct runs *runs = malloc(sizeof(*runs));
	unsigned int turn, i, at, len;
	uint64_t bytes, want;

	for (turn = 0; turn < TURNS; turn++) {
		memset(is, 0, sizeof(is));
		memset(got, 0, sizeof(got));
		runs->nr = 0;
		for (i = 0; i < turn % 40; i++) {
			at = (unsigned int)(ktap_random() % SPACE);
			len = 1 + (unsigned int)(ktap_random() % 20);
			if (at + len > SPACE)
				continue;
			runs_add(runs, at, len);
			memset(is + at, 1, len);
		}
		bytes = runs_merge(runs);
		for (i = 0; i < runs->nr; i++) {
			memset(got + runs->run[i].start, 1,
			       runs->run[i].length);
			if (i)
				EXPECT(runs->run[i].start >
				       runs->run[i - 1].start +
				       runs->run[i - 1].length);
		}
		for (i = 0, want = 0; i < SPACE; i++)
			want += is[i];
		EXPECT(!memcmp(is, got, sizeof(is)));
		EXPECT_EQ(bytes, want);
	}
	free(runs);
}

/* Whether reading a byte ends the program. */
static bool faults(const volatile uint8_t *at)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		signal(SIGSEGV, SIG_DFL);
		signal(SIGBUS, SIG_DFL);
		(void)*at;
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

static void memory_lies_between_guards(void)
{
	struct bench *t = bench(WIRE_HINTS);
	unsigned int i;

	bench_add_memory(t);
	for (i = 0; i < t->b.mem.nr; i++) {
		const struct region *r = &t->b.mem.region[i];

		/* Nobody else may get what is before and behind. */
		EXPECT((uint8_t *)r->reserved + r->page <= r->map);
		EXPECT(r->map + r->size + r->page <=
		       (uint8_t *)r->reserved + r->reserved_size);
		EXPECT(!faults(r->map));
		EXPECT(!faults(r->map + r->size - 1));
		EXPECT(faults(r->map - 1));
		EXPECT(faults(r->map - r->page));
		EXPECT(faults(r->map + r->size));
		EXPECT(faults(r->map + r->size + r->page - 1));
	}
}

static void addresses_end_where_memory_does(void)
{
	struct bench *t = bench(WIRE_HINTS);
	const struct memory *mem = &t->b.mem;
	uint8_t byte[2];

	bench_add_memory(t);
	EXPECT(memory_covers(mem, 0, BENCH_LOW));
	EXPECT(!memory_covers(mem, 0, BENCH_LOW + 1));
	EXPECT(!memory_covers(mem, BENCH_LOW, 1));
	EXPECT(!memory_covers(mem, BENCH_HIGH_AT - 1, 2));
	EXPECT(!memory_covers(mem, UINT64_MAX, 2));
	EXPECT(!memory_covers(mem, 0, UINT64_MAX));
	EXPECT(memory_read(mem, BENCH_LOW - 1, byte, 1));
	EXPECT(!memory_read(mem, BENCH_LOW - 1, byte, 2));
	EXPECT(memory_at(mem, BENCH_USER, BENCH_LOW));
	EXPECT(!memory_at(mem, BENCH_USER, BENCH_LOW + 1));
	EXPECT(!memory_at(mem, BENCH_USER + BENCH_LOW - 8, 16));
	EXPECT(!memory_at(mem, BENCH_USER - 1, 1));
	EXPECT(!memory_at(mem, UINT64_MAX, 2));
}

static void parts_of_huge_pages_stay(void)
{
	struct bench *t = bench(WIRE_HINTS);
	uint64_t huge = 4 * BENCH_PAGE;

	bench_add_memory(t);
	/* As if the file were made of pages of 16 KiB. */
	t->b.mem.region[0].page = huge;
	runs_add(&t->b.runs, BENCH_PAGE, 2 * BENCH_PAGE);
	runs_add(&t->b.runs, huge, huge + BENCH_PAGE);
	runs_add(&t->b.runs, 3 * huge - BENCH_PAGE, BENCH_PAGE);
	runs_merge(&t->b.runs);
	EXPECT(balloon_release(&t->b, NEVER_NS));
	EXPECT_EQ(t->b.stats.bytes_released, huge);
	EXPECT_EQ(t->b.stats.bytes_partial, 4 * BENCH_PAGE);
	EXPECT_EQ(t->b.stats.punches, 1);
	EXPECT(!bench_is_zero(t->low + BENCH_PAGE, BENCH_PAGE));
	EXPECT(bench_is_zero(t->low + huge, huge));
	EXPECT(!bench_is_zero(t->low + 2 * huge, BENCH_PAGE));
	t->b.mem.region[0].page = BENCH_PAGE;
}

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

#define AVAIL_AT	BENCH_PAGE
#define USED_AT		(2 * BENCH_PAGE)

/* A queue of 8 whose one buffer begins with descriptor 0. */
static struct queue *one_buffer(struct bench *t, const struct desc *desc,
				size_t nr)
{
	bench_add_memory(t);
	memset(t->low, 0, 3 * BENCH_PAGE);
	memcpy(t->low, desc, nr * sizeof(*desc));
	t->low[AVAIL_AT + 2] = 1;
	return bench_queue(t, ROLE_REPORTING, 8, 0, 0, AVAIL_AT, USED_AT);
}

enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };

/* What a queue of one chain comes to: blocks released, or broken. */
static void expect_chain(const struct desc *desc, size_t nr, bool broken,
			 uint64_t blocks)
{
	struct bench *t = bench(WIRE_SG);
	struct queue *q = one_buffer(t, desc, nr);

	EXPECT(q);
	bench_serve(t, q);
	EXPECT_EQ(q->state, broken ? QUEUE_BROKEN : QUEUE_STARTED);
	EXPECT_EQ(t->b.stats.blocks, blocks);
	EXPECT_EQ(t->b.stats.buffers, !broken);
	EXPECT_EQ(t->low[USED_AT + 2], !broken);
	bench_check(t);
}

#define BLOCK	(4 * BENCH_PAGE), BENCH_PAGE
#define TABLE	(3 * BENCH_PAGE)

static void chains(void)
{
	expect_chain((struct desc[]){ { BLOCK, WRITE, 0 } }, 1, false, 1);
	expect_chain((struct desc[]){ { BLOCK, WRITE | NEXT, 1 },
				      { BLOCK, WRITE, 0 } }, 2, false, 2);
	/* a loop of one, a loop of two, out of the table */
	expect_chain((struct desc[]){ { BLOCK, WRITE | NEXT, 0 } }, 1, true, 0);
	expect_chain((struct desc[]){ { BLOCK, WRITE | NEXT, 1 },
				      { BLOCK, WRITE | NEXT, 0 } }, 2, true, 0);
	expect_chain((struct desc[]){ { BLOCK, WRITE | NEXT, 8 } }, 1, true, 0);
	expect_chain((struct desc[]){ { BLOCK, WRITE | NEXT, 65535 } }, 1, true,
		     0);
	/* indirect tables: of no size, cut, outside RAM, with a next one */
	expect_chain((struct desc[]){ { TABLE, 0, INDIRECT, 0 } }, 1, true, 0);
	expect_chain((struct desc[]){ { TABLE, 17, INDIRECT, 0 } }, 1, true, 0);
	expect_chain((struct desc[]){ { BENCH_LOW, 16, INDIRECT, 0 } }, 1, true,
		     0);
	expect_chain((struct desc[]){ { BENCH_LOW - 8, 16, INDIRECT, 0 } }, 1,
		     true, 0);
	expect_chain((struct desc[]){ { UINT64_MAX - 15, 32, INDIRECT, 0 } }, 1,
		     true, 0);
	expect_chain((struct desc[]){ { TABLE, 16, INDIRECT | NEXT, 1 },
				      { BLOCK, WRITE, 0 } }, 2, true, 0);
}

/* Tables that point to themselves, and chains longer than any may be. */
static void indirect_loops(void)
{
	struct bench *t = bench(WIRE_SG);
	struct desc direct = { TABLE, 16, INDIRECT, 0 };
	struct desc inner = { TABLE, 16, INDIRECT, 0 };
	struct queue *q = one_buffer(t, &direct, 1);

	memcpy(t->low + TABLE, &inner, sizeof(inner));
	bench_serve(t, q);
	EXPECT_EQ(q->state, QUEUE_BROKEN);

	t = bench(WIRE_SG);
	q = one_buffer(t, &direct, 1);
	inner = (struct desc){ BLOCK, WRITE | NEXT, 0 };
	memcpy(t->low + TABLE, &inner, sizeof(inner));
	bench_serve(t, q);
	EXPECT_EQ(q->state, QUEUE_BROKEN);
	EXPECT_EQ(t->b.stats.blocks, 0);
}

static void indices_wrap(void)
{
	struct bench *t = bench(WIRE_SG);
	struct desc desc = { BLOCK, WRITE, 0 };
	struct queue *q;

	one_buffer(t, &desc, 1);
	t->low[AVAIL_AT + 2] = 0;
	t->low[AVAIL_AT + 3] = 0;
	memset(t->low + USED_AT + 2, 0xff, 2);
	q = bench_queue(t, ROLE_REPORTING, 8, 0xffff, 0, AVAIL_AT, USED_AT);
	bench_serve(t, q);
	EXPECT_EQ(t->b.stats.buffers, 1);
	EXPECT_EQ(t->low[USED_AT + 2] | t->low[USED_AT + 3], 0);
	EXPECT_EQ(q->ring.last_avail, 0);
	bench_serve(t, q);
	EXPECT_EQ(t->b.stats.buffers, 1);
}

/* The device has the statistics buffer until it wants new ones. */
static void statistics_are_kept(void)
{
	struct bench *t = bench(WIRE_SG);
	struct desc desc = { TABLE, 10, 0, 0 };
	struct queue *q;

	one_buffer(t, &desc, 1);
	q = bench_queue(t, ROLE_STATS, 8, 0, 0, AVAIL_AT, USED_AT);
	bench_serve(t, q);
	EXPECT_EQ(t->b.stats.other, 1);
	EXPECT_EQ(t->low[USED_AT + 2], 0);
	EXPECT_EQ(honest.forget(&t->b, q), 1);
	balloon_ask_stats(&t->b);
	EXPECT_EQ(t->low[USED_AT + 2], 0);

	q = bench_queue(t, ROLE_STATS, 8, 0, 0, AVAIL_AT, USED_AT);
	bench_serve(t, q);
	balloon_ask_stats(&t->b);
	EXPECT_EQ(t->low[USED_AT + 2], 1);
	EXPECT_EQ(honest.forget(&t->b, q), 0);
}

/*
 * The used ring's own page is told: what is in it afterwards was written after
 * it had been released, or it would be gone.
 */
static void released_before_used(void)
{
	struct bench *t = bench(WIRE_SG);
	struct desc desc = { USED_AT, BENCH_PAGE, WRITE, 0 };
	struct queue *q = one_buffer(t, &desc, 1);

	memset(t->low + USED_AT + BENCH_PAGE / 2, BENCH_FILL, BENCH_PAGE / 2);
	bench_serve(t, q);
	EXPECT_EQ(t->b.stats.bytes_released, BENCH_PAGE);
	EXPECT(bench_is_zero(t->low + USED_AT + BENCH_PAGE / 2,
			     BENCH_PAGE / 2));
	EXPECT_EQ(t->low[USED_AT + 2], 1);
}

static void too_many_buffers(void)
{
	struct bench *t = bench(WIRE_SG);
	struct desc desc = { BLOCK, WRITE, 0 };
	struct queue *q = one_buffer(t, &desc, 1);

	t->low[AVAIL_AT + 2] = 9;
	bench_serve(t, q);
	EXPECT_EQ(q->state, QUEUE_BROKEN);
	EXPECT_EQ(t->b.stats.seen, 0);
}

static bool refused(long got)
{
	return got == -1 && errno == EPERM;
}

/* Files of the sandbox's test; by descriptor, as the daemon has them. */
static struct sandbox box = { -1, -1, -1, -1 };

static long try_open(int folder, const char *name, int flags)
{
	return syscall(SYS_openat, folder, name, flags, 0600);
}

/* In a process of its own. Return: the line of what is not as it should be. */
#define MUST_BE(cond)	do { if (!(cond)) return __LINE__ & 0xff; } while (0)

static int look_around(bool files)
{
	struct sandbox mine = { -1, -1, -1, -1 };
	void *page = mmap(NULL, BENCH_PAGE, PROT_READ, MAP_PRIVATE |
			  MAP_ANONYMOUS, -1, 0);
	long fd;

	MUST_BE(sandbox_enter(files ? &box : &mine));
	MUST_BE(!clock_gettime(CLOCK_MONOTONIC, &(struct timespec){ 0 }));
	MUST_BE(refused(syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0)));
	MUST_BE(refused(syscall(SYS_execve, "/bin/true", NULL, NULL)));
	MUST_BE(refused(syscall(SYS_clone, 0, 0, 0, 0, 0)));
	MUST_BE(refused(syscall(SYS_ptrace, 0, 0, 0, 0)));
	/* Memory to execute, made at once or later. */
	MUST_BE(refused(syscall(SYS_mmap, NULL, BENCH_PAGE,
				PROT_READ | PROT_EXEC,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
	MUST_BE(refused(syscall(SYS_mprotect, page, BENCH_PAGE, PROT_EXEC)));
	MUST_BE(!syscall(SYS_mprotect, page, BENCH_PAGE,
			 PROT_READ | PROT_WRITE));
	/* Signals for others, through a descriptor. */
	MUST_BE(refused(syscall(SYS_fcntl, 0, F_SETOWN, 1)));
	MUST_BE(refused(try_open(AT_FDCWD, "/dev/null", O_RDONLY)));
	fd = try_open(box.proc, "self/status", SANDBOX_READ);
	MUST_BE(files ? fd >= 0 : refused(fd));
	MUST_BE(refused(try_open(box.proc, "self/status", O_RDWR)));
	fd = try_open(box.stats, "stats.new", SANDBOX_CREATE);
	MUST_BE(files ? fd >= 0 : refused(fd));
	MUST_BE(refused(try_open(box.stats, "stats.new", O_RDONLY)));
	fd = syscall(SYS_renameat2, box.stats, "stats.new", box.stats, "stats",
		     0);
	MUST_BE(files ? !fd : refused(fd));
	fd = syscall(SYS_unlinkat, box.stats, "stats", 0);
	MUST_BE(files ? !fd : refused(fd));
	fd = syscall(SYS_unlinkat, box.socket, "socket", 0);
	MUST_BE(files ? !fd : refused(fd));
	return 0;
}

/* What a path says goes around a folder; Landlock does not let it. */
static int look_elsewhere(bool files)
{
	(void)files;
	MUST_BE(sandbox_enter(&box));
	MUST_BE(try_open(box.proc, "/etc/passwd", SANDBOX_READ) < 0 &&
		errno == EACCES);
	MUST_BE(try_open(box.stats, "../elsewhere", SANDBOX_CREATE) < 0 &&
		errno == EACCES);
	MUST_BE(syscall(SYS_unlinkat, box.socket, "../keep", 0) < 0 &&
		errno == EACCES);
	return 0;
}

static int folder_in(const char *parent, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", parent, name);
	EXPECT(!mkdir(path, 0700));
	return open(path, O_PATH | O_DIRECTORY);
}

/* What look_around() is to find; in a folder that a user may write to. */
static void furnish(char *path)
{
	int folder;

	EXPECT(mkdtemp(path));
	box.proc = open("/proc", O_PATH | O_DIRECTORY);
	box.stats = folder_in(path, "stats");
	box.socket = folder_in(path, "run");
	EXPECT(openat(box.socket, "socket", O_CREAT | O_WRONLY, 0600) >= 0);
	folder = open(path, O_PATH | O_DIRECTORY);
	EXPECT(openat(folder, "keep", O_CREAT | O_WRONLY, 0600) >= 0);
}

static void clear_away(const char *path)
{
	int folder = open(path, O_PATH | O_DIRECTORY);

	EXPECT(!unlinkat(folder, "keep", 0));
	EXPECT(!unlinkat(folder, "stats", AT_REMOVEDIR));
	EXPECT(!unlinkat(folder, "run", AT_REMOVEDIR));
	EXPECT(!rmdir(path));
}

static void expect_child(int (*look)(bool), bool files)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	/* ASan would do more at _exit() than the sandbox lets it. */
	if (!pid)
		syscall(SYS_exit_group, look(files));
	waitpid(pid, &status, 0);
	EXPECT(WIFEXITED(status));
	EXPECT_EQ(WEXITSTATUS(status), 0);
}

/* A daemon that was taken over can start nothing and reach nobody. */
static void sandbox_refuses(void)
{
	char path[] = "/tmp/unit_host.XXXXXX";

	furnish(path);
	expect_child(look_around, false);
	expect_child(look_around, true);
	if (syscall(444, NULL, 0, 1) > 0)	/* landlock_create_ruleset */
		expect_child(look_elsewhere, true);
	else
		printf("# this kernel has no Landlock\n");
	clear_away(path);
}

/* A queue that stops brings again what was taken and not used: it counts once. */
static void hints_taken_back(void)
{
	struct bench *t = bench(WIRE_SG);
	struct balloon *b = &t->b;

	bench_add_memory(t);
	b->acked |= 1ULL << BALLOON_F_FREE_PAGE_HINT;
	EXPECT(bench_queue(t, ROLE_HINTING, 8, 0, 0, 0x400, 0x800));
	EXPECT(!hints_ask(b));
	hints_taking(b);
	hints_word(b, HINT_FIRST);
	b->hints.told += BENCH_PAGE;
	hints_untake(b);
	EXPECT_EQ(b->hints.state, HINTS_ASKED);
	EXPECT_EQ(b->hints.told, 0);
	hints_taking(b);
	hints_word(b, HINT_FIRST);
	b->hints.told += BENCH_PAGE;
	hints_settle(b);
	EXPECT_EQ(b->hints.state, HINTS_COMING);
	hints_taking(b);
	hints_word(b, HINT_STOP);
	hints_untake(b);
	hints_settle(b);
	EXPECT_EQ(b->hints.state, HINTS_COMING);
	hints_word(b, HINT_STOP);
	hints_settle(b);
	EXPECT_EQ(b->hints.state, HINTS_NONE);
	EXPECT_EQ(b->hints.told, BENCH_PAGE);
	EXPECT_EQ(b->config.hint_cmd, HINT_DONE);
}

/* A run that is called off at its very end: the driver is told that it is over. */
static void hints_called_off_late(void)
{
	struct bench *t = bench(WIRE_SG);
	struct balloon *b = &t->b;
	int untaken;

	for (untaken = 0; untaken < 2; untaken++) {
		bench_add_memory(t);
		b->acked |= 1ULL << BALLOON_F_FREE_PAGE_HINT;
		EXPECT(bench_queue(t, ROLE_HINTING, 8, 0, 0, 0x400, 0x800));
		EXPECT(!hints_ask(b));
		hints_word(b, b->hints.id);
		hints_taking(b);
		hints_word(b, HINT_STOP);
		hints_stop(b, "whoever asked is gone");
		EXPECT_EQ(b->hints.state, HINTS_OVER);
		if (untaken) {
			hints_untake(b);
			EXPECT_EQ(b->hints.state, HINTS_STOPPING);
			hints_word(b, HINT_STOP);
		}
		hints_settle(b);
		EXPECT_EQ(b->hints.state, HINTS_NONE);
		EXPECT_EQ(b->config.hint_cmd, HINT_DONE);
		t = bench(WIRE_SG);
	}
}

int main(void)
{
	RUN(every_order);
	RUN(random_runs_merge);
	RUN(memory_lies_between_guards);
	RUN(addresses_end_where_memory_does);
	RUN(parts_of_huge_pages_stay);
	RUN(chains);
	RUN(indirect_loops);
	RUN(indices_wrap);
	RUN(statistics_are_kept);
	RUN(released_before_used);
	RUN(too_many_buffers);
	RUN(hints_taken_back);
	RUN(hints_called_off_late);
	RUN(sandbox_refuses);
	return ktap_end();
}
