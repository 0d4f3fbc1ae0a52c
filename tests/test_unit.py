# SPDX-License-Identifier: GPL-2.0
"""Unit tests of the pure parts, in user space, under ASan and UBSan."""

import subprocess

import pytest

import ktap
from lab import build, cache

UNIT = cache.REPO / "tests" / "unit"
TIMEOUT = 300	# seconds; they take a few

# What they are made of.
PARTS = ("core", "backends", "include", "tools/pacesim")


@pytest.mark.parametrize("name", ["cap", "choose", "floor", "gate", "heat", "hints",
                                  "pacer", "pacer_windows", "pacesim", "xen_deliver",
                                  "xen_hostile"])
def test_unit(name):
    """Every case of one unit test program."""
    program = build.native("tests/unit", f"test_{name}", PARTS)
    done = subprocess.run([program], capture_output=True, text=True,
                          timeout=TIMEOUT)
    assert not done.stderr, done.stderr
    ktap.check(done.stdout)
    assert not done.returncode


@pytest.mark.parametrize("name", ["pace/pacer", "pace/ledger", "hold/floor",
                                  "squeeze/gate"])
def test_divisions_for_32_bits(name, tmp_path):
    """On 32 bits a 64-bit division is a call that a kernel does not have."""
    out = tmp_path / "object.o"
    subprocess.run(["cc", "-m32", "-O2", "-ffreestanding", "-fno-pic", "-c",
                    "-DSHIM_EXTERN_DIV64", "-I", UNIT / "shim", "-o", out,
                    cache.REPO / "core" / f"{name}.c"],
                   check=True, timeout=TIMEOUT)
    wanted = subprocess.run(["nm", "-u", out], capture_output=True, text=True,
                            check=True, timeout=TIMEOUT).stdout.split()
    assert {name for name in wanted if not name.startswith("aeration_")} <= \
        {"U", "div_u64", "div_u64_rem", "div64_u64", "div64_ul"}


def test_ktap_reader_sees_failures():
    """The reader itself: a failure, an early end and nothing at all."""
    assert not ktap.failures("ok 1 a\nok 2 b\n1..2\n")
    assert ktap.failures("ok 1 a\nnot ok 2 b\n1..2\n")
    assert ktap.failures("ok 1 a\n1..2\n")
    assert ktap.failures("ok 1 a\n")
    assert ktap.failures("1..0\n")
    assert ktap.failures("")
