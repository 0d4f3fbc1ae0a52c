/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where blocks come from: what the registry asks of a source.
 */
#ifndef _AERATION_SOURCE_H
#define _AERATION_SOURCE_H

#include <linux/memory_aeration.h>

/**
 * struct source - where blocks come from
 * @start: Begin for a device, or go on for the one that was stopped and not ended.
 *	@fail is for the source to say that the device is of no use any more: any
 *	context that may sleep, not from start itself. Return 0, -EBUSY if another
 *	driver is in the way and may let go, or another negative error.
 * @stop: Let go of nothing any more, and wait until no block is on its way. The
 *	device must answer, or be made to. Return true if all has ended; false if
 *	the hypervisor has not given everything back: the source then still
 *	answers to who needs memory, and is to be stopped again, or started again
 *	for the same device, until it says true.
 * @end: For a source that stop said false of: the device goes away for good.
 * @retune: Take over changed parameters.
 * @flush: Let go of all surplus now; with @again, also of what the hypervisor was told
 *	of before and may have backed since; with @at_once, as fast as it takes that.
 *	Without the registry's mutex, for the host may take its time: the source may be
 *	stopped meanwhile, which ends it. Return 0,
 *	-EINTR if @cancelled said so at a step, -ENODEV or -EAGAIN if the source was
 *	stopped before it began, or another negative error.
 * @restore: Optional: get back all that is held. Return 0, -EINTR likewise, or -EAGAIN
 *	if the hypervisor did not give back all. Also after stop said false.
 * @order: Return the order of the smallest block.
 *
 * All but @flush are called in process context under the registry's mutex; they may
 * sleep; @order in any context. All but @start and @flush only while started.
 */
struct source {
	int (*start)(struct aerator_dev_info *dev,
		     void (*fail)(struct aerator_dev_info *dev,
				  const char *why));
	bool (*stop)(void);
	void (*end)(void);
	void (*retune)(void);
	int (*flush)(bool again, bool at_once, bool (*cancelled)(void));
	int (*restore)(bool (*cancelled)(void));
	unsigned int (*order)(void);
};

#endif /* _AERATION_SOURCE_H */
