# SPDX-License-Identifier: GPL-2.0
"""A machine that is a QEMU process of ours: class QemuMachine."""

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

from . import cache, roots, saved, scan, tally
from .channel import Channel
from .machine import Machine
from .qmp import Qmp

# Seconds.
POWEROFF_TIMEOUT = 60
SOCKETS_TIMEOUT = 30

# Where QEMU's firmware is in a root.
FIRMWARE = ("usr/share/qemu", "usr/share/seabios")

# Taken from a processor that is emulated. Where these say that strings are fast,
# kernels clear and copy pages with instructions that the emulator does a byte at a
# time: touching memory takes two to seven times as long.
SLOW_STRINGS = "-erms,-fsrm"

_BOOTS = itertools.count(1)


class QemuMachine(Machine):
    """A context manager: boots on entry, powers off on exit.

    Leaving the context without an exception fails (GuestError) when the
    machine does not power off, the console holds evidence of trouble, or the
    kernel is tainted by more than out-of-tree and unsigned modules.

    A child says in boot() how it boots, and in resume() how it goes on from
    the state of one that has: with start_qemu() both. state_key() is None for one
    that has to boot.
    """

    counted_as = "qemu"		# in the tally

    def __init__(self, kernel, name, allow=()):
        super().__init__(kernel, name, allow)
        self.process = self.monitor = self.sockets = None
        self.started = None		# time.monotonic() when QEMU did
        self.resumed = False		# from a saved state
        self.boot_seconds = None	# from then to the first command
        self.files = []

    # Starting

    def make_folders(self):
        """Make the log folder, and one for sockets that goes with QEMU."""
        stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        self.logs = (cache.BUILD / "logs" /
                     f"{stamp}-{os.getpid()}-{next(_BOOTS):03}-{self.name}")
        self.logs.mkdir(parents=True)
        # Socket names are short by law: 108 bytes with the path.
        self.sockets = tempfile.mkdtemp(prefix="aerlab-")

    def serial(self, ident, log):
        """Return QEMU arguments for a chardev on a socket named `ident`."""
        return ["-chardev", f"socket,id={ident},path={self.sockets}/{ident},"
                f"server=on,wait=off,logfile={self.logs}/{log}"]

    def start_qemu(self, root, arguments):
        """Start the QEMU of a root and connect to its agent and monitor."""
        for place in FIRMWARE:
            arguments = ["-L", root / place, *arguments]
        if self.resumed:
            arguments = [*arguments, "-incoming", "defer"]
        command = [*roots.DIES_WITH_US, *roots.command(
            root, "usr/bin/qemu-system-x86_64", "-name", self.name,
            "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-chardev", f"file,id=console,path={self.logs}/console.log",
            "-serial", "chardev:console",
            *self.serial("agent", "agent.log"), "-serial", "chardev:agent",
            "-qmp", f"unix:{self.sockets}/qmp,server=on,wait=off", *arguments)]
        qemu_log = open(self.logs / "qemu.log", "wb")
        qmp_log = open(self.logs / "qmp.log", "w", encoding="utf-8")
        self.files += [qemu_log, qmp_log]
        qemu_log.write((shlex.join(command) + "\n").encode())
        qemu_log.flush()
        self.started = time.monotonic()
        modules = str(root / roots.LIBRARIES / "qemu")
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=qemu_log,
            stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, "QEMU_MODULE_DIR": modules})
        monitor = pathlib.Path(self.sockets, "qmp")
        self.channel = self.connected("agent")
        self.monitor = self._listening(
            lambda: Qmp(str(monitor), qmp_log, self.check_alive))

    def connected(self, ident, check=None):
        """Return a Channel to the chardev `ident`; `check` as in Channel."""
        path = pathlib.Path(self.sockets, ident)
        return self._listening(
            lambda: Channel(str(path), check or self.check_alive))

    def _listening(self, connect):
        """Return what `connect` returns once QEMU listens."""
        def attempt():
            try:
                return connect()
            except (FileNotFoundError, ConnectionError):
                return None

        return self.wait_until(attempt, "QEMU to make its sockets",
                               SOCKETS_TIMEOUT)

    def boot(self):
        """Start QEMU; wait until the machine takes commands."""
        raise NotImplementedError

    def resume(self):
        """Start QEMU with arguments for a state that is to come."""
        raise NotImplementedError

    def stop_to_save(self):
        """Stop the processors where their state can be loaded again."""
        self.qmp("stop")

    def state_key(self):
        """Return (image, key) of the state to start from, or None to boot."""
        return None

    def start_guest(self):
        """Boot; or start from the state of a machine like this that has.

        The first one of its kind boots, and leaves its state to the others.
        """
        state = self.state_key()
        if state is None:
            self._boot_counted()
            return

        def make(place):
            self._boot_counted()
            self.check_console()
            self.check_taint(self.tainted())
            saved.save(self, place)

        image, key = state
        place = cache.entry(key[:cache.KEY_LENGTH], key, make,
                            saved.place(image), quiet=True,
                            label=f"the state of a machine like {self.name}")
        if self.process is None:
            self.resumed = True
            self.resume()
            saved.load(self, place)
            self.run("true")
            self.boot_seconds = time.monotonic() - self.started
            tally.count("resumed")

    def _boot_counted(self):
        tally.count(self.counted_as)
        self.boot()

    def __enter__(self):
        try:
            self.start_guest()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, kind, error, _):
        if error is not None:
            error.add_note(f"{self.kind} {self.name!r}: logs in {self.logs}")
            self.kill()
            return
        try:
            self.check_console()
            if not self.ending:
                tainted = self.tainted()
                self.poweroff()
                self.check_taint(tainted)
                self.check_console()
            self.check_qemu_log()
        finally:
            self.kill()

    # What is wrong

    def _said(self):
        qemu = (self.logs / "qemu.log").read_text(errors="replace")
        said = "\n".join(qemu.splitlines()[1:])[-1000:]
        return f"QEMU said: {said}\n" if said else ""

    def check_qemu_log(self):
        """Raise GuestError when QEMU itself had something to complain about."""
        text = (self.logs / "qemu.log").read_text(errors="replace")
        lines = [line for line in text.splitlines()[1:]
                 if not scan.QEMU_BENIGN.search(line) and
                 not any(re.search(pattern, line) for pattern in self.allow)]
        if lines:
            self._fail("QEMU complained:\n  " + "\n  ".join(lines[:20]))

    def _settle(self):
        # QEMU is ending: its status says more than a socket does.
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            pass

    def check_alive(self):
        """Raise GuestError when the guest has panicked or QEMU has ended."""
        if self.ending:
            return
        self.check_panic()
        if self.process.poll() is not None:
            self._fail(f"QEMU ended, status {self.process.returncode}")

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

    @property
    def pid(self):
        """The process id of QEMU."""
        return self.process.pid

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
        for thing in (self.channel, self.monitor, *self.files):
            if thing:
                thing.close()
        if self.sockets:
            shutil.rmtree(self.sockets, ignore_errors=True)
