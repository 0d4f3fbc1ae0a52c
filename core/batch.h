/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One batch to a backend and back, and the counters of it.
 */
#ifndef _AERATION_BATCH_H
#define _AERATION_BATCH_H

#include <linux/atomic.h>
#include <linux/memory_aeration.h>

/**
 * struct aeration_stats - counters since the core was loaded
 * @batches: batches delivered
 * @blocks: blocks taken by the hypervisor
 * @bytes: bytes in those blocks
 * @refused: blocks the hypervisor did not take
 * @errors: batches of which nothing was delivered
 * @timeouts: batches that got no answer in time
 * @held_back: blocks the allocator offered before they were surplus
 * @samples: samples of free memory
 * @in_flight: pages the backend has at this moment
 * @restored: bytes that the hypervisor backed again
 * @restores: batches of such
 */
struct aeration_stats {
	atomic64_t batches;
	atomic64_t blocks;
	atomic64_t bytes;
	atomic64_t refused;
	atomic64_t errors;
	atomic64_t timeouts;
	atomic64_t held_back;
	atomic64_t samples;
	atomic64_t in_flight;
	atomic64_t restored;
	atomic64_t restores;
};

extern struct aeration_stats aeration_stats;

int aeration_batch_submit(struct aerator_dev_info *dev);
void aeration_batch_restore(struct aerator_dev_info *dev,
			    struct aerator_batch *batch);
u64 aeration_batch_not_taken(void);

#endif /* _AERATION_BATCH_H */
