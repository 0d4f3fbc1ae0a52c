#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Shows how memory that a guest frees goes back to its host.

One guest image in two places: demo_qemu.py has the half on QEMU, demo_xen.py
the half in a domain of Xen. Who asks for it sees both with a disk of Debian, on
which our packages were installed: demo_debian.py.
"""

import argparse
import pathlib
import sys

sys.path.insert(1, str(pathlib.Path(__file__).resolve().parents[1]))

import toolkit					# noqa: E402
from toolkit import RESULTS, TOP, say		# noqa: E402

from lab import suites				# noqa: E402

import demo_debian				# noqa: E402
import demo_qemu				# noqa: E402
import demo_xen					# noqa: E402

HALVES = {"qemu": demo_qemu, "xen": demo_xen}
PLACES = {**HALVES, "debian": demo_debian}

# Less is lost in the guest's own coming and going; more does not fit beside
# the kernel and the image.
MIB_MIN = 256
MIB_MAX = 1700


def demo(options):
    """Do it all; print the results as the last lines, one for each half."""
    toolkit.need_gnuplot()
    places = [options.place] if options.place else list(HALVES)
    if options.host == "hintd":
        places = ["qemu"]
    toolkit.prepare(options.kernel, places != ["qemu"] and
                    toolkit.xen_for(options.kernel))
    said = [PLACES[place].show(options) for place in places]
    say(f"results: {RESULTS.relative_to(TOP)}/, " + ", ".join(
        f"{PLACES[place].result(options)}.json" + " and .png" * (place in HALVES)
        for place in places))
    for line in said:
        say(line)


def memory(text):
    """Return the number of MiB in an argument."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a whole number of MiB") from None
    if not MIB_MIN <= value <= MIB_MAX:
        raise argparse.ArgumentTypeError(
            f"{value} MiB: a guest of {demo_qemu.GUEST_MIB} MiB can free "
            f"{MIB_MIN} to {MIB_MAX} MiB")
    return value


def parse():
    """Return the arguments."""
    parser = argparse.ArgumentParser(
        prog="tools/demo/demo.py", description=__doc__.split("\n\n")[0],
        epilog=f"Results: {RESULTS.relative_to(TOP)}/demo.json and demo.png, "
        "demo-xen.* and demo-hintd.*, in the source tree. By make: "
        "make demo [PLACE=xen] [KERNEL=6.12] [MIB=1000] [HOST=hintd]")
    parser.add_argument("--place", choices=tuple(PLACES),
                        help="only this half (default both, qemu and xen), or debian: "
                        "one disk of Debian, with packages, in both")
    parser.add_argument("--kernel", choices=suites.KERNELS, default="6.1",
                        help="kernel of the guests (default %(default)s; "
                        f"there are {', '.join(suites.KERNELS)})",
                        metavar="SERIES")
    parser.add_argument("--mib", type=memory, default=1500, metavar="MIB",
                        help="memory to touch and free "
                        "(default %(default)s)")
    parser.add_argument("--host", choices=demo_qemu.CASES, default="qemu",
                        help="what the half on QEMU compares: two drivers on "
                        "QEMU's own device, or our driver on hintd and on "
                        "that device, and then there is no other half "
                        "(default %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    asked = parse()
    sys.exit(toolkit.run_tool("demo", lambda: demo(asked)))
