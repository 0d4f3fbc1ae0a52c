# SPDX-License-Identifier: GPL-2.0
"""Guest memory and split virtqueues, seen from the device's side.

Guest memory is what a vhost-user front-end hands over: file descriptors of
shared memory and where each of them lies in guest physical address space. All
addresses and lengths are in bytes. The rings are little-endian and are accessed
with native 16-bit loads and stores, so the host must be little-endian; nothing
here orders memory accesses beyond what x86 does by itself.
"""

import ctypes
import errno
import mmap
import os
import struct
import sys
from collections import namedtuple

PAGE_SIZE = 4096                # bytes; the unit of everything balloon

# linux/falloc.h
FALLOC_FL_KEEP_SIZE = 0x01
FALLOC_FL_PUNCH_HOLE = 0x02

# virtio 1.2, 2.7.5 "The Virtqueue Descriptor Table"
VRING_DESC_F_NEXT = 1
VRING_DESC_F_WRITE = 2
VRING_DESC_F_INDIRECT = 4
DESC = struct.Struct("<QIHH")   # addr, len, flags, next
USED_ELEM = struct.Struct("<II")  # id, len (2.7.8)
RING_HEADER = 4                 # bytes of flags and idx before a ring's entries
IDX_MASK = 0xffff               # ring indices are free-running 16-bit counters

Descriptor = namedtuple("Descriptor", "addr length writable")
Chain = namedtuple("Chain", "head descriptors indirect")

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int,
                            ctypes.c_int64, ctypes.c_int64)


class RingError(Exception):
    """What the driver put in the ring, or told us about it, makes no sense."""


def punch_hole(fd, offset, length):
    """Give the pages of [offset, offset + length) of a file back to the host."""
    if _libc.fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                       offset, length):
        code = ctypes.get_errno()
        raise OSError(code, f"fallocate: {errno.errorcode.get(code, code)}")


class Region:
    """One entry of the memory table; owns the file descriptor it is given."""

    def __init__(self, guest, size, user, offset, fd):
        if sys.byteorder != "little":
            raise RuntimeError("the rings are little-endian, this host is not")
        self.guest = guest      # guest physical address
        self.size = size
        self.user = user        # address in the front-end's own address space
        self.offset = offset    # where the region starts in the file
        self.fd = fd
        self._map = mmap.mmap(fd, size, offset=offset)
        self.bytes = memoryview(self._map)
        self.words = self.bytes.cast("H")

    def close(self):
        self.words.release()
        self.bytes.release()
        self._map.close()
        os.close(self.fd)


class GuestMemory:
    """The memory table of one VHOST_USER_SET_MEM_TABLE."""

    def __init__(self, regions=()):
        self.regions = list(regions)

    def close(self):
        for region in self.regions:
            region.close()
        self.regions = []

    def _pieces(self, guest, length):
        """Cut a guest range where regions meet: [(region, offset, length)].

        Return: None if any byte of it is not guest memory.
        """
        pieces = []
        while length > 0:
            for region in self.regions:
                offset = guest - region.guest
                if 0 <= offset < region.size:
                    break
            else:
                return None
            part = min(length, region.size - offset)
            pieces.append((region, offset, part))
            guest, length = guest + part, length - part
        return pieces

    def covers(self, guest, length):
        return self._pieces(guest, length) is not None

    def read(self, guest, length):
        pieces = self._pieces(guest, length)
        if pieces is None:
            raise RingError(f"{length} bytes at {guest:#x}: not guest memory")
        return b"".join(bytes(region.bytes[offset:offset + part])
                        for region, offset, part in pieces)

    def punch(self, guest, length):
        for region, offset, part in self._pieces(guest, length):
            punch_hole(region.fd, region.offset + offset, part)

    def find_user(self, user, length):
        """Translate a front-end address: (region, offset in it)."""
        if user % 2:
            raise RingError(f"ring address {user:#x} is odd")
        for region in self.regions:
            offset = user - region.user
            if 0 <= offset and offset + length <= region.size:
                return region, offset
        raise RingError(f"ring address {user:#x} is in no memory region")

    def allocated_bytes(self):
        """How much of the guest's memory the host backs right now (st_blocks)."""
        files = {}
        for region in self.regions:
            status = os.fstat(region.fd)
            files[status.st_dev, status.st_ino] = status.st_blocks * 512
        return sum(files.values())


class SplitRing:
    """A split virtqueue (virtio 1.2, 2.7), the device's half of it.

    num is the number of descriptors; desc, avail and used are front-end
    addresses (VHOST_USER_SET_VRING_ADDR); base is the avail index to go on from.
    """

    def __init__(self, memory, num, desc, avail, used, base):
        if not 0 < num <= 32768 or num & (num - 1):
            raise RingError(f"queue size {num} is not a power of two")
        self.memory = memory
        self.num = num
        self._desc = memory.find_user(desc, DESC.size * num)
        self._avail = memory.find_user(avail, RING_HEADER + 2 * num)
        self._used = memory.find_user(used, RING_HEADER + USED_ELEM.size * num)
        self.last_avail = base & IDX_MASK
        self.used_idx = self._load(self._used, 2)

    @staticmethod
    def _load(place, offset):
        region, start = place
        return region.words[(start + offset) // 2]

    def _descriptor(self, index):
        region, start = self._desc
        return DESC.unpack_from(region.bytes, start + index * DESC.size)

    def _indirect_table(self, addr, length):
        if not length or length % DESC.size:
            raise RingError(f"indirect table of {length} bytes")
        table = self.memory.read(addr, length)
        return (lambda index: DESC.unpack_from(table, index * DESC.size),
                length // DESC.size)

    def _walk(self, head):
        """Follow one chain; a loop or an index outside the table is an error."""
        fetch, limit, index = self._descriptor, self.num, head
        found, indirect = [], False
        while True:
            if index >= limit or len(found) >= limit:
                raise RingError(f"chain of head {head} leaves its table or loops")
            addr, length, flags, following = fetch(index)
            if flags & VRING_DESC_F_INDIRECT:
                # 2.7.5.3.1: not nested, not with NEXT, at most once
                if indirect or flags & VRING_DESC_F_NEXT:
                    raise RingError(f"bad indirect descriptor, head {head}")
                fetch, limit = self._indirect_table(addr, length)
                index, indirect = 0, True
                continue
            found.append(Descriptor(addr, length,
                                    bool(flags & VRING_DESC_F_WRITE)))
            if not flags & VRING_DESC_F_NEXT:
                return Chain(head, found, indirect)
            index = following

    def pop(self):
        """The next available buffer as a Chain, or None."""
        waiting = (self._load(self._avail, 2) - self.last_avail) & IDX_MASK
        if not waiting:
            return None
        if waiting > self.num:
            raise RingError(f"{waiting} buffers available, the ring has "
                            f"{self.num} descriptors")
        slot = self.last_avail % self.num
        head = self._load(self._avail, RING_HEADER + 2 * slot)
        chain = self._walk(head)
        self.last_avail = (self.last_avail + 1) & IDX_MASK
        return chain

    def push(self, head, length):
        """Write one used element; the driver sees it after publish()."""
        region, start = self._used
        slot = self.used_idx % self.num
        USED_ELEM.pack_into(region.bytes, start + RING_HEADER
                            + slot * USED_ELEM.size, head, length)
        self.used_idx = (self.used_idx + 1) & IDX_MASK

    def publish(self):
        """Store used->idx, in one 16-bit store (struct packs byte by byte)."""
        region, start = self._used
        region.words[(start + 2) // 2] = self.used_idx
