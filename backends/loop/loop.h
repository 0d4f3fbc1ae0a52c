/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _AERATION_LOOP_H
#define _AERATION_LOOP_H

#include <linux/memory_aeration.h>
#include <linux/seq_file.h>

struct dentry;

/* record.c: the batches seen, the newest RECORD_KEPT of them */
int aeration_record_start(void);
void aeration_record_stop(void);
void aeration_record_add(const struct aerator_batch *batch,
			 const char *outcome);
int aeration_record_show(struct seq_file *out, void *unused);

/* durable.c: a host that takes memory away */
void aeration_durable_take(const struct aerator_block *block, bool scrubbed);
int aeration_durable_restore(struct aerator_dev_info *dev,
			     struct aerator_batch *batch);
bool aeration_durable_ready(struct aerator_dev_info *dev, u64 bytes);
void aeration_durable_note_held(struct aerator_dev_info *dev, u64 bytes,
				bool missed);
void aeration_durable_files(struct dentry *folder,
			    struct aerator_dev_info *dev);

#endif /* _AERATION_LOOP_H */
