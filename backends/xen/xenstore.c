// SPDX-License-Identifier: GPL-2.0
/*
 * Tell the toolstack, in data/aeration of the domain's own folder in xenstore:
 *	held		what is held, KiB; without what is forfeited, which the target of
 *			the domain has counted already
 *	starved		1 while the domain needs some of it and Xen does not give it
 *	answer		what became of the last thing that was asked for, see control.c
 * The folder data/ of a domain is its own to write (libxl makes it so).
 *
 * The core says how much is held with a spinlock held, maybe in memory reclaim;
 * writing it allocates memory and waits for another domain. So a work item writes, one
 * node a second; it is frozen while the domain is saved. It reads what it writes after
 * it has become possible to queue it again, so that the last value is always written.
 */
#define pr_fmt(fmt) "aeration_xen: " fmt

#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/notifier.h>
#include <linux/printk.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/workqueue.h>
#include <xen/xenbus.h>
#include "xb.h"

#define STORE_DIR	"data/aeration"

/* Least time between two writes. */
#define STORE_PERIOD	HZ

/**
 * enum node - what is written, the most urgent first
 * @ANSWER: what became of the last thing that was asked for
 * @STARVED: the domain needs what is held
 * @HELD: what is held
 * @NODES: how many there are
 */
enum node {
	ANSWER,
	STARVED,
	HELD,
	NODES,
};

static const char *const names[] = {
	[ANSWER] = "answer",
	[STARVED] = "starved",
	[HELD] = "held",
};

static void write_fn(struct work_struct *work);

/* How often an answer is written that cannot be, one STORE_PERIOD apart. */
#define ANSWER_TRIES	30

/**
 * struct store - what the toolstack is told
 * @work: writes it
 * @up: xenstore can be written to
 * @held: bytes; written under the core's lock
 * @starved: likewise
 * @lock: protects @answer
 * @answer: the last answer, or empty
 * @written: what was written last; the work item's own, and again()'s between two runs
 * @complained: that it cannot be written; the work item's own
 * @tries: how often the present answer could not be; likewise
 */
static struct store {
	struct delayed_work work;
	bool up;
	u64 held;
	bool starved;
	spinlock_t lock;	/* see above */
	char answer[XB_ANSWER_SIZE];
	char written[NODES][XB_ANSWER_SIZE];
	bool complained;
	unsigned int tries;
} store = {
	.lock = __SPIN_LOCK_UNLOCKED(store.lock),
	.work = __DELAYED_WORK_INITIALIZER(store.work, write_fn, 0),
};

static void format(enum node node, char *text)
{
	switch (node) {
	case ANSWER:
		spin_lock(&store.lock);
		strscpy(text, store.answer, XB_ANSWER_SIZE);
		spin_unlock(&store.lock);
		break;
	case STARVED:
		scnprintf(text, XB_ANSWER_SIZE, "%d", READ_ONCE(store.starved));
		break;
	default:
		scnprintf(text, XB_ANSWER_SIZE, "%llu",
			  READ_ONCE(store.held) >> 10);
	}
}

static void write_node(enum node node, const char *text)
{
	int err = xenbus_printf(XBT_NIL, STORE_DIR, names[node], "%s", text);

	if (err && !store.complained)
		pr_notice("cannot write %s/%s to xenstore (error %d): the toolstack does not see how much is held, all else works\n",
			  STORE_DIR, names[node], err);
	store.complained = err;
	/*
	 * Figures that cannot be written are not tried again before they change; but
	 * somebody waits for an answer.
	 */
	if (err && node == ANSWER && ++store.tries < ANSWER_TRIES)
		return;
	store.tries = 0;
	strscpy(store.written[node], text, XB_ANSWER_SIZE);
}

static void write_fn(struct work_struct *work)
{
	char text[XB_ANSWER_SIZE];
	unsigned int node;

	for (node = 0; node < NODES; node++) {
		format(node, text);
		if (!strcmp(text, store.written[node]))
			continue;
		write_node(node, text);
		queue_delayed_work(system_freezable_wq, &store.work,
				   STORE_PERIOD);
		break;
	}
}

static void soon(void)
{
	if (READ_ONCE(store.up))
		queue_delayed_work(system_freezable_wq, &store.work,
				   STORE_PERIOD);
}

/**
 * aeration_xb_store_again - write all again: it may be another xenstore
 *
 * Context: while processes are frozen, and the work item with them.
 */
void aeration_xb_store_again(void)
{
	memset(store.written, 0, sizeof(store.written));
	soon();
}

/**
 * aeration_xb_store_note - the amount held has changed, or whether it is missed
 * @bytes: what is held now
 * @starved: the guest needs some of it, and Xen does not give it
 *
 * Context: any; must not sleep.
 */
void aeration_xb_store_note(u64 bytes, bool starved)
{
	WRITE_ONCE(store.held, bytes);
	WRITE_ONCE(store.starved, starved);
	soon();
}

/**
 * aeration_xb_store_answer - what became of something that was asked for
 * @answer: that, in words; no more than XB_ANSWER_SIZE with the closing zero count
 *
 * Context: process context.
 */
void aeration_xb_store_answer(const char *answer)
{
	spin_lock(&store.lock);
	strscpy(store.answer, answer, XB_ANSWER_SIZE);
	spin_unlock(&store.lock);
	soon();
}

/**
 * aeration_xb_store_pages - read what the toolstack says of this domain's memory
 * @node: in the folder memory, KiB there
 * @pages: set to how many pages that is, unless there is an error
 *
 * Context: process context; sleeps.
 * Return: 0, -ENOENT if there is no such node, or another negative error.
 */
int aeration_xb_store_pages(const char *node, u64 *pages)
{
	unsigned long long kib;
	int got = xenbus_scanf(XBT_NIL, XB_MEMORY, node, "%llu", &kib);

	if (got != 1)
		return got < 0 ? got : -EINVAL;
	*pages = kib >> (PAGE_SHIFT - 10);
	return 0;
}

/**
 * aeration_xb_store_held - how much is held
 *
 * Context: any.
 * Return: bytes.
 */
u64 aeration_xb_store_held(void)
{
	return READ_ONCE(store.held);
}

/* Called at once if xenstore is there already. */
static int on_store(struct notifier_block *nb, unsigned long unused, void *none)
{
	WRITE_ONCE(store.up, true);
	soon();
	return NOTIFY_DONE;
}

static struct notifier_block store_nb = { .notifier_call = on_store };

/**
 * aeration_xb_store_start - begin to publish, as soon as there is a xenstore
 *
 * Context: process context; may sleep.
 */
void aeration_xb_store_start(void)
{
	register_xenstore_notifier(&store_nb);
}

/**
 * aeration_xb_store_stop - end; the folder goes, unless Xen still has memory of ours
 *
 * Context: process context, after aerator_shutdown(); sleeps.
 */
void aeration_xb_store_stop(void)
{
	char text[XB_ANSWER_SIZE];

	unregister_xenstore_notifier(&store_nb);
	cancel_delayed_work_sync(&store.work);
	if (!store.up)
		return;
	if (!store.held) {
		xenbus_rm(XBT_NIL, STORE_DIR, "");
		return;
	}
	format(HELD, text);
	write_node(HELD, text);
}
