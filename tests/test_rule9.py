# SPDX-License-Identifier: GPL-2.0
"""A guest that aerates is no worse off than the same guest that does not.

In one guest, by counts of /proc/vmstat: with all that is surplus held, and with
nothing held. The test device's restores take as long as Xen's do (15 ms for 128 MiB);
what it checks of the pages it took is left out here, because that costs more than a
hypercall does.
"""

import contextlib
import re
import subprocess

import pytest

import domu
import guest
import neighbours
from lab.qemu import Vm

DISK_MIB = 600
MEM_MIB = 2048
RESTORE_US = 234	# a block of 2 MiB
LOOP = "/sys/kernel/debug/aeration_loop"
KHUGEPAGED = "/sys/kernel/mm/transparent_hugepage/khugepaged"
LRU_GEN = "/sys/kernel/mm/lru_gen/enabled"

TIMEOUT = 300	# seconds for one burst, however busy the host is


@contextlib.contextmanager
def disk(more=""):
    """An empty disk with a file system; yields what QEMU has to be told.

    It has no journal: who writes would wait for that on a slow disk.
    """
    with guest.disk(DISK_MIB, more) as (path, arguments):
        subprocess.run(["/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-O",
                        "^has_journal", path], check=True, timeout=TIMEOUT)
        yield arguments


def mount_disk(vm):
    """Have it in the guest as /tmp/disk."""
    vm.run("modprobe -a virtio_pci virtio_blk ext4")
    vm.wait_until(lambda: not vm.run("test -b /dev/vda", check=False).rc,
                  "the disk", guest.SOON)
    vm.run("mkdir -p /tmp/disk && mount /dev/vda /tmp/disk")


def rests(vm):
    """Wait until nothing goes or comes any more; return what is held, MiB."""
    seen = []

    def still():
        seen.append(guest.value(vm, "hold/states"))
        return seen[-4:] == seen[-1:] * 4

    vm.wait_until(still, "what is held to rest", guest.SOON, poll=0.5)
    return int(guest.value(vm, "hold/held_bytes")) // guest.MIB


def loop_like_xen(vm):
    """Have the test device take part, with nothing held yet."""
    vm.run("modprobe aeration backend=loop max_held=0 && "
           "modprobe aeration_loop durable=1 capacity=512")
    vm.run(f"echo N > {LOOP}/pattern; "
           f"echo {RESTORE_US} > {LOOP}/restore_us")


@contextlib.contextmanager
def in_pieces(vm, words):
    """Have a program keep memory of which every second page is free.

    The kernel would fill it up again in the hours that a test takes.
    """
    vm.run(f"echo 0 > {KHUGEPAGED}/max_ptes_none")
    job = vm.start(f"exec /opt/aeration/memwork {words}")
    vm.wait_until(lambda: job.says("touched"), "memory to be in pieces",
                  TIMEOUT)
    yield
    guest.free_held(vm, job)
    guest.end_held(vm, job)


def without_and_with(vm, what, measure, pieces=None):
    """Return what is measured with nothing held, and with all that is surplus.

    With memory in pieces, made anew for each, if it is said how.
    """
    found = []
    for most in ("0", "100%"):
        vm.run(f"echo {most} > {guest.SYSFS}/max_held")
        with in_pieces(vm, pieces) if pieces else contextlib.nullcontext():
            held = rests(vm)
            assert held == 0 if most == "0" else held > MEM_MIB // 10, held
            found.append(measure(vm))
        print(f"{what}, {held} MiB held:", found[-1])
    return found


def lru_choices(vm):
    """Return the values of lru_gen/enabled to go through: this kernel's own first."""
    now = vm.run(f"cat {LRU_GEN} 2>/dev/null || true").out.strip()
    if not now:
        return [None]
    return ["n", "y"] if int(now, 16) == 0 else ["y", "n"]


def test_neighbours(image, kernel):
    """Programs in cgroups keep their files and pages while another takes memory."""
    with disk() as extra, \
            guest.counting(kernel, "rule9", cpus=2, mem_mib=neighbours.MEM_MIB, fresh=True,
                           extra=extra, balloon=False) as vm:
        vm.run("/opt/aeration/neighbours.sh start /dev/vda", timeout=TIMEOUT)
        loop_like_xen(vm)
        neighbours.burst(vm, 60)	# the host, too, has to find memory once
        for choice in lru_choices(vm):
            if choice:
                vm.run(f"echo {choice} > {LRU_GEN}")
            for percent in (60, 90):
                neighbours.check_costs(*without_and_with(
                    vm, f"{percent} %", lambda vm: neighbours.burst(vm, percent)))
        guest.unload(vm)


CHURN_MIB = 128		# an eighth of that guest


@pytest.mark.all_only("what comes before the burst makes it no worse than one from rest")
def test_neighbours_after_a_churn(image, kernel):
    """A burst right after a program took and freed the same over and over."""
    with disk() as extra, \
            guest.counting(kernel, "churned", cpus=2, mem_mib=neighbours.MEM_MIB,
                           fresh=True, extra=extra, balloon=False) as vm:
        vm.run("/opt/aeration/neighbours.sh start /dev/vda", timeout=TIMEOUT)
        loop_like_xen(vm)
        neighbours.burst(vm, 60)	# the host, too, has to find memory once
        for percent in (60, 90):
            neighbours.check_costs(*without_and_with(
                vm, f"{percent} % after a churn",
                lambda vm: neighbours.burst(vm, percent, CHURN_MIB)))
        guest.unload(vm)


@pytest.mark.all_only("what is held is found in time, or is not, on every hypervisor; "
                      "here it takes as long as it does with a real one")
def test_neighbours_on_xen(image, xen_version):
    """The same in a domain, to which Xen has to give the memory back."""
    with domu.machine(xen_version, "rule9") as xen:
        domain = xen.domain(xen.kernel, "pvh", mem_mib=neighbours.MEM_MIB, vcpus=2)
        domu.load(domain, window_ms=100)
        neighbours.on_xen(domain)
        assert domu.states(domain)["quarantined"] == 0


def huge_pages(vm, wanted):
    """Ask for so many huge pages; return how many there are, and let them go."""
    got = int(vm.run(f"echo {wanted} > /proc/sys/vm/nr_hugepages; "
                     "cat /proc/sys/vm/nr_hugepages", timeout=TIMEOUT).out)
    vm.run("echo 0 > /proc/sys/vm/nr_hugepages")
    return got


def test_huge_pages(image, kernel):
    """Who wants huge pages gets them, with what is free in pieces.

    Half of the memory is asked for, after every second page of 700 MiB was freed,
    of which some can be moved and some cannot.
    """
    with guest.counting(kernel, "huge", cpus=2, mem_mib=MEM_MIB,
                        balloon=False) as vm:
        loop_like_xen(vm)
        vm.run("echo 0 > /proc/sys/vm/compact_unevictable_allowed")
        for words in ("fragment 700", "pinned 400"):
            without, with_us = without_and_with(
                vm, words, lambda vm: huge_pages(vm, MEM_MIB // 4), words)
            assert with_us >= without * 0.99
        guest.unload(vm)


HUGE_MIB = 1250
HUGE_LOST = 0.01	# of them
MOST_LOST = 0.08	# missed at times, see holding.md: up to 73 of 1875 were small
ROUNDS = 3	# what is moved in time is chance, without us too


def counts(vm, command, names):
    """Return {name of /proc/vmstat: by how much a command has moved it}."""
    out = vm.run(f"cat /proc/vmstat; {command} >/dev/null; cat /proc/vmstat",
                 timeout=TIMEOUT).out
    lines = [line.split() for line in out.splitlines()]
    before = {name: int(value) for name, value in reversed(lines)}
    after = {name: int(value) for name, value in lines}
    return {name: after[name] - before[name] for name in names}


@pytest.mark.all_only("free memory in pieces, and who wants it whole, is in test_huge_pages")
def test_transparent_huge_pages(image, kernel):
    """A program that asks for huge pages gets as many as without us."""
    def program(vm):
        return counts(vm, f"/opt/aeration/memwork huge {HUGE_MIB}",
                      ("thp_fault_alloc", "thp_fault_fallback",
                       "compact_migrate_scanned"))

    with guest.counting(kernel, "thp", cpus=2, mem_mib=MEM_MIB,
                        balloon=False) as vm:
        loop_like_xen(vm)
        rounds = [without_and_with(vm, "huge", program, "fragment 700")
                  for _ in range(ROUNDS)]
        without, with_us = (
            {name: sum(found[name] for found in each) for name in each[0]}
            for each in zip(*rounds))
        assert without["thp_fault_alloc"] > ROUNDS * HUGE_MIB // 4
        guest.unload(vm)
    lost = 1 - with_us["thp_fault_alloc"] / without["thp_fault_alloc"]
    if HUGE_LOST < lost <= MOST_LOST:
        pytest.xfail(f"{lost:.1%} of the huge pages missing, {HUGE_LOST:.0%} is wanted")
    assert lost <= HUGE_LOST


AT_REST = 120	# of the guest's seconds
SCANNED = ("compact_daemon_migrate_scanned", "compact_daemon_free_scanned")


def test_compaction_at_rest(image, kernel):
    """A guest at rest does not compact because its large blocks are elsewhere."""
    with guest.counting(kernel, "rest", cpus=2, mem_mib=MEM_MIB,
                        balloon=False) as vm:
        loop_like_xen(vm)
        without, with_us = without_and_with(
            vm, f"{AT_REST} s", lambda vm: counts(
                vm, f"sleep {AT_REST}", SCANNED), "fragment 1500")
        assert sum(with_us.values()) <= max(sum(without.values()) * 1.1,
                                            sum(without.values()) + 1000)
        guest.unload(vm)


WRITE_MIB = 150		# less than without us has to wait for the disk
MUCH_MIB = 450		# more than that
SLOW = 40 << 20		# bytes a second
NEXT_TO_NOTHING = 1 << 20	# the slowest host outruns that
OFTEN = 100
FEW = OFTEN // 2	# until what is held is on its way back: 0 to 12 were seen
SHORT_QUEUE = "queue-size=16"	# and nothing waits there until the kernel complains
TRACE = "/sys/kernel/tracing"
WAITING = f"{TRACE}/events/writeback/balance_dirty_pages"
PREPARE = f"""
rm -f /tmp/disk/file
sync
echo 3 >/proc/sys/vm/drop_caches
sleep 3
echo 'pause > 0' >{WAITING}/filter
echo 1 >{WAITING}/enable
echo >{TRACE}/trace
"""


def slow_down(vm, rate):
    """Have the disk take no more bytes a second than that."""
    said = vm.qmp("human-monitor-command", command_line=(
        f"block_set_io_throttle disk 0 0 {rate} 0 0 0"))
    assert not said, said


@contextlib.contextmanager
def writing(vm, mib):
    """Have a program write so much while the disk takes next to nothing.

    Until it has waited often because too much is dirty, or is done; yields how often
    it had to. The rest is written sooner: nobody shall sync for long.
    """
    vm.run(PREPARE)
    slow_down(vm, NEXT_TO_NOTHING)
    job = vm.start(f"exec dd if=/dev/zero of=/tmp/disk/file bs=1M count={mib}")
    vm.wait_until(lambda: pauses(vm) > OFTEN or not job.running(),
                  "a program that writes to wait or to end", TIMEOUT)
    yield pauses(vm)
    slow_down(vm, SLOW)
    job.wait(TIMEOUT)
    vm.run("sync", timeout=TIMEOUT)


def pauses(vm):
    """Return how often somebody had to wait because too much was dirty."""
    return int(vm.run(f"grep -c balance_dirty_pages: {TRACE}/trace",
                      check=False).out)


def test_writers(image, kernel):
    """A program that writes to a slow disk need not wait for it because of us.

    How much may be dirty the kernel makes of what is free, and lowers it slowly:
    so what is seen with nothing held comes last.
    """
    waits = {}
    with disk(SHORT_QUEUE) as extra, \
            Vm(kernel, f"write-{kernel}", mem_mib=MEM_MIB, balloon=False,
               extra=extra) as vm:
        mount_disk(vm)
        loop_like_xen(vm)
        for most in ("100%", "0"):
            vm.run(f"echo {most} > {guest.SYSFS}/max_held")
            held = rests(vm)
            assert (held > MEM_MIB // 2) == (most != "0"), held
            with writing(vm, WRITE_MIB) as waits[most]:
                pass
        with writing(vm, MUCH_MIB) as much:
            pass
        print(waits, much)
        assert much > OFTEN and waits["0"] == 0
        assert waits["100%"] <= FEW
        # When all is written it goes again, though nothing has been freed.
        vm.run(f"echo 100% > {guest.SYSFS}/max_held; rm /tmp/disk/file")
        with writing(vm, WRITE_MIB):
            pass
        vm.wait_until(lambda: int(guest.value(vm, "hold/held_bytes")) >
                      MEM_MIB // 2 * guest.MIB, "it to go again", guest.SOON)
        guest.unload(vm)


SLOW_US = 2000		# a block: a GiB takes a second
LATE_MIB = 4		# what the loop touches each time
STEP_US = 100000

BESIDE = f"""
taskset 2 /opt/aeration/memclock late {LATE_MIB} 12 &
sleep 2
taskset 1 /opt/aeration/memwork burst {{mib}}
wait
"""


def test_latency_beside_a_burst(image, kernel):
    """Who needs little does not wait for what somebody else needs."""
    def worst_us(vm):
        mib = int(vm.run("awk '/^MemAvailable/ { print $2 }' /proc/meminfo"
                         ).out) // 1024 * 8 // 10
        said = vm.run(BESIDE.format(mib=mib), timeout=TIMEOUT).out
        assert "seconds" in said
        return int(re.search(r"^worst (\d+)$", said, re.M)[1])

    with guest.counting(kernel, "late", cpus=2, mem_mib=MEM_MIB,
                        balloon=False) as vm:
        loop_like_xen(vm)
        vm.run(f"echo {SLOW_US} > {LOOP}/restore_us")
        worst_us(vm)	# the host, too, has to find memory once
        without, with_us = without_and_with(vm, "longest turn, us", worst_us)
        assert with_us <= without + STEP_US
        assert vm.run("awk '$1 == \"oom_kill\" { print $2 }' "
                      "/proc/vmstat").out.strip() == "0"
        guest.unload(vm)
