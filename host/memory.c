// SPDX-License-Identifier: GPL-2.0
/*
 * Map what a front-end hands over, and find addresses in it.
 *
 * Each region is mapped in the middle of a reservation that nobody may touch.
 * So an address that the checks here let through by mistake ends the daemon
 * and reaches no memory, neither its own nor another region's.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <linux/magic.h>
#include "memory.h"

/* Unit of st_blocks, bytes: stat(2). */
#define STAT_BLOCK	512

/* Bits of a user-space address on the widest of machines. */
#define SIZE_LIMIT	(1ULL << 56)

static bool overlap(uint64_t a, uint64_t b, uint64_t a_size, uint64_t b_size)
{
	return a < b + b_size && b < a + a_size;
}

static const char *check_place(const struct memory *mem,
			       const struct region *new)
{
	const struct region *old;

	if (mem->nr == MEMORY_REGIONS_MAX)
		return "there are too many regions";
	if (!new->size || new->size > SIZE_LIMIT ||
	    new->guest > UINT64_MAX - new->size ||
	    new->user > UINT64_MAX - new->size ||
	    new->offset > (uint64_t)INT64_MAX - new->size)
		return "its size or place cannot be";
	for (old = mem->region; old < mem->region + mem->nr; old++)
		if (overlap(old->guest, new->guest, old->size, new->size) ||
		    overlap(old->user, new->user, old->size, new->size))
			return "it overlaps another region";
	return NULL;
}

/*
 * A hole in a memfd is filled again from the machine's memory. One in a pool of
 * huge pages, or on a file system with a limit, is filled from what others have
 * left there; where nothing is left, the guest dies of SIGBUS.
 */
static bool is_reserved(const struct statfs *fs)
{
	return fs->f_type != TMPFS_MAGIC || fs->f_blocks;
}

static const char *check_file(struct region *new)
{
	struct statfs fs;
	struct stat st;

	if (fstat(new->fd, &st) || fstatfs(new->fd, &fs) ||
	    !S_ISREG(st.st_mode))
		return "its descriptor is no file that could be memory";
	if (new->offset + new->size > (uint64_t)st.st_size)
		return "it ends behind the end of its file";
	new->dev = st.st_dev;
	new->ino = st.st_ino;
	new->reserved_place = is_reserved(&fs);
	new->page = fs.f_type == HUGETLBFS_MAGIC ? (uint64_t)fs.f_bsize :
						   (uint64_t)getpagesize();
	if (!new->page || (new->page & (new->page - 1)) ||
	    (new->guest | new->size | new->offset) & (new->page - 1))
		return "it is not made of whole pages of its file";
	return NULL;
}

/*
 * A page of the file before it and one after it stay without access; one more
 * is for alignment. None of it goes into a core dump: it is the guest's.
 */
static const char *map_guarded(struct region *new)
{
	uintptr_t first;

	new->reserved_size = new->size + 3 * new->page;
	new->reserved = mmap(NULL, new->reserved_size, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			     0);
	if (new->reserved == MAP_FAILED)
		return "there is no room to map it";
	first = ((uintptr_t)new->reserved + 2 * new->page - 1) &
		~(uintptr_t)(new->page - 1);
	new->map = mmap((void *)first, new->size, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_FIXED | MAP_NORESERVE, new->fd,
			(off_t)new->offset);
	if (new->map == MAP_FAILED || madvise(new->map, new->size,
					      MADV_DONTDUMP)) {
		munmap(new->reserved, new->reserved_size);
		return "its file cannot be mapped for reading and writing";
	}
	return NULL;
}

/**
 * memory_add - map a region
 * @mem: memory table to add it to
 * @guest: guest physical address
 * @size: bytes
 * @user: address in the front-end
 * @offset: where it begins in its file
 * @fd: the file; taken over, unless there is an error
 *
 * Return: NULL, or why it cannot be used, in words.
 */
const char *memory_add(struct memory *mem, uint64_t guest, uint64_t size,
		       uint64_t user, uint64_t offset, int fd)
{
	struct region *place;
	struct region new = {
		.guest = guest,
		.size = size,
		.user = user,
		.offset = offset,
		.fd = fd,
	};
	const char *why;

	why = check_place(mem, &new);
	if (!why)
		why = check_file(&new);
	if (!why)
		why = map_guarded(&new);
	if (why)
		return why;
	place = mem->region + mem->nr;
	while (place > mem->region && place[-1].guest > guest)
		place--;
	memmove(place + 1, place,
		(size_t)(mem->region + mem->nr - place) * sizeof(*place));
	*place = new;
	mem->nr++;
	return NULL;
}

static void unmap(struct region *old)
{
	munmap(old->reserved, old->reserved_size);
	close(old->fd);
}

/**
 * memory_remove - unmap a region and close its file
 * @mem: memory table
 * @guest: guest physical address
 * @size: bytes
 * @user: address in the front-end
 *
 * Return: false if there is no such region.
 */
bool memory_remove(struct memory *mem, uint64_t guest, uint64_t size,
		   uint64_t user)
{
	struct region *old, *end = mem->region + mem->nr;

	for (old = mem->region; old < end; old++) {
		if (old->guest != guest || old->size != size ||
		    old->user != user)
			continue;
		unmap(old);
		memmove(old, old + 1, (size_t)(end - old - 1) * sizeof(*old));
		mem->nr--;
		return true;
	}
	return false;
}

/**
 * memory_clear - unmap all regions and close their files
 * @mem: memory table; empty afterwards
 */
void memory_clear(struct memory *mem)
{
	while (mem->nr)
		unmap(&mem->region[--mem->nr]);
}

/**
 * memory_find - find the region of an address
 * @mem: memory table
 * @guest: guest physical address
 * @length: bytes of interest
 * @part: set to how many of them the region has, not 0 unless @length is
 *
 * Return: the region, or NULL if the address is not guest memory.
 */
const struct region *memory_find(const struct memory *mem, uint64_t guest,
				 uint64_t length, uint64_t *part)
{
	unsigned int first = 0, behind = mem->nr, middle;
	const struct region *region;
	uint64_t left;

	/* The last one that does not begin behind it. */
	while (first < behind) {
		middle = (first + behind) / 2;
		if (mem->region[middle].guest <= guest)
			first = middle + 1;
		else
			behind = middle;
	}
	if (!first)
		return NULL;
	region = &mem->region[first - 1];
	if (guest - region->guest >= region->size)
		return NULL;
	left = region->size - (guest - region->guest);
	*part = length < left ? length : left;
	return region;
}

/**
 * memory_covers - is all of it guest memory?
 * @mem: memory table
 * @guest: guest physical address
 * @length: bytes; they may lie in several regions
 *
 * Return: whether every byte is. No bytes are, of course.
 */
bool memory_covers(const struct memory *mem, uint64_t guest, uint64_t length)
{
	uint64_t part;

	while (length) {
		if (!memory_find(mem, guest, length, &part))
			return false;
		guest += part;
		length -= part;
	}
	return true;
}

/**
 * memory_read - copy from guest memory
 * @mem: memory table
 * @guest: guest physical address
 * @to: where to
 * @length: bytes; they may lie in several regions
 *
 * The guest may write there meanwhile; each byte is read once.
 *
 * Return: false if a part is not guest memory; @to may be half filled then.
 */
bool memory_read(const struct memory *mem, uint64_t guest, void *to,
		 size_t length)
{
	const struct region *region;
	uint8_t *out = to;
	uint64_t part;

	while (length) {
		region = memory_find(mem, guest, length, &part);
		if (!region)
			return false;
		memcpy(out, region->map + (guest - region->guest),
		       (size_t)part);
		guest += part;
		out += part;
		length -= (size_t)part;
	}
	return true;
}

/**
 * memory_at - where an address of the front-end is here
 * @mem: memory table
 * @user: address in the front-end
 * @length: bytes; all of them have to lie in one region
 *
 * Return: the place, good until the memory table changes; NULL if there is none.
 */
uint8_t *memory_at(const struct memory *mem, uint64_t user, uint64_t length)
{
	const struct region *region;

	for (region = mem->region; region < mem->region + mem->nr; region++)
		if (user >= region->user && length <= region->size &&
		    user - region->user <= region->size - length)
			return region->map + (user - region->user);
	return NULL;
}

/**
 * memory_backed - how much of the guest's memory the host backs
 * @mem: memory table
 *
 * A file that holds several regions counts once, whole.
 *
 * Return: bytes.
 */
uint64_t memory_backed(const struct memory *mem)
{
	const struct region *one = mem->region, *other;
	uint64_t bytes = 0;
	struct stat st;

	for (; one < mem->region + mem->nr; one++) {
		for (other = mem->region; other < one; other++)
			if (other->dev == one->dev && other->ino == one->ino)
				break;
		if (other == one && !fstat(one->fd, &st))
			bytes += (uint64_t)st.st_blocks * STAT_BLOCK;
	}
	return bytes;
}
