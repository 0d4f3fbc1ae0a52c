# SPDX-License-Identifier: GPL-2.0
"""Every call that can fail fails once, is survived, and what it was part of works then.

What the calls are is in failing_calls.json, and the modules and the daemon say whether
that is all of them. In guests aeration_calls.ko has them fail, of one module's only; in
the daemon a library that is loaded before C's (tests/host/failcall.c).

An entry of "fails" is
    call    in the table's words; `as` has what it is called on this kernel
    in      the module whose call it is
    at      what is done meanwhile: one of LOADS, or of DEEDS
    value   what it returns; times: how often, of a deed's (1)
    then    what has to come of it; of a load a list has one for each call: all that
            there are fail one after the other, until a load has no more
"""

import contextlib
import errno
import os
import pathlib
import re
import socket
import subprocess
import time

import pytest

import domu
import failing_calls as calls
import guest
from failing_calls import table
from front import said
from lab import build, cache, suites
from lab.domain import XL_POLL
from lab.qemu import Vm
from lab.vhost_balloon import Hintd, program
from lab.vhost_front import FREE, TIMEOUT_S, FrontEnd
from lab.vhost_proto import PAGE_SIZE
from lab.xen import Xen
from test_squeeze import disk, mount_disk, read_file, write_file

# A probe patches code, and the emulator does not always see to a second processor
# that it was patched (see lab.scan.emulator_tripped).
CPUS = 1

FAIL = "/sys/module/aeration_calls/parameters/fail"
WHY = f"{guest.SYSFS}/why/virtio"
LOOP = "/sys/kernel/debug/aeration_loop"
DRIVER = "/sys/bus/virtio/drivers/aeration_virtio"
BALLOON_MIB = 2048
PART_MIB = 255		# not made of blocks only
DISK_MIB = 400
MOST = 16		# calls of a function in one load


# Files on the disk. A squeeze leaves a 32nd of the guest's memory cached, and takes
# nothing again that was read again: so each is more than that, and there are three.
FILES = ("cold", "hot", "next")
FILE_MIB = 100

# What the kernel makes room for, for good, when the first event is traced, KiB.
TRACED_KB = 1408
TRACING = "/sys/kernel/tracing"


# The table

@pytest.mark.one_kernel("it looks at the modules of all of them")
def test_all_calls_are_in_the_table(kernel):
    """No module calls what nobody has thought about, on any kernel."""
    has, driven = calls.in_table(), {(one["call"], one["in"])
                                     for one in table()["fails"]}
    missing = []
    for series in suites.KERNELS:
        for path in build.modules(series):
            if path.stem not in calls.MODULES:
                continue
            for name, places in calls.can_fail(series, path).items():
                kinds = has[name] - (set() if (name, path.stem) in driven
                                     else {"fails"})
                if not kinds:
                    missing.append(f"{series}, {path.stem}: {name} in " + ", ".join(
                        sorted({place.function for place in places})))
    assert not missing, "\n".join(sorted(missing))


@pytest.mark.one_kernel("it looks at the modules of all of them")
def test_the_table_has_no_more(kernel):
    """An entry is of a call that there is, on some kernel."""
    there = set()
    for series in suites.KERNELS:
        for path in build.modules(series):
            if path.stem in calls.MODULES:
                there |= set(calls.can_fail(series, path))
    assert sorted(set(calls.in_table()) - there) == []


def test_the_table_can_miss_one(monkeypatch):
    """A call that is taken out of it is missed."""
    kernel = suites.GUEST
    path = next(path for path in build.modules(kernel) if path.stem == "aeration")
    fewer = dict(table(), fails=[one for one in table()["fails"]
                                 if one["call"] != "alloc_workqueue"])
    monkeypatch.setattr(calls, "table", lambda: fewer)
    assert "alloc_workqueue" in calls.can_fail(kernel, path)
    assert "alloc_workqueue" not in calls.in_table()


def hintd_names():
    """Return what the table has of the daemon."""
    known = table()["hintd"]
    return {name for names in known["never"].values() for name in names} | \
        {one["call"] for one in known["fails"]} | set(known["others"])


def test_all_calls_of_the_daemon_are_in_the_table():
    """What it has from the C library is there, and nothing else."""
    assert calls.undefined(program("hintd")) == hintd_names()


def test_other_tests_are_there():
    """Whoever else makes a call fail has a name that is right."""
    for others in (table()["others"], table()["hintd"]["others"]):
        for call, (_, test) in others.items():
            file, name = test.split("::")
            assert f"def {name}(" in (cache.REPO / "tests" / file).read_text(
                encoding="utf-8"), call


# In a guest

def names_here(kernel, one):
    """Return what an entry's call may be called on a kernel."""
    path = next(path for path in build.modules(kernel) if path.stem == one["in"])
    return sorted(symbol for symbol in calls.undefined(path)
                  if calls.name_of(symbol) == one["call"])


def arm(vm, module, symbol, value, skip=0, times=1):
    """Have calls fail from now on."""
    vm.run(f"echo {module} {symbol} {value} {skip} {times} > {FAIL}")


def disarm(vm):
    """Have nothing fail any more; return [(symbol, how often it failed, where)]."""
    found = [line.split(" ", 3) for line in
             vm.run(f"cat {FAIL}").out.splitlines()]
    vm.run(f"echo > {FAIL}")
    return [(symbol, int(failed), place) for symbol, _, failed, place in found]


def is_there(vm, module):
    """Is a module loaded?"""
    return not vm.run(f"test -e /sys/module/{module}", check=False).rc


def unload(vm):
    """Unload what is ours; aeration_calls stays."""
    for module in (*reversed(calls.MODULES[1:]), "aeration"):
        vm.run(f"! test -e /sys/module/{module} || rmmod {module}", guest.HUNG)


def works(vm):
    """The core has a backend, and memory goes."""
    if guest.value(vm, "state") == "off":
        guest.choose(vm, "auto")
    guest.wait_value(vm, "state", "running")
    if guest.value(vm, "backend") == "xen":
        domu.settled(vm, 64)
        return
    before = guest.stat(vm, "bytes")
    guest.touch_and_free(vm, 64, 0.1)
    vm.run(f"echo again > {guest.SYSFS}/flush", guest.HUNG)
    assert guest.stat(vm, "bytes") > before


def rebind(vm):
    """Bind the driver anew, as the log of one that has failed advises."""
    vm.run(f"d=$(basename $(ls -d {DRIVER}/virtio*)); echo $d > {DRIVER}/unbind; "
           f"echo $d > {DRIVER}/bind")


# What is loaded: (before, the module, its words). Nothing goes by itself meanwhile, and
# where the core would ask for the module it is told not to.
LOADS = {
    "core": ("true", "aeration", ""),
    "loop": ("modprobe aeration backend=loop window_ms=60000", "aeration_loop", ""),
    "durable": ("modprobe aeration backend=loop window_ms=60000", "aeration_loop",
                "durable=1"),
    "virtio": ("modprobe aeration window_ms=60000", "aeration_virtio", ""),
    "hyperv": ("modprobe aeration_pretend host=hyperv announce=1 && "
               "modprobe aeration backend=none", "aeration_hyperv", ""),
    "xen": ("modprobe aeration backend=none window_ms=100", "aeration_xen", ""),
}


def came_of_load(vm, module, then):
    """Fail unless a load that met an error has come to that."""
    if then == "refused":
        assert not is_there(vm, module), "it was loaded"
        return
    assert is_there(vm, module), "it was not loaded"
    if then == "unbound":
        assert vm.run(f"ls -d {DRIVER}/virtio*", check=False).rc
        assert guest.value(vm, "state") == "off"
    elif then == "off":
        assert guest.value(vm, "state") == "off"
        assert not vm.run(f"ls -d {DRIVER}/virtio*", check=False).rc
    elif then == "waits":
        guest.wait_value(vm, "state", "running")
    elif then == "holds nothing":
        guest.said(vm, "cannot follow this domain's target in xenstore")
        guest.choose(vm, "auto")
        domu.stays_at_nothing(vm)
    elif then == "failed":
        guest.wait_value(vm, "state", "failed")
        guest.said(vm, "it could not be started: error -")
    else:
        assert then == "works"
        works(vm)


def load_with(vm, at, one, symbol, number):
    """Load with the call of this number failing; return where it was, or None."""
    before, module, words = LOADS[at]
    vm.run(before)
    guest.mark(vm)
    arm(vm, one["in"], symbol, one["value"], skip=number)
    vm.run(f"modprobe {module} {words}", check=False)
    (_, failed, place), = disarm(vm)
    if failed:
        thens = one["then"] if isinstance(one["then"], list) else [one["then"]]
        came_of_load(vm, module, thens[min(number, len(thens) - 1)])
    else:
        assert is_there(vm, module), "nothing failed, and it was not loaded"
    unload(vm)
    vm.run("! test -e /sys/module/aeration_pretend || rmmod aeration_pretend")
    return place if failed else None


def load_fails(vm, at, one, symbol):
    """Each call that a load makes fails, one after the other."""
    for number in range(MOST):
        place = load_with(vm, at, one, symbol, number)
        if place is None:
            break
        print(f"{at}: {symbol} failed in {place}")
    assert 0 < number < MOST, f"{one['in']} has called {symbol} {number} times"


@contextlib.contextmanager
def running(vm, words="", core="window_ms=60000"):
    """The virtio backend, or what `words` say, is loaded and runs."""
    vm.run(f"modprobe aeration {core} && modprobe "
           f"{words or 'aeration_virtio timeout_ms=30000'}")
    guest.wait_value(vm, "state", "running")
    yield
    unload(vm)


HOLD = "aeration_loop durable=1 capacity=64"
BY_NAME = "backend=loop window_ms=60000"


def flush(vm):
    """Have memory that is not reported go, whatever comes of it."""
    guest.touch_and_free(vm, 128, 0.1)
    return vm.run(f"/opt/aeration/poke {guest.SYSFS}/flush again 2>&1",
                  guest.HUNG, check=False).out


def resize(vm, mib):
    """Have the host want the guest to be of so many MiB."""
    vm.qmp("balloon", value=mib * guest.MIB)


def is_of(vm, mib):
    """Wait until it is."""
    vm.wait_until(lambda: vm.qmp("query-balloon")["actual"] == mib * guest.MIB,
                  f"the guest to be of {mib} MiB", guest.SOON)


def flush_fails(vm, one, fails):
    with running(vm):
        with fails():
            flush(vm)
        guest.wait_value(vm, "state", "failed")
        assert one["then"] in guest.value(vm, "why/virtio")
        assert guest.stat(vm, "in_flight_bytes") == 0
        rebind(vm)
        works(vm)


def inflate_fails(vm, one, fails):
    with running(vm):
        with fails():
            resize(vm, BALLOON_MIB - PART_MIB)
            if one["then"] == "works":
                is_of(vm, BALLOON_MIB - PART_MIB)
            else:
                guest.wait_said(vm, one["then"])
        if one["then"] != "works":
            guest.wait_value(vm, "state", "failed")
            rebind(vm)
        is_of(vm, BALLOON_MIB - PART_MIB)
        resize(vm, BALLOON_MIB)
        is_of(vm, BALLOON_MIB)
        works(vm)


def deflate_fails(vm, one, fails):
    with running(vm):
        resize(vm, BALLOON_MIB - PART_MIB)
        is_of(vm, BALLOON_MIB - PART_MIB)
        with fails():
            resize(vm, BALLOON_MIB)
            is_of(vm, BALLOON_MIB)
        works(vm)


def rest_fails(vm, one, fails):
    """A device that seems not to answer is left alone, and brought back."""
    with running(vm, "aeration_virtio timeout_ms=100"):
        if one["call"] != "virtqueue_get_buf":
            arm(vm, "aeration_virtio", "virtqueue_get_buf", 0, times=1000)
        with fails():
            flush(vm)
            guest.wait_said(vm, "it is tried again in 1 s")
            if one["then"] == "later":
                guest.wait_said(vm, "cannot be set up again: error -5")
        guest.wait_said(vm, "the device is back")
        vm.run("echo 30000 > /sys/module/aeration_virtio/parameters/timeout_ms")
        works(vm)


def look_fails(vm, one, fails):
    with running(vm, core="window_ms=0"):
        before = guest.stat(vm, "samples")
        with fails():
            vm.run("/opt/aeration/memwork churn 256 2")
        assert guest.stat(vm, "samples") > before
        works(vm)


def again_fails(vm, one, fails):
    with running(vm):
        works(vm)
        with fails():
            vm.run(f"echo again > {guest.SYSFS}/flush", guest.HUNG)
        works(vm)


def traced_fails(vm, one, fails):
    events = f"{TRACING}/events/aeration/enable"
    with running(vm):
        vm.run(f"echo 1 > {events}")
        with fails():
            flush(vm)
        vm.run(f"echo 0 > {events}")
        works(vm)


def hold_fails(vm, one, fails):
    with running(vm, HOLD, BY_NAME):
        with fails():
            flush(vm)
        assert domu.states(vm)["quarantined"] == 0
        vm.run(f"echo 1 > {guest.SYSFS}/restore", guest.HUNG)
        works(vm)


def starve_fails(vm, one, fails):
    """A host without memory, and its module cannot be kept."""
    with running(vm, HOLD, BY_NAME):
        vm.run(f"echo 1 > {guest.SYSFS}/flush", guest.HUNG)
        vm.run(f"echo none > {LOOP}/restore_mode")
        with fails():
            vm.run(f"echo 1 > {guest.SYSFS}/restore", guest.HUNG, check=False)
        vm.run(f"echo ack > {LOOP}/restore_mode")
        vm.run(f"echo 1 > {guest.SYSFS}/restore", guest.HUNG)
        assert domu.states(vm)["held"] == 0
        works(vm)


def write_fails(vm, one, fails, path, text):
    with running(vm, HOLD, BY_NAME):
        with fails():
            said_of_it = vm.run(f"/opt/aeration/poke {path} {text} 2>&1",
                                check=False).out
        assert one["then"] in said_of_it
        vm.run(f"echo {text} > {path}")
        works(vm)


def scrub_fails(vm, one, fails):
    write_fails(vm, one, fails, "/sys/module/aeration_loop/parameters/scrub", "Y")


def mode_fails(vm, one, fails):
    write_fails(vm, one, fails, f"{LOOP}/mode", "ack")


def asked_fails(vm, one, fails):
    """The backend's module cannot be asked for: who loads it by hand has it."""
    vm.run("modprobe aeration_pretend host=hyperv announce=1")
    with fails():
        vm.run("modprobe aeration window_ms=0; sleep 1")
    assert guest.value(vm, "state") == "off"
    vm.run("modprobe aeration_hyperv")
    works(vm)
    unload(vm)
    vm.run("rmmod aeration_pretend")


def squeeze_fails(vm, one, fails):
    """What is cached goes as far as it can, and all of it the next time.

    What was read more than once is no cold cache: the kernel is asked to reclaim it.
    """
    with running(vm):
        vm.run("echo 3 > /proc/sys/vm/drop_caches")
        read_file(vm, "hot", 3)
        read_file(vm, "cold")
        read_file(vm, "hot")
        with fails():
            status = asked(vm, "squeeze cache=0 to=1M within=60000")
        assert f" {one['then']} " in status, status
        read_file(vm, "next")
        assert " done " in asked(vm, "squeeze within=60000")
        assert int(guest.value(vm, "squeezed/reclaimed_bytes")) > FILE_MIB // 2 * guest.MIB
        works(vm)


def asked(vm, words):
    """Ask for something; return what became of it."""
    vm.run(f"echo {words} > {guest.SYSFS}/request/start")
    vm.wait_until(lambda: " running " not in vm.text(f"{guest.SYSFS}/request/status"),
                  f"{words} to end", guest.SOON)
    return vm.text(f"{guest.SYSFS}/request/status")


# What is done meanwhile, and what has to come of it.
DEEDS = {
    "flush": flush_fails, "inflate": inflate_fails, "deflate": deflate_fails,
    "rest": rest_fails, "look": look_fails, "again": again_fails,
    "traced": traced_fails, "hold": hold_fails, "starve": starve_fails,
    "scrub": scrub_fails, "mode": mode_fails, "asked": asked_fails,
    "squeeze": squeeze_fails,
}


def deed_fails(vm, one, symbol, deeds):
    """A call fails in the course of something."""
    @contextlib.contextmanager
    def fails():
        guest.mark(vm)
        arm(vm, one["in"], symbol, one["value"], times=one.get("times", 1))
        yield
        failed = [(count, place) for name, count, place in disarm(vm)
                  if name == symbol]
        assert failed and failed[0][0], f"{one['in']} has not called {symbol}"
        print(f"{one['at']}: {symbol} failed in {failed[0][1]}")

    deeds[one["at"]](vm, one, fails)


def each_fails(vm, kernel, deeds, chosen):
    """Make the chosen entries of the table fail, each by itself."""
    vm.run("modprobe aeration_calls")
    for one in chosen:
        for symbol in names_here(kernel, one):
            print(f"{one['in']}: {symbol}, at {one['at']}", flush=True)
            if one["at"] in LOADS:
                load_fails(vm, one["at"], one, symbol)
            else:
                deed_fails(vm, one, symbol, deeds)
    assert not [module for module in calls.MODULES if is_there(vm, module)]
    vm.run("rmmod aeration_calls")


@pytest.mark.all_only("each call of each module takes minutes; that all are in the table "
                      "is seen at every change")
def test_each_call_fails(image, kernel):
    """In a guest of QEMU's: all but what only a domain of Xen does; no memory is lost."""
    chosen = [one for one in table()["fails"] if one["at"] in DEEDS or
              one["at"] in LOADS and one["at"] != "xen"]
    with disk(DISK_MIB) as extra, \
            Vm(kernel, f"calls-{kernel}", cpus=CPUS, extra=extra,
               balloon={"deflate-on-oom": "on"}) as vm:
        # What these take stays taken: it is none of what is lost.
        mount_disk(vm)
        for name in FILES:
            write_file(vm, name, FILE_MIB)
        vm.run(f"echo {TRACED_KB} > {TRACING}/buffer_size_kb")
        before = guest.measure_free(vm)
        each_fails(vm, kernel, DEEDS, chosen)
        guest.expect_free(vm, before)


# In a domain

class Asker:
    """Domain 0, as it asks a domain for something; without an own count of answers."""

    def __init__(self, xen, domain):
        self.xen, self.domain = xen, domain

    def answer(self):
        """Return the words of the last answer."""
        return (domu.node(self.xen, self.domain, "data/aeration/answer") or
                "0 none").split()

    def ask(self, word):
        """Ask, and return the words of the answer; of one that was not read, "?"."""
        before = int(self.answer()[0])

        def answered():
            words = self.answer()
            return int(words[0]) > before and words[1] in (word, "?") and words

        domu.write(self.xen, self.domain, "control/aeration", word)
        return self.domain.wait_until(answered, f"an answer about {word!r}",
                                      domu.LONG, poll=XL_POLL)


def domain_deeds(xen):
    """Return what is done in a domain, as DEEDS."""
    @contextlib.contextmanager
    def loaded(domain):
        # What was asked for last would be done again now, and answered in between.
        xen.run(f"xenstore-rm /local/domain/{domain.id}/control/aeration", check=False)
        domu.load(domain, window_ms=60000)
        yield Asker(xen, domain)
        unload(domain)

    def asks(domain, one, fails):
        with loaded(domain) as asker:
            assert asker.ask("flush")[2] == "done"
            with fails():
                if one["then"] == "unsaid":
                    domu.write(xen, domain, "control/aeration", "restore")
                    guest.wait_said(domain, "cannot write data/aeration")
                else:
                    assert asker.ask("restore")[2] == one["then"]
            assert asker.ask("flush")[2] == "done"
            assert asker.ask("restore")[2] == "done"

    def target(domain, one, fails):
        with loaded(domain) as asker:
            before = domain.mib()
            with fails():
                domain.mem_set(before - 32)
                domu.balloon_rests(domain)
            domain.mem_set(before)
            domu.balloon_rests(domain)
            assert asker.ask("flush")[2] == "done"

    def goes(domain, one, fails):
        domu.load(domain, window_ms=60000)
        with fails():
            domain.run("rmmod aeration_xen", timeout=domu.LONG)
        unload(domain)

    return {"asks": asks, "target": target, "unload": goes}


@pytest.mark.all_only("each call of each module takes minutes; that all are in the table "
                      "is seen at every change")
def test_each_call_fails_in_a_domain(image, xen_version):
    """The rest, in a domain of Xen."""
    with domu.machine(xen_version, "calls") as xen:
        domain = xen.domain(xen.kernel, "pvh", mem_mib=domu.MEM_MIB, vcpus=CPUS)
        deeds = domain_deeds(xen)
        chosen = [one for one in table()["fails"]
                  if one["at"] == "xen" or one["at"] in deeds]
        before = domain.mib()
        each_fails(domain, xen.kernel, deeds, chosen)
        domu.expect_mib(domain, before)


@pytest.mark.all_only("xl gives virtual nodes to HVM domains only, and a device model in "
                      "an emulated domain 0 takes minutes")
def test_nodes_without_memory(image):
    """Where the table of nodes does not fit memory comes back from any node."""
    nodes = [[f"pnode={node}", "size=224", f"vdistance={'20,10' if node else '10,20'}"]
             for node in range(2)]
    nodes[0].append("vcpus=0")
    machine = [word for node in range(2) for word in (
        "-object", f"memory-backend-ram,id=node{node},size=1536M",
        "-numa", f"node,nodeid={node},memdev=node{node},cpus={node}")]
    with Xen("4.20", "calls-nodes", mem_mib=3072, dom0_mib=domu.DOM0_MIB,
             extra=machine, hvm=True) as xen:
        domain = xen.domain(xen.kernel, "hvm", mem_mib=domu.MEM_MIB,
                            config={"vnuma": nodes})
        domain.run("modprobe aeration_calls")
        symbol, = names_here(xen.kernel, {"call": "__kmalloc", "in": "aeration_xen"})
        guest.mark(domain)
        arm(domain, "aeration_xen", symbol, 0)
        domu.load(domain)
        (_, failed, _), = disarm(domain)
        assert failed
        guest.said(domain, "memory comes back from any node")
        domu.settled(domain, 100)
        domain.run("rmmod aeration_xen", timeout=domu.LONG)
        assert domu.states(domain)["quarantined"] == 0


# In the daemon

def interposer():
    """Return the library that has calls of the daemon fail."""
    return build.native("tests/host", "failcall.so", ())


class Failing:
    """Has a call fail in each daemon that starts while it is on."""

    def __init__(self, one, monkeypatch, folder):
        self.patch = monkeypatch
        self.seen = folder / "failed"
        self.words = {
            "LD_PRELOAD": str(interposer()), "FAILCALL_IN": "hintd",
            "FAILCALL_TO": str(self.seen),
            "FAILCALL": f"{one['call']} {getattr(errno, one['errno'])} "
                        f"{one.get('skip', 0)} 1"}

    def __enter__(self):
        for name, value in self.words.items():
            self.patch.setenv(name, value)
        return self

    def __exit__(self, *_):
        for name in self.words:
            self.patch.delenv(name)

    def times(self):
        """Return how often it has failed."""
        return self.seen.read_text(encoding="ascii").count("x") \
            if self.seen.exists() else 0


@pytest.fixture
def failing(monkeypatch, tmp_path):
    """A function that returns the Failing of an entry."""
    return lambda one: Failing(one, monkeypatch, tmp_path)


# What a kernel has that limits which files are used.
LANDLOCK = pathlib.Path("/sys/kernel/security/lsm")


def entries(*at):
    """Return pytest's parameters of the daemon's entries that are done there."""
    return [pytest.param(one, id=f"{one['call']}-{one.get('skip', 0)}-{one['at']}")
            for one in table()["hintd"]["fails"] if one["at"] in at]


def argv(one, folder):
    """Return the daemon's arguments for what is done while it starts."""
    more = {"group": ["--socket-mode", "660", "--socket-group", "root"],
            "user": ["--user", "nobody"]}.get(one["at"], [])
    if one["at"] == "fd":
        return ["--fd", "0"]
    return ["--socket-path", folder / "socket", "--stats-file", folder / "stats", *more]


def may_be_skipped(one):
    """Skip what this machine does not do."""
    if one["at"] == "user" and os.geteuid():
        pytest.skip("only root becomes somebody else")
    if one["call"] == "syscall" and one.get("skip", 0) > 1 and "landlock" not in (
            LANDLOCK.read_text(encoding="ascii") if LANDLOCK.exists() else ""):
        pytest.skip("this kernel has no Landlock")


def start_of(one, folder, stdin):
    """Start a daemon; return its exit status and what it has said."""
    status, words = one["then"]
    with subprocess.Popen([program("hintd"), *argv(one, folder)], stdin=stdin,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          text=True) as hintd:
        try:
            text = line = hintd.stderr.readline()
            while line and (words not in text or status):
                line = hintd.stderr.readline()
                text += line
            if not status:
                hintd.terminate()
            return hintd.wait(TIMEOUT_S), text
        finally:
            hintd.kill()


@pytest.mark.parametrize("one", entries("start", "stale", "group", "user", "fd"))
def test_start_of_the_daemon(one, tmp_path, failing):
    """It ends in words and with a status, or works without; and then it starts."""
    may_be_skipped(one)
    if one["at"] == "stale":
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(tmp_path / "socket"))
    left, right = socket.socketpair()
    with left, right, failing(one) as call:
        status, text = start_of(one, tmp_path, right if one["at"] == "fd" else
                                subprocess.DEVNULL)
    assert call.times() == 1, f"it has not called {one['call']} so often: {text}"
    assert status == one["then"][0] and one["then"][1] in text, (status, text)
    with Hintd(tmp_path / "socket", "sg") as hintd:
        served(hintd)


@contextlib.contextmanager
def daemon(folder, call, *more):
    """A daemon of which a call fails; yields it."""
    with call:
        hintd = Hintd(folder / "socket", "sg", more).start()
    try:
        yield hintd
    finally:
        hintd.stop()


def served(hintd):
    """A front-end is served, and memory is released."""
    front = FrontEnd(hintd)
    front.report((FREE, PAGE_SIZE))
    front.wait_used(1, "the report's answer")
    assert front.is_hole(FREE, PAGE_SIZE)
    front.close()


def used(front):
    """Wait for a report's answer without an interrupt."""
    end = time.monotonic() + TIMEOUT_S
    while not front.used_idx():
        assert time.monotonic() < end, "the report is not answered"
        time.sleep(0.02)


@pytest.mark.parametrize("one", entries("serve"))
def test_service_of_the_daemon(one, tmp_path, failing):
    """A call that fails while a guest is served costs that connection, or less."""
    call, (then, words) = failing(one), one["then"]
    with daemon(tmp_path, call) as hintd:
        if then == 1:
            assert hintd.process.wait(TIMEOUT_S) == 1
            assert words in hintd.said()
            assert not os.path.exists(hintd.socket_path), "its socket is left"
            return
        with contextlib.suppress(AssertionError, ConnectionError):
            front = FrontEnd(hintd)
            front.report((FREE, PAGE_SIZE))
            used(front)
            kept = front.is_data(FREE, PAGE_SIZE)
            front.close()
            assert kept == (then == "kept")
            then = "fine"
        assert (then == "fine") == (one["then"][0] != "again")
        said(hintd, words)
        assert call.times() == 1
        served(hintd)


@pytest.mark.parametrize("one", entries("control"))
def test_commands_of_the_daemon(one, tmp_path, failing):
    """A command that cannot be done is answered, and so is the next."""
    call, path = failing(one), tmp_path / "control"
    with daemon(tmp_path, call, "--control-socket", path), \
            socket.socket(socket.AF_UNIX) as client:
        client.settimeout(TIMEOUT_S)
        client.connect(str(path))
        answers = client.makefile("r", encoding="ascii")
        for wanted in ("error", "ok"):
            client.sendall(b"stats\n")
            assert re.match(wanted, answers.readline())
    assert call.times() == 1


@pytest.mark.parametrize("one", entries("statistics"))
def test_statistics_of_the_daemon(one, tmp_path, failing):
    """What could not be written is written later, though nothing changes any more."""
    call = failing(one)
    with daemon(tmp_path, call) as hintd, socket.socket(socket.AF_UNIX) as front:
        front.connect(hintd.socket_path)
        said(hintd, one["then"][1])
        assert call.times() == 1
        time.sleep(1)
        assert hintd.look()["connections"] == 1


def test_the_interposer_counts(tmp_path, failing):
    """The second call fails and no other one."""
    call = failing({"call": "fallocate", "errno": "EIO", "skip": 1})
    with daemon(tmp_path, call) as hintd:
        front = FrontEnd(hintd)
        for number in range(3):
            front.report((FREE + number * PAGE_SIZE, PAGE_SIZE))
            front.wait_used(number + 1, "the report's answer")
        said(hintd, "cannot give memory back")
        assert [front.is_hole(FREE + number * PAGE_SIZE, PAGE_SIZE)
                for number in range(3)] == [True, False, True]
        front.close()
    assert call.times() == 1
