# SPDX-License-Identifier: GPL-2.0
"""A domain that holds memory under xl: its figures are those of one that does not."""

import pytest

import domu
import guest
from domu import CLOSE_MIB, balloon, balloon_rests, calls, mem_total_mib, node
from lab.domain import SAVE_TIMEOUT, XL_POLL

LESS_MIB = 100
SAVED = "/tmp/saved"	# in domain 0's memory

# What an administrator does with a domain: {id} is its number, {mib} what it began with.
COMMANDS = (
    "list -l {id}",
    "mem-set {id} {less}",
    "list -l",
    "mem-set {id} {mib}",
    "mem-max {id} {mib}",
    "vcpu-list {id}",
    "sched-credit2 -d {id}",
    "sharing {id}",
    "claims",
    "pause {id}",
    "unpause {id}",
    f"save -c {{id}} {SAVED}",
    "save",
    "migrate",
)


def forfeited_mib(domain):
    """Return what of the balloon's own count is forfeited; 0 without us."""
    there = domain.run("test -d /sys/module/aeration_xen", check=False).rc == 0
    return domu.forfeited_mib(domain) if there else 0


def held_mib(domain):
    """Return what is held; 0 without us."""
    there = domain.run("test -d /sys/module/aeration_xen", check=False).rc == 0
    return domu.held_mib(domain) if there else 0


def figures(xen, domain):
    """Return what the domain's size is to those who count it, in MiB."""
    gone = forfeited_mib(domain)
    return {
        "target": int(node(xen, domain, "memory/target")) / 1024,
        "static-max": int(node(xen, domain, "memory/static-max")) / 1024,
        "balloon": balloon(domain)[0] - gone, "MemTotal": mem_total_mib(domain),
        "own and held": domain.mib() + held_mib(domain) - gone}


def do(xen, domain, command, mib):
    """Run one of COMMANDS."""
    if command == "save":
        domain.save(SAVED)
        domain.restore(SAVED)
    elif command == "migrate":
        domain.migrate()
    else:
        xen.xl(command.format(id=domain.id, mib=mib, less=mib - LESS_MIB),
               timeout=SAVE_TIMEOUT)
    if SAVED in command or command == "save":
        xen.run(f"rm {SAVED}")


def managed(xen, domain, mib, populated=None):
    """Do all that; return {command: figures after it}.

    populated: gets the commands after which memory had been populated, with how often.
    """
    after = {}
    for command in COMMANDS:
        do(xen, domain, command, mib)
        if command.startswith("pause"):
            continue
        balloon_rests(domain)

        def agree():
            now = figures(xen, domain)
            return abs(now["own and held"] - now["balloon"]) <= CLOSE_MIB

        domain.wait_until(agree, "Xen and the balloon to agree", domu.LONG,
                          poll=XL_POLL)
        after[command] = figures(xen, domain)
        if populated is not None:
            count = calls(domain, "populate") - sum(populated.values())
            if count:
                populated[command] = count
    return after


@pytest.mark.all_only("what xl does to a domain that holds memory is in test_toolstack; here "
                      "it is also done to one without us")
@pytest.mark.one_kernel("test_toolstack runs on each Xen")
@pytest.mark.parametrize("kind", ("pvh", "pv"))
def test_commands(image, xen_version, kind):
    """Whatever xl does, a domain that holds memory ends as it would without us.

    And nothing is populated for it.
    """
    with domu.host(xen_version, "xl") as xen:
        domain = xen.domain(xen.kernel, kind, mem_mib=domu.MEM_MIB)
        mib = domain.mib()
        without = managed(xen, domain, mib)
        domu.load(domain)
        assert guest.value(domain, "max_held") == "87%"
        held = domu.settled(domain, mib * domu.SURPLUS_SHARE)
        came = {"before": calls(domain, "populate")}
        with_us = managed(xen, domain, mib, came)
        del came["before"]
        columns = list(without["list -l"])
        print(f"{'without us, with us':26}" + "".join(
            f"{name:>16}" for name in columns))
        for command, old in without.items():
            print(f"{command:26}" + "".join(
                f"{old[name]:9.0f}{with_us[command][name]:7.0f}" for name in columns))
        print(f"{held:.0f} MiB held, calls to populate: {came or 'none'}")
        for command, old in without.items():
            for name, value in old.items():
                assert abs(with_us[command][name] - value) <= CLOSE_MIB, \
                    (command, name, value, with_us[command][name])
        domu.settled(domain, held - 2 * CLOSE_MIB)
        assert not came
        assert domu.oom_kills(domain) == 0


def starved(xen, domain, wanted):
    """Wait until xenstore says whether a domain wants memory that is not there."""
    domain.wait_until(
        lambda: node(xen, domain, "data/aeration/starved") == wanted,
        f"data/aeration/starved to be {wanted}", domu.LONG, poll=XL_POLL)


@pytest.mark.all_only("a host without memory is in test_host_without_memory, with one "
                      "domain that wants it")
def test_two_domains_want_the_same(image, xen_version):
    """What one of two has taken is not there for the other, which says so.

    A third domain has half of what both have given. The first takes the rest, and every
    word of it is looked at; the second gets it when the first is done.
    """
    with domu.booted(xen_version, "two") as (xen, one):
        two = xen.domain(xen.kernel, "pvh", mem_mib=domu.MEM_MIB)
        before = [domain.mib() for domain in (one, two)]
        for domain in (one, two):
            domu.load(domain)
        held = [domu.settled(domain, domu.MEM_MIB * domu.SURPLUS_SHARE)
                for domain in (one, two)]
        third = xen.domain(xen.kernel, "pvh", mem_mib=xen.free_mib() - int(held[0]))
        takes = guest.hold(one, int(domu.available_mib(one)) - 48)
        two.run(f"echo 100000 > {guest.SYSFS}/reserve_mb")
        starved(xen, two, "1")
        guest.free_held(one, takes)
        guest.end_held(one, takes)
        third.shutdown()
        starved(xen, two, "0")
        two.wait_until(lambda: domu.held_mib(two) == 0, "all of it to be back",
                       domu.LONG)
        two.run(f"echo 16 > {guest.SYSFS}/reserve_mb")
        for domain, mib in zip((one, two), before):
            domain.run("/opt/aeration/memwork verify "
                       f"{int(domu.available_mib(domain)) - 48}", timeout=domu.LONG)
            assert domu.oom_kills(domain) == 0
            domain.run("rmmod aeration_xen", timeout=domu.LONG)
            domu.expect_mib(domain, mib)
            assert domu.states(domain)["quarantined"] == 0
