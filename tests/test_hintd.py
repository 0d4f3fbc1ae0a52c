# SPDX-License-Identifier: GPL-2.0
"""hintd as the balloon device of an unmodified QEMU: life, beside the matrix.

The judge is outside: blocks of the file that the guest's memory is, and what QEMU
has mapped of it.
"""

import pathlib
import tempfile
import time

import pytest

import guest
from guest import MIB, leaves
from lab import huge

HELD_MIB = 384
HOTPLUG_MIB = 512
DIMM_AT = 4 << 30	# above what a pc has below 4 GiB

# A guest in huge pages: they have to be in one piece each in this machine.
HUGE_MIB = 768
HUGE_HELD_MIB = 384


def running(vm):
    """Load the driver and wait until it runs."""
    vm.run("modprobe aeration_virtio")
    guest.wait_value(vm, "state", "running")


def gives_back(vm, hintd):
    """What a process frees leaves the host."""
    job = guest.hold(vm, HELD_MIB)
    backed, resident = hintd.guest_bytes(), vm.resident()
    assert backed > HELD_MIB * MIB
    start = hintd.snapshot()
    guest.free_held(vm, job)
    wanted = leaves(HELD_MIB) * MIB
    vm.wait_until(lambda: hintd.guest_bytes() <= backed - wanted and
                  vm.resident() <= resident - wanted,
                  f"{leaves(HELD_MIB)} of {HELD_MIB} MiB to leave the host",
                  guest.SOON)
    guest.end_held(vm, job)
    hintd.wait_for(
        lambda stats: stats.bytes_released >= start["bytes_released"] + wanted,
        guest.SOON, "the statistics to say so")


def clean(hintd):
    """Nothing was refused; return the statistics."""
    stats = hintd.snapshot()
    assert not stats["refused"] and not stats["violations"]
    assert not stats["ring_errors"] and not stats["messages_refused"]
    assert not stats["release_errors"] and not stats["bytes_partial"]
    return stats


def pauses(vm, hintd):
    """While the guest is paused the queues stand still, and so does memory."""
    load = vm.start("exec /opt/aeration/memwork churn 128 600")
    running_now = hintd.snapshot()
    hintd.wait_for(lambda stats: stats.buffers > running_now["buffers"],
                   guest.SOON, "reports before the pause")
    vm.qmp("stop")
    paused = hintd.wait_for(
        lambda stats: stats.stops == running_now["stops"] + 1, guest.SOON,
        "the queues to be stopped")
    backed = hintd.guest_bytes()
    # Ten times as long as its statistics lag behind.
    time.sleep(2)
    still = hintd.snapshot()
    for name in ("buffers", "bytes_told", "bytes_released", "starts", "stops"):
        assert still[name] == paused[name], name
    assert hintd.guest_bytes() == backed
    vm.qmp("cont")
    hintd.wait_for(lambda stats: stats.starts == paused["starts"] + 1 and
                   stats.buffers > paused["buffers"], guest.SOON,
                   "reports after the pause")
    load.kill()


def test_life(image):
    """The driver comes and goes, the guest is paused and reboots."""
    with guest.hintd_at("hints") as hintd, \
            guest.hintd_guest("6.12", "hintd-life", hintd) as vm:
        for _ in range(2):
            running(vm)
            gives_back(vm, hintd)
            guest.unload(vm)
        running(vm)
        pauses(vm, hintd)
        gives_back(vm, hintd)

        starts = hintd.snapshot()["starts"]
        vm.qmp("set-action", reboot="reset")
        vm.channel.socket.sendall(b"again reboot -f\n")
        vm.wait_ready()
        running(vm)
        gives_back(vm, hintd)
        assert clean(hintd)["starts"] > starts
        assert hintd.snapshot()["connections"] == 1
        guest.unload(vm)


def test_stock_driver(image):
    """The kernel's own driver: free page reporting, and inflating."""
    inflate_mib = 256
    with guest.hintd_at("sg", "--balloon", str(inflate_mib)) as hintd, \
            guest.hintd_guest("6.1", "hintd-stock", hintd) as vm:
        vm.run("modprobe virtio_balloon")
        hintd.wait_for(lambda stats: stats.buffers and stats.inflated ==
                       stats.actual == inflate_mib * 256, guest.SOON,
                       "reports, and the balloon to be full")
        backed = hintd.guest_bytes()
        vm.run("rmmod virtio_balloon")
        hintd.wait_for(lambda stats: stats.deflated >= inflate_mib * 256 and
                       not stats.actual, guest.SOON,
                       "the balloon to be empty")
        clean(hintd)
        assert backed < (vm.mem_mib - inflate_mib) * MIB


def test_one_after_the_other(image):
    """The daemon outlives a QEMU, and is the device of the next one."""
    with guest.hintd_at("hints") as hintd:
        for number in (1, 2):
            with guest.hintd_guest("6.1", f"hintd-qemu{number}", hintd) as vm:
                running(vm)
                gives_back(vm, hintd)
                assert clean(hintd)["connections"] == number
        hintd.wait_for(lambda stats: stats.stops == 2, guest.SOON,
                       "the second QEMU to be gone")
        assert not hintd.guest_bytes()


def test_memory_is_plugged(image):
    """A memory table that grows while batches fly."""
    with guest.hintd_at("hints") as hintd, guest.hintd_guest(
            "6.12", "hintd-plug", hintd, mem_mib=1024,
            extra=["-m", "1024M,slots=1,maxmem=4G"]) as vm:
        running(vm)
        load = vm.start("exec /opt/aeration/memwork churn 128 600")
        vm.qmp("object-add", {"qom-type": "memory-backend-memfd", "id": "more",
                              "size": HOTPLUG_MIB * MIB, "share": True})
        vm.qmp("device_add", {"driver": "pc-dimm", "memdev": "more",
                              "id": "dimm0"})
        vm.wait_until(lambda: int(vm.run(
            "for m in /sys/devices/system/memory/memory*/state; do "
            "grep -q offline $m && echo online_movable > $m; done; "
            "awk '/^MemTotal:/ { print $2 }' /proc/meminfo").out) >
                      vm.mem_mib * 1024, "the guest to use the new memory",
                      guest.SOON)
        load.kill()
        vm.plugged_memory(DIMM_AT, HOTPLUG_MIB * MIB)
        gives_back(vm, hintd)
        clean(hintd)
        guest.unload(vm)


def test_huge_pages(request, image):
    """A guest whose memory is of huge pages: they leave, and leave whole."""
    with huge.pages(HUGE_MIB * MIB // huge.PAGE_SIZE) as there:
        if not there:
            pytest.skip(f"this machine has no {HUGE_MIB} MiB of huge pages")
        with guest.hintd_at("hints", "--release-reserved") as hintd, \
                guest.hintd_guest(
                "6.12", "hintd-huge", hintd, mem_mib=HUGE_MIB,
                # No smaller ones, which a guest of this size has by itself.
                cmdline="aeration.order=9",
                share_memory="hugetlb=on,hugetlbsize=2M") as vm:
            running(vm)
            job = guest.hold(vm, HUGE_HELD_MIB)
            backed = hintd.guest_bytes()
            assert backed > HUGE_HELD_MIB * MIB
            guest.free_held(vm, job)
            hintd.wait_for(
                lambda stats: stats.backed <=
                backed - leaves(HUGE_HELD_MIB) * MIB, guest.SOON,
                f"{leaves(HUGE_HELD_MIB)} of {HUGE_HELD_MIB} MiB to leave the "
                "host")
            guest.end_held(vm, job)
            clean(hintd)
            out = vm.run("/opt/aeration/integrity 20 1500 256 2048 " +
                         guest.integrity_words(request.config),
                         timeout=guest.HUNG).out
            assert " 0 wrong" in out
            guest.unload(vm)


BACKED_MIB = 256	# what a program uses and frees there

# Limited: its place could be taken by others.
LIMITED = pathlib.Path("/dev/shm")


@pytest.mark.parametrize("asked", [False, True])
def test_memory_in_a_limited_file_system(image, asked):
    """It is kept, and the guest is well; or it leaves, for who asks for that."""
    with tempfile.TemporaryDirectory(dir=LIMITED) as folder, \
            guest.hintd_at("sg", *["--release-reserved"] * asked) as hintd, \
            guest.hintd_guest(
                "6.12", "hintd-limited", hintd, mem_mib=512,
                share_memory=f"memory-backend-file,mem-path={folder}/ram") as vm:
        file = pathlib.Path(folder, "ram")
        running(vm)
        job = guest.hold(vm, BACKED_MIB)
        backed = file.stat().st_blocks * 512
        assert backed > BACKED_MIB * MIB
        name = "bytes_released" if asked else "bytes_reserved"
        start = hintd.snapshot()[name]
        guest.free_held(vm, job)
        hintd.wait_for(lambda stats: getattr(stats, name) - start >=
                       leaves(BACKED_MIB) * MIB, guest.SOON,
                       f"{leaves(BACKED_MIB)} MiB of {name}")
        if asked:
            # The guest touches some more meanwhile, and lets go of it again.
            vm.wait_until(lambda: file.stat().st_blocks * 512 <=
                          backed - leaves(BACKED_MIB) * MIB,
                          "the file to have less", guest.SOON)
        else:
            assert file.stat().st_blocks * 512 >= backed
            assert hintd.said().count("--release-reserved releases it") == 1
        guest.end_held(vm, job)
        clean(hintd)
        guest.unload(vm)


def test_memory_in_advance(image):
    """What was allocated in advance is given back like any other."""
    with guest.hintd_at("sg") as hintd, guest.hintd_guest(
            "6.12", "hintd-prealloc", hintd, mem_mib=512,
            share_memory="prealloc=on") as vm:
        assert vm.resident() == 512 * MIB
        running(vm)
        vm.wait_until(lambda: vm.resident() < 300 * MIB,
                      "free memory to leave the host", guest.SOON)
        clean(hintd)
        guest.unload(vm)


# More than a memory table has room for; each is a region of its own.
DIMMS = 10
DIMM_MIB = 128


def test_more_regions_than_a_table_has(image):
    """Ten DIMMs, half of them plugged in while batches fly: all give back."""
    def dimm(number):
        return (f"memory-backend-memfd,id=more{number},size={DIMM_MIB}M,share=on",
                f"pc-dimm,id=dimm{number},memdev=more{number}")

    there = range(DIMMS // 2)
    extra = ["-m", f"1024M,slots={DIMMS},maxmem=8G"]
    for number in there:
        memory, device = dimm(number)
        extra += ["-object", memory, "-device", device]
    with guest.hintd_at("sg") as hintd, guest.hintd_guest(
            "6.12", "hintd-dimms", hintd, mem_mib=1024, extra=extra) as vm:
        running(vm)
        load = vm.start("exec /opt/aeration/memwork churn 128 600")
        for number in range(DIMMS // 2, DIMMS):
            vm.qmp("object-add", {
                "qom-type": "memory-backend-memfd", "id": f"more{number}",
                "size": DIMM_MIB * MIB, "share": True})
            vm.qmp("device_add", {"driver": "pc-dimm", "id": f"dimm{number}",
                                  "memdev": f"more{number}"})
        wanted = (1024 + DIMMS * DIMM_MIB) * 1024
        vm.wait_until(lambda: int(vm.run(
            "for m in /sys/devices/system/memory/memory*/state; do "
            "grep -q offline $m && echo online_movable > $m; done; "
            "awk '/^MemTotal:/ { print $2 }' /proc/meminfo").out) >
                      wanted * 0.9, "the guest to use all of its memory",
                      guest.SOON)
        load.kill()
        job = guest.hold(vm, DIMMS * DIMM_MIB)
        backed = hintd.guest_bytes()
        assert backed > DIMMS * DIMM_MIB * MIB
        guest.free_held(vm, job)
        vm.wait_until(lambda: hintd.guest_bytes() <=
                      backed - leaves(DIMMS * DIMM_MIB) * MIB,
                      "memory of all DIMMs to leave the host", guest.SOON)
        guest.end_held(vm, job)
        assert clean(hintd)["connections"] == 1
        guest.unload(vm)


def test_locked_memory(image):
    """A QEMU whose memory is locked: reports are answered, nothing is taken."""
    with guest.hintd_at("sg") as hintd, guest.hintd_guest(
            "6.12", "hintd-locked", hintd, mem_mib=512,
            extra=["-overcommit", "mem-lock=on"]) as vm:
        vm.run("modprobe aeration_virtio")
        guest.wait_value(vm, "state", "running")
        hintd.wait_for(lambda stats: stats.buffers and stats.pinned, guest.SOON,
                       "reports that are kept")
        stats = clean(hintd)
        assert not stats["bytes_released"] and stats["blocks"]
        assert hintd.guest_bytes() == 512 * MIB
        assert hintd.said().count("has pinned or locked memory") == 1
        guest.unload(vm)
