/* SPDX-License-Identifier: GPL-2.0 */
/*
 * aeration_xen.ko: hand free memory of a Xen domain back to Xen.
 *
 *	main.c		life of the module, its parameters, save and restore
 *	control.c	does as domain 0 asks
 *	memory.c	the core's calls; decrease and populate
 *	toolstack.c	gets along with the toolstack
 *	balloon.c	has the stock balloon count what is held
 *	dom0.c		what is different in domain 0
 *	deliver.c	a batch in hypercalls, and what became of each page; pure
 *	pv.c		what a PV domain has to do besides: it sees real frames
 *	hypercall.c	the hypercalls, counted, and the largest extent Xen takes
 *	nodes.c		which virtual NUMA node a page belongs to
 *	tracked.c	what goes and comes during a live migration
 *	xenstore.c	tells the toolstack how much is held, and reads its numbers
 *
 * Who may touch what:
 *	react_io	the core's react call, one at a time
 *	restore_io	the core's restore call, one at a time; runs beside react,
 *			so it shares nothing with it that is written
 *	xb.order	written by module init, while the core is quiesced, and by
 *			react; read by both with READ_ONCE()
 *	xb.failed	react, and before the core has the device
 *	xb.offered	module init and exit, and the PM notifier, which nothing
 *			runs beside: init comes before it is registered, exit
 *			after it has gone
 *	the nodes	nodes.c: written while neither react nor restore runs
 *	the held amount	xenstore.c: written under the core's lock, read by work items
 *	what is asked	toolstack.c with dom0.c, control.c: each has a work item, which
 *			alone looks and acts; all others only queue it
 * There is one lock, for the text of an answer. Lock order is the core's: nothing here
 * calls the core from inside react or restore but aerator_say(), from react.
 */
#ifndef _AERATION_XEN_XB_H
#define _AERATION_XEN_XB_H

#include <linux/kconfig.h>
#include <linux/memory_aeration.h>
#include <xen/interface/xen.h>
#include <xen/interface/hvm/hvm_op.h>
#include "deliver.h"

/* Largest extent that is ever asked for: a superpage of 2 MiB on x86. */
#define XB_ORDER_MAX	9

/* A folder of the domain's own in xenstore, and its target there, KiB. */
#define XB_MEMORY	"memory"
#define XB_TARGET	"target"

/* Room for what is written to a node of xenstore, with the closing zero. */
#define XB_ANSWER_SIZE	64

/**
 * struct xb - the one device
 * @dev: what the core knows of it; dev.scrub is the parameter scrub
 * @order: order of the extents in use, 0 to XB_ORDER_MAX
 * @order_known: Xen has said that it takes this order
 * @pv: the domain sees real frames (not auto-translated)
 * @failed: Xen refused for good
 * @offered: between aerator_startup() and aerator_shutdown()
 */
struct xb {
	struct aerator_dev_info dev;
	unsigned int order;
	bool order_known;
	bool pv;
	bool failed;
	bool offered;
};

/* memory.c */
extern struct xb aeration_xb;
int aeration_xb_is_backed(unsigned long pfn);

/* hypercall.c */
long aeration_xen_memory_op(unsigned int op, void *arg);
int aeration_xen_mem_type(struct xen_hvm_get_mem_type *ask);
unsigned int aeration_xb_call(unsigned int op, struct xb_io *io);
unsigned int aeration_xb_largest_order(unsigned int most, bool *known);
long aeration_xb_own_pages(unsigned int op);

/* nodes.c */
void aeration_xb_nodes_find(void);
void aeration_xb_nodes_forget(void);
unsigned int aeration_xb_node_flags(unsigned long pfn);

/* tracked.c */
bool aeration_xb_is_tracked(void);
void aeration_xb_mark_written(const struct aerator_batch *batch);

/* balloon.c */
void aeration_xb_balloon_start(void);
void aeration_xb_balloon_stop(struct aerator_dev_info *dev);
bool aeration_xb_balloon_steer(struct aerator_dev_info *dev,
			       unsigned long surplus);
bool aeration_xb_balloon_wants(void);
bool aeration_xb_balloon_gives(void);
unsigned long aeration_xb_balloon_has(void);

/* dom0.c */
bool aeration_xb_dom0_told(void);
unsigned long aeration_xb_dom0_pressed(bool debt);

/* toolstack.c */
void aeration_xb_toolstack_start(struct xb *xb);
void aeration_xb_toolstack_stop(void);
void aeration_xb_toolstack_end(void);
void aeration_xb_toolstack_held(void);
void aeration_xb_toolstack_allow(u64 bytes);
bool aeration_xb_toolstack_ready(struct aerator_dev_info *dev, u64 bytes);

/* control.c */
void aeration_xb_control_start(void);
void aeration_xb_control_stop(void);

/* pv.c */
#ifdef CONFIG_XEN_PV
unsigned int aeration_xb_pv_decrease(struct xb_io *io);
unsigned int aeration_xb_pv_populate(struct xb_io *io);
#else
static inline unsigned int aeration_xb_pv_decrease(struct xb_io *io)
{
	return 0;
}

static inline unsigned int aeration_xb_pv_populate(struct xb_io *io)
{
	return 0;
}
#endif

/* xenstore.c */
void aeration_xb_store_start(void);
void aeration_xb_store_stop(void);
void aeration_xb_store_note(u64 bytes, bool starved);
void aeration_xb_store_answer(const char *answer);
void aeration_xb_store_again(void);
u64 aeration_xb_store_held(void);
int aeration_xb_store_pages(const char *node, u64 *pages);

#endif /* _AERATION_XEN_XB_H */
