# SPDX-License-Identifier: GPL-2.0
"""What the README tells a person to type, typed."""

import json
import re
import subprocess
import sys

import pytest

from lab import build, cache, kernels, roots, suites

TIMEOUT = 900	# seconds; the longest takes one minute
DEMO_MIB = 512


@pytest.mark.all_only("what it shows is asserted by other tests; here it is seen "
                      "to run to its end")
@pytest.mark.parametrize("place, result", [("qemu", "demo"),
                                           ("xen", "demo-xen")])
def test_demo(image, place, result):
    """Each half ends with its result, and leaves the numbers and a plot."""
    done = subprocess.run(
        [sys.executable, "tools/demo/demo.py", "--place", place, "--mib",
         str(DEMO_MIB)], cwd=cache.REPO, capture_output=True, text=True,
        timeout=TIMEOUT)
    assert not done.returncode, done.stdout + done.stderr
    results = cache.BUILD / "results"
    assert json.loads((results / f"{result}.json").read_text(encoding="utf-8"))
    assert (results / f"{result}.png").read_bytes().startswith(b"\x89PNG")
    last = (done.stdout + done.stderr).strip().splitlines()[-1]
    assert re.search(r"\d", last), last


def test_modules_install(tmp_path):
    """`make modules modules_install`, in a Debian with nothing but headers.

    Of 6.1: later ones compress modules, with a program that the lab's roots lack.
    """
    kernel = suites.GUEST
    which = kernels.kernel(kernel)
    root = roots.root_for(kernel)
    files = build.source_files(("Makefile", "Kconfig", "tools/targets.mk",
                                "core", "backends", "include"))
    with build.Copy(root, files, f"install-{kernel}") as copy:
        for target in ("modules", "modules_install"):
            copy.make(f"make {target}", tmp_path / "log", target,
                      f"KDIR=/lib/modules/{which.version}/build",
                      f"INSTALL_MOD_PATH={copy.inside}/installed")
        there = copy.outside / "installed/lib/modules" / which.version
        found = {path.name.split(".")[0] for path in there.rglob("*.ko*")}
    assert {"aeration", "aeration_virtio", "aeration_xen",
            "aeration_loop"} <= found
    # What packaging/ has loaded at boot is one of them.
    lines = (cache.REPO / "packaging/modules-load.d/aeration.conf").read_text(
        encoding="utf-8").splitlines()
    assert {line for line in lines if not line.startswith("#")} <= found


def test_help():
    """`make help` names every target there is for people, and no other."""
    said = subprocess.run(["make", "-s", "help"], cwd=cache.REPO,
                          capture_output=True, text=True, check=True,
                          timeout=TIMEOUT).stdout
    named = set(re.findall(r"^  make ([a-z_-]+)", said, re.M))
    text = (cache.REPO / "tools/targets.mk").read_text(encoding="utf-8")
    phony = set(re.search(r"^\.PHONY: ((?:.*\\\n)*.*)$", text, re.M)[1].replace(
        "\\\n", " ").split())
    # What others need, and what kbuild has under that name.
    inner = {"packages", "matrix-list"}
    assert named >= phony - inner
    for target in named:
        assert target in phony or re.search(rf"^{target}[ :]", text, re.M), target
