// SPDX-License-Identifier: GPL-2.0
/*
 * Which system calls the daemon may use, and with which arguments, by seccomp.
 * What is not listed fails with EPERM and kills nobody, because C libraries ask
 * for things that they can do without.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include "filter.h"

#ifdef FILTER_ARCH

static const unsigned int calls[] = {
	/* waiting, and talking to the front-end */
#ifdef SYS_poll
	SYS_poll,
#endif
	SYS_ppoll, SYS_accept4, SYS_recvmsg, SYS_sendto, SYS_getsockopt,
	SYS_read, SYS_write, SYS_writev, SYS_close,
	/* guest memory, and who has pinned it */
	SYS_munmap, SYS_madvise, SYS_fallocate, SYS_fstat, SYS_fstatfs,
	SYS_pread64,
	/* what the C library does with memory, time and signals */
	SYS_brk, SYS_mremap, SYS_futex, SYS_clock_gettime, SYS_rt_sigreturn,
	SYS_restart_syscall, SYS_sysinfo, SYS_geteuid, SYS_exit, SYS_exit_group,
	/* fstat() of newer C libraries */
	SYS_newfstatat,
};

/* Room for all rules. */
#define MOST	256

/* An argument's low half; none that is looked at has anything in the other. */
#define ARG(i)	((uint32_t)offsetof(struct seccomp_data, args[i]))

struct program {
	struct sock_filter *code;
	size_t most;
	size_t nr;
};

static void add(struct program *p, uint16_t code, uint32_t k, uint8_t if_so,
		uint8_t if_not)
{
	if (p->nr < p->most)
		p->code[p->nr] = (struct sock_filter)BPF_JUMP(code, k, if_so,
							      if_not);
	p->nr++;
}

static void load(struct program *p, size_t offset)
{
	add(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void finish(struct program *p, uint32_t action)
{
	add(p, BPF_RET | BPF_K, action, 0, 0);
}

static void allow(struct program *p, unsigned int call)
{
	add(p, BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1);
	finish(p, SECCOMP_RET_ALLOW);
}

/* Allow a call if an argument has a value. The call's number is loaded. */
static void allow_value(struct program *p, unsigned int call, int arg,
			uint32_t value)
{
	add(p, BPF_JMP | BPF_JEQ | BPF_K, call, 0, 4);
	load(p, ARG(arg));
	add(p, BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
	finish(p, SECCOMP_RET_ALLOW);
	load(p, offsetof(struct seccomp_data, nr));
}

/* As long as memory cannot be executed. */
static void allow_without_exec(struct program *p, unsigned int call)
{
	add(p, BPF_JMP | BPF_JEQ | BPF_K, call, 0, 4);
	load(p, ARG(2));
	add(p, BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 1, 0);
	finish(p, SECCOMP_RET_ALLOW);
	load(p, offsetof(struct seccomp_data, nr));
}

/*
 * By a folder and with these flags. What a path says may lead out of the folder;
 * that is Landlock's to refuse.
 */
static void allow_open(struct program *p, int folder, uint32_t flags)
{
	if (folder < 0)
		return;
	add(p, BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 6);
	load(p, ARG(0));
	add(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)folder, 0, 3);
	load(p, ARG(2));
	add(p, BPF_JMP | BPF_JEQ | BPF_K, flags, 0, 1);
	finish(p, SECCOMP_RET_ALLOW);
	load(p, offsetof(struct seccomp_data, nr));
}

static void allow_rename(struct program *p, int folder)
{
	static const unsigned int kinds[] = {
		SYS_renameat2,
#ifdef SYS_renameat
		SYS_renameat,
#endif
	};
	size_t i;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		allow_value(p, kinds[i], 0, (uint32_t)folder);
}

/**
 * filter_build - write the program that the kernel runs at each system call
 * @code: room for it
 * @most: instructions that there is room for
 * @box: folders that files may be opened in
 *
 * Return: instructions that it has; it is cut if they are more than @most.
 */
size_t filter_build(struct sock_filter *code, size_t most,
		    const struct sandbox *box)
{
	struct program program = { .code = code, .most = most };
	struct program *p = &program;
	size_t i;

	load(p, offsetof(struct seccomp_data, arch));
	add(p, BPF_JMP | BPF_JEQ | BPF_K, FILTER_ARCH, 1, 0);
	finish(p, SECCOMP_RET_KILL_PROCESS);
	load(p, offsetof(struct seccomp_data, nr));
	for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		allow(p, calls[i]);
	allow_value(p, SYS_setsockopt, 2, SO_PASSCRED);
	allow_value(p, SYS_fcntl, 1, F_GETFL);
	allow_value(p, SYS_fcntl, 1, F_SETFL);
	allow_without_exec(p, SYS_mmap);
	allow_without_exec(p, SYS_mprotect);
	allow_open(p, box->proc, SANDBOX_READ);
	if (box->socket >= 0)
		allow_value(p, SYS_unlinkat, 0, (uint32_t)box->socket);
	if (box->control >= 0)
		allow_value(p, SYS_unlinkat, 0, (uint32_t)box->control);
	if (box->stats >= 0) {
		allow(p, SYS_lseek);
		allow_open(p, box->stats, SANDBOX_CREATE);
		allow_value(p, SYS_unlinkat, 0, (uint32_t)box->stats);
		allow_rename(p, box->stats);
	}
	finish(p, SECCOMP_RET_ERRNO | EPERM);
	return p->nr;
}

/**
 * filter_calls - use no system calls but those that are needed
 * @box: folders that files may be opened in
 *
 * Return: false, with errno, if that failed.
 */
bool filter_calls(const struct sandbox *box)
{
	struct sock_filter code[MOST];
	size_t nr = filter_build(code, MOST, box);
	struct sock_fprog prog = {
		.filter = code,
		.len = (unsigned short)nr,
	};

	if (nr > MOST) {
		errno = E2BIG;
		return false;
	}
	return !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
}

#else

/* The list above was never tried on this machine's kind. */
bool filter_calls(const struct sandbox *box)
{
	(void)box;
	return true;
}

#endif
