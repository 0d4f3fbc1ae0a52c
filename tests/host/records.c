// SPDX-License-Identifier: GPL-2.0
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "records.h"

#define FDS_MAX	10

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

static bool send_record(const struct bench *t, int sock,
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
	return sendmsg(sock, &hdr, MSG_NOSIGNAL | MSG_DONTWAIT) == r->size;
}

/* Make what records may send, before anybody counts descriptors. */
void records_prepare(const struct bench *t)
{
	kind_of_fd(t, 0);
}

/* Send the next record. Return: false if there is none, or it has no room. */
bool records_send(const struct bench *t, int sock, const uint8_t **data,
		  size_t *size)
{
	struct record r;

	if (*size < sizeof(r))
		return false;
	memcpy(&r, *data, sizeof(r));
	*data += sizeof(r);
	*size -= sizeof(r);
	if (!r.size || r.size > *size)
		return false;
	if (!send_record(t, sock, &r, *data))
		return false;
	*data += r.size;
	*size -= r.size;
	return true;
}
