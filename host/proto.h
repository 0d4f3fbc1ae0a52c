/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The vhost-user protocol as far as this daemon speaks it. "The document" is
 * docs/interop/vhost-user.rst of QEMU. All fields are in the host's byte order.
 *
 * Why no library: Debian has QEMU's libvhost-user in no package, DPDK's knows
 * network devices and polls, and the others are for Rust. What a balloon needs
 * of the protocol is in message.c and session.c, and nowhere else.
 */
#ifndef HINTD_PROTO_H
#define HINTD_PROTO_H

#include <stdint.h>
#include "memory.h"

/* The document, "Front-end message types". */
enum vu_request {
	VU_GET_FEATURES = 1,
	VU_SET_FEATURES = 2,
	VU_SET_OWNER = 3,
	VU_RESET_OWNER = 4,
	VU_SET_MEM_TABLE = 5,
	VU_SET_VRING_NUM = 8,
	VU_SET_VRING_ADDR = 9,
	VU_SET_VRING_BASE = 10,
	VU_GET_VRING_BASE = 11,
	VU_SET_VRING_KICK = 12,
	VU_SET_VRING_CALL = 13,
	VU_SET_VRING_ERR = 14,
	VU_GET_PROTOCOL_FEATURES = 15,
	VU_SET_PROTOCOL_FEATURES = 16,
	VU_GET_QUEUE_NUM = 17,
	VU_SET_VRING_ENABLE = 18,
	VU_SET_BACKEND_REQ_FD = 21,
	VU_GET_CONFIG = 24,
	VU_SET_CONFIG = 25,
	VU_RESET_DEVICE = 34,
	VU_GET_MAX_MEM_SLOTS = 36,
	VU_ADD_MEM_REG = 37,
	VU_REM_MEM_REG = 38,
};

/* The document, "Back-end message types". */
#define VU_BACKEND_CONFIG_CHANGE	2

/* The document, "Header": flags. */
#define VU_VERSION			0x1U
#define VU_VERSION_MASK			0x3U
#define VU_REPLY			0x4U
#define VU_NEED_REPLY			0x8U

/* A virtio feature bit that says that there are protocol features. */
#define VU_F_PROTOCOL_FEATURES		30

/*
 * The document, "Protocol features": BACKEND_REQ to announce configuration
 * changes, RESET_DEVICE to know a reset from a pause, CONFIGURE_MEM_SLOTS for
 * more regions than a table has.
 */
#define VU_P_MQ				0
#define VU_P_REPLY_ACK			3
#define VU_P_BACKEND_REQ		5
#define VU_P_CONFIG			9
#define VU_P_RESET_DEVICE		13
#define VU_P_CONFIGURE_MEM_SLOTS	15

#define VU_PROTOCOL_FEATURES	(1ULL << VU_P_MQ | \
				 1ULL << VU_P_REPLY_ACK | \
				 1ULL << VU_P_BACKEND_REQ | \
				 1ULL << VU_P_CONFIG | \
				 1ULL << VU_P_RESET_DEVICE | \
				 1ULL << VU_P_CONFIGURE_MEM_SLOTS)

/* Parts of the u64 of SET_VRING_KICK, CALL and ERR. */
#define VU_VRING_INDEX			0xffU
#define VU_VRING_NO_FD			0x100U

/* The document, "Virtio device config space": most bytes of it. */
#define VU_CONFIG_MAX			256

struct vu_header {
	uint32_t request;
	uint32_t flags;
	uint32_t size;		/* of the payload, bytes */
};

struct vu_vring_state {
	uint32_t index;
	uint32_t num;
};

struct vu_vring_addr {
	uint32_t index;
	uint32_t flags;
	uint64_t desc;
	uint64_t used;
	uint64_t avail;
	uint64_t log;
};

struct vu_mem_region {
	uint64_t guest;
	uint64_t size;
	uint64_t user;
	uint64_t offset;
};

/* The document, "Memory regions description": most in a table. */
#define VU_TABLE_REGIONS		8

struct vu_mem_table {
	uint32_t nr;
	uint32_t padding;
	struct vu_mem_region region[VU_TABLE_REGIONS];
};

/* The document, "Single memory region description". */
struct vu_mem_single {
	uint64_t padding;
	struct vu_mem_region region;
};

struct vu_config {
	uint32_t offset;
	uint32_t size;
	uint32_t flags;
	uint8_t data[VU_CONFIG_MAX];
};

#endif /* HINTD_PROTO_H */
