/* SPDX-License-Identifier: GPL-2.0 */
/* The virtio balloon device, virtio 1.2, 5.5 and docs/virtio-hinting.md. */
#ifndef HINTD_BALLOON_H
#define HINTD_BALLOON_H

#include <stdbool.h>
#include <stdint.h>
#include "hints.h"
#include "memory.h"
#include "peer.h"
#include "release.h"
#include "ring.h"
#include "runs.h"
#include "stats.h"

/* Virtio 1.2, 5.5.3 and 6: feature bits. */
#define BALLOON_F_STATS_VQ		1
#define BALLOON_F_FREE_PAGE_HINT	3	/* only with a control socket */
#define BALLOON_F_PAGE_POISON		4
#define BALLOON_F_REPORTING		5
#define RING_F_INDIRECT_DESC		28
#define F_VERSION_1			32

/* Not F_RING_RESET (40): a driver would set the device up again when hintd is gone. */
#define BALLOON_FEATURES	(1ULL << BALLOON_F_STATS_VQ | \
				 1ULL << BALLOON_F_PAGE_POISON | \
				 1ULL << BALLOON_F_REPORTING | \
				 1ULL << RING_F_INDIRECT_DESC | \
				 1ULL << F_VERSION_1)

/* Virtio 1.2, 5.5.2: most queues. */
#define BALLOON_QUEUES		5

/* Virtio 1.2, 5.5.4: bytes of configuration. */
#define BALLOON_CONFIG_SIZE	16

/**
 * enum wire - how reports look
 * @WIRE_SG: free page reporting, virtio 1.2, 5.5.6.7
 * @WIRE_HINTS: words, docs/virtio-hinting.md
 */
enum wire {
	WIRE_SG,
	WIRE_HINTS,
};

/**
 * enum role - what a queue is for
 * @ROLE_INFLATE: pages that the guest gives up
 * @ROLE_DEFLATE: pages that it takes back
 * @ROLE_STATS: its statistics
 * @ROLE_HINTING: free page hints, which are asked for over the control socket
 * @ROLE_REPORTING: reports of free memory, on either wire
 * @ROLE_NONE: nothing: fewer features were negotiated
 */
enum role {
	ROLE_INFLATE,
	ROLE_DEFLATE,
	ROLE_STATS,
	ROLE_HINTING,
	ROLE_REPORTING,
	ROLE_NONE,
};

/**
 * enum queue_state - what may be done with a queue
 * @QUEUE_STOPPED: nothing; it may be set up
 * @QUEUE_STARTED: it is used, if it is enabled too
 * @QUEUE_AWAY: as that, once the memory with its rings is back
 * @QUEUE_BROKEN: nothing until it is set up anew
 */
enum queue_state {
	QUEUE_STOPPED,
	QUEUE_STARTED,
	QUEUE_AWAY,
	QUEUE_BROKEN,
};

/**
 * struct queue - a virtqueue
 * @index: its number
 * @state: what may be done with it
 * @enabled: by the front-end; a queue is used only if it is
 * @more: it was left with buffers to look at
 * @ring: its rings, unless it is stopped
 * @num: what the front-end told, as the next four
 * @base: index to start from
 * @desc: address in the front-end
 * @avail: address in the front-end
 * @used: address in the front-end
 * @kick: eventfd of the driver's notifications, or -1
 * @call: eventfd of interrupts, or -1
 * @err: eventfd that tells the front-end that the queue is broken, or -1
 */
struct queue {
	unsigned int index;
	enum queue_state state;
	bool enabled;
	bool more;
	struct ring ring;
	uint32_t num;
	uint16_t base;
	uint64_t desc;
	uint64_t avail;
	uint64_t used;
	int kick;
	int call;
	int err;
};

/**
 * struct balloon_config - the configuration, in the host's byte order
 * @num_pages: pages of 4 KiB the guest is asked to give up
 * @actual: what it has given up, says the driver
 * @hint_cmd: of free page hinting
 * @poison_val: what free pages hold, says the driver
 */
struct balloon_config {
	uint32_t num_pages;
	uint32_t actual;
	uint32_t hint_cmd;
	uint32_t poison_val;
};

/* Most reports answered at once, so that a busy guest keeps nobody waiting. */
#define BURST	64

/**
 * struct pending - buffers of one queue whose memory is being released
 * @q: the queue, or NULL if there are none
 * @head: their names, to be used once all of it is released
 * @nr: how many
 */
struct pending {
	struct queue *q;
	uint16_t head[BURST];
	unsigned int nr;
};

struct balloon;

/**
 * struct behaviour - what a device does with buffers
 * @serve: look at a queue that is started and enabled
 * @forget: the queue stops; returns how many buffers were taken and not used,
 *	nothing of which is released any more
 * @hang_up: set by @serve to have the connection closed
 *
 * There are two: this daemon's, honest.c, and that of the tests' hostile twin.
 */
struct behaviour {
	void (*serve)(struct balloon *b, struct queue *q);
	uint16_t (*forget)(struct balloon *b, struct queue *q);
	bool hang_up;
};

/**
 * struct balloon - a device
 * @offered: feature bits
 * @acked: those the driver has accepted
 * @counted: those that take a queue number even if the driver has not; none but in tests
 * @wire: how reports look
 * @config: the configuration
 * @config_changed: the driver is to be told
 * @config_unsent: the front-end could not be told; tried again when something happens
 * @config_unread: so often the front-end was told so, and has not taken notice yet
 * @mem: the guest's memory
 * @queue: the queues
 * @behaviour: what to do with buffers
 * @hints: the hint run
 * @stats_head: the statistics buffer that the device has, or -1
 * @wake_ns: when to look at the queues again without being asked, or NEVER_NS
 * @peer: who the front-end is
 * @allow_pinned: release memory even if the front-end has pinned some
 * @release: how memory is released
 * @said_wire: the driver's use of the other wire was put into words
 * @said_pinned: that pinned memory is kept was put into words
 * @said: which reasons of a refusal were put into words, a bit each
 * @stats: counters
 * @chain: the buffer that is looked at
 * @runs: memory to be released
 * @pending: whose memory it is
 */
struct balloon {
	uint64_t offered;
	uint64_t acked;
	uint64_t counted;
	enum wire wire;
	struct balloon_config config;
	bool config_changed;
	bool config_unsent;
	unsigned int config_unread;
	struct memory mem;
	struct queue queue[BALLOON_QUEUES];
	struct behaviour *behaviour;
	struct hints hints;
	int32_t stats_head;
	uint64_t wake_ns;
	struct peer peer;
	bool allow_pinned;
	struct release release;
	bool said_wire;
	bool said_pinned;
	uint32_t said;
	struct stats stats;
	struct chain chain;
	struct runs runs;
	struct pending pending;
};

/* balloon.c */
void balloon_init(struct balloon *b, enum wire wire, uint64_t features,
		  struct behaviour *behaviour);
enum role balloon_role(const struct balloon *b, const struct queue *q);
void balloon_read_config(const struct balloon *b, uint8_t *to);
void balloon_write_config(struct balloon *b, uint32_t offset,
			  const uint8_t *from, uint32_t size);
void balloon_connected(struct balloon *b);
void balloon_reset(struct balloon *b);
void balloon_serve(struct balloon *b);
uint16_t balloon_forget(struct balloon *b, struct queue *q);
bool balloon_take(struct balloon *b, struct queue *q);
bool balloon_release(struct balloon *b, uint64_t until_ns);
void balloon_signal(struct queue *q);
void balloon_repeat_signal(struct queue *q);
void balloon_ask_stats(struct balloon *b);

/* report.c */
void report_decode(struct balloon *b);
void report_hints(struct balloon *b);
void report_inflate(struct balloon *b);
void report_guest_stats(struct balloon *b);

/* honest.c */
extern struct behaviour honest;

#endif /* HINTD_BALLOON_H */
