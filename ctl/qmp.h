/* SPDX-License-Identifier: GPL-2.0 */
/* QEMU's monitor: docs/interop/qmp-spec.rst of QEMU. */
#ifndef CTL_QMP_H
#define CTL_QMP_H

#include <sys/types.h>
#include "json.h"

/**
 * struct qmp - a connection
 * @fd: the socket, or -1
 * @pid: the process that listens at its other end, or 0
 * @text: what came last
 * @len: bytes of that
 * @size: bytes that @text has room for
 */
struct qmp {
	int fd;
	pid_t pid;
	char *text;
	size_t len;
	size_t size;
};

/**
 * enum qmp_end - how a question ended
 * @QMP_ANSWERED: with an answer
 * @QMP_REFUSED: QEMU does not know it, or cannot do it
 * @QMP_GONE: there is no answer; that was complained of
 */
enum qmp_end {
	QMP_ANSWERED,
	QMP_REFUSED,
	QMP_GONE,
};

bool qmp_open(struct qmp *q, const char *path);
enum qmp_end qmp_ask(struct qmp *q, struct json *answer, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void qmp_close(struct qmp *q);

#endif /* CTL_QMP_H */
