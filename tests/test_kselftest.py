# SPDX-License-Identifier: GPL-2.0
"""The guest-side tests, on every kernel.

What is about windows, pauses and quiet runs where the clock is made of instructions:
no host is too busy for it there, and sleeping costs nothing. Two processors take turns
in such a guest. What is about two that work at once runs in one that has them.
"""

import pytest

import guest
import ktap
from lab.qemu import Vm

# All about time; nothing in them but the loads and unloads at their ends depends on a
# second processor, and choose, virtio and integrity have such. Where two work at once
# they run on kernels that look at it: see test_debug.py.
TIMED = ("params", "loop", "hold", "idle")
TIMED_MIB = 1024
SCRIPTS = ("choose", "virtio", "rounds",
           "integrity loop", "integrity hold", "integrity virtio")

# Seconds that none of them takes, however busy the host is.
HUNG = 1800


def passes(vm, script):
    """Run a script in a guest; every case of it has to pass."""
    name, *arguments = script.split()
    command = " ".join([f"/opt/aeration/{name}.sh", *arguments])
    done = vm.run(command, timeout=HUNG, check=False)
    ktap.check(done.out)
    assert not done.rc


@pytest.mark.parametrize("script", SCRIPTS)
def test_kselftest(request, image, kernel, script):
    """One script in a guest of its own with a balloon device that reports."""
    name = script.split()[0]
    if name == "integrity":
        script += f" {guest.integrity_words(request.config)}"
    with Vm(kernel, f"kselftest-{name}-{kernel}") as vm:
        passes(vm, script)


@pytest.mark.parametrize("script", TIMED)
def test_timed(image, kernel, script):
    """One script in a guest whose time is its own."""
    with guest.counting(kernel, f"timed-{script}", cpus=2,
                        mem_mib=TIMED_MIB) as vm:
        passes(vm, script)
