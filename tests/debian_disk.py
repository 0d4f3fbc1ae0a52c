# SPDX-License-Identifier: GPL-2.0
"""Our Debian packages, and a disk with a Debian system in which apt installed them.

It is as a user has it: systemd, udev, an initramfs that Debian's own tools make, DKMS. What is
there for the tests is one unit, which serves commands: on the second serial port, or on
what the kernel's command line names.

The same file boots under QEMU (DebianVm), and in domains of Xen (domain()): there, it is
a disk of domain 0, which gives it on.
"""

import contextlib
import dataclasses
import hashlib
import pathlib
import shutil
import subprocess
import tempfile

from lab import LabError, build, cache, dom0, hypervisors, kernels, roots, suites
from lab.qemu import Vm
from lab.xen import Xen

# What a small cloud image has, and what DKMS wants.
PACKAGES = ("linux-image-amd64", "linux-headers-amd64", "systemd-sysv", "udev", "dbus",
            "kmod", "procps", "dkms", "e2fsprogs", "initramfs-tools", "zstd",
            "ca-certificates")
# The version after this one, as far as packages go; on the disk in /root/next.
VERSION = (cache.REPO / "VERSION").read_text(encoding="ascii").strip()
NEXT = VERSION + ".1"

SIZE = "4G"		# what the file system may grow to; the file has holes
MAKE_TIMEOUT = 1800

# What packages are made of, and what building may leave there.
PACKAGED = ("Makefile", "Kconfig", "LICENSE", "VERSION", "README.md", "CHANGELOG.md",
            "core", "backends", "include", "ctl", "host", "docs", "packaging", "debian",
            "tools/make-deb")
BUILT = (".o", ".ko", ".cmd", ".mod")
BOOT_TIMEOUT = 900	# seconds; a busy host needs 200
USE_TIMEOUT = 600	# seconds for a program to have its memory

AGENT = """[Unit]
Description=Commands of the tests

[Service]
Type=idle
ExecStart=/usr/local/sbin/lab-agent-here
Restart=always

[Install]
WantedBy=multi-user.target
"""

# Of the lab's programs.
PROGRAMS = ("memwork", "neighbours.sh")

# Where the kernel talks, too, it shall not from now on.
AGENT_HERE = """#!/bin/sh
place=$(sed -n 's/.*lab\\.agent=\\([^ ]*\\).*/\\1/p' /proc/cmdline)
[ -z "$place" ] || dmesg -n 1
exec /usr/local/sbin/lab-agent "/dev/${place:-ttyS1}"
"""

# In mmdebstrap, when all packages are there: our agent, and what no package has.
SYSTEM = """
set -e
cp -r "$PLACE/programs" "$1/opt/aeration"
install -m 755 "$PLACE/lab-agent" "$PLACE/lab-agent-here" "$1/usr/local/sbin"
cp "$PLACE/lab-agent.service" "$1/etc/systemd/system"
chroot "$1" systemctl enable lab-agent
rm -f "$1/etc/apt/apt.conf.d/99mmdebstrap"	# it names a suite whose lists are gone
echo guest >"$1/etc/hostname"
echo "LABEL=root / ext4 errors=remount-ro 0 1" >"$1/etc/fstab"
"""

# In the system, before it becomes a disk: what a user types.
INSTALL = """cd /root/packages
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \\
	./aeration-dkms_*.deb ./aeration-tools_*.deb
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

    @property
    def unpacked(self):
        """The same kernel, unpacked: what Xen starts quickest."""
        return self.place / "vmlinux"

    # Tests of ciphers go on beside the boot, and the emulator has been seen to have one
    # never end: see lab.qemu.QUICK_LINE.
    line = "root=LABEL=root rw cryptomgr.notests"
    key = None


def _packaged():
    """Return the paths of all files that packages are made of, from the top."""
    found = []
    for name in PACKAGED:
        top = cache.REPO / name
        found += [top] if top.is_file() else [
            path for path in top.rglob("*")
            if path.is_file() and path.suffix not in BUILT]
    return sorted(path.relative_to(cache.REPO) for path in found)


def packages(version=None):
    """Return the folder that make-deb left, with packages made from this tree.

    They are made once for what they are made of; `version` is another one to give to
    them. All that was said is in make.log beside the folder.
    """
    files = _packaged()

    def make(place):
        tree = place / "tree"
        for path in files:
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(cache.REPO / path, tree / path)
        if version:
            (tree / "VERSION").write_text(version + "\n", encoding="ascii")
        roots.logged([tree / "tools/make-deb", place / "out"], place / "make.log",
                     MAKE_TIMEOUT, "making the packages")
        cache.remove(tree)

    return cache.shared("packages", build.digest(files, version), make) / "out"


def _system(kernel, more):
    """Return the place of a system of a kernel's suite without us: a folder, root."""
    suite = suites.suite(kernel)
    wanted = (*PACKAGES, *more)
    programs = build.guest_programs()
    parts = {"lab-agent": (cache.REPO / "tests/lab/agent").read_bytes(),
             "lab-agent-here": AGENT_HERE.encode(), "lab-agent.service": AGENT.encode(),
             **{f"programs/{name}": programs[name].read_bytes() for name in PROGRAMS}}

    def make(place):
        (place / "programs").mkdir()
        for name, data in parts.items():
            (place / name).write_bytes(data)
            (place / name).chmod(0o755)
        roots.fill(place, suite.name, wanted,
                   ["--customize-hook=" + SYSTEM.replace("$PLACE", str(place)),
                    *roots.backports(suite)],
                   f"the Debian system of {kernel}")

    key = hashlib.sha256(repr((suite, wanted, SYSTEM, parts)).encode()).hexdigest()
    return cache.shared(f"system-{kernel}", key, make)


def _become_disk(place):
    """Make of a system a file with its file system, and take out what boots it."""
    root = place / "root"
    for name in ("vmlinuz", "initrd.img"):
        found, = root.glob(f"boot/{name}-*")
        (place / name).write_bytes(found.read_bytes())
    (place / "vmlinux").write_bytes(kernels.extracted((place / "vmlinuz").read_bytes()))
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", root,
                    place / "disk.raw", SIZE], check=True, timeout=MAKE_TIMEOUT)
    cache.remove(root)


def disk(kernel, install=True, more=()):
    """Return the disk of a kernel's suite, made when needed.

    Our packages were installed on it, unless `install` is false; `more` are other
    packages on it.
    """
    system = _system(kernel, more)
    made, later = packages(), packages(NEXT)

    def make(place):
        root = place / "root"
        subprocess.run(["cp", "-a", system / "root", root], check=True,
                       timeout=MAKE_TIMEOUT)
        for folder, name in ((made, "packages"), (later, "next")):
            (root / "root" / name).mkdir()
            for kind in ("aeration-dkms", "aeration-tools"):
                found, = folder.glob(f"{kind}_*.deb")
                shutil.copy(found, root / "root" / name)
        if install:
            status, said = roots.run_in_root(root, ["sh", "-ec", INSTALL],
                                             log=place / "install.log",
                                             timeout=MAKE_TIMEOUT)
            if status:
                raise LabError(f"apt in the system of {kernel}, status {status}:\n{said}")
        _become_disk(place)

    key = hashlib.sha256(repr((system.name, made.parent.name, later.parent.name, INSTALL,
                               SIZE, install)).encode()).hexdigest()
    return Disk(cache.shared(f"debian-{kernel}", key, make))


# What kernels Debian builds of one source.
FLAVOURS = ("amd64", "cloud-amd64", "rt-amd64")

# In a root with their headers: what Debian's own tests run for a package with modules
# (Testsuite: autopkgtest-pkg-dkms), which want it from a repository.
BUILD_ALL = """
list=/etc/apt/sources.list.d/ours.list
echo "deb [trusted=yes] file:/root/packages ./" >$list
rm -f /etc/apt/apt.conf.d/99mmdebstrap	# it names a suite whose lists are gone
apt-get update -o Dir::Etc::sourcelist=$list -o Dir::Etc::sourceparts=-
cd /root
exec /usr/lib/dkms/dkms-autopkgtest aeration-dkms
"""


def _headers_of_flavours(kernel):
    """Return the place of a folder, root, with DKMS and all headers of a suite."""
    suite = suites.suite(kernel)
    wanted = ("dkms", "openssl", *(f"linux-headers-{one}" for one in FLAVOURS))

    def make(place):
        roots.fill(place, suite.name, wanted, roots.backports(suite),
                   f"headers of all kernels of {suite}")

    key = hashlib.sha256(repr((suite, wanted)).encode()).hexdigest()
    return cache.shared(f"headers-{kernel}", key, make)


def modules_of_flavours(kernel):
    """Return {release: names of modules} that DKMS makes for a suite's kernels, and what
    Debian's test of that says."""
    made = packages()
    headers = _headers_of_flavours(kernel)

    def make(place):
        root, (found,) = place / "root", made.glob("aeration-dkms_*.deb")
        subprocess.run(["cp", "-a", headers / "root", root], check=True,
                       timeout=MAKE_TIMEOUT)
        folder = root / "root/packages"
        folder.mkdir()
        shutil.copy(found, folder)
        (folder / "Packages").write_bytes(subprocess.run(
            ["dpkg-scanpackages", "."], cwd=folder, check=True, timeout=MAKE_TIMEOUT,
            stdout=subprocess.PIPE).stdout)
        status, said = roots.run_in_root(
            root, ["sh", "-ec", BUILD_ALL], timeout=MAKE_TIMEOUT,
            log=place / "make.log", env={"DEBIAN_FRONTEND": "noninteractive"})
        if status:
            raise LabError(f"dkms-autopkgtest of {kernel}, status {status}:\n{said}")
        (place / "said").write_text(said, encoding="utf-8")
        (place / "made").write_text("".join(
            f"{path.name}: {' '.join(one.name for one in path.glob('updates/dkms/*'))}\n"
            for path in sorted((root / "lib/modules").iterdir())), encoding="ascii")
        cache.remove(root)

    key = hashlib.sha256(repr((headers.name, BUILD_ALL, made.parent.name)).encode())
    place = cache.shared(f"flavours-{kernel}", key.hexdigest(), make)
    names = {line.split(": ")[0]: line.split(": ")[1].split()
             for line in (place / "made").read_text(encoding="ascii").splitlines()}
    return names, (place / "said").read_text(encoding="utf-8")


# The stock driver (6.12 and before) complains if it reports while the machine goes down:
# the bus has reset the device by then.
STOCK_GOES_DOWN = (r"WARNING: .* virtballoon_free_page_report\b", r"Call Trace:$")


class DebianVm(Vm):
    """A guest that boots from the disk; what it writes is lost with it."""

    boot_timeout = BOOT_TIMEOUT

    def __init__(self, kernel, name, which, *, cmdline="", extra=(), **more):
        drive = f"file={which.image},if=virtio,format=raw,snapshot=on"
        super().__init__(kernel, name, own=which, plain=True, cmdline=cmdline,
                         extra=["-drive", drive, *extra], allow=STOCK_GOES_DOWN, **more)


def use(vm, mib):
    """Have a program use so much memory, until it is told to end: see free()."""
    # It has to write all of it at once, and nobody reads.
    vm.run(f"mkfifo /tmp/full; sleep 9999 </tmp/full >/dev/null 2>&1 & "
           f"dd if=/dev/zero of=/tmp/full bs={mib}M count=1 >/dev/null 2>&1 & "
           f"sleep 1; until awk -v most={mib << 10} '/VmRSS/ {{ exit $2 < most }}' "
           "/proc/$(pgrep -x dd)/status; do sleep 1; done", timeout=USE_TIMEOUT)


def free(vm):
    """End what use() has begun."""
    vm.run("pkill -x dd; pkill -x sleep; rm /tmp/full")


# What domain 0 needs to have a disk, and to give it on.
DISK_MODULES = ("virtio_blk", "xen-blkback")

# xl has this called for each disk, and waits for it to end: it tells the driver which
# device it is. (Xen's own wants bash, and loop devices.)
HOTPLUG = """mkdir -p /etc/xen/scripts
cat >/etc/xen/scripts/block <<"END"
#!/bin/sh
[ "$1" = add ] || exit 0
disk=$(xenstore-read "$XENBUS_PATH/params")
xenstore-write "$XENBUS_PATH/physical-device" "$(stat -c %t:%T "$disk")" \\
	"$XENBUS_PATH/hotplug-status" connected
END
chmod 755 /etc/xen/scripts/block
"""

DOMAIN_MIB = 1024
DOM0_MIB = 1024
MACHINE_MIB = 3072

# No terminal of a person's where the tests' is, and nothing said on it.
DOMAIN_LINE = "systemd.getty_auto=no systemd.show_status=0 quiet"


@contextlib.contextmanager
def domain(version, kind, which, *, cmdline="", allow=()):
    """Boot a domain of a Xen from the disk; yield (xen, domain).

    `kind` is "pvh" or "pv"; what it writes is lost with the machine.
    """
    series = hypervisors.hypervisor(version).kernel
    with contextlib.ExitStack() as stack:
        parts = {"debian": which.unpacked, "debian-initrd": which.initrd}
        for name in DISK_MODULES:
            found, = kernels.kernel(series).modules.rglob(f"{name}.ko*")
            made = pathlib.Path(stack.enter_context(
                tempfile.TemporaryDirectory()), f"{name}.ko")
            made.write_bytes(kernels.decompressed(found))
            parts[made.name] = made
        xen = stack.enter_context(Xen(
            version, f"debian-{kind}-{version}", own_kernels=parts,
            mem_mib=MACHINE_MIB, dom0_mib=DOM0_MIB, extra=[
                "-drive", f"file={which.image},if=none,id=disk,format=raw,snapshot=on",
                "-device", "virtio-blk-pci,drive=disk"]))
        for name in DISK_MODULES:
            xen.run(f"insmod {dom0.kernel_path(name + '.ko')}")
        xen.run(HOTPLUG)
        yield xen, xen.domain(
            "debian", kind, mem_mib=DOMAIN_MIB, allow=allow,
            cmdline=" ".join((which.line, DOMAIN_LINE, cmdline)),
            config={"ramdisk": dom0.kernel_path("debian-initrd"),
                    "disk": ["phy:/dev/vda,xvda,w"]})
