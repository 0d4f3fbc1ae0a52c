# SPDX-License-Identifier: GPL-2.0
"""The lab itself: what it notices, what it keeps, and one boot per kernel."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import types

import pytest

import conftest
from guest import CPUS_THAT_SLEEP
from lab import LabError, build, cache, channel, image as lab_image, kernels
from lab import qmp, scan, suites
from lab.channel import CommandError
from lab.qemu import GuestError, Vm

TROUBLE = (
    "[    3.1] WARNING: CPU: 0 PID: 1 at mm/page_alloc.c:5 foo+0x1/0x2",
    "[    3.1] BUG: kernel NULL pointer dereference, address: 0000000000000000",
    "[    3.1] BUG: sleeping function called from invalid context at a.c:1",
    "[    3.1] BUG: Bad page state in process sh  pfn:1234",
    "[    3.1] Oops: 0002 [#1] PREEMPT SMP NOPTI",
    "[    3.1] Oops: Oops: 0002 [#1] SMP NOPTI",
    "[    3.1] Call Trace:",
    "[    3.1] kernel BUG at mm/slub.c:1!",
    "[    3.1] Kernel panic - not syncing: sysrq triggered crash",
    "[   44.1] INFO: task sh:44 blocked for more than 30 seconds.",
    "[   44.1] rcu: INFO: rcu_preempt self-detected stall on CPU",
    "[   44.1] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
    "[   44.1] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [sh:1]",
    "[    3.1] general protection fault, probably for non-canonical address",
    "[    3.1] refcount_t: underflow; use-after-free.",
    "[    3.1] WARNING: possible circular locking dependency detected",
    "[    3.1] UBSAN: array-index-out-of-bounds in a.c:1:2",
    "[    3.1] Out of memory: Killed process 12 (sh) total-vm:1kB",
    "[    3.1] sh: page allocation failure: order:9, mode:0x1",
    "[    3.1] CPU: 0 PID: 1 Comm: sh Tainted: G        W  OE      6.1.0 #1",
    "[    3.1] CPU: 0 UID: 0 PID: 1 Comm: sh Tainted: [W]=WARN, [O]=OOT_MODULE",
    "[    3.1] list_del corruption. prev->next should be 0",
    "[    3.1] aeration: Unknown symbol foo (err -2)",
    "(XEN) Panic on CPU 0:",
    "(XEN) Xen BUG at mm.c:1",
    "(XEN) Assertion 'order == 0' failed at p2m-pod.c:1",
    "(XEN) domain_crash called from p2m-pod.c:1",
    "(XEN) Domain 3 (vcpu#0) crashed on cpu#1:",
    "(XEN) Hardware Dom0 crashed: rebooting machine in 5 seconds.",
    "(XEN) d1v0 Unhandled: vec 14, #PF[0000]",
    "(XEN) Watchdog timer detects that CPU0 is stuck!",
    "(XEN) p2m_pod_demand_populate: Dom1 out of PoD memory!",
    "lab: domain 3 crashed",
    "[    3.1] sh[31]: segfault at 0 ip 0 sp 0 error 4 in busybox[0+1]",
)

NO_TROUBLE = (
    "[    0.0] Linux version 6.1.0 (gcc-12) #1 SMP PREEMPT_DYNAMIC",
    "[    0.1] aeration: loading out-of-tree module taints kernel.",
    "[    0.1] aeration: module verification failed: signature and/or "
    "required key missing - tainting kernel",
    "[    0.1] CPU: 0 PID: 1 Comm: sh Tainted: G           OE      6.1.0-56 #1",
    "[    0.1] CPU: 1 UID: 0 Comm: sh Tainted: [O]=OOT_MODULE, "
    "[E]=UNSIGNED_MODULE",
    "[    0.1] Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS",
    "[    0.1] Warning: unable to open an initial console.",
    "[    0.1] debug: bugs and oopsla are words",
    "[    0.1] rcu: \tRCU restricting CPUs from NR_CPUS=8192 to nr_cpu_ids=2.",
    "(XEN) Std. Loglevel: Errors and warnings",
    "(XEN) Failed to convert E820 RAM f52f0-f5477 to RESERVED",
    "lab: domain 3 is gone",
    "[    0.1] clocksource: timekeeping watchdog: Marking tsc as unstable",
)


@pytest.mark.parametrize("line", TROUBLE)
def test_scan_finds(line):
    """Each kind of trouble is found, with the number of its line."""
    assert scan.scan(f"fine\n{line}\nfine\n") == [(2, line)]


@pytest.mark.parametrize("line", NO_TROUBLE)
def test_scan_passes(line):
    """What every good boot prints is no evidence."""
    assert scan.scan(line) == []


def test_scan_allow_excuses_one_line_only():
    """`allow` excuses the lines it matches and no others."""
    assert scan.scan("\n".join(TROUBLE[:3]), [r"mm/page_alloc\.c:5"]) == [
        (2, TROUBLE[1]), (3, TROUBLE[2])]


def test_cache_makes_once_and_again_when_the_key_changes(tmp_path):
    """An entry is made once for a key, and anew for another."""
    made = []

    def make(place):
        made.append(place)
        (place / "it").write_text(str(len(made)), encoding="ascii")

    for _ in range(2):
        path = cache.entry("e", "one", make, tmp_path)
        assert (path / "it").read_text(encoding="ascii") == "1"
    path = cache.entry("e", "two", make, tmp_path)
    assert (path / "it").read_text(encoding="ascii") == "2"
    assert len(made) == 2


def test_cache_does_not_use_what_is_half_made(tmp_path):
    """A maker that fails leaves no entry; the next one starts clean."""
    def fail(place):
        (place / "junk").write_text("", encoding="ascii")
        raise LabError("no network")

    with pytest.raises(LabError, match="no network"):
        cache.entry("e", "key", fail, tmp_path)
    assert not (tmp_path / "e").exists()
    path = cache.entry("e", "key", lambda place: None, tmp_path)
    assert [one.name for one in path.iterdir()] == [cache.STAMP]
    (path / cache.STAMP).unlink()	# as if it had been cut off in the end
    path = cache.entry("e", "key", lambda place: (place / "new").mkdir(),
                       tmp_path)
    assert (path / "new").is_dir()


def test_cache_is_locked(tmp_path):
    """Several that want an entry at once get one that was made once."""
    made, gate = [], threading.Barrier(4)

    def make(place):
        made.append(place)

    def ask():
        gate.wait()
        cache.entry("e", "key", make, tmp_path)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_half_made_entries_go(tmp_path, monkeypatch):
    """Those of keys that nobody asks for any more; not what is new, or being made."""
    monkeypatch.setenv("AERATION_CACHE", str(tmp_path))
    place = tmp_path / "one"
    for name in ("old", "made", "new"):
        (place / f"{name}.partial/root").mkdir(parents=True)
        if name != "new":
            os.utime(place / f"{name}.partial", (0, 0))
    with cache.locked(place / ".made.lock", "made"):
        path = cache.shared("one", "key", lambda place: None, quiet=True)
    assert path.is_dir()
    assert {one.name for one in place.glob("*.partial")} == \
        {"made.partial", "new.partial"}


MAKES_TIMEOUT = 60	# seconds; it takes one
MAKES = """
import pathlib, sys, time
from lab import cache

def make(place):
    (place / "half").write_text("")
    print("makes", flush=True)
    if sys.argv[2] == "slowly":
        time.sleep(600)
    (place / "half").rename(place / "whole")

print(cache.entry("e", "key", make, pathlib.Path(sys.argv[1])), flush=True)
"""


def test_who_waits_makes_what_was_cut_short(tmp_path):
    """Of two that want an entry the second waits, says so, and makes it all if the first
    is ended with ^C."""
    def maker(how):
        return subprocess.Popen(
            [sys.executable, "-c", MAKES, tmp_path, how], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(cache.REPO / "tests")})

    with maker("slowly") as first:
        assert first.stdout.readline() == "makes\n"
        with maker("at once") as second:
            said = second.stderr.readline()
            first.send_signal(signal.SIGINT)
            out, rest = second.communicate(timeout=MAKES_TIMEOUT)
        first.communicate(timeout=MAKES_TIMEOUT)
    said += rest + out
    assert "another process is making it, waiting" in said
    assert "found half-made, starting over" in said
    assert [one.name for one in (tmp_path / "e").iterdir() if one.name != cache.STAMP] \
        == ["whole"]


def test_remove_does_not_follow_links(tmp_path):
    """Removing a tree leaves alone what its links point to."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/link").symlink_to(tmp_path / "kept")
    cache.remove(tmp_path / "tree")
    assert [one.name for one in tmp_path.iterdir()] == ["kept"]
    assert cache.mounts_under("/proc")


def test_cache_directory(monkeypatch):
    """The variables say where the cache is, in this order."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    monkeypatch.setenv("AERATION_CACHE", "/a")
    assert str(cache.directory()) == "/a"
    monkeypatch.delenv("AERATION_CACHE")
    assert str(cache.directory()) == "/x/aeration"


def test_qmp_lines():
    """Objects come out whole, however the bytes arrive."""
    lines = qmp.Lines()
    data = b'{"return": {}}\r\n{"event": "STOP"}\r\n'
    got = []
    for byte in data:
        got += lines.feed(bytes([byte]))
    assert got == [{"return": {}}, {"event": "STOP"}]
    assert qmp.Lines().feed(data) == got


def test_escape_is_one_plain_line():
    """A command of any characters becomes one line of plain ASCII."""
    line = channel.escape("echo 'a\\b'\n\té")
    assert line == rb"echo 'a\0134b'\0012\0011\0303\0251"


def test_archive_is_deterministic():
    """The same files give the same archive, with their directories in it."""
    files = {"b/c": (stat.S_IFREG | 0o644, b"text"),
             "a": (stat.S_IFLNK | 0o777, b"b/c")}
    one = lab_image.archive(files)
    assert one == lab_image.archive(dict(reversed(files.items())))
    assert one.startswith(b"070701") and one.endswith(b"TRAILER!!!\0\0\0\0")
    assert b"00b\0" in one


def test_complaints_are_ours():
    """Messages about the kernel's headers are not ours; ours are kept."""
    ours = ("core/pacer.c:3:5: warning: unused variable",
            "/build/x/core/a.c:1:2: error: bad type",
            "WARNING: modpost: missing MODULE_LICENSE()",
            "./include/linux/memory_aeration.h:9:1: warning: odd",
            "include/trace/events/aeration.h:9:1: warning: odd",
            "/build/linux/include/aeration/compat.h:9:1: error: bad")
    theirs = ("/usr/src/linux-headers-6.1/include/a.h:1:1: warning: cast",
              "./include/linux/a.h:1:1: error: bad", "  CC [M]  core/pacer.o",
              "warning: the compiler differs from the one used to build")
    assert build.complaints("\n".join(theirs + ours)).splitlines() == [
        *ours]


def test_unknown_kernel_is_named():
    """Asking for a kernel that is not there says which are."""
    with pytest.raises(LabError, match="6.12"):
        suites.suite("2.6")


def test_a_new_series_is_named():
    """When Debian moves on, what is booted is said, and how to name it."""
    def made(version):
        return kernels.Kernel("7.3", version, *[None] * 4)

    assert not made("7.3.4+deb13-amd64").moved
    for version in ("7.4.1+deb13-amd64", "7.30.1+deb13-amd64"):
        assert f"trixie-backports has no kernel 7.3 any more: what is named " \
            f"so here is {version}." in made(version).moved


def test_boot(kernel, image):
    """A guest boots, is the right kernel, answers, and powers off clean."""
    assert image.path.is_file()
    # Not one whose state is saved: all of its memory is there after that.
    with Vm(kernel, f"lab-{kernel}", fresh=True) as vm:
        assert vm.run("uname -r").out.strip() == \
            kernels.kernel(kernel).version
        assert vm.run("exit 3", check=False).rc == 3
        with pytest.raises(CommandError, match="status 1 of: false"):
            vm.run("false")
        tricky = "a'b\"c\\d $e\n\té%s\n"
        vm.push("/tmp/f", tricky.encode())
        assert vm.read("/tmp/f") == tricky.encode()
        large = bytes(range(256)) * 40
        vm.push("/tmp/g", large)
        assert vm.read("/tmp/g") == large
        job = vm.start("echo one; until [ -e /tmp/go ]; do sleep 0.1; done; "
                       "echo two; exit 4")
        assert job.running()
        vm.run("touch /tmp/go")
        result = job.wait(check=False)
        assert (result.out, result.rc) == ("one\ntwo\n", 4)
        job = vm.start("sleep 1000")
        job.kill()
        assert job.wait(check=False).rc == 137
        with pytest.raises(GuestError, match="a miracle"):
            vm.wait_until(lambda: False, "a miracle", 0.1)
        with pytest.raises(GuestError, match="took more than"):
            vm.run("sleep 2", timeout=0.1)
        assert vm.run("echo again").out == "again\n"
        assert vm.qmp("query-status")["status"] == "running"
        with pytest.raises(qmp.QmpError):
            vm.qmp("qom-get", path="/nonsense", property="x")
        resident = vm.resident()
        assert 64 << 20 < resident < vm.mem_mib << 20
        vm.sample()
        vm.run("/opt/aeration/memwork burst 512")
        assert vm.resident() > resident + (400 << 20)
        vm.wait_until(lambda: len(vm.samples) > 1, "two samples", 60)
        vm.run("test -e /sys/bus/virtio/devices/virtio0")
        assert "virtio_balloon" not in vm.run("lsmod").out


@pytest.mark.all_only("about the lab itself; test_removal_under_load unplugs, too")
@pytest.mark.parametrize("machine", ("pc", "q35"))
def test_balloon_unplugs(kernel, machine):
    """The stock driver binds the balloon; the balloon can be unplugged."""
    with Vm(kernel, f"lab-unplug-{kernel}-{machine}", machine=machine) as vm:
        vm.run("modprobe virtio_balloon")
        vm.run("test -e /sys/bus/virtio/drivers/virtio_balloon/virtio0")
        vm.qmp("device_del", id="balloon0")
        vm.wait_event("DEVICE_DELETED", 60,
                      lambda data: data.get("device") == "balloon0")
        vm.run("test ! -e /sys/bus/virtio/drivers/virtio_balloon/virtio0")


@pytest.mark.all_only("about the lab itself; test_suspend_and_resume sleeps, too")
def test_sleeps_and_wakes(kernel):
    """A guest comes back from S3, and its command channel with it."""
    with Vm(kernel, f"lab-sleep-{kernel}", pvh=False, cpus=CPUS_THAT_SLEEP,
            share_memory=True) as vm:
        for _ in range(2):
            vm.suspend()
            assert vm.run("echo back").out == "back\n"


def test_too_little_to_begin_with(monkeypatch):
    """Without the memory or the space that guests take nothing begins."""
    assert not conftest.shortage(0)
    assert "MiB of memory are available" in conftest.shortage(1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=0))
    assert "0 MiB are free in" in conftest.shortage(0)
