# SPDX-License-Identifier: GPL-2.0
"""The Xen backend under daemons that share out a host's memory: models of them.

What they count is what they count of the same domain without us.
"""

import contextlib

import pytest

import domu
import guest
from domu import (CLOSE_MIB, balloon_rests, calls, mem_total_mib, memory_is, node,
                  stays_at_nothing, waits, write)
from lab.domain import XL_POLL
from toolstacks import Qmemman, Squeezed

with_a_daemon = pytest.mark.all_only(
    "that nothing goes under such a daemon is in test_daemons_that_share_out_memory; here "
    "it is what each of them makes of a domain")

# A domain that has much to give, and what a program in it keeps.
SIZE_MIB = 800
USED_MIB = 200

# A request that qmemman gives up unless 100 MiB come in each second of three.
REQUEST_MIB = 300

# How much more than without us a domain may seem to need.
MORE = 1.05


@contextlib.contextmanager
def large_domain(version, name):
    """A domain in which a program uses some of its memory; yields (xen, domain)."""
    with domu.machine(version, name) as xen:
        domain = xen.domain(xen.kernel, "pvh", mem_mib=SIZE_MIB)
        domu.burst(domain, SIZE_MIB // 2)
        job = guest.hold(domain, USED_MIB)
        yield xen, domain
        guest.free_held(domain, job)
        guest.end_held(domain, job)


def squeezes(squeezed, mib):
    """Have squeezed measure a domain, make it so large, and have it as it was.

    Return the offset, and whether the domain was stuck: at rest, smaller, as before.
    """
    offset, size = squeezed.measure(), squeezed.domain.mib()
    stuck = [squeezed.is_stuck()]
    for wanted in (mib, size):
        squeezed.ask(wanted)
        stuck.append(squeezed.is_stuck())
    return offset, stuck


@with_a_daemon
def test_squeezed(image, xen_version):
    """It measures what it would without us, and takes no domain for a stuck one.

    By name, what a domain holds is missing to it: that one it does take for stuck.
    """
    less = SIZE_MIB - 200
    with large_domain(xen_version, "squeezed") as (xen, domain):
        squeezed = Squeezed(xen, domain, SIZE_MIB // 2, SIZE_MIB)
        without = squeezes(squeezed, less)
        xen.run(f"xenstore-rm /local/domain/{domain.id}/memory/memory-offset")
        domain.run("modprobe aeration window_ms=100 && modprobe aeration_xen")
        waits(domain, "memory/dynamic-min")
        with_us = squeezes(squeezed, less)
        stays_at_nothing(domain)
        print(f"offset, and stuck at rest, smaller, as before: without us {without}, "
              f"with us {with_us}")
        assert not any(without[1]) and not any(with_us[1])
        assert abs(with_us[0] - without[0]) <= squeezed.CLOSE

        guest.choose(domain, "xen")
        domu.settled(domain, SIZE_MIB // 4)
        assert domain.mib() >= SIZE_MIB // 2
        assert squeezed.is_stuck()
        # What it is asked for, it has given already.
        squeezed.ask(less)
        domain.wait_until(lambda: domu.forfeited_mib(domain) >= 200 - CLOSE_MIB,
                          "what is held to count", domu.LONG)
        assert domain.mib() >= SIZE_MIB // 2
        domain.run("rmmod aeration_xen", timeout=domu.LONG)


def held_in_xenstore(xen, domain):
    """Return what xenstore says a domain holds, MiB, once that is what it does."""
    domain.wait_until(
        lambda: int(node(xen, domain, "data/aeration/held") or "-1") ==
        domu.held_mib(domain) * 1024, "xenstore to say how much is held", guest.SOON,
        poll=XL_POLL)
    return domu.held_mib(domain)


@with_a_daemon
def test_qmemman(image, xen_version):
    """A domain seems to need what it needs without us, and gives when it is asked."""
    with large_domain(xen_version, "qmemman") as (xen, domain):
        qmemman = Qmemman(xen, domain, SIZE_MIB)
        total = mem_total_mib(domain)
        without = qmemman.preferred(qmemman.used())
        assert without > qmemman.LEAST
        write(xen, domain, "memory/meminfo", int(qmemman.used() * 1024))
        domain.run("modprobe aeration window_ms=100 && modprobe aeration_xen")
        waits(domain, "memory/meminfo")
        stays_at_nothing(domain)
        with_us = qmemman.preferred(qmemman.used())

        # By name it goes, and is a number that can be subtracted.
        guest.choose(domain, "xen")
        domu.settled(domain, REQUEST_MIB)
        held = held_in_xenstore(xen, domain)
        used = qmemman.used()
        by_name, less = qmemman.preferred(used), qmemman.preferred(used - held)
        print(f"preferred: without us {without:.0f}, with us {with_us:.0f}; by name, "
              f"with {held:.0f} held, {by_name:.0f}, less those {less:.0f}")
        assert with_us <= without * MORE and less <= without * MORE
        # The model does see the fault.
        assert by_name > without * MORE

        # What it asks for it has, and nothing moves for it.
        free, came, own = qmemman.free(), calls(domain, "populate"), domain.mib()
        qmemman.mem_set(SIZE_MIB - REQUEST_MIB)
        assert qmemman.free() >= free + REQUEST_MIB - CLOSE_MIB
        memory_is(domain, total - REQUEST_MIB - qmemman.SEEN_LESS)
        balloon_rests(domain)
        assert qmemman.free() >= free + REQUEST_MIB - CLOSE_MIB
        assert calls(domain, "populate") == came
        assert domain.mib() <= own + CLOSE_MIB
        assert domu.oom_kills(domain) == 0
        domain.run("rmmod aeration_xen", timeout=domu.LONG)
