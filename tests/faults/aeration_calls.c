// SPDX-License-Identifier: GPL-2.0
/*
 * For tests: have calls that one of our modules makes fail, without running them.
 *
 * Debian's kernels have no fault injection, and no error injection by function either
 * (CONFIG_FUNCTION_ERROR_INJECTION). They have kprobes. The function's first
 * instruction is probed, and the caller gets its answer at once. Not when the function
 * returns, as a kretprobe would do it: what it has registered or allocated by then
 * would stay, and the caller knows nothing of it.
 *
 * Only calls out of one module are hit. A call returns to where it came from, and that
 * is on top of the stack at the first instruction. So the module loader, which makes
 * the same calls for our modules, is not in the way, nor is anybody else. A function
 * that ends with a call jumps there, and the call returns to its own caller: that is
 * in the module too, unless it was the kernel that called.
 *
 * Loaded before the modules whose calls are to fail: it sees them come. One line for
 * each function is written to the parameter "fail", at most CALLS of them:
 *	MODULE SYMBOL VALUE SKIP TIMES
 * The first SKIP calls go well, and TIMES more return VALUE. Read from it is, for each,
 *	SYMBOL SEEN FAILED FUNCTION+OFFSET/SIZE [MODULE]
 * with where the last one was that failed. An empty line ends all.
 */
#define pr_fmt(fmt) "aeration_calls: " fmt

#include <linux/atomic.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/ptrace.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include "redirect.h"

/* Functions that can fail at a time. */
#define CALLS		3

/* Longest name, with the closing zero; as in the format of sscanf() below. */
#define NAME_SIZE	64

/* Where a call was, in words. */
#define PLACE_SIZE	96

static const char *const names[] = {
	"aeration", "aeration_virtio", "aeration_xen", "aeration_hyperv",
	"aeration_loop",
};

/* Those that are there; read by probes, which a module's end waits for. */
static struct module *there[ARRAY_SIZE(names)];

/**
 * struct call - a function whose calls fail
 * @symbol: its name
 * @from: whose calls, an index of @there
 * @value: what they return
 * @times: how many fail
 * @passing: how many go well before that
 * @left: how many are still to fail
 * @seen: how many there were
 * @place: where the last one was that failed
 * @armed: @probe is registered
 * @probe: on its first instruction
 */
struct call {
	char symbol[NAME_SIZE];
	int from;
	long value;
	int times;
	atomic_t passing;
	atomic_t left;
	atomic_t seen;
	char place[PLACE_SIZE];
	bool armed;
	struct kprobe probe;
};

static struct call calls[CALLS];
static DEFINE_MUTEX(calls_lock);	/* who arms and who reads, one at a time */

/* These run in place of a function: its return address is on the stack. */
static notrace noinline long fail_0(void)
{
	return calls[0].value;
}

static notrace noinline long fail_1(void)
{
	return calls[1].value;
}

static notrace noinline long fail_2(void)
{
	return calls[2].value;
}

static long (*const fail[CALLS])(void) = { fail_0, fail_1, fail_2 };

static bool is_of(const struct module *module, unsigned long address)
{
	return module && within_module(address, module);
}

static int on_entry(struct kprobe *probe, struct pt_regs *regs)
{
	struct call *call = container_of(probe, struct call, probe);
	unsigned long back = *(unsigned long *)kernel_stack_pointer(regs);

	if (!is_of(READ_ONCE(there[call->from]), back))
		return 0;
	atomic_inc(&call->seen);
	if (atomic_dec_if_positive(&call->passing) >= 0 ||
	    atomic_dec_if_positive(&call->left) < 0)
		return 0;
	/* Now: a module that is refused is gone when somebody reads it. */
	snprintf(call->place, sizeof(call->place), "%pS", (void *)back);
	instruction_pointer_set(regs, (unsigned long)fail[call - calls]);
	return 1;
}

NOKPROBE_SYMBOL(is_of);
NOKPROBE_SYMBOL(on_entry);

static void disarm(void)
{
	unsigned int i;

	for (i = 0; i < CALLS; i++)
		if (calls[i].armed) {
			unregister_kprobe(&calls[i].probe);
			calls[i].armed = false;
		}
}

static struct call *free_one(void)
{
	unsigned int i;

	for (i = 0; i < CALLS; i++)
		if (!calls[i].armed)
			return &calls[i];
	return NULL;
}

/* A call that was used before keeps nothing of that. */
static int parse(const char *text, struct call *call)
{
	char from[NAME_SIZE];
	int skip;

	memset(call, 0, sizeof(*call));
	if (sscanf(text, "%63s %63s %ld %d %d", from, call->symbol,
		   &call->value, &skip, &call->times) != 5)
		return -EINVAL;
	call->from = match_string(names, ARRAY_SIZE(names), from);
	if (call->from < 0)
		return call->from;
	atomic_set(&call->passing, skip);
	atomic_set(&call->left, call->times);
	return 0;
}

static int arm(const char *text)
{
	struct call *call = free_one();
	int err;

	if (!call)
		return -EBUSY;
	err = parse(text, call);
	if (err)
		return err;
	call->probe.symbol_name = call->symbol;
	call->probe.pre_handler = on_entry;
	call->probe.post_handler = never_a_jump;
	err = register_kprobe(&call->probe);
	call->armed = !err;
	return err;
}

static int set_fail(const char *val, const struct kernel_param *kp)
{
	int err = 0;

	mutex_lock(&calls_lock);
	if (*skip_spaces(val))
		err = arm(val);
	else
		disarm();
	mutex_unlock(&calls_lock);
	return err;
}

static int get_fail(char *buf, const struct kernel_param *kp)
{
	unsigned int i;
	int len = 0;

	mutex_lock(&calls_lock);
	for (i = 0; i < CALLS; i++)
		if (calls[i].armed)
			len += sysfs_emit_at(buf, len, "%s %d %d %s\n",
					     calls[i].symbol,
					     atomic_read(&calls[i].seen),
					     calls[i].times -
					     atomic_read(&calls[i].left),
					     calls[i].place);
	mutex_unlock(&calls_lock);
	return len;
}

static const struct kernel_param_ops fail_ops = {
	.set = set_fail,
	.get = get_fail,
};

module_param_cb(fail, &fail_ops, NULL, 0600);
MODULE_PARM_DESC(fail, "MODULE SYMBOL VALUE SKIP TIMES; empty: nothing fails");

/* One that goes, also because its start has failed, waits for RCU after this. */
static int on_module(struct notifier_block *nb, unsigned long action,
		     void *data)
{
	struct module *module = data;
	int i = match_string(names, ARRAY_SIZE(names), module->name);

	if (i >= 0 && action == MODULE_STATE_COMING)
		WRITE_ONCE(there[i], module);
	else if (i >= 0 && action == MODULE_STATE_GOING)
		WRITE_ONCE(there[i], NULL);
	return NOTIFY_DONE;
}

static struct notifier_block module_nb = { .notifier_call = on_module };

static int __init calls_init(void)
{
	return register_module_notifier(&module_nb);
}

static void __exit calls_exit(void)
{
	mutex_lock(&calls_lock);
	disarm();
	mutex_unlock(&calls_lock);
	unregister_module_notifier(&module_nb);
}

module_init(calls_init);
module_exit(calls_exit);
MODULE_DESCRIPTION("Makes calls of our modules fail, for tests of aeration");
MODULE_AUTHOR("The Aeration authors");
MODULE_LICENSE("GPL");
