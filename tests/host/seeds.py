#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Writes the fuzzers' seeds: inputs that get past the first checks.

The formats are explained at the top of each fuzz_*.c.
"""

import pathlib
import struct

HERE = pathlib.Path(__file__).resolve().parent / "seeds"
PAGE = 4096
LOW = 16 * PAGE
HIGH = 8 * PAGE
HIGH_AT = 1 << 32
USER = 0x7f0000000000
NEXT, WRITE, INDIRECT = 1, 2, 4
SG, HINTS = 0, 1
INFLATE, DEFLATE, STATS, FREE_PAGE = 2, 4, 6, 8   # beside SG
FIRST_RUN = 2   # the command id of the first hint run


def words(*values):
    return struct.pack(f"<{len(values)}Q", *values)


def desc(addr, length, flags, following=0):
    return struct.pack("<QIHH", addr, length, flags, following)


def ring(wire, table, heads, more=b"", order=3, base=0, count=None):
    """A queue of 8 with its parts at 0, 0x400 and 0x800, `more` at 0x1000."""
    setup = struct.pack("<BBHHHHH", wire, order, base, 0, 0x40, 0x80, 0)
    count = len(heads) if count is None else count
    avail = struct.pack("<HH", 0, (base + count) & 0xffff)
    slots = [0] * (1 << order)
    for step, head in enumerate(heads):
        slots[(base + step) % len(slots)] = head
    avail += struct.pack(f"<{len(slots)}H", *slots)
    memory = b"".join(table).ljust(0x400, b"\0") + avail
    return setup + memory.ljust(0x1000, b"\0") + more


def message(request, payload=b"", kinds=(), flags=9):
    data = struct.pack("<III", request, flags, len(payload)) + payload
    packed = sum(kind << 2 * place for place, kind in enumerate(kinds))
    return struct.pack("<BBH", len(data), len(kinds), packed) + data


def cut_message(request, payload, kinds):
    """A message in two parts, each with file descriptors."""
    whole = message(request, payload, kinds)
    head, body = whole[4:16], whole[16:]
    return struct.pack("<BBH", len(head), len(kinds), 0) + head + \
        struct.pack("<BBH", len(body), len(kinds), 0) + body


def state(index, number):
    return struct.pack("<II", index, number)


def region(guest, size, user, offset):
    return struct.pack("<QQQQ", guest, size, user, offset)


def table():
    return message(5, struct.pack("<II", 2, 0) +
                   region(0, LOW, USER, PAGE) +
                   region(HIGH_AT, HIGH, USER + LOW, LOW + 2 * PAGE), (0, 0))


def queue(index):
    return b"".join((
        message(8, state(index, 8)), message(10, state(index, 0)),
        message(9, struct.pack("<IIQQQQ", index, 0, USER + index * PAGE,
                               USER + index * PAGE + 0x800,
                               USER + index * PAGE + 0x400, 0)),
        message(12, struct.pack("<Q", index), (1,)),
        message(13, struct.pack("<Q", index), (1,)),
        message(14, struct.pack("<Q", index), (2,)),
        message(18, state(index, 1))))


START = b"".join((
    message(1, flags=1), message(15, flags=1),
    message(16, struct.pack("<Q", 0xa229)), message(17, flags=1), message(3),
    message(2, struct.pack("<Q", 0x150000032)), table()))
CONFIG = struct.pack("<III", 0, 16, 0) + bytes(16)
END = struct.pack("<BBH", 0, 0, 0)


def slot(request, *place):
    return message(request, bytes(8) + region(*place),
                   (0,) if request == 37 else ())


def race(wire, table, heads, changes, more=b"", order=3):
    """A queue whose parts follow each other from 0, and what changes."""
    size = 16 << order
    avail = struct.pack("<HH", 0, len(heads)) + struct.pack(
        f"<{len(heads)}H", *heads)
    memory = b"".join(table).ljust(size, b"\0") + avail
    there = [changes[step % len(changes)] for step in range(16)]
    return struct.pack("<BBHH", wire, order, 0, 0) + \
        memory.ljust(0x1000, b"\0") + more + b"".join(
            struct.pack("<HB", at, value) for at, value in there)


def call(number, *args, arch=0xc000003e):
    return struct.pack("<IIQ6Q", number, arch, 0,
                       *(args + (0,) * 6)[:6])


def line(*options):
    return b"\0".join(option.encode() for option in options)


SAYS, ENDS, GOES, GUEST = range(4)


def piece(event, text=b"", client=0):
    return struct.pack("<BB", event + 4 * client, len(text)) + text


def told(word, more=b""):
    """The guest has read what it is asked for, and says a word."""
    return piece(GUEST) + piece(GUEST, struct.pack("<I", word) + more)


SLOTS = START + message(36, flags=1) + message(
    5, struct.pack("<II", 0, 0)) + slot(37, 0, LOW, USER, PAGE) + queue(3) + \
    slot(38, 0, LOW, USER, PAGE) + slot(37, 0, LOW, USER, PAGE) + \
    slot(37, HIGH_AT, HIGH, USER + LOW, LOW + 2 * PAGE)

SEEDS = {
    "words": {
        "pages": words(0x1000, 0x2000, 0x5000, HIGH_AT, HIGH_AT + 0x1000),
        "orders": words(0x4000 | 2, 0x8000 | 3, HIGH_AT | 3, 0x8000 | 2),
        "overlap": words(0 | 4, 0x4000 | 2, 0x4000 | 2, 0x5000),
        "refused": words(0x1000 | 1, 0xfff, 52, 51, LOW, HIGH_AT + HIGH,
                         HIGH_AT - 0x1000, (1 << 63) | 51, 2**64 - 4096),
    },
    "ring": {
        "sg": ring(SG, [desc(0x2000, 0x1000, WRITE | NEXT, 1),
                        desc(HIGH_AT, 0x2000, WRITE)], [0]),
        "sg-refused": ring(SG, [desc(0x2000, 0x1000, 0),
                                desc(LOW, 0x1000, WRITE),
                                desc(0x2001, 0x1000, WRITE)], [0, 1, 2]),
        "hints": ring(HINTS, [desc(0x1000, 32, 0)], [0],
                      words(0x4000 | 2, 0x8000, 0xfff, LOW)),
        "hints-in-pieces": ring(HINTS, [desc(0x1000, 3, NEXT, 1),
                                        desc(0x1003, 13, 0)], [0],
                                words(0x4000 | 2, 0x8000)),
        "hints-refused": ring(HINTS, [desc(0x1000, 264, 0),
                                      desc(0x1000, 7, 0),
                                      desc(0x1000, 8, WRITE),
                                      desc(LOW - 4, 8, 0)], [0, 1, 2, 3]),
        "indirect": ring(SG, [desc(0x1000, 32, INDIRECT)], [0],
                         desc(0x4000, 0x1000, WRITE | NEXT, 1) +
                         desc(0x8000, 0x1000, WRITE)),
        "indirect-nested": ring(SG, [desc(0x1000, 16, INDIRECT)], [0],
                                desc(0x1000, 16, INDIRECT)),
        "loop": ring(SG, [desc(0x2000, 0x1000, WRITE | NEXT, 0)], [0]),
        "indirect-loop": ring(SG, [desc(0x1000, 16, INDIRECT)], [0],
                              desc(0x4000, 0x1000, WRITE | NEXT, 0)),
        "wrap": ring(SG, [desc(0x2000, 0x1000, WRITE)] * 8, range(4),
                     base=0xfffe),
        "full": ring(SG, [desc(0x1000 * step, 0x1000, WRITE)
                          for step in range(2, 10)], range(8)),
        "inflate": ring(INFLATE, [desc(0x1000, 12, 0)], [0],
                        struct.pack("<III", 4, 8, 0xffffffff)),
        "deflate": ring(DEFLATE, [desc(0x1000, 12, 0)], [0], bytes(12)),
        "stats": ring(STATS, [desc(0x1000, 20, 0)] * 2, [0, 1],
                      struct.pack("<HQHQ", 4, 1 << 30, 77, 1)),
        "free-page-hints": ring(FREE_PAGE, [
            desc(0x1000, 4, 0), desc(0x2000, 0x1000, WRITE),
            desc(HIGH_AT, 0x2000, WRITE), desc(0x1004, 4, 0),
            desc(0x4000, 0x1000, WRITE)], range(5),
            struct.pack("<II", FIRST_RUN, 0)),
        "too-many": ring(SG, [desc(0x2000, 0x1000, WRITE)], [0], count=9),
        "bad-head": ring(SG, [desc(0x2000, 0x1000, WRITE)], [8]),
    },
    "message": {
        "start": START + b"".join(queue(index) for index in range(4)),
        "stop": START + queue(3) + message(11, state(3, 0)) + queue(3),
        "new-table": START + queue(3) + table() + message(
            5, struct.pack("<II", 1, 0) + region(
                HIGH_AT, HIGH, USER + LOW, LOW + 2 * PAGE), (0,)),
        "config": START + message(24, CONFIG, flags=1) + message(25, CONFIG),
        "channel": START + message(21, kinds=(2,)) + message(4),
        "wrong-fds": message(5, struct.pack("<II", 2, 0) +
                             region(0, PAGE, USER, 0) +
                             region(PAGE, PAGE, USER + PAGE, 0), (1, 2)) +
                     message(5, struct.pack("<II", 1, 0) +
                             region(0, PAGE, USER, 0), (3,)) +
                     message(3, kinds=(0, 1, 2, 3, 0, 1)),
        "many-fds": cut_message(2, bytes(8), (0,) * 8) + START,
        "unknown": message(4000) + message(26) + message(0, b"12345678"),
        "cut": START[:-7],
        "slots": SLOTS,
        "reset": START + queue(3) + message(25, CONFIG) + message(34) +
                 message(2, struct.pack("<Q", 0x100000020)),
        "features": START + queue(3) + message(2, struct.pack("<Q", 0)) +
                    message(16, struct.pack("<Q", 0)),
    },
    "race": {
        "sg": race(SG, [desc(0x2000, 0x1000, WRITE | NEXT, 1),
                        desc(HIGH_AT, 0x2000, WRITE)], [0],
                   [(8, 0), (12, WRITE), (14, 0), (0x82, 8), (0x84, 9)]),
        "hints": race(HINTS, [desc(0x1000, 32, 0)], [0],
                      [(0x1000, 0xff), (0x1008, 3), (8, 0xff), (0x82, 2)],
                      words(0x4000 | 2, 0x8000, 0xfff, LOW)),
        "indirect": race(SG, [desc(0x1000, 32, INDIRECT)], [0],
                         [(0x100c, INDIRECT), (0x100e, 9), (8, 17), (3, 1)],
                         desc(0x4000, 0x1000, WRITE | NEXT, 1) +
                         desc(0x8000, 0x1000, WRITE)),
        "inflate": race(INFLATE, [desc(0x1000, 12, 0)], [0],
                        [(0x1000, 0xff), (0x1007, 0xff), (9, 0xff)],
                        struct.pack("<III", 4, 8, 0xffffffff)),
        "stats": race(STATS, [desc(0x1000, 20, 0)] * 2, [0, 1],
                      [(0x1000, 0xff), (0x1001, 0xff), (8, 7)],
                      struct.pack("<HQHQ", 4, 1 << 30, 77, 1)),
    },
    "server": {
        "one": bytes([1 | 4]) + START + queue(3) + message(11, state(3, 0)),
        "three": bytes([2 | 4]) + END.join(
            [START + queue(3), START + queue(0) + message(34), SLOTS]),
        "mute": b"\0" + END + message(1, flags=1) + END + START[:-7],
        "live": b"\3" + START + queue(2) + message(24, CONFIG, flags=1),
    },
    "control": {
        "run": piece(SAYS, b"flush\n") + told(FIRST_RUN) + told(0) + piece(GUEST) +
               piece(SAYS, b"flush\nstats\n") + told(FIRST_RUN + 1) + piece(ENDS) +
               told(0) + piece(GUEST),
        "clients": piece(SAYS, b"flush\n") + piece(SAYS, b"flush\n", 1) +
                   piece(SAYS, b"balloon 12\nstats\n", 2) + piece(GOES) +
                   piece(SAYS, b"flush\n", 1) + told(FIRST_RUN + 1, b"x") +
                   told(FIRST_RUN + 1) + told(0) + piece(GUEST),
        "wrong": piece(SAYS, b"balloon -1\nballoon 99999999\n\nflush now\n") +
                 piece(SAYS, b"x" * 64) + piece(SAYS, b"sta") + piece(SAYS, b"ts\n") +
                 piece(SAYS, b"stats") + piece(ENDS) + piece(GOES),
    },
    "options": {
        "all": line("--socket-path", "s", "--socket-mode", "660",
                    "--socket-group", "kvm", "--user", "nobody", "--wire", "sg",
                    "--balloon", "512", "--control-socket", "c",
                    "--stats", "--stats-file", "f"),
        "fd": line("--fd", "3", "--wire", "hints", "--allow-pinned",
                   "--release-reserved", "--no-sandbox"),
        "print": line("--print-capabilities", "--help", "-h"),
        "wrong": line("--balloon", "-1", "--socket-mode", "888", "--fd",
                      "99999999999", "--wire", "tap", "more"),
        "both": line("--socket-path", "s", "--fd", "3"),
    },
    "filter": {
        # By number on x86-64: mmap, mprotect, fcntl, openat, unlinkat, ...
        "arguments": bytes([15, 5, 6, 7, 8]) + b"".join((
            call(9, 0, 4096, 3), call(9, 0, 4096, 5), call(10, 0, 4096, 4),
            call(72, 0, 3), call(72, 0, 8), call(257, 5, 0, 0o2000000),
            call(257, 6, 0, 0o2400301), call(257, 0xffffff9c, 0, 0),
            call(263, 6), call(263, 7), call(263, 8), call(263, 5),
            call(264, 6),
            call(316, 6), call(8, 0))),
        "plain": bytes(5) + b"".join(
            call(number) for number in (0, 1, 7, 3, 11, 28, 285, 41, 56, 59,
                                        101, 257, 263, 8)),
        "arch": bytes([15, 5, 6, 7, 8]) + call(0, arch=0x40000003) +
                call(0x40000000),
    },
}


def main():
    """Write them all."""
    for fuzzer, seeds in SEEDS.items():
        folder = HERE / fuzzer
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in seeds.items():
            (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
