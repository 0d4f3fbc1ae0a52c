# SPDX-License-Identifier: GPL-2.0
"""Boots the guest image under QEMU and talks to it: class Vm.

	with Vm("6.1", "my-test") as vm:
		vm.run("modprobe aeration_virtio")
		vm.wait_until(lambda: vm.rss() < limit, "memory back", 10)

QEMU is the one of the kernel's own suite, run from its root as an ordinary
process of ours, so its resident set is what the host gives to the guest.
"""

import base64
import datetime
import itertools
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import tempfile
import time

from . import LabError, cache, image, kernels, roots, scan
from .channel import Channel, CommandError
from .job import Job
from .qmp import Qmp, QmpError
from .sampler import PERIOD, Sampler, rss

# Seconds.  A boot takes 4-8 without KVM on an idle host.
BOOT_TIMEOUT = 120
POWEROFF_TIMEOUT = 60

# Seconds for the agent to answer before the guest it is in goes to sleep.
SLEEP_DELAY = 3

CONSOLE_TAIL = 30	# lines of console in an error

# Bytes of a file that go into one command of push(), before base64.
PUSH_CHUNK = 2048

COMMAND_LINE = "console=ttyS0 rdinit=/init ignore_loglevel panic=-1"

# Where QEMU's firmware is in a root.
FIRMWARE = ("usr/share/qemu", "usr/share/seabios")

_BOOTS = itertools.count(1)


class GuestError(LabError):
    """The guest or its QEMU went wrong; the text has the console's end."""


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
    return "tcg,thread=multi"


def _properties(balloon):
    """Return the -device text of the balloon from Vm's argument."""
    properties = {"free-page-reporting": "on"}
    if isinstance(balloon, dict):
        properties.update(balloon)
    text = ",".join(f"{key}={value}" for key, value in properties.items())
    if isinstance(balloon, str):
        text += "," + balloon
    return "virtio-balloon-pci,id=balloon0," + text


class Vm:
    """A guest.  A context manager: boots on entry, powers off on exit.

    kernel        series of the kernel to boot, "6.1"
    name          for the log folder, build/logs/TIME-NAME/
    mem_mib, cpus size of the guest
    qemu_of       series of the suite whose QEMU to use; default: kernel's own
    balloon       True, False, or more properties of the virtio-balloon-pci
                  device `balloon0`, as a dict or as "key=value,..."
    cmdline       more kernel command line
    extra         more QEMU arguments
    share_memory  guest memory is a shared memfd (for vhost-user devices)
    allow         regular expressions of console lines that are expected
    machine       "pc" or "q35"
    pvh           boot the unpacked kernel; False boots it as packaged, which
                  takes 1-4 s longer and is what S3 sleep needs: QEMU resets a
                  PVH guest at wake-up instead of resuming it
    wait          wait for the boot; False with extra=["-incoming", ...]

    Leaving the context without an exception fails (GuestError) when the
    guest does not power off, the console holds evidence of trouble, or the
    kernel is tainted by more than out-of-tree and unsigned modules.
    """

    def __init__(self, kernel, name, *, mem_mib=2048, cpus=2, qemu_of=None,
                 balloon=True, cmdline="", extra=(), share_memory=False,
                 allow=(), machine="pc", pvh=True,
                 wait=True):
        self.kernel = kernel
        self.name = name
        self.mem_mib = mem_mib
        self.cpus = cpus
        self.qemu_of = qemu_of or kernel
        self.balloon = balloon
        self.cmdline = cmdline
        self.extra = list(extra)
        self.share_memory = share_memory
        self.allow = list(allow)
        self.machine = machine
        self.pvh = pvh
        self.wait = wait
        self.process = self.channel = self.monitor = self.sampler = None
        self.boot_seconds = None	# from starting QEMU to the first command
        self.ending = False		# its end is what we asked for
        self.console_size = 0
        self.panicked = False
        self.files = []

    # Starting

    def _arguments(self, guest):
        which = kernels.kernel(self.kernel)
        memory = ["-m", f"{self.mem_mib}M"]
        machine = f"{self.machine},usb=off"
        if self.share_memory:
            memory += ["-object", "memory-backend-memfd,id=ram,share=on,"
                       f"size={self.mem_mib}M"]
            machine += ",memory-backend=ram"
        devices = []
        if self.machine == "q35":
            # A device on the root bus of q35 can not be unplugged.
            devices += ["-device", "pcie-root-port,id=port0,chassis=1,slot=1",
                        "-device", "pcie-root-port,id=port1,chassis=2,slot=2"]
        if self.balloon is not False:
            bus = ",bus=port0" if self.machine == "q35" else ""
            devices += ["-device", _properties(self.balloon) + bus]
        sleep = "ICH9-LPC" if self.machine == "q35" else "PIIX4_PM"
        return [
            "-name", self.name, "-machine", machine,
            "-accel", accelerator(), "-cpu", "max", "-smp", str(self.cpus),
            *memory, "-nodefaults", "-no-user-config", "-display", "none",
            "-no-reboot", "-global", f"{sleep}.disable_s3=0",
            "-kernel", which.vmlinux if self.pvh else which.vmlinuz,
            "-initrd", guest.path,
            "-append", f"{COMMAND_LINE} {self.cmdline}".strip(),
            "-chardev", f"file,id=console,path={self.logs}/console.log",
            "-serial", "chardev:console",
            "-chardev", f"socket,id=agent,path={self.sockets}/agent,"
            f"server=on,wait=off,logfile={self.logs}/agent.log",
            "-serial", "chardev:agent",
            "-qmp", f"unix:{self.sockets}/qmp,server=on,wait=off",
            *devices, *self.extra]

    def start_guest(self):
        """Start QEMU and wait for the guest's agent, unless wait=False."""
        guest = image.image()
        root = roots.root_for(self.qemu_of)
        stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        self.logs = (cache.BUILD / "logs" /
                     f"{stamp}-{os.getpid()}-{next(_BOOTS):03}-{self.name}")
        self.logs.mkdir(parents=True)
        # Socket names are short by law: 108 bytes with the path.
        self.sockets = tempfile.mkdtemp(prefix="aerlab-")
        arguments = self._arguments(guest)
        for place in FIRMWARE:
            arguments = ["-L", root / place, *arguments]
        command = roots.command(root, "usr/bin/qemu-system-x86_64",
                                *arguments)
        qemu_log = open(self.logs / "qemu.log", "wb")
        qmp_log = open(self.logs / "qmp.log", "w", encoding="utf-8")
        self.files += [qemu_log, qmp_log]
        qemu_log.write((shlex.join(command) + "\n").encode())
        qemu_log.flush()
        begin = time.monotonic()
        modules = str(root / roots.LIBRARIES / "qemu")
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=qemu_log,
            stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, "QEMU_MODULE_DIR": modules})
        agent = pathlib.Path(self.sockets, "agent")
        monitor = pathlib.Path(self.sockets, "qmp")
        self.channel = self._connected(
            lambda: Channel(str(agent), self.check_alive))
        self.monitor = self._connected(
            lambda: Qmp(str(monitor), qmp_log, self.check_alive))
        self.sampler = Sampler(self.process.pid, PERIOD)
        if self.wait:
            self.wait_ready()
            self.boot_seconds = time.monotonic() - begin

    def _connected(self, connect):
        """Return what `connect` returns once QEMU listens."""
        def attempt():
            try:
                return connect()
            except (FileNotFoundError, ConnectionError):
                return None

        return self.wait_until(attempt, "QEMU to make its sockets", 30)

    def wait_ready(self, timeout=BOOT_TIMEOUT):
        """Wait until the agent announces itself, as it does after a boot."""
        self._guarded(lambda: self.channel.wait_ready(timeout))

    def __enter__(self):
        try:
            self.start_guest()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, kind, error, _):
        if error is not None:
            error.add_note(f"guest {self.name!r}: logs in {self.logs}")
            self.kill()
            return
        try:
            if self.process.poll() is None:
                tainted = int(self.read("/proc/sys/kernel/tainted"))
                self.poweroff()
                self._check_taint(tainted)
            self.check_console()
        finally:
            self.kill()

    # What is wrong

    def _fail(self, what):
        tail = self.console().splitlines()[-CONSOLE_TAIL:]
        qemu = (self.logs / "qemu.log").read_text(errors="replace")
        said = "\n".join(qemu.splitlines()[1:])[-1000:]
        raise GuestError(
            f"guest {self.name!r} (kernel {self.kernel}): {what}\n"
            f"logs: {self.logs}\n" + (f"QEMU said: {said}\n" if said else "") +
            "end of the console:\n" + "\n".join(tail)) from None

    def _guarded(self, action):
        """Do `action`; give a failure of the lab the console's end."""
        try:
            return action()
        except (GuestError, CommandError, QmpError):
            raise
        except (LabError, OSError) as error:
            if isinstance(error, ConnectionError):
                # QEMU is ending: its status says more than a socket does.
                self._ended_within(1)
            self.check_alive()
            return self._fail(f"{error}")

    def _ended_within(self, seconds):
        try:
            self.process.wait(seconds)
            return True
        except subprocess.TimeoutExpired:
            return False

    def check_alive(self):
        """Raise GuestError when the guest has panicked or QEMU has ended."""
        if self.ending:
            return
        log = self.logs / "console.log"
        size = log.stat().st_size if log.exists() else 0
        if size != self.console_size:
            # Asked often, by every wait: read it only when it has grown.
            self.console_size = size
            self.panicked = scan.panicked(self.console())
        if self.panicked:
            self._fail("the guest's kernel panicked")
        if self.process.poll() is not None:
            self._fail(f"QEMU ended, status {self.process.returncode}")

    def check_console(self):
        """Raise GuestError when the console holds evidence of trouble."""
        found = scan.scan(self.console(), self.allow)
        if found:
            lines = "\n".join(f"  {number}: {line}" for number, line in found)
            self._fail(f"evidence on the console:\n{lines}")

    def _check_taint(self, tainted):
        bad = tainted & ~scan.TAINT_ALLOWED
        if bad and not any(re.search(pattern, f"tainted {bad}")
                           for pattern in self.allow):
            self._fail(f"the kernel is tainted, value {tainted}, of which "
                       f"{bad} is not from loading modules like ours")

    # Talking to it

    def run(self, command, timeout=60, check=True):
        """Run a shell command in the guest; return its Result(out, rc).

        Raises CommandError on a status other than 0 unless `check` is false,
        GuestError when it takes longer than `timeout` seconds or the guest
        dies.
        """
        result = self._guarded(lambda: self.channel.run(command, timeout))
        if check and result.rc:
            raise CommandError(command, result)
        return result

    def start(self, command):
        """Start a shell command in the guest and return its Job at once."""
        return Job(self, command)

    def push(self, path, data, mode=None):
        """Write the bytes `data` to a file in the guest."""
        place = shlex.quote(path)
        self.run(f": > {place}")
        for offset in range(0, len(data), PUSH_CHUNK):
            text = base64.b64encode(data[offset:offset + PUSH_CHUNK]).decode()
            self.run(f"echo {text} | base64 -d >> {place}")
        if mode is not None:
            self.run(f"chmod {mode:o} {place}")

    def read(self, path):
        """Return the bytes of a file in the guest."""
        text = self.run(f"cat {shlex.quote(path)}").out
        return text.encode("utf-8", "surrogateescape")

    def console(self):
        """Return all that the kernel has printed on its console."""
        try:
            text = (self.logs / "console.log").read_bytes()
        except FileNotFoundError:
            return ""
        return text.decode(errors="replace").replace("\r", "")

    def kernel_log(self):
        """Return the kernel's log buffer (dmesg)."""
        return self.run("dmesg").out

    def wait_until(self, condition, what, timeout, poll=0.05):
        """Wait for `condition()` to be true; return its value.

        Raises GuestError naming `what` after `timeout` seconds, or at once
        when the guest has died.
        """
        end = time.monotonic() + timeout
        while True:
            value = condition()
            if value:
                return value
            self.check_alive()
            if time.monotonic() > end:
                self._fail(f"waited {timeout} s in vain for {what}")
            time.sleep(poll)

    # The host's side

    def qmp(self, command, arguments=None, timeout=30, **more):
        """Run a QMP command; keyword arguments have _ for QMP's -.

        Raises QmpError when QEMU refuses.
        """
        arguments = dict(arguments or {})
        arguments.update({key.replace("_", "-"): value
                          for key, value in more.items()})
        return self._guarded(
            lambda: self.monitor.execute(command, arguments, timeout))

    def wait_event(self, name, timeout=30, match=lambda data: True):
        """Return the data of the next QMP event `name`."""
        return self._guarded(
            lambda: self.monitor.wait_event(name, timeout, match))

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

    @property
    def pid(self):
        """The process id of QEMU."""
        return self.process.pid

    def rss(self):
        """Return the bytes of host memory that QEMU has."""
        return rss(self.pid)

    @property
    def samples(self):
        """[(time.monotonic(), rss in bytes)] since the last sample()."""
        return self.sampler.samples

    def sample(self, period=PERIOD):
        """Start the samples anew, one each `period` seconds."""
        self.sampler.stop()
        self.sampler = Sampler(self.pid, period)

    # Ending

    def poweroff(self):
        """Power the guest off and wait for QEMU to end."""
        self.ending = True
        try:
            self.channel.socket.sendall(b"off poweroff -f\n")
            status = self.process.wait(POWEROFF_TIMEOUT)
        except (OSError, subprocess.TimeoutExpired):
            self.ending = False
            self.check_alive()
            self._fail(f"no power-off within {POWEROFF_TIMEOUT} s")
        if status:
            self._fail(f"QEMU ended with status {status} at power-off")

    def kill(self):
        """End QEMU now, whatever the guest is doing, and clean up."""
        self.ending = True
        if self.process:
            roots.end(self.process)
        if self.sampler:
            self.sampler.stop()
        for thing in (self.channel, self.monitor, *self.files):
            if thing:
                thing.close()
        if getattr(self, "sockets", None):
            shutil.rmtree(self.sockets, ignore_errors=True)
