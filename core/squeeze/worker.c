// SPDX-License-Identifier: GPL-2.0
/*
 * The thread that takes what is cold, and compacts; see squeeze.h.
 */
#include <linux/delay.h>
#include <linux/freezer.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/pageblock-flags.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include "squeeze.h"

/* Least rest between two slices, us. */
#define REST_LEAST_US	2000

/*
 * Compaction pays where so much is free in pieces that are too small, bytes, and one
 * part in so many of what is free.
 */
#define PIECES_LEAST	SZ_16M
#define PIECES_SHARE	16

static u64 now_us(void)
{
	return ktime_to_us(ktime_get());
}

/* What the guest uses, cache included, pages. */
static unsigned long used(const struct squeeze_job *job)
{
	unsigned long unused = job->held +
			       global_zone_page_state(NR_FREE_PAGES);

	return totalram_pages() - min(totalram_pages(), unused);
}

/* How much of what is cached stays, pages; the least does, whatever is asked for. */
static unsigned long keep_of(const struct squeeze_job *job,
			     const struct gate_now *now)
{
	unsigned long least = totalram_pages() / SQUEEZE_LEAST_SHARE;
	unsigned long to = min_t(u64, job->order.to_bytes >> PAGE_SHIFT,
				 ULONG_MAX);
	unsigned long now_used = used(job), keep = 0;

	if (job->order.cache_percent != SQUEEZE_COLD)
		keep = now->cached / 100 * job->order.cache_percent;
	if (job->order.to_bytes)
		keep = max(keep, now->cached -
			   min(now->cached, now_used - min(now_used, to)));
	return max(keep, min(now->cached, least));
}

/* Is more asked for than what is cold? */
static bool is_for_more(const struct squeeze_job *job)
{
	return job->order.cache_percent != SQUEEZE_COLD || job->order.to_bytes;
}

/**
 * struct rest - a time in which it takes nothing
 * @us: how long it was, us
 * @stalled_us: how long somebody waited for memory meanwhile, us
 */
struct rest {
	u64 us;
	u64 stalled_us;
};

/* Others are heard of only in the rests, see gate.h. */
static struct rest rest(struct squeeze_files *files, u64 us)
{
	u64 stalled = aeration_files_stalled_us(files), began = now_us();

	usleep_range(us, us + us / 4);
	return (struct rest){
		.us = now_us() - began,
		.stalled_us = aeration_files_stalled_us(files) - stalled,
	};
}

static void rest_after(struct squeeze_job *job, struct squeeze_files *files,
		       u64 slice_us)
{
	struct rest had = rest(files, max_t(u64, slice_us / GATE_REST_SHARE,
					    REST_LEAST_US));

	aeration_gate_rested(&job->gate, had.us, had.stalled_us);
}

static void begin(struct squeeze_job *job, struct squeeze_files *files)
{
	u32 within_ms = job->order.within_ms;
	u32 ms = min_t(u32, GATE_BASE_MS, within_ms / GATE_BASE_SHARE);
	struct gate_now now;
	struct rest had;

	aeration_counts_read(&now);
	aeration_gate_begin(&job->gate, &now, keep_of(job, &now), within_ms);
	had = rest(files, ms * USEC_PER_MSEC);
	aeration_counts_read(&now);
	aeration_gate_base(&job->gate, &now, had.us, had.stalled_us);
}

/* May more be taken, and how much? */
static enum gate_end next(struct squeeze_job *job, unsigned long *room)
{
	struct gate_now now;

	aeration_counts_read(&now);
	if (aeration_gate_doubts(&job->gate, &now)) {
		now.again = aeration_cold_again(false);
		aeration_gate_looked(&job->gate, &now);
	}
	return aeration_gate_next(&job->gate, &now, room);
}

/* Return: GATE_ENOUGH once all that is cold has gone, or as much as was asked for. */
static enum gate_end take_cold(struct squeeze_job *job,
			       struct squeeze_files *files)
{
	unsigned long pfn = 0, room;
	enum gate_end end;
	bool more = true;
	u64 began;

	while (more && !signal_pending(current)) {
		end = next(job, &room);
		if (end != GATE_OPEN)
			return end;
		began = now_us();
		more = aeration_cold_take(&pfn, room,
					  GATE_SLICE_MS * USEC_PER_MSEC,
					  job->order.idle, &job->gate.taken);
		rest_after(job, files, now_us() - began);
	}
	return more ? READ_ONCE(job->called_off) : GATE_ENOUGH;
}

static enum gate_end reclaim(struct squeeze_job *job,
			     struct squeeze_files *files)
{
	unsigned long pages, before;
	enum gate_end end;
	u64 began, us;
	int err;

	while (!signal_pending(current)) {
		end = next(job, &pages);
		if (end != GATE_OPEN)
			return end;
		pages = aeration_gate_slice(&job->gate, pages);
		before = aeration_counts_taken();
		began = now_us();
		err = aeration_files_reclaim(files, pages,
					     aeration_squeeze_anon());
		if (err && err != -EAGAIN && err != -EINTR)
			return GATE_UNABLE;
		us = now_us() - began;
		aeration_gate_took(&job->gate, pages,
				   aeration_counts_taken() - before, us);
		rest_after(job, files, us);
	}
	return READ_ONCE(job->called_off);
}

/* Where so much of what the squeeze before took is cached again it was too much, pages. */
static unsigned long regret_from(void)
{
	return max_t(unsigned long, GATE_REFAULT_LEAST,
		     aeration_again_noted() / SQUEEZE_REGRET_SHARE);
}

static enum gate_end take(struct squeeze_job *job, struct squeeze_files *files)
{
	enum gate_end end;

	if (aeration_again_noted())
		job->done.regretted = aeration_cold_again(true) > regret_from();
	if (signal_pending(current))
		return READ_ONCE(job->called_off);
	aeration_again_begin();
	begin(job, files);
	end = take_cold(job, files);
	return end == GATE_ENOUGH && is_for_more(job) ? reclaim(job, files) :
							end;
}

static bool compaction_pays(int nid)
{
	unsigned long free = aeration_counts_free(nid, 0);
	unsigned long pieces = free - min(free, aeration_counts_free(nid,
								     pageblock_order));

	return pieces >= max(PIECES_LEAST >> PAGE_SHIFT, free / PIECES_SHARE);
}

static unsigned long large_pages(void)
{
	unsigned long pages = 0;
	int nid;

	for_each_online_node(nid)
		pages += aeration_counts_free(nid, pageblock_order);
	return pages;
}

static void compact(struct squeeze_job *job)
{
	unsigned long before = large_pages(), after;
	int nid;

	for_each_online_node(nid)
		if (!signal_pending(current) && compaction_pays(nid))
			aeration_files_compact(nid);
	after = large_pages();
	job->done.compacted = after - min(after, before);
	if (signal_pending(current))
		job->done.end = READ_ONCE(job->called_off);
}

/* May it be compacted after that? */
static bool goes_on(enum gate_end end)
{
	return end == GATE_ENOUGH || end == GATE_BARREN || end == GATE_UNABLE;
}

/**
 * aeration_squeeze_worker - do what a job says; the function of a kernel thread
 * @data: the job
 *
 * Ends early with a SIGKILL of the supervisor's, and never touches the job once it has
 * completed @job->ended.
 *
 * Return: does not.
 */
int aeration_squeeze_worker(void *data)
{
	struct squeeze_job *job = data;
	struct squeeze_files *files;

	allow_kernel_signal(SIGKILL);
	set_freezable();
	files = aeration_files_open();
	job->done.end = GATE_UNABLE;
	if (files) {
		job->done.end = take(job, files);
		job->done.reclaimed = job->gate.taken;
		if (goes_on(job->done.end))
			compact(job);
		aeration_files_close(files);
	}
	kthread_complete_and_exit(&job->ended, 0);
}
