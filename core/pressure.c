// SPDX-License-Identifier: GPL-2.0
/*
 * When the hold source takes blocks, and when it gives them back; see hold.h.
 */
#define pr_fmt(fmt) "aeration: " fmt

#include <linux/delay.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/oom.h>
#include <linux/reboot.h>
#include <linux/sched/signal.h>
#include "hold.h"
#include "zones.h"

/*
 * How long to leave a hypervisor alone that refused a batch, or a backend that
 * was not ready, ms: at first, and at most, after refusing again and again.
 */
#define REFUSED_PAUSE_MIN_MS	1000
#define REFUSED_PAUSE_MAX_MS	16000

/* The same for a hypervisor that has no memory to give back. */
#define SHORT_PAUSE_MIN_MS	100
#define SHORT_PAUSE_MAX_MS	10000

/*
 * Least memory that a reclaimer gets, bytes: enough for it to be gone for a
 * while, little enough that it does not wait long for it.
 */
#define RECLAIM_LEAST	(32UL << 20)

/*
 * How long it may take to restore what is restored in one go, ns, while the guest
 * needs it and when it is only to be got back. Whoever needs memory meanwhile
 * waits for all of it. And how much that is when it is not known yet, bytes.
 */
#define STEP_NEEDED_NS	(100 * NSEC_PER_MSEC)
#define STEP_ALL_NS	NSEC_PER_SEC
#define STEP_UNKNOWN	(32UL << 20)

/* What a guest out of memory gets, bytes. */
#define OOM_LEAST	(128UL << 20)

/*
 * How long a guest out of memory waits for blocks that are on their way to the
 * hypervisor, and how often it looks, ms. A hypervisor that takes longer has
 * failed.
 */
#define OOM_WAIT_MS	20000
#define OOM_LOOK_MS	10

/*
 * How often to see how much is free while there is nothing to surrender, ms: what
 * is held may be needed meanwhile.
 */
#define PAUSE_SAMPLE_MS	1000

/* How often to try to get everything back, and how long to wait between, ms. */
#define RESTORE_TRIES	50
#define RESTORE_WAIT_MS	200

static unsigned long blocks_of(unsigned long pages)
{
	return (pages + (1UL << aeration_hold.order) -
		1) >> aeration_hold.order;
}

/**
 * aeration_pressure_keep - free memory that is never surplus
 *
 * Context: any.
 * Return: pages: the reserve, on top of what the kernel itself wants to be free.
 */
unsigned long aeration_pressure_keep(void)
{
	return aeration_param_reserve_pages() + aeration_zones_marks();
}

/**
 * struct marks - between which free memory shall be while more of it is held
 * @low: below it, blocks are restored
 * @high: restored up to here; nothing is taken that would leave less free
 *
 * Half the reserve lies between them, so that a guest at rest stays at rest.
 */
struct marks {
	unsigned long low;
	unsigned long high;
};

static struct marks read_marks(void)
{
	unsigned long floor;
	struct marks marks;

	spin_lock_bh(&aeration_watch.lock);
	floor = aeration_floor_pages(&aeration_hold.floor);
	spin_unlock_bh(&aeration_watch.lock);
	marks.high = aeration_pressure_keep() + floor;
	marks.low = marks.high - aeration_param_reserve_pages() / 2;
	return marks;
}

static bool read_unused(unsigned long *unused)
{
	*unused = aeration_zones_free() + atomic_long_read(&aeration_hold.out);
	return true;
}

static void sampled(unsigned long surplus)
{
	aeration_floor_sample(&aeration_hold.floor, aeration_watch_now_ms(),
			      aeration_watch.pacer.free);
	aeration_pacer_set_out(&aeration_watch.pacer,
			       atomic_long_read(&aeration_hold.out));
}

/* The hypervisor gave back less than it was asked for, or all of it. */
static void note_short(bool is_short, bool got_some)
{
	bool was, now;

	spin_lock_bh(&aeration_watch.lock);
	was = aeration_hold.starved;
	if (is_short) {
		aeration_hold.starved = true;
		aeration_hold.retry_at =
			aeration_watch_now_ms() + aeration_hold.retry_ms;
		aeration_hold.retry_ms = min(2 * aeration_hold.retry_ms,
					     SHORT_PAUSE_MAX_MS);
	} else if (got_some) {
		aeration_hold.starved = false;
		aeration_hold.retry_ms = SHORT_PAUSE_MIN_MS;
		aeration_hold.retry_at = 0;
	}
	now = aeration_hold.starved;
	spin_unlock_bh(&aeration_watch.lock);
	if (now && !was)
		pr_warn("the hypervisor has no memory to give back; the guest has to do without %lu MiB and asks again every now and then: free memory on the host, or raise this guest's limit there\n",
			aeration_hold_held_pages() >> (20 - PAGE_SHIFT));
	if (was && !now)
		pr_info("the hypervisor gives memory back again\n");
}

static bool may_retry(void)
{
	bool may;

	spin_lock_bh(&aeration_watch.lock);
	may = aeration_watch_now_ms() >= aeration_hold.retry_at;
	spin_unlock_bh(&aeration_watch.lock);
	return may;
}

/* How many blocks can be restored in so much time? At least 1. */
static unsigned long step_blocks(u64 ns)
{
	unsigned long block_ns;

	spin_lock_bh(&aeration_watch.lock);
	block_ns = aeration_hold.floor.ns_per_page << aeration_hold.order;
	spin_unlock_bh(&aeration_watch.lock);
	if (!block_ns)
		return blocks_of(STEP_UNKNOWN >> PAGE_SHIFT);
	return max_t(unsigned long, 1, div64_u64(ns, block_ns));
}

/*
 * Restore until so many blocks are back, or there are enough, or none comes, in
 * steps of so much time. After a loss of blocks one at a time is risked.
 * Return: blocks given to the allocator.
 */
static unsigned long restore(unsigned long blocks, u64 step_ns,
			     int nid, bool (*enough)(int nid))
{
	unsigned long done = 0, got = 1;
	bool come_short = false;

	while (done < blocks && got && !come_short) {
		unsigned long step = READ_ONCE(aeration_hold.spoiled) ?
			1 : step_blocks(step_ns);

		got = aeration_hold_restore(min(blocks - done, step), nid,
					    enough, &come_short);
		done += got;
	}
	note_short(come_short, done);
	return done;
}

/**
 * aeration_pressure_restore - give held blocks back to the allocator, as they are needed
 * @blocks: how many
 * @last_resort: ask although the hypervisor had none to give a moment ago
 * @nid: of this node, or NUMA_NO_NODE for the one that needs it most
 * @enough: optional: whether what others have had restored is enough, asked
 *	again and again
 *
 * Context: process context, memory reclaim included; sleeps; allocates nothing.
 * Return: blocks given to the allocator.
 */
unsigned long aeration_pressure_restore(unsigned long blocks, bool last_resort,
					int nid, bool (*enough)(int nid))
{
	unsigned long done;

	if (!last_resort && !may_retry())
		return 0;
	done = restore(blocks, STEP_NEEDED_NS, nid, enough);
	spin_lock_bh(&aeration_watch.lock);
	aeration_pacer_taken(&aeration_watch.pacer, aeration_watch_now_ms(),
			     done << aeration_hold.order);
	if (done)
		aeration_hold.needed_at = aeration_watch_now_ms();
	spin_unlock_bh(&aeration_watch.lock);
	return done;
}

/**
 * aeration_pressure_restore_all - get everything back
 *
 * Gives up after RESTORE_TRIES if the hypervisor has no memory; what is left is
 * then still held. What others are having restored is waited for.
 *
 * Context: process context; sleeps.
 */
void aeration_pressure_restore_all(void)
{
	unsigned int tries;

	for (tries = 0; tries < RESTORE_TRIES; tries++) {
		unsigned long held =
			aeration_hold_held_pages() >> aeration_hold.order;

		if (!held)
			return;
		if (restore(held, STEP_ALL_NS, NUMA_NO_NODE, NULL) < held)
			msleep(RESTORE_WAIT_MS);
	}
}

/* How much more may be held, in pages. */
static unsigned long room(void)
{
	unsigned long max = aeration_param_max_held_pages(), held =
		aeration_hold_held_pages();

	return max > held ? max - held : 0;
}

/* Pages that should be free, and that should not be held. */
static unsigned long wanted_back(const struct marks *marks)
{
	unsigned long max = aeration_param_max_held_pages(), held =
		aeration_hold_held_pages();
	unsigned long free = aeration_zones_free();
	unsigned long need = free < marks->low ? marks->high - free : 0;
	unsigned long excess = held > max ? held - max : 0;

	return min(max(need, excess), held);
}

static void pause_surrender(void)
{
	spin_lock_bh(&aeration_watch.lock);
	aeration_watch_pause(aeration_hold.pause_ms);
	aeration_hold.pause_ms = min(2 * aeration_hold.pause_ms,
				     REFUSED_PAUSE_MAX_MS);
	spin_unlock_bh(&aeration_watch.lock);
}

/* How much may go of so much surplus, in blocks. */
static unsigned long budget_blocks(unsigned long surplus, unsigned long keep)
{
	unsigned long free = aeration_zones_free();
	unsigned long pages = aeration_pacer_budget(surplus,
						    atomic_long_read(&aeration_hold.out),
						    free > keep ? free - keep :
						0);

	return min(pages, room()) >> aeration_hold.order;
}

static bool is_ready(void)
{
	return !aeration_hold.dev->ops->ready || aeration_hold.dev->ops->ready(aeration_hold.dev);
}

/* Return: true if there may be more to surrender. */
static bool surrender(unsigned long blocks, unsigned long keep)
{
	enum hold_result result = HOLD_REFUSED;
	unsigned long went = 0;

	if (is_ready())
		result = aeration_hold_surrender(blocks, keep, &went);
	spin_lock_bh(&aeration_watch.lock);
	aeration_pacer_told(&aeration_watch.pacer, aeration_watch_now_ms(),
			    went << aeration_hold.order);
	if (result != HOLD_REFUSED)
		aeration_hold.pause_ms = REFUSED_PAUSE_MIN_MS;
	spin_unlock_bh(&aeration_watch.lock);
	if (result == HOLD_REFUSED)
		pause_surrender();
	return result == HOLD_REFUSED || result == HOLD_DONE;
}

/* Have the watch look again when the hypervisor may be asked again. */
static void wait_for_retry(void)
{
	spin_lock_bh(&aeration_watch.lock);
	aeration_watch.paused_until = max(aeration_watch.paused_until,
					  aeration_hold.retry_at);
	spin_unlock_bh(&aeration_watch.lock);
}

/* Did the guest need within the window what was held? */
static bool needed_lately(void)
{
	return aeration_hold.needed_at && aeration_watch_now_ms() - aeration_hold.needed_at <
				 aeration_pacer_window_ms(&aeration_watch.pacer);
}

static bool decide(unsigned long surplus)
{
	struct marks marks = read_marks();
	unsigned long blocks = blocks_of(wanted_back(&marks));
	bool paused;

	if (blocks) {
		if (aeration_pressure_restore(blocks, false, NUMA_NO_NODE,
					      NULL) < blocks)
			wait_for_retry();
		return true;
	}
	spin_lock_bh(&aeration_watch.lock);
	aeration_hold.starved = false;	/* what is not backed is not needed */
	paused =
		aeration_watch_now_ms() < aeration_watch.paused_until || needed_lately();
	spin_unlock_bh(&aeration_watch.lock);
	if (paused)
		return true;
	blocks = budget_blocks(surplus, marks.high);
	return blocks && surrender(blocks, marks.high);
}

const struct watch_ops aeration_hold_watch_ops = {
	.read = read_unused,
	.sampled = sampled,
	.decide = decide,
	.period_max_ms = FLOOR_SLOT_MS,
	.pause_max_ms = PAUSE_SAMPLE_MS,
};

static u64 not_taken(void)
{
	return atomic64_read(&aeration_stats.errors) +
	       atomic64_read(&aeration_stats.refused);
}

/**
 * aeration_pressure_flush - surrender all surplus now, whatever the window says
 *
 * Context: process context under the registry's mutex, while the source is
 *	started; sleeps.
 * Return: 0, -ERESTARTSYS if a signal came first, -EAGAIN if the backend is not
 *	ready or nothing may go at present, -EIO if it did not take what was offered.
 */
int aeration_pressure_flush(void)
{
	enum hold_result result = HOLD_DONE;
	u64 errors = not_taken();
	unsigned long surplus, went, blocks = 1;
	struct marks marks;

	if (!is_ready())
		return -EAGAIN;
	while (blocks && result == HOLD_DONE && !signal_pending(current)) {
		marks = read_marks();
		read_unused(&surplus);
		surplus -= min(surplus, marks.high);
		blocks = budget_blocks(surplus, marks.high);
		if (blocks)
			result = aeration_hold_surrender(blocks, marks.high,
							 &went);
	}
	aeration_watch_kick();
	if (not_taken() != errors)
		return -EIO;
	if (result == HOLD_NOT_NOW)
		return -EAGAIN;
	return signal_pending(current) ? -ERESTARTSYS : 0;
}

static unsigned long count_held(struct shrinker *shrinker,
				struct shrink_control *sc)
{
	unsigned long pages = READ_ONCE(aeration_hold.held_on[sc->nid]) <<
			      aeration_hold.order;

	return pages && may_retry() ? pages : SHRINK_EMPTY;
}

/* Is there no reason to reclaim on a node, and does the guest have its need? */
static bool enough_is_free(int nid)
{
	struct marks marks = read_marks();

	return aeration_zones_free() >= marks.high && !aeration_zones_short(nid);
}

/*
 * Called by whoever reclaims memory. The kernel asks for a share of all that is
 * held; it gets what it needs, and that at once: memory that has only to be
 * asked for comes before memory that somebody uses. Many may call at a time;
 * what one has had restored is there for the others as well.
 */
static unsigned long scan_held(struct shrinker *shrinker,
			       struct shrink_control *sc)
{
	struct marks marks = read_marks();
	unsigned long before = aeration_hold_blocks(AERATOR_BLOCK_FREE);
	unsigned long free = aeration_zones_free(), want, pages;

	if (enough_is_free(sc->nid))
		return SHRINK_STOP;
	want = max3(sc->nr_to_scan, RECLAIM_LEAST >> PAGE_SHIFT,
		    marks.high > free ? marks.high - free : 0);
	aeration_pressure_restore(blocks_of(want), false, sc->nid,
				  enough_is_free);
	aeration_watch_kick();
	pages = (aeration_hold_blocks(AERATOR_BLOCK_FREE) -
		 before) << aeration_hold.order;
	compat_account_reclaimed(pages);
	sc->nr_scanned = max(sc->nr_to_scan, pages);
	return pages ? pages : SHRINK_STOP;
}

/*
 * A block on its way to the hypervisor is out of reach until it is there. That
 * can be most of the guest, in one batch. No lock is waited for: whoever holds
 * them may be waiting for somebody who is out of memory.
 */
static void await_surrender(void)
{
	unsigned int waited;

	for (waited = 0; waited < OOM_WAIT_MS; waited += OOM_LOOK_MS) {
		if (!aeration_hold_blocks(AERATOR_BLOCK_ISOLATED) &&
		    !aeration_hold_blocks(AERATOR_BLOCK_IN_FLIGHT))
			return;
		msleep(OOM_LOOK_MS);
	}
}

/* What others have had restored meanwhile is there for this guest as well. */
static int on_oom(struct notifier_block *nb, unsigned long unused, void *freed)
{
	unsigned long least = blocks_of(OOM_LEAST >> PAGE_SHIFT);
	unsigned long before = aeration_hold_blocks(AERATOR_BLOCK_FREE);

	if (!aeration_pressure_restore(least, true, NUMA_NO_NODE, NULL)) {
		await_surrender();
		aeration_pressure_restore(least, true, NUMA_NO_NODE, NULL);
	}
	*(unsigned long *)freed +=
		(aeration_hold_blocks(AERATOR_BLOCK_FREE) -
		 before) << aeration_hold.order;
	return NOTIFY_OK;
}

/*
 * A kernel that kexec starts knows nothing of holes in its memory. Whether this
 * restart is one of those cannot be told from a module, so the memory comes back
 * at any. Nothing is taken any more from then on.
 */
static int on_reboot(struct notifier_block *nb, unsigned long action,
		     void *unused)
{
	unsigned long pages;

	if (action != SYS_RESTART)
		return NOTIFY_DONE;
	aeration_hold_leave();
	aeration_pressure_restore_all();
	pages = aeration_hold_held_pages() +
		(aeration_hold_blocks(AERATOR_BLOCK_QUARANTINED) <<
		 aeration_hold.order);
	if (pages)
		pr_emerg("%lu MiB have no backing: a kernel started by kexec will fail when it touches them\n",
			 pages >> (20 - PAGE_SHIFT));
	return NOTIFY_DONE;
}

/**
 * aeration_pressure_start - begin to answer to memory reclaim, before the watch starts
 *
 * Context: process context under the registry's mutex; may sleep.
 * Return: 0 or a negative error with nothing started.
 */
int aeration_pressure_start(void)
{
	unsigned long unused;
	int err;

	read_unused(&unused);
	aeration_floor_init(&aeration_hold.floor, aeration_watch_now_ms(),
			    unused);
	aeration_hold.retry_at = 0;
	aeration_hold.needed_at = 0;
	aeration_hold.retry_ms = SHORT_PAUSE_MIN_MS;
	aeration_hold.pause_ms = REFUSED_PAUSE_MIN_MS;
	aeration_hold.starved = false;
	aeration_hold.oom.notifier_call = on_oom;
	aeration_hold.reboot.notifier_call = on_reboot;
	err = register_oom_notifier(&aeration_hold.oom);
	if (err)
		return err;
	err = register_reboot_notifier(&aeration_hold.reboot);
	if (err)
		goto out_oom;
	err = compat_shrinker_start(&aeration_hold.shrinker, "aeration",
				    count_held,
				    scan_held, RECLAIM_LEAST >> PAGE_SHIFT);
	if (err)
		goto out_reboot;
	return 0;

out_reboot:
	unregister_reboot_notifier(&aeration_hold.reboot);
out_oom:
	unregister_oom_notifier(&aeration_hold.oom);
	return err;
}

/**
 * aeration_pressure_stop - undo aeration_pressure_start()
 *
 * Context: process context under the registry's mutex, after the watch has
 *	stopped; may sleep.
 */
void aeration_pressure_stop(void)
{
	compat_shrinker_stop(&aeration_hold.shrinker);
	unregister_reboot_notifier(&aeration_hold.reboot);
	unregister_oom_notifier(&aeration_hold.oom);
}

/**
 * aeration_pressure_starved - does the hypervisor withhold memory that the guest needs?
 *
 * Context: any.
 * Return: true from a restore that came up short to one that did not, or until
 *	the guest has no need any more.
 */
bool aeration_pressure_starved(void)
{
	return READ_ONCE(aeration_hold.starved);
}
