// SPDX-License-Identifier: GPL-2.0
/*
 * Take cached files that were read once, through memory from its first page frame on;
 * see squeeze.h.
 *
 * What is taken is clean, mapped by nobody, and was not read again since it was cached;
 * nor does it belong to a cgroup with memory.min or memory.low. It goes as if a program
 * had called posix_fadvise(2) with POSIX_FADV_DONTNEED.
 *
 * What is found stays as follows: the folio is held by a reference, and its lock keeps
 * the mapping and so the file system there; then s_umount, as nobody may hold an inode of
 * a file system that is unmounted; then the inode. The folio is let go of before anything
 * is taken. All of these are tried, none is waited for.
 */
#include <linux/fs.h>
#include <linux/ktime.h>
#include <linux/memcontrol.h>
#include <linux/memory_hotplug.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/nodemask.h>
#include <linux/pagemap.h>
#include <linux/rcupdate.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <aeration/compat.h>
#include "squeeze.h"

/* How many page frames go by between two looks at the clock. */
#define STRIDE	1024

/**
 * struct cold_range - pages of one file that are about to be taken
 * @mapping: its pages; NULL: none are
 * @first: index of the first one
 * @end: index after the last one
 *
 * While there is one its inode is held, and s_umount of its file system.
 */
struct cold_range {
	struct address_space *mapping;
	pgoff_t first;
	pgoff_t end;
};

/* Is it of a cgroup that should keep what it has, or below one? */
static bool is_protected(struct folio *folio)
{
#ifdef CONFIG_MEMCG
	struct mem_cgroup *memcg;
	bool protected = false;

	rcu_read_lock();
	for (memcg = folio_memcg(folio); memcg && !protected;
	     memcg = parent_mem_cgroup(memcg))
		protected = READ_ONCE(memcg->memory.min) ||
			    READ_ONCE(memcg->memory.low);
	rcu_read_unlock();
	return protected;
#else
	return false;
#endif
}

/*
 * Both LRUs of the kernel: either keeps what it knows in other flags. What goes through a
 * pipe, as with sendfile(2), counts as used again where a folio has more than fits in.
 */
static bool is_used_again(struct folio *folio)
{
	return folio_test_active(folio) || folio_test_workingset(folio) ||
	       compat_folio_refs(folio) > 1;
}

static bool is_file(struct folio *folio)
{
	return folio_test_lru(folio) && !folio_test_unevictable(folio) &&
	       !folio_test_swapbacked(folio) && !folio_test_anon(folio);
}

static bool is_cold(struct folio *folio)
{
	return is_file(folio) && !folio_mapped(folio) &&
	       !folio_test_dirty(folio) && !folio_test_writeback(folio) &&
	       !is_used_again(folio);
}

/* A folio that begins here, is of a file and stays; or NULL. To be put. */
static struct folio *get_file_folio(unsigned long pfn)
{
	struct page *page = pfn_to_page(pfn);
	struct folio *folio;

	if (PageTail(page))
		return NULL;
	folio = page_folio(page);
	if (!is_file(folio) || !folio_try_get(folio))
		return NULL;
	if (page_folio(page) == folio && is_file(folio) && folio_trylock(folio))
		return folio;
	folio_put(folio);
	return NULL;
}

static void put_file_folio(struct folio *folio)
{
	folio_unlock(folio);
	folio_put(folio);
}

static bool is_next(const struct cold_range *range, struct folio *folio)
{
	return range->mapping && folio->mapping == range->mapping &&
	       folio->index == range->end;
}

/* Begin a range with a locked folio. Return: false if its file cannot be held. */
static bool open_range(struct cold_range *range, struct folio *folio)
{
	struct address_space *mapping = folio->mapping;
	struct inode *inode = mapping ? mapping->host : NULL;

	/* Some file systems have pages that are an inode's by name alone. */
	if (!inode || mapping != &inode->i_data ||
	    !down_read_trylock(&inode->i_sb->s_umount))
		return false;
	if (!inode->i_sb->s_root || !igrab(inode)) {
		up_read(&inode->i_sb->s_umount);
		return false;
	}
	range->mapping = mapping;
	range->first = folio->index;
	range->end = folio->index;
	return true;
}

/* Return: how many pages were taken. */
static unsigned long close_range(struct cold_range *range)
{
	struct inode *inode;
	struct super_block *sb;
	unsigned long pages;

	if (!range->mapping)
		return 0;
	inode = range->mapping->host;
	sb = inode->i_sb;
	aeration_again_note(inode, range->first, range->end);
	pages = invalidate_mapping_pages(range->mapping, range->first,
					 range->end - 1);
	range->mapping = NULL;
	iput(inode);
	up_read(&sb->s_umount);
	return pages;
}

/* Look at the page frame. Return: how many pages were taken, of those before. */
static unsigned long look_at(unsigned long pfn, struct cold_range *range)
{
	struct folio *folio = get_file_folio(pfn);
	unsigned long pages = 0;

	if (!folio)
		return 0;
	if (is_cold(folio) && folio->mapping && !is_protected(folio)) {
		if (!is_next(range, folio)) {
			pages = close_range(range);
			open_range(range, folio);
		}
		if (range->mapping)
			range->end += folio_nr_pages(folio);
	}
	put_file_folio(folio);
	return pages;
}

/* One past the last page frame. */
static unsigned long end_pfn(void)
{
	unsigned long end = 0;
	int nid;

	for_each_online_node(nid)
		end = max(end, node_end_pfn(nid));
	return end;
}

/* The next page frame that has a struct page, from this one on. */
static unsigned long online_from(unsigned long pfn, unsigned long end)
{
	while (pfn < end && !pfn_to_online_page(pfn))
		pfn = ALIGN(pfn + 1, PAGES_PER_SECTION);
	return min(pfn, end);
}

/**
 * aeration_cold_take - take files that were read once
 * @pfn: where to go on in memory, 0 at first; set to where it ended
 * @pages: no more than this, but for the last folio
 * @us: no longer than this, us
 * @taken: so many pages were, is added to this
 *
 * Context: process context, no lock held; sleeps. A signal ends it, too.
 * Return: false once all of memory was looked at.
 */
bool aeration_cold_take(unsigned long *pfn, unsigned long pages, u64 us,
			unsigned long *taken)
{
	ktime_t until = ktime_add_us(ktime_get(), us);
	unsigned long end = end_pfn(), had = 0, at = *pfn;
	struct cold_range range = { };

	while (at < end && had + (range.end - range.first) < pages) {
		if (!(at % STRIDE)) {
			at = online_from(at, end);
			if (signal_pending(current) ||
			    ktime_after(ktime_get(), until))
				break;
			cond_resched();
		}
		if (at < end)
			had += look_at(at++, &range);
	}
	had += close_range(&range);
	*taken += had;
	*pfn = at;
	return at < end;
}

/**
 * aeration_cold_again - how much of what was taken is cached again
 *
 * Goes through all of memory.
 *
 * Context: process context, no lock held; may sleep. A signal ends it.
 * Return: pages, about.
 */
unsigned long aeration_cold_again(void)
{
	unsigned long end = end_pfn(), pages = 0, pfn;
	struct folio *folio;

	for (pfn = 0; pfn < end; pfn++) {
		if (!(pfn % STRIDE)) {
			pfn = online_from(pfn, end);
			if (pfn == end || signal_pending(current))
				break;
			cond_resched();
		}
		folio = get_file_folio(pfn);
		if (!folio)
			continue;
		if (folio->mapping && folio->mapping->host)
			pages += aeration_again_find(folio->mapping->host,
						     folio->index,
						     folio->index +
						     folio_nr_pages(folio));
		put_file_folio(folio);
	}
	return pages;
}
