# SPDX-License-Identifier: GPL-2.0
"""The Xen backend on real Xen: what goes, what comes back, and what does not.

Xen and domain 0 are the judges: `xl list`, `xl info`, and a trace of Xen's own.
"""

import pytest

import domu
import guest
import ktap
from lab.xen import Xen

MEM_MIB = 768

# The Xen of a suite with the kernel of the same: for what need not be seen on
# every pair.
PAIRS = [("4.17", "6.1"), ("4.20", "6.12")]


def test_hvm(image):
    """Goes and comes in a domain whose memory a device model maps, too.

    In PVH and PV domains the matrix sees that.
    """
    with Xen("4.20", "hvm", kernels=["6.12"], hvm=True) as xen:
        domain = xen.domain("6.12", "hvm", mem_mib=512)
        assert domain.run("cat /sys/hypervisor/guest_type").out == "HVM\n"
        before, xen_before = domain.mib(), xen.free_mib()
        available = domu.available_mib(domain)
        domu.load(domain)
        assert domain.run("cat /sys/module/aeration_xen/parameters/"
                          "extent_order").out == "9\n"
        held = domu.settled(domain, before * domu.SURPLUS_SHARE)
        domu.expect_mib(domain, before - held)
        assert abs(xen.free_mib() - xen_before - held) <= \
            2 * domu.ROUNDING_MIB
        domu.comes_in_superpages(xen, domain, int(available * 0.9))
        domain.run(f"/opt/aeration/memwork verify {int(available * 0.9)}",
                   timeout=domu.LONG)
        assert domu.oom_kills(domain) == 0
        domu.settled(domain, before * domu.SURPLUS_SHARE)
        domain.run("rmmod aeration_xen", timeout=domu.LONG)
        assert domu.held_mib(domain) == 0
        assert domu.states(domain)["quarantined"] == 0
        domu.expect_mib(domain, before)
        assert abs(xen.free_mib() - xen_before) <= 2 * domu.ROUNDING_MIB


@pytest.mark.parametrize("version, series", PAIRS)
@pytest.mark.parametrize("kind", ["pvh", "pv"])
def test_stops_anywhere(image, version, series, kind):
    """Calls that stop at every index, half done or unanswered: nothing lost."""
    with Xen(version, f"faults-{version}-{series}-{kind}",
             kernels=[series]) as xen:
        domain = xen.domain(series, kind, mem_mib=MEM_MIB)
        done = domain.run(f"/opt/aeration/xen.sh {kind}", timeout=600,
                          check=False)
        ktap.check(done.out)
        assert not done.rc
        domu.expect_mib(domain, MEM_MIB)


@pytest.mark.parametrize("scrub", ["Y", "N"])
@pytest.mark.parametrize("version, series", PAIRS)
def test_contents(image, version, series, scrub):
    """What a guest leaves in memory that it gives away is zero, with scrub on.

    Another domain gets that memory and looks through all of its own. Without
    scrub it finds what the first one left: so it would see it.
    """
    word = 0x5ec2e7a11ed0b57
    with Xen(version, f"contents-{version}-{series}", kernels=[series],
             dom0_mib=768) as xen:
        # Once the backend is loaded, much may be away before it can be told.
        victim = xen.domain(series, "pvh", mem_mib=1280,
                            cmdline="init_on_alloc=0 init_on_free=0 "
                            f"aeration_xen.scrub={scrub}")
        victim.run(f"/opt/aeration/memwork mark 900 {word}",
                   timeout=domu.LONG)
        domu.load(victim)
        assert victim.run("cat /sys/module/aeration_xen/parameters/"
                          "scrub").out.strip() == scrub
        held = domu.settled(victim, 800)
        # So large that most of it has to be memory of the other.
        left = xen.free_mib()
        thief = xen.domain(series, "pvh", mem_mib=left - 64,
                           cmdline="init_on_alloc=0 init_on_free=0")
        said = thief.run(f"/opt/aeration/memseek {word}",
                         timeout=domu.LONG).out.split()
        pages, found = int(said[1]), int(said[3])
        print(f"{held:.0f} MiB held, {left} MiB free then, {pages} pages "
              f"looked at, {found} found")
        assert pages >= (left - 128) * 256
        assert found == 0 if scrub == "Y" else found > 100


@pytest.mark.parametrize("version, series", PAIRS)
def test_host_without_memory(image, version, series):
    """Another domain has the memory: the guest does without, and recovers."""
    with Xen(version, f"starved-{version}", kernels=[series]) as xen:
        domain = xen.domain(series, "pvh", mem_mib=MEM_MIB,
                            allow=[r"page allocation failure"])
        before = domain.mib()
        domu.load(domain)
        held = domu.settled(domain, MEM_MIB * domu.SURPLUS_SHARE)

        other = xen.domain(series, "pvh", mem_mib=xen.free_mib() - 40)
        left = xen.free_mib()
        domain.run(f"echo 100000 > {guest.SYSFS}/reserve_mb")
        guest.wait_value(domain, "hold/starved", "1", domu.LONG)
        guest.said(domain, "has no memory to give back")
        domu.settled(domain, held - left - domu.ROUNDING_MIB)
        domu.burst(domain, 16)
        assert domain.run(f"echo 1 > {guest.SYSFS}/restore", check=False,
                          timeout=domu.LONG).rc
        other.shutdown()
        domain.wait_until(lambda: domu.held_mib(domain) == 0,
                          "all memory to come back", domu.LONG)
        guest.wait_value(domain, "hold/starved", "0")
        guest.said(domain, "gives memory back again")
        domu.expect_mib(domain, before)
        domu.states(domain)
        domain.run("rmmod aeration_xen")
        assert domu.states(domain)["quarantined"] == 0


@pytest.mark.parametrize("version, series", PAIRS)
def test_pressure(image, version, series):
    """With all surplus away, a load takes all it can get, 20 times."""
    with Xen(version, f"pressure-{version}", kernels=[series]) as xen:
        domain = xen.domain(series, "pvh", mem_mib=MEM_MIB)
        domu.load(domain, window_ms=100, backoff_ms=0)
        for _ in range(20):
            domain.wait_until(
                lambda: domu.held_mib(domain) > MEM_MIB * domu.SURPLUS_SHARE,
                "the surplus to be away", domu.LONG)
            # Its page tables need a little too.
            mib = int(domu.available_mib(domain)) - 24
            domain.run(f"/opt/aeration/memwork verify {mib}",
                       timeout=domu.LONG)
            assert domu.oom_kills(domain) == 0
            domu.states(domain)
        domain.run("rmmod aeration_xen", timeout=domu.LONG)
        domu.expect_mib(domain, MEM_MIB)
        assert domu.states(domain)["quarantined"] == 0


@pytest.mark.parametrize("version, series", PAIRS)
def test_toolstack(image, version, series):
    """Save, restore, migrate, mem-set, memory held; populate on demand."""
    with Xen(version, f"toolstack-{version}", kernels=[series]) as xen:
        domain = xen.domain(series, "pvh", mem_mib=640)
        before = domain.mib()
        domu.load(domain)
        domu.settled(domain, 640 * domu.SURPLUS_SHARE)
        job = guest.hold(domain, 64)
        held = domu.held_mib(domain)
        assert held > 200

        domain.save("/run/saved")
        domain.restore("/run/saved")
        xen.run("rm /run/saved")
        assert guest.value(domain, "state") == "running"
        assert domu.held_mib(domain) > held - 64
        domu.states(domain)
        domain.wait_until(
            lambda: xen.run(f"xenstore-read /local/domain/{domain.id}"
                            "/data/aeration/held", check=False).out.strip() ==
            str(int(domu.held_mib(domain) * 1024)),
            "xenstore to say how much is held", guest.SOON)
        guest.free_held(domain, job)
        guest.end_held(domain, job)
        domu.burst(domain, 400)
        assert domu.oom_kills(domain) == 0

        # Smaller, by the stock balloon, and larger again.
        domu.settled(domain, 200)
        domain.mem_set(440)
        domain.wait_until(
            lambda: abs(domain.mib() + domu.held_mib(domain) - 440) <= 8,
            "the domain to have 440 MiB less what is held", domu.LONG)
        domu.settled(domain, 40)
        domu.burst(domain, 200)
        assert domu.oom_kills(domain) == 0
        domain.mem_set(before)
        domain.wait_until(
            lambda: abs(domain.mib() + domu.held_mib(domain) - before) <= 8,
            "the domain to have its size less what is held", domu.LONG)
        domu.burst(domain, 400)

        # On to a host that does not say what is behind a page.
        held = domu.settled(domain, 200)
        domain.run("modprobe aeration_xen_faults blind=1000")
        domain.migrate()
        assert domu.held_mib(domain) > held - 64
        domain.run("rmmod aeration_xen_faults")
        assert domain.run("cat /sys/module/aeration_xen/parameters/"
                          "extent_order").out.strip() == "0"
        guest.said(domain, "does not say what is behind a page")
        domain.run("rmmod aeration_xen", timeout=domu.LONG)
        assert domu.held_mib(domain) == 0
        assert domu.states(domain)["quarantined"] == 0
        domu.expect_mib(domain, before)
        domain.shutdown()

        # Less memory than the guest believes it has.
        domain = xen.domain(series, "pvh", mem_mib=512, maxmem_mib=768)
        domu.load(domain)
        domu.settled(domain, 200)
        domain.wait_until(lambda: abs(domain.mib() + domu.held_mib(domain) -
                                      512) <= 8,
                          "the domain to have 512 MiB less what is held",
                          domu.LONG)
        # It has some 435 MiB. Its watermarks are those of 768, and a CPU may keep
        # as much as one of them on its lists, where not everybody finds it.
        domu.burst(domain, 300)
        assert domu.oom_kills(domain) == 0
        domu.settled(domain, 200)
        domain.run("rmmod aeration_xen", timeout=domu.LONG)
        domain.wait_until(lambda: abs(domain.mib() - 512) <= 8,
                          "the domain to have 512 MiB", domu.LONG)
        assert domu.states(domain)["quarantined"] == 0


@pytest.mark.parametrize("version, series", PAIRS)
def test_small_extents(image, version, series):
    """A domU that may ask for little at a time, or has nothing large to give."""
    with Xen(version, f"small-{version}", kernels=[series],
             cmdline_xen="memop-max-order=4") as xen:
        domain = xen.domain(series, "pvh", mem_mib=512)
        before = domain.mib()
        # Free memory in single pages only, and nobody who puts it together.
        domain.run("echo 0 > /proc/sys/vm/compaction_proactiveness")
        job = domain.start("exec /opt/aeration/memwork fragment 340")
        domain.wait_until(lambda: "touched" in job.output(),
                          "memory to be in pieces", domu.LONG)
        domu.load(domain, window_ms=100)
        assert domain.run("cat /sys/module/aeration_xen/parameters/"
                          "extent_order").out.strip() == "4"
        domain.run("sleep 3")
        assert domu.held_mib(domain) < 120
        assert domain.mib() >= before - 120
        assert guest.stat(domain, "errors") == 0
        guest.free_held(domain, job)
        guest.end_held(domain, job)
        held = domu.settled(domain, 250)
        domu.expect_mib(domain, before - held)
        domu.burst(domain, 300)
        assert domu.oom_kills(domain) == 0
        domain.run("rmmod aeration_xen", timeout=domu.LONG)
        domu.expect_mib(domain, before)
        # The administrator may want them smaller still.
        domain.run("modprobe aeration_xen order=0")
        assert domain.run("cat /sys/module/aeration_xen/parameters/"
                          "extent_order").out.strip() == "0"
        domu.settled(domain, 250)
        domain.run("rmmod aeration_xen", timeout=domu.LONG)
        domu.expect_mib(domain, before)
        assert domu.states(domain)["quarantined"] == 0


@pytest.mark.parametrize("version, series", PAIRS)
def test_restart(image, version, series):
    """Everything is back before the kernel makes way for another (kexec)."""
    with Xen(version, f"restart-{version}", kernels=[series]) as xen:
        domain = xen.domain(series, "pvh", mem_mib=512,
                            config={"on_reboot": "preserve"})
        before = domain.mib()
        domu.load(domain)
        domu.settled(domain, 250)
        domain.restart()
        assert abs(domain.mib() - before) <= domu.ROUNDING_MIB
        domain.destroy(check=False)
