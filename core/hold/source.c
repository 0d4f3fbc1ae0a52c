// SPDX-License-Identifier: GPL-2.0
/*
 * The life of the hold source, and what is to be done at each tick; see hold.h.
 *
 * A hypervisor that has no memory to give back leaves blocks held when the source
 * is stopped: it goes on as *keeping*. When the device goes away, too, they stay in
 * the pool, and come back when the same backend starts again.
 */
#define pr_fmt(fmt) "aeration: " fmt

#include <linux/mm.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/reboot.h>
#include <linux/string.h>
#include "../choose/choose.h"
#include "../pace/watch.h"
#include "hold.h"

/* What the reboot notifiers are told when another kernel is about to be started. */
#define KEXEC_COMMAND	"kexec reboot"

/*
 * How often to try to get everything back before something ends: when the source
 * is stopped, when it is stopped again, and when another kernel is about to start.
 */
#define STOP_TRIES	25
#define AGAIN_TRIES	1
#define KEXEC_TRIES	50

/* Least time before a restore that brought nothing is tried again, ms. */
#define RETRY_MIN_MS	100

/* How often to look while something is on its way out, and while much is dirty, ms. */
#define GIVING_MS	100
#define DIRTY_MS	5000

/**
 * enum life - see hold.h
 * @LIFE_EMPTY: nothing is held, nothing registered
 * @LIFE_GIVING: surrenders and restores
 * @LIFE_KEEPING: restores
 */
enum life {
	LIFE_EMPTY,
	LIFE_GIVING,
	LIFE_KEEPING,
};

/**
 * struct hold - the one hold source; what is not marked belongs to the registry's mutex
 * @life: where it is in its life; read by the tick
 * @dev: the device while it is not empty; read by the tick
 * @fail: what the registry wants to be called when the device is of no use
 * @failed: that was done; the tick's
 * @owner: name of the backend whose blocks are in the pool; a constant
 * @stranded: the device went with blocks in the pool; the core must stay loaded
 * @reboot: for a kernel started by kexec; registered as long as the core is loaded
 */
static struct hold {
	enum life life;
	struct aerator_dev_info *dev;
	void (*fail)(struct aerator_dev_info *dev, const char *why);
	bool failed;
	const char *owner;
	bool stranded;
	struct notifier_block reboot;
} hold;

/**
 * aeration_hold_is_for - is this the device that the source has?
 * @dev: a device
 *
 * Context: any. The answer may be about to change.
 * Return: true if so.
 */
bool aeration_hold_is_for(const struct aerator_dev_info *dev)
{
	return READ_ONCE(hold.dev) == dev;
}

static unsigned long held_mib(void)
{
	return aeration_blocks_held_pages() >> (20 - PAGE_SHIFT);
}

/* How many blocks are held beyond what may be. */
static unsigned long excess(void)
{
	unsigned long max = aeration_need_may_hold();
	unsigned long due = aeration_blocks_due() << aeration_blocks_order();

	return due > max ? aeration_blocks_of(due - max) : 0;
}

/* When a restore that brought nothing is tried again, ms. */
static int retry_ms(void)
{
	return max_t(int, aeration_restore_pause_ms(), RETRY_MIN_MS);
}

/*
 * The guest needs blocks, or has too many held, or all of them are to come back.
 * Return: when to look again, or WATCH_IDLE if nothing of that is so.
 */
static int bring_back(void)
{
	unsigned long blocks = aeration_need_wanted();

	if (blocks)
		return aeration_restore_needed(blocks, NUMA_NO_NODE, false,
					       NULL) ? 0 : retry_ms();
	aeration_restore_content();
	aeration_restore_settle();
	if (READ_ONCE(hold.life) == LIFE_KEEPING &&
	    !aeration_restore_is_spoiled())
		blocks = aeration_blocks_due();
	else
		blocks = excess();
	/* Nobody needs one; but does the hypervisor have any again? */
	if (!blocks && aeration_account_is_withheld())
		blocks = min(aeration_blocks_due(), 1UL);
	if (blocks)
		return aeration_restore_excess(blocks) ? 0 : retry_ms();
	return WATCH_IDLE;
}

/* Let go of surplus. Return: when to look again. */
static int let_go(unsigned long surplus)
{
	u32 pause = max(aeration_need_pause_ms(), aeration_surrender_pause_ms());

	if (pause)
		return pause;
	if (aeration_surrender_kick(surplus))
		return GIVING_MS;
	return aeration_need_is_dirty() ? DIRTY_MS : WATCH_IDLE;
}

/* Return: when to look again, though memory does not move. */
static int bring_or_give(unsigned long surplus)
{
	int next = bring_back();

	if (READ_ONCE(hold.life) != LIFE_GIVING)
		return next;
	if (aeration_restore_is_spoiled() && !hold.failed) {
		hold.failed = true;
		hold.fail(hold.dev, "too many blocks came back in a state that is not known");
	}
	return next == WATCH_IDLE ? let_go(surplus) : next;
}

/* While memory moves the floor has to follow. */
static int hold_tick(const struct watch_sample *sample)
{
	int next = bring_or_give(sample->surplus);

	if (sample->settled)
		return next;
	return next == WATCH_IDLE ? sample->period_ms :
				    min(next, sample->period_ms);
}

/* The deferrable timers ask: what memory does in a moment may be too much by then. */
static bool hold_urgent(void)
{
	return aeration_need_wanted() && !aeration_restore_pause_ms();
}

/* How often a CPU that does something looks whether memory is needed, ms. */
#define LOOK_MS		8

static const struct watch_ops hold_watch_ops = {
	.read = aeration_need_read_unused,
	.sampled = aeration_need_sampled,
	.tick = hold_tick,
	.urgent = hold_urgent,
	.period_max_ms = LOOK_MS,
};

static void restart_window(void)
{
	aeration_watch_restart(aeration_need_keep(), aeration_blocks_order());
}

/*
 * End: nothing is held, or the device goes. In this order: who is told of need
 * calls the watch, and the watch calls all the others.
 */
static void take_down(void)
{
	aeration_reclaim_stop();
	aeration_watch_stop();
	aeration_surrender_end();
	aeration_restore_stop();
	WRITE_ONCE(hold.life, LIFE_EMPTY);
	WRITE_ONCE(hold.dev, NULL);
}

static bool may_have_pool(const struct aerator_dev_info *dev)
{
	if (!aeration_blocks_held_pages() || !strcmp(hold.owner, dev->ops->name))
		return true;
	pr_err("%s cannot start: %lu MiB are held by %s; load that backend again to get them back\n",
	       dev->ops->name, held_mib(), hold.owner);
	return false;
}

static void go_on(void)
{
	aeration_restore_again();
	hold.failed = false;
	restart_window();
	WRITE_ONCE(hold.life, LIFE_GIVING);
	aeration_surrender_go_on(SURRENDER_OFF);
}

static int hold_start(struct aerator_dev_info *dev,
		      void (*fail)(struct aerator_dev_info *dev,
				   const char *why))
{
	int err;

	hold.fail = fail;
	if (hold.life == LIFE_KEEPING) {
		go_on();
		return 0;
	}
	if (!may_have_pool(dev))
		return -EEXIST;
	WRITE_ONCE(hold.dev, dev);
	hold.failed = false;
	/* The backend's own copy of its name goes away with its module. */
	hold.owner = aeration_choose_name(aeration_choose_parse(dev->ops->name));
	err = aeration_restore_start(dev);
	if (err) {
		WRITE_ONCE(hold.dev, NULL);
		return err;
	}
	aeration_need_init();
	smp_mb();	/* after hold.dev is written: see aerator_limit_held() */
	aeration_need_limit_held(READ_ONCE(dev->limit));
	aeration_surrender_start(dev);
	WRITE_ONCE(hold.life, LIFE_GIVING);
	aeration_watch_start(&hold_watch_ops, aeration_need_keep(),
			     aeration_blocks_order());
	err = aeration_reclaim_start();
	if (err) {
		aeration_watch_stop();
		aeration_surrender_end();
		aeration_restore_stop();
		hold.life = LIFE_EMPTY;
		WRITE_ONCE(hold.dev, NULL);
		return err;
	}
	if (hold.stranded)
		module_put(THIS_MODULE);
	hold.stranded = false;
	aeration_surrender_go_on(SURRENDER_OFF);
	aeration_watch_kick();
	return 0;
}

/* Whoever runs out of memory meanwhile still gets some. */
static bool hold_stop(void)
{
	bool again = hold.life == LIFE_KEEPING;

	aeration_surrender_stop(SURRENDER_OFF);
	WRITE_ONCE(hold.life, LIFE_KEEPING);
	aeration_restore_all(again ? AGAIN_TRIES : STOP_TRIES, NULL);
	if (!aeration_blocks_held_pages()) {
		take_down();
		return true;
	}
	if (!again && !aeration_blocks_due())
		pr_info("the host has forfeited %lu MiB; they come back when it says so\n",
			held_mib());
	else if (!again)
		pr_err("the hypervisor did not give back %lu MiB; they are asked for every now and then, and come back when it has them; backend %s cannot be unloaded before\n",
		       held_mib(), hold.owner);
	aeration_watch_kick();
	return false;
}

static void hold_end(void)
{
	aeration_restore_all(AGAIN_TRIES, NULL);
	take_down();
	if (!aeration_blocks_held_pages())
		return;
	__module_get(THIS_MODULE);
	hold.stranded = true;
	pr_err("the hypervisor did not give back %lu MiB; they stay out of use until backend %s starts again and gets them, and the core can not be unloaded before\n",
	       held_mib(), hold.owner);
}

static void hold_retune(void)
{
	aeration_watch_retune(aeration_need_keep(), aeration_blocks_order());
}

/*
 * A surplus that was there before is none any more once everything is back: it
 * would go again at once.
 */
static int hold_restore(bool (*cancelled)(void))
{
	bool all;

	aeration_surrender_stop(SURRENDER_RECALL);
	restart_window();
	all = aeration_restore_all(STOP_TRIES, cancelled);
	restart_window();
	aeration_surrender_go_on(SURRENDER_RECALL);
	if (all)
		return 0;
	return cancelled() ? -EINTR : -EAGAIN;
}

const struct source aeration_hold_source = {
	.start = hold_start,
	.stop = hold_stop,
	.end = hold_end,
	.retune = hold_retune,
	.flush = aeration_surrender_flush,
	.restore = hold_restore,
	.order = aeration_blocks_order,
};

/* What has no backing, in MiB. */
static unsigned long unbacked_mib(void)
{
	return (aeration_blocks_held_pages() +
		(aeration_blocks_count(AERATOR_BLOCK_QUARANTINED)
		 << aeration_blocks_order())) >> (20 - PAGE_SHIFT);
}

/*
 * A kernel that kexec starts knows nothing of holes in its memory. Any other
 * restart, and a power-off, ends this guest's memory altogether.
 */
static int on_reboot(struct notifier_block *nb, unsigned long action,
		     void *command)
{
	if (action != SYS_RESTART || !command || strcmp(command, KEXEC_COMMAND))
		return NOTIFY_DONE;
	aeration_surrender_stop(SURRENDER_LEAVING);
	aeration_restore_all(KEXEC_TRIES, NULL);
	if (unbacked_mib())
		pr_emerg("%lu MiB have no backing: a kernel started by kexec will fail when it touches them\n",
			 unbacked_mib());
	return NOTIFY_DONE;
}

/**
 * aeration_hold_init - prepare what a source starts with
 *
 * Context: process context, once, before anything else here.
 * Return: 0 or a negative error.
 */
int aeration_hold_init(void)
{
	aeration_blocks_init();
	hold.reboot.notifier_call = on_reboot;
	return register_reboot_notifier(&hold.reboot);
}

/**
 * aeration_hold_exit - say what the guest loses for good
 *
 * Context: process context, when the core is unloaded.
 */
void aeration_hold_exit(void)
{
	unregister_reboot_notifier(&hold.reboot);
	if (unbacked_mib())
		pr_err("unloaded with %lu MiB that are not backed: they are lost to this guest until it boots again\n",
		       unbacked_mib());
}
