/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What somebody asks of the core: one thing at a time, with a number, progress and an
 * end.
 */
#ifndef _AERATION_REQUEST_H
#define _AERATION_REQUEST_H

#include <linux/types.h>
#include "wish.h"

/**
 * enum request_state - what became of it
 * @REQUEST_NONE: nothing was asked for yet
 * @REQUEST_RUNNING: it is under way
 * @REQUEST_DONE: all that could be done is done
 * @REQUEST_CANCELLED: somebody did not want it any more
 * @REQUEST_FAILED: it ended with an error
 */
enum request_state {
	REQUEST_NONE,
	REQUEST_RUNNING,
	REQUEST_DONE,
	REQUEST_CANCELLED,
	REQUEST_FAILED,
};

/**
 * struct request_status - the request under way, or the last one
 * @seq: its number; the first since the core was loaded is 1; 0: there was none
 * @what: what was asked for
 * @state: what became of it
 * @bytes: so many have been let go of, or come back, since it began
 * @error: 0 or a negative error
 */
struct request_status {
	u64 seq;
	enum aeration_request what;
	enum request_state state;
	u64 bytes;
	int error;
};

int aeration_request_start(const struct aeration_wish *wish);
int aeration_request_run(const struct aeration_wish *wish);
int aeration_request_squeeze_idle(struct squeeze_done *done);
void aeration_request_cancel(void);
void aeration_request_read(struct request_status *status);
const char *aeration_request_state_name(enum request_state state);
void aeration_request_init(void (*ended)(void));
void aeration_request_exit(void);

#endif /* _AERATION_REQUEST_H */
