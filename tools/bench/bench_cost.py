# SPDX-License-Identifier: GPL-2.0
"""The cost part of the benchmark: what it takes to report a GiB.

Instructions of the guest. One guest of one processor under QEMU's -icount, where
each instruction takes the same time, and time stands still for nothing else: the
guest's clock counts instructions, and it repeats nearly exactly. A notification
of the device is answered before the guest goes on. A program touches memory and
frees it; then the guest sleeps for longer than the slower driver needs to report
all of it. What is counted is all that the guest does from the order to free until
the end of that sleep, less the time in the kernel's idle loop (idle_sleeptime in
/proc/timer_list), and less the same with no driver loaded: freeing, timer ticks,
and the shell. So it has everything that a driver adds, its looking for work
included, and waking up. Divided by what QEMU let go of meanwhile. The guest has
work of its own now and then, a fifth of what a driver adds: so all of this is done
several times in a round, and a round's sample is the median. Kernel 7.3 has no idle
time any more: there it is the time that the processor ran tasks (/proc/schedstat),
which leaves out interrupts that come while it is idle, of both drivers alike.

Kicks, interrupts, and the host. A guest of two processors without -icount. From
when the memory is free, with nothing else going on, until SHARE of it was let go
of and nothing more was for a while. Kicks are calls of the kernel's function that
notifies a virtio device, interrupts are those of the device in /proc/interrupts.
The host's CPU time is that of QEMU, less what the idle guest took for as long;
that of QEMU's first thread alone, which is the device, is given too.

The floor: blocks of the same lengths, released by a program that is no QEMU and
does nothing else: from anonymous memory, and from a file in memory.
"""

import os
import statistics
import time

import bench_qemu
import demo_qemu
import plots
from bench_qemu import DRIVERS, GIB, ICOUNT_SHIFT, in_turn
from figures import figure
from toolkit import MIB, ToolError, say

NAME = "cost"
FILE = bench_qemu.FILE
ROUNDS = 3
ABOUT = ("guest instructions, kicks, interrupts and host CPU time for each GiB "
         "reported; 250 s a round beside other work")
GOALS = {"instructions_per_gib_ratio": "<= 1"}

FREED_MIB = 1024
TIMES = 3		# that instructions are counted for each case of a round
CASES = {"none": None, **DRIVERS}

# Of the guest's time, seconds: until what was surplus before is reported, and
# until what was freed is. The stock driver needs 8 passes of 2 s at most for a
# GiB. Without a driver the guest does the same.
CALM = 40
SLEEP = 40

# Of the host's time, seconds.
TIMEOUT = 300
BACK_TIMEOUT = 120
QUIET = 2.5		# nothing is let go of: longer than between two passes
LOOK = 0.1

# Prints the time, and that in the idle loop, ns.
SNAP = r"""
snap() {
	cat /proc/timer_list /proc/schedstat | awk '{ gsub(":", " ") }
	/^now at/ { now = $3 }
	$1 == ".idle_sleeptime" { idle += $2; seen++ }
	$1 == ".iowait_sleeptime" { idle += $2 }
	$1 == "cpu0" && NF > 8 { ran = $8 }
	END { if (!seen) idle = now - ran
	      printf "%s %.0f %.0f\n", (seen + ran) ? "counted" : "unknown",
	      now, idle }'
}
"""

# Given a process that holds memory, and how long to wait.
COUNT = SNAP + r"""
snap
kill -USR1 "$1"
sleep "$2"
snap
"""

TRACING = "/sys/kernel/tracing"
PROBE = (f"echo 'p:bench/kick vp_notify' >> {TRACING}/kprobe_events && "
         f"echo 1 > {TRACING}/events/bench/enable")
EVENTS = (f"awk '$1 == \"kick\" {{ print \"kicks\", $2 }}' "
          f"{TRACING}/kprobe_profile; "
          "awk '/virtio/ { for (i = 2; $i ~ /^[0-9]+$/; i++) n += $i } "
          "END { print \"interrupts\", n + 0 }' /proc/interrupts")


def times_in(text):
    """Return how far the guest's two lines are apart, and how long of that it was
    not idle, ns."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if len(lines) != 2 or any(line[0] != "counted" for line in lines):
        raise ToolError("the guest's kernel does not say how long it was idle: "
                        + text.strip())
    (now, idle), (later, idle_later) = (map(int, line[1:]) for line in lines)
    return later - now, (later - now) - (idle_later - idle)


def instructions_in(text):
    """Return the instructions that the guest's two lines are apart."""
    return times_in(text)[1] >> ICOUNT_SHIFT


def freed(vm, driver, script):
    """Have a script of the guest free memory, under -icount.

    `driver` is what the guest has now. Return (what the script said, GiB let go of).
    """
    vm.run(f"sleep {CALM}", timeout=TIMEOUT)
    job, pid = demo_qemu.touch(vm, FREED_MIB)
    vm.run(f"sleep {CALM}", timeout=TIMEOUT)
    discards = bench_qemu.Discards(vm)
    said = vm.run(f"sh {script} {pid} {SLEEP}", timeout=TIMEOUT).out
    gib = sum(discards.lengths()) / GIB
    vm.run(f"kill -USR1 {pid}")
    job.wait(TIMEOUT)
    if driver and gib * GIB < demo_qemu.SHARE * FREED_MIB * MIB:
        raise ToolError(f"{driver} reported only {gib * GIB / MIB:.0f} of "
                        f"{FREED_MIB} MiB in {SLEEP} s of the guest's time")
    return said, gib


def count(vm, driver):
    """Free memory under -icount; return (instructions, GiB let go of)."""
    bench_qemu.use(vm, driver)
    said, gib = freed(vm, driver, "/tmp/count.sh")
    return instructions_in(said), gib


def count_all(vm, number):
    """Return the samples of the guest that counts instructions."""
    found = {name: [count(vm, CASES[name]) for _ in range(TIMES)]
             for name in in_turn(CASES, number)}
    base = statistics.median(counted for counted, _ in found["none"])
    return {"base_instructions": base,
            **{f"{name}_instructions_per_gib": statistics.median(
                (counted - base) / gib for counted, gib in found[name])
               for name in DRIVERS}}


def events(vm):
    """Return how many kicks and interrupts there were; both only grow."""
    said = vm.run(EVENTS).out
    return {name: sum(bench_qemu.value(said, name))
            for name in ("kicks", "interrupts")}


def cpu(vm):
    """Return CPU seconds of QEMU, and of the thread that is the device."""
    return (bench_qemu.cpu_seconds(vm.pid),
            bench_qemu.cpu_seconds(vm.pid, thread=True))


def wait_reported(vm, discards):
    """Wait until SHARE was let go of, and then nothing more for a while."""
    changed = [time.monotonic(), 0]

    def quiet():
        mib = discards.mib()
        if mib != changed[1]:
            changed[:] = time.monotonic(), mib
        return (mib >= demo_qemu.SHARE * FREED_MIB and
                time.monotonic() - changed[0] > QUIET)

    vm.wait_until(quiet, f"{demo_qemu.SHARE:.0%} of {FREED_MIB} MiB to be "
                  "reported", BACK_TIMEOUT, poll=LOOK)


def spend(vm, driver):
    """Free memory; return the samples per GiB, and the lengths of blocks."""
    bench_qemu.use(vm, driver)
    bench_qemu.settle(vm)
    job, pid = demo_qemu.touch(vm, FREED_MIB)
    bench_qemu.settle(vm)
    idle_from, idle_cpu = time.monotonic(), cpu(vm)
    time.sleep(QUIET)
    rate = [(now - then) / (time.monotonic() - idle_from)
            for then, now in zip(idle_cpu, cpu(vm))]
    before = events(vm)
    # On a busy host it may be back before the guest has said that it is free.
    discards = bench_qemu.Discards(vm)
    vm.run(f"kill -USR1 {pid}; while ! grep -q freed {job.base}.out; do "
           "usleep 10000; done")
    start, used = time.monotonic(), cpu(vm)
    wait_reported(vm, discards)
    lasted = time.monotonic() - start
    spent = [now - then - lasted * idle
             for then, now, idle in zip(used, cpu(vm), rate)]
    after = events(vm)
    lengths = discards.lengths()
    gib = sum(lengths) / GIB
    vm.run(f"kill -USR1 {pid}")
    job.wait(TIMEOUT)
    return {"kicks_per_gib": (after["kicks"] - before["kicks"]) / gib,
            "interrupts_per_gib":
            (after["interrupts"] - before["interrupts"]) / gib,
            "host_ms_per_gib": spent[0] / gib * 1000,
            "device_ms_per_gib": spent[1] / gib * 1000,
            "blocks_per_gib": len(lengths) / gib}, lengths


def one_round(counting, other, number):
    """Return all samples of one round."""
    samples = {"load_average": os.getloadavg()[0],
               **count_all(counting, number)}
    lengths = []
    for name in in_turn(DRIVERS, number):
        found, lengths = spend(other, DRIVERS[name])
        samples.update((f"{name}_{key}", value)
                       for key, value in found.items())
    scale = GIB / sum(lengths) * 1000
    for kind, shared in (("anonymous", False), ("shared", True)):
        samples[f"floor_{kind}_ms_per_gib"] = \
            bench_qemu.plainly_released(lengths, shared) * scale
    for name in DRIVERS:
        say(f"cost: round {number}: {name}: for each GiB "
            f"{samples[f'{name}_instructions_per_gib'] / 1e6:.2f} million "
            f"instructions, {samples[f'{name}_kicks_per_gib']:.0f} kicks, "
            f"{samples[f'{name}_interrupts_per_gib']:.0f} interrupts, "
            f"{samples[f'{name}_host_ms_per_gib']:.0f} ms of the host's CPU, "
            f"{samples[f'{name}_device_ms_per_gib']:.0f} ms of them in the "
            "device")
    return samples


def told(samples):
    """Return what one round's samples tell, by key of the results."""
    return {"instructions_per_gib_ratio":
            samples["ours_instructions_per_gib"] /
            samples["stock_instructions_per_gib"],
            **{key.removeprefix("ours_"): value
               for key, value in samples.items() if key.endswith("_per_gib")}}


def plot(rounds, where):
    """Draw instructions, and the host's CPU time."""
    def of(key):
        return figure([samples[key] for _, samples in rounds])

    plots.draw(NAME, f"To report a GiB, {where}", (
        plots.bars, "the guest", "Instructions",
        {name: {"instructions": of(f"{name}_instructions_per_gib")}
         for name in DRIVERS}), (
        plots.bars, "the host", "CPU time (ms)",
        {**{name: {"CPU time": of(f"{name}_host_ms_per_gib")}
            for name in DRIVERS},
         **{f"floor, {kind}": {"CPU time": of(f"floor_{kind}_ms_per_gib")}
            for kind in ("anonymous", "shared")}}))


def measure(options):
    """Do all rounds; return the results."""
    say("cost: booting a guest that counts instructions, and one that does not")
    rounds = []
    with bench_qemu.counting_guest(options, "icount") as counting, \
            bench_qemu.guests(options, NAME) as (other,):
        counting.push("/tmp/count.sh", COUNT.encode())
        other.run(PROBE)
        # The first time is of a guest that has just booted.
        count(counting, None)
        for number in range(1, options.rounds + 1):
            samples = one_round(counting, other, number)
            rounds.append((told(samples), samples))
    plot(rounds, options.where)
    return bench_qemu.results(NAME, rounds, GOALS, {
        "freed_mib": FREED_MIB, "icount_shift": ICOUNT_SHIFT})
