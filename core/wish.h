/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What can be asked of the core, in words and not.
 */
#ifndef _AERATION_WISH_H
#define _AERATION_WISH_H

#include <linux/memory_aeration.h>
#include "squeeze/squeeze.h"

/**
 * enum aeration_request - what can be asked for
 * @AERATION_FLUSH: let go of all surplus now, whatever the window says
 * @AERATION_FLUSH_AGAIN: also of what the hypervisor was told of before
 * @AERATION_RESTORE: get back all that is held
 * @AERATION_SQUEEZE: make free memory out of what is cached, and let go of that, too
 */
enum aeration_request {
	AERATION_FLUSH,
	AERATION_FLUSH_AGAIN,
	AERATION_RESTORE,
	AERATION_SQUEEZE,
};

/**
 * struct aeration_wish - what is asked for
 * @what: that
 * @squeeze: for what lets go of memory: take what is cold before
 * @order: how far to go then
 * @asker: the backend that it is for, or NULL
 */
struct aeration_wish {
	enum aeration_request what;
	bool squeeze;
	struct squeeze_order order;
	const struct aerator_asker *asker;
};

struct aeration_wish aeration_wish_for(enum aeration_request what);
int aeration_wish_parse(const char *text, struct aeration_wish *wish);
const char *aeration_wish_name(enum aeration_request what);

#endif /* _AERATION_WISH_H */
