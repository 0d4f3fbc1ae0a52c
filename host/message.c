// SPDX-License-Identifier: GPL-2.0
/*
 * Receive messages without ever waiting for the rest of one, and check that
 * each has the size and the descriptors that its kind has. What the values mean
 * is somebody else's business.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "message.h"

#define PAYLOAD_OFFSET		offsetof(struct message, payload)
#define TABLE_HEAD		offsetof(struct vu_mem_table, region)
#define CONFIG_HEAD		offsetof(struct vu_config, data)

_Static_assert(sizeof(struct vu_header) == 12, "as on the wire");
_Static_assert(sizeof(struct vu_vring_addr) == 40, "as on the wire");
_Static_assert(sizeof(struct vu_mem_region) == 32, "as on the wire");
_Static_assert(sizeof(struct vu_mem_single) == 40, "as on the wire");
_Static_assert(TABLE_HEAD == 8 && CONFIG_HEAD == 12, "as on the wire");

/**
 * struct shape - what every message of a kind has
 * @name: as in the document
 * @least: bytes of payload
 * @more: bytes that it may have beyond those
 * @fds: most descriptors
 * @replies: the front-end waits for an answer in any case
 * @needs: the protocol feature without which there is no such message, or ALWAYS
 */
struct shape {
	const char *name;
	uint16_t least;
	uint16_t more;
	uint8_t fds;
	bool replies;
	uint8_t needs;
};

#define ALWAYS			64

/* Of one size: the kind's payload is a type, or nothing. */
#define EXACT(name, size, fds)	{ name, size, 0, fds, false, ALWAYS }
#define ASKS(name, size)	{ name, size, 0, 0, true, ALWAYS }

#define U64_SIZE	sizeof(uint64_t)
#define STATE_SIZE	sizeof(struct vu_vring_state)
#define ADDR_SIZE	sizeof(struct vu_vring_addr)
#define SINGLE_SIZE	sizeof(struct vu_mem_single)

static const struct shape shapes[] = {
	[VU_GET_FEATURES] = ASKS("GET_FEATURES", 0),
	[VU_SET_FEATURES] = EXACT("SET_FEATURES", U64_SIZE, 0),
	[VU_SET_OWNER] = EXACT("SET_OWNER", 0, 0),
	[VU_RESET_OWNER] = EXACT("RESET_OWNER", 0, 0),
	[VU_SET_MEM_TABLE] = { "SET_MEM_TABLE", TABLE_HEAD,
			       sizeof(struct vu_mem_table) - TABLE_HEAD,
			       MESSAGE_FDS_MAX, false, ALWAYS },
	[VU_SET_VRING_NUM] = EXACT("SET_VRING_NUM", STATE_SIZE, 0),
	[VU_SET_VRING_ADDR] = EXACT("SET_VRING_ADDR", ADDR_SIZE, 0),
	[VU_SET_VRING_BASE] = EXACT("SET_VRING_BASE", STATE_SIZE, 0),
	[VU_GET_VRING_BASE] = ASKS("GET_VRING_BASE", STATE_SIZE),
	[VU_SET_VRING_KICK] = EXACT("SET_VRING_KICK", U64_SIZE, 1),
	[VU_SET_VRING_CALL] = EXACT("SET_VRING_CALL", U64_SIZE, 1),
	[VU_SET_VRING_ERR] = EXACT("SET_VRING_ERR", U64_SIZE, 1),
	[VU_GET_PROTOCOL_FEATURES] = ASKS("GET_PROTOCOL_FEATURES", 0),
	[VU_SET_PROTOCOL_FEATURES] = EXACT("SET_PROTOCOL_FEATURES", U64_SIZE,
					   0),
	[VU_GET_QUEUE_NUM] = { "GET_QUEUE_NUM", 0, 0, 0, true, VU_P_MQ },
	[VU_SET_VRING_ENABLE] = EXACT("SET_VRING_ENABLE", STATE_SIZE, 0),
	[VU_SET_BACKEND_REQ_FD] = { "SET_BACKEND_REQ_FD", 0, 0, 1, false,
				    VU_P_BACKEND_REQ },
	[VU_GET_CONFIG] = { "GET_CONFIG", CONFIG_HEAD,
			    VU_CONFIG_MAX, 0, true, VU_P_CONFIG },
	[VU_SET_CONFIG] = { "SET_CONFIG", CONFIG_HEAD,
			    VU_CONFIG_MAX, 0, false, VU_P_CONFIG },
	[VU_RESET_DEVICE] = { "RESET_DEVICE", 0, 0, 0, false,
			      VU_P_RESET_DEVICE },
	[VU_GET_MAX_MEM_SLOTS] = { "GET_MAX_MEM_SLOTS", 0, 0, 0, true,
				   VU_P_CONFIGURE_MEM_SLOTS },
	[VU_ADD_MEM_REG] = { "ADD_MEM_REG", SINGLE_SIZE, 0, 1, false,
			     VU_P_CONFIGURE_MEM_SLOTS },
	/* Older front-ends send the region's file along. */
	[VU_REM_MEM_REG] = { "REM_MEM_REG", SINGLE_SIZE, 0, 1, false,
			     VU_P_CONFIGURE_MEM_SLOTS },
};

static const struct shape *shape_of(uint32_t request)
{
	if (request >= sizeof(shapes) / sizeof(shapes[0]) ||
	    !shapes[request].name)
		return NULL;
	return &shapes[request];
}

/* Descriptors, and who sent them. */
static void take_control(struct message *msg, struct msghdr *hdr)
{
	struct cmsghdr *c;
	struct ucred who;
	size_t i, nr;
	int fd;

	for (c = CMSG_FIRSTHDR(hdr); c; c = CMSG_NXTHDR(hdr, c)) {
		if (c->cmsg_level == SOL_SOCKET &&
		    c->cmsg_type == SCM_CREDENTIALS) {
			memcpy(&who, CMSG_DATA(c), sizeof(who));
			msg->sender = who.pid;
		}
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		nr = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < nr; i++) {
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (msg->nr_fds < MESSAGE_FDS_MAX)
				msg->fd[msg->nr_fds++] = fd;
			else
				close(fd);
		}
	}
}

/* Receive at most @want bytes, so that no other message's are taken. */
static ssize_t receive_some(int sock, struct message *msg, size_t want)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(MESSAGE_FDS_MAX * sizeof(int)) +
			  CMSG_SPACE(sizeof(struct ucred))];
	} control;
	struct iovec iov = { (char *)msg + msg->have, want };
	struct msghdr hdr = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t got;

	/* The payload may be aligned to more than the header ends at. */
	if (msg->have >= sizeof(msg->header))
		iov.iov_base = (char *)msg + PAYLOAD_OFFSET + msg->have -
			       sizeof(msg->header);
	do
		got = recvmsg(sock, &hdr, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return got;
	msg->sender = 0;
	take_control(msg, &hdr);
	/* The kernel has closed those that did not fit. */
	if (hdr.msg_flags & MSG_CTRUNC) {
		errno = ETOOMANYREFS;
		return -1;
	}
	return got;
}

/**
 * message_receive - receive what there is of a message
 * @sock: connection to the front-end
 * @msg: all 0 at first, then as the last call left it; clear it in the end
 * @why: set if there is no way to go on, in words
 *
 * Never waits.
 *
 * Return: what was achieved.
 */
enum receipt message_receive(int sock, struct message *msg, const char **why)
{
	size_t whole;
	ssize_t got;

	for (;;) {
		whole = sizeof(msg->header);
		if (msg->have >= whole) {
			if (msg->header.size > sizeof(msg->payload)) {
				*why = "a message is larger than any that is known";
				return RECEIPT_BAD;
			}
			whole += msg->header.size;
			if (msg->have == whole)
				return RECEIPT_WHOLE;
		}
		got = receive_some(sock, msg, whole - msg->have);
		if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return RECEIPT_PART;
		if (got < 0 && errno == ETOOMANYREFS) {
			*why = "a message has more file descriptors than any that is known";
			return RECEIPT_BAD;
		}
		if (got < 0) {
			*why = strerror(errno);
			return RECEIPT_BAD;
		}
		if (!got && msg->have) {
			*why = "the connection ended inside a message";
			return RECEIPT_BAD;
		}
		if (!got)
			return RECEIPT_END;
		msg->have += (size_t)got;
	}
}

/**
 * message_check - has a message what its kind has?
 * @msg: a whole message
 * @protocol: the protocol features that were negotiated
 * @known: set to whether the daemon knows that kind at all
 *
 * Return: NULL, or what is wrong, in words.
 */
const char *message_check(const struct message *msg, uint64_t protocol,
			  bool *known)
{
	const struct shape *shape = shape_of(msg->header.request);
	uint32_t size = msg->header.size;

	*known = shape;
	if (!shape)
		return "this daemon does not know it";
	if ((msg->header.flags & VU_VERSION_MASK) != VU_VERSION)
		return "its version is not 1";
	if (shape->needs != ALWAYS && !(protocol >> shape->needs & 1))
		return "its protocol feature was not negotiated";
	if (size < shape->least || size - shape->least > shape->more)
		return "its size is wrong";
	if (msg->nr_fds > shape->fds)
		return "it has too many file descriptors";
	switch (msg->header.request) {
	case VU_SET_MEM_TABLE:
		if (msg->payload.table.nr > VU_TABLE_REGIONS ||
		    size != TABLE_HEAD + msg->payload.table.nr *
				    sizeof(struct vu_mem_region))
			return "its size does not fit its number of regions";
		if (msg->nr_fds != msg->payload.table.nr)
			return "it needs a file descriptor for each region";
		break;
	case VU_GET_CONFIG:
	case VU_SET_CONFIG:
		if (msg->payload.config.size != size - CONFIG_HEAD)
			return "its size does not fit its content";
		break;
	case VU_SET_VRING_KICK:
	case VU_SET_VRING_CALL:
	case VU_SET_VRING_ERR:
		if (msg->nr_fds != !(msg->payload.u64 & VU_VRING_NO_FD))
			return "its file descriptor is missing, or not announced";
		break;
	case VU_SET_BACKEND_REQ_FD:
	case VU_ADD_MEM_REG:
		if (msg->nr_fds != 1)
			return "its file descriptor is missing";
		break;
	}
	return NULL;
}

/**
 * message_replies - does the front-end wait for an answer of its own?
 * @msg: a whole message
 *
 * That is, one which is not just the word of success that it may ask for
 * with VU_NEED_REPLY.
 *
 * Return: whether it does; false if the kind is not known.
 */
bool message_replies(const struct message *msg)
{
	const struct shape *shape = shape_of(msg->header.request);

	return shape && shape->replies;
}

/**
 * message_name - the document's name of a kind of message
 * @request: its number
 *
 * Return: constant text; "?" for one that is not known.
 */
const char *message_name(uint32_t request)
{
	const struct shape *shape = shape_of(request);

	return shape ? shape->name : "?";
}

/**
 * message_take_fd - take over a descriptor that came with a message
 * @msg: a whole message
 * @i: which, less than its nr_fds
 *
 * Return: the descriptor; the message has it no more.
 */
int message_take_fd(struct message *msg, unsigned int i)
{
	int fd = msg->fd[i];

	msg->fd[i] = -1;
	return fd;
}

/**
 * message_clear - close what nobody took, and be ready for another message
 * @msg: any
 */
void message_clear(struct message *msg)
{
	unsigned int i;

	for (i = 0; i < msg->nr_fds; i++)
		if (msg->fd[i] >= 0)
			close(msg->fd[i]);
	memset(msg, 0, sizeof(*msg));
}
