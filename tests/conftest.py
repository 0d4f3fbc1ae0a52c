# SPDX-License-Identifier: GPL-2.0
"""pytest's side of the lab: kernels as parameters, one line as the verdict."""

import pathlib
import signal
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from lab import image as lab_image	# noqa: E402
from lab import suites			# noqa: E402


def pytest_addoption(parser):
    """Add --kernel."""
    parser.addoption("--kernel", action="append", choices=suites.KERNELS,
                     help="run the tests that boot on this kernel only; may "
                     f"be repeated; default all: {', '.join(suites.KERNELS)}")


def pytest_configure(config):
    """Let a SIGTERM end the guests too, as ^C does."""
    del config

    def stop(*_):
        raise KeyboardInterrupt("terminated")

    signal.signal(signal.SIGTERM, stop)


def pytest_generate_tests(metafunc):
    """Run a test that takes `kernel` once for each."""
    if "kernel" in metafunc.fixturenames:
        wanted = metafunc.config.getoption("--kernel") or suites.KERNELS
        metafunc.parametrize("kernel", wanted, scope="session")


def pytest_report_header(config):
    """Say which kernels are left out: nothing is restricted in silence."""
    wanted = config.getoption("--kernel") or suites.KERNELS
    left_out = [one for one in suites.KERNELS if one not in wanted]
    return "lab: kernels " + ", ".join(wanted) + (
        f"; NOT run, by --kernel: {', '.join(left_out)}" if left_out else "")


@pytest.fixture(scope="session")
def image():
    """The guest image, made when something in it has changed."""
    return lab_image.image()


def pytest_sessionfinish(session, exitstatus):
    """Keep the exit status for the verdict."""
    session.config.lab_cut_short = exitstatus in (
        pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    """Print the verdict: the last line, alone on it."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or config.option.collectonly:
        return
    count = {name: len(reporter.stats.get(name, ())) for name in
             ("passed", "failed", "error", "skipped", "xfailed", "xpassed")}
    failed = count["failed"] + count["error"]
    if getattr(config, "lab_cut_short", False):
        # What did not get to run has not passed.
        failed = max(failed, 1)
    line = f"{count['passed'] + count['xpassed']} passed, {failed} failed"
    skipped = count["skipped"] + count["xfailed"]
    if skipped:
        line += f", {skipped} skipped"
    print(line, flush=True)
