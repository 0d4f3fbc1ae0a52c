# SPDX-License-Identifier: GPL-2.0
"""Kernels of our own: their sources, and what is built from them.

A source is unpacked and small kernels are built from it once, without our code;
they are kept in the cache for all trees of ours.  What they are for is said by
FLAVOURS.  Our modules for one are built beside its tree; a build with our code in
the tree begins with a copy of that and compiles what is ours.
"""

import dataclasses
import hashlib
import inspect
import os
import pathlib
import re
import shutil

from . import LabError, build, cache, image, roots, suites

HERE = pathlib.Path(__file__).resolve().parent

# Pages that are free are not mapped, and who took a page is known.
DEBUG_LINE = "debug_pagealloc=on page_owner=on"


@dataclasses.dataclass(frozen=True)
class Flavour:
    """A kernel that is built from source."""

    name: str
    series: str
    configs: tuple = ()		# on top of tree.config: tree-NAME.config
    line: str = ""		# what has to be said on its command line

    def config(self):
        """Return the lines of its configuration, on top of tinyconfig."""
        wanted = {}
        for name in ("tree", *(f"tree-{one}" for one in self.configs)):
            for line in (HERE / f"{name}.config").read_text(
                    encoding="utf-8").splitlines():
                if line.startswith("CONFIG_"):
                    wanted[line.split("=")[0]] = line
        return list(wanted.values())


FLAVOURS = {one.name: one for one in (
    Flavour("plain-6.1", "6.1", ("balloon",)),
    Flavour("debug-6.1", "6.1", ("debug",), DEBUG_LINE),
    Flavour("debug-6.12", "6.12", ("debug",), DEBUG_LINE),
    Flavour("kasan-6.12", "6.12", ("debug", "kasan")),
    Flavour("irqsoff-6.12", "6.12", ("irqsoff",)),
)}

# The one that our code is built into, see built().
BUILT_IN = "plain-6.1"

# What building a kernel and its selftests takes, besides the source.
PACKAGES = ("make", "gcc", "libc6-dev", "flex", "bison", "bc", "libelf-dev",
            "rsync", "kmod", "xz-utils")

# Two thirds of the source, and nothing that this kernel is made of.
LEFT_OUT = ("*/Documentation/*/*", "*/drivers/gpu/*.[ch]", "*/sound/*.[ch]",
            "*/drivers/net/ethernet/*.[ch]", "*/drivers/net/wireless/*.[ch]",
            "*/drivers/media/*.[ch]", "*/drivers/staging/*.[ch]",
            "*/arch/[!x]*/*.[chS]", "*/arch/[!x]*/boot/dts")

# Where the tree is, seen from inside the root.
INSIDE = "/build/linux"

# Seconds. Measured on two cores with nothing beside: unpacking 60, the plain kernel
# 150. On a host that has other work it was seen to take half an hour.
UNPACK_TIMEOUT = 900
BUILD_TIMEOUT = 7200

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


def _packages(series):
    return (*PACKAGES, f"linux-source-{series}")


def _source_key(series):
    return hashlib.sha256(repr((_packages(series), LEFT_OUT, INSIDE,
                                os.geteuid() == 0)).encode()).hexdigest()


def source_root(series=suites.GUEST):
    """Return the root whose INSIDE is a kernel's source, unpacked."""
    packages = _packages(series)

    def unpack(place):
        root, log = place / "root", place / "make.log"
        name = suites.suite(series).name
        roots.fill(place, name, packages, (), f"making the {name} root for "
                   "kernels of our own")
        archive = f"usr/src/linux-source-{series}.tar.xz"
        (root / INSIDE[1:]).mkdir(parents=True)
        run(root, ["tar", "-x", "-f", "/" + archive, "--strip-components=1",
                   "--no-same-owner", *(f"--exclude={one}"
                                        for one in LEFT_OUT)],
            "unpacking the kernel source", log, timeout=UNPACK_TIMEOUT)
        (root / archive).unlink()

    return cache.entry(f"source-{series}", _source_key(series), unpack) / "root"


def _is_taken(line, got):
    """Is a line of what is wanted in a configuration? With "=n": is it off?"""
    if line.endswith("=n"):
        return not any(one.startswith(line[:-1]) for one in got)
    return line in got


def configure(root, log, wanted, cwd=INSIDE):
    """Make the tree's configuration from tinyconfig and `wanted`, lines of one.

    Raises LabError naming those of them that this kernel did not take.
    """
    folder = root / cwd[1:]
    make(root, "tinyconfig", log, "tinyconfig", cwd=cwd)
    with open(folder / ".config", "a", encoding="utf-8") as out:
        out.write("\n".join(wanted) + "\n")
    make(root, "olddefconfig", log, "olddefconfig", cwd=cwd)
    got = set((folder / ".config").read_text(encoding="utf-8").splitlines())
    lost = [line for line in wanted if not _is_taken(line, got)]
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


def _strip(root, what, log):
    run(root, ["strip", what], "strip", log)


def _tree_key(flavour):
    return hashlib.sha256((_source_key(flavour.series) + "\n".join(
        flavour.config())).encode()).hexdigest()


def is_built(name):
    """Is a flavour in the cache, from what it would be built from today?"""
    return cache.is_there(f"tree-{name}", _tree_key(FLAVOURS[name]))


def tree_root(name):
    """Return the root with a flavour built in it, without our code.

    Beside it is `vmlinux`, to boot.
    """
    flavour = FLAVOURS[name]
    source = source_root(flavour.series)
    key = _tree_key(flavour)

    def fill(place):
        root, log = place / "root", place / "make.log"
        # Links: no build writes into a file of the source.
        _copy(source, root, "--link")
        configure(root, log, flavour.config())
        make(root, f"building the kernel {name}", log, "vmlinux", "modules")
        shutil.copy(root / INSIDE[1:] / "vmlinux", root / "vmlinux")
        _strip(root, "/vmlinux", log)
        (root / "vmlinux").rename(place / "vmlinux")

    return cache.entry(f"tree-{name}", key, fill) / "root"


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A kernel of our own, and what our image needs to boot it: see kernel()."""

    series: str
    vmlinux: pathlib.Path
    initrd: pathlib.Path	# the image, and the kernel's modules and ours
    line: str			# for its command line
    key: str			# from all of that


def _release(root):
    return (root / INSIDE[1:] / "include/config/kernel.release").read_text(
        encoding="ascii").strip()


def _build_modules(place, name):
    """Build our modules beside a tree; leave them and its own in lib/."""
    root, log = tree_root(name), place / "make.log"
    release, tree = _release(root), root / INSIDE[1:]
    top = place / "lib/modules" / release
    (top / image.OURS).mkdir(parents=True)
    files = build.source_files(build.MODULE_SOURCES)
    with build.Copy(root, files, f"for-{name}") as copy:
        copy.make(f"building the modules for {name}", log, "-C", INSIDE,
                  f"M={copy.inside}", "modules", "CONFIG_AERATION_FAULTS=m")
        for path in [*copy.outside.rglob("*.ko"), *tree.rglob("*.ko")]:
            target = top / (image.OURS if path.is_relative_to(copy.outside)
                            else "kernel") / path.name
            target.parent.mkdir(exist_ok=True)
            inside = f"/build/{path.name}"
            shutil.copy(path, root / inside[1:])
            run(root, ["strip", "--strip-debug", inside], "strip", log)
            (root / inside[1:]).rename(target)
    for one in ("modules.builtin", "modules.builtin.modinfo"):
        shutil.copy(tree / one, top)
    (top / "modules.order").write_text("", encoding="ascii")
    tools = roots.root_for(suites.GUEST)
    roots.logged(roots.command(tools, "bin/kmod", "-b", place, release,
                               name="depmod"), log, BUILD_TIMEOUT, "depmod")


def _modules(name):
    """Return the folder whose lib/ has the modules for a flavour, and its key."""
    files = build.source_files(build.MODULE_SOURCES)
    key = build.digest(files, _stamp(tree_root(name)),
                       inspect.getsource(_build_modules))
    return cache.shared(f"modules-{name}", key,
                        lambda place: _build_modules(place, name)), key


def kernel(name):
    """Return a flavour as a Kernel to boot, with our modules for it."""
    flavour = FLAVOURS[name]
    guest = image.image()
    folder, modules_key = _modules(name)
    key = hashlib.sha256((guest.sha256 + modules_key).encode()).hexdigest()

    def fill(place):
        data = guest.path.read_bytes()
        more = image.archive({
            str(path.relative_to(folder)): image.file(path)
            for path in sorted((folder / "lib").rglob("*")) if path.is_file()})
        (place / "initrd").write_bytes(data + b"\0" * (-len(data) % 4) + more)

    place = cache.shared(f"initrd-{name}", key, fill)
    return Kernel(flavour.series, tree_root(name).parent / "vmlinux",
                  place / "initrd", flavour.line, key + flavour.line)


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
    _copy(tree_root(BUILT_IN), root, "--reflink=auto")
    _install("install", tree, log)
    for value, target in (("m", "modules"), ("y", "vmlinux")):
        configure(root, log, FLAVOURS[BUILT_IN].config() + [
            f"CONFIG_{name}={value}" for name in _ours()])
        text = make(root, f"building a kernel with our code, ={value}", log,
                    "W=1", "drivers/aeration/")
        (place / f"complaints-{value}").write_text(build.complaints(text),
                                                   encoding="utf-8")
        make(root, f"building a kernel with our code, ={value}", log, target)
    for path in sorted(tree.glob("drivers/aeration/**/*.ko")):
        (place / "modules").mkdir(exist_ok=True)
        shutil.copy(path, place / "modules")
    _strip(root, f"{INSIDE}/vmlinux", log)
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
    key = build.digest(files, _stamp(tree_root(BUILT_IN)),
                       inspect.getsource(_build))
    return cache.shared("intree", key, _build)
