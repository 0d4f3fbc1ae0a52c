# SPDX-License-Identifier: GPL-2.0
"""Boots the guest image under QEMU and talks to it: class Vm.

	with Vm("6.1", "my-test") as vm:
		vm.run("modprobe aeration_virtio")
		vm.wait_until(lambda: vm.resident() < limit, "memory back", 10)

QEMU is the one of the kernel's own suite, run from its root as an ordinary
process of ours, so what it has of the guest's memory is what the host gives.
"""

import functools
import os
import pathlib
import re
import subprocess
import time

from . import LabError, cache, image, kernels, roots, saved, say, scan, tally
from .machine import GuestError
from .process import SLOW_STRINGS, QemuMachine
from .sampler import PERIOD, Sampler, present, resident

__all__ = ["GuestError", "Vm", "accelerator"]

# Seconds for the agent to answer before the guest it is in goes to sleep.
SLEEP_DELAY = 3

# The kernel panics if the timer does not tick while it looks for a moment, as it may
# on a busy host without KVM; with KVM it does not look either.
COMMAND_LINE = ("console=ttyS0 rdinit=/init ignore_loglevel panic=-1 "
                "no_timer_check")

# What an emulated guest has no use for and pays for with each instruction or at
# boot: mitigations, tests of ciphers, and a clock behind a device, which 6.1 turns
# to when it finds that emulated processors are slow to agree on their counters.
QUICK_LINE = "mitigations=off cryptomgr.notests tsc=reliable"

# Of translated code, MiB: QEMU's own choice depends on the machine.
TB_SIZE = 256

# A kernel that says nothing for so long, and has run nothing of the image yet, hangs:
# seconds. On a busy host it is silent for ten.
SILENCE = 45

# For `icount`: one instruction takes 8 ns, so a processor is as slow as it is here,
# emulated.
ICOUNT_SHIFT = 3

# Seconds for it to say what a device can do.
QEMU_TIMEOUT = 30

# What a kernel that crashes because it was told to says is no evidence, until the one
# that it has loaded for that begins.
_CRASH = re.compile(r"Kernel panic - not syncing: sysrq triggered crash\n.*?"
                    r"(?=Linux version )", re.S)
_BEGINS = "Linux version "

# Between two looks whether a device has been plugged in, seconds.
PLUG_POLL = 0.1
PLUG_TIMEOUT = 120


def accelerator():
    """Return QEMU's -accel argument for this machine.

    A /dev/kvm that opens is not enough: without the processor flag a guest
    hangs in its boot ROM.
    """
    flags = re.search(r"^flags\s*:(.*)$", pathlib.Path(
        "/proc/cpuinfo").read_text(encoding="ascii", errors="replace"), re.M)
    if flags and {"vmx", "svm"} & set(flags[1].split()) and \
            os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "kvm"
    return f"tcg,thread=multi,tb-size={TB_SIZE}"


@functools.cache
def _synchronous(root):
    """Return what makes the balloon answer before the guest goes on.

    That of QEMU 7.2 always does, and knows no such property.
    """
    done = subprocess.run(
        roots.command(root, "usr/bin/qemu-system-x86_64", "-device",
                      "virtio-balloon-pci,help"),
        capture_output=True, text=True, check=True, timeout=QEMU_TIMEOUT)
    return {"ioeventfd": "off"} if "ioeventfd=" in done.stdout else {}


def _properties(balloon, more):
    """Return the -device text of the balloon from Vm's argument."""
    properties = {"free-page-reporting": "on", **more}
    if isinstance(balloon, dict):
        properties.update(balloon)
    text = ",".join(f"{key}={value}" for key, value in properties.items())
    if isinstance(balloon, str):
        text += "," + balloon
    return "virtio-balloon-pci,id=balloon0," + text


class Vm(QemuMachine):
    """A guest.  A context manager: boots on entry, powers off on exit.

    kernel        series of the kernel to boot, "6.1"
    name          for the log folder, build/logs/TIME-NAME/
    mem_mib, cpus size of the guest
    qemu_of       series of the suite whose QEMU to use; default: kernel's own
    balloon       True, False, or more properties of the virtio-balloon-pci
                  device `balloon0`, as a dict or as "key=value,..."
    cmdline       more kernel command line
    extra         more QEMU arguments
    share_memory  guest memory is a shared memfd (for vhost-user devices); True,
                  or more properties of it, as "key=value,..."; or another
                  object, as "memory-backend-TYPE,key=value,..."
    allow         regular expressions of console lines that are expected
    machine       "pc" or "q35"
    pvh           boot the unpacked kernel; False boots it as packaged, which
                  takes 1-4 s longer and is what S3 sleep needs: QEMU resets a
                  PVH guest at wake-up instead of resuming it
    vmlinux       boot this kernel of our own instead, see tree.py
    own           boot a kernel of our own with modules for it, a tree.Kernel
    icount        a shift: every instruction takes 2^shift ns of the guest's
                  time, and an idle guest's time leaps to its next timer;
                  without KVM, and processors take turns. QEMU's own balloon
                  answers before the guest goes on. Nothing outside does: while
                  a guest waits for it, or for a command, hours go by
    wait          wait for the boot; False with extra=["-incoming", ...]
    plain         the kernel command line is what a user's would be, nothing
                  on it to make emulation quicker
    fresh         boot, and do not start from the state of a guest that has

    A guest with nothing special about it does start from such a state: see
    state_key().
    """

    silence = SILENCE

    def __init__(self, kernel, name, *, mem_mib=2048, cpus=2, qemu_of=None,
                 balloon=True, cmdline="", extra=(), share_memory=False,
                 allow=(), machine="pc", pvh=True,
                 vmlinux=None, own=None, icount=None, wait=True, plain=False,
                 fresh=False):
        super().__init__(kernel, name, allow)
        self.mem_mib = mem_mib
        self.cpus = cpus
        self.qemu_of = qemu_of or kernel
        self.balloon = balloon
        self.cmdline = cmdline
        self.extra = list(extra)
        self.share_memory = share_memory
        self.machine = machine
        self.pvh = pvh
        self.vmlinux = vmlinux or (own and own.vmlinux)
        self.own = own
        self.icount = icount
        self.wait = wait
        self.plain = plain
        self.fresh = fresh
        self.kvm = accelerator() == "kvm" and icount is None
        self.sampler = None
        self.memory = {0: mem_mib << 20}	# bytes by the guest's address
        self.places = None			# the same, in QEMU
        self.heard = None	# while it boots: (when, bytes of console)
        self.crashed = False		# as it was told to
        self.crashing = False		# and the next kernel has not begun yet

    # Starting

    def _arguments(self, guest):
        which = kernels.kernel(self.kernel)
        memory = ["-m", f"{self.mem_mib}M"]
        machine = f"{self.machine},usb=off"
        if self.share_memory:
            more = "" if self.share_memory is True else self.share_memory
            kind, _, rest = more.partition(",")
            if not kind.startswith("memory-backend-"):
                kind, rest = "memory-backend-memfd", more
            memory += ["-object", f"{kind},id=ram,share=on,"
                       f"size={self.mem_mib}M" + f",{rest}" * bool(rest)]
            machine += ",memory-backend=ram"
        devices = []
        if self.machine == "q35":
            # A device on the root bus of q35 can not be unplugged.
            devices += ["-device", "pcie-root-port,id=port0,chassis=1,slot=1",
                        "-device", "pcie-root-port,id=port1,chassis=2,slot=2"]
        if self.balloon is not False:
            bus = ",bus=port0" if self.machine == "q35" else ""
            devices += ["-device", _properties(
                self.balloon, {} if self.icount is None else
                _synchronous(roots.root_for(self.qemu_of))) + bus]
        speed = ["-accel", accelerator()]
        processor = "max" if self.kvm else f"max,{SLOW_STRINGS}"
        if self.icount is not None:
            speed = ["-accel", f"tcg,thread=single,tb-size={TB_SIZE}",
                     "-icount", f"shift={self.icount},sleep=off"]
        sleep = "ICH9-LPC" if self.machine == "q35" else "PIIX4_PM"
        return [
            "-machine", machine,
            *speed, "-cpu", processor, "-smp", str(self.cpus),
            *memory, "-global", f"{sleep}.disable_s3=0",
            "-kernel", self.vmlinux or (
                which.vmlinux if self.pvh else which.vmlinuz),
            "-initrd", self.own.initrd if self.own else guest.path,
            "-append", " ".join(word for word in (
                COMMAND_LINE, "" if self.plain else QUICK_LINE,
                self.own.line if self.own else "", self.cmdline) if word),
            *devices, *self.extra]

    def resume(self):
        """Start QEMU with what the guest was booted with."""
        self.make_folders()
        self.start_qemu(roots.root_for(self.qemu_of),
                        self._arguments(image.image()))

    def _boot_once(self):
        self.resume()
        if self.wait:
            self.heard = time.monotonic(), 0
            self.wait_ready()
            self.heard = None
            self.boot_seconds = time.monotonic() - self.started
            doubt = scan.doubts_its_clock(self.console())
            if doubt:
                self._fail(f"the kernel's clock is wrong: {doubt}")

    def check_alive(self):
        """Raise GuestError when the guest has panicked, hangs, or is gone."""
        super().check_alive()
        if self.heard is None:
            return
        since, size = self.heard
        if self.console_seen != size:
            self.heard = time.monotonic(), self.console_seen
        elif time.monotonic() - since > self.silence and \
                scan.never_began(self.console()):
            self._fail(f"the kernel has said nothing for {self.silence} s and "
                       "has run nothing")

    def state_key(self):
        """Return (image, key), or None to boot: see QemuMachine.

        What a test says on the command line, or adds to QEMU's, is what it is
        about: it boots with that. With KVM a boot is quick.
        """
        special = (self.cmdline, self.extra, self.vmlinux and not self.own,
                   not self.pvh,
                   self.machine != "pc", isinstance(self.share_memory, str),
                   not isinstance(self.balloon, bool))
        if self.fresh or not self.wait or any(special) or \
                self.kvm:
            return None
        guest = image.image()
        root = roots.root_for(self.qemu_of)
        which = kernels.kernel(self.kernel)
        return guest, saved.key(
            guest.sha256, which.version, kernels.stamp(self.kernel),
            (root.parent / cache.STAMP).read_text(encoding="utf-8"),
            roots.qemu_digest(root),
            self.own and self.own.key, self._arguments(guest))

    def boot(self):
        """Start QEMU and wait for the guest's agent, unless wait=False.

        A guest that the emulator tripped over, or left hanging, before there
        was anything of ours in it is booted once more; the logs of both are
        kept, and it is counted. Of a kernel that ours is built into that is
        one that does not know how fast its clock is: it finds that out before.
        """
        try:
            self._boot_once()
        except GuestError:
            ours = self.vmlinux and not self.own
            if self.kvm or not (scan.doubts_its_clock(self.console()) if ours
                                else self._emulator_erred()):
                raise
            say(f"{self.name}: the emulator failed before there was anything "
                f"of ours, booting again; logs: {self.logs}")
            tally.count("again")
            self.kill()
            self.forget()
            self._boot_once()

    def _emulator_erred(self):
        text = self.console()
        hangs = self.process and self.process.poll() is None
        return scan.emulator_tripped(text) or scan.doubts_its_clock(text) or (
            hangs and scan.never_began(text))

    # The host's side

    def plug(self, chardev, device):
        """Plug in a virtio device whose chardev is a socket to connect to.

        `chardev` is (id, path of the socket), `device` a dict with driver and
        id. Returns once the guest's virtio bus has it.
        """
        ident, path = chardev
        self.qmp("chardev-add", {"id": ident, "backend": {
            "type": "socket", "data": {"server": False, "addr": {
                "type": "unix", "data": {"path": str(path)}}}}})
        there = self.run("ls /sys/bus/virtio/devices").out
        self.qmp("device_add", device)
        self.wait_until(
            lambda: self.run("ls /sys/bus/virtio/devices").out != there,
            f"the guest to find {device['id']}", PLUG_TIMEOUT, PLUG_POLL)

    def suspend(self, timeout=60):
        """Put the guest to sleep (S3), wake it, wait until it is back.

        Needs pvh=False and machine="pc": under q35 a guest that has slept
        wakes by itself from its next sleep, and cannot power off.  Nothing
        is sent to the guest meanwhile: it would be lost with the state of
        its serial port.  It sleeps a while after the command, because the
        agent could not answer once it is frozen, and nobody would wake it.
        """
        if self.pvh or self.machine != "pc":
            raise LabError('S3 sleep needs Vm(..., pvh=False, machine="pc")')
        woken = self.console().count("PM: suspend exit")
        job = self.start(f"sleep {SLEEP_DELAY}; echo mem > /sys/power/state")
        self.wait_event("SUSPEND", timeout)
        self.qmp("system_wakeup")
        self.wait_until(
            lambda: self.console().count("PM: suspend exit") > woken,
            "the guest to resume", timeout)
        job.wait(timeout)

    def crash(self):
        """Have the kernel crash; wait for the one that it has loaded for that.

        From the same image: it takes commands then. The one that crashes is looked at
        before.
        """
        self.check_console()
        self.check_taint(self.tainted())
        self.crashed = self.crashing = True
        self._guarded(lambda: self.channel.socket.sendall(
            b"crash echo c > /proc/sysrq-trigger\n"))
        self.wait_ready()

    def notice(self, text):
        """Take note of new lines on the console."""
        if self.crashing:
            _, begins, text = text.partition(_BEGINS)
            self.crashing = not begins
        super().notice(text)

    def check_log(self, text, where):
        """Raise GuestError when a log holds evidence of trouble."""
        super().check_log(_CRASH.sub("", text) if self.crashed else text, where)

    def plugged_memory(self, address, length):
        """Take memory into account that was plugged in: see resident().

        address: where the guest has it; length: bytes.
        """
        self.memory[address] = length
        self.places = None

    def _places(self):
        """Return [(address in QEMU, bytes)] of the guest's memory."""
        if self.places is None:
            places = []
            for address, length in self.memory.items():
                said = self.qmp("human-monitor-command",
                                command_line=f"gpa2hva {address:#x}")
                found = re.search(r"is (0x[0-9a-f]+)", said)
                if not found:
                    raise LabError(f"QEMU does not say where the guest's memory "
                                   f"at {address:#x} is, but: {said}")
                places.append((int(found[1], 16), length))
            self.places = places
        return self.places

    def resident(self):
        """Return the bytes that the host gives to the guest's memory.

        Of a guest with shared memory, what QEMU has mapped of it: others may
        have more, and a daemon knows how much the file has.
        """
        return sum(resident(self.pid, *place) for place in self._places())

    def present(self):
        """Return a byte for each page of the guest's memory: does the host give it?

        Of a guest whose memory is all at address 0 and up, as of 3 GiB and less.
        """
        (start, length), = self._places()
        return present(self.pid, start, length)

    @property
    def samples(self):
        """[(time.monotonic(), resident bytes)] since the last sample()."""
        if self.sampler is None:
            self.sample()
        return self.sampler.samples

    def sample(self, period=PERIOD):
        """Start the samples anew, one each `period` seconds."""
        if self.sampler:
            self.sampler.stop()
        pid, places = self.pid, self._places()
        self.sampler = Sampler(
            lambda: sum(resident(pid, *place) for place in places), period)

    # Ending

    def kill(self):
        """End QEMU now, whatever the guest is doing, and clean up."""
        super().kill()
        if self.sampler:
            self.sampler.stop()
