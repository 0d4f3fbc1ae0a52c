# SPDX-License-Identifier: GPL-2.0
"""Every test is in a tier, by the rule that tiers.py states."""

import re
import subprocess
import sys
import types

import pytest

import tiers
from lab import cache, suites

TIMEOUT = 300	# seconds to collect; it takes three


def collected(tier, *more):
    """Return the names of a tier's tests."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q",
         "--collect-only", "--again", "--tier", tier,
         *(more or ["tests"])], cwd=cache.REPO,
        capture_output=True, text=True, timeout=TIMEOUT)
    assert not done.returncode, done.stdout + done.stderr
    return {line.split("@")[0] for line in done.stdout.splitlines()
            if "::" in line}


def functions(names):
    """Return the test functions without their parameters."""
    return {name.split("[")[0] for name in names}


def test_each_test_is_in_one_tier():
    """In check or all, or else in long; check is a part of all."""
    check, whole, long = map(collected, tiers.TIERS)
    assert check < whole
    assert long and not long & whole
    written = set()
    for path in (cache.REPO / "tests").glob("test_*.py"):
        written |= {f"tests/{path.name}::{name}" for name in re.findall(
            r"^def (test_\w+)\(", path.read_text(encoding="utf-8"), re.M)}
    assert functions(whole | long) == written
    # Each once: no kernel beside another.
    assert not [name for name in check for series in suites.KERNELS
                if f"[{series}" in name and "lint" not in name and
                "test_cell" not in name and
                any(name.replace(f"[{series}", f"[{other}") in check - {name}
                    for other in suites.KERNELS)]


def test_kernels_take_turns():
    """Three turns have run each test with each kernel."""
    wanted = {name for name in collected("all", "tests/test_virtio.py")}
    seen = [collected("check", "--rotate", str(turn), "tests/test_virtio.py")
            for turn in range(len(suites.KERNELS))]
    assert set().union(*seen) == wanted
    assert all(functions(one) == functions(wanted) for one in seen)


def item(name, mark=None, **params):
    """Stands in for a test."""
    return types.SimpleNamespace(
        location=("tests/test_x.py", 1, name),
        callspec=types.SimpleNamespace(params=params),
        get_closest_marker=lambda wanted: mark if mark == wanted else None)


@pytest.mark.parametrize("mark, where", [
    (None, {"check", "all"}), ("all_only", {"all"}), ("long", {"long"})])
def test_marks(mark, where):
    """What a mark says is where a test is."""
    assert {tier for tier in tiers.TIERS
            if tiers.in_tier(item("test_a", mark), tier)} == where


def report(name, outcome="passed", when="call"):
    """Stands in for the report of a test."""
    return types.SimpleNamespace(nodeid=name, when=when, failed=outcome == "failed",
                                 passed=outcome == "passed")


def test_what_was_cut_short_goes_on(tmp_path, monkeypatch):
    """It has what passed on the same sources, until these are others."""
    monkeypatch.setattr(tiers, "RESULTS", tmp_path)
    option = types.SimpleNamespace(tier="all", resume=True, again=False)
    done = tiers.Done(option)
    assert not done.before
    for one in (report("a"), report("b@group"), report("c", when="setup"),
                report("d"), report("d", "failed", "teardown"), report("e", "failed")):
        done.pytest_runtest_logreport(one)
    assert tiers.Done(option).before == {"a", "b"}
    # Of two runs beside each other neither forgets what the other has seen.
    other = tiers.Done(option)
    done.pytest_runtest_logreport(report("f"))
    other.pytest_runtest_logreport(report("g"))
    done.pytest_runtest_logreport(report("g", "failed"))
    assert tiers.Done(option).before == {"a", "b", "f"}
    option.resume = False
    assert not tiers.left_out(option)
    option.resume = True
    monkeypatch.setattr(tiers, "about",
                        lambda tier, name: "others" if name == "a" else "the same")
    assert not tiers.left_out(option)
    for text in ("[", "[]"):
        (tmp_path / "all.json").write_text(text, encoding="ascii")
        assert not tiers.left_out(option)


def test_what_a_test_is_about(tmp_path, monkeypatch):
    """A test runs again when its own file is another one, or what all are about."""
    def digests(*changed):
        for path in changed:
            with open(tmp_path / path, "a", encoding="ascii") as out:
                out.write("more\n")
        tiers.sources.cache_clear()
        return {name: tiers.sources("all", f"test_{name}.py")
                for name in ("xen", "virtio", "lint")}

    def moved(*changed):
        before, after = digests(), digests(*changed)
        return {name for name in before if before[name] != after[name]}

    for folder in ("core", "tests/lab", "docs", "host"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "tests/test_virtio.py").write_text("with Hintd()\n", encoding="ascii")
    digests("core/main.c", "host/main.c", "tests/lab/qemu.py", "tests/guest.py", "tests/tiers.py",
            "tests/test_xen.py", "tests/test_virtio.py", "docs/xen.md")
    with monkeypatch.context() as patch:
        patch.setattr(cache, "REPO", tmp_path)
        for path in ("core/main.c", "tests/lab/qemu.py", "tests/guest.py"):
            assert moved(path) == {"xen", "virtio", "lint"}
        assert moved("host/main.c") == {"virtio", "lint"}
        assert moved("tests/test_xen.py") == {"xen", "lint"}
        assert moved("tests/tiers.py") == moved("docs/xen.md") == {"lint"}
    tiers.sources.cache_clear()


def test_turns():
    """One of a group, another one next time; other parameters stay."""
    items = [item(f"test_a[{size}-{kernel}]", size=size, kernel=kernel)
             for size in (1, 8) for kernel in "xyz"]
    items += [item("test_b", "every_kernel", kernel=kernel) for kernel in "xyz"]

    sets = [item(f"test_c[{size}-{kernel}]", "in_turn", size=size, kernel=kernel)
            for size in (1, 8) for kernel in "xyz"]
    assert [one for turn in range(len(sets)) for one in tiers.in_turn(sets, turn)] == sets

    def turn(number):
        return [one.callspec.params for one in tiers.in_turn(items, number)]

    assert turn(0)[:2] == [{"size": 1, "kernel": "x"},
                           {"size": 8, "kernel": "y"}]
    assert turn(1)[:2] == [{"size": 1, "kernel": "y"},
                           {"size": 8, "kernel": "z"}]
    assert len(turn(0)) == 5
