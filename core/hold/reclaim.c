// SPDX-License-Identifier: GPL-2.0
/*
 * Who needs memory: those that reclaim it; see hold.h.
 *
 * The floor has to do without what is here, because reclaim takes what is in use
 * before it asks a shrinker: with cgroups this one is asked late or not at all. The
 * tracepoints come just before reclaim begins, also without need; all they do is to
 * have the tick look. Shrinker and OOM notifier are what is left when that was too
 * late. And who takes memory out of the guest needs all that is held of it.
 */
#define pr_fmt(fmt) "aeration: " fmt

#include <linux/delay.h>
#include <linux/irq_work.h>
#include <linux/kernel.h>
#include <linux/memory.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/oom.h>
#include <linux/sched/signal.h>
#include <linux/string.h>
#include <linux/tracepoint.h>
#include <aeration/compat.h>
#include "../pace/watch.h"
#include "hold.h"

/* The mm's own; the headers below name it. */
struct compact_control;

#include <trace/events/compaction.h>
#include <trace/events/vmscan.h>

/*
 * Least memory that a reclaimer gets, bytes: enough for it to be gone for a
 * while, little enough that it does not wait long for it.
 */
#define RECLAIM_LEAST	(32UL << 20)

/* What a guest out of memory gets, bytes. */
#define OOM_LEAST	(128UL << 20)

/*
 * How long a guest out of memory waits for blocks that are on their way to the
 * hypervisor, and how often it looks, ms. A hypervisor that takes longer has
 * failed.
 */
#define OOM_WAIT_MS	20000
#define OOM_LOOK_MS	10

static void asked_fn(struct irq_work *work);

/**
 * struct probe - a tracepoint of the mm's that tells of need
 * @name: its name
 * @fn: what it calls
 * @tp: the tracepoint, or NULL if this kernel has none of that name
 */
struct probe {
	const char *name;
	void *fn;
	struct tracepoint *tp;
};

/**
 * struct reclaim - what is registered with the mm
 * @shrinker: for memory reclaim
 * @oom: for a guest out of memory
 * @memory: for memory that is taken out
 * @asked: has the tick look; queued by the probes
 */
struct reclaim {
	struct compat_shrinker shrinker;
	struct notifier_block oom;
	struct notifier_block memory;
	struct irq_work asked;
};

static struct reclaim reclaim = { .asked = IRQ_WORK_INIT(asked_fn) };

static void asked_fn(struct irq_work *work)
{
	aeration_watch_kick_from_irq();
}

/*
 * A probe runs inside the allocator, with interrupts off maybe, or under a lock of
 * the scheduler's or the workqueue's.
 */
static void note_asked(int order)
{
	if (!aeration_blocks_due())
		return;
	aeration_need_asked(order);
	/* Where there is none to be had the tick has its own time. */
	if (!aeration_account_is_withheld())
		irq_work_queue(&reclaim.asked);
}

static void on_wakeup_kswapd(void *data, int nid, int zid, int order, gfp_t gfp)
{
	note_asked(order);
}

static void on_direct_reclaim(void *data, COMPAT_DIRECT_RECLAIM_BEGIN_ARGS)
{
	note_asked(order);
}

static void on_compact(void *data, int order, gfp_t gfp, int prio)
{
	note_asked(order);
}

static struct probe probes[] = {
	{ .name = "mm_vmscan_wakeup_kswapd", .fn = on_wakeup_kswapd },
	{ .name = "mm_vmscan_direct_reclaim_begin", .fn = on_direct_reclaim },
	{ .name = "mm_compaction_try_to_compact_pages", .fn = on_compact },
};

static void find_probe(struct tracepoint *tp, void *unused)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(probes); i++)
		if (!strcmp(tp->name, probes[i].name))
			probes[i].tp = tp;
}

/* Each is of use by itself, and none has to be there. */
static void start_probes(void)
{
	unsigned int i;

	/* What the probes take is what the mm passes; these build nothing. */
	check_trace_callback_type_mm_vmscan_wakeup_kswapd(on_wakeup_kswapd);
	check_trace_callback_type_mm_vmscan_direct_reclaim_begin(on_direct_reclaim);
	check_trace_callback_type_mm_compaction_try_to_compact_pages(on_compact);

	for_each_kernel_tracepoint(find_probe, NULL);
	for (i = 0; i < ARRAY_SIZE(probes); i++)
		if (probes[i].tp &&
		    tracepoint_probe_register(probes[i].tp, probes[i].fn, NULL))
			probes[i].tp = NULL;
}

static void stop_probes(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		if (probes[i].tp)
			tracepoint_probe_unregister(probes[i].tp, probes[i].fn,
						    NULL);
		probes[i].tp = NULL;
	}
	tracepoint_synchronize_unregister();
	irq_work_sync(&reclaim.asked);
}

static unsigned long count_held(struct shrinker *shrinker,
				struct shrink_control *sc)
{
	unsigned long held = aeration_blocks_held_on(sc->nid);

	if (!held || aeration_restore_pause_ms())
		return SHRINK_EMPTY;
	return held << aeration_blocks_order();
}

static bool is_content(int nid)
{
	return !aeration_need_is_short(nid);
}

/*
 * Called by whoever reclaims memory. It gets a step, so that it does not wait for
 * long, and is asked again if that is not enough; the tick does the rest. Many may
 * call at a time; what one has had restored is there for the others as well.
 */
static unsigned long scan_held(struct shrinker *shrinker,
			       struct shrink_control *sc)
{
	unsigned long before = aeration_blocks_count(AERATOR_BLOCK_FREE), pages;

	if (is_content(sc->nid))
		return SHRINK_STOP;
	aeration_restore_needed(aeration_blocks_of(max(sc->nr_to_scan,
						       RECLAIM_LEAST >>
						       PAGE_SHIFT)),
				sc->nid, false, is_content);
	aeration_watch_kick();
	pages = (aeration_blocks_count(AERATOR_BLOCK_FREE) - before)
		<< aeration_blocks_order();
	compat_account_reclaimed(pages);
	sc->nr_scanned = max(sc->nr_to_scan, pages);
	return pages ? pages : SHRINK_STOP;
}

/*
 * A block on its way to the hypervisor is out of reach until it is there. No lock
 * is waited for: whoever holds them may be waiting for somebody who is out of
 * memory, as the reader may be that aeration_pages_hide() waits for.
 */
static void await_surrender(void)
{
	unsigned int waited;

	for (waited = 0; waited < OOM_WAIT_MS; waited += OOM_LOOK_MS) {
		if (aeration_pages_hiding() || !aeration_take_is_under_way())
			return;
		msleep(OOM_LOOK_MS);
	}
}

static void restore_for_oom(int nid)
{
	unsigned long left = aeration_blocks_of(OOM_LEAST >> PAGE_SHIFT), done;

	do {
		done = aeration_restore_needed(left, nid, true, NULL);
		left -= min(left, done);
	} while (done && left);
}

/*
 * Who is out of memory may be bound to some nodes. What is held of others does not
 * help, and to give it back round by round would put off the end without averting
 * it. Where no node is short it is not for want of memory, but of large blocks.
 */
static void restore_where_short(void)
{
	bool any = false;
	int nid;

	for_each_online_node(nid) {
		if (!aeration_need_is_short(nid))
			continue;
		any = true;
		if (aeration_blocks_held_on(nid))
			restore_for_oom(nid);
	}
	if (!any)
		restore_for_oom(NUMA_NO_NODE);
}

/* What others have had restored meanwhile is there for this guest as well. */
static int on_oom(struct notifier_block *nb, unsigned long unused, void *freed)
{
	unsigned long before = aeration_blocks_count(AERATOR_BLOCK_FREE);

	restore_where_short();
	if (aeration_blocks_count(AERATOR_BLOCK_FREE) == before) {
		await_surrender();
		restore_where_short();
	}
	aeration_watch_kick();
	*(unsigned long *)freed +=
		(aeration_blocks_count(AERATOR_BLOCK_FREE) - before)
		<< aeration_blocks_order();
	return NOTIFY_OK;
}

/*
 * Everything that is held of a node comes back, as long as the hypervisor has it. The
 * last step finds none, when what others were having restored is there, too.
 */
static void restore_node(int nid)
{
	unsigned long blocks;

	do
		blocks = max(aeration_blocks_held_on(nid), 1UL);
	while (aeration_restore_needed(blocks, nid, true, NULL) &&
	       !signal_pending(current));
}

/*
 * The mm has isolated memory of a zone, so that none of it is taken again, and counts
 * on those who have marked pages of it offline to let go of them. The pool does not
 * say where in a node a block is: all of them come back, and the others go again.
 */
static int going_offline(unsigned long pfn)
{
	struct page *page = pfn_to_page(pfn);
	int err;

	/* None of ours can be there. */
	if (page_zonenum(page) > ZONE_NORMAL)
		return 0;
	err = aeration_surrender_stop_killable(SURRENDER_OFFLINE);
	if (!err)
		restore_node(page_to_nid(page));
	return err;
}

static int on_memory(struct notifier_block *nb, unsigned long action, void *arg)
{
	const struct memory_notify *memory = arg;

	switch (action) {
	case MEM_GOING_OFFLINE:
		return notifier_from_errno(going_offline(memory->start_pfn));
	case MEM_CANCEL_OFFLINE:
	case MEM_OFFLINE:
		aeration_surrender_go_on(SURRENDER_OFFLINE);
		aeration_watch_kick();
		break;
	}
	return NOTIFY_OK;
}

/**
 * aeration_reclaim_start - begin to answer to who needs memory
 *
 * Context: process context, once the watch runs; may sleep.
 * Return: 0 or a negative error with nothing started.
 */
int aeration_reclaim_start(void)
{
	int err;

	reclaim.oom.notifier_call = on_oom;
	err = register_oom_notifier(&reclaim.oom);
	if (err)
		return err;
	err = compat_shrinker_start(&reclaim.shrinker, "aeration", count_held,
				    scan_held, aeration_blocks_of(1)
				    << aeration_blocks_order());
	if (err)
		goto out_oom;
	reclaim.memory.notifier_call = on_memory;
	err = register_memory_notifier(&reclaim.memory);
	if (err)
		goto out_shrinker;
	start_probes();
	return 0;

out_shrinker:
	compat_shrinker_stop(&reclaim.shrinker);
out_oom:
	unregister_oom_notifier(&reclaim.oom);
	return err;
}

/**
 * aeration_reclaim_stop - undo aeration_reclaim_start()
 *
 * Context: process context, before the watch stops; waits for calls under way.
 */
void aeration_reclaim_stop(void)
{
	stop_probes();
	unregister_memory_notifier(&reclaim.memory);
	compat_shrinker_stop(&reclaim.shrinker);
	unregister_oom_notifier(&reclaim.oom);
}
