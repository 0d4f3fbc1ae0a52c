# SPDX-License-Identifier: GPL-2.0
"""Samples how much memory a guest has, as the host's kernel counts it.

It is the guest's own memory that is counted, and nothing else of QEMU: what the
emulator keeps of translated code grows and shrinks by hundreds of MiB.
"""

import array
import re
import threading
import time

from . import LabError

# Seconds between two samples.
PERIOD = 0.05

PAGE = 4096

# Of an entry: the page is there, see proc_pid_pagemap(5).
PRESENT_BIT = 63

_RANGE = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) ")


def resident(pid, start, length):
    """Return the bytes that a process has of `length` bytes mapped at `start`.

    They may be several mappings, one behind the other. Raises OSError when the
    process is gone, LabError when something else is mapped together with them.
    See proc_pid_smaps(5).
    """
    # Line by line, and no further: all of it takes the kernel ten times as long.
    end, mapped, found = start + length, 0, 0
    with open(f"/proc/{pid}/smaps", encoding="ascii",
              errors="replace") as smaps:
        inside = False
        for line in smaps:
            place = _RANGE.match(line)
            if place:
                low, high = int(place[1], 16), int(place[2], 16)
                inside = low < end and high > start
                if inside and (low < start or high > end):
                    raise LabError(f"process {pid} has more than the guest's "
                                   f"memory at {low:#x}-{high:#x}")
                if low >= end:
                    break
                mapped += (high - low) * inside
            elif inside and line.startswith("Rss:"):
                found += int(line.split()[1]) << 10
    if mapped != length:
        raise LabError(f"process {pid} has {mapped} of {length} bytes mapped at "
                       f"{start:#x}")
    return found


def present(pid, start, length):
    """Return a byte for each page that a process may have there: does it?

    As of resident(), which tells how many; but a page of zeroes that was only read
    is there, too, and is no memory of anybody's.
    """
    with open(f"/proc/{pid}/pagemap", "rb") as pagemap:
        pagemap.seek(start // PAGE * 8)
        entries = array.array("Q", pagemap.read(length // PAGE * 8))
    return bytes(entry >> PRESENT_BIT for entry in entries)


class Sampler:
    """A thread that appends (time.monotonic(), bytes) to `samples`.

    `look` returns the bytes; OSError or LabError of it ends the samples.
    """

    def __init__(self, look, period=PERIOD):
        self.look = look
        self.period = period
        self.samples = []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self):
        while not self.stopping.wait(self.period):
            try:
                self.samples.append((time.monotonic(), self.look()))
            except (OSError, LabError):
                return	# the process has ended, and with it the samples

    def stop(self):
        """End the thread; the samples stay."""
        self.stopping.set()
        self.thread.join()
