# SPDX-License-Identifier: GPL-2.0
"""The aged part of the benchmark: what of its free memory an old guest gives back.

A Debian guest for each case, all at once, with the same work in each, in step: short
processes, memory touched and freed, files written, read, copied and removed, memory of
which every second page is freed and the rest is kept for a while. What comes next is
drawn from a seed. The work is stopped a few times, at equal distances, for long enough
that each driver has given what it will; these stops are the rounds.

Then the guest says which of its pages are free (/proc/kpageflags), and the host which of
the guest's pages it has given memory for (/proc/PID/pagemap). The share is that of
MemFree above the reserve for which there is none. What is left is told by order: a run
of free pages is made of the largest aligned blocks that fit, as the kernel's free lists
are. What was never touched is in the share, too: without a driver there is nothing else
in it.

How long the work lasts is MINUTES: a minute shows that it works, an hour (make
check-long) what becomes of memory.
"""

import concurrent.futures
import os
import random
import time

import bench_qemu
import plots
from figures import figure
from toolkit import say

NAME = "aged"
FILE = bench_qemu.FILE
ROUNDS = 3
MINUTES = 10
ABOUT = ("Debian guests after mixed work: which share of their free memory has left, and "
         "what is left by order; MINUTES in all and 2 min a round")
GOALS = {"aged_share": ">= 0.85"}

SEED = 19
RESERVE_MIB = 16	# that ours keeps by default; taken off for all alike
CALM = 60		# seconds; the stock driver needs 32 for 2 GiB
STEP_TIMEOUT = 600	# seconds
WORD_S = 60		# seconds between two words of progress

# Of the kernel's blocks: pages in a MiB, and the largest order.
PAGES = 256
LARGEST = 10

# What is done, as shell commands; {mib} and {number} are drawn anew each time.
WORK = {
    "processes": """
for one in 1 2 3 4 5 6; do
	for beside in 1 2 3 4; do /opt/aeration/memwork burst $(({mib} / 4)) & done
	wait
done >/dev/null
""",
    "churn": "/opt/aeration/memwork churn $(({mib} * 3)) 3 >/dev/null",
    "write": "yes {mib} | head -c {mib}M >/var/tmp/aged.{number}",
    "read": """
find /usr -xdev -type f -print0 | tail -z -n +$(({number} * 1000)) |
	head -z -n 3000 | xargs -0 cat >/dev/null
""",
    "copy": "rm -rf /var/tmp/tree.{number}; "
            "cp -r /usr/share/perl /var/tmp/tree.{number}",
    "remove": "rm -rf /var/tmp/aged.{number} /var/tmp/tree.{number}",
    "pieces": """
pkill -x memwork
setsid /opt/aeration/memwork fragment $(({mib} * 2)) </dev/null >/dev/null 2>&1 &
sleep 2
""",
}
MIB_RANGE = 20, 100
NUMBERS = 5		# files, and copied trees, at most

# Prints the guest's runs of free pages, "FIRST COUNT" each. The bit is KPF_BUDDY, which
# all pages of a free block have there, see Documentation/admin-guide/mm/pagemap.rst.
FREE_RUNS = r"""
open F, "<:raw", "/proc/kpageflags" or die;
$/ = \65536;
$page = 0;
$first = -1;
sub run { print "$first ", $page - $first, "\n" if $first >= 0; $first = -1; }
while (<F>) {
	for (unpack "Q*", $_) {
		if ($_ >> 10 & 1) { $first = $page if $first < 0; } else { run(); }
		$page++;
	}
}
run();
"""


def blocks(first, count):
    """Return the (first page, order) of the blocks that a run of free pages is."""
    found = []
    while count:
        order = min(count.bit_length() - 1, LARGEST,
                    (first & -first).bit_length() - 1 if first else LARGEST)
        found.append((first, order))
        first += 1 << order
        count -= 1 << order
    return found


def left_by_order(runs, present):
    """Return (free pages, [those that the host has memory for, by order]).

    `runs` are the (first page, count) of free pages; `present` has a byte for each page
    of the guest.
    """
    free, left = 0, [0] * (LARGEST + 1)
    for first, count in runs:
        free += count
        for page, order in blocks(first, count):
            left[order] += sum(present[page:page + (1 << order)])
    return free, left


def look(vm):
    """Return a resting guest's samples."""
    said = vm.run("perl /tmp/free-runs", timeout=STEP_TIMEOUT).out
    free, left = left_by_order([tuple(map(int, line.split()))
                                for line in said.splitlines()], vm.present())
    gone = free - sum(left)
    return {"aged_share": gone / (free - RESERVE_MIB * PAGES),
            "aged_free_mib": free / PAGES,
            **{f"aged_left_mib_{order}": pages / PAGES
               for order, pages in enumerate(left)}}


def step(drawn):
    """Return the next thing that is done; `drawn` is a random.Random."""
    return WORK[drawn.choice(sorted(WORK))].format(
        mib=drawn.randint(*MIB_RANGE), number=drawn.randrange(NUMBERS))


def work(vms, drawn, seconds):
    """Have all guests do the same for some time; return in how many steps."""
    start = said = time.monotonic()
    steps = 0
    with concurrent.futures.ThreadPoolExecutor(len(vms)) as pool:
        while time.monotonic() - start < seconds:
            command = step(drawn)
            list(pool.map(lambda vm, text=command: vm.run(text, STEP_TIMEOUT), vms))
            steps += 1
            if time.monotonic() - said > WORD_S:
                said = time.monotonic()
                say(f"aged: {(said - start) / 60:.0f} of {seconds / 60:.0f} min until "
                    f"the next look, {steps} steps")
    return steps


def one_round(vms, drawn, number, seconds):
    """Have guests, by case, work and rest; return all samples of one round."""
    samples = {"load_average": os.getloadavg()[0],
               "steps": work(list(vms.values()), drawn, seconds)}
    time.sleep(CALM)
    for case, vm in vms.items():
        found = look(vm)
        samples.update((f"{case}_{key}", value) for key, value in found.items())
        small = sum(found[f"aged_left_mib_{order}"] for order in range(9))
        say(f"aged: round {number}: {case}: {found['aged_share']:.1%} of "
            f"{found['aged_free_mib']:.0f} MiB has left; {small:.0f} MiB of what is "
            "left are in blocks of less than 2 MiB")
    return samples


def told(samples):
    """Return what one round's samples tell, by key of the results."""
    return {key.removeprefix("ours_"): value for key, value in samples.items()
            if "_aged_" in key}


def plot(rounds, cases, where):
    """Draw the share, and what was left by order in the end."""
    _, last = rounds[-1]
    plots.draw(NAME, f"Free memory of guests after mixed work, {where}", (
        plots.bars, "share that has left", "Part of MemFree above the reserve",
        {case: {"share": figure([samples[f"{case}_aged_share"]
                                 for _, samples in rounds])} for case in cases}), (
        plots.bars, "left in the end, by order", "MiB",
        {str(order): {case: figure([last[f"{case}_aged_left_mib_{order}"]])
                      for case in cases} for order in range(LARGEST + 1)}))


def measure(options):
    """Do all rounds; return the results."""
    cases = bench_qemu.cases(options.kernel)
    say(f"aged: booting {len(cases)} Debian guests of {bench_qemu.GUEST_MIB} MiB; it "
        "takes minutes")
    drawn = random.Random(SEED)
    rounds = []
    with bench_qemu.debian_guests(options, NAME, len(cases)) as booted:
        vms = dict(zip(cases, booted, strict=True))
        for case, vm in vms.items():
            vm.push("/tmp/free-runs", FREE_RUNS.encode())
            bench_qemu.all_away(vm)
            bench_qemu.use_case(vm, case)
        for number in range(1, options.rounds + 1):
            samples = one_round(vms, drawn, number,
                                options.minutes * 60 / options.rounds)
            rounds.append((told(samples), samples))
    plot(rounds, cases, options.where)
    return bench_qemu.results(NAME, rounds, GOALS, {
        "minutes": options.minutes, "seed": SEED})
