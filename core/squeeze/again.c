// SPDX-License-Identifier: GPL-2.0
/*
 * Remember what was taken, to know whether it is read again; see squeeze.h.
 *
 * Two Bloom filters of pieces of files, with a bit for each page that memory has room for:
 * of what the last squeeze took, and of what has come back of all that was ever taken. A
 * piece that was not taken seems to be once in sixty when all of memory is full of pieces
 * that were; more often where they are small files, one page each. Whoever finds too much
 * takes too little.
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

/* Pages in a piece, as a power of two. */
#define PIECE_SHIFT	4

/**
 * struct again - what was taken, and what came back
 * @taken: of the last squeeze's; or NULL, and @back too
 * @back: of what was taken and read again
 * @mask: so many bits either has, less 1: a power of two less 1
 * @noted: pages that the last squeeze took
 */
static struct again {
	unsigned long *taken;
	unsigned long *back;
	u32 mask;
	unsigned long noted;
} again;

/* Where the two bits of a piece are. */
static void place(const struct inode *inode, pgoff_t piece, u32 bits[2])
{
	u32 file = jhash_3words(inode->i_ino, (u64)inode->i_ino >> 32,
				inode->i_sb->s_dev, 0);

	bits[0] = jhash_3words(file, piece, (u64)piece >> 32, 1) & again.mask;
	bits[1] = jhash_2words(file, bits[0], 2) & again.mask;
}

static void put(unsigned long *filter, const u32 bits[2])
{
	__set_bit(bits[0], filter);
	__set_bit(bits[1], filter);
}

static bool is_in(const unsigned long *filter, const u32 bits[2])
{
	return test_bit(bits[0], filter) && test_bit(bits[1], filter);
}

static unsigned long *room(u32 bits)
{
	return kvcalloc(BITS_TO_LONGS(bits), sizeof(long),
			GFP_KERNEL | __GFP_NOWARN | __GFP_NORETRY);
}

/* A filter that is half full says yes to one in four. */
static void thin_out(void)
{
	if (bitmap_weight(again.back, again.mask + 1) > again.mask / 2)
		bitmap_zero(again.back, again.mask + 1);
}

/**
 * aeration_again_begin - a squeeze begins: what the one before took is forgotten
 *
 * Without memory nothing is remembered.
 *
 * Context: process context; may sleep.
 */
void aeration_again_begin(void)
{
	u32 bits = roundup_pow_of_two(clamp_t(u64, totalram_pages(),
					      BITS_PER_LONG, SZ_1G));

	again.noted = 0;
	if (again.taken) {
		bitmap_zero(again.taken, again.mask + 1);
		thin_out();
		return;
	}
	again.taken = room(bits);
	again.back = room(bits);
	again.mask = bits - 1;
	if (!again.taken || !again.back)
		aeration_again_exit();
}

/**
 * aeration_again_note - pages were taken
 * @inode: the file
 * @first: index of the first page
 * @end: index after the last one
 *
 * Context: process context.
 */
void aeration_again_note(const struct inode *inode, pgoff_t first, pgoff_t end)
{
	pgoff_t piece;
	u32 bits[2];

	if (!again.taken)
		return;
	again.noted += end - first;
	for (piece = first >> PIECE_SHIFT; piece << PIECE_SHIFT < end; piece++) {
		place(inode, piece, bits);
		put(again.taken, bits);
	}
}

/**
 * aeration_again_noted - how much the last squeeze took
 *
 * Return: pages of files.
 */
unsigned long aeration_again_noted(void)
{
	return again.noted;
}

/**
 * aeration_again_find - how many of these pages did the last squeeze take?
 * @inode: the file
 * @first: index of the first page
 * @end: index after the last one
 * @learn: remember that they have come back
 *
 * Context: any.
 * Return: pages; 0 if nobody knows.
 */
unsigned long aeration_again_find(const struct inode *inode, pgoff_t first,
				  pgoff_t end, bool learn)
{
	unsigned long pages = 0;
	pgoff_t piece;
	u32 bits[2];

	if (!again.taken)
		return 0;
	for (piece = first >> PIECE_SHIFT; piece << PIECE_SHIFT < end; piece++) {
		place(inode, piece, bits);
		if (!is_in(again.taken, bits))
			continue;
		pages += min(end, (piece + 1) << PIECE_SHIFT) -
			 max(first, piece << PIECE_SHIFT);
		if (learn)
			put(again.back, bits);
	}
	return pages;
}

/**
 * aeration_again_came - was this page taken once, and read again?
 * @inode: the file
 * @index: its index
 *
 * Context: any.
 * Return: true if so; false if nobody knows.
 */
bool aeration_again_came(const struct inode *inode, pgoff_t index)
{
	u32 bits[2];

	if (!again.back)
		return false;
	place(inode, index >> PIECE_SHIFT, bits);
	return is_in(again.back, bits);
}

/**
 * aeration_again_exit - forget it for good
 *
 * Context: process context; no squeeze can begin any more.
 */
void aeration_again_exit(void)
{
	kvfree(again.taken);
	kvfree(again.back);
	again = (struct again){ };
}
