# SPDX-License-Identifier: GPL-2.0
"""What is no surplus yet stays. What is, leaves: see test_matrix.py."""

import guest
from guest import MIB
from lab.qemu import Vm


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
