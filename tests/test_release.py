# SPDX-License-Identifier: GPL-2.0
"""Freed memory leaves the host. The judge is outside: QEMU's resident set."""

import guest
from guest import MIB, SHARE
from lab.qemu import Vm

HELD_MIB = 1500


def released(vm, before_mib):
    """Has the wanted share of what was held left the host?"""
    return vm.rss() <= (before_mib - SHARE * HELD_MIB) * MIB


def test_surplus_leaves(image, kernel):
    """95 % of what a process frees leaves QEMU's resident set."""
    with Vm(kernel, f"release-{kernel}") as vm:
        vm.run("modprobe aeration_virtio")
        job = guest.hold(vm, HELD_MIB)
        before = vm.rss() / MIB
        assert before > HELD_MIB
        guest.free_held(vm, job)
        vm.wait_until(lambda: released(vm, before),
                      f"{SHARE:.0%} of {HELD_MIB} MiB to leave the host",
                      guest.SOON)
        guest.end_held(vm, job)
        # And it can all be used again.
        guest.end_held(vm, guest_round(vm))


def guest_round(vm):
    """Touch everything again and free it; return the job."""
    job = guest.hold(vm, HELD_MIB)
    guest.free_held(vm, job)
    return job


def test_nothing_leaves_when_off(image):
    """With backend none the memory stays: the judge can tell the difference."""
    with Vm("6.1", "release-off", cmdline="aeration.backend=none") as vm:
        vm.run("modprobe aeration_virtio")
        assert guest.value(vm, "state") == "off"
        job = guest.hold(vm, HELD_MIB)
        before = vm.rss() / MIB
        guest.free_held(vm, job)
        vm.run("sleep 5")
        assert vm.rss() / MIB > before - 100
        # Asked for at run time, it goes.
        vm.run("echo auto > /sys/module/aeration/parameters/backend")
        vm.wait_until(lambda: released(vm, before),
                      "memory to leave once a backend is allowed", guest.SOON)
        guest.end_held(vm, job)


def test_nothing_leaves_within_the_window(image):
    """What is not surplus yet stays, though the mm offers it every 2 s."""
    with Vm("6.1", "release-window") as vm:
        vm.run("modprobe aeration window_ms=60000")
        vm.run("modprobe aeration_virtio")
        offered = guest.stat(vm, "held_back")
        guest.touch_and_free(vm, 1024, 1)
        vm.wait_until(lambda: guest.stat(vm, "held_back") > offered,
                      "the mm to offer blocks", guest.SOON)
        assert guest.stat(vm, "bytes") == 0
        vm.run(f"echo 0 > {guest.SYSFS}/window_ms")
        vm.wait_until(lambda: guest.stat(vm, "bytes") > 1024 * MIB,
                      "all of it to be reported once there is no window",
                      guest.SOON)
