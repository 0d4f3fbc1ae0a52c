# SPDX-License-Identifier: GPL-2.0
"""Numbers of the vhost-user protocol and of split rings, for a front-end.

The protocol: QEMU's docs/interop/vhost-user.rst ("the document").
"""

import struct

PAGE_SIZE = 4096                # bytes; the unit of everything balloon

# The document, "Front-end message types"
GET_FEATURES = 1
SET_FEATURES = 2
SET_OWNER = 3
RESET_OWNER = 4
SET_MEM_TABLE = 5
SET_VRING_NUM = 8
SET_VRING_ADDR = 9
SET_VRING_BASE = 10
GET_VRING_BASE = 11
SET_VRING_KICK = 12
SET_VRING_CALL = 13
SET_VRING_ERR = 14
GET_PROTOCOL_FEATURES = 15
SET_PROTOCOL_FEATURES = 16
GET_QUEUE_NUM = 17
SET_VRING_ENABLE = 18
SET_BACKEND_REQ_FD = 21
GET_CONFIG = 24
SET_CONFIG = 25
RESET_DEVICE = 34
GET_MAX_MEM_SLOTS = 36
ADD_MEM_REG = 37
REM_MEM_REG = 38
# The document, "Back-end message types"
BACKEND_CONFIG_CHANGE_MSG = 2

# The document, "Protocol features": MQ, REPLY_ACK, BACKEND_REQ, CONFIG,
# RESET_DEVICE, CONFIGURE_MEM_SLOTS
PROTOCOL_FEATURES = sum(1 << bit for bit in (0, 3, 5, 9, 13, 15))
VHOST_USER_F_PROTOCOL_FEATURES = 30     # a virtio feature bit, front-end only

HEADER = struct.Struct("<III")          # request, flags, payload size in bytes
FLAG_VERSION = 0x1
FLAG_REPLY = 0x4
FLAG_NEED_REPLY = 0x8
VRING_NOFD_MASK = 0x100

U64 = struct.Struct("<Q")
VRING_STATE = struct.Struct("<II")      # index, num
VRING_ADDR = struct.Struct("<IIQQQQ")   # index, flags, desc, used, avail, log
MEM_REGION = struct.Struct("<QQQQ")     # guest, size, user, mmap offset
CONFIG_HEADER = struct.Struct("<III")   # offset, size, flags

# virtio 1.2, 2.7.5 "The Virtqueue Descriptor Table"
VRING_DESC_F_NEXT = 1
VRING_DESC_F_WRITE = 2
VRING_DESC_F_INDIRECT = 4
DESC = struct.Struct("<QIHH")   # addr, len, flags, next
USED_ELEM = struct.Struct("<II")  # id, len (2.7.8)
