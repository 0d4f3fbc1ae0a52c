// SPDX-License-Identifier: GPL-2.0
/*
 * A guest that takes over the daemon should find nothing to do with it: no new
 * privileges by any program, and no system call but those listed. What is not
 * listed fails with EPERM and kills nobody, because C libraries ask for things
 * that they can do without.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include "log.h"
#include "sandbox.h"

#if defined(__x86_64__)
#define ARCH	AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH	AUDIT_ARCH_AARCH64
#endif

#ifdef ARCH

static const unsigned int allowed[] = {
	/* waiting, and talking to the front-end */
#ifdef SYS_poll
	SYS_poll,
#endif
	SYS_ppoll, SYS_accept4, SYS_recvmsg, SYS_sendto, SYS_read, SYS_write,
	SYS_writev, SYS_close, SYS_fcntl,
	/* guest memory */
	SYS_mmap, SYS_munmap, SYS_fallocate, SYS_fstat, SYS_fstatfs,
	/* what the C library does with memory, time and signals */
	SYS_brk, SYS_mprotect, SYS_mremap, SYS_futex, SYS_clock_gettime,
	SYS_rt_sigreturn, SYS_restart_syscall, SYS_sysinfo, SYS_exit,
	SYS_exit_group,
	/* removing the socket */
#ifdef SYS_unlink
	SYS_unlink,
#endif
	SYS_unlinkat,
	/* fstat() of newer C libraries */
	SYS_newfstatat,
};

/* Only for a statistics file. */
static const unsigned int for_files[] = {
	SYS_openat, SYS_lseek, SYS_ioctl,
#ifdef SYS_rename
	SYS_rename,
#endif
	SYS_renameat2,
};

#define MOST	(8 + 2 * (sizeof(allowed) + sizeof(for_files)) / \
		     sizeof(allowed[0]))

struct program {
	struct sock_filter code[MOST];
	unsigned short nr;
};

static void add(struct program *p, unsigned short code, unsigned int k,
		unsigned char if_not)
{
	p->code[p->nr++] = (struct sock_filter)BPF_JUMP(code, k, 0, if_not);
}

static void allow(struct program *p, const unsigned int *calls, size_t nr)
{
	size_t i;

	for (i = 0; i < nr; i++) {
		add(p, BPF_JMP | BPF_JEQ | BPF_K, calls[i], 1);
		add(p, BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0);
	}
}

static void build(struct program *p, bool files)
{
	p->nr = 0;
	add(p, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch), 0);
	add(p, BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1);
	add(p, BPF_JMP | BPF_JA, 1, 0);
	add(p, BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS, 0);
	add(p, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr), 0);
	allow(p, allowed, sizeof(allowed) / sizeof(allowed[0]));
	if (files)
		allow(p, for_files, sizeof(for_files) / sizeof(for_files[0]));
	add(p, BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM, 0);
}

static bool filter(bool files)
{
	struct program p;
	struct sock_fprog prog = { .filter = p.code };

	build(&p, files);
	prog.len = p.nr;
	return !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
}

#else

/* The list above was never tried on this machine's kind. */
static bool filter(bool files)
{
	(void)files;
	return true;
}

#endif

/**
 * sandbox_enter - drop what the daemon does not need, for good
 * @files: it still has to write a file
 *
 * Return: false if that failed; the reason is told.
 */
bool sandbox_enter(bool files)
{
	if (!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && filter(files))
		return true;
	say("cannot drop privileges: %s; --no-sandbox runs without that",
	    strerror(errno));
	return false;
}
