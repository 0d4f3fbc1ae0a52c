/* SPDX-License-Identifier: GPL-2.0 */
/* Messages of a front-end: receive them whole, check their shape. */
#ifndef HINTD_MESSAGE_H
#define HINTD_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include "proto.h"

/* Most descriptors with a message: one for each region of a table. */
#define MESSAGE_FDS_MAX	VU_TABLE_REGIONS

/**
 * struct message - a message, or as much as has come of it
 * @header: what it is
 * @payload: by what it is
 * @fd: descriptors that came with it; owned, -1 where one was taken
 * @nr_fds: how many came
 * @have: bytes of header and payload that have come
 * @sender: who sent the last of it; 0 if nobody can tell
 */
struct message {
	struct vu_header header;
	union {
		uint64_t u64;
		struct vu_vring_state state;
		struct vu_vring_addr addr;
		struct vu_mem_table table;
		struct vu_mem_single single;
		struct vu_config config;
	} payload;
	int fd[MESSAGE_FDS_MAX];
	unsigned int nr_fds;
	size_t have;
	pid_t sender;
};

/**
 * enum receipt - what message_receive() achieved
 * @RECEIPT_PART: more has to come
 * @RECEIPT_WHOLE: the message is complete
 * @RECEIPT_END: the front-end has closed the connection
 * @RECEIPT_BAD: there is no way to go on
 */
enum receipt {
	RECEIPT_PART,
	RECEIPT_WHOLE,
	RECEIPT_END,
	RECEIPT_BAD,
};

enum receipt message_receive(int sock, struct message *msg, const char **why);
const char *message_check(const struct message *msg, uint64_t protocol,
			  bool *known);
bool message_replies(const struct message *msg);
const char *message_name(uint32_t request);
int message_take_fd(struct message *msg, unsigned int i);
void message_clear(struct message *msg);

#endif /* HINTD_MESSAGE_H */
