# SPDX-License-Identifier: GPL-2.0
"""Samples how much memory a guest has, as the host's kernel counts it.

It is the guest's own memory that is counted, and nothing else of QEMU: what the
emulator keeps of translated code grows and shrinks by hundreds of MiB.
"""

import re
import threading
import time

from . import LabError

# Seconds between two samples.
PERIOD = 0.05

_RANGE = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) ")


def resident(pid, start):
    """Return the bytes that a process has of the mapping at address `start`.

    Raises OSError when the process is gone, LabError when there is no such
    mapping. See proc_pid_smaps(5).
    """
    # Line by line: all of it takes the kernel ten times as long.
    with open(f"/proc/{pid}/smaps", encoding="ascii",
              errors="replace") as smaps:
        inside = False
        for line in smaps:
            found = _RANGE.match(line)
            if found:
                inside = int(found[1], 16) <= start < int(found[2], 16)
            elif inside and line.startswith("Rss:"):
                return int(line.split()[1]) << 10
    raise LabError(f"process {pid} has nothing mapped at {start:#x}")


def size(pid, start):
    """Return the length in bytes of the mapping that an address is in."""
    with open(f"/proc/{pid}/maps", encoding="ascii",
              errors="replace") as maps:
        for line in maps:
            found = _RANGE.match(line)
            if int(found[1], 16) <= start < int(found[2], 16):
                return int(found[2], 16) - int(found[1], 16)
    raise LabError(f"process {pid} has nothing mapped at {start:#x}")


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
