# SPDX-License-Identifier: GPL-2.0
"""A domain 0 that writes nonsense, all the time, and takes rights away.

Domain 0 may do with a domain what it likes; what it writes must not make the guest lose
a block, hang, or hold more than it was last told in words that mean something.
"""

import pytest

import domu
import guest
from lab.domain import XL_POLL

HUGE = str(2 ** 64 - 1)

# Words that the kernel reads as next to nothing: a target that the stock balloon obeys.
SMALL = ("0x10", " 7", "7 7", "1e9", "0")
NONSENSE = ("", "-1", "lots", HUGE, "1" * 400, "\\0", *SMALL)

# Nodes of the domain's folder that the backend reads.
READ = ("memory/target", "memory/static-max", "memory/dynamic-min",
        "memory/memory-offset", "memory/meminfo", "control/aeration",
        "control/aeration/max-held")

STORM = 300	# writes of each


def folder(domain):
    """Return the domain's folder in xenstore."""
    return f"/local/domain/{domain.id}"


def is_well(domain, before):
    """Nothing is lost, and memory goes and comes as before."""
    assert domu.states(domain)["quarantined"] == 0
    # With a short window it would go again before anybody looks.
    domain.run(f"echo 60000 > {guest.SYSFS}/window_ms && "
               f"echo 1 > {guest.SYSFS}/restore", timeout=domu.LONG)
    assert domu.held_mib(domain) == 0
    domu.expect_mib(domain, before)


def test_nonsense(image, xen_version):
    """Each node with each value, and all of them gone: then all is as before."""
    with domu.booted(xen_version, "nonsense") as (xen, domain):
        before, target = domain.mib(), domu.node(xen, domain, "memory/target")
        domu.load(domain, window_ms=100)
        domu.settled(domain, before * domu.SURPLUS_SHARE)
        for name in READ:
            for value in NONSENSE:
                if name == "memory/target" and value in SMALL:
                    continue
                xen.run(f"xenstore-write -- {folder(domain)}/{name} '{value}'")
            xen.run(f"xenstore-rm {folder(domain)}/{name}", check=False)
        domu.write(xen, domain, "memory/target", target)
        assert domu.oom_kills(domain) == 0
        guest.choose(domain, "xen")
        domu.settled(domain, 64)
        is_well(domain, before)
        domain.run("rmmod aeration_xen", timeout=domu.LONG)
        assert domu.states(domain)["held"] == 0


@pytest.mark.all_only("what each of its writes does is in other tests, and here it is many")
def test_storm(image, xen_version):
    """Nodes that change all the time: the last value counts, and few writes come of it."""
    with domu.booted(xen_version, "storm") as (xen, domain):
        before = domain.mib()
        domu.load(domain, window_ms=100)
        target = int(domu.node(xen, domain, "memory/target"))
        xen.run(f"for i in $(seq {STORM}); do "
                f"xenstore-write {folder(domain)}/memory/target $(({target} - i % 64)) "
                f"{folder(domain)}/control/aeration/max-held $((i * 1024)) "
                f"{folder(domain)}/control/aeration flush || exit; done; "
                f"xenstore-write {folder(domain)}/memory/target {target} "
                f"{folder(domain)}/control/aeration/max-held {64 << 10}",
                timeout=domu.LONG)
        domain.wait_until(lambda: domu.held_mib(domain) <= 64,
                          "the last limit to hold", domu.LONG)
        assert domu.settled(domain, 32) <= 64
        answers = int((domu.node(xen, domain, "data/aeration/answer") or "0").split()[0])
        assert answers <= STORM
        xen.run(f"xenstore-rm {folder(domain)}/control/aeration/max-held")
        is_well(domain, before)


def test_no_rights(image, xen_version):
    """A folder that it may not write to: said once, and all else works."""
    with domu.booted(xen_version, "no-rights") as (xen, domain):
        before = domain.mib()
        xen.run(f"xenstore-rm {folder(domain)}/data; "
                f"xenstore-write {folder(domain)}/data ''; "
                f"xenstore-chmod {folder(domain)}/data n0 r{domain.id}")
        domu.load(domain, window_ms=100)
        domu.settled(domain, before * domu.SURPLUS_SHARE)
        guest.said(domain, "cannot write data/aeration")
        # Nobody can be answered, and what was asked is done.
        domu.write(xen, domain, "control/aeration", "restore")
        domain.wait_until(lambda: guest.stat(domain, "restores"), "it to be done",
                          domu.LONG, poll=XL_POLL)
        is_well(domain, before)
