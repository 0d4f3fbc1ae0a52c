# SPDX-License-Identifier: GPL-2.0
"""Proofs within bounds: models of what runs beside each other, and enumerations.

tests/proofs/ has models for Spin and programs that try every case there is up to a
bound; proofs.json says of each what it stands for, its bound, and mutants: changes that
make it wrong, each of which has to be found out.

A model stands for functions of the product. When one of them changes, and nobody has
looked at the model, a test fails. Who has looked, and has changed the model or left it,
notes that:

    python3 tests/test_proofs.py --accept MODEL
"""

import hashlib
import json
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest

import ktap
import results
from lab import cache

REPO = cache.REPO
PROOFS = pathlib.Path(__file__).resolve().parent / "proofs"
TABLE = PROOFS / "proofs.json"

BUILD_TIMEOUT = 300	# seconds
RUN_TIMEOUT = 300	# seconds; each takes a few

# Of a search: depth, and MiB of memory. A search that needs more is not complete.
DEPTH = 100000
MEMORY = 1024

# What a program that does not end may take: seconds of a processor, bytes of output.
CPU_MOST = 120
OUTPUT_MOST = 16 << 20
ENDLESS = (-signal.SIGXCPU, -signal.SIGXFSZ, -signal.SIGKILL)

# What an enumeration is made of.
PARTS = ("core/hold", "core/pace", "backends/virtio", "backends/xen", "include", "host",
         "tests/unit")

CLAIM = re.compile(r"^ltl (\w+)", re.M)
COMMENTS = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)


def table():
    """Return what proofs.json says."""
    return json.loads(TABLE.read_text(encoding="utf-8"))


def digest(text):
    """Return the digest of a text without comments and white space."""
    return hashlib.sha256(re.sub(r"\s+", "", COMMENTS.sub("", text)).encode()).hexdigest()


def function_text(file, function):
    """Return the definition of a function, or None if the file has none of that name."""
    found = re.findall(
        rf"^(?:\w[\w *]*\n)?(?:\w[\w *]*[ *])?{function}\([^;{{}}]*?\n\{{\n.*?^\}}",
        (REPO / file).read_text(encoding="utf-8"), re.M | re.S)
    assert len(found) < 2, f"{file} has several functions {function}()"
    return found[0] if found else None


def functions(model):
    """Return [(file, function, the digest it had)] that a model stands for."""
    return [(file, function, was) for file, all_of in model["stands_for"].items()
            for function, was in all_of.items()]


def model_text(name):
    """Return the text of a model."""
    return (PROOFS / f"{name}.pml").read_text(encoding="utf-8")


def what_changed(name, model):
    """Return what is to be said of functions that are not as the model knew them."""
    said = []
    looked = digest(model_text(name)) != model["sha256"]
    for file, function, was in functions(model):
        text = function_text(file, function)
        if text is None:
            said.append(f"{file}: {function}() is gone, or has another name. Take it out of "
                        f"proofs.json, and what the model {name} says of it out of that")
        elif digest(text) != was:
            said.append(f"{file}: {function}() has changed" + (
                f", and so has {name}.pml. If they belong together: " if looked else
                f", and {name}.pml has not. Look whether the model still does what the "
                "function does, and change it if not; then: ") +
                        f"python3 tests/test_proofs.py --accept {name}")
    if looked and not said:
        said.append(f"{name}.pml has changed. If it still stands for what it says: "
                    f"python3 tests/test_proofs.py --accept {name}")
    return said


def changed_by(expression, text, what):
    """Return a text as sed -E changes it."""
    done = subprocess.run(["sed", "-E", expression], input=text, text=True,
                          capture_output=True, check=True, timeout=BUILD_TIMEOUT)
    assert done.stdout != text, f"{what}: {expression} changes nothing"
    return done.stdout


def bounded():
    """In a child: something wrong may run, or print, for ever."""
    for what, most in ((resource.RLIMIT_CPU, CPU_MOST),
                       (resource.RLIMIT_FSIZE, OUTPUT_MOST)):
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))


def run_bounded(argv, folder):
    """Run a program with an end in any case; return its status and its output.

    The output goes to a file: what is read from a pipe grows without a bound here.
    """
    log = folder / "output"
    with open(log, "wb") as out:
        done = subprocess.run(argv, cwd=folder, stdout=out, stderr=subprocess.STDOUT,
                              check=False, timeout=RUN_TIMEOUT, preexec_fn=bounded)
    return done.returncode, log.read_text(encoding="utf-8", errors="replace")


def search(text, run, folder):
    """Have Spin search all of a model; return what it says and how long it took.

    A run with a claim is for cycles in which everybody has a turn (weak fairness); one
    without is for assertions, and for processes that wait for ever.
    """
    (folder / "model.pml").write_text(text, encoding="utf-8")
    defines = [f"-D{one}" for one in run.get("defines", "").split()]
    claim = run.get("claim")
    kind = ["-DNFAIR=3"] if claim else ["-DSAFETY", "-DNOCLAIM"]
    subprocess.run(["spin", *defines, "-a", "model.pml"], cwd=folder, check=True,
                   stdout=subprocess.DEVNULL, timeout=BUILD_TIMEOUT)
    subprocess.run(["cc", "-O1", "-w", "-DCOLLAPSE", f"-DMEMLIM={MEMORY}", *kind,
                    "-o", "pan", "pan.c"], cwd=folder, check=True, timeout=BUILD_TIMEOUT)
    begin = time.monotonic()
    search_for = ["-a", "-f"] if claim else []
    if claim and len(set(CLAIM.findall(text))) > 1:
        search_for += ["-N", claim]
    _, out = run_bounded(["./pan", f"-m{DEPTH}", *search_for], folder)
    return out, time.monotonic() - begin


def trail(run, folder):
    """Return how Spin came to what it found, the last of it."""
    defines = [f"-D{one}" for one in run.get("defines", "").split()]
    _, out = run_bounded(["spin", *defines, "-t", "-p", "model.pml"], folder)
    return out[-6000:]


def runs():
    """Return every run of every model, as parameters."""
    return [pytest.param(name, run, id=f"{name}-{run['name']}")
            for name, model in table()["models"].items() for run in model["runs"]]


@pytest.mark.parametrize("name", table()["models"])
def test_a_model_is_of_this_code(name):
    """What a model stands for is what it was when somebody looked at both."""
    said = what_changed(name, table()["models"][name])
    assert not said, "\n".join(said)


@pytest.mark.parametrize("name, run", runs())
def test_model(name, run, tmp_path):
    """Spin looks at every state, and nothing is wrong in any."""
    out, seconds = search(model_text(name), run, tmp_path)
    assert "errors: 0" in out, f"{out}\n{trail(run, tmp_path)}"
    assert "Search not completed" not in out and "too small" not in out, out
    states = int(re.search(r"^ *(\d+) states, stored", out, re.M)[1])
    print(f"{name} {run['name']}: {states} states, {seconds:.1f} s; {run['bound']}")
    results.note("proofs", f"{name} {run['name']}", cases=states, seconds=round(seconds, 1))
    assert states >= run["states"], out


def model_mutants():
    """Return every mutant of every model, with the run that is to find it."""
    return [pytest.param(name, run, mutant, id=f"{name}-{mutant['name']}")
            for name, model in table()["models"].items() for mutant in model["mutants"]
            for run in model["runs"] if run["name"] == mutant["run"]]


def test_each_proof_has_a_mutant():
    """Each run of a model, and each enumeration, is shown to be able to fail."""
    for name, model in table()["models"].items():
        assert {one["run"] for one in model["mutants"]} == \
            {one["name"] for one in model["runs"]}, name
    assert all(entry["mutants"] for entry in table()["enumerations"].values())


@pytest.mark.all_only("it tries a model, not the product")
@pytest.mark.parametrize("name, run, mutant", model_mutants())
def test_mutant_of_a_model(name, run, mutant, tmp_path):
    """What is wrong is found, and for the reason that is given."""
    text = changed_by(mutant["sed"], model_text(name), f"{name}.pml")
    out, _ = search(text, run, tmp_path)
    assert mutant["found"] in out and "errors: 1" in out, out


def build(tree, program, folder, *more):
    """Build an enumeration of the sources in a tree; return the program."""
    done = subprocess.run(["make", "-s", "-C", PROOFS, f"TOP={tree}", f"OUTPUT={folder}",
                           *more, folder / program], capture_output=True, text=True,
                          check=False, timeout=BUILD_TIMEOUT)
    assert not done.returncode, done.stderr
    return folder / program


@pytest.mark.parametrize("name", table()["enumerations"])
def test_enumeration(name, tmp_path):
    """Every case within the bound, under ASan and UBSan."""
    entry = table()["enumerations"][name]
    program = build(REPO, f"enum_{name}", tmp_path)
    begin = time.monotonic()
    status, out = run_bounded([program], tmp_path)
    seconds = round(time.monotonic() - begin, 1)
    ktap.check(out)
    assert not status, out
    print(out)
    cases = int(re.search(r"^# (\d+) cases in all", out, re.M)[1])
    assert cases == entry["cases"], "proofs.json has another number"
    results.note("proofs", name, cases=cases, seconds=seconds)


def source_mutants():
    """Return every mutant of the product that an enumeration is to find."""
    return [pytest.param(name, mutant, id=f"{name}-{mutant['name']}")
            for name, entry in table()["enumerations"].items()
            for mutant in entry["mutants"]]


@pytest.mark.all_only("it tries an enumeration, not the product")
@pytest.mark.parametrize("name, mutant", source_mutants())
def test_mutant_of_the_product(name, mutant, tmp_path):
    """A copy of the product with something wrong in it is found out."""
    tree = tmp_path / "tree"
    for part in PARTS:
        shutil.copytree(REPO / part, tree / part, ignore=shutil.ignore_patterns("*.o"))
    file = tree / mutant["file"]
    text = file.read_text(encoding="utf-8")
    file.chmod(0o644)
    file.write_text(changed_by(mutant["sed"], text, mutant["file"]), encoding="utf-8")
    program = build(tree, f"enum_{name}", tmp_path / "built", "SANITIZE=", "WARN=-w")
    status, out = run_bounded([program], tmp_path)
    assert status not in (0, *ENDLESS), f"status {status}\n{out[-2000:]}"
    assert ktap.failures(out), out[-2000:]


def noted(model, name):
    """Return a model that stands for its functions as these are now."""
    for file, function, _ in functions(model):
        text = function_text(file, function)
        if text is None:
            sys.exit(f"{file} has no function {function}()")
        model["stands_for"][file][function] = digest(text)
    model["sha256"] = digest(model_text(name))
    return model


def test_a_changed_function_is_seen(tmp_path, monkeypatch):
    """It is said which one, and what to do; comments and white space do not count."""
    name, model = "request", noted(table()["models"]["request"], "request")
    copy = tmp_path / "core/request.c"
    copy.parent.mkdir()
    text = (REPO / "core/request.c").read_text(encoding="utf-8")
    monkeypatch.setattr(sys.modules[__name__], "REPO", tmp_path)
    copy.write_text(text.replace("/* Nobody waits", "/* Now nobody   waits"),
                    encoding="utf-8")
    assert what_changed(name, model) == []
    copy.write_text(text.replace("request.out = NULL;\n\t\tWRITE_ONCE", "WRITE_ONCE"),
                    encoding="utf-8")
    said = what_changed(name, model)
    assert len(said) == 1 and "give_up() has changed" in said[0] and \
        "--accept request" in said[0]
    copy.write_text(text.replace("give_up(", "let_go("), encoding="utf-8")
    assert "give_up() is gone" in what_changed(name, model)[0]


def accept(names):
    """Note that somebody has looked at models, and at what they stand for."""
    proofs = table()
    for name in names:
        noted(proofs["models"][name], name)
    TABLE.write_text(json.dumps(proofs, indent="\t", ensure_ascii=False) + "\n",
                     encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] != "--accept":
        sys.exit(f"usage: {sys.argv[0]} --accept MODEL...")
    accept(sys.argv[2:])
