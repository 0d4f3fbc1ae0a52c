#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Runs hintd's fuzzers one after the other, and says what came of it.

What is printed at the end: inputs that were executed, edges and features of the
code that libFuzzer has seen, inputs that it keeps because each adds to those;
and how many lines of the daemon the kept inputs reach, by clang's own coverage.
New inputs stay in the corpus for the next time. The seed is the date, so that no
day repeats another, and what a day found can be found again. An input that fails
ends it all; what happened and where the input is are printed.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent

# Longest input, bytes: more than a queue of the largest seed takes.
INPUT_MAX = 8192

# Seconds, beside those a fuzzer is given.
SPARE = 120

# The files of host/ that a fuzzer is about.
FILES = {
    "control": ("control.c", "client.c", "hints.c"),
    "filter": ("filter.c",),
    "message": ("message.c", "session.c", "slots.c"),
    "options": ("options.c",),
    "race": ("ring.c", "report.c", "honest.c"),
    "ring": ("ring.c", "report.c", "honest.c"),
    "server": ("server.c", "listen.c", "show.c", "peer.c"),
    "words": ("words.c", "runs.c", "release.c"),
}

LAST_LINE = re.compile(r"#(\d+)\s+DONE\s+cov: (\d+) ft: (\d+) corp: (\d+)/")


class Failed(Exception):
    """A fuzzer has found something; says what and where."""


def corpora(corpus, name):
    """Return the folders with inputs: those found before, and the seeds."""
    found = corpus / name
    found.mkdir(parents=True, exist_ok=True)
    return found, HERE / "seeds" / name


def fuzz(output, corpus, name, seconds):
    """Run a fuzzer; return (executions, edges, features, kept inputs)."""
    log = output / f"{name}.log"
    with open(log, "w", encoding="utf-8") as out:
        status = subprocess.run(
            [output / f"fuzz_{name}", f"-max_total_time={seconds}",
             time.strftime("-seed=%Y%m%d"), f"-max_len={INPUT_MAX}",
             f"-artifact_prefix={output}/{name}-", *corpora(corpus, name)],
            stdout=out, stderr=out,
            timeout=seconds + SPARE, check=False).returncode
    text = log.read_text(encoding="utf-8", errors="replace")
    last = LAST_LINE.search(text)
    if status or not last:
        raise Failed(f"{text[-4000:]}\nfuzz_{name}: status {status}; all it "
                     f"said is in {log}")
    return tuple(map(int, last.groups()))


def profile(output, corpus, name):
    """Run all inputs there are once; return the file with what they reach."""
    raw = output / f"{name}.profraw"
    subprocess.run([output / f"cover_{name}", "-runs=0",
                    *corpora(corpus, name)], check=True, capture_output=True,
                   timeout=SPARE,
                   env={**os.environ, "LLVM_PROFILE_FILE": str(raw)})
    return raw


def covered(output, names, raws):
    """Return {file of host/: (lines reached, lines)} by fuzzers together."""
    merged = output / f"{'-'.join(names)}.profdata"
    subprocess.run(["llvm-profdata", "merge", "-o", merged, *raws], check=True,
                   timeout=SPARE)
    objects = [f"-object={output}/cover_{name}" for name in names[1:]]
    report = json.loads(subprocess.run(
        ["llvm-cov", "export", "-summary-only", output / f"cover_{names[0]}",
         *objects, f"-instr-profile={merged}"], check=True, timeout=SPARE,
        capture_output=True).stdout)
    lines = {}
    for one in report["data"][0]["files"]:
        path = pathlib.Path(one["filename"])
        count = one["summary"]["lines"]
        if path.parent.name == "host" and path.suffix == ".c" and \
                path.resolve().parent != HERE:
            lines[path.name] = count["covered"], count["count"]
    return lines


def share(lines, files):
    """Return the lines reached in some files, as text."""
    reached = sum(lines[name][0] for name in files)
    there = sum(lines[name][1] for name in files)
    return f"{reached} of {there} ({reached / there:.1%})"


def main():
    """Run those that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("seconds", type=int)
    parser.add_argument("names", nargs="*", default=list(FILES))
    parser.add_argument("--corpus", type=pathlib.Path,
                        help="where inputs are kept (default OUTPUT/corpus)")
    options = parser.parse_args()
    output = options.output.resolve()
    corpus = (options.corpus or output / "corpus").resolve()
    rows, raws = [], []
    try:
        for name in options.names:
            print(f"fuzz_{name}: {options.seconds} s", flush=True)
            done = fuzz(output, corpus, name, options.seconds)
            raws.append(profile(output, corpus, name))
            lines = covered(output, [name], raws[-1:])
            rows.append((name, *done, share(lines, FILES[name])))
    except Failed as failed:
        sys.exit(str(failed))
    print(f"\n{'fuzzer':8} {'executions':>11} {'edges':>6} {'features':>8} "
          f"{'inputs':>6}  lines of what it is about")
    for name, runs, edges, features, inputs, reached in rows:
        print(f"{name:8} {runs:11} {edges:6} {features:8} {inputs:6}  "
              f"{reached}, {' '.join(FILES[name])}")
    print("No input failed.")
    lines = covered(output, options.names, raws)
    print("\nlines reached by all of them together")
    for name, one in sorted(lines.items()):
        print(f"  {name:12} {one[0]:4} of {one[1]:4}")
    print(f"  {'all':12} {share(lines, lines)}")


if __name__ == "__main__":
    main()
