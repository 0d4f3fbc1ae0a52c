/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What is in the balloon: blocks of 2 MiB, and single pages.
 *
 * A block costs the guest one huge page, and the host can give back one as a whole. A
 * single page can be moved by compaction, in whose way it would be otherwise. All of it
 * is marked PageOffline: whoever dumps memory leaves it out.
 *
 * A load is what is on its way into the balloon, or out of it. It belongs to who has it.
 */
#ifndef _AERATION_VIRTIO_PAGES_H
#define _AERATION_VIRTIO_PAGES_H

#include <linux/bits.h>
#include <linux/list.h>
#include <linux/log2.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/virtio.h>
#include <aeration/compat.h>

/* Order of a block, and pages in it. */
#define VB_BLOCK_ORDER	(ilog2(SZ_2M) - PAGE_SHIFT)
#define VB_BLOCK_PAGES	BIT(VB_BLOCK_ORDER)

/* The device counts in units of 4 KiB, virtio 1.2, 5.5.6; so many are a page. */
#define VB_UNITS	(PAGE_SIZE / SZ_4K)

/**
 * struct vb_pages - what is in the balloon
 * @single: the single pages, and who moves them
 * @nr_single: how many, those that are being moved included
 * @lock: protects what follows
 * @blocks: the blocks, by the list entries of their first pages
 * @nr_blocks: how many
 */
struct vb_pages {
	struct compat_balloon single;
	atomic_long_t nr_single;
	spinlock_t lock;	/* see above */
	struct list_head blocks;
	unsigned long nr_blocks;
};

/**
 * struct vb_load - a load
 * @blocks: blocks, by the list entries of their first pages
 * @singles: single pages
 * @pages: how many pages that is
 */
struct vb_load {
	struct list_head blocks;
	struct list_head singles;
	unsigned long pages;
};

void aeration_vb_pages_init(struct vb_pages *pages, compat_balloon_moved *moved,
			    bool managed);
unsigned long aeration_vb_pages_count(struct vb_pages *pages);
void aeration_vb_load_init(struct vb_load *load);
void aeration_vb_load_fill(struct vb_load *load, unsigned long most);
void aeration_vb_load_in(struct vb_pages *pages, struct vb_load *load);
void aeration_vb_load_out(struct vb_pages *pages, struct vb_load *load,
			  unsigned long most);
void aeration_vb_load_from(struct vb_pages *pages, struct vb_load *load,
			   unsigned long pfn, unsigned long end);
bool aeration_vb_has_units(struct page *page, unsigned long nr);
unsigned int aeration_vb_page_units(struct page *page, unsigned long nr,
				    struct virtio_device *vdev, __virtio32 *unit);
unsigned int aeration_vb_load_units(const struct vb_load *load,
				    struct virtio_device *vdev, __virtio32 *unit);
void aeration_vb_load_free(struct vb_load *load);

#endif /* _AERATION_VIRTIO_PAGES_H */
