# SPDX-License-Identifier: GPL-2.0
"""Memory of a domain that is not like the rest: movable, or added while it runs."""

import domu
import guest

MOVABLE_MIB = 192
ADDED_MIB = 256		# what the kernel adds it in is 128 MiB


def out_of_reach_mib(domain):
    """Return what cannot be held, in MiB."""
    return int(guest.value(domain, "hold/out_of_reach_bytes")) / guest.MIB


def test_movable_memory(image, xen_version):
    """What has to stay movable is not given, and that is said."""
    with domu.machine(xen_version, "movable") as xen:
        domain = xen.domain(xen.kernel, "pvh", mem_mib=domu.MEM_MIB,
                            cmdline=f"movablecore={MOVABLE_MIB}M")
        before = domain.mib()
        domu.load(domain, window_ms=100)
        held, beyond = domu.settled(domain, 64), out_of_reach_mib(domain)
        print(f"{held:.0f} MiB held, {beyond:.0f} MiB out of reach")
        assert beyond > MOVABLE_MIB / 2
        assert held <= before - beyond
        domu.expect_mib(domain, before - held)
        domain.run("/opt/aeration/memwork verify "
                   f"{int(domu.available_mib(domain)) - 48}", timeout=domu.LONG)
        assert domu.oom_kills(domain) == 0
        domain.run("rmmod aeration_xen", timeout=domu.LONG)
        domu.expect_mib(domain, before)


def resize(domain, mib, total):
    """Have a domain get another size, which its kernel sees as `total`, in MiB."""
    domain.mem_set(mib)
    domu.memory_is(domain, total)
    domu.balloon_rests(domain)


def test_hot_added_memory(image, xen_version):
    """More than a domain had at boot is added; it goes, too, and comes back.

    Without us first: then it is known what there is to see.
    """
    with domu.machine(xen_version, "hot-added") as xen:
        domain = xen.domain(xen.kernel, "pvh", mem_mib=domu.MEM_MIB,
                            cmdline="memhp_default_state=online")
        before, total = domain.mib(), domu.mem_total_mib(domain)
        most = before + ADDED_MIB
        xen.xl(f"mem-max {domain.id} {most + 16}")
        domu.write(xen, domain, "memory/static-max", (most + 16) << 10)
        resize(domain, most, total + ADDED_MIB)
        larger = domu.mem_total_mib(domain)
        resize(domain, before, larger - ADDED_MIB)

        domu.load(domain, window_ms=100)
        held = domu.settled(domain, before * domu.SURPLUS_SHARE)
        resize(domain, most, larger)
        domu.settled(domain, held + ADDED_MIB / 2)
        domu.expect_own_and_held(domain, most)
        domain.run("/opt/aeration/memwork verify "
                   f"{int(domu.available_mib(domain)) - 48}", timeout=domu.LONG)
        resize(domain, before, larger - ADDED_MIB)
        domu.expect_own_and_held(domain, before)
        assert domu.oom_kills(domain) == 0
        domain.run("rmmod aeration_xen", timeout=domu.LONG)
        domu.expect_mib(domain, before)
        assert domu.states(domain)["quarantined"] == 0
