# SPDX-License-Identifier: GPL-2.0
"""What the lab can boot: kernel series and the Debian suites they are in."""

import dataclasses

from . import LabError


@dataclasses.dataclass(frozen=True)
class Suite:
    """One build root: a Debian suite, what is added to it, what it is for."""

    kernel: str			# the kernel series, as tests name it
    name: str			# the Debian suite
    backports: bool = False	# take what it has from NAME-backports
    # The version of Xen to take from it.  That is kept beside the root and not
    # in it, so it is no part of the root's recipe, which is this repr.
    xen: str | None = dataclasses.field(default=None, repr=False)

    def __str__(self):
        return self.name + ("-backports" if self.backports else "")


# What a root must have: to build modules, to check them, to run a guest, and
# what goes into the guest.
PACKAGES = ("make", "gcc", "libc6-dev", "linux-headers-amd64",
            "qemu-system-x86", "busybox-static", "kmod", "sparse")

SUITES = {suite.kernel: suite for suite in (
    Suite("6.1", "bookworm", xen="4.17"),
    Suite("6.12", "trixie", xen="4.20"),
    # This one moves: see Kernel.moved.
    Suite("7.3", "trixie", backports=True),
)}

KERNELS = tuple(SUITES)

# The root that guest programs are built in: the oldest C library of the lot.
GUEST = "6.1"


def suite(kernel):
    """Return the Suite of a kernel series; LabError names those there are."""
    try:
        return SUITES[kernel]
    except KeyError:
        raise LabError(f"no kernel {kernel!r} in the lab; there are "
                       f"{', '.join(KERNELS)}") from None
