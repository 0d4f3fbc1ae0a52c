# SPDX-License-Identifier: GPL-2.0
"""Samples how much memory a process has, as the host's kernel counts it."""

import os
import threading
import time

PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")

# Seconds between two samples.
PERIOD = 0.02


def rss(pid):
    """Return the resident set of a process in bytes, shared memory included.

    Raises OSError when the process is gone.
    """
    with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * PAGE_SIZE


class Sampler:
    """A thread that appends (time.monotonic(), bytes) to `samples`."""

    def __init__(self, pid, period=PERIOD):
        self.pid = pid
        self.period = period
        self.samples = []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self):
        while not self.stopping.wait(self.period):
            try:
                self.samples.append((time.monotonic(), rss(self.pid)))
            except (OSError, IndexError):
                return	# the process has ended, and with it the samples

    def stop(self):
        """End the thread; the samples stay."""
        self.stopping.set()
        self.thread.join()
