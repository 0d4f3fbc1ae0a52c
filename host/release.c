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
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include "log.h"
#include "release.h"

static void punch(const struct region *region, uint64_t start, uint64_t length,
		  struct stats *stats)
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
	if (!stats->release_errors++)
		say("cannot give memory back (%s): the guest's has to be a file with holes, as of -object memory-backend-memfd",
		    strerror(errno));
}

/* Only whole pages of the file: a part of a huge page cannot leave alone. */
static void release_part(const struct region *region, uint64_t start,
			 uint64_t length, struct stats *stats)
{
	uint64_t mask = region->page - 1;
	uint64_t first = (start + mask) & ~mask;
	uint64_t end = (start + length) & ~mask;

	if (first >= end) {
		stats->bytes_partial += length;
		return;
	}
	stats->bytes_partial += length - (end - first);
	punch(region, first, end - first, stats);
}

/**
 * release_runs - give memory back to the host
 * @mem: memory table
 * @runs: merged; what is not guest memory in them is left out
 * @stats: where to count
 *
 * The host may have taken it when this returns, not later.
 */
void release_runs(const struct memory *mem, const struct runs *runs,
		  struct stats *stats)
{
	const struct region *region;
	uint64_t guest, left, part;
	uint64_t begin = now_ns();
	size_t i;

	for (i = 0; i < runs->nr; i++) {
		guest = runs->run[i].start;
		left = runs->run[i].length;
		while (left) {
			region = memory_find(mem, guest, left, &part);
			if (!region)
				break;
			release_part(region, guest - region->guest, part,
				     stats);
			guest += part;
			left -= part;
		}
	}
	stats->release_ns += now_ns() - begin;
}
