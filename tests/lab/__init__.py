# SPDX-License-Identifier: GPL-2.0
"""The lab: boots the project's modules on stock kernels under QEMU.

Read suites.py for what exists, qemu.py for how a test talks to a guest.
Standard library only.
"""

import sys
import time

_START = time.monotonic()


class LabError(Exception):
    """Something the lab needs did not happen; the text says what and where."""


def say(text):
    """Print one progress line on stderr, with the seconds since the start."""
    sys.stderr.write(f"lab [{time.monotonic() - _START:6.1f}s] {text}\n")
    sys.stderr.flush()
