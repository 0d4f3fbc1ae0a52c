/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Make free memory out of memory that is merely not needed: take cold cache, compact.
 *
 * What is cold, files that were read once, is found by going through memory, and taken as
 * posix_fadvise() takes it. The mm's own reclaim cannot be had to do that: with the
 * multi-generational LRU it takes files in the order in which they were read first,
 * however often they were since.
 *
 * Who asks for more than that, a size or a share of the cache, has the rest reclaimed by
 * memory.reclaim of the root cgroup, which is the only way that stock kernels offer a
 * module which
 * - takes what has not been used for longest, of all cgroups, sparing what memory.low and
 *   memory.min protect as long as there is other, and shrinks what hangs from it;
 * - takes files alone if it is told so (since 6.9; before, it takes no part in a guest
 *   that has room to swap, unless that is allowed);
 * - can be called off.
 * What else was looked at: drop_caches takes what is in use, too, and cannot be called
 * off; allocating until the mm reclaims has to use up all that is free first, and then
 * everybody waits; shrink_all_memory() is not exported; DAMON_RECLAIM is not in every
 * kernel, and takes minutes to know what is cold.
 *
 * Compaction is that of /sys/devices/system/node/nodeN/compact. To have blocks compacted
 * by allocating them would take all that is large already first.
 *
 * Both are done by a kernel thread of its own, which can be killed: between two steps
 * taking, reclaim and compaction look for a fatal signal, and a work item gets none.
 *
 * From the top down: idle.c begins by itself; squeeze.c supervises; worker.c does it;
 * cold.c takes what is cold, and again.c remembers that; files.c has what the mm offers;
 * counts.c reads what the guest is like; gate.c is arithmetic; settings.c has the
 * parameters.
 */
#ifndef _AERATION_SQUEEZE_H
#define _AERATION_SQUEEZE_H

#include <linux/completion.h>
#include <linux/types.h>
#include "gate.h"

struct inode;

/* What stays cached in any case: one part in so many of the guest's memory. */
#define SQUEEZE_LEAST_SHARE	32

/* Of what was taken one part in so many is read again: it was too much. */
#define SQUEEZE_REGRET_SHARE	16

/* How long a squeeze may take unless somebody says otherwise, and at most, ms. */
#define SQUEEZE_WITHIN_MS	5000
#define SQUEEZE_WITHIN_MAX_MS	600000

/* What a squeeze keeps, in percent of what is cached: all that is not cold. */
#define SQUEEZE_COLD		(-1)

/**
 * struct squeeze_order - what is asked for
 * @within_ms: how long it may take, 1 to SQUEEZE_WITHIN_MAX_MS
 * @cache_percent: how much of what is cached stays, 0 to 100, or SQUEEZE_COLD
 * @to_bytes: end when the guest uses no more than this, cache included; 0: do not
 * @idle: it is of use only while the guest idles
 */
struct squeeze_order {
	u32 within_ms;
	int cache_percent;
	u64 to_bytes;
	bool idle;
};

/**
 * struct squeeze_done - what came of it
 * @reclaimed: pages that were taken from their owners
 * @compacted: pages that have come into large free blocks by compaction
 * @regretted: more than a little of what the one before took had been read again
 * @end: why no more was taken
 */
struct squeeze_done {
	u64 reclaimed;
	u64 compacted;
	bool regretted;
	enum gate_end end;
};

/* squeeze.c */
int aeration_squeeze(const struct squeeze_order *order, unsigned long held,
		     bool (*cancelled)(void));
void aeration_squeeze_read(struct squeeze_done *done);
const char *aeration_squeeze_end_name(enum gate_end end);

/* idle.c */
void aeration_idle_init(int (*squeeze)(struct squeeze_done *done));
u32 aeration_idle_s(void);
int aeration_idle_store_s(const char *val);
void aeration_idle_exit(void);

/**
 * struct squeeze_job - one squeeze, of its supervisor and of the thread that does it
 * @order: what is asked for; constant
 * @held: pages that the guest does not use and that are not free; constant
 * @until: when it has to have ended, ms; constant
 * @stalls: times that somebody had reclaimed memory itself when it began; constant
 * @gate: the thread's
 * @done: likewise, until @ended
 * @called_off: why the thread is killed; written before it is
 * @ended: the thread is through
 */
struct squeeze_job {
	struct squeeze_order order;
	unsigned long held;
	u64 until;
	unsigned long stalls;
	struct gate gate;
	struct squeeze_done done;
	enum gate_end called_off;
	struct completion ended;
};

/* worker.c */
int aeration_squeeze_worker(void *job);

/* cold.c */
bool aeration_cold_take(unsigned long *pfn, unsigned long pages, u64 us,
			bool idle, unsigned long *taken);
unsigned long aeration_cold_again(bool learn);

/* again.c */
void aeration_again_begin(void);
void aeration_again_note(const struct inode *inode, pgoff_t first, pgoff_t end);
unsigned long aeration_again_noted(void);
unsigned long aeration_again_find(const struct inode *inode, pgoff_t first,
				  pgoff_t end, bool learn);
bool aeration_again_came(const struct inode *inode, pgoff_t index);
void aeration_again_exit(void);

/* files.c */

struct squeeze_files;

struct squeeze_files *aeration_files_open(void);
void aeration_files_close(struct squeeze_files *files);
int aeration_files_reclaim(struct squeeze_files *files, unsigned long pages,
			   bool anon);
u64 aeration_files_stalled_us(struct squeeze_files *files);
void aeration_files_compact(int nid);

/* counts.c */
void aeration_counts_read(struct gate_now *now);
unsigned long aeration_counts_taken(void);
unsigned long aeration_counts_free(int nid, unsigned int order);
s64 aeration_counts_busy_us(void);
u64 aeration_counts_programs_us(void);

/* settings.c */
bool aeration_squeeze_anon(void);
bool aeration_squeeze_for_host(void);
int aeration_squeeze_store_anon(const char *val);
int aeration_squeeze_store_for_host(const char *val);

#endif /* _AERATION_SQUEEZE_H */
