# SPDX-License-Identifier: GPL-2.0
"""Looks for evidence of trouble in the text of a kernel console."""

import re

# Bits of /proc/sys/kernel/tainted that our modules set by being what they
# are: out of tree (O) and unsigned (E).
TAINT_ALLOWED = 1 << 12 | 1 << 13

_EVIDENCE = re.compile("|".join((
    r"\bWARNING:", r"\bBUG:", r"\bBUG \S+ \(", r"\bOops\b", r"Call Trace:",
    r"Kernel panic", r"kernel BUG at", r"general protection fault",
    r"unable to handle", r"invalid opcode:", r"double fault",
    r"blocked for more than \d+ seconds", r"hung_task:",
    r"soft lockup", r"[Hh]ard LOCKUP",
    r"\brcu\b.*\bstall", r"rcu_\w+.*(detected|self-detected).*stall",
    r"kthread (starved|timer wakeup didn't happen)",
    r"sleeping function called", r"scheduling while atomic",
    r"\b(KASAN|KFENCE|KCSAN|KMSAN|UBSAN)\b: ",
    r"possible (circular|recursive) locking", r"possible irq lock inversion",
    r"inconsistent lock state", r"suspicious RCU usage",
    r"bad unlock balance", r"held lock freed", r"Invalid wait context",
    r"Out of memory: Killed", r"invoked oom-killer",
    r"[Oo]ut of memory and no killable",
    r"page allocation failure", r"Bad page (state|map)", r"Bad rss-counter",
    r"refcount_t: ", r"list_(add|del) corruption", r"[Ss]lab corruption",
    r"stack-protector:", r"kernel stack overflow", r"segfault at ",
    r"Unknown symbol", r"disagrees about version of symbol",
    r"irq \d+: nobody cared", r"DMA-API: ", r"ODEBUG: ",
    r"sysfs: cannot create duplicate", r"memory leak",
    # What only kernels that are built to look say.
    r"trying to register non-static key",
    r"turning off the locking correctness validator", r"lockdep is turned off",
    r"pagealloc: (memory corruption|single bit error)",
    r"Padding overwritten", r"Redzone overwritten", r"Poison overwritten",
    # Xen's own console, and what the lab's domain 0 says about domains.
    r"\(XEN\) .*(Panic on CPU|Xen BUG|Xen WARN|Assertion '.*' failed|FATAL"
    r"|domain_crash|[Dd]om(ain )?\d+ (\(vcpu#\d+\) )?crashed|[Uu]nhandled"
    r"|NMI watchdog|Watchdog timer|DOUBLE FAULT|p2m_pod_demand_populate: "
    r"|reference count overflow|Xen call trace)",
    r"lab: domain \d+ crashed",
)))

# What QEMU itself writes and is no complaint: traces that benchmarks ask for.
QEMU_BENIGN = re.compile(r"^ram_block_discard_(shared_)?range |^\s*$")

# Told at boot about the machine, not about us.  The oops-like ones among the
# mitigation notices all have the mitigation's name in front.
_BENIGN = re.compile(
    r"(Spectre V\d|RETBleed|MDS|TAA|MMIO Stale Data|SRSO|ITS|L1TF) ?: +WARNING"
    r"|kmemleak: Kernel memory leak detector (initialized|disabled)"
    r"|hung_task: detect")

# "Tainted: G           OE" and, since 6.11, "Tainted: [O]=OOT_MODULE, ...".
_TAINTED = re.compile(r"Tainted: (.*)")
_TAINT_FLAGS_ALLOWED = set("GOE")


def _bad_taint(line):
    found = _TAINTED.search(line)
    if not found:
        return False
    flags = re.findall(r"\[(\w)\]=", found[1])
    if not flags:
        # Letters in columns, up to the kernel version.
        flags = re.match(r"[A-Z ]*(?= |$)", found[1])[0].replace(" ", "")
    return bool(set(flags) - _TAINT_FLAGS_ALLOWED)


def scan(text, allow=()):
    """Return [(line number from 1, line)] of the lines that are evidence.

    A line that one of the regular expressions `allow` finds a match in is
    excused; only that line is.
    """
    excused = [re.compile(pattern) for pattern in allow]
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if _BENIGN.search(line):
            continue
        if not _EVIDENCE.search(line) and not _bad_taint(line):
            continue
        if not any(pattern.search(line) for pattern in excused):
            found.append((number, line))
    return found


def panicked(text):
    """Return whether the kernel, or Xen, said that it gave up."""
    return "Kernel panic - not syncing" in text or "(XEN) Panic on" in text


# QEMU's emulator may, once in hundreds of boots, run the breakpoint with which a
# kernel of two processors patches its own code after that has been removed again.
_PATCHED = re.compile(r"\bOops: (Oops: )?int3\b|\] int3: 0000 \[#1\]")


def emulator_tripped(text):
    """Return whether an emulated kernel died of how QEMU runs patched code.

    Only of a kernel with no module of ours in it: "Modules linked in:" of the
    report has all that are.
    """
    loaded = re.findall(r"Modules linked in:(.*)", text)
    return bool(_PATCHED.search(text) and loaded and
                "aeration" not in " ".join(loaded))


# A kernel counts the processor's ticks while two devices measure time; on a host that
# stalls just then one of them is far off, and the kernel cannot know which. Where there
# is one only, and it is far off, the kernel has no clock, and hangs.
_CLOCK_IN_DOUBT = re.compile(r"tsc: PIT calibration deviates from \w+: \d+ \d+|"
                             r"tsc: No reference \(HPET/PMTIMER\) available")


def doubts_its_clock(text):
    """Return what a kernel says whose two ways to measure its clock disagree, or "".

    Such a clock was seen to run 25 times as fast as the host's: what then takes a
    second is a stall to the kernel.
    """
    found = _CLOCK_IN_DOUBT.search(text)
    return found[0] if found else ""


# What a kernel says of a processor that does not get on, and where it is; what else a
# trace can be of has a line of its own.
_STALLED = re.compile(r"watchdog: BUG: soft lockup|rcu: INFO: \w+ (self-)?detected stall|"
                      r"Comm: \S+ Tainted: G +L  |\] Call Trace:")


def never_began(text):
    """Return whether a kernel hung before it ran anything of the image.

    QEMU's emulator now and then leaves a kernel hanging that has just brought up
    its second processor: silent, or with one that runs patched code on and on.
    """
    return not (re.search(r"Run \S+ as init process", text) or
                any(not _STALLED.search(line) for _, line in scan(text)))
