# SPDX-License-Identifier: GPL-2.0
"""Small models of the daemons that share out a Xen host's memory between domains.

Each counts, and does to one domain, what its real one does: xapi's squeezed
(lib/squeeze.ml, src/squeeze_xen.ml), and Qubes' qmemman (algo.py, systemstate.py) with
the meminfo-writer of a domain. All amounts are in MiB, because xl's are.
"""

from domu import node, write
from lab.domain import XL_POLL


class Squeezed:
    """XenServer's: a domain has a target between two figures, and meets it.

    What Xen counts for a domain differs from its target by what is measured when its
    agent first shows. A domain that has another size than that makes its target, and
    comes no nearer for a while, is stuck: it is left out of account, and said to be
    uncooperative.
    """

    CLOSE = 1	# the real one wants 4 KiB
    PATIENCE = 20	# looks; the real one's is 5 s, and no real host is so slow

    def __init__(self, xen, domain, least, most):
        self.xen = xen
        self.domain = domain
        self.offset = 0
        write(xen, domain, "memory/dynamic-min", least * 1024)
        write(xen, domain, "memory/dynamic-max", most * 1024)

    def target(self):
        """Return the domain's target."""
        return int(node(self.xen, self.domain, "memory/target")) // 1024

    def measure(self):
        """See the domain's agent for the first time; return the offset."""
        self.offset = self.domain.mib() - self.target()
        write(self.xen, self.domain, "memory/memory-offset", self.offset * 1024)
        return self.offset

    def ask(self, mib):
        """Have the domain get another size."""
        self.xen.xl(f"mem-set {self.domain.id} {mib}")	# for Xen's limit
        write(self.xen, self.domain, "memory/target", (mib - self.offset) * 1024)

    def is_stuck(self):
        """Watch the domain until it is where it should be, or no longer gets nearer."""
        wanted = self.target() + self.offset
        nearest, looks = None, 0
        while looks <= self.PATIENCE:
            away = abs(self.domain.mib() - wanted)
            if away <= self.CLOSE:
                return False
            looks += 1
            if nearest is None or away < nearest:
                nearest, looks = away, 0
            self.xen.run(f"sleep {XL_POLL}")
        return True


class Qmemman:
    """Qubes': a domain should have 1.3 times what it says that it uses."""

    FACTOR = 1.3
    LEAST = 200
    SEEN_LESS = 16	# of what Xen counts, a domain sees less

    def __init__(self, xen, domain, most):
        self.xen = xen
        self.domain = domain
        self.most = most
        self.last_target = domain.mib()

    def used(self):
        """Return what the domain writes to memory/meminfo."""
        kib = {words[0]: int(words[1]) for words in map(str.split, self.domain.run(
            "cat /proc/meminfo").out.splitlines())}
        return (kib["MemTotal:"] - kib["MemFree:"] - kib["Buffers:"] -
                kib["Cached:"] + kib["SwapTotal:"] - kib["SwapFree:"]) / 1024

    def preferred(self, used):
        """Return what a domain that uses so much should have."""
        return max(min(used * self.FACTOR, self.most), self.LEAST)

    def free(self):
        """Return Xen's free memory, less what the domain may have and has not."""
        return self.xen.free_mib() - max(self.last_target - self.domain.mib(), 0)

    def mem_set(self, mib):
        """Have the domain get another size."""
        self.last_target = mib
        self.domain.mem_set(mib)
        write(self.xen, self.domain, "memory/target", (mib - self.SEEN_LESS) * 1024)
