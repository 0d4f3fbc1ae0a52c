// SPDX-License-Identifier: GPL-2.0
/*
 * Any messages, with any descriptors: the daemon goes on or hangs up, touches
 * nothing but guest memory, and keeps no descriptor.
 *
 * Input: records.h.
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "records.h"
#include "session.h"

/* More than are open at any time. */
#define LOOKED_AT	96

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* How many descriptors are open: as many after as before. */
static int open_fds(void)
{
	int fd, nr = 0;

	for (fd = 0; fd < LOOKED_AT; fd++)
		nr += fcntl(fd, F_GETFD) >= 0;
	return nr;
}

/* What the daemon does when the socket or a queue is readable. */
static bool let_it_work(struct session *s, int sock)
{
	uint8_t replies[4096];
	size_t before;
	bool go_on;

	do {
		before = s->msg.have;
		go_on = session_receive(s);
		while (recv(sock, replies, sizeof(replies), MSG_DONTWAIT) > 0)
			;
		if (go_on)
			balloon_serve(s->b);
	} while (go_on && s->msg.have != before && !s->msg.have);
	return go_on;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bench *t = bench(WIRE_HINTS);
	struct session s;
	int sock[2], fds, i;

	records_prepare(t);
	fds = open_fds();
	bench_put_report(t);
	MUST(!socketpair(AF_UNIX, SOCK_STREAM, 0, sock));
	session_open(&s, &t->b, sock[0]);
	while (records_send(t, sock[1], &data, &size)) {
		for (i = 0; i < 4; i++)
			if (!let_it_work(&s, sock[1]))
				goto out;
	}
out:
	session_close(&s);
	close(sock[1]);
	MUST(!t->b.mem.nr);
	MUST(open_fds() == fds);
	return 0;
}
