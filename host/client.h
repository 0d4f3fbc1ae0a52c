/* SPDX-License-Identifier: GPL-2.0 */
/* Somebody who is connected to the control socket, and says lines. */
#ifndef HINTD_CLIENT_H
#define HINTD_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Most bytes of a command, its newline included. */
#define CLIENT_LINE	64

/* Most bytes of an answer: the statistics are the longest. */
#define CLIENT_ANSWER	4096

/**
 * enum wait - what a client waits for
 * @WAIT_NONE: nothing
 * @WAIT_RUN: the end of a hint run
 * @WAIT_READ: that the front-end has taken notice of a change
 */
enum wait {
	WAIT_NONE,
	WAIT_RUN,
	WAIT_READ,
};

/**
 * struct client - a connection
 * @fd: the connection, or -1: there is none
 * @heard_ns: when it last said something, or came
 * @waits: what for it is not answered yet; what it says meanwhile has to wait
 * @since_ns: since when
 * @ended: it says nothing more, but may still listen
 * @broken: it is to be hung up on
 * @line: what has come of its next commands
 * @have: bytes of that
 */
struct client {
	int fd;
	uint64_t heard_ns;
	enum wait waits;
	uint64_t since_ns;
	bool ended;
	bool broken;
	char line[CLIENT_LINE];
	size_t have;
};

void client_init(struct client *c);
void client_connect(struct client *c, int fd);
short client_events(const struct client *c);
void client_receive(struct client *c);
bool client_line(struct client *c, char *line);
void client_say(struct client *c, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
bool client_is_done(const struct client *c);

#endif /* HINTD_CLIENT_H */
