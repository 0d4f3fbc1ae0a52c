// SPDX-License-Identifier: GPL-2.0
/*
 * What there is to know of the host, for rules.c.
 */
#include <linux/cc_platform.h>
#include <linux/crash_dump.h>
#include <linux/kernel.h>
#include <xen/xen.h>
#if IS_ENABLED(CONFIG_X86)
#include <asm/hypervisor.h>
#endif
#include "choose.h"

static bool host_is_hyperv(void)
{
#if IS_ENABLED(CONFIG_X86)
	return hypervisor_is_type(X86_HYPER_MS_HYPERV);
#else
	return false;
#endif
}

/* Realms of Arm's know the wider one alone, which on x86 is also true of a host. */
static bool is_confidential(void)
{
	return cc_platform_has(IS_ENABLED(CONFIG_ARM64) ?
			       CC_ATTR_MEM_ENCRYPT : CC_ATTR_GUEST_MEM_ENCRYPT);
}

/**
 * aeration_choose_gather - find out about the host
 * @f: what is about the host is set, what is about devices and wishes is left alone
 *
 * Context: any.
 */
void aeration_choose_gather(struct choose_facts *f)
{
	f->on_xen = xen_domain();
	f->dom0 = xen_initial_domain();
	f->on_hyperv = host_is_hyperv();
	f->confidential = is_confidential();
	f->capture = is_kdump_kernel();
}
