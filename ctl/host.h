/* SPDX-License-Identifier: GPL-2.0 */
/* What a host says of its guests. */
#ifndef CTL_HOST_H
#define CTL_HOST_H

#include <sys/types.h>
#include "ctl.h"

/**
 * struct host_options - what was asked for
 * @qmp: path of a monitor of QEMU, or NULL
 * @pid: the process of a QEMU, or 0
 * @lines: more lines are wanted
 * @pace: how many, and how often
 */
struct host_options {
	const char *qmp;
	pid_t pid;
	bool lines;
	struct pace pace;
};

enum ctl_exit host_of_qemu(const struct host_options *o);
enum ctl_exit host_of_xen(void);

#endif /* CTL_HOST_H */
