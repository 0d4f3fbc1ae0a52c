# SPDX-License-Identifier: GPL-2.0
"""What is no surplus yet stays. What is, leaves: see test_matrix.py."""

import guest
from guest import MIB
from lab.qemu import Vm


# The mm begins a pass of its own 2 s after blocks were freed. Were that not called
# off, some would run in this time, s.
PASSES = 7


def test_nothing_leaves_within_the_window(image):
    """What is no surplus yet stays, and no pass of the mm's takes it in hand.

    Blocks that are isolated and refused are put back behind those that are
    reported: the guest would take reported memory before them.
    """
    with Vm("6.1", "release-window") as vm:
        vm.run("modprobe aeration window_ms=60000")
        vm.run("modprobe aeration_virtio")
        for _ in range(2):
            guest.touch_and_free(vm, 256, 1)
            vm.run(f"sleep {PASSES}")
        assert guest.stat(vm, "held_back") == 0
        assert guest.stat(vm, "bytes") == 0
        vm.run(f"echo 0 > {guest.SYSFS}/window_ms")
        vm.wait_until(lambda: guest.stat(vm, "bytes") > 1024 * MIB,
                      "all of it to be reported once there is no window",
                      guest.SOON)
