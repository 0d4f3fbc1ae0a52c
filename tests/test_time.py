# SPDX-License-Identifier: GPL-2.0
"""The main promise: how soon, how little in vain, and at what price.

In guests of one processor whose clock is made of instructions: where these are
idle their time leaps, and a busy host changes nothing. The device answers before
the guest goes on, so all times are the guest's own.
"""

import re
import statistics

import pytest

import guest
from guest import MIB, SHARE
from lab.discards import Discards
from lab.qemu import ICOUNT_SHIFT

TIMEOUT = 1800	# of the host's seconds: it hangs

# Of the guest's time, s. The default window, and what may be added to it.
WINDOW = 1.0
MORE = 0.5

# Until what was surplus before is gone, and a window that has backed off is back.
CALM = 300

FREED_MIB = 1024

# How, and more on the kernel's command line. What the hold source takes is cleared, by
# it or by a kernel told so, as Debian's are; that is work, as long as the processor is
# slow, and not in this. One batch goes at each look, a sixteenth of a window apart, so
# it is a large one: a device that takes 64 MiB has a GiB a second later.
OVER = {
    "virtio": ("modprobe aeration_virtio", ""),
    "loop": ("modprobe aeration backend=loop && modprobe aeration_loop", ""),
    "hold": ("modprobe aeration backend=loop && "
             "modprobe aeration_loop durable=1 scrub=N capacity=512",
             "init_on_alloc=0"),
}

# Memory is free when it is ordered to be, or a little later.
RELEASE = """
set -e
T=/sys/kernel/tracing
{load}
/opt/aeration/memwork hold {mib} >/tmp/held &
while ! grep -q touched /tmp/held; do sleep 0.1; done
sleep {calm}
echo mono >$T/trace_clock
echo 1 >$T/events/aeration/aeration_batch_ack/enable
echo >$T/trace
echo free >$T/trace_marker
kill -USR1 $!
sleep {calm}
echo 0 >$T/tracing_on
cat $T/trace
kill -USR1 $!
"""
MARK = re.compile(r" (\d+\.\d+): tracing_mark_write: free$", re.M)
ACK = re.compile(r" (\d+\.\d+): aeration_batch_ack: .* bytes=(\d+) ns=(\d+) ",
                 re.M)


def seconds_until_gone(trace, mib):
    """Return seconds from the mark until SHARE of `mib` was gone.

    Without those for which the device had a batch.
    """
    start = float(MARK.search(trace)[1])
    gone = device = 0
    for at, size, ns in ACK.findall(trace):
        gone += int(size)
        device += int(ns) / 1e9
        if gone >= SHARE * mib * MIB:
            return float(at) - start - device
    pytest.fail(f"{gone >> 20} of {mib} MiB are gone in {CALM} s\n{trace}")


@pytest.mark.parametrize("over", OVER)
def test_release(image, kernel, over):
    """Memory that is free for the window is gone half a second later."""
    load, cmdline = OVER[over]
    with guest.counting(kernel, f"time-{over}", cmdline=cmdline) as vm:
        discards = Discards(vm)
        trace = vm.run(RELEASE.format(load=load, mib=FREED_MIB,
                                      calm=CALM), TIMEOUT).out
        let_go = discards.mib()
        seconds = seconds_until_gone(trace, FREED_MIB)
        print(f"{over}: {SHARE:.0%} gone after {seconds:.3f} s")
        assert seconds <= WINDOW + MORE
        assert seconds >= WINDOW, "gone before it was surplus"
        # Over QEMU's balloon it is QEMU that says so, too. What was free before
        # is in it.
        assert (let_go >= SHARE * FREED_MIB) == (over == "virtio")
        guest.unload(vm)


CHURN_MIB = 512
MOST = 0.05	# of what is freed

# Here a turn takes 0.8 s of the guest's time by itself: shorter than the window.
CHURN_SHIFT = 2
TURNS_MS = (0, 1150, 1700, 2500)
TURNS = 24	# of each, at least

CHURN = """
set -e
modprobe aeration_virtio
sleep {calm}
echo bytes $(cat {stats}/bytes)
/opt/aeration/memclock churn {mib} {seconds} {turn}
echo bytes $(cat {stats}/bytes)
"""


@pytest.mark.in_turn("the same promise with other pauses")
@pytest.mark.parametrize("turn", TURNS_MS)
def test_churn(image, kernel, turn):
    """Of memory that is used again and again next to nothing leaves.

    A turn is slow, or a program has nothing to do in between: what is free then
    for longer than the window leaves once, and the window gets longer. (Once is
    more than it should be if a turn takes four windows and there are few; where
    it takes eight, memory is worth more elsewhere.)
    """
    with guest.counting(kernel, f"time-churn-{turn}", icount=CHURN_SHIFT) as vm:
        discards = Discards(vm)
        said = vm.run(CHURN.format(
            calm=CALM, stats=f"{guest.SYSFS}/stats", mib=CHURN_MIB,
            seconds=TURNS * max(turn, 1000 * WINDOW) / 1000, turn=turn),
            TIMEOUT).out
        let_go = discards.mib()
        before, after = map(int, re.findall(r"^bytes (\d+)$", said, re.M))
        cycles = int(re.search(r"^cycles (\d+)$", said, re.M)[1])
        freed = cycles * CHURN_MIB
        reported = (after - before) / MIB
        print(f"{cycles} turns: {reported:.0f} of {freed} MiB reported, "
              f"{reported / freed:.2%}")
        assert cycles >= TURNS * 3 // 4
        assert reported <= MOST * freed
        # It counts what QEMU was told, which goes on when the command has ended.
        assert after / MIB * SHARE <= let_go <= guest.stat(vm, "bytes") / MIB
        guest.unload(vm)


# As people have it who trust nobody: free blocks at either end of the lists, and cleared.
HARDENED = ("page_alloc.shuffle=1 init_on_alloc=1 init_on_free=1 slab_nomerge "
            "slub_debug=FZ")
HARDENED_TURNS_MS = (0, 1700)
HARDENED_TURNS = 12
HARDENED_MISSED = ("6.1",)	# 2654 to 5296 MiB; 240 to 254 on the others


def churned_mib(vm, module):
    """Return what a driver lets go of while programs churn, MiB."""
    vm.run(f"modprobe {module}")
    gone = 0
    for turn in HARDENED_TURNS_MS:
        vm.run(f"sleep {CALM}")
        discards = Discards(vm)
        seconds = HARDENED_TURNS * max(turn, 1000 * WINDOW) / 1000
        vm.run(f"/opt/aeration/memclock churn {CHURN_MIB} {seconds} {turn}",
               TIMEOUT)
        gone += discards.mib()
    vm.run(f"rmmod {module}")
    return gone


def test_churn_of_a_hardened_guest(image, kernel):
    """Where what was reported is not taken last, less goes than with the stock driver.

    Then a program gets some of it each time, whatever was free all the time.
    """
    with guest.counting(kernel, "time-hardened", icount=CHURN_SHIFT,
                        cmdline=HARDENED) as vm:
        stock = churned_mib(vm, "virtio_balloon")
        ours = churned_mib(vm, "aeration_virtio")
        guest.unload(vm)
    told = f"{ours:.0f} MiB, the stock driver {stock:.0f}"
    print(told)
    if kernel in HARDENED_MISSED and stock < ours <= 2 * stock:
        pytest.xfail(told)
    assert ours <= stock


DRIVERS = {"none": "true", "ours": "modprobe aeration_virtio",
           "stock": "modprobe virtio_balloon"}
UNLOAD = ("for one in aeration_virtio aeration virtio_balloon; do "
          "test ! -e /sys/module/$one || rmmod $one; done")
SLEEP = 40	# the stock driver needs 16 for a GiB
TIMES = 3
RATIO = 1.15	# of ours to the stock driver's

# Where it is more, by what the image of the guest is: 1.54 to 2.04 on 6.1, where the
# stock driver needs 220 to 270 instructions a MiB, and 1.12 to 1.35 on 7.3, where it
# needs 2700. What we need beyond that is 140 to 230, and about 340.
MISSED = {"6.1": 260, "7.3": 400}


def busy(vm, driver):
    """Free memory; return (busy ns, MiB let go of) until long after."""
    vm.run(f"{UNLOAD}; {DRIVERS[driver]} && "
           f"/opt/aeration/memwork burst {FREED_MIB} && sleep {CALM}", TIMEOUT)
    discards = Discards(vm)
    said = vm.run(f"/opt/aeration/memclock busy {FREED_MIB} {SLEEP}",
                  TIMEOUT).out
    return int(said.split()[1]), discards.mib()


def test_instructions(image, kernel):
    """To report a GiB needs few more instructions than the stock driver needs.

    All that the guest does from the order to free on is counted, less what it
    does without a driver.
    """
    with guest.counting(kernel, "time-instructions") as vm:
        rounds = [{name: busy(vm, name) for name in DRIVERS}
                  for _ in range(TIMES)]
        vm.run(UNLOAD)
    found = {name: [one[name] for one in rounds] for name in DRIVERS}
    print(found)
    base = statistics.median(ns for ns, _ in found["none"])
    price = {}
    for name in ("ours", "stock"):
        assert all(mib >= SHARE * FREED_MIB for _, mib in found[name])
        price[name] = statistics.median(
            (ns - base) / mib for ns, mib in found[name])
    ratio = price["ours"] / price["stock"]
    extra = (price["ours"] - price["stock"]) / (1 << ICOUNT_SHIFT)
    told = (f"{ratio:.3f} of the stock driver's instructions, "
            f"{extra:.0f} more a MiB")
    print(told)
    if ratio > RATIO and extra <= MISSED.get(kernel, 0):
        pytest.xfail(f"{told}, {RATIO} is wanted")
    assert ratio <= RATIO, told
