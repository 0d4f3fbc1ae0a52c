# SPDX-License-Identifier: GPL-2.0
"""The hold source in a guest with several zones, over the test device.

A large guest has more memory that a zone keeps back from others (lowmem_reserve)
than it has watermarks. Here a guest of 5 GiB is told to keep as much.
"""

import re

import guest
from lab.qemu import Vm

MEM_MIB = 5120
RATIO = "2 2 2 2 2"	# DMA32 keeps back half as many pages as Normal has

HELD = f"{guest.SYSFS}/hold/held_bytes"
LONG = 180	# seconds for gigabytes to go or come


def zones(vm):
    """Return {name: (free, high, kept back)} of the zones, in pages."""
    found = {}
    for text in re.split(r"^Node \d+, zone +", vm.run(
            "cat /proc/zoneinfo").out, flags=re.M)[1:]:
        pages = dict(re.findall(r"^ +(?:pages )?(free|high|managed) +(\d+)$",
                                text, re.M))
        kept = re.search(r"protection: \((.*)\)", text)
        if int(pages.get("managed", 0)):
            found[text.split()[0]] = (
                int(pages["free"]), int(pages["high"]),
                max(map(int, kept[1].split(","))))
    return found


def held_mib(vm):
    """Return what is held, in MiB."""
    return int(vm.run(f"cat {HELD}").out) // guest.MIB


def rests(vm):
    """Wait until most is held and no more moves; return how much, in MiB."""
    seen = []

    def still():
        seen.append(held_mib(vm))
        return seen[-1] > MEM_MIB // 2 and seen[-8:] == seen[-1:] * 8

    vm.wait_until(still, "the surplus to be held and to rest", LONG, poll=0.25)
    return seen[-1]


def test_zones_keep_what_is_theirs(image, kernel):
    """The guest rests above its watermarks, and reclaim takes what it needs."""
    with Vm(kernel, f"zones-{kernel}", mem_mib=MEM_MIB) as vm:
        vm.run(f"echo {RATIO} > /proc/sys/vm/lowmem_reserve_ratio")
        vm.run("modprobe aeration backend=loop && "
               "modprobe aeration_loop durable=1 capacity=512")
        held = rests(vm)
        at_rest = zones(vm)
        assert max(kept for _, _, kept in at_rest.values()) > 100000
        assert any(free - kept >= high
                   for free, high, kept in at_rest.values()), at_rest
        # The kernel's own reclaim finds nothing amiss.
        vm.run("echo 2 > /proc/sys/vm/drop_caches")
        assert held_mib(vm) > held - 256
        vm.run("echo 1 > /proc/sys/vm/compact_memory")
        vm.run("/opt/aeration/memwork verify 3400", timeout=LONG)
        assert vm.run("awk '$1 == \"oom_kill\" { print $2 }' "
                      "/proc/vmstat").out.strip() == "0"
        assert vm.run("cat /sys/kernel/debug/aeration_loop/touched"
                      ).out.strip() == "0"
        guest.unload(vm)
