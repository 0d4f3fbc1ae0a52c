# SPDX-License-Identifier: GPL-2.0
"""What the demonstration and the benchmarks have in common."""

import pathlib
import shutil
import signal
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "tests"))

from lab import LabError, build, cache, hypervisors, image	# noqa: E402
from lab import kernels, suites					# noqa: E402

RESULTS = TOP / "build" / "results"
MIB = 1 << 20

SYSFS = "/sys/kernel/aeration"

PLOT_TIMEOUT = 60	# seconds


class ToolError(Exception):
    """The tool cannot go on; the text is one line."""


def say(text):
    """Print one line of progress."""
    print(text, flush=True)


class Screen:
    """One line that is written over on a terminal, many lines elsewhere."""

    def __init__(self):
        self.over = sys.stdout.isatty()

    def show(self, text):
        """Show the newest state."""
        if self.over:
            sys.stdout.write(f"\r\x1b[K{text}")
            sys.stdout.flush()
        else:
            say(text)

    def end(self):
        """Leave the last state on the terminal."""
        if self.over:
            say("")


def xen_for(series):
    """Return the version of Xen for a guest's kernel.

    That of the kernel's own suite, or the newest if that suite has none.
    """
    by_kernel = {kernel: version
                 for version, kernel in hypervisors.versions().items()}
    return by_kernel.get(series) or list(hypervisors.versions())[-1]


def prepare(series, xen=None):
    """Make everything that guests need, and a Xen too, saying what."""
    say(f"setup: build roots and kernels (kept in {cache.directory()})")
    kernels.all_kernels()
    if xen:
        say(f"setup: Xen {xen}")
        hypervisors.hypervisor(xen)
    say("setup: modules")
    for one in suites.KERNELS:
        build.modules(one)
    say("setup: guest image")
    image.image()
    say(f"setup: done; kernel {kernels.kernel(series).version}")


def need_running(guest, backend):
    """Fail unless the core of a guest uses this backend."""
    state = guest.run(f"cat {SYSFS}/state").out.strip()
    if state != "running":
        why = guest.run(f"cat {SYSFS}/why/{backend}").out.strip()
        raise ToolError(f"aeration is {state}, not running: {why}")


def need_gnuplot():
    """Fail before anything is measured that could not be drawn."""
    if not shutil.which("gnuplot"):
        raise ToolError("gnuplot is missing: run tests/lab/setup.sh")


def data_block(name, points):
    """Return points as a named data block of gnuplot."""
    lines = "\n".join(f"{x:.4f} {y:.3f}" for x, y in points)
    return f"${name} << EOD\n{lines}\nEOD\n"


def plot(script, path):
    """Have gnuplot draw a script, whose output is `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["gnuplot"], input=script, text=True,
                          timeout=PLOT_TIMEOUT, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    if done.returncode or not path.exists():
        said = " ".join(done.stdout.split())
        raise ToolError(f"gnuplot failed, status {done.returncode}: {said}")


def terminated(*_):
    """A SIGTERM ends the guests as ^C does."""
    raise KeyboardInterrupt


def run_tool(name, action):
    """Do `action()`; return the exit status, with errors as one line."""
    signal.signal(signal.SIGTERM, terminated)
    try:
        action()
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 130
    except (ToolError, LabError, OSError,
            subprocess.SubprocessError) as error:
        first, *rest = str(error).splitlines() or [repr(error)]
        if rest:
            print("\n".join(rest), file=sys.stderr)
        logs = next((line for line in rest if line.startswith("logs: ")), "")
        print(f"{name}: {first}" + (f"; {logs}" if logs else ""),
              file=sys.stderr)
        return 1
    return 0
