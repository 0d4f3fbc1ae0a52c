# SPDX-License-Identifier: GPL-2.0
"""What Xen does with the memory of domains, as its trace buffers tell it.

	with xentrace.Trace(xen) as trace:
		...
	restored = [one for one in trace.entries(guest) if one.backed]

A record of a domain's physical map (p2m) names the frames and the order that
Xen mapped them with: 9 is a superpage of 2 MiB.  Nothing of that comes from
the guest.  PV domains keep their own map, so there is none of them.

Records are as in Xen's public header trace.h.
"""

import base64
import dataclasses
import gzip
import struct

from . import LabError

# Class of events about memory; the mask that asks for it.
TRC_MEM = 0x0010f000

TRC_LOST_RECORDS = 0x0001f001
TRC_MEM_SET_P2M_ENTRY = 0x0010f004

# Number of 4 KiB pages for each processor's buffer.
BUFFER_PAGES = 256

# What is no frame: an entry that was taken away.
INVALID = (1 << 64) - 1

# In domain 0.
FILE = "/tmp/xentrace"

# Seconds.
START_TIMEOUT = 30
END_TIMEOUT = 60
FETCH_TIMEOUT = 300

SUPERPAGE_ORDER = 9	# 2 MiB, in pages of 4 KiB


@dataclasses.dataclass(frozen=True)
class Entry:
    """A change of a domain's physical map: 2**order pages from `gfn` on."""

    domain: int
    gfn: int		# guest frame number
    mfn: int		# machine frame number
    order: int

    @property
    def backed(self):
        """Whether there is memory now, and not a hole."""
        return self.mfn != INVALID


def records(data):
    """Yield (event, words) of what xentrace wrote."""
    offset = 0
    while offset < len(data):
        header, = struct.unpack_from("<I", data, offset)
        # Bit 31: a time stamp of two words follows.
        offset += 12 if header >> 31 else 4
        count = header >> 28 & 7
        if offset + 4 * count > len(data):
            raise LabError("the trace ends in the middle of a record")
        yield header & 0x0fffffff, data[offset:offset + 4 * count]
        offset += 4 * count


def entries(data):
    """Return the Entry of each change of a map in what xentrace wrote."""
    found = []
    for event, words in records(data):
        if event == TRC_LOST_RECORDS:
            raise LabError("Xen's trace buffers were too small, records are "
                           "lost: trace less at once")
        if event == TRC_MEM_SET_P2M_ENTRY:
            gfn, mfn, _type, domain, order = struct.unpack("<QQIHH", words)
            found.append(Entry(domain, gfn, mfn, order))
    return found


class Trace:
    """Traces a Xen machine while its context lasts; one at a time."""

    def __init__(self, xen):
        self.xen = xen
        self.job = None
        self.found = []

    def __enter__(self):
        # -D: not what older traces have left.
        self.job = self.xen.start(
            f"exec xentrace -D -e {TRC_MEM:#x} -S {BUFFER_PAGES} {FILE}")
        # It polls for the first time once tracing is on.
        self.xen.wait_until(
            lambda: not self.xen.run("grep -q '^7 ' /proc/$(pidof xentrace)/"
                                     "syscall", check=False).rc,
            "xentrace to trace", START_TIMEOUT)
        return self

    def __exit__(self, kind, error, _):
        self.xen.run("kill -INT $(pidof xentrace)")
        self.job.wait(END_TIMEOUT)
        if error is None:
            text = self.xen.run(f"gzip -1 -c {FILE} | base64",
                                FETCH_TIMEOUT).out
            self.found = entries(gzip.decompress(base64.b64decode(text)))
        self.xen.run(f"rm {FILE}")

    def entries(self, domain):
        """Return what changed in the map of a domain, in Xen's order."""
        return [one for one in self.found if one.domain == domain.id]
