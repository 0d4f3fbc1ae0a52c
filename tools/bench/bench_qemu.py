# SPDX-License-Identifier: GPL-2.0
"""What the parts of the benchmark on QEMU have in common.

They put their figures into one file, build/results/bench.json, with where they
come from: the kernel, the QEMU, its accelerator, and a digest of the sources. A
part that runs by itself replaces its own figures there; those of other parts
stay if they come from the same, and are dropped otherwise.

The drivers take turns in the same guest: one is unloaded and the next is loaded.
Memory that one has reported, and that nobody has used since, the kernel does
not offer to the next one: both report what the load frees, and nothing else.

Some parts compare four cases: ours, the stock driver with the mm's own pause of
2000 ms between two passes, the same with 250 ms where the kernel lets it be set
(7.3), and no driver. There each begins with all that is free with the host.

How much is reported is read from QEMU's trace of what it lets go of, which is
the same for each driver.
"""

import contextlib
import functools
import mmap
import os
import pathlib
import re
import subprocess
import time

import demo_qemu
from figures import figures
from toolkit import MIB, SYSFS, ToolError

import debian_disk
from lab import build, kernels, roots
from lab.discards import Discards, discarded	# noqa: F401
from lab.qemu import ICOUNT_SHIFT, QUICK_LINE, Vm, accelerator

FILE = "bench"

OURS = "aeration_virtio"
STOCK = "virtio_balloon"
DRIVERS = {"ours": OURS, "stock": STOCK}

# Names of all four cases, in the order of the plots' colours.
CASES = {**DRIVERS, "stock_250": STOCK, "none": None}

# A parameter of the mm: its pause between two passes, ms; what it is by itself, and
# in a case. 7.3 has it.
PAUSE = "page_reporting_delay_ms"
PAUSE_FILE = f"/sys/module/page_reporting/parameters/{PAUSE}"
PAUSE_MS = 2000
PAUSES_MS = {"stock_250": 250}

GIB = 1 << 30
GUEST_MIB = 2048

# Whichever driver is loaded.
UNLOAD = (f"for one in {OURS} aeration {STOCK}; do "
          "test ! -e /sys/module/$one || rmmod $one || exit; done")

# In a guest of the Debian disk, when it has booted: nothing begins there by itself,
# and what is loaded is what was asked for. (Our package has modprobe load ours before
# the stock driver.)
REST = """
systemctl is-system-running --wait >/dev/null
systemctl stop '*.timer' && : >/etc/modprobe.d/aeration-dkms.conf
"""

QEMU_TIMEOUT = 30	# seconds for it to say its version
FLUSH_TIMEOUT = 60	# seconds

# Sources that decide what is measured, beside those in the guest.
MEASURING = ("tools", "host")

# The kernel's clock for the CPU time of a process, see CPUCLOCK_SCHED: its
# process id is in the upper bits.
CPU_CLOCK = 2
CPU_CLOCK_BITS = 3


def ask_qemu(series, *arguments):
    """Return what the QEMU of a kernel's suite prints with arguments."""
    command = roots.command(roots.root_for(series),
                            "usr/bin/qemu-system-x86_64", *arguments)
    return subprocess.run(command, stdout=subprocess.PIPE, text=True,
                          check=True, timeout=QEMU_TIMEOUT).stdout


def place(options):
    """Return where figures come from, by key of the result file."""
    said = ask_qemu(options.kernel, "--version")
    sources = build.source_files(build.MODULE_SOURCES +
                                 build.PROGRAM_SOURCES + MEASURING)
    return {"kernel": kernels.kernel(options.kernel).version,
            "qemu": re.search(r"version (\S+)", said)[1],
            "accelerator": accelerator(),
            "sources": build.digest(sources)[:16]}


def results(name, rounds, goals, more=()):
    """Return what goes into the file from one part.

    `rounds` is a list of (told, samples): what a round tells by key of the
    results, and what was measured in it.
    """
    found = figures([told for told, _ in rounds])
    return {**found,
            "parts": {name: {"rounds": len(rounds), "keys": list(found),
                             "goals": goals, **dict(more),
                             "samples": [samples for _, samples in rounds]}}}


def merge(old, new):
    """Return a file's results with those of one part put in.

    `old` may be anything that was in the file. What it has from elsewhere, or
    from the same parts, is dropped.
    """
    named = set(new["parts"])
    parts = old.get("parts")
    where = ("kernel", "qemu", "accelerator", "sources")
    if not isinstance(parts, dict) or \
            any(old.get(key) != new[key] for key in where):
        return new
    kept = {name: part for name, part in parts.items() if name not in named}
    figured = {key: old[key] for part in kept.values()
               for key in part["keys"] if key in old}
    return {**{key: new[key] for key in where}, **figured,
            **{key: value for key, value in new.items()
               if key not in (*where, "parts")},
            "parts": {**kept, **new["parts"]}}


def in_turn(names, number):
    """Return the names in the order of a round: who is first alternates."""
    return list(names) if number % 2 else list(names)[::-1]


@functools.cache
def cases(kernel):
    """Return the names of CASES that there are with a kernel series."""
    image = pathlib.Path(kernels.kernel(kernel).vmlinux).read_bytes()
    return [name for name in CASES
            if name not in PAUSES_MS or PAUSE.encode() in image]


@contextlib.contextmanager
def guests(options, name, count=1, **more):
    """Boot guests; yield a list of them."""
    more.setdefault("mem_mib", GUEST_MIB)
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(
            Vm(options.kernel, f"bench-{name}{number}-{options.kernel}",
               **more)) for number in range(1, count + 1)]


@contextlib.contextmanager
def debian_guests(options, name, count=1, packages=(), **more):
    """Boot guests of the Debian disk, one after the other; yield a list of them.

    `packages` are what else is installed. They have no usleep, so no Job runs there.
    """
    if os.geteuid() != 0:
        raise ToolError(f"{name}: a Debian system wants root to be made")
    which = debian_disk.disk(options.kernel, more=packages)
    more.setdefault("mem_mib", GUEST_MIB)
    with contextlib.ExitStack() as stack:
        vms = []
        for number in range(1, count + 1):
            vms.append(stack.enter_context(debian_disk.DebianVm(
                options.kernel, f"bench-{name}{number}-{options.kernel}", which,
                cmdline=QUICK_LINE, **more)))
            vms[-1].run(REST, timeout=debian_disk.BOOT_TIMEOUT)
        yield vms


@contextlib.contextmanager
def counting_guest(options, name):
    """Boot a guest of one processor whose clock counts instructions; yield it.

    Each takes the same time, and time stands still for nothing else: what is
    done in it repeats nearly exactly, on however busy a host.
    """
    with guests(options, name, cpus=1, icount=ICOUNT_SHIFT) as (vm,):
        yield vm


def use(vm, driver):
    """Have a guest's balloon device driven by `driver`, or by none."""
    vm.run(UNLOAD)
    if driver:
        demo_qemu.bind(vm, driver)


def use_case(vm, case):
    """Have a guest's balloon device driven as one of CASES says."""
    pause = PAUSES_MS.get(case, PAUSE_MS)
    vm.run(f"test ! -e {PAUSE_FILE} || echo {pause} > {PAUSE_FILE}")
    use(vm, CASES[case])


def all_away(vm):
    """Let the host have all that is free in a guest, whoever left it there."""
    use(vm, OURS)
    vm.run(f"echo 1 > {SYSFS}/flush", timeout=FLUSH_TIMEOUT)


def window_ms(vm, driver):
    """Return the window that ours has now; 0 of another driver, or of none."""
    if driver != OURS:
        return 0
    return int(vm.run(f"cat {SYSFS}/window_now_ms").out)


def settle(*vms):
    """Wait until no guest's memory moves any more."""
    for vm in vms:
        vm.sample()
    for vm in vms:
        demo_qemu.keep_still(vm)


def cpu_seconds(pid, thread=False):
    """Return the CPU time of a process, or of its first thread only.

    There is no clock for a thread of another process.
    """
    if not thread:
        return time.clock_gettime(~pid << CPU_CLOCK_BITS | CPU_CLOCK)
    with open(f"/proc/{pid}/task/{pid}/schedstat", encoding="ascii") as stat:
        return int(stat.read().split()[0]) / 1e9


def minor_faults(pid):
    """Return the page faults of a process that needed no disk."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        # Field 10; the name, field 2, is in brackets and may have spaces.
        return int(stat.read().rpartition(")")[2].split()[7])


def value(text, name):
    """Return the numbers that a program of the guest printed after `name`."""
    return [float(number) for number in
            re.findall(rf"^{name} ([0-9.]+)$", text, re.M)]


def summed(curves, begin, end, step):
    """Return the sum of curves, [(time, value)], at each step of time.

    Each curve is taken to keep its value until its next sample.
    """
    total = []
    at = begin
    places = [0] * len(curves)
    while at <= end:
        for number, curve in enumerate(curves):
            while places[number] + 1 < len(curve) and \
                    curve[places[number] + 1][0] <= at:
                places[number] += 1
        total.append((at, sum(curve[place][1] for curve, place
                              in zip(curves, places, strict=True))))
        at += step
    return total


def plainly_released(lengths, shared):
    """Release blocks as a program does that is no QEMU; return CPU seconds.

    They are touched before, page by page, in memory that may be huge pages, as
    QEMU's is. `shared` memory is a file without a name, of which the blocks
    are cut; other memory is the program's own.
    """
    kind = mmap.MAP_SHARED if shared else mmap.MAP_PRIVATE
    with mmap.mmap(-1, sum(lengths), kind | mmap.MAP_ANONYMOUS) as memory:
        with contextlib.suppress(OSError):
            memory.madvise(mmap.MADV_HUGEPAGE)
        for page in range(0, len(memory), mmap.PAGESIZE):
            memory[page] = 1
        advice = mmap.MADV_REMOVE if shared else mmap.MADV_DONTNEED
        start = time.thread_time()
        offset = 0
        for length in lengths:
            memory.madvise(advice, offset, length)
            offset += length
        return time.thread_time() - start
