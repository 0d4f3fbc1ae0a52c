# SPDX-License-Identifier: GPL-2.0
"""The guest-side tests, on every kernel."""

import pytest

import guest
import ktap
from lab.qemu import Vm

SCRIPTS = ("params", "choose", "loop", "hold", "virtio", "idle", "rounds",
           "integrity loop", "integrity hold", "integrity virtio")

# Seconds that none of them takes, however busy the host is.
HUNG = 1800


@pytest.mark.parametrize("script", SCRIPTS)
def test_kselftest(request, image, kernel, script):
    """One script in a guest of its own with a balloon device that reports."""
    name, *arguments = script.split()
    if name == "integrity":
        arguments.append(guest.integrity_words(request.config))
    command = " ".join([f"/opt/aeration/{name}.sh", *arguments])
    with Vm(kernel, f"kselftest-{name}-{kernel}") as vm:
        done = vm.run(command, timeout=HUNG, check=False)
    ktap.check(done.out)
    assert not done.rc
