# SPDX-License-Identifier: GPL-2.0
"""A host that had to back everything again gets it back: when it asks for it, and by
itself where the guest can tell.

Reading a hole of a shared memory file allocates it: after a migration all of such a
guest is resident, and the guest takes its free memory for reported. So it does when
the host has read it from a file as a whole.
"""

import pathlib
import tempfile

import pytest

import guest
from guest import MIB
from lab import saved
from lab.qemu import Vm

MEM_MIB = 1024

# What may be resident more than before: a tenth, and what a flush leaves.
MORE = 1.1
LEFT_MIB = 64

VMGENID = ("-device", "vmgenid,guid=324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb")
SWAP_MIB = 512


def migrated(vm):
    """Migrate to nowhere, and go on here."""
    vm.qmp("migrate", uri="exec:cat >/dev/null")
    vm.wait_until(lambda: vm.qmp("query-migrate").get("status") == "completed",
                  "the migration to end", guest.HUNG)
    vm.qmp("cont")


def is_told_again(vm, told):
    """Was most of its memory reported once more since so much was told?"""
    return guest.stat(vm, "bytes") - told > MEM_MIB // 2 * MIB


def test_again(image, kernel):
    """What a migration backed leaves by one write, and not before it."""
    with Vm(kernel, f"again-{kernel}", mem_mib=MEM_MIB, share_memory=True,
            fresh=True) as vm:
        vm.run("modprobe aeration_virtio")
        guest.touch_and_free(vm, MEM_MIB // 2)
        vm.run(f"echo 1 > {guest.SYSFS}/flush")
        before = vm.resident()
        assert before < MEM_MIB // 2 * MIB
        for _ in range(2):
            migrated(vm)
            assert vm.resident() > MEM_MIB * MIB * 0.9
            vm.run(f"echo 1 > {guest.SYSFS}/flush")
            assert vm.resident() > MEM_MIB * MIB * 0.8, "a flush has no effect"
            vm.run(f"echo again > {guest.SYSFS}/flush")
            print(f"{before // MIB} MiB before, {vm.resident() // MIB} after")
            assert vm.resident() <= before * MORE + LEFT_MIB * MIB
        guest.unload(vm)


class Copy(Vm):
    """A guest that goes on from the state of another, which a folder has."""

    def __init__(self, kernel, name, folder, **more):
        super().__init__(kernel, name, **more)
        self.folder = folder

    def start_guest(self):
        self.resumed = True
        self.resume()
        saved.load(self, self.folder)
        self.run("true")


def test_a_copy_of_a_guest(image, kernel):
    """Started from a file under another generation ID it reports all by itself."""
    with tempfile.TemporaryDirectory(dir=saved.place(image)) as folder:
        folder = pathlib.Path(folder)
        with Vm(kernel, f"copied-{kernel}", mem_mib=MEM_MIB, share_memory=True,
                extra=(VMGENID[0], VMGENID[1] + "80")) as vm:
            vm.run("modprobe aeration spread_ms=0 && modprobe aeration_virtio")
            guest.touch_and_free(vm, MEM_MIB // 2)
            vm.run(f"echo 1 > {guest.SYSFS}/flush")
            told = guest.stat(vm, "bytes")
            saved.save(vm, folder)
            vm.kill()
        for ident, known in (("80", True), ("81", False)):
            with Copy(kernel, f"copy-{ident}-{kernel}", folder,
                      mem_mib=MEM_MIB, share_memory=True,
                      extra=(VMGENID[0], VMGENID[1] + ident)) as vm:
                if known:
                    vm.run("sleep 5")
                    assert not is_told_again(vm, told), "nobody has said so"
                else:
                    guest.wait_said(vm, "a copy of a virtual machine")
                    vm.wait_until(lambda: is_told_again(vm, told),
                                  "the copy to tell all it has", guest.SOON)
                guest.unload(vm)


def test_hibernation(image, kernel):
    """A guest that was written to a disk and read back reports all by itself.

    6.1 does not read an image from what it uses as swap (EBUSY), and goes on as one
    that was not written: the device was away all the same. Afterwards its swapoff does
    not come to an end, with aeration or without.
    """
    with guest.disk(SWAP_MIB) as (_, disk), \
            Vm(kernel, f"hibernates-{kernel}", mem_mib=MEM_MIB, extra=disk) as vm:
        vm.run("modprobe -a virtio_pci virtio_blk && mkswap /dev/vda && "
               "swapon /dev/vda && modprobe aeration spread_ms=0 && "
               "modprobe aeration_virtio")
        guest.touch_and_free(vm, MEM_MIB // 2)
        vm.run(f"echo 1 > {guest.SYSFS}/flush")
        told = guest.stat(vm, "bytes")
        # All of it is read back, and this kernel goes on from it.
        vm.run("echo test_resume > /sys/power/disk && "
               "cat /sys/class/block/vda/dev > /sys/power/resume")
        slept = vm.run("echo disk > /sys/power/state", guest.HUNG, check=False)
        assert (slept.rc == 0) == (kernel != "6.1"), slept
        guest.wait_said(vm, "back from hibernation")
        guest.wait_value(vm, "state", "running")
        vm.wait_until(lambda: is_told_again(vm, told),
                      "most of it to be told again", guest.SOON)
        if slept.rc == 0:
            vm.run("swapoff /dev/vda")
        guest.unload(vm)
