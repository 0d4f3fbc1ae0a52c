# SPDX-License-Identifier: GPL-2.0
"""A small client of QEMU's machine protocol (QMP): JSON lines on a socket."""

import json
import select
import socket
import threading
import time

from . import LabError


class QmpError(LabError):
    """QEMU refused a command; `kind` is its error class."""

    def __init__(self, command, error):
        super().__init__(f"QMP {command}: {error.get('class')}: "
                         f"{error.get('desc')}")
        self.kind = error.get("class")


class Lines:
    """Splits a byte stream into JSON objects, one a line."""

    def __init__(self):
        self.rest = b""

    def feed(self, data):
        """Take bytes; return the objects that are complete now."""
        *lines, self.rest = (self.rest + data).split(b"\n")
        return [json.loads(line) for line in lines if line.strip()]


class Qmp:
    """One QMP connection.  Safe to use from several threads.

    `check` is called while waiting and raises when waiting has become
    pointless.  `log` is a writable text file.
    """

    def __init__(self, path, log, check=lambda: None, timeout=30):
        self.log = log
        self.check = check
        self.lines = Lines()
        self.events = []	# each as QEMU sent it
        self.answers = []
        self.lock = threading.RLock()
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise
        self._await(lambda: self._answer("QMP"), "the greeting", timeout)
        self.execute("qmp_capabilities", timeout=timeout)

    def _receive(self, seconds):
        if not select.select([self.socket], [], [], seconds)[0]:
            return
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionResetError("QEMU closed its QMP connection")
        for message in self.lines.feed(data):
            self.log.write(f"< {json.dumps(message)}\n")
            (self.events if "event" in message else
             self.answers).append(message)

    def _answer(self, *keys):
        for message in self.answers:
            if any(key in message for key in keys):
                self.answers.remove(message)
                return message
        return None

    def _await(self, pick, what, timeout):
        end = time.monotonic() + timeout
        while True:
            found = pick()
            if found is not None:
                return found
            left = end - time.monotonic()
            if left <= 0:
                raise LabError(f"QMP: no {what} within {timeout} s")
            self._receive(min(left, 0.2))
            self.check()

    def execute(self, command, arguments=None, timeout=30):
        """Run a command; return what it returns, or raise QmpError."""
        with self.lock:
            message = {"execute": command}
            if arguments:
                message["arguments"] = arguments
            line = json.dumps(message)
            self.log.write(f"> {line}\n")
            self.log.flush()
            self.socket.sendall(line.encode() + b"\n")
            answer = self._await(lambda: self._answer("return", "error"),
                                 f"answer to {command}", timeout)
            if "error" in answer:
                raise QmpError(command, answer["error"])
            return answer["return"]

    def wait_event(self, name, timeout=30, match=lambda data: True):
        """Return the data of the next event `name` that `match` accepts.

        Events that came since the connection was made count; one that was
        returned does not come again.
        """
        def pick():
            for event in self.events:
                data = event.get("data", {})
                if event["event"] == name and match(data):
                    self.events.remove(event)
                    return data
            return None

        with self.lock:
            return self._await(pick, f"event {name}", timeout)

    def close(self):
        """Close the connection."""
        self.socket.close()
