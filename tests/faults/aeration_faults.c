// SPDX-License-Identifier: GPL-2.0
/*
 * For tests: have a kernel function fail once, without running it.
 *
 * Distribution kernels have no fault injection, but they have kprobes. Loaded
 * with a symbol, the module makes the next call of that function by a task of
 * the given name return the given value at once.
 */
#include <linux/atomic.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/string.h>
#include "redirect.h"

static char *symbol;
module_param(symbol, charp, 0444);
MODULE_PARM_DESC(symbol, "the function that is to fail");

static char *task = "modprobe";
module_param(task, charp, 0444);
MODULE_PARM_DESC(task, "beginning of the name of the task whose call fails");

static int value;
module_param(value, int, 0444);
MODULE_PARM_DESC(value, "what the call returns (0 for NULL)");

static int times = 1;
module_param(times, int, 0444);
MODULE_PARM_DESC(times, "how many calls fail");

static int skip;
module_param(skip, int, 0444);
MODULE_PARM_DESC(skip, "how many calls go well before that");

static atomic_t passing, left;

/* Runs in place of the function: the caller's return address is on the stack. */
static notrace noinline long fail(void)
{
	return value;
}

static int on_entry(struct kprobe *probe, struct pt_regs *regs)
{
	if (strncmp(current->comm, task, strlen(task)) ||
	    atomic_dec_if_positive(&passing) >= 0 ||
	    atomic_dec_if_positive(&left) < 0)
		return 0;
	instruction_pointer_set(regs, (unsigned long)fail);
	return 1;
}

NOKPROBE_SYMBOL(on_entry);

static struct kprobe probe = {
	.pre_handler = on_entry,
	.post_handler = never_a_jump,
};

static int __init faults_init(void)
{
	if (!symbol)
		return -EINVAL;
	atomic_set(&passing, skip);
	atomic_set(&left, times);
	probe.symbol_name = symbol;
	return register_kprobe(&probe);
}

static void __exit faults_exit(void)
{
	unregister_kprobe(&probe);
	pr_info("aeration_faults: %s failed %d of %d times\n", symbol,
		times - atomic_read(&left), times);
}

module_init(faults_init);
module_exit(faults_exit);
MODULE_DESCRIPTION("Makes a kernel function fail, for tests of aeration");
MODULE_AUTHOR("The Aeration authors");
MODULE_LICENSE("GPL");
