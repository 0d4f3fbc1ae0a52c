#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Measures these modules beside the stock drivers, in the same run.

Each part is a module with a name, a result file in build/results, and the
goals that its figures are shown beside. Nothing is asserted: a goal missed is
a figure like another.

A part has
	NAME		for --only, and of its result file
	ABOUT		what it measures, for --help
	GOALS		{key of the results: text}
	measure(options)	return the results, a dict
"""

import argparse
import json
import pathlib
import sys

import toolkit
from toolkit import RESULTS, TOP, ToolError, say

from lab import suites

import bench_xen
import figures

PARTS = {part.NAME: part for part in (bench_xen,)}

# With fewer there is no telling the spread.
ROUNDS_MIN = 3
ROUNDS_MAX = 99


def run(options):
    """Measure the parts asked for; write and show their results."""
    for name in options.only or PARTS:
        part = PARTS[name]
        path = RESULTS / f"{name}.json"
        path.unlink(missing_ok=True)
        results = part.measure(options)
        RESULTS.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=2) + "\n",
                        encoding="ascii")
        say("")
        for key, value in results.items():
            if not figures.is_figure(value):
                say(f"{key}: {value}")
        say(figures.result_table(results, part.GOALS))
        say(f"results: {path.relative_to(TOP)}")


def read(path):
    """Return the results in a file."""
    try:
        found = json.loads(pathlib.Path(path).read_text(encoding="ascii"))
    except ValueError as error:
        raise ToolError(f"{path} is not a result file: {error}") from None
    if not isinstance(found, dict):
        raise ToolError(f"{path} is not a result file: it holds no object")
    return found


def compare(options):
    """Show two result files beside each other."""
    say(figures.comparison(read(options.old), read(options.new)))
    say("*: the ranges over the rounds do not overlap")


def rounds(text):
    """Return the number of rounds in an argument."""
    if not text.isdecimal() or not ROUNDS_MIN <= int(text) <= ROUNDS_MAX:
        raise argparse.ArgumentTypeError(
            f"{text!r}: from {ROUNDS_MIN} to {ROUNDS_MAX} rounds can be made")
    return int(text)


def parse():
    """Return the arguments."""
    parser = argparse.ArgumentParser(
        prog="tools/bench.py", description=__doc__.split("\n\n")[0],
        epilog="By make: make bench [ONLY=xen] [KERNEL=6.12] [ROUNDS=9], "
        "make bench-compare OLD=FILE NEW=FILE")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    one = actions.add_parser(
        "run", help="measure", formatter_class=argparse.RawTextHelpFormatter,
        description="Measure; results go to build/results/PART.json.\n\n"
        + "\n".join(f"{name}: {part.ABOUT}" for name, part in PARTS.items()))
    one.set_defaults(action=run)
    one.add_argument("--only", action="append", choices=tuple(PARTS),
                     help="only this part; may be repeated")
    one.add_argument("--kernel", choices=suites.KERNELS, default="6.1",
                     metavar="SERIES", help="kernel of the guests (default "
                     f"%(default)s; there are {', '.join(suites.KERNELS)})")
    one.add_argument("--rounds", type=rounds, default=5, metavar="N",
                     help="rounds (default %(default)s)")
    one = actions.add_parser("compare", help="compare two result files",
                             description="Show two result files beside each "
                             "other.")
    one.set_defaults(action=compare)
    one.add_argument("old", metavar="OLD")
    one.add_argument("new", metavar="NEW")
    return parser.parse_args()


if __name__ == "__main__":
    asked = parse()
    sys.exit(toolkit.run_tool("bench", lambda: asked.action(asked)))
