// SPDX-License-Identifier: GPL-2.0
/*
 * Do what a front-end asks for. What it asks wrongly is refused in words; the
 * connection is closed only if the front-end would wait for an answer that
 * cannot be given.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "log.h"
#include "session.h"

/* The answer to VU_NEED_REPLY. */
#define DONE	0
#define REFUSED	1

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Whatever it is, it must not make the daemon wait. */
static int take_fd(struct message *msg)
{
	int fd = message_take_fd(msg, 0);
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0)
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	return fd;
}

static void set_fd(int *fd, struct message *msg)
{
	close_fd(fd);
	if (msg->nr_fds)
		*fd = take_fd(msg);
}

/* Return: how many buffers the queue had taken and not used. */
static uint16_t stop_queue(struct balloon *b, struct queue *q)
{
	uint16_t forgotten = 0;

	if (q->state != QUEUE_STOPPED)
		forgotten = balloon_forget(b, q);
	q->state = QUEUE_STOPPED;
	close_fd(&q->kick);
	return forgotten;
}

/**
 * session_open - a front-end has connected
 * @s: uninitialised
 * @b: the device, without a front-end
 * @sock: the connection; taken over
 */
void session_open(struct session *s, struct balloon *b, int sock)
{
	memset(s, 0, sizeof(*s));
	s->sock = sock;
	s->channel = -1;
	s->b = b;
	b->acked = 0;
	b->said_wire = false;
	b->behaviour->hang_up = false;
	b->config.actual = 0;
	b->stats.actual = 0;
	b->config.poison_val = 0;
	b->stats.connections++;
}

/**
 * session_close - end a connection; the device has no front-end afterwards
 * @s: the connection
 */
void session_close(struct session *s)
{
	struct queue *q;

	for (q = s->b->queue; q < s->b->queue + BALLOON_QUEUES; q++) {
		stop_queue(s->b, q);
		close_fd(&q->call);
		close_fd(&q->err);
		q->enabled = false;
		q->num = 0;
	}
	memory_clear(&s->b->mem);
	message_clear(&s->msg);
	close_fd(&s->channel);
	close_fd(&s->sock);
}

static bool send_all(int sock, const void *data, size_t size)
{
	return send(sock, data, size, MSG_NOSIGNAL) == (ssize_t)size;
}

static bool reply(struct session *s, const struct message *msg,
		  const void *payload, uint32_t size)
{
	uint8_t bytes[sizeof(struct vu_header) + sizeof(msg->payload)];
	struct vu_header header = {
		.request = msg->header.request,
		.flags = VU_VERSION | VU_REPLY,
		.size = size,
	};

	memcpy(bytes, &header, sizeof(header));
	memcpy(bytes + sizeof(header), payload, size);
	if (send_all(s->sock, bytes, sizeof(header) + size))
		return true;
	say("the front-end does not take an answer: connection closed");
	return false;
}

static bool reply_u64(struct session *s, const struct message *msg,
		      uint64_t value)
{
	return reply(s, msg, &value, sizeof(value));
}

/**
 * session_tell_config - tell the driver that the configuration has changed
 * @s: the connection
 */
void session_tell_config(struct session *s)
{
	struct vu_header header = {
		.request = VU_BACKEND_CONFIG_CHANGE,
		.flags = VU_VERSION,
	};

	s->b->config_changed = false;
	if (s->channel >= 0 && !send_all(s->channel, &header, sizeof(header)))
		say("the front-end does not take word of a new configuration");
}

/* Rings are known by address: find them again in a new memory table. */
static void place_again(struct balloon *b, struct queue *q)
{
	const char *why;

	if (q->state == QUEUE_STOPPED)
		return;
	why = ring_place(&q->ring, &b->mem, q->num, q->desc, q->avail,
			 q->used);
	if (!why)
		return;
	say("queue %u cannot be used with the new memory table: %s", q->index,
	    why);
	q->state = QUEUE_BROKEN;
}

static const char *set_mem_table(struct session *s, struct message *msg)
{
	const struct vu_mem_region *r = msg->payload.table.region;
	struct memory new = { .nr = 0 };
	const char *why;
	unsigned int i;

	for (i = 0; i < msg->payload.table.nr; i++, r++) {
		why = memory_add(&new, r->guest, r->size, r->user, r->offset,
				 msg->fd[i]);
		if (why) {
			memory_clear(&new);
			return why;
		}
		message_take_fd(msg, i);
	}
	memory_clear(&s->b->mem);
	s->b->mem = new;
	for (i = 0; i < BALLOON_QUEUES; i++)
		place_again(s->b, &s->b->queue[i]);
	return NULL;
}

static const char *set_features(struct session *s, uint64_t features)
{
	struct balloon *b = s->b;
	unsigned int i;

	if (features & ~(b->offered | 1ULL << VU_F_PROTOCOL_FEATURES))
		return "it has features that were not offered";
	b->acked = features;
	/* The document, "Ring states". */
	if (!(features >> VU_F_PROTOCOL_FEATURES & 1))
		for (i = 0; i < BALLOON_QUEUES; i++)
			b->queue[i].enabled = true;
	return NULL;
}

static const char *start_queue(struct balloon *b, struct queue *q,
			       struct message *msg)
{
	const char *why;

	stop_queue(b, q);
	if (!msg->nr_fds)
		return "a queue without notifications is not supported";
	why = ring_place(&q->ring, &b->mem, q->num, q->desc, q->avail,
			 q->used);
	if (why)
		return why;
	ring_start(&q->ring, q->base);
	q->kick = take_fd(msg);
	q->state = QUEUE_STARTED;
	if (balloon_role(b, q) == ROLE_REPORTING)
		b->stats.starts++;
	return NULL;
}

static bool get_base(struct session *s, struct queue *q, struct message *msg)
{
	struct vu_vring_state state = { .index = q->index };
	uint16_t forgotten;

	state.num = q->base;
	if (q->state != QUEUE_STOPPED) {
		forgotten = stop_queue(s->b, q);
		q->base = (uint16_t)(q->ring.last_avail - forgotten);
		state.num = q->base;
	}
	return reply(s, msg, &state, sizeof(state));
}

static bool get_config(struct session *s, struct message *msg)
{
	struct vu_config *config = &msg->payload.config;
	uint8_t bytes[VU_CONFIG_MAX + BALLOON_CONFIG_SIZE] = { 0 };

	/* As many bytes as were asked for; there is nothing behind ours. */
	balloon_read_config(s->b, bytes);
	memset(config->data, 0, sizeof(config->data));
	if (config->offset < BALLOON_CONFIG_SIZE)
		memcpy(config->data, bytes + config->offset, config->size);
	return reply(s, msg, config,
		     (uint32_t)offsetof(struct vu_config, data) +
		     config->size);
}

static const char *set_config(struct balloon *b, const struct vu_config *config)
{
	if (config->size > BALLOON_CONFIG_SIZE ||
	    config->offset > BALLOON_CONFIG_SIZE - config->size)
		return "there is no such configuration";
	balloon_write_config(b, config->offset, config->data, config->size);
	return NULL;
}

static const char *set_addr(struct queue *q, const struct vu_vring_addr *addr)
{
	q->desc = addr->desc;
	q->avail = addr->avail;
	q->used = addr->used;
	return NULL;
}

static const char *set_base(struct queue *q, uint32_t base)
{
	if (base > UINT16_MAX)
		return "its index is larger than 65535";
	q->base = (uint16_t)base;
	return NULL;
}

/* The queue that a message is about. Return: NULL if there is none. */
static struct queue *queue_of(struct balloon *b, const struct message *msg)
{
	uint64_t index;

	switch (msg->header.request) {
	case VU_SET_VRING_KICK:
	case VU_SET_VRING_CALL:
	case VU_SET_VRING_ERR:
		index = msg->payload.u64 & VU_VRING_INDEX;
		break;
	default:
		index = msg->payload.state.index;
	}
	return index < BALLOON_QUEUES ? &b->queue[index] : NULL;
}

/* Messages about a queue that want no answer of their own. */
static const char *obey_queue(struct balloon *b, struct message *msg)
{
	struct queue *q = queue_of(b, msg);

	if (!q)
		return "there is no such queue";
	switch (msg->header.request) {
	case VU_SET_VRING_NUM:
		q->num = msg->payload.state.num;
		return NULL;
	case VU_SET_VRING_ADDR:
		return set_addr(q, &msg->payload.addr);
	case VU_SET_VRING_BASE:
		return set_base(q, msg->payload.state.num);
	case VU_SET_VRING_ENABLE:
		q->enabled = msg->payload.state.num;
		return NULL;
	case VU_SET_VRING_KICK:
		return start_queue(b, q, msg);
	case VU_SET_VRING_CALL:
		set_fd(&q->call, msg);
		return NULL;
	default:
		set_fd(&q->err, msg);
		return NULL;
	}
}

static const char *reset_owner(struct balloon *b)
{
	unsigned int i;

	for (i = 0; i < BALLOON_QUEUES; i++) {
		stop_queue(b, &b->queue[i]);
		b->queue[i].enabled = false;
	}
	return NULL;
}

/* Messages that want no answer of their own. Return: NULL, or why not. */
static const char *obey(struct session *s, struct message *msg)
{
	switch (msg->header.request) {
	case VU_SET_OWNER:
	case VU_SET_PROTOCOL_FEATURES:
		return NULL;
	case VU_SET_FEATURES:
		return set_features(s, msg->payload.u64);
	case VU_RESET_OWNER:
		return reset_owner(s->b);
	case VU_SET_MEM_TABLE:
		return set_mem_table(s, msg);
	case VU_SET_BACKEND_REQ_FD:
		set_fd(&s->channel, msg);
		return NULL;
	case VU_SET_CONFIG:
		return set_config(s->b, &msg->payload.config);
	default:
		return obey_queue(s->b, msg);
	}
}

/* Messages that want an answer. Return: whether it was given. */
static bool answer(struct session *s, struct message *msg)
{
	struct queue *q;

	switch (msg->header.request) {
	case VU_GET_FEATURES:
		return reply_u64(s, msg, s->b->offered |
				 1ULL << VU_F_PROTOCOL_FEATURES);
	case VU_GET_PROTOCOL_FEATURES:
		return reply_u64(s, msg, VU_PROTOCOL_FEATURES);
	case VU_GET_QUEUE_NUM:
		return reply_u64(s, msg, BALLOON_QUEUES);
	case VU_GET_CONFIG:
		return get_config(s, msg);
	default:
		q = queue_of(s->b, msg);
		if (q)
			return get_base(s, q, msg);
		say("GET_VRING_BASE: there is no such queue: connection closed");
		return false;
	}
}

/* A message that is not obeyed. Return: whether one can go on after it. */
static bool refuse(struct session *s, struct message *msg, const char *why,
		   bool known)
{
	bool acked = msg->header.flags & VU_NEED_REPLY &&
		     !message_replies(msg);
	bool go_on = acked || (known && !message_replies(msg));

	s->b->stats.messages_refused++;
	say("refused message %u (%s): %s%s", msg->header.request,
	    message_name(msg->header.request), why,
	    go_on ? "" : "; connection closed");
	return acked ? reply_u64(s, msg, REFUSED) : go_on;
}

/**
 * session_handle - do what a message asks for
 * @s: the connection
 * @msg: a whole message; descriptors that are needed are taken
 *
 * Return: false if the connection cannot go on.
 */
bool session_handle(struct session *s, struct message *msg)
{
	const char *why;
	bool known;

	why = message_check(msg, &known);
	if (!why && message_replies(msg))
		return answer(s, msg);
	if (!why)
		why = obey(s, msg);
	if (why)
		return refuse(s, msg, why, known);
	if (msg->header.flags & VU_NEED_REPLY)
		return reply_u64(s, msg, DONE);
	return true;
}

/**
 * session_receive - receive and obey what messages there are
 * @s: the connection
 *
 * Return: false if the connection cannot go on.
 */
bool session_receive(struct session *s)
{
	const char *why;
	bool go_on;

	switch (message_receive(s->sock, &s->msg, &why)) {
	case RECEIPT_PART:
		return true;
	case RECEIPT_END:
		return false;
	case RECEIPT_BAD:
		say("%s: connection closed", why);
		return false;
	case RECEIPT_WHOLE:
		break;
	}
	go_on = session_handle(s, &s->msg);
	message_clear(&s->msg);
	return go_on;
}
