# SPDX-License-Identifier: GPL-2.0
"""pytest's side of the tiers: which tests `make check` runs, and which others do.

check   A test is in it because a change made today can make it fail; not because
        it is quick. Every test function is, once. One that runs with each kernel,
        or each Xen, runs with one of them, taken in turn: the next test with the
        next one, and another one after the next commit. One that is marked
        in_turn("why") so runs with one set of all its parameters. Cells of the matrix are
        chosen so that every pair of values is met (cells.covering).
all     Every test with every kernel and Xen, all cells, every word of memory (but
        one_kernel("why"): another test does the same with the others); and
        what is marked all_only("why"): what a change to the product cannot make
        fail, because another test would fail before it, and what builds a kernel
        that nothing else needs.
long    What takes hours and is never done: marked long("why").

Every test is in one of these by its marks; test_tiers.py says so.
"""

import collections
import functools
import json
import subprocess

import pytest

from lab import build, cache

TIERS = ("check", "all", "long")
MARKS = {"all_only": "check-all", "long": "check-long"}

# Parameters of tests of which `check` takes one value in turn.
AXES = ("kernel", "xen_version")

GIT_TIMEOUT = 30	# seconds


def pytest_addoption(parser):
    """Add what the Makefile passes on."""
    parser.addoption("--tier", choices=TIERS, default="check",
                     help="which tests: see tests/tiers.py (default check; "
                     "all for a test that is named with ::)")
    parser.addoption("--minutes", type=float, default=30,
                     help="for each part of the long tier (default 30)")
    parser.addoption("--seed", type=int, default=1,
                     help="of the long tier: of what comes in an order by chance "
                     "(default 1)")
    parser.addoption("--again", action="store_true",
                     help="of the long tier, what is done already, too")
    parser.addoption("--resume", action="store_true",
                     help="of the tier all, only what an earlier run on the same "
                     "sources has not passed")
    parser.addoption("--rotate", type=int, metavar="N",
                     help="which kernel, of those that take turns; default: "
                     "the number of commits")


def commits():
    """Return how many commits there are; or, where nobody knows, a number."""
    def git(*words):
        done = subprocess.run(
            ["git", "-C", cache.REPO, "-c", f"safe.directory={cache.REPO}",
             *words], capture_output=True, text=True, timeout=GIT_TIMEOUT)
        return done.stdout.strip() if not done.returncode else ""

    try:
        if git("rev-parse", "--is-shallow-repository") == "false":
            return int(git("rev-list", "--count", "HEAD"))
        return int(git("rev-parse", "HEAD")[:8], 16)
    except (ValueError, OSError, subprocess.TimeoutExpired):
        return 0


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    """Say which marks there are; settle the number for all workers."""
    for mark, where in MARKS.items():
        config.addinivalue_line("markers", f"{mark}(why): only in make {where}")
    config.addinivalue_line("markers", "every_kernel(why): all of them in "
                            "make check, too")
    config.addinivalue_line("markers", "in_turn(why): one set of its parameters in turn "
                            "in make check")
    config.addinivalue_line("markers", "one_kernel(why): one of them in turn, in "
                            "make check-all, too")
    config.option.strict_markers = True
    if config.option.rotate is None:
        config.option.rotate = commits()
    if any("::" in str(one) for one in config.args) and \
            not hasattr(config, "workerinput") and config.option.tier == "check":
        config.option.tier = "all"
    if config.option.resume and config.option.tier != "all":
        raise pytest.UsageError("--resume (RESUME=1) is for the tier all")
    if config.option.tier in SOURCES and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Done(config.option), "lab-done")


def pytest_report_header(config):
    """Say which tier it is, and how to run the very same again."""
    tier = config.option.tier
    more = {"check": f", ROTATE={config.option.rotate}",
            "long": f", {config.option.minutes:g} min for each part"}
    lines = [f"lab: tier {tier}{more.get(tier, '')}"]
    before = left_out(config.option)
    if before and tier == "long":
        lines.append(f"lab: NOT run, done before on the same sources: "
                     f"{', '.join(sorted(before))}; AGAIN=1 runs them")
    elif before:
        lines.append(f"lab: NOT run, passed before on the same sources: {len(before)} "
                     "tests; without RESUME=1 they run")
    return lines


def in_tier(item, tier):
    """Is a test in a tier, whichever its kernel?"""
    if tier == "long" or item.get_closest_marker("long"):
        return tier == "long" and item.get_closest_marker("long") is not None
    return tier == "all" or not item.get_closest_marker("all_only")


def without_axes(item):
    """Return what tells a test from others than those on another kernel."""
    params = getattr(item, "callspec", None)
    params = params.params if params and not item.get_closest_marker("in_turn") else {}
    return (item.location[0], item.location[2].split("[")[0], tuple(
        sorted((name, repr(value)) for name, value in params.items()
               if name not in AXES)))


def in_turn(items, rotate):
    """Return of the items that differ by an axis only one each."""
    groups = collections.defaultdict(list)
    for item in items:
        groups[without_axes(item)].append(item)
    chosen, place = [], collections.Counter()
    for (path, *_), group in groups.items():
        if group[0].get_closest_marker("every_kernel"):
            chosen += group
            continue
        # Those that take turns in every tier count by themselves: their turn is the same.
        turn = path, bool(group[0].get_closest_marker("one_kernel"))
        chosen.append(group[(rotate + place[turn]) % len(group)])
        place[turn] += len(group) > 1
    return chosen


RESULTS = cache.BUILD / "results"

# Of the tiers that take so long that they may be cut short: what all their tests are
# about. A test is about the file that it is in, too.
SOURCES = {
    "long": build.MODULE_SOURCES + build.PROGRAM_SOURCES + ("host", "tests/host",
                                                            "tests/mutants.json"),
    "all": ("Makefile", "Kconfig", "VERSION", "core", "backends", "include", "ctl",
            "debian", "host", "tests", "tools", "packaging"),
}

# What only some tests are about: those in files that have one of these words, in
# whatever case. (Places of the matrix are QEMUs with hintd, too.)
AREAS = {
    ("host", "tests/host"): ("hintd", "vhost", "evil", "places"),
    ("ctl", "VERSION", "tests/golden", "tests/machine_files.py"): ("aerationctl",),
    ("tests/kselftest/idle.sh",): ('"idle"',),
    ("packaging",): ("packaging", "package"),
    ("debian", "tests/debian_disk.py", "tools/make-deb"): ("make-deb", "debian_disk"),
    ("tests/libvirt_host.py",): ("libvirt_host",),
    ("tests/neighbours.py",): ("import neighbours",),
    ("tools/demo",): ("demo",),
    ("tests/proofs",): ("proofs",),
    ("tests/mutants.json",): ("mutants",),
    ("tools/targets.mk",): ("targets.mk", '"make"', "hintd"),
}

# Files with tests that look at everything there is.
LOOK_EVERYWHERE = ("test_lint.py", "test_house.py", "test_tiers.py",
                   "test_hintd_install.py", "test_security.py", "test_proofs.py")
BESIDES = ("docs", "README.md", ".ci", ".github", ".gitlab-ci.yml")


# What building leaves beside the sources, and an interpreter.
MADE = (".o", ".ko", ".so", ".pyc", ".cmd")


def _files(tops):
    """Return the sorted relative paths of all files there."""
    found = []
    for top in tops:
        start = cache.REPO / top
        found += [path.relative_to(cache.REPO)
                  for path in ([start] if start.is_file() else start.rglob("*"))
                  if path.is_file() and path.suffix not in MADE]
    return sorted(found)


def _decides_nothing(path):
    """Is it a file that no test depends on but those in it, or of everywhere?"""
    return path.parts[0] == "tests" and len(path.parts) == 2 and (
        path.name.startswith("test_") or path.name == "tiers.py")


def _is_elsewhere(path, text):
    """Is it in an area that a test file with this text has nothing to do with?"""
    return any(path.is_relative_to(top) and not any(word in text for word in words)
               for tops, words in AREAS.items() for top in tops)


@functools.cache
def sources(tier, file):
    """Return a digest of what the tests in a file of tests/ are about.

    None of it changes while they run.
    """
    if file in LOOK_EVERYWHERE:
        return build.digest(_files(SOURCES[tier] + BESIDES))
    own = cache.REPO / "tests" / file
    text = own.read_text(encoding="utf-8").lower() if own.exists() else ""
    return build.digest([path for path in _files((*SOURCES[tier], f"tests/{file}"))
                         if path.name == file or not (_decides_nothing(path) or
                                                      _is_elsewhere(path, text))])


def about(tier, name):
    """Return the digest for a test, by its name."""
    return sources(tier, name.split("::")[0].rpartition("/")[2])


def done(tier):
    """Return {name: digest} of the tests of a tier that their sources have passed."""
    try:
        found = json.loads((RESULTS / f"{tier}.json").read_text(encoding="utf-8"))
        return {name: digest for name, digest in found.items()
                if digest == about(tier, name)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def left_out(option):
    """Return the names of those that shall not run again."""
    if option.resume if option.tier == "all" else \
            option.tier == "long" and not option.again:
        return set(done(option.tier))
    return set()


class Done:
    """Notes which tests of a tier have passed, so that a run can be cut short."""

    def __init__(self, option):
        self.tier = option.tier
        self.before = left_out(option)

    def pytest_sessionfinish(self, session, exitstatus):
        """That nothing is left to do is no failure."""
        if self.before and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
            session.exitstatus = pytest.ExitCode.OK
            session.config.lab_cut_short = False

    def pytest_terminal_summary(self, terminalreporter):
        """Say how many are not in the verdict."""
        if self.before:
            terminalreporter.write_line(
                f"{len(self.before)} more have passed before, on the same sources")

    def pytest_runtest_logreport(self, report):
        """A phase of a test has ended."""
        name = report.nodeid.split("@")[0]
        if not report.failed and report.when != "call":
            return
        RESULTS.mkdir(parents=True, exist_ok=True)
        # Another run in this tree may do the same.
        with cache.locked(RESULTS / f".{self.tier}.lock", "what has passed"):
            passed = done(self.tier)
            if report.failed:
                passed.pop(name, None)
            else:
                passed[name] = about(self.tier, name)
            partial = RESULTS / f"{self.tier}.partial"
            partial.write_text(json.dumps(passed, indent=1, sort_keys=True) + "\n",
                               encoding="utf-8")
            partial.rename(RESULTS / f"{self.tier}.json")


# What takes longest begins first, so that nothing is left to run alone in the end.
FIRST = ("test_intree", "test_debug", "test_debian", "test_xen", "test_toolstack", "test_xl",
         "test_matrix", "test_kselftest", "test_shapes", "test_crash", "test_squeeze",
         "test_hintd", "test_evil")


def _rank(item):
    name = item.path.stem
    return FIRST.index(name) if name in FIRST else len(FIRST)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Leave out what is not in this tier; put first what takes longest."""
    tier = config.option.tier
    chosen = [item for item in items if in_tier(item, tier)]
    pool = [item for item in items if in_tier(item, "all")] if tier == "check" else chosen
    turns = [item for item in pool
             if tier != "all" or item.get_closest_marker("one_kernel")]
    left = set(turns) - set(in_turn(turns, config.option.rotate))
    chosen = [item for item in chosen if item not in left]
    passed = left_out(config.option)
    chosen = [item for item in chosen if item.nodeid.split("@")[0] not in passed]
    kept = set(chosen)
    config.hook.pytest_deselected(
        items=[item for item in items if item not in kept])
    items[:] = sorted(chosen, key=_rank)
