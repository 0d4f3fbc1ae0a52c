# SPDX-License-Identifier: GPL-2.0
"""A virtio-balloon device of our own for QEMU, as a vhost-user backend.

In a test:

    with VhostBalloon(path, wire="sg") as balloon:
        ... start QEMU with balloon.memory_args(2048) and balloon.qemu_args() ...
        balloon.mode = "silent"

or as a program, from the directory above this one:

    python3 -m lab.vhost_balloon --socket PATH --wire sg --mode normal

virtio 1.2, 5.5 "Traditional Memory Balloon Device". Lengths are in bytes.
"""

import argparse
import json
import logging
import signal
import struct
import sys
import threading
import time
from collections import Counter, deque, namedtuple

from .vhost_proto import Hangup, VhostUserBackend
from .vring import PAGE_SIZE, RingError

log = logging.getLogger("vhost")

VIRTIO_ID_BALLOON = 5           # virtio 1.2, 5 "Device Types"
# virtio 1.2, 5.5.3 "Feature bits"
VIRTIO_BALLOON_F_STATS_VQ = 1
VIRTIO_BALLOON_F_FREE_PAGE_HINT = 3
VIRTIO_BALLOON_F_PAGE_POISON = 4
VIRTIO_BALLOON_F_REPORTING = 5
# virtio 1.2, 6 "Reserved Feature Bits"
VIRTIO_F_INDIRECT_DESC = 28
VIRTIO_F_EVENT_IDX = 29
VIRTIO_F_VERSION_1 = 32
VIRTIO_F_ACCESS_PLATFORM = 33
VIRTIO_F_RING_PACKED = 34

DEFAULT_FEATURES = (VIRTIO_F_VERSION_1, VIRTIO_BALLOON_F_REPORTING)
UNSUPPORTED_FEATURES = (VIRTIO_F_EVENT_IDX, VIRTIO_F_RING_PACKED)

# virtio 1.2, 5.5.4: num_pages, actual, free_page_hint_cmd_id, poison_val
CONFIG = struct.Struct("<IIII")
CONFIG_ACTUAL = slice(4, 8)     # the driver writes this one
CONFIG_POISON_VAL = slice(12, 16)   # and this one
MAX_QUEUES = 5                  # virtio 1.2, 5.5.2

# The hints wire: the hinting queue of Linux patch series "mm / virtio: Provide
# support for paravirtual waste page treatment" v1 (June 2019).
MAX_HINTS = 32                  # words in a buffer
HINT = struct.Struct("<Q")
HINT_ORDER_MASK = PAGE_SIZE - 1     # order in units of 4 KiB pages
MAX_ORDER = 64 - 12 - 1         # larger ones do not fit a 64-bit address

WIRES = ("sg", "hints")
MODES = {
    "normal": "release every block, then use the buffer with length 0",
    "silent": "take kicks, never use a buffer",
    "hold": "release and use each buffer delay_s after it was seen",
    "wrong-id": "use an id that is not the head of any buffer in the ring",
    "twice": "use each buffer twice",
    "absurd-len": "use each buffer with length 0xffffffff",
    "no-work-irq": "silent, and interrupt the driver all the time",
    "die": "close the connection when a buffer arrives",
}
ABSURD_LEN = 0xffffffff
IRQ_PERIOD_S = 0.01             # of no-work-irq
RECENT = 4096                   # batches and refused blocks remembered

Buffer = namedtuple("Buffer", "head blocks seen")  # blocks: [(address, length)]


def decode_hint(word):
    """A word of the hints wire: (address, length, reason to refuse or None)."""
    order = word & HINT_ORDER_MASK
    address = word & ~HINT_ORDER_MASK
    if order > MAX_ORDER:
        return address, 0, "order"
    length = PAGE_SIZE << order
    return address, length, "misaligned" if address % length else None


def queue_roles(features):
    """What each queue index is for, by negotiated features.

    The specification numbers queues 0-4; Linux numbers only those whose feature
    was negotiated, and QEMU's own balloon, which always offers STATS_VQ, agrees
    with both. A device that has to work with Linux counts like Linux.
    """
    roles = ["inflate", "deflate"]
    for bit, role in ((VIRTIO_BALLOON_F_STATS_VQ, "stats"),
                      (VIRTIO_BALLOON_F_FREE_PAGE_HINT, "hinting"),
                      (VIRTIO_BALLOON_F_REPORTING, "reporting")):
        if features >> bit & 1:
            roles.append(role)
    return roles


class Stats:
    """What the device saw and did. Read it under VhostBalloon.changed, or take
    VhostBalloon.snapshot()."""

    def __init__(self):
        self.connections = 0    # front-ends that came
        self.starts = 0         # times the reporting queue was set up
        self.stops = 0          # times it was taken down (reset, paused VM)
        self.dropped = 0        # reports seen and not answered when it was
        self.seen = 0           # reports taken from the ring
        self.buffers = 0        # reports answered
        self.empty_irqs = 0     # interrupts of mode no-work-irq
        self.blocks = 0         # blocks released
        self.bytes_released = 0
        self.poisoned = 0       # blocks kept because poison_val is not zero
        self.max_descriptors = 0    # in one report
        self.indirect = 0       # chains with an indirect descriptor, any queue
        self.other_buffers = Counter()  # by role: seen in the other queues
        self.refused = Counter()        # blocks not released, by reason
        self.violations = Counter()     # reports against the wire's rules
        self.ring_errors = deque(maxlen=RECENT)     # text
        self.batches = deque(maxlen=RECENT)     # [(address, length)] a report
        self.refused_blocks = deque(maxlen=RECENT)  # (address, length, reason)


class VhostBalloon(VhostUserBackend):
    """A virtio-balloon device with a reporting queue, to be lied with.

    Start it before QEMU: it listens, QEMU connects. Add to QEMU 11.1 or later
    what memory_args() and qemu_args() return, which is

        -object memory-backend-memfd,id=mem0,size=2048M,share=on
        -machine memory-backend=mem0
        -chardev socket,id=balloon0-chr,path=SOCKET
        -device vhost-user-test-device-pci,id=balloon0,virtio-id=5,num_vqs=5,
                vq_size=128,config_size=16,chardev=balloon0-chr

    wire: "sg" (virtio 1.2, 5.5.6.7 "Free Page Reporting": device-writable
    descriptors are the blocks) or "hints" (a device-readable buffer of up to 32
    little-endian words, physical address | order).
    features: the bits to offer, DEFAULT_FEATURES if not given; bit 30 is added.

    These may be set at any time, from any thread:
    mode: one of MODES. What was not answered in one mode is answered, in
    order, according to the next.
    delay_s: seconds from seeing a report to answering it, in mode "hold". The
    blocks are released at the end of it, just before the answer.
    affected: roles of the queues that `mode` is about; the others are normal.

    A reset of the device by the driver (or a reboot, an unload, a paused VM)
    stops the rings: what was seen and not answered is dropped, and nothing of
    it is released later. The reset returns in the guest after that.

    QEMU 11.1's test device, seen: it has no MSI-X, one INTx serves all queues.
    It does not take a second connection: after mode "die" or stop() the guest
    may still reset the device, but a driver that then sets DRIVER_OK aborts
    QEMU, and with reconnect-ms= on the chardev QEMU does not start at all. The
    QMP command x-query-virtio-status crashes it. A driver that does not accept
    ACCESS_PLATFORM where it is offered is refused FEATURES_OK.
    """

    def __init__(self, socket_path, wire="sg", mode="normal", features=None,
                 delay_s=1.0):
        if wire not in WIRES:
            raise ValueError(f"wire {wire!r} is none of {', '.join(WIRES)}")
        bits = DEFAULT_FEATURES if features is None else tuple(features)
        for bit in UNSUPPORTED_FEATURES:
            if bit in bits:
                raise ValueError(f"feature {bit} is not implemented")
        super().__init__(socket_path, sum(1 << bit for bit in set(bits)),
                         MAX_QUEUES, CONFIG.size)
        self.wire = wire
        self.stats = Stats()
        self.affected = frozenset({"reporting"})
        self._config = bytearray(CONFIG.size)   # guarded by changed, as stats
        self._config_changed = False
        self._delay_s = delay_s
        self._next_irq = 0.0
        self._mode = None
        self.mode = mode

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    # For tests, from any thread

    @property
    def mode(self):
        return self._mode

    @mode.setter
    def mode(self, mode):
        if mode not in MODES:
            raise ValueError(f"mode {mode!r} is none of {', '.join(MODES)}")
        self._mode = mode
        self.wake()

    @property
    def delay_s(self):
        return self._delay_s

    @delay_s.setter
    def delay_s(self, delay_s):
        self._delay_s = delay_s
        self.wake()

    def set_target(self, num_pages):
        """Ask the driver to inflate to num_pages pages of 4 KiB."""
        with self.changed:
            self._config[0:4] = struct.pack("<I", num_pages)
            self._config_changed = True
        self.wake()

    def config(self):
        """num_pages, actual, free_page_hint_cmd_id, poison_val"""
        with self.changed:
            return CONFIG.unpack(self._config)

    def guest_bytes(self):
        """Guest memory the host backs now; 0 before a driver's DRIVER_OK, which
        is when QEMU first hands over the memory."""
        with self.changed:
            return self.memory.allocated_bytes()

    def snapshot(self):
        """The statistics as plain dicts, lists and numbers."""
        with self.changed:
            return {name: dict(value) if isinstance(value, Counter) else
                    list(value) if isinstance(value, deque) else value
                    for name, value in vars(self.stats).items()}

    def wait_for(self, condition, timeout_s, what):
        """Wait until condition(stats) holds; `what` is said if it does not."""
        with self.changed:
            if not self.changed.wait_for(lambda: condition(self.stats),
                                         timeout_s):
                raise TimeoutError(f"waited {timeout_s} s for {what}; "
                                   f"statistics: {self.snapshot()}")

    def memory_args(self, size_mib):
        return ["-object", "memory-backend-memfd,id=mem0,share=on,"
                f"size={size_mib}M", "-machine", "memory-backend=mem0"]

    def qemu_args(self, vq_size=128, id="balloon0"):
        """The chardev and the device. vq_size: descriptors in each queue."""
        return ["-chardev", f"socket,id={id}-chr,path={self.socket_path}",
                "-device", f"vhost-user-test-device-pci,id={id},"
                f"virtio-id={VIRTIO_ID_BALLOON},num_vqs={MAX_QUEUES},"
                f"vq_size={vq_size},config_size={CONFIG.size},"
                f"chardev={id}-chr"]

    # The device; in the serving thread

    def role(self, queue):
        roles = queue_roles(self.acked)
        return roles[queue.index] if queue.index < len(roles) else "none"

    def read_config(self):
        with self.changed:
            return bytes(self._config)

    def write_config(self, offset, data):
        """QEMU writes its cached copy of all 16 bytes: take the driver's two."""
        with self.changed:
            new = bytearray(self._config)
            new[offset:offset + len(data)] = data
            for field in (CONFIG_ACTUAL, CONFIG_POISON_VAL):
                self._config[field] = new[field]
            self.changed.notify_all()

    def connected(self):
        with self.changed:
            self.stats.connections += 1
            self.changed.notify_all()

    def queue_started(self, queue):
        if self.role(queue) == "reporting":
            with self.changed:
                self.stats.starts += 1
                self.changed.notify_all()

    def queue_stopped(self, queue):
        if self.role(queue) == "reporting":
            with self.changed:
                self.stats.stops += 1
                self.stats.dropped += len(queue.pending)
                self.changed.notify_all()

    def process(self):
        due = []                # times at which to look again
        now = time.monotonic()
        with self.changed:
            notify, self._config_changed = self._config_changed, False
        if notify:
            self.notify_config()
        for queue in self.queues:
            if not (queue.ring and queue.enabled):
                continue
            role = self.role(queue)
            mode = self._mode if role in self.affected else "normal"
            try:
                self._take(queue, role, mode, now)
                due.append(self._answer(queue, role, mode, now))
            except RingError as error:
                log.error("%s queue is broken until its reset: %s", role, error)
                queue.enabled = False
                with self.changed:
                    self.stats.ring_errors.append(f"{role}: {error}")
                    self.changed.notify_all()
        due = [when for when in due if when is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _take(self, queue, role, mode, now):
        """Move what the driver made available to queue.pending."""
        while chain := queue.ring.pop():
            if role == "reporting" and mode == "die":
                raise Hangup("mode is die and a report came")
            with self.changed:
                self.stats.indirect += chain.indirect
                blocks = []
                if role == "reporting":
                    blocks = self._decode_report(chain)
                else:
                    self.stats.other_buffers[role] += 1
                queue.pending.append(Buffer(chain.head, blocks, now))
                self.changed.notify_all()

    def _decode_report(self, chain):
        stats = self.stats
        stats.seen += 1
        stats.max_descriptors = max(stats.max_descriptors,
                                    len(chain.descriptors))
        told = self._decode_sg(chain) if self.wire == "sg" \
            else self._decode_hints(chain)
        blocks = []
        for address, length, reason in told:
            if not reason and not self.memory.covers(address, length):
                reason = "outside RAM"
            if reason:
                stats.refused[reason] += 1
                stats.refused_blocks.append((address, length, reason))
            else:
                blocks.append((address, length))
        stats.batches.append(list(blocks))
        return blocks

    def _decode_sg(self, chain):
        for addr, length, writable in chain.descriptors:
            if not writable:
                self.stats.violations["readable descriptor"] += 1
                yield addr, length, "readable"
            elif not length or addr % PAGE_SIZE or length % PAGE_SIZE:
                yield addr, length, "misaligned"
            else:
                yield addr, length, None

    def _decode_hints(self, chain):
        if any(descriptor.writable for descriptor in chain.descriptors):
            self.stats.violations["writable descriptor"] += 1
            return
        if len(chain.descriptors) != 1:
            self.stats.violations["more than one descriptor"] += 1
        size = sum(descriptor.length for descriptor in chain.descriptors)
        if not size or size % HINT.size or size > MAX_HINTS * HINT.size:
            self.stats.violations["size of the buffer"] += 1
            return
        data = b"".join(self.memory.read(descriptor.addr, descriptor.length)
                        for descriptor in chain.descriptors)
        for word, in HINT.iter_unpack(data):
            yield decode_hint(word)

    def _release(self, blocks):
        """Give blocks back; with a poison value their content must stay
        (virtio 1.2, 5.5.6.7.2)."""
        _, _, _, poison_val = self.config()
        keep = poison_val and self.acked >> VIRTIO_BALLOON_F_PAGE_POISON & 1
        for address, length in blocks:
            if not keep:
                self.memory.punch(address, length)
        with self.changed:
            if keep:
                self.stats.poisoned += len(blocks)
            else:
                self.stats.blocks += len(blocks)
                self.stats.bytes_released += sum(size for _, size in blocks)

    def _answer(self, queue, role, mode, now):
        """Use what is due. Return: when to come back, or None."""
        if role == "stats" or mode == "silent":
            return None         # statistics buffers are kept (5.5.6.3)
        if mode == "no-work-irq":
            if now >= self._next_irq:
                queue.signal()
                self._next_irq = now + IRQ_PERIOD_S
                with self.changed:
                    self.stats.empty_irqs += 1
                    self.changed.notify_all()
            return self._next_irq
        answered = 0
        again = None
        while queue.pending:
            head, blocks, seen = queue.pending[0]
            if mode == "hold" and seen + self._delay_s > now:
                again = seen + self._delay_s
                break
            queue.pending.popleft()
            self._release(blocks)
            if mode == "wrong-id":
                head = self._not_a_head(queue, head)
            for _ in range(2 if mode == "twice" else 1):
                queue.ring.push(head, ABSURD_LEN if mode == "absurd-len" else 0)
            answered += 1
        if answered:
            with self.changed:  # first: who sees the answer sees it counted
                self.stats.buffers += answered if role == "reporting" else 0
                self.changed.notify_all()
            queue.ring.publish()
            queue.signal()
        return again

    @staticmethod
    def _not_a_head(queue, head):
        """An index inside the ring, but of no buffer that we were given."""
        heads = {head, *(buffer.head for buffer in queue.pending)}
        others = (index % queue.num
                  for index in range(head + 1, head + queue.num))
        return next((index for index in others if index not in heads),
                    queue.num)


def _commands(balloon, stream):
    """Obey lines `mode NAME`, `delay SECONDS`, `target PAGES`, `stats`."""
    for line in stream:
        command, _, value = line.strip().partition(" ")
        try:
            if command == "mode":
                balloon.mode = value
            elif command == "delay":
                balloon.delay_s = float(value)
            elif command == "target":
                balloon.set_target(int(value))
            elif command == "stats":
                print(json.dumps(balloon.snapshot()), flush=True)
            elif command:
                print(f"unknown command {command!r}", file=sys.stderr)
        except ValueError as error:
            print(error, file=sys.stderr)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="vhost_balloon", description="A virtio-balloon device for QEMU.",
        epilog="Reads `mode NAME`, `delay SECONDS`, `target PAGES` and `stats` "
        "from standard input; SIGTERM ends it. Modes: "
        + "; ".join(f"{name}: {text}" for name, text in MODES.items()) + ".")
    parser.add_argument("--socket", required=True, help="path to listen at")
    parser.add_argument("--wire", choices=WIRES, default="sg")
    parser.add_argument("--mode", choices=MODES, default="normal")
    parser.add_argument("--delay", type=float, default=1.0, metavar="SECONDS",
                        help="for mode hold")
    parser.add_argument("--features", metavar="BIT,BIT",
                        type=lambda text: [int(bit) for bit in text.split(",")],
                        help="bits to offer (default: %s)"
                        % ",".join(map(str, DEFAULT_FEATURES)))
    parser.add_argument("--verbose", action="store_true",
                        help="log connections to standard error")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO if options.verbose
                        else logging.WARNING)
    balloon = VhostBalloon(options.socket, options.wire, options.mode,
                           options.features, options.delay)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with balloon:
        print("add to QEMU:", " ".join(balloon.qemu_args()), flush=True)
        threading.Thread(target=_commands, args=(balloon, sys.stdin),
                         daemon=True).start()
        ended.wait()
    print(json.dumps(balloon.snapshot()), flush=True)


if __name__ == "__main__":
    main()
