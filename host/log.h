/* SPDX-License-Identifier: GPL-2.0 */
/* What the daemon tells its operator: lines on standard error. */
#ifndef HINTD_LOG_H
#define HINTD_LOG_H

#include <stdbool.h>

void log_name(const char *name);
bool log_takes(int fd);
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif /* HINTD_LOG_H */
