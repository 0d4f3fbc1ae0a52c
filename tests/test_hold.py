# SPDX-License-Identifier: GPL-2.0
"""The hold source in guests with several zones and nodes, over the test device.

A large guest has more memory that a zone keeps back from others (lowmem_reserve)
than it has watermarks. Here a guest of 5 GiB is told to keep as much.
"""

import collections
import re

import guest
from lab.qemu import Vm

MEM_MIB = 5120
RATIO = "2 2 2 2 2"	# DMA32 keeps back half as many pages as Normal has

HELD = f"{guest.SYSFS}/hold/held_bytes"
LONG = 600	# seconds for gigabytes to go or come


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


def rests(vm, at_least=MEM_MIB // 2):
    """Wait until so much is held, in MiB, and no more moves; return how much."""
    seen = []

    def still():
        seen.append(held_mib(vm))
        if guest.value(vm, "hold/in_flight") != "0":
            seen.append(None)
        return seen[-8:] == seen[-1:] * 8 and seen[-1] and \
            seen[-1] > at_least

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


NODES = 2
NODE_MIB = 1024


def two_nodes():
    """Return Vm's arguments for a guest of two nodes with a processor each."""
    memory = []
    for node in range(NODES):
        memory += ["-object", f"memory-backend-ram,id=node{node},"
                   f"size={NODE_MIB}M", "-numa",
                   f"node,nodeid={node},cpus={node},memdev=node{node}"]
    return {"mem_mib": NODES * NODE_MIB, "cpus": f"{NODES},sockets={NODES}",
            "extra": memory}


def node_free_mib(vm, node):
    """Return what is free on a node, in MiB."""
    return int(vm.run("awk '/MemFree/ { print $4 }' /sys/devices/system/node/"
                      f"node{node}/meminfo").out) // 1024


def kept(vm):
    """Return the blocks that were ever taken."""
    return int(guest.value(vm, "hold/states").split()[0])


def taken_in_a_while(vm):
    """Return how many blocks are taken in some seconds."""
    taken = kept(vm)
    vm.run("sleep 3")
    return kept(vm) - taken


def test_nodes(image, kernel):
    """Each node gives what it can spare, and gets back what was its own."""
    with Vm(kernel, f"nodes-{kernel}", **two_nodes()) as vm:
        vm.run("modprobe aeration backend=loop window_ms=100 && "
               "modprobe aeration_loop durable=1 capacity=64")
        vm.wait_until(lambda: held_mib(vm) > 1.5 * NODE_MIB,
                      "most of both nodes to be held", LONG)
        at_rest = [node_free_mib(vm, node) for node in range(NODES)]
        print(f"free on the nodes: {at_rest} MiB")
        assert min(at_rest) > 8

        # A program of node 0 that would fill it: what it needs comes from there
        # first, and the other node has no reason to get anything back.
        job = vm.start("exec taskset 1 /opt/aeration/memwork hold "
                       f"{NODE_MIB - 300}")
        vm.wait_until(lambda: job.says("touched"),
                      "a node to be nearly full", LONG)
        # Some blocks to and fro would be a surplus that changes; a pool that
        # goes round and round takes hundreds, without end.
        vm.wait_until(lambda: taken_in_a_while(vm) < 32,
                      "what is held to rest", LONG)
        assert held_mib(vm) > NODE_MIB / 2
        guest.free_held(vm, job)
        guest.end_held(vm, job)
        vm.run(f"/opt/aeration/memwork verify {NODES * NODE_MIB * 3 // 4}",
               timeout=LONG)
        assert vm.run("awk '$1 == \"oom_kill\" { print $2 }' "
                      "/proc/vmstat").out.strip() == "0"
        assert vm.run("cat /sys/kernel/debug/aeration_loop/touched"
                      ).out.strip() == "0"
        guest.unload(vm)


def node_marks(vm, node):
    """Return (free, high) of a node's zones together, in pages."""
    text = vm.run("cat /proc/zoneinfo").out
    free = high = 0
    for zone in re.split(r"^(?=Node )", text, flags=re.M)[1:]:
        pages = dict(re.findall(r"^ +(?:pages )?(free|high|managed) +(\d+)$",
                                zone, re.M))
        if zone.startswith(f"Node {node},") and int(pages.get("managed", 0)):
            free += int(pages["free"])
            high += int(pages["high"])
    return free, high


def test_a_node_in_pieces(image, kernel):
    """What one node has in small pieces is not taken from the other one instead."""
    with Vm(kernel, f"pieces-{kernel}", **two_nodes()) as vm:
        job = vm.start("exec taskset 1 /opt/aeration/memwork fragment 700")
        vm.wait_until(lambda: job.says("touched"), "memory to be in pieces",
                      LONG)
        vm.run("modprobe aeration backend=loop window_ms=100 && "
               "modprobe aeration_loop durable=1 capacity=64")
        vm.wait_until(lambda: held_mib(vm) > NODE_MIB * 3 // 4,
                      "most of a node to be held", LONG)
        vm.wait_until(lambda: taken_in_a_while(vm) == 0,
                      "what is held to rest", LONG)
        free, high = node_marks(vm, 1)
        print(f"node 1: {free} pages free, high mark {high}")
        assert free >= high
        guest.free_held(vm, job)
        guest.end_held(vm, job)
        guest.unload(vm)


KILLED = ["memwork invoked oom-killer", r"Out of memory: Killed process \d+ "
          r"\(memwork\)", "Call Trace:"]

BOUND = """
mkdir -p /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
echo +cpuset >/sys/fs/cgroup/cgroup.subtree_control
mkdir /sys/fs/cgroup/bound
echo 1 >/sys/fs/cgroup/bound/cpuset.mems
echo $$ >/sys/fs/cgroup/bound/cgroup.procs
exec /opt/aeration/memwork burst {mib}
"""


TRACING = "/sys/kernel/tracing"
OOM_MIB = 128	# what who is out of memory gets at a time


def test_bound_to_a_node(image, kernel):
    """Who is bound to a node that is full is killed, and has not got all of the other one."""
    with Vm(kernel, f"bound-{kernel}", allow=KILLED, **two_nodes()) as vm:
        vm.run("modprobe aeration backend=loop window_ms=100 && "
               "modprobe aeration_loop durable=1 capacity=64")
        vm.wait_until(lambda: held_mib(vm) > 1.5 * NODE_MIB,
                      "most of both nodes to be held", LONG)
        vm.run(f"echo 1 > {TRACING}/events/aeration/aeration_restore_ack/enable")
        job = vm.start(BOUND.format(mib=NODE_MIB + 200))
        vm.wait_until(lambda: vm.run(
            "awk '$1 == \"oom_kill\" { print $2 }' /proc/vmstat"
        ).out.strip() == "1", "the program to be killed", LONG)
        job.wait(check=False)
        # What comes back ahead of need knows of no bounds, and goes again.
        back = collections.Counter()
        for comm, size in re.findall(
                r"^ *(\S+?)-\d+ .*aeration_restore_ack: .* bytes=(\d+)",
                vm.run(f"cat {TRACING}/trace").out, re.M):
            back[comm] += int(size) >> 20
        print("came back before it was killed, by who asked, MiB:", dict(back))
        assert back["memwork"] <= 2 * OOM_MIB
        guest.unload(vm)


def test_movable_memory(image, kernel):
    """What has to stay movable is not held, and that is said."""
    with Vm(kernel, f"movable-{kernel}", mem_mib=1024,
            cmdline="movablecore=512M") as vm:
        vm.run("modprobe aeration backend=loop window_ms=100 && "
               "modprobe aeration_loop durable=1 capacity=64")
        held = rests(vm, 100)
        beyond = int(guest.value(vm, "hold/out_of_reach_bytes")) / guest.MIB
        print(f"{held} MiB held, {beyond:.0f} MiB out of reach")
        assert beyond > 400
        assert held < 512
        vm.run("/opt/aeration/memwork verify 700", timeout=LONG)
        assert int(guest.value(vm, "hold/out_of_reach_bytes")) / guest.MIB > 400
        guest.unload(vm)
