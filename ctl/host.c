// SPDX-License-Identifier: GPL-2.0
/* From the host's side: does it work? */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "host.h"

static bool read_pid(const char *text, pid_t *pid)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(text, &end, 10);
	*pid = (pid_t)value;
	return !errno && *text && !*end && value > 0 && *pid == value;
}

/**
 * host_command - aerationctl host [--qmp SOCKET | --qemu PID]
 * @argc: how many arguments
 * @argv: they
 *
 * Return: the exit status.
 */
enum ctl_exit host_command(int argc, char **argv)
{
	struct host_options o = { .pace = PACE };
	int i;

	for (i = 0; i < argc; i += 2) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;

		switch (pace_option(argv[i], value, &o.pace)) {
		case PACE_WRONG:
			return EXIT_USAGE;
		case PACE_TAKEN:
			o.lines = true;
			continue;
		case PACE_OTHER:
			break;
		}
		if (strcmp(argv[i], "--qmp") && strcmp(argv[i], "--qemu")) {
			complain("\"%s\" is not known here; see aerationctl --help",
				 argv[i]);
			return EXIT_USAGE;
		}
		if (!value) {
			complain("%s wants a value", argv[i]);
			return EXIT_USAGE;
		}
		if (!strcmp(argv[i], "--qmp")) {
			o.qmp = value;
		} else if (!read_pid(value, &o.pid)) {
			complain("--qemu %s: that is no process", value);
			return EXIT_USAGE;
		}
	}
	if (o.qmp || o.pid)
		return host_of_qemu(&o);
	if (o.lines) {
		complain("--interval and --count are for a guest of QEMU, with --qmp or --qemu");
		return EXIT_USAGE;
	}
	return host_of_xen();
}
