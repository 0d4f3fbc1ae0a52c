# SPDX-License-Identifier: GPL-2.0
"""The Xen backend on real Xen: what goes, what comes back, and what does not.

Xen and domain 0 are the judges: `xl list`, `xl info`, and a trace of Xen's own.
"""

import pytest

import domu
import guest
import ktap
from lab.domain import XL_POLL
from lab.xen import Xen

# Rounds of pressure: one that goes wrong takes many.
ROUNDS = {"check": 5}
ROUNDS_OF_ALL = 20

# Of a machine of two nodes, each.
NODE_MIB = 1536

# Each so many rounds what was written is looked at, which takes four times as long
# as to take the memory.
ROUNDS_A_LOOK = 5


@pytest.mark.all_only("a device model in an emulated domain 0 takes minutes, and the "
                      "backend does as in PVH domains, which other tests have")
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
        held = domu.settled(domain, before * domu.SURPLUS_SHARE)
        domain.save("/tmp/saved")
        domain.restore("/tmp/saved")
        assert domu.held_mib(domain) > held - 64
        domain.run("rmmod aeration_xen", timeout=domu.LONG)
        assert domu.held_mib(domain) == 0
        assert domu.states(domain)["quarantined"] == 0
        domu.expect_mib(domain, before)
        assert abs(xen.free_mib() - xen_before) <= 2 * domu.ROUNDING_MIB


def stops_anywhere(domain, kind):
    """Have xen.sh run in a domain."""
    mib = domain.mib()
    done = domain.run(f"/opt/aeration/xen.sh {kind}", timeout=domu.LONG,
                      check=False)
    ktap.check(done.out)
    assert not done.rc
    domu.expect_mib(domain, mib)


def test_stops_anywhere(image, xen_version):
    """Calls that stop at every index, half done or unanswered: nothing lost."""
    with domu.booted(xen_version, "faults-pvh") as (_, domain):
        stops_anywhere(domain, "pvh")


def test_stops_anywhere_pv(image, xen_version):
    """The same, where memory goes in single frames."""
    with domu.machine(xen_version, "faults-pv") as xen:
        stops_anywhere(xen.domain(xen.kernel, "pv", mem_mib=domu.MEM_MIB), "pv")


def test_rounds(image, xen_version):
    """Loaded, used and unloaded over and over: not one block is lost, to either side."""
    with domu.booted(xen_version, "rounds") as (_, domain):
        mib = domain.mib()
        done = domain.run("/opt/aeration/rounds.sh xen", timeout=domu.LONG, check=False)
        ktap.check(done.out)
        assert not done.rc
        domu.expect_mib(domain, mib)


def test_contents(image, xen_version):
    """What a guest leaves in memory that it gives away is zero, with scrub on.

    Another domain gets that memory and looks through all of its own. It does find
    what a guest without scrub has left: so it would see it.
    """
    plain = "init_on_alloc=0 init_on_free=0"
    words = {"Y": 0x5ec2e7a11ed0b57, "N": 0x1eac4b1e0d0b57}
    with domu.machine(xen_version, "contents") as xen:
        for scrub, word in words.items():
            # Once the backend is loaded, much may be away before it can be told.
            victim = xen.domain(xen.kernel, "pvh", mem_mib=384,
                                cmdline=f"{plain} aeration_xen.scrub={scrub}")
            victim.run(f"/opt/aeration/memwork mark 240 {word}",
                       timeout=domu.LONG)
            domu.load(victim)
            assert victim.run("cat /sys/module/aeration_xen/parameters/"
                              "scrub").out.strip() == scrub
            domu.settled(victim, 200)
        # So large that most of it has to be memory of the others.
        left = xen.free_mib()
        thief = xen.domain(xen.kernel, "pvh", mem_mib=left - 64, cmdline=plain)
        said = thief.run("/opt/aeration/memseek "
                         f"{' '.join(map(str, words.values()))}",
                         timeout=domu.LONG).out.split()
        pages, found = int(said[1]), dict(zip(words, map(int, said[3:]),
                                              strict=True))
        print(f"{left} MiB free then, {pages} pages looked at, {found} found")
        assert pages >= (left - 128) * 256
        assert found["Y"] == 0
        assert found["N"] > 100


def test_host_without_memory(image, xen_version):
    """Another domain has the memory: the guest does without, and recovers."""
    with domu.booted(xen_version, "starved") as (xen, domain):
        domain.allow.append(r"page allocation failure")
        before = domain.mib()
        domu.load(domain)
        held = domu.settled(domain, before * domu.SURPLUS_SHARE)

        available = domu.available_mib(domain)
        other = xen.domain(xen.kernel, "pvh", mem_mib=xen.free_mib() - 40)
        left = xen.free_mib()
        domain.run(f"echo 100000 > {guest.SYSFS}/reserve_mb")
        guest.wait_value(domain, "hold/starved", "1", domu.LONG)
        guest.said(domain, "has no memory to give back")
        starved = f"xenstore-read /local/domain/{domain.id}/data/aeration/starved"
        domain.wait_until(lambda: xen.run(starved).out == "1\n",
                          "xenstore to say that it needs memory", guest.SOON,
                          poll=XL_POLL)
        kept = domu.settled(domain, held - left - domu.ROUNDING_MIB)
        # Nobody counts on what cannot be had.
        assert domu.available_mib(domain) < available - kept / 2
        domu.burst(domain, 16)
        guest.refused(domain, f"/opt/aeration/poke {guest.SYSFS}/restore 1",
                      "Resource temporarily unavailable", domu.LONG)
        other.shutdown()
        domain.wait_until(lambda: domu.held_mib(domain) == 0,
                          "all memory to come back", domu.LONG)
        guest.wait_value(domain, "hold/starved", "0")
        guest.said(domain, "gives memory back again")
        domain.wait_until(lambda: xen.run(starved).out == "0\n",
                          "xenstore to say that it has what it needs",
                          guest.SOON, poll=XL_POLL)
        domu.expect_mib(domain, before)
        domu.states(domain)
        domain.run("rmmod aeration_xen")
        assert domu.states(domain)["quarantined"] == 0


def test_pressure(image, xen_version, request):
    """With all surplus away, a load takes all it can get, again and again."""
    rounds = ROUNDS.get(request.config.getoption("--tier", default="check"),
                        ROUNDS_OF_ALL)
    with domu.booted(xen_version, "pressure") as (_, domain):
        before = domain.mib()
        domu.load(domain, window_ms=100, backoff_ms=0)
        for number in range(1, rounds + 1):
            domain.wait_until(
                lambda: domu.held_mib(domain) > before * domu.SURPLUS_SHARE,
                "the surplus to be away", domu.LONG)
            # Its page tables need a little too.
            mib = int(domu.available_mib(domain)) - 24
            look = rounds == ROUNDS_OF_ALL or not number % ROUNDS_A_LOOK
            how = "verify" if look else "burst"
            domain.run(f"/opt/aeration/memwork {how} {mib}", timeout=domu.LONG)
            assert domu.oom_kills(domain) == 0
            domu.states(domain)
        domain.run("rmmod aeration_xen", timeout=domu.LONG)
        domu.expect_mib(domain, before)
        assert domu.states(domain)["quarantined"] == 0


def test_toolstack(image, xen_version):
    """Save, restore, migrate, mem-set, memory held; populate on demand."""
    with domu.booted(xen_version, "toolstack") as (xen, domain):
        before = domain.mib()
        domu.load(domain)
        domu.settled(domain, before * domu.SURPLUS_SHARE)
        job = guest.hold(domain, 64)
        held = domu.held_mib(domain)
        assert held > 150

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
            "xenstore to say how much is held", guest.SOON, poll=XL_POLL)
        guest.free_held(domain, job)
        guest.end_held(domain, job)
        domu.burst(domain, 280)
        assert domu.oom_kills(domain) == 0

        # Smaller and larger again. Since it was restored the stock balloon may hear of
        # a target after the driver, which may have had it aim there already.
        for _ in range(4):
            domu.settled(domain, 200)
            domain.mem_set(320)
            domu.expect_own_and_held(domain, 320)
            assert 0 <= before - 320 - domu.forfeited_mib(domain) <= 8
            domain.mem_set(before)
            domu.expect_own_and_held(domain, before)
            assert domu.forfeited_mib(domain) == 0

        # The same while what it has is used.
        domu.settled(domain, 200)
        domain.mem_set(320)
        domu.expect_own_and_held(domain, 320)
        domu.settled(domain, 40)
        domu.burst(domain, 160)
        assert domu.oom_kills(domain) == 0
        domain.mem_set(before)
        domu.expect_own_and_held(domain, before)
        domu.burst(domain, 280)

        # On to a host that does not say what is behind a page.
        held = domu.settled(domain, 200)
        # Nothing is to go just then: what Xen does not tell of would be lost.
        domain.run(f"echo 60000 > {guest.SYSFS}/window_ms")
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
        domain = xen.domain(xen.kernel, "pvh", mem_mib=400, maxmem_mib=600)
        domu.load(domain)
        domu.settled(domain, 150)
        domu.expect_own_and_held(domain, 400)
        # It has some 330 MiB. Its watermarks are those of 600, and a CPU may keep
        # as much as one of them on its lists, where not everybody finds it.
        domu.burst(domain, 220)
        assert domu.oom_kills(domain) == 0
        domu.settled(domain, 150)
        domain.run("rmmod aeration_xen", timeout=domu.LONG)
        domain.wait_until(lambda: abs(domain.mib() - 400) <= 8,
                          "the domain to have 400 MiB", domu.LONG,
                          poll=XL_POLL)
        assert domu.states(domain)["quarantined"] == 0


def test_small_extents(image, xen_version):
    """A domU that may ask for little at a time, or has nothing large to give."""
    with domu.machine(xen_version, "small",
                      cmdline_xen="memop-max-order=4") as xen:
        domain = xen.domain(xen.kernel, "pvh", mem_mib=domu.MEM_MIB)
        before = domain.mib()
        # Free memory in single pages only, and nobody who puts it together.
        domain.run("echo 0 > /proc/sys/vm/compaction_proactiveness")
        job = domain.start("exec /opt/aeration/memwork fragment 280")
        domain.wait_until(lambda: job.says("touched"),
                          "memory to be in pieces", domu.LONG)
        domu.load(domain, window_ms=100)
        assert domain.run("cat /sys/module/aeration_xen/parameters/"
                          "extent_order").out.strip() == "4"
        domain.run("sleep 3")
        assert domu.held_mib(domain) < 100
        assert domain.mib() >= before - 100
        assert guest.stat(domain, "errors") == 0
        guest.free_held(domain, job)
        guest.end_held(domain, job)
        held = domu.settled(domain, before * domu.SURPLUS_SHARE)
        domu.expect_mib(domain, before - held)
        domu.burst(domain, 280)
        assert domu.oom_kills(domain) == 0
        domain.run("rmmod aeration_xen", timeout=domu.LONG)
        domu.expect_mib(domain, before)

        # The administrator may want them smaller still, and fewer at once.
        for capacity in (0, 513):
            guest.refused(domain, f"modprobe aeration_xen capacity={capacity}",
                          "Invalid argument")
        told = [guest.stat(domain, name) for name in ("batches", "blocks")]
        domain.run("modprobe aeration_xen order=0 capacity=4 scrub=N")
        # This kernel fills all that is allocated with zeros, whoever wants it or not.
        assert domain.run("cat /sys/module/aeration_xen/parameters/"
                          "scrub").out.strip() == "Y"
        assert domain.run("cat /sys/module/aeration_xen/parameters/"
                          "extent_order").out.strip() == "0"
        assert guest.value(domain, "capacity") == "4"
        domu.settled(domain, before * domu.SURPLUS_SHARE)
        batches, blocks = (guest.stat(domain, name) - old for name, old in
                           zip(("batches", "blocks"), told, strict=True))
        assert 0 < blocks <= 4 * batches
        domain.run("rmmod aeration_xen", timeout=domu.LONG)
        domu.expect_mib(domain, before)
        assert domu.states(domain)["quarantined"] == 0


@pytest.mark.all_only("what a file of xl dump-core has is Xen's doing")
def test_core_of_a_pv_domain(image, xen_version):
    """`xl dump-core` saves what a domain has, and nothing for what it holds."""
    with domu.machine(xen_version, "core") as xen:
        domain = xen.domain(xen.kernel, "pv", mem_mib=domu.MEM_MIB)
        before = domain.mib()
        domu.load(domain, window_ms=100)
        held = domu.settled(domain, before * domu.SURPLUS_SHARE)
        # Nothing goes or comes meanwhile.
        domain.run(f"echo 60000 > {guest.SYSFS}/window_ms")
        xen.xl(f"dump-core {domain.id} /tmp/core", timeout=domu.LONG)
        mib = int(xen.run("stat -c %s /tmp/core").out) / guest.MIB
        print(f"{held:.0f} MiB held, {domain.mib()} left, a core of {mib:.0f} MiB")
        assert xen.run("head -c 4 /tmp/core | od -An -c").out.split() == \
            ["177", "E", "L", "F"]
        assert abs(mib - domain.mib()) <= domu.CLOSE_MIB
        assert abs(mib - (before - held)) <= domu.CLOSE_MIB
        xen.run("rm /tmp/core")
        domu.burst(domain, int(domu.available_mib(domain) * 0.9))
        assert domu.oom_kills(domain) == 0


@pytest.mark.all_only("a device model in an emulated domain 0 takes minutes, and which "
                      "extents go into which call is in the unit tests")
def test_virtual_nodes(image):
    """What comes back to a domain comes from the physical node that it was on.

    Xen would take what has no node from each in turn: so one of them gives much more.
    Of xl's domains only HVM ones have nodes: it refuses PV ones, and fails to make PVH
    ones, on 4.17 and on 4.20.
    """
    sizes = (domu.MEM_MIB - 96, 96)
    machine = [word for node in range(2) for word in (
        "-object", f"memory-backend-ram,id=node{node},size={NODE_MIB}M",
        "-numa", f"node,nodeid={node},memdev=node{node},cpus={node}")]
    nodes = [[f"pnode={node}", f"size={size}",
              f"vdistance={'20,10' if node else '10,20'}"]
             for node, size in enumerate(sizes)]
    # Two on two nodes would be halves of one core, and the kernel warns of that.
    nodes[0].append("vcpus=0")
    with Xen("4.20", "nodes", mem_mib=2 * NODE_MIB, dom0_mib=domu.DOM0_MIB,
             extra=machine, hvm=True) as xen:
        domain = xen.domain(xen.kernel, "hvm", mem_mib=domu.MEM_MIB,
                            config={"vnuma": nodes})
        before = domu.nodes_mib(xen, domain)
        assert all(abs(mib - size) < 16
                   for mib, size in zip(before, sizes, strict=True))
        domu.load(domain)
        guest.said(domain, "memory is asked back from the virtual node")
        domu.settled(domain, domain.mib() * 0.3)
        away = domu.nodes_mib(xen, domain)
        domain.run("rmmod aeration_xen", timeout=domu.LONG)
        after = domu.nodes_mib(xen, domain)
        print(f"MiB of each node: {before}, {away} with memory held, {after} after that")
        gave = [old - new for old, new in zip(before, away, strict=True)]
        assert min(gave) > 0 and max(gave) > min(gave) + 64
        for old, new in zip(before, after, strict=True):
            assert abs(new - old) <= domu.ROUNDING_MIB


@pytest.mark.in_turn("both are the end of a kernel; who is told of it is the other half")
@pytest.mark.parametrize("command, last, back", [
    pytest.param("reboot -f", "reboot: Restarting system", False, id="reboot"),
    pytest.param("/opt/aeration/kexec", "Starting new kernel", True, id="kexec"),
])
def test_restart(image, xen_version, command, last, back):
    """All is back before the kernel makes way for another, and else nothing.

    A domain that reboots is taken down and built anew: a fleet that does so has
    better things to do than to populate what nobody will touch.
    """
    with domu.booted(xen_version, "restart") as (_, domain):
        before = domain.mib()
        domu.load(domain)
        held = domu.settled(domain, before * domu.SURPLUS_SHARE)
        domu.expect_mib(domain, before - held)
        domain.restart(command, last)
        left = before if back else before - held
        assert abs(domain.mib() - left) <= domu.ROUNDING_MIB
        domain.destroy(check=False)


# What the kernel can try of hibernation: tasks are frozen, and thawed five seconds later.
FREEZES = "echo freezer > /sys/power/pm_test"


def test_hibernation(image, xen_version):
    """All is back before a domain hibernates, or it does not, and that is said."""
    with domu.booted(xen_version, "hibernates") as (_, domain):
        before = domain.mib()
        domu.load(domain)
        held = domu.settled(domain, before * domu.SURPLUS_SHARE)
        # Nothing goes again until it has been seen.
        domain.run(f"{FREEZES} && echo 60000 > {guest.SYSFS}/window_ms")
        came = guest.stat(domain, "restored_bytes")
        job = domain.start("exec /opt/aeration/poke /sys/power/state disk")
        domu.expect_mib(domain, before)
        job.wait(domu.LONG)
        assert guest.stat(domain, "restored_bytes") - came >= held * guest.MIB
        guest.wait_value(domain, "state", "running")

        # Where the host does not give back what is held, there is none.
        domain.run(f"echo 1000 > {guest.SYSFS}/window_ms")
        held = domu.settled(domain, before * domu.SURPLUS_SHARE)
        domain.run("modprobe aeration_xen_faults op=populate stop_at=0 times=1000000")
        guest.refused(domain, "/opt/aeration/poke /sys/power/state disk",
                      "Cannot allocate memory", domu.LONG)
        guest.said(domain, "cannot hibernate: Xen does not give back")
        # What is held stays held, and is there when the host has memory again.
        guest.wait_value(domain, "state", "running")
        assert domu.held_mib(domain) >= held / 2
        domain.run("rmmod aeration_xen_faults && rmmod aeration_xen", timeout=domu.LONG)
        domu.expect_mib(domain, before)
        assert domu.states(domain)["quarantined"] == 0
