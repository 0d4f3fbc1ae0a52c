#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Measures what a GiB of reported memory costs on each wire.

One guest per wire, one after the other, in the same QEMU, with hintd as the
device. A process touches memory and frees it, several times; everything is
counted and timed by those who do it: the guest's tracepoint
aeration_batch_ack from submitting a batch to its answer, hintd its own work on
it. Prints a table.
"""

import argparse
import json
import pathlib
import re
import statistics
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests"))

import guest					# noqa: E402
from lab import suites				# noqa: E402
from lab.vhost_balloon import Hintd		# noqa: E402

TRACING = "/sys/kernel/tracing"
GIB = 1 << 30
MIB = 1 << 20
HELD_MIB = 1024

# Bytes in a ring for a buffer beside its descriptors, virtio 1.2, 2.7.6 and
# 2.7.8: its entry in the available ring, and its element of the used one.
RING_ENTRIES = 2 + 8

COUNTED = ("seen", "descriptors", "payload", "told", "bytes_released",
           "punches", "busy_ns", "release_ns")


def trace(vm):
    """Start tracing; nothing was traced before."""
    vm.run(f"mount -t tracefs tracefs {TRACING} 2>/dev/null; "
           f"echo 1 > {TRACING}/events/aeration/aeration_batch_ack/enable && "
           f"echo > {TRACING}/trace")


def waited_ns(vm):
    """Nanoseconds between submit and ack of each traced batch."""
    text = vm.run(f"cat {TRACING}/trace; echo > {TRACING}/trace").out
    return [int(ns) for ns in re.findall(
        r"aeration_batch_ack: .* ns=(\d+) err=0", text)]


def one_round(vm, hintd):
    """Touch, free, and have it reported; return what that cost, per GiB."""
    job = guest.hold(vm, HELD_MIB)
    trace(vm)
    before = hintd.snapshot()
    guest.free_held(vm, job)
    after = hintd.wait_for(
        lambda stats: stats.bytes_released - before["bytes_released"] >
        guest.SHARE * HELD_MIB * MIB, guest.SOON, "the memory to be back")
    guest.end_held(vm, job)
    vm.wait_until(lambda: not guest.stat(vm, "in_flight_bytes"),
                  "nothing in flight", guest.SOON)
    after = hintd.wait_for(lambda stats: stats.seen == stats.buffers,
                           guest.SOON, "every report to be answered")
    cost = {name: after[name] - before[name] for name in COUNTED}
    scale = GIB / cost["bytes_released"]
    cost = {name: value * scale for name, value in cost.items()}
    cost["guest_ns"] = sum(waited_ns(vm)) * scale
    cost["decode_ns"] = cost["busy_ns"] - cost["release_ns"]
    cost["ring_bytes"] = cost["payload"] + RING_ENTRIES * cost["seen"]
    return cost


def measure(series, wire, rounds):
    """Boot a guest and measure; return the median of each cost."""
    with tempfile.TemporaryDirectory(prefix="aerhd-") as folder, \
            Hintd(f"{folder}/hd", wire) as hintd, \
            guest.hintd_guest(series, f"wires-{wire}", hintd) as vm:
        vm.run("modprobe aeration_virtio")
        guest.wait_value(vm, "state", "running")
        one_round(vm, hintd)	# the first one is of memory never touched
        costs = [one_round(vm, hintd) for _ in range(rounds)]
    return {name: statistics.median(cost[name] for cost in costs)
            for name in costs[0]}


ROWS = (
    ("buffers", "seen", 1),
    ("blocks", "told", 1),
    ("descriptors, which are ring slots", "descriptors", 1),
    ("bytes written by the driver", "ring_bytes", 1),
    ("system calls that release", "punches", 1),
    ("guest: submit to answer, ms", "guest_ns", 1e-6),
    ("device: decode and check, ms", "decode_ns", 1e-6),
    ("device: release, ms", "release_ns", 1e-6),
)


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="tools/bench/wires.py", description=__doc__.split("\n\n")[0])
    parser.add_argument("--kernel", choices=suites.KERNELS, default="6.12")
    parser.add_argument("--rounds", type=int, default=5,
                        help="times that a GiB is freed (default %(default)s)")
    options = parser.parse_args()
    costs = {wire: measure(options.kernel, wire, options.rounds)
             for wire in ("hints", "sg")}
    print(f"per GiB released, kernel {options.kernel}, median of "
          f"{options.rounds} rounds\n\n| | words | scatter-gather |\n|---|---|---|")
    for text, name, unit in ROWS:
        print(f"| {text} | {costs['hints'][name] * unit:.3g} "
              f"| {costs['sg'][name] * unit:.3g} |")
    results = TOP / "build" / "results"
    results.mkdir(parents=True, exist_ok=True)
    (results / "wires.json").write_text(json.dumps(costs, indent=2) + "\n",
                                        encoding="ascii")


if __name__ == "__main__":
    main()
