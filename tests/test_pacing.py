# SPDX-License-Identifier: GPL-2.0
"""The simulator as a program, its stored traces, and how one is recorded."""

import json
import subprocess

import pytest

from lab import build, cache
from lab.qemu import Vm

TRACES = cache.REPO / "tests" / "traces"
TIMEOUT = 120	# seconds; it takes one at most
POLICIES = {"ours", "stock_2000", "stock_250", "optimum"}
MIB = 1 << 20


@pytest.fixture(scope="module")
def pacesim():
    """Build it; return a function that runs it with arguments."""
    program = build.native("tools/pacesim", "pacesim",
                           ("core", "tests/unit/shim"))

    def run(*arguments, text=None):
        return subprocess.run([program, *map(str, arguments)],
                              input=text, capture_output=True, text=True,
                              timeout=TIMEOUT)
    return run


def figures(done):
    """Return what a run with --json printed."""
    assert not done.returncode, done.stderr
    said = json.loads(done.stdout)
    assert POLICIES < set(said)
    return said


def test_help(pacesim):
    """It says what it takes, and every option it takes."""
    done = pacesim("--help")
    assert not done.returncode and done.stdout.startswith("usage: pacesim")
    for option in ("window", "backoff", "price", "reserve", "order",
                   "capacity", "generate", "seed", "seconds", "write", "json",
                   "series"):
        assert f"--{option}" in done.stdout


@pytest.mark.parametrize("arguments, why", [
    ((), "one trace is needed"),
    (("a", "b"), "one trace is needed"),
    (("--generate", "nonsense"), "no such kind"),
    (("--window", "60001", "-"), "--window takes a number"),
    (("--price", "0", "-"), "make no sense"),
    (("--seed", "-1", "-"), "--seed takes a number"),
    (("--capacity", "0", "-"), "1 at least"),
    (("/nonexistent",), "No such file"),
])
def test_bad_arguments(pacesim, arguments, why):
    """It says what is wrong, on stderr, and fails."""
    done = pacesim(*arguments, text="")
    assert done.returncode == 2
    assert why in done.stderr and not done.stdout


@pytest.mark.parametrize("text, why", [
    ("", "two lines at least"),
    ("# nothing\n1 2\n", "two lines at least"),
    ("1 2\n1 3\n", "-:2: time does not rise"),
    ("1 2\n2 x\n", "-:2: not a time"),
    ("1 2\n-2 3\n", "-:2: not a time"),
    ("1 2 3\n2 3\n", "-:1: not a time"),
])
def test_bad_traces(pacesim, text, why):
    """A file that is no trace is told from one that is."""
    done = pacesim("-", text=text)
    assert done.returncode == 2
    assert why in done.stderr and not done.stdout


def test_a_generated_trace_can_be_kept(pacesim, tmp_path):
    """What --write wrote gives the same figures as what was generated."""
    generated = ("--generate", "burst", "--seed", 3)
    text = pacesim(*generated, "--write").stdout
    kept = figures(pacesim("--json", "-", text=text))
    fresh = figures(pacesim("--json", "--series", tmp_path / "series",
                            *generated))
    other = figures(pacesim("--json", *generated[:3], 4))
    assert all(kept[name] == fresh[name] for name in POLICIES)
    assert kept["optimum"] != other["optimum"]
    assert (tmp_path / "series").read_text(encoding="utf-8").count("# s,") == 2


def test_figures_by_hand(pacesim):
    """1024 MiB, free for 10 s and taken: figures that can be told beforehand."""
    said = figures(pacesim("--json", "--reserve", 0, "-",
                           text="0 0\n5000 262144\n15000 0\n16000 0\n"))
    best, ours = said["optimum"], said["ours"]
    assert best["reported_bytes"] == best["refaulted_bytes"] == 1024 * MIB
    assert best["held_mib_s"] == 0 and best["ratio"] == 1
    assert best["cost_mib_s"] == 1024
    assert ours["refaulted_bytes"] == 1024 * MIB
    # Held for a window, a slot and two periods at most.
    assert 1024 <= ours["held_mib_s"] <= 1024 * (1 + 3 * .063)
    # 256 MiB each 2 s, from 2 s on.
    assert said["stock_2000"]["held_mib_s"] == 2 * (1024 + 768 + 512 + 256)
    table = pacesim("--reserve", 0, "-",
                    text="0 0\n5000 262144\n15000 0\n16000 0\n").stdout
    assert [line.split()[-1] for line in table.splitlines()
            if line.startswith("optimum")] == ["1.00"]


@pytest.mark.parametrize("name", ["build", "burst", "churn"])
def test_stored_traces(pacesim, name):
    """Traces of real guests: nobody beats the optimum, and all is accounted."""
    path = TRACES / f"{name}.trace"
    assert path.stat().st_size < 100_000
    said = figures(pacesim("--json", path))
    best = said["optimum"]
    for policy in POLICIES:
        one = said[policy]
        assert one["reported_bytes"] == \
            one["refaulted_bytes"] + one["left_bytes"]
        assert one["cost_mib_s"] >= best["cost_mib_s"]


def test_burst_is_released_and_churn_is_not(pacesim):
    """What the pacer is for, on traces of real guests, against stock's default.

    Less is held where memory is free for long, and less is taken back where it
    is not.
    """
    burst = figures(pacesim("--json", TRACES / "burst.trace"))
    churn = figures(pacesim("--json", TRACES / "churn.trace"))
    assert burst["ours"]["held_mib_s"] < burst["stock_2000"]["held_mib_s"]
    assert churn["ours"]["refaulted_bytes"] < \
        churn["stock_2000"]["refaulted_bytes"]


def test_record_trace(image, kernel, pacesim):
    """A guest's trace, recorded in it, shows what its program did."""
    with Vm(kernel, f"record-trace-{kernel}") as vm:
        vm.push("/root/record-trace",
                (cache.REPO / "tools" / "record-trace").read_bytes(), 0o755)
        refused = vm.run("/root/record-trace true", check=False)
        assert refused.rc == 1 and "not running" in refused.out
        vm.run("modprobe aeration window_ms=2000 && "
               "modprobe aeration_virtio")
        vm.wait_until(lambda: vm.run("cat /sys/kernel/aeration/state")
                      .out.strip() == "running", "aeration to run", 60)
        text = vm.run("/root/record-trace "
                      "sh -c '/opt/aeration/memwork churn 512 3; sleep 2' "
                      "2>/root/said").out
        assert "cycles" in vm.run("cat /root/said").out
        assert vm.run("cat /sys/module/aeration/parameters/window_ms"
                      ).out.strip() == "2000"
        assert vm.run("cat /sys/kernel/tracing/events/aeration/enable"
                      ).out.strip() == "0"
    said = figures(pacesim("--json", "-", text=text))
    assert said["optimum"]["cost_mib_s"] > 0
    samples = [tuple(map(int, line.split())) for line in text.splitlines()
               if not line.startswith("#")]
    free = [pages * 4096 for _, pages in samples]
    assert samples[0][0] == 0 and samples[-1][0] >= 4500
    assert len(samples) > 10
    assert max(free) - min(free) > 400 * MIB
    assert max(free) < 2048 * MIB
