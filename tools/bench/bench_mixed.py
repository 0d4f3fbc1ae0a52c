# SPDX-License-Identifier: GPL-2.0
"""The mixed part of the benchmark: a load that is busy and idle in turns.

Many short processes, some at a time, each of which uses some memory and ends, as
in a build; then nothing for a while; and so on. Footprint: the average resident
set of QEMU over the whole of that, the gaps included. Slow-down: the time that
the busy stretches took. Both are ours over stock's; the same load without any
driver is there, too. Each begins with nothing left to report.
"""

import os
import statistics
import time

import bench_qemu
import plots
from bench_qemu import DRIVERS, in_turn
from toolkit import MIB, say

NAME = "mixed"
FILE = bench_qemu.FILE
ROUNDS = 3
ABOUT = ("many short processes, and idle gaps: average resident set, and how "
         "long it takes; 2 min a round")
GOALS = {}

# What the guest runs; the order is that of the plot's colours.
CASES = {**DRIVERS, "no driver": None}

STRETCHES = 3
GAP_SECONDS = 6
JOBS = 4
PROCESSES = 24
PROCESS_MIB = 192
TIMEOUT = 300		# seconds

LOAD = """
for one in $(seq {stretches}); do
	/opt/aeration/memload build {jobs} {processes} {mib} || exit
	sleep {gap}
done
"""


def run(vm):
    """Run the load; return (average MiB, busy seconds, curve)."""
    vm.sample()
    start = time.monotonic()
    said = vm.run(LOAD.format(stretches=STRETCHES, jobs=JOBS, gap=GAP_SECONDS,
                              processes=PROCESSES, mib=PROCESS_MIB),
                  timeout=TIMEOUT).out
    curve = [(at - start, rss / MIB) for at, rss in vm.samples]
    return (statistics.fmean(mib for _, mib in curve),
            sum(bench_qemu.value(said, "seconds")), curve)


def one_round(vm, number):
    """Return all samples of one round, and the curves by case."""
    samples = {"load_average": os.getloadavg()[0]}
    curves = {}
    for case in in_turn(CASES, number):
        name = case.replace(" ", "_")
        bench_qemu.use(vm, CASES[case])
        bench_qemu.settle(vm)
        cpu = bench_qemu.cpu_seconds(vm.pid)
        mib, seconds, curves[case] = run(vm)
        window = bench_qemu.window_ms(vm, CASES[case])
        samples.update({
            f"{name}_footprint_mib": mib, f"{name}_busy_s": seconds,
            f"{name}_mixed_cpu_s": bench_qemu.cpu_seconds(vm.pid) - cpu})
        say(f"mixed: round {number}: {case}: {mib:.0f} MiB on average, busy "
            f"for {seconds:.1f} s" +
            (f", window {window} ms" if window else ""))
    return samples, curves


def told(samples):
    """Return what one round's samples tell, by key of the results."""
    return {
        "footprint_ratio": samples["ours_footprint_mib"] /
        samples["stock_footprint_mib"],
        "slowdown_ratio": samples["ours_busy_s"] / samples["stock_busy_s"],
        "slowdown_ratio_no_driver": samples["ours_busy_s"] /
        samples["no_driver_busy_s"],
        **{key.removeprefix("ours_"): value for key, value in samples.items()
           if key.endswith(("_mib", "_s"))}}


def measure(options):
    """Do all rounds; return the results."""
    say(f"mixed: booting a guest of {bench_qemu.GUEST_MIB} MiB")
    rounds = []
    with bench_qemu.guests(options, NAME) as (vm,):
        for number in range(1, options.rounds + 1):
            samples, curves = one_round(vm, number)
            rounds.append((told(samples), samples))
    plots.draw(NAME, f"Many short processes, and gaps of {GAP_SECONDS} s, "
               + options.where,
               (plots.curves, "the last round", "Resident set of QEMU (MiB)",
                {case: curves[case] for case in CASES}))
    return bench_qemu.results(NAME, rounds, GOALS, {
        "processes": PROCESSES, "jobs": JOBS, "process_mib": PROCESS_MIB,
        "stretches": STRETCHES, "gap_s": GAP_SECONDS})
