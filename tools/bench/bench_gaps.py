# SPDX-License-Identifier: GPL-2.0
"""The gaps part of the benchmark: memory that is needed again soon, or later.

A program touches a GiB and ends; after 0, 1 or 5 s another one touches as much. What
has left the host meanwhile has to come back: counted are QEMU's minor page faults from
the end of the first program to that of the second, and how long that one took to touch,
by the guest's clock. Firecracker tests its balloon with the same gaps.

Who gives memory back sooner has more faults after a gap that is longer than that: with
ours, of a second, all of it is back after 5 s, and with the stock driver half. A
program that does so over and over is what the part churn is about. The driver is loaded
anew for each gap, and nothing that it had to be sorry for before makes ours careful.
Each begins with all that is free with the host.

What a fault costs shows in time only, which under TCG is the host's for the most part.
"""

import os

import bench_qemu
import plots
from bench_qemu import in_turn
from figures import figure, ratios
from toolkit import say

NAME = "gaps"
FILE = bench_qemu.FILE
ROUNDS = 3
ABOUT = ("memory is touched, freed, and touched again after 0, 1, 5 s: host faults and "
         "time; 30 s a case and round")
GOALS = {}

GAPS = (0, 1, 5)	# seconds
TOUCHED_MIB = 1024
TIMEOUT = 120		# seconds

TOUCH = f"/opt/aeration/memwork burst {TOUCHED_MIB}"


def touch_again(vm, gap):
    """Touch, free, wait, touch; return (faults, seconds) of the second time."""
    vm.run(TOUCH, timeout=TIMEOUT)
    faults = bench_qemu.minor_faults(vm.pid)
    said = vm.run(f"sleep {gap}; {TOUCH}", timeout=TIMEOUT).out
    return (bench_qemu.minor_faults(vm.pid) - faults,
            bench_qemu.value(said, "seconds")[0])


def one_round(vm, cases, number):
    """Return all samples of one round."""
    samples = {"load_average": os.getloadavg()[0]}
    for gap in GAPS:
        for case in in_turn(cases, number):
            bench_qemu.all_away(vm)
            bench_qemu.use_case(vm, case)
            faults, seconds = touch_again(vm, gap)
            samples[f"{case}_gaps_faults_{gap}"] = faults
            samples[f"{case}_gaps_s_{gap}"] = seconds
            say(f"gaps: round {number}: after {gap} s, {case}: {faults} host faults, "
                f"{seconds:.2f} s to touch")
    for case in cases:
        samples[f"{case}_gaps_faults"] = sum(samples[f"{case}_gaps_faults_{gap}"]
                                             for gap in GAPS)
    return samples


def told(samples):
    """Return what one round's samples tell, by key of the results."""
    return {**ratios(samples, "gaps_faults_ratio", "gaps_faults"),
            **{key.removeprefix("ours_"): value for key, value in samples.items()
               if "_gaps_" in key}}


def plot(rounds, cases, where):
    """Draw faults and time by gap."""
    def groups(key):
        return {f"{gap} s": {case: figure([samples[f"{case}_gaps_{key}_{gap}"]
                                           for _, samples in rounds])
                             for case in cases} for gap in GAPS}

    plots.draw(NAME, f"{TOUCHED_MIB} MiB touched, freed, and touched again, {where}",
               (plots.bars, "host: minor faults of QEMU", "Faults", groups("faults")),
               (plots.bars, "guest: time to touch again", "Seconds", groups("s")))


def measure(options):
    """Do all rounds; return the results."""
    say(f"gaps: booting a guest of {bench_qemu.GUEST_MIB} MiB")
    cases = bench_qemu.cases(options.kernel)
    rounds = []
    with bench_qemu.guests(options, NAME) as (vm,):
        for number in range(1, options.rounds + 1):
            samples = one_round(vm, cases, number)
            rounds.append((told(samples), samples))
    plot(rounds, cases, options.where)
    return bench_qemu.results(NAME, rounds, GOALS, {"touched_mib": TOUCHED_MIB,
                                                    "gaps_s": GAPS})
