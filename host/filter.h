/* SPDX-License-Identifier: GPL-2.0 */
/* Which system calls the daemon may use. */
#ifndef HINTD_FILTER_H
#define HINTD_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/audit.h>
#include "sandbox.h"

/* The kinds of machines that the list of calls is for. */
#if defined(__x86_64__)
#define FILTER_ARCH	AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define FILTER_ARCH	AUDIT_ARCH_AARCH64
#endif

struct sock_filter;

size_t filter_build(struct sock_filter *code, size_t most,
		    const struct sandbox *box);
bool filter_calls(const struct sandbox *box);

#endif /* HINTD_FILTER_H */
