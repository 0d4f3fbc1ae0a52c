# SPDX-License-Identifier: GPL-2.0
"""What makes domain 0 of the guest image: an archive to append to it.

The kernel unpacks one archive after the other, so the image itself, which the
guests of that domain 0 boot too, stays as it is.
"""

import hashlib
import pathlib
import stat

from . import cache, hypervisors, image, kernels, roots

SCRIPTS = pathlib.Path(__file__).resolve().parent / "dom0"

# Where domain 0 has what it gives to its guests.
PLACE = "opt/xen"
IMAGE = f"/{PLACE}/aeration.cpio"

MODULES = ("xen-privcmd", "xenfs", "xen-evtchn", "xen-gntdev", "xen-gntalloc",
           "virtio_console")

PROGRAMS = ("xl", "libxl-save-helper", "xenstored", "xenconsoled",
            "xen-init-dom0", "xentrace", "xenstore-control")

UNWINDER = "libgcc_s.so.1"

# One program, which looks at its name.
XENSTORE = "usr/bin/xenstore"
XENSTORE_NAMES = ("ls", "list", "read", "write", "exists", "rm", "watch",
                  "chmod")

# What the device model reads: the keymap it does not start without, though
# there is no display, and the way into a kernel that it was given.
MODEL_DATA = ("keymaps/en-us", "linuxboot_dma.bin")

# What Xen starts an HVM domain with, and what that starts.
LOADER = "boot/hvmloader"
BIOS = "usr/share/seabios/bios-256k.bin"

# xl shall not take memory from domain 0 on its own.
XL_CONF = b'autoballoon="off"\n'


def kernel_path(name, kind="pvh"):
    """Return where in domain 0 a kernel for a kind of domain is."""
    # A device model takes it as packaged only; xl is slow to unpack it.
    return f"/{PLACE}/kernel-{name}" + ("-packed" if kind == "hvm" else "")


def _programs(version):
    which = hypervisors.hypervisor(version)
    root = roots.root_for(which.kernel)
    files, found = {}, {}
    for name in PROGRAMS:
        inside = str((which.programs / name).relative_to(which.place))
        found[inside] = which.programs / name
        files[f"sbin/{name}"] = image.link("/" + inside)
    found["bin/xenstore"] = which.place / XENSTORE
    for name in XENSTORE_NAMES:
        files[f"bin/xenstore-{name}"] = image.link("xenstore")
    for inside, path in found.items():
        files[inside] = image.file(path, 0o755)
        files.update(image.libraries(root, path, which.libraries()))
    # The C library asks for this one when a thread ends.
    files[f"lib/{UNWINDER}"] = image.file(root / roots.LIBRARIES / UNWINDER,
                                          0o755)
    # The programs' own C library comes with its loader; the older one that the
    # image's programs were linked to is replaced by it.
    files["lib64/ld-linux-x86-64.so.2"] = image.file(root / roots.LOADER,
                                                     0o755)
    return files


def _device_model(version):
    """Return what HVM domains need besides."""
    which = hypervisors.hypervisor(version)
    model = hypervisors.device_model(version)
    root = roots.root_for(which.kernel)
    loader = which.programs.parent / LOADER
    files = {hypervisors.MODEL: image.file(model.program, 0o755),
             str(loader.relative_to(which.place)): image.file(loader),
             BIOS: image.file(root / BIOS)}
    for name in MODEL_DATA:
        inside = f"usr/share/qemu/{name}"
        files[inside] = image.file(root / inside)
    files.update(image.libraries(root, model.program, [
        model.place / roots.LIBRARIES, *which.libraries()]))
    return files


def _contents(version, kernel, guest):
    files = _programs(version)
    files.update(image.modules(kernel, image.STOCK + MODULES))
    for path in SCRIPTS.glob("*.sh"):
        files[f"{PLACE}/{path.name}"] = image.file(path, 0o755)
    files[IMAGE[1:]] = image.file(guest.path)
    files["var/run"] = image.link("/run")
    files["var/lock"] = image.link("/run/lock")
    files["etc/xen/xl.conf"] = (stat.S_IFREG | 0o644, XL_CONF)
    return files


def _inputs(version, kernel, guest):
    which = hypervisors.hypervisor(version)
    digest = hashlib.sha256(guest.sha256.encode())
    digest.update(kernels.kernel(kernel).version.encode())
    digest.update((which.place / cache.STAMP).read_bytes())
    for path in (*sorted(SCRIPTS.glob("*.sh")), pathlib.Path(__file__)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def archive(version, kernel, guest):
    """Return the path of the archive for a Xen and a kernel of domain 0.

    `guest` is the Image that it is appended to.
    """
    place = cache.shared(
        f"dom0-{version}-{kernel}", _inputs(version, kernel, guest),
        lambda path: (path / "dom0.cpio").write_bytes(
            image.archive(_contents(version, kernel, guest))))
    return place / "dom0.cpio"


def write(path, version, kernel, guests, hvm=()):
    """Write to `path` all that domain 0 boots with, kernels for it included.

    `guests` are the kernels that its guests shall boot: {name: ELF file}; `hvm`
    are the series of those that HVM domains shall boot, too.
    """
    guest = image.image()
    parts = [guest.path, archive(version, kernel, guest)]
    with open(path, "wb") as out:
        for part in parts:
            # Each archive starts at a multiple of 4.
            data = part.read_bytes()
            out.write(data + b"\0" * (-len(data) % 4))
        files = {kernel_path(name)[1:]: image.file(path)
                 for name, path in guests.items()}
        if hvm:
            files.update(_device_model(version))
            files.update({
                kernel_path(series, "hvm")[1:]:
                image.file(kernels.kernel(series).vmlinuz) for series in hvm})
        out.write(image.archive(files))
