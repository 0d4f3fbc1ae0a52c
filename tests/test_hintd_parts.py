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
from lab.vhost_balloon import checked

HOST = cache.REPO / "tests" / "host"
BUILD_TIMEOUT = 300	# seconds
RUN_TIMEOUT = 300	# seconds; they take a few

# Inputs of a short run, from a seed that is always the same.
RUNS = 30000
INPUT_MAX = 8192	# bytes; make fuzz has the same

# Of those that start a thread, or the whole daemon, for each input.
FEW_RUNS = 3000

COMPILERS = ("gcc", "clang")
FUZZERS = ("control", "filter", "message", "options", "race", "ring", "server",
           "words")
SLOW = ("control", "race", "server")


def test_parts():
    """Every case of the unit test program."""
    done = subprocess.run([checked("unit_host")], capture_output=True, text=True,
                          timeout=RUN_TIMEOUT, check=False)
    assert not done.stderr, done.stderr
    ktap.check(done.stdout)
    assert not done.returncode


@pytest.mark.parametrize("name", FUZZERS)
def test_fuzz(name, tmp_path):
    """Some thousand inputs, made from the stored seeds. More: make fuzz."""
    runs = FEW_RUNS if name in SLOW else RUNS
    seeds = tmp_path / "seeds"
    shutil.copytree(HOST / "seeds" / name, seeds)
    done = subprocess.run(
        [checked(f"fuzz_{name}"), f"-runs={runs}", "-seed=1",
         f"-max_len={INPUT_MAX}", f"-artifact_prefix={tmp_path}/", seeds],
        capture_output=True, text=True, timeout=RUN_TIMEOUT, check=False)
    assert not done.returncode, done.stderr[-8000:]
    assert f"Done {runs} runs" in done.stderr
    print(re.findall(r"#\d+\s+DONE.*", done.stderr)[0])


def make_fuzz(folder, *names):
    """Do what make fuzz does, for a second each."""
    return subprocess.run([HOST / "fuzz.py", folder, "1", *names],
                          capture_output=True, text=True, timeout=RUN_TIMEOUT,
                          check=False)


def test_make_fuzz_says_what_it_came_to(tmp_path):
    """Executions of each, and the lines that they have reached."""
    for name in FUZZERS:
        for program in (f"fuzz_{name}", f"cover_{name}"):
            (tmp_path / program).symlink_to(checked(program))
    done = make_fuzz(tmp_path)
    assert not done.returncode, done.stderr
    print(done.stdout)
    for name in FUZZERS:
        row = re.search(rf"^{name} +(\d+) .*? (\d+) of (\d+) \(", done.stdout,
                        re.M)
        runs, reached, lines = map(int, row.groups())
        assert runs and 0 < reached <= lines


def test_make_fuzz_fails_with_an_input(tmp_path):
    """An input that fails ends it, with what the fuzzer said."""
    fuzzer = tmp_path / "fuzz_words"
    fuzzer.write_text("#!/bin/sh\necho it broke >&2\nexit 77\n",
                      encoding="ascii")
    fuzzer.chmod(0o755)
    done = make_fuzz(tmp_path, "words")
    assert done.returncode == 1
    assert "it broke" in done.stderr and "status 77" in done.stderr


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
