// SPDX-License-Identifier: GPL-2.0
/*
 * Count the pages of all of the guest's memory that are full of a 64-bit word, for
 * each of some words: what somebody left behind who had the memory before.
 *
 *	memseek WORD...
 *
 * Reads /proc/kcore, which has free memory too, for a kernel that was booted with
 * init_on_alloc=0 init_on_free=0. The kernel's map of all memory is the segments
 * that say at which physical address they are; others show the same again or
 * are no memory.
 */
#include <elf.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE_BYTES	4096
#define CHUNK		(64 * PAGE_BYTES)
#define SEGMENTS_MAX	4096
#define WORDS_MAX	8

/* The kernel's own image is mapped a second time up here (Documentation/arch/x86/x86_64/mm.rst). */
#define IMAGE_START	0xffffffff80000000UL

static void fail(const char *what)
{
	perror(what);
	exit(2);
}

struct wanted {
	uint64_t word;
	unsigned long found;
};

static int is_full(const uint64_t *page)
{
	size_t i;

	for (i = 1; i < PAGE_BYTES / sizeof(*page); i++)
		if (page[i] != page[0])
			return 0;
	return 1;
}

static void look(const uint64_t *page, struct wanted *wanted, int count)
{
	int i;

	for (i = 0; i < count; i++)
		if (page[0] == wanted[i].word && is_full(page))
			wanted[i].found++;
}

static void seek(int fd, const Elf64_Phdr *segment, struct wanted *wanted,
		 int count, unsigned long *pages)
{
	static uint64_t chunk[CHUNK / sizeof(uint64_t)];
	uint64_t at;

	for (at = 0; at < segment->p_memsz; at += CHUNK) {
		uint64_t left = segment->p_memsz - at;
		ssize_t i, got = pread(fd, chunk, left < CHUNK ? left : CHUNK,
				       segment->p_offset + at);

		if (got < 0)
			fail("memseek: /proc/kcore");
		*pages += got / PAGE_BYTES;
		for (i = 0; i < got / PAGE_BYTES; i++)
			look(chunk + i * PAGE_BYTES / sizeof(*chunk), wanted,
			     count);
	}
	/* What was found must not be found again. */
	memset(chunk, 0, sizeof(chunk));
}

int main(int argc, char **argv)
{
	static Elf64_Phdr segments[SEGMENTS_MAX];
	struct wanted wanted[WORDS_MAX] = { };
	int fd, i, count = argc - 1;
	unsigned long pages = 0;
	Elf64_Ehdr head;
	size_t bytes;

	if (count < 1 || count > WORDS_MAX) {
		fprintf(stderr, "usage: memseek WORD... (up to %d)\n", WORDS_MAX);
		return 2;
	}
	for (i = 0; i < count; i++)
		wanted[i].word = strtoull(argv[i + 1], NULL, 0);
	fd = open("/proc/kcore", O_RDONLY);
	if (fd < 0 || pread(fd, &head, sizeof(head), 0) != sizeof(head))
		fail("memseek: /proc/kcore");
	bytes = head.e_phnum * sizeof(segments[0]);
	if (bytes > sizeof(segments) ||
	    pread(fd, segments, bytes, head.e_phoff) != (ssize_t)bytes)
		fail("memseek: segments of /proc/kcore");
	for (i = 0; i < head.e_phnum; i++)
		if (segments[i].p_type == PT_LOAD &&
		    segments[i].p_paddr != (Elf64_Addr)-1 &&
		    segments[i].p_vaddr < IMAGE_START)
			seek(fd, &segments[i], wanted, count, &pages);
	printf("pages %lu found", pages);
	for (i = 0; i < count; i++)
		printf(" %lu", wanted[i].found);
	printf("\n");
	return 0;
}
