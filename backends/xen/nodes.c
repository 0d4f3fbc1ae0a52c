// SPDX-License-Identifier: GPL-2.0
/*
 * Memory is asked back from the node that it came from. A domain may have virtual NUMA
 * nodes (vnuma in xl.cfg), and Xen knows which physical node stands behind each; but it
 * has to be told the node of what it populates. Linux need not know of the nodes: it does
 * in HVM domains only, whose firmware says so. So Xen is asked.
 *
 * libxl neither saves nor migrates a domain that has them; where another toolstack does,
 * the table is read again.
 *
 * The table is written by module init and while the core is quiesced or shut down, when
 * neither react nor restore runs; both read it, and nobody else.
 */
#define pr_fmt(fmt) "aeration_xen: " fmt

#include <linux/bits.h>
#include <linux/errno.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/printk.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <xen/features.h>
#include <xen/interface/xen.h>
#include <xen/interface/features.h>
#include "xb.h"

/* What XENMEM_get_vnumainfo takes: Xen's public/memory.h. Linux has no header for it. */
#define XENMEM_get_vnumainfo	26

struct xen_vmemrange {
	u64 start;	/* the domain's physical address, bytes */
	u64 end;	/* the first one behind it */
	u32 flags;
	u32 nid;
};

struct xen_vnuma_topology_info {
	domid_t domid;
	u16 pad;
	u32 nr_vnodes;		/* room for so many, and then how many there are */
	u32 nr_vcpus;
	u32 nr_vmemranges;
	u64 vdistance;		/* where the room is: nr_vnodes by nr_vnodes of 4 bytes */
	u64 vcpu_to_vnode;	/* nr_vcpus of 4 bytes */
	u64 vmemrange;
};

/* That the node is a virtual one, and which; likewise. */
#define XENMEMF_vnode		BIT(18)
#define XENMEMF_node(nid)	(((nid) + 1) << 8)

/* More than all of it takes: Xen has 170 ranges and 32 nodes at most (XSA-77). */
#define TABLE_BYTES_MAX		SZ_64K

static struct xen_vmemrange *ranges;
static unsigned int nr_ranges;

static int ask(struct xen_vnuma_topology_info *info)
{
	return aeration_xen_memory_op(XENMEM_get_vnumainfo, info);
}

/*
 * Are they no more than there is room for, and of nodes that Xen takes? It would populate
 * nothing for another one.
 */
static int check_ranges(const struct xen_vmemrange *found, unsigned int room,
			const struct xen_vnuma_topology_info *info)
{
	unsigned int i;

	if (info->nr_vmemranges > room)
		return -EINVAL;
	for (i = 0; i < info->nr_vmemranges; i++)
		if (found[i].nid >= info->nr_vnodes)
			return -EINVAL;
	return info->nr_vmemranges;
}

/*
 * Read all there is into one allocation, the ranges first. When a domain goes on its
 * devices still sleep and nothing can be reclaimed.
 * Return: how many ranges, 0 if the domain has no virtual nodes, or a negative error.
 */
static int read_ranges(struct xen_vmemrange **found)
{
	struct xen_vnuma_topology_info info = { .domid = DOMID_SELF };
	size_t distances, bytes;
	unsigned int room;
	int err;

	if (!xen_feature(XENFEAT_memory_op_vnode_supported))
		return 0;
	err = ask(&info);
	if (err != -ENOBUFS)
		return err == -EOPNOTSUPP ? 0 : err ?: -EINVAL;
	distances = array3_size(info.nr_vnodes, info.nr_vnodes, sizeof(u32));
	bytes = size_add(array_size(info.nr_vmemranges, sizeof(**found)),
			 size_add(distances,
				  array_size(info.nr_vcpus, sizeof(u32))));
	if (bytes > TABLE_BYTES_MAX)
		return -E2BIG;
	*found = kzalloc(bytes, GFP_NOIO | __GFP_NORETRY | __GFP_NOWARN);
	if (!*found)
		return -ENOMEM;
	room = info.nr_vmemranges;
	info.vmemrange = (uintptr_t)*found;
	info.vdistance = (uintptr_t)(*found + info.nr_vmemranges);
	info.vcpu_to_vnode = info.vdistance + distances;
	err = ask(&info);
	return err ?: check_ranges(*found, room, &info);
}

/**
 * aeration_xb_nodes_find - learn which virtual nodes there are
 *
 * Where Xen does not say, memory comes from where Xen likes.
 *
 * Context: process context, while neither react nor restore runs; may sleep.
 */
void aeration_xb_nodes_find(void)
{
	struct xen_vmemrange *found = NULL;
	int nr = read_ranges(&found);

	aeration_xb_nodes_forget();
	if (nr > 0) {
		ranges = found;
		nr_ranges = nr;
		pr_info("memory is asked back from the virtual node that it came from, of %d ranges\n",
			nr);
		return;
	}
	kfree(found);
	if (nr)
		pr_info("memory comes back from any node: Xen does not say which virtual nodes there are (error %d)\n",
			nr);
}

/**
 * aeration_xb_nodes_forget - free what is known of virtual nodes
 *
 * Context: process context, while neither react nor restore runs.
 */
void aeration_xb_nodes_forget(void)
{
	kfree(ranges);
	ranges = NULL;
	nr_ranges = 0;
}

/**
 * aeration_xb_node_flags - where an extent should come from
 * @pfn: its first page
 *
 * Xen takes from another node what a node does not have.
 *
 * Context: react and restore.
 * Return: mem_flags of a reservation, public/memory.h; 0: from anywhere.
 */
unsigned int aeration_xb_node_flags(unsigned long pfn)
{
	u64 address = PFN_PHYS((u64)pfn);
	unsigned int i;

	for (i = 0; i < nr_ranges; i++)
		if (address >= ranges[i].start && address < ranges[i].end)
			return XENMEMF_vnode | XENMEMF_node(ranges[i].nid);
	return 0;
}
