// SPDX-License-Identifier: GPL-2.0
/*
 * What the core asks of a durable backend.
 */
#define pr_fmt(fmt) "aeration_xen: " fmt

#include <linux/compiler.h>
#include <linux/kernel.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/printk.h>
#include <linux/sched.h>
#include <xen/balloon.h>
#include <xen/interface/xen.h>
#include <xen/interface/memory.h>
#include "xb.h"

/*
 * How long one hypercall should take at most. The scheduler of this domain does
 * not get a word in meanwhile, unless the kernel is fully preemptible: a call
 * that takes a few ms for each page, as it can where processors are emulated,
 * would pass for a lockup, which is 20 s. A gigabyte at a time fits elsewhere.
 */
#define XB_CALL_NS	NSEC_PER_SEC

/*
 * Pages in the first call, of which nobody knows how long it takes. 16 MiB were
 * seen to take 26 s: two emulated processors that had to interrupt each other
 * for each page, on a busy host.
 */
#define XB_FIRST_PAGES	512UL

/* A call is no more than so many times as large as the one before might be. */
#define XB_GROWTH	8

/*
 * Calls for fewer pages say little about what a page costs, if more could have
 * been asked for.
 */
#define XB_SAMPLE_PAGES	256UL

/* Pages in a call, at least, however long the last one was kept from running. */
#define XB_LEAST_PAGES	16UL

/* Guest frame numbers are what Xen takes from an auto-translated domain. */
static void use_pfns(struct xb_io *io)
{
	unsigned int i;

	for (i = 0; i < io->nr; i++)
		io->frame[i] = io->pfn[i];
}

/* Have the next hypercall take as long as it may. */
static void learn(struct xb_io *io, unsigned int done, u64 ns)
{
	unsigned long pages = (unsigned long)done << io->run_order;

	if (done && pages >= min(XB_SAMPLE_PAGES, io->most))
		io->most = max_t(u64, XB_LEAST_PAGES,
				 min_t(u64, (u64)io->most * XB_GROWTH,
				       div64_u64((u64)pages * XB_CALL_NS,
						 ns + 1)));
}

/* As struct xb_calls has it. Process context; may sleep; allocates nothing. */
static unsigned int decrease(struct xb_io *io)
{
	u64 start = ktime_get_ns();
	unsigned int done;

	if (aeration_xb.pv) {
		done = aeration_xb_pv_decrease(io);
	} else {
		use_pfns(io);
		done = aeration_xb_call(XENMEM_decrease_reservation, io);
	}
	learn(io, done, ktime_get_ns() - start);
	cond_resched();
	return done;
}

/* Likewise, from memory reclaim, too. */
static unsigned int populate(struct xb_io *io)
{
	u64 start = ktime_get_ns();
	unsigned int done;

	if (aeration_xb.pv) {
		done = aeration_xb_pv_populate(io);
	} else {
		use_pfns(io);
		done = aeration_xb_call(XENMEM_populate_physmap, io);
	}
	learn(io, done, ktime_get_ns() - start);
	cond_resched();
	return done;
}

/**
 * aeration_xb_is_backed - is there memory behind a page?
 * @pfn: a page of an auto-translated domain; a PV domain never needs to ask, as
 *	its extents are single pages
 *
 * A page that Xen populates on demand counts as backed: it can be used, and it
 * can be given to Xen.
 *
 * Context: any.
 * Return: 1, 0, or a negative error if Xen does not say.
 */
int aeration_xb_is_backed(unsigned long pfn)
{
	struct xen_hvm_get_mem_type ask = { .domid = DOMID_SELF, .pfn = pfn };
	int err = aeration_xen_mem_type(&ask);

	if (!err && ask.mem_type == HVMMEM_ram_rw)
		return 1;
	if (!err && ask.mem_type == HVMMEM_mmio_dm)
		return 0;
	pr_err_ratelimited("Xen does not say whether page pfn %lx has memory behind it (error %d, type %u)\n",
			   pfn, err, ask.mem_type);
	return err ? err : -EIO;
}

static const struct xb_calls calls = {
	.decrease = decrease,
	.populate = populate,
	.is_backed = aeration_xb_is_backed,
};

static struct xb_io react_io = { .xen = &calls, .most = XB_FIRST_PAGES };
static struct xb_io restore_io = { .xen = &calls, .most = XB_FIRST_PAGES };

/**
 * aeration_xb_forget_cost - begin anew with small hypercalls: the host may be another
 *
 * Context: while neither react nor restore can be called.
 */
void aeration_xb_forget_cost(void)
{
	react_io.most = XB_FIRST_PAGES;
	restore_io.most = XB_FIRST_PAGES;
}

/*
 * Xen that did not say how large extents may be refuses all of a batch if they
 * are too large. It may have had another reason; then they are small for
 * nothing, which is slow and harmless.
 */
static void try_smaller(void)
{
	WRITE_ONCE(aeration_xb.order, aeration_xb.order - 1);
	pr_warn("Xen took nothing in extents of order %u; trying order %u\n",
		aeration_xb.order + 1, aeration_xb.order);
}

static int give_up(struct aerator_dev_info *dev, int err)
{
	char why[64];

	scnprintf(why, sizeof(why), "Xen refuses to take memory: error %d", err);
	pr_err("%s; nothing is given to it any more, load the module again to retry\n",
	       why);
	aeration_xb.failed = true;
	aerator_fail(dev, why);
	return -ENODEV;
}

static int xb_react(struct aerator_dev_info *dev, struct aerator_batch *batch)
{
	int err;

	if (aeration_xb.failed)
		return -ENODEV;
	react_io.order = READ_ONCE(aeration_xb.order);
	err = aeration_xb_deliver(&react_io, batch);
	if (err && err != -EAGAIN)
		return give_up(dev, err);
	if (err && !aeration_xb.order_known && aeration_xb.order)
		try_smaller();
	return err;
}

static int xb_restore(struct aerator_dev_info *dev, struct aerator_batch *batch)
{
	int err;

	restore_io.order = READ_ONCE(aeration_xb.order);
	err = aeration_xb_fetch(&restore_io, batch);
	if (err && err != -EAGAIN)
		pr_err_ratelimited("Xen refuses to give memory back: error %d\n",
				   err);
	return err;
}

/*
 * Beside the stock balloon.
 *
 * Both take free pages and give them to Xen, each its own, and neither touches
 * those of the other. The toolstack sets a target for the domain and, at the
 * same time, Xen's limit for it: a little more than the target (libxl:
 * libxl_set_memory_target()). The balloon makes its own count of pages
 * (current_pages), which does not know what is held here, meet the target. So
 * the domain ends up with the target less what is held, and Xen's limit has room
 * for exactly that: held memory can be had again, whichever way the target went.
 *
 * This is not so while the balloon still has pages to give. The domain then has
 * more than its limit allows, or is about to, and Xen would refuse to give back
 * what it is given now. And free memory is what the balloon is waiting for.
 *
 * A domain that Xen populates on demand (memory < maxmem) starts in that state:
 * it believes that it has maxmem, and there is a debt, entries to be populated
 * on demand for which Xen has set aside no memory. Until the balloon has paid it
 *   - writing to a free page, as scrubbing does, may be what Xen has no memory
 *     for, and the domain would be crashed for it;
 *   - Xen keeps what it is given, to cover the debt
 *     (arch/x86/mm/p2m-pod.c, p2m_pod_decrease_reservation(): steal_for_cache),
 *     so nothing is won for the host, and asking for it again meets the limit.
 * Once the balloon is where it should be, as many entries are left as there is
 * memory set aside. Giving a page that was never touched to Xen then takes away
 * one of each, and giving one that was used frees it: the books stay balanced.
 * It does not matter either way which pages are taken.
 *
 * A balloon that has less than its target is no reason to wait: what it gets
 * from Xen becomes free memory here, and is surplus or it is not.
 */
static bool xb_ready(struct aerator_dev_info *dev)
{
#ifdef CONFIG_XEN_BALLOON
	return READ_ONCE(balloon_stats.current_pages) <=
	       READ_ONCE(balloon_stats.target_pages);
#else
	return true;
#endif
}

static void xb_note_held(struct aerator_dev_info *dev, u64 bytes)
{
	aeration_xb_store_note(bytes);
}

static const struct aerator_ops xb_ops = {
	.name = "xen",
	.owner = THIS_MODULE,
	.residency = AERATOR_DURABLE,
	.react = xb_react,
	.restore = xb_restore,
	.ready = xb_ready,
	.note_held = xb_note_held,
};

struct xb aeration_xb = {
	.dev = { .ops = &xb_ops, .scrub = true },
};
