# SPDX-License-Identifier: GPL-2.0
"""What QEMU lets go of, from its trace of that: the same for every driver."""

import re

# On QEMU's standard error. It has another name since 11.1.
EVENTS = "ram_block_discard_*range"
_DISCARD = re.compile(
    rb"ram_block_discard_(?:shared_)?range \S+ \+ 0x([0-9a-f]+): "
    rb"madvise: \d fallocate: \d ret: 0\n")


def discarded(data):
    """Return the lengths of what QEMU let go of, from its log."""
    return [int(length, 16) for length in _DISCARD.findall(data)]


class Discards:
    """What QEMU lets go of, from now on."""

    def __init__(self, vm):
        vm.qmp("trace-event-set-state", name=EVENTS, enable=True)
        self.path = vm.logs / "qemu.log"
        self.start = self.path.stat().st_size

    def lengths(self):
        """Return the lengths in bytes, one for each block."""
        with open(self.path, "rb") as log:
            log.seek(self.start)
            return discarded(log.read())

    def mib(self):
        """Return how much that is, MiB."""
        return sum(self.lengths()) / (1 << 20)
