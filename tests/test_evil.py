# SPDX-License-Identifier: GPL-2.0
"""A device that is silent, slow or lying cannot hang or corrupt the guest.

The device is evild, the twin of hintd; it changes its ways while the guest runs.
What each mode does is said in host/evil/evil.h. Only a device that asks for a
reset (DEVICE_NEEDS_RESET) is QEMU's own: the bit is QEMU's to set, and it does
not do so for what a vhost-user daemon says.
"""

import re
import tempfile

import pytest

import guest
from guest import MIB
from lab.machine import GuestError
from lab.qemu import Vm
from lab.qtest import Qtest
from lab.vhost_balloon import DEFAULT_FEATURES

TIMEOUT_MS = 3000

# What the virtio ring itself says of an answer to a question never asked.
RING_COMPLAINT = r"id \d+ (is not a head!|out of range)"

# What QEMU says of a daemon that has gone.
DAEMON_GONE = (r"Unexpected end-of-file before all data were read",
               r"Failed to set msg fds", r"vhost VQ \d+ ring restore failed")

# And of a queue that cannot be, and of its own qtest.
CONFUSED = (r"Guest says index \d+ is available", r"g_timer_elapsed: assertion")


def running(vm, timeout_ms=TIMEOUT_MS):
    """Load the backend, with a short timeout, and wait until it runs."""
    vm.run(f"modprobe aeration_virtio timeout_ms={timeout_ms}")
    guest.wait_value(vm, "state", "running")
    vm.run(f"echo 0 > {guest.SYSFS}/window_ms")


def rebind(vm):
    """Bind the driver to the device again, as its log line advises."""
    place = "/sys/bus/virtio/drivers/aeration_virtio"
    vm.run(f"d=$(basename $(ls -d {place}/virtio*)); "
           f"echo $d > {place}/unbind; echo $d > {place}/bind")
    guest.wait_value(vm, "state", "running")


def make_batches(vm):
    """Start a load that keeps freeing memory; return the job."""
    return vm.start("exec /opt/aeration/memwork churn 256 600")


def check_memory(vm):
    """Start a load that also checks all memory it owns; return the job."""
    return vm.start("exec /opt/aeration/integrity 1000000 900 512 2048 "
                    "failing")


def end_checked(vm, load):
    """End the load, and fail unless all it has seen was right."""
    vm.run("kill $(pidof integrity)")
    load.wait(120)
    found = re.findall(r"(\d+) words checked, (\d+) wrong", load.output())
    assert len(found) == 2
    assert all(int(checked) and not int(wrong) for checked, wrong in found)


def end_load(vm, load):
    """Kill the load, and wait until its memory is free."""
    load.kill()
    vm.wait_until(lambda: vm.run("pidof memwork", check=False).rc,
                  "the load to be gone", guest.SOON)


def expect_failed(vm, why):
    """The backend has failed for good, says why, and holds nothing."""
    guest.wait_value(vm, "state", "failed")
    assert why in guest.value(vm, "why/virtio")
    assert guest.stat(vm, "in_flight_bytes") == 0
    assert guest.value(vm, "hold/quarantined") == "0"
    guest.said(vm, why)


def works(vm, device):
    """Batches get through, and the device has seen nothing odd."""
    device.mode = "normal"
    before = device.snapshot()["buffers"]
    device.wait_for(lambda stats: stats.buffers > before, guest.SOON,
                    "batches to be answered")


# A device that offers this too is a hypervisor's own to the driver, which brings it
# back by itself: virtio 1.2, 6, VIRTIO_F_RING_RESET. The others are hintd's.
OWN = (*DEFAULT_FEATURES, 40)

# No reports and no hints.
BALLOON_ONLY = (32, 40)

# What the driver says of either.
NO_ANSWER = f"did not answer within {TIMEOUT_MS} ms"
ASKS = "device asks for a reset"
WANTED = "device kept memory that was wanted back"


def expect_rest(vm, why, seconds):
    """The backend says why it leaves the device alone, and for how long."""
    guest.wait_said(vm, f"{why}; device reset, its blocks are back with the guest; "
                    f"it is tried again in {seconds} s")


def expect_back(vm):
    """The device was brought back, and is in use."""
    guest.wait_said(vm, "the device is back")
    guest.wait_value(vm, "state", "running")
    assert guest.value(vm, "why/virtio") == "in use"


# An answer after which nothing is asked any more, and what the driver says then.
FATAL = {
    "wrong-id": "queue is broken",
    "twice": "queue is broken",
    "absurd-idx": "queue is broken",
    "reset": "queue is broken",
}


def survives_lies(vm, device, timeout_ms=TIMEOUT_MS):
    """Wrong, double, absurd: each survived and named, memory intact; then all is unloaded."""
    running(vm, timeout_ms)
    load = check_memory(vm)
    works(vm, device)
    for mode, why in FATAL.items():
        guest.mark(vm)
        device.mode = mode
        expect_failed(vm, why)
        device.mode = "normal"
        rebind(vm)
        works(vm, device)
    assert guest.stat(vm, "timeouts") == 0
    assert device.snapshot()["resets"] == 1

    guest.mark(vm)
    device.mode = "absurd-len"
    guest.wait_said(vm, "claims to have written")
    assert guest.value(vm, "state") == "running"

    # Nothing is answered while these come.
    vm.run("echo 600000 > /sys/module/aeration_virtio/parameters/"
           "timeout_ms")
    works(vm, device)
    device.mode = "no-work-irq"
    empty = device.snapshot()["empty_irqs"]
    device.wait_for(lambda stats: stats.empty_irqs > empty + 50,
                    guest.SOON, "interrupts without work")
    works(vm, device)

    device.delay_s = 0.1
    device.mode = "config-storm"
    now = device.snapshot()
    device.wait_for(lambda stats: stats.storms > now["storms"] + 50 and
                    stats.buffers > now["buffers"] + 5, guest.SOON,
                    "batches answered while the configuration changes")
    assert device.config()[1] in (0, 1)
    works(vm, device)
    assert guest.value(vm, "state") == "running"

    end_checked(vm, load)
    guest.unload(vm)
    assert not device.snapshot()["violations"]


def test_lying_device(image, kernel):
    """Wrong, double, absurd: each survived and named, memory intact."""
    # The answers do not depend on the wire: each kernel has one.
    wire = "sg" if kernel == "6.1" else "hints"
    with guest.vhost_guest(kernel, f"lies-{wire}", wire=wire,
                           cmdline=f"aeration_virtio.wire={wire}",
                           allow=[RING_COMPLAINT]) as (vm, device):
        before = guest.measure_free(vm)
        survives_lies(vm, device)
        guest.expect_free(vm, before)


BALLOON_MIB = 64
UNITS = BALLOON_MIB * 256	# of 4 KiB


def total_is(vm, kib):
    """Wait until the guest takes so much for its memory, KiB."""
    vm.wait_until(lambda: int(vm.run("awk '/^MemTotal/ { print $2 }' "
                                     "/proc/meminfo").out) == kib,
                  f"MemTotal to be {kib} KiB", guest.SOON)


def test_lies_about_the_balloon(image, kernel):
    """What is wrong of the balloon's queue ends it, and all of it is the guest's."""
    with guest.vhost_guest(kernel, "lies-balloon", allow=[RING_COMPLAINT]) as \
            (vm, device):
        before = guest.measure_free(vm)
        whole = int(vm.run("awk '/^MemTotal/ { print $2 }' /proc/meminfo").out)
        running(vm)
        load = check_memory(vm)
        device.affected = "inflate"
        device.delay_s = 600
        vm.run("echo 600000 > /sys/module/aeration_virtio/parameters/timeout_ms")
        for mode, why in FATAL.items():
            device.set_target(UNITS)
            total_is(vm, whole - (BALLOON_MIB << 10))
            guest.mark(vm)
            # QEMU does not bear a device that announces a change as it is reset, or
            # after.
            device.mode = "hold"
            device.set_target(2 * UNITS)
            vm.run("sleep 2")
            device.mode = mode
            expect_failed(vm, why)
            total_is(vm, whole)
            device.mode = "normal"
            rebind(vm)
            total_is(vm, whole - (2 * BALLOON_MIB << 10))
        end_checked(vm, load)
        guest.unload(vm)
        assert not device.snapshot()["violations"]
        guest.expect_free(vm, before)


def test_target_that_leaps(image, kernel):
    """A host that wants nothing, all, and more than there is, never the same twice."""
    with guest.vhost_guest(kernel, "leaps", features=OWN) as (vm, device):
        before = guest.measure_free(vm)
        running(vm, 600000)
        load = check_memory(vm)
        works(vm, device)
        device.delay_s = 0.1
        device.mode = "leaps"
        now = device.snapshot()
        device.wait_for(lambda stats: stats.storms > now["storms"] + 200 and
                        stats.inflated > now["inflated"] + UNITS, guest.SOON,
                        "a balloon of all sizes")
        device.mode = "normal"
        device.set_target(0)
        device.wait_for(lambda stats: stats.config[1] == 0, guest.SOON,
                        "all of it to be back")
        assert guest.value(vm, "state") == "running"
        assert "Out of memory" not in vm.kernel_log()
        end_checked(vm, load)
        guest.unload(vm)
        assert not device.snapshot()["violations"]
        guest.expect_free(vm, before)


# It offers to be told before a page is used, and to give back where memory runs out.
MUST_TELL = (32, 0, 2, 5)
MOST_UNITS = 1400 * 256
KILLED = (r"Out of memory: Killed process \d+ \((memwork|integrity)\)",
          r"invoked oom-killer", "Call Trace:")


def test_device_that_must_be_told(image, kernel):
    """One that takes what is in the balloon again and again until it is told.

    So nobody who is out of memory gets it, and no page moves before it was told of.
    """
    with guest.vhost_guest(kernel, "told", features=MUST_TELL,
                           allow=KILLED) as (vm, device):
        before = guest.measure_free(vm)
        device.affected = "inflate"
        device.delay_s = 0.1
        device.mode = "retake"
        running(vm, 600000)
        load = check_memory(vm)
        for target in (UNITS, 4 * UNITS, 0, 2 * UNITS):
            device.set_target(target)
            device.wait_for(lambda stats, target=target: stats.config[1] == target,
                            guest.SOON, f"{target} pages in the balloon")
            vm.run("echo 1 > /proc/sys/vm/compact_memory", guest.HUNG)
            retaken = device.snapshot()["retaken"]
            device.wait_for(lambda stats, retaken=retaken: stats.retaken > retaken + 5,
                            guest.SOON, "them to be taken again")
        end_checked(vm, load)
        device.set_target(MOST_UNITS)
        device.wait_for(lambda stats: stats.config[1] == MOST_UNITS, guest.SOON,
                        "most of the guest to be in the balloon")
        assert vm.run("exec /opt/aeration/memwork verify 900", guest.HUNG,
                      check=False).rc
        assert "Out of memory" in vm.kernel_log()
        assert device.config()[1] == MOST_UNITS
        device.set_target(0)
        device.wait_for(lambda stats: stats.config[1] == 0, guest.SOON,
                        "all of it to be back")
        vm.run("/opt/aeration/memwork verify 1024", guest.HUNG)
        guest.unload(vm)
        assert not device.snapshot()["violations"]
        guest.expect_free(vm, before)


# With a queue for statistics, and one for hints.
ALL_QUEUES = (32, 1, 3, 5)


def start_anew(vm, device, role, mode):
    """Load the driver beside a device that is evil on one queue from the start.

    A buffer that was taken belongs to the queue that the mode is about.
    """
    device.affected = role
    device.mode = mode
    vm.run("modprobe aeration_virtio timeout_ms=600000")
    guest.wait_value(vm, "state", "running")
    vm.run(f"echo 0 > {guest.SYSFS}/window_ms")


def test_lies_about_statistics(image, kernel):
    """Statistics that are asked for without end, or wrongly: nothing else suffers."""
    with guest.vhost_guest(kernel, "lies-stats", features=ALL_QUEUES,
                           allow=[RING_COMPLAINT, "statistics queue is broken"]) \
            as (vm, device):
        before = guest.measure_free(vm)
        vm.run("modprobe aeration")
        load = check_memory(vm)
        for mode in ("normal", "silent", "absurd-len", *FATAL):
            start_anew(vm, device, "stats", mode)
            seen = device.snapshot()
            device.wait_for(lambda stats, seen=seen:
                            stats.buffers > seen["buffers"] + 5,
                            guest.SOON, f"reports, with statistics in mode {mode}")
            if mode in ("normal", "absurd-len"):
                device.wait_for(lambda stats, seen=seen:
                                stats.other > seen["other"] + 500,
                                guest.SOON, "statistics without end")
            assert guest.value(vm, "state") == "running"
            vm.run("rmmod aeration_virtio", timeout=guest.SOON)
        end_checked(vm, load)
        guest.unload(vm)
        guest.expect_free(vm, before)


@pytest.mark.parametrize("size", [1, 8])
def test_lies_in_a_small_queue(image, kernel, size):
    """The same where the ring has room for next to nothing."""
    with guest.vhost_guest(kernel, f"lies-in-{size}", vq_size=size,
                           allow=[RING_COMPLAINT]) as (vm, device):
        before = guest.measure_free(vm)
        running(vm, 600000)
        load = check_memory(vm)
        for mode, why in FATAL.items():
            works(vm, device)
            guest.mark(vm)
            device.mode = mode
            expect_failed(vm, why)
            device.mode = "normal"
            rebind(vm)
        works(vm, device)
        end_checked(vm, load)
        guest.unload(vm)
        assert not device.snapshot()["violations"]
        guest.expect_free(vm, before)


def test_balloon_that_stalls(image, kernel):
    """A device that does not answer is brought back, with what is in the balloon."""
    with guest.vhost_guest(kernel, "stalls-balloon", features=OWN) as (vm, device):
        before = guest.measure_free(vm)
        whole = int(vm.run("awk '/^MemTotal/ { print $2 }' /proc/meminfo").out)
        running(vm)
        load = check_memory(vm)
        device.set_target(UNITS)
        total_is(vm, whole - (BALLOON_MIB << 10))
        for role, target, while_away in (("inflate", 2 * UNITS, UNITS),
                                         ("deflate", 0, None)):
            guest.mark(vm)
            device.affected = role
            device.mode = "silent"
            device.set_target(target)
            expect_rest(vm, NO_ANSWER, 1)
            if while_away is not None:
                total_is(vm, whole - while_away * 4)
            device.mode = "normal"
            expect_back(vm)
            total_is(vm, whole - target * 4)
            device.wait_for(lambda stats: stats.config[1] == target, guest.SOON,
                            "the device to know")
            vm.run("sleep 3")
        end_checked(vm, load)
        guest.unload(vm)
        assert not device.snapshot()["violations"]
        guest.expect_free(vm, before)


def test_balloon_that_is_silent(image):
    """A device of no reports is left alone for longer each time that it stalls."""
    with guest.vhost_guest("7.3", "silent-balloon",
                           features=BALLOON_ONLY) as (vm, device):
        vm.run(f"modprobe aeration_virtio timeout_ms={TIMEOUT_MS}")
        device.affected = "inflate"
        device.mode = "silent"
        device.set_target(UNITS)
        for seconds in (1, 2, 4):
            expect_rest(vm, NO_ANSWER, seconds)
        device.mode = "normal"
        device.wait_for(lambda stats: stats.config[1] == UNITS, guest.SOON,
                        "the balloon to be as large as it shall be")
        guest.unload(vm)


# What the device offers here, bits of virtio 1.2, 5.5.3 and 6: hints, and no reports.
HINTS_ONLY = (32, 3)

# A hinted block is dropped so long after it was seen, and its buffer used then. The first
# is what the guest's next allocation can come before, if it is quick; the other, what the
# emulated one can, too.
LATE_S, LATER_S = 0.1, 10

# What the configuration has when a run is over, virtio 1.2, 5.5.6.5.
HINT_DONE = 1

# A program that takes nearly all memory, fills it, and looks at all of it: at more words
# than 1e8 each time.
GREEDY_MIB = 1620
GREEDY = f"exec /opt/aeration/memwork verify {GREEDY_MIB}"

# Blocks of the stock driver's in a ring; more of them have to be dropped.
STOCK_BYTES = 64 * 4 * MIB
STOCK_TIMES = 6


# After so many runs of it enough must have been dropped.
MOST_RUNS = 50


def looked_at(vm, device, late_s, least):
    """Run that while the host asks for free memory, until it has dropped enough.

    late_s: seconds, see above. least: bytes. Returns (words, wrong).
    """
    device.affected = "hinting"
    device.delay_s = late_s
    device.mode = "hold"
    start = device.snapshot()["bytes_released"]
    words = wrong = runs = 0
    while device.snapshot()["bytes_released"] < start + least:
        runs += 1
        assert runs <= MOST_RUNS, "the device has dropped next to nothing"
        device.hint()
        job = vm.start(GREEDY)
        job.wait(guest.SOON, check=False)
        found = re.fullmatch(r"words (\d+) wrong (\d+)\n", job.output())
        words += int(found[1])
        wrong += int(found[2])
    print(f"{words} words, {wrong} wrong, dropped after {late_s} s")
    return words, wrong


def is_done(device):
    """Wait until nothing is asked for: QEMU does not bear a change as it stops a device."""
    device.wait_for(lambda stats: stats.config[2] == HINT_DONE, guest.SOON,
                    "the device to be done")


# What a guest ends with whose own memory was dropped: its shell's, or its kernel's.
HARMED = r"took more than|agent has died|evidence|panicked"


def stock_loses(kernel):
    """Does the stock driver lose data on such a host?

    It may be anybody's: where it is the agent's or the kernel's, the guest is done for.
    """
    try:
        with guest.vhost_guest(kernel, "late-stock", features=HINTS_ONLY) as (vm, device):
            vm.run("modprobe virtio_balloon")
            # Blocks may have been dropped before the program had them.
            wrong = any(looked_at(vm, device, LATER_S, STOCK_BYTES)[1]
                        for _ in range(STOCK_TIMES))
            device.mode = "normal"
            is_done(device)
            return wrong
    except GuestError as error:
        if not re.search(HARMED, str(error)):
            raise
        print(f"the guest itself lost some: {error}")
        return True


@pytest.mark.all_only("about the test after it: a driver that must lose data there does")
def test_stock_driver_loses(image, kernel):
    """When the guest runs short of memory the stock driver lets go of it too soon."""
    assert stock_loses(kernel)


def test_device_that_discards_late(image, kernel):
    """What was hinted is dropped late; our driver does not let go of it before."""
    with guest.vhost_guest(kernel, "late", features=HINTS_ONLY) as (vm, device):
        before = guest.measure_free(vm)
        running(vm, timeout_ms=60000)
        for late_s, least in ((LATE_S, 1024 * MIB), (LATER_S, 64 * MIB)):
            words, wrong = looked_at(vm, device, late_s, least)
            assert words >= 1e8 and not wrong
        device.mode = "normal"
        told = device.snapshot()["bytes_told"]
        vm.wait_until(device.hint, "the last run to be over", guest.SOON)
        is_done(device)
        assert device.snapshot()["bytes_told"] > told + 1024 * MIB
        guest.unload(vm)
        guest.expect_free(vm, before)


# What Firecracker offers with all of its balloon configured, by its source.
FIRECRACKER = (32, 1, 2, 3, 5)


def says(device, wanted, what):
    """Wait until the driver has said these words, and no more; return what went."""
    device.wait_for(lambda _: [word for word, _, _ in device.transcript()] == wanted,
                    guest.SOON, what)
    return [taken for _, taken, _ in device.transcript()]


def test_firecracker_transcript(image, kernel):
    """Hint runs as Firecracker's API starts and stops them: a transcript by its source.

    No Firecracker has been run with these modules; host/evil/firecracker.c says what
    was read.
    """
    with guest.vhost_guest(kernel, "firecracker", features=FIRECRACKER) as (vm, device):
        before = guest.measure_free(vm)
        device.affected = "hinting"
        device.mode = "firecracker"
        running(vm)
        load = check_memory(vm)
        vm.wait_until(device.guest_bytes, "the driver to be ready", guest.SOON)

        # The API's acknowledge_on_stop: the guest hears that the host is done.
        device.begin_run(acknowledge=True)
        words = [2, 0]
        taken = says(device, words, "a run that is acknowledged")
        assert taken[0] > 256 * MIB and device.config()[2] == HINT_DONE

        # Without it the id stays there until somebody stops.
        device.begin_run(acknowledge=False)
        words += [3, 0]
        taken = says(device, words, "a run that is not")
        assert taken[2] > 256 * MIB and device.config()[2] == 3
        device.end_run()
        vm.run("sleep 3")
        assert says(device, words, "no more words") == taken

        # Started again before the last has ended, and stopped at once: the guest says a
        # word of each that it has begun, and the end of it.
        for number in range(4, 24):
            device.begin_run(acknowledge=False)
            if number % 4 == 3:
                device.end_run()
        vm.run("sleep 3")
        device.wait_for(lambda _: device.transcript()[-1][0] == 0, guest.SOON,
                        "the last run to end")
        words = [word for word, _, _ in device.transcript()]
        assert words[::2] == sorted(set(words[::2])) and set(words[1::2]) == {0}
        device.begin_run(acknowledge=True)
        device.wait_for(lambda _: [word for word, _, _ in device.transcript()][-2:] ==
                        [24, 0], guest.SOON, "another run")
        assert device.transcript()[-2][1] > 256 * MIB
        is_done(device)
        end_checked(vm, load)
        guest.unload(vm)
        guest.expect_free(vm, before)


def test_storm_of_command_ids(image, kernel):
    """A host that asks, and asks again before it can be answered, gets the last."""
    with guest.vhost_guest(kernel, "ids", features=(32, 3, 5)) as (vm, device):
        before = guest.measure_free(vm)
        running(vm)
        load = check_memory(vm)
        for _ in range(300):
            device.hint()
            device.unhint()
        told = device.snapshot()["other"]
        vm.wait_until(device.hint, "the device to ask once more", guest.SOON)
        is_done(device)
        assert device.snapshot()["other"] > told
        end_checked(vm, load)
        guest.unload(vm)
        guest.expect_free(vm, before)


def test_device_that_stalls(image, kernel):
    """It is left alone for longer and longer, and in use as soon as it answers."""
    with guest.vhost_guest(kernel, "stalls", features=OWN) as (vm, device):
        before = guest.measure_free(vm)
        running(vm)
        load = check_memory(vm)
        works(vm, device)
        guest.mark(vm)
        device.mode = "silent"
        for seconds in (1, 2, 4):
            expect_rest(vm, NO_ANSWER, seconds)
        guest.said(vm, f"no answer for {TIMEOUT_MS // 10} ms")
        works(vm, device)
        guest.wait_value(vm, "state", "running")
        assert guest.value(vm, "why/virtio") == "in use"
        # It has done well for longer than that.
        vm.run("sleep 20")
        works(vm, device)
        guest.mark(vm)
        device.mode = "silent"
        expect_rest(vm, NO_ANSWER, 1)
        # Nobody waits for it to come back.
        vm.run("rmmod aeration_virtio", timeout=guest.SOON)
        assert guest.value(vm, "state") == "off"
        device.mode = "normal"
        end_checked(vm, load)
        guest.unload(vm)
        assert not device.snapshot()["violations"]
        guest.expect_free(vm, before)


def test_device_that_disappears(image, kernel):
    """The daemon closes its connection with a batch in flight."""
    with guest.vhost_guest(kernel, "gone", allow=DAEMON_GONE) as (vm, device):
        before = guest.measure_free(vm)
        running(vm)
        load = check_memory(vm)
        works(vm, device)
        device.mode = "die"
        # QEMU would end if it were set up again.
        expect_failed(vm, NO_ANSWER)
        end_checked(vm, load)
        guest.unload(vm)
        guest.expect_free(vm, before)


# In a guest with one device, virtio 1.2, 4.1.4.3, and where QEMU has the parts.
QUEUE_SELECT, QUEUE_SIZE = 0x16, 0x18
QUEUE_AVAIL_LOW, QUEUE_AVAIL_HIGH = 0x28, 0x2c
NOTIFY_AT, NOTIFY_STEP = 0x3000, 4
REPORTING_QUEUE = 3		# stats are there, hints are not


def confuse(vm, qtest):
    """Let QEMU's own device find a buffer that its queue cannot have."""
    text = vm.run("cat $(dirname $(readlink -f /sys/bus/virtio/drivers/"
                  "aeration_virtio/virtio*))/resource").out
    bar = int(text.splitlines()[4].split()[0], 16)
    qtest.write(bar + QUEUE_SELECT, 16, REPORTING_QUEUE)
    avail = qtest.read(bar + QUEUE_AVAIL_LOW, 32) | \
        qtest.read(bar + QUEUE_AVAIL_HIGH, 32) << 32
    size = qtest.read(bar + QUEUE_SIZE, 16)
    vm.qmp("stop")
    index = qtest.read(avail + 2, 16)
    qtest.write(avail + 4 + 2 * (index % size), 16, size)
    qtest.write(avail + 2, 16, (index + 1) & 0xffff)
    qtest.write(bar + NOTIFY_AT + NOTIFY_STEP * REPORTING_QUEUE, 16,
                REPORTING_QUEUE)
    vm.qmp("cont")


def test_device_that_asks_for_a_reset(image, kernel):
    """DEVICE_NEEDS_RESET: the driver does not wait for what never comes."""
    with tempfile.TemporaryDirectory(prefix="aerqt-") as folder, \
            Vm(kernel, f"needs-reset-{kernel}",
               extra=Qtest.qemu_args(f"{folder}/qt"), allow=CONFUSED) as vm:
        before = guest.measure_free(vm)
        vm.run("modprobe aeration_virtio timeout_ms=86400000")
        guest.wait_value(vm, "state", "running")
        load = check_memory(vm)
        qtest = Qtest(f"{folder}/qt")
        confuse(vm, qtest)
        qtest.close()
        expect_rest(vm, ASKS, 1)
        expect_back(vm)
        end_checked(vm, load)
        guest.unload(vm)
        guest.expect_free(vm, before)


# Modes in which a guest is rebooted. Not "early": that may destroy what the
# kernel needs to go down. Not "die" and "config-storm": QEMU does not survive
# them, see lab.vhost_balloon.Daemon.
REBOOTED_IN = ("silent", "hold", "wrong-id", "twice", "absurd-len",
               "absurd-idx", "no-work-irq", "reset")


def test_going_down_while_it_misbehaves(image):
    """The guest goes down in order, and the next driver finds a device."""
    # The kernel that resets its devices on the way.
    with guest.vhost_guest("7.3", "evil-reboot",
                           allow=[RING_COMPLAINT]) as (vm, device):
        vm.qmp("set-action", reboot="reset")
        device.delay_s = 5
        for mode in REBOOTED_IN:
            device.mode = "normal"
            vm.run("modprobe aeration_virtio timeout_ms=86400000")
            guest.wait_value(vm, "state", "running")
            vm.run(f"echo 0 > {guest.SYSFS}/window_ms")
            make_batches(vm)
            works(vm, device)
            seen = device.snapshot()["seen"]
            device.mode = mode
            device.wait_for(lambda stats: stats.seen > seen, guest.SOON,
                            f"a batch in mode {mode}")
            vm.channel.socket.sendall(b"again reboot -f\n")
            vm.wait_ready()
        device.mode = "normal"
        running(vm)
        works(vm, device)


def test_device_that_frees_too_late(image):
    """It says that it is done with memory, and takes it when that is in use.

    No guest can notice. What is lost is what the host took, zeros are in its
    place; the guest lives, and its memory is intact once the host behaves.
    """
    with guest.vhost_guest("6.12", "late") as (vm, device):
        running(vm)
        works(vm, device)
        device.delay_s = 0.3
        device.mode = "early"
        load = check_memory(vm)
        vm.wait_until(lambda: not load.running(), "memory to be lost", 120)
        lost = re.findall(r"is ([0-9a-f]{16}), should be ([0-9a-f]{16})",
                          load.output())
        assert lost and all(int(found, 16) == 0 for found, _ in lost)
        assert device.snapshot()["late_bytes"]

        device.mode = "normal"
        device.wait_for(lambda stats: not stats.late, guest.SOON,
                        "the last memory to be taken too late")
        load = check_memory(vm)
        works(vm, device)
        end_checked(vm, load)
        guest.unload(vm)


def test_gone_while_in_flight(image, kernel):
    """A silent device with a batch: unbind, unload and removal do not wait."""
    with guest.vhost_guest(kernel, "in-flight") as (vm, device):
        before = guest.measure_free(vm)
        for command in (
                "d=$(basename $(ls -d /sys/bus/virtio/drivers/"
                "aeration_virtio/virtio*)); "
                "echo $d > /sys/bus/virtio/drivers/aeration_virtio/unbind",
                "rmmod aeration_virtio",
                "echo 1 > $(dirname $(readlink -f $(ls -d /sys/bus/virtio/"
                "drivers/aeration_virtio/virtio*)))/remove"):
            device.mode = "normal"
            vm.run("modprobe aeration_virtio timeout_ms=86400000")
            guest.wait_value(vm, "state", "running")
            device.mode = "silent"
            vm.run(f"echo 0 > {guest.SYSFS}/window_ms")
            load = make_batches(vm)
            vm.wait_until(lambda: guest.stat(vm, "in_flight_bytes"),
                          "a batch in flight", guest.SOON)
            vm.run(command, timeout=guest.SOON)
            assert guest.value(vm, "state") == "off"
            assert guest.stat(vm, "in_flight_bytes") == 0
            end_load(vm, load)
            guest.unload(vm)
        assert device.snapshot()["dropped"] == 3
        guest.expect_free(vm, before)


def test_out_of_memory_while_in_flight(image, kernel):
    """A guest that runs out of memory gets back what a silent device has."""
    with guest.vhost_guest(kernel, "oom", mem_mib=512,
                           features=OWN) as (vm, device):
        device.mode = "silent"
        vm.run("modprobe aeration_virtio timeout_ms=86400000")
        vm.run(f"echo 0 > {guest.SYSFS}/window_ms")
        in_flight = vm.wait_until(lambda: guest.stat(vm, "in_flight_bytes"),
                                  "a batch in flight", guest.SOON)
        left = int(vm.run("awk '/^MemFree:/ { print $2 }' /proc/meminfo").out)
        job = guest.hold(vm, left // 1024 + in_flight // MIB // 2)
        expect_rest(vm, WANTED, 1)
        assert "Out of memory" not in vm.kernel_log()
        guest.free_held(vm, job)
        guest.end_held(vm, job)
        guest.unload(vm)


def test_none_while_in_flight(image):
    """Switched off at run time with a batch in flight: its answer is awaited."""
    with guest.vhost_guest("6.12", "none-in-flight") as (vm, device):
        running(vm, 600000)
        device.delay_s = 1.5
        device.mode = "hold"
        load = make_batches(vm)
        vm.wait_until(lambda: guest.stat(vm, "in_flight_bytes"),
                      "a batch in flight", guest.SOON)
        vm.run("echo none > /sys/module/aeration/parameters/backend")
        assert guest.value(vm, "state") == "off"
        assert guest.stat(vm, "in_flight_bytes") == 0
        assert guest.stat(vm, "timeouts") == 0
        end_load(vm, load)
        device.mode = "normal"
        guest.unload(vm)


def test_none_with_a_silent_device(image):
    """Switched off at run time: whoever does it does not wait for the timeout."""
    with guest.vhost_guest("6.12", "none-silent",
                           features=OWN) as (vm, device):
        running(vm, 86400000)
        device.mode = "silent"
        load = make_batches(vm)
        vm.wait_until(lambda: guest.stat(vm, "in_flight_bytes"),
                      "a batch in flight", guest.SOON)
        vm.run("echo none > /sys/module/aeration/parameters/backend",
               timeout=guest.SOON)
        assert guest.value(vm, "state") == "off"
        assert guest.stat(vm, "in_flight_bytes") == 0
        expect_rest(vm, WANTED, 1)
        # Back with the driver, and nobody asks it for anything.
        guest.wait_said(vm, "the device is back")
        assert guest.value(vm, "state") == "off"
        end_load(vm, load)
        guest.unload(vm)


def test_suspend_with_a_slow_device(image):
    """Suspend waits for the batch in flight, and reporting goes on after it.

    Everything is frozen and brought back but the machine itself, which in the
    QEMU that this device needs does not sleep reliably.
    """
    with guest.vhost_guest("6.1", "slow-suspend") as (vm, device):
        vm.run("modprobe aeration_virtio")
        guest.wait_value(vm, "state", "running")
        vm.run(f"echo 0 > {guest.SYSFS}/window_ms")
        # The kernel then waits with a busy processor, as it takes the time to be:
        # on a busy host five seconds may be a stall.
        vm.run("echo 1 > /sys/module/suspend/parameters/pm_test_delay; "
               "echo devices > /sys/power/pm_test")
        device.delay_s = 1.0
        device.mode = "hold"
        load = make_batches(vm)
        vm.wait_until(lambda: guest.stat(vm, "in_flight_bytes"),
                      "a batch in flight", guest.SOON)
        stops = device.snapshot()["stops"]
        vm.start("echo mem > /sys/power/state")
        vm.wait_until(lambda: "PM: suspend exit" in vm.console(),
                      "the guest to be back", guest.SOON)
        assert device.snapshot()["stops"] == stops + 1
        works(vm, device)
        assert guest.value(vm, "state") == "running"
        end_load(vm, load)
        guest.unload(vm)
