# SPDX-License-Identifier: GPL-2.0
"""pytest's side of the verdict: what a run cost, and its last line.

The verdict is the last line, alone on it: `N passed, N failed, N skipped`. Before it: the
goals that were missed (they count as skipped), the slowest tests, how busy the
processors were and how many machines were booted. build/results/tests.json has all of
it.
"""

import collections
import json
import os
import pathlib
import time

import pytest

from lab import cache, tally

SLOWEST = 10

# The emulator's own failures at boot that a run may have: see Vm.boot().
AGAIN_MOST = 2

RESULTS = cache.BUILD / "results"

# In user_properties of a test's last report.
PROPERTY = "lab_tally"


def processor_ticks():
    """Return (ticks of all processors, those of them that were idle)."""
    fields = pathlib.Path("/proc/stat").read_text(
        encoding="ascii").splitlines()[0].split()[1:]
    ticks = [int(field) for field in fields[:8]]
    return sum(ticks), ticks[3] + ticks[4]


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_teardown(item):
    """Have the report of a test tell what was booted for it."""
    yield
    item.user_properties.append((PROPERTY, tally.taken()))


def pytest_configure(config):
    """Keep what all workers tell where it arrives."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Verdict(config), "lab-verdict")


class Verdict:
    """What a run cost."""

    def __init__(self, config):
        self.config = config
        self.seconds = collections.Counter()
        self.boots = collections.Counter()
        self.began = time.monotonic()
        self.ticks = processor_ticks()

    def pytest_runtest_logreport(self, report):
        """A phase of a test has ended."""
        self.seconds[report.nodeid] += report.duration
        if report.when == "teardown":
            for name, value in report.user_properties:
                if name == PROPERTY:
                    self.boots.update(value)

    @property
    def too_often(self):
        """Whether the emulator failed so often that something else is wrong."""
        return self.boots["again"] > AGAIN_MOST

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session):
        """Fail a run in which the emulator failed too often."""
        if self.too_often and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def busy(self):
        """Return the part of the time that the processors had work."""
        total, idle = (now - before for now, before in
                       zip(processor_ticks(), self.ticks, strict=True))
        return 1 - idle / total if total else 0

    def pytest_terminal_summary(self, terminalreporter):
        """Say what the run cost."""
        if not self.boots and len(self.seconds) < SLOWEST:
            return
        wall = time.monotonic() - self.began
        busy = self.busy()
        say = terminalreporter.write_line
        terminalreporter.section("what it cost")
        for name, seconds in self.seconds.most_common(SLOWEST):
            say(f"{seconds:7.1f} s  {name.split('@')[0]}")
        for what, text in tally.BOOTS.items():
            say(f"{self.boots[what]:7}    {text}")
        cpus = os.cpu_count()
        for report in terminalreporter.stats.get("xfailed", ()):
            say(f" missed    {report.nodeid.split('@')[0]}: {report.wasxfail}")
        say(f"{wall / 60:7.1f} min in all, in which the {cpus} processors were "
            f"busy for {busy:.0%} of the time: {wall * busy * cpus / 60:.0f} "
            "CPU minutes, whoever else's among them")
        if self.too_often:
            say(f"FAILED: the emulator failed at more than {AGAIN_MOST} boots: "
                "is it the emulator?")
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / "tests.json").write_text(json.dumps({
            "tier": self.config.option.tier,
            "rotate": self.config.option.rotate,
            "wall_seconds": round(wall, 1), "busy": round(busy, 3),
            "processors": cpus, "boots": dict(self.boots),
            "seconds": {name: round(seconds, 1) for name, seconds in
                        self.seconds.most_common()}}, indent=1) + "\n",
            encoding="utf-8")


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    """Print the verdict."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or config.option.collectonly:
        return
    count = {name: len(reporter.stats.get(name, ())) for name in
             ("passed", "failed", "error", "skipped", "xfailed", "xpassed")}
    failed = count["failed"] + count["error"]
    verdict = config.pluginmanager.get_plugin("lab-verdict")
    if verdict and verdict.too_often:
        failed += 1
    if getattr(config, "lab_cut_short", False):
        # What did not get to run has not passed.
        failed = max(failed, 1)
    print(f"{count['passed'] + count['xpassed']} passed, {failed} failed, "
          f"{count['skipped'] + count['xfailed']} skipped", flush=True)
