# SPDX-License-Identifier: GPL-2.0
"""The matrix without a guest: its cells, its report, its shared machine."""

import json
import types

import pytest

import cells
import matrix_report
import places


def test_cells_and_rules():
    """Each cell there could be is there or falls under a rule; none is twice."""
    names = [cell.name for cell in cells.cells()]
    assert len(set(names)) == len(names)
    assert len(cells.product()) == len(names) + sum(
        dropped for _, dropped in cells.rules())
    # A rule that drops nothing is no rule.
    assert all(dropped for _, dropped in cells.rules())
    for place in cells.PLACES:
        here = [cell for cell in cells.cells() if cell.place == place]
        assert any(cell.runs for cell in here), place.name
    for host in {place.host for place in cells.PLACES} - {"hintd"}:
        here = {cell.choice for cell in cells.cells()
                if cell.place.host == host}
        assert here == set(cells.CHOICES), host


def test_choosing_cells():
    """By name, by pattern and by kernel; what there is not is named."""
    assert [cell.name for cell in cells.select(["qemu-auto-6.1"])] == \
        ["qemu-auto-6.1"]
    assert {cell.kernel for cell in cells.select(["pv*"], ["6.1"])} == \
        {"6.1", cells.BUILT_IN}
    with pytest.raises(ValueError, match="no cell 'qemu-autp-6.1'; near it: "
                       "qemu-auto-6.1"):
        cells.select(["qemu-autp-6.1"])
    with pytest.raises(ValueError, match="by the rule dom0-once"):
        cells.select(["dom0-4.17-name-7.3"])
    with pytest.raises(ValueError, match="no cell qemu-auto-6.1 has a kernel"):
        cells.select(["qemu-auto-6.1"], ["7.3"])


def test_covering():
    """Whatever the turn, a part of the cells meets each pair that all meet."""
    chosen = list(cells.cells())
    wanted = set().union(*map(cells.pairs, chosen))
    different = set()
    for turn in range(len(chosen)):
        taken = cells.covering(chosen, turn)
        assert set().union(*map(cells.pairs, taken)) == wanted
        assert len(taken) < len(chosen) * 3 / 4
        for cell in taken:
            rest = [one for one in taken if one is not cell]
            assert set().union(*map(cells.pairs, rest)) != wanted, cell.name
        different.add(tuple(taken))
    assert len(different) > 1
    few = cells.select(["qemu-*"], ["6.12"])
    assert cells.covering(few, 5) == few
    assert cells.covering([]) == []


def report(name, when, seconds, failure=None, **properties):
    """A phase of a cell as pytest reports it."""
    return types.SimpleNamespace(
        nodeid=f"tests/test_matrix.py::test_cell[{name}]@xen-4.17", when=when,
        duration=seconds, failed=failure is not None, skipped=False,
        longrepr=failure, user_properties=list(properties.items()))


def test_results(tmp_path):
    """The worst of a cell's phases counts; what is written is complete."""
    config = types.SimpleNamespace(
        matrix_cells=cells.select(["qemu-*"], ["6.12"]), lab_cut_short=True)
    results = matrix_report.Results(config)
    good, bad = "qemu-auto-6.12", "qemu-wrong-6.12"
    for phase in (report(good, "setup", 1), report(good, "call", 2.5,
                                                   image_sha256="abc"),
                  report(bad, "call", 1, "waited in vain\nmore"),
                  report(bad, "teardown", 1)):
        assert results.add(phase)
    other = report(good, "call", 1)
    other.nodeid = "tests/test_lab.py::test_cell[x]"
    assert results.add(other) is None
    assert results.images == {"abc"}

    matrix_report.write_json(tmp_path / "m.json", "abc", results.all())
    written = json.loads((tmp_path / "m.json").read_text(encoding="utf-8"))
    assert written["image_sha256"] == "abc"
    assert written["cells"] == [
        {"name": good, "result": "pass", "reason": "", "seconds": 3.5},
        {"name": bad, "result": "fail", "reason": "waited in vain",
         "seconds": 2},
        {"name": "qemu-none-6.12", "result": "skip",
         "reason": "the run was cut short before", "seconds": 0}]
    assert {"name", "text", "dropped"} == set(written["rules"][0])

    rows = matrix_report.table(results.all())
    assert ["qemu", "wrong", "(4)", "fail 2 s", "(4)", "-"] in rows
    matrix_report.write_markdown(tmp_path / "m.md", "abc", rows)
    assert "| qemu | auto | - | pass 4 s | - | - |" in (
        tmp_path / "m.md").read_text(encoding="utf-8")


class FakeXen:
    """Stands in for a Xen machine."""

    made = []

    def __init__(self, version, name, own_kernels=None, **_):
        self.version = version
        self.own_kernels = own_kernels
        self.ended = None
        self.made.append(self)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        self.ended = kind or "well"

    def free_mib(self):
        """As much as before."""
        return 1000

    def domain(self, *_, **__):
        """A domain that ends when told to."""
        return types.SimpleNamespace(finish=lambda: None)

    def wait_until(self, condition, *_, **__):
        """What is waited for is there."""
        assert condition()

    def check_console(self):
        """Nothing is wrong."""


def test_shared_machine(monkeypatch):
    """Cells of one Xen share a machine; after a failure there is another."""
    monkeypatch.setattr(places, "Xen", FakeXen)
    monkeypatch.setattr(FakeXen, "made", [])
    chosen = cells.select(["pvh-4.20-auto-6.12", "pvh-4.20-none-*"])
    shared = places.SharedXen(chosen)
    for cell in chosen:
        with shared.domain(cell):
            pass
    first, = FakeXen.made
    assert first.ended is None
    with pytest.raises(ZeroDivisionError), shared.domain(chosen[0]):
        raise ZeroDivisionError
    assert first.ended is ZeroDivisionError
    with shared.domain(chosen[0]):
        pass
    with shared.domain(cells.select(["pv-4.17-auto-6.1"])[0]):
        pass
    assert [one.version for one in FakeXen.made] == ["4.20", "4.20", "4.17"]
    assert FakeXen.made[1].ended == "well" and not FakeXen.made[2].ended
    shared.close()
    assert FakeXen.made[2].ended == "well"
