# SPDX-License-Identifier: GPL-2.0
"""Error paths: each call that can fail is made to, and nothing is left behind.

aeration_faults.ko makes a kernel function return an error instead of running.
"""

import contextlib

import guest
from guest import MIB
from lab.qemu import Vm

ENOMEM = -12

# A probe patches code, and the emulator does not always see to a second processor
# that it was patched (see lab.scan.emulator_tripped).
CPUS = 1


@contextlib.contextmanager
def failing(vm, symbol, value=ENOMEM, task="modprobe", skip=0, times=1):
    """Have calls of a kernel function fail; see to it that they did."""
    guest.mark(vm)
    vm.run(f"modprobe aeration_faults symbol={symbol} value={value} "
           f"task={task} skip={skip} times={times}")
    yield
    vm.run("rmmod aeration_faults")
    guest.said(vm, f"{symbol} failed {times} of {times} times")


def refuse_core(vm, symbol, value):
    """Have the core's own call of a function fail as it loads.

    The module loader itself calls the same functions some times before.
    """
    for skip in range(6):
        with failing(vm, symbol, value, skip=skip):
            vm.run("modprobe aeration", check=False)
            vm.run("rmmod aeration", check=False)
            assert vm.run("test -e /sys/kernel/aeration", check=False).rc
        if "cannot show /sys/kernel/aeration" in guest.log(vm):
            return
    raise AssertionError(f"aeration never called {symbol}")


def test_reporting_that_is_not_known(image, kernel):
    """Where the mm's own pass cannot be had, it goes at the mm's own pace."""
    with Vm(kernel, f"faults-pace-{kernel}", cpus=CPUS) as vm:
        vm.run("modprobe aeration")
        with failing(vm, "aeration_hook_take", 0):
            vm.run("modprobe aeration_virtio")
        assert guest.value(vm, "state") == "running"
        guest.touch_and_free(vm)
        vm.wait_until(lambda: guest.stat(vm, "bytes") > 256 * MIB,
                      "the mm to report by itself", guest.SOON)
        guest.refused(vm, f"/opt/aeration/poke {guest.SYSFS}/flush 1",
                      "Operation not supported")
        guest.unload(vm)


def test_load_without_memory(image, kernel):
    """Loading fails as a whole, and works the next time."""
    with Vm(kernel, f"faults-{kernel}", cpus=CPUS) as vm:
        refuse_core(vm, "sysfs_create_groups", ENOMEM)
        vm.run("modprobe aeration")

        for what in ("register_memory_notifier", "vp_modern_find_vqs"):
            with failing(vm, what):
                vm.run("modprobe aeration_virtio")
            assert guest.value(vm, "state") == "off"
            vm.run("rmmod aeration_virtio")
        vm.run("modprobe aeration_virtio")
        guest.wait_value(vm, "state", "running")
        guest.unload(vm)


def test_page_reporting_refuses(image):
    """The mm's refusal, whatever its reason, is waited out."""
    with Vm("6.12", "faults-busy", cpus=CPUS) as vm:
        vm.run("modprobe aeration")
        with failing(vm, "page_reporting_register", value=-16):
            vm.run("modprobe aeration_virtio")
            guest.said(vm, "belongs to another driver, most likely")
        guest.wait_value(vm, "state", "running")
        guest.unload(vm)


def test_no_queues_after_resume(image):
    """A device that cannot be set up after sleep is tried until it can be."""
    with Vm("6.1", "faults-resume", pvh=False,
            cpus=guest.CPUS_THAT_SLEEP) as vm:
        vm.run("modprobe aeration_virtio")
        guest.wait_value(vm, "state", "running")
        with failing(vm, "vp_modern_find_vqs", task="kworker", times=2):
            vm.suspend()
            guest.said(vm, "no queues: error -12; device reset, its blocks are "
                       "back with the guest; it is tried again in 1 s")
            guest.wait_said(vm, "no queues: error -12; device reset, its "
                            "blocks are back with the guest; "
                            "it is tried again in 2 s")
        guest.wait_said(vm, "the device is back")
        guest.wait_value(vm, "state", "running")
        vm.run(f"echo 1 > {guest.SYSFS}/flush")
        assert guest.stat(vm, "bytes") > 1024 * MIB
        guest.unload(vm)


def test_two_devices(image):
    """Of two balloon devices one is used, and the other refused in words."""
    with guest.vhost_guest("6.12", "two", balloon=True) as (vm, _):
        vm.run("modprobe aeration_virtio")
        guest.wait_value(vm, "state", "running")
        guest.said(vm, "there is a device already, and one can be used")
        vm.run(f"echo 1 > {guest.SYSFS}/flush")
        assert guest.stat(vm, "bytes") > 1024 * MIB
        guest.unload(vm)
