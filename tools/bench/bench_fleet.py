# SPDX-License-Identifier: GPL-2.0
"""The fleet part of the benchmark: guests whose peaks are not at the same time.

Three Debian guests on one host. Each has three peaks, one after the other: a program
touches memory and frees it, over and over for some seconds, and then there is nothing
for as long as the other two have theirs. A peak of one guest begins some seconds after
that of the one before has ended: on a host that has what was freed by then, the sum is
never much more than one peak.

The peak of the sum is what the host must have, the integral (MiB*s) what it pays for.
Time is the host's. Each case begins with all that is free with the host.
"""

import concurrent.futures
import os
import statistics
import time

import bench_qemu
import plots
from bench_qemu import in_turn
from figures import figure, ratios
from toolkit import MIB, say

NAME = "fleet"
FILE = bench_qemu.FILE
ROUNDS = 3
ABOUT = ("three Debian guests with peaks one after the other: peak and integral of the "
         "sum of their memory; 2 min a case and round")
GOALS = {"fleet_peak_ratio": "<= 0.8"}

GUESTS = 3
GUEST_MIB = 1024
PEAKS = 3
PEAK_MIB = 600

# Seconds: a peak, and until the next guest's begins. All guests have their turn in the
# period.
BUSY = 6
GAP = 3
PERIOD = GUESTS * (BUSY + GAP)

STEP = 0.1		# seconds between two samples
TIMEOUT = 600		# seconds for all peaks

LOAD = """
sleep {offset}
for peak in $(seq {peaks}); do
	/opt/aeration/memwork churn {mib} {busy} || exit
	sleep {quiet}
done
"""


def load(one):
    """Have a guest, by its (number, Vm), go through its peaks."""
    number, vm = one
    vm.run(LOAD.format(offset=number * (BUSY + GAP), peaks=PEAKS, mib=PEAK_MIB,
                       busy=BUSY, quiet=PERIOD - BUSY), timeout=TIMEOUT)


def run(vms):
    """Have all guests go through their peaks; return the curve of the sum, MiB."""
    for vm in vms:
        vm.sample(STEP)
    vms[0].wait_until(lambda: all(vm.samples for vm in vms), "samples", TIMEOUT)
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(len(vms)) as pool:
        list(pool.map(load, enumerate(vms)))
    seconds = time.monotonic() - start
    curves = [[(at - start, rss / MIB) for at, rss in vm.samples] for vm in vms]
    return bench_qemu.summed(curves, 0, seconds, STEP)


def one_round(vms, cases, number):
    """Return all samples of one round, and the curves by case."""
    samples = {"load_average": os.getloadavg()[0]}
    curves = {}
    for case in in_turn(cases, number):
        for vm in vms:
            bench_qemu.all_away(vm)
            bench_qemu.use_case(vm, case)
        curves[case] = run(vms)
        sums = [mib for _, mib in curves[case]]
        samples.update({
            f"{case}_fleet_peak_mib": max(sums),
            f"{case}_fleet_mib_s": statistics.fmean(sums) * curves[case][-1][0]})
        say(f"fleet: round {number}: {case}: {max(sums):.0f} MiB at the peak, "
            f"{statistics.fmean(sums):.0f} on average")
    return samples, curves


def told(samples):
    """Return what one round's samples tell, by key of the results."""
    return {**ratios(samples, "fleet_peak_ratio", "fleet_peak_mib"),
            **ratios(samples, "fleet_footprint_ratio", "fleet_mib_s"),
            **{key.removeprefix("ours_"): value for key, value in samples.items()
               if "_fleet_" in key}}


def plot(rounds, curves, cases, where):
    """Draw the sum over time in the last round, and its peaks."""
    plots.draw(NAME, f"{GUESTS} guests of {GUEST_MIB} MiB, peaks of {PEAK_MIB} MiB one "
               f"after the other, {where}",
               (plots.curves, "the last round",
                "Memory the host gives to all of them (MiB)",
                {case: curves[case] for case in cases}),
               (plots.bars, "peak of the sum", "MiB", {case: {
                   "peak": figure([samples[f"{case}_fleet_peak_mib"]
                                   for _, samples in rounds])} for case in cases}))


def measure(options):
    """Do all rounds; return the results."""
    say(f"fleet: booting {GUESTS} Debian guests of {GUEST_MIB} MiB; it takes minutes")
    cases = bench_qemu.cases(options.kernel)
    rounds = []
    with bench_qemu.debian_guests(options, NAME, GUESTS, mem_mib=GUEST_MIB) as vms:
        for number in range(1, options.rounds + 1):
            samples, curves = one_round(vms, cases, number)
            rounds.append((told(samples), samples))
    plot(rounds, curves, cases, options.where)
    return bench_qemu.results(NAME, rounds, GOALS, {
        "guests": GUESTS, "peaks": PEAKS, "peak_mib": PEAK_MIB, "busy_s": BUSY,
        "gap_s": GAP})
