# SPDX-License-Identifier: GPL-2.0
"""Stock Xen and its tools, unpacked from their packages and not installed."""

import dataclasses
import gzip
import hashlib
import pathlib
import re
import subprocess

from . import LabError, cache, roots, sources, suites

# Seconds; the packages of one version have 5-14 MB.
FETCH_TIMEOUT = 900
UNPACK_TIMEOUT = 120

# Of all that the packages depend on, what dom0's programs need: neither
# Python nor udev.
_WANTED = re.compile(r"(lib)?xen|libyajl")

# Of all that the device model depends on, what the root of its suite lacks.
_MODEL_WANTED = re.compile(r"qemu-system-xen|lib(spice|gst|orc|opus)")

# Those with a device model in the lab: docs/xen.md says why not others.
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


def _packages(apt, names, wanted):
    """Return the names of the packages to fetch, by apt's own resolution."""
    argv = apt("install", "--no-install-recommends", "--print-uris", "-qq",
               *names)
    listing = subprocess.run(argv, check=True, stdout=subprocess.PIPE,
                             timeout=FETCH_TIMEOUT).stdout.decode()
    # 'URI' FILE SIZE CHECKSUM, and FILE is NAME_VERSION_ARCHITECTURE.deb.
    names = [line.split()[1].split("_")[0] for line in listing.splitlines()]
    return [name for name in names if wanted.match(name)]


def _fetch(kernel, names, wanted, place):
    """Unpack packages, and what is `wanted` of their dependencies."""
    log = place / "make.log"
    what = f"fetching {', '.join(names)}"
    state = place / "apt"
    (state / "lists/partial").mkdir(parents=True)

    def apt(*arguments):
        # Its own package lists: others may work on the root's meanwhile.
        return sources.apt(roots.root_for(kernel),
                           "-o", f"Dir::State::lists={state}/lists",
                           "-o", f"Dir::Cache={state}", *arguments)

    roots.logged(apt("update"), log, FETCH_TIMEOUT, what, cwd=place)
    roots.logged(apt("download", *_packages(apt, names, wanted)), log,
                 FETCH_TIMEOUT, what, cwd=state)
    for package in sorted(state.glob("*.deb")):
        roots.logged(["dpkg-deb", "-x", package, place], log, UNPACK_TIMEOUT,
                     f"unpacking {package.name}")
    cache.remove(state)


def _make(version, kernel, place):
    _fetch(kernel, [f"xen-hypervisor-{version}-amd64", f"xen-utils-{version}",
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
                        lambda path: _fetch(kernel, ["qemu-system-xen"],
                                            _MODEL_WANTED, path))
    return DeviceModel(place / MODEL, place)
