// SPDX-License-Identifier: GPL-2.0
/*
 * Count the pages of all of the guest's memory that are full of one 64-bit word:
 * what somebody left behind who had the memory before.
 *
 *	memseek WORD
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

/* The kernel's own image is mapped a second time up here (Documentation/arch/x86/x86_64/mm.rst). */
#define IMAGE_START	0xffffffff80000000UL

static void fail(const char *what)
{
	perror(what);
	exit(2);
}

static unsigned long full_pages(const uint64_t *words, size_t bytes,
				uint64_t word)
{
	unsigned long found = 0;
	size_t page, i;

	for (page = 0; page < bytes / PAGE_BYTES; page++) {
		const uint64_t *p = words + page * PAGE_BYTES / sizeof(word);

		for (i = 0; i < PAGE_BYTES / sizeof(word); i++)
			if (p[i] != word)
				break;
		found += i == PAGE_BYTES / sizeof(word);
	}
	return found;
}

static unsigned long seek(int fd, const Elf64_Phdr *segment, uint64_t word,
			  unsigned long *pages)
{
	static uint64_t chunk[CHUNK / sizeof(uint64_t)];
	unsigned long found = 0;
	uint64_t at;

	for (at = 0; at < segment->p_memsz; at += CHUNK) {
		uint64_t left = segment->p_memsz - at;
		ssize_t got = pread(fd, chunk, left < CHUNK ? left : CHUNK,
				    segment->p_offset + at);

		if (got < 0)
			fail("memseek: /proc/kcore");
		*pages += got / PAGE_BYTES;
		found += full_pages(chunk, got, word);
	}
	/* What was found must not be found again. */
	memset(chunk, 0, sizeof(chunk));
	return found;
}

int main(int argc, char **argv)
{
	static Elf64_Phdr segments[SEGMENTS_MAX];
	unsigned long found = 0, pages = 0;
	Elf64_Ehdr head;
	uint64_t word;
	size_t bytes;
	int fd, i;

	if (argc != 2) {
		fprintf(stderr, "usage: memseek WORD\n");
		return 2;
	}
	word = strtoull(argv[1], NULL, 0);
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
			found += seek(fd, &segments[i], word, &pages);
	printf("pages %lu found %lu\n", pages, found);
	return 0;
}
