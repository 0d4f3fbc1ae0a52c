/* SPDX-License-Identifier: GPL-2.0 */
/* The socket over which the host asks for something. */
#ifndef HINTD_CONTROL_H
#define HINTD_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include "balloon.h"
#include "listen.h"

/* Most bytes of a command, its newline included. */
#define CONTROL_LINE	64

/**
 * struct control - the socket, and who is connected to it
 * @listener: the socket; without a path there is none
 * @client: the connection, or -1; one at a time
 * @waits: it waits for the end of a hint run
 * @ended: it says nothing more, but may still listen
 * @line: what has come of its next command
 * @have: bytes of that
 */
struct control {
	struct listener listener;
	int client;
	bool waits;
	bool ended;
	char line[CONTROL_LINE];
	size_t have;
};

bool control_open(struct control *c);
int control_fd(const struct control *c);
short control_events(const struct control *c);
void control_serve(struct control *c, struct balloon *b);
void control_answer(struct control *c, struct balloon *b);
void control_close(struct control *c, struct balloon *b);

#endif /* HINTD_CONTROL_H */
