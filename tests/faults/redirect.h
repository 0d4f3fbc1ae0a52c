/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Probes that send a call elsewhere.
 *
 * The kernel turns a probe that stays for a while into a jump, and then takes no notice of
 * where its handler has sent the call; but not one that has something to do after the
 * call's first instruction, too: Documentation/trace/kprobes.rst, "How Does Jump
 * Optimization Work?".
 */
#ifndef AERATION_FAULTS_REDIRECT_H
#define AERATION_FAULTS_REDIRECT_H

#include <linux/kprobes.h>

static void never_a_jump(struct kprobe *probe, struct pt_regs *regs,
			 unsigned long flags)
{
}

NOKPROBE_SYMBOL(never_a_jump);

#endif /* AERATION_FAULTS_REDIRECT_H */
