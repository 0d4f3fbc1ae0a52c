# SPDX-License-Identifier: GPL-2.0
"""QEMU's qtest protocol: read and write a guest's memory and its devices.

The guest runs on meanwhile, and sees what a device or another processor of it
could have done.
"""

import socket

from . import LabError

TIMEOUT_S = 30		# of an answer


class Qtest:
    """A connection; QEMU needs the arguments that qemu_args() returns."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(TIMEOUT_S)
        self.socket.connect(path)
        self.file = self.socket.makefile("r", encoding="ascii")

    @staticmethod
    def qemu_args(path):
        """Return QEMU's arguments for one that listens at `path`."""
        return ["-qtest", f"unix:{path},server=on,wait=off",
                "-qtest-log", "/dev/null"]

    def close(self):
        """Hang up; the guest runs on."""
        self.file.close()
        self.socket.close()

    def _ask(self, *words):
        self.socket.sendall((" ".join(words) + "\n").encode())
        answer = self.file.readline().split()
        if not answer or answer[0] != "OK":
            raise LabError(f"qtest: {' '.join(words)}: {answer}")
        return answer[1:]

    def read(self, address, bits):
        """Return the number of 16 or 32 bits at a physical address."""
        letter = {16: "w", 32: "l"}[bits]
        return int(self._ask(f"read{letter}", hex(address))[0], 0)

    def write(self, address, bits, value):
        """Write such a number."""
        letter = {16: "w", 32: "l"}[bits]
        self._ask(f"write{letter}", hex(address), hex(value))
