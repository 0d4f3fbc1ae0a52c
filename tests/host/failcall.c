// SPDX-License-Identifier: GPL-2.0
/*
 * A library that is loaded before C's, by LD_PRELOAD, and has a call of a program fail.
 *
 *	FAILCALL="NAME ERRNO SKIP TIMES"	which: after SKIP that go well TIMES fail
 *	FAILCALL_IN=PROGRAM			whose; what it starts or was started by goes on
 *	FAILCALL_TO=FILE			gets a line for each that failed
 *
 * A call that fails is not made at all. What a library calls by itself is not seen: only
 * what a program has from another by name is, which is what nm -u lists of it.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Longest name of a call, with the closing zero; as in the format below. */
#define NAME_SIZE	32

static char name[NAME_SIZE];
static int error;
static long skip, times;
static int to = -1;

/* Whether this one is to fail; then errno is set. */
static bool fails(const char *call, ssize_t (*put)(int, const void *, size_t))
{
	if (!times || strcmp(call, name) || skip-- > 0)
		return false;
	skip = 0;
	times--;
	if (to >= 0 && put(to, "x\n", 2) != 2)
		abort();
	errno = error;
	return true;
}

/* The same of C's library, found when it is first called or as the program begins. */
static ssize_t (*real_write)(int fd, const void *data, size_t size);

#define REAL(call)							\
	static __typeof__(call) *real;					\
									\
	if (!real)							\
		real = (__typeof__(real))dlsym(RTLD_NEXT, #call)

/* result, name, what it returns if it fails, its parameters, their names */
#define CALL(result, call, bad, params, args)				\
result call params							\
{									\
	REAL(call);							\
	return fails(#call, real_write) ? bad : real args;		\
}

CALL(int, accept4, -1, (int fd, struct sockaddr *at, socklen_t *size, int flags),
     (fd, at, size, flags))
CALL(int, bind, -1, (int fd, const struct sockaddr *at, socklen_t size), (fd, at, size))
CALL(int, connect, -1, (int fd, const struct sockaddr *at, socklen_t size),
     (fd, at, size))
CALL(int, fallocate, -1, (int fd, int mode, off_t at, off_t size),
     (fd, mode, at, size))
CALL(int, fchownat, -1, (int dir, const char *path, uid_t uid, gid_t gid, int flags),
     (dir, path, uid, gid, flags))
CALL(int, fclose, EOF, (FILE *file), (file))
CALL(FILE *, fdopen, NULL, (int fd, const char *mode), (fd, mode))
CALL(FILE *, fmemopen, NULL, (void *at, size_t size, const char *mode),
     (at, size, mode))
CALL(int, fstat, -1, (int fd, struct stat *st), (fd, st))
CALL(int, fstatfs, -1, (int fd, struct statfs *st), (fd, st))
CALL(struct group *, getgrnam, NULL, (const char *of), (of))
CALL(struct passwd *, getpwnam, NULL, (const char *of), (of))
CALL(int, getsockopt, -1, (int fd, int level, int what, void *at, socklen_t *size),
     (fd, level, what, at, size))
CALL(int, initgroups, -1, (const char *user, gid_t gid), (user, gid))
CALL(int, listen, -1, (int fd, int most), (fd, most))
CALL(int, lstat, -1, (const char *path, struct stat *st), (path, st))
CALL(int, madvise, -1, (void *at, size_t size, int what), (at, size, what))
CALL(void *, mmap, MAP_FAILED,
     (void *at, size_t size, int access, int flags, int fd, off_t from),
     (at, size, access, flags, fd, from))
CALL(int, poll, -1, (struct pollfd *fds, nfds_t nr, int ms), (fds, nr, ms))
CALL(ssize_t, pread, -1, (int fd, void *at, size_t size, off_t from),
     (fd, at, size, from))
CALL(ssize_t, read, -1, (int fd, void *at, size_t size), (fd, at, size))
CALL(ssize_t, recvmsg, -1, (int fd, struct msghdr *msg, int flags), (fd, msg, flags))
CALL(int, renameat, -1, (int from, const char *old, int dir, const char *new),
     (from, old, dir, new))
CALL(ssize_t, send, -1, (int fd, const void *at, size_t size, int flags),
     (fd, at, size, flags))
CALL(int, setgid, -1, (gid_t gid), (gid))
CALL(int, setsockopt, -1,
     (int fd, int level, int what, const void *at, socklen_t size),
     (fd, level, what, at, size))
CALL(int, setuid, -1, (uid_t uid), (uid))
CALL(int, signalfd, -1, (int fd, const sigset_t *set, int flags), (fd, set, flags))
CALL(int, sigprocmask, -1, (int how, const sigset_t *set, sigset_t *old),
     (how, set, old))
CALL(int, socket, -1, (int domain, int kind, int protocol), (domain, kind, protocol))
CALL(int, unlink, -1, (const char *path), (path))
CALL(int, unlinkat, -1, (int dir, const char *path, int flags), (dir, path, flags))
CALL(ssize_t, write, -1, (int fd, const void *at, size_t size), (fd, at, size))

/* Those with as many arguments as they are given: no more than so many are passed on. */
#define VARIADIC(result, call, bad, first, last, nr, pass)		\
result call(first, ...)							\
{									\
	long arg[nr];							\
	va_list args;							\
	int i;								\
	REAL(call);							\
									\
	va_start(args, last);						\
	for (i = 0; i < nr; i++)					\
		arg[i] = va_arg(args, long);				\
	va_end(args);							\
	return fails(#call, real_write) ? bad : real pass;		\
}

VARIADIC(int, prctl, -1, int what, what, 4, (what, arg[0], arg[1], arg[2], arg[3]))
VARIADIC(long, syscall, -1, long number, number, 6,
	 (number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]))

int open(const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;
	REAL(open);

	va_start(args, flags);
	mode = va_arg(args, mode_t);
	va_end(args);
	return fails("open", real_write) ? -1 : real(path, flags, mode);
}

int fcntl(int fd, int what, ...)
{
	va_list args;
	long arg;
	REAL(fcntl);

	va_start(args, what);
	arg = va_arg(args, long);
	va_end(args);
	return fails("fcntl", real_write) ? -1 : real(fd, what, arg);
}

/* Before main(): what its sandbox does not allow any more is done by then. */
__attribute__((constructor)) static void begin(void)
{
	const char *what = getenv("FAILCALL"), *in = getenv("FAILCALL_IN");
	const char *path = getenv("FAILCALL_TO");
	int (*real_open)(const char *, int, ...);
	long most;

	real_write = (__typeof__(real_write))dlsym(RTLD_NEXT, "write");
	if (!what || !in || strcmp(in, program_invocation_short_name) ||
	    sscanf(what, "%31s %d %ld %ld", name, &error, &skip, &most) != 4)
		return;
	real_open = (__typeof__(real_open))dlsym(RTLD_NEXT, "open");
	if (path)
		to = real_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	times = most;
}
