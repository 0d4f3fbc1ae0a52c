/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The hold source: free blocks for durable backends, taken from the allocator
 * and kept, without backing, until the guest needs them.
 *
 * A block is taken only if it is free already: taking never reclaims, compacts
 * or dips into reserves, and keeps to zones for kernel memory. It is marked
 * offline for tools that read memory, zeroed if the backend wants it so, and
 * surrendered. It is restored when free memory falls under a floor (floor.c), when
 * reclaim begins or looks for memory, when the guest is out of memory, when more
 * is held than may be, on request, and when the source stops. Held pages count as
 * reclaimable by the kernel for as long as the hypervisor does not withhold them.
 *
 * From the top down; each calls only what stands below it:
 *	host.c		what a backend tells of its host
 *	source.c	its life, and the tick: what is to be done now
 *	surrender.c	a work item that lets go of batches
 *	reclaim.c	who needs memory: shrinker, OOM notifier, tracepoints
 *	restore.c	gets blocks back
 *	need.c		how much must be free, and how much is to come back
 *	take.c		takes free blocks
 *	blocks.c	the blocks, their states and pools
 *	account.c	what the kernel is told of them
 *	pages.c		pages from the allocator and back
 *	floor.c zones.c	arithmetic; free memory as the allocator sees it
 *
 * The life of the source is one of three:
 *	giving		it surrenders and restores
 *	keeping		it was stopped, and the hypervisor has not given everything
 *			back: it only restores, and nothing that answers to need
 *			is taken down
 *	empty		nothing is held, and nothing is registered
 *
 * A block has one owner and one state:
 *	free		the allocator
 *	isolated	surrender.c on its way out or back, in dev->batch;
 *			restore.c on its way back, in its own batch
 *	in flight	the backend's react, in dev->batch
 *	held		the pool of its node; or, if it is forfeited, a list of its own:
 *			the hypervisor does not give it back before the backend says
 *			so, and it is no memory of the guest's until then
 *	restoring	the backend's restore, in restore.c's batch
 *	quarantined	the quarantine, for good
 *
 * Locks, outer ones first:
 *	the registry's mutex	start, stop, retune, flush, restore
 *	surrender.c's mutex	dev->batch; what is done under it takes memory, but
 *				never waits for any
 *	restore.c's mutex	its batch; taken in memory reclaim, so nothing done
 *				under it may wait for memory or for anything that
 *				does
 *	watch.lock		the pacer
 *	need.c's lock		the floor
 *	blocks.c's lock		lists and counts
 *	account.c's lock	what the kernel counts
 * Restoring never waits for surrendering.
 */
#ifndef _AERATION_HOLD_H
#define _AERATION_HOLD_H

#include <linux/memory_aeration.h>
#include <linux/numa.h>
#include "../source.h"

struct pacer;

extern const struct source aeration_hold_source;

bool aeration_hold_is_for(const struct aerator_dev_info *dev);

int aeration_hold_init(void);
void aeration_hold_exit(void);

/**
 * struct settled - where the blocks of a batch went
 * @freed: back to the allocator
 * @held: into the pool
 * @lost: into quarantine
 */
struct settled {
	unsigned int freed;
	unsigned int held;
	unsigned int lost;
};

/**
 * struct limits - what taking blocks must leave
 * @free: free pages
 * @large: free pages in blocks of the order that is taken, or larger
 * @reserve: free pages beyond what the kernel wants, of all nodes together; each
 *	node keeps its share
 */
struct limits {
	unsigned long free;
	unsigned long large;
	unsigned long reserve;
};

/* pages.c */
struct page *aeration_pages_take(int nid, unsigned int order, bool zeroed);
void aeration_pages_hide(const struct aerator_batch *batch);
bool aeration_pages_hiding(void);
void aeration_pages_free(struct page *page, unsigned int order);

/* account.c */
void aeration_account_out(int nid, long pages);
void aeration_account_forfeit(struct page *page, long pages);
unsigned long aeration_account_out_pages(void);
unsigned long aeration_account_due_pages(void);
bool aeration_account_withhold(bool withheld);
bool aeration_account_is_withheld(void);
bool aeration_account_starve(bool starved);
bool aeration_account_is_starved(void);

/* blocks.c */
void aeration_blocks_init(void);
unsigned int aeration_blocks_order(void);
unsigned long aeration_blocks_of(unsigned long pages);
void aeration_blocks_taken(const struct page *page);
void aeration_blocks_mark(struct aerator_batch *batch,
			  enum aerator_block_state to);
struct settled aeration_blocks_settle(const struct aerator_batch *batch,
				      enum aerator_block_state from);
void aeration_blocks_fetch(struct aerator_batch *batch, unsigned long nr,
			   int nid);
void aeration_blocks_note_held(struct aerator_dev_info *dev);
unsigned long aeration_blocks_forfeit(unsigned long nr);
unsigned long aeration_blocks_count(enum aerator_block_state state);
unsigned long aeration_blocks_forfeited(void);
unsigned long aeration_blocks_due(void);
bool aeration_blocks_any_due(void);
unsigned long aeration_blocks_held_on(int nid);
unsigned long aeration_blocks_held_pages(void);
int aeration_blocks_show(char *buf);

/* take.c */
void aeration_take(struct aerator_batch *batch, unsigned int nr,
		   const struct limits *limits, bool zeroed);
void aeration_take_end(void);
bool aeration_take_is_under_way(void);

/* need.c */
void aeration_need_init(void);
bool aeration_need_read_unused(unsigned long *unused);
void aeration_need_sampled(struct pacer *pacer);
void aeration_need_restored(unsigned int blocks, u64 ns);
unsigned long aeration_need_step(u64 ns);
unsigned long aeration_need_keep(void);
void aeration_need_limit_held(unsigned long pages);
unsigned long aeration_need_may_hold(void);
void aeration_need_limits(struct limits *limits);
unsigned long aeration_need_wanted(void);
bool aeration_need_is_short(int nid);
bool aeration_need_is_dirty(void);
void aeration_need_asked(unsigned int order);
void aeration_need_note(unsigned long blocks);
u32 aeration_need_pause_ms(void);

/* restore.c */
int aeration_restore_start(struct aerator_dev_info *dev);
void aeration_restore_again(void);
void aeration_restore_stop(void);
void aeration_restore_quiesce(bool quiesced);
unsigned long aeration_restore_needed(unsigned long blocks, int nid,
				      bool last_resort,
				      bool (*enough)(int nid));
unsigned long aeration_restore_excess(unsigned long blocks);
bool aeration_restore_all(unsigned int tries, bool (*cancelled)(void));
u32 aeration_restore_pause_ms(void);
bool aeration_restore_is_spoiled(void);
void aeration_restore_settle(void);
void aeration_restore_content(void);
void aeration_restore_note_lost(unsigned int lost);

/* surrender.c */

/**
 * enum surrender_stop - why nothing is surrendered, as bits
 * @SURRENDER_QUIESCED: the backend must not be called
 * @SURRENDER_LEAVING: the kernel is about to start another one
 * @SURRENDER_RECALL: everything is to come back
 * @SURRENDER_OFF: the source is stopped
 * @SURRENDER_OFFLINE: memory is being taken out
 */
enum surrender_stop {
	SURRENDER_QUIESCED = 1,
	SURRENDER_LEAVING = 2,
	SURRENDER_RECALL = 4,
	SURRENDER_OFF = 8,
	SURRENDER_OFFLINE = 16,
};

void aeration_surrender_start(struct aerator_dev_info *dev);
void aeration_surrender_stop(enum surrender_stop why);
int aeration_surrender_stop_killable(enum surrender_stop why);
void aeration_surrender_go_on(enum surrender_stop why);
void aeration_surrender_end(void);
bool aeration_surrender_kick(unsigned long surplus);
u32 aeration_surrender_pause_ms(void);
int aeration_surrender_flush(bool again, bool at_once, bool (*cancelled)(void));
int aeration_surrender_scrub(struct aerator_dev_info *dev, bool scrub);

/* reclaim.c */
int aeration_reclaim_start(void);
void aeration_reclaim_stop(void);

#endif /* _AERATION_HOLD_H */
