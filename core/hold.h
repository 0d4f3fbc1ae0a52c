/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The hold source: free blocks for durable backends, taken from the allocator
 * and kept, without backing, until the guest needs them.
 *
 * A block is taken only if it is free already: taking never reclaims, compacts
 * or dips into reserves, and keeps to zones for kernel memory. It is marked
 * offline for tools that read memory, zeroed if the backend wants it so, and
 * surrendered. It is restored when free memory falls under a floor (floor.c),
 * when memory is reclaimed (the shrinker), when the guest is out of memory (the
 * OOM notifier), when more is held than may be, on request, and when the source
 * stops. Held pages count as reclaimable by the kernel.
 *
 * hold.c owns the blocks and their states; pressure.c decides when to take and
 * when to restore; durable.c starts and stops.
 *
 * A block has one owner and one state:
 *	free		the allocator
 *	isolated	aeration_hold_surrender() on its way out or back, in dev->batch;
 *			aeration_hold_restore() on its way back, in hold.restoring
 *	in flight	the backend's react, in dev->batch
 *	held		hold.pool[]
 *	restoring	the backend's restore, in hold.restoring
 *	quarantined	hold.quarantine, for good
 *
 * Locks, outer ones first:
 *	the registry's mutex	start, stop, retune, flush
 *	hold.surrender_lock	dev->batch; what is done under it takes memory, but
 *				never waits for any
 *	hold.restore_lock	hold.restoring; taken in memory reclaim, so nothing
 *				done under it may wait for memory or for anything
 *				that does
 *	watch.lock		the floor, pauses
 *	hold.lock		the lists and the counts
 * Restoring never waits for surrendering.
 *
 * A hypervisor that has no memory to give back leaves blocks held when the
 * source stops. They stay in the pool, and come back when the same backend
 * starts again.
 */
#ifndef _AERATION_HOLD_H
#define _AERATION_HOLD_H

#include <linux/atomic.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/nodemask.h>
#include <linux/notifier.h>
#include <linux/spinlock.h>
#include <aeration/compat.h>
#include "core.h"
#include "floor.h"
#include "watch.h"

/**
 * struct hold_state - the one hold source
 * @pinned: the core must stay loaded, for what a stopped source still holds
 * @dev: the backend's device; constant while the source is started
 * @owner: name of the backend that has the blocks in the pool; a constant
 * @order: order of every block; the same for as long as the core is loaded
 * @surrender_lock: see above
 * @restore_lock: see above
 * @restoring: the blocks that are being restored; while the source is started
 * @quiesced: neither react nor restore may be called; written under both
 *	mutexes, so that either of them is enough to read it
 * @leaving: the kernel is about to restart; nothing is surrendered any more;
 *	under @surrender_lock
 * @spoiled: so much was quarantined that the backend is done with; nothing is
 *	surrendered any more until the source starts again; under @lock, read
 *	without it
 * @quarantined_before: blocks that were quarantined when the source started
 * @lock: see above; taken with bottom halves off
 * @pool: held blocks of each node, by the lru of their first page; those that
 *	went first come back first: they are of the zone that the kernel prefers;
 *	under @lock
 * @held_on: how many there are; under @lock, read without it
 * @quarantine: quarantined blocks, likewise
 * @count: blocks by state; AERATOR_BLOCK_FREE: those given back again, as a
 *	counter; under @lock
 * @taken: blocks ever taken from the allocator; the counts add up to it; under
 *	@lock
 * @out: pages that are taken and can be given back: quarantined ones are not
 *	among them
 * @floor: how much must be free; under watch.lock
 * @retry_at: no restore before this time, ms, but as a last resort; under
 *	watch.lock
 * @retry_ms: how long the next pause after a restore that came up short is, ms;
 *	under watch.lock
 * @pause_ms: how long the next pause after a refusal is, ms; under watch.lock
 * @needed_at: when the guest last needed something that was held, ms, or 0:
 *	nothing is surrendered until a window has passed since; under watch.lock
 * @starved: the guest needs memory that the hypervisor does not give back;
 *	under watch.lock, read without it for show
 * @shrinker: for memory reclaim; registered while the source is started
 * @oom: for a guest out of memory; likewise
 * @reboot: for a kernel started by kexec; likewise
 */
struct hold_state {
	bool pinned;
	struct aerator_dev_info *dev;
	const char *owner;
	unsigned int order;
	struct mutex surrender_lock;	/* see above */
	struct mutex restore_lock;	/* see above */
	struct aerator_batch *restoring;
	bool quiesced;
	bool leaving;
	bool spoiled;
	unsigned long quarantined_before;
	spinlock_t lock;		/* see above */
	struct list_head pool[MAX_NUMNODES];
	unsigned long held_on[MAX_NUMNODES];
	struct list_head quarantine;
	unsigned long count[AERATOR_BLOCK_STATES];
	u64 taken;
	atomic_long_t out;
	struct floor floor;
	u64 retry_at;
	u32 retry_ms;
	u32 pause_ms;
	u64 needed_at;
	bool starved;
	struct compat_shrinker shrinker;
	struct notifier_block oom;
	struct notifier_block reboot;
};

extern struct hold_state aeration_hold;

/**
 * enum hold_result - what came of an attempt to surrender
 * @HOLD_DONE: every block asked for was surrendered
 * @HOLD_FEW: there were not as many free blocks
 * @HOLD_REFUSED: the backend did not take all that it was given
 * @HOLD_NOT_NOW: the source is quiesced
 */
enum hold_result {
	HOLD_DONE,
	HOLD_FEW,
	HOLD_REFUSED,
	HOLD_NOT_NOW,
};

/* hold.c */
enum hold_result aeration_hold_surrender(unsigned long blocks,
					 unsigned long keep,
					 unsigned long *went);
unsigned long aeration_hold_restore(unsigned long blocks, int nid,
				    bool (*enough)(int nid), bool *come_short);

/* durable.c */
void aeration_hold_leave(void);

/* pressure.c */
extern const struct watch_ops aeration_hold_watch_ops;
unsigned long aeration_pressure_keep(void);
int aeration_pressure_start(void);
void aeration_pressure_stop(void);
unsigned long aeration_pressure_restore(unsigned long blocks, bool last_resort,
					int nid, bool (*enough)(int nid));
void aeration_pressure_restore_all(void);
int aeration_pressure_flush(void);

#endif /* _AERATION_HOLD_H */
