// SPDX-License-Identifier: GPL-2.0
/*
 * aeration_loop.ko: a test device inside the guest.
 *
 * It talks to no hypervisor and does what debugfs tells it:
 * /sys/kernel/debug/aeration_loop/
 *	mode		one of enum loop_mode, by name; also while a batch waits
 *	delay_ms	how long "delay" waits before the ack, timeout_ms at most
 *	fail_at		index of the first block that "fail" does not take
 *	discard		write into blocks that were taken, as a host that
 *			dropped them would: a block that the guest still uses
 *			shows up as a corruption
 *	batches		the batches seen
 *
 * With aeration_loop.durable=1 it plays a host that takes memory away instead,
 * and there is more to tell it; see durable.c.
 */
#define pr_fmt(fmt) "aeration_loop: " fmt

#include <linux/debugfs.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/string.h>
#include <linux/wait.h>
#include "loop.h"

/**
 * enum loop_mode - what to do with a batch
 * @LOOP_ACK: take all of it at once
 * @LOOP_DELAY: take all of it after delay_ms
 * @LOOP_REFUSE: take none of it, and say so block by block
 * @LOOP_FAIL: take the blocks before index fail_at
 * @LOOP_ERROR: fail as a whole; the core may ask again
 * @LOOP_SILENT: never answer; the device fails when timeout_ms is over
 */
enum loop_mode {
	LOOP_ACK,
	LOOP_DELAY,
	LOOP_REFUSE,
	LOOP_FAIL,
	LOOP_ERROR,
	LOOP_SILENT,
};

static const char *const mode_names[] = {
	[LOOP_ACK] = "ack",
	[LOOP_DELAY] = "delay",
	[LOOP_REFUSE] = "refuse",
	[LOOP_FAIL] = "fail",
	[LOOP_ERROR] = "error",
	[LOOP_SILENT] = "silent",
};

/**
 * struct loop - the one device
 * @dev: what the core knows of it
 * @folder: its debugfs folder
 * @changed: react waits here for another mode or for @leaving
 * @mode: what to do with a batch; written by debugfs, read by react
 * @delay_ms: for LOOP_DELAY
 * @fail_at: for LOOP_FAIL
 * @discard: write into blocks that were taken
 * @leaving: the module goes away; react returns
 */
struct loop {
	struct aerator_dev_info dev;
	struct dentry *folder;
	wait_queue_head_t changed;
	unsigned int mode;
	u32 delay_ms;
	u32 fail_at;
	bool discard;
	bool leaving;
};

static struct loop loop = {
	.dev.scrub = true,
	.delay_ms = 100,
	.discard = true,
};

static unsigned int capacity = AERATOR_CAPACITY;
module_param(capacity, uint, 0444);
MODULE_PARM_DESC(capacity, "most blocks in a batch (1 to 32; durable: to 512)");

static bool durable;
module_param(durable, bool, 0444);
MODULE_PARM_DESC(durable, "play a host that takes memory away until it is asked for it");

module_param_cb(scrub, &aerator_scrub_ops, &loop.dev, 0644);
MODULE_PARM_DESC(scrub, "durable: want blocks filled with zeros");

static unsigned int timeout_ms = 30000;
module_param_cb(timeout_ms, &aerator_timeout_ops, &timeout_ms, 0644);
MODULE_PARM_DESC(timeout_ms, "how long the silent mode is waited for, ms");

/* A host that drops a page gives a zeroed one on the next touch. */
static void overwrite(const struct aerator_block *block)
{
	unsigned long i;

	for (i = 0; i < 1UL << block->order; i++) {
		u64 *page = kmap_local_page(pfn_to_page(block->pfn + i));

		*page = 0;
		kunmap_local(page);
	}
	cond_resched();
}

/* Some debugging kernels check free pages, or cannot have them touched. */
static bool may_overwrite(void)
{
	return loop.discard && !page_poisoning_enabled_static() &&
	       !debug_pagealloc_enabled_static() &&
	       !IS_ENABLED(CONFIG_KASAN) && !IS_ENABLED(CONFIG_KMSAN);
}

static void take_first(struct aerator_batch *batch, unsigned int nr)
{
	bool discard = may_overwrite();
	unsigned int i;

	for (i = 0; i < batch->nr; i++) {
		if (i >= nr) {
			batch->block[i].state = AERATOR_BLOCK_ISOLATED;
			continue;
		}
		if (durable)
			aeration_durable_take(&batch->block[i],
					      loop.dev.scrub);
		else if (discard)
			overwrite(&batch->block[i]);
		batch->block[i].state = AERATOR_BLOCK_HELD;
	}
}

static bool mode_is_not(enum loop_mode mode)
{
	return READ_ONCE(loop.leaving) || READ_ONCE(loop.mode) != mode;
}

/* Wait while the mode stays what it is. Return: true if it stayed all along. */
static bool stayed(enum loop_mode mode, unsigned int ms)
{
	return !wait_event_idle_timeout(loop.changed, mode_is_not(mode),
					msecs_to_jiffies(ms) + 1);
}

static int never_answered(struct aerator_dev_info *dev)
{
	pr_warn("no answer within %u ms; the device has failed, its blocks are back with the guest\n",
		READ_ONCE(timeout_ms));
	aerator_note_timeout(dev);
	aerator_say(dev->ops->name, dev, AERATOR_FAILED,
		    "the test device did not answer in time");
	return -ENODEV;
}

static int loop_react(struct aerator_dev_info *dev, struct aerator_batch *batch)
{
	enum loop_mode mode = READ_ONCE(loop.mode);
	int err = 0;

	if (mode == LOOP_DELAY)
		stayed(mode, min(READ_ONCE(loop.delay_ms),
				 READ_ONCE(timeout_ms)));
	if (mode == LOOP_SILENT) {
		if (stayed(mode, READ_ONCE(timeout_ms)))
			err = never_answered(dev);
		mode = READ_ONCE(loop.mode);
	}
	if (READ_ONCE(loop.leaving))
		err = -ENODEV;
	if (!err && mode == LOOP_ERROR)
		err = -EAGAIN;

	if (!err && mode == LOOP_REFUSE)
		take_first(batch, 0);
	else if (!err && mode == LOOP_FAIL)
		take_first(batch, READ_ONCE(loop.fail_at));
	else if (!err)
		take_first(batch, batch->nr);
	aeration_record_add(batch, err == -ENODEV ? "gone" : mode_names[mode]);
	return err;
}

static const struct aerator_ops loop_ops = {
	.name = "loop",
	.residency = AERATOR_TRANSIENT,
	.react = loop_react,
};

static const struct aerator_ops loop_durable_ops = {
	.name = "loop",
	.owner = THIS_MODULE,
	.residency = AERATOR_DURABLE,
	.react = loop_react,
	.restore = aeration_durable_restore,
	.ready = aeration_durable_ready,
	.note_held = aeration_durable_note_held,
};

static int mode_show(struct seq_file *out, void *unused)
{
	seq_printf(out, "%s\n", mode_names[READ_ONCE(loop.mode)]);
	return 0;
}

static int mode_open(struct inode *inode, struct file *file)
{
	return single_open(file, mode_show, NULL);
}

static ssize_t mode_write(struct file *file, const char __user *from,
			  size_t count, loff_t *pos)
{
	char word[16] = "";
	int mode;

	if (count >= sizeof(word))
		return -EINVAL;
	if (copy_from_user(word, from, count))
		return -EFAULT;
	mode = sysfs_match_string(mode_names, word);
	if (mode < 0)
		return -EINVAL;
	WRITE_ONCE(loop.mode, mode);
	wake_up(&loop.changed);
	return count;
}

static const struct file_operations mode_fops = {
	.owner = THIS_MODULE,
	.open = mode_open,
	.read = seq_read,
	.write = mode_write,
	.llseek = seq_lseek,
	.release = single_release,
};

DEFINE_SHOW_ATTRIBUTE(aeration_record);

static void make_folder(void)
{
	loop.folder = debugfs_create_dir("aeration_loop", NULL);
	debugfs_create_file("mode", 0600, loop.folder, NULL, &mode_fops);
	debugfs_create_u32("delay_ms", 0600, loop.folder, &loop.delay_ms);
	debugfs_create_u32("fail_at", 0600, loop.folder, &loop.fail_at);
	debugfs_create_bool("discard", 0600, loop.folder, &loop.discard);
	debugfs_create_file("batches", 0400, loop.folder, NULL,
			    &aeration_record_fops);
	if (durable)
		aeration_durable_files(loop.folder, &loop.dev);
}

static int __init loop_init(void)
{
	int err;

	init_waitqueue_head(&loop.changed);
	loop.dev.ops = durable ? &loop_durable_ops : &loop_ops;
	loop.dev.capacity = capacity;
	err = aeration_record_start();
	if (err)
		return err;
	make_folder();
	err = aerator_startup(&loop.dev);
	if (err) {
		debugfs_remove_recursive(loop.folder);
		aeration_record_stop();
	}
	return err;
}

static void __exit loop_exit(void)
{
	WRITE_ONCE(loop.leaving, true);
	wake_up(&loop.changed);
	debugfs_remove_recursive(loop.folder);
	aerator_limit_held(&loop.dev, U64_MAX);
	aerator_forfeit(&loop.dev, 0);
	aerator_shutdown(&loop.dev);
	aeration_record_stop();
}

module_init(loop_init);
module_exit(loop_exit);
MODULE_DESCRIPTION("Memory aeration test device inside the guest");
MODULE_AUTHOR("The Aeration authors");
MODULE_LICENSE("GPL");
