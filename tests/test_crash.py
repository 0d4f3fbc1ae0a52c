# SPDX-License-Identifier: GPL-2.0
"""When a kernel starts another one: as it crashes, to save a dump (kdump), or kexec.

The one that saves a dump has nothing to give away, and what was given away is no part of
the dump. One that is started by kexec finds all its memory.
"""

import contextlib

import pytest

import domu
import guest
from guest import MIB
from lab import domain as lab_domain
from lab import dom0, dumps
from lab import image as lab_image
from lab.qemu import COMMAND_LINE, QUICK_LINE, Vm
from lab.xen import Xen

# For the kernel that saves the dump: it, the image twice, and what it works with.
CAPTURE_MIB = 320
MEM_MIB = 1280
USED_MIB = 512	# and free again

CAPTURE_LINE = f"{COMMAND_LINE} {QUICK_LINE} maxcpus=1 reset_devices"

DUMP = "/tmp/dump"

# Seconds.
LONG = 600


@contextlib.contextmanager
def disk_of(files):
    """A disk that is an archive of files; yields the arguments for QEMU."""
    data = lab_image.archive(files)
    with guest.disk(len(data) // MIB + 1) as (path, arguments):
        with open(path, "r+b") as disk:
            disk.write(data)
        yield arguments


def unpack(vm, folder):
    """Have the guest take a folder from its disk."""
    vm.run(f"modprobe virtio_blk && cd / && cpio -idm '{folder}/*' < /dev/vda",
           timeout=LONG)


def crash(vm):
    """Have the kernel crash; the other one begins on the dump.

    That one aerates nothing, whatever is asked for by name.
    """
    vm.crash()
    vm.run("modprobe aeration backend=loop && modprobe aeration_virtio && "
           "! modprobe aeration_loop")
    assert guest.value(vm, "state") == "off"
    for backend in ("virtio", "loop"):
        assert "only saves a dump" in guest.value(vm, f"why/{backend}")
        if backend == "loop" or vm.balloon:
            guest.said(vm, f"{backend} refused: this kernel only saves a dump")


def dump(vm):
    """Save a dump and open it again; return how many bytes it has."""
    unpack(vm, dumps.PLACE)
    vm.run(f"{dumps.PROGRAM} -d 31 /proc/vmcore {DUMP}", timeout=LONG)
    vm.run(f"{dumps.PROGRAM} --dump-dmesg {DUMP} /tmp/log")
    assert "sysrq triggered crash" in vm.run("tail -n 60 /tmp/log").out
    return int(vm.run(f"wc -c < {DUMP}").out)


@contextlib.contextmanager
def guest_with_dump(kernel, name, files, **more):
    """A guest with a capture kernel, and with files for that on its disk."""
    with disk_of({**dumps.capture_kernel(kernel), **files}) as disk, \
            Vm(kernel, f"{name}-{kernel}", mem_mib=MEM_MIB, extra=disk,
               cmdline=f"crashkernel={CAPTURE_MIB}M", **more) as vm:
        unpack(vm, dumps.NEXT)
        vm.run(f"/opt/aeration/kexec -p /{dumps.NEXT}/vmlinuz /{dumps.NEXT}/initrd "
               f"'{CAPTURE_LINE}' && rm -r /{dumps.NEXT}")
        yield vm


@pytest.mark.all_only("what such a kernel refuses, and that it can read what there is, is in "
                      "test_dump")
def test_capture_kernel(image, kernel):
    """It aerates nothing, and can read all that the other has left."""
    with guest_with_dump(kernel, "capture", {}) as vm:
        vm.run("modprobe aeration window_ms=100 && modprobe aeration_virtio && "
               f"echo 1 > {guest.SYSFS}/flush")
        assert guest.value(vm, "state") == "running"
        crash(vm)
        whole = int(vm.run("cat /proc/vmcore | wc -c", timeout=LONG).out)
        assert whole > (MEM_MIB - CAPTURE_MIB - 64) * MIB


def test_dump(image):
    """What was released stays released while a dump is saved."""
    with guest_with_dump(dumps.KERNEL, "dump", dumps.makedumpfile(dumps.KERNEL),
                         share_memory=True) as vm:
        guest.touch_and_free(vm, USED_MIB)
        before = vm.resident()
        vm.run("modprobe aeration window_ms=100 && modprobe aeration_virtio")
        vm.run(f"echo 1 > {guest.SYSFS}/flush")
        released = vm.resident()
        assert before - released > guest.leaves(USED_MIB) * MIB

        crash(vm)
        saved = dump(vm)
        grown = vm.resident() - released
        print(f"{before // MIB} MiB resident, {released // MIB} when the rest was "
              f"released, {grown // MIB} more to save {saved // MIB}")
        # What it works with is not all of what was set aside for that.
        assert grown < CAPTURE_MIB * MIB


def test_dump_of_what_is_held(image):
    """What is held is left out, though it is neither free nor zero here."""
    with guest_with_dump(dumps.KERNEL, "dump-held",
                         dumps.makedumpfile(dumps.KERNEL), balloon=False) as vm:
        vm.run("modprobe aeration backend=loop window_ms=100 && "
               "modprobe aeration_loop durable=1 && "
               f"echo 1 > {guest.SYSFS}/flush")
        held = int(guest.value(vm, "hold/held_bytes"))
        assert held > USED_MIB * MIB
        crash(vm)
        saved = dump(vm)
        print(f"{held // MIB} MiB held, {saved // MIB} saved")
        assert saved < held // 4


# Xen

ALL_ONLY = pytest.mark.all_only(
    "xl lets only HVM domains start another kernel, and a device model in an emulated "
    "domain 0 takes minutes")
RAMDISK = "/run/xen/ramdisk"
NEXT = f"/{dumps.NEXT}/vmlinuz /{dumps.NEXT}/initrd"


@contextlib.contextmanager
def host():
    """A Xen for HVM domains that have a kernel to start; yields (xen, config)."""
    series = "6.12"
    with disk_of(dumps.capture_kernel(series)) as disk, \
            Xen("4.20", "next", mem_mib=domu.HOST_MIB, dom0_mib=1024, hvm=True,
                extra=disk) as xen:
        xen.run(f"modprobe virtio_blk && cat {dom0.IMAGE} /dev/vda > {RAMDISK}",
                timeout=LONG)
        yield xen, {"ramdisk": RAMDISK, "on_soft_reset": "soft-reset"}


@ALL_ONLY
def test_kexec_in_a_domain(image):
    """The next kernel has all its memory, without us, and with memory held before."""
    line = f"{lab_domain.COMMAND_LINE} {lab_domain.QUICK_LINE}"
    with host() as (xen, config):
        for hold in (False, True):
            domain = xen.domain(xen.kernel, "hvm", mem_mib=768, config=config)
            before = domain.mib()
            if hold:
                domu.load(domain)
                domu.settled(domain, before * 0.3)
            domain.next_kernel(f"/opt/aeration/kexec {NEXT} '{line}'")
            domu.expect_mib(domain, before)
            mib = int(domu.available_mib(domain)) - 24
            domain.run(f"/opt/aeration/memwork verify {mib}", timeout=domu.LONG)
            assert domu.oom_kills(domain) == 0
            domain.shutdown()


@ALL_ONLY
def test_dump_of_a_domain(image):
    """The capture kernel can read all there was, held or not, and aerates nothing."""
    line = f"{lab_domain.COMMAND_LINE} {lab_domain.QUICK_LINE} maxcpus=1"
    with host() as (xen, config):
        domain = xen.domain(xen.kernel, "hvm", mem_mib=MEM_MIB, config=config,
                            cmdline=f"crashkernel={CAPTURE_MIB}M")
        domain.run(f"/opt/aeration/kexec -p {NEXT} '{line}' && rm -r /{dumps.NEXT}")
        domu.load(domain)
        held = domu.settled(domain, 256)
        domain.next_kernel("echo c > /proc/sysrq-trigger")
        domain.run("modprobe aeration && ! modprobe aeration_xen")
        assert "only saves a dump" in guest.value(domain, "why/xen")
        whole = int(domain.run("cat /proc/vmcore | wc -c", timeout=domu.LONG).out)
        print(f"{held:.0f} MiB held, {whole // MIB} MiB read")
        assert whole > (MEM_MIB - CAPTURE_MIB - 64) * MIB
