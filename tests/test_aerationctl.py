# SPDX-License-Identifier: GPL-2.0
"""aerationctl: what it says in each state, and what it does in a real guest.

What it prints is kept in tests/golden; "python3 tests/test_aerationctl.py" writes that
anew, to be looked at before it is committed.
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

import pytest

import guest
from guest import MIB
from lab import build
from lab.qemu import Vm
from machine_files import NOT_LOADED, OFF, RUNNING, STATES, XEN, furnish

GOLDEN = pathlib.Path(__file__).resolve().parent / "golden" / "aerationctl"
TIMEOUT_S = 20

# Exit statuses, by its manual.
DONE, NOT, USAGE, ABSENT, ROOT = range(5)

# What is kept of what it says, in each state.
SAID = {
    "status": ["status"],
    "json": ["status", "--json"],
    "explain": ["explain"],
    "metrics": ["metrics"],
    "report": ["report"],
    "watch": ["watch", "--count", "2", "--interval", "1ms"],
}


def program(name="aerationctl"):
    """Build it when a source has changed; return its path."""
    return build.native("ctl", name, ("VERSION",))


def run(root, *words, **how):
    """Run it on a folder; return what became of it."""
    return subprocess.run([program(), "--root", root, *words], timeout=TIMEOUT_S,
                          capture_output=True, text=True, check=False,
                          env={**os.environ, "LC_ALL": "C.UTF-8"}, **how)


def told(root, words):
    """Return what is kept: the output, complaints, and the exit status."""
    done = run(root, *words)
    return f"{done.stdout}{done.stderr}exit status {done.returncode}\n"


@pytest.mark.parametrize("name", SAID)
@pytest.mark.parametrize("state", STATES)
def test_says(tmp_path, state, name):
    """Each command in each state says what it said when somebody last looked."""
    root = furnish(tmp_path, STATES[state])
    wanted = (GOLDEN / f"{state}.{name}.txt").read_text(encoding="utf-8")
    assert told(root, SAID[name]) == wanted


def test_alone_is_status(tmp_path):
    """Without a command, and with the option of one."""
    root = furnish(tmp_path, RUNNING)
    assert run(root).stdout == run(root, "status").stdout
    assert run(root, "--json").stdout == run(root, "status", "--json").stdout


@pytest.mark.parametrize("state", STATES)
def test_json(tmp_path, state):
    """It is JSON, with the same names in each state, and the numbers of the files."""
    files = STATES[state]
    said = json.loads(run(furnish(tmp_path, files), "status", "--json").stdout)
    for path, text in files.items():
        name = path.rpartition("/")[2]
        if path.startswith("sys/kernel/aeration/") and text and text.isdigit():
            assert said[name] == int(text)
    other = json.loads(run(furnish(tmp_path / "other", RUNNING), "--json").stdout)
    assert said.keys() == other.keys()


METRIC = re.compile(r'aeration_([a-z_]+)(\{[a-z_]+="[a-z]+"\})? (-?[0-9.e+-]+)')


def parse_metrics(text):
    """Return {name: [value]} of metrics in the text format; strictly."""
    found, types, described = {}, {}, set()
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name = line.split()[2]
            assert name not in described and line.endswith(".")
            described.add(name)
        elif line.startswith("# TYPE "):
            name, kind = line.split()[2:]
            assert name in described and kind in ("gauge", "counter")
            assert (kind == "counter") == name.endswith("_total")
            types[name] = kind
        else:
            name, _, value = METRIC.fullmatch(line).groups()
            assert f"aeration_{name}" in types
            found.setdefault(name, []).append(float(value))
    assert text.endswith("\n") and len(types) == len(found)
    return found


@pytest.mark.parametrize("state", STATES)
def test_metrics(tmp_path, state):
    """A strict parser takes them; one state is 1; base units."""
    found = parse_metrics(run(furnish(tmp_path, STATES[state]), "metrics").stdout)
    assert sum(found["state"]) == 1
    if state == "xen":
        assert found["held_bytes"] == [800 * MIB]
        assert found["window_seconds"] == [1]
        assert found["reserve_bytes"] == [16 * MIB]


def test_metrics_into_a_file(tmp_path):
    """As a whole, readable for a collector; where it cannot be, nothing is left."""
    root = furnish(tmp_path / "root", RUNNING)
    place = tmp_path / "aeration.prom"
    assert run(root, "metrics", "--output", place).returncode == DONE
    assert place.read_text() == run(root, "metrics").stdout
    assert place.stat().st_mode & 0o777 == 0o644
    assert [one.name for one in tmp_path.iterdir() if one.is_file()] == [place.name]
    done = run(root, "metrics", "--output", tmp_path / "none" / "x")
    assert done.returncode == NOT and "No such file" in done.stderr
    done = run(root, "metrics", "--output", root)
    assert done.returncode == NOT and "Is a directory" in done.stderr
    assert not list(tmp_path.glob("root.*"))


DEVICE = "sys/bus/virtio/devices/virtio1/"
OF = "sys/kernel/aeration/"


def off(why, **more):
    """No backend although one was asked for."""
    return {**OFF, "sys/module/aeration/parameters/backend": "auto",
            f"{OF}why/virtio": why, **more}


def without(*paths):
    """These files are not there."""
    return {path: None for path in paths}


def memory(free_mib, cache_mib):
    """So much is free, and so much is cache, of 2 GiB."""
    return {"proc/meminfo": f"MemTotal: 2097152 kB\nMemFree: {free_mib << 10} kB\n"
                            f"Cached: {cache_mib << 10} kB"}


def pieces(order, number):
    """All that is free is in blocks of one order."""
    return {"proc/buddyinfo": "Node 0, zone  Normal " + " ".join(
        str(number if one == order else 0) for one in range(11))}


# By what explain has to name: what is there, and its words.
SITUATIONS = {
    "Secure Boot": ({**NOT_LOADED, "sys/kernel/security/lockdown":
                     "none [integrity] confidentiality"}, "takes signed modules only"),
    "signatures": ({**NOT_LOADED, "sys/module/module/parameters/sig_enforce": "Y"},
                   "takes signed modules only"),
    "not loaded": (NOT_LOADED, "modules are not loaded"),
    "turned off": (OFF, "It was turned off"),
    "other driver": (off("no device: its module is not loaded or found none", **{
        f"{DEVICE}driver": "-> virtio_balloon"}), "has another driver: virtio_balloon"),
    "no driver": (off("no device", **without(f"{DEVICE}driver")), "virtio1 has no driver"),
    "no device": (off("no device", **without(
        f"{DEVICE}driver", f"{DEVICE}device")), "There is no balloon device"),
    "no reports": (off("no free page reporting (bit 5)", **{
        f"{DEVICE}features": "01100000"}), "does not take reports of free pages"),
    "poison": (off("kernel fills free pages, device would lose that (no bit 4)"),
               "fills pages when they are freed"),
    "another host's": (off("this is a confidential guest, and the host must not be told", **{
        f"{DEVICE}driver": "-> virtio_balloon"}), "virtio: this is a confidential guest"),
    "by name": ({**off("not asked for"), "sys/module/aeration/parameters/backend": "xen"},
                "Backend xen was asked for by name"),
    "domain 0": ({**XEN, f"{OF}state": "off", f"{OF}backend": "none",
                  f"{OF}why/xen": "domain 0 gives nothing unless it is asked for"},
                 "xen: domain 0 gives nothing"),
    "not at present": ({**XEN, f"{OF}why/xen": "in use; nothing goes at present: squeezed"},
                       "xen: in use; nothing goes at present: squeezed"),
    "page_poison": ({**RUNNING, "proc/cmdline": "quiet page_poison=1"},
                    "fills pages when they are freed"),
    "out of reach": ({**XEN, f"{OF}hold/out_of_reach_bytes": str(100 * MIB)},
                     "100 MiB free memory cannot be held"),
    "waiting": ({**RUNNING, f"{OF}state": "waiting", f"{OF}backend": "hyperv",
                 f"{OF}why/virtio": "this runs on Hyper-V", f"{OF}why/hyperv":
                 "free page reporting has another owner"},
                "free page reporting has another owner"),
    "failed": (STATES["failed"], "device did not answer within 30000 ms"),
    "cache": ({**RUNNING, **memory(100, 1500), **pieces(10, 25)}, "1500 MiB are cache"),
    "pieces": ({**RUNNING, **memory(1000, 10), **pieces(3, 32000)},
               "1000 MiB of 1000 MiB free are in pieces"),
    "reserve": ({**RUNNING, **memory(500, 10), **pieces(10, 125),
                 f"{OF}reserve_mb": "1024"}, "500 MiB are free, and 1024 MiB"),
    "pressure": ({**RUNNING, "proc/pressure/memory": "some avg10=12.50 avg60=1"},
                 "12.5 % of the last ten seconds"),
    "backed off": ({**RUNNING, f"{OF}window_now_ms": "8000",
                    f"{OF}regretted_bytes": str(70 * MIB)},
                   "free for 8 s now, not 1 s: 70 MiB"),
    "window": ({**RUNNING, f"{OF}window_ms": "60000", f"{OF}window_now_ms": "60000"},
               "Memory has to be free for 60 s"),
    "starved": (STATES["starved"], "the hypervisor has none to give"),
    "max_held": ({**XEN, f"{OF}max_held": "0"}, "Nothing may be held"),
    "limit": ({**XEN, f"{OF}hold/held_bytes": str(1000 * MIB), f"{OF}max_held": "1000M",
               **memory(500, 10), **pieces(10, 125)}, "as much as may be (max_held is 1000M)"),
    "share": ({**XEN, f"{OF}hold/held_bytes": str(1020 * MIB), f"{OF}max_held": "50%",
               **memory(500, 10), **pieces(10, 125)}, "as much as may be (max_held is 50%)"),
    "lost": ({**XEN, f"{OF}hold/quarantined": "3"}, "3 blocks are lost"),
    "errors": ({**RUNNING, f"{OF}stats/errors": "5"}, "did not take 5 batches"),
    "refused": ({**RUNNING, f"{OF}stats/refused": "7"}, "refused 7 blocks"),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_explain(tmp_path, situation):
    """The reason is named, it is the only one, and something can be done."""
    files, words = SITUATIONS[situation]
    done = run(furnish(tmp_path, files), "explain")
    reasons = re.findall(r"^- (.*)\n  (\S.*)$", done.stdout, re.M)
    assert any(words in told[0] for told in reasons), done.stdout
    # In those it can be either.
    assert len(reasons) == (
        2 if situation in ("Secure Boot", "signatures", "by name") else 1), done.stdout
    state = files[f"{OF}state"]
    assert done.returncode == (ABSENT if state is None else
                               DONE if state == "running" else NOT)


def test_nothing_to_explain(tmp_path):
    """Where memory goes back as it can, that is said."""
    for files in (RUNNING, XEN):
        done = run(furnish(tmp_path / files[f"{OF}backend"], files), "explain")
        assert done.returncode == DONE
        assert done.stdout.endswith("\nNothing keeps memory from going back.\n")


def test_troubleshooting():
    """Its table has each reason that explain can give, in explain's words."""
    source = (build.cache.REPO / "ctl" / "explain.c").read_text(encoding="utf-8")
    table = (build.cache.REPO / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    # Of a cell in italics, with "..." for what differs.
    told = [[part.strip() for part in cell.split("...")] for row in re.findall(
        r"^\| (\*.*?) \|", table, re.M) for cell in re.findall(r"\*([^*]+)\*", row)]
    # What begins with a backend's name is the kernel's own word.
    reasons = [one for one in re.findall(r'\breason\("[^"]*",\s+"(.*)"', source)
               if one != "%s: %s."]
    assert len(reasons) > 20
    for reason in reasons:
        assert any(all(part in reason for part in parts) for parts in told), reason


def test_report_is_not_private(tmp_path):
    """Of the command line and the log only what is ours."""
    root = furnish(tmp_path, {**RUNNING, "dev/kmsg": "6,1,2,-;eth0: aeration of 10.0.0.1"})
    said = run(root, "report").stdout
    assert "aeration.window_ms=1000" in said
    assert "secret" not in said and "sda1" not in said and "10.0.0.1" not in said


@pytest.mark.parametrize("words, complaint", [
    (["nothing"], 'there is no command "nothing"'),
    (["status", "--jsn"], '"--jsn" is not known here'),
    (["--jsn"], '"--jsn" is not known here'),
    (["watch", "--count"], "--count wants a value"),
    (["watch", "--count", "0"], "--count 0: that is none"),
    (["watch", "--count", "-1"], "--count -1: that is none"),
    (["watch", "--interval", "0"], "--interval 0: that is none"),
    (["watch", "--interval", "x"], "--interval x: that is none"),
    (["watch", "1"], '"1" is not known here'),
    (["explain", "all"], '"all" is not known here'),
    (["metrics", "--output"], "metrics takes --output FILE"),
    (["report", "x"], '"x" is not known here'),
    (["flush", "--now"], '"--now" is not known here'),
    (["restore", "--again"], '"--again" is not known here'),
    (["on", "xen", "virtio"], '"virtio" is not known here'),
    (["off", "now"], '"now" is not known here'),
    (["squeeze", "--to"], "squeeze takes --to SIZE, --cache PERCENT and --within TIME"),
    (["squeeze", "all"], "squeeze takes --to SIZE, --cache PERCENT and --within TIME"),
    (["squeeze", "--to", "x"], "--to wants what the guest may use"),
    (["squeeze", "--to", "-1M"], "--to wants what the guest may use"),
    (["squeeze", "--cache", "101"], "--cache wants what stays of it in percent"),
    (["squeeze", "--within", "0"], "--within wants a time"),
    (["squeeze", "--to", "1G", "--cache", "5"], "--to or --cache, not both"),
    (["set"], "set wants a name and a value"),
    (["set", "window"], "set wants a name and a value"),
    (["set", "order", "3"], "set wants a name and a value"),
    (["set", "window", "x"], 'window cannot be "x"; it is 2s or 500ms'),
    (["set", "window", "2h"], 'window cannot be "2h"'),
    (["set", "window", "-2"], 'window cannot be "-2"'),
    (["set", "reserve", "2T"], 'reserve cannot be "2T"; it is 64M or 1G'),
    (["set", "reserve", "99999999999999999999"], "reserve cannot be"),
    (["set", "max-held", "9" * 40], "max-held cannot be"),
])
def test_wrong_words(tmp_path, words, complaint):
    """What is wrong is said, nothing is done, and the status is 2."""
    root = furnish(tmp_path, RUNNING)
    done = run(root, *words)
    assert done.returncode == USAGE
    assert complaint in done.stderr and not done.stdout
    for path, text in RUNNING.items():
        if not text.startswith("-> "):
            assert (root / path).read_text() == text + "\n"


def test_help_and_version():
    """On standard output, by themselves."""
    for words, part in ((["--help"], "usage: aerationctl"), (["-h"], "Exit status: 0"),
                        (["--version"], "aerationctl 0.")):
        done = subprocess.run([program(), *words], capture_output=True, text=True,
                              timeout=TIMEOUT_S, check=False)
        assert done.returncode == DONE and part in done.stdout and not done.stderr
    full = subprocess.run([program(), "--help"], stdout=open("/dev/full", "w"),
                          stderr=subprocess.PIPE, text=True, timeout=TIMEOUT_S,
                          check=False)
    assert full.returncode == NOT and "cannot write" in full.stderr
    done = subprocess.run([program(), "--root"], capture_output=True, text=True,
                          timeout=TIMEOUT_S, check=False)
    assert done.returncode == USAGE and "--root wants a folder" in done.stderr


@pytest.mark.parametrize("words, path, text", [
    (["set", "window", "2s"], f"{OF}window_ms", "2000"),
    (["set", "window", "500ms"], f"{OF}window_ms", "500"),
    (["set", "backoff", "1.5"], f"{OF}backoff_ms", "1500"),
    (["set", "reserve", "64M"], f"{OF}reserve_mb", "64"),
    (["set", "reserve", "2G"], f"{OF}reserve_mb", "2048"),
    (["set", "reserve", "8"], f"{OF}reserve_mb", "8"),
    (["set", "max-held", "50%"], f"{OF}max_held", "50%"),
    (["off"], "sys/module/aeration/parameters/backend", "none"),
    (["on"], "sys/module/aeration/parameters/backend", "auto"),
    (["on", "virtio"], "sys/module/aeration/parameters/backend", "virtio"),
    (["flush"], f"{OF}request/start", "flush"),
    (["flush", "--again"], f"{OF}request/start", "again"),
    (["restore"], f"{OF}request/start", "restore"),
])
def test_writes(tmp_path, words, path, text):
    """Each command writes what it is for, and nothing else."""
    root = furnish(tmp_path, RUNNING)
    done = run(root, *words)
    assert done.returncode == DONE, done.stderr
    assert (root / path).read_text() == text
    for other, was in RUNNING.items():
        if other != path and not was.startswith("-> "):
            assert (root / other).read_text() == was + "\n"


@pytest.mark.parametrize("words", [["flush"], ["restore", "--wait"], ["on"], ["off"],
                                   ["set", "window", "1"]])
def test_not_loaded(tmp_path, words):
    """Where there is nothing to tell, that is said; the status is 3."""
    done = run(furnish(tmp_path, NOT_LOADED), *words)
    assert done.returncode == ABSENT and "aeration is not loaded" in done.stderr


# Ends of a request: what the kernel says, what comes out, and the exit status.
ENDS = {
    "done": ("3 flush done 104857600 0", "100 MiB given back\n", "", DONE),
    "cancelled": ("3 flush cancelled 1048576 -4", "", "cancelled, after 1 MiB", NOT),
    "nothing runs": ("3 flush failed 0 -19", "", "nothing is running", NOT),
    "not taken": ("3 flush failed 0 -5", "", "did not take what it was offered", NOT),
    "some": ("3 flush failed 0 -11", "", "could not do all of it", NOT),
    "transient": ("3 restore failed 0 -95", "", "nothing is held here", NOT),
    "other": ("3 flush failed 0 -12", "", "Cannot allocate memory", NOT),
    "odd": ("nonsense", "", "did not take what it was offered", NOT),
}


@pytest.mark.parametrize("how", ENDS)
def test_ends_of_a_request(tmp_path, how):
    """What became of it is said, in words."""
    status, out, complaint, code = ENDS[how]
    root = furnish(tmp_path, {**RUNNING, f"{OF}request/status": status})
    done = run(root, "restore" if "restore" in status else "flush", "--wait")
    assert done.returncode == code
    assert done.stdout == out and complaint in done.stderr


SQUEEZED = {f"{OF}request/status": "3 squeeze done 104857600 0",
            f"{OF}squeezed/reclaimed_bytes": str(60 * MIB),
            f"{OF}squeezed/compacted_bytes": str(30 * MIB),
            f"{OF}squeezed/ended_by": "nothing is left to take"}


@pytest.mark.parametrize("words, order", [
    ([], "squeeze within=5000"),
    (["--to", "512M"], "squeeze within=5000 to=512M"),
    (["--cache", "0", "--within", "1.5s"], "squeeze within=1500 cache=0"),
])
def test_squeeze(tmp_path, words, order):
    """It asks in the kernel's words, and says what came of each stage."""
    root = furnish(tmp_path, {**RUNNING, **SQUEEZED})
    done = run(root, "squeeze", *words)
    assert done.returncode == DONE, done.stderr
    assert (root / f"{OF}request/start").read_text() == order
    assert done.stdout == (
        "100 MiB given back\n"
        "60 MiB taken from cache; it ended with: nothing is left to take\n"
        "30 MiB came into large blocks by compaction\n")


def test_squeeze_where_it_cannot_be(tmp_path):
    """What it would take is said, and no stage that has not been."""
    root = furnish(tmp_path, {**RUNNING, **SQUEEZED,
                              f"{OF}request/status": "3 squeeze failed 0 -95"})
    done = run(root, "squeeze")
    assert done.returncode == NOT and not done.stdout
    assert "offers no way to take cache" in done.stderr


def test_another_one_is_not_cancelled(tmp_path):
    """^C while somebody else's request is waited for leaves that alone."""
    root = furnish(tmp_path, {**RUNNING, f"{OF}request/status": "7 restore running 0 0"})
    with subprocess.Popen([program(), "--root", root, "flush", "--wait"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as one:
        guest_waits(lambda: (root / f"{OF}request/start").read_text() == "flush")
        one.send_signal(signal.SIGINT)
        out, complaint = one.communicate(timeout=TIMEOUT_S)
    assert not out and "its end was not seen" in complaint
    assert (root / f"{OF}request/cancel").read_text() == "\n"
    assert one.returncode == NOT


def test_interrupted(tmp_path):
    """^C while it waits cancels the request, and it says how that ended."""
    root = furnish(tmp_path, {**RUNNING, f"{OF}request/status": "7 flush running 0 0"})
    with subprocess.Popen([program(), "--root", root, "flush", "--wait"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as one:
        start, cancel = root / f"{OF}request/start", root / f"{OF}request/cancel"
        guest_waits(lambda: start.read_text() == "flush")
        one.send_signal(signal.SIGINT)
        guest_waits(lambda: cancel.read_text() == "1")
        (root / f"{OF}request/status").write_text("7 flush cancelled 2097152 -4\n")
        out, complaint = one.communicate(timeout=TIMEOUT_S)
    assert not out and "flush: cancelled, after 2 MiB" in complaint
    assert one.returncode == NOT


def completed(*words):
    """Return what bash offers after these words."""
    script = build.cache.REPO / "ctl" / "completion.bash"
    done = subprocess.run(
        ["bash", "-c", 'compopt() { :; }; . "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
         '_aerationctl; printf "%s\\n" "${COMPREPLY[@]}"', script, "aerationctl", *words],
        capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    return done.stdout.split()


def test_completion():
    """bash offers each command there is, and what goes with it."""
    shown = subprocess.run([program(), "--help"], capture_output=True, text=True,
                           timeout=TIMEOUT_S, check=True).stdout
    there = list(dict.fromkeys(re.findall(r"^  ([a-z]+) ", shown, re.M)))
    assert [one for one in completed("") if one[0] != "-"] == there
    assert completed("fl") == ["flush"]
    assert completed("flush", "--") == ["--again", "--wait"]
    assert completed("set", "w") == ["window"]
    assert completed("on", "") == ["virtio", "xen", "hyperv", "loop"]
    assert completed("host", "--") == ["--qmp", "--qemu"]
    assert completed("host", "--qmp", "x", "--i") == ["--interval"]
    assert not completed("off", "")
    manual = (build.cache.REPO / "ctl" / "aerationctl.8").read_text(encoding="utf-8")
    for one in there:
        assert re.search(rf"^\.(B|BR|BI) {one}\b", manual, re.M), one


def guest_waits(condition):
    """Wait until a file says what it should."""
    for _ in range(TIMEOUT_S * 20):
        if condition():
            return
        signal.sigtimedwait([], 0.05)
    raise AssertionError(f"waited {TIMEOUT_S} s for {condition}")


def test_watch_ends(tmp_path):
    """^C ends it with a whole line and no complaint."""
    root = furnish(tmp_path, RUNNING)
    with subprocess.Popen([program(), "--root", root, "watch"], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as one:
        first = one.stdout.readline() + one.stdout.readline()
        one.send_signal(signal.SIGINT)
        rest, complaint = one.communicate(timeout=TIMEOUT_S)
    assert "taken back" in first and not complaint and not one.returncode
    assert not rest or rest.endswith("\n")


HELD_MIB = 512

# Of that, what has to be back at once: processors keep some on lists of their own.
MOST = 0.8


def in_guest(vm, *words, check=True):
    """Run it in a guest."""
    return vm.run(" ".join(["/tmp/aerationctl", *words]), check=check)


def bring(vm):
    """Take the program from the guest's disk."""
    size = program("aerationctl-static").stat().st_size
    vm.run(f"modprobe virtio_blk && head -c {size} /dev/vda > /tmp/aerationctl && "
           "chmod +x /tmp/aerationctl")


def test_in_a_guest(image, kernel):
    """A guest of modules alone, no Python, no systemd: from not loaded to flushed."""
    disk = f"file={program('aerationctl-static')},format=raw,if=virtio,readonly=on"
    with Vm(kernel, f"ctl-{kernel}", extra=["-drive", disk]) as vm:
        bring(vm)
        done = in_guest(vm, check=False)
        assert done.rc == ABSENT and "not loaded" in done.out
        assert in_guest(vm, "flush", check=False).rc == ABSENT
        vm.run("modprobe aeration_virtio")
        guest.wait_value(vm, "state", "running")
        assert "running" in in_guest(vm).out
        assert in_guest(vm, "set", "window", "60s").out == "window is 60s until the next boot\n"
        assert guest.value(vm, "window_ms") == "60000"
        done = in_guest(vm, "set", "window", "61s", check=False)
        assert done.rc == USAGE and "cannot be" in done.out
        assert "has to be free for 60 s" in in_guest(vm, "explain", check=False).out
        job = guest.hold(vm, HELD_MIB)
        resident = vm.resident()
        guest.free_held(vm, job)
        said = in_guest(vm, "flush", "--wait").out
        print(said)
        assert int(re.search(r"(\d+) MiB given back$", said, re.M)[1]) >= MOST * HELD_MIB
        assert resident - vm.resident() >= MOST * HELD_MIB * MIB
        guest.end_held(vm, job)
        said = json.loads(in_guest(vm, "--json").out)
        assert said["bytes"] == guest.stat(vm, "bytes") and said["devices"]
        found = parse_metrics(in_guest(vm, "metrics").out)
        assert found["given_bytes_total"] == [said["bytes"]]
        done = in_guest(vm, "restore", "--wait", check=False)
        assert done.rc == NOT and "nothing is held here" in done.out
        assert in_guest(vm, "off").out == "off, backend none\n"
        assert "It was turned off" in in_guest(vm, "explain", check=False).out
        assert in_guest(vm, "on").out == "running, backend virtio\n"
        assert in_guest(vm, "on", "nonsense", check=False).rc == USAGE
        assert "aeration: backend" in in_guest(vm, "report").out
        vm.run("echo 3 > /proc/sys/vm/drop_caches; head -c 300M /dev/zero > /tmp/file; "
               "rm /tmp/file")
        lines = in_guest(vm, "watch", "--count", "3").out.splitlines()
        assert len(lines) == 4 and all("running" in line for line in lines[1:])
        guest.unload(vm)
        assert in_guest(vm, check=False).rc == ABSENT


def main():
    """Write what is kept anew."""
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for state, files in STATES.items():
        with tempfile.TemporaryDirectory() as folder:
            root = furnish(pathlib.Path(folder), files)
            for name, words in SAID.items():
                (GOLDEN / f"{state}.{name}.txt").write_text(told(root, words),
                                                            encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
