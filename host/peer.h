/* SPDX-License-Identifier: GPL-2.0 */
/* Who is at the other end of the connection, and what it does with memory. */
#ifndef HINTD_PEER_H
#define HINTD_PEER_H

#include <stdbool.h>
#include <sys/types.h>

/**
 * struct peer - the process that a front-end is
 * @pid: who sent the last message; 0 if nobody can tell
 * @status: its /proc/PID/status, or -1 if it cannot be looked at; owned
 */
struct peer {
	pid_t pid;
	int status;
};

/**
 * enum pins - is guest memory pinned?
 * @PINS_NONE: no
 * @PINS_SOME: the process has memory pinned or locked
 * @PINS_UNKNOWN: it cannot be looked at
 */
enum pins {
	PINS_NONE,
	PINS_SOME,
	PINS_UNKNOWN,
};

void peer_prepare(void);
int peer_proc(void);
bool peer_may_connect(int sock, bool anybody);
void peer_listen(int sock);
void peer_is(struct peer *peer, pid_t pid);
void peer_close(struct peer *peer);
enum pins peer_pins(const struct peer *peer);

#endif /* HINTD_PEER_H */
