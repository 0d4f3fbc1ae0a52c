/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The watch over free memory, for whichever source of blocks is running.
 *
 * It samples how much memory the guest does not use, feeds the pacer, and has the
 * source do what is to be done: the tick. One deferrable timer on each CPU looks
 * whether memory moved: those never wake an idle CPU, yet run on whichever CPU is
 * busy, and nothing but a busy CPU can use or free memory. One ordinary timer
 * stands for what happens in an idle guest as well: at the time that the last tick
 * asked for.
 *
 * Locks: watch.lock protects the pacer, and what a source says it does; a source takes
 * it with aeration_watch_lock(). It is taken from timers, so with bottom halves off.
 * aeration_watch_start() and aeration_watch_stop() are serialised by the registry's
 * mutex: one source runs at a time.
 */
#ifndef _AERATION_WATCH_H
#define _AERATION_WATCH_H

#include <linux/types.h>
#include "pacer.h"

/* A tick is of use only if memory moves. */
#define WATCH_IDLE	(-1)

/**
 * struct watch_sample - what a tick goes by
 * @surplus: pages that are surplus
 * @settled: free memory has not moved for a while
 * @period_ms: how often to sample while memory moves, ms
 * @next_ms: in so many ms a sample is of use though memory does not move: more is
 *	surplus then, or it has settled; of no use once it has
 */
struct watch_sample {
	unsigned long surplus;
	bool settled;
	int period_ms;
	int next_ms;
};

/**
 * struct watch_ops - what a source tells the watch, and hears from it
 * @read: Read how many pages the guest does not use: those that are free and
 *	those that the source has taken and can give back. Any context, under
 *	watch.lock or not. Return false if that cannot be told now.
 * @sampled: Optional: the pacer was given a sample. Under watch.lock.
 * @tick: Do what is to be done. Process context, no lock held; may sleep. Return
 *	in how many ms the next tick is of use though memory does not move, 0 for at
 *	once, or WATCH_IDLE.
 * @urgent: Optional: is a tick due though memory has hardly moved? Any context,
 *	under watch.lock; must not sleep.
 * @period_max_ms: look no less often than this on a busy CPU, however long the
 *	window is, ms; 0 for what the pacer says
 */
struct watch_ops {
	bool (*read)(unsigned long *unused);
	void (*sampled)(struct pacer *pacer);
	int (*tick)(const struct watch_sample *sample);
	bool (*urgent)(void);
	u32 period_max_ms;
};

int aeration_watch_init(void);
void aeration_watch_exit(void);
void aeration_watch_start(const struct watch_ops *ops, unsigned long reserve,
			  unsigned int order);
void aeration_watch_stop(void);
void aeration_watch_retune(unsigned long reserve, unsigned int order);
void aeration_watch_restart(unsigned long reserve, unsigned int order);
struct pacer *aeration_watch_lock(void);
void aeration_watch_unlock(void);
void aeration_watch_wake(void);
void aeration_watch_kick(void);
void aeration_watch_kick_from_irq(void);
void aeration_watch_set_out(unsigned long pages);
void aeration_watch_shift(unsigned long pages);
u64 aeration_watch_now_ms(void);
u32 aeration_watch_window_ms(void);
u64 aeration_watch_regretted(void);
void aeration_watch_listen(void (*moved)(void));

#endif /* _AERATION_WATCH_H */
