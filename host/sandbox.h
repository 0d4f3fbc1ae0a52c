/* SPDX-License-Identifier: GPL-2.0 */
/* Drop what the daemon does not need. */
#ifndef HINTD_SANDBOX_H
#define HINTD_SANDBOX_H

#include <fcntl.h>
#include <stdbool.h>

/* How files are opened by openat(), and the sandbox lets no other flags pass. */
#define SANDBOX_READ	(O_RDONLY | O_CLOEXEC)
#define SANDBOX_CREATE	(O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC)

/**
 * struct sandbox - what the daemon may still do with files
 * @proc: folder in which it may open files to read, or -1
 * @stats: folder in which it may write and replace files, or -1
 * @socket: folder in which it may remove its socket, or -1
 * @control: likewise, of the control socket
 */
struct sandbox {
	int proc;
	int stats;
	int socket;
	int control;
};

bool sandbox_user(const char *name);
bool sandbox_enter(const struct sandbox *box);

/* landlock.c */
bool landlock_files(const struct sandbox *box);

#endif /* HINTD_SANDBOX_H */
