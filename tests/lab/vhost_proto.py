# SPDX-License-Identifier: GPL-2.0
"""The vhost-user protocol, backend side: one device, split rings, one thread.

Follows QEMU's docs/interop/vhost-user.rst ("the document" below). The backend
listens, the front-end connects; one front-end at a time, as many one after the
other as like to. Everything that touches a ring, guest memory or the socket
happens in the one serving thread, and that thread never waits for anything but
its selector: a front-end blocks, and its whole guest with it, until it has the
reply to GET_VRING_BASE or GET_CONFIG.
"""

import contextlib
import logging
import os
import selectors
import socket
import struct
import threading
from collections import deque
from functools import partial

from .vring import IDX_MASK, GuestMemory, Region, RingError, SplitRing

log = logging.getLogger("vhost")

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
# The document, "Back-end message types"
BACKEND_CONFIG_CHANGE_MSG = 2

# The document, "Protocol features"
PROTOCOL_F_MQ = 0
PROTOCOL_F_REPLY_ACK = 3
PROTOCOL_F_BACKEND_REQ = 5
PROTOCOL_F_CONFIG = 9
# BACKEND_REQ carries config changes; QEMU wants it and REPLY_ACK before it lets
# a device offer ACCESS_PLATFORM.
PROTOCOL_FEATURES = (1 << PROTOCOL_F_MQ | 1 << PROTOCOL_F_REPLY_ACK
                     | 1 << PROTOCOL_F_BACKEND_REQ | 1 << PROTOCOL_F_CONFIG)

VHOST_USER_F_PROTOCOL_FEATURES = 30     # a virtio feature bit, front-end only

HEADER = struct.Struct("<III")          # request, flags, payload size in bytes
FLAG_VERSION = 0x1
FLAG_REPLY = 0x4
FLAG_NEED_REPLY = 0x8
VRING_IDX_MASK = 0xff                   # of the u64 of SET_VRING_KICK/CALL/ERR
VRING_NOFD_MASK = 0x100
MAX_FDS = 8                             # VHOST_MEMORY_BASELINE_NREGIONS
MAX_PAYLOAD = 4096                      # bytes; no message comes near it
MESSAGE_TIMEOUT_S = 10.0                # for the rest of a message begun
STOP_TIMEOUT_S = 10.0                   # for the thread to end

U64 = struct.Struct("<Q")
VRING_STATE = struct.Struct("<II")      # index, num
VRING_ADDR = struct.Struct("<IIQQQQ")   # index, flags, desc, used, avail, log
MEM_REGION = struct.Struct("<QQQQ")     # guest, size, user, mmap offset
CONFIG_HEADER = struct.Struct("<III")   # offset, size, flags


class Hangup(Exception):
    """Close the connection; the message says why."""


def _close(fd):
    if fd is not None:
        os.close(fd)


def _drain(eventfd):
    """Reset an eventfd; its other owner may have been quicker."""
    with contextlib.suppress(BlockingIOError):
        os.eventfd_read(eventfd)


class Queue:
    """What the front-end told us about one virtqueue."""

    def __init__(self, index):
        self.index = index
        self.num = self.base = 0
        self.addresses = None   # desc, avail, used: front-end addresses
        self.kick = self.call = None
        self.enabled = False
        self.ring = None        # a SplitRing from SET_VRING_KICK until stopped
        self.pending = deque()  # buffers taken from the ring, not used yet

    def signal(self):
        """Interrupt the driver.

        VIRTQ_AVAIL_F_NO_INTERRUPT is not looked at: it is a hint (virtio 1.2,
        2.7.7), and obeying it needs a fence that Python does not have.
        """
        if self.call is not None:
            with contextlib.suppress(BlockingIOError):  # full: it is signalled
                os.eventfd_write(self.call, 1)


class VhostUserBackend:
    """Subclasses implement process(), read_config(), write_config()."""

    def __init__(self, socket_path, features, num_queues, config_size):
        self.socket_path = os.fspath(socket_path)
        self.offered = features | 1 << VHOST_USER_F_PROTOCOL_FEATURES
        self.acked = 0
        self.config_size = config_size
        self.queues = [Queue(index) for index in range(num_queues)]
        self.changed = threading.Condition()    # guards self.memory, too
        self.memory = GuestMemory()
        self._listener = self._connection = self._backend_channel = None
        self._thread = self._selector = self._wake_fd = None
        self._stopping = False

    # What a device fills in; all of it is called in the serving thread.

    def process(self):
        """Look at every ring. Return: seconds until the next look, or None."""
        raise NotImplementedError

    def read_config(self):
        """Return: the configuration space, config_size bytes."""
        raise NotImplementedError

    def write_config(self, offset, data):
        """The driver's (or the front-end's cached) bytes at this offset."""
        raise NotImplementedError

    def connected(self):
        """A front-end is there."""

    def queue_started(self, queue):
        """queue.ring is ready to use."""

    def queue_stopped(self, queue):
        """queue.ring is about to go; what is in queue.pending is forgotten."""

    # Life

    def start(self):
        """Listen, then serve in a thread. Connecting works on return."""
        if self._thread:
            raise RuntimeError("already started")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.socket_path)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.socket_path)
        self._listener.listen(4)
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_fd, selectors.EVENT_READ,
                                partial(_drain, self._wake_fd))
        self._watch_listener(True)
        self._stopping = False
        self._thread = threading.Thread(target=self._serve, daemon=True,
                                        name=f"vhost {self.socket_path}")
        self._thread.start()
        return self

    def stop(self):
        """Hang up, stop listening, end the thread. May be called twice."""
        if not self._thread:
            return
        self._stopping = True
        self.wake()
        self._thread.join(STOP_TIMEOUT_S)
        if self._thread.is_alive():
            raise TimeoutError(f"waited {STOP_TIMEOUT_S} s for the vhost thread"
                               f" of {self.socket_path} to end")
        self._thread = None
        self._selector.close()
        self._listener.close()
        _close(self._wake_fd)
        self._wake_fd = None
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.socket_path)

    def wake(self):
        """Make the serving thread look at everything again. Any thread."""
        if self._wake_fd is not None:
            os.eventfd_write(self._wake_fd, 1)

    def _serve(self):
        while not self._stopping:
            try:
                timeout = self.process()
                for key, _ in self._selector.select(timeout):
                    # An earlier callback may have closed this one.
                    if self._selector.get_map().get(key.fileobj) == key:
                        key.data()
            except Hangup as reason:
                self._hang_up(reason)
            except Exception as bug:    # must not end the thread unseen
                log.exception("the device failed, the front-end loses it")
                self._hang_up(repr(bug))
        self._hang_up("stopped")

    def _watch_listener(self, watch):
        if watch:
            self._selector.register(self._listener, selectors.EVENT_READ,
                                    self._accept)
        else:
            self._selector.unregister(self._listener)

    def _accept(self):
        self._connection, _ = self._listener.accept()
        self._connection.settimeout(MESSAGE_TIMEOUT_S)
        self._watch_listener(False)     # the next one waits in the backlog
        self._selector.register(self._connection, selectors.EVENT_READ,
                                self._message)
        log.info("front-end connected to %s", self.socket_path)
        self.connected()

    def _hang_up(self, reason):
        if not self._connection:
            return
        log.info("hanging up on the front-end: %s", reason)
        self._forget_device()
        self._selector.unregister(self._connection)
        self._connection.close()
        self._connection = None
        if self._backend_channel:
            self._backend_channel.close()
            self._backend_channel = None
        self._watch_listener(True)

    def _forget_device(self):
        """Back to the state before the first message."""
        for queue in self.queues:
            self._stop_queue(queue)
            _close(queue.call)
            self.queues[queue.index] = Queue(queue.index)
        with self.changed:
            self.memory.close()
        self.acked = 0

    def _stop_queue(self, queue):
        """Forget the ring and what was taken from it and not used yet.

        After this no guest memory is touched on behalf of the old ring: a
        driver that reset the device may use all of its blocks again. The base
        is that of the oldest buffer not used, so that a front-end which only
        paused (a stopped VM) has them processed afterwards.
        """
        if queue.ring:
            self.queue_stopped(queue)
            queue.base = (queue.ring.last_avail - len(queue.pending)) & IDX_MASK
            queue.ring = None
        queue.pending.clear()
        if queue.kick is not None:
            self._selector.unregister(queue.kick)
            os.close(queue.kick)
            queue.kick = None

    # Messages

    def _receive_exactly(self, length):
        data = b""
        while len(data) < length:
            part = self._connection.recv(length - len(data))
            if not part:
                raise Hangup("end of stream inside a message")
            data += part
        return data

    def _message(self):
        fds = []
        try:
            data, fds, _, _ = socket.recv_fds(self._connection, HEADER.size,
                                              MAX_FDS)
            if not data:
                raise Hangup("the front-end left")
            data += self._receive_exactly(HEADER.size - len(data))
            request, flags, size = HEADER.unpack(data)
            if size > MAX_PAYLOAD:
                raise Hangup(f"request {request} with {size} bytes")
            payload = self._receive_exactly(size)
            handler = self._handlers.get(request)
            if not handler:
                raise Hangup(f"request {request} is not for this device")
            reply = handler(self, payload, fds)
            if reply is None and flags & FLAG_NEED_REPLY:
                reply = U64.pack(0)
            if reply is not None:
                self._connection.sendall(HEADER.pack(
                    request, FLAG_VERSION | FLAG_REPLY, len(reply)) + reply)
        except (Hangup, OSError, RingError, struct.error, IndexError) as reason:
            self._hang_up(reason)
        finally:
            for fd in fds:      # those that nobody took
                os.close(fd)

    def _nothing(self, payload, fds):
        pass

    def _get_features(self, payload, fds):
        return U64.pack(self.offered)

    def _set_features(self, payload, fds):
        self.acked, = U64.unpack(payload)
        if self.acked & ~self.offered:
            raise Hangup(f"features {self.acked:#x}, offered {self.offered:#x}")

    def _get_protocol_features(self, payload, fds):
        return U64.pack(PROTOCOL_FEATURES)

    def _get_queue_num(self, payload, fds):
        return U64.pack(len(self.queues))

    def _reset(self, payload, fds):
        for queue in self.queues:
            self._stop_queue(queue)
            queue.enabled = False

    def _set_mem_table(self, payload, fds):
        count, _ = struct.unpack_from("<II", payload)
        if count != len(fds):
            raise Hangup(f"{count} memory regions, {len(fds)} descriptors")
        new = GuestMemory()
        for place in range(count):
            guest, size, user, offset = MEM_REGION.unpack_from(
                payload, 8 + place * MEM_REGION.size)
            new.regions.append(Region(guest, size, user, offset,
                                      os.dup(fds[place])))
        with self.changed:
            old, self.memory = self.memory, new
            old.close()
        for queue in self.queues:
            if queue.ring:      # memory hotplug under a running device
                queue.ring = SplitRing(new, queue.num, *queue.addresses,
                                       queue.ring.last_avail)

    def _set_vring_num(self, payload, fds):
        index, num = VRING_STATE.unpack(payload)
        self.queues[index].num = num

    def _set_vring_addr(self, payload, fds):
        index, _, desc, used, avail, _ = VRING_ADDR.unpack(payload)
        self.queues[index].addresses = (desc, avail, used)

    def _set_vring_base(self, payload, fds):
        index, base = VRING_STATE.unpack(payload)
        self.queues[index].base = base

    def _get_vring_base(self, payload, fds):
        index, _ = VRING_STATE.unpack(payload)
        queue = self.queues[index]
        self._stop_queue(queue)
        return VRING_STATE.pack(index, queue.base)

    def _vring_fd(self, payload, fds):
        """The queue and the eventfd of SET_VRING_KICK, CALL and ERR."""
        value, = U64.unpack(payload)
        queue = self.queues[value & VRING_IDX_MASK]
        if value & VRING_NOFD_MASK:
            return queue, None
        os.set_blocking(fds[-1], False)
        return queue, fds.pop()

    def _set_vring_kick(self, payload, fds):
        queue, fd = self._vring_fd(payload, fds)
        self._stop_queue(queue)
        if fd is None:
            raise Hangup("a queue without kicks (polling) is not supported")
        queue.kick = fd
        self._selector.register(fd, selectors.EVENT_READ,
                                partial(_drain, fd))
        queue.ring = SplitRing(self.memory, queue.num, *queue.addresses,
                               queue.base)
        self.queue_started(queue)

    def _set_vring_call(self, payload, fds):
        queue, fd = self._vring_fd(payload, fds)
        _close(queue.call)
        queue.call = fd

    def _set_vring_err(self, payload, fds):
        _close(self._vring_fd(payload, fds)[1])

    def _set_vring_enable(self, payload, fds):
        index, enable = VRING_STATE.unpack(payload)
        self.queues[index].enabled = bool(enable)

    def _set_backend_req_fd(self, payload, fds):
        self._backend_channel = socket.socket(fileno=fds.pop())

    def _get_config(self, payload, fds):
        offset, size, flags = CONFIG_HEADER.unpack_from(payload)
        data = self.read_config()[offset:offset + size]
        # The front-end expects as many bytes as it asked for.
        return CONFIG_HEADER.pack(offset, size, flags) + data.ljust(size, b"\0")

    def _set_config(self, payload, fds):
        offset, size, _ = CONFIG_HEADER.unpack_from(payload)
        self.write_config(offset, payload[CONFIG_HEADER.size:][:size])

    def notify_config(self):
        """Tell the driver that the configuration changed. Serving thread."""
        if self._backend_channel:
            self._backend_channel.sendall(HEADER.pack(
                BACKEND_CONFIG_CHANGE_MSG, FLAG_VERSION, 0))

    _handlers = {
        GET_FEATURES: _get_features, SET_FEATURES: _set_features,
        SET_OWNER: _nothing, RESET_OWNER: _reset, RESET_DEVICE: _reset,
        SET_MEM_TABLE: _set_mem_table, SET_VRING_NUM: _set_vring_num,
        SET_VRING_ADDR: _set_vring_addr, SET_VRING_BASE: _set_vring_base,
        GET_VRING_BASE: _get_vring_base, SET_VRING_KICK: _set_vring_kick,
        SET_VRING_CALL: _set_vring_call, SET_VRING_ERR: _set_vring_err,
        GET_PROTOCOL_FEATURES: _get_protocol_features,
        SET_PROTOCOL_FEATURES: _nothing, GET_QUEUE_NUM: _get_queue_num,
        SET_VRING_ENABLE: _set_vring_enable,
        SET_BACKEND_REQ_FD: _set_backend_req_fd,
        GET_CONFIG: _get_config, SET_CONFIG: _set_config,
    }
