# SPDX-License-Identifier: GPL-2.0
"""The Xen half of the demonstration: memory goes to Xen and comes back.

The same image boots in a PVH domain. A process there touches memory and frees
it, and a while later another one needs it all again. What is shown is what
domain 0 sees: `xl list` and `xl info`.
"""

import dataclasses
import json
import time

import toolkit
from demo_qemu import COLORS, FREE_TIMEOUT, GUEST_MIB, SHARE, touch
from toolkit import RESULTS, Screen, ToolError, data_block, need_running, say

from lab.xen import Xen

# Name of the files with the results.
RESULT = "demo-xen"

# Xen keeps some for itself, and a domain needs more than its own memory.
DOM0_MIB = 1024
XEN_MIB = 512

# Seconds.
AWAY_TIMEOUT = 60	# for SHARE to be with Xen
BURST_TIMEOUT = 180
AFTERWARDS = 2		# watched on, after something has happened
BEFORE = 3		# shown in the plot, before the free

# Before the clock starts, the domain keeps as much memory for so long.
STILL_MIB = 4
STILL_SECONDS = 3
STILL_TIMEOUT = 120

# `xl list` counts whole MiB; a kernel and its page tables come and go.
SLACK_MIB = 32


@dataclasses.dataclass(frozen=True)
class Look:
    """What domain 0 saw."""

    at: float	# time.monotonic()
    domain: int	# memory of the domain, MiB: xl list
    free: int	# memory that no domain has, MiB: xl info


@dataclasses.dataclass(frozen=True)
class Run:
    """What happened; times are seconds since the order to free."""

    xen: str		# version
    kernel: str		# uname -r
    before: Look	# at time 0
    away_s: float	# until SHARE was with Xen
    away: Look		# at the end of that part
    burst_at: float	# when memory was needed again
    back_s: float	# from there until SHARE was back
    done_s: float	# from there until the burst was done
    back: Look		# the most that the domain had then
    looks: list


class Watcher:
    """Looks at a domain from domain 0; keeps and shows what it sees."""

    def __init__(self, xen, domain):
        self.xen = xen
        self.domain = domain
        self.looks = []
        self.start = None	# of the clock; shown before that: nothing

    def look(self):
        """Look once; return the Look."""
        begin = time.monotonic()
        # One command, or the two numbers would be from different times.
        said = self.xen.run(f"xl list {self.domain.id} | tail -n 1; "
                            "xl info free_memory").out.split()
        self.looks.append(Look((begin + time.monotonic()) / 2, int(said[2]),
                               int(said[-1])))
        return self.looks[-1]

    def until(self, done, what, timeout):
        """Look, and show it, until `done(look)`; return that Look."""
        screen = Screen()
        end = time.monotonic() + timeout
        try:
            while True:
                look = self.look()
                if self.start is not None:
                    screen.show(f"  {look.at - self.start:5.2f} s   xl list: "
                                f"the domain has {look.domain:4} MiB   xl "
                                f"info: Xen has {look.free:4} MiB free")
                if done(look):
                    return look
                if look.at > end:
                    raise ToolError(
                        f"waited {timeout} s in vain for {what}: the domain "
                        f"has {look.domain} MiB, Xen {look.free} MiB free")
        finally:
            if self.start is not None:
                screen.end()

    def rest(self):
        """Look until the domain's memory keeps still; return a Look."""
        def still(look):
            last = [one.domain for one in self.looks
                    if one.at > look.at - STILL_SECONDS]
            return (look.at - self.looks[0].at > STILL_SECONDS and
                    max(last) - min(last) < STILL_MIB)

        return self.until(still, "the domain's memory to keep still",
                          STILL_TIMEOUT)

    def afterwards(self):
        """Look on for a while; return the last Look."""
        end = time.monotonic() + AFTERWARDS
        return self.until(lambda look: look.at > end, "the clock",
                          AFTERWARDS + STILL_TIMEOUT)


def free(watcher, domain, mib):
    """Have the memory freed, and watch it go; return (first, reached, last).

    The modules are loaded when it is in use, so the first that goes is what the
    guest did not need anyway.
    """
    job, pid = touch(domain, mib)
    domain.run("modprobe aeration_xen")
    need_running(domain, "xen")
    say("xen: modules loaded; what is not in use goes to Xen")
    watcher.until(lambda look: look.domain < watcher.looks[0].domain,
                  "memory to go to Xen", AWAY_TIMEOUT)
    before = watcher.rest()
    say(f"xen: the domain has {before.domain} MiB; freeing {mib} MiB now")
    watcher.start = time.monotonic()
    domain.run(f"kill -USR1 {pid}")
    reached = watcher.until(
        lambda look: look.domain <= before.domain - SHARE * mib,
        f"{SHARE:.0%} of {mib} MiB to go to Xen", AWAY_TIMEOUT)
    last = watcher.afterwards()
    domain.run(f"kill -USR1 {pid}")
    job.wait(FREE_TIMEOUT)
    return before, reached, last


def oom_kills(domain):
    """Return how many processes died for want of memory."""
    return int(domain.run("awk '$1 == \"oom_kill\" { print $2 }' "
                          "/proc/vmstat").out)


def burst(watcher, domain, mib):
    """Have all of it used at once, and watch; return (start, end, Looks)."""
    seen = len(watcher.looks)
    job = domain.start(f"exec /opt/aeration/memwork verify {mib}")
    start = time.monotonic()
    end = watcher.until(lambda look: not job.running(), "the burst to end",
                        BURST_TIMEOUT).at
    done = job.wait(check=False)
    if done.rc or "wrong 0" not in done.out or oom_kills(domain):
        raise ToolError(f"the burst went wrong, status {done.rc}: "
                        f"{done.out.strip()}; {oom_kills(domain)} processes "
                        "killed for want of memory")
    return start, end, watcher.looks[seen:]


def measure(xen, domain, mib):
    """Free memory, need it again, and see what domain 0 sees."""
    version = domain.run("uname -r").out.strip()
    watcher = Watcher(xen, domain)
    say(f"xen: kernel {version}, touching {mib} MiB")
    before, reached, away = free(watcher, domain, mib)
    say(f"xen: now a program needs {mib} MiB at once")
    at, end, looks = burst(watcher, domain, mib)
    enough = before.domain - (1 - SHARE) * mib - SLACK_MIB
    back = next((look for look in looks if look.domain >= enough), None)
    if not back:
        raise ToolError(f"the burst had its {mib} MiB, yet xl list never "
                        f"showed {enough:.0f} MiB")
    watcher.afterwards()
    say(f"xen: {oom_kills(domain)} processes killed, every word of the "
        f"{mib} MiB as it was written")
    start = watcher.start
    return Run(xen.version, version, before, reached.at - start, away,
               at - start, back.at - at, end - at,
               max(looks, key=lambda look: look.domain),
               [dataclasses.replace(look, at=look.at - start)
                for look in watcher.looks if look.at >= start - BEFORE])


PLOT = """
set terminal pngcairo size 1000,600 font "sans,12"
set output "{output}"
set title "{mib} MiB freed at 0 s in a PVH domain of {guest} GiB, and needed \
again\\nXen {xen}, kernel {kernel}"
set xlabel "Time since the memory was freed (s)"
set ylabel "Memory (MiB)"
set xrange [{begin}:{end}]
set yrange [0:{top}]
set grid
set bmargin 5.5
set key below
set arrow from 0, graph 0 to 0, graph 1 nohead dashtype 3 linecolor "gray40"
set arrow from {burst}, graph 0 to {burst}, graph 1 nohead dashtype 3 \
linecolor "gray40"
set label "freed; {share:.0%} is with Xen after {away:.1f} s" at 0, graph 0.96 \
offset 0.7,0 textcolor "gray40"
set label "needed again; back after {back:.1f} s" at {burst}, graph 0.96 \
offset 0.7,0 textcolor "gray40"
plot $domain with linespoints linewidth 2 pointtype 7 pointsize 0.5 \
linecolor "{color1}" title "the domain has (xl list)", \
     $free with linespoints linewidth 2 pointtype 7 pointsize 0.5 \
linecolor "{color2}" title "Xen has free (xl info)"
"""


def plot(run, mib, path):
    """Draw both curves with gnuplot."""
    data = data_block("domain", [(one.at, one.domain) for one in run.looks])
    data += data_block("free", [(one.at, one.free) for one in run.looks])
    most = max(max(one.domain, one.free) for one in run.looks)
    toolkit.plot(data + PLOT.format(
        output=path, mib=mib, guest=GUEST_MIB >> 10, xen=run.xen,
        kernel=run.kernel, begin=-BEFORE, end=run.looks[-1].at,
        top=most * 1.15, burst=run.burst_at, share=SHARE, away=run.away_s,
        back=run.back_s, color1=COLORS[0],
        color2=COLORS[1]), path)


def write_results(run, mib):
    """Write the results and the plot."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    plot(run, mib, RESULTS / f"{RESULT}.png")
    (RESULTS / f"{RESULT}.json").write_text(json.dumps({
        "xen": run.xen,
        "kernel": run.kernel,
        "freed_mib": mib,
        "away_s": round(run.away_s, 3),
        "back_s": round(run.back_s, 3),
        "burst_s": round(run.done_s, 3),
        "domain_mib": [run.before.domain, run.away.domain, run.back.domain],
        "free_mib": [run.before.free, run.away.free, run.back.free],
    }, indent=2) + "\n", encoding="ascii")


def result(_options):
    """Return the name of the files with the results."""
    return RESULT


def show(options):
    """Show it all; return what came of it, one line."""
    for suffix in ("json", "png"):
        (RESULTS / f"{RESULT}.{suffix}").unlink(missing_ok=True)
    version = toolkit.xen_for(options.kernel)
    say(f"xen: booting Xen {version}, domain 0, and a PVH domain of "
        f"{GUEST_MIB >> 10} GiB")
    with Xen(version, f"demo-xen-{options.kernel}", kernels=[options.kernel],
             mem_mib=DOM0_MIB + GUEST_MIB + XEN_MIB,
             dom0_mib=DOM0_MIB) as xen:
        domain = xen.domain(options.kernel, "pvh", mem_mib=GUEST_MIB)
        try:
            run = measure(xen, domain, options.mib)
        except ToolError as error:
            raise ToolError(f"xen: {error}; logs: {xen.logs}") from None
    write_results(run, options.mib)
    return (f"Xen: the domain went from {run.before.domain} to "
            f"{run.away.domain} MiB, {SHARE:.0%} of what was freed within "
            f"{run.away_s:.1f} s; needed again, it was back after "
            f"{run.back_s:.1f} s and nothing was killed.")
