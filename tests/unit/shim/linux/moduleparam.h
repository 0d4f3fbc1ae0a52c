/* SPDX-License-Identifier: GPL-2.0 */
/* Nothing of it is used by pure code. */
#ifndef SHIM_LINUX_MODULEPARAM_H
#define SHIM_LINUX_MODULEPARAM_H

struct kernel_param_ops;

#endif
