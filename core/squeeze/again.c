// SPDX-License-Identifier: GPL-2.0
/*
 * Remember what was taken, to know whether it is read again; see squeeze.h.
 *
 * A Bloom filter of a sample: one page in AGAIN_SAMPLE is in it, by a hash of its place,
 * with two bits of 16 for each that memory has room for. Of pages that are not in it one
 * in sixty seems to be once all of memory was taken, and fewer before.
 *
 * Used by the thread of a squeeze alone, and there is one at a time.
 */
#include <linux/bitmap.h>
#include <linux/bitops.h>
#include <linux/fs.h>
#include <linux/jhash.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include "squeeze.h"

#define AGAIN_SAMPLE	16
#define AGAIN_BITS	16

/**
 * struct again - what was taken by the last squeeze
 * @bits: the filter, or NULL
 * @mask: so many bits it has, less 1: a power of two less 1
 */
static struct again {
	unsigned long *bits;
	u32 mask;
} again;

/* Two hashes of a page's place. */
static void hash(const struct inode *inode, pgoff_t index, u32 hashes[2])
{
	u32 file = jhash_3words(inode->i_ino, (u64)inode->i_ino >> 32,
				inode->i_sb->s_dev, 0);

	hashes[0] = jhash_3words(file, index, (u64)index >> 32, 1);
	hashes[1] = jhash_1word(hashes[0], file);
}

static bool is_sampled(const u32 hashes[2])
{
	return hashes[0] % AGAIN_SAMPLE == 0;
}

static u32 bit_of(u32 hash)
{
	return (hash / AGAIN_SAMPLE) & again.mask;
}

/**
 * aeration_again_begin - forget what was taken before
 *
 * Context: process context; may sleep.
 */
void aeration_again_begin(void)
{
	u32 bits = roundup_pow_of_two(clamp_t(u64, totalram_pages() / AGAIN_SAMPLE *
					      AGAIN_BITS, BITS_PER_LONG, SZ_256M));

	if (!again.bits) {
		again.bits = kvmalloc_array(BITS_TO_LONGS(bits), sizeof(long),
					    GFP_KERNEL | __GFP_NOWARN |
					    __GFP_NORETRY);
		again.mask = bits - 1;
	}
	if (again.bits)
		bitmap_zero(again.bits, again.mask + 1);
}

/**
 * aeration_again_note - pages are about to be taken
 * @inode: the file
 * @first: index of the first page
 * @end: index after the last one
 *
 * Context: process context.
 */
void aeration_again_note(const struct inode *inode, pgoff_t first, pgoff_t end)
{
	u32 hashes[2];

	if (!again.bits)
		return;
	for (; first < end; first++) {
		hash(inode, first, hashes);
		if (!is_sampled(hashes))
			continue;
		__set_bit(bit_of(hashes[0]), again.bits);
		__set_bit(bit_of(hashes[1]), again.bits);
	}
}

/**
 * aeration_again_find - how many of these were taken?
 * @inode: the file
 * @first: index of the first page
 * @end: index after the last one
 *
 * Context: any.
 * Return: pages, of which each that was found stands for others; 0 if nobody knows.
 */
unsigned long aeration_again_find(const struct inode *inode, pgoff_t first,
				  pgoff_t end)
{
	unsigned long pages = 0;
	u32 hashes[2];

	if (!again.bits)
		return 0;
	for (; first < end; first++) {
		hash(inode, first, hashes);
		if (is_sampled(hashes) &&
		    test_bit(bit_of(hashes[0]), again.bits) &&
		    test_bit(bit_of(hashes[1]), again.bits))
			pages += AGAIN_SAMPLE;
	}
	return pages;
}

/**
 * aeration_again_exit - forget it for good
 *
 * Context: process context; no squeeze can begin any more.
 */
void aeration_again_exit(void)
{
	kvfree(again.bits);
	again.bits = NULL;
}
