# SPDX-License-Identifier: GPL-2.0
"""What takes hours: `make check-long`. MINUTES bounds each part."""

import json
import os
import re
import subprocess
import sys
import time

import pytest

import domu
import guest
from lab import cache, hypervisors
from lab.qemu import Vm
from lab.vhost_balloon import DEFAULT_FEATURES, checked
from lab.xen import Xen

pytestmark = pytest.mark.long("it has no end of its own")

FUZZ = cache.REPO / "tests" / "host"
FUZZERS = ("control", "filter", "message", "options", "race", "ring", "server",
           "words")
SPARE = 600	# seconds, beside those that a fuzzer is given

# How the core is loaded for a source, and a batch made so small that many fly.
SOURCES = {
    "loop": "modprobe aeration backend=loop window_ms=0 reserve_mb=0 && "
            "modprobe aeration_loop capacity=1",
    "hold": "modprobe aeration backend=loop window_ms=0 reserve_mb=0 && "
            "modprobe aeration_loop durable=1 capacity=8",
    "virtio": "modprobe aeration window_ms=0 reserve_mb=0 && "
              "modprobe aeration_virtio",
}

# More batches than fly in a night.
WITHOUT_END = 1 << 40


@pytest.fixture
def seconds(request):
    """Return for how long a part is to run."""
    return request.config.getoption("--minutes") * 60


@pytest.mark.parametrize("name", FUZZERS)
def test_fuzz(name, seconds):
    """Hostile input to hintd, from what was found before and a seed of today.

    The seed is the date. What adds to what was reached is kept in the cache, for
    all checkouts.
    """
    output = cache.BUILD / "fuzz"
    output.mkdir(parents=True, exist_ok=True)
    for kind in ("fuzz", "cover"):
        link = output / f"{kind}_{name}"
        link.unlink(missing_ok=True)
        link.symlink_to(checked(link.name))
    done = subprocess.run([FUZZ / "fuzz.py", output, str(int(seconds)), name,
                           "--corpus", cache.directory() / "corpus"],
                          capture_output=True, text=True,
                          timeout=seconds + SPARE)
    print(done.stdout)
    assert not done.returncode, done.stderr


@pytest.mark.parametrize("source", SOURCES)
def test_integrity(image, kernel, source, seconds):
    """Every word of memory stays what it is while batches fly, for long."""
    with Vm(kernel, f"long-{source}-{kernel}") as vm:
        vm.run(SOURCES[source])
        load = vm.start("exec /opt/aeration/integrity "
                        f"{WITHOUT_END} {int(seconds) + guest.HUNG} 1024 2048 "
                        "every")
        end = time.monotonic() + seconds
        while time.monotonic() < end and load.running():
            time.sleep(1)
            vm.check_alive()
        vm.run("kill $(pidof integrity)", check=False)
        done = load.wait(guest.HUNG)
        print(done.out, guest.stat(vm, "batches"), "batches")
        assert guest.stat(vm, "batches") > 100
        assert guest.value(vm, "hold/quarantined") == "0"
        guest.unload(vm)


SILENT_S = 300

# A device that a hypervisor has itself: the driver brings it back (VIRTIO_F_RING_RESET).
OWN = (*DEFAULT_FEATURES, 40)


def test_host_that_is_silent_for_minutes(image, kernel):
    """Its back-end lives, and withholds answers: no word is lost, and nobody hangs.

    The kernel would say so of a process that waits for half a minute. Afterwards it
    works again, and nobody has to do anything for that.
    """
    with guest.vhost_guest(kernel, "silent", features=OWN) as (vm, device):
        vm.run("modprobe aeration_virtio")
        guest.wait_value(vm, "state", "running")
        load = vm.start(f"exec /opt/aeration/integrity {WITHOUT_END} {guest.HUNG} 512 2048 "
                        "failing")
        start = device.snapshot()["buffers"]
        device.wait_for(lambda stats: stats.buffers > start, guest.SOON,
                        "batches to be answered")
        device.mode = "silent"
        end = time.monotonic() + SILENT_S
        while time.monotonic() < end:
            time.sleep(5)
            # Another program that wants memory, and whoever looks at the state.
            vm.run("/opt/aeration/memwork churn 256 0", timeout=guest.SOON)
            assert guest.value(vm, "state") in ("running", "failed")
        print(vm.run("dmesg | grep aeration").out)
        device.mode = "normal"
        start = device.snapshot()["buffers"]
        device.wait_for(lambda stats: stats.buffers > start, guest.HUNG,
                        "batches to be answered again")
        guest.wait_value(vm, "state", "running")
        vm.run("kill $(pidof integrity)")
        done = load.wait(guest.SOON, check=False)
        print(done.out[-2000:])
        assert len(re.findall(r"words checked, 0 wrong", done.out)) == 2
        guest.unload(vm)


def test_aged(image, kernel, seconds):
    """A guest whose memory was used and broken up for long gives it back."""
    with Vm(kernel, f"long-aged-{kernel}") as vm:
        before = guest.free_kib(vm)
        vm.run("modprobe aeration && modprobe aeration_virtio")
        end = time.monotonic() + seconds
        rounds = 0
        while time.monotonic() < end:
            # Page cache, memory in pieces, memory that comes and goes.
            vm.run("dd if=/dev/zero of=/tmp/file bs=1M count=200 2>/dev/null")
            job = vm.start("exec /opt/aeration/memwork fragment 700")
            vm.wait_until(lambda j=job: j.says("touched"),
                          "memory to be in pieces", guest.HUNG)
            vm.run("/opt/aeration/memwork churn 400 5", timeout=guest.HUNG)
            guest.free_held(vm, job)
            guest.end_held(vm, job)
            vm.run("rm /tmp/file")
            rounds += 1
        print(rounds, "rounds")
        job = guest.hold(vm, 1024)
        resident = vm.resident()
        guest.free_held(vm, job)
        vm.wait_until(lambda: vm.resident() < resident -
                      guest.SHARE * 1024 * guest.MIB,
                      "what was used to leave the host", guest.SOON)
        guest.end_held(vm, job)
        guest.unload(vm)
        guest.expect_free(vm, before - 8192)


@pytest.mark.skipif(os.geteuid() != 0, reason="a Debian system wants root to be made")
def test_share_that_an_aged_guest_gives(image, kernel, seconds):
    """After mixed work more of MemFree has left than with the stock driver.

    That is the part `aged` of the benchmark; its goal is no more than a figure here.
    """
    done = subprocess.run(
        [sys.executable, "tools/bench/bench.py", "run", "--only", "aged", "--kernel",
         kernel, "--minutes", f"{seconds / 60:g}"], cwd=cache.REPO, capture_output=True,
        text=True, timeout=seconds + 2 * guest.HUNG, check=False)
    print(done.stdout)
    assert not done.returncode, done.stderr
    found = json.loads((cache.BUILD / "results/bench.json").read_text(encoding="ascii"))
    assert found["aged_share"]["median"] >= found["stock_aged_share"]["min"]


def test_pressure(image, xen_version, seconds):
    """With all surplus away, a load takes all it can get, over and over."""
    series = hypervisors.versions()[xen_version]
    with Xen(xen_version, f"long-pressure-{xen_version}") as xen:
        domain = xen.domain(series, "pvh", mem_mib=512)
        domu.load(domain, window_ms=100, backoff_ms=0)
        end = time.monotonic() + seconds
        rounds = 0
        while time.monotonic() < end:
            domain.wait_until(lambda: domu.held_mib(domain) > 256,
                              "the surplus to be away", domu.LONG)
            mib = int(domu.available_mib(domain)) - 24
            domain.run(f"/opt/aeration/memwork verify {mib}",
                       timeout=domu.LONG)
            assert domu.oom_kills(domain) == 0
            domu.states(domain)
            rounds += 1
        print(rounds, "rounds")
        domain.run("rmmod aeration_xen", timeout=domu.LONG)
        domu.expect_mib(domain, 512)
        assert domu.states(domain)["quarantined"] == 0
