// SPDX-License-Identifier: GPL-2.0
/*
 * The innermost hypervisor is the only authority over guest frames. What an
 * outer one shows (a virtio balloon seen from inside a Xen domain, say) must be
 * left alone: guest frame numbers mean something else to it.
 */
#ifdef __KERNEL__
#include <linux/string.h>
#else
#include <string.h>
#endif
#include "choose.h"

static const char *const choose_names[] = {
	[AERATOR_XEN] = "xen",
	[AERATOR_HYPERV] = "hyperv",
	[AERATOR_VIRTIO] = "virtio",
	[AERATOR_LOOP] = "loop",
	[AERATOR_AUTO] = "auto",
	[AERATOR_NONE] = "none",
};

/**
 * aeration_choose_name - what a choice is called
 * @kind: a backend, AERATOR_AUTO or AERATOR_NONE
 *
 * Return: the word that aeration.backend= knows it by.
 */
const char *aeration_choose_name(enum aerator_kind kind)
{
	return choose_names[kind];
}

/**
 * aeration_choose_parse - what a word means
 * @name: value of aeration.backend=; one newline at its end is ignored
 *
 * Return: an enum aerator_kind, or -1 if there is no such choice.
 */
int aeration_choose_parse(const char *name)
{
	size_t len = strlen(name);
	int i;

	if (len && name[len - 1] == '\n')
		len--;
	for (i = 0; i <= AERATOR_NONE; i++)
		if (strlen(choose_names[i]) == len &&
		    !strncmp(choose_names[i], name, len))
			return i;
	return -1;
}

/**
 * aeration_choose_forbids - may this backend never run on this host?
 * @f: the facts; only those about the host are looked at
 * @kind: a backend
 *
 * Return: the reason, or NULL if it may run.
 */
const char *aeration_choose_forbids(const struct choose_facts *f,
				    enum aerator_kind kind)
{
	if (f->confidential)
		return "the memory of a confidential guest is not the host's to take";
	if (f->capture)
		return "this kernel only saves a dump, and has next to no memory to give";
	switch (kind) {
	case AERATOR_XEN:
		return f->on_xen ? NULL : "this is not a Xen domain";
	case AERATOR_HYPERV:
		return f->on_hyperv ? NULL : "this does not run on Hyper-V";
	case AERATOR_VIRTIO:
		if (f->on_xen)
			return "this is a Xen domain; the balloon of an outer host is not its own";
		if (f->on_hyperv)
			return "this runs on Hyper-V; the balloon of an outer host is not its own";
		return NULL;
	default:
		return NULL;
	}
}

/**
 * aeration_choose_against - why is this backend not chosen?
 * @f: the facts
 * @kind: a backend
 *
 * Return: the reason, or NULL if nothing speaks against it.
 */
const char *aeration_choose_against(const struct choose_facts *f,
				    enum aerator_kind kind)
{
	const char *why = aeration_choose_forbids(f, kind);

	if (why)
		return why;
	if (f->requested == AERATOR_NONE)
		return "aeration.backend=none";
	if (f->requested == AERATOR_AUTO && kind == AERATOR_LOOP)
		return "a test device; runs only when asked for by name";
	if (f->requested == AERATOR_AUTO && kind == AERATOR_XEN && f->dom0)
		return "domain 0 is aerated only when asked for by name";
	if (f->requested != AERATOR_AUTO && f->requested != kind)
		return "another backend was asked for by name";
	if (f->failed & (1U << kind))
		return "its device failed";
	if (!(f->present & (1U << kind)))
		return "no device: its module is not loaded or found none";
	return NULL;
}

/**
 * aeration_choose_backend - pick one
 * @f: the facts
 *
 * Return: the first backend that nothing speaks against, or AERATOR_NONE.
 */
enum aerator_kind aeration_choose_backend(const struct choose_facts *f)
{
	enum aerator_kind kind;

	for (kind = 0; kind < AERATOR_KINDS; kind++)
		if (!aeration_choose_against(f, kind))
			return kind;
	return AERATOR_NONE;
}

/**
 * aeration_choose_absent - whose module has to be asked for?
 * @f: the facts
 *
 * A virtio device has an alias that its module is loaded by, and the test device
 * is for those who load it. Xen and Hyper-V show nothing that a module could be
 * loaded by.
 *
 * Return: AERATOR_XEN or AERATOR_HYPERV if only its device is missing, otherwise
 *	AERATOR_NONE.
 */
enum aerator_kind aeration_choose_absent(const struct choose_facts *f)
{
	struct choose_facts there = *f;
	enum aerator_kind kind;

	if (!f->on_xen && !f->on_hyperv)
		return AERATOR_NONE;
	kind = f->on_xen ? AERATOR_XEN : AERATOR_HYPERV;
	there.present |= 1U << kind;
	if (there.present == f->present ||
	    aeration_choose_against(&there, kind))
		return AERATOR_NONE;
	return kind;
}

/**
 * aeration_choose_failed - is nothing chosen only because a device failed?
 * @f: the facts
 *
 * Return: true if there would be a choice had no device failed.
 */
bool aeration_choose_failed(const struct choose_facts *f)
{
	struct choose_facts well = *f;

	well.failed = 0;
	return aeration_choose_backend(f) == AERATOR_NONE &&
	       aeration_choose_backend(&well) != AERATOR_NONE;
}

/* What Xen was given another domain may have: an eighth of a domain stays its own. */
#define XEN_HELD_PERCENT	87

/**
 * aeration_choose_held_percent - how much may be held unless somebody says so
 * @f: the facts
 *
 * Domain 0 has to be asked.
 *
 * Return: percent of the guest's memory, 0 to 100.
 */
unsigned int aeration_choose_held_percent(const struct choose_facts *f)
{
	if (!f->on_xen)
		return 100;
	return f->dom0 ? 0 : XEN_HELD_PERCENT;
}
