# SPDX-License-Identifier: GPL-2.0
"""What the benchmark makes of samples: figures, ratios, tables, comparisons."""

import json
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))

import bench		# noqa: E402
import bench_xen	# noqa: E402
import figures		# noqa: E402

WAYS = ("surrender", "restore")


def samples(ours, stock):
    """Return the samples of one round, made up."""
    found = {"load_average": 0.5, "burst_with_s": 3 * ours,
             "burst_without_s": 2.0}
    for suffix in ("", "_scrub"):
        for way in WAYS:
            for name, seconds in (("ours", ours), ("stock", stock)):
                found[f"{name}_{way}_s{suffix}"] = seconds
                found[f"{name}_{way}_inside_s{suffix}"] = seconds / 2
                found[f"{name}_{way}_calls{suffix}"] = seconds * 100
    return found


def results():
    """Return the results of three rounds, as a file has them."""
    rounds = [bench_xen.told(samples(*one))
              for one in ((1, 2), (1, 4), (2, 6))]
    return {"xen": "4.0", "rounds": 3, **figures.figures(rounds)}


def test_figure():
    """Median, least and most; no digits that say nothing; none from nothing."""
    assert figures.figure([3, 1, 2]) == {"median": 2, "min": 1, "max": 3}
    assert figures.figure([1 / 3])["median"] == 0.3333
    assert figures.figure([123456])["min"] == 123500
    with pytest.raises(ValueError):
        figures.figure([])


def test_figures():
    """One for each name; rounds that do not have the same are refused."""
    assert figures.figures([{"a": 1, "b": 5}, {"a": 3, "b": 5}]) == {
        "a": {"median": 2, "min": 1, "max": 3},
        "b": {"median": 5, "min": 5, "max": 5}}
    with pytest.raises(ValueError):
        figures.figures([])
    with pytest.raises(ValueError, match="b"):
        figures.figures([{"a": 1}, {"a": 1, "b": 2}])


def test_xen_results():
    """Ratios are those of each round, stock's time over ours."""
    found = results()
    for way in WAYS:
        for suffix in ("", "_scrub"):
            assert found[f"{way}_ratio{suffix}"] == {
                "median": 3, "min": 2, "max": 4}
        assert found[f"hypercalls_per_gib_{way}"]["max"] == 200
        assert found[f"stock_hypercalls_per_gib_{way}"]["max"] == 600
    assert found["burst_ratio"] == {"median": 1.5, "min": 1.5, "max": 3}
    assert set(bench_xen.GOALS) <= set(found)
    assert json.loads(json.dumps(found)) == found


def test_result_table():
    """A line for each figure, with its goal; the columns are aligned."""
    lines = figures.result_table(results(), {"burst_ratio": "<= 1.3"}
                                 ).splitlines()
    assert lines[0].split()[0] == "median"
    assert set(lines[1]) == {"-"}
    assert not any(line.startswith(("xen", "rounds")) for line in lines)
    burst, = (line for line in lines if line.startswith("burst_ratio"))
    assert burst.split() == ["burst_ratio", "1.5", "1.5", "..", "3", "<=",
                             "1.3"]
    assert burst.index("1.5") + 3 == lines[0].index("median") + 6


def test_comparison():
    """Ranges apart are marked; what one side lacks is a dash."""
    old = {"xen": "4.0", "kernel": "6.1", "gone": "x",
           "a": {"median": 2, "min": 1, "max": 3},
           "b": {"median": 4, "min": 3, "max": 5},
           "zero": {"median": 0, "min": 0, "max": 0}}
    new = {"xen": "4.1", "kernel": "6.1",
           "a": {"median": 3, "min": 2, "max": 4},
           "b": {"median": 8, "min": 6, "max": 9},
           "zero": {"median": 1, "min": 0, "max": 2},
           "more": {"median": 1, "min": 1, "max": 1}}
    lines = {line.split()[0]: line.split()
             for line in figures.comparison(old, new).splitlines()[2:]}
    assert "kernel" not in lines	# the same on both sides
    assert lines["xen"] == ["xen", "4.0", "4.1"]
    assert lines["gone"] == ["gone", "x", "-"]
    assert lines["a"][-1] == "1.50"
    assert lines["b"][-2:] == ["2.00", "*"]
    assert lines["zero"][-1] == "2)"	# no ratio to nothing
    assert lines["more"][1] == "-"


def test_compare_files(tmp_path, monkeypatch, capsys):
    """The command reads two files, and says which one is none."""
    path, bad = tmp_path / "one.json", tmp_path / "bad.json"
    path.write_text(json.dumps(results()), encoding="ascii")
    bad.write_text("[", encoding="ascii")
    monkeypatch.setattr(sys, "argv", ["bench", "compare", *[str(path)] * 2])
    asked = bench.parse()
    asked.action(asked)
    assert "burst_ratio" in capsys.readouterr().out
    with pytest.raises(bench.ToolError, match="bad.json"):
        bench.read(bad)


def test_seconds_in():
    """The guest's answer is found among what else it said."""
    assert bench_xen.seconds_in("ready\nseconds 1.5\n") == 1.5
    with pytest.raises(bench.ToolError):
        bench_xen.seconds_in("ready\n")


def test_sum_calls():
    """Calls and the time in them, out of a trace as the kernel prints it."""
    trace = ("# tracer: nop\n"
             "  balloon-38 [000] .....  10.500000: call_0: (f+0x0/0x90)\n"
             "  balloon-38 [000] .....  10.750000: done_0: (g+0x1/0x2 <- f)\n"
             "  balloon-38 [000] d....  11.000000: call_1: (h+0x0/0x90)\n"
             "  balloon-38 [000] .....  11.125000: done_1: (g+0x1/0x2 <- h)\n")
    done = subprocess.run(["awk", bench_xen.SUM_CALLS], input=trace, text=True,
                          stdout=subprocess.PIPE, check=True, timeout=10)
    assert done.stdout == "2 0.375000\n"
