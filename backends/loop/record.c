// SPDX-License-Identifier: GPL-2.0
/*
 * Keep what the loop device was given, for a test to read.
 */
#include <linux/mutex.h>
#include <linux/string.h>
#include <linux/vmalloc.h>
#include "loop.h"

/* Batches remembered. */
#define RECORD_KEPT	256

/**
 * struct record - one batch and what became of it
 * @outcome: one word; a constant
 * @batch: the blocks, in the state in which the device left them
 */
struct record {
	const char *outcome;
	struct aerator_batch batch;
};

static DEFINE_MUTEX(record_lock);	/* protects the two below */
static struct record *records;
static u64 recorded;

/**
 * record_start - make room; nothing is allocated afterwards
 *
 * Context: process context; may sleep.
 * Return: 0 or -ENOMEM.
 */
int record_start(void)
{
	records = vcalloc(RECORD_KEPT, sizeof(*records));
	return records ? 0 : -ENOMEM;
}

/**
 * record_stop - forget everything
 *
 * Context: process context, once nobody adds or reads any more.
 */
void record_stop(void)
{
	vfree(records);
}

/**
 * record_add - remember a batch; the oldest one makes room for it
 * @batch: the batch as the device leaves it
 * @outcome: one word; a constant
 *
 * Context: process context; may sleep, allocates nothing.
 */
void record_add(const struct aerator_batch *batch, const char *outcome)
{
	struct record *r;

	mutex_lock(&record_lock);
	r = &records[recorded++ % RECORD_KEPT];
	r->outcome = outcome;
	r->batch = *batch;
	mutex_unlock(&record_lock);
}

static void show_one(struct seq_file *out, u64 number, const struct record *r)
{
	unsigned int i;

	seq_printf(out, "%llu %s %u", number, r->outcome, r->batch.nr);
	for (i = 0; i < r->batch.nr; i++)
		seq_printf(out, " %lx/%u%s", r->batch.block[i].pfn,
			   r->batch.block[i].order,
			   r->batch.block[i].state == AERATOR_BLOCK_TAKEN ?
			   "" : "!");
	seq_putc(out, '\n');
}

/**
 * record_show - print the batches remembered, oldest first
 * @out: where to; a line is "number outcome blocks pfn/order ...", with a "!"
 *	behind each block that was not taken; pfn is hexadecimal
 * @unused: not used
 *
 * Context: process context; may sleep.
 * Return: 0.
 */
int record_show(struct seq_file *out, void *unused)
{
	u64 i;

	mutex_lock(&record_lock);
	i = recorded > RECORD_KEPT ? recorded - RECORD_KEPT : 0;
	for (; i < recorded; i++)
		show_one(out, i, &records[i % RECORD_KEPT]);
	mutex_unlock(&record_lock);
	return 0;
}
