/* SPDX-License-Identifier: GPL-2.0 */
/* Drop what the daemon does not need. */
#ifndef HINTD_SANDBOX_H
#define HINTD_SANDBOX_H

#include <stdbool.h>

bool sandbox_enter(bool files);

#endif /* HINTD_SANDBOX_H */
