# SPDX-License-Identifier: GPL-2.0
"""Counts what the lab did, for the verdict: boots, starts from a saved state."""

import collections

# What is counted, and how it is called there.
BOOTS = {
    "qemu": "guests of QEMU booted",
    "xen": "Xen machines booted",
    "domain": "domains of Xen booted",
    "resumed": "machines started from a saved state",
    "again": "booted again, because the emulator failed",
}

_COUNTS = collections.Counter()


def count(what):
    """Count one more of a kind of BOOTS."""
    if what not in BOOTS:
        raise KeyError(what)
    _COUNTS[what] += 1


def counted(what):
    """Return how many of a kind were counted since taken() was called."""
    return _COUNTS[what]


def uncount(what):
    """Forget a kind: for a test that made it happen."""
    _COUNTS.pop(what, None)


def taken():
    """Return the counts since the last time this was called, as a dict."""
    found = dict(_COUNTS)
    _COUNTS.clear()
    return found
