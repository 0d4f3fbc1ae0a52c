// SPDX-License-Identifier: GPL-2.0
/*
 * What is in the balloon; see pages.h.
 */
#include <linux/gfp.h>
#include <linux/limits.h>
#include <linux/memory_aeration.h>
#include <linux/memory_hotplug.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/page-flags.h>
#include "pages.h"

/*
 * A block is taken only if it is free: without a flag that allows reclaim the allocator
 * neither reclaims nor compacts. It cannot be moved, so it is not taken where all has to
 * be movable.
 */
#define BLOCK_GFP	(__GFP_NOMEMALLOC | __GFP_NORETRY | __GFP_NOWARN)

/* The core is told of so many single pages at a time. */
#define SINGLES		64UL

/**
 * aeration_vb_pages_init - begin with an empty balloon
 * @pages: the balloon
 * @moved: tells the host that a single page takes the place of another
 * @managed: what is in the balloon is none of the guest's pages (MemTotal) meanwhile
 *
 * Context: any.
 */
void aeration_vb_pages_init(struct vb_pages *pages, compat_balloon_moved *moved,
			    bool managed)
{
	compat_balloon_init(&pages->single, moved, managed);
	spin_lock_init(&pages->lock);
	INIT_LIST_HEAD(&pages->blocks);
}

/**
 * aeration_vb_pages_count - how much is in the balloon
 * @pages: the balloon
 *
 * Context: any.
 * Return: pages.
 */
unsigned long aeration_vb_pages_count(struct vb_pages *pages)
{
	return READ_ONCE(pages->nr_blocks) * VB_BLOCK_PAGES +
	       atomic_long_read(&pages->nr_single);
}

/**
 * aeration_vb_load_init - begin with an empty load
 * @load: the load
 *
 * Context: any.
 */
void aeration_vb_load_init(struct vb_load *load)
{
	INIT_LIST_HEAD(&load->blocks);
	INIT_LIST_HEAD(&load->singles);
	load->pages = 0;
}

/**
 * aeration_vb_has_units - can the device be told of pages?
 * @page: the first
 * @nr: how many
 *
 * It has 32 bits for the number of a unit.
 *
 * Context: any.
 * Return: false above 16 TiB.
 */
bool aeration_vb_has_units(struct page *page, unsigned long nr)
{
	return (page_to_pfn(page) + nr) * VB_UNITS - 1 <= U32_MAX;
}

/* What the host takes is no sign of what the guest needs: the core is told. */
static bool take_block(struct vb_load *load)
{
	struct page *page = alloc_pages(BLOCK_GFP, VB_BLOCK_ORDER);

	if (page && !aeration_vb_has_units(page, VB_BLOCK_PAGES)) {
		__free_pages(page, VB_BLOCK_ORDER);
		page = NULL;
	}
	if (!page)
		return false;
	aerator_note_balloon(VB_BLOCK_PAGES);
	list_add_tail(&page->lru, &load->blocks);
	load->pages += VB_BLOCK_PAGES;
	return true;
}

static unsigned long take_singles(struct vb_load *load, unsigned long most)
{
	unsigned long nr;

	most = min(most, SINGLES);
	for (nr = 0; nr < most; nr++) {
		struct page *page = balloon_page_alloc();

		if (page && !aeration_vb_has_units(page, 1)) {
			__free_page(page);
			page = NULL;
		}
		if (!page)
			break;
		list_add_tail(&page->lru, &load->singles);
	}
	aerator_note_balloon(nr);
	load->pages += nr;
	return nr;
}

/**
 * aeration_vb_load_fill - take pages from the guest
 * @load: an empty load; gets them, blocks before single pages
 * @most: pages, at most; single pages are reclaimed if they have to be
 *
 * Context: process context, no lock held that reclaim may want; sleeps.
 */
void aeration_vb_load_fill(struct vb_load *load, unsigned long most)
{
	while (most - load->pages >= VB_BLOCK_PAGES && take_block(load))
		;
	while (load->pages < most && take_singles(load, most - load->pages))
		;
}

/* As the balloon core does with a single page. */
static void set_offline(struct page *page, bool offline)
{
	unsigned long i;

	if (offline)
		page_offline_begin();
	for (i = 0; i < VB_BLOCK_PAGES; i++)
		if (offline)
			__SetPageOffline(page + i);
		else
			__ClearPageOffline(page + i);
	if (offline)
		page_offline_end();
}

static void block_in(struct vb_pages *pages, struct page *page)
{
	set_offline(page, true);
	compat_balloon_count(page, VB_BLOCK_PAGES);
	if (pages->single.managed)
		adjust_managed_page_count(page, -(long)VB_BLOCK_PAGES);
	spin_lock(&pages->lock);
	list_add(&page->lru, &pages->blocks);
	WRITE_ONCE(pages->nr_blocks, pages->nr_blocks + 1);
	spin_unlock(&pages->lock);
}

/* Take a block off the list. */
static void unlist(struct vb_pages *pages, struct page *page)
{
	lockdep_assert_held(&pages->lock);
	list_del(&page->lru);
	WRITE_ONCE(pages->nr_blocks, pages->nr_blocks - 1);
}

/* A block that was taken off the list is a page like others again. */
static void block_out(struct vb_pages *pages, struct page *page)
{
	if (pages->single.managed)
		adjust_managed_page_count(page, VB_BLOCK_PAGES);
	compat_balloon_count(page, -(long)VB_BLOCK_PAGES);
	set_offline(page, false);
}

static struct page *next_block(struct vb_pages *pages)
{
	struct page *page;

	spin_lock(&pages->lock);
	page = list_first_entry_or_null(&pages->blocks, struct page, lru);
	if (page)
		unlist(pages, page);
	spin_unlock(&pages->lock);
	if (page)
		block_out(pages, page);
	return page;
}

/**
 * aeration_vb_load_in - put a load into the balloon
 * @pages: the balloon
 * @load: the load, which the host has taken; empty afterwards
 *
 * Context: process context; may sleep.
 */
void aeration_vb_load_in(struct vb_pages *pages, struct vb_load *load)
{
	struct page *page, *next;
	unsigned long nr = 0;

	list_for_each_entry_safe(page, next, &load->blocks, lru) {
		list_del(&page->lru);
		block_in(pages, page);
	}
	list_for_each_entry(page, &load->singles, lru)
		nr++;
	/* Before others can take them out. */
	atomic_long_add(nr, &pages->nr_single);
	compat_balloon_enqueue(&pages->single, &load->singles);
	aeration_vb_load_init(load);
}

static void singles_out(struct vb_pages *pages, struct vb_load *load,
			unsigned long most)
{
	unsigned long nr = compat_balloon_dequeue(&pages->single,
						  &load->singles, most);

	atomic_long_sub(nr, &pages->nr_single);
	load->pages += nr;
}

/* Make single pages of a block: some for a load, and the others stay in the balloon. */
static void split(struct vb_pages *pages, struct page *page,
		  struct vb_load *load, unsigned long most)
{
	struct vb_load rest;
	unsigned long i;

	aeration_vb_load_init(&rest);
	split_page(page, VB_BLOCK_ORDER);
	for (i = 0; i < VB_BLOCK_PAGES; i++)
		list_add_tail(&page[i].lru,
			      i < most ? &load->singles : &rest.singles);
	load->pages += most;
	aeration_vb_load_in(pages, &rest);
}

/**
 * aeration_vb_load_out - take pages out of the balloon
 * @pages: the balloon
 * @load: an empty load; gets them, single pages before blocks
 * @most: pages, at most; there may be fewer while some are being moved
 *
 * Context: process context, by who is out of memory too; may sleep; allocates nothing.
 */
void aeration_vb_load_out(struct vb_pages *pages, struct vb_load *load,
			  unsigned long most)
{
	struct page *page;

	singles_out(pages, load, most);
	while (most - load->pages >= VB_BLOCK_PAGES) {
		page = next_block(pages);
		if (!page)
			return;
		list_add_tail(&page->lru, &load->blocks);
		load->pages += VB_BLOCK_PAGES;
	}
	if (load->pages || !most)
		return;
	page = next_block(pages);
	if (page)
		split(pages, page, load, most);
}

/**
 * aeration_vb_load_from - take the blocks out of the balloon that lie somewhere
 * @pages: the balloon
 * @load: an empty load; gets them
 * @pfn: number of the first page there
 * @end: and of the first behind
 *
 * Context: process context; may sleep; allocates nothing.
 */
void aeration_vb_load_from(struct vb_pages *pages, struct vb_load *load,
			   unsigned long pfn, unsigned long end)
{
	struct page *page, *next;

	spin_lock(&pages->lock);
	list_for_each_entry_safe(page, next, &pages->blocks, lru) {
		if (page_to_pfn(page) < pfn || page_to_pfn(page) >= end)
			continue;
		unlist(pages, page);
		list_add_tail(&page->lru, &load->blocks);
		load->pages += VB_BLOCK_PAGES;
	}
	spin_unlock(&pages->lock);
	list_for_each_entry(page, &load->blocks, lru)
		block_out(pages, page);
}

/**
 * aeration_vb_page_units - list pages as the device wants to see them
 * @page: the first
 * @nr: how many
 * @vdev: the device
 * @unit: gets the numbers of the units of 4 KiB; room for VB_UNITS each page
 *
 * Context: any.
 * Return: how many units those are.
 */
unsigned int aeration_vb_page_units(struct page *page, unsigned long nr,
				    struct virtio_device *vdev, __virtio32 *unit)
{
	unsigned long first = page_to_pfn(page) * VB_UNITS, i;

	for (i = 0; i < nr * VB_UNITS; i++)
		unit[i] = cpu_to_virtio32(vdev, first + i);
	return i;
}

/**
 * aeration_vb_load_units - list a load likewise
 * @load: the load
 * @vdev: the device
 * @unit: gets the numbers of the units of 4 KiB; room for VB_UNITS each page
 *
 * Context: any.
 * Return: how many units those are.
 */
unsigned int aeration_vb_load_units(const struct vb_load *load,
				    struct virtio_device *vdev, __virtio32 *unit)
{
	unsigned int nr = 0;
	struct page *page;

	list_for_each_entry(page, &load->blocks, lru)
		nr += aeration_vb_page_units(page, VB_BLOCK_PAGES, vdev,
					     unit + nr);
	list_for_each_entry(page, &load->singles, lru)
		nr += aeration_vb_page_units(page, 1, vdev, unit + nr);
	return nr;
}

/*
 * Freed in one piece, a huge page goes to a list of this CPU's, where nobody but
 * another huge page finds it. In two halves it goes where everybody finds it.
 */
static void free_block(struct page *page)
{
	struct page *half = page + VB_BLOCK_PAGES / 2;

	init_page_count(half);
	__free_pages(half, VB_BLOCK_ORDER - 1);
	__free_pages(page, VB_BLOCK_ORDER - 1);
}

/**
 * aeration_vb_load_free - give a load to the guest
 * @load: the load, which the host does not take, or has given back; empty afterwards
 *
 * Context: process context, by who is out of memory too; does not sleep.
 */
void aeration_vb_load_free(struct vb_load *load)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, &load->blocks, lru) {
		list_del(&page->lru);
		free_block(page);
	}
	list_for_each_entry_safe(page, next, &load->singles, lru) {
		list_del(&page->lru);
		put_page(page);
	}
	aeration_vb_load_init(load);
}
