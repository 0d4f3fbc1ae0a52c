// SPDX-License-Identifier: GPL-2.0
/*
 * What the kernel is told of memory that is taken; see hold.h.
 *
 * What can be had back counts as reclaimable. What the hypervisor withholds for now
 * does not, and what is forfeited is no memory of this guest's at all, like what a
 * balloon has.
 */
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/spinlock.h>
#include <linux/vmstat.h>
#include "hold.h"

/**
 * struct account - what the kernel counts
 * @lock: protects what follows; taken with bottom halves off
 * @due_on: pages of each node that are taken and can be given back
 * @counted_on: of these, how many count as reclaimable
 * @due: all of @due_on; read without @lock
 * @out: pages that are taken, those that are forfeited included; read likewise
 * @withheld: nobody can have them restored; read likewise
 * @starved: and the guest needs some; read likewise
 */
static struct account {
	spinlock_t lock;	/* see above */
	unsigned long due_on[MAX_NUMNODES];
	unsigned long counted_on[MAX_NUMNODES];
	unsigned long due;
	unsigned long out;
	bool withheld;
	bool starved;
} account = {
	.lock = __SPIN_LOCK_UNLOCKED(account.lock),
};

/* Have the kernel count on what can be had back on a node, and on no more. */
static void count_locked(int nid)
{
	unsigned long now = account.withheld ? 0 : account.due_on[nid];

	lockdep_assert_held(&account.lock);
	mod_node_page_state(NODE_DATA(nid), NR_KERNEL_MISC_RECLAIMABLE,
			    (long)now - (long)account.counted_on[nid]);
	account.counted_on[nid] = now;
}

static void add_due(int nid, long due, long out)
{
	spin_lock_bh(&account.lock);
	account.due_on[nid] += due;
	WRITE_ONCE(account.due, account.due + due);
	WRITE_ONCE(account.out, account.out + out);
	count_locked(nid);
	spin_unlock_bh(&account.lock);
}

/**
 * aeration_account_out - so much more, or less, can be given back
 * @nid: memory of this node
 * @pages: how much, negative if less
 *
 * Context: any but hard interrupts.
 */
void aeration_account_out(int nid, long pages)
{
	add_due(nid, pages, pages);
}

/**
 * aeration_account_forfeit - a block is no memory of this guest's, or is again
 * @page: its first page
 * @pages: its length, negative if it is the guest's again
 *
 * Context: any but hard interrupts.
 */
void aeration_account_forfeit(struct page *page, long pages)
{
	add_due(page_to_nid(page), -pages, 0);
	adjust_managed_page_count(page, -pages);
}

/**
 * aeration_account_out_pages - pages that are taken, but for those in quarantine
 *
 * What is forfeited is among them: nobody has begun to use it.
 *
 * Context: any.
 * Return: pages, those on their way included.
 */
unsigned long aeration_account_out_pages(void)
{
	return READ_ONCE(account.out);
}

/**
 * aeration_account_due_pages - pages that are taken and can be given back
 *
 * Context: any.
 * Return: pages, those on their way included.
 */
unsigned long aeration_account_due_pages(void)
{
	return READ_ONCE(account.due);
}

/**
 * aeration_account_withhold - say whether what is held can be had back at all
 * @withheld: it cannot, and the kernel must not count on it
 *
 * Context: any but hard interrupts.
 * Return: what it was.
 */
bool aeration_account_withhold(bool withheld)
{
	bool was;
	int nid;

	spin_lock_bh(&account.lock);
	was = account.withheld;
	WRITE_ONCE(account.withheld, withheld);
	for_each_online_node(nid)
		count_locked(nid);
	spin_unlock_bh(&account.lock);
	return was;
}

/**
 * aeration_account_is_withheld - can what is held not be had back?
 *
 * Context: any.
 * Return: true if so.
 */
bool aeration_account_is_withheld(void)
{
	return READ_ONCE(account.withheld);
}

/**
 * aeration_account_starve - say whether the guest needs what is withheld
 * @starved: it does
 *
 * Context: any.
 * Return: true if that is new.
 */
bool aeration_account_starve(bool starved)
{
	bool was = READ_ONCE(account.starved);

	WRITE_ONCE(account.starved, starved);
	return was != starved;
}

/**
 * aeration_account_is_starved - does the guest need what is withheld?
 *
 * Context: any.
 * Return: true if so.
 */
bool aeration_account_is_starved(void)
{
	return READ_ONCE(account.starved);
}
