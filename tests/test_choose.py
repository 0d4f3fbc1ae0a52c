# SPDX-License-Identifier: GPL-2.0
"""Choosing on hosts that QEMU cannot be: aeration_pretend.ko plays them.

Only what the core is told about its host is played, and the one hypercall that
the backend for Hyper-V makes.
"""

import contextlib

import pytest

import guest
from guest import MIB
from lab import cache
from lab.qemu import Vm

PRETEND = "/sys/module/aeration_pretend/parameters"


@contextlib.contextmanager
def pretending(kernel, host, options="", **more):
    """A guest that believes to be on `host`."""
    # One processor: the emulator does not always see to the other one that code
    # was patched, as the stand-in has it (see lab.scan.emulator_tripped).
    with Vm(kernel, f"pretend-{host}-{kernel}", cpus=1, **more) as vm:
        vm.run(f"modprobe aeration_pretend host={host} {options}")
        yield vm
        guest.unload(vm)
        vm.run("rmmod aeration_pretend")


def loaded(vm, name):
    """Is a module loaded?"""
    return not vm.run(f"test -e /sys/module/{name}", check=False).rc


def played(vm, name):
    """Return a counter of the stand-in for the hypervisor."""
    return int(vm.read(f"{PRETEND}/{name}"))


def test_confidential(image, kernel):
    """In a confidential guest nothing runs, and log and sysfs say so."""
    with pretending(kernel, "confidential") as vm:
        vm.run("modprobe aeration")
        guest.said(vm, "backend none, asked for auto (xen: the memory of a "
                   "confidential guest")
        vm.run("modprobe aeration_virtio; modprobe aeration_loop", check=False)
        guest.said(vm, "virtio refused: the memory of a confidential guest")
        for backend in ("auto", "virtio", "loop", "hyperv", "xen"):
            guest.choose(vm, backend)
            assert guest.value(vm, "state") == "off"
            assert "confidential" in guest.value(vm, "why/virtio")
        guest.touch_and_free(vm)
        assert guest.stat(vm, "bytes") == 0


def test_device_alias(image, kernel):
    """The shipped modprobe.d file gives the device to us, and can be undone."""
    conf = "/etc/modprobe.d/aeration.conf"
    with Vm(kernel, f"alias-{kernel}") as vm:
        alias = vm.run("cd /sys/bus/virtio/devices; "
                       "cat $(grep -l 0x0005 */device | cut -d/ -f1)/modalias"
                       ).out.strip()
        # "-b" is how udev and the kernel call it.
        vm.run("mkdir -p /etc/modprobe.d")
        vm.push(conf, (cache.REPO / "packaging/modprobe.d/aeration.conf"
                       ).read_bytes())
        vm.run(f"modprobe -b {alias}")
        guest.wait_value(vm, "state", "running")
        assert not loaded(vm, "virtio_balloon")
        guest.unload(vm)
        vm.run(f"rm {conf}")
        vm.run(f"modprobe -b {alias}")
        assert loaded(vm, "virtio_balloon")
        vm.run("rmmod virtio_balloon")
        guest.unload(vm)


@pytest.mark.parametrize("host", ["xen", "dom0"])
def test_virtio_of_an_outer_host(image, host):
    """In a Xen domain a virtio balloon is left alone, asked for or not."""
    with pretending("6.12", host) as vm:
        vm.run("modprobe aeration_virtio")
        guest.said(vm, "virtio refused: this is a Xen domain")
        for backend in ("auto", "virtio"):
            guest.choose(vm, backend)
            assert guest.value(vm, "state") == "off"
            assert "Xen domain" in guest.value(vm, "why/virtio")
        # Its driver never got as far as accepting a feature of the device.
        assert vm.run("ls -d /sys/bus/virtio/drivers/aeration_virtio/virtio*",
                      check=False).rc


def test_the_backend_is_asked_for(image, kernel):
    """On Hyper-V the core has its backend loaded, unless told otherwise."""
    with pretending(kernel, "hyperv", "announce=1") as vm:
        vm.run("modprobe aeration backend=none; sleep 1")
        assert not loaded(vm, "aeration_hyperv")
        guest.choose(vm, "virtio")
        vm.run("sleep 1")
        assert not loaded(vm, "aeration_hyperv")
        guest.choose(vm, "auto")
        guest.wait_value(vm, "state", "running")
        assert guest.value(vm, "backend") == "hyperv"
        guest.said(vm, "stub, untested on Hyper-V")
        guest.unload(vm)
        vm.run("modprobe aeration backend=hyperv")
        guest.wait_value(vm, "state", "running")
        guest.unload(vm)
        # The other order: the backend brings the core along.
        vm.run("modprobe aeration_hyperv")
        assert guest.value(vm, "backend") == "hyperv"


def test_no_announcement(image, kernel):
    """A Hyper-V that announces nothing is told nothing."""
    with pretending(kernel, "hyperv") as vm:
        vm.run("modprobe aeration")
        vm.wait_until(lambda: "does not announce" in
                      guest.value(vm, "why/hyperv"), "the reason", guest.SOON)
        guest.said(vm, "nothing is told: this Hyper-V does not announce")
        assert not loaded(vm, "aeration_hyperv")
        assert played(vm, "hints") == 0
        # It changed its mind, and somebody asks again.
        vm.run(f"echo 1 > {PRETEND}/announce")
        guest.choose(vm, "hyperv")
        guest.wait_value(vm, "state", "running")


def test_hints(request, image, kernel):
    """Free memory is told, and only that: the stand-in overwrites it."""
    with pretending(kernel, "hyperv", "announce=1 most=7") as vm:
        vm.run("modprobe aeration window_ms=0 reserve_mb=0")
        guest.wait_value(vm, "state", "running")
        vm.run("/opt/aeration/integrity 50 1500 1024 2048 " +
               guest.integrity_words(request.config), timeout=guest.HUNG)
        vm.run(f"echo 1 > {guest.SYSFS}/flush")
        assert guest.stat(vm, "bytes") > 1024 * MIB
        guest.choose(vm, "none")	# or they change between two readings
        assert played(vm, "wrong") == 0
        # A range is 2 MiB or more, a hypercall does seven of them.
        assert guest.stat(vm, "blocks") == played(vm, "ranges")
        assert guest.stat(vm, "batches") < played(vm, "hints")
        assert guest.stat(vm, "refused") == guest.stat(vm, "errors") == 0


def test_small_blocks_are_refused(image):
    """Blocks below 2 MiB cannot be told, and are not."""
    with pretending("6.1", "hyperv", "announce=1") as vm:
        vm.run("modprobe aeration window_ms=0 reserve_mb=0 order=5")
        guest.wait_value(vm, "state", "running")
        vm.wait_until(lambda: guest.stat(vm, "refused") > 0,
                      "small blocks to be refused", guest.SOON)
        guest.choose(vm, "none")
        assert guest.stat(vm, "blocks") == played(vm, "ranges")
        assert played(vm, "wrong") == 0


def test_refusals(image):
    """A hypervisor that stops half-way, is short of something, or knows nothing."""
    with pretending("6.12", "hyperv", "announce=1 result=5 most=3") as vm:
        vm.run("modprobe aeration window_ms=0 reserve_mb=0")
        guest.wait_value(vm, "state", "running")
        vm.wait_until(lambda: guest.stat(vm, "refused") > 0,
                      "what came after the third range to be refused",
                      guest.SOON)
        guest.choose(vm, "none")
        assert guest.stat(vm, "blocks") == played(vm, "ranges")
        vm.run(f"echo 0 > {PRETEND}/most; echo 11 > {PRETEND}/result")
        guest.choose(vm, "auto")
        guest.touch_and_free(vm)
        vm.wait_until(lambda: guest.stat(vm, "errors") > 0,
                      "a hypervisor without resources", guest.SOON)
        assert guest.value(vm, "state") == "running"
        guest.said(vm, "the hypervisor refused a hint, status 0xb; trying again")
        vm.run(f"echo 2 > {PRETEND}/result")
        guest.touch_and_free(vm)
        guest.wait_value(vm, "state", "failed")
        assert "knows no memory heat hint" in guest.value(vm, "why/hyperv")
        assert guest.stat(vm, "in_flight_bytes") == 0
