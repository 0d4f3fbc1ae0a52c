# SPDX-License-Identifier: GPL-2.0
"""A vhost-user front-end for tests of a back-end: no QEMU, no guest.

Its guest memory is one memfd, split as QEMU splits a PC's: a low region and one
at 4 GiB. The rings are in the low region's first pages, or at the offset
`rings` of the memfd; blocks are everything after the first MiB. With `huge` the
memfd is made of huge pages; with `path` it is this ordinary file. `low` bytes are
at 0; beyond LOW, they are backed and hold nothing. It speaks over the socket
`connected`, or connects.
"""

import contextlib
import ctypes
import mmap
import os
import select
import socket
import struct

from . import vhost_proto as proto
from .vhost_balloon import queue_roles
from .vhost_proto import (DESC, PAGE_SIZE, USED_ELEM, VRING_DESC_F_NEXT,
                          VRING_DESC_F_WRITE)

TIMEOUT_S = 20              # of every wait
MIB = 1 << 20
LOW = 8 * MIB               # bytes of guest memory at 0
HIGH = 4 * MIB              # bytes of guest memory at 4 GiB
HIGH_START = 1 << 32
USER = 0x7f00_0000_0000     # where the front-end would have mapped it
VQ_SIZE = 8
RING_PAGES = 3              # desc, avail, used of one queue, a page each
FREE = 1 * MIB              # the first block; rings and buffers are below
BUFFER = 512 * 1024         # where words of the hints wire are put


class FrontEnd:
    """Speaks vhost-user as QEMU does, and puts buffers in rings as a guest."""

    def __init__(self, balloon, features=None, queues=None, user=USER,
                 start=True, rings=0, huge=False, low=LOW, path=None,
                 connected=None):
        self.user = user
        self.rings = rings
        self.low = low
        if path is None:
            self.fd = os.memfd_create("guest", os.MFD_CLOEXEC | (
                os.MFD_HUGETLB | os.MFD_HUGE_2MB if huge else 0))
        else:
            self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        os.truncate(self.fd, low + HIGH)
        os.posix_fallocate(self.fd, 0, low + HIGH)
        self.memory = mmap.mmap(self.fd, low + HIGH)
        self.memory.write(b"\xaa" * (LOW + HIGH))
        self.memory[0:FREE] = bytes(FREE)
        self.socket = connected or socket.socket(socket.AF_UNIX)
        self.socket.settimeout(TIMEOUT_S)
        if not connected:
            self.socket.connect(balloon.socket_path)
        self.balloon = balloon
        self.avail = {}
        self.free_desc = {}
        self.kicks = {}
        self.calls = {}
        self.offered = self.ask_u64(proto.GET_FEATURES)
        self.acked = self.offered if features is None else features
        roles = queue_roles(self.acked)
        self.reporting = roles.index("reporting") \
            if "reporting" in roles else None
        if start:
            self.start(range(len(roles)) if queues is None else queues)

    def close_quietly(self):
        """Hang up, and keep the rest."""
        self.socket.close()

    def close(self):
        self.socket.close()
        self.memory.close()
        for fd in (self.fd, *self.kicks.values(), *self.calls.values()):
            os.close(fd)

    # Protocol

    def send(self, request, payload=b"", fds=(), flags=0):
        socket.send_fds(self.socket, [proto.HEADER.pack(
            request, proto.FLAG_VERSION | flags, len(payload)) + payload], fds)

    def receive(self, request):
        data = self.socket.recv(proto.HEADER.size, socket.MSG_WAITALL)
        if not data:
            raise ConnectionResetError("the daemon closed the connection")
        got, flags, size = proto.HEADER.unpack(data)
        assert got == request
        assert flags == proto.FLAG_VERSION | proto.FLAG_REPLY
        return self.socket.recv(size, socket.MSG_WAITALL) if size else b""

    def ask(self, request, payload=b""):
        self.send(request, payload)
        return self.receive(request)

    def ask_u64(self, request):
        return proto.U64.unpack(self.ask(request))[0]

    def acknowledged(self, request, payload, fds=()):
        """Send with NEED_REPLY, as QEMU does once REPLY_ACK is agreed on."""
        assert self.result(request, payload, fds) == 0

    def result(self, request, payload=b"", fds=()):
        """Send with NEED_REPLY; return what is acknowledged: 0 is success."""
        self.send(request, payload, fds, proto.FLAG_NEED_REPLY)
        return proto.U64.unpack(self.receive(request))[0]

    def try_memory(self, regions):
        """Offer [(guest, size, user, offset, fd)]; return the result."""
        table = struct.pack("<II", len(regions), 0) + b"".join(
            proto.MEM_REGION.pack(*region[:4]) for region in regions)
        return self.result(proto.SET_MEM_TABLE, table,
                           [region[4] for region in regions])

    def give_memory(self, regions):
        """As try_memory(), and it has to be taken."""
        assert self.try_memory(regions) == 0

    def set_mem_table(self):
        self.give_memory([(0, self.low, self.user, 0, self.fd),
                          (HIGH_START, HIGH, self.user + self.low, self.low,
                           self.fd)])

    def region(self, request, guest, size, offset):
        """Add or remove one region of the memfd; return the result."""
        return self.result(request, struct.pack("<Q", 0) + proto.MEM_REGION.pack(
            guest, size, self.user + offset, offset),
            [self.fd] if request == proto.ADD_MEM_REG else [])

    def start(self, queues):
        assert self.ask_u64(proto.GET_PROTOCOL_FEATURES) \
            == proto.PROTOCOL_FEATURES
        self.send(proto.SET_PROTOCOL_FEATURES,
                  proto.U64.pack(proto.PROTOCOL_FEATURES))
        assert self.ask_u64(proto.GET_QUEUE_NUM) == 5
        self.send(proto.SET_OWNER)
        self.send(proto.SET_FEATURES, proto.U64.pack(self.acked))
        self.set_mem_table()
        for queue in queues:
            self.start_queue(queue)

    def start_queue(self, queue, base=0):
        for fds in (self.kicks, self.calls):
            if queue in fds:
                os.close(fds[queue])
            fds[queue] = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        if not base:
            self.memory[self.desc(queue):self.desc(queue) +
                        RING_PAGES * PAGE_SIZE] = bytes(RING_PAGES * PAGE_SIZE)
            self.avail[queue] = self.free_desc[queue] = 0
        desc = self.user + self.desc(queue)
        self.send(proto.SET_VRING_NUM, proto.VRING_STATE.pack(queue, VQ_SIZE))
        self.send(proto.SET_VRING_BASE, proto.VRING_STATE.pack(queue, base))
        self.send(proto.SET_VRING_ADDR, proto.VRING_ADDR.pack(
            queue, 0, desc, desc + 2 * PAGE_SIZE, desc + PAGE_SIZE, 0))
        self.send(proto.SET_VRING_KICK, proto.U64.pack(queue),
                  [self.kicks[queue]])
        self.send(proto.SET_VRING_CALL, proto.U64.pack(queue),
                  [self.calls[queue]])
        self.acknowledged(proto.SET_VRING_ENABLE,
                          proto.VRING_STATE.pack(queue, 1))
        # An interrupt may have gone to the eventfd that there was before.
        os.eventfd_read(self.calls[queue])

    def stop_queue(self, queue):
        reply = self.ask(proto.GET_VRING_BASE, proto.VRING_STATE.pack(queue, 0))
        index, base = proto.VRING_STATE.unpack(reply)
        assert index == queue
        return base

    def hung_up(self):
        """Wait for the daemon to close the connection."""
        with contextlib.suppress(ConnectionResetError):
            return self.socket.recv(1) == b""
        return True

    # Rings

    def desc(self, queue):
        """Where a queue begins in the memfd."""
        return self.rings + queue * RING_PAGES * PAGE_SIZE

    def post(self, descriptors, queue=None, kick=True, loop=False):
        """Make a chain of (address, length, flags) available; return its head."""
        queue = self.reporting if queue is None else queue
        first = self.free_desc[queue]
        places = [(first + step) % VQ_SIZE for step in range(len(descriptors))]
        self.free_desc[queue] = (first + len(descriptors)) % VQ_SIZE
        for step, (address, length, flags) in enumerate(descriptors):
            last = step == len(descriptors) - 1
            if loop or not last:
                flags |= VRING_DESC_F_NEXT
            DESC.pack_into(self.memory,
                           self.desc(queue) + places[step] * DESC.size, address,
                           length, flags, places[(step + 1) % len(places)])
        self.make_available(places[0], queue)
        if kick:
            os.eventfd_write(self.kicks[queue], 1)
        return places[0]

    def make_available(self, head, queue):
        ring = self.desc(queue) + PAGE_SIZE
        struct.pack_into("<H", self.memory,
                         ring + 4 + 2 * (self.avail[queue] % VQ_SIZE), head)
        self.avail[queue] += 1
        index = ctypes.c_uint16.from_buffer(self.memory, ring + 2)
        index.value = self.avail[queue]
        del index               # it would keep the mapping from closing

    def report(self, *blocks, **arguments):
        """Post blocks on the sg wire."""
        return self.post([(address, length, VRING_DESC_F_WRITE)
                          for address, length in blocks], **arguments)

    def hint(self, *words, **arguments):
        """Post words on the hints wire."""
        data = struct.pack(f"<{len(words)}Q", *words)
        self.memory[BUFFER:BUFFER + len(data)] = data
        return self.post([(BUFFER, len(data), 0)], **arguments)

    def used_idx(self, queue=None):
        queue = self.reporting if queue is None else queue
        return struct.unpack_from("<H", self.memory,
                                  self.desc(queue) + 2 * PAGE_SIZE + 2)[0]

    def used(self, queue=None):
        """Every used element so far: [(id, length)]"""
        queue = self.reporting if queue is None else queue
        start = self.desc(queue) + 2 * PAGE_SIZE + 4
        return [USED_ELEM.unpack_from(self.memory, start + USED_ELEM.size
                                      * (place % VQ_SIZE))
                for place in range(self.used_idx(queue))]

    def wait_call(self, what, queue=None):
        """Wait for an interrupt."""
        fd = self.calls[self.reporting if queue is None else queue]
        ready, _, _ = select.select([fd], [], [], TIMEOUT_S)
        assert ready, f"waited {TIMEOUT_S} s for an interrupt: {what}"
        os.eventfd_read(fd)

    def wait_used(self, count, what, queue=None):
        while self.used_idx(queue) < count:
            self.wait_call(what, queue)
        assert self.used_idx(queue) == count
        return self.used(queue)

    def backed(self):
        """Return the bytes of the memfd that are backed."""
        return os.fstat(self.fd).st_blocks * 512

    def is_hole(self, offset, length):
        """Is no page of this part of the memfd backed?"""
        try:
            return os.lseek(self.fd, offset, os.SEEK_DATA) >= offset + length
        except OSError:         # ENXIO: a hole until the end
            return True

    def is_data(self, offset, length):
        end = os.lseek(self.fd, offset, os.SEEK_HOLE)
        return end >= offset + length \
            and self.memory[offset:offset + length] == b"\xaa" * length
