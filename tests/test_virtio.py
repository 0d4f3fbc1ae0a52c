# SPDX-License-Identifier: GPL-2.0
"""The virtio backend on devices that are unfit, small or gone."""

import random
import tempfile

import pytest

import guest
from guest import MIB
from lab.qemu import Vm
from lab.vhost_balloon import VhostBalloon

HELD_MIB = 384		# what a program uses and frees

def test_filled_free_pages_need_page_poison(image):
    """init_on_free without bit 4: the device would lose the zeroes."""
    with Vm("6.1", "no-poison-bit", balloon={"page-poison": "off"},
            cmdline="init_on_free=1") as vm:
        vm.run("modprobe aeration_virtio")
        assert "fills free pages" in guest.value(vm, "why/virtio")
        assert guest.value(vm, "state") == "off"
        guest.unload(vm)


def test_filled_free_pages_are_kept(image):
    """With bit 4 free pages keep their content, and the kernel can rely on it.

    A page that is not what the kernel left there makes it complain. Of zeroes,
    which init_on_free leaves, it does not look; the host may take such a page.
    """
    with Vm("6.12", "poison", cmdline="page_poison=1") as vm:
        vm.run("modprobe aeration_virtio")
        guest.wait_value(vm, "state", "running")
        # Nothing leaves, and its counters do not show that.
        guest.said(vm, "the host may keep all that is reported")
        guest.touch_and_free(vm, 256, 1)
        vm.run(f"echo 1 > {guest.SYSFS}/flush")
        assert guest.stat(vm, "bytes")
        guest.touch_and_free(vm, 256, 1)
        guest.unload(vm)


def test_zeroes_are_told(image):
    """Zeroes in free pages are a value like another, and pages of them go."""
    with guest.vhost_guest("6.1", "zeroes-told", features=(32, 5, 4),
                           cmdline="init_on_free=1") as (vm, device):
        vm.run("modprobe aeration_virtio")
        guest.wait_value(vm, "state", "running")
        bits = vm.run("cat /sys/bus/virtio/drivers/aeration_virtio/virtio*/"
                      "features").out
        assert bits[4] == bits[5] == "1"
        assert device.config()[3] == 0
        device.wait_for(lambda stats: stats.bytes_released, guest.SOON,
                        "blocks of zeroes to go")
        assert not device.snapshot()["poisoned"]
        guest.unload(vm)


def test_page_poison_is_told(image):
    """The device learns what free pages hold, virtio 1.2, 5.5.6.6."""
    with guest.vhost_guest("6.1", "poison-told", features=(32, 5, 4),
                           cmdline="page_poison=1") as (vm, device):
        vm.run("modprobe aeration_virtio")
        guest.wait_value(vm, "state", "running")
        assert device.config()[3] == 0xaaaaaaaa
        device.wait_for(lambda stats: stats.poisoned, guest.SOON,
                        "blocks whose content is kept")
        assert not device.snapshot()["bytes_released"]
        guest.unload(vm)


def test_platform_addresses_are_refused(image):
    """A device that insists on platform addresses does not know guest frames."""
    with guest.vhost_guest("6.1", "platform", features=(32, 33, 5)) as (vm, _):
        vm.run("modprobe aeration_virtio")
        assert "VIRTIO_F_ACCESS_PLATFORM" in guest.value(vm, "why/virtio")
        assert guest.value(vm, "state") == "off"
        guest.unload(vm)


@pytest.mark.parametrize("size", [8, 1])
def test_small_queue(image, kernel, size):
    """A queue smaller than a batch is used with smaller batches."""
    with guest.vhost_guest(kernel, f"queue-{size}",
                           vq_size=size) as (vm, device):
        vm.run("modprobe aeration_virtio")
        guest.wait_value(vm, "state", "running")
        assert guest.value(vm, "capacity") == str(size)
        vm.run(f"echo 1 > {guest.SYSFS}/flush")
        seen = device.snapshot()
        assert seen["max_descriptors"] == size
        assert seen["blocks"] > 100
        assert not seen["indirect"] and not seen["violations"]
        guest.unload(vm)


@pytest.mark.parametrize("properties", [
    {"free-page-hint": "on"},
    {"disable-legacy": "off", "disable-modern": "on"},
])
def test_queue_numbers(image, properties):
    """More queues before the reporting one, or the legacy interface."""
    extra = []
    if "free-page-hint" in properties:
        extra = ["-object", "iothread,id=io0"]
        properties = {**properties, "iothread": "io0"}
    with Vm("6.1", "queues", balloon=properties, extra=extra) as vm:
        vm.run("modprobe aeration_virtio")
        job = guest.hold(vm, HELD_MIB)
        before = vm.resident()
        guest.free_held(vm, job)
        vm.wait_until(lambda: vm.resident() < before - guest.leaves(HELD_MIB) * MIB,
                      "memory to leave the host", guest.SOON)
        guest.end_held(vm, job)
        guest.unload(vm)


# Bits of virtio 1.2, 5.5.3, by what a device does for the guest or asks of it.
STATS, HINTS, POISON, REPORTS = 1, 3, 4, 5
VERSION_1 = 32
FEW_PAGES = 1024

# What the configuration has when a hint run is over, virtio 1.2, 5.5.6.5.
HINT_DONE = 1


def works_as_offered(vm, device, features):
    """All that goes with these bits works, and what does not is said."""
    # QEMU does not bear a change that is announced before.
    vm.wait_until(device.guest_bytes, "the driver to be ready", guest.SOON)
    device.set_target(FEW_PAGES)
    device.wait_for(lambda stats: stats.config[1] == FEW_PAGES, guest.SOON,
                    f"the balloon, with bits {features}")
    guest.wait_value(vm, "state", "running" if {HINTS, REPORTS} & set(features)
                     else "off")
    assert ("bit 5" in guest.value(vm, "why/virtio")) == (REPORTS not in features)
    seen = device.snapshot()
    assert bool(seen["guest"]) == (STATS in features)
    if REPORTS in features:
        vm.run(f"echo again > {guest.SYSFS}/flush")
        assert device.snapshot()["bytes_told"] > seen["bytes_told"]
    if HINTS in features:
        seen = device.snapshot()
        assert device.hint()
        device.wait_for(lambda stats: stats.config[2] == HINT_DONE, guest.SOON,
                        "the device to be told all")
        assert device.snapshot()["bytes_told"] > seen["bytes_told"]
    assert not device.snapshot()["refused"]


def is_same_in_all(features):
    """Is no queue missing before one that is there, so that all count alike?"""
    there = [bit in features for bit in (STATS, HINTS, REPORTS)]
    return there == sorted(there, reverse=True)


@pytest.mark.parametrize("numbers", ["accepted", "offered", "fixed"])
def test_subsets_of_features(image, numbers):
    """Whatever a device offers, each of its queues is what the driver takes it for.

    However it numbers them: all that have a queue are accepted. Where a device gives
    fixed numbers, and lacks one, see test_other_numbers.
    """
    with Vm("7.3", "subsets", balloon=False, share_memory=True) as vm, \
            tempfile.TemporaryDirectory(prefix="aersf-") as folder:
        vm.run("modprobe aeration && modprobe aeration_virtio")
        bits = (STATS, HINTS, POISON, REPORTS)
        for number in range(2 ** len(bits)):
            features = [bit for place, bit in enumerate(bits) if number >> place & 1]
            if numbers == "fixed" and not is_same_in_all(features):
                continue
            with VhostBalloon(f"{folder}/{number}", numbers=numbers,
                              features=(VERSION_1, *features)) as device:
                device.plug_into(vm, id=f"vhost{number}")
                works_as_offered(vm, device, features)
                vm.qmp("device_del", id=f"vhost{number}")
                vm.wait_event("DEVICE_DELETED", match=lambda data, number=number:
                              data.get("device") == f"vhost{number}")
        guest.unload(vm)


# Bits that mean nothing to a balloon driver, or to nobody yet; not those of rings and
# transports, virtio 1.2, 6, nor the two that may come to mean something: see
# docs/virtio-hinting.md.
MEANINGLESS = (*range(6, 24), *range(42, 64))
DRAWS = 12


def test_random_features(image):
    """A device that offers what there is not: none of it is accepted, and all goes on."""
    rng = random.Random(1)
    with Vm("7.3", "offers", balloon=False, share_memory=True) as vm, \
            tempfile.TemporaryDirectory(prefix="aerof-") as folder:
        vm.run("modprobe aeration && modprobe aeration_virtio")
        for number in range(DRAWS):
            known = [bit for bit in (STATS, HINTS, POISON, REPORTS)
                     if rng.random() < 0.7]
            more = rng.sample(MEANINGLESS, rng.randrange(1, len(MEANINGLESS)))
            print(f"{number}: {known} and {sorted(more)}")
            with VhostBalloon(f"{folder}/{number}",
                              features=(VERSION_1, *known, *more)) as device:
                device.plug_into(vm, id=f"vhost{number}")
                bits = vm.run("cat /sys/bus/virtio/drivers/aeration_virtio/virtio*/"
                              "features").out
                assert not [bit for bit in MEANINGLESS if bits[bit] == "1"]
                works_as_offered(vm, device, known)
                vm.qmp("device_del", id=f"vhost{number}")
                vm.wait_event("DEVICE_DELETED", match=lambda data, number=number:
                              data.get("device") == f"vhost{number}")
        guest.unload(vm)


@pytest.mark.parametrize("features", [(REPORTS,), (STATS, REPORTS)])
def test_other_numbers(image, features):
    """A device that numbers its queues otherwise costs a batch, and is told apart.

    Virtio 1.2, 5.5.2, has fixed numbers, and Linux none.
    """
    with guest.vhost_guest("7.3", "numbers", features=(VERSION_1, *features),
                           numbers="fixed") as (vm, device):
        free = guest.measure_free(vm)
        vm.run("modprobe aeration_virtio timeout_ms=3000")
        guest.wait_value(vm, "state", "failed")
        assert "numbers its queues" in guest.value(vm, "why/virtio")
        assert guest.stat(vm, "in_flight_bytes") == guest.stat(vm, "batches") == 0
        assert guest.stat(vm, "timeouts") == 1
        assert not device.snapshot()["bytes_told"]
        vm.run("/opt/aeration/memwork verify 1024")
        guest.unload(vm)
        guest.expect_free(vm, free)


def test_removal_under_load(image, kernel):
    """Unplugged while batches fly: nothing hangs, nothing is lost."""
    with Vm(kernel, f"unplug-{kernel}") as vm:
        before = guest.measure_free(vm)
        vm.run("modprobe aeration_virtio")
        vm.run(f"echo 0 > {guest.SYSFS}/window_ms")
        load = vm.start("exec /opt/aeration/memwork churn 512 8")
        vm.wait_until(lambda: guest.stat(vm, "batches") > 5, "batches to fly",
                      guest.SOON)
        vm.qmp("device_del", id="balloon0")
        vm.wait_event("DEVICE_DELETED",
                      match=lambda data: data.get("device") == "balloon0")
        guest.wait_value(vm, "state", "off")
        assert guest.stat(vm, "in_flight_bytes") == 0
        load.wait()
        guest.unload(vm)
        guest.expect_free(vm, before)


def test_suspend_and_resume(image, kernel):
    """Asleep and awake again, twice: reporting goes on."""
    with Vm(kernel, f"suspend-{kernel}", pvh=False,
            cpus=guest.CPUS_THAT_SLEEP) as vm:
        vm.run("modprobe aeration_virtio")
        vm.run(f"echo 0 > {guest.SYSFS}/window_ms")
        for _ in range(2):
            guest.touch_and_free(vm, 256, 1)
            vm.suspend()
            assert guest.value(vm, "state") == "running"
            before = guest.stat(vm, "batches")
            guest.touch_and_free(vm, 256, 1)
            vm.wait_until(lambda: guest.stat(vm, "batches") > before,
                          "batches after the resume", guest.SOON)
        assert guest.stat(vm, "errors") == 0
        guest.unload(vm)
