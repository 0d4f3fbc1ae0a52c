/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The watch over free memory, for whichever source of blocks is running.
 *
 * It samples how much memory the guest does not use, feeds the pacer, and has the
 * source do what is to be done: the tick. One deferrable timer on each CPU looks
 * whether memory moved: those never wake an idle CPU, yet run on whichever CPU is
 * busy, and nothing but a busy CPU can use or free memory. One ordinary timer
 * stands for what happens in an idle guest as well: at the time that the last tick
 * asked for, or, while memory has not settled, a period later.
 *
 * A source that says what it wants is lazy: while memory has not settled the
 * deferrable timers sample, and its tick comes when there is what it wants.
 *
 * Locks: watch.lock protects everything in struct watch that is not marked
 * otherwise, and what a source says it does. It is taken from timers, so with
 * bottom halves off. aeration_watch_start() and aeration_watch_stop() are serialised by the
 * registry's mutex: one source runs at a time.
 */
#ifndef _AERATION_WATCH_H
#define _AERATION_WATCH_H

#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include "pacer.h"

/**
 * enum watch_mode - who looks at free memory
 * @WATCH_STOPPED: nobody; nothing may be armed
 * @WATCH_ACTIVE: the sampler, by an ordinary timer, and the deferrable ones
 * @WATCH_QUIET: the deferrable timers
 */
enum watch_mode {
	WATCH_STOPPED,
	WATCH_ACTIVE,
	WATCH_QUIET,
};

/* A tick is of use only if memory moves. */
#define WATCH_IDLE	(-1)

/**
 * struct watch_ops - what a source tells the watch, and hears from it
 * @read: Read how many pages the guest does not use: those that are free and
 *	those that the source has taken and can give back. Any context, under
 *	watch.lock or not. Return false if that cannot be told now.
 * @glance: Optional: what read would say, or nearly so, for less. Any context, under
 *	watch.lock. Memory that has not moved at a glance is not read.
 * @sampled: Optional: a sample was taken, and this many pages are surplus. Under
 *	watch.lock.
 * @tick: Do what is to be done with this many pages of surplus. Process context,
 *	no lock held; may sleep. Return in how many ms the next tick is of use
 *	though memory does not move, 0 for at once, or WATCH_IDLE. A lazy source
 *	that returns no WATCH_IDLE gets it after a period, or after its pause.
 * @wants: Makes the source lazy: has tick anything to do with this many pages of
 *	surplus? Any context, under watch.lock; must not sleep.
 * @urgent: Optional: is a tick due though memory has hardly moved? Any context,
 *	under watch.lock; must not sleep.
 * @quiet: Optional: sampling has ended. Under watch.lock.
 * @period_max_ms: look no less often than this on a busy CPU, however long the
 *	window is, ms; 0 for what the pacer says
 */
struct watch_ops {
	bool (*read)(unsigned long *unused);
	unsigned long (*glance)(void);
	void (*sampled)(unsigned long surplus);
	int (*tick)(unsigned long surplus);
	bool (*wants)(unsigned long surplus);
	bool (*urgent)(void);
	void (*quiet)(void);
	u32 period_max_ms;
};

/**
 * struct watch - the one watch
 * @lock: see above; taken with bottom halves off
 * @ops: the source; constant between aeration_watch_start() and aeration_watch_stop()
 * @sampler: takes a sample and re-arms itself while WATCH_ACTIVE; queued under
 *	@lock, cancelled by aeration_watch_stop() after it set WATCH_STOPPED
 * @sampled_at: time of the last sample, ms
 * @pacer: what is surplus
 * @mode: who looks at free memory
 * @paused_until: a lazy source has nothing to do before this time, ms
 * @look_at: the source is asked again at this time, ms, though memory has settled;
 *	0: no such time
 */
struct watch {
	spinlock_t lock;	/* see above */
	const struct watch_ops *ops;
	struct delayed_work sampler;
	struct pacer pacer;
	u64 sampled_at;
	enum watch_mode mode;
	u64 paused_until;
	u64 look_at;
};

extern struct watch aeration_watch;

int aeration_watch_init(void);
void aeration_watch_exit(void);
void aeration_watch_start(const struct watch_ops *ops, unsigned long reserve,
			  unsigned int order);
void aeration_watch_stop(void);
void aeration_watch_retune(unsigned long reserve, unsigned int order);
void aeration_watch_restart(unsigned long reserve, unsigned int order);
void aeration_watch_wake(void);
void aeration_watch_kick(void);
void aeration_watch_kick_from_irq(void);
void aeration_watch_pause(u32 ms);
void aeration_watch_look_at(u64 ms);
u64 aeration_watch_now_ms(void);
u32 aeration_watch_window_ms(void);
u64 aeration_watch_regretted(void);

#endif /* _AERATION_WATCH_H */
