# SPDX-License-Identifier: GPL-2.0
"""Squeeze: memory that is merely not needed becomes free, and goes to the host.

A file that is read again and again stays; one that was read once goes. Whatever else
happens in the guest meanwhile, it ends in time, and says why.
"""

import contextlib
import re
import subprocess

import pytest

import guest
from guest import MIB
from lab.qemu import Vm

MEM_MIB = 2048
COLD_MIB = 1024
HOT_MIB = MEM_MIB // 5
DISK_MIB = COLD_MIB + HOT_MIB + 200
PAGE = 4096

# What the device asks for when nothing is asked for: VIRTIO_BALLOON_CMD_ID_DONE.
HINT_DONE = 1

# Of what is in use, as much may be read again: one part in fifty.
HOT_AGAIN = HOT_MIB * MIB // PAGE // 50

# Of what is resident with reports alone, so much may be after a squeeze.
RATIO = 0.45

TIMEOUT = 600	# seconds, however busy the host is

LRU_GEN = "/sys/kernel/mm/lru_gen/enabled"
DONE = f"{guest.SYSFS}/squeezed"
STATUS = f"{guest.SYSFS}/request/status"

# Since when memory.reclaim can be told to take files alone.
KNOWS_SWAPPINESS = {"6.1": False, "6.12": True, "7.3": True}


@contextlib.contextmanager
def disk(mib=DISK_MIB):
    """An empty disk with a file system; yields what QEMU has to be told."""
    with guest.disk(mib) as (path, arguments):
        subprocess.run(["/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-O",
                        "^has_journal", path], check=True, timeout=TIMEOUT)
        yield arguments


CGROUP = "mount -t cgroup2 -o nsdelegate,memory_recursiveprot none /sys/fs/cgroup"


def mount_disk(vm, cgroup=CGROUP):
    """Have it in the guest as /tmp/disk, and cgroups as systemd has them."""
    vm.run(f"{cgroup} && modprobe -a virtio_pci virtio_blk ext4")
    vm.wait_until(lambda: not vm.run("test -b /dev/vda", check=False).rc,
                  "the disk", guest.SOON)
    vm.run("mkdir -p /tmp/disk && mount /dev/vda /tmp/disk")


def write_file(vm, name, mib):
    """Make a file on the disk, and have none of it cached."""
    vm.run(f"dd if=/dev/zero of=/tmp/disk/{name} bs=1M count={mib} && sync && "
           "echo 3 > /proc/sys/vm/drop_caches", timeout=TIMEOUT)


def read_file(vm, name, times=1):
    """Have a file read, so many times; not by sendfile(2), which counts as more."""
    for _ in range(times):
        vm.run(f"dd if=/tmp/disk/{name} of=/dev/null bs=128k 2>/dev/null",
               timeout=TIMEOUT)


def cached_mib(vm):
    """Return how much of files is cached, MiB."""
    return int(vm.run("awk '/^(Active|Inactive).file/ { sum += $2 } "
                      "END { print int(sum / 1024) }' /proc/meminfo").out)


def vmstat(vm, name):
    """Return a counter of the kernel's."""
    return int(vm.run(f"awk '$1 == \"{name}\" {{ print $2 }}' /proc/vmstat").out)


def pages_read(vm):
    """Return how many pages were read from the disk: what was not cached."""
    return int(vm.run("awk '$3 == \"vda\" { print $6 }' /proc/diskstats").out) * 512 // PAGE


def ended_by(vm):
    """Return why the last squeeze ended."""
    return guest.value(vm, "squeezed/ended_by")


def reclaimed_mib(vm):
    """Return how much the last squeeze took, MiB."""
    return int(guest.value(vm, "squeezed/reclaimed_bytes")) // MIB


def squeeze(vm, words="", expect=0):
    """Ask for one in words; wait for its end; return (state, error)."""
    vm.run(f"echo squeeze {words} > {guest.SYSFS}/request/start")
    vm.wait_until(lambda: " running " not in vm.text(STATUS), "the squeeze to end",
                  guest.SOON)
    _, what, state, _, error = vm.text(STATUS).split()
    assert what == "squeeze" and int(error) == expect, vm.text(STATUS)
    return state


def lru_choices(vm):
    """Return the values of lru_gen/enabled to go through: this kernel's own first."""
    now = vm.run(f"cat {LRU_GEN} 2>/dev/null || true").out.strip()
    if not now:
        return [None]
    return ["n", "y"] if int(now, 16) == 0 else ["y", "n"]


def rests_at(vm):
    """Wait until what is resident falls no more; return it, MiB."""
    seen = []

    def still():
        seen.append(vm.resident())
        return len(seen) > 3 and min(seen[-3:]) > seen[-4] - 4 * MIB

    vm.wait_until(still, "what is resident to rest", guest.SOON, poll=2)
    return seen[-1] / MIB


def test_cold_cache_goes(image, kernel):
    """A file that was read once goes, and the one in use stays."""
    with disk() as extra, Vm(kernel, f"cold-{kernel}", mem_mib=MEM_MIB, extra=extra,
                             fresh=True) as vm:
        mount_disk(vm)
        write_file(vm, "cold", COLD_MIB)
        write_file(vm, "hot", HOT_MIB)
        vm.run("modprobe aeration_virtio")
        for choice in lru_choices(vm):
            if choice:
                vm.run(f"echo {choice} > {LRU_GEN}")
            # What came back once stays from then on, unless this is forgotten.
            vm.run("modprobe -r aeration_virtio && modprobe -r aeration && "
                   "modprobe aeration_virtio")
            vm.run("echo 3 > /proc/sys/vm/drop_caches")
            read_file(vm, "hot", 3)
            read_file(vm, "cold")
            read_file(vm, "hot")
            before = rests_at(vm)
            assert squeeze(vm) == "done"
            taken, why = reclaimed_mib(vm), ended_by(vm)
            after = rests_at(vm)
            again = pages_read(vm)
            read_file(vm, "hot")
            again = pages_read(vm) - again
            print(f"lru_gen {choice}: {before:.0f} MiB, then {after:.0f} ({taken} "
                  f"taken, {why}); {again} pages of the hot file read again")
            assert after <= RATIO * before
            assert again <= HOT_AGAIN
        guest.unload(vm)


SWAP = """
modprobe zram num_devices=1 && echo 512M >/sys/block/zram0/disksize
mkswap /dev/zram0 >/dev/null && swapon /dev/zram0
"""


def test_programs_are_not_swapped(image, kernel):
    """Where there is swap, files alone go, or nothing if the kernel cannot do that."""
    with disk(600) as extra, Vm(kernel, f"anon-{kernel}", mem_mib=1024,
                                extra=extra) as vm:
        mount_disk(vm)
        vm.run(SWAP)
        write_file(vm, "cold", 300)
        vm.run("modprobe aeration_virtio")
        job = guest.hold(vm, 200)
        read_file(vm, "cold")
        squeeze(vm)
        assert ended_by(vm) == "enough" and reclaimed_mib(vm) > 200
        read_file(vm, "cold", 2)
        squeeze(vm, "cache=10", expect=0 if KNOWS_SWAPPINESS[kernel] else -95)
        assert vmstat(vm, "pswpout") == 0
        if KNOWS_SWAPPINESS[kernel]:
            assert cached_mib(vm) < 50
        else:
            assert ended_by(vm) == "no way to reclaim" and cached_mib(vm) > 250
        # Who allows it gets it.
        vm.run(f"echo 1 > {guest.SYSFS}/squeeze_anon")
        squeeze(vm, "cache=0 within=60000")
        print(f"{vmstat(vm, 'pswpout')} pages swapped, {cached_mib(vm)} MiB cached")
        assert cached_mib(vm) < 50
        guest.free_held(vm, job)
        guest.end_held(vm, job)
        guest.unload(vm)


def test_what_came_back_stays(image, kernel):
    """What was taken and read again is not taken once more, unless more is asked for."""
    with disk(600) as extra, Vm(kernel, f"back-{kernel}", mem_mib=1024,
                                extra=extra) as vm:
        mount_disk(vm)
        write_file(vm, "cold", 300)
        vm.run("modprobe aeration_virtio")
        read_file(vm, "cold")
        squeeze(vm)
        assert reclaimed_mib(vm) > 250
        read_file(vm, "cold")
        squeeze(vm)
        assert reclaimed_mib(vm) < 20 and cached_mib(vm) > 280
        squeeze(vm)
        assert reclaimed_mib(vm) < 20 and cached_mib(vm) > 280
        squeeze(vm, "cache=10 within=60000")
        assert cached_mib(vm) < 100
        guest.unload(vm)


# Whoever has files of another kind: of a cgroup that is to keep what it has, of a program
# that runs, of a file system that is frozen, and one that has no name any more.
KEEPS = {
    "protected": ("mkdir /sys/fs/cgroup/keeps && "
                  "echo +memory > /sys/fs/cgroup/cgroup.subtree_control && "
                  "echo 1M > /sys/fs/cgroup/keeps/memory.low && "
                  "(echo 0 > /sys/fs/cgroup/keeps/cgroup.procs && {read})", "true"),
    "frozen": ("{read} && fsfreeze --freeze /tmp/disk", "fsfreeze --unfreeze /tmp/disk"),
    "unlinked": ("exec 3</tmp/disk/cold; {read} && rm /tmp/disk/cold", "true"),
}


@pytest.mark.in_turn("the same code finds what stays, whatever it is")
@pytest.mark.parametrize("how", KEEPS)
def test_what_stays(image, kernel, how):
    """And nobody waits for anybody; what may go does."""
    before, after = KEEPS[how]
    reading = "dd if=/tmp/disk/cold of=/dev/null bs=128k 2>/dev/null"
    with disk(600) as extra, Vm(kernel, f"stays-{how}-{kernel}", mem_mib=1024,
                                extra=extra) as vm:
        mount_disk(vm)
        write_file(vm, "cold", 300)
        vm.run("modprobe aeration_virtio")
        out = vm.run(f"{before.format(read=reading)}; "
                     f"echo squeeze > {guest.SYSFS}/request/start; "
                     f"while grep -q ' running ' {STATUS}; do sleep 0.1; done; "
                     f"cat {STATUS}; {after}", timeout=guest.HUNG).out
        assert " squeeze done " in out, out
        assert reclaimed_mib(vm) < 20
        vm.run("umount /tmp/disk")
        guest.unload(vm)


def test_as_much_as_was_asked_for(image, kernel):
    """To a size, to a share of the cache, and not for longer than it may take."""
    with disk(600) as extra, Vm(kernel, f"much-{kernel}", mem_mib=1024,
                                extra=extra) as vm:
        mount_disk(vm)
        write_file(vm, "cold", 400)
        vm.run("modprobe aeration_virtio")
        read_file(vm, "cold")
        cached = cached_mib(vm)
        squeeze(vm, "cache=50 within=60000")
        assert abs(cached_mib(vm) - cached / 2) < 20 and ended_by(vm) == "enough"
        used = int(vm.run("awk '/^Mem(Total|Free)/ { used = $2 - used } "
                          "END { print -used }' /proc/meminfo").out) // 1024
        squeeze(vm, f"to={used - 100}M cache=0 within=60000")
        assert abs(cached_mib(vm) - (cached / 2 - 100)) < 20
        assert ended_by(vm) == "enough"
        # There is nothing to be had that would make it so small.
        squeeze(vm, "to=1M cache=0 within=60000")
        assert ended_by(vm) in ("no more to be had", "enough")
        assert cached_mib(vm) <= MEM_MIB / 2 / 32
        guest.unload(vm)


INVALID = "Invalid argument"
WRONG = ("squeeze to=0", "squeeze to=x", "squeeze to=1X", "squeeze cache=101",
         "squeeze cache=-1", "squeeze within=0", "squeeze within=600001",
         "squeeze within", "squeeze =1", "squeeze 1", "flush cache=1", "restore x",
         "squeezes", "squeeze cache=1 x=2", "squeeze cache=" + "1" * 100)


def test_wrong_words_are_refused(image, kernel):
    """With EINVAL, and nothing happens."""
    with Vm(kernel, f"words-{kernel}", mem_mib=512) as vm:
        vm.run("modprobe aeration_virtio")
        for words in WRONG:
            guest.refused(vm, f"/opt/aeration/poke {guest.SYSFS}/request/start "
                          f"'{words}'", INVALID)
        for name, values in (("squeeze", ("0", "2", "x")),
                             ("squeeze_idle_s", ("-1", "86401", "x")),
                             ("squeeze_anon", ("2", "x")),
                             ("squeeze_for_host", ("2", "x"))):
            for value in values:
                guest.refused(vm, f"/opt/aeration/poke {guest.SYSFS}/{name} {value}",
                              INVALID)
        assert vm.text(STATUS).split()[2] == "none"
        assert ended_by(vm) == "none yet"
        for name, value in (("squeeze_idle_s", "60"), ("squeeze_anon", "1"),
                            ("squeeze_for_host", "1")):
            vm.run(f"echo {value} > {guest.SYSFS}/{name}")
            assert guest.value(vm, name) == value
            shown = vm.text(f"/sys/module/aeration/parameters/{name}").strip()
            assert shown == (value if "idle" in name else "Y")
        guest.unload(vm)


# No cgroup v2 at all, version 1 for memory (which later kernels have no more), and none
# for memory.
WITHOUT = {
    "none": ("true", ""),
    "v1": ("mount -t cgroup -o memory none /sys/fs/cgroup || true", ""),
    "disabled": (CGROUP, "cgroup_disable=memory"),
}


@pytest.mark.in_turn("there is none in either")
@pytest.mark.parametrize("how", WITHOUT)
def test_without_a_cgroup_for_memory(image, kernel, how):
    """Cold files go all the same; and for more it says that it cannot."""
    cgroup, cmdline = WITHOUT[how]
    with disk(600) as extra, Vm(kernel, f"nocg-{kernel}", mem_mib=1024, extra=extra,
                                cmdline=cmdline) as vm:
        mount_disk(vm, cgroup)
        write_file(vm, "cold", 300)
        vm.run("modprobe aeration_virtio window_ms=60000")
        read_file(vm, "cold")
        assert squeeze(vm) == "done" and reclaimed_mib(vm) > 250
        read_file(vm, "cold", 2)
        assert squeeze(vm, "cache=10", expect=-95) == "failed"
        assert ended_by(vm) == "no way to reclaim" and cached_mib(vm) > 250
        guest.unload(vm)


def test_without_a_backend(image, kernel):
    """Nobody's cache is taken where nothing can be let go of."""
    with disk(600) as extra, Vm(kernel, f"none-{kernel}", mem_mib=1024, extra=extra,
                                balloon=False) as vm:
        mount_disk(vm)
        write_file(vm, "cold", 300)
        vm.run("modprobe aeration")
        read_file(vm, "cold")
        squeeze(vm, expect=-19)
        assert cached_mib(vm) > 250 and ended_by(vm) == "none yet"
        guest.unload(vm)


# In one command: between two of them hours go by in such a guest.
ENDS = """
set -e
echo 3 >/proc/sys/vm/drop_caches
dd if=/tmp/disk/cold of=/dev/null bs=128k 2>/dev/null
read up rest </proc/uptime
{beside}
echo squeeze {words} >{sysfs}/request/start
{meanwhile}
while grep -q ' running ' {status}; do sleep 0.02; done
cat {sysfs}/squeezed/ended_by {status}
awk -v from=$up '{{ print "took", $1 - from }}' /proc/uptime
wait
"""


# For a few seconds there is somebody who has to reclaim memory before it has some, but
# for the moment in which the program has just freed its own: a squeeze that fits in there
# takes all (seen one time in six).
TRIES = 4
SHORT_OF_MEMORY = """
/opt/aeration/memwork churn 800 4 >/dev/null &
dd if=/tmp/disk/stream of=/dev/null bs=128k 2>/dev/null &
sleep 1
"""


def ends(vm, words="", beside="", meanwhile=""):
    """Squeeze while something happens; return (why it ended, guest's seconds)."""
    out = vm.run(ENDS.format(words=words, beside=beside, meanwhile=meanwhile,
                             sysfs=guest.SYSFS, status=STATUS), timeout=guest.HUNG).out
    print(out)
    return (out.splitlines()[-3] if "took" in out else out,
            float(re.search(r"^took ([\d.]+)$", out, re.M)[1]))


def test_it_ends(image, kernel):
    """When its time is up, when it is called off, when others need memory.

    By the guest's own clock, which its instructions make: within 100 ms.
    """
    with disk(600) as extra, guest.counting(kernel, "ends", cpus=2, mem_mib=1024,
                                            extra=extra, fresh=True) as vm:
        mount_disk(vm)
        write_file(vm, "cold", 400)
        vm.run("modprobe aeration_virtio window_ms=60000")
        read_file(vm, "cold")
        why, took = ends(vm, "cache=0 within=100")
        assert why == "time is up" and took < 0.1 + 0.1 + 0.1
        why, took = ends(vm, "cache=0 within=60000", meanwhile=(
            f"sleep 0.1; echo 1 > {guest.SYSFS}/request/cancel"))
        assert why == "called off" and took < 0.1 + 0.1 + 0.1
        vm.run("busybox truncate -s 4G /tmp/disk/stream")
        for _ in range(TRIES):
            why, _ = ends(vm, "cache=0 within=60000", beside=SHORT_OF_MEMORY)
            if why in ("others need memory", "read again"):
                break
        else:
            pytest.fail(f"{TRIES} squeezes went on while others needed memory: {why}")
        guest.unload(vm)


# What goes on beside it, in a guest of 1 GiB: what it is asked for; before it, and
# after it.
BESIDE = {
    # A cgroup that waits for memory all the time, and reads the same files again: for
    # the second time when it begins.
    "limit": ("", "mkdir /sys/fs/cgroup/small && "
              "echo +memory > /sys/fs/cgroup/cgroup.subtree_control && "
              "echo 40M > /sys/fs/cgroup/small/memory.max && "
              "(echo 0 > /sys/fs/cgroup/small/cgroup.procs; "
              "while [ ! -e /tmp/enough ]; do "
              "dd if=/tmp/disk/busy of=/dev/null bs=128k 2>/dev/null; done) & "
              "until awk '/^workingset_refault_file/ { n = $2 } END { exit (n < 10000) }' "
              "/sys/fs/cgroup/small/memory.stat 2>/dev/null; do sleep 0.1; done",
              "touch /tmp/enough; wait"),
    # Swap that is soon full: what does not fit there stays. Files that are in use have
    # the kernel reclaim, too.
    "swap": ("cache=0", "/opt/aeration/memwork hold 200 > /tmp/held & "
             "until grep -q touched /tmp/held; do sleep 0.1; done; "
             "for i in 1 2 3; do "
             "dd if=/tmp/disk/busy of=/dev/null bs=128k 2>/dev/null; done; "
             "modprobe zram num_devices=1 && echo 4M >/sys/block/zram0/disksize && "
             "mkswap /dev/zram0 >/dev/null && swapon /dev/zram0 && "
             f"echo 1 > {guest.SYSFS}/squeeze_anon",
             "kill $(pidof memwork); swapoff /dev/zram0"),
    # The file system cannot be written to.
    "read-only": ("", "mount -o remount,ro /tmp/disk", "true"),
}

# A squeeze that looks just when whoever waits for memory does not ends early.
BESIDE_TRIES = 3


@pytest.mark.in_turn("each is beside the same; nothing in the code asks for it")
@pytest.mark.parametrize("what", BESIDE)
def test_beside(image, kernel, what):
    """Cold files go all the same."""
    words, before, after = BESIDE[what]
    with disk(600) as extra, Vm(kernel, f"beside-{what}-{kernel}", mem_mib=1024,
                                extra=extra) as vm:
        mount_disk(vm)
        write_file(vm, "cold", 300)
        write_file(vm, "busy", 100)
        vm.run("modprobe aeration_virtio")
        read_file(vm, "cold")
        out = vm.run(f"{before}; for i in $(seq {BESIDE_TRIES}); do "
                     f"echo squeeze {words} within=60000 > {guest.SYSFS}/request/start; "
                     f"while grep -q ' running ' {STATUS}; do sleep 0.1; done; "
                     f"cat {STATUS} {DONE}/ended_by {DONE}/reclaimed_bytes; done; "
                     f"{after}", timeout=guest.HUNG).out
        print(what, out, f"{vmstat(vm, 'pswpout')} pages swapped")
        assert out.count(" squeeze done ") == BESIDE_TRIES, out
        taken = sum(map(int, re.findall(r"^(\d+)$", out, re.M))) // MIB
        assert taken > 200, out
        guest.unload(vm)


def test_out_of_memory(image, kernel):
    """The program that is too large is killed, and the squeeze has ended by then."""
    with disk(600) as extra, Vm(kernel, f"sqoom-{kernel}", mem_mib=1024, extra=extra,
                                allow=("Out of memory: Killed .*memwork",
                                       r"\S+ invoked oom-killer", "Call Trace:")) as vm:
        mount_disk(vm)
        write_file(vm, "cold", 400)
        vm.run("modprobe aeration_virtio window_ms=0")
        read_file(vm, "cold")
        # The kernel would refuse it so much at once.
        vm.run("echo 1 > /proc/sys/vm/overcommit_memory; "
               "/opt/aeration/memwork burst 2000 & sleep 0.2; "
               f"echo squeeze cache=0 within=60000 > {guest.SYSFS}/request/start; wait",
               timeout=guest.HUNG, check=False)
        vm.wait_until(lambda: " running " not in vm.text(STATUS), "the squeeze to end",
                      guest.SOON)
        assert " squeeze done " in vm.text(STATUS)
        assert vmstat(vm, "oom_kill") == 1
        read_file(vm, "cold")
        assert squeeze(vm) == "done"
        guest.unload(vm)


def test_host_and_guest_at_once(image, kernel):
    """One after the other, and each is told what came of its own."""
    with disk(600) as extra, guest.vhost_guest(
            kernel, "both", features=(32, 3, 5), mem_mib=1024, extra=extra) as (
                vm, device):
        mount_disk(vm)
        write_file(vm, "cold", 300)
        vm.run("modprobe aeration squeeze_for_host=1 && modprobe aeration_virtio")
        read_file(vm, "cold")
        job = vm.start(f"for i in 1 2 3 4 5; do echo 1 > {guest.SYSFS}/squeeze; done")
        vm.wait_until(device.hint, "the device to ask", guest.SOON)
        device.wait_for(lambda stats: stats.config[2] == HINT_DONE, guest.SOON,
                        "the device to be done")
        job.wait()
        vm.wait_until(lambda: " running " not in vm.text(STATUS), "all to end",
                      guest.SOON)
        assert cached_mib(vm) < 100
        guest.unload(vm)


IDLE_S = 30


def test_by_itself(image, kernel):
    """Once the guest has idled, and only then; and nothing is woken for it again."""
    with disk(600) as extra, guest.counting(kernel, "idle", cpus=2, mem_mib=1024,
                                            extra=extra, fresh=True) as vm:
        mount_disk(vm)
        write_file(vm, "cold", 400)
        vm.run(f"modprobe aeration squeeze_idle_s={IDLE_S} && modprobe aeration_virtio")
        # A guest that is busy for twice as long keeps its cache.
        read_file(vm, "cold")
        out = vm.run(f"timeout {2 * IDLE_S} sh -c 'while :; do :; done'; "
                     "awk '/^Cached/ { print $2 }' /proc/meminfo", timeout=guest.HUNG).out
        assert int(out.split()[-1]) > 350 << 10
        assert ended_by(vm) == "none yet"
        out = vm.run(f"sleep {2 * IDLE_S}; awk '/^Cached/ {{ print $2 }}' "
                     "/proc/meminfo", timeout=guest.HUNG).out
        assert int(out.split()[-1]) < 100 << 10
        assert ended_by(vm) == "enough" and reclaimed_mib(vm) > 300
        number = int(vm.text(STATUS).split()[0])
        vm.run("sleep 600", timeout=guest.HUNG)
        assert int(vm.text(STATUS).split()[0]) == number
        guest.unload(vm)


ROUNDS = {"check": 30, "all": 1000}


def test_rounds(image, kernel, request):
    """Again and again: nothing is lost, and no cgroup is another one for it."""
    rounds = ROUNDS[request.config.getoption("--tier")]
    settings = ("mkdir -p /tmp/cg && mount -t cgroup2 none /tmp/cg 2>/dev/null; "
                "cd /tmp/cg && for f in $(find . -name 'memory.*' -o -name 'cgroup.*' | "
                "grep -vE 'stat|pressure|events|peak|current|reclaim|procs|threads|kill'); "
                "do echo $f $(cat $f 2>/dev/null); done")
    with disk(300) as extra, Vm(kernel, f"squeezes-{kernel}", mem_mib=512,
                                extra=extra) as vm:
        mount_disk(vm)
        write_file(vm, "cold", 100)
        free = guest.measure_free(vm)
        vm.run("modprobe aeration_virtio")
        before = vm.run(settings).out
        vm.run(f"for i in $(seq {rounds}); do "
               "[ $((i % 5)) != 0 ] || head -c 20M /tmp/disk/cold > /dev/null; "
               f"echo squeeze cache=$((i % 100)) within=$((1 + i % 50)) > "
               f"{guest.SYSFS}/request/start; "
               f"while grep -q ' running ' {STATUS}; do usleep 1000; done; done",
               timeout=guest.HUNG)
        assert int(vm.text(STATUS).split()[0]) == rounds
        assert vm.run(settings).out == before
        assert vm.run("cat /proc/[0-9]*/comm | grep -c aeration_squ",
                      check=False).out.strip() == "0"
        guest.unload(vm)
        vm.run("umount /tmp/disk && echo 3 > /proc/sys/vm/drop_caches")
        guest.expect_free(vm, free)


def test_what_is_held_stays_held(image, kernel):
    """A squeeze takes cache, and nothing that a durable backend holds."""
    with disk(600) as extra, Vm(kernel, f"sqhold-{kernel}", mem_mib=1024, extra=extra,
                                balloon=False) as vm:
        mount_disk(vm)
        write_file(vm, "cold", 300)
        vm.run("modprobe aeration backend=loop && "
               "modprobe aeration_loop durable=1 capacity=512")
        read_file(vm, "cold")
        vm.run(f"echo 1 > {guest.SYSFS}/flush")
        held = int(guest.value(vm, "hold/held_bytes")) // MIB
        restored = guest.stat(vm, "restored_bytes")
        squeeze(vm)
        assert guest.stat(vm, "restored_bytes") == restored
        now = int(guest.value(vm, "hold/held_bytes")) // MIB
        print(f"{held} MiB held, {now} after {reclaimed_mib(vm)} MiB were taken")
        assert now >= held + 200
        guest.unload(vm)
