// SPDX-License-Identifier: GPL-2.0
/*
 * Do as domain 0 asks, in control/aeration of the domain's own folder in xenstore.
 * Domain 0 writes there, and the domain reads:
 *	control/aeration		one of the words below; what it was before does not
 *					matter, and the same word again is asked again
 *	control/aeration/max-held	the most that may be held, KiB; no such node: any
 *					amount
 * Each word is answered in data/aeration/answer with five words: a number that grows by
 * one with each answer, the word, "done", "refused" or "failed", the bytes that went or
 * came, and 0 or a negative error number (Linux).
 *
 *	flush	let go of all surplus now
 *	again	the same: what is held has no backing until it is restored
 *	restore	get everything back that Xen's limit allows
 *	off	the same, and hold nothing until "on"
 *	on	hold again
 *	squeeze	take cold cache, too, and let go of that
 *
 * A watch only has the work item look; what is asked for while that does something is
 * looked at afterwards, and of several words the last one counts. It is not frozen when
 * the domain is about to be saved: it waits for what is.
 */
#define pr_fmt(fmt) "aeration_xen: " fmt

#include <linux/err.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/limits.h>
#include <linux/notifier.h>
#include <linux/ratelimit.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/workqueue.h>
#include <xen/xenbus.h>
#include "xb.h"

#define CONTROL		"control"
#define NODE		"aeration"
#define MAX_HELD	"max-held"

/* Longest word that is repeated in an answer, with the closing zero. */
#define WORD_SIZE	16

/**
 * struct control - what domain 0 wants
 * @store: xenstore can be used from now on
 * @watch: of control/aeration and what is below it
 * @watching: it is registered; written when xenstore comes up and by stop, which
 *	nothing runs beside
 * @work: looks, and does it; what follows is its own
 * @asked: the word was written; set by the watch
 * @answers: how many there were
 * @off: nothing is to be held
 * @max: the most that may be held, bytes
 */
static struct control {
	struct notifier_block store;
	struct xenbus_watch watch;
	bool watching;
	struct work_struct work;
	bool asked;
	unsigned long answers;
	bool off;
	u64 max;
} control;

static void answer(const char *word, const char *outcome, u64 bytes, int err)
{
	char text[XB_ANSWER_SIZE];

	scnprintf(text, sizeof(text), "%lu %s %s %llu %d", ++control.answers,
		  word, outcome, bytes, err);
	aeration_xb_store_answer(text);
}

static void allow(void)
{
	unsigned long long kib;
	int got = xenbus_scanf(XBT_NIL, CONTROL "/" NODE, MAX_HELD, "%llu",
			       &kib);

	if (got == 1)
		control.max = min(kib, U64_MAX >> 10) << 10;
	else if (got == -ENOENT)
		control.max = U64_MAX;
	else if (got == -ERANGE)
		pr_notice_ratelimited("%s/%s/%s is not a number of KiB, so it stays as it was\n",
				      CONTROL, NODE, MAX_HELD);
	aeration_xb_toolstack_allow(control.off ? 0 : control.max);
}

static void ask(const char *word, const char *request)
{
	u64 bytes;
	int err = aerator_request(request, NULL, &bytes);

	answer(word, err ? "failed" : "done", bytes, err);
}

static void obey(const char *word)
{
	if (!strcmp(word, "off") || !strcmp(word, "on")) {
		control.off = word[1] == 'f';
		allow();
		if (control.off)
			ask(word, "restore");
		else
			answer(word, "done", 0, 0);
	} else if (!strcmp(word, "flush") || !strcmp(word, "again") ||
		   !strcmp(word, "restore") || !strcmp(word, "squeeze")) {
		ask(word, word);
	} else {
		pr_notice_ratelimited("domain 0 asks for \"%s\": not here\n", word);
		answer(word, "refused", 0, -EOPNOTSUPP);
	}
}

/* A word of printable characters and no space, however long and odd it was. */
static void tidy(char *word, const char *from)
{
	unsigned int i;

	for (i = 0; from[i] && i < WORD_SIZE - 1; i++)
		word[i] = from[i] > ' ' && from[i] < 0x7f ? from[i] : '?';
	word[i] = 0;
}

static void look_fn(struct work_struct *work)
{
	char word[WORD_SIZE];
	char *value;

	allow();
	if (!xchg(&control.asked, false))
		return;
	value = xenbus_read(XBT_NIL, CONTROL, NODE, NULL);
	if (IS_ERR(value)) {
		if (PTR_ERR(value) != -ENOENT)
			answer("?", "failed", 0, PTR_ERR(value));
		/* A domain that has moved has none of this. */
		control.off = control.off && PTR_ERR(value) != -ENOENT;
		allow();
		return;
	}
	tidy(word, value);
	kfree(value);
	if (*word)
		obey(word);
}

static void on_control(struct xenbus_watch *watch, const char *path,
		       const char *token)
{
	/* Of what is below it only the most that may be held is read. */
	if (!strcmp(path, CONTROL "/" NODE))
		WRITE_ONCE(control.asked, true);
	queue_work(system_long_wq, &control.work);
}

/* Called at once if xenstore is there already. */
static int on_store(struct notifier_block *nb, unsigned long unused, void *none)
{
	int err;

	if (control.watching)
		return NOTIFY_DONE;
	err = register_xenbus_watch(&control.watch);
	control.watching = !err;
	if (err)
		pr_err("cannot follow %s/%s in xenstore: error %d; domain 0 can ask for nothing\n",
		       CONTROL, NODE, err);
	return NOTIFY_DONE;
}

/**
 * aeration_xb_control_start - begin to do as domain 0 asks
 *
 * Context: process context; may sleep.
 */
void aeration_xb_control_start(void)
{
	control.store.notifier_call = on_store;
	control.watch.node = CONTROL "/" NODE;
	control.watch.callback = on_control;
	INIT_WORK(&control.work, look_fn);
	control.max = U64_MAX;
	register_xenstore_notifier(&control.store);
}

/**
 * aeration_xb_control_stop - do nothing more of it
 *
 * Context: process context, before aerator_shutdown(); waits for what is under way.
 */
void aeration_xb_control_stop(void)
{
	unregister_xenstore_notifier(&control.store);
	if (control.watching)
		unregister_xenbus_watch(&control.watch);
	control.watching = false;
	cancel_work_sync(&control.work);
}
