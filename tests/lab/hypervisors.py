# SPDX-License-Identifier: GPL-2.0
"""Stock Xen and its tools, unpacked from their packages and not installed."""

import dataclasses
import gzip
import hashlib
import pathlib
import re

from . import LabError, cache, roots, sources, suites

# Of all that the packages depend on, what dom0's programs need: neither
# Python nor udev.
_WANTED = re.compile(r"(lib)?xen|libyajl")

# Of all that the device model depends on, what the root of its suite lacks.
_MODEL_WANTED = re.compile(r"qemu-system-xen|lib(spice|gst|orc|opus)")

# Those with a device model in the lab: README.md says why not others.
MODEL_VERSIONS = ("4.20",)

# Where the tools look for it.
MODEL = "usr/libexec/xen-qemu-system-i386"

# Goes up when what is made of the packages changes.
UNPACKER = 1


@dataclasses.dataclass(frozen=True)
class Hypervisor:
    """A version of Xen as it is in its suite today."""

    version: str		# "4.17"
    kernel: str			# series of the kernel of the same suite
    xen: pathlib.Path		# the hypervisor, an ELF file for QEMU's loader
    programs: pathlib.Path	# xl and all else that is not for people
    place: pathlib.Path		# the packages' files

    def libraries(self):
        """Return the folders that its programs find their libraries in."""
        return [self.place / roots.LIBRARIES,
                roots.root_for(self.kernel) / roots.LIBRARIES]


@dataclasses.dataclass(frozen=True)
class DeviceModel:
    """The QEMU that a version of Xen runs in domain 0 for an HVM domain."""

    program: pathlib.Path
    place: pathlib.Path		# the packages' files


def versions():
    """Return the versions of Xen there are, with their kernel series."""
    return {suite.xen: suite.kernel for suite in suites.SUITES.values()
            if suite.xen}


def _make(version, kernel, place):
    sources.fetch(roots.root_for(kernel), [
        f"xen-hypervisor-{version}-amd64", f"xen-utils-{version}",
        "xenstore-utils"], _WANTED, place)
    packed = place / f"boot/xen-{version}-amd64.gz"
    # QEMU's multiboot loader takes no compressed one.
    (place / "xen").write_bytes(gzip.decompress(packed.read_bytes()))


def hypervisor(version):
    """Return the Hypervisor of a version, fetching it when needed."""
    if version not in versions():
        raise LabError(f"no Xen {version!r} in the lab; there are "
                       f"{', '.join(versions())}")
    kernel = versions()[version]
    root = roots.root_for(kernel)
    stamp = (root.parent / cache.STAMP).read_text(encoding="utf-8")
    recipe = repr((version, _WANTED.pattern, UNPACKER, stamp))
    place = cache.entry(f"xen-{version}",
                        hashlib.sha256(recipe.encode()).hexdigest(),
                        lambda path: _make(version, kernel, path))
    return Hypervisor(version, kernel, place / "xen",
                      place / f"usr/lib/xen-{version}/bin", place)


def device_model(version):
    """Return the DeviceModel of a version, fetching it when needed."""
    if version not in MODEL_VERSIONS:
        raise LabError(f"no device model for Xen {version!r} in the lab; there "
                       f"is one for {', '.join(MODEL_VERSIONS)}")
    kernel = hypervisor(version).kernel
    root = roots.root_for(kernel)
    stamp = (root.parent / cache.STAMP).read_text(encoding="utf-8")
    recipe = repr((version, _MODEL_WANTED.pattern, UNPACKER, stamp))
    place = cache.entry(f"xen-{version}-qemu",
                        hashlib.sha256(recipe.encode()).hexdigest(),
                        lambda path: sources.fetch(
                            root, ["qemu-system-xen"], _MODEL_WANTED, path))
    return DeviceModel(place / MODEL, place)
