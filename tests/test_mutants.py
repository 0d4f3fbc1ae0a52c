# SPDX-License-Identifier: GPL-2.0
"""Three faults put into each file of core/ and backends/: which tests find them?

mutants.json has them: an exact text of a file that is there once, and what it becomes,
which compiles and is wrong. `tests` are those of `make check` that are to find it, the
cheapest first; where none is known to, `missed` says why, and `tests` are the nearest.

`make mutants`, or a part of check-long, tries all of them, each in a copy of this tree
with a cache of its own, which has what is there already by links, and goes with it. What
came of each is in build/results/mutants.json.
"""

import collections
import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

import pytest

import results
from lab import cache, suites

TABLE = cache.REPO / "tests" / "mutants.json"
EACH = 3

# Seconds for one test, with all that is built for it.
HUNG = 3 * 3600

# What a tree has that no test needs.
NOT_COPIED = ("build", ".git", ".cache", "__pycache__", "*.o", "*.ko")

# A header has code if it has a function that does something.
INLINE = re.compile(r"^static inline[^;{]*\n\{\n(?!\treturn 0;\n\})", re.M)

# What is said of something that cannot be built.
BROKEN = re.compile(r"\.[ch]:\d+:(\d+:)? (fatal )?error:|failed \(make status|"
                    r"building \S+ \S+ failed")


def table():
    """Return the mutants, [{file, old, new, kind, tests, missed?}]."""
    return json.loads(TABLE.read_text(encoding="utf-8"))


def named():
    """Return {name: mutant}: a file, and which of its mutants it is."""
    seen, found = collections.Counter(), {}
    for mutant in table():
        seen[mutant["file"]] += 1
        found[f"{mutant['file']}-{seen[mutant['file']]}"] = mutant
    return found


def with_code():
    """Return the paths of what is to have mutants, from the top."""
    found = []
    for folder in ("core", "backends"):
        for path in sorted((cache.REPO / folder).rglob("*.[ch]")):
            if not path.name.endswith(".mod.c") and (path.suffix == ".c" or INLINE.search(
                    path.read_text(encoding="utf-8"))):
                found.append(str(path.relative_to(cache.REPO)))
    return found


def put_into(tree, mutant):
    """Have a mutant in a tree."""
    path = tree / mutant["file"]
    text = path.read_text(encoding="utf-8")
    assert text.count(mutant["old"]) == 1, f"{mutant['file']}: {mutant['old']}"
    path.chmod(0o644)
    path.write_text(text.replace(mutant["old"], mutant["new"]), encoding="utf-8")


def test_each_file_has_three():
    """No more, no fewer, and none of a file that there is not."""
    count = collections.Counter(mutant["file"] for mutant in table())
    assert count == {path: EACH for path in with_code()}


def test_each_applies(tmp_path):
    """Once, it changes something, and the tests that are named are there."""
    for mutant in table():
        assert mutant["old"] != mutant["new"] and mutant["kind"] and mutant["tests"]
        path = tmp_path / mutant["file"]
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(cache.REPO / mutant["file"], path)
        put_into(tmp_path, mutant)
        for test in mutant["tests"]:
            file, name = test.split("[")[0].split("::")
            text = (cache.REPO / file).read_text(encoding="utf-8")
            assert re.search(rf"^def {name}\(", text, re.M), test


def link_cache(place):
    """Make a cache that has what there is already."""
    for path in cache.directory().iterdir():
        if (path / cache.STAMP).exists():
            (place / path.name).symlink_to(path)
        elif path.is_dir() and not path.name.endswith(".partial"):
            # What is kept for several trees: ours is put beside it.
            (place / path.name).mkdir()
            for stamp in path.glob(f"*/{cache.STAMP}"):
                (place / path.name / stamp.parent.name).symlink_to(stamp.parent)


@contextlib.contextmanager
def copy_of_the_tree():
    """A tree like this one, and the environment in which its tests run."""
    cache.BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mutant-", dir=cache.BUILD) as scratch:
        tree = pathlib.Path(scratch) / "tree"
        shutil.copytree(cache.REPO, tree, symlinks=True,
                        ignore=shutil.ignore_patterns(*NOT_COPIED))
        own = pathlib.Path(scratch) / "cache"
        own.mkdir()
        link_cache(own)
        env = {name: value for name, value in os.environ.items()
               if not name.startswith("PYTEST_")}
        yield tree, {**env, "AERATION_CACHE": str(own), "PYTHONPATH": "tests",
                     "PYTHONDONTWRITEBYTECODE": "1"}


def finds(test, tree, env):
    """Run a test, on one kernel, in a tree; return whether it fails."""
    name, _, words = test.rstrip("]").partition("[")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-x", "--tb=short",
         "--tier", "all", "--kernel", suites.GUEST, *(["-k", words] if words else []),
         name], cwd=tree, env=env, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=HUNG, check=False)
    assert not BROKEN.search(done.stdout), f"it cannot be built:\n{done.stdout[-8000:]}"
    assert done.returncode in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED), \
        done.stdout[-8000:]
    if done.returncode:
        print(done.stdout[-4000:])
    return bool(done.returncode)


@pytest.mark.long("there are two hundred of them, and most need modules, an image and a "
                  "guest of their own")
@pytest.mark.parametrize("name", named())
def test_mutant(image, name):
    """It is found, or it is known why not."""
    mutant, begin = named()[name], time.monotonic()
    with copy_of_the_tree() as (tree, env):
        put_into(tree, mutant)
        found = next((test for test in mutant["tests"] if finds(test, tree, env)), None)
    results.note("mutants", name, kind=mutant["kind"], found_by=found or "nobody",
                 seconds=round(time.monotonic() - begin))
    print(f"{name}: {mutant['kind']}, found by {found or 'nobody'}")
    assert found or "missed" in mutant, "nobody has found it"


def test_what_is_not_wrong_is_not_found(tmp_path):
    """The judge itself: a test that passes, one that fails, and what cannot be built."""
    (tmp_path / "test_judge.py").write_text(
        "import pytest\n\n\n@pytest.mark.parametrize('how', ['well', 'badly', 'broken'])\n"
        "def test_it(how):\n    if how == 'broken':\n"
        "        print('core/api.c:1:2: error: what')\n    assert how == 'well'\n",
        encoding="utf-8")
    (tmp_path / "conftest.py").write_text(
        "def pytest_addoption(parser):\n    parser.addoption('--tier')\n"
        "    parser.addoption('--kernel')\n", encoding="utf-8")
    env = {name: value for name, value in os.environ.items()
           if not name.startswith("PYTEST_")}
    assert not finds("test_judge.py::test_it[well]", tmp_path, env)
    assert finds("test_judge.py::test_it[badly]", tmp_path, env)
    with pytest.raises(AssertionError, match="cannot be built"):
        finds("test_judge.py::test_it[broken]", tmp_path, env)
