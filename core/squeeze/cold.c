// SPDX-License-Identifier: GPL-2.0
/*
 * Take cached files that were read once, through memory from its first page frame on;
 * see squeeze.h.
 *
 * What is taken is clean, mapped by nobody, and was read once since it was cached; nor
 * does it belong to a cgroup with memory.min or memory.low, nor was it taken before and
 * read again. It goes as if a program had called posix_fadvise(2) with
 * POSIX_FADV_DONTNEED.
 *
 * What is found stays as follows: the folio is held by a reference, and its lock keeps
 * the mapping and so the file system there; then s_umount, as nobody may hold an inode of
 * a file system that is unmounted; then the inode. The folio is let go of before anything
 * is taken. All of these are tried, none is waited for. A file system that is frozen is
 * left alone, and a file that has no name any more: who holds the last inode of one has
 * to delete it, and that would wait for the other.
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
#define STRIDE		1024UL

/* Most pages that are taken at once, and until the clock is looked at again. */
#define RANGE_MOST	4096

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

/**
 * struct walk - a walk through memory
 * @pfn: the next page frame
 * @end: after the last one
 * @known: up to here each has a struct page, unless somebody sleeps
 */
struct walk {
	unsigned long pfn;
	unsigned long end;
	unsigned long known;
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
	       compat_folio_refs(folio) > 1 || compat_folio_is_young(folio);
}

static bool is_file(struct folio *folio)
{
	return folio_test_lru(folio) && !folio_test_unevictable(folio) &&
	       !folio_test_swapbacked(folio) && !folio_test_anon(folio);
}

/* What was read ahead may be about to be read, unless nobody is at work. */
static bool is_cold(struct folio *folio, bool idle)
{
	return is_file(folio) && folio->mapping && !folio_mapped(folio) &&
	       !folio_test_dirty(folio) && !folio_test_writeback(folio) &&
	       (idle || folio_test_referenced(folio)) &&
	       !is_used_again(folio) && !is_protected(folio);
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
	if (page_folio(page) == folio && folio_trylock(folio))
		return folio;
	folio_put(folio);
	return NULL;
}

static void put_file_folio(struct folio *folio)
{
	folio_unlock(folio);
	folio_put(folio);
}

/* May a file of it be held for a while? s_umount is. */
static bool is_open(const struct super_block *sb)
{
	return sb->s_root && (sb->s_flags & SB_BORN) &&
	       sb->s_writers.frozen == SB_UNFROZEN;
}

/* Begin a range with a locked folio, unless its file cannot be held. */
static void open_range(struct cold_range *range, struct folio *folio)
{
	struct address_space *mapping = folio->mapping;
	struct inode *inode = mapping->host;

	/* Some file systems have pages that are an inode's by name alone. */
	if (!inode || mapping != &inode->i_data ||
	    !down_read_trylock(&inode->i_sb->s_umount))
		return;
	if (!is_open(inode->i_sb) || !inode->i_nlink || !igrab(inode)) {
		up_read(&inode->i_sb->s_umount);
		return;
	}
	range->mapping = mapping;
	range->first = folio->index;
	range->end = folio->index;
}

/* Return: how many pages were taken. Sleeps. */
static unsigned long close_range(struct cold_range *range)
{
	struct inode *inode = range->mapping->host;
	struct super_block *sb = inode->i_sb;
	unsigned long pages;

	pages = invalidate_mapping_pages(range->mapping, range->first,
					 range->end - 1);
	if (pages)
		aeration_again_note(inode, range->first, range->end);
	*range = (struct cold_range){ };
	iput(inode);
	up_read(&sb->s_umount);
	return pages;
}

static bool is_next(const struct cold_range *range, const struct folio *folio)
{
	return folio->mapping == range->mapping && folio->index == range->end &&
	       range->end - range->first < RANGE_MOST;
}

static bool came_back(const struct folio *folio)
{
	return folio->mapping->host &&
	       aeration_again_came(folio->mapping->host, folio->index);
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

static void begin(struct walk *walk, unsigned long pfn)
{
	*walk = (struct walk){ .pfn = pfn, .end = end_pfn() };
}

/*
 * Go to a page frame that has a struct page. Memory may go away while others run.
 * Return: false if there is none, or a signal came.
 */
static bool go_on(struct walk *walk)
{
	if (walk->pfn < walk->known)
		return true;
	if (signal_pending(current))
		return false;
	cond_resched();
	while (walk->pfn < walk->end && !pfn_to_online_page(walk->pfn))
		walk->pfn = ALIGN(walk->pfn + 1, PAGES_PER_SECTION);
	walk->known = min(walk->end, ALIGN(walk->pfn + 1,
					   min(STRIDE, PAGES_PER_SECTION)));
	return walk->pfn < walk->end;
}

/*
 * Look at what begins here, and go past it; or take what was found before if it does not
 * go on there, and stay. Return: how many pages were taken.
 */
static unsigned long look_at(struct walk *walk, struct cold_range *range,
			     bool idle)
{
	struct folio *folio = get_file_folio(walk->pfn);
	unsigned long pages = folio ? folio_nr_pages(folio) : 1;

	if (folio && is_cold(folio, idle) && !came_back(folio)) {
		if (range->mapping && !is_next(range, folio)) {
			put_file_folio(folio);
			/* Nothing is known of memory afterwards. */
			walk->known = 0;
			return close_range(range);
		}
		if (!range->mapping)
			open_range(range, folio);
		if (range->mapping)
			range->end += pages;
	}
	if (folio)
		put_file_folio(folio);
	walk->pfn += pages;
	return 0;
}

/**
 * aeration_cold_take - take files that were read once
 * @pfn: where to go on in memory, 0 at first; set to where it ended
 * @pages: no more than this, but for the last folio
 * @us: no longer than this, and one range, us
 * @idle: nobody is at work, so what was read ahead and not read goes, too
 * @taken: so many pages were, is added to this
 *
 * Context: process context, no lock held; sleeps. A signal ends it, too.
 * Return: false once all of memory was looked at.
 */
bool aeration_cold_take(unsigned long *pfn, unsigned long pages, u64 us,
			bool idle, unsigned long *taken)
{
	ktime_t until = ktime_add_us(ktime_get(), us);
	struct cold_range range = { };
	unsigned long had = 0;
	struct walk walk;

	begin(&walk, *pfn);
	while (had + (range.end - range.first) < pages) {
		if (walk.pfn >= walk.known &&
		    (!go_on(&walk) || ktime_after(ktime_get(), until)))
			break;
		had += look_at(&walk, &range, idle);
	}
	if (range.mapping)
		had += close_range(&range);
	*taken += had;
	*pfn = walk.pfn;
	return walk.pfn < walk.end;
}

/**
 * aeration_cold_again - how much of what was taken is cached again
 * @learn: remember that it has come back, so that it stays from now on
 *
 * Goes through all of memory.
 *
 * Context: process context, no lock held; may sleep. A signal ends it.
 * Return: pages, about.
 */
unsigned long aeration_cold_again(bool learn)
{
	unsigned long pages = 0;
	struct folio *folio;
	struct walk walk;

	begin(&walk, 0);
	while (go_on(&walk)) {
		folio = get_file_folio(walk.pfn);
		walk.pfn += folio ? folio_nr_pages(folio) : 1;
		if (!folio)
			continue;
		if (folio->mapping && folio->mapping->host)
			pages += aeration_again_find(folio->mapping->host,
						     folio->index,
						     folio->index +
						     folio_nr_pages(folio),
						     learn);
		put_file_folio(folio);
	}
	return pages;
}
