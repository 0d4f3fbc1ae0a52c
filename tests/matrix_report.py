# SPDX-License-Identifier: GPL-2.0
"""pytest's side of the matrix: which cells run, and what is said about them.

A run that had cells in it, `make check` too, leaves in build/results

	matrix.json	image_sha256; cells: name, result (pass, fail or skip),
			reason, seconds; rules: name, text, dropped
	matrix.md	the same as a table

about the cells of that run, and the table on the terminal.
"""

import json
import re

import pytest

import cells
from lab import cache, suites

RESULTS = cache.BUILD / "results"

# Lines of each console that a failed cell prints.
CONSOLE_TAIL = 30

_CELL = re.compile(r"test_matrix\.py::test_cell\[([^]]*)\]")

# Of several phases of a test, the worst counts.
_RANK = ("pass", "skip", "fail")


def pytest_addoption(parser):
    """Add what `make matrix` passes on."""
    group = parser.getgroup("matrix", "the matrix of tests/test_matrix.py")
    group.addoption("--cell", action="append", metavar="NAME",
                    help="run this cell only; a pattern as in a shell may "
                    "match several; may be repeated")
    group.addoption("--list-cells", action="store_true",
                    help="list the cells, and the rules that drop others")
    group.addoption("--cell-lines", action="store_true",
                    help="a line for each cell, and nothing else of those that "
                    "pass")


def _selected(config):
    patterns = config.getoption("--cell")
    try:
        found = cells.select(patterns,
                             config.getoption("--kernel") or suites.KERNELS)
        if patterns or config.option.tier != "check":
            return found
        return cells.covering(found, config.option.rotate)
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """List the cells, if that is all that is wanted."""
    if not config.getoption("--list-cells"):
        return None
    print(cells.listing(_selected(config)))
    return pytest.ExitCode.OK


def pytest_configure(config):
    """Choose the cells; collect results where all of them arrive."""
    config.matrix_cells = _selected(config)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Results(config), "matrix-results")


def _marks(cell):
    """Cells that share a Xen machine, or wait for a kernel, stay together.

    One worker waits for the kernel, and no others.
    """
    if cell.built_in:
        return [pytest.mark.xdist_group("tree")]
    if cell.place.host in ("pvh", "pv"):
        return [pytest.mark.xdist_group(f"xen-{cell.place.xen}")]
    return []


def pytest_generate_tests(metafunc):
    """Run a test that takes `cell` with each cell."""
    if "cell" in metafunc.fixturenames:
        metafunc.parametrize("cell", [
            pytest.param(cell, id=cell.name, marks=_marks(cell))
            for cell in metafunc.config.matrix_cells])


def _consoles(machine):
    """Return (what, text) of a machine's console, and of the one beneath."""
    below = getattr(machine, "xen", None)
    for one in (machine, below):
        if one is not None and one.logs is not None:
            tail = one.console().splitlines()[-CONSOLE_TAIL:]
            yield (f"{one.kind} {one.name}, logs in {one.logs}",
                   "\n".join(tail) + "\n")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Add to a failed cell what its consoles said last."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for machine in getattr(item, "funcargs", {}).get("machines", ()):
            report.sections += _consoles(machine)


def name_of(report):
    """Return the name of the cell that a report is about, or None."""
    found = _CELL.search(report.nodeid)
    return found and found[1]


def reason_of(report):
    """Return in one line why a test was skipped or has failed."""
    where = report.longrepr
    if isinstance(where, tuple):
        return where[2].removeprefix("Skipped: ")
    crash = getattr(where, "reprcrash", None)
    text = (crash.message if crash else str(where)).strip()
    return text.splitlines()[0] if text else "no reason was given"


class Results:
    """The results of a run, by cell."""

    def __init__(self, config):
        self.config = config
        self.found = {}
        self.images = set()
        self.done = 0

    def add(self, report):
        """Take a phase of a test into account; return the name of its cell."""
        name = name_of(report)
        if name is None:
            return None
        entry = self.found.setdefault(
            name, {"name": name, "result": "pass", "reason": "", "seconds": 0})
        entry["seconds"] += report.duration
        result = ("fail" if report.failed else
                  "skip" if report.skipped else "pass")
        if _RANK.index(result) > _RANK.index(entry["result"]):
            entry["result"], entry["reason"] = result, reason_of(report)
        self.images |= {value for key, value in report.user_properties
                        if key == "image_sha256"}
        return name

    def pytest_runtest_logreport(self, report):
        """A phase of a test has ended."""
        name = self.add(report)
        if name and report.when in ("teardown", "???") and \
                self.config.getoption("--cell-lines"):
            self.done += 1
            total = len(self.config.matrix_cells)
            entry = self.found[name]
            reason = f": {entry['reason']}" if entry["reason"] else ""
            self.config.pluginmanager.get_plugin(
                "terminalreporter").write_line(
                    f"[{self.done:{len(str(total))}}/{total}] {name} "
                    f"{entry['result']} {entry['seconds']:.0f} s{reason}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report, config):
        """Have pytest count a cell, and say nothing where we do."""
        if not config.getoption("--cell-lines") or name_of(report) is None:
            return None
        if report.failed:
            return "failed" if report.when == "call" else "error", "", ""
        if report.skipped:
            return "skipped", "", ""
        return "passed" if report.when == "call" else "", "", ""

    def all(self):
        """Return the results, those of cells that did not get to run too."""
        cut = getattr(self.config, "lab_cut_short", False)
        missing = {"result": "skip", "reason": "the run was cut short before",
                   "seconds": 0}
        return [self.found.get(cell.name, {"name": cell.name, **missing})
                for cell in self.config.matrix_cells
                if cut or cell.name in self.found]

    def pytest_terminal_summary(self, terminalreporter):
        """Print the table, and write both files, if there were cells."""
        if not self.found:
            return
        results = self.all()
        if len(self.images) > 1:
            terminalreporter.write_line(
                f"matrix: NOT one image: {' '.join(sorted(self.images))}",
                red=True)
        image = self.images.pop() if len(self.images) == 1 else None
        RESULTS.mkdir(parents=True, exist_ok=True)
        write_json(RESULTS / "matrix.json", image, results)
        rows = table(results)
        write_markdown(RESULTS / "matrix.md", image, rows)
        terminalreporter.section("matrix")
        widths = [max(map(len, column)) for column in zip(*rows)]
        for row in rows:
            terminalreporter.write_line("  ".join(
                text.ljust(width) for text, width in zip(row, widths)).rstrip())
        same = f"SHA-256 {image}, the same for all" if image else "not known"
        for text in (*rule_lines(), f"image: {same}",
                     f"results: {RESULTS / 'matrix.json'}, matrix.md"):
            terminalreporter.write_line(text)


def rule_lines():
    """Return what the numbers in the table mean, a line each."""
    return [f"({number}) {dropped} cells: {rule.text}"
            for number, (rule, dropped) in enumerate(cells.rules(), 1)]


def table(results):
    """Return the table as rows of texts, the first of them its head."""
    entries = {entry["name"]: entry for entry in results}
    numbers = {rule: f"({number})" for number, rule in
               enumerate(cells.RULES, 1)}

    def text(cell):
        entry = entries.get(cell.name)
        if entry:
            return f"{entry['result']} {entry['seconds']:.0f} s"
        rule = cells.rule_for(cell)
        return numbers[rule] if rule else "-"

    rows = [["place", "choice", *cells.KERNELS]]
    for place in cells.PLACES:
        for choice in cells.CHOICES:
            here = [cells.Cell(place, choice, kernel)
                    for kernel in cells.KERNELS]
            if any(cell.name in entries for cell in here):
                rows.append([place.name, choice, *map(text, here)])
    return rows


def write_json(path, image, results):
    """Write the results for programs."""
    path.write_text(json.dumps({
        "image_sha256": image,
        "cells": [{**entry, "seconds": round(entry["seconds"], 1)}
                  for entry in results],
        "rules": [{"name": rule.name, "text": rule.text, "dropped": dropped}
                  for rule, dropped in cells.rules()],
    }, indent=1) + "\n", encoding="utf-8")


def write_markdown(path, image, rows):
    """Write the table for people."""
    lines = ["# One image on every host", "",
             f"SHA-256 of the image: `{image}`", ""]
    for number, row in enumerate(rows):
        lines.append("| " + " | ".join(row) + " |")
        if number == 0:
            lines.append("|---" * len(row) + "|")
    lines += ["", "A number is the rule that leaves the cell out; `-`: not in "
              "this run.", "", *(f"- {line}" for line in rule_lines()), ""]
    path.write_text("\n".join(lines), encoding="utf-8")
