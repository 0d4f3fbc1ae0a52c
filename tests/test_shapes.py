# SPDX-License-Identifier: GPL-2.0
"""Guests of other shapes: a large one, and one that memory is plugged into."""

import re

import pytest

import guest
from lab.qemu import Vm

LARGE_MIB = 65536	# of which next to nothing is ever touched
TIMEOUT = 1800		# seconds

# Of a processor's time, what finding free memory may take while a program takes and
# frees some; the guest's seconds of that.
DUTY = 0.02
CALM = 120
SECONDS = 60	# and as long again in which a GiB is free each time for 6 s

CHURN = """
set -e
T=/sys/kernel/tracing
modprobe aeration_virtio
sleep {calm}
echo told $(cat {stats}/bytes)
echo 20000 >$T/buffer_size_kb
echo mono >$T/trace_clock
for event in workqueue/workqueue_execute_start workqueue/workqueue_execute_end \\
		aeration/aeration_batch_ack; do
	echo 1 >$T/events/$event/enable
done
echo >$T/trace
/opt/aeration/memclock churn 256 {seconds} 2500 >/dev/null
for _ in $(seq 10); do /opt/aeration/memwork burst 1024 >/dev/null; sleep 6; done
# What is being printed must not grow: the guest waits for it, and its time leaps.
echo 0 >$T/tracing_on
cat $T/trace
"""
START = re.compile(r" (\d+\.\d+): workqueue_execute_start: work struct (\S+): "
                   r"function (\w+)(?: \[(\w+)\])?$")
END = re.compile(r" (\d+\.\d+): workqueue_execute_end: work struct (\S+?):? ")
ACK = re.compile(r"aeration_batch_ack: .* ns=(\d+) ")


def runs(trace):
    """Return {function of ours or the mm's pass: [seconds of each run]}."""
    begun, found = {}, {}
    for line in trace.splitlines():
        start, end = START.search(line), END.search(line)
        if start and (start[4] == "aeration" or
                      start[3] == "page_reporting_process"):
            begun[start[2]] = start[3], float(start[1])
        elif end and end[2] in begun:
            name, at = begun.pop(end[2])
            found.setdefault(name, []).append(float(end[1]) - at)
    return found


def test_large(image, kernel):
    """In a guest of 64 GiB, too, little time is spent on finding what is free."""
    with guest.counting(
            kernel, "large", mem_mib=LARGE_MIB, fresh=True,
            extra=["-object", "memory-backend-ram,id=ram,reserve=off,"
                   f"size={LARGE_MIB}M", "-machine", "memory-backend=ram"]
    ) as vm:
        said = vm.run(CHURN.format(calm=CALM, seconds=SECONDS,
                                   stats=f"{guest.SYSFS}/stats"), TIMEOUT).out
        vm.run("rmmod aeration_virtio")
    told = int(re.search(r"^told (\d+)$", said, re.M)[1])
    found = runs(said)
    device = sum(map(int, ACK.findall(said))) / 1e9
    duty = (sum(map(sum, found.values())) - device) / SECONDS / 2
    print(f"{told >> 20} MiB told before; {duty:.2%} of the time:",
          {name: f"{len(times)} runs, {max(times) * 1e3:.2f} ms at most"
           for name, times in found.items()})
    assert told >= guest.SHARE * (LARGE_MIB - 2048) * guest.MIB
    assert duty <= DUTY


DIMM_MIB = 1024
BLOCKS = "/sys/devices/system/memory"


def memory_blocks(vm):
    """Return the names of what memory can be taken out by."""
    return set(re.findall(r"memory\d+", vm.run(f"ls {BLOCKS}").out))


def set_blocks(vm, names, state):
    """Take memory out or in; return how many blocks of it went there."""
    return sum(not vm.run(f"echo {state} > {BLOCKS}/{name}/state",
                          check=False).rc for name in sorted(names))


def held_mib(vm):
    """Return what is held, in MiB."""
    return int(guest.value(vm, "hold/held_bytes")) // guest.MIB


def test_memory_goes(image, kernel):
    """Memory that was plugged in is held after a window, and goes all the same."""
    with Vm(kernel, f"dimm-{kernel}", mem_mib=1024, balloon=False,
            extra=["-m", "1024M,slots=2,maxmem=4G"]) as vm:
        there = memory_blocks(vm)
        vm.run("modprobe aeration backend=loop window_ms=100 && "
               "modprobe aeration_loop durable=1 capacity=64")
        vm.wait_until(lambda: held_mib(vm) > 512, "memory to be held",
                      guest.SOON)
        before = held_mib(vm)
        vm.qmp("object-add", {"qom-type": "memory-backend-ram", "id": "more",
                              "size": DIMM_MIB << 20})
        vm.qmp("device_add", {"driver": "pc-dimm", "id": "dimm0",
                              "memdev": "more"})
        vm.wait_until(lambda: len(memory_blocks(vm) - there) * 128 == DIMM_MIB,
                      "the guest to find the memory", guest.SOON)
        new = memory_blocks(vm) - there
        # Kernels of Debian's since 6.12 have taken it in by themselves.
        set_blocks(vm, new, "online_kernel")
        vm.wait_until(lambda: held_mib(vm) - before > DIMM_MIB * 3 // 4,
                      "what was plugged in to be held", guest.SOON)
        # The kernel has some of it for its own use by then: without anything of ours
        # three of four blocks went.
        gone = set_blocks(vm, new, "offline")
        print(f"{gone} of {len(new)} blocks taken out")
        assert gone >= len(new) / 2
        vm.wait_until(lambda: held_mib(vm) > before - 128,
                      "the rest to be held again", guest.SOON)
        assert vm.run("cat /sys/kernel/debug/aeration_loop/touched"
                      ).out.strip() == "0"
        guest.unload(vm)


SMALL_MIB = (256, 512)	# the image does not unpack in less
KEPT = 0.25	# of what is free beyond the reserve


@pytest.mark.parametrize("mib", SMALL_MIB)
def test_small(image, kernel, mib):
    """A small guest gives back most of what is free, too."""
    with Vm(kernel, f"small-{mib}-{kernel}", mem_mib=mib, cpus=1) as vm:
        vm.run("modprobe aeration_virtio")
        reserve = int(guest.value(vm, "reserve_mb")) * guest.MIB
        free = guest.free_kib(vm) * 1024
        vm.run(f"echo 1 > {guest.SYSFS}/flush")
        went = guest.stat(vm, "bytes")
        print(f"order {guest.value(vm, 'order')}: {went / guest.MIB:.0f} of "
              f"{(free - reserve) / guest.MIB:.0f} MiB")
        assert went >= (1 - KEPT) * (free - reserve)
        guest.unload(vm)
