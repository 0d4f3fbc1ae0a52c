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
"""

import os
import statistics

import bench_qemu
import plots
from bench_qemu import OURS, STOCK, in_turn
from figures import figure
from toolkit import SYSFS, say

NAME = "pagefault"
FILE = bench_qemu.FILE
ROUNDS = 3
ABOUT = ("page faults in a second, with aeration off, idle, and reporting; "
         "1 min a round")
GOALS = {"pagefault_idle_ratio": ">= 0.99"}

# How long it is measured, seconds.
SECONDS = 4
TIMEOUT = 120

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


def one_round(vm, number):
    """Return all samples of one round: {name: faults in a second}."""
    found = {}
    for name, driver, load in in_turn(CASES, number):
        bench_qemu.use(vm, driver)
        bench_qemu.settle(vm)
        discards = bench_qemu.Discards(vm)
        rate, = bench_qemu.value(vm.run(
            load.format(cpus=vm.cpus, seconds=SECONDS),
            timeout=TIMEOUT).out, "faults_per_second")
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
    found.update((f"pagefault_{name}_per_s",
                  samples[f"pagefault_{name}_per_s"]) for name in NAMES)
    return found


def measure(options):
    """Do all rounds; return the results."""
    say(f"pagefault: booting a guest of {bench_qemu.GUEST_MIB} MiB")
    rounds = []
    with bench_qemu.guests(options, NAME) as (vm,):
        for number in range(1, options.rounds + 1):
            samples = one_round(vm, number)
            rounds.append((told(samples), samples))
    plots.draw(NAME, f"Page faults, {options.where}", (
        plots.bars, "one thread a processor", "Page faults in a second",
        {name: {"faults": figure([samples[f"pagefault_{name}_per_s"]
                                  for _, samples in rounds])}
         for name in NAMES}))
    return bench_qemu.results(NAME, rounds, GOALS, {"seconds": SECONDS})
