# SPDX-License-Identifier: GPL-2.0
"""The command channel: a shell in the guest, spoken to over a serial line."""

import dataclasses
import itertools
import re
import select
import socket
import threading
import time

from . import LabError

# A request is one line; the guest's terminal takes 4096 bytes without anybody
# reading them.
REQUEST_LIMIT = 3500

_END = re.compile(rb"\n?@@(\w+) (\d+)\n")


# What the agent says when it begins, instead of a nonce.
READY = b"ready"


class AgentDied(LabError):
    """Nobody will answer: who was to do so is another process now."""


class CommandError(LabError):
    """A command ended with a status other than 0; see `result`."""

    def __init__(self, command, result):
        super().__init__(f"in the guest, status {result.rc} of: {command}\n"
                         f"{result.out}")
        self.result = result


@dataclasses.dataclass(frozen=True)
class Result:
    """What a command printed (both streams), and its exit status."""

    out: str
    rc: int


def escape(command):
    """Return a command as printf %b takes it: one line, any bytes but NUL."""
    data = command.encode("utf-8", "surrogateescape")
    plain = set(range(0x20, 0x7f)) - {ord("\\")}
    return b"".join(bytes([byte]) if byte in plain else b"\\0%03o" % byte
                    for byte in data)


class Channel:
    """Talks to the guest's agent.  One command at a time, from any thread.

    `check` is called while waiting and raises when the guest is gone.
    """

    def __init__(self, path, check):
        self.check = check
        self.lock = threading.RLock()
        self.nonces = itertools.count(1)
        self.pending = b""
        self.socket = socket.socket(socket.AF_UNIX)
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise

    def _until(self, nonce, what, timeout):
        """Return (bytes before, status) of the end mark of `nonce`.

        What older commands left behind is dropped with their end marks.
        """
        end = time.monotonic() + timeout
        seen = 0
        while True:
            for mark in _END.finditer(self.pending, seen):
                before = self.pending[:mark.start()]
                self.pending = self.pending[mark.end():]
                if mark[1] == nonce:
                    return before, int(mark[2])
                if mark[1] == READY:
                    raise AgentDied(f"{what}: the guest's agent has died and was started "
                                    f"again; it had printed: {before[-2000:]!r}")
                break
            else:
                # A mark may be cut in two by the end of what has come.
                seen = max(0, len(self.pending) - 64)
                left = end - time.monotonic()
                if left <= 0:
                    said = self.pending[-2000:].decode(errors="replace")
                    raise LabError(f"{what} took more than {timeout} s; "
                                   f"it had printed: {said!r}")
                self._receive(min(left, 0.2))
                continue
            seen = 0

    def _receive(self, seconds):
        if select.select([self.socket], [], [], seconds)[0]:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionResetError("QEMU closed the command channel")
            self.pending += data
        self.check()

    def wait_ready(self, timeout):
        """Wait for the agent to announce itself; it does once a boot."""
        with self.lock:
            self._until(READY, "booting to the command agent", timeout)

    def run(self, command, timeout):
        """Run a shell command in the guest; return its Result."""
        line = escape(command)
        if len(line) > REQUEST_LIMIT:
            raise LabError(f"command of {len(line)} bytes, the channel takes "
                           f"{REQUEST_LIMIT}: push a script: {command[:60]}")
        with self.lock:
            nonce = b"n%d" % next(self.nonces)
            self.socket.sendall(nonce + b" " + line + b"\n")
            out, status = self._until(nonce, f"`{command}`", timeout)
        return Result(out.decode("utf-8", "surrogateescape"), status)

    def close(self):
        """Close the connection."""
        self.socket.close()
