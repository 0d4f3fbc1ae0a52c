# SPDX-License-Identifier: GPL-2.0
"""A machine that runs the guest image and takes commands: class Machine.

What it is made of does not matter here: qemu.py has the guest of a QEMU,
xen.py domain 0 of a Xen, domain.py a domain of that.
"""

import base64
import re
import shlex
import time

from . import LabError, scan
from .channel import CommandError
from .job import Job
from .qmp import QmpError

CONSOLE_TAIL = 30	# lines of console in an error

# Bytes of a file that go into one command of push(), before base64.
PUSH_CHUNK = 2048

# Seconds that a boot, and a command, may take.  A boot takes 4-8 without KVM on an
# idle host.
BOOT_TIMEOUT = 240
RUN_TIMEOUT = 300


# Seconds between two looks at what is waited for: each costs the guest, too.
POLL = 0.1


class GuestError(LabError):
    """The guest or its QEMU went wrong; the text has the console's end."""


class Machine:
    """What all machines have in common; see its children.

    A child sets `channel` to a Channel and `logs` to its folder, and says in
    check_alive() when there is no point in waiting any more.
    """

    kind = "guest"
    console_name = "console.log"	# in `logs`
    boot_timeout = BOOT_TIMEOUT

    def __init__(self, kernel, name, allow=()):
        self.kernel = kernel
        self.name = name
        self.allow = list(allow)
        self.channel = self.logs = None
        self.ending = False		# its end is what we asked for
        self.console_seen = 0		# bytes of it that were looked at
        self.panicked = False

    def forget(self):
        """Forget how a boot ended, for another one."""
        self.ending = self.panicked = False
        self.console_seen = 0

    # What is wrong

    def check_alive(self):
        """Raise GuestError when the machine has panicked or is gone."""
        raise NotImplementedError

    def _said(self):
        """Return what else there is to say in an error, whole lines."""
        return ""

    def _settle(self):
        """Called after a connection broke: wait for its cause to be known."""

    def _fail(self, what):
        tail = self.console().splitlines()[-CONSOLE_TAIL:]
        raise GuestError(
            f"{self.kind} {self.name!r} (kernel {self.kernel}): {what}\n"
            f"logs: {self.logs}\n{self._said()}"
            "end of the console:\n" + "\n".join(tail)) from None

    def _guarded(self, action):
        """Do `action`; give a failure of the lab the console's end."""
        try:
            return action()
        except (GuestError, CommandError, QmpError):
            raise
        except (LabError, OSError) as error:
            if isinstance(error, ConnectionError):
                self._settle()
            self.check_alive()
            return self._fail(f"{error}")

    def check_panic(self):
        """Raise GuestError when the console says that the kernel gave up."""
        # Asked often, by every wait: look only at what is new.
        self.notice(self._new_lines())
        if self.panicked:
            self._fail(f"the {self.kind}'s kernel panicked")

    def _new_lines(self):
        try:
            with open(self.logs / self.console_name, "rb") as log:
                log.seek(self.console_seen)
                data = log.read()
        except FileNotFoundError:
            return ""
        data = data[:data.rfind(b"\n") + 1]
        self.console_seen += len(data)
        return data.decode(errors="replace")

    def notice(self, text):
        """Take note of new lines on the console."""
        self.panicked = self.panicked or scan.panicked(text)

    def check_log(self, text, where):
        """Raise GuestError when a log holds evidence of trouble."""
        found = scan.scan(text, self.allow)
        if found:
            lines = "\n".join(f"  {number}: {line}" for number, line in found)
            self._fail(f"evidence {where}:\n{lines}")

    def check_console(self):
        """Raise GuestError when the console holds evidence of trouble."""
        self.check_log(self.console(), "on the console")

    def tainted(self):
        """Return the value of the kernel's taint flags."""
        return int(self.read("/proc/sys/kernel/tainted"))

    def check_taint(self, tainted):
        """Raise GuestError when there are flags not from modules like ours."""
        bad = tainted & ~scan.TAINT_ALLOWED
        if bad and not any(re.search(pattern, f"tainted {bad}")
                           for pattern in self.allow):
            self._fail(f"the kernel is tainted, value {tainted}, of which "
                       f"{bad} is not from loading modules like ours")

    # Talking to it

    def wait_ready(self):
        """Wait until the agent announces itself, as it does after a boot."""
        self._guarded(lambda: self.channel.wait_ready(self.boot_timeout))

    def run(self, command, timeout=RUN_TIMEOUT, check=True):
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

    def text(self, path):
        """Return a short text file in the guest, each line with its end.

        No program is started for it: for what is looked at over and over.
        """
        return self.run(f"<{path}").out

    def console(self):
        """Return all that the kernel has printed on its console."""
        try:
            text = (self.logs / self.console_name).read_bytes()
        except FileNotFoundError:
            return ""
        return text.decode(errors="replace").replace("\r", "")

    def kernel_log(self):
        """Return the kernel's log buffer (dmesg)."""
        return self.run("dmesg").out

    def wait_until(self, condition, what, timeout, poll=POLL):
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
