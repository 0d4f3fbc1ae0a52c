/* SPDX-License-Identifier: GPL-2.0 */
/* The socket over which the host asks for something. */
#ifndef HINTD_CONTROL_H
#define HINTD_CONTROL_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include "balloon.h"
#include "client.h"
#include "listen.h"

/* Clients at a time; of more, the one that has been silent for longest has to go. */
#define CONTROL_CLIENTS	4

/* Places in a set to wait for: the clients, and the socket. */
#define CONTROL_PLACES	(CONTROL_CLIENTS + 1)

/**
 * struct control - the socket, and who is connected to it
 * @listener: the socket; without a path there is none
 * @client: the connections; one of them may wait for the end of a hint run
 */
struct control {
	struct listener listener;
	struct client client[CONTROL_CLIENTS];
};

bool control_open(struct control *c);
void control_fill(const struct control *c, struct pollfd *fds);
uint64_t control_until_ns(const struct control *c, const struct balloon *b);
void control_serve(struct control *c, struct balloon *b,
		   const struct pollfd *fds);
void control_answer(struct control *c, struct balloon *b);
void control_close(struct control *c, struct balloon *b);

#endif /* HINTD_CONTROL_H */
