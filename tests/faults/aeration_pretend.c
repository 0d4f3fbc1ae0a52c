// SPDX-License-Identifier: GPL-2.0
/*
 * For tests: have the core believe that its guest is another one than it is,
 * and, if that is one on Hyper-V, be what it takes for the hypervisor.
 *
 * What the core knows of the host goes through the functions of core/choose/rules.c as
 * their first argument. Probes on those change it. They are there before the
 * core's init function runs, if this is loaded first.
 *
 * The stand-in for Hyper-V takes a hint as the description of the hypercall has
 * it, and does what the hint allows: it overwrites the pages.
 */
#define pr_fmt(fmt) "aeration_pretend: " fmt

#include <linux/io.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/string.h>
#include "../../core/choose/choose.h"
#include "redirect.h"

static char *host = "";
module_param(host, charp, 0444);
MODULE_PARM_DESC(host, "xen, dom0, hyperv or confidential");

static bool announce;
module_param(announce, bool, 0644);
MODULE_PARM_DESC(announce, "Hyper-V says that it takes memory heat hints");

static unsigned int result;
module_param(result, uint, 0644);
MODULE_PARM_DESC(result, "what the hypercall answers, once most ranges are done");

static unsigned int most = 4095;
module_param(most, uint, 0644);
MODULE_PARM_DESC(most, "how many ranges one hypercall does");

static unsigned long hints, ranges, wrong;
module_param(hints, ulong, 0444);
MODULE_PARM_DESC(hints, "hypercalls made");
module_param(ranges, ulong, 0444);
MODULE_PARM_DESC(ranges, "ranges taken");
module_param(wrong, ulong, 0444);
MODULE_PARM_DESC(wrong, "hints that are not what they should be");

static int on_facts(struct kprobe *probe, struct pt_regs *regs)
{
	struct choose_facts *facts = (void *)regs->di;

	facts->on_xen |= !strcmp(host, "xen") || !strcmp(host, "dom0");
	facts->dom0 |= !strcmp(host, "dom0");
	facts->on_hyperv |= !strcmp(host, "hyperv");
	facts->confidential |= !strcmp(host, "confidential");
	return 0;
}

NOKPROBE_SYMBOL(on_facts);

/* These two run in place of a function, and return to its caller. */
static notrace noinline bool stand_in_cap(u64 bit)
{
	return READ_ONCE(announce) && bit == BIT(8);
}

static void discard(u64 range)
{
	u64 address = range >> 21 << 21;
	u64 bytes = ((range & 0x7ff) + 1) << 21;

	if (!(range & BIT(11)) || range & 0x1ff000 ||
	    !pfn_valid(address >> PAGE_SHIFT) ||
	    !pfn_valid((address + bytes - 1) >> PAGE_SHIFT)) {
		wrong++;
		return;
	}
	ranges++;
	memset(phys_to_virt(address), 0xdb, bytes);
}

static notrace noinline u64 stand_in_call(const u64 *page, unsigned int nr,
					  unsigned int start)
{
	unsigned int i, end = min(nr, start + READ_ONCE(most));

	hints++;
	if ((unsigned long)page & ~PAGE_MASK || page[0] != 2 || !nr || nr > 511)
		wrong++;
	for (i = start; i < end; i++)
		discard(page[1 + i]);
	return (u64)end << 32 | READ_ONCE(result);
}

static int on_cap(struct kprobe *probe, struct pt_regs *regs)
{
	instruction_pointer_set(regs, (unsigned long)stand_in_cap);
	return 1;
}

NOKPROBE_SYMBOL(on_cap);

static int on_call(struct kprobe *probe, struct pt_regs *regs)
{
	instruction_pointer_set(regs, (unsigned long)stand_in_call);
	return 1;
}

NOKPROBE_SYMBOL(on_call);

static struct kprobe core_probes[] = {
	{ .symbol_name = "aeration_choose_forbids", .pre_handler = on_facts },
	{ .symbol_name = "aeration_choose_against", .pre_handler = on_facts },
	{ .symbol_name = "aeration_choose_absent", .pre_handler = on_facts },
	{ .symbol_name = "aeration_choose_failed", .pre_handler = on_facts },
	{ .symbol_name = "aeration_choose_backend", .pre_handler = on_facts },
};

static struct kprobe cap_probe = {
	.symbol_name = "hv_query_ext_cap",
	.pre_handler = on_cap,
	.post_handler = never_a_jump,
};

static struct kprobe call_probe = {
	.symbol_name = "aeration_heat_call",
	.pre_handler = on_call,
	.post_handler = never_a_jump,
};

/* A probe that was taken away keeps an address that means nothing any more. */
static int probe(struct kprobe *one)
{
	int err;

	one->addr = NULL;
	one->flags = 0;
	err = register_kprobe(one);
	if (err)
		one->addr = NULL;
	return err;
}

static void unprobe(struct kprobe *one)
{
	if (one->addr)
		unregister_kprobe(one);
	one->addr = NULL;
}

static void each_probe(const char *module, void (*fn)(struct kprobe *one))
{
	unsigned int i;

	if (!strcmp(module, "aeration_hyperv"))
		fn(&call_probe);
	if (!strcmp(module, "aeration"))
		for (i = 0; i < ARRAY_SIZE(core_probes); i++)
			fn(&core_probes[i]);
}

static void probe_or_say(struct kprobe *one)
{
	int err = probe(one);

	if (err)
		pr_err("cannot probe %s: error %d\n", one->symbol_name, err);
}

static int on_module(struct notifier_block *nb, unsigned long action,
		     void *data)
{
	struct module *module = data;

	if (action == MODULE_STATE_COMING)
		each_probe(module->name, probe_or_say);
	else if (action == MODULE_STATE_GOING)
		each_probe(module->name, unprobe);
	return NOTIFY_DONE;
}

static struct notifier_block module_nb = { .notifier_call = on_module };

static int __init pretend_init(void)
{
	int err = probe(&cap_probe);

	if (err)
		return err;
	err = register_module_notifier(&module_nb);
	if (err)
		unregister_kprobe(&cap_probe);
	return err;
}

static void __exit pretend_exit(void)
{
	unregister_module_notifier(&module_nb);
	each_probe("aeration", unprobe);
	each_probe("aeration_hyperv", unprobe);
	unregister_kprobe(&cap_probe);
}

module_init(pretend_init);
module_exit(pretend_exit);
MODULE_DESCRIPTION("Makes aeration believe in another host, for tests");
MODULE_AUTHOR("The Aeration authors");
MODULE_LICENSE("GPL");
