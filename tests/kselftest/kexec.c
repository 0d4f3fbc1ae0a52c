// SPDX-License-Identifier: GPL-2.0
/*
 * Have this kernel make way for another one (kexec_load(2), reboot(2)).
 *
 *	kexec
 *
 * What would come next is a processor that halts: for whoever looks at what the
 * kernel did before that. A domain of Xen does not even get there, but asks its
 * host for a soft reset.
 */
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <stdio.h>
#include <stdlib.h>
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

int main(void)
{
	struct kexec_segment segment = {
		.buf = halt,
		.bufsz = sizeof(halt),
		.mem = (void *)ENTRY,
		.memsz = PAGE_BYTES,
	};

	if (syscall(SYS_kexec_load, ENTRY, 1UL, &segment,
		    (unsigned long)KEXEC_ARCH_DEFAULT)) {
		perror("kexec: kexec_load");
		return 1;
	}
	sync();
	syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
		LINUX_REBOOT_CMD_KEXEC, NULL);
	perror("kexec: reboot");
	return 1;
}
