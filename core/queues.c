// SPDX-License-Identifier: GPL-2.0
#include <linux/errno.h>
#include "queues.h"

struct workqueue_struct *aeration_wq;
struct workqueue_struct *aeration_urgent_wq;
struct workqueue_struct *aeration_request_wq;

/**
 * aeration_queues_init - make the queues
 *
 * Context: process context; may sleep.
 * Return: 0 or -ENOMEM with none made.
 */
int aeration_queues_init(void)
{
	aeration_wq = alloc_workqueue("aeration", WQ_FREEZABLE | WQ_UNBOUND, 0);
	if (!aeration_wq)
		return -ENOMEM;
	aeration_urgent_wq = alloc_workqueue("aeration_urgent", WQ_FREEZABLE |
					     WQ_UNBOUND | WQ_HIGHPRI |
					     WQ_MEM_RECLAIM, 0);
	if (!aeration_urgent_wq)
		goto out_wq;
	aeration_request_wq = alloc_workqueue("aeration_request", WQ_UNBOUND, 0);
	if (!aeration_request_wq)
		goto out_urgent;
	return 0;

out_urgent:
	destroy_workqueue(aeration_urgent_wq);
out_wq:
	destroy_workqueue(aeration_wq);
	return -ENOMEM;
}

/**
 * aeration_queues_exit - undo aeration_queues_init()
 *
 * Context: process context; waits for what is queued.
 */
void aeration_queues_exit(void)
{
	destroy_workqueue(aeration_request_wq);
	destroy_workqueue(aeration_urgent_wq);
	destroy_workqueue(aeration_wq);
}
