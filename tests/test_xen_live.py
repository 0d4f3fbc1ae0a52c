# SPDX-License-Identifier: GPL-2.0
"""Live migration of a domain whose memory goes and comes meanwhile, beside the stock
balloon, which a target in xenstore makes give and take.

Xen does not note which pages a domain gives and gets while libxc sends it. So a trip may
fail, what a program has written may be missing after it, and memory may be there twice.
"""

import contextlib
import dataclasses

import pytest

import domu
import guest
from lab import LabError
from lab.channel import CommandError
from lab.domain import XL_POLL

TRIPS = 3	# of each domain; one takes a minute
ROUNDS = 3	# of these, at most

# What the balloon gives and takes, MiB, and how much of what is left then a program
# fills with words and looks at, over and over.
MOVED_MIB = 160
PART = 0.7

# What is free goes while it sleeps: the core keeps what was just used.
WORK = """
rm -f /tmp/enough /tmp/wrong /tmp/turns; (while [ ! -e /tmp/enough ]; do
	/opt/aeration/memwork verify {mib} >/tmp/said || cp /tmp/said /tmp/wrong
	echo >>/tmp/turns
	sleep 3
done) </dev/null >/dev/null 2>&1 &
"""

# xl reads the target as it begins, and makes the new domain's limit of it.
GIVE_AND_TAKE = """
sleep 2
while true; do
	xenstore-write {node} {low}; sleep 1
	xenstore-write {node} {high}; sleep 1
done
"""

MOVES = "keeps track of what this domain writes"


@dataclasses.dataclass
class Trips:
    """What became of them."""

    made: int = 0
    failed: list = dataclasses.field(default_factory=list)	# what xl said
    wrong: str = ""	# what the program found
    died: str = ""	# why there were no more
    twice: list = dataclasses.field(default_factory=list)	# MiB, after each


def turns(domain):
    """Return how often the program has looked at its words."""
    return int(domain.run("cat /tmp/turns 2>/dev/null | wc -l").out)


def travels(domain, trips, found, meanwhile, surplus):
    """Have a domain migrate so often; `found` is what becomes of it.

    meanwhile  a context in which the domain migrates
    surplus    returns how much more it has than it should, MiB
    """
    left = domu.available_mib(domain) - MOVED_MIB
    domain.run(WORK.format(mib=int(left * PART)))
    for _ in range(trips):
        before = turns(domain)
        domain.wait_until(lambda start=before: turns(domain) > start,
                          "the program to work", domu.LONG, poll=XL_POLL)
        with meanwhile():
            try:
                domain.migrate()
                found.made += 1
            except CommandError as error:
                domain.ending = False
                found.failed.append(error.result.out.strip().splitlines()[-1:])
        before = turns(domain)
        domain.wait_until(lambda start=before: turns(domain) > start + 1,
                          "the program to go on", domu.LONG, poll=XL_POLL)
        found.twice.append(surplus())
    domain.run("touch /tmp/enough; while pidof memwork; do sleep 1; done",
               timeout=domu.LONG)
    found.wrong += domain.run("cat /tmp/wrong 2>/dev/null", check=False).out


def stock(xen, trips):
    """Return what becomes of a domain with the stock balloon alone.

    It may be damaged, and what its log says then is no matter here.
    """
    found = Trips()
    domain = xen.domain(xen.kernel, "pvh", mem_mib=domu.MEM_MIB, allow=["."])
    before, high = domain.mib(), int(domu.node(xen, domain, "memory/target"))

    @contextlib.contextmanager
    def meanwhile():
        folder = f"/local/domain/{domain.id}"
        job = xen.start(GIVE_AND_TAKE.format(
            node=f"{folder}/memory/target", low=high - (MOVED_MIB << 10), high=high))
        try:
            yield
        finally:
            job.kill()
        if folder != f"/local/domain/{domain.id}":
            xen.run(f"xenstore-rm {folder}", check=False)
        domain.mem_set(before)

    def surplus():
        return domain.mib() - domu.balloon_rests(domain) - slack

    slack = before - domu.balloon_rests(domain)
    try:
        travels(domain, trips, found, meanwhile, surplus)
    except LabError as error:
        found.died = str(error).splitlines()[0]
    domain.destroy(check=False)
    return found


def ours(xen, trips):
    """Return what becomes of a domain that gives and takes by itself."""
    found = Trips()
    domain = xen.domain(xen.kernel, "pvh", mem_mib=domu.MEM_MIB)
    before = domain.mib()
    domu.load(domain, window_ms=100, backoff_ms=0)

    @contextlib.contextmanager
    def meanwhile():
        domain.wait_until(lambda: domu.held_mib(domain) > MOVED_MIB / 2,
                          "memory to be away", domu.LONG, poll=0.1)
        yield

    def surplus():
        domain.wait_until(lambda: domu.held_mib(domain) > MOVED_MIB / 2,
                          "memory to go again", domu.LONG, poll=0.1)
        seen = []

        def all_counted():
            seen.append(domain.mib() + domu.held_mib(domain) - before)
            return abs(seen[-1]) <= domu.CLOSE_MIB or len(seen) > 20

        # What is held changes while it is looked at.
        domain.wait_until(all_counted, "Xen to count", domu.LONG, poll=XL_POLL)
        return min(seen, key=abs)

    # Whether there is anything to go just then is up to the program.
    for _ in range(ROUNDS):
        travels(domain, trips, found, meanwhile, surplus)
        if MOVES in domain.run("dmesg").out:
            break
    guest.said(domain, MOVES)
    domain.run("rmmod aeration_xen", timeout=domu.LONG)
    assert domu.states(domain)["quarantined"] == 0
    domu.expect_mib(domain, before)
    assert domu.oom_kills(domain) == 0
    domain.shutdown()
    return found


@pytest.mark.all_only("a trip takes a minute, and the stock balloon's domain may hang after one; "
                      "test_toolstack migrates in check, too")
def test_live_migration(image, xen_version):
    """Each trip succeeds, no word is wrong, and no memory is there twice.

    What the stock balloon comes to is said, not judged: that is Xen's and its own.
    """
    with domu.machine(xen_version, "live",
                      allow=[r"lab: domain \d+ crashed", r"\(XEN\) "]) as xen:
        beside = stock(xen, TRIPS)
        found = ours(xen, TRIPS)
        for name, what in (("stock balloon", beside), ("ours", found)):
            print(f"{name}: {what.made} trips made, "
                  f"{len(what.failed)} failed {what.failed or ''}; "
                  f"wrong: {what.wrong.strip() or 'nothing'}; MiB too many after each: "
                  f"{what.twice}; {what.died or 'alive'}")
        assert found.made >= TRIPS and not found.failed
        assert not found.wrong
        assert max(map(abs, found.twice)) <= domu.CLOSE_MIB
