# SPDX-License-Identifier: GPL-2.0
"""In a kernel tree: in and out without a trace, compiled there, booted."""

import hashlib
import re
import shutil
import subprocess

import pytest

import guest
from lab import cache, tree
from lab.qemu import Vm

INSTALLER = cache.REPO / "tools/install-tree.py"
TIMEOUT = 120	# seconds for one run of the installer; it takes one

# The parts of a kernel tree that the installer looks at or changes.
PARTS = ("Kbuild", "drivers/Kconfig", "drivers/Makefile", "mm", "include",
         "tools/testing/selftests/lib.mk", "tools/testing/selftests/Makefile")


def installer(*arguments):
    """Run it; return the finished process."""
    return subprocess.run(["python3", "-B", INSTALLER, *arguments],
                          capture_output=True, text=True, timeout=TIMEOUT)


# One worker builds the kernel, and the others have something else to do.
waits_for_kernel = pytest.mark.xdist_group("tree")


def snapshot(folder):
    """Return {relative path: (mode, checksum)} of all that is in a folder."""
    return {str(path.relative_to(folder)): (
        path.stat().st_mode, path.is_file() and
        hashlib.sha256(path.read_bytes()).hexdigest())
            for path in folder.rglob("*")}


@pytest.fixture
def linux(tmp_path):
    """A kernel tree, as far as the installer can tell."""
    source = tree.source_root() / tree.INSIDE[1:]
    for part in PARTS:
        target = tmp_path / "linux" / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if (source / part).is_dir():
            shutil.copytree(source / part, target, symlinks=True)
        else:
            shutil.copy(source / part, target)
    return tmp_path / "linux"


def test_in_and_out(linux):
    """Twice in is once in; out again, with what a build left, is as before."""
    before = snapshot(linux)
    for changed in (True, False):
        done = installer("install", linux)
        assert not done.returncode, done.stderr
        assert ("files in" in done.stdout and
                (", 0 of them new" in done.stdout) != changed)
        if changed:
            once = snapshot(linux)
    assert snapshot(linux) == once
    differ = {name for name in before if once[name] != before[name]
              and once[name][1]}
    assert differ == {"drivers/Kconfig", "drivers/Makefile"}
    for name in differ:
        old = (tree.source_root() / tree.INSIDE[1:] / name).read_text()
        new = (linux / name).read_text()
        lines = [line for line in new.splitlines() if "aeration/" in line]
        assert len(lines) == 1
        assert new.replace(lines[0] + "\n", "") == old
    # Inside the menu of device drivers: what follows closes it.
    assert (linux / "drivers/Kconfig").read_text().endswith(
        'source "drivers/aeration/Kconfig"\nendmenu\n')
    (linux / "drivers/aeration/core/main.o").write_text("")
    done = installer("uninstall", linux)
    assert not done.returncode, done.stderr
    assert snapshot(linux) == before
    assert "nothing of aeration" in installer("uninstall", linux).stdout


def test_newer_over_older(linux):
    """A file that is not in the code any more goes; one that differs is mended."""
    installer("install", linux)
    once = snapshot(linux)
    code = linux / "drivers/aeration"
    (code / "core/gone.c").write_text("")
    with open(code / ".installed", "a", encoding="utf-8") as out:
        out.write("drivers/aeration/core/gone.c\n")
    (code / "core/main.c").write_text("old")
    assert not installer("install", linux).returncode
    assert snapshot(linux) == once


def test_refusals(linux, tmp_path):
    """What is no kernel tree, or has something of that name, is left alone."""
    def refused(folder, words):
        before = snapshot(folder) if folder.exists() else None
        done = installer("install", folder)
        assert done.returncode and words in done.stderr, done
        assert before is None or snapshot(folder) == before

    refused(tmp_path / "nowhere", "no directory")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "no kernel source tree")
    (linux / "include/linux/memory_aeration.h").write_text("somebody else's")
    refused(linux, "was not put there by this")
    (linux / "include/linux/memory_aeration.h").unlink()
    (linux / "mm/page_reporting.c").unlink()
    refused(linux, "older than 5.7")


@waits_for_kernel
def test_compiles():
    """Built in and as modules, without a warning about our code."""
    built = tree.built()
    for value in ("m", "y"):
        assert not (built / f"complaints-{value}").read_text(encoding="utf-8")
    names = {path.stem for path in (built / "modules").iterdir()}
    assert {"aeration", "aeration_virtio", "aeration_hyperv",
            "aeration_loop"} <= names
    assert " T " in (built / "symbols").read_text(encoding="utf-8")


@waits_for_kernel
def test_names_are_ours():
    """What the built-in code shows to the rest of the kernel has our prefix."""
    lines = (tree.built() / "symbols").read_text(encoding="utf-8").splitlines()
    names = {re.sub(r"^__(SCK__tp_func|SCT__tp_func|traceiter|tracepoint)_", "",
                    line.split()[0])
             for line in lines if not line.endswith(":")}
    assert "aerator_startup" in names
    assert not {name for name in names
                if not name.startswith(("aeration_", "aerator_"))}


@waits_for_kernel
def test_selftests_in_the_tree():
    """The kernel's own makefiles build and install our selftests."""
    installed = tree.selftests()
    listed = (installed / "kselftest-list.txt").read_text(
        encoding="utf-8").split()
    scripts = {path.name for path in (
        cache.REPO / "tests/kselftest").glob("*.sh")} - {"ktap.sh", "run.sh"}
    assert set(listed) == {f"aeration:{name}" for name in scripts}
    for name in ("ktap.sh", "run.sh", "settings", "memwork", "integrity"):
        assert (installed / "aeration" / name).exists(), name
    subprocess.run([installed / "aeration/memwork", "churn", "1", "1"],
                   check=True, timeout=TIMEOUT, stdout=subprocess.DEVNULL)


@waits_for_kernel
def test_built_in_words(image):
    """An unknown word on the boot line means none; later, it is as modules are.

    What known words do there is in the matrix.
    """
    with Vm("6.1", "intree-words", vmlinux=tree.built() / "vmlinux",
            cmdline="aeration.backend=vmware aeration.window_ms=500") as vm:
        assert guest.value(vm, "state") == "off"
        guest.said(vm, 'unknown backend "vmware"')
        assert guest.value(vm, "window_ms") == "500"
        assert "does not run on Hyper-V" in guest.value(vm, "why/hyperv")
        for name, state in (("none", "off"), ("loop", "running"),
                            ("xen", "off"), ("auto", "running")):
            guest.choose(vm, name)
            guest.wait_value(vm, "state", state)
        assert guest.value(vm, "backend") == "virtio"
        # The selftests want modules, and say so.
        done = vm.run("/opt/aeration/run.sh params loop", check=False)
        assert "SKIP aeration is built into this kernel" in done.out
        assert "# Totals: pass:0 fail:0 xfail:0 xpass:0 skip:2" in done.out
