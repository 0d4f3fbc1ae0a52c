# SPDX-License-Identifier: GPL-2.0
"""What the benchmark makes of samples: figures, ratios, tables, comparisons."""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

import pytest

TOOLS = pathlib.Path(__file__).resolve().parents[1] / "tools"
sys.path[:0] = [str(TOOLS / name) for name in ("bench", "demo", "")]

import bench		# noqa: E402
import bench_aged	# noqa: E402
import bench_build	# noqa: E402
import bench_churn	# noqa: E402
import bench_cost	# noqa: E402
import bench_fleet	# noqa: E402
import bench_gaps	# noqa: E402
import bench_hints	# noqa: E402
import bench_mixed	# noqa: E402
import bench_noise	# noqa: E402
import bench_pagefault	# noqa: E402
import bench_qemu	# noqa: E402
import bench_release	# noqa: E402
import bench_snapshot	# noqa: E402
import bench_xen	# noqa: E402
import figures		# noqa: E402
import plots		# noqa: E402
import toolkit		# noqa: E402

from lab import suites	# noqa: E402

WAYS = ("surrender", "restore")

# What the issue asks for, and which part it is from.
ASKED = {
    "release_ratio_1": "release", "release_ratio_2": "release",
    "release_ratio_6": "release", "release_s_1": "release",
    "churn_ratio_1": "churn", "churn_ratio_2": "churn",
    "churn_reported_share": "churn", "footprint_ratio": "mixed",
    "slowdown_ratio": "mixed", "pagefault_idle_ratio": "pagefault",
    "pagefault_reporting_ratio": "pagefault",
    "pagefault_idle_instructions_ratio": "pagefault",
    "instructions_per_gib_ratio": "cost",
    "build_footprint_ratio": "build", "build_instructions_ratio": "build",
    "fleet_peak_ratio": "fleet", "snapshot_ratio": "snapshot",
    "gaps_faults_ratio": "gaps", "aged_share": "aged",
    "noise_instructions_ratio": "noise",
}
PLACE = {"kernel": "6.1.0", "qemu": "7.2", "accelerator": "tcg",
         "sources": "0123"}


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


def made_up():
    """Return samples of one round for each part on QEMU."""
    names = list(bench_qemu.DRIVERS)
    release = {f"{name}_release_s_{size}": 2.0 if name == "ours" else 16.0
               for name in names for size in bench_release.SIZES}
    churn = {f"{name}_churn_{key}_{programs}": value
             for name in names for programs in bench_churn.PROGRAMS
             for key, value in (("cycles", 40), ("take_s", 0.5),
                                ("faults", 7), ("cpu_s", 30),
                                ("reported_mib", 512),
                                ("churned_mib", 20480))}
    mixed = {f"{name}_{key}": value
             for name, key, value in (
                 ("ours", "footprint_mib", 300), ("ours", "busy_s", 11),
                 ("stock", "footprint_mib", 600), ("stock", "busy_s", 10),
                 ("no_driver", "footprint_mib", 900),
                 ("no_driver", "busy_s", 10))}
    fault = {f"pagefault_{name}_per_s": 1000 - place for place, name
             in enumerate(bench_pagefault.NAMES)}
    fault.update((f"pagefault_{name}_counted", 1000 - 2 * place) for place, name
                 in enumerate(bench_pagefault.COUNTED_NAMES))
    cost = {f"{name}_{key}_per_gib": value for name, value
            in zip(names, (3.0, 4.0)) for key in
            ("instructions", "kicks", "interrupts", "host_ms", "device_ms",
             "blocks")}
    hints = {f"{name}_release_s": value for name, value in
             (("hints", 1), ("hintd_sg", 2), ("hintd_stock", 12))}
    hints.update((f"{name}_{key}_per_gib", 5.0) for name in
                 bench_hints.OURS_CASES for key in bench_hints.COSTS.values())
    return {"release": release, "churn": churn, "mixed": mixed,
            "pagefault": fault, "cost": cost, "hints": hints, **made_up_by_case()}


# What is measured in each case: of ours, of the stock driver at 2000 and at 250 ms, and
# without a driver.
MADE_UP = dict(zip(bench_qemu.CASES, (80, 100, 50, 200), strict=True))


def made_up_by_case():
    """Return samples of one round for the parts that compare four cases."""
    def of(part, *keys):
        return {f"{case}_{part}_{key}": value for key in keys
                for case, value in MADE_UP.items()}

    snapshot = {f"{case}_snapshot_{column}_{key}": MADE_UP[case] / (column == "flush" or
                                                                    0.5)
                for case, column in bench_snapshot.ORDERS if column != "squeeze"
                for key in ("mib", "used_mib", "s")}
    return {
        "build": of("build", *(f"{phase}{key}" for phase in
                               ("", *(f"{one}_" for one in bench_build.PHASES))
                               for key in ("s", "mib_s", "instructions"))),
        "fleet": of("fleet", "peak_mib", "mib_s"),
        "gaps": of("gaps", "faults", *(f"{key}_{gap}" for key in ("faults", "s")
                                       for gap in bench_gaps.GAPS)),
        "noise": of("noise", "instructions_per_gib", "irqs_off", "ipis_per_gib",
                    "flushes_per_gib"),
        "aged": of("aged", "share", "free_mib"),
        "snapshot": {**snapshot, "none_snapshot_xen_nothing_mib": 400,
                     "ours_snapshot_xen_flush_mib": 100}}


def of_part(name, rounds=3, place=None):
    """Return what a run of one part writes to an empty file."""
    part = bench.PARTS[name]
    samples = made_up()[name]
    return {**(place or PLACE), **bench_qemu.results(
        name, [(part.told(samples), samples)] * rounds, part.GOALS)}


def test_parts_tell_what_was_asked():
    """Each key is there, from its part, with the ratio the right way round."""
    for key, name in ASKED.items():
        assert figures.is_figure(of_part(name)[key]), key
    assert of_part("release")["release_ratio_6"]["median"] == 8
    assert of_part("churn")["churn_ratio_1"]["median"] == 1
    assert of_part("churn")["churn_reported_share"]["median"] == 0.025
    assert of_part("mixed")["footprint_ratio"]["median"] == 0.5
    assert of_part("mixed")["slowdown_ratio"]["median"] == 1.1
    assert of_part("pagefault")["pagefault_idle_ratio"]["median"] == 0.999
    assert of_part("pagefault")["pagefault_reporting_ratio"]["median"] == 0.998
    assert of_part("pagefault")["pagefault_idle_instructions_ratio"][
        "median"] == 0.998
    assert of_part("cost")["instructions_per_gib_ratio"]["median"] == 0.75
    assert of_part("hints")["hints_release_ratio"]["median"] == 12
    for key, name in ASKED.items():
        if key.endswith("_ratio") and name in made_up_by_case():
            whole = 2 if key == "snapshot_ratio" else 1
            assert of_part(name)[key]["median"] == 0.8 / whole, key
            assert of_part(name)[f"{key}_250"]["median"] == 1.6 / whole, key
    assert of_part("aged")["aged_share"]["median"] == 80
    assert of_part("aged")["stock_250_aged_share"]["median"] == 50
    assert of_part("snapshot")["snapshot_xen_ratio"]["median"] == 0.25
    assert "snapshot_squeeze_ratio" not in of_part("snapshot")
    for name in made_up():
        assert set(bench.PARTS[name].GOALS) <= set(of_part(name)), name


def test_ratios():
    """To both of the stock driver's pauses, or to the one that the kernel has."""
    samples = {"ours_x": 3, "stock_x": 4, "stock_y": 6, "none_x": 1}
    assert figures.ratios(samples, "r", "x") == {"r": 0.75}
    assert figures.ratios(samples, "r", "x", "y") == {"r": 0.5}
    assert figures.ratios({**samples, "stock_250_x": 2}, "r", "x") == {
        "r": 0.75, "r_250": 1.5}


def test_cases():
    """A pause of the mm is set only where there is a parameter for it."""
    seen = [bench_qemu.cases(series) for series in suites.KERNELS]
    assert seen[0] == ["ours", "stock", "none"]
    assert seen[-1] == list(bench_qemu.CASES)


def test_parts_that_are_asked_for(monkeypatch):
    """Nobody waits for hours who has not asked for it; and minutes are a number."""
    def parsed(*words):
        monkeypatch.setattr(sys, "argv", ["bench", "run", *words])
        return bench.parse()

    assert set(bench.ASKED_FOR) < set(bench.PARTS)
    assert parsed("--only", "aged", "--minutes", "0.5").minutes == 0.5
    assert parsed().minutes == bench_aged.MINUTES
    for bad in ("0", "x", "-1", "nan", "inf"):
        with pytest.raises(SystemExit):
            parsed("--minutes", bad)


def test_points_of_a_phase():
    """The host's samples of it, by the guest's clock."""
    samples = [(9, 1 << 20), (10, 2 << 20), (11, 3 << 20), (12, 4 << 20), (13, 0)]
    assert bench_build.points_of(samples, 10, 12, 8) == [(0, 2), (4, 3), (8, 4)]


def test_source_places():
    """Sources are where packages are; comments and other lines are neither."""
    assert bench_build.source_places(
        "# deb a\ndeb http://m s main\ndeb [x=y] http://m s2 main\ndeb-src b\n") == \
        "deb-src http://m s main\ndeb-src [x=y] http://m s2 main\n"


def test_blocks():
    """A run of free pages is made of aligned blocks, none larger than there are."""
    assert bench_aged.blocks(3, 6) == [(3, 0), (4, 2), (8, 0)]
    assert bench_aged.blocks(0, 3072) == [(0, 10), (1024, 10), (2048, 10)]
    for first, count in ((1, 1), (5, 4091), (512, 513)):
        found = bench_aged.blocks(first, count)
        assert sum(1 << order for _, order in found) == count
        assert all(not page % (1 << order) for page, order in found)


def test_left_by_order():
    """What the host has memory for is told by the block that it is in."""
    present = bytearray(2048)
    present[4:6] = b"\1\1"
    present[1024] = 1
    free, left = bench_aged.left_by_order([(3, 5), (1024, 1024)], present)
    assert free == 1029
    assert left == [0, 0, 2, *[0] * 7, 1]
    present[3] = 1
    assert bench_aged.left_by_order([(3, 5)], present)[1][:3] == [1, 0, 2]


def test_free_runs(tmp_path):
    """The guest's script finds runs that end, and one that does not."""
    flags = tmp_path / "flags"
    free = 1 << 10 | 1
    flags.write_bytes(b"".join(one.to_bytes(8, "little") for one in
                               [free, 1, 2, free, free] * 4000))
    said = subprocess.run(
        ["perl", "-e", bench_aged.FREE_RUNS.replace("/proc/kpageflags", str(flags))],
        stdout=subprocess.PIPE, text=True, check=True, timeout=10).stdout.splitlines()
    assert said[:3] == ["0 1", "3 3", "8 3"] and said[-1] == "19998 2"


def test_work_is_seeded():
    """The same is done each time, and the shell takes all of it."""
    def steps():
        drawn = bench_aged.random.Random(bench_aged.SEED)
        return [bench_aged.step(drawn) for _ in range(50)]

    assert steps() == steps() and len(set(steps())) > len(bench_aged.WORK)
    for command in steps():
        subprocess.run(["sh", "-n", "-c", command], check=True, timeout=10)


def test_noise_in_guest(tmp_path):
    """The guest's script finds workers, interrupts and flushes."""
    for name, text in (("proc/7/comm", "kworker/0:1-mm\n"),
                       ("proc/7/schedstat", "1000 5 2\n"),
                       ("proc/8/comm", "sh\n"), ("proc/8/schedstat", "9 9 9\n"),
                       ("proc/9/comm", "kworker/u4:0\n"),
                       ("proc/9/schedstat", "500 5 2\n"), ("proc/10/stat", ""),
                       ("proc/interrupts", "      CPU0  CPU1\n LOC:  9  9  Local\n"
                        " RES:  1  2  Rescheduling interrupts\n"
                        " CAL:  30  40  Function call interrupts\n"),
                       ("tlb/hist", "{ reason: 0 } hitcount: 5\n\nTotals:\n"
                        "    Hits: 7\n    Entries: 1\n")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="ascii")
    script = bench_noise.COUNT.replace("kill -USR1", ":").replace(
        "/proc/", f"{tmp_path}/proc/").replace(
        "/sys/kernel/tracing/events/tlb/tlb_flush", f"{tmp_path}/tlb")
    said = subprocess.run(["sh", "-c", script, "sh", "1", "0"], text=True,
                          stdout=subprocess.PIPE, check=True, timeout=10).stdout
    for name, value in (("worker", 1500), ("ipis", 73), ("flushes", 7)):
        assert bench_qemu.value(said, name) == [value] * 2
        assert bench_noise.difference(said, name) == 0
    with pytest.raises(bench.ToolError):
        bench_noise.difference(said, "nothing")


def test_longest_off():
    """Of several timers the one that was latest, in instructions; none is an error."""
    assert bench_noise.longest_off("late 800\nlate 1608\n") == 1608 >> 3
    with pytest.raises(bench.ToolError):
        bench_noise.longest_off("")


def test_merge():
    """A part replaces its own; others stay only if they are from the same."""
    release, churn = of_part("release"), of_part("churn")
    both = bench_qemu.merge(release, churn)
    assert set(both["parts"]) == {"release", "churn"}
    assert both["release_ratio_1"] == release["release_ratio_1"]
    assert both["churn_ratio_1"] == churn["churn_ratio_1"]

    again = of_part("release", 5)
    del again["release_s_6"]
    merged = bench_qemu.merge(both, again)
    assert merged["parts"]["release"]["rounds"] == 5
    assert "release_s_6" not in merged	# an old figure of a part measured anew
    assert "churn_ratio_1" in merged

    for key in PLACE:
        other = of_part("churn", place={**PLACE, key: "other"})
        assert bench_qemu.merge(release, other) == other
    assert bench_qemu.merge({}, churn) == churn
    assert json.loads(json.dumps(both)) == both


def test_comparison_of_files_with_samples():
    """What figures are made of has no place in the table."""
    text = figures.comparison(of_part("release"), of_part("release", 5))
    assert "release_ratio_1" in text
    assert "samples" not in text and "parts" not in text


def test_in_turn():
    """Who is first alternates, and nobody is left out."""
    assert bench_qemu.in_turn(("a", "b"), 1) == ["a", "b"]
    assert bench_qemu.in_turn(("a", "b"), 2) == ["b", "a"]


def test_discarded():
    """What QEMU let go of is counted; what it failed to, or other text, not."""
    log = (b"qemu: something\n"
           b"ram_block_discard_range pc.ram@0x7f0a15600000 + 0x400000: "
           b"madvise: 1 fallocate: 0 ret: 0\n"
           b"ram_block_discard_range pc.ram@0x7f0a15600000 + 0x200000: "
           b"madvise: 1 fallocate: 0 ret: -22\n"
           b"ram_block_discard_shared_range pc.ram@0x7f0a15800000 + 0x200000: "
           b"madvise: 1 fallocate: 0 ret: 0\n"
           b"ram_block_discard_range pc.ram@0x7f0a15200000 + 0x1000: "
           b"madvise: 1 fallo")
    assert bench_qemu.discarded(log) == [0x400000, 0x200000]


def test_value():
    """All numbers of a name, whole lines only."""
    text = "cycles 4\nseconds 0.500000\ncycles 5\nother cycles 6\n"
    assert bench_qemu.value(text, "cycles") == [4, 5]
    assert bench_qemu.value(text, "seconds") == [0.5]
    assert bench_qemu.value(text, "faults") == []


def test_summed():
    """Curves keep their value until their next sample, and begin with one."""
    curves = [[(0, 1), (1, 2)], [(0.5, 10), (1.5, 20)]]
    assert bench_qemu.summed(curves, 0, 2, 0.5) == [
        (0, 11), (0.5, 11), (1.0, 12), (1.5, 22), (2.0, 22)]


def test_host_counters():
    """They are of that process, which may be another one, and grow."""
    with subprocess.Popen(["sh", "-c", "while :; do :; done"]) as busy:
        end = time.monotonic() + 10
        while not all(bench_qemu.cpu_seconds(busy.pid, thread) > 0.01
                      for thread in (False, True)):
            assert time.monotonic() < end, "a busy process seems to use no CPU"
            time.sleep(0.01)
        busy.kill()
    pid = os.getpid()
    cpu, faults = bench_qemu.cpu_seconds(pid), bench_qemu.minor_faults(pid)
    memory = bytearray(64 << 20)
    memory[::4096] = b"1" * len(memory[::4096])
    assert bench_qemu.minor_faults(pid) > faults
    assert bench_qemu.cpu_seconds(pid) > cpu
    for shared in (False, True):
        assert bench_qemu.plainly_released([2 << 20] * 8, shared) > 0


def test_instructions_in():
    """Time less idle time, in instructions; a guest that cannot say it."""
    text = "counted 1000000 500000\n\ncounted 9000000 500800\n"
    assert bench_cost.instructions_in(text) == (8000000 - 800) >> 3
    assert bench_cost.times_in(text) == (8000000, 8000000 - 800)
    for bad in ("", "counted 1 1\n", "unknown 1 0\nunknown 2 0\n"):
        with pytest.raises(bench.ToolError):
            bench_cost.instructions_in(bad)


@pytest.mark.parametrize("idle, ran, said", (
    ("  .idle_sleeptime : 26710438184 nsecs\n  .iowait_sleeptime: 7 nsecs\n",
     "", "counted 48032232287 26710438191\n"),
    ("", "cpu0 0 0 9 9 9 9 1000 5 9\n", "counted 48032232287 48032231287\n"),
    ("", "", "unknown 48032232287 48032232287\n")))
def test_count_in_guest(tmp_path, idle, ran, said):
    """The guest's script finds what kernels print, new and old."""
    script = bench_cost.COUNT.replace("kill -USR1", ":")
    for name, text in (("timer_list",
                        "Timer List Version: v0.10\n"
                        "now at 48032232287 nsecs\n\ncpu: 0\n"
                        "  .idle_entrytime : 480280 nsecs\n" + idle),
                       ("schedstat", "version 17\ntimestamp 4\n" + ran)):
        (tmp_path / name).write_text(text, encoding="ascii")
        script = script.replace(f"/proc/{name}", str(tmp_path / name))
    done = subprocess.run(["sh", "-c", script, "sh", "1", "0"],
                          stdout=subprocess.PIPE, text=True, check=True,
                          timeout=10)
    assert done.stdout == said * 2


def test_plots():
    """Each panel has its data; names are shown as they are."""
    figure = figures.figure([1, 2, 3])
    blocks, script = plots.bars(0, "a_b", "MiB", {"one": {"x": figure,
                                                          "y": figure}})
    assert blocks.count("2 1 3") == 2 and "a\\\\_b" in script
    blocks, script = plots.curves(1, "title", "MiB",
                                  {"x": [(0, 1), (2, 3)], "y": [(1, 1)]})
    assert "$panel1_1" in blocks and "xrange [0:2]" in script


def test_parse(monkeypatch):
    """Rounds are a part's own unless asked for, and never too few."""
    def parsed(*words):
        monkeypatch.setattr(sys, "argv", ["bench", "run", *words])
        return bench.parse()

    assert parsed().rounds is None
    assert parsed("--rounds", "9", "--only", "churn").rounds == 9
    for bad in ("2", "0", "x"):
        with pytest.raises(SystemExit):
            parsed("--rounds", bad)


def test_part_in_guests(request, monkeypatch, tmp_path):
    """A part measures both drivers in a guest, and writes figures and a plot.

    The churn, made short; the parts differ in what load they run.
    """
    wanted = request.config.getoption("--kernel") or suites.KERNELS[:1]
    for name, value in (("SECONDS", 2), ("PROGRAMS", (1,))):
        monkeypatch.setattr(bench_churn, name, value)
    for module in (bench, toolkit):
        monkeypatch.setattr(module, "RESULTS", tmp_path)
    monkeypatch.setattr(bench, "TOP", tmp_path)
    monkeypatch.setattr(toolkit, "prepare", lambda *_: None)
    bench.run(argparse.Namespace(kernel=wanted[0], rounds=1, only=["churn"]))
    found = json.loads((tmp_path / "bench.json").read_text(encoding="ascii"))
    for name in bench_qemu.DRIVERS:
        one, = found["parts"]["churn"]["samples"]
        assert one[f"{name}_churn_cycles_1"] > 0
        assert one[f"{name}_churn_take_s_1"] > 0
        assert one[f"{name}_churn_cpu_s_1"] > 0
        # It touches memory that the host has to find, at least once.
        assert one[f"{name}_churn_faults_1"] > 0
    assert figures.is_figure(found["churn_ratio_1"])
    assert (tmp_path / "bench-churn.png").stat().st_size > 1000
