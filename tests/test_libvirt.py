# SPDX-License-Identifier: GPL-2.0
"""A guest that libvirt runs, and a person who uses virsh: as with the stock driver.

Size, statistics, save, restore, managedsave, dump, suspend, reset and migration, with a
program in the guest that checks its memory all the time.
"""

import contextlib
import os

import pytest

import guest
from guest import MIB
from libvirt_host import Guest, Libvirt

MEM_MIB = 1024
CURRENT_MIB = 768
SMALL_MIB = 512
CHECKED_MIB = 64	# what a program fills, and checks, over and over
USED_MIB = 256

# Of a guest's size, KiB, as a person asks for it.
KIB = 1024

DRIVERS = {"stock": "virtio_balloon", "ours": "aeration_virtio"}

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="a tree with a libvirt of its own wants root")


@contextlib.contextmanager
def checked(vm):
    """Have a program fill and check memory all the time; nothing may be wrong.

    It has a name of its own: others are told by theirs to free their memory.
    """
    vm.run("rm -f /tmp/enough /tmp/wrong; cp /opt/aeration/memwork /tmp/checker; (while [ ! -e /tmp/enough ]; do "
           f"/tmp/checker verify {CHECKED_MIB} >/tmp/said || "
           "cp /tmp/said /tmp/wrong; echo >>/tmp/turns; done) "
           "</dev/null >/dev/null 2>&1 &")
    yield
    turns = int(vm.run("wc -l < /tmp/turns").out)
    vm.wait_until(lambda: int(vm.run("wc -l < /tmp/turns").out) > turns,
                  "the program to go on", guest.SOON)
    vm.run("touch /tmp/enough")
    assert vm.run("cat /tmp/wrong 2>/dev/null", check=False).out == ""


def size_is(vm, mib):
    """Wait until libvirt says that the guest is of so many MiB."""
    vm.wait_until(lambda: vm.used_mib() == mib, f"the guest to be of {mib} MiB",
                  guest.SOON)


def resize(vm, mib):
    """What a person does."""
    vm.virsh("setmem", str(mib * KIB), "--live")
    size_is(vm, mib)


def load(vm, module):
    """Load a driver; ours has to run."""
    vm.run(f"modprobe {module}")
    if module == DRIVERS["ours"]:
        guest.wait_value(vm, "state", "running")


def gives_back(vm):
    """What a program uses and frees leaves the host."""
    job = guest.hold(vm, USED_MIB)
    before = vm.resident()
    guest.free_held(vm, job)
    vm.wait_until(lambda: before - vm.resident() >= guest.leaves(USED_MIB) * MIB,
                  f"{USED_MIB} MiB to be back", guest.SOON)
    guest.end_held(vm, job)


@pytest.mark.one_kernel("libvirt tells the device, whose driver test_balloon has on each")
def test_size_and_statistics(image, kernel):
    """currentMemory, setmem under load and dommemstat, as with the stock driver."""
    seen = {}
    with Libvirt("sizes", kernel) as host, \
            Guest(host, "sizes", MEM_MIB, CURRENT_MIB) as vm:
        for name, module in DRIVERS.items():
            load(vm, module)
            size_is(vm, CURRENT_MIB)
            with checked(vm):
                for mib in (SMALL_MIB, MEM_MIB, CURRENT_MIB):
                    resize(vm, mib)
            updated = vm.statistics()["last_update"]
            vm.wait_until(lambda: vm.statistics()["last_update"] > updated + 1,
                          "statistics of the guest", guest.SOON)
            seen[name] = vm.statistics()
            print(name, seen[name])
            vm.run(f"rmmod {module}")
        stock, ours = seen["stock"], seen["ours"]
        assert ours.keys() == stock.keys()
        for name in ("actual", "available"):
            assert ours[name] == stock[name], name
        for name in ("unused", "usable", "disk_caches"):
            assert abs(ours[name] - stock[name]) < 64 * KIB, name


@pytest.mark.one_kernel("what a device goes through test_again and test_migration have on "
                        "each")
@pytest.mark.all_only("what libvirt has QEMU do other tests do, and size, statistics and a "
                      "migration under it are in others here")
def test_life(image, kernel):
    """Suspended, saved, restored, dumped, reset: it goes on giving back, no word is wrong."""
    with Libvirt("life", kernel) as host, Guest(host, "life", MEM_MIB) as vm:
        load(vm, DRIVERS["ours"])
        with checked(vm):
            gives_back(vm)
            vm.virsh("suspend")
            vm.virsh("resume")
            gives_back(vm)
            resize(vm, CURRENT_MIB)
            vm.virsh("save", "/lab/saved")
            host.virsh("restore", "/lab/saved")
            vm.connect()
            size_is(vm, CURRENT_MIB)
            gives_back(vm)
            vm.virsh("managedsave")
            vm.virsh("start")
            vm.connect()
            size_is(vm, CURRENT_MIB)
            gives_back(vm)
            vm.virsh("dump", "/lab/core", "--memory-only", "--live")
            print(f"core of {(host.lab / 'core').stat().st_size / MIB:.0f} MiB")
            gives_back(vm)
        vm.check_console()
        vm.virsh("reset")
        vm.wait_ready()
        load(vm, DRIVERS["ours"])
        size_is(vm, CURRENT_MIB)
        gives_back(vm)


@pytest.mark.one_kernel("libvirt tells QEMU, between two of which test_migration goes on "
                        "each")
def test_migration(image, kernel):
    """To a second daemon, which takes itself for another host."""
    with Libvirt("from", kernel) as here, Libvirt("to", kernel) as there, \
            Guest(here, "travels", MEM_MIB, CURRENT_MIB) as vm:
        load(vm, DRIVERS["ours"])
        size_is(vm, CURRENT_MIB)
        with checked(vm):
            print(here.virsh(
                "migrate", "travels", "--live", "--persistent", "--undefinesource",
                "--migrateuri", "tcp://127.0.0.1", "--desturi",
                f"qemu+unix:///system?socket={there.lab}/libvirt-sock"))
            vm.moved(there)
            size_is(vm, CURRENT_MIB)
            gives_back(vm)
        resize(vm, MEM_MIB)
