# SPDX-License-Identifier: GPL-2.0
"""Live migration from one QEMU to another while the guest works: no word is wrong, and
what is free is not sent.

Two QEMUs of one kind on this machine. The stock driver beside ours.
"""

import contextlib
import pathlib
import tempfile

import pytest

import guest
from guest import MIB
from lab.qemu import Vm

MEM_MIB = 1024
FREED_MIB = 512		# of it, used once and free again
FILES_MIB = 64		# what programs keep, and check

TRIPS = {"check": 2, "all": 20}

DRIVERS = {"stock": "virtio_balloon", "ours": "aeration_virtio"}

# So fast that a guest that writes all the time is caught up with, and so slow that next
# to nothing is sent before all hints have come; bytes a second.
FAST = 1 << 30
SLOW = 1 << 20
DOWNTIME_MS = 3000
KICKS = "virtio_queue_notify"

# A guest of two processors crashed under 7.2 after its second migration, with a zero where
# a function's address should be (seen once, not understood: nobody has tried it without a
# driver yet).
QEMU_TO_TRAVEL_WITH = {"6.1": "6.12"}

# By so much differ guests without a driver: 642 to 656 MiB were sent.
NOISE_MIB = 16
TRIES = 4

# What may be with the host at a time, of free memory.
IN_FLIGHT_MIB = 256

THREAD = ("-object", "iothread,id=io0")
HINTS = {"free-page-hint": "on", "iothread": "io0"}


def migration(vm):
    """Return what QEMU says of the migration, which must not have failed."""
    found = vm.qmp("query-migrate")
    assert found.get("status") != "failed", found
    return found


class Arrival(Vm):
    """A guest that comes from another QEMU, which is given up when it is here."""

    def __init__(self, source, number, patient):
        super().__init__(source.kernel, f"arrival-{number}-{source.kernel}",
                         mem_mib=source.mem_mib, cpus=source.cpus,
                         qemu_of=source.qemu_of,
                         balloon=source.balloon, extra=source.extra,
                         share_memory=source.share_memory)
        self.source = source
        self.patient = patient
        self.told = None	# what QEMU says of it in the end

    def start_guest(self):
        self.resumed = True
        self.resume()
        with tempfile.TemporaryDirectory(prefix="aermig-") as folder:
            uri = f"unix:{pathlib.Path(folder, 'm')}"
            self.qmp("migrate-incoming", uri=uri)
            self.source.qmp("migrate-set-parameters", downtime_limit=DOWNTIME_MS,
                            max_bandwidth=SLOW if self.patient else FAST)
            self.source.qmp("migrate", uri=uri)
            if self.patient:
                self.hints()
                self.source.qmp("migrate-set-parameters", max_bandwidth=FAST)
            self.source.wait_until(
                lambda: migration(self.source)["status"] == "completed",
                "the migration to end", guest.HUNG)
        self.told = migration(self.source)
        self.source.check_console()
        self.source.kill()
        self.wait_until(lambda: self.qmp("query-status")["running"],
                        "the guest to run here", guest.SOON)
        self.run("true")

    def hints(self):
        """Wait until the guest tells the device nothing more."""
        self.source.qmp("trace-event-set-state", name=KICKS, enable=True)
        log, seen = self.source.logs / "qemu.log", []

        def still():
            seen.append(log.stat().st_size)
            return seen[-5:] == seen[-1:] * 5

        self.source.wait_until(still, "all hints to be there", guest.SOON, poll=1)
        self.source.qmp("trace-event-set-state", name=KICKS, enable=False)

    @property
    def sent_mib(self):
        """How much was sent."""
        return self.told["ram"]["transferred"] / MIB


@contextlib.contextmanager
def travelling(vm, trips, patient=False):
    """Take a guest, which is in a context of its own, so many times to another QEMU.

    Yields the last one.
    """
    with contextlib.ExitStack() as stack:
        for number in range(trips):
            vm = stack.enter_context(Arrival(vm, number, patient))
            print(f"trip {number}: {vm.sent_mib:.0f} MiB sent, down for "
                  f"{vm.told['downtime']} ms")
        yield vm


@contextlib.contextmanager
def worker(vm):
    """Have programs fill memory, and check it, for as long as this lasts.

    What they find goes to a file: their guest goes elsewhere.
    """
    vm.run("rm -f /tmp/enough /tmp/wrong; (while [ ! -e /tmp/enough ]; do "
           f"/opt/aeration/memwork verify {FILES_MIB} >/tmp/said || "
           "cp /tmp/said /tmp/wrong; echo >>/tmp/turns; done) "
           "</dev/null >/dev/null 2>&1 &")
    yield
    # Whoever has the guest now.


def check_worker(vm):
    """It has gone on, and found nothing wrong."""
    turns = "wc -l < /tmp/turns"
    before = int(vm.run(turns).out)
    vm.wait_until(lambda: int(vm.run(turns).out) > before, "the program to go on",
                  guest.SOON)
    assert vm.run("test -e /tmp/wrong", check=False).rc, \
        vm.run("cat /tmp/wrong").out


@pytest.mark.parametrize("hints", [False, True])
def test_there_and_back(image, kernel, hints, request):
    """A guest that uses and frees memory all the time: from QEMU to QEMU."""
    trips = TRIPS[request.config.getoption("--tier")]
    with Vm(kernel, f"travels-{kernel}", mem_mib=MEM_MIB, fresh=True,
            qemu_of=QEMU_TO_TRAVEL_WITH.get(kernel),
            balloon=HINTS if hints else True,
            extra=THREAD if hints else ()) as vm:
        vm.run("modprobe aeration window_ms=0 && modprobe aeration_virtio")
        guest.wait_value(vm, "state", "running")
        with worker(vm), travelling(vm, trips) as there:
            check_worker(there)
            guest.wait_value(there, "state", "running")
            before = guest.stat(there, "batches")
            there.wait_until(lambda: guest.stat(there, "batches") > before,
                             "batches to go on", guest.SOON)
            there.run("touch /tmp/enough")
            there.run(f"/opt/aeration/memwork verify {MEM_MIB // 2}")
            there.wait_until(
                lambda: int(guest.value(there, "stats/in_flight_bytes")) == 0,
                "nothing to be in flight", guest.SOON)
            assert guest.stat(there, "errors") == 0
            guest.unload(there)


LOWEST = """
(low=999999999
while [ ! -e /tmp/enough ]; do
	while read -r name free _; do
		[ $name = MemFree: ] && break
	done </proc/meminfo
	[ $free -ge $low ] || { low=$free; echo $low >/tmp/lowest; }
done) </dev/null >/dev/null 2>&1 &
"""


def sent(kernel, module):
    """Return what is sent of a guest at rest, which has used half of its memory, and how
    much of that was free at the least, less than before; MiB."""
    with Vm(kernel, f"sent-{kernel}", mem_mib=MEM_MIB, fresh=True, extra=THREAD,
            allow=[KICKS], qemu_of=QEMU_TO_TRAVEL_WITH.get(kernel),
            balloon={**HINTS, "free-page-reporting": "off"}) as vm:
        vm.run(f"modprobe {module}")
        guest.touch_and_free(vm, FREED_MIB)
        free = guest.free_kib(vm) / 1024
        vm.run(LOWEST)
        with travelling(vm, 1, patient=True) as there:
            there.run("touch /tmp/enough; sleep 1")
            low = int(there.run("cat /tmp/lowest").out) / 1024
            there.run(f"/opt/aeration/memwork verify {FREED_MIB}")
            if module == "aeration_virtio":
                guest.unload(there)
            return there.sent_mib, free - low


@pytest.mark.all_only("what was released stays so, or is again, in test_there_and_back")
def test_what_is_sent(image, kernel):
    """Of what is free nothing is sent, and the guest keeps it."""
    seen = {name: sent(kernel, module) for name, module in
            {"none": "virtio_ring", **DRIVERS}.items()}
    print("MiB sent, and away from the guest at most:", seen)
    assert seen["none"][0] > FREED_MIB
    # What is sent before the guest has told of it is a matter of which thread of the
    # host's runs first: 112 to 174 MiB with ours, 127 to 147 with stock, on one machine.
    for _ in range(TRIES - 1):
        if seen["ours"][0] <= 1.1 * seen["stock"][0] + NOISE_MIB:
            break
        seen = {**seen, **{name: min(seen[name], sent(kernel, module))
                           for name, module in DRIVERS.items()}}
        print("the least of all tries:", seen)
    assert seen["ours"][0] <= 1.1 * seen["stock"][0] + NOISE_MIB
    assert seen["ours"][0] < seen["none"][0] - FREED_MIB / 2
    assert seen["ours"][1] <= IN_FLIGHT_MIB
