# SPDX-License-Identifier: GPL-2.0
"""The release part of the benchmark: how fast freed memory is back.

One guest frees memory, or several do at the same moment. The clock starts just
before the order to free it is sent, and stops when 95 % of it has left the
resident set of the last QEMU. All guests are there all the time; those that are
not asked to do anything are idle. All memory keeps still before it is touched,
and again before it is freed: nobody uses what was reported a moment ago, which
would make ours more careful for a while.
"""

import concurrent.futures
import dataclasses
import os
import time

import bench_qemu
import demo_qemu
import plots
from bench_qemu import DRIVERS, in_turn
from toolkit import MIB, ToolError, say

NAME = "release"
FILE = bench_qemu.FILE
ROUNDS = 3
ABOUT = ("1, 2 and 6 guests free memory: time until 95 % is back; "
         "2.5 min a round")
GOALS = {"release_ratio_1": ">= 8", "release_s_1": "<= 1.5"}

# How many free at once, and how much each.
SIZES = (1, 2, 6)
FREED_MIB = 1536

# Seconds.
FREE_TIMEOUT = 60
BACK_TIMEOUT = 120
BEFORE = 1		# shown in the plot, before the free
STEP = 0.05		# between two points of it


@dataclasses.dataclass(frozen=True)
class Release:
    """What came of freeing memory in some guests at once."""

    seconds: float	# until the last one had SHARE back
    curve: list		# [(seconds since the order, resident sets, MiB)]


def wait_back(vms, start, limits):
    """Return when the last guest's resident set had fallen to its limit."""
    def reached():
        times = [demo_qemu.first_at_most(vm.samples, start, limit)
                 for vm, limit in zip(vms, limits, strict=True)]
        return None if None in times else max(times)

    vms[0].wait_until(lambda: reached() is not None,
                      f"{demo_qemu.SHARE:.0%} of {FREED_MIB} MiB of each of "
                      f"{len(vms)} guests to be back", BACK_TIMEOUT)
    return reached()


def free_together(vms):
    """Have all guests free memory at once; return the Release."""
    bench_qemu.settle(*vms)
    with concurrent.futures.ThreadPoolExecutor(len(vms)) as pool:
        held = list(pool.map(lambda vm: demo_qemu.touch(vm, FREED_MIB), vms))
        bench_qemu.settle(*vms)
        start = time.monotonic()
        before = [vm.resident() for vm in vms]
        limits = [rss - demo_qemu.SHARE * FREED_MIB * MIB for rss in before]
        list(pool.map(lambda one: one[0].run(f"kill -USR1 {one[1][1]}",
                                             timeout=FREE_TIMEOUT),
                      zip(vms, held, strict=True)))
        seconds = wait_back(vms, start, limits) - start
        curves = [[(at - start, rss / MIB) for at, rss in vm.samples]
                  for vm in vms]
        for vm, (job, pid) in zip(vms, held, strict=True):
            if "freed" not in job.output():
                raise ToolError("memwork has not freed its memory")
            vm.run(f"kill -USR1 {pid}")
            job.wait(FREE_TIMEOUT)
    return Release(seconds, bench_qemu.summed(curves, -BEFORE, seconds + 1,
                                              STEP))


def one_round(vms, number):
    """Return the releases of a round by (how many, which driver)."""
    found = {}
    for size in SIZES:
        for name in in_turn(DRIVERS, number):
            for vm in vms[:size]:
                bench_qemu.use(vm, DRIVERS[name])
            found[size, name] = free_together(vms[:size])
            windows = [bench_qemu.window_ms(vm, DRIVERS[name])
                       for vm in vms[:size]]
            say(f"release: round {number}: {size} x {FREED_MIB} MiB, {name}: "
                f"{found[size, name].seconds:.2f} s" +
                (f", window {max(windows)} ms" if name == "ours" else ""))
    return found


def told(samples):
    """Return what one round's samples tell, by key of the results."""
    found = {f"release_ratio_{size}": samples[f"stock_release_s_{size}"] /
             samples[f"ours_release_s_{size}"] for size in SIZES}
    found.update((f"release_s_{size}", samples[f"ours_release_s_{size}"])
                 for size in SIZES)
    found.update((f"stock_release_s_{size}",
                  samples[f"stock_release_s_{size}"]) for size in SIZES)
    return found


def plot(releases, where):
    """Draw how memory comes back, in the last round."""
    plots.draw(NAME, f"{FREED_MIB} MiB freed by each guest at 0 s, {where}",
               *((plots.curves, f"guests: {size}",
                  "Resident set of their QEMUs (MiB)",
                  {name: releases[size, name].curve for name in DRIVERS})
                 for size in SIZES))


def measure(options):
    """Do all rounds; return the results."""
    say(f"release: booting {max(SIZES)} guests of {bench_qemu.GUEST_MIB} MiB")
    rounds = []
    with bench_qemu.guests(options, NAME, max(SIZES)) as vms:
        for number in range(1, options.rounds + 1):
            load = os.getloadavg()[0]
            releases = one_round(vms, number)
            samples = {f"{name}_release_s_{size}": release.seconds
                       for (size, name), release in releases.items()}
            rounds.append((told(samples), {"load_average": load, **samples}))
    plot(releases, options.where)
    return bench_qemu.results(NAME, rounds, GOALS, {"freed_mib": FREED_MIB})
