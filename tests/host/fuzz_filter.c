// SPDX-License-Identifier: GPL-2.0
/*
 * Any system call against the filter, which is run here as the kernel runs it:
 * what passes is on a list that was written without looking at the filter's.
 *
 * Input: a struct folders, then struct seccomp_data.
 */
#include <string.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include "bench.h"
#include "filter.h"

/* Longest program that the kernel takes, linux/bpf_common.h. */
#define LONGEST	4096

struct folders {
	uint8_t there;		/* a bit each */
	uint8_t number[4];
} __attribute__((packed));

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Linux, Documentation/networking/filter.rst, as far as it is used. */
static uint32_t run(const struct sock_filter *code, size_t nr,
		    const struct seccomp_data *data)
{
	uint32_t a = 0;
	size_t at = 0;

	for (;;) {
		const struct sock_filter *f = &code[at++];
		bool so;

		MUST(at <= nr);
		switch (f->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			MUST(f->k % 4 == 0 && f->k < sizeof(*data));
			memcpy(&a, (const char *)data + f->k, sizeof(a));
			continue;
		case BPF_JMP | BPF_JEQ | BPF_K:
			so = a == f->k;
			break;
		case BPF_JMP | BPF_JSET | BPF_K:
			so = a & f->k;
			break;
		default:
			MUST(f->code == (BPF_RET | BPF_K));
			return f->k;
		}
		at += so ? f->jt : f->jf;
	}
}

static bool is_folder(uint64_t arg, int folder)
{
	return folder >= 0 && (uint32_t)arg == (uint32_t)folder;
}

/* Those that need a second look. */
static bool with_arguments(const struct seccomp_data *d,
			   const struct sandbox *box)
{
	switch (d->nr) {
	case SYS_mmap:
	case SYS_mprotect:
		return !(d->args[2] & PROT_EXEC);
	case SYS_setsockopt:
		return (uint32_t)d->args[2] == SO_PASSCRED;
	case SYS_fcntl:
		return (uint32_t)d->args[1] == F_GETFL ||
		       (uint32_t)d->args[1] == F_SETFL;
	case SYS_openat:
		return (is_folder(d->args[0], box->proc) &&
			(uint32_t)d->args[2] == SANDBOX_READ) ||
		       (is_folder(d->args[0], box->stats) &&
			(uint32_t)d->args[2] == SANDBOX_CREATE);
	case SYS_unlinkat:
		return is_folder(d->args[0], box->stats) ||
		       is_folder(d->args[0], box->socket) ||
		       is_folder(d->args[0], box->control);
	case SYS_renameat:
	case SYS_renameat2:
		return is_folder(d->args[0], box->stats);
	case SYS_lseek:
		return box->stats >= 0;
	}
	return false;
}

static bool harmless(int nr)
{
	static const int calls[] = {
#ifdef SYS_poll
		SYS_poll,
#endif
		SYS_accept4, SYS_brk, SYS_clock_gettime, SYS_close, SYS_exit,
		SYS_exit_group, SYS_fallocate, SYS_fstat, SYS_fstatfs,
		SYS_futex, SYS_geteuid, SYS_getsockopt, SYS_madvise,
		SYS_mremap, SYS_munmap, SYS_newfstatat, SYS_ppoll, SYS_pread64,
		SYS_read, SYS_recvmsg, SYS_restart_syscall, SYS_rt_sigreturn,
		SYS_sendto, SYS_sysinfo, SYS_write, SYS_writev,
	};
	size_t i;

	for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (calls[i] == nr)
			return true;
	return false;
}

static int folder(const struct folders *f, int i)
{
	return f->there >> i & 1 ? f->number[i] : -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct sock_filter code[LONGEST];
	struct folders folders;
	struct sandbox box;
	struct seccomp_data call;
	size_t nr;
	uint32_t verdict;

	if (size < sizeof(folders))
		return 0;
	memcpy(&folders, data, sizeof(folders));
	data += sizeof(folders);
	size -= sizeof(folders);
	box.proc = folder(&folders, 0);
	box.stats = folder(&folders, 1);
	box.socket = folder(&folders, 2);
	box.control = folder(&folders, 3);
	nr = filter_build(code, LONGEST, &box);
	MUST(nr && nr < LONGEST);
	for (; size >= sizeof(call); size -= sizeof(call),
	     data += sizeof(call)) {
		memcpy(&call, data, sizeof(call));
		verdict = run(code, nr, &call);
		if (call.arch != FILTER_ARCH) {
			MUST(verdict == SECCOMP_RET_KILL_PROCESS);
			continue;
		}
		MUST((verdict == SECCOMP_RET_ALLOW) ==
		     (harmless(call.nr) || with_arguments(&call, &box)));
	}
	return 0;
}
