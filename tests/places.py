# SPDX-License-Identifier: GPL-2.0
"""The places of the matrix: how each is booted, and who judges from outside.

All hosts here have the same methods, which test_matrix.py calls.
"""

import contextlib
import hashlib
import pathlib
import re
import time

import domu
import guest
from guest import MIB
from lab import LabError, dom0, tree
from lab.domain import XL_POLL
from lab.qemu import Vm
from lab.xen import Xen

HELD_MIB = 384		# what a program uses and frees, on QEMU
PATTERN_MIB = 256	# what is filled with patterns there
DOMAIN_MIB = 448	# a domain's memory
DOM0_MIB = 768		# domain 0's, which gives single frames
DOM0_SURPLUS_MIB = 160	# of which this much at least is surplus
DOM0_BURST_MIB = 240	# and so much is used again

# Of a machine beside domain 0, for Xen.
XEN_MIB = 256

# What QEMU may lose of the guest's memory though nothing is given to it.
NOISE_MIB = 40

# Seconds after which surplus would have gone: with the default window it goes
# after one, and the mm looks every two.
IN_VAIN = 5

# What free memory may differ by before and after, in KiB. A module and a
# program leave some of their own; what we took is counted exactly, too.
LOST_KIB = 8192
LOST_DOMAIN_KIB = 20480

# Guests of this kernel are booted with no more on the command line than a user's.
AS_USERS_DO = "7.3"

# Everything there is; the command line decides.
MODULES = "aeration_virtio aeration_xen aeration_hyperv aeration_loop"


class Host:
    """A cell that has booted; see the children for who judges it."""

    lost_kib = LOST_KIB
    batches = 20		# that fly while integrity is checked
    asks = False		# the core itself asks for the backend's module
    words = ""			# of each page: "every", or some

    def __init__(self, cell, vm):
        self.cell = cell
        self.vm = vm
        self.free_kib = None	# before anything was loaded

    def start(self):
        """Load everything, as on any other host."""
        if self.cell.built_in:
            return
        self.free_kib = guest.free_kib(self.vm)
        self.vm.run("modprobe aeration")
        if self.cell.runs and self.asks:
            guest.wait_value(self.vm, "state", "running")
        # Some of them refuse this host.
        self.vm.run(f"modprobe -a {MODULES}", check=False)

    def image_sha256(self):
        """Return the SHA-256 of the image that was booted."""
        argv = pathlib.Path(f"/proc/{self.vm.pid}/cmdline").read_text(
            encoding="utf-8").split("\0")
        path = argv[argv.index("-initrd") + 1]
        return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()

    def use_and_free(self):
        """Have surplus where there is none yet."""

    def gone(self):
        """Wait until the surplus is seen to have left."""
        raise NotImplementedError

    def stayed(self):
        """Fail unless nothing has left."""
        assert guest.stat(self.vm, "bytes") == 0

    def again(self):
        """Use all of it again."""
        raise NotImplementedError

    def integrity_mib(self):
        """Return how much memory to fill with patterns."""
        return PATTERN_MIB

    def integrity(self):
        """No page of the guest's memory is wrong while batches fly."""
        done = self.vm.run(
            f"/opt/aeration/integrity {self.batches} 1500 "
            f"{self.integrity_mib()} 2048 {self.words}", guest.HUNG,
            check=False)
        assert not done.rc, done.out

    def restored(self):
        """With nothing running, the guest has all that it had."""
        assert guest.stat(self.vm, "in_flight_bytes") == 0
        assert domu.held_mib(self.vm) == 0
        assert domu.states(self.vm)["quarantined"] == 0

    def nobody_died(self):
        """No process died for want of memory."""
        # A small kernel does not count them, but its log tells.
        assert "Out of memory" not in self.vm.kernel_log()
        if not self.cell.built_in:
            assert domu.oom_kills(self.vm) == 0

    def nothing_fits(self):
        """Called when auto has found nothing that it may take."""

    def end(self):
        """Unload everything; nothing is lost."""
        self.nobody_died()
        if not self.cell.built_in:
            # What is with Xen comes back first.
            self.vm.run(f"for m in {MODULES}; do "
                        "[ ! -e /sys/module/$m ] || rmmod $m || exit; done",
                        domu.LONG)
        self.restored()
        if not self.cell.built_in:
            self.vm.run("rmmod aeration")
            guest.expect_free(self.vm, self.free_kib - self.lost_kib)


class Qemu(Host):
    """QEMU with its own balloon device; what it has of the guest judges."""

    balloon = True

    def __init__(self, cell, vm):
        super().__init__(cell, vm)
        self.before = None	# outside, when the program had its memory

    def start(self):
        super().start()
        if not self.cell.built_in:
            guest.said(self.vm, "hyperv refused: this does not run on Hyper-V")

    def outside(self):
        """Return what the host gives to the guest, as its judges see it."""
        return [self.vm.resident()]

    def use_and_free(self):
        job = guest.hold(self.vm, HELD_MIB)
        self.before = self.outside()
        assert min(self.before) > HELD_MIB * MIB
        guest.free_held(self.vm, job)
        guest.end_held(self.vm, job)

    def less(self, mib):
        """Has so much left since the program had its memory?"""
        return all(now <= before - mib * MIB for now, before in
                   zip(self.outside(), self.before, strict=True))

    def gone(self):
        self.vm.wait_until(lambda: self.less(guest.leaves(HELD_MIB)),
                           f"{guest.leaves(HELD_MIB)} of {HELD_MIB} MiB to "
                           "leave the host", guest.SOON)

    def stayed(self):
        time.sleep(IN_VAIN)
        assert not self.less(NOISE_MIB)
        super().stayed()

    def again(self):
        self.use_and_free()
        assert guest.stat(self.vm, "errors") == 0


class Hintd(Qemu):
    """hintd is the device; the blocks of the memory file judge, too."""

    def __init__(self, cell, vm, hintd):
        super().__init__(cell, vm)
        self.hintd = hintd
        self.counted = None

    def outside(self):
        return [self.hintd.guest_bytes(), self.vm.resident()]

    def start(self):
        super().start()
        self.vm.run(f"echo 0 > {guest.SYSFS}/reserve_mb")

    def use_and_free(self):
        self.counted = self.hintd.snapshot()
        super().use_and_free()

    def gone(self):
        super().gone()
        start, wanted = self.counted, guest.leaves(HELD_MIB) * MIB
        end = self.hintd.wait_for(
            lambda stats: stats.bytes_released >=
            start["bytes_released"] + wanted,
            guest.SOON, "the statistics to say so")
        assert end["bytes_released"] <= end["bytes_told"]

    def integrity(self):
        self.vm.run(f"echo 0 > {guest.SYSFS}/window_ms")
        super().integrity()
        assert self.hintd.snapshot()["buffers"] > self.batches

    def end(self):
        super().end()
        stats = self.hintd.snapshot()
        for reason in ("refused", "violations"):
            assert not stats[reason], stats[reason]
        for name in ("ring_errors", "messages_refused", "release_errors",
                     "bytes_partial", "indirect"):
            assert not stats[name], name
        assert stats["max_descriptors"] == (
            1 if self.cell.place.wire == "hints" else 32)
        assert stats["guest"]["total_memory"] > HELD_MIB * MIB


class Loop(Qemu):
    """No hypervisor device: nothing leaves; the test device has a record."""

    balloon = False
    record = "/sys/kernel/debug/aeration_loop/batches"

    def __init__(self, cell, vm):
        super().__init__(cell, vm)
        self.recorded_before = 0

    def nothing_fits(self):
        assert "no virtio balloon device" in guest.value(self.vm, "why/virtio")

    def recorded(self):
        """Return the bytes of all batches that were acknowledged."""
        text = self.vm.run(f"cat {self.record}").out
        lines = text.splitlines()
        assert not lines or lines[0].startswith("0 "), "the record is full"
        return sum(4096 << int(order) for line in lines
                   for order in re.findall(r" [0-9a-f]+/(\d+)(?!\S)", line))

    def use_and_free(self):
        self.recorded_before = self.recorded()
        super().use_and_free()

    def gone(self):
        self.vm.wait_until(
            lambda: self.recorded() >= self.recorded_before +
            guest.leaves(HELD_MIB) * MIB,
            f"{guest.leaves(HELD_MIB)} of {HELD_MIB} MiB to be in the record",
            guest.SOON)
        assert not self.less(NOISE_MIB)

    def stayed(self):
        super().stayed()
        assert self.recorded() == 0

    def restored(self):
        super().restored()
        if self.vm.run(f"test -e {self.record}", check=False).rc == 0:
            assert self.recorded() == guest.stat(self.vm, "bytes")


class Domain(Host):
    """A domain of Xen, or domain 0; `xl list` and `xl info` judge."""

    lost_kib = LOST_DOMAIN_KIB
    batches = 6		# of 512 blocks at most, elsewhere 32
    asks = True

    def __init__(self, cell, vm, xen, ident, mib, slack):
        super().__init__(cell, vm)
        self.xen = xen
        self.ident = ident
        self.mib = mib		# of memory that it has
        self.slack = slack	# MiB, in what Xen has free
        self.surplus = mib * domu.SURPLUS_SHARE
        self.total = self.available = None

    def counts(self):
        """Return the MiB of the domain, and what Xen has besides."""
        listing = self.xen.xl(f"list {self.ident}").splitlines()
        return int(listing[1].split()[2]), self.xen.free_mib()

    def start(self):
        if self.cell.built_in:
            domu.settled(self.vm, self.surplus)
        self.total = sum(self.counts())
        self.available = domu.available_mib(self.vm)
        super().start()

    def has(self, mib):
        """Xen agrees that the domain has so much, and that it has the rest."""
        def agreed():
            now, free = self.counts()
            return abs(now - mib) <= domu.ROUNDING_MIB and \
                abs(now + free - self.total) <= self.slack

        self.vm.wait_until(agreed, f"Xen to count {mib:.0f} MiB for the "
                           f"domain, and {self.total - mib:.0f} as free",
                           guest.SOON, poll=XL_POLL)

    def gone(self):
        held = domu.settled(self.vm, self.surplus)
        self.has(self.mib - held)
        # The kernel trusts none of what it would have to reclaim first by a
        # part as large as its low watermarks.
        assert domu.available_mib(self.vm) >= self.available - 64
        # A block may go, or come, at any time.
        self.vm.wait_until(
            lambda: self.xen.run(
                f"xenstore-read /local/domain/{self.ident}"
                "/data/aeration/held", check=False).out.strip() ==
            str(int(domu.held_mib(self.vm) * 1024)),
            "xenstore to say how much is held", guest.SOON, poll=XL_POLL)

    def stayed(self):
        time.sleep(IN_VAIN)
        super().stayed()
        self.restored()

    def burst(self):
        """Use more than is free: most of what is held has to come back."""
        domu.burst(self.vm, int(self.available * 0.9))

    def again(self):
        self.burst()
        self.nobody_died()
        domu.settled(self.vm, self.surplus)

    def integrity_mib(self):
        return int(self.available * 0.6)

    def restored(self):
        super().restored()
        self.has(self.mib)


class DomU(Domain):
    """A domain beside others, one after the other, on a shared machine."""

    def __init__(self, cell, vm, xen):
        super().__init__(cell, vm, xen, vm.id, DOMAIN_MIB,
                         2 * domu.ROUNDING_MIB)

    def image_sha256(self):
        path = self.vm.config["ramdisk"]
        return self.xen.run(f"sha256sum {path}").out.split()[0]

    def burst(self):
        if self.cell.place.host == "pvh":
            domu.comes_in_superpages(self.xen, self.vm,
                                     int(self.available * 0.9))
        else:
            super().burst()


class Dom0(Domain):
    """Domain 0, which sees the balloon of the host that Xen itself is on."""

    def __init__(self, cell, xen):
        super().__init__(cell, xen, xen, 0, DOM0_MIB, 8)
        self.mib = self.counts()[0]
        self.surplus = DOM0_SURPLUS_MIB

    def burst(self):
        domu.burst(self.vm, DOM0_BURST_MIB)

    def integrity_mib(self):
        return DOM0_SURPLUS_MIB

    def start(self):
        super().start()
        guest.said(self.vm, "virtio refused: this is a Xen domain")
        assert "the balloon of an outer host" in guest.value(
            self.vm, "why/virtio")

    def image_sha256(self):
        # The image with an archive behind it, and QEMU has another file first.
        argv = pathlib.Path(f"/proc/{self.vm.pid}/cmdline").read_text(
            encoding="utf-8").split("\0")
        path = argv[argv.index("-initrd") + 1].split(",")[-1]
        size = int(self.vm.run(f"stat -c %s {dom0.IMAGE}").out)
        with open(path, "rb") as booted:
            return hashlib.sha256(booted.read(size)).hexdigest()


class SharedXen:
    """A Xen machine for cells one after the other; a new one after a failure.

    `chosen` are all cells of this run: the machine has the kernels they want.
    """

    def __init__(self, chosen):
        self.chosen = [cell for cell in chosen
                       if cell.place.host in ("pvh", "pv")]
        self.machine = None
        self.free_mib = None	# of the machine without a domain

    def _boot(self, wanted):
        version = wanted.place.xen
        if self.machine and (self.machine.version != version or
                             wanted.built_in != bool(self.machine.own_kernels)):
            self.close()
        if self.machine:
            return self.machine
        here = [cell for cell in self.chosen if cell.place.xen == version and
                cell.built_in == wanted.built_in]
        own = {cell.kernel: tree.built() / "vmlinux"
               for cell in here if cell.built_in}
        series = sorted({cell.kernel for cell in here if not cell.built_in})
        machine = Xen(version, f"matrix-{version}", kernels=series,
                      own_kernels=own)
        # It stays for the cells after this one.
        machine.__enter__()
        self.machine = machine
        self.free_mib = machine.free_mib()
        return machine

    @contextlib.contextmanager
    def domain(self, cell):
        """A domain for a cell; yields (machine, domain).

        At its end the domain is gone, and Xen has what it had before.
        """
        machine = self._boot(cell)
        try:
            domain = machine.domain(
                cell.kernel, cell.place.host, name=cell.name,
                mem_mib=DOMAIN_MIB, cmdline=f"aeration.backend={cell.word}")
            yield machine, domain
            domain.finish()
            machine.wait_until(
                lambda: machine.free_mib() >= self.free_mib -
                domu.ROUNDING_MIB, "the domain's memory to be Xen's again",
                guest.SOON, poll=XL_POLL)
            machine.check_console()
        except BaseException as error:
            self.machine = None
            machine.__exit__(type(error), error, error.__traceback__)
            raise

    def close(self):
        """Power the machine off, if there is one; fail on evidence."""
        machine, self.machine = self.machine, None
        if machine:
            machine.__exit__(None, None, None)


@contextlib.contextmanager
def booted(cell, shared):
    """Boot a cell; yields its Host.  `shared` is a SharedXen."""
    place, name = cell.place, f"matrix-{cell.name}"
    line = f"aeration.backend={cell.word}"
    if place.host in ("pvh", "pv"):
        with shared.domain(cell) as (xen, domain):
            yield DomU(cell, domain, xen)
    elif place.host == "dom0":
        with Xen(place.xen, name, dom0_kernel=cell.series, dom0_mib=DOM0_MIB,
                 mem_mib=DOM0_MIB + XEN_MIB,
                 cmdline_dom0=f"{line} aeration.max_held=100%", extra=[
                     "-device",
                     "virtio-balloon-pci,free-page-reporting=on"]) as xen:
            yield Dom0(cell, xen)
    elif place.host == "hintd":
        with guest.hintd_at(place.wire) as hintd, guest.hintd_guest(
                cell.kernel, name, hintd, cmdline=line) as vm:
            yield Hintd(cell, vm, hintd)
    else:
        kind = {"qemu": Qemu, "loop": Loop}.get(place.host)
        if kind is None:
            raise LabError(f"nobody knows how to boot {place.host!r}")
        own = {"vmlinux": tree.built() / "vmlinux"} if cell.built_in else {}
        with Vm(cell.series, name, balloon=kind.balloon, cmdline=line,
                plain=cell.series == AS_USERS_DO, **own) as vm:
            yield kind(cell, vm)
