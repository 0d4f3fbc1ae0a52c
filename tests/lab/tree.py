# SPDX-License-Identifier: GPL-2.0
"""A kernel tree: the source of one kernel, and what is built in it.

The source is unpacked and a small kernel is built from it once, without our
code; that is kept in the cache for all trees of ours.  A build with our code
begins with a copy of it and compiles what is ours.
"""

import hashlib
import inspect
import os
import pathlib
import re
import shutil

from . import LabError, build, cache, roots, suites

SERIES = suites.GUEST
SOURCE_PACKAGE = f"linux-source-{SERIES}"

# What building a kernel and its selftests takes.
PACKAGES = ("make", "gcc", "libc6-dev", "flex", "bison", "bc", "libelf-dev",
            "rsync", "kmod", "xz-utils", SOURCE_PACKAGE)

# Two thirds of the source, and nothing that this kernel is made of.
LEFT_OUT = ("*/Documentation/*/*", "*/drivers/gpu/*.[ch]", "*/sound/*.[ch]",
            "*/drivers/net/ethernet/*.[ch]", "*/drivers/net/wireless/*.[ch]",
            "*/drivers/media/*.[ch]", "*/drivers/staging/*.[ch]",
            "*/arch/[!x]*/*.[chS]", "*/arch/[!x]*/boot/dts")

# The kernel's configuration: tinyconfig and this.
CONFIG = pathlib.Path(__file__).resolve().parent / "tree.config"

# Where the tree is, seen from inside the root.
INSIDE = "/build/linux"

# Seconds. Measured on two cores: unpacking 60, the kernel 150.
UNPACK_TIMEOUT = 900
BUILD_TIMEOUT = 1800

# What decides what is compiled into a kernel.
INSTALLED = build.MODULE_SOURCES + ("tools/install-tree.py",)


def run(root, argv, what, log, cwd=INSIDE, timeout=BUILD_TIMEOUT):
    """Run a command in a root; return its output or raise LabError."""
    status, text = roots.run_in_root(root, argv, cwd=cwd, log=log,
                                     timeout=timeout)
    if status:
        raise LabError(f"{what} failed (status {status}, log {log}):\n"
                       f"{text[-6000:]}")
    return text


def make(root, what, log, *arguments, cwd=INSIDE):
    """Run make in a kernel tree; return its output or raise LabError."""
    return run(root, ["make", f"-j{os.cpu_count()}", *arguments], what, log,
               cwd)


def _unpack(place):
    root, log = place / "root", place / "make.log"
    name = suites.suite(SERIES).name
    roots.fill(place, name, PACKAGES, (), f"making the {name} root for "
               "kernels of our own")
    archive = f"usr/src/{SOURCE_PACKAGE}.tar.xz"
    (root / INSIDE[1:]).mkdir(parents=True)
    run(root, ["tar", "-x", "-f", "/" + archive, "--strip-components=1",
               "--no-same-owner", *(f"--exclude={one}" for one in LEFT_OUT)],
        "unpacking the kernel source", log, timeout=UNPACK_TIMEOUT)
    (root / archive).unlink()


def source_root():
    """Return the root whose INSIDE is the kernel's source, unpacked."""
    key = hashlib.sha256(repr((PACKAGES, LEFT_OUT, INSIDE,
                               os.geteuid() == 0)).encode()).hexdigest()
    return cache.entry(f"source-{SERIES}", key, _unpack) / "root"


def configure(root, log, wanted, cwd=INSIDE):
    """Make the tree's configuration from tinyconfig, CONFIG and `wanted`.

    `wanted` are lines of a configuration.  Raises LabError naming those of
    them that this kernel did not take.
    """
    folder = root / cwd[1:]
    make(root, "tinyconfig", log, "tinyconfig", cwd=cwd)
    lines = CONFIG.read_text(encoding="utf-8").splitlines() + list(wanted)
    with open(folder / ".config", "a", encoding="utf-8") as out:
        out.write("\n".join(lines) + "\n")
    make(root, "olddefconfig", log, "olddefconfig", cwd=cwd)
    got = set((folder / ".config").read_text(encoding="utf-8").splitlines())
    lost = [line for line in lines if line.startswith("CONFIG_")
            and line not in got]
    if lost:
        raise LabError(f"the kernel in {folder} did not take "
                       f"{', '.join(lost)}")


def _stamp(path):
    return (path.parent / cache.STAMP).read_text(encoding="utf-8")


def _copy(source, target, *how):
    """Copy a root, times and all: what is built in it stays up to date."""
    roots.logged(["cp", "-a", *how, source, target],
                 target.parent / "make.log", UNPACK_TIMEOUT,
                 "copying the kernel tree")


def plain_root():
    """Return the root with a kernel built in it, without our code."""
    source = source_root()
    key = hashlib.sha256((_stamp(source) + CONFIG.read_text(
        encoding="utf-8")).encode()).hexdigest()

    def fill(place):
        # Links: no build writes into a file of the source.
        _copy(source, place / "root", "--link")
        log = place / "make.log"
        configure(place / "root", log, ())
        make(place / "root", "building a kernel", log, "vmlinux", "modules")

    return cache.entry(f"tree-{SERIES}", key, fill) / "root"


def _ours():
    """Return the names of all our configuration symbols."""
    text = (cache.REPO / "Kconfig").read_text(encoding="utf-8")
    return re.findall(r"^(?:menu)?config (AERATION\w*)$", text, re.M)


def _install(action, tree, log):
    """Run install-tree on a tree seen from here."""
    roots.logged(["python3", "-B", cache.REPO / "tools/install-tree.py",
                  action, tree], log, UNPACK_TIMEOUT, f"{action} of our code")


def _build(place):
    root, log = place / "root", place / "make.log"
    tree = root / INSIDE[1:]
    _copy(plain_root(), root, "--reflink=auto")
    _install("install", tree, log)
    for value, target in (("m", "modules"), ("y", "vmlinux")):
        wanted = [f"CONFIG_{name}={value}" for name in _ours()]
        configure(root, log, wanted)
        text = make(root, f"building a kernel with our code, ={value}", log,
                    "W=1", "drivers/aeration/")
        (place / f"complaints-{value}").write_text(build.complaints(text),
                                                   encoding="utf-8")
        make(root, f"building a kernel with our code, ={value}", log, target)
    for path in sorted(tree.glob("drivers/aeration/**/*.ko")):
        (place / "modules").mkdir(exist_ok=True)
        shutil.copy(path, place / "modules")
    run(root, ["strip", f"{INSIDE}/vmlinux"], "strip", log)
    shutil.copy(tree / "vmlinux", place)
    (place / "symbols").write_text(
        run(root, ["nm", "-g", "--defined-only", "--format=posix",
                   "drivers/aeration/built-in.a"], "nm", log),
        encoding="utf-8")
    cache.remove(root)


def _build_selftests(place):
    root, log = place / "root", place / "make.log"
    # Links: a build there writes beside the sources, never into one.
    _copy(source_root(), root, "--link")
    _install("install", root / INSIDE[1:], log)
    make(root, "building our selftests in the tree", log, "-C",
         "tools/testing/selftests", "TARGETS=aeration", "install",
         "INSTALL_PATH=/build/selftests")
    shutil.copytree(root / "build/selftests", place / "selftests")
    cache.remove(root)


def selftests():
    """Return the folder of our selftests as the kernel's makefiles install them."""
    files = build.source_files(("Makefile", "Kconfig", "tests/kselftest",
                                "tools/install-tree.py"))
    key = build.digest(files, _stamp(source_root()),
                       inspect.getsource(_build_selftests))
    return cache.shared("intree-selftests", key,
                        _build_selftests) / "selftests"


def built():
    """Return where the results of building our code in a kernel tree are.

    vmlinux: the kernel with our code built in; modules/*.ko: our modules of a
    kernel that has it so; complaints-m, complaints-y: what the compiler said of
    our files; symbols: what our built-in code defines for others (nm).
    """
    files = build.source_files(INSTALLED)
    key = build.digest(files, _stamp(plain_root()), inspect.getsource(_build))
    return cache.shared("intree", key, _build)
