# SPDX-License-Identifier: GPL-2.0
"""The Xen backend under toolstacks: targets, daemons that share out memory, requests.

Real xl with real domains; the daemons' rules are small models of them.
"""

import contextlib
import random

import pytest

import domu
import guest
from domu import (CLOSE_MIB, balloon, balloon_rests, calls, mem_total_mib, memory_is,
                  node, stays_at_nothing, waits, write)
from lab.domain import XL_POLL

XL_CONF = "/etc/xen/xl.conf"

DOM0_MIB = domu.HOST_DOM0_MIB
DOM0_MAX_HELD = 256	# MiB


# Domain 0

def dom0_now(xen):
    """Return domain 0's target in xenstore, and what it has and holds, in MiB."""
    def target():
        return int(xen.run("xenstore-read /local/domain/0/memory/target").out) / 1024

    xen.wait_until(lambda: abs(balloon(xen)[1] - target()) < 1,
                   "the balloon to have heard of domain 0's target", domu.LONG)
    return {"target": target(), "has": balloon_rests(xen)}


def dom0_is_managed(xen, size, rest=lambda: None):
    """Do to domain 0 what an administrator does; return how it was after each.

    `rest` is called where it has its full size and nobody asks for any of it.
    """
    after = {}
    xen.xl("list -l")
    after["xl list -l"] = dom0_now(xen)
    large = xen.domain(xen.kernel, "pvh", mem_mib=size)
    after["xl create, autoballoon"] = dom0_now(xen)
    large.shutdown()
    xen.xl(f"mem-set 0 {DOM0_MIB}")
    after["xl mem-set 0, up"] = dom0_now(xen)
    rest()
    xen.xl(f"mem-set 0 {DOM0_MIB - 200}")
    after["xl mem-set 0, down"] = dom0_now(xen)
    xen.xl(f"mem-set 0 {DOM0_MIB}")
    after["and up"] = dom0_now(xen)
    return after


def test_domain_0(image, xen_version):
    """With memory held it ends where it ends without us, whatever xl does.

    And it holds nothing unless somebody has said how much.
    """
    with domu.host(xen_version, "dom0") as xen:
        xen.run(f"echo 'autoballoon=\"on\"' > {XL_CONF}")
        # More than is free, even with what will be held.
        size = xen.free_mib() + DOM0_MAX_HELD + 96
        without = dom0_is_managed(xen, size)

        xen.run("modprobe aeration backend=xen && modprobe aeration_xen")
        assert guest.value(xen, "max_held") == "0"
        stays_at_nothing(xen)
        xen.run("rmmod aeration_xen && rmmod aeration")

        xen.run("xenstore-rm /local/domain/0/memory/target && "
                "xenstore-rm /local/domain/0/memory/static-max")
        xen.run(f"modprobe aeration backend=xen max_held={DOM0_MAX_HELD}M && "
                "modprobe aeration_xen")
        domu.settled(xen, DOM0_MAX_HELD)
        for name in ("target", "static-max"):
            xen.run(f"xenstore-exists /local/domain/0/memory/{name}")
        with_us = dom0_is_managed(
            xen, size, lambda: domu.settled(xen, DOM0_MAX_HELD))
        print(f"{'':24} {'without':>20} {'with us':>20}")
        for name, old in without.items():
            new = with_us[name]
            print(f"{name:24} {old['target']:9.0f} {old['has']:9.0f} "
                  f"{new['target']:9.0f} {new['has']:9.0f}")
        for name, old in without.items():
            for what, mib in old.items():
                assert abs(with_us[name][what] - mib) <= CLOSE_MIB, \
                    (name, what, mib, with_us[name][what])
        xen.run("rmmod aeration_xen", timeout=domu.LONG)
        assert domu.states(xen)["quarantined"] == 0
        assert domu.oom_kills(xen) == 0


def test_domain_0_that_cannot_be_told(image, xen_version):
    """Nothing goes from domain 0 before libxl can know how large it is."""
    with domu.host(xen_version, "untold") as xen:
        xen.run("xenstore-write /local/domain/0/memory/static-max lots")
        xen.run(f"modprobe aeration backend=xen max_held={DOM0_MAX_HELD}M && "
                "modprobe aeration_xen")
        waits(xen, "domain 0's size cannot be written to xenstore")
        stays_at_nothing(xen)
        xen.run("xenstore-rm /local/domain/0/memory/static-max")
        domu.settled(xen, DOM0_MAX_HELD)
        xen.run("xenstore-exists /local/domain/0/memory/static-max")
        xen.run("rmmod aeration_xen", timeout=domu.LONG)
        assert domu.states(xen)["quarantined"] == 0


# Targets

def lower_and_higher(xen, domain, kind):
    """A lower target is met with what is held, and a higher one gives it back."""
    before, total = domain.mib(), mem_total_mib(domain)
    domu.load(domain)
    held = domu.settled(domain, before * domu.SURPLUS_SHARE)
    came, less = calls(domain, "populate"), 160
    assert held > less + 64
    # No hypercall is for more than 4 MiB: nothing else runs on its processor.
    assert calls(domain, "decrease") >= held / 4

    domain.mem_set(before - less)
    memory_is(domain, total - less)
    balloon_rests(domain)
    assert calls(domain, "populate") == came
    assert domu.held_mib(domain) >= held - CLOSE_MIB
    assert abs(domu.forfeited_mib(domain) - less) <= CLOSE_MIB
    domu.expect_own_and_held(domain, before - less)
    assert domu.available_mib(domain) < total - less
    domu.states(domain)

    # All that the new limit allows can be had, and no more is asked for.
    domu.burst(domain, int(domu.available_mib(domain)) - 24)
    assert domu.oom_kills(domain) == 0
    assert guest.value(domain, "hold/starved") == "0"
    assert domu.held_mib(domain) >= less - 2 * CLOSE_MIB
    domu.settled(domain, less - 2 * CLOSE_MIB)

    domain.save("/run/saved")
    domain.restore("/run/saved")
    xen.run("rm /run/saved")
    memory_is(domain, total - less)
    domu.settled(domain, less - 2 * CLOSE_MIB)
    domain.wait_until(
        lambda: int(node(xen, domain, "data/aeration/held") or "-1") ==
        (domu.held_mib(domain) - domu.forfeited_mib(domain)) * 1024,
        "xenstore to say what can be had back", guest.SOON, poll=XL_POLL)

    domain.mem_set(before)
    memory_is(domain, total)
    domu.settled(domain, held - 2 * CLOSE_MIB)
    if kind == "pvh":
        domu.comes_in_superpages(xen, domain,
                                 int(domu.available_mib(domain) * 0.9))
    domu.burst(domain, int(domu.available_mib(domain)) - 24)
    assert domu.oom_kills(domain) == 0

    # The module goes while the target is low: the balloon has it all then.
    domu.settled(domain, before * domu.SURPLUS_SHARE)
    domain.mem_set(before - less)
    memory_is(domain, total - less)
    domain.run("rmmod aeration_xen", timeout=domu.LONG)
    assert domu.held_mib(domain) == 0
    assert domu.states(domain)["quarantined"] == 0
    assert abs(balloon_rests(domain) - (before - less)) <= CLOSE_MIB
    domu.expect_mib(domain, before - less)


def test_a_lower_target(image, xen_version):
    """What is held counts for it: nothing is populated to be given away again."""
    with domu.booted(xen_version, "lower") as (xen, domain):
        lower_and_higher(xen, domain, "pvh")


@pytest.mark.all_only("the same code as in PVH domains; frames that go one by one are in "
                      "test_stops_anywhere_pv")
def test_a_lower_target_pv(image, xen_version):
    """The same where memory goes in single frames."""
    with domu.machine(xen_version, "lower-pv") as xen:
        lower_and_higher(xen, xen.domain(xen.kernel, "pv",
                                         mem_mib=domu.MEM_MIB), "pv")


def test_a_debt(image):
    """A target that the domain cannot meet is said, and met as soon as it can be.

    Not on 4.17: with the balloon of its kernel 6.1 the program is killed at once, and
    there is no debt any more.
    """
    with domu.booted("4.20", "debt") as (_, domain):
        domain.allow.append(r"page allocation failure")
        before, total = domain.mib(), mem_total_mib(domain)
        domu.load(domain, window_ms=100)
        domu.settled(domain, before * domu.SURPLUS_SHARE)
        used = guest.hold(domain, 200)
        domain.mem_set(before - 240)
        domain.wait_until(
            lambda: "the balloon has not given the toolstack" in
            guest.value(domain, "why/xen"), "the debt to be said", guest.SOON)
        # It comes up short four times, and then sleeps for an hour.
        domain.run("sleep 20")
        assert mem_total_mib(domain) > total - 240 + CLOSE_MIB
        used.kill()
        memory_is(domain, total - 240)
        domain.wait_until(lambda: guest.value(domain, "why/xen") == "in use",
                          "memory to go again", domu.LONG)
        domain.mem_set(before)
        memory_is(domain, total)
        domain.run("rmmod aeration_xen", timeout=domu.LONG)
        domu.expect_mib(domain, before)


# Daemons

def test_daemons_that_share_out_memory(image, xen_version):
    """Nothing goes where what a domain has is taken for what it uses or obeys.

    By name it goes, as far as squeezed allows once it has measured the domain.
    """
    with domu.booted(xen_version, "daemons") as (xen, domain):
        before = domain.mib()
        least = 256
        write(xen, domain, "memory/dynamic-min", least * 1024)
        domain.run("modprobe aeration window_ms=100 && modprobe aeration_xen")
        waits(domain, "memory/dynamic-min")
        stays_at_nothing(domain)
        guest.choose(domain, "xen")
        waits(domain, "memory/memory-offset")
        stays_at_nothing(domain)
        # As squeezed does it, at the moment at which it first sees the domain.
        target = int(node(xen, domain, "memory/target"))
        write(xen, domain, "memory/memory-offset", before * 1024 - target)
        domain.wait_until(lambda: domu.held_mib(domain) > 32, "memory to go",
                          domu.LONG)
        domu.settled(domain, 32)
        assert least <= domain.mib() <= least + 16
        domain.run("rmmod aeration_xen && rmmod aeration", timeout=domu.LONG)

        for name in ("dynamic-min", "memory-offset"):
            xen.run(f"xenstore-rm /local/domain/{domain.id}/memory/{name}")
        write(xen, domain, "memory/meminfo", "")
        domain.run("modprobe aeration window_ms=100 && modprobe aeration_xen")
        waits(domain, "memory/meminfo")
        stays_at_nothing(domain)
        guest.choose(domain, "xen")
        domu.settled(domain, before * domu.SURPLUS_SHARE)


def test_devices_of_the_host(image, xen_version):
    """A PV domain that has some keeps its memory in one piece, unless it is asked."""
    with domu.machine(xen_version, "passthrough") as xen:
        domain = xen.domain(xen.kernel, "pv", mem_mib=domu.MEM_MIB)
        before = domain.mib()
        write(xen, domain, "device/pci/0", "")
        domain.run("modprobe aeration window_ms=100 && modprobe aeration_xen")
        waits(domain, "need contiguous memory")
        stays_at_nothing(domain)
        guest.choose(domain, "xen")
        domu.settled(domain, before * domu.SURPLUS_SHARE)


# Requests, and all together

class Asker:
    """Domain 0, as it asks a domain for something."""

    def __init__(self, xen, domain):
        self.xen = xen
        self.domain = domain
        self.count = 0		# of answers

    def answer(self):
        """Return the words of the last answer."""
        return (node(self.xen, self.domain, "data/aeration/answer") or
                "0").split()

    def ask(self, word):
        """Ask for something; return the outcome, bytes and the error."""
        # Where a domain goes on it writes its last answer again.
        self.expect(self.count, word)
        write(self.xen, self.domain, "control/aeration", word)
        self.count += 1
        self.expect(self.count, word)
        _, what, outcome, done, error = self.answer()
        assert what == word or outcome == "refused"
        return outcome, int(done), int(error)

    def expect(self, count, word):
        """Wait for the answer of this number."""
        self.domain.wait_until(lambda: int(self.answer()[0]) == count,
                               f"answer {count}, about {word!r}", domu.LONG,
                               poll=XL_POLL)


# A file system whose files are cached as those of a disk are.
PACKED_DISK = """
set -e
mount -t cgroup2 none /sys/fs/cgroup
modprobe -a zram ext4 && echo 400M >/sys/block/zram0/disksize
mke2fs -q -b 4096 /dev/zram0 && mkdir -p /tmp/disk && mount /dev/zram0 /tmp/disk
dd if=/dev/zero of=/tmp/disk/cold bs=1M count=300 2>/dev/null
sync && echo 3 >/proc/sys/vm/drop_caches
dd if=/tmp/disk/cold of=/dev/null bs=128k 2>/dev/null
"""


def test_the_host_asks_for_cache(image, xen_version):
    """What a domain has cached and does not use goes when domain 0 says so."""
    with domu.booted(xen_version, "squeeze") as (xen, domain):
        memory = domain.mib()
        domain.run(PACKED_DISK, timeout=domu.LONG)
        domu.load(domain, window_ms=100)
        before = domain.mib()
        outcome, done, error = Asker(xen, domain).ask("squeeze")
        after = domain.mib()
        print(f"{before} MiB, then {after}; {outcome}, {done >> 20} MiB, ended by "
              f"{guest.value(domain, 'squeezed/ended_by')}")
        assert (outcome, error) == ("done", 0) and done >= 100 * guest.MIB
        assert after <= before - 100
        domu.expect_own_and_held(domain, memory)


def test_the_host_asks(image, xen_version):
    """Each word is answered, with bytes; a limit holds at once; writes are few."""
    with domu.booted(xen_version, "asks") as (xen, domain):
        before = domain.mib()
        domu.load(domain, window_ms=60000)
        watched = xen.start("exec xenstore-watch "
                            f"/local/domain/{domain.id}/data/aeration")
        asker = Asker(xen, domain)
        begin = float(xen.run("cut -d ' ' -f 1 /proc/uptime").out)

        outcome, done, error = asker.ask("flush")
        assert (outcome, error) == ("done", 0)
        assert done == domu.held_mib(domain) * guest.MIB
        assert done > before * domu.SURPLUS_SHARE * guest.MIB
        assert asker.ask("again")[0] == "done"
        held = domu.held_mib(domain) * guest.MIB
        assert asker.ask("restore") == ("done", held, 0)
        assert domu.held_mib(domain) == 0
        assert asker.ask("flush")[1] > before * domu.SURPLUS_SHARE * guest.MIB

        write(xen, domain, "control/aeration/max-held", 64 << 10)
        domain.wait_until(lambda: domu.held_mib(domain) <= 64,
                          "no more than 64 MiB to be held", guest.SOON)
        write(xen, domain, "control/aeration/max-held", "lots")
        assert asker.ask("flush") == ("done", 0, 0)
        assert 32 <= domu.held_mib(domain) <= 64
        guest.said(domain, "is not a number of KiB")
        xen.run(f"xenstore-rm /local/domain/{domain.id}/control/aeration/max-held")

        assert asker.ask("off")[0] == "done"
        assert domu.held_mib(domain) == 0
        assert asker.ask("flush") == ("done", 0, 0)
        assert domu.held_mib(domain) == 0
        assert asker.ask("on") == ("done", 0, 0)
        assert asker.ask("flush")[1] > before * domu.SURPLUS_SHARE * guest.MIB

        for word in ("squash", "FLUSH", "x" * 200, "fl ush", "../../0"):
            assert asker.ask(word) == ("refused", 0, -95)
        assert guest.value(domain, "state") == "running"

        watched.kill()
        said = watched.output().splitlines()
        took = float(xen.run("cut -d ' ' -f 1 /proc/uptime").out) - begin
        print(f"{len(said)} writes in {took:.0f} s")
        assert 10 <= len(said) <= took + 2

        # A domain that has moved is asked and answers as before.
        domain.save("/run/saved")
        domain.restore("/run/saved")
        xen.run("rm /run/saved")
        held = domu.held_mib(domain) * guest.MIB
        assert held and asker.ask("restore") == ("done", held, 0)
        assert domu.held_mib(domain) == 0

        domain.run("rmmod aeration_xen", timeout=domu.LONG)
        domu.expect_mib(domain, before)
        assert not node(xen, domain, "data/aeration/held")


def test_another_xenstored(image, xen_version):
    """One that takes over while all runs (live update) is told and asks as before."""
    with domu.booted(xen_version, "live-update") as (xen, domain):
        before, total = domain.mib(), mem_total_mib(domain)
        domu.load(domain, window_ms=60000)
        asker = Asker(xen, domain)
        assert asker.ask("flush")[0] == "done"
        was = xen.run("pidof xenstored").out
        xen.run("xenstore-control live-update -s $(readlink -f /sbin/xenstored)",
                timeout=domu.LONG)
        print(f"xenstored: process {was.strip()}, then "
              f"{xen.run('pidof xenstored').out.strip()}")
        held = domu.held_mib(domain) * guest.MIB
        assert asker.ask("restore") == ("done", held, 0)
        assert asker.ask("flush")[1] > before * domu.SURPLUS_SHARE * guest.MIB
        domain.wait_until(
            lambda: node(xen, domain, "data/aeration/held") ==
            str(int(domu.held_mib(domain) * 1024)),
            "xenstore to say how much is held", guest.SOON, poll=XL_POLL)
        domain.mem_set(before - 100)
        memory_is(domain, total - 100)
        domain.mem_set(before)
        memory_is(domain, total)
        domain.run("rmmod aeration_xen", timeout=domu.LONG)
        domu.expect_mib(domain, before)


ROUNDS = 50
SEED = 16


# What a program has written before, and looks at after each round.
KEPT_MIB = 16
KEEP = f"dd if=/dev/urandom of=/tmp/kept bs=1M count={KEPT_MIB} 2>/dev/null"


@contextlib.contextmanager
def one_of(kind, version):
    """A machine with a domain of a kind; yields (xen, domain)."""
    if kind == "pvh":
        with domu.booted(version, "any-order") as both:
            yield both
        return
    with domu.machine(version, f"any-order-{kind}") as xen:
        yield xen, xen.domain(xen.kernel, kind, mem_mib=domu.MEM_MIB)


@pytest.mark.all_only("half a hundred rounds take minutes; each of their steps is in a "
                      "test of its own")
@pytest.mark.parametrize("kind", ["pvh", "pv"])
def test_in_any_order(image, xen_version, kind):
    """Whatever the toolstack does after whatever else: the sums are right."""
    chance = random.Random(SEED)
    with one_of(kind, xen_version) as (xen, domain):
        before, total = domain.mib(), mem_total_mib(domain)
        asker = Asker(xen, domain)
        domu.load(domain, window_ms=100)
        domain.run(KEEP)
        kept = domain.run("sha256sum /tmp/kept").out

        def smaller_or_larger():
            mib = chance.randint(before - 180, before)
            domain.mem_set(mib)
            memory_is(domain, total - before + mib)

        def saved():
            domain.save("/run/saved")
            domain.restore("/run/saved")
            xen.run("rm /run/saved")

        def flush():
            assert asker.ask("flush")[0] in ("done", "failed")

        def restore():
            assert asker.ask("restore")[0] == "done"

        def use():
            mib = int(domu.available_mib(domain) * chance.uniform(0.2, 0.9))
            domain.run(f"/opt/aeration/memwork verify {mib}", timeout=domu.LONG)

        for number in range(ROUNDS):
            what = chance.choice((smaller_or_larger, saved, flush, restore, use))
            print(number, what.__name__, flush=True)
            what()
            balloon_rests(domain)
            domu.states(domain)
            assert domu.oom_kills(domain) == 0
            assert domain.run("sha256sum /tmp/kept").out == kept
            domain.wait_until(
                lambda: abs(domain.mib() + domu.held_mib(domain) -
                            balloon(domain)[0]) <= CLOSE_MIB,
                "the domain to have what the balloon has, less what is held",
                domu.LONG, poll=XL_POLL)
        domain.mem_set(before)
        memory_is(domain, total)
        domu.settled(domain, before * domu.SURPLUS_SHARE)
        if kind == "pvh":
            domu.comes_in_superpages(xen, domain,
                                     int(domu.available_mib(domain) * 0.9))
        domain.run("rmmod aeration_xen", timeout=domu.LONG)
        domu.expect_mib(domain, before)
        assert domu.states(domain)["quarantined"] == 0
