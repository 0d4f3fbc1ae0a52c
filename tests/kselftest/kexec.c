// SPDX-License-Identifier: GPL-2.0
/*
 * Have this kernel make way for another one (kexec_load(2), kexec_file_load(2),
 * reboot(2)).
 *
 *	kexec				now, for a processor that halts
 *	kexec KERNEL INITRD LINE	now, for a kernel
 *	kexec -p KERNEL INITRD LINE	when this one crashes, for a kernel that can save a
 *					dump of it
 *
 * The first is for whoever looks at what the kernel did before that. A domain of Xen
 * does not even get there, but asks its host for a soft reset.
 */
#include <fcntl.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE_BYTES	4096

/* Where any machine has memory, above what is for firmware: 16 MiB. */
#define ENTRY		0x1000000UL

static const unsigned char halt[] = {
	0xfa,		/* cli */
	0xf4,		/* hlt */
	0xeb, 0xfd,	/* jmp to the hlt */
};

static void fail(const char *what)
{
	fprintf(stderr, "kexec: ");
	perror(what);
	exit(1);
}

static int open_or_fail(const char *path)
{
	int fd = open(path, O_RDONLY);

	if (fd < 0)
		fail(path);
	return fd;
}

static void load_halt(void)
{
	struct kexec_segment segment = {
		.buf = halt,
		.bufsz = sizeof(halt),
		.mem = (void *)ENTRY,
		.memsz = PAGE_BYTES,
	};

	if (syscall(SYS_kexec_load, ENTRY, 1UL, &segment,
		    (unsigned long)KEXEC_ARCH_DEFAULT))
		fail("kexec_load");
}

static void load_kernel(char **words, unsigned long flags)
{
	int kernel = open_or_fail(words[0]), initrd = open_or_fail(words[1]);

	if (syscall(SYS_kexec_file_load, kernel, initrd, strlen(words[2]) + 1,
		    words[2], flags))
		fail("kexec_file_load");
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "-p")) {
		load_kernel(argv + 2, KEXEC_FILE_ON_CRASH);
		return 0;
	}
	if (argc == 4 && argv[1][0] != '-') {
		load_kernel(argv + 1, 0);
	} else if (argc == 1) {
		load_halt();
	} else {
		fprintf(stderr, "usage: kexec [[-p] KERNEL INITRD LINE]\n");
		return 2;
	}
	sync();
	syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
		LINUX_REBOOT_CMD_KEXEC, NULL);
	fail("reboot");
	return 1;
}
