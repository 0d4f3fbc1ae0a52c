/* SPDX-License-Identifier: GPL-2.0 */
/* The guest's memory: what a front-end hands over, mapped here. */
#ifndef HINTD_MEMORY_H
#define HINTD_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Most regions, as many as a guest's machine may have: eight in a table, or one
 * a message with CONFIGURE_MEM_SLOTS. QEMU's own library has the same number.
 */
#define MEMORY_REGIONS_MAX	509

/**
 * struct region - a piece of guest memory that is contiguous in everything
 * @guest: guest physical address
 * @size: bytes
 * @user: address in the front-end, which is how it names rings
 * @offset: where it begins in its file
 * @fd: the file; owned
 * @page: bytes in a page of the file: 4 KiB, or a huge page's
 * @reserved_place: somebody else may take the place of what is released: huge
 *	pages of a pool, and files on a file system of limited size
 * @dev: device of the file, for memory_backed()
 * @ino: the file on it
 * @map: where it is mapped here
 * @reserved: start of the reservation that @map lies in, see memory_add()
 * @reserved_size: bytes of the reservation
 */
struct region {
	uint64_t guest;
	uint64_t size;
	uint64_t user;
	uint64_t offset;
	int fd;
	uint64_t page;
	bool reserved_place;
	dev_t dev;
	ino_t ino;
	uint8_t *map;
	void *reserved;
	size_t reserved_size;
};

/**
 * struct memory - a memory table
 * @nr: how many regions
 * @region: they, by guest physical address; no two share one
 */
struct memory {
	unsigned int nr;
	struct region region[MEMORY_REGIONS_MAX];
};

const char *memory_add(struct memory *mem, uint64_t guest, uint64_t size,
		       uint64_t user, uint64_t offset, int fd);
bool memory_remove(struct memory *mem, uint64_t guest, uint64_t size,
		   uint64_t user);
void memory_clear(struct memory *mem);
const struct region *memory_find(const struct memory *mem, uint64_t guest,
				 uint64_t length, uint64_t *part);
bool memory_covers(const struct memory *mem, uint64_t guest, uint64_t length);
bool memory_read(const struct memory *mem, uint64_t guest, void *to,
		 size_t length);
uint8_t *memory_at(const struct memory *mem, uint64_t user, uint64_t length);
uint64_t memory_backed(const struct memory *mem);

#endif /* HINTD_MEMORY_H */
