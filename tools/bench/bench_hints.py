# SPDX-License-Identifier: GPL-2.0
"""The hints part of the benchmark: the wire `hints`, which hintd speaks.

Two guests in the QEMU that takes hintd as a device: one whose hintd speaks words
(wire hints), one whose hintd speaks scatter-gather. Ours runs in both; in the
second one it takes turns with the stock driver, which knows scatter-gather only.

Release: one guest frees memory, as in the part `release`. Cost: as
wires.py measures it, for each GiB: buffers, bytes in the rings, the guest's
time between submitting a batch and its answer, hintd's time to decode and check.
"""

import contextlib
import os
import tempfile
import types

import bench_qemu
import bench_release
import demo_qemu
import plots
import wires
from bench_qemu import OURS, STOCK, in_turn
from figures import figure
from toolkit import say

import guest
from lab.vhost_balloon import Hintd

NAME = "hints"
FILE = bench_qemu.FILE
ROUNDS = 3
ABOUT = ("the wire `hints` over hintd, beside scatter-gather: release and "
         "cost; 70 s a round")
GOALS = {}

# Name, wire, driver.
CASES = (("hints", "hints", OURS), ("hintd_sg", "sg", OURS),
         ("hintd_stock", "sg", STOCK))
OURS_CASES = ("hints", "hintd_sg")

# What wires.py counts, and how it is called here.
COSTS = {"seen": "buffers", "ring_bytes": "ring_bytes",
         "guest_ns": "wait_ns", "decode_ns": "decode_ns"}


@contextlib.contextmanager
def both_guests(kernel):
    """Boot the guests; yield {wire: (vm, hintd)}."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="aerhd-"))
        found = {}
        for wire in ("hints", "sg"):
            hintd = stack.enter_context(Hintd(f"{folder}/{wire}", wire))
            found[wire] = (stack.enter_context(guest.hintd_guest(
                kernel, f"bench-{wire}", hintd)), hintd)
        yield found


def one_round(guests, number):
    """Return all samples of one round."""
    samples = {"load_average": os.getloadavg()[0]}
    for name, wire, driver in in_turn(CASES, number):
        vm, hintd = guests[wire]
        bench_qemu.use(vm, driver)
        seconds = bench_release.free_together([vm]).seconds
        samples[f"{name}_release_s"] = seconds
        text = f"hints: round {number}: {name}: back after {seconds:.2f} s"
        if driver == OURS:
            cost = wires.one_round(vm, hintd)
            samples.update((f"{name}_{key}_per_gib", cost[counted])
                           for counted, key in COSTS.items())
            text += (f"; for each GiB {cost['seen']:.0f} buffers, "
                     f"{cost['ring_bytes']:.0f} bytes in rings")
        say(text)
    return samples


def told(samples):
    """Return what one round's samples tell, by key of the results."""
    return {"hints_release_ratio": samples["hintd_stock_release_s"] /
            samples["hints_release_s"],
            "hints_ring_bytes_ratio": samples["hints_ring_bytes_per_gib"] /
            samples["hintd_sg_ring_bytes_per_gib"],
            **{key: value for key, value in samples.items()
               if key != "load_average"}}


def plot(rounds, where):
    """Draw release times, and bytes in the rings."""
    def groups(names, key):
        return {name: {key: figure([samples[f"{name}_{key}"]
                                    for _, samples in rounds])}
                for name in names}

    plots.draw(NAME, f"hintd, {where}", (
        plots.bars, f"{bench_release.FREED_MIB} MiB freed",
        f"Seconds until {demo_qemu.SHARE:.0%} is back",
        groups([name for name, *_ in CASES], "release_s")), (
        plots.bars, "written by the driver for each GiB", "Bytes",
        groups(OURS_CASES, "ring_bytes_per_gib")))


def measure(options):
    """Do all rounds; return the results."""
    qemu = bench_qemu.place(types.SimpleNamespace(
        kernel=guest.QEMU_THAT_TAKES_DAEMONS))["qemu"]
    say(f"hints: booting two guests of {bench_qemu.GUEST_MIB} MiB, QEMU {qemu}")
    rounds = []
    with both_guests(options.kernel) as guests:
        for number in range(1, options.rounds + 1):
            samples = one_round(guests, number)
            rounds.append((told(samples), samples))
    plot(rounds, f"kernel {options.kernel}, QEMU {qemu}")
    return bench_qemu.results(NAME, rounds, GOALS, {"qemu": qemu})
