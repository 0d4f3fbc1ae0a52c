# SPDX-License-Identifier: GPL-2.0
"""The balloon as such: the host's target, statistics, need, and pages that move.

Beside the stock driver of the same kernel, in the same guest, where that has a say.
"""

import random
import re

import guest
from guest import MIB
from lab.discards import Discards
from lab.qemu import Vm

BALLOON = "/machine/peripheral/balloon0"
MEM_MIB = 2048
SMALL_MIB = 1024	# what the host wants of it
PAGE = 4096

DRIVERS = {"stock": "virtio_balloon", "ours": "aeration_virtio"}

# What is not known, of a statistic.
UNKNOWN = 2 ** 64 - 1

VMSTAT = "awk '$1 == \"{}\" {{ print $2 }}' /proc/vmstat"


def unload(vm):
    """Unload whichever driver has the device."""
    vm.run("! test -e /sys/module/virtio_balloon || rmmod virtio_balloon")
    guest.unload(vm)


def total_kib(vm):
    """Return what the guest takes for its memory, KiB."""
    return int(vm.run("awk '/^MemTotal/ { print $2 }' /proc/meminfo").out)


def vmstat(vm, name):
    """Return a counter of the kernel's."""
    return int(vm.run(VMSTAT.format(name)).out or 0)


def ask(vm, mib):
    """Have the host want the guest to be of so many MiB."""
    vm.qmp("balloon", value=mib * MIB)


def size_mib(vm):
    """Return of how many MiB it is, as the host knows."""
    return vm.qmp("query-balloon")["actual"] / MIB


def reaches(vm, mib):
    """Wait until it is of so many."""
    vm.wait_until(lambda: size_mib(vm) == mib,
                  f"the guest to be of {mib} MiB", guest.SOON)


def resize(vm, mib):
    """Have it be of so many."""
    ask(vm, mib)
    reaches(vm, mib)


def test_target(image, kernel):
    """The guest is as large as the host wants it, to the page, and all of it again."""
    seen = {}
    with Vm(kernel, f"target-{kernel}") as vm:
        whole, free = total_kib(vm), guest.measure_free(vm)
        for name, module in DRIVERS.items():
            # It is there before the driver, and nobody says so again.
            ask(vm, SMALL_MIB)
            discards = Discards(vm)
            vm.run(f"modprobe {module}")
            reaches(vm, SMALL_MIB)
            gone = discards.mib()
            small = total_kib(vm)
            # A part of a block, and of a load.
            resize(vm, SMALL_MIB + 33)
            part = total_kib(vm)
            ask(vm, MEM_MIB)
            reaches(vm, MEM_MIB)
            seen[name] = [whole - small, part - small, whole - total_kib(vm)]
            print(name, seen[name], f"KiB of MemTotal; the host took {gone:.0f} MiB")
            assert gone >= SMALL_MIB
            unload(vm)
        assert seen["ours"] == seen["stock"] == [SMALL_MIB << 10, 33 << 10, 0]
        guest.expect_free(vm, free)


def test_unloaded_while_large(image, kernel):
    """Whoever unloads it has all memory back, and the host is told when it is loaded."""
    with Vm(kernel, f"unloaded-{kernel}") as vm:
        whole, free = total_kib(vm), guest.measure_free(vm)
        for _ in range(2):
            vm.run("modprobe aeration_virtio")
            resize(vm, SMALL_MIB)
            guest.unload(vm)
            assert total_kib(vm) == whole
            guest.expect_free(vm, free)
            ask(vm, MEM_MIB)
            vm.run("modprobe aeration_virtio")
            reaches(vm, MEM_MIB)
            guest.unload(vm)
        vm.run(f"/opt/aeration/memwork verify {MEM_MIB // 2}")


def statistics(vm):
    """Return what the host is told next: {name: value} of what is known."""
    before = vm.qmp("qom-get", path=BALLOON, property="guest-stats")["last-update"]
    vm.wait_until(lambda: vm.qmp("qom-get", path=BALLOON, property="guest-stats")
                  ["last-update"] > before, "statistics of the guest", guest.SOON)
    found = vm.qmp("qom-get", path=BALLOON, property="guest-stats")["stats"]
    return {name: value for name, value in found.items() if value != UNKNOWN}


def test_statistics(image, kernel):
    """The host learns as much as from the stock driver."""
    seen = {}
    with Vm(kernel, f"statistics-{kernel}") as vm:
        for name, module in DRIVERS.items():
            vm.run(f"modprobe {module}")
            vm.qmp("qom-set", path=BALLOON,
                   property="guest-stats-polling-interval", value=1)
            seen[name] = statistics(vm)
            print(name, seen[name])
            vm.qmp("qom-set", path=BALLOON,
                   property="guest-stats-polling-interval", value=0)
            unload(vm)
    stock, ours = seen["stock"], seen["ours"]
    assert ours.keys() == stock.keys()
    assert ours["stat-total-memory"] == stock["stat-total-memory"]
    for name in ("stat-free-memory", "stat-available-memory", "stat-disk-caches"):
        assert abs(ours[name] - stock[name]) < 64 * MIB, name
    for name in ("stat-minor-faults", "stat-major-faults", "stat-swap-in"):
        assert ours[name] >= stock[name], name


def test_no_reporting(image, kernel):
    """A device that takes no reports is driven all the same."""
    with Vm(kernel, f"no-reports-{kernel}",
            balloon={"free-page-reporting": "off"}) as vm:
        vm.run("modprobe aeration_virtio")
        assert guest.value(vm, "state") == "off"
        assert "no free page reporting" in guest.value(vm, "why/virtio")
        guest.said(vm, "QEMU: free-page-reporting=on")
        resize(vm, SMALL_MIB)
        vm.qmp("qom-set", path=BALLOON,
               property="guest-stats-polling-interval", value=1)
        assert statistics(vm)["stat-total-memory"]
        guest.unload(vm)


NEEDED_MIB = 1400


def test_out_of_memory(image, kernel):
    """Who needs memory gets it from the balloon, if that is agreed, and the host knows."""
    with Vm(kernel, f"need-{kernel}", balloon={"deflate-on-oom": "on"}) as vm:
        whole = total_kib(vm)
        vm.run("modprobe aeration_virtio")
        resize(vm, MEM_MIB // 4)
        # It can have it, so it is the guest's.
        assert total_kib(vm) == whole
        job = guest.hold(vm, NEEDED_MIB)
        assert vmstat(vm, "oom_kill") == 0
        vm.wait_until(lambda: size_mib(vm) > NEEDED_MIB, "the host to know",
                      guest.SOON)
        guest.free_held(vm, job)
        guest.end_held(vm, job)
        resize(vm, MEM_MIB)
        guest.unload(vm)
        assert total_kib(vm) == whole


BUSY_MIB = 900		# what a program keeps using of it
LEAST_MIB = 256	# what the host wants, and cannot have


def test_more_than_there_is(image, kernel):
    """A host that wants what is in use gets the rest, hears how much, and more later."""
    with Vm(kernel, f"more-{kernel}") as vm:
        whole = total_kib(vm)
        vm.run("modprobe aeration_virtio")
        job = guest.hold(vm, BUSY_MIB)
        ask(vm, LEAST_MIB)
        vm.wait_until(lambda: size_mib(vm) < BUSY_MIB + MEM_MIB // 4,
                      "all that is not in use", guest.SOON)
        vm.run("sleep 10")
        assert size_mib(vm) > BUSY_MIB
        left = int(vm.run("awk '/^MemAvailable/ { print $2 }' /proc/meminfo").out)
        # A load may be on its way; the guest's own share is a 32nd.
        assert left > whole / 32 - (16 << 10)
        assert vmstat(vm, "oom_kill") == 0
        print(f"{size_mib(vm)} MiB, {left >> 10} MiB available")
        guest.free_held(vm, job)
        guest.end_held(vm, job)
        # But for a 32nd, which the guest keeps of what is available.
        vm.wait_until(lambda: size_mib(vm) < LEAST_MIB + MEM_MIB / 16,
                      "what came free to go, too", guest.SOON)
        resize(vm, MEM_MIB)
        guest.unload(vm)
        assert total_kib(vm) == whole


IN_PIECES_MIB = 1700	# of which every second page is free; few blocks are
SINGLES_MIB = 400


def test_pages_move(image, kernel):
    """Compaction moves what is in the balloon, and the host has the others then."""
    with Vm(kernel, f"move-{kernel}") as vm:
        whole, free = total_kib(vm), guest.measure_free(vm)
        # A part of a huge page is not free until memory runs out.
        vm.run("echo never > /sys/kernel/mm/transparent_hugepage/enabled")
        job = vm.start(f"exec /opt/aeration/memwork fragment {IN_PIECES_MIB}")
        vm.wait_until(lambda: job.says("touched"), "memory to be in pieces",
                      guest.SOON)
        vm.run("modprobe aeration_virtio")
        resize(vm, MEM_MIB - SINGLES_MIB)
        guest.free_held(vm, job)
        guest.end_held(vm, job)
        before = vmstat(vm, "balloon_migrate")

        def moved():
            vm.run("echo 1 > /proc/sys/vm/compact_memory", guest.HUNG)
            return vmstat(vm, "balloon_migrate") - before

        # A busy host answers late, and then none moves for a while.
        vm.wait_until(lambda: moved() > 1000, "1000 pages to be moved", guest.SOON)
        assert size_mib(vm) == MEM_MIB - SINGLES_MIB
        # Up to an eighth of it is in the processors' lists of single pages, and
        # a program on another has none of those where nothing can be reclaimed.
        vm.run(f"/opt/aeration/memwork verify {(MEM_MIB - SINGLES_MIB) * 3 // 4}")
        resize(vm, MEM_MIB)
        vm.run(f"/opt/aeration/memwork verify {MEM_MIB * 3 // 4}")
        guest.unload(vm)
        assert total_kib(vm) == whole
        guest.expect_free(vm, free)


SCATTERED_MIB = 1600	# of which every second page is free


def grow(vm, rng):
    """Another size."""
    resize(vm, rng.randrange(MEM_MIB // 4, MEM_MIB))


def scatter(vm, rng):
    """A program leaves memory in pieces while the host wants it: single pages go."""
    resize(vm, MEM_MIB)
    job = vm.start(f"exec /opt/aeration/memwork fragment {SCATTERED_MIB}")
    vm.wait_until(lambda: job.says("touched"), "memory to be in pieces", guest.SOON)
    resize(vm, MEM_MIB - rng.randrange(16, SCATTERED_MIB // 4))
    guest.free_held(vm, job)
    guest.end_held(vm, job)


def compact(vm, rng):
    """Pages move."""
    vm.run("echo 1 > /proc/sys/vm/compact_memory", guest.HUNG)


def use(vm, rng):
    """A program needs some of what there is."""
    vm.run(f"/opt/aeration/memwork verify {rng.randrange(32, MEM_MIB // 8)}")


def flush(vm, rng):
    """All that is free is reported."""
    vm.run(f"echo again > {guest.SYSFS}/flush")


def reload(vm, rng):
    """The driver goes, and comes."""
    vm.run("rmmod aeration_virtio && modprobe aeration_virtio")


def wish(vm, rng):
    """The host wants something, and something else before it has it."""
    for _ in range(5):
        ask(vm, rng.randrange(MEM_MIB // 4, MEM_MIB))


ROUNDS = {"check": 20, "all": 100}


def test_rounds(image, kernel, request):
    """Whatever comes after what: no page is lost."""
    rounds = ROUNDS[request.config.getoption("--tier")]
    rng = random.Random(1)
    with Vm(kernel, f"rounds-{kernel}") as vm:
        whole, free = total_kib(vm), guest.measure_free(vm)
        # Blocks do not move: have single pages in the balloon, too.
        vm.run("echo never > /sys/kernel/mm/transparent_hugepage/enabled")
        moves = vmstat(vm, "balloon_migrate")
        vm.run("modprobe aeration_virtio")
        for number in range(rounds):
            step = rng.choice((grow, grow, scatter, compact, compact, use, flush,
                               reload, wish))
            print(f"{number}: {step.__name__}")
            step(vm, rng)
        print(f"{vmstat(vm, 'balloon_migrate') - moves} pages were moved")
        resize(vm, MEM_MIB)
        guest.unload(vm)
        assert total_kib(vm) == whole
        guest.expect_free(vm, free)


def test_asleep(image, kernel):
    """A guest that sleeps has all its memory, and is as small as before afterwards."""
    with Vm(kernel, f"asleep-{kernel}", pvh=False,
            cpus=guest.CPUS_THAT_SLEEP) as vm:
        whole = total_kib(vm)
        vm.run("modprobe aeration_virtio")
        for _ in range(2):
            resize(vm, SMALL_MIB)
            vm.suspend()
            reaches(vm, SMALL_MIB)
            vm.wait_until(lambda: total_kib(vm) == whole - (SMALL_MIB << 10),
                          "the guest to be small again", guest.SOON)
        # What the host wants while it sleeps it finds when it wakes.
        resize(vm, MEM_MIB)
        guest.unload(vm)
        assert total_kib(vm) == whole


def test_a_balloon_is_no_demand(image, kernel):
    """What the host takes does not count as what the guest needs: no window grows."""
    with Vm(kernel, f"demand-{kernel}") as vm:
        vm.run("modprobe aeration_virtio")
        for _ in range(4):
            vm.run(f"echo 1 > {guest.SYSFS}/flush")
            resize(vm, SMALL_MIB)
            resize(vm, MEM_MIB)
        assert int(guest.value(vm, "regretted_bytes")) < 64 * MIB
        assert guest.value(vm, "window_now_ms") == guest.value(vm, "window_ms")
        guest.unload(vm)


PRICE_MIB = 1024
TRACE = "/sys/kernel/tracing"
KICKS = "virtio_queue_notify"

# What does the work, for each driver, and how it shows in a trace.
WORK = {"stock": "update_balloon_size_func", "ours": "size_fn"}
WATCH = """
at=0x$(awk '$3 == "{function}" && $4 == "[{module}]" {{ print $1 }}' /proc/kallsyms)
for event in start end; do
	echo "function == $at" >{trace}/events/workqueue/workqueue_execute_$event/filter
	echo 1 >{trace}/events/workqueue/workqueue_execute_$event/enable
done
"""
STEP = r" (\d+\.\d+): workqueue_execute_{}: work struct (\S+?):? function {}\b"


class Kicks:
    """How often the guest tells the device to look, from QEMU's trace."""

    def __init__(self, vm):
        vm.qmp("trace-event-set-state", name=KICKS, enable=True)
        self.path = vm.logs / "qemu.log"
        self.start = self.path.stat().st_size

    def count(self):
        """Return how often, since."""
        return self.path.read_bytes()[self.start:].count(KICKS.encode() + b" ")


def spent_ms(trace, function):
    """Return how long the guest's processor was at it: its time is its instructions."""
    begun = re.findall(STEP.format("start", function), trace)
    ended = re.findall(STEP.format("end", function), trace)
    assert begun and len(begun) == len(ended)
    return 1000 * sum(float(end) - float(begin)
                      for (begin, _), (end, _) in zip(begun, ended))


def price(vm, name):
    """Inflate and deflate with a driver; return {what of which: how much}."""
    found = {}
    for way, mib in (("inflate", MEM_MIB - PRICE_MIB), ("deflate", MEM_MIB)):
        vm.run(f"echo > {TRACE}/trace")
        kicks, discards = Kicks(vm), Discards(vm)
        resize(vm, mib)
        found[f"{way}, kicks"] = kicks.count()
        found[f"{way}, discards"] = len(discards.lengths())
        trace = vm.run(f"cat {TRACE}/trace").out
        found[f"{way}, ms"] = spent_ms(trace, WORK[name])
        if way == "inflate":
            missed = vmstat(vm, "thp_fault_fallback")
            vm.run(f"/opt/aeration/memwork huge {PRICE_MIB // 2}")
            found["huge pages missed"] = vmstat(vm, "thp_fault_fallback") - missed
    return found


def test_price(image, kernel):
    """A GiB to the host and back costs half of the instructions, a tenth of the kicks."""
    seen = {}
    with guest.counting(kernel, "balloon-price", allow=[KICKS]) as vm:
        vm.run(f"echo mono > {TRACE}/trace_clock")
        for name, module in DRIVERS.items():
            vm.run(f"modprobe {module}" + WATCH.format(
                function=WORK[name], module=module, trace=TRACE))
            price(vm, name)	# the host, too, has to find memory once
            seen[name] = price(vm, name)
            print(name, seen[name])
            unload(vm)
    stock, ours = seen["stock"], seen["ours"]
    for way in ("inflate", "deflate"):
        assert ours[f"{way}, ms"] <= stock[f"{way}, ms"] / 2
        assert ours[f"{way}, kicks"] <= stock[f"{way}, kicks"] / 10
    assert ours["huge pages missed"] <= stock["huge pages missed"]
