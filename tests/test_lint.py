# SPDX-License-Identifier: GPL-2.0
"""What a maintainer's tools say: compiler, sparse, checkpatch, shellcheck."""

import collections
import os
import pathlib
import subprocess

import pytest

from lab import build, cache, sources

TIMEOUT = 600	# seconds for one tool over the whole tree

# checkpatch knows only in-tree code. The compat header is there to ask for the
# kernel version, trace headers are written in a style of their own, and the
# kernel's page flag functions are camel case.
CHECKPATCH = ["--no-tree", "--strict", "--terse", "--show-types"]
# In user space these are the names that there are.
USER_SPACE = ("PREFER_KERNEL_TYPES,ARRAY_SIZE,BIT_MACRO,CAMELCASE,"
              "PREFER_DEFINED_ATTRIBUTE_MACRO,REPEATED_WORD,LONG_LINE_STRING,VOLATILE")

IGNORE = {
    "host/": USER_SPACE,
    "ctl/": USER_SPACE,
    "core/hold/pages.c": "CAMELCASE",
    "backends/virtio/pages.c": "CAMELCASE",
    "core/report/refresh.c": "CAMELCASE",
    "compat.h": "LINUX_VERSION_CODE,CONSTANT_COMPARISON,AVOID_EXTERNS",
    "trace/events/aeration.h": "PARENTHESIS_ALIGNMENT,OPEN_ENDED_LINE",
}

# Code of the product: its rules are the kernel's.
PRODUCT = ("core/", "backends/", "ctl/", "host/", "include/", "tests/faults/")


def tracked(*suffixes):
    """Return the tracked and new files with these endings, as relative names."""
    out = subprocess.run(
        ["git", "-C", cache.REPO, "-c", f"safe.directory={cache.REPO}",
         "ls-files", "--cached", "--others", "--exclude-standard"],
        capture_output=True, text=True, check=True, timeout=TIMEOUT).stdout
    return [name for name in out.splitlines()
            if name.endswith(suffixes) and (cache.REPO / name).exists()]


@pytest.mark.every_kernel("their modules are built for the image anyway")
def test_compiler_and_sparse(kernel):
    """No warning at W=1, none from sparse."""
    assert build.lint(kernel) == ""


def checkpatch(paths, ignore=""):
    """Return what checkpatch --strict says of files, as lines."""
    done = subprocess.run(
        ["perl", sources.checkpatch(), *CHECKPATCH,
         *(["--ignore", ignore] if ignore else []), "-f", *paths],
        cwd=cache.REPO, capture_output=True, text=True, timeout=TIMEOUT)
    assert not done.stderr, done.stderr
    said = [line for line in done.stdout.splitlines()
            if not line.startswith("total:")]
    assert bool(done.returncode) == bool(said), done.stdout
    return said


def test_checkpatch():
    """checkpatch --strict has nothing to say about the product's code."""
    names = [name for name in tracked(".c", ".h") if name.startswith(PRODUCT)]
    assert names
    groups, key = collections.defaultdict(list), build.digest(
        map(pathlib.Path, names), sorted(IGNORE.items()), CHECKPATCH,
        sources.checkpatch().stat().st_mtime_ns)
    for name in names:
        groups[next((types for where, types in IGNORE.items()
                     if name.endswith(where) or name.startswith(where)),
                    "")].append(name)

    def look(_):
        said = [line for types, group in groups.items()
                for line in checkpatch(group, types)]
        assert not said, "\n".join(said)

    # What was clean and has not changed is clean.
    cache.shared("checkpatch-clean", key, look, quiet=True)


def test_checkpatch_can_fail(tmp_path):
    """It is checkpatch that runs: a file without a licence is noticed."""
    bad = tmp_path / "bad.c"
    bad.write_text("int  a ;\n", encoding="utf-8")
    assert any("SPDX" in line for line in checkpatch([bad]))


def test_shellcheck():
    """No shell script has a mistake that shellcheck knows."""
    names = [name for name in tracked("") if
             name.endswith((".sh", "/init", "/agent", ".ci/run", "/record-trace",
                           "/make-deb"))]
    assert names
    done = subprocess.run(
        ["shellcheck", "-x", "-P", "SCRIPTDIR", "-S", "warning", *names],
        cwd=cache.REPO, capture_output=True, text=True, timeout=TIMEOUT)
    assert not done.returncode, done.stdout + done.stderr


def test_every_source_has_a_licence():
    """An SPDX line within the first lines of every source file."""
    names = tracked(".c", ".h", ".py", ".sh", ".mk", "Makefile", "Kconfig")
    missing = [name for name in names if "SPDX-License-Identifier" not in
               "".join((cache.REPO / name).read_text(
                   encoding="utf-8").splitlines(True)[:3])]
    assert not missing


def test_every_sysfs_file_is_described():
    """Each file the core shows has an entry in docs/abi, and no other has."""
    text = (cache.REPO / "docs/abi/sysfs-kernel-aeration").read_text(
        encoding="utf-8")
    described = {os.path.basename(line.split()[1])
                 for line in text.splitlines() if line.startswith("What:")}
    code = "".join(path.read_text(encoding="utf-8")
                   for path in sorted((cache.REPO / "core").glob("sysfs*.c")))
    shown = set()
    for line in code.splitlines():
        if line.startswith("static struct kobj_attribute ") and \
                "__ATTR_" in line:
            shown.add(line.split("(")[1].split(")")[0])
        elif line.startswith(("STAT_ATTR(", "WHY_ATTR(", "HOLD_ATTR(")):
            shown.add(line.split("(")[1].split(",")[0].split(")")[0])
    assert shown == described
