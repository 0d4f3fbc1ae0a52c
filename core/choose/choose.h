/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which backend may run here. Pure: the caller supplies the facts.
 */
#ifndef _AERATION_CHOOSE_H
#define _AERATION_CHOOSE_H

#include <linux/types.h>

/**
 * enum aerator_kind - the backends there are, in the order auto prefers them
 * @AERATOR_XEN: reservation hypercalls of Xen
 * @AERATOR_HYPERV: memory heat hints of Hyper-V
 * @AERATOR_VIRTIO: virtio balloon device
 * @AERATOR_LOOP: test device inside the guest; by name only
 * @AERATOR_KINDS: how many there are
 * @AERATOR_AUTO: as a request: whichever fits
 * @AERATOR_NONE: no backend
 */
enum aerator_kind {
	AERATOR_XEN,
	AERATOR_HYPERV,
	AERATOR_VIRTIO,
	AERATOR_LOOP,
	AERATOR_KINDS,
	AERATOR_AUTO = AERATOR_KINDS,
	AERATOR_NONE,
};

/**
 * struct choose_facts - what decides
 * @requested: value of aeration.backend=
 * @on_xen: Xen is the innermost hypervisor
 * @dom0: this is the domain that runs the host
 * @on_hyperv: Hyper-V is the innermost hypervisor
 * @confidential: the host must not see or change this guest's memory
 * @capture: this kernel was started to save what another left when it crashed
 * @present: bit k: a device of kind k has started up
 * @failed: bit k: the device of kind k has failed
 */
struct choose_facts {
	enum aerator_kind requested;
	bool on_xen;
	bool dom0;
	bool on_hyperv;
	bool confidential;
	bool capture;
	unsigned int present;
	unsigned int failed;
};

void aeration_choose_gather(struct choose_facts *f);
const char *aeration_choose_name(enum aerator_kind kind);
int aeration_choose_parse(const char *name);
const char *aeration_choose_forbids(const struct choose_facts *f,
				    enum aerator_kind kind);
const char *aeration_choose_against(const struct choose_facts *f,
				    enum aerator_kind kind);
enum aerator_kind aeration_choose_absent(const struct choose_facts *f);
bool aeration_choose_failed(const struct choose_facts *f);
unsigned int aeration_choose_held_percent(const struct choose_facts *f);
enum aerator_kind aeration_choose_backend(const struct choose_facts *f);

#endif /* _AERATION_CHOOSE_H */
