// SPDX-License-Identifier: GPL-2.0
/*
 * Do what a front-end asks for. What it asks wrongly is refused in words; the
 * connection is closed only if the front-end would wait for an answer that
 * cannot be given.
 */
#include <errno.h>
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
	s->since_ns = now_ns();
	peer_listen(sock);
	balloon_connected(b);
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
	hints_forget(s->b, "the front-end is gone");
	s->b->config_unread = 0;
	s->b->config_unsent = false;
	s->b->wake_ns = NEVER_NS;
	memory_clear(&s->b->mem);
	peer_close(&s->b->peer);
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

/*
 * A front-end stops the queues one after the other, and starts them so. Between that it
 * is busy with it.
 */
static bool is_live(const struct balloon *b)
{
	const struct queue *q;
	bool any = false;

	for (q = b->queue; q < b->queue + BALLOON_QUEUES; q++) {
		if (balloon_role(b, q) == ROLE_NONE)
			continue;
		if (q->state == QUEUE_STOPPED || q->state == QUEUE_AWAY ||
		    !q->enabled)
			return false;
		any = true;
	}
	return any;
}

/* Whether the front-end answers what it is asked to. */
static bool gives_word(const struct session *s)
{
	return s->protocol >> VU_P_REPLY_ACK & 1;
}

/**
 * session_tell_config - tell the driver that the configuration has changed
 * @s: the connection
 *
 * While the device is stopped that has to wait: QEMU 11.1 may end with SIGSEGV when it
 * hears of a change as it stops a device.
 */
void session_tell_config(struct session *s)
{
	struct vu_header header = {
		.request = VU_BACKEND_CONFIG_CHANGE,
		.flags = VU_VERSION | (gives_word(s) ? VU_NEED_REPLY : 0),
	};

	if (!is_live(s->b))
		return;
	s->b->config_unsent = s->channel >= 0 &&
			      !send_all(s->channel, &header, sizeof(header));
	s->b->config_changed = s->b->config_unsent;
	if (s->b->config_unsent)
		say("the front-end does not take word of a new configuration");
	else if (s->channel >= 0 && gives_word(s))
		s->b->config_unread++;
}

/**
 * session_hear - the front-end says something where the daemon tells it of changes
 * @s: the connection
 *
 * That can only be that it has taken notice of one. Whatever it says of it is good.
 */
void session_hear(struct session *s)
{
	uint8_t reply[sizeof(struct vu_header) + sizeof(uint64_t)];
	ssize_t got = read(s->channel, reply, sizeof(reply));

	if (got == sizeof(reply) && s->b->config_unread) {
		s->b->config_unread--;
		return;
	}
	if (got < 0 && errno == EAGAIN)
		return;
	say("the front-end closed the channel for changes, or says on it what it was not asked; it is told of none any more");
	close_fd(&s->channel);
	s->b->config_unread = 0;
	s->b->config_unsent = false;
}

static const char *set_features(struct session *s, uint64_t features)
{
	struct balloon *b = s->b;
	unsigned int i;

	if (features & ~(b->offered | 1ULL << VU_F_PROTOCOL_FEATURES))
		return "it has features that were not offered";
	/* What a queue is for, and what it keeps, follows from them. */
	for (i = 0; i < BALLOON_QUEUES; i++)
		if (b->queue[i].state != QUEUE_STOPPED &&
		    features != b->acked)
			return "queues are in use";
	b->acked = features;
	if (!(features >> BALLOON_F_FREE_PAGE_HINT & 1))
		hints_forget(b, "the guest's driver takes no free page hints");
	/* The document, "Ring states". */
	if (!(features >> VU_F_PROTOCOL_FEATURES & 1))
		for (i = 0; i < BALLOON_QUEUES; i++)
			b->queue[i].enabled = true;
	return NULL;
}

static const char *set_protocol(struct session *s, uint64_t features)
{
	if (features & ~VU_PROTOCOL_FEATURES)
		return "it has features that were not offered";
	s->protocol = features;
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
	/* It may be another driver's, which has not heard of a run yet. */
	if (balloon_role(b, q) == ROLE_HINTING && !hints_over(b))
		b->config_changed = true;
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
		balloon_repeat_signal(q);
		return NULL;
	default:
		set_fd(&q->err, msg);
		return NULL;
	}
}

/* Both kinds of reset: some front-ends know only the older one. */
static const char *reset_device(struct balloon *b)
{
	unsigned int i;

	for (i = 0; i < BALLOON_QUEUES; i++) {
		stop_queue(b, &b->queue[i]);
		b->queue[i].enabled = false;
	}
	balloon_reset(b);
	return NULL;
}

/* Messages that want no answer of their own. Return: NULL, or why not. */
static const char *obey(struct session *s, struct message *msg)
{
	switch (msg->header.request) {
	case VU_SET_OWNER:
		return NULL;
	case VU_SET_PROTOCOL_FEATURES:
		return set_protocol(s, msg->payload.u64);
	case VU_SET_FEATURES:
		return set_features(s, msg->payload.u64);
	case VU_RESET_OWNER:
	case VU_RESET_DEVICE:
		return reset_device(s->b);
	case VU_SET_MEM_TABLE:
		return slots_set_table(s->b, msg);
	case VU_ADD_MEM_REG:
		return slots_add(s->b, msg);
	case VU_REM_MEM_REG:
		return slots_remove(s->b, msg);
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
	case VU_GET_MAX_MEM_SLOTS:
		return reply_u64(s, msg, MEMORY_REGIONS_MAX);
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

/* Whether the front-end waits for the word of success. */
static bool wants_word(const struct session *s, const struct message *msg)
{
	return msg->header.flags & VU_NEED_REPLY && gives_word(s);
}

/* A message that is not obeyed. Return: whether one can go on after it. */
static bool refuse(struct session *s, struct message *msg, const char *why,
		   bool known)
{
	bool acked = wants_word(s, msg) && !message_replies(msg);
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

	s->spoken = true;
	peer_is(&s->b->peer, msg->sender);
	why = message_check(msg, s->protocol, &known);
	if (!why && message_replies(msg))
		return answer(s, msg);
	if (!why)
		why = obey(s, msg);
	if (why)
		return refuse(s, msg, why, known);
	return wants_word(s, msg) ? reply_u64(s, msg, DONE) : true;
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
