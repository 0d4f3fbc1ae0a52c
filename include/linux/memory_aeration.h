/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory aeration: hand free memory of a guest back to its hypervisor.
 *
 * The aeration core finds free blocks and decides when to let go of them; a
 * backend tells one kind of hypervisor. This header is all a backend sees of
 * the core. Names follow the patch series "mm / virtio: Provide support for
 * paravirtual waste page treatment", 6/6 (June 2019).
 */
#ifndef _LINUX_MEMORY_AERATION_H
#define _LINUX_MEMORY_AERATION_H

#include <linux/moduleparam.h>
#include <linux/types.h>

/**
 * AERATOR_CAPACITY - most blocks in one batch of a transient backend
 *
 * Also PAGE_REPORTING_CAPACITY of linux/page_reporting.h and the number of
 * words in one buffer of the hinting queue. What a capacity of 0 asks for.
 */
#define AERATOR_CAPACITY	32

/**
 * AERATOR_DURABLE_CAPACITY - most blocks in one batch of a durable backend
 *
 * A gigabyte in blocks of 2 MiB.
 */
#define AERATOR_DURABLE_CAPACITY	512

/**
 * enum aerator_residency - what becomes of a block after its ack
 * @AERATOR_TRANSIENT: it may be used at once; the hypervisor backs it again
 *	when it is touched (virtio, Hyper-V).
 * @AERATOR_DURABLE: it has no backing and must be restored before use (Xen).
 */
enum aerator_residency {
	AERATOR_TRANSIENT,
	AERATOR_DURABLE,
};

/**
 * enum aerator_block_state - whose a block is, and whether it is backed
 * @AERATOR_BLOCK_FREE: the allocator's, backed.
 * @AERATOR_BLOCK_ISOLATED: the core's, backed; the hypervisor knows nothing of
 *	it, or has refused it and will not touch it.
 * @AERATOR_BLOCK_IN_FLIGHT: the backend's; the hypervisor may be working on it.
 * @AERATOR_BLOCK_HELD: the core's; the hypervisor has taken it. Backed again on
 *	touch if the backend is transient, without any backing if it is durable.
 * @AERATOR_BLOCK_RESTORING: the backend's, durable only; the hypervisor may be
 *	backing it.
 * @AERATOR_BLOCK_QUARANTINED: nobody's, durable only; part of it may have no
 *	backing, and which part is not known. Never used again.
 * @AERATOR_BLOCK_STATES: how many there are
 */
enum aerator_block_state {
	AERATOR_BLOCK_FREE,
	AERATOR_BLOCK_ISOLATED,
	AERATOR_BLOCK_IN_FLIGHT,
	AERATOR_BLOCK_HELD,
	AERATOR_BLOCK_RESTORING,
	AERATOR_BLOCK_QUARANTINED,
	AERATOR_BLOCK_STATES,
};

/**
 * struct aerator_block - a naturally aligned power-of-two run of free pages
 * @pfn: number of its first page, in units of PAGE_SIZE
 * @order: binary logarithm of its length in pages of PAGE_SIZE
 * @state: whose it is
 */
struct aerator_block {
	unsigned long pfn;
	unsigned int order;
	enum aerator_block_state state;
};

/**
 * struct aerator_batch - blocks told to the hypervisor in one go
 * @nr: how many entries of @block are valid, 1 to the capacity of the device
 * @block: the blocks, in no particular order
 */
struct aerator_batch {
	unsigned int nr;
	struct aerator_block block[];
};

/**
 * enum aerator_status - what a backend says of itself
 * @AERATOR_WELL: nothing speaks against it any more
 * @AERATOR_ABSENT: it has no device to offer
 * @AERATOR_WAITS: its device takes nothing for now
 * @AERATOR_FAILED: its device is of no use any more; @react returns -ENODEV from now on
 */
enum aerator_status {
	AERATOR_WELL,
	AERATOR_ABSENT,
	AERATOR_WAITS,
	AERATOR_FAILED,
};

struct aerator_dev_info;
struct module;

/**
 * struct aerator_ops - what a backend does
 * @name: one of the backend names of aeration.backend=
 * @owner: the module of the backend, or NULL if it is built in; durable: it cannot be
 *	unloaded while the hypervisor withholds what is held
 * @residency: what becomes of a block after its ack
 * @react: Deliver a batch and return after the hypervisor's ack. Called in
 *	process context with no spinlock held and may sleep, but must not
 *	allocate memory: it runs while pages are being taken from the allocator.
 *	The core never calls it twice at a time for one device. On entry every
 *	block is AERATOR_BLOCK_IN_FLIGHT. Return 0 after setting each block to
 *	HELD, ISOLATED or, if durable, QUARANTINED; or a negative error if
 *	nothing was delivered and the hypervisor will not touch any of the
 *	blocks: -ENODEV when the backend has failed for good (see
 *	AERATOR_FAILED) or is going away, -EAGAIN to be asked again later. The
 *	wait must have an end even if the hypervisor never answers.
 * @restore: Durable only: have the blocks of a batch backed again. As @react,
 *	with these differences. It may be called from memory reclaim, so it may
 *	wait only for what never waits for memory. It may be called while @react
 *	is running, but not twice at a time, and with another batch than
 *	@react. On entry every block is AERATOR_BLOCK_RESTORING. Return 0 after
 *	setting each block to ISOLATED (every page backed), HELD (no page
 *	backed) or QUARANTINED; or a negative error if every block is as it
 *	was.
 * @abandon: Optional: give up on the device, so that a react call under way
 *	returns and its blocks are back. Called when the guest has run out of
 *	memory while a batch has been in flight for long. Process context; may
 *	sleep, must not allocate memory or wait for react.
 * @ready: Optional, durable only: may blocks be taken from the allocator now? So many
 *	bytes of surplus would go; 0: somebody has asked for a backend, and nothing goes
 *	on account of this call. Process context; must not sleep. After false the core
 *	asks again later; what is waited for is said with AERATOR_WAITS.
 * @note_held: Optional, durable only: the bytes now held have changed, or whether the
 *	guest needs what the hypervisor does not give back (starved). Called in process
 *	context, from memory reclaim too, with locks held: must not sleep.
 */
struct aerator_ops {
	const char *name;
	struct module *owner;
	enum aerator_residency residency;
	int (*react)(struct aerator_dev_info *dev, struct aerator_batch *batch);
	int (*restore)(struct aerator_dev_info *dev,
		       struct aerator_batch *batch);
	void (*abandon)(struct aerator_dev_info *dev);
	bool (*ready)(struct aerator_dev_info *dev, u64 bytes);
	void (*note_held)(struct aerator_dev_info *dev, u64 bytes, bool starved);
};

/**
 * struct aerator_dev_info - a backend's device, as the core knows it
 * @ops: what the backend does; set by the backend before aerator_startup()
 * @capacity: most blocks the device takes in a batch, 1 to AERATOR_CAPACITY, or
 *	to AERATOR_DURABLE_CAPACITY if durable; 0 asks for AERATOR_CAPACITY; set
 *	by the backend before startup
 * @scrub: durable only: blocks must be filled with zeros before @ops->react;
 *	the core sees to it; set by the backend before startup, and by
 *	aerator_set_scrub() at any time
 * @asked_only: transient only: blocks go when somebody asks for all of them, and not by
 *	themselves; set by the backend before startup
 * @limit: durable only: most pages that the host allows to be held; the core's, set by
 *	aerator_limit_held()
 * @batch: the one batch of this device that @ops->react gets; belongs to the
 *	core, and to the backend while it is in @ops->react; there from startup
 *	to shutdown
 */
struct aerator_dev_info {
	const struct aerator_ops *ops;
	unsigned int capacity;
	bool scrub;
	bool asked_only;
	unsigned long limit;
	struct aerator_batch *batch;
};

/**
 * struct aerator_asker - a device whose host asks for something
 * @dev: the device
 * @wanted: Does it still want that? Called now and then, in process context; must not
 *	sleep.
 * @begins: It is this one's turn, and the next batches are of it. Process context; must
 *	not sleep.
 */
struct aerator_asker {
	struct aerator_dev_info *dev;
	bool (*wanted)(struct aerator_dev_info *dev);
	void (*begins)(struct aerator_dev_info *dev);
};

/* For a backend's timeout_ms: an unsigned int, 100 ms to a day. */
extern const struct kernel_param_ops aerator_timeout_ops;

/* For a backend's scrub: a struct aerator_dev_info, durable. */
extern const struct kernel_param_ops aerator_scrub_ops;

int aerator_startup(struct aerator_dev_info *dev);
void aerator_shutdown(struct aerator_dev_info *dev);
int aerator_permitted(const char *name);
bool aerator_named(const char *name);
void aerator_say(const char *name, const struct aerator_dev_info *dev,
		 enum aerator_status status, const char *why);
void aerator_note_timeout(struct aerator_dev_info *dev);
void aerator_quiesce(struct aerator_dev_info *dev);
void aerator_resume(struct aerator_dev_info *dev);
int aerator_set_scrub(struct aerator_dev_info *dev, bool scrub);
void aerator_limit_held(struct aerator_dev_info *dev, u64 bytes);
u64 aerator_forfeit(struct aerator_dev_info *dev, u64 bytes);
void aerator_note_balloon(unsigned long pages);
void aerator_renew(void);
int aerator_request(const char *what, const struct aerator_asker *asker,
		    u64 *bytes);

#endif /* _LINUX_MEMORY_AERATION_H */
