# SPDX-License-Identifier: GPL-2.0
"""The build part of the benchmark: what a build costs those who pay for memory.

A C project is built in a Debian guest of 2 GiB, many compilers beside each other,
cleaned, and nothing is done for a while; three times. Footprint: how much memory the
host gave to the guest, over the guest's time (MiB*s), all phases together, and each
apart. Instructions: all that the guest ran in that time.

The guest has one processor, and its clock is made of instructions (-icount): a build
takes as long as it has instructions, however busy the host is. While the guest waits,
for its disk or for time to pass, its clock goes as the host's does ("sleep=on"). The
host's samples of a phase are spread evenly over how long it took by the guest's clock.
Instructions are the time in which the guest was not idle, see bench_cost.py.

The project is Lua, the source package of the guest's own Debian suite: 35 files that
need a compiler and make, no configuration and no other program. It is built without
optimization, which an emulated processor would take minutes for. Source and objects
are in a file system in memory; compiler and headers stay in the guest's page cache,
which has had them once before the first case. Each case begins with all that is free
with the host.
"""

import gzip
import hashlib
import lzma
import os
import statistics
import time

import bench_cost
import bench_qemu
import plots
from bench_qemu import ICOUNT_SHIFT, in_turn
from figures import ratios
from toolkit import MIB, say

from lab import cache, roots, sources

NAME = "build"
FILE = bench_qemu.FILE
ROUNDS = 3
ABOUT = ("a C project is built, cleaned, left alone, three times, in a Debian guest: "
         "MiB*s, instructions; 5 min a case and round")
GOALS = {"build_footprint_ratio": "<= 0.83", "build_instructions_ratio": "<= 1.01"}

PROJECT = "lua5.4"
PACKAGES = ("gcc", "libc6-dev", "make")
UNPACK = {".gz": gzip.open, ".xz": lzma.open}

TURNS = 3
PHASES = ("make", "clean", "idle")
JOBS = 8
IDLE_S = 20		# of the guest's time; the stock driver needs 16 for a GiB

PERIOD = 0.2		# seconds between two samples
TIMEOUT = 1800		# seconds for a phase

# In the guest: a file system in memory, and the disk that the source comes on.
PLACE = "/dev/shm/project"
DISK = "/dev/vdb"

SCRIPT = bench_cost.SNAP + f"""
cd {PLACE}/src || exit
snap
case $1 in
make) make -j{JOBS} all MYCFLAGS=-O0 ;;
clean) make clean ;;
idle) sleep {IDLE_S} ;;
esac >../log 2>&1 || {{ cat ../log; exit 1; }}
snap
"""

# The guest's clock waits for the host's where the guest does: see Vm, which says off.
WAITS = ("-icount", "sleep=on")


def source_places(text):
    """Return what sources.list says of packages as it says it of their sources."""
    return "".join(f"deb-src {line.removeprefix('deb ')}\n"
                   for line in text.splitlines() if line.startswith("deb "))


def source(kernel):
    """Return a tar file with the project's source, from a kernel's suite."""
    root = roots.root_for(kernel)
    stamp = (root.parent / cache.STAMP).read_text(encoding="utf-8")

    def make(place):
        state = place / "apt"
        (state / "lists/partial").mkdir(parents=True)
        places = (root / "etc/apt/sources.list").read_text(encoding="utf-8")
        (state / "sources.list").write_text(source_places(places), encoding="utf-8")
        for words in (("update",), ("source", "--download-only", PROJECT)):
            roots.logged(sources.apt(
                root, "-o", f"Dir::State::lists={state}/lists",
                "-o", f"Dir::Cache={state}",
                "-o", f"Dir::Etc::sourcelist={state}/sources.list",
                "-o", "Dir::Etc::sourceparts=-", *words), place / "make.log",
                sources.DOWNLOAD_TIMEOUT, f"fetching the source of {PROJECT}",
                cwd=state)
        archive, = state.glob("*.orig.tar.*z")
        with UNPACK[archive.suffix](archive) as packed:
            (place / "project.tar").write_bytes(packed.read())
        cache.remove(state)

    key = hashlib.sha256(repr((PROJECT, stamp)).encode()).hexdigest()
    return cache.shared(f"source-{PROJECT}-{kernel}", key, make) / "project.tar"


def points_of(samples, begin, end, seconds):
    """Return [(seconds since the phase began, MiB)] of a phase's samples.

    `samples` and both ends are by the host's clock; it took so many `seconds` of the
    guest's.
    """
    return [((at - begin) / (end - begin) * seconds, rss / MIB)
            for at, rss in samples if begin <= at <= end]


def phase(vm, name):
    """Have one phase run; return (seconds, instructions, points of the curve)."""
    begin = time.monotonic()
    ns, busy = bench_cost.times_in(
        vm.run(f"sh {PLACE}/phase.sh {name}", timeout=TIMEOUT).out)
    end = time.monotonic()
    samples = [*vm.samples, (end, vm.resident())]
    seconds = ns / 1e9
    return seconds, busy >> ICOUNT_SHIFT, points_of(samples, begin, end, seconds)


def unpack(vm):
    """Put the project where it is built, and build it once."""
    vm.run(f"mkdir {PLACE} && tar -x -C {PLACE} --strip-components=1 -f {DISK}")
    vm.push(f"{PLACE}/phase.sh", SCRIPT.encode())
    for name in ("make", "clean"):
        seconds, instructions, _ = phase(vm, name)
        say(f"build: {name}: {seconds:.1f} s of the guest's time, "
            f"{instructions / 1e6:.0f} million instructions")


def run(vm, what):
    """Do all turns; return (samples, curve)."""
    samples, curve = {}, []
    vm.sample(PERIOD)
    for turn in range(1, TURNS + 1):
        for name in PHASES:
            seconds, instructions, points = phase(vm, name)
            mib_s = statistics.fmean(mib for _, mib in points) * seconds
            for key, value in (("s", seconds), ("mib_s", mib_s),
                               ("instructions", instructions)):
                for whole in (f"build_{name}_{key}", f"build_{key}"):
                    samples[whole] = samples.get(whole, 0) + value
            start = curve[-1][0] if curve else 0
            curve += [(start + at, mib) for at, mib in points]
        say(f"build: {what}: turn {turn} of {TURNS}: "
            f"{samples['build_mib_s']:.0f} MiB*s in {samples['build_s']:.0f} s "
            "of the guest's time so far")
    return samples, curve


def one_round(vm, cases, number):
    """Return all samples of one round, and the curves by case."""
    samples = {"load_average": os.getloadavg()[0]}
    curves = {}
    for case in in_turn(cases, number):
        bench_qemu.all_away(vm)
        bench_qemu.use_case(vm, case)
        cpu = bench_qemu.cpu_seconds(vm.pid)
        found, curves[case] = run(vm, f"round {number}: {case}")
        found["build_cpu_s"] = bench_qemu.cpu_seconds(vm.pid) - cpu
        samples.update((f"{case}_{key}", value) for key, value in found.items())
        window = bench_qemu.window_ms(vm, bench_qemu.CASES[case])
        say(f"build: round {number}: {case}: {found['build_mib_s']:.0f} MiB*s, "
            f"{found['build_instructions'] / 1e6:.0f} million instructions" +
            (f", window {window} ms" if window else ""))
    return samples, curves


def told(samples):
    """Return what one round's samples tell, by key of the results."""
    return {**ratios(samples, "build_footprint_ratio", "build_mib_s"),
            **ratios(samples, "build_instructions_ratio", "build_instructions"),
            **{key.removeprefix("ours_"): value for key, value in samples.items()
               if "_build_" in key}}


def measure(options):
    """Do all rounds; return the results."""
    say(f"build: booting a Debian guest of {bench_qemu.GUEST_MIB} MiB that counts "
        "instructions; it takes minutes")
    cases = bench_qemu.cases(options.kernel)
    disk = f"file={source(options.kernel)},if=virtio,format=raw,readonly=on"
    rounds = []
    with bench_qemu.debian_guests(
            options, NAME, packages=PACKAGES, cpus=1, icount=ICOUNT_SHIFT,
            extra=[*WAITS, "-drive", disk]) as (vm,):
        unpack(vm)
        for number in range(1, options.rounds + 1):
            samples, curves = one_round(vm, cases, number)
            rounds.append((told(samples), samples))
    plots.draw(NAME, f"A project is built, cleaned, left alone, {TURNS} times, "
               + options.where,
               (plots.curves, "the last round, by the guest's clock",
                "Memory the host gives to the guest (MiB)",
                {case: curves[case] for case in cases}))
    return bench_qemu.results(NAME, rounds, GOALS, {
        "project": PROJECT, "turns": TURNS, "jobs": JOBS, "idle_s": IDLE_S,
        "icount_shift": ICOUNT_SHIFT})
