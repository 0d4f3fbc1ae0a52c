// SPDX-License-Identifier: GPL-2.0
/*
 * Keep what the loop device was given, for a test to read.
 */
#include <linux/minmax.h>
#include <linux/mutex.h>
#include <linux/string.h>
#include <linux/vmalloc.h>
#include "loop.h"

/* Batches remembered. */
#define RECORD_KEPT	256

/**
 * struct record - one batch and what became of it
 * @outcome: one word; a constant
 * @nr: how many blocks it had
 * @block: the first of them, in the state in which the device left them
 */
struct record {
	const char *outcome;
	unsigned int nr;
	struct aerator_block block[AERATOR_CAPACITY];
};

static DEFINE_MUTEX(record_lock);	/* protects the two below */
static struct record *records;
static u64 recorded;

/**
 * aeration_record_start - make room; nothing is allocated afterwards
 *
 * Context: process context; may sleep.
 * Return: 0 or -ENOMEM.
 */
int aeration_record_start(void)
{
	records = vcalloc(RECORD_KEPT, sizeof(*records));
	return records ? 0 : -ENOMEM;
}

/**
 * aeration_record_stop - forget everything
 *
 * Context: process context, once nobody adds or reads any more.
 */
void aeration_record_stop(void)
{
	vfree(records);
}

/**
 * aeration_record_add - remember a batch; the oldest one makes room for it
 * @batch: the batch as the device leaves it
 * @outcome: one word; a constant
 *
 * Context: process context; may sleep, allocates nothing.
 */
void aeration_record_add(const struct aerator_batch *batch, const char *outcome)
{
	struct record *r;

	mutex_lock(&record_lock);
	r = &records[recorded++ % RECORD_KEPT];
	r->outcome = outcome;
	r->nr = batch->nr;
	memcpy(r->block, batch->block,
	       min_t(size_t, batch->nr, AERATOR_CAPACITY) * sizeof(r->block[0]));
	mutex_unlock(&record_lock);
}

static const char *mark(enum aerator_block_state state)
{
	if (state == AERATOR_BLOCK_HELD)
		return "";
	return state == AERATOR_BLOCK_QUARANTINED ? "?" : "!";
}

static void show_one(struct seq_file *out, u64 number, const struct record *r)
{
	unsigned int i;

	seq_printf(out, "%llu %s %u", number, r->outcome, r->nr);
	for (i = 0; i < r->nr && i < AERATOR_CAPACITY; i++)
		seq_printf(out, " %lx/%u%s", r->block[i].pfn, r->block[i].order,
			   mark(r->block[i].state));
	seq_puts(out, r->nr > AERATOR_CAPACITY ? " ...\n" : "\n");
}

/**
 * aeration_record_show - print the batches remembered, oldest first
 * @out: where to; a line is "number outcome blocks pfn/order ...", with a "!"
 *	behind each block that was not taken and a "?" behind each that was
 *	lost; pfn is hexadecimal; of a batch of more than AERATOR_CAPACITY
 *	blocks the rest is left out
 * @unused: not used
 *
 * Context: process context; may sleep.
 * Return: 0.
 */
int aeration_record_show(struct seq_file *out, void *unused)
{
	u64 i;

	mutex_lock(&record_lock);
	i = recorded > RECORD_KEPT ? recorded - RECORD_KEPT : 0;
	for (; i < recorded; i++)
		show_one(out, i, &records[i % RECORD_KEPT]);
	mutex_unlock(&record_lock);
	return 0;
}
