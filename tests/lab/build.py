# SPDX-License-Identifier: GPL-2.0
"""Builds the project in a root: kernel modules, and programs for the guest.

The sources are copied into the root first, so nothing is mounted and the tree
here stays clean.
"""

import contextlib
import functools
import hashlib
import os
import re
import shutil
import subprocess

from . import LabError, cache, kernels, roots, suites

# What the modules are made of, and what the guest programs are.
MODULE_SOURCES = ("Makefile", "Kconfig", "core", "backends", "include",
                  "tests/faults")
PROGRAM_SOURCES = ("tests/kselftest",)

# By what a source file is told from the leftovers of a build in the tree.
_SOURCE_NAMES = {"Makefile", "Kbuild", "Kconfig", "config", "settings"}
_SOURCE_SUFFIXES = {".c", ".h", ".S", ".sh", ".mk", ".py", ".ld"}

# Headers of kernel 7.3 have a word that sparse 0.6.4 does not know, and take a
# length for constant that is none to it.
SPARSE = ("CHECK=sparse -D__typeof_unqual__=__typeof__ "
          "'-D__builtin_strlen(x)=(sizeof(x) - 1)'")

# Seconds for one compilation of everything; measured 20-60.
BUILD_TIMEOUT = 900

# A compiler or sparse message about a file, and paths that are not ours.
_MESSAGE = re.compile(r"^(\S+?):\d+(:\d+)?: +(warning|error|note)\b")
_PLAIN_MESSAGE = re.compile(r"^(WARNING|ERROR|warning|make.*: \*\*\*)")
_THEIRS = re.compile(r"^(/usr/|\./(include|arch)/|(include|arch)/)")
# In a kernel tree ours are among theirs.
_OURS = re.compile(r"(^|/)include/(aeration/|linux/memory_aeration\.h|"
                   r"trace/events/aeration\.h)")


def _is_source(path):
    return (path.name in _SOURCE_NAMES or path.suffix in _SOURCE_SUFFIXES or
            os.access(path, os.X_OK)) and not path.name.endswith(".mod.c")


def source_files(tops):
    """Return the sorted relative paths of the source files under `tops`."""
    found = []
    for top in tops:
        start = cache.REPO / top
        paths = [start] if start.is_file() else start.rglob("*")
        found += [path.relative_to(cache.REPO) for path in paths
                  if path.is_file() and _is_source(path)
                  and path.suffix not in (".ko", ".o", ".so")]
    return sorted(found)


def digest(files, *more):
    """Return a digest of source files and of anything else that has a repr."""
    total = hashlib.sha256(repr(more).encode())
    for path in files:
        data = (cache.REPO / path).read_bytes()
        total.update(f"{path}\0{len(data)}\0".encode() + data)
    return total.hexdigest()


def _stamp(root):
    return (root.parent / cache.STAMP).read_text(encoding="utf-8")


class Copy:
    """The sources in a root, for the time of one build.

    Where they are there is the same for all trees that have the same sources, so
    that what is built of them is; one tree builds in it at a time.
    """

    def __init__(self, root, files, tag):
        self.root = root
        self.files = files
        self.inside = f"/build/aeration-{tag}"
        self.outside = root / self.inside[1:]
        self.mine = contextlib.ExitStack()

    def __enter__(self):
        self.outside.parent.mkdir(exist_ok=True)
        self.mine.enter_context(cache.locked(
            self.outside.with_name(".lock"),
            f"what is built in {self.root.parent.name}"))
        cache.remove(self.outside)
        for path in self.files:
            target = self.outside / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(cache.REPO / path, target)
        return self

    def __exit__(self, *_):
        with self.mine:
            cache.remove(self.outside)

    def make(self, what, log, *argv):
        """Run make in the copy; return its output or raise LabError."""
        status, text = roots.run_in_root(
            self.root, ["make", f"-j{os.cpu_count()}", *argv],
            cwd=self.inside, log=log, timeout=BUILD_TIMEOUT)
        if status:
            raise LabError(f"{what} failed (make status {status}, log {log}):"
                           f"\n{text[-8000:]}")
        return text


def _built(kernel):
    """Build our modules for a kernel series; return the folder with them."""
    which = kernels.kernel(kernel)
    root = roots.root_for(kernel)
    files = source_files(MODULE_SOURCES)
    wanted = ["-C", f"/lib/modules/{which.version}/build", "modules", "W=1",
              "KBUILD_CHECKSRC=1", SPARSE, "CONFIG_AERATION_FAULTS=m"]
    key = digest(files, _stamp(root), wanted)

    def make(place):
        with Copy(root, files, key[:16]) as copy:
            copy.make(f"building the modules for {kernel}",
                      place / "make.log", *wanted, f"M={copy.inside}")
            built = sorted(copy.outside.rglob("*.ko"))
            if not built:
                raise LabError(f"`make modules` for {kernel} succeeded and "
                               f"left no .ko; log {place}/make.log")
            for path in built:
                shutil.copy(path, place / path.name)
                status, text = roots.run_in_root(
                    root, ["strip", "--strip-debug", "/" + str(
                        path.relative_to(root))])
                if status:
                    raise LabError(f"strip of {path.name} failed: {text}")
                (place / "guest").mkdir(exist_ok=True)
                shutil.copy(path, place / "guest" / path.name)

    return cache.shared(f"modules-{kernel}", key, make)


def modules(kernel):
    """Build our modules for a kernel series; return the .ko paths, sorted.

    The result is kept for all trees with the same sources.  Raises LabError
    with the compiler's output.
    """
    return sorted((_built(kernel) / "guest").glob("*.ko"))


def complaints(text):
    """Return the lines of make output that complain about our files."""
    ours = []
    for line in text.splitlines():
        message = _MESSAGE.match(line)
        if message and (_OURS.search(message[1]) or
                        not _THEIRS.match(message[1])):
            ours.append(line)
        elif not message and _PLAIN_MESSAGE.match(line) and \
                "compiler differs" not in line:
            ours.append(line)
    return "\n".join(ours)


def lint(kernel):
    """Return what was said of our files as the modules of a kernel were built.

    They are built with W=1 and looked at by sparse; a clean tree gives "". The
    full output is in make.log beside them. Raises LabError when the
    build itself fails, and when sparse did not look at a file.
    """
    text = (_built(kernel) / "make.log").read_text(encoding="utf-8")
    unseen = [str(path) for path in source_files(MODULE_SOURCES)
              if path.suffix == ".c" and not re.search(
                  rf"^  CHECK +(\S*/)?{path}$", text, re.M)]
    if unseen:
        raise LabError(f"kernel {kernel}: sparse did not look at "
                       f"{', '.join(unseen)}")
    return complaints(text)


@functools.cache
def _compilers():
    """Return what this machine's compilers say they are."""
    return [subprocess.run([compiler, "--version"], check=True, text=True,
                           stdout=subprocess.PIPE).stdout
            for compiler in ("cc", "clang")]


def native(folder, program, sources, together=None):
    """Build a program for this machine with a folder's Makefile; return its path.

    `sources` are the files and folders that it is made of. Programs that are
    made of the same objects are built together, by the Makefile's target of that
    name. Raises LabError with the compiler's output.
    """
    target = together or program
    key = digest(source_files((folder, *sources)), folder, target, _compilers())

    def make(place):
        done = subprocess.run(
            ["make", "-s", "-C", cache.REPO / folder, f"OUTPUT={place}",
             together or place / program], text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=BUILD_TIMEOUT)
        if done.returncode:
            raise LabError(f"building {folder}'s {program} failed:\n"
                           f"{done.stdout}")

    name = f"native-{folder.replace('/', '-')}-{target}"
    return cache.shared(name, key, make, quiet=True) / program


def guest_programs():
    """Build tests/kselftest statically; return {path in OUTPUT: file}."""
    root = roots.root_for(suites.GUEST)
    files = source_files(PROGRAM_SOURCES)
    key = digest(files, _stamp(root))

    def make(place):
        with Copy(root, files, f"programs-{key[:16]}") as copy:
            (copy.outside / "lab-output").mkdir()
            copy.make("building the guest programs", place / "make.log",
                      "-C", "tests/kselftest", "CC=gcc", "LDFLAGS=-static",
                      f"OUTPUT={copy.inside}/lab-output")
            shutil.copytree(copy.outside / "lab-output", place / "output")

    place = cache.shared("kselftest", key, make) / "output"
    return {str(path.relative_to(place)): path
            for path in sorted(place.rglob("*"))
            if path.is_file() and path.suffix not in (".o", ".d")}
