/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The watch over free memory, for whichever source of blocks is running.
 *
 * It samples how much memory the guest does not use, feeds the pacer, and asks
 * the source to decide. It has three modes, enum watch_mode. Once memory has
 * settled, one deferrable timer on each CPU looks whether it moved: those never
 * wake an idle CPU, yet run on whichever CPU is busy, and nothing but a busy CPU
 * can free memory.
 *
 * While memory changes, an eager source is asked all the time, by an ordinary
 * timer. A source that says what it wants is lazy: the deferrable timers sample,
 * and it is asked when there is what it wants. The ordinary timer then stands for
 * what happens in an idle guest as well: that memory has been free for a window,
 * that it has settled, and that a pause is over.
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
 * @WATCH_ACTIVE: the sampler, by an ordinary timer; for a lazy source the
 *	deferrable ones as well
 * @WATCH_QUIET: one deferrable timer on each CPU
 */
enum watch_mode {
	WATCH_STOPPED,
	WATCH_ACTIVE,
	WATCH_QUIET,
};

/**
 * struct watch_ops - what a source tells the watch, and hears from it
 * @read: Read how many pages the guest does not use: those that are free and
 *	those that the source has taken and can give back. Any context, under
 *	watch.lock or not. Return false if that cannot be told now.
 * @glance: Optional: what read would say, or nearly so, for less. Any context, under
 *	watch.lock. Memory that has not moved at a glance is not read.
 * @sampled: Optional: a sample was taken, and this many pages are surplus. Under
 *	watch.lock.
 * @decide: Do what is to be done with this many pages of surplus. Process
 *	context, no lock held; may sleep. Return true if something may be left
 *	to do, so that sampling goes on although memory does not change.
 * @wants: Makes the source lazy: has decide anything to do with this many pages
 *	of surplus? Any context, under watch.lock; must not sleep.
 * @quiet: Optional: sampling has ended. Under watch.lock.
 * @period_max_ms: sample no less often than this while memory changes, however
 *	long the window is, ms; 0 for what the pacer says
 * @pause_max_ms: sample no less often than this while the source has nothing to
 *	decide, ms; 0 for not at all
 */
struct watch_ops {
	bool (*read)(unsigned long *unused);
	unsigned long (*glance)(void);
	void (*sampled)(unsigned long surplus);
	bool (*decide)(unsigned long surplus);
	bool (*wants)(unsigned long surplus);
	void (*quiet)(void);
	u32 period_max_ms;
	u32 pause_max_ms;
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
 * @paused_until: the source has nothing to decide before this time, ms
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
void aeration_watch_pause(u32 ms);
void aeration_watch_look_at(u64 ms);
u64 aeration_watch_now_ms(void);
u32 aeration_watch_window_ms(void);
u64 aeration_watch_regretted(void);

#endif /* _AERATION_WATCH_H */
