# SPDX-License-Identifier: GPL-2.0
"""The guest-side tests, on every kernel."""

import pytest

import ktap
from lab.qemu import Vm

# Script, seconds it may take on a busy host.
SCRIPTS = {
    "params": 120,
    "choose": 240,
    "loop": 420,
    "hold": 600,
    "virtio": 300,
    "idle": 420,
    "integrity loop": 600,
    "integrity hold": 600,
    "integrity virtio": 600,
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_kselftest(image, kernel, script):
    """One script in a guest of its own with a balloon device that reports."""
    name, *arguments = script.split()
    command = " ".join([f"/opt/aeration/{name}.sh", *arguments])
    with Vm(kernel, f"kselftest-{name}-{kernel}") as vm:
        done = vm.run(command, timeout=SCRIPTS[script], check=False)
    ktap.check(done.out)
    assert not done.rc
