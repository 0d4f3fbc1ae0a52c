# SPDX-License-Identifier: GPL-2.0
"""aerationctl host: what a host is told of its guests, by Xen's tools and by QEMU."""

import json
import os
import re
import socket
import subprocess
import threading

import pytest

import guest
from guest import MIB
from lab import build
from lab.qemu import Vm

TIMEOUT_S = 30
DONE, NOT, USAGE = range(3)

# A guest touches memory between two looks, MiB.
NEAR_MIB = 64


def run(root, *words, path=None):
    """Run it on a folder; return what became of it."""
    program = build.native("ctl", "aerationctl", ("VERSION",))
    env = {**os.environ, "LC_ALL": "C.UTF-8"}
    if path:
        env["PATH"] = f"{path}:{env['PATH']}"
    return subprocess.run([program, "--root", root, "host", *words], env=env,
                          timeout=TIMEOUT_S, capture_output=True, text=True, check=False)


# Domain 0 of Xen


XL_LIST = """Name                                        ID   Mem VCPUs\tState\tTime(s)
Domain-0                                     0  1024     1     r-----      12.3
web server                                   3   412     2     -b----       4.0
old                                         12   512     1     -b----       1.1
"""

STORE = {
    0: "cannot",
    3: '1048576\nheld = "626688"\nstarved = "0"\nanswer = "1 flush done 3 0"\n',
    12: "524288\n",
}


def domain_0(folder, *, free=700, listing=XL_LIST, store=None, status=0,
             store_status=0):
    """Make a folder and programs that stand in for a domain 0."""
    tools = folder / "bin"
    tools.mkdir()
    (folder / "proc/xen").mkdir(parents=True)
    (folder / "proc/xen/capabilities").write_text("control_d\n", encoding="ascii")
    (folder / "listing").write_text(listing, encoding="utf-8")
    for number, text in {**STORE, **(store or {})}.items():
        (folder / f"store{number}").write_text(text, encoding="utf-8")
    programs = {
        "xl": f'[ "$1" = list ] && cat {folder}/listing || echo {free}; exit {status}',
        "xenstore-list": f"exit {store_status}",
        # Both in one: the first line is static-max.
        "xenstore-read": f'n=${{1#/local/domain/}}; head -n 1 {folder}/store${{n%%/*}}',
        "xenstore-ls": f'n=${{1#/local/domain/}}; tail -n +2 {folder}/store${{n%%/*}}',
    }
    for name, body in programs.items():
        (tools / name).write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        (tools / name).chmod(0o755)
    return folder, tools


def test_domains(tmp_path):
    """Each has a line; what is promised is held against what there is."""
    done = run(*(root := domain_0(tmp_path))[:1], path=root[1])
    assert done.returncode == DONE and not done.stderr
    rows = [re.split(r"  +", line) for line in done.stdout.splitlines()]
    assert rows[1] == ["Domain-0", "0", "1024 MiB", "-", "-"]
    assert rows[2] == ["web server", "3", "412 MiB", "612 MiB", "no"]
    assert rows[3] == ["old", "12", "512 MiB", "-", "-"]
    assert "Xen has 700 MiB free. 612 MiB of that are promised" in done.stdout


def test_too_much_is_promised(tmp_path):
    """That is a line of its own, and an exit status; so is a domain that is starved."""
    root, tools = domain_0(tmp_path, free=600)
    done = run(root, path=tools)
    assert done.returncode == NOT
    assert "That is 12 MiB more than there are" in done.stdout
    (tmp_path / "two").mkdir()
    root, tools = domain_0(tmp_path / "two", store={
        3: STORE[3].replace('starved = "0"', 'starved = "1"')})
    done = run(root, path=tools)
    assert done.returncode == NOT and re.search(r"612 MiB  yes$", done.stdout, re.M)


def test_a_domain_that_lies(tmp_path):
    """No domain is believed to have given more than it can have had."""
    root, tools = domain_0(tmp_path, store={
        12: '524288\n99999999999999 = ""\nheld = "99999999999999999999"\n'
            'starved = "; reboot"\nheld'})
    done = run(root, path=tools)
    assert re.search(r"^old +12 +512 MiB +512 MiB  no$", done.stdout, re.M), done.stdout
    assert done.returncode == NOT and "1124 MiB of that are promised" in done.stdout


@pytest.mark.parametrize("how, complaint", [
    ({"status": 1}, "xl list: exit status 1"),
    ({"store_status": 127}, "xenstore-list: exit status 127"),
    ({"listing": "nonsense\n\n  \nx y\n", "free": "none"}, "says no number"),
])
def test_xl_that_fails(tmp_path, how, complaint):
    """What cannot be read is said, and no sum is made of it."""
    root, tools = domain_0(tmp_path, **how)
    done = run(root, path=tools)
    assert done.returncode == NOT
    assert complaint in done.stderr and "promised" not in done.stdout


def test_no_domain_0(tmp_path):
    """Elsewhere it says what there is instead."""
    done = run(tmp_path)
    assert done.returncode == NOT and "--qmp or --qemu" in done.stderr


# A guest of QEMU


@pytest.mark.parametrize("words, complaint", [
    (["--qmp"], "--qmp wants a value"),
    (["--qemu"], "--qemu wants a value"),
    (["--qemu", "0"], "--qemu 0: that is no process"),
    (["--qemu", "-1"], "--qemu -1: that is no process"),
    (["--qemu", "4294967297"], "that is no process"),
    (["--count", "3"], "are for a guest of QEMU"),
    (["--qemu", "1", "--count", "0"], "--count 0: that is none"),
    (["all"], '"all" is not known here'),
])
def test_wrong_words(tmp_path, words, complaint):
    """What is wrong is said, and the status is 2."""
    done = run(tmp_path, *words)
    assert done.returncode == USAGE
    assert complaint in done.stderr and not done.stdout


FLOOD = b'{"event": "RESUME"}\n'	# without an end
ABSENT = object()	# nobody asks for that

HELLO = b'{"QMP": {"version": {}, "capabilities": []}}\r\n'
TAKEN = b'{"return": {}}\r\n'


def monitor(folder, says):
    """Serve one connection with these bytes, then close; return the socket's path.

    The first is said at once, each other one after a line was read.
    """
    path = str(folder / "qmp")
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen(1)

    def serve():
        client, _ = server.accept()
        with server, client, client.makefile("rb") as lines:
            for number, one in enumerate(says):
                if number:
                    lines.readline()
                try:
                    client.sendall(one)
                    while one is FLOOD:
                        client.sendall(one)
                except OSError:
                    return
            client.settimeout(TIMEOUT_S)
            if says[-1:] == [b""]:
                lines.read()	# silent until the other one has had enough

    threading.Thread(target=serve, daemon=True).start()
    return path


@pytest.mark.parametrize("says, complaint", [
    ([b"SSH-2.0-OpenSSH\r\n"], "is no monitor of QEMU"),
    ([b'{"a": 1}\n'], "is no monitor of QEMU"),
    ([b"\n"], "it says an empty line"),
    ([b"{\0}\n"], "it says a NUL"),
    ([HELLO], "has closed its monitor"),
    ([HELLO, b'{"error": {"class": "x"}}\n'], "takes no commands"),
    ([HELLO, TAKEN, b'{"return": [{"x"\n'], "is no monitor of QEMU"),
    ([HELLO, TAKEN, b"[" * 5000 + b"\n"], "is no monitor of QEMU"),
    ([HELLO, b"x" * (2 << 20)], "a line without an end"),
    ([HELLO, TAKEN, b""], "QEMU says nothing for 10 s"),
    ([HELLO, TAKEN, FLOOD], "QEMU says nothing for 10 s"),
])
def test_odd_monitors(tmp_path, says, complaint):
    """Whatever answers there, it ends, with a sentence."""
    done = run(tmp_path, "--qmp", monitor(tmp_path, says))
    assert done.returncode == NOT, done.stdout
    assert complaint in done.stderr


def test_no_monitor(tmp_path):
    """Nothing listens; or the path is none."""
    done = run(tmp_path, "--qmp", tmp_path / "none")
    assert done.returncode == NOT and "No such file" in done.stderr
    done = run(tmp_path, "--qmp", "x" * 200)
    assert done.returncode == NOT and "longer than" in done.stderr
    done = run(tmp_path, "--qemu", str(1 << 22))
    assert done.returncode == NOT and "there is no process" in done.stderr


def queue(place):
    """Return what QEMU says of a queue that a guest has put there."""
    return {"name": "virtio-balloon", "queue-index": 0, "vring-desc": place, "inuse": 0}


def answers(**more):
    """Return the answers of a QEMU whose guest has taken everything, as lines."""
    parts = {
        "memory": {"base-memory": 2048 * MIB},
        "devices": [{"name": "virtio-net", "path": "/m/net", "x": [{}, [], "]"]},
                    {"name": "virtio-balloon", "path": "/m/bal{}loon]"}],
        "inflate": queue(4096), "hints": False, "reports": True, "queue": queue(8192),
        "balloon": {"actual": 1024 * MIB},
        "stats": {"stats": {"stat-free-memory": 300 * MIB}, "last-update": 1},
        "place": "Host virtual address for 0x0 (ram) is 0x7f0000001000\r\n",
        **more}
    # An event may come before an answer.
    return [HELLO, TAKEN] + [
        b'{"event": "RESUME"}\n' + json.dumps({"return": one}).encode() + b"\n"
        for one in parts.values() if one is not ABSENT]


SMAPS = """7e0000000000-7e0000100000 rw-p 00000000 00:00 0
Rss:                 100 kB
7f0000000000-7f0080000000 rw-p 00000000 00:00 0
Size:            2097152 kB
Rss:              524288 kB
7f8000000000-7f8000001000 rw-p 00000000 00:00 0
Rss:                   4 kB
"""


def process(folder, *, locked=0, arguments=("/usr/bin/qemu-system-x86_64",)):
    """Make the files of a process in the folder; return its number.

    It is ours: who listens at a monitor of these tests.
    """
    place = folder / f"proc/{os.getpid()}"
    place.mkdir(parents=True)
    (place / "smaps").write_text(SMAPS, encoding="ascii")
    (place / "status").write_text(f"VmLck: 0 kB\nVmPin: {locked} kB\n", encoding="ascii")
    (place / "cmdline").write_bytes(b"\0".join(one.encode() for one in arguments) + b"\0")
    return str(os.getpid())


def test_it_works(tmp_path):
    """All that is known is there."""
    process(tmp_path)
    done = run(tmp_path, "--qmp", monitor(tmp_path, answers()))
    assert done.returncode == DONE, done.stdout + done.stderr
    for line in ("memory       2048 MiB, of which the balloon leaves 1024 MiB",
                 "resident     512 MiB", "guest says   300 MiB free",
                 "It works: the guest reports free pages"):
        assert line in done.stdout
    assert re.search(r"^reports of free pages +yes +yes$", done.stdout, re.M)
    assert re.search(r"^free page hints +no +no$", done.stdout, re.M)


NO_DEVICE = {"inflate": ABSENT, "hints": ABSENT, "reports": ABSENT, "queue": ABSENT}


@pytest.mark.parametrize("more, words", [
    ({"devices": [], **NO_DEVICE}, "has no balloon device"),
    ({"devices": None, **NO_DEVICE}, "has no balloon device"),
    ({"reports": False, "queue": ABSENT}, "does not take reports"),
    ({"inflate": queue(0)}, "has no driver for the device"),
    ({"queue": queue(0)}, "has not accepted it"),
    ({"queue": {}}, "has not accepted it"),
])
def test_what_does_not_work(tmp_path, more, words):
    """The reason is named, and what to do."""
    process(tmp_path)
    done = run(tmp_path, "--qmp", monitor(tmp_path, answers(**more)))
    assert done.returncode == NOT, done.stdout + done.stderr
    assert words in done.stdout and "It works" not in done.stdout


def test_locked_memory(tmp_path):
    """What nobody can take back does not come back, whatever the guest reports."""
    process(tmp_path, locked=2 << 20)
    done = run(tmp_path, "--qmp", monitor(tmp_path, answers()))
    assert done.returncode == NOT
    assert "memory locked or pinned" in done.stdout and "It works" not in done.stdout


def test_a_manager_s_monitor(tmp_path):
    """Who listens there is no QEMU: the process is asked for."""
    process(tmp_path, arguments=["/usr/sbin/virtqemud", "--timeout", "120"])
    done = run(tmp_path, "--qmp", monitor(tmp_path, answers()))
    assert "resident     unknown (QEMU's process is not known: --qemu PID)" in done.stdout
    assert done.returncode == DONE and "is not seen" in done.stdout


def test_memory_in_parts(tmp_path):
    """Of a guest with nodes or plugged memory the first part is what is looked at."""
    process(tmp_path)
    done = run(tmp_path, "--qmp", monitor(tmp_path, answers(
        memory={"base-memory": 4096 * MIB})))
    assert "resident     512 MiB of the first 2048 MiB\n" in done.stdout, done.stdout


def test_older_qemu(tmp_path):
    """One that does not tell of devices: then what it was started with is known."""
    says = answers(**NO_DEVICE)
    says[3] = b'{"error": {"class": "CommandNotFound"}}\n'
    process(tmp_path, arguments=["qemu-system-x86_64", "-device",
                                 "virtio-balloon-pci,free-page-reporting=on"])
    done = run(tmp_path, "--qmp", monitor(tmp_path, says))
    assert done.returncode == NOT and "is not seen from here" in done.stdout, done.stdout
    (tmp_path / "qmp").unlink()
    (tmp_path / f"proc/{os.getpid()}/cmdline").unlink()
    done = run(tmp_path, "--qmp", monitor(tmp_path, says))
    assert done.returncode == NOT and "(before 7.2)" in done.stdout, done.stdout


@pytest.mark.parametrize("argument, words", [
    ("virtio-balloon-pci,id=b,free-page-reporting=on", "is not seen from here"),
    ('{"driver":"virtio-balloon-pci","id":"b","free-page-reporting":true}',
     "is not seen from here"),
    ("virtio-balloon-pci,id=b", "does not take reports"),
    ("virtio-net-pci", "has no balloon device"),
])
def test_by_the_process(tmp_path, argument, words):
    """What QEMU was started with, as people and as libvirt write it."""
    pid = process(tmp_path, arguments=["qemu", "-device", argument])
    done = run(tmp_path, "--qemu", pid)
    assert done.returncode == NOT
    assert words in done.stdout
    assert "memory       2048 MiB\nresident     512 MiB\n" in done.stdout


def test_a_real_guest(tmp_path, kernel):
    """QEMU as it is, before its guest has a driver, and when it has."""
    path = tmp_path / "qmp"
    with Vm(kernel, "host", extra=["-qmp", f"unix:{path},server=on,wait=off"]) as vm:
        done = run("/", "--qmp", path)
        assert done.returncode == NOT and "has no driver for the device" in done.stdout
        assert "memory       2048 MiB\n" in done.stdout, done.stdout
        vm.run("modprobe aeration_virtio")
        guest.wait_value(vm, "state", "running")
        before = vm.resident() / MIB
        done = run("/", "--qmp", path)
        after = vm.resident() / MIB
        print(before, done.stdout, after)
        assert done.returncode == DONE, done.stdout + done.stderr
        assert re.search(r"^reports of free pages +yes +yes$", done.stdout, re.M)
        said = int(re.search(r"^resident +(\d+) MiB$", done.stdout, re.M)[1])
        assert min(before, after) - NEAR_MIB < said < max(before, after) + NEAR_MIB
        done = run("/", "--qmp", path, "--count", "2", "--interval", "10ms")
        assert done.returncode == DONE and len(done.stdout.splitlines()) == 3
        # Without the monitor: as much as one sees of a process.
        done = run("/", "--qemu", str(vm.pid))
        assert done.returncode == NOT and "is not seen from here" in done.stdout
        assert "memory       2048 MiB\n" in done.stdout, done.stdout
