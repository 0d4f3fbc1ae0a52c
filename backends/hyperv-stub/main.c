// SPDX-License-Identifier: GPL-2.0
/*
 * aeration_hyperv.ko: a stub, untested on Hyper-V.
 *
 * A batch is told to the hypervisor as the memory heat hint "cold, discard". All
 * of it was written from the kernel's headers and tested against a stand-in for
 * the hypercall; no real Hyper-V has been seen by it. It delivers nothing unless
 * the hypervisor announces that it takes such hints.
 */
#define pr_fmt(fmt) "aeration_hyperv: " fmt

#include <linux/gfp.h>
#include <linux/memory_aeration.h>
#include <linux/module.h>
#include <linux/string.h>
#include "call.h"

/* Input of the hypercall; belongs to react, which the core calls one at a time. */
static struct heat_hint *hint;

/*
 * Put what can be told into the hint, and refuse the rest: blocks below 2 MiB
 * are what aeration.order= can lead to. Return: ranges in the hint.
 */
static unsigned int fill_hint(const struct aerator_batch *batch,
			      enum aerator_block_state state[])
{
	unsigned int i, nr = 0;

	for (i = 0; i < batch->nr; i++) {
		const struct aerator_block *b = &batch->block[i];

		state[i] = AERATOR_BLOCK_ISOLATED;
		if (aeration_heat_add(hint, nr, b->pfn, b->order))
			continue;
		state[i] = AERATOR_BLOCK_HELD;
		nr++;
	}
	return nr;
}

/* Ranges lie in the hint as their blocks do in the batch. */
static void settle(struct aerator_batch *batch,
		   const enum aerator_block_state state[], unsigned int done)
{
	unsigned int i;

	for (i = 0; i < batch->nr; i++) {
		bool taken = state[i] == AERATOR_BLOCK_HELD && done;

		batch->block[i].state = taken ? AERATOR_BLOCK_HELD :
						AERATOR_BLOCK_ISOLATED;
		done -= taken;
	}
}

static int heat_react(struct aerator_dev_info *dev, struct aerator_batch *batch)
{
	enum aerator_block_state state[AERATOR_CAPACITY];
	unsigned int nr, done = 0;
	int more = 0;
	u64 status;

	nr = fill_hint(batch, state);
	while (done < nr) {
		status = aeration_heat_call(hint, nr, done);
		more = aeration_heat_answer(status, nr, &done);
		if (more <= 0)
			break;
	}
	if (more < 0) {
		pr_warn_once("the hypervisor refused a hint, status 0x%llx%s\n",
			     status, more == -ENODEV ?
			     "; no more are given" : "; trying again later");
		if (more == -ENODEV)
			aerator_say(dev->ops->name, dev, AERATOR_FAILED,
				    "the hypervisor knows no memory heat hint, though it announces it");
		return more;
	}
	settle(batch, state, done);
	return 0;
}

static const struct aerator_ops heat_ops = {
	.name = "hyperv",
	.residency = AERATOR_TRANSIENT,
	.react = heat_react,
};

static struct aerator_dev_info heat_dev = {
	.ops = &heat_ops,
	.capacity = AERATOR_CAPACITY,
};

static int __init heat_init(void)
{
	const char *why;
	int err;

	err = aerator_permitted(heat_ops.name);
	if (err)
		return err;
	pr_info("stub, untested on Hyper-V: tells free memory as cold-discard memory heat hints\n");
	why = aeration_heat_unusable();
	aerator_say(heat_ops.name, NULL, why ? AERATOR_ABSENT : AERATOR_WELL, why);
	if (why) {
		pr_info("nothing is told: %s\n", why);
		return -ENODEV;
	}
	hint = (struct heat_hint *)get_zeroed_page(GFP_KERNEL);
	if (!hint)
		return -ENOMEM;
	err = aerator_startup(&heat_dev);
	if (err)
		free_page((unsigned long)hint);
	return err;
}

static void __exit heat_exit(void)
{
	aerator_shutdown(&heat_dev);
	free_page((unsigned long)hint);
}

module_init(heat_init);
module_exit(heat_exit);
MODULE_DESCRIPTION("Memory aeration backend for Hyper-V (stub, untested on Hyper-V)");
MODULE_AUTHOR("The Aeration authors");
MODULE_LICENSE("GPL");
