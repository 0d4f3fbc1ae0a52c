# SPDX-License-Identifier: GPL-2.0
"""pytest's side of the lab: kernels as parameters, and an end for every guest."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from lab import LabError, cache, hypervisors, suites	# noqa: E402
from lab import image as lab_image	# noqa: E402
from lab import kernels as lab_kernels	# noqa: E402

# What the guests of one test take at most, and what logs and states do.
WORKER_MIB = 3072
SPACE_MIB = 6144

pytest_plugins = ["tiers", "verdict", "matrix_report"]


def pytest_addoption(parser):
    """Add --kernel."""
    parser.addoption("--kernel", action="append", choices=suites.KERNELS,
                     help="run the tests that boot on this kernel only; may "
                     f"be repeated; default all: {', '.join(suites.KERNELS)}")


def pytest_configure(config):
    """Let a SIGTERM end the guests too, as ^C does.

    A worker of xdist may get both: ^C goes to everybody, and then the
    controller sends it a SIGTERM. The second must not cut short what the first
    has begun.
    """
    signals = [signal.SIGTERM]
    if hasattr(config, "workerinput"):
        signals.append(signal.SIGINT)
    elif getattr(config.option, "tx", None):
        config.lab_workers = {}		# process ids by gateway
        config.lab_verbose = config.option.verbose
        _start_in_main_thread(config)

    def stop(*_):
        for one in signals:
            signal.signal(one, lambda *_: None)
        raise KeyboardInterrupt("terminated")

    for one in signals:
        signal.signal(one, stop)


def _start_in_main_thread(config):
    """Have the workers that start next run tests in their main thread.

    Nowhere else does a signal end a test. A worker's main thread takes the
    first work it gets, and when it is verbose, xdist's first work is to ask
    for versions.
    """
    config.option.verbose = 0


@pytest.hookimpl(optionalhook=True)
def pytest_testnodeready(node):
    """Note the process id of a new worker, asked for as xdist itself does."""
    node.config.lab_workers[node.gateway.id] = node.gateway._rinfo().pid
    node.config.option.verbose = node.config.lab_verbose


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    """Forget a worker: its process id may become another's."""
    node.config.lab_workers.pop(node.gateway.id, None)
    if error:
        _start_in_main_thread(node.config)	# another one takes its place


def pytest_generate_tests(metafunc):
    """Run a test that takes `kernel` once for each.

    One that takes `xen_version` runs with each Xen whose suite's kernel is
    wanted.
    """
    wanted = metafunc.config.getoption("--kernel") or suites.KERNELS
    if "kernel" in metafunc.fixturenames:
        metafunc.parametrize("kernel", wanted, scope="session")
    if "xen_version" in metafunc.fixturenames:
        metafunc.parametrize("xen_version", [
            version for version, kernel in hypervisors.versions().items()
            if kernel in wanted], scope="session")


def pytest_report_header(config):
    """Say which kernels are left out: nothing is restricted in silence."""
    wanted = config.getoption("--kernel") or suites.KERNELS
    left_out = [one for one in suites.KERNELS if one not in wanted]
    lines = ["lab: kernels " + ", ".join(wanted) + (
        f"; NOT run, by --kernel: {', '.join(left_out)}" if left_out else "")]
    for series in wanted:
        with contextlib.suppress(LabError):
            moved = lab_kernels.kernel(series).moved
            lines += [f"lab: {moved}"] if moved else []
    return lines


def shortage(workers):
    """Return what this machine has too little of, in a sentence, or ""."""
    available = int(re.search(r"^MemAvailable: +(\d+)", pathlib.Path(
        "/proc/meminfo").read_text(encoding="ascii"), re.M)[1]) >> 10
    wanted = workers * WORKER_MIB
    if available < wanted:
        return (f"{available} MiB of memory are available, and {workers} tests "
                f"beside each other take up to {wanted}: give JOBS="
                f"{max(available // WORKER_MIB, 1)}, or end something else")
    cache.BUILD.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache.BUILD).free >> 20
    if free < SPACE_MIB:
        return (f"{free} MiB are free in {cache.BUILD}, and logs and saved "
                f"states of guests take up to {SPACE_MIB}: make clean removes "
                "those there are")
    return ""


def pytest_sessionstart(session):
    """End at once, in words, where guests cannot run."""
    config = session.config
    if hasattr(config, "workerinput") or config.option.collectonly or \
            os.environ.get("PYTEST_CURRENT_TEST"):
        return
    workers = len(config.option.tx) if getattr(config.option, "tx", None) else 1
    missing = shortage(workers)
    if missing:
        raise pytest.UsageError(missing)


@pytest.fixture(scope="session")
def image():
    """The guest image, made when something in it has changed."""
    return lab_image.image()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session, exitstatus):
    """Keep the exit status for the verdict; have workers end their guests.

    xdist would wait for a test to end and then kill its worker, and QEMU would
    stay.
    """
    session.config.lab_cut_short = exitstatus not in (
        pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    if session.config.lab_cut_short:
        for pid in getattr(session.config, "lab_workers", {}).values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
