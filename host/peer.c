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
 * peer_prepare - open what peer_open() needs; once, before the sandbox
 *
 * Return: false if there is no /proc: no peer can be looked at then.
 */
bool peer_prepare(void)
{
	proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return proc >= 0;
}

/**
 * peer_proc - the descriptor of /proc that peer_open() opens by
 *
 * Return: it, or -1.
 */
int peer_proc(void)
{
	return proc;
}

static bool credentials(int sock, struct ucred *who)
{
	socklen_t size = sizeof(*who);

	return !getsockopt(sock, SOL_SOCKET, SO_PEERCRED, who, &size);
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

	return anybody || (credentials(sock, &who) &&
			   (!who.uid || who.uid == geteuid()));
}

/**
 * peer_open - find out who has connected
 * @peer: uninitialised; to be closed in any case
 * @sock: the connection
 */
void peer_open(struct peer *peer, int sock)
{
	struct ucred who;
	char path[32];

	peer->status = -1;
	/* The number is 0 for a process that this one cannot see. */
	if (proc < 0 || !credentials(sock, &who) || who.pid <= 0)
		return;
	snprintf(path, sizeof(path), "%d/status", (int)who.pid);
	/* By number, so that no library adds a flag. */
	peer->status = (int)syscall(SYS_openat, proc, path, SANDBOX_READ);
}

/**
 * peer_close - forget it
 * @peer: after peer_open()
 */
void peer_close(struct peer *peer)
{
	if (peer->status >= 0)
		close(peer->status);
	peer->status = -1;
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
 * @peer: after peer_open()
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
