// SPDX-License-Identifier: GPL-2.0
/*
 * The loop device as a host that takes memory away until it is asked for it.
 *
 * A block that is taken is filled with a pattern, and it must still have it when
 * it is asked for: a guest that reads a page that is not backed gets nonsense
 * here, and one that writes to it is counted. More files in debugfs:
 *	restore_mode	one of enum restore_mode, by name
 *	restore_at	index of a block in a batch, for "short", "lose" and "odd"
 *	restore_us	how long each block that is asked for takes, us
 *	pattern		N: leave blocks as they are: a restore then costs about what a
 *			hypercall does, and nothing is found out about the guest
 *	not_ready	Y: blocks may not be taken now
 *	limit_mb	what this host allows to be held, MiB
 *	forfeit_mb	how much of what is held it does not give back, MiB; reads as what
 *			the core makes of that
 *	touched		pages that did not have the pattern any more
 *	dirty		pages that should have been zero when they were taken
 *	noted		bytes held, as the core said last
 *	starved		the guest needs what it does not get, as the core said last
 *	restores	batches that were asked for
 *
 * Locks: none. react and restore run once at a time each, and write different
 * counters.
 */
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/highmem.h>
#include <linux/limits.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/string.h>
#include "loop.h"

/* What a page looks like that has no backing. */
#define PATTERN		0x5a

/**
 * enum restore_mode - what to do when memory is asked for
 * @RESTORE_ACK: give all of it
 * @RESTORE_SHORT: give the blocks before index restore_at
 * @RESTORE_NONE: give nothing, and say so block by block
 * @RESTORE_ERROR: fail as a whole
 * @RESTORE_LOSE: give all but the block at restore_at, which is quarantined
 * @RESTORE_ODD: give all but the block at restore_at, whose state is nonsense
 */
enum restore_mode {
	RESTORE_ACK,
	RESTORE_SHORT,
	RESTORE_NONE,
	RESTORE_ERROR,
	RESTORE_LOSE,
	RESTORE_ODD,
};

static const char *const mode_names[] = {
	[RESTORE_ACK] = "ack",
	[RESTORE_SHORT] = "short",
	[RESTORE_NONE] = "none",
	[RESTORE_ERROR] = "error",
	[RESTORE_LOSE] = "lose",
	[RESTORE_ODD] = "odd",
};

static unsigned int restore_mode;
static u32 restore_at;
static u32 restore_us;
static bool pattern = true;
static bool not_ready;
static u64 touched;
static u64 dirty;
static u64 noted;
static bool starved;
static struct aerator_dev_info *device;	/* a constant, while there are files */
static u64 limit = U64_MAX;
static u64 forfeited;
static u64 restores;

/* Count the pages of a block that are not full of @expected; fill them. */
static u64 refill(const struct aerator_block *block, int expected, int fill)
{
	unsigned long i;
	u64 odd = 0;

	for (i = 0; i < 1UL << block->order; i++) {
		void *page = kmap_local_page(pfn_to_page(block->pfn + i));

		if (expected >= 0 && memchr_inv(page, expected, PAGE_SIZE))
			odd++;
		memset(page, fill, PAGE_SIZE);
		kunmap_local(page);
	}
	cond_resched();
	return odd;
}

/**
 * aeration_durable_take - take a block away
 * @block: the block
 * @scrubbed: it should be full of zeros
 *
 * Context: process context; may sleep; allocates nothing.
 */
void aeration_durable_take(const struct aerator_block *block, bool scrubbed)
{
	if (READ_ONCE(pattern))
		dirty += refill(block, scrubbed ? 0 : -1, PATTERN);
}

static enum aerator_block_state answer(enum restore_mode mode, unsigned int i,
				       unsigned int at)
{
	switch (mode) {
	case RESTORE_NONE:
		return AERATOR_BLOCK_HELD;
	case RESTORE_SHORT:
		return i < at ? AERATOR_BLOCK_ISOLATED : AERATOR_BLOCK_HELD;
	case RESTORE_LOSE:
		return i == at ? AERATOR_BLOCK_QUARANTINED :
				 AERATOR_BLOCK_ISOLATED;
	case RESTORE_ODD:
		return i == at ? AERATOR_BLOCK_FREE : AERATOR_BLOCK_ISOLATED;
	default:
		return AERATOR_BLOCK_ISOLATED;
	}
}

static void take_time(unsigned int blocks)
{
	unsigned long us = (unsigned long)READ_ONCE(restore_us) * blocks;

	if (us)
		usleep_range(us, us + us / 8 + 1);
}

/**
 * aeration_durable_restore - give memory back, or not, as restore_mode has it
 * @dev: the device
 * @batch: the blocks
 *
 * Context: as struct aerator_ops has it.
 * Return: 0 or a negative error.
 */
int aeration_durable_restore(struct aerator_dev_info *dev,
			     struct aerator_batch *batch)
{
	enum restore_mode mode = READ_ONCE(restore_mode);
	unsigned int i, at = READ_ONCE(restore_at);
	bool check = READ_ONCE(pattern);

	restores++;
	take_time(batch->nr);
	if (mode == RESTORE_ERROR)
		return -EAGAIN;
	for (i = 0; i < batch->nr; i++) {
		struct aerator_block *block = &batch->block[i];

		block->state = answer(mode, i, at);
		if (block->state == AERATOR_BLOCK_ISOLATED && check)
			touched += refill(block, PATTERN, 0);
	}
	return 0;
}

/**
 * aeration_durable_ready - may blocks be taken now?
 * @dev: the device
 * @bytes: no matter
 *
 * Context: process context.
 * Return: what not_ready does not say.
 */
bool aeration_durable_ready(struct aerator_dev_info *dev, u64 bytes)
{
	bool ready = !READ_ONCE(not_ready);

	aerator_say(dev->ops->name, dev, ready ? AERATOR_WELL : AERATOR_WAITS,
		    ready ? NULL : "the test device is told to wait");
	return ready;
}

/**
 * aeration_durable_note_held - keep what the core says is held
 * @dev: the device
 * @bytes: how much
 * @missed: the guest needs some of it and does not get it
 *
 * Context: as struct aerator_ops has it.
 */
void aeration_durable_note_held(struct aerator_dev_info *dev, u64 bytes,
				bool missed)
{
	noted = bytes;
	starved = missed;
}

static int limit_set(void *unused, u64 mib)
{
	limit = mib << 20;
	aerator_limit_held(device, limit);
	return 0;
}

static int limit_get(void *unused, u64 *mib)
{
	*mib = limit >> 20;
	return 0;
}

DEFINE_DEBUGFS_ATTRIBUTE(limit_fops, limit_get, limit_set, "%llu\n");

static int forfeit_set(void *unused, u64 mib)
{
	forfeited = aerator_forfeit(device, mib << 20);
	return 0;
}

static int forfeit_get(void *unused, u64 *mib)
{
	*mib = forfeited >> 20;
	return 0;
}

DEFINE_DEBUGFS_ATTRIBUTE(forfeit_fops, forfeit_get, forfeit_set, "%llu\n");

static int mode_show(struct seq_file *out, void *unused)
{
	seq_printf(out, "%s\n", mode_names[READ_ONCE(restore_mode)]);
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
	WRITE_ONCE(restore_mode, mode);
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

/**
 * aeration_durable_files - make the files in debugfs
 * @folder: where
 * @dev: the device
 *
 * Context: process context; may sleep.
 */
void aeration_durable_files(struct dentry *folder,
			    struct aerator_dev_info *dev)
{
	device = dev;
	debugfs_create_file("restore_mode", 0600, folder, NULL, &mode_fops);
	debugfs_create_u32("restore_at", 0600, folder, &restore_at);
	debugfs_create_u32("restore_us", 0600, folder, &restore_us);
	debugfs_create_bool("pattern", 0600, folder, &pattern);
	debugfs_create_bool("not_ready", 0600, folder, &not_ready);
	debugfs_create_u64("touched", 0400, folder, &touched);
	debugfs_create_u64("dirty", 0400, folder, &dirty);
	debugfs_create_u64("noted", 0400, folder, &noted);
	debugfs_create_u64("restores", 0400, folder, &restores);
	debugfs_create_bool("starved", 0400, folder, &starved);
	debugfs_create_file_unsafe("limit_mb", 0600, folder, NULL, &limit_fops);
	debugfs_create_file_unsafe("forfeit_mb", 0600, folder, NULL,
				   &forfeit_fops);
}
