// SPDX-License-Identifier: GPL-2.0
/*
 * Which files the daemon may use, by Landlock, linux/landlock.h. By number, so
 * that it can be built with older headers than the kernel's that it runs on.
 */
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "log.h"
#include "sandbox.h"

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset	444
#define SYS_landlock_add_rule		445
#define SYS_landlock_restrict_self	446
#endif

#define GET_VERSION	1U
#define PATH_BENEATH	1

/* Rights, and those that a version of the interface has. */
#define WRITE_FILE	(1ULL << 1)
#define READ_FILE	(1ULL << 2)
#define REMOVE_FILE	(1ULL << 5)
#define MAKE_REG	(1ULL << 8)
#define TRUNCATE	(1ULL << 14)
#define VERSION_1	((1ULL << 13) - 1)

/* By version less 1: REFER, TRUNCATE, nothing about files, IOCTL_DEV. */
static const uint64_t handled[] = {
	VERSION_1, VERSION_1 | 1ULL << 13, VERSION_1 | 3ULL << 13,
	VERSION_1 | 3ULL << 13, VERSION_1 | 7ULL << 13,
};

#define VERSIONS	((long)(sizeof(handled) / sizeof(handled[0])))

struct path_beneath {
	uint64_t allowed;
	int32_t folder;
} __attribute__((packed));

static bool allow(int ruleset, int folder, uint64_t rights)
{
	struct path_beneath rule = { .allowed = rights, .folder = folder };

	return folder < 0 || !syscall(SYS_landlock_add_rule, ruleset,
				      PATH_BENEATH, &rule, 0);
}

/* Then whoever takes the daemon over may use its user's files. */
static bool no_landlock(void)
{
	say("this kernel has no Landlock: which files are used is not limited");
	return true;
}

/**
 * landlock_files - use no files but those in some folders
 * @box: the folders
 *
 * Return: false, with errno, if that failed; a kernel without Landlock does not
 *	fail.
 */
bool landlock_files(const struct sandbox *box)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0,
			       GET_VERSION);
	uint64_t rights;
	int ruleset;
	bool ok;

	if (version < 0)
		return no_landlock();
	rights = handled[(version < VERSIONS ? version : VERSIONS) - 1];
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &rights,
			       sizeof(rights), 0);
	if (ruleset < 0)
		return false;
	ok = allow(ruleset, box->proc, READ_FILE) &&
	     allow(ruleset, box->stats, (WRITE_FILE | REMOVE_FILE | MAKE_REG |
					 TRUNCATE) & rights) &&
	     allow(ruleset, box->socket, REMOVE_FILE) &&
	     allow(ruleset, box->control, REMOVE_FILE) &&
	     !syscall(SYS_landlock_restrict_self, ruleset, 0);
	close(ruleset);
	return ok;
}
