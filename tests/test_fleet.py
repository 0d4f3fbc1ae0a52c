# SPDX-License-Identifier: GPL-2.0
"""Hundreds of guests that hear of something at one moment do not all act at one moment.

Six guests of one state, each with a generation ID of its own, as a host makes them of a
snapshot; and a model of hundreds, see fleet_model.py.
"""

import contextlib
import pathlib
import re
import tempfile

import pytest

import fleet_model
import guest
from fleet_model import GIB, Fleet
from lab import saved
from lab.qemu import Vm
from test_again import VMGENID, Copy

GUESTS = 6
MEM_MIB = 256
SPREAD_S = 30

# That six of them begin within less than this is a matter of 1 in 1500; s.
APART_S = SPREAD_S / 6

# What a guest needs to notice, of its own time; s.
NOTICED_S = 10

SAID = re.compile(r"^\[ *(\d+\.\d+)\] aeration: a copy of a virtual machine: what was "
                  r"reported", re.M)


def begun(vm, told):
    """Wait until a copy tells all again; return when it began, s of its own time."""
    vm.wait_until(lambda: SAID.search(vm.kernel_log()), "the copy to begin",
                  guest.SOON)
    vm.wait_until(lambda: guest.stat(vm, "bytes") - told > MEM_MIB // 4 * guest.MIB,
                  "the copy to tell all it has", guest.SOON)
    return float(SAID.search(vm.kernel_log())[1])


@pytest.mark.in_turn("the model has both")
@pytest.mark.parametrize("spread", [SPREAD_S, 0])
def test_six_copies(image, kernel, spread):
    """Each begins at a time of its own; or at once, where that is asked for."""
    with tempfile.TemporaryDirectory(dir=saved.place(image)) as folder, \
            contextlib.ExitStack() as stack:
        folder = pathlib.Path(folder)
        with Vm(kernel, f"fleet-{kernel}", mem_mib=MEM_MIB, cpus=1, share_memory=True,
                extra=(VMGENID[0], VMGENID[1] + "80")) as vm:
            vm.run(f"modprobe aeration spread_ms={spread * 1000} && "
                   "modprobe aeration_virtio")
            guest.touch_and_free(vm, MEM_MIB // 4)
            vm.run(f"echo 1 > {guest.SYSFS}/flush")
            told = guest.stat(vm, "bytes")
            slept = float(vm.text("/proc/uptime").split()[0])
            saved.save(vm, folder)
            vm.kill()
        copies = [stack.enter_context(Copy(
            kernel, f"fleet-{number}-{kernel}", folder, mem_mib=MEM_MIB, cpus=1,
            share_memory=True, extra=(VMGENID[0], f"{VMGENID[1]}{0x90 + number:x}")))
            for number in range(GUESTS)]
        times = [begun(vm, told) - slept for vm in copies]
        print("seconds after they were made:", [round(one, 1) for one in times])
        if spread:
            assert max(times) - min(times) > APART_S
            assert max(times) < SPREAD_S + NOTICED_S
        else:
            assert max(times) < NOTICED_S
        for vm in copies:
            guest.unload(vm)


CAP_MIB = 128

# A pass takes as much as is to go in a second, and the mm's batches are whole: the last
# one, and a second's worth, are not waited for. s.
FREE_S = 3
MORE_S = 5

# One command: between two, hours go by in this guest.
CAP = f"""
modprobe aeration cap_mb={CAP_MIB} window_ms=60000 && modprobe aeration_virtio || exit
read -r a _ </proc/uptime
echo 1 >{guest.SYSFS}/flush
read -r b _ </proc/uptime
cat {guest.SYSFS}/stats/bytes
echo $a $b
"""


def test_cap(image, kernel):
    """No more goes in a second than may, by the guest's own clock; and all goes."""
    with guest.counting(kernel, "cap") as vm:
        told, start, end = map(float, vm.run(CAP, guest.HUNG).out.split())
        mib, seconds = told / guest.MIB, end - start
        print(f"{mib:.0f} MiB in {seconds:.1f} s")
        assert mib > 1024
        assert mib / CAP_MIB - FREE_S <= seconds <= mib / CAP_MIB + MORE_S
        guest.unload(vm)


CAP_FILE = "/sys/module/aeration/parameters/cap_mb"
ENDS = {
    "lifted": f"echo 0 >{CAP_FILE}",
    "cancelled": f"echo 1 >{guest.SYSFS}/request/cancel",
    "unloaded": "rmmod aeration_virtio",
}

# At 1 MiB a second a batch is good for two minutes of rest.
RESTS = """
(echo again >{sysfs}/flush) 2>/dev/null &
sleep 2
[ -d /proc/$! ] || echo it does not rest
read -r a _ </proc/uptime
{end}
wait
read -r b _ </proc/uptime
echo $a $b
"""


@pytest.mark.parametrize("how", ENDS)
def test_rest_ends(image, kernel, how):
    """Nobody waits for a flush that rests: not a new cap, nor who wants it off."""
    with guest.counting(kernel, f"rests-{how}") as vm:
        start, end = map(float, vm.run(
            "modprobe aeration cap_mb=1 window_ms=60000 && modprobe aeration_virtio "
            "|| exit\n" + RESTS.format(sysfs=guest.SYSFS, end=ENDS[how])).out.split())
        print(f"{how} after {end - start:.1f} s")
        assert end - start < MORE_S
        guest.unload(vm)


def test_model():
    """What a spread is good for, and what it is not: by the model."""
    wave = Fleet(guests=100, host=64 * GIB, free=(2 * GIB, 8 * GIB))
    at_once, apart = (fleet_model.run(wave if not spread else
                                      Fleet(**{**vars(wave), "spread": spread}))
                      for spread in (0, 60))
    # Of a hundred that begin together all have a batch with the host; spread, few.
    assert at_once["at a time"] == 100
    assert apart["at a time"] < 30
    assert apart["mean s"] < at_once["mean s"]
    # All is told all the same.
    assert apart["GiB"] == pytest.approx(at_once["GiB"])
    # A generous cap is no brake for a wave; a small one is.
    assert fleet_model.run(Fleet(**{**vars(wave), "cap": 4 * GIB})) == at_once
    capped = fleet_model.run(Fleet(**{**vars(wave), "cap": GIB / 4}))
    assert capped["peak GiB/s"] < 0.7 * at_once["peak GiB/s"]
    assert capped["GiB"] == pytest.approx(at_once["GiB"])
    # A wave that takes longer than the spread is as it was: one batch each bounds it.
    slow = Fleet(**{**vars(wave), "host": 2 * GIB, "spread": 30})
    found = fleet_model.run(slow)
    assert found["worst ack s"] <= 1.1 * slow.guests * slow.batch / slow.host
