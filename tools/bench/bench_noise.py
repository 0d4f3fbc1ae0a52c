# SPDX-License-Identifier: GPL-2.0
"""The noise part of the benchmark: what reporting does beside the guest's own work.

A program frees a GiB, and all of it is reported at the pace of each driver; without a
driver, which is the guest at rest, nothing is. Until 40 s of the guest's time later:

- instructions of the kernel's worker threads: who reports, and who looks for what there
  is to report. (The part cost counts all that the guest does.)
- interrupts from one processor to another, and flushes of the TLB;
- the longest time with interrupts off, in instructions: by how much a timer was late
  that a program sleeps for, over and over, as the kernel's tracepoints have it.

The first two are for each GiB that left, less what there is at rest; the third is as it
was. What is counted per worker and the time with interrupts off come from a guest of one
processor under -icount, the rest from one of two that take turns. Such guests repeat
nearly exactly, on however busy a host. The one that tells how late timers are lets go
of a processor for them wherever a kernel can (preempt=full): a timer that is to go off
while interrupts are off has to have been set before.

What a program feels of all this cannot be told without KVM: no figure here is a time.
"""

import os
import re

import bench_cost
import bench_qemu
import plots
from bench_qemu import CASES, ICOUNT_SHIFT, in_turn
from figures import figure, ratios
from toolkit import ToolError, say

import guest

NAME = "noise"
FILE = bench_qemu.FILE
ROUNDS = 3
ABOUT = ("worker's instructions, interrupts between processors, TLB flushes, longest "
         "time with interrupts off; 2 min a case and round")
GOALS = {"noise_instructions_ratio": "<= 1", "noise_irqs_off_ratio": "<= 1"}

# Which is what there is at rest.
REST = "none"

# What a program sleeps for, ms: a tenth of the time with interrupts off that a batch of
# the mm was estimated to take.
NAP_MS = 0.2

# Prints what only grows, before and after; given as bench_cost.COUNT is.
COUNT = r"""
T=/sys/kernel/tracing/events/tlb/tlb_flush
look() {
	sum=0
	for one in /proc/[0-9]*; do
		read -r name <$one/comm || continue
		case $name in
		kworker/*) read -r ns rest <$one/schedstat && sum=$((sum + ns)) ;;
		esac
	done 2>/dev/null
	echo "worker $sum"
	awk '$1 == "RES:" || $1 == "CAL:" { for (i = 2; $i ~ /^[0-9]+$/; i++) n += $i }
	     END { print "ipis", n + 0 }' /proc/interrupts
	awk '$1 == "Hits:" { print "flushes", $2 }' $T/hist
}
echo hist:keys=reason >$T/trigger
look
kill -USR1 "$1"
sleep "$2"
look
echo '!hist:keys=reason' >$T/trigger
"""

# Prints by how much a sleeping program's timer was late at most, ns. What is written
# for the tracepoints is described in the kernel's Documentation/trace/histogram.rst.
# Timers of programs may be later by what they allow for (timerslack_ns): as good as
# nothing here. Those with a time that is relative are the program's own.
LATE = f"""
T=/sys/kernel/tracing/events/timer
due='hist:keys=hrtimer:due=softexpires if comm=="memclock" && mode & 1'
late='hist:keys=hrtimer:late=now-$due:onmax($late).save(now)'
/opt/aeration/memclock asleep {NAP_MS} >/dev/null &
nap=$!
echo 1 >/proc/$nap/timerslack_ns
echo "$due" >$T/hrtimer_start/trigger
echo "$late" >$T/hrtimer_expire_entry/trigger
kill -USR1 "$1"
sleep "$2"
awk '$1 == "max:" {{ print "late", $2 }}' $T/hrtimer_expire_entry/hist
kill $nap
echo "!$late" >$T/hrtimer_expire_entry/trigger
echo "!$due" >$T/hrtimer_start/trigger
"""


def difference(said, name):
    """Return by how much what a guest printed twice has grown."""
    found = bench_qemu.value(said, name)
    if len(found) != 2:
        raise ToolError(f"the guest did not say {name} twice: {said.strip()}")
    return found[1] - found[0]


def longest_off(said):
    """Return for how many instructions interrupts were off, from what a guest printed."""
    late = [int(ns) for ns in re.findall(r"^late (\d+)$", said, re.M)]
    if not late:
        raise ToolError(f"the guest saw no timer of memclock go off: {said.strip()}")
    return max(late) >> ICOUNT_SHIFT


def count(vm, case):
    """Free memory; return (worker's instructions, interrupts, flushes, GiB that left)."""
    bench_qemu.use_case(vm, case)
    said, gib = bench_cost.freed(vm, CASES[case], "/tmp/count.sh")
    return (int(difference(said, "worker")) >> ICOUNT_SHIFT, difference(said, "ipis"),
            difference(said, "flushes"), gib)


def one_round(vm, cases, number):
    """Return one round's samples of the guest of one processor."""
    samples = {"load_average": os.getloadavg()[0]}
    found = {}
    for case in in_turn(cases, number):
        instructions, _, _, gib = count(vm, case)
        found[case] = instructions, gib
        bench_qemu.use_case(vm, case)
        said, _ = bench_cost.freed(vm, CASES[case], "/tmp/late.sh")
        off = samples[f"{case}_noise_irqs_off"] = longest_off(said)
        say(f"noise: round {number}: {case}: {instructions / 1e6:.2f} million "
            f"instructions of workers, interrupts off for {off}")
    samples["none_noise_instructions"] = found[REST][0]
    samples.update((f"{case}_noise_instructions_per_gib",
                    (instructions - found[REST][0]) / gib)
                   for case, (instructions, gib) in found.items() if case != REST)
    return samples


def one_round_of_two(vm, cases, number):
    """Return one round's samples of the guest of two processors."""
    found = {case: count(vm, case) for case in in_turn(cases, number)}
    samples = {}
    for place, key in ((1, "ipis"), (2, "flushes")):
        base = samples[f"none_noise_{key}"] = found[REST][place]
        samples.update((f"{case}_noise_{key}_per_gib", (one[place] - base) / one[3])
                       for case, one in found.items() if case != REST)
    say(f"noise: round {number}: " + "; ".join(
        f"{case}: {found[case][1]:.0f} interrupts, {found[case][2]:.0f} flushes"
        for case in cases))
    return samples


def told(samples):
    """Return what one round's samples tell, by key of the results."""
    return {**ratios(samples, "noise_instructions_ratio",
                     "noise_instructions_per_gib"),
            **ratios(samples, "noise_irqs_off_ratio", "noise_irqs_off"),
            **{key.removeprefix("ours_"): value for key, value in samples.items()
               if "_noise_" in key}}


def plot(rounds, cases, where):
    """Draw the worker's instructions, and the longest time with interrupts off."""
    def of(key, names):
        return {case: {"instructions": figure([samples[f"{case}_noise_{key}"]
                                               for _, samples in rounds])}
                for case in names}

    plots.draw(NAME, f"Beside the guest's own work, {where}", (
        plots.bars, "workers, for each GiB", "Instructions",
        of("instructions_per_gib", [case for case in cases if case != REST])), (
        plots.bars, "longest time with interrupts off", "Instructions",
        of("irqs_off", cases)))


def measure(options):
    """Do all rounds; return the results."""
    cases = bench_qemu.cases(options.kernel)
    numbers = range(1, options.rounds + 1)
    say("noise: booting a guest of one processor that counts instructions")
    with bench_qemu.guests(options, NAME, cpus=1, icount=ICOUNT_SHIFT,
                           cmdline="preempt=full") as (vm,):
        vm.push("/tmp/count.sh", COUNT.encode())
        vm.push("/tmp/late.sh", LATE.encode())
        one = [one_round(vm, cases, number) for number in numbers]
    # Not beside the other: with nothing to do its time flies, and takes a CPU.
    say("noise: booting one of two processors")
    with bench_qemu.guests(options, f"{NAME}-two", cpus=2, icount=ICOUNT_SHIFT,
                           qemu_of=guest.QEMU_THAT_TAKES_TURNS) as (vm,):
        vm.push("/tmp/count.sh", COUNT.encode())
        two = [one_round_of_two(vm, cases, number) for number in numbers]
    rounds = [(told(samples), samples) for samples in map(dict.__or__, one, two)]
    plot(rounds, cases, options.where)
    return bench_qemu.results(NAME, rounds, GOALS, {
        "freed_mib": bench_cost.FREED_MIB, "nap_ms": NAP_MS,
        "icount_shift": ICOUNT_SHIFT})
