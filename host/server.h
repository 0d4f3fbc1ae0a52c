/* SPDX-License-Identifier: GPL-2.0 */
/* Listen, serve one front-end after the other, show statistics. */
#ifndef HINTD_SERVER_H
#define HINTD_SERVER_H

#include <stdbool.h>
#include "balloon.h"
#include "control.h"
#include "listen.h"
#include "session.h"

/**
 * enum hintd_exit - exit statuses, see hintd.8
 * @EXIT_ENDED: a signal asked for the end, or the only connection has ended
 * @EXIT_SYSTEM: the system refused something that the daemon cannot do without
 * @EXIT_USAGE: the options are wrong
 * @EXIT_SOCKET: the socket cannot be made
 * @EXIT_SANDBOX: privileges cannot be dropped
 * @EXIT_MEMORY: guest memory went away under the daemon
 */
enum hintd_exit {
	EXIT_ENDED = 0,
	EXIT_SYSTEM = 1,
	EXIT_USAGE = 2,
	EXIT_SOCKET = 3,
	EXIT_SANDBOX = 4,
	EXIT_MEMORY = 5,
};

/**
 * struct server - the daemon
 * @b: the device
 * @listener: the socket
 * @control: the socket over which the host asks for something
 * @stats_file: where to keep statistics as JSON, or NULL
 * @live: show a line of statistics on standard output
 * @input: a descriptor that @obey wants to hear of, or -1
 * @obey: called when @input is readable; returns whether to go on
 * @stats_folder: the folder of @stats_file, or -1
 * @terminal: standard output is one
 * @signals: signalfd of what ends the daemon
 * @session: the connection, if there is one
 * @connected: there is one
 * @tick_ns: when to look at statistics again, or NEVER_NS
 * @line_ns: when the last line was shown
 * @shown: statistics at the last line
 * @written: statistics in the file
 */
struct server {
	struct balloon *b;
	struct listener listener;
	struct control control;
	const char *stats_file;
	bool live;
	int input;
	bool (*obey)(struct balloon *b);
	int stats_folder;
	bool terminal;
	int signals;
	struct session session;
	bool connected;
	uint64_t tick_ns;
	uint64_t line_ns;
	struct stats shown;
	struct stats written;
};

enum hintd_exit server_listen(struct server *s);
enum hintd_exit server_run(struct server *s);

/* show.c */
bool show_init(struct server *s);
void show(struct server *s);
void show_end(struct server *s);

#endif /* HINTD_SERVER_H */
