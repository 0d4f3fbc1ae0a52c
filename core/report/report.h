/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The report source: free blocks for transient backends, isolated and taken
 * back by the kernel's own free page reporting.
 *
 * The mm runs passes over the free lists. Left alone it starts one every 2 s
 * and stops each after a sixteenth of a list. Here the watch over free memory
 * has the pacer say how much is surplus; that is granted as a budget, and passes
 * are started back to back until the budget is used up. A pass that finds no
 * budget left ends with an error, and the mm puts its blocks back unreported,
 * behind those that are reported. So no pass begins while nothing is granted.
 *
 * All passes are run by one work item of ours, so there is one at a time, and
 * whoever waits for that item waits for the pass. The mm's own work item runs a
 * function of ours that leaves what the mm asks for to the watch: were the mm's
 * item queued by us as well, on another workqueue, it could run twice at once, and
 * cancelling it would wait for one of the two.
 *
 * A guest that runs out of memory while blocks are in flight gets them back: the
 * OOM notifier waits for the ack for a moment, and then has the backend abandon
 * its device.
 *
 * From the top down: source.c starts and stops; renew.c hears that the host may have
 * backed everything anew; flush.c does not wait for a decision; grant.c decides;
 * manners.c thinks of the other guests of the host; known.c knows how much is reported;
 * pass.c has the passes and what the mm calls; census.c counts; refresh.c forgets;
 * hook.c takes the mm's work item. Each has its own state, and nobody else's.
 */
#ifndef _AERATION_REPORT_H
#define _AERATION_REPORT_H

#include <linux/memory_aeration.h>
#include <linux/page_reporting.h>
#include <linux/workqueue.h>
#include "../pace/watch.h"
#include "../source.h"

extern const struct source aeration_report_source;

/* renew.c */
int aeration_renew_init(void);
void aeration_renew_exit(void);

/* flush.c */
int aeration_report_flush(bool again, bool at_once, bool (*cancelled)(void));
bool aeration_report_refresh(void);
void aeration_flush_open(bool open);

/**
 * struct pass_listener - who hears of what passes do
 * @told: The hypervisor has taken so many pages. Process context.
 * @refused: It has not taken a batch. Process context.
 * @ended: A pass of ours has ended that reported so many pages and took so long, ns,
 *	without what the hypervisor took. Process context. Return: may another one
 *	follow at once?
 * @asked: The mm would have run a pass. Process context.
 */
struct pass_listener {
	void (*told)(unsigned long pages);
	void (*refused)(void);
	bool (*ended)(unsigned long pages, u64 ns);
	void (*asked)(void);
};

/* grant.c */
extern const struct watch_ops aeration_report_watch_ops;
extern const struct pass_listener aeration_grant_listener;
void aeration_grant_start(bool asked_only);
void aeration_grant_retune(void);
void aeration_grant_suspend(bool suspend);
unsigned long aeration_grant_all(void);

/* manners.c */
u32 aeration_manners_delay_ms(void);
void aeration_manners_start(void);
void aeration_manners_spent(unsigned long pages);
unsigned int aeration_manners_rest_ms(void);
unsigned long aeration_manners_most(unsigned long batch);
void aeration_manners_at_once(bool at_once);

/* pass.c */
int aeration_pass_start(struct aerator_dev_info *dev,
			const struct pass_listener *listener);
void aeration_pass_stop(void);
bool aeration_pass_is_ours(void);
unsigned int aeration_pass_order(void);
bool aeration_pass_is_under_way(void);
bool aeration_pass_read_free(unsigned long *free);
void aeration_pass_grant(unsigned long pages, bool any);
void aeration_pass_limit(unsigned long pages);
void aeration_pass_wait(void);
unsigned long aeration_pass_get_back(bool oom);

/* known.c */
int aeration_known_init(void);
void aeration_known_exit(void);
void aeration_known_nothing(void);
void aeration_known_anew(void);
bool aeration_known_count(void);
bool aeration_known_since(u64 ms);
unsigned int aeration_known_wait_ms(void);
unsigned long aeration_known_reported(void);
unsigned long aeration_known_reportable(unsigned long reported);
void aeration_known_forget(void);

/* census.c */
void aeration_census_restart(void);
bool aeration_census_step(unsigned int order);
u64 aeration_census_began(void);
void aeration_census_told(unsigned long pages);
unsigned long aeration_census_reported(void);
unsigned int aeration_census_largest(void);
unsigned long aeration_census_reportable(unsigned int order,
					 unsigned long reported);
unsigned int aeration_census_fitting(void);

/* refresh.c */
void aeration_refresh(unsigned int order);

/* hook.c */
void aeration_hook_rest(struct page_reporting_dev_info *prdev);
work_func_t aeration_hook_take(struct page_reporting_dev_info *prdev,
			       work_func_t fn);

#endif /* _AERATION_REPORT_H */
