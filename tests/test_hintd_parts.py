# SPDX-License-Identifier: GPL-2.0
"""hintd's parts by themselves, and what a hostile guest may put into them.

ASan and UBSan watch; guest memory lies between pages that fault, and between
pages of its file that have to stay as they are. tests/host/ has the programs.
"""

import re
import runpy
import shutil
import subprocess

import pytest

import ktap
from lab import cache

HOST = cache.REPO / "tests" / "host"
OUTPUT = cache.BUILD / "fuzz"
BUILD_TIMEOUT = 300	# seconds
RUN_TIMEOUT = 300	# seconds; they take a few

# Inputs of a short run, from a seed that is always the same.
RUNS = 30000
INPUT_MAX = 8192	# bytes; make fuzz has the same

COMPILERS = ("gcc", "clang")


def built(name):
    """Build a program of tests/host; return its path."""
    done = subprocess.run(
        ["make", "-s", "-C", HOST, f"OUTPUT={OUTPUT}", OUTPUT / name],
        capture_output=True, text=True, timeout=BUILD_TIMEOUT, check=False)
    assert not done.returncode, done.stdout + done.stderr
    return OUTPUT / name


def test_parts():
    """Every case of the unit test program."""
    done = subprocess.run([built("unit_host")], capture_output=True, text=True,
                          timeout=RUN_TIMEOUT, check=False)
    assert not done.stderr, done.stderr
    ktap.check(done.stdout)
    assert not done.returncode


@pytest.mark.parametrize("name", ["message", "ring", "words"])
def test_fuzz(name, tmp_path):
    """Some thousand inputs, made from the stored seeds. More: make fuzz."""
    seeds = tmp_path / "seeds"
    shutil.copytree(HOST / "seeds" / name, seeds)
    done = subprocess.run(
        [built(f"fuzz_{name}"), f"-runs={RUNS}", "-seed=1",
         f"-max_len={INPUT_MAX}", f"-artifact_prefix={tmp_path}/", seeds],
        capture_output=True, text=True, timeout=RUN_TIMEOUT, check=False)
    assert not done.returncode, done.stderr[-8000:]
    assert f"Done {RUNS} runs" in done.stderr
    print(re.findall(r"#\d+\s+DONE.*", done.stderr)[0])


def test_seeds_are_what_the_script_makes():
    """The stored seeds and the script that wrote them agree."""
    made = runpy.run_path(str(HOST / "seeds.py"))["SEEDS"]
    stored = {name: {path.name: path.read_bytes()
                     for path in (HOST / "seeds" / name).iterdir()}
              for name in made}
    assert stored == made


@pytest.mark.parametrize("compiler", COMPILERS)
def test_compilers(compiler, tmp_path):
    """No warning, among them those of implicit conversions."""
    done = subprocess.run(
        ["make", "-s", "-C", cache.REPO / "host", f"CC={compiler}",
         f"OUTPUT={tmp_path}"], capture_output=True, text=True,
        timeout=BUILD_TIMEOUT, check=False)
    assert not done.returncode and not done.stderr, done.stdout + done.stderr


def test_install(tmp_path):
    """The daemon and its manual go where they belong, the hostile twin not."""
    subprocess.run(["make", "-s", "-C", cache.REPO / "host", "install",
                    f"OUTPUT={tmp_path}/out", f"DESTDIR={tmp_path}/root"],
                   check=True, timeout=BUILD_TIMEOUT)
    found = {str(path.relative_to(tmp_path / "root"))
             for path in (tmp_path / "root").rglob("*") if path.is_file()}
    assert found == {"usr/local/sbin/hintd",
                     "usr/local/share/man/man8/hintd.8"}
