# SPDX-License-Identifier: GPL-2.0
"""Stock kernels, unpacked from their packages and not installed."""

import dataclasses
import hashlib
import lzma
import pathlib
import re
import struct
import subprocess

from . import LabError, cache, roots, suites

# Goes up when what is made of a package changes.
UNPACKER = 2

# Seconds to unpack a kernel package.
UNPACK_TIMEOUT = 600


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A kernel series as it is in its suite today."""

    series: str			# "6.1"
    version: str		# `uname -r`
    vmlinuz: pathlib.Path	# bootable image, as packaged
    vmlinux: pathlib.Path	# the same, unpacked: boots in PVH mode
    modules: pathlib.Path	# what would be /lib/modules/VERSION
    config: pathlib.Path	# its configuration

    @property
    def moved(self):
        """What there is to say if Debian has gone on to another series."""
        if self.version.startswith(self.series + "."):
            return ""
        return (f"{suites.suite(self.series)} has no kernel {self.series} any "
                f"more: what is named so here is {self.version}. To name it "
                "anew, change tests/lab/suites.py")


def extracted(bzimage):
    """Return the ELF kernel in the bytes of a bzImage.

    By the header's payload fields, Documentation/arch/x86/boot.rst.
    """
    sectors = bzimage[0x1f1] or 4
    offset, length = struct.unpack_from("<II", bzimage, 0x248)
    start = (sectors + 1) * 512 + offset
    # The last four bytes are the unpacked size.
    payload = bzimage[start:start + length - 4]
    if payload.startswith(b"\xfd7zXZ\0"):
        data = lzma.decompress(payload)
    else:
        data = subprocess.run(["zstd", "-dcq"], input=payload, check=True,
                              stdout=subprocess.PIPE).stdout
    if not data.startswith(b"\x7fELF"):
        raise LabError("no ELF kernel came out of the packaged kernel image")
    return data


def _first(*paths):
    return next(filter(pathlib.Path.exists, paths))


def _image(place):
    return _first(*place.glob("boot/vmlinuz-*"),
                  *place.glob("usr/lib/modules/*/vmlinuz"))


def _unpack(packages, place):
    for package in packages:
        roots.logged(["dpkg-deb", "-x", package, place], place / "unpack.log",
                     UNPACK_TIMEOUT, f"unpacking {package.name}")
    # Without KVM a guest takes up to 4 s to unpack its kernel at each boot.
    (place / "vmlinux").write_bytes(extracted(_image(place).read_bytes()))


def kernel(series):
    """Return the Kernel of a series, fetching and unpacking it when needed."""
    root = roots.root_for(series)
    packages = sorted((root / roots.KERNEL_PACKAGE).glob("linux-*.deb"))
    stamp = (root.parent / cache.STAMP).read_text(encoding="utf-8")
    names = repr([package.name for package in packages] + [UNPACKER])
    key = hashlib.sha256((names + stamp).encode()).hexdigest()
    place = cache.entry(f"kernel-{series}", key,
                        lambda path: _unpack(packages, path))
    trees = [*place.glob("usr/lib/modules/*"), *place.glob("lib/modules/*")]
    if len(trees) != 1:
        raise LabError(f"one kernel should be in {place}, there are "
                       f"{len(trees)}: remove {root.parent} and try again")
    version = trees[0].name
    if not (root / "lib/modules" / version / "build").is_symlink():
        raise LabError(f"the {series} root has no headers for {version}: "
                       f"remove {root.parent} and try again")
    return Kernel(series, version, _image(place), place / "vmlinux", trees[0],
                  _first(place / f"boot/config-{version}",
                         trees[0] / "config"))


def stamp(series):
    """Return what the kernel of a series was made from, as a key."""
    return (cache.directory() / f"kernel-{series}" / cache.STAMP).read_text(
        encoding="utf-8")


def all_kernels(which=suites.KERNELS):
    """Make the roots and kernels of several series; return them by series."""
    return {series: kernel(series) for series in which}


def decompressed(path):
    """Return the ELF bytes of a module file: .ko, .ko.xz or .ko.zst."""
    data = path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(data)
    if path.suffix == ".zst":
        return subprocess.run(["zstd", "-dcq"], input=data, check=True,
                              stdout=subprocess.PIPE).stdout
    return data


def _plain(name):
    return name.replace("-", "_")


def module_files(which, names):
    """Return {path relative to the kernel's module tree: ELF bytes}.

    For the modules `names` and all they depend on.  A name that is built into
    this kernel, or is not in it at all, is left out: other versions have it.
    """
    files = {}
    for path in which.modules.rglob("*.ko*"):
        files[_plain(path.name.split(".")[0])] = path
    wanted, found = [_plain(name) for name in names], {}
    while wanted:
        name = wanted.pop()
        path = files.get(name)
        if not path:
            continue
        place = str(path.relative_to(which.modules).with_name(
            path.name.split(".")[0] + ".ko"))
        if place in found:
            continue
        found[place] = decompressed(path)
        depends = re.search(rb"\0depends=([^\0]*)\0", found[place])
        if depends and depends[1]:
            wanted += map(_plain, depends[1].decode().split(","))
    return found
