# SPDX-License-Identifier: GPL-2.0
"""A disk with a Debian system in which our packages were installed by apt.

As a user has it: systemd, udev, an initramfs that Debian's own tools make, DKMS. What is
there for the tests is one unit, which serves commands on the second serial port.
"""

import dataclasses
import hashlib
import pathlib
import subprocess

from lab import cache, roots, suites
from lab.qemu import Vm

# What a small cloud image has, and what DKMS wants.
PACKAGES = ("linux-image-amd64", "linux-headers-amd64", "systemd-sysv", "udev", "dbus",
            "kmod", "procps", "dkms", "initramfs-tools", "zstd", "ca-certificates")
SIZE = "4G"		# what the file system may grow to; the file has holes
MAKE_TIMEOUT = 1800
BOOT_TIMEOUT = 900	# seconds; a busy host needs 200

AGENT = """[Unit]
Description=Commands of the tests

[Service]
Type=idle
ExecStart=/usr/local/sbin/lab-agent /dev/ttyS1
Restart=always

[Install]
WantedBy=multi-user.target
"""

# In mmdebstrap, when all packages are there: what a user types, and our agent.
INSTALL = """
set -e
mkdir "$1/root/packages"
cp "$PLACE"/*.deb "$1/root/packages"
chroot "$1" sh -ec 'cd /root/packages; DEBIAN_FRONTEND=noninteractive \\
	apt-get install -y --no-install-recommends ./aeration-dkms_*.deb ./aeration-tools_*.deb'
install -m 755 "$AGENT" "$1/usr/local/sbin/lab-agent"
cp "$PLACE/lab-agent.service" "$1/etc/systemd/system"
chroot "$1" systemctl enable lab-agent
echo guest >"$1/etc/hostname"
echo "/dev/vda / ext4 errors=remount-ro 0 1" >"$1/etc/fstab"
"""


@dataclasses.dataclass(frozen=True)
class Disk:
    """A disk, and what boots it where there is no boot loader."""

    place: pathlib.Path

    @property
    def image(self):
        """The file of the disk."""
        return self.place / "disk.raw"

    @property
    def vmlinux(self):
        """The kernel, as it is packaged."""
        return str(self.place / "vmlinuz")

    @property
    def initrd(self):
        """The initramfs that Debian's tools have made."""
        return str(self.place / "initrd.img")

    @property
    def sha256(self):
        """The digest of the disk's file."""
        with open(self.image, "rb") as image:
            return hashlib.file_digest(image, "sha256").hexdigest()

    line = "root=/dev/vda rw"
    key = None


def disk(kernel, packages):
    """Return the disk of a kernel's suite with these packages, made when needed."""
    suite = suites.suite(kernel)
    agent = cache.REPO / "tests" / "lab" / "agent"
    debs = sorted(path for path in packages.glob("aeration-*_*.deb")
                  if "-dbgsym" not in path.name)
    key = hashlib.sha256(repr((suite, PACKAGES, INSTALL, AGENT, SIZE)).encode())
    for path in (*debs, agent):
        key.update(path.read_bytes())

    def make(place):
        for path in debs:
            (place / path.name).write_bytes(path.read_bytes())
        (place / "lab-agent.service").write_text(AGENT, encoding="ascii")
        hook = INSTALL.replace("$PLACE", str(place)).replace("$AGENT", str(agent))
        roots.fill(place, suite.name, PACKAGES,
                   ["--customize-hook=" + hook], f"the Debian disk of {kernel}")
        root = place / "root"
        for name in ("vmlinuz", "initrd.img"):
            found, = root.glob(f"boot/{name}-*")
            (place / name).write_bytes(found.read_bytes())
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", root, place / "disk.raw",
                        SIZE], check=True, timeout=MAKE_TIMEOUT)
        cache.remove(root)

    return Disk(cache.shared(f"debian-{kernel}", key.hexdigest(), make))


class DebianVm(Vm):
    """A guest that boots from the disk; what it writes is lost with it."""

    boot_timeout = BOOT_TIMEOUT

    def __init__(self, kernel, name, which, *, cmdline="", **more):
        drive = f"file={which.image},if=virtio,format=raw,snapshot=on"
        super().__init__(kernel, name, own=which, plain=True, cmdline=cmdline,
                         extra=["-drive", drive], **more)
