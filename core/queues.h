/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where the core's work is done.
 */
#ifndef _AERATION_QUEUES_H
#define _AERATION_QUEUES_H

#include <linux/workqueue.h>

/* Freezable, and not bound to the CPU that queued it. */
extern struct workqueue_struct *aeration_wq;

/*
 * Likewise, for what somebody who runs out of memory may be waiting for: it has a
 * thread of its own, and goes before what uses memory up.
 */
extern struct workqueue_struct *aeration_urgent_wq;

/*
 * For what waits for work on the others: were it freezable, a guest that is about to
 * sleep would wait for it, and it for what is frozen already.
 */
extern struct workqueue_struct *aeration_request_wq;

int aeration_queues_init(void);
void aeration_queues_exit(void);

#endif /* _AERATION_QUEUES_H */
