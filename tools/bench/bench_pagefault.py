# SPDX-License-Identifier: GPL-2.0
"""The page-fault part of the benchmark: what aeration costs a busy guest.

One thread for each processor maps 128 MiB, touches each page and unmaps them,
over and over (memload.c): page faults in a second. That is what the benchmark
page_fault1 of will-it-scale does; there are no huge pages here. With

- no driver, at the beginning, in the middle and at the end: what the other
  cases are divided by is the mean of it, and all are near enough in time;
- aeration, and nothing that is surplus: it looks, and does not report;
- aeration that is flushed 20 times a second, so that it reports what was freed a
  moment ago: the worst that it can be made to do. (With a window of 0 it reports
  nothing: what is free is in use again before a pass begins);
- the stock driver.

Before each, what is surplus has been reported, and for a second the load runs
without being counted.

A hundredth of that is less than the host's own noise. So page faults are counted
a second time, without "reporting", in a guest of one processor under QEMU's
-icount: its second is a number of instructions, and it has as many page faults in
one as the kernel and all drivers let it have.
"""

import os
import statistics

import bench_qemu
import plots
from bench_qemu import ICOUNT_SHIFT, OURS, STOCK, in_turn
from figures import figure
from toolkit import SYSFS, say

NAME = "pagefault"
FILE = bench_qemu.FILE
ROUNDS = 3
ABOUT = ("page faults in a second, with aeration off, idle, and reporting; "
         "2 min a round")
GOALS = {"pagefault_idle_ratio": ">= 0.99",
         "pagefault_idle_instructions_ratio": ">= 0.99"}

# How long it is measured, seconds.
SECONDS = 4
TIMEOUT = 120

# Of the counting guest's time, seconds: until what was surplus is reported.
CALM = 40

LOAD = "/opt/aeration/memload fault {cpus} {seconds}"

# In a loop beside the load.
FLUSHED = f"""
while :; do echo 1 > {SYSFS}/flush; usleep 50000; done 2>/dev/null &
beside=$!
{LOAD}
kill $beside
"""

# Name, driver, and what is run then.
OFF = ("off", None, LOAD)
IDLE = ("idle", OURS, LOAD)
REPORTING = ("reporting", OURS, FLUSHED)
BESIDE = ("stock", STOCK, LOAD)
CASES = (OFF, IDLE, OFF, REPORTING, BESIDE, OFF)

NAMES = ("off", "idle", "reporting", "stock")

# Instructions in a second of the guest that counts them.
MILLIONS = (10 ** 9 >> ICOUNT_SHIFT) / 1e6

COUNTED_CASES = (OFF, IDLE, OFF, BESIDE, OFF)
COUNTED_NAMES = ("off", "idle", "stock")


def fault(vm, load):
    """Run the load; return the page faults in a second."""
    return bench_qemu.value(vm.run(load.format(cpus=vm.cpus, seconds=SECONDS),
                                   timeout=TIMEOUT).out,
                            "faults_per_second")[0]


def count(vm, number):
    """Return one round's samples of the guest that counts instructions."""
    found = {}
    for name, driver, load in in_turn(COUNTED_CASES, number):
        bench_qemu.use(vm, driver)
        vm.run(f"sleep {CALM}", timeout=TIMEOUT)
        found.setdefault(name, []).append(fault(vm, load))
    counted = {name: statistics.fmean(rates) for name, rates in found.items()}
    for name, rate in counted.items():
        say(f"pagefault: round {number}: {name}: {rate:.0f} faults in "
            f"{MILLIONS:.0f} million instructions")
    return {f"pagefault_{name}_counted": rate for name, rate in counted.items()}


def one_round(vm, number):
    """Return one round's samples of the other guest."""
    found = {}
    for name, driver, load in in_turn(CASES, number):
        bench_qemu.use(vm, driver)
        bench_qemu.settle(vm)
        discards = bench_qemu.Discards(vm)
        rate = fault(vm, load)
        found.setdefault(name, []).append(rate)
        say(f"pagefault: round {number}: {name}: {rate:.0f} faults/s, "
            f"{discards.mib():.0f} MiB reported")
    return {"load_average": os.getloadavg()[0],
            **{f"pagefault_{name}_per_s": statistics.fmean(rates)
               for name, rates in found.items()}}


def told(samples):
    """Return what one round's samples tell, by key of the results."""
    found = {f"pagefault_{name}_ratio": samples[f"pagefault_{name}_per_s"] /
             samples["pagefault_off_per_s"] for name in NAMES[1:]}
    found.update((f"pagefault_{name}_instructions_ratio",
                  samples[f"pagefault_{name}_counted"] /
                  samples["pagefault_off_counted"]) for name in COUNTED_NAMES[1:])
    found.update((f"pagefault_{name}_per_s",
                  samples[f"pagefault_{name}_per_s"]) for name in NAMES)
    return found


def plot(rounds, where):
    """Draw page faults in a second of each of the two guests."""
    def of(key, names):
        return {name: {"faults": figure([samples[f"pagefault_{name}_{key}"]
                                         for _, samples in rounds])}
                for name in names}

    plots.draw(NAME, f"Page faults, {where}", (
        plots.bars, "one thread a processor", "Page faults in a second",
        of("per_s", NAMES)), (
        plots.bars, "counted in instructions",
        f"Page faults in {MILLIONS:.0f} million instructions",
        of("counted", COUNTED_NAMES)))


def measure(options):
    """Do all rounds; return the results."""
    numbers = range(1, options.rounds + 1)
    say(f"pagefault: booting a guest of {bench_qemu.GUEST_MIB} MiB")
    with bench_qemu.guests(options, NAME) as (vm,):
        timed = [one_round(vm, number) for number in numbers]
    # Not beside the other: with nothing to do its time flies, and takes a CPU.
    say("pagefault: booting a guest that counts instructions")
    with bench_qemu.counting_guest(options, f"{NAME}-icount") as vm:
        counted = [count(vm, number) for number in numbers]
    rounds = [(told(samples), samples)
              for samples in map(dict.__or__, timed, counted)]
    plot(rounds, options.where)
    return bench_qemu.results(NAME, rounds, GOALS, {"seconds": SECONDS})
