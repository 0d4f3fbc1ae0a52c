/* SPDX-License-Identifier: GPL-2.0 */
/* The socket that front-ends come to. */
#ifndef HINTD_LISTEN_H
#define HINTD_LISTEN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/**
 * struct listener - a socket, or where one shall be
 * @path: where to make it, or NULL
 * @fd: one that was handed down, -1 if it is to be made; then it is the socket
 * @mode: permissions of the one to make
 * @user: to give it to, or NULL
 * @group: to give it to, or NULL
 * @anybody: whoever the socket's permissions let in is served, not only root
 *	and the daemon's own user
 * @connected: @fd is no listener but a connection, the only one there will be
 * @folder: the folder that @path is in, or -1
 * @rests_ns: when to look at it again after an error, ns; in the past: now
 */
struct listener {
	const char *path;
	int fd;
	mode_t mode;
	const char *user;
	const char *group;
	bool anybody;
	bool connected;
	int folder;
	uint64_t rests_ns;
};

bool listener_open(struct listener *l);
int listener_accept(struct listener *l);
int listener_fd(const struct listener *l);
uint64_t listener_until_ns(const struct listener *l);
void listener_close(struct listener *l);
const char *listener_name(const struct listener *l);

#endif /* HINTD_LISTEN_H */
