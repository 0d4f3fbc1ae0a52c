// SPDX-License-Identifier: GPL-2.0
/*
 * What the core asks of a durable backend.
 */
#define pr_fmt(fmt) "aeration_xen: " fmt

#include <linux/compiler.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/printk.h>
#include <linux/sched.h>
#include <xen/interface/xen.h>
#include <xen/interface/memory.h>
#include "xb.h"

/* Guest frame numbers are what Xen takes from an auto-translated domain. */
static void use_pfns(struct xb_io *io)
{
	unsigned int i;

	for (i = 0; i < io->nr; i++)
		io->frame[i] = io->pfn[i];
}

/* What gives memory, not what undoes half a populate; both name the calls below. */
static struct xb_io react_io;

/* As struct xb_calls has it. Process context; may sleep; allocates nothing. */
static unsigned int decrease(struct xb_io *io)
{
	unsigned int done;

	if (io == &react_io && aeration_xb_is_tracked()) {
		io->err = -EAGAIN;
		return 0;
	}
	if (aeration_xb.pv) {
		done = aeration_xb_pv_decrease(io);
	} else {
		use_pfns(io);
		done = aeration_xb_call(XENMEM_decrease_reservation, io);
	}
	cond_resched();
	return done;
}

/* Likewise, from memory reclaim, too. */
static unsigned int populate(struct xb_io *io)
{
	unsigned int done;

	if (aeration_xb.pv) {
		done = aeration_xb_pv_populate(io);
	} else {
		use_pfns(io);
		done = aeration_xb_call(XENMEM_populate_physmap, io);
	}
	cond_resched();
	return done;
}

/**
 * aeration_xb_is_backed - is there memory behind a page?
 * @pfn: a page of an auto-translated domain; a PV domain never needs to ask, as
 *	its extents are single pages
 *
 * A page that Xen populates on demand counts as backed: it can be used, and it
 * can be given to Xen. During a live migration one that is not written to is read-only.
 *
 * Context: any.
 * Return: 1, 0, or a negative error if Xen does not say.
 */
int aeration_xb_is_backed(unsigned long pfn)
{
	struct xen_hvm_get_mem_type ask = { .domid = DOMID_SELF, .pfn = pfn };
	int err = aeration_xen_mem_type(&ask);

	if (!err && (ask.mem_type == HVMMEM_ram_rw ||
		     ask.mem_type == HVMMEM_ram_ro))
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
	.flags = aeration_xb_node_flags,
};

static struct xb_io react_io = { .xen = &calls };
static struct xb_io restore_io = { .xen = &calls };

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
	aerator_say(dev->ops->name, dev, AERATOR_FAILED, why);
	return -ENODEV;
}

static int xb_react(struct aerator_dev_info *dev, struct aerator_batch *batch)
{
	int err;

	if (aeration_xb.failed)
		return -ENODEV;
	react_io.order = READ_ONCE(aeration_xb.order);
	err = aeration_xb_deliver(&react_io, batch);
	if (!err)
		aeration_xb_mark_written(batch);
	if (err && err != -EAGAIN)
		return give_up(dev, err);
	if (err && !aeration_xb.order_known && aeration_xb.order &&
	    !aeration_xb_is_tracked())
		try_smaller();
	return err;
}

static int xb_restore(struct aerator_dev_info *dev, struct aerator_batch *batch)
{
	int err;

	restore_io.order = READ_ONCE(aeration_xb.order);
	err = aeration_xb_fetch(&restore_io, batch);
	if (!err)
		aeration_xb_mark_written(batch);
	if (err && err != -EAGAIN)
		pr_err_ratelimited("Xen refuses to give memory back: error %d\n",
				   err);
	return err;
}

static bool xb_ready(struct aerator_dev_info *dev, u64 bytes)
{
	if (!bytes || !aeration_xb_is_tracked())
		return aeration_xb_toolstack_ready(dev, bytes);
	aerator_say(dev->ops->name, dev, AERATOR_WAITS,
		    "Xen keeps track of what this domain writes, as for a live migration");
	return false;
}

static void xb_note_held(struct aerator_dev_info *dev, u64 bytes, bool starved)
{
	aeration_xb_store_note(bytes, starved);
	aeration_xb_toolstack_held();
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
