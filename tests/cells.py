# SPDX-License-Identifier: GPL-2.0
"""The cells of the matrix, and the rules that leave some out: data.

A cell is one boot of the guest image: a place, a choice and a kernel. The image
is the same for all of them, and the choice is on the kernel command line.

What a cell does is in test_matrix.py, what places are made of in places.py.
"""

import dataclasses
import difflib
import fnmatch
import functools
import itertools
from collections.abc import Callable

from lab import hypervisors, suites

# The kernel that is built from source with our code in it, see lab/tree.py.
BUILT_IN = f"{suites.GUEST}-built-in"

KERNELS = (*suites.KERNELS, BUILT_IN)

# What is on the command line: auto, the backend of the place, another one, none.
CHOICES = ("auto", "name", "wrong", "none")

# Where what need not be seen with every kernel is seen.
REFUSALS_ON, REFUSALS_XEN = "6.12", "4.20"
NAMES_ON, NAMES_XEN = "6.1", "4.17"

# Kernel of domain 0, and on which Xen.
DOM0_ON = (("6.1", "4.17"), ("6.12", "4.20"), ("7.3", "4.20"))


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the image is booted."""

    name: str
    host: str			# "qemu", "hintd", "pvh", "pv", "dom0" or "loop"
    backend: str		# the one that belongs there
    wrong: str			# one that does not
    by_itself: bool = True	# auto takes it
    xen: str | None = None	# the version, on Xen
    wire: str | None = None	# of hintd


@dataclasses.dataclass(frozen=True)
class Cell:
    """One boot of the image."""

    place: Place
    choice: str
    kernel: str			# one of KERNELS

    @property
    def name(self):
        """What CELL= knows it by."""
        return f"{self.place.name}-{self.choice}-{self.kernel}"

    @property
    def built_in(self):
        """Whether our code is built into the kernel."""
        return self.kernel == BUILT_IN

    @property
    def series(self):
        """The series that its kernel is of."""
        return suites.GUEST if self.built_in else self.kernel

    @property
    def word(self):
        """The value of aeration.backend= on the command line."""
        return {"name": self.place.backend,
                "wrong": self.place.wrong}.get(self.choice, self.choice)

    @property
    def runs(self):
        """Whether the backend of the place is to run from the start."""
        return self.choice == "name" or (
            self.choice == "auto" and self.place.by_itself)


@dataclasses.dataclass(frozen=True)
class Rule:
    """Why some cells are left out."""

    name: str
    text: str
    drops: Callable


def _places():
    yield Place("qemu", "qemu", "virtio", "xen")
    for wire in ("hints", "sg"):
        yield Place(f"hintd-{wire}", "hintd", "virtio", "xen", wire=wire)
    for version in hypervisors.versions():
        yield Place(f"dom0-{version}", "dom0", "xen", "virtio",
                    by_itself=False, xen=version)
    yield Place("loop", "loop", "loop", "hyperv", by_itself=False)
    # Last: a machine that cells share is kept until others come.
    for version in hypervisors.versions():
        for kind in ("pvh", "pv"):
            yield Place(f"{kind}-{version}", kind, "xen", "virtio",
                        xen=version)


PLACES = tuple(_places())


def _elsewhere(cell, kernel, version):
    """Whether the cell is neither on this kernel (and Xen) nor on BUILT_IN."""
    if cell.built_in:
        return cell.place.host != "qemu"
    return cell.kernel != kernel or cell.place.xen not in (None, version)


# The first that a cell falls under drops it.
RULES = (
    Rule("built-in-dom0",
         "The kernel that is built from source has what a guest needs, and is "
         "not made to be domain 0.",
         lambda cell: cell.built_in and cell.place.host == "dom0"),
    Rule("built-in-once",
         "Built in or not, the code is the same: it runs with QEMU's own "
         "device and on one Xen.",
         lambda cell: cell.built_in and (
             cell.place.host == "hintd" or
             cell.place.xen not in (None, NAMES_XEN))),
    Rule("hintd-choice",
         "hintd is another device for the same driver: what is chosen when "
         "has nothing to do with it.",
         lambda cell: cell.place.host == "hintd" and cell.choice != "auto"),
    Rule("refusals-once",
         "What does not run is decided by the host and the word, before "
         "anything looks at the kernel's or Xen's version: one kernel for "
         "each kind of place, and the built-in code on QEMU.",
         lambda cell: not cell.runs and
         _elsewhere(cell, REFUSALS_ON, REFUSALS_XEN)),
    Rule("names-once",
         "By name the same backend runs as with auto, and from then on the "
         "same code: one kernel for each kind of place, and the built-in "
         "code on QEMU.",
         lambda cell: cell.choice == "name" and cell.place.by_itself and
         _elsewhere(cell, NAMES_ON, NAMES_XEN)),
    Rule("dom0-once",
         "Domain 0 is a PV domain, and those run with each kernel on each "
         "Xen: as domain 0 each kernel runs on one.",
         lambda cell: cell.place.host == "dom0" and cell.choice == "name" and
         (cell.kernel, cell.place.xen) not in DOM0_ON),
)


def rule_for(cell):
    """Return the rule that drops a cell, or None."""
    return next((rule for rule in RULES if rule.drops(cell)), None)


@functools.cache
def product():
    """Return all cells that there could be."""
    return tuple(Cell(place, choice, kernel) for place in PLACES
                 for choice in CHOICES for kernel in KERNELS)


@functools.cache
def cells():
    """Return the cells that are not dropped."""
    return tuple(cell for cell in product() if rule_for(cell) is None)


def rules():
    """Return [(rule, how many cells it drops)]."""
    dropped = [rule_for(cell) for cell in product()]
    return [(rule, dropped.count(rule)) for rule in RULES]


def _unknown(pattern):
    """Return what to say of a name that no cell has."""
    for cell in product():
        if cell.name == pattern:
            rule = rule_for(cell)
            return (f"the cell {pattern} is left out by the rule {rule.name}: "
                    f"{rule.text}")
    near = difflib.get_close_matches(pattern, [cell.name for cell in cells()])
    return (f"there is no cell {pattern!r}" +
            (f"; near it: {', '.join(near)}" if near else "") +
            "; make matrix LIST=1 lists all")


def select(patterns=None, kernels=suites.KERNELS):
    """Return the cells of these kernels whose names match one of the patterns.

    A pattern is as in a shell; without any, all match.  ValueError says what
    is wrong with one that no cell matches.
    """
    found = [cell for cell in cells() if cell.series in kernels]
    if not patterns:
        return found
    wanted = []
    for pattern in patterns:
        matching = [cell for cell in cells()
                    if fnmatch.fnmatchcase(cell.name, pattern)]
        if not matching:
            raise ValueError(_unknown(pattern))
        wanted += [cell for cell in matching if cell in found]
    if not wanted:
        raise ValueError(f"no cell {' '.join(patterns)} has a kernel of "
                         f"{', '.join(kernels)}")
    return [cell for cell in found if cell in wanted]


# What a cell costs, roughly, beside one on QEMU.
COST = {"hintd": 2, "pvh": 3, "pv": 3, "dom0": 3}


def pairs(cell):
    """Return the pairs of values that are met in a cell."""
    values = {"host": cell.place.host, "xen": cell.place.xen,
              "choice": cell.choice, "kernel": cell.series,
              "built in": cell.built_in,
              "wire": cell.place.wire or (
                  "sg" if cell.place.backend == "virtio" else None)}
    there = [one for one in values.items() if one[1] is not None]
    return set(itertools.combinations(there, 2))


def covering(chosen, turn=0):
    """Return some of the cells, such that each pair of values in them is met.

    The one is taken next that has most pairs that were not met, for its cost;
    which of equal ones depends on `turn`. In the end those go, dear ones first,
    that others have made superfluous. It need not be the smallest choice.
    """
    def cost(cell):
        return COST.get(cell.place.host, 1)

    wanted = set().union(*map(pairs, chosen))
    turn %= max(len(chosen), 1)
    left, taken = chosen[turn:] + chosen[:turn], []
    while wanted:
        best = max(left, key=lambda cell: len(pairs(cell) & wanted) /
                   cost(cell))
        left.remove(best)
        taken.append(best)
        wanted -= pairs(best)
    for cell in sorted(taken, key=cost, reverse=True):
        met = set().union(*(pairs(one) for one in taken if one is not cell))
        if pairs(cell) <= met:
            taken.remove(cell)
    return [cell for cell in chosen if cell in taken]


def listing(chosen):
    """Return a text about the chosen cells and about the rules."""
    lines = [f"{cell.name:32} aeration.backend={cell.word}"
             for cell in chosen]
    lines += ["", f"{len(chosen)} cells here, {len(cells())} in all, out of "
              f"{len(product())} there could be. Left out:"]
    lines += [f"{dropped:4}  {rule.name}: {rule.text}"
              for rule, dropped in rules()]
    return "\n".join(lines)
