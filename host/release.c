// SPDX-License-Identifier: GPL-2.0
/*
 * Give memory back to the host.
 *
 * A hole is punched in the file: the pages leave every process that has it
 * mapped, and read as zeros when they are touched again. This works for what
 * can be handed over as guest memory and be mapped shared: memfd, tmpfs,
 * hugetlbfs, and most filesystems on a disk. madvise() has nothing to add:
 * MADV_REMOVE is the same call from the other side, and MADV_DONTNEED would
 * only unmap the pages from this daemon.
 *
 * The system call for a GiB takes half a second, and nobody can stop it. So it
 * is asked for a piece at a time.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include "log.h"
#include "release.h"

/* Most bytes for a system call: some 8 ms. */
#define PIECE_BYTES	(16ULL << 20)

static void punch(struct release *how, const struct region *region,
		  uint64_t start, uint64_t length, struct stats *stats)
{
	int err;

	do
		err = fallocate(region->fd,
				FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				(off_t)(region->offset + start),
				(off_t)length);
	while (err && errno == EINTR);
	stats->punches++;
	if (!err) {
		stats->bytes_released += length;
		return;
	}
	stats->release_errors++;
	if (how->said_error)
		return;
	how->said_error = true;
	say("cannot give memory back (%s): the guest's has to be a file with holes, as of -object memory-backend-memfd",
	    strerror(errno));
}

static void keep_reserved(struct release *how, uint64_t length,
			  struct stats *stats)
{
	stats->bytes_reserved += length;
	if (how->said_reserved)
		return;
	how->said_reserved = true;
	say("guest memory of huge pages, or in a file system of limited size, is kept: others could take the place of what is released, and the guest would die of it; --release-reserved releases it");
}

/* Only whole pages of the file: a part of a huge page cannot leave alone. */
static void release_part(struct release *how, const struct region *region,
			 uint64_t start, uint64_t length, struct stats *stats)
{
	uint64_t mask = region->page - 1;
	uint64_t first = (start + mask) & ~mask;
	uint64_t end = (start + length) & ~mask;

	if (region->reserved_place && !how->reserved) {
		keep_reserved(how, length, stats);
		return;
	}
	if (first >= end) {
		stats->bytes_partial += length;
		return;
	}
	stats->bytes_partial += length - (end - first);
	punch(how, region, first, end - first, stats);
}

/* Bytes to the end of a piece, so that no page of the file is cut, huge or not. */
static uint64_t to_piece_end(const struct region *region, uint64_t start)
{
	uint64_t piece = region->page > PIECE_BYTES ? region->page :
						      PIECE_BYTES;

	return piece - ((region->offset + start) & (piece - 1));
}

/* Return: how many bytes of the run are done now, not 0. */
static uint64_t release_piece(struct release *how, const struct memory *mem,
			      const struct run *run, struct stats *stats)
{
	const struct region *region;
	uint64_t start, part, end;

	region = memory_find(mem, run->start, run->length, &part);
	if (!region)
		return run->length;
	start = run->start - region->guest;
	end = to_piece_end(region, start);
	if (part > end)
		part = end;
	release_part(how, region, start, part, stats);
	return part;
}

/**
 * release_runs - give memory back to the host, for a while
 * @how: by which rules
 * @mem: memory table; what is not in it is left out
 * @runs: merged; what is done of them leaves them
 * @stats: where to count
 * @until_ns: when to stop after the piece that is being released, or NEVER_NS
 *
 * The host may have taken what left the runs when this returns, not later.
 *
 * Return: whether all is done; the runs are empty then.
 */
bool release_runs(struct release *how, const struct memory *mem,
		  struct runs *runs, struct stats *stats, uint64_t until_ns)
{
	uint64_t begin = now_ns(), done;
	struct run *run;

	while (runs->next < runs->nr) {
		run = &runs->run[runs->next];
		done = release_piece(how, mem, run, stats);
		run->start += done;
		run->length -= done;
		if (!run->length)
			runs->next++;
		if (until_ns != NEVER_NS && now_ns() >= until_ns)
			break;
	}
	stats->release_ns += now_ns() - begin;
	if (runs->next < runs->nr)
		return false;
	runs_clear(runs);
	return true;
}
