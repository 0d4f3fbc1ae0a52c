/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of the core share. Nothing here is for backends.
 */
#ifndef _AERATION_CORE_H
#define _AERATION_CORE_H

#include <linux/atomic.h>
#include <linux/memory_aeration.h>
#include <linux/types.h>
#include <linux/workqueue.h>
#include "choose.h"

/**
 * enum aeration_state - what the core is doing
 * @AERATION_OFF: no backend is in use
 * @AERATION_WAITING: a backend is chosen, but another driver owns the kernel's
 *	free page reporting; taken over when that driver lets go
 * @AERATION_RUNNING: surplus memory is being reported
 * @AERATION_FAILED: the device of the chosen backend failed; nothing is
 *	reported until its driver is bound again
 */
enum aeration_state {
	AERATION_OFF,
	AERATION_WAITING,
	AERATION_RUNNING,
	AERATION_FAILED,
};

/**
 * struct aeration_stats - counters since the core was loaded
 * @batches: batches delivered
 * @blocks: blocks taken by the hypervisor
 * @bytes: bytes in those blocks
 * @refused: blocks the hypervisor did not take
 * @errors: batches of which nothing was delivered
 * @timeouts: batches that got no answer in time
 * @held_back: blocks the allocator offered before they were surplus
 * @samples: samples of free memory taken by the ordinary timer
 * @in_flight: pages the backend has at this moment
 * @quarantined: blocks whose backing is not known; none can be while every
 *	backend is transient
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
	atomic64_t quarantined;
};

extern struct aeration_stats aeration_stats;

/* Work of the core: freezable, and not bound to the CPU that queued it. */
extern struct workqueue_struct *aeration_wq;

/* batch.c */
int batch_submit(struct aerator_dev_info *dev);

/* params.c: values in force; writers go through the parameter's setter */
u32 param_window_ms(void);
unsigned long param_reserve_pages(void);
unsigned int param_order(void);
enum aerator_kind param_backend(void);
int param_store_window_ms(const char *val);
int param_store_reserve_mb(const char *val);
unsigned int param_reserve_mb(void);

/* registry.c */
void registry_init(void);
bool registry_is_live(void);
void registry_exit(void);
void registry_update(void);
void registry_retune(void);
int registry_flush(void);
enum aeration_state registry_state(void);
const char *registry_state_name(enum aeration_state state);
unsigned int registry_capacity(void);
const char *registry_backend(void);
int registry_why(enum aerator_kind kind, char *buf, size_t size);

/* report.c: the source of free blocks for transient backends */
int report_init(void);
void report_exit(void);
int report_start(struct aerator_dev_info *dev);
void report_stop(void);
void report_retune(void);
int report_flush(void);
unsigned int report_order(void);

/**
 * struct census - free memory by whether it is reported
 * @reported: free pages in blocks that are reported
 * @reportable: free pages in blocks that are not and that the mm would report
 * @largest: largest order among the latter
 */
struct census {
	unsigned long reported;
	unsigned long reportable;
	unsigned int largest;
};

/* census.c */

void census_take(unsigned int order, struct census *out);

/* sysfs.c */
int sysfs_start(void);
void sysfs_stop(void);

#endif /* _AERATION_CORE_H */
