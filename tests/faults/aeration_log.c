// SPDX-License-Identifier: GPL-2.0
/*
 * The least that a backend is: it logs what it is told, and acks it. Known to the
 * core by the name of the test device, in whose place it stands.
 */
#define pr_fmt(fmt) "aeration_log: " fmt

#include <linux/memory_aeration.h>
#include <linux/module.h>

static int log_react(struct aerator_dev_info *dev, struct aerator_batch *batch)
{
	unsigned int i;

	for (i = 0; i < batch->nr; i++)
		batch->block[i].state = AERATOR_BLOCK_HELD;
	pr_info("%u blocks, the first at pfn %lx\n", batch->nr,
		batch->block[0].pfn);
	return 0;
}

static const struct aerator_ops log_ops = {
	.name = "loop",
	.owner = THIS_MODULE,
	.residency = AERATOR_TRANSIENT,
	.react = log_react,
};

static struct aerator_dev_info log_dev = { .ops = &log_ops };

static int __init log_init(void)
{
	return aerator_startup(&log_dev);
}

static void __exit log_exit(void)
{
	aerator_shutdown(&log_dev);
}

module_init(log_init);
module_exit(log_exit);
MODULE_DESCRIPTION("Memory aeration backend that only logs");
MODULE_AUTHOR("The Aeration authors");
MODULE_LICENSE("GPL");
