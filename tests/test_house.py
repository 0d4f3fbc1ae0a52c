# SPDX-License-Identifier: GPL-2.0
"""The floors of core/: a file includes and calls only what stands below it.

And what that is for: a backend takes a page, and nothing of the core changes for it.
"""

import os
import re

import pytest

import guest
from lab import cache
from lab.qemu import Vm

CORE = cache.REPO / "core"

# From the top down. A room is one floor; source.h is what sources promise.
FLOORS = ("main sysfs sysfs_squeeze", "request", "wish", "registry", "api", "report/", "hold/",
          "squeeze/", "pace/", "params", "choose/", "batch source queues")

LONGEST = 450		# lines of a file of the core
EXAMPLE = cache.REPO / "tests/faults/aeration_log.c"
EXAMPLE_LINES = 60

DEFINITION = re.compile(r"^(?!static|\s|#|\*|/|typedef)[\w *]*?\b"
                        r"((?:aeration|aerator)_\w+)\(", re.M)
DATA = re.compile(r"^(?!static|extern|\s|#|\*|/|typedef)[\w *]+?\b"
                  r"((?:aeration|aerator)_\w+)\s*(?:;|=)", re.M)
SYMBOL = re.compile(r"\b(?:aeration|aerator)_\w+")
COMMENTS = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)
INCLUDE = re.compile(r'^#include "([^"]+)"', re.M)


def floor_of(name):
    """Return on which floor a file of core/ stands, 0 at the top."""
    for number, words in enumerate(FLOORS):
        for word in words.split():
            if name.startswith(word) if word.endswith("/") else \
                    os.path.splitext(name)[0] == word:
                return number
    raise AssertionError(f"core/{name} stands on no floor")


def sources(top=CORE):
    """Return {name below core/: its text without comments}."""
    return {str(path.relative_to(top)):
            COMMENTS.sub("", path.read_text(encoding="utf-8"))
            for path in sorted(top.rglob("*.[ch]"))
            if not path.name.endswith(".mod.c")}


def homes(files):
    """Return {symbol that others can see: the .c file it is in}."""
    return {symbol: name for name, text in files.items()
            if name.endswith(".c")
            for what in (DEFINITION, DATA) for symbol in what.findall(text)}


def circles(files):
    """Return the groups of .c files of which each uses all, by and by."""
    home = homes(files)
    reach = {name: {home[symbol] for symbol in set(SYMBOL.findall(text))
                    if symbol in home} - {name}
             for name, text in files.items() if name.endswith(".c")}
    for middle in reach:
        for name, used in reach.items():
            if middle in used:
                reach[name] = used | reach[middle]
    return sorted({tuple(sorted(other for other in used if name in reach[other]))
                   for name, used in reach.items() if name in used})


def arrows_up(files):
    """Return what includes or calls upwards, as "FILE WHAT FILE"."""
    found, home = [], homes(files)
    for name, text in files.items():
        here = floor_of(name)
        for path in INCLUDE.findall(text):
            there = os.path.normpath(os.path.join(os.path.dirname(name), path))
            if floor_of(there) < here:
                found.append(f"{name} includes {there}")
        for symbol in set(SYMBOL.findall(text)):
            if symbol in home and floor_of(home[symbol]) < here:
                found.append(f"{name} uses {symbol} of {home[symbol]}")
    return sorted(found)


def test_floors():
    """No include and no call runs upwards."""
    files = sources()
    assert len(files) > 20
    assert not arrows_up(files)


def test_an_arrow_up_is_seen():
    """A leaf that calls the registry, or includes its header, is found out."""
    files = sources()
    files["batch.c"] += "\nint x = aeration_registry_flush();\n"
    files["pace/watch.h"] += '\n#include "../hold/hold.h"\n'
    files["params.c"] += "\nvoid y(void) { aerator_say(0, 0, 0, 0); }\n"
    assert arrows_up(files) == [
        "batch.c uses aeration_registry_flush of registry.c",
        "pace/watch.h includes hold/hold.h",
        "params.c uses aerator_say of api.c"]


@pytest.mark.parametrize("top", ["core", "backends/xen"])
def test_no_circle(top):
    """No file uses another one that uses it, by way of others or not."""
    assert circles(sources(cache.REPO / top)) == []


def test_a_circle_is_seen():
    """It is found out where three files stand in one, and who they are."""
    files = sources()
    files["report/census.c"] += "\nvoid x(void) { aeration_known_anew(); }\n"
    assert circles(files) == [
        ("report/census.c", "report/known.c", "report/pass.c")]
    files["report/census.c"] += "\nvoid y(void) { aeration_grant_all(); }\n"
    assert circles(files) == [("report/census.c", "report/grant.c",
                               "report/known.c", "report/pass.c")]


@pytest.mark.parametrize("top", ["core", "backends"])
def test_no_file_is_long(top):
    """None that nobody reads to its end; the pure ones are read by their tests."""
    top = cache.REPO / top
    long = {name: len((top / name).read_text(encoding="utf-8").splitlines())
            for name in sources(top)}
    assert {name: lines for name, lines in long.items()
            if lines > LONGEST} == {}


def test_a_backend_that_only_logs(image, kernel):
    """It fits on a page, the core knows nothing of it, and it works."""
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= EXAMPLE_LINES
    with Vm(kernel, f"log-{kernel}") as vm:
        vm.run("modprobe aeration backend=loop window_ms=100 && "
               "modprobe aeration_log")
        assert guest.value(vm, "state") == "running"
        vm.wait_until(lambda: "aeration_log: " in
                      vm.run("dmesg | grep blocks, || true").out,
                      "a batch to be logged", 60)
        told = int(guest.value(vm, "stats/blocks"))
        assert told and "first at pfn" in vm.run("dmesg").out
        vm.run("rmmod aeration_log")
        assert guest.value(vm, "state") == "off"
        guest.unload(vm)
