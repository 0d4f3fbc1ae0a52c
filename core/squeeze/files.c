// SPDX-License-Identifier: GPL-2.0
/*
 * What the mm offers for memory that is not needed: files of cgroup2, sysfs and procfs;
 * see squeeze.h.
 */
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/swap.h>
#include <aeration/compat.h>
#include "squeeze.h"

/*
 * Where they are, as init sees them. cgroup2 is not mounted here: a mount
 * that says nothing takes from all others what they were mounted with.
 */
#define RECLAIM		"/sys/fs/cgroup/memory.reclaim"
#define PRESSURE	"/sys/fs/cgroup/memory.pressure"
#define COMPACT_NODE	"/sys/devices/system/node/node%d/compact"
#define COMPACT_ALL	"/proc/sys/vm/compact_memory"

/* Room for what is written to memory.reclaim, for memory.pressure, and for a path. */
#define ORDER_SIZE	48
#define PRESSURE_SIZE	256
#define PATH_SIZE	64

/**
 * struct squeeze_files - what is open
 * @reclaim: memory.reclaim of the root, or an error
 * @pressure: memory.pressure of the root, or an error
 * @files_only: memory.reclaim can be told to take files alone
 */
struct squeeze_files {
	struct file *reclaim;
	struct file *pressure;
	bool files_only;
};

static void close(struct file *file)
{
	if (!IS_ERR(file))
		filp_close(file, NULL);
}

static int put(struct file *file, const char *text)
{
	loff_t pos = 0;
	ssize_t done;

	if (IS_ERR(file))
		return PTR_ERR(file);
	done = kernel_write(file, text, strlen(text), &pos);
	return done < 0 ? done : 0;
}

/**
 * aeration_files_open - open what there is
 *
 * Context: process context of a kernel thread; sleeps.
 * Return: the files, to be closed, or NULL if there is no memory.
 */
struct squeeze_files *aeration_files_open(void)
{
	struct squeeze_files *files = kmalloc(sizeof(*files), GFP_KERNEL);

	if (!files)
		return NULL;
	files->reclaim = compat_open(RECLAIM, O_WRONLY);
	files->pressure = compat_open(PRESSURE, O_RDONLY);
	/* Of nothing, it is only the words that can be wrong. */
	files->files_only = !put(files->reclaim, "0 swappiness=0");
	return files;
}

/**
 * aeration_files_close - close them
 * @files: what aeration_files_open() returned
 *
 * Context: process context; sleeps.
 */
void aeration_files_close(struct squeeze_files *files)
{
	close(files->pressure);
	close(files->reclaim);
	kfree(files);
}

/**
 * aeration_files_reclaim - take pages that have not been used for longest
 * @files: the files
 * @pages: how many
 * @anon: what is swapped may be among them
 *
 * Context: process context; sleeps. A fatal signal ends it.
 * Return: 0; -EAGAIN if it was fewer; -EINTR for a signal; -EOPNOTSUPP if there is no
 *	such way, or none that leaves alone what would be swapped.
 */
int aeration_files_reclaim(struct squeeze_files *files, unsigned long pages,
			   bool anon)
{
	char order[ORDER_SIZE];
	bool room = get_nr_swap_pages() > 0;

	if (IS_ERR(files->reclaim) || (room && !anon && !files->files_only))
		return -EOPNOTSUPP;
	scnprintf(order, sizeof(order), "%llu%s", (u64)pages << PAGE_SHIFT,
		  !anon && files->files_only ? " swappiness=0" : "");
	return put(files->reclaim, order);
}

/**
 * aeration_files_stalled_us - for how long somebody has waited for memory
 * @files: the files
 *
 * Whoever reclaims counts, too: who calls this.
 *
 * Context: process context; sleeps.
 * Return: us since boot, 0 if the kernel does not tell.
 */
u64 aeration_files_stalled_us(struct squeeze_files *files)
{
	char text[PRESSURE_SIZE];
	const char *total;
	loff_t pos = 0;
	ssize_t len;
	u64 us = 0;

	if (IS_ERR(files->pressure))
		return 0;
	len = kernel_read(files->pressure, text, sizeof(text) - 1, &pos);
	text[max_t(ssize_t, len, 0)] = 0;
	/* The first line is of those that waited while others need not have. */
	total = strstr(text, "total=");
	return total && sscanf(total, "total=%llu", &us) == 1 ? us : 0;
}

static int put_in(const char *path)
{
	struct file *file = compat_open(path, O_WRONLY);
	int err = put(file, "1");

	close(file);
	return err;
}

/**
 * aeration_files_compact - bring free memory of a node together
 * @nid: the node; where a kernel knows none it is all of memory
 *
 * Context: process context; sleeps, for as long as that takes. A fatal signal ends it.
 */
void aeration_files_compact(int nid)
{
	char path[PATH_SIZE];

	scnprintf(path, sizeof(path), COMPACT_NODE, nid);
	if (put_in(path) == -ENOENT)
		put_in(COMPACT_ALL);
}
