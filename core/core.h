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

/* Work of the core: freezable, and not bound to the CPU that queued it. */
extern struct workqueue_struct *aeration_wq;

/* batch.c */
int aeration_batch_submit(struct aerator_dev_info *dev);
void aeration_batch_restore(struct aerator_dev_info *dev,
			    struct aerator_batch *batch);

/* params.c: values in force; writers go through the parameter's setter */
u32 aeration_param_window_ms(void);
u32 aeration_param_backoff_ms(void);
int aeration_param_store_backoff_ms(const char *val);
unsigned long aeration_param_reserve_pages(void);
unsigned int aeration_param_order(void);
enum aerator_kind aeration_param_backend(void);
int aeration_param_store_window_ms(const char *val);
int aeration_param_store_reserve_mb(const char *val);
int aeration_param_store_max_held(const char *val);
int aeration_param_show_max_held(char *buf);
unsigned long aeration_param_max_held_pages(void);
unsigned int aeration_param_reserve_mb(void);

/* registry.c */
void aeration_registry_init(void);
bool aeration_registry_is_live(void);
void aeration_registry_exit(void);
void aeration_registry_ask(void);
void aeration_registry_retune(void);
int aeration_registry_flush(void);
int aeration_registry_restore(void);
unsigned int aeration_registry_order(void);
enum aeration_state aeration_registry_state(void);
const char *aeration_registry_state_name(enum aeration_state state);
unsigned int aeration_registry_capacity(void);
const char *aeration_registry_backend(void);
int aeration_registry_why(enum aerator_kind kind, char *buf, size_t size);

/**
 * struct source - where blocks come from
 * @start: Begin for a device. Return 0, -EBUSY if another driver is in the way
 *	and may let go, or another negative error.
 * @stop: End, and wait until no block is in flight. The device must answer, or
 *	be made to.
 * @retune: Take over changed parameters.
 * @flush: Let go of all surplus now. Return 0 or a negative error.
 * @restore: Optional: get back all that is held. Return 0, or -EAGAIN if the
 *	hypervisor did not give back all.
 * @order: Return the order of the smallest block.
 *
 * All are called in process context under the registry's mutex and may sleep;
 * @order in any context. All but @start only while started.
 */
struct source {
	int (*start)(struct aerator_dev_info *dev);
	void (*stop)(void);
	void (*retune)(void);
	int (*flush)(void);
	int (*restore)(void);
	unsigned int (*order)(void);
};

extern const struct source aeration_report_source;	/* report.c: transient */
extern const struct source aeration_hold_source;		/* hold.c: durable */

/* hold.c, pressure.c: for show */
unsigned long aeration_hold_blocks(enum aerator_block_state state);
unsigned long aeration_hold_held_pages(void);
int aeration_hold_show_states(char *buf);
void aeration_hold_init(void);
void aeration_hold_exit(void);
bool aeration_pressure_starved(void);

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

void aeration_census_take(unsigned int order, struct census *out);

/* sysfs.c */
int aeration_sysfs_start(void);
void aeration_sysfs_stop(void);

#endif /* _AERATION_CORE_H */
