// SPDX-License-Identifier: GPL-2.0
/*
 * A guest that takes over the daemon should find nothing to do with it: no user
 * but an ordinary one, no new privileges by any program, no dump of the guest's
 * memory and nobody to look into it, no file but those that are needed, and no
 * system call but those listed.
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "filter.h"
#include "log.h"
#include "sandbox.h"

/**
 * sandbox_user - become somebody else, for good
 * @name: of the user, who has a password entry
 *
 * Return: false if that failed; the reason is told.
 */
bool sandbox_user(const char *name)
{
	struct passwd *user;

	errno = 0;
	user = getpwnam(name);
	if (!user) {
		say("--user %s: %s", name,
		    errno ? strerror(errno) : "there is no such user");
		return false;
	}
	if (!initgroups(name, user->pw_gid) && !setgid(user->pw_gid) &&
	    !setuid(user->pw_uid))
		return true;
	say("cannot become user %s: %s", name, strerror(errno));
	return false;
}

/**
 * sandbox_enter - drop what the daemon does not need, for good
 * @box: what it needs of files
 *
 * Return: false if that failed; the reason is told.
 */
bool sandbox_enter(const struct sandbox *box)
{
	if (!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	    !prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) &&
	    landlock_files(box) && filter_calls(box))
		return true;
	say("cannot drop privileges: %s; --no-sandbox runs without that",
	    strerror(errno));
	return false;
}
