// SPDX-License-Identifier: GPL-2.0
/*
 * Any messages, with any descriptors: the daemon goes on or hangs up, touches
 * nothing but guest memory, and keeps no descriptor.
 *
 * Input: records of a struct record and its bytes, which are sent as they are,
 * so that messages may be cut and joined in any way.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "bench.h"
#include "session.h"

struct record {
	uint8_t size;		/* of the bytes that follow */
	uint8_t fds;		/* how many, in the low 4 bits */
	uint16_t kinds;		/* of those, 2 bits each */
} __attribute__((packed));

#define FDS_MAX	10

/* More than are open at any time. */
#define LOOKED_AT	96

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Guest memory, an eventfd, a pipe's end, a file that cannot be written. */
static int kind_of_fd(const struct bench *t, unsigned int kind)
{
	static int fd[4] = { -1 };
	int pipes[2];

	if (fd[1] <= 0) {
		MUST(!pipe(pipes));
		fd[1] = eventfd(0, EFD_NONBLOCK);
		fd[2] = pipes[1];
		fd[3] = open("/proc/self/exe", O_RDONLY);
	}
	fd[0] = t->fd;
	return fd[kind & 3];
}

static void send_record(const struct bench *t, int sock,
			const struct record *r, const uint8_t *bytes)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (void *)bytes, r->size };
	struct msghdr hdr = { .msg_iov = &iov, .msg_iovlen = 1 };
	unsigned int nr = r->fds % (FDS_MAX + 1), i;
	struct cmsghdr *c;
	int fd;

	if (nr) {
		hdr.msg_control = &control;
		hdr.msg_controllen = CMSG_SPACE(nr * sizeof(int));
		c = CMSG_FIRSTHDR(&hdr);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nr * sizeof(int));
		for (i = 0; i < nr; i++) {
			fd = kind_of_fd(t, r->kinds >> (2 * (i & 7)));
			memcpy(CMSG_DATA(c) + i * sizeof(int), &fd, sizeof(fd));
		}
	}
	MUST(sendmsg(sock, &hdr, MSG_NOSIGNAL) == r->size);
}

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

/* A ring with one report where the seeds have queue 3: a page for each. */
static void put_report(struct bench *t)
{
	uint64_t desc[] = { 8 * BENCH_PAGE, 2 * sizeof(uint64_t) };
	uint64_t words[] = { 9 * BENCH_PAGE, 12 * BENCH_PAGE | 2 };
	uint8_t *ring = t->low + 3 * BENCH_PAGE;

	memset(t->low, 0, BENCH_LOW);
	memcpy(ring, desc, sizeof(desc));
	ring[0x400 + 2] = 1;
	memcpy(t->low + 8 * BENCH_PAGE, words, sizeof(words));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bench *t = bench(WIRE_HINTS);
	struct session s;
	struct record r;
	int sock[2], fds, i;

	kind_of_fd(t, 0);
	fds = open_fds();
	put_report(t);
	MUST(!socketpair(AF_UNIX, SOCK_STREAM, 0, sock));
	session_open(&s, &t->b, sock[0]);
	while (size >= sizeof(r)) {
		memcpy(&r, data, sizeof(r));
		data += sizeof(r);
		size -= sizeof(r);
		if (!r.size || r.size > size)
			break;
		send_record(t, sock[1], &r, data);
		data += r.size;
		size -= r.size;
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
