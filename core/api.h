/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The devices that backends have offered, and what they say of themselves.
 */
#ifndef _AERATION_API_H
#define _AERATION_API_H

#include <linux/memory_aeration.h>
#include <linux/types.h>
#include "choose/choose.h"

/* Room for one reason, in bytes with the closing zero. */
#define AERATION_WHY_SIZE	192

/**
 * struct api_listener - who hears of devices
 * @changed: a device came or goes. Process context, no lock held; may sleep. When
 *	it returns no device that has gone is in use any more.
 * @failed: a device says that it has failed. Process context, from inside react and
 *	from inside @changed, too; must not sleep.
 */
struct api_listener {
	void (*changed)(void);
	void (*failed)(void);
};

void aeration_api_listen(const struct api_listener *who);
struct aerator_dev_info *aeration_api_device(enum aerator_kind kind);
void aeration_api_facts(struct choose_facts *f);
void aeration_api_request(void);
int aeration_api_in_use(enum aerator_kind kind, char *buf, size_t size);
int aeration_api_why(enum aerator_kind kind, char *buf, size_t size);

#endif /* _AERATION_API_H */
