# SPDX-License-Identifier: GPL-2.0
"""The churn part of the benchmark: a load that frees what it will need again.

A program in the guest maps memory, touches all of it and frees it, over and over
for some time; then two programs do so beside each other. It counts how often,
and how long the touching took. Of the host: QEMU's minor page faults, its CPU
time, and what it let go of. The share is of all that was freed, by one and by two
together. All that is surplus has been reported before, so what is reported
meanwhile is either memory of the churn, or what lies idle between two turns.
"""

import os

import bench_qemu
import plots
from bench_qemu import DRIVERS, in_turn
from figures import figure
from toolkit import say

NAME = "churn"
FILE = bench_qemu.FILE
ROUNDS = 3
ABOUT = ("programs that allocate, touch and free memory over and over: cycles, "
         "host faults, what is reported; 3 min a round")
GOALS = {"churn_ratio_1": ">= 0.98", "churn_ratio_2": ">= 0.98",
         "churn_reported_share": "<= 0.05"}

PROGRAMS = (1, 2)
CHURN_MIB = 512
SECONDS = 35
TIMEOUT = 120		# seconds

# One file for each, so that they do not write into each other's lines.
CHURN = """
for one in $(seq {programs}); do
	/opt/aeration/memwork churn {mib} {seconds} > /tmp/churn$one &
done
wait
cat /tmp/churn?
rm /tmp/churn?
"""


def churn(vm, programs):
    """Have programs churn; return samples of that."""
    discards = bench_qemu.Discards(vm)
    cpu = bench_qemu.cpu_seconds(vm.pid)
    faults = bench_qemu.minor_faults(vm.pid)
    said = vm.run(CHURN.format(programs=programs, mib=CHURN_MIB,
                               seconds=SECONDS), timeout=TIMEOUT).out
    cycles = bench_qemu.value(said, "cycles")
    takes = bench_qemu.value(said, "seconds")
    return {"cycles": sum(cycles),
            "take_s": sum(one * many for one, many
                          in zip(takes, cycles, strict=True)) / sum(cycles),
            "faults": bench_qemu.minor_faults(vm.pid) - faults,
            "cpu_s": bench_qemu.cpu_seconds(vm.pid) - cpu,
            "reported_mib": discards.mib(),
            "churned_mib": sum(cycles) * CHURN_MIB}


def one_round(vm, number):
    """Return all samples of one round."""
    samples = {"load_average": os.getloadavg()[0]}
    for programs in PROGRAMS:
        for name in in_turn(DRIVERS, number):
            bench_qemu.use(vm, DRIVERS[name])
            bench_qemu.settle(vm)
            found = churn(vm, programs)
            window = bench_qemu.window_ms(vm, DRIVERS[name])
            say(f"churn: round {number}: {programs} x {CHURN_MIB} MiB, {name}: "
                f"{found['cycles']:.0f} cycles, {found['take_s']:.2f} s to "
                f"touch, {found['faults']} host faults, {found['cpu_s']:.1f} s "
                f"CPU, {found['reported_mib']:.0f} MiB reported" +
                (f", window {window} ms" if window else ""))
            samples.update((f"{name}_churn_{key}_{programs}", value)
                           for key, value in found.items())
    return samples


def share(samples, name):
    """Return which part of what was freed was reported."""
    return sum(samples[f"{name}_churn_reported_mib_{programs}"]
               for programs in PROGRAMS) / \
        sum(samples[f"{name}_churn_churned_mib_{programs}"]
            for programs in PROGRAMS)


def told(samples):
    """Return what one round's samples tell, by key of the results."""
    found = {f"churn_ratio_{programs}":
             samples[f"ours_churn_cycles_{programs}"] /
             samples[f"stock_churn_cycles_{programs}"]
             for programs in PROGRAMS}
    found["churn_reported_share"] = share(samples, "ours")
    found["stock_churn_reported_share"] = share(samples, "stock")
    for programs in PROGRAMS:
        for key in ("cycles", "take_s", "faults", "cpu_s", "reported_mib"):
            for name in DRIVERS:
                mine = f"{name}_churn_{key}_{programs}"
                found[mine.removeprefix("ours_")] = samples[mine]
    return found


def plot(rounds, where):
    """Draw cycles, faults, and what was reported."""
    def groups(key):
        return {f"{programs} at a time": {
            name: figure([samples[f"{name}_churn_{key}_{programs}"]
                          for _, samples in rounds]) for name in DRIVERS}
            for programs in PROGRAMS}

    plots.draw(NAME, f"{CHURN_MIB} MiB touched and freed over and over for "
               f"{SECONDS} s, {where}",
               (plots.bars, "cycles", "Cycles", groups("cycles")),
               (plots.bars, "host: minor faults of QEMU", "Faults",
                groups("faults")),
               (plots.bars, "reported", "MiB", groups("reported_mib")))


def measure(options):
    """Do all rounds; return the results."""
    say(f"churn: booting a guest of {bench_qemu.GUEST_MIB} MiB")
    rounds = []
    with bench_qemu.guests(options, NAME) as (vm,):
        for number in range(1, options.rounds + 1):
            samples = one_round(vm, number)
            rounds.append((told(samples), samples))
    plot(rounds, options.where)
    return bench_qemu.results(NAME, rounds, GOALS, {
        "churn_mib": CHURN_MIB, "churn_seconds": SECONDS})
