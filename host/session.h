/* SPDX-License-Identifier: GPL-2.0 */
/* One connection of a front-end. */
#ifndef HINTD_SESSION_H
#define HINTD_SESSION_H

#include <stdbool.h>
#include "balloon.h"
#include "message.h"

/**
 * struct session - a connection
 * @sock: to the front-end; owned
 * @channel: to tell the front-end something unasked, or -1; owned
 * @b: the device
 * @protocol: the protocol features that were negotiated
 * @spoken: the front-end has said something
 * @since_ns: when it came
 * @msg: the message that is being received
 */
struct session {
	int sock;
	int channel;
	struct balloon *b;
	uint64_t protocol;
	bool spoken;
	uint64_t since_ns;
	struct message msg;
};

void session_open(struct session *s, struct balloon *b, int sock);
void session_close(struct session *s);
bool session_receive(struct session *s);
bool session_handle(struct session *s, struct message *msg);
void session_tell_config(struct session *s);
void session_hear(struct session *s);

/* slots.c */
const char *slots_set_table(struct balloon *b, struct message *msg);
const char *slots_add(struct balloon *b, struct message *msg);
const char *slots_remove(struct balloon *b, const struct message *msg);

#endif /* HINTD_SESSION_H */
