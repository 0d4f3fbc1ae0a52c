#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Measures these modules beside the stock drivers, in the same run.

Each part is a module with a name, a result file in build/results, and the
goals that its figures are shown beside. Nothing is asserted: a goal missed is
a figure like another.

A part has
	NAME		for --only
	FILE		name of its result file; all parts on QEMU share one, see
			bench_qemu.py
	ABOUT		what it measures and how long a round takes, for --help
	ROUNDS		how many rounds it makes by default
	GOALS		{key of the results: text}
	measure(options)	return the results, a dict
"""

import argparse
import json
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[1:1] = [str(HERE.parent), str(HERE.parent / "demo")]

import toolkit					# noqa: E402
from toolkit import RESULTS, TOP, ToolError, say	# noqa: E402

from lab import suites				# noqa: E402

import bench_aged				# noqa: E402
import bench_build				# noqa: E402
import bench_churn				# noqa: E402
import bench_cost				# noqa: E402
import bench_fleet				# noqa: E402
import bench_gaps				# noqa: E402
import bench_hints				# noqa: E402
import bench_mixed				# noqa: E402
import bench_noise				# noqa: E402
import bench_pagefault				# noqa: E402
import bench_qemu				# noqa: E402
import bench_release				# noqa: E402
import bench_snapshot				# noqa: E402
import bench_xen				# noqa: E402
import figures					# noqa: E402

PARTS = {part.NAME: part for part in (
    bench_release, bench_churn, bench_mixed, bench_pagefault, bench_cost,
    bench_hints, bench_gaps, bench_noise, bench_fleet, bench_snapshot,
    bench_build, bench_xen, bench_aged)}

# What runs only if it is asked for: make check-long does.
ASKED_FOR = (bench_aged.NAME,)

# With fewer there is no telling the spread.
ROUNDS_MIN = 3
ROUNDS_MAX = 99


def written(path):
    """Return the results in a file, nothing if there are none."""
    try:
        return read(path)
    except (OSError, ToolError):
        return {}


def told(part, options):
    """Measure one part; return all that goes into its file."""
    if part.FILE != bench_qemu.FILE:
        return part.measure(options)
    # Before it is measured: what was measured is what is there now.
    place = bench_qemu.place(options)
    options.where = (f"kernel {place['kernel']}, QEMU {place['qemu']}, "
                     f"{place['accelerator'].partition(',')[0]}")
    return {**place, **part.measure(options)}


def show(part, results):
    """Show what was measured in a part, as a table."""
    say("")
    for key, value in results.items():
        if not isinstance(value, dict):
            say(f"{key}: {value}")
    say(figures.result_table(results, part.GOALS))


def run(options):
    """Measure the parts asked for; write and show their results."""
    toolkit.need_gnuplot()
    RESULTS.mkdir(parents=True, exist_ok=True)
    toolkit.prepare(options.kernel)
    for name in options.only or [one for one in PARTS if one not in ASKED_FOR]:
        part = PARTS[name]
        path = RESULTS / f"{part.FILE}.json"
        start = time.monotonic()
        results = told(part, argparse.Namespace(**{
            **vars(options), "rounds": options.rounds or part.ROUNDS}))
        whole = results
        if part.FILE == bench_qemu.FILE:
            whole = bench_qemu.merge(written(path), results)
        path.write_text(json.dumps(whole, indent=2) + "\n", encoding="ascii")
        show(part, results)
        say(f"results: {path.relative_to(TOP)}; {name} took "
            f"{(time.monotonic() - start) / 60:.1f} min")


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


def minutes(text):
    """Return the minutes in an argument."""
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: no number of minutes")
    return number


def parse():
    """Return the arguments."""
    parser = argparse.ArgumentParser(
        prog="tools/bench/bench.py", description=__doc__.split("\n\n")[0],
        epilog="By make: make bench [ONLY=release] [KERNEL=6.12] [ROUNDS=9] "
        "[MINUTES=10], make bench-compare OLD=FILE NEW=FILE")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    one = actions.add_parser(
        "run", help="measure", formatter_class=argparse.RawTextHelpFormatter,
        description="Measure; results go to build/results/bench.json, and "
        "those of xen to xen.json;\nplots are beside them.\n\n"
        + "\n".join(f"{name}: {part.ABOUT}; {part.ROUNDS} rounds" +
                    "; only if asked for" * (name in ASKED_FOR)
                    for name, part in PARTS.items()))
    one.set_defaults(action=run)
    one.add_argument("--only", action="append", choices=tuple(PARTS),
                     help="only this part; may be repeated")
    one.add_argument("--kernel", choices=suites.KERNELS, default="6.1",
                     metavar="SERIES", help="kernel of the guests (default "
                     f"%(default)s; there are {', '.join(suites.KERNELS)})")
    one.add_argument("--rounds", type=rounds, metavar="N",
                     help=f"rounds, {ROUNDS_MIN} or more (default: see above)")
    one.add_argument("--minutes", type=minutes, metavar="N",
                     default=bench_aged.MINUTES, help="of work in the part aged "
                     "(default %(default)s)")
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
