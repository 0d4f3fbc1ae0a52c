// SPDX-License-Identifier: GPL-2.0
/*
 * A device that does DMA into guest memory keeps the page that it has, however
 * often somebody punches a hole where the page was: the guest touches another
 * one from then on, and the two see different memory. VFIO, vDPA, RDMA and
 * io_uring's fixed buffers pin pages so, and the kernel counts them for the
 * process that asked for it: as locked (VFIO's first interface) or as pinned
 * (the others). So these two counts are looked at before memory is released,
 * and not once: devices are plugged in, and mediated ones pin as they go.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "peer.h"
#include "sandbox.h"

/* Bytes of a /proc/PID/status and more. */
#define STATUS_MAX	8192

/* /proc, opened before the sandbox closes; -1 if there is none. */
static int proc = -1;

/**
 * peer_prepare - open what peer_is() needs; once, before the sandbox
 *
 * Where there is no /proc no peer can be looked at.
 */
void peer_prepare(void)
{
	proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/**
 * peer_proc - the descriptor of /proc that peer_is() opens by
 *
 * Return: it, or -1.
 */
int peer_proc(void)
{
	return proc;
}

/**
 * peer_may_connect - is this somebody to be served?
 * @sock: a connection
 * @anybody: the socket's own permissions have been chosen by the operator
 *
 * Return: whether it is; without @anybody, only root and the daemon's own user.
 */
bool peer_may_connect(int sock, bool anybody)
{
	struct ucred who;
	socklen_t size = sizeof(who);

	return anybody ||
	       (!getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &who, &size) &&
		(!who.uid || who.uid == geteuid()));
}

/**
 * peer_listen - have each message say who sent it
 * @sock: a connection
 *
 * Who connected may be somebody else, who has passed the socket on: unix(7),
 * SO_PASSCRED. Where that fails no message says it, and nothing is released.
 */
void peer_listen(int sock)
{
	static const int one = 1;

	if (setsockopt(sock, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)))
		return;
}

/**
 * peer_is - somebody has sent a message
 * @peer: the peer
 * @pid: who; 0 for a process that this one cannot see
 */
void peer_is(struct peer *peer, pid_t pid)
{
	char path[32];

	if (pid == peer->pid && peer->status >= 0)
		return;
	peer_close(peer);
	peer->pid = pid;
	if (proc < 0 || pid <= 0)
		return;
	snprintf(path, sizeof(path), "%d/status", (int)pid);
	/* By number, so that no library adds a flag. */
	peer->status = (int)syscall(SYS_openat, proc, path, SANDBOX_READ);
}

/**
 * peer_close - forget it
 * @peer: any
 */
void peer_close(struct peer *peer)
{
	if (peer->status >= 0)
		close(peer->status);
	peer->status = -1;
	peer->pid = 0;
}

/* Return: whether the line is there and says 0 KiB. */
static bool is_zero(const char *text, const char *name, bool *there)
{
	const char *line = strstr(text, name);

	*there = *there && line;
	return line && !strtoull(line + strlen(name), NULL, 10);
}

/**
 * peer_pins - has it pinned memory, now?
 * @peer: the peer
 *
 * Return: as the kernel counts it: proc_pid_status(5), VmLck and VmPin.
 */
enum pins peer_pins(const struct peer *peer)
{
	char text[STATUS_MAX];
	bool none, there = true;
	ssize_t got;

	if (peer->status < 0)
		return PINS_UNKNOWN;
	got = pread(peer->status, text, sizeof(text) - 1, 0);
	if (got <= 0)
		return PINS_UNKNOWN;
	text[got] = '\0';
	none = is_zero(text, "\nVmLck:", &there);
	none = is_zero(text, "\nVmPin:", &there) && none;
	if (!there)
		return PINS_UNKNOWN;
	return none ? PINS_NONE : PINS_SOME;
}
