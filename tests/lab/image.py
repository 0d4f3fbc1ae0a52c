# SPDX-License-Identifier: GPL-2.0
"""The one guest image: an initramfs that any kernel of the lab boots with."""

import dataclasses
import hashlib
import pathlib
import re
import stat
import subprocess
import tempfile

from . import LabError, build, cache, kernels, roots, say, suites

HERE = pathlib.Path(__file__).resolve().parent

# Stock modules in the image, with what they depend on.
STOCK = ("virtio_pci", "virtio_balloon", "virtio_mem", "virtio_blk",
         "ext4", "crc32c_generic", "crc32c_cryptoapi", "zram")

# Names that kmod serves; busybox has lesser ones.
KMOD_NAMES = ("modprobe", "insmod", "rmmod", "lsmod", "modinfo", "depmod")

DIRECTORIES = ("bin", "sbin", "etc", "dev", "proc", "sys", "run", "tmp",
               "root", "opt", "opt/aeration")

# Where our own modules are in a module tree: depmod prefers it.
OURS = "updates"


@dataclasses.dataclass(frozen=True)
class Image:
    """A built image."""

    path: pathlib.Path
    sha256: str


def _newc(name, mode, data, inode):
    """Return one record of a cpio archive, format newc; all of it fixed."""
    encoded = name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    header = b"070701" + b"".join(b"%08x" % field for field in (
        inode, mode, 0, 0, links, 0, len(data), 0, 0, 0, 0, len(encoded), 0))
    head = header + encoded
    return (head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4))


def archive(files):
    """Return a cpio archive of {name: (mode, bytes)}, directories included.

    The same files give the same bytes: sorted, owned by 0:0, dated 0.
    """
    names = dict(files)
    for name in files:
        for parent in pathlib.PurePath(name).parents:
            if str(parent) != ".":
                names.setdefault(str(parent), (stat.S_IFDIR | 0o755, b""))
    records = [_newc(name, *names[name], inode)
               for inode, name in enumerate(sorted(names), 1)]
    records.append(_newc("TRAILER!!!", 0, b"", 0))
    return b"".join(records)


def file(path, mode=0o644):
    """Return the contents of a file as archive() takes them."""
    return stat.S_IFREG | mode, pathlib.Path(path).read_bytes()


def link(target):
    """Return a symbolic link as archive() takes it."""
    return stat.S_IFLNK | 0o777, target.encode()


def libraries(root, program, folders):
    """Return, for an archive, the libraries that a program is linked to.

    They are looked for in `folders`; the loader is the one of `root`.
    """
    listing = subprocess.run(
        [root / roots.LOADER, "--library-path", ":".join(map(str, folders)),
         "--list", program], check=True,
        stdout=subprocess.PIPE).stdout.decode()
    if "not found" in listing:
        raise LabError(f"a library of {program} is missing:\n{listing}")
    return {"lib/" + pathlib.Path(path).name: file(path, 0o755)
            for path in re.findall(r"=> (\S+)", listing)}


def _userland(root):
    """Return busybox, and dash and kmod with the libraries they are linked to.

    The shell is not busybox's: that one runs its own modprobe whatever PATH
    says, and it is kmod's that reads parameters from the kernel command line.
    """
    files = {name: (stat.S_IFDIR | 0o755, b"") for name in DIRECTORIES}
    files["init"] = file(HERE / "init", 0o755)
    files["agent"] = file(HERE / "agent", 0o755)
    applets = subprocess.run([root / "bin/busybox", "--list"], check=True,
                             stdout=subprocess.PIPE).stdout.decode().split()
    for applet in applets:
        files[f"bin/{applet}"] = link("/bin/busybox")
    files["bin/busybox"] = file(root / "bin/busybox", 0o755)
    for name in KMOD_NAMES:
        files.pop(f"bin/{name}", None)
        files[f"sbin/{name}"] = link("/bin/kmod")
    files["bin/kmod"] = file(root / "bin/kmod", 0o755)
    files["bin/sh"] = file(root / "bin/dash", 0o755)
    for program in ("bin/kmod", "bin/dash"):
        files.update(libraries(root, root / program,
                               [root / roots.LIBRARIES]))
    files["lib64/ld-linux-x86-64.so.2"] = file(root / roots.LOADER, 0o755)
    return files


def modules(series, stock=STOCK):
    """Return the module tree of one kernel, with our modules in it."""
    tools = roots.root_for(suites.GUEST)
    which = kernels.kernel(series)
    tree = kernels.module_files(which, stock)
    for path in build.modules(series):
        tree[f"{OURS}/{path.name}"] = path.read_bytes()
    with tempfile.TemporaryDirectory(prefix="aerlab-") as scratch:
        top = pathlib.Path(scratch) / "lib/modules" / which.version
        for name, data in tree.items():
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_bytes(data)
        for name in ("modules.builtin", "modules.builtin.modinfo",
                     "modules.order"):
            if (which.modules / name).exists():
                (top / name).write_bytes((which.modules / name).read_bytes())
        subprocess.run(roots.command(tools, "bin/kmod", "-b", scratch,
                                     which.version, name="depmod"), check=True)
        return {f"lib/modules/{which.version}/{path.relative_to(top)}":
                file(path) for path in sorted(top.rglob("*"))
                if path.is_file()}


def _contents(series):
    files = _userland(roots.root_for(suites.GUEST))
    for one in series:
        files.update(modules(one))
    for name, path in build.guest_programs().items():
        mode = 0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644
        files[f"opt/aeration/{name}"] = file(path, mode)
    return files


def _inputs(series):
    """Return a digest of all that goes into an image."""
    digest = hashlib.sha256()
    for path in (HERE / "init", HERE / "agent", pathlib.Path(__file__)):
        digest.update(path.read_bytes())
    for one in series:
        which = kernels.kernel(one)
        digest.update(f"{one} {which.version}".encode())
        digest.update((roots.root_for(one).parent / cache.STAMP).read_bytes())
        for path in build.modules(one):
            digest.update(path.name.encode() + path.read_bytes())
    for name, path in build.guest_programs().items():
        digest.update(name.encode() + path.read_bytes())
    return digest.hexdigest()


def image(series=suites.KERNELS):
    """Return the Image, building what is missing or out of date in it.

    `series` are the kernels it shall be good for; tests use them all, so
    that one image is what they test.
    """
    kernels.all_kernels(series)
    def make(place):
        data = archive(_contents(series))
        (place / "aeration.cpio").write_bytes(data)
        (place / "sha256").write_text(hashlib.sha256(data).hexdigest(),
                                      encoding="ascii")
        say(f"guest image: {len(data) >> 20} MiB")

    place = cache.shared("image", _inputs(series), make)
    path = place / "aeration.cpio"
    if not path.exists():
        raise LabError(f"{path} has gone: remove {place} and try again")
    return Image(path, (place / "sha256").read_text(encoding="ascii"))
