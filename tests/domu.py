# SPDX-License-Identifier: GPL-2.0
"""What several tests do with a domain of Xen."""

import contextlib
import re

import guest
from lab import hypervisors, xentrace
from lab.domain import STAYS, XL_POLL
from lab.xen import Xen

BALLOON = "/sys/devices/system/xen_memory/xen_memory0"

# One size of machine for all tests, MiB: the first of a version boots, and the
# others start from its state.
MACHINE_MIB = 2048
DOM0_MIB = 768

# Another, whose domain 0 has memory to spare.
HOST_MIB = 3072
HOST_DOM0_MIB = 1536

# A domain's, where nothing else matters.
MEM_MIB = 448

# Xen counts pages, `xl list` and `xl info` whole MiB.
ROUNDING_MIB = 2

# Seconds for a surplus to leave, or to come back, on a busy host.
LONG = 600

# How close figures of two runs are, MiB.
CLOSE_MIB = 8

# Seconds in which a domain that may give memory has begun to.
BEGINS = 5

# Part of a guest's memory that is surplus once it has booted.
SURPLUS_SHARE = 0.5


def machine(version, name, **more):
    """Return a Xen of the size that tests have."""
    return Xen(version, f"{name}-{version}", mem_mib=MACHINE_MIB,
               dom0_mib=DOM0_MIB, **more)


def host(version, name):
    """Return a Xen whose domain 0 has something to give, or keeps a saved domain."""
    return Xen(version, f"{name}-{version}", mem_mib=HOST_MIB, dom0_mib=HOST_DOM0_MIB)


@contextlib.contextmanager
def booted(version, name):
    """A machine with a PVH domain that has booted; yields (xen, domain).

    Both start from a saved state. The domain stays when its kernel makes way for
    another.
    """
    series = hypervisors.versions()[version]
    with machine(version, name, guests=[{
            "kernel": series, "kind": "pvh", "mem_mib": MEM_MIB,
            "config": STAYS}]) as xen:
        yield xen, xen.domains[0]


def nodes_mib(xen, domain):
    """Return how much the domain has of each of the machine's nodes, in MiB.

    Xen says so on its console when it is told to.
    """
    said = re.compile(
        rf"\(XEN\) (?:Domain |d){domain.id} \(total: (\d+)\):\n"
        r"((?:\(XEN\) +Node \d+: \d+\n)+)")

    def ask():
        begin = len(xen.console())
        xen.xl("debug-keys u")
        found = said.search(xen.console(), begin)
        counts = re.findall(r"Node \d+: (\d+)", found[2]) if found else []
        pages = [int(count) for count in counts]
        # A line of domain 0's may have come in between.
        return pages if found and sum(pages) == int(found[1]) else None

    pages = xen.wait_until(ask, f"Xen to say on which nodes domain {domain.id} is",
                           guest.SOON, poll=XL_POLL)
    return [count / 256 for count in pages]


def load(domain, **parameters):
    """Load the core and the backend; the backend has to run."""
    words = " ".join(f"{name}={value}" for name, value in parameters.items())
    domain.run(f"modprobe aeration {words} && modprobe aeration_xen")
    assert guest.value(domain, "state") == "running", \
        guest.value(domain, "why/xen")
    assert guest.value(domain, "backend") == "xen"


def held_mib(domain):
    """Return what the guest says it has given to Xen, in MiB."""
    return int(guest.value(domain, "hold/held_bytes")) / guest.MIB


def states(domain):
    """Return the guest's counts of blocks; fail if they do not add up."""
    taken, *count = map(int, guest.value(domain, "hold/states").split())
    assert taken == sum(count), f"{taken} blocks taken, in states {count}"
    return dict(zip(("free", "isolated", "in_flight", "held", "restoring",
                     "quarantined"), count, strict=True))


def available_mib(domain):
    """Return what programs can still have, as the guest sees it."""
    return int(domain.run("awk '/^MemAvailable/ { print $2 }' "
                          "/proc/meminfo").out) / 1024


def settled(domain, at_least):
    """Wait until `at_least` MiB are held and no more move; return how many."""
    seen = []

    def still():
        seen.append(guest.value(domain, "hold/states"))
        return held_mib(domain) >= at_least and seen[-8:] == seen[-1:] * 8

    domain.wait_until(still, f"{at_least:.0f} MiB to be held and to rest", LONG,
                      poll=0.25)
    states(domain)
    return held_mib(domain)


def expect_mib(domain, mib):
    """Xen agrees that the domain has so much memory."""
    domain.wait_until(lambda: abs(domain.mib() - mib) <= ROUNDING_MIB,
                      f"Xen to count {mib:.0f} MiB for the domain", guest.SOON,
                      poll=XL_POLL)


def forfeited_mib(domain):
    """Return what of that Xen does not give back, in MiB."""
    return int(guest.value(domain, "hold/forfeited_bytes")) / guest.MIB


def expect_own_and_held(domain, mib):
    """What the domain has, and what it can have back, are so much together."""
    domain.wait_until(
        lambda: abs(domain.mib() + held_mib(domain) - forfeited_mib(domain) -
                    mib) <= 8,
        f"the domain to have {mib:.0f} MiB less what is held", LONG,
        poll=XL_POLL)


def oom_kills(domain):
    """Return how many processes died for want of memory."""
    return int(domain.run("awk '$1 == \"oom_kill\" { print $2 }' "
                          "/proc/vmstat").out)


def burst(domain, mib, seconds=0.05):
    """Have a program use so much memory, as fast as it can, and free it."""
    domain.run(f"/opt/aeration/memwork churn {mib} {seconds}", timeout=LONG)


def comes_in_superpages(xen, domain, mib):
    """What a program gets back is mapped by Xen with entries of 2 MiB.

    Xen's own trace of the domain's physical map says so.
    """
    before = states(domain)["held"]
    with xentrace.Trace(xen) as trace:
        job = guest.hold(domain, mib)
        back = before - states(domain)["held"]
    orders = [one.order for one in trace.entries(domain) if one.backed]
    assert back > mib / 4
    # More than that if some went again meanwhile.
    assert len(orders) >= back
    assert set(orders) == {xentrace.SUPERPAGE_ORDER}
    guest.free_held(domain, job)
    guest.end_held(domain, job)


def balloon(machine):
    """Return what the stock balloon has and aims at, in MiB."""
    return [int(word) / 1024 for word in machine.run(
        f"cat {BALLOON}/info/current_kb {BALLOON}/target_kb").out.split()]


def balloon_rests(machine):
    """Wait until the balloon has what it aims at; return that, in MiB."""
    seen = []

    def still():
        seen.append({round(mib) for mib in balloon(machine)})
        return len(seen[-1]) == 1 and seen[-4:] == seen[-1:] * 4

    machine.wait_until(still, "the balloon to be where it aims at", LONG,
                       poll=0.25)
    return balloon(machine)[0]


def calls(domain, which):
    """Return how many hypercalls of a kind there were."""
    return int(domain.run("cat /sys/module/aeration_xen/parameters/"
                          f"{which}_calls").out)


def mem_total_mib(machine):
    """Return the memory that the guest believes to have, in MiB."""
    return int(machine.run("awk '/^MemTotal/ { print $2 }' "
                           "/proc/meminfo").out) / 1024


def memory_is(domain, mib):
    """Wait until the guest believes to have so much, in MiB."""
    domain.wait_until(lambda: abs(mib - mem_total_mib(domain)) <= CLOSE_MIB,
                      f"MemTotal to be {mib:.0f} MiB", guest.SOON)


def node(xen, domain, name):
    """Return a node of a domain's folder in xenstore, "" if there is none."""
    return xen.run(f"xenstore-read /local/domain/{domain.id}/{name} "
                   "2>/dev/null", check=False).out.strip()


def write(xen, domain, name, value):
    """Write to a node of a domain's folder in xenstore."""
    xen.run(f"xenstore-write /local/domain/{domain.id}/{name} '{value}'")


def waits(domain, text):
    """Nothing goes, and why/xen says that it is for this."""
    domain.wait_until(lambda: text in guest.value(domain, "why/xen"),
                      f"why/xen to say {text!r}", guest.SOON)
    assert guest.value(domain, "state") == "running"
    assert held_mib(domain) == 0


def stays_at_nothing(domain):
    """Nothing goes, for longer than it would take to begin."""
    domain.run(f"sleep {BEGINS}")
    assert held_mib(domain) == 0
