/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Everything that differs between kernels, in one place. What a kernel has is looked for
 * in its headers: by names here, where a name tells, and otherwise by kernel.mk, which
 * defines COMPAT_HAS_*. The versions in comments are those of the mainline kernel.
 */
#ifndef _AERATION_COMPAT_H
#define _AERATION_COMPAT_H

#include <linux/fs.h>
#include <linux/fs_struct.h>
#include <linux/list.h>
#include <linux/log2.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/mmzone.h>
#include <linux/page_reporting.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/shrinker.h>
#include <linux/swap.h>
#include <linux/timer.h>
#include <linux/virtio_config.h>
#include <linux/vmstat.h>

/* 7.0 gave the balloon core another name. */
#ifdef COMPAT_HAS_BALLOON_H
#include <linux/balloon.h>
#else
#include <linux/balloon_compaction.h>
#endif

/* 6.8 gave the largest order a name of its own. MAX_ORDER was one more until 6.4. */
#ifndef MAX_PAGE_ORDER
#define MAX_PAGE_ORDER	const_ilog2(MAX_ORDER_NR_PAGES)
#endif

/* 6.16 renamed from_timer(). */
#ifndef timer_container_of
#define timer_container_of(var, timer, field)	from_timer(var, timer, field)
#endif

/* 6.10 took the second argument away from __assign_str(). */
#ifdef COMPAT_HAS_ASSIGN_STR_DST
#define compat_assign_str(dst, src)	__assign_str(dst)
#else
#define compat_assign_str(dst, src)	__assign_str(dst, src)
#endif

#ifdef COMPAT_HAS_REPORTING_ORDER
/* mm/page_reporting.c: exported, but declared in no header. */
extern unsigned int page_reporting_order;
#endif

/**
 * struct compat_order - the mm's order of reporting while ours is in force
 * @changed: it was changed, and is put back
 * @was: what it was
 * @is: what it was changed to
 */
struct compat_order {
	bool changed;
	unsigned int was;
	unsigned int is;
};

/**
 * compat_register - register with the kernel's free page reporting
 * @prdev: device info whose report callback is set
 * @order: smallest order to report, 1 to MAX_PAGE_ORDER, or 0 for what the
 *	kernel uses by default
 * @saved: for compat_unregister()
 *
 * Up to 6.1 every registration sets the order. Since then only the first one
 * since boot does, so a wish for another order is written after registering. A
 * pass in between has the other order, and nothing is lost by that.
 *
 * Context: may sleep.
 * Return: 0, or -EBUSY if another driver owns free page reporting.
 */
static inline int compat_register(struct page_reporting_dev_info *prdev,
				  unsigned int order,
				  struct compat_order *saved)
{
	int err;
#ifdef COMPAT_HAS_REPORTING_ORDER
	unsigned int was = READ_ONCE(page_reporting_order);
#endif

#ifdef PAGE_REPORTING_ORDER_UNSPECIFIED
	prdev->order = order ? order : PAGE_REPORTING_ORDER_UNSPECIFIED;
#else
	prdev->order = order;
#endif
	err = page_reporting_register(prdev);
#ifdef COMPAT_HAS_REPORTING_ORDER
	/* An order that was never set is set by registering, and stays. */
	saved->changed = !err && order && was <= MAX_PAGE_ORDER && was != order;
	saved->was = was;
	saved->is = order;
	if (saved->changed)
		WRITE_ONCE(page_reporting_order, order);
#endif
	return err;
}

/**
 * compat_unregister - undo compat_register()
 * @prdev: device info that is registered
 * @saved: what compat_register() left there
 *
 * Context: may sleep; waits for a report under way.
 */
static inline void compat_unregister(struct page_reporting_dev_info *prdev,
				     const struct compat_order *saved)
{
	page_reporting_unregister(prdev);
#ifdef COMPAT_HAS_REPORTING_ORDER
	/* Unless the administrator has written another one since. */
	if (saved->changed && READ_ONCE(page_reporting_order) == saved->is)
		WRITE_ONCE(page_reporting_order, saved->was);
#endif
}

/**
 * compat_reporting_order - smallest order that the mm reports
 * @prdev: device info that is registered
 *
 * Up to 6.1 the administrator's own one cannot be read by a module.
 *
 * Return: an order, 0 to MAX_PAGE_ORDER.
 */
static inline unsigned int
compat_reporting_order(const struct page_reporting_dev_info *prdev)
{
#ifdef COMPAT_HAS_REPORTING_ORDER
	return min_t(unsigned int, READ_ONCE(page_reporting_order),
		     MAX_PAGE_ORDER);
#else
	return prdev->order ? prdev->order : pageblock_order;
#endif
}

/**
 * compat_open - open a file as init finds it
 * @path: where it is
 * @flags: as of open(2)
 *
 * Up to 6.12 kernel threads see what init sees; since 7.0 they have a root of their own.
 *
 * Context: process context of a kernel thread; sleeps.
 * Return: the file, or an error.
 */
static inline struct file *compat_open(const char *path, int flags)
{
	struct file *file;

#ifdef scoped_with_init_fs
	scoped_with_init_fs()
#endif
		file = filp_open(path, flags, 0);
	return file;
}

/**
 * compat_folio_refs - how often a folio was used, as the multi-generational LRU has it
 * @folio: a folio on an LRU
 *
 * Since 6.14 the first use is among them; before, the second one sets the workingset flag,
 * and those after it are counted here.
 *
 * Return: that; 0 where the kernel has no such LRU.
 */
static inline int compat_folio_refs(struct folio *folio)
{
#ifdef CONFIG_LRU_GEN
	return folio_lru_refs(folio);
#else
	return 0;
#endif
}

/**
 * compat_folio_is_young - is a folio in one of the LRU's youngest generations?
 * @folio: a folio on an LRU, locked
 *
 * That is where what was faulted in is, and what was used by page tables since. Right after
 * memory was aged what is read is there, too, as long as there are two generations only.
 *
 * Return: false where the kernel has no such LRU, or it is off.
 */
static inline bool compat_folio_is_young(struct folio *folio)
{
	bool young = false;
#ifdef CONFIG_LRU_GEN
	int gen = folio_lru_gen(folio), nid = folio_nid(folio);
	struct lruvec *lruvec = &NODE_DATA(nid)->__lruvec;
	unsigned long oldest;

	if (gen < 0)
		return false;
	rcu_read_lock();
#ifdef CONFIG_MEMCG
	if (folio_memcg(folio))
		lruvec = &folio_memcg(folio)->nodeinfo[nid]->lruvec;
#endif
	oldest = READ_ONCE(lruvec->lrugen.min_seq[LRU_GEN_FILE]);
	young = gen != lru_gen_from_seq(oldest) &&
		lru_gen_is_active(lruvec, gen);
	rcu_read_unlock();
#endif
	return young;
}

/* Most queues of one device that compat_find_vqs() sets up. */
#define COMPAT_VQS	8

/**
 * struct compat_vq - a virtqueue that is wanted
 * @name: its name, or NULL to leave this entry out
 * @callback: called when the device has used a buffer, in interrupt context
 */
struct compat_vq {
	const char *name;
	vq_callback_t *callback;
};

/**
 * compat_find_vqs - set up virtqueues
 * @vdev: the device, features negotiated
 * @nr: entries of @vqs and @want, at most COMPAT_VQS
 * @vqs: set to the queues, NULL for entries left out
 * @want: the queues wanted; those left out take no queue number
 *
 * Since 6.11 the core takes an array of descriptions instead of three arrays.
 *
 * Context: process context; may sleep.
 * Return: 0 or a negative error with nothing set up.
 */
static inline int compat_find_vqs(struct virtio_device *vdev, unsigned int nr,
				  struct virtqueue *vqs[],
				  const struct compat_vq want[])
{
	unsigned int i;
#ifdef COMPAT_HAS_VIRTQUEUE_INFO
	struct virtqueue_info info[COMPAT_VQS] = { };

	for (i = 0; i < nr && i < COMPAT_VQS; i++) {
		info[i].name = want[i].name;
		info[i].callback = want[i].callback;
	}
	return virtio_find_vqs(vdev, nr, vqs, info, NULL);
#else
	vq_callback_t *callbacks[COMPAT_VQS] = { };
	const char *names[COMPAT_VQS] = { };

	for (i = 0; i < nr && i < COMPAT_VQS; i++) {
		names[i] = want[i].name;
		callbacks[i] = want[i].callback;
	}
	return virtio_find_vqs(vdev, nr, vqs, callbacks, names, NULL);
#endif
}

/**
 * compat_offered - what a device offers, negotiated or not
 * @vdev: the device
 *
 * Since 7.0 there are more than 64 bits, and transports have one of two functions.
 *
 * Context: process context.
 * Return: the first 64 bits.
 */
static inline u64 compat_offered(struct virtio_device *vdev)
{
#ifdef COMPAT_HAS_VIRTIO_FEATURES
	u64 features[VIRTIO_FEATURES_U64S];

	virtio_get_features(vdev, features);
	return features[0];
#else
	return vdev->config->get_features(vdev);
#endif
}

/* Since 7.0 the virtio bus calls a driver when the machine goes down. */
#ifdef COMPAT_HAS_VIRTIO_SHUTDOWN
#define COMPAT_SHUTDOWN(fn)	.shutdown = fn,
#else
#define COMPAT_SHUTDOWN(fn)
#endif

/* What mm_vmscan_direct_reclaim_begin passes on: other things since 7.0. */
#ifdef COMPAT_HAS_RECLAIM_BEGIN_MEMCG
#define COMPAT_DIRECT_RECLAIM_BEGIN_ARGS \
	gfp_t gfp, int order, struct mem_cgroup *memcg
#else
#define COMPAT_DIRECT_RECLAIM_BEGIN_ARGS	int order, gfp_t gfp
#endif

typedef unsigned long compat_shrink_fn(struct shrinker *shrinker,
				       struct shrink_control *sc);

/**
 * struct compat_shrinker - a shrinker: ours up to 6.6, the mm's since 6.7
 * @own: registered as it is
 * @got: got from the mm
 */
struct compat_shrinker {
#ifndef COMPAT_HAS_SHRINKER_ALLOC
	struct shrinker own;
#else
	struct shrinker *got;
#endif
};

/**
 * compat_shrinker_start - begin to take part in memory reclaim
 * @s: where to keep it
 * @name: for debugfs
 * @count: says how many objects there are
 * @scan: frees some
 * @batch: how many objects to ask for at a time
 *
 * Having them again costs no I/O, so the kernel is told to take half of them at
 * once (seeks of 0) and it is for @scan to give no more than is needed. Both are
 * called for each node.
 *
 * Context: process context; may sleep.
 * Return: 0 or a negative error with nothing registered.
 */
static inline int compat_shrinker_start(struct compat_shrinker *s,
					const char *name,
					compat_shrink_fn *count,
					compat_shrink_fn *scan, long batch)
{
#ifndef COMPAT_HAS_SHRINKER_ALLOC
	s->own = (struct shrinker) {
		.count_objects = count,
		.scan_objects = scan,
		.batch = batch,
		.flags = SHRINKER_NUMA_AWARE,
	};
	return register_shrinker(&s->own, "%s", name);
#else
	s->got = shrinker_alloc(SHRINKER_NUMA_AWARE, "%s", name);
	if (!s->got)
		return -ENOMEM;
	s->got->count_objects = count;
	s->got->scan_objects = scan;
	s->got->batch = batch;
	s->got->seeks = 0;
	shrinker_register(s->got);
	return 0;
#endif
}

/**
 * compat_account_reclaimed - have reclaim know of pages that a shrinker freed
 * @pages: how many
 *
 * Without it reclaim takes itself for having got nowhere, and goes for memory
 * that is in use.
 *
 * Context: in a shrinker's scan.
 */
static inline void compat_account_reclaimed(unsigned long pages)
{
#ifdef COMPAT_HAS_ACCOUNT_RECLAIMED
	mm_account_reclaimed_pages(pages);
#else
	if (current->reclaim_state)
		current->reclaim_state->reclaimed_slab += pages;
#endif
}

/**
 * compat_shrinker_stop - undo compat_shrinker_start()
 * @s: what it was started with
 *
 * Context: process context; waits for calls under way.
 */
static inline void compat_shrinker_stop(struct compat_shrinker *s)
{
#ifndef COMPAT_HAS_SHRINKER_ALLOC
	unregister_shrinker(&s->own);
#else
	shrinker_free(s->got);
#endif
}

/*
 * How much reclaim has scanned or taken, pages: since 7.0 that is counted for each node
 * and cgroup, before it was an event.
 */
#ifdef COMPAT_HAS_RECLAIM_PER_NODE
#define compat_reclaim_count(events, item)	global_node_page_state(item)
#define compat_reclaim_sum(event, item)		global_node_page_state(item)
#else
#define compat_reclaim_count(events, item)	((events)[item])
#define compat_reclaim_sum(event, item)		event(item)
#endif

struct compat_balloon;

/*
 * Tells the hypervisor that a page takes the place of another in the balloon. Process
 * context, by whoever compacts memory. Returns 0, or -EAGAIN with nothing changed.
 */
typedef int compat_balloon_moved(struct compat_balloon *balloon, struct page *to,
				 struct page *from);

/**
 * struct compat_balloon - single pages in a balloon, which compaction can move
 * @info: the mm's
 * @moved: see above
 * @managed: the pages are none of those that the zones manage while they are here
 */
struct compat_balloon {
	struct balloon_dev_info info;
	compat_balloon_moved *moved;
	bool managed;
};

/* Up to 6.12 it is for the driver to see to all that follows from a move. */
static inline int compat_balloon_migrate(struct balloon_dev_info *info,
					 struct page *to, struct page *from,
					 enum migrate_mode mode)
{
	struct compat_balloon *b = container_of(info, struct compat_balloon,
						info);
#ifndef COMPAT_HAS_BALLOON_ADJUSTS
	unsigned long flags;
#endif
	int err;

	/* Who must not wait does not get to wait for the hypervisor. */
	if (mode == MIGRATE_ASYNC)
		return -EAGAIN;
	err = b->moved(b, to, from);
#ifndef COMPAT_HAS_BALLOON_ADJUSTS
	if (err)
		return err;
	get_page(to);
	if (b->managed && page_zone(from) != page_zone(to)) {
		adjust_managed_page_count(from, 1);
		adjust_managed_page_count(to, -1);
	}
	spin_lock_irqsave(&info->pages_lock, flags);
	balloon_page_insert(info, to);
	info->isolated_pages--;
#ifdef CONFIG_BALLOON_COMPACTION
	__count_vm_event(BALLOON_MIGRATE);
#endif
	spin_unlock_irqrestore(&info->pages_lock, flags);
	balloon_page_finalize(from);
	put_page(from);
#endif
	return err;
}

/**
 * compat_balloon_init - begin with none
 * @b: the pages
 * @moved: as in struct compat_balloon
 * @managed: likewise
 *
 * Context: any.
 */
static inline void compat_balloon_init(struct compat_balloon *b,
				       compat_balloon_moved *moved, bool managed)
{
	balloon_devinfo_init(&b->info);
	b->info.migratepage = compat_balloon_migrate;
#ifdef COMPAT_HAS_BALLOON_ADJUSTS
	b->info.adjust_managed_page_count = managed;
#endif
	b->moved = moved;
	b->managed = managed;
}

/* Up to 6.12 the driver counts what the zones manage. */
static inline void compat_balloon_manage(const struct compat_balloon *b,
					 struct list_head *pages, long each)
{
#ifndef COMPAT_HAS_BALLOON_ADJUSTS
	struct page *page;

	if (b->managed)
		list_for_each_entry(page, pages, lru)
			adjust_managed_page_count(page, each);
#endif
}

/*
 * Count pages that go into a balloon, or out of it if less than 0, and not by the mm's
 * own functions.
 */
static inline void compat_balloon_count(struct page *page, long pages)
{
#ifdef COMPAT_HAS_BALLOON_PAGES
	mod_node_page_state(page_pgdat(page), NR_BALLOON_PAGES, pages);
#endif
	if (pages > 0)
		count_vm_events(BALLOON_INFLATE, pages);
	else
		count_vm_events(BALLOON_DEFLATE, -pages);
}

/**
 * compat_balloon_enqueue - put pages in
 * @b: where to
 * @pages: the pages, from balloon_page_alloc() or split_page(); empty afterwards
 *
 * Context: process context.
 * Return: how many those were.
 */
static inline unsigned long compat_balloon_enqueue(struct compat_balloon *b,
						   struct list_head *pages)
{
	compat_balloon_manage(b, pages, -1);
	return balloon_page_list_enqueue(&b->info, pages);
}

/**
 * compat_balloon_dequeue - take pages out
 * @b: where from
 * @pages: an empty list; gets them
 * @most: how many at most; those that are being moved are left
 *
 * Context: process context; does not sleep.
 * Return: how many those are.
 */
static inline unsigned long compat_balloon_dequeue(struct compat_balloon *b,
						   struct list_head *pages,
						   unsigned long most)
{
	unsigned long nr = balloon_page_list_dequeue(&b->info, pages, most);

	compat_balloon_manage(b, pages, 1);
	return nr;
}

#endif /* _AERATION_COMPAT_H */
