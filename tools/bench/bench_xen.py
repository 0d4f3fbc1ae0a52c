# SPDX-License-Identifier: GPL-2.0
"""The Xen part of the benchmark: ours beside the stock balloon.

Two equal PVH domains on one Xen: one has the modules, the other has the stock
balloon alone, so that neither finds its memory as the other has left it (the
balloon takes superpages to pieces). They take turns, and change who is first
from round to round.

- Surrender and restore, the same amount of both. Ours is told by a write to
  `flush` and to `restore`, the balloon by `xl mem-set`. The clock runs in the
  guest, in the same program for both (memclock.c): ours from that write until
  held_bytes is what was asked for, the balloon from the change of its target_kb
  until its current_kb is the same. What xl itself takes is not counted.
- Hypercalls: ours as the module counts them, the balloon's by probes on the two
  kernel functions that make them, one each. Probes of the same kind on ours and
  the balloon's say how long the guest was in them.
- Scrub (keys that end in _scrub): zeros are written over memory before Xen gets
  it, or are not: aeration_xen.scrub, and the balloon's scrub_pages, which is what
  its boot parameter xen_scrub_pages sets. Neither writes zeros over what comes
  back. The allocator zeroes nothing by itself (init_on_alloc=0).
- Burst: a program touches as much memory as was surrendered, with all surplus
  surrendered and with nothing surrendered.

- Delays: in a round of its own at the end, with scrub on, how much later than it
  should a program that sleeps for 1 ms wakes up, at worst: while the domain is idle for
  5 s, and during each move, with all that measures it. A domain has one processor, and
  unless the kernel is fully preemptible nothing but interrupts has it in a hypercall.

One round before those that count is not counted: memory is touched for the first
time, and the backend learns how long Xen takes.
"""

import dataclasses
import os
import time

import toolkit
from figures import figures
from toolkit import MIB, SYSFS, ToolError, need_running, say

from lab.xen import Xen

NAME = "xen"
FILE = "xen"
ROUNDS = 5
ABOUT = ("memory to Xen and back, beside the stock balloon: time, hypercalls, "
         "and bursts")
GOALS = {
    "surrender_ratio": ">= 2.5",
    "restore_ratio": ">= 20",
    "burst_ratio": "<= 1.3",
}

GIB_MIB = 1024

# What is moved, and what a domain has: the rest is what it needs itself.
MOVED_MIB = 1024
DOMAIN_MIB = 1536

# Xen keeps some for itself, and a domain needs more than its own memory.
DOM0_MIB = 1024
XEN_MIB = 640

# `xl list` counts whole MiB.
ROUNDING_MIB = 2

# Seconds.
MOVE_TIMEOUT = 400	# longer than memclock's own limit
BURST_TIMEOUT = 300
READY_TIMEOUT = 60
SETTLE_TIMEOUT = 60
POLL = 0.5		# asking a guest that is being measured

# Before each order, seconds: the core keeps free as much as the guest began to
# use in the last half second.
CALM = 2

COMMAND_LINE = "init_on_alloc=0 init_on_free=0"

# What the program sleeps for that is to be woken late, ms, and for how many seconds it
# does so while nothing moves.
NAP_MS = 1
REST = 5

# A window during which nothing goes but by a flush. Another one starts it anew.
LONG_MS = (59000, 60000)
WINDOW_MS = 1000	# the default

BALLOON = "/sys/devices/system/xen_memory/xen_memory0"
PARAMETERS = "/sys/module/aeration_xen/parameters"
TRACING = "/sys/kernel/tracing"

# Functions that make a memory hypercall, and do nothing else.
OURS_CALLS = ("aeration_xen:aeration_xen_memory_op",)
STOCK_CALLS = ("xenmem_reservation_decrease", "xenmem_reservation_increase")

# Prints how many calls there were, and the seconds in them.
SUM_CALLS = r"""
function stamp(i) {
	for (i = 1; i <= NF; i++)
		if ($i ~ /^[0-9]+\.[0-9]+:$/)
			return $i + 0
}
/ call_[0-9]+: / { began = stamp(); calls++ }
/ done_[0-9]+: / { spent += stamp() - began }
END { printf "%d %.6f\n", calls, spent }
"""


@dataclasses.dataclass(frozen=True)
class Move:
    """Memory gone to Xen, or come back; for each GiB."""

    seconds: float
    calls: float	# hypercalls
    inside: float	# seconds in them


class Guest:
    """One of the two domains; its children know how to move memory."""

    name = None
    probed = ()
    worst = None	# while a program sleeps: by how much it was late, ms

    def __init__(self, xen, kernel):
        self.domain = xen.domain(kernel, "pvh", name=self.name,
                                 mem_mib=DOMAIN_MIB,
                                 cmdline=COMMAND_LINE)
        self.full = self.domain.mib()
        self.domain.push("/tmp/calls.awk", SUM_CALLS.encode())

    def probe(self):
        """Put probes on the functions that make hypercalls."""
        lines = [f"echo mono > {TRACING}/trace_clock"]
        for number, function in enumerate(self.probed):
            for kind, event in (("p", "call"), ("r", "done")):
                lines.append(f"echo '{kind}:bench/{event}_{number} {function}'"
                             f" >> {TRACING}/kprobe_events")
        lines.append(f"echo 1 > {TRACING}/events/bench/enable")
        self.domain.run(" && ".join(lines))

    def move(self, do, left):
        """Have `do()` move the memory; return the Move.

        `do` returns the seconds it took; `left` is what the domain has then.
        """
        time.sleep(CALM)
        self.domain.run(f"echo > {TRACING}/trace")
        seconds = do() if self.worst is None else self.with_naps(do)
        calls, inside = self.domain.run(
            f"awk -f /tmp/calls.awk {TRACING}/trace").out.split()
        self.domain.wait_until(
            lambda: abs(self.domain.mib() - left) <= ROUNDING_MIB,
            f"xl list to show {left} MiB for {self.name!r}", SETTLE_TIMEOUT)
        share = MOVED_MIB / GIB_MIB
        return Move(seconds / share, int(calls) / share,
                    float(inside) / share)

    def with_naps(self, do):
        """Do something while a program sleeps over and over; keep its worst delay."""
        job = self.domain.start(f"exec /opt/aeration/memclock asleep {NAP_MS}")
        said = do()
        job.kill("TERM")
        self.domain.wait_until(lambda: job.says("turns"),
                               "memclock to say how long it slept", READY_TIMEOUT)
        self.worst = number_in(job.output(), "worst") / 1000
        return said

    def delays(self):
        """Return the worst delays at rest and during each move, by key."""
        found = {}
        self.scrub(True)
        for what, do in (("rest", lambda: self.with_naps(lambda: time.sleep(REST))),
                         ("surrender", self.surrender),
                         ("restore", self.restore)):
            self.worst = 0
            do()
            found[f"{self.name}_{what}_delay_ms"] = self.worst
        self.worst = None
        return found


def number_in(text, name):
    """Return the number that a program of the guest printed after a name."""
    for line in text.splitlines():
        if line.startswith(f"{name} "):
            return float(line.split()[1])
    raise ToolError(f"the guest did not say {name}: {text.strip()}")


def seconds_in(text):
    """Return the seconds that a program of the guest printed."""
    return number_in(text, "seconds")


class Ours(Guest):
    """The domain with the modules; nothing is held between two moves."""

    name = "ours"
    probed = OURS_CALLS
    window = 0

    def __init__(self, xen, kernel):
        super().__init__(xen, kernel)
        self.domain.run("modprobe aeration backoff_ms=0 max_held=0 && "
                        "modprobe aeration_xen")
        need_running(self.domain, "xen")
        self.probe()

    def set(self, name, value):
        """Write to a file of the core."""
        self.domain.run(f"echo {value} > {SYSFS}/{name}",
                        timeout=MOVE_TIMEOUT)

    def held(self):
        """Return the bytes that are held."""
        return int(self.domain.run(f"cat {SYSFS}/hold/held_bytes").out)

    def scrub(self, on):
        """Have memory scrubbed, or not."""
        self.domain.run(f"echo {'NY'[on]} > {PARAMETERS}/scrub")

    def _calls(self, which):
        return int(self.domain.run(f"cat {PARAMETERS}/{which}_calls").out)

    def _order(self, trigger, held, which, left):
        before = self._calls(which)
        moved = self.move(lambda: seconds_in(self.domain.run(
            f"/opt/aeration/memclock order {SYSFS}/{trigger} "
            f"{SYSFS}/hold/held_bytes {held}", timeout=MOVE_TIMEOUT).out),
            left)
        calls = (self._calls(which) - before) * GIB_MIB / MOVED_MIB
        return dataclasses.replace(moved, calls=calls)

    def surrender(self):
        """Give memory to Xen."""
        self.window = 1 - self.window
        self.set("window_ms", LONG_MS[self.window])
        self.set("max_held", MOVED_MIB * MIB)
        return self._order("flush", MOVED_MIB * MIB, "decrease",
                           self.full - MOVED_MIB)

    def restore(self):
        """Get it back."""
        moved = self._order("restore", 0, "populate", self.full)
        self.set("max_held", 0)
        return moved

    def _touch(self, mib):
        return seconds_in(self.domain.run(
            f"/opt/aeration/memwork burst {mib}", timeout=BURST_TIMEOUT).out)

    def surplus(self):
        """Surrender all there is, get it back; return how much it was, MiB."""
        self._all_away()
        held = self.held() // MIB
        self._all_back()
        return held

    def _all_away(self):
        time.sleep(CALM)
        self.set("window_ms", WINDOW_MS)
        self.set("max_held", "100%")
        self.set("flush", 1)

    def _all_back(self):
        self.set("max_held", 0)
        self.domain.wait_until(lambda: not self.held(), "all to be back",
                               SETTLE_TIMEOUT)

    def burst(self, mib, away):
        """Touch memory, with all surplus away or nothing; return seconds."""
        if away:
            self._all_away()
        held = self.held()
        seconds = self._touch(mib)
        left = self.held()
        self._all_back()
        if away and held - left < mib * MIB / 2:
            raise ToolError(f"a burst of {mib} MiB had only "
                            f"{(held - left) // MIB} MiB of what was held")
        return seconds


class Stock(Guest):
    """The domain with the stock balloon alone."""

    name = "stock"
    probed = STOCK_CALLS

    def __init__(self, xen, kernel):
        super().__init__(xen, kernel)
        self.probe()

    def scrub(self, on):
        """Have memory scrubbed, or not."""
        self.domain.run(f"echo {int(on)} > {BALLOON}/scrub_pages")

    def _resize(self, mib):
        job = self.domain.start(f"exec /opt/aeration/memclock follow "
                                f"{BALLOON}/target_kb "
                                f"{BALLOON}/info/current_kb")
        self.domain.wait_until(lambda: job.says("ready"),
                               "memclock to be ready", READY_TIMEOUT)
        self.domain.mem_set(mib)
        self.domain.wait_until(lambda: not job.running(),
                               f"the balloon to reach {mib} MiB",
                               MOVE_TIMEOUT, poll=POLL)
        return seconds_in(job.wait().out)

    def surrender(self):
        """Give memory to Xen."""
        left = self.full - MOVED_MIB
        return self.move(lambda: self._resize(left), left)

    def restore(self):
        """Get it back."""
        return self.move(lambda: self._resize(self.full), self.full)


def move_all(guests, scrub):
    """Have each guest surrender and restore; return samples by name."""
    samples = {}
    suffix = "_scrub" if scrub else ""
    for guest in guests:
        guest.scrub(scrub)
        for way in ("surrender", "restore"):
            moved = getattr(guest, way)()
            samples[f"{guest.name}_{way}_s{suffix}"] = moved.seconds
            samples[f"{guest.name}_{way}_inside_s{suffix}"] = moved.inside
            samples[f"{guest.name}_{way}_calls{suffix}"] = moved.calls
    return samples


def bursts(ours, mib, order):
    """Return the samples of the bursts with and without memory away, per GiB.

    What is away has been scrubbed then, as it is by default.
    """
    ours.scrub(True)
    seconds = {away: ours.burst(mib, away) * GIB_MIB / mib for away in order}
    return {"burst_with_s": seconds[True], "burst_without_s": seconds[False]}


def one_round(guests, mib, number):
    """Return all samples of one round; who is first alternates."""
    ours = guests[0]
    order = guests if number % 2 else guests[::-1]
    samples = {"load_average": os.getloadavg()[0]}
    for scrub in (False, True):
        samples.update(move_all(order, scrub))
    samples.update(bursts(ours, mib, (True, False)[::1 if number % 2 else -1]))
    return samples


def told(samples):
    """Return what one round's samples tell, by key of the results."""
    found = {}
    for suffix in ("", "_scrub"):
        for way in ("surrender", "restore"):
            found[f"{way}_ratio{suffix}"] = \
                samples[f"stock_{way}_s{suffix}"] / \
                samples[f"ours_{way}_s{suffix}"]
    found["burst_ratio"] = samples["burst_with_s"] / samples["burst_without_s"]
    for way in ("surrender", "restore"):
        found[f"hypercalls_per_gib_{way}"] = samples[f"ours_{way}_calls"]
        found[f"stock_hypercalls_per_gib_{way}"] = \
            samples[f"stock_{way}_calls"]
    # All times are for each GiB.
    found.update((key, value) for key, value in samples.items()
                 if not key.removesuffix("_scrub").endswith("_calls"))
    return found


def say_round(what, samples):
    """Print what came out of a round."""
    say(f"xen: {what}: surrender {samples['ours_surrender_s']:.2f} s, stock "
        f"{samples['stock_surrender_s']:.2f} s; restore "
        f"{samples['ours_restore_s']:.2f} s, stock "
        f"{samples['stock_restore_s']:.2f} s; burst "
        f"{samples['burst_with_s']:.2f} s, with nothing away "
        f"{samples['burst_without_s']:.2f} s; load "
        f"{samples['load_average']:.1f}")


def measure(options):
    """Do all rounds on one Xen; return the results."""
    version = toolkit.xen_for(options.kernel)
    toolkit.prepare(options.kernel, version)
    say(f"xen: booting Xen {version}, domain 0, and two PVH domains of "
        f"{DOMAIN_MIB} MiB")
    with Xen(version, f"bench-xen-{options.kernel}", kernels=[options.kernel],
             mem_mib=DOM0_MIB + 2 * DOMAIN_MIB + XEN_MIB,
             dom0_mib=DOM0_MIB) as xen:
        try:
            guests = (Ours(xen, options.kernel), Stock(xen, options.kernel))
            mib = guests[0].surplus()
            say(f"xen: {MOVED_MIB} MiB are moved, {mib} MiB burst")
            say_round("warming up", one_round(guests, mib, 0))
            rounds = []
            for number in range(1, options.rounds + 1):
                rounds.append(one_round(guests, mib, number))
                say_round(f"round {number} of {options.rounds}", rounds[-1])
            delays = {key: value for one in guests
                      for key, value in one.delays().items()}
            say(f"xen: a sleep of {NAP_MS} ms was longer by, at worst: " + ", ".join(
                f"{key.removesuffix('_delay_ms').replace('_', ' ')} "
                f"{value:.0f} ms" for key, value in delays.items()))
            return {
                "xen": xen.run("xl info xen_version").out.strip(),
                "kernel": guests[0].domain.run("uname -r").out.strip(),
                "rounds": len(rounds), "moved_mib": MOVED_MIB,
                "burst_mib": mib, **delays, **figures([told(one) for one in rounds])}
        except ToolError as error:
            raise ToolError(f"xen: {error}; logs: {xen.logs}") from None
