/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _AERATION_LOOP_H
#define _AERATION_LOOP_H

#include <linux/memory_aeration.h>
#include <linux/seq_file.h>

/* record.c: the batches seen, the newest RECORD_KEPT of them */
int record_start(void);
void record_stop(void);
void record_add(const struct aerator_batch *batch, const char *outcome);
int record_show(struct seq_file *out, void *unused);

#endif /* _AERATION_LOOP_H */
