# SPDX-License-Identifier: GPL-2.0
"""What tests of hintd against a front-end of our own have in common."""

import contextlib

from lab.vhost_balloon import CheckedHintd
from lab.vhost_front import TIMEOUT_S, FrontEnd


@contextlib.contextmanager
def hintd_lab(folder):
    """A function that gives a daemon and a front-end connected to it.

    The daemon is one that ASan and UBSan watch, unless `daemon` says otherwise.
    """
    with contextlib.ExitStack() as stack:
        def make(wire="sg", acked=None, more=(), daemon=CheckedHintd,
                 **arguments):
            hintd = stack.enter_context(daemon(folder / "socket", wire, more))
            front = FrontEnd(hintd, acked, **arguments)
            stack.callback(front.close)
            return hintd, front
        yield make


def bits(*numbers):
    """Return a word with these bits set."""
    return sum(1 << number for number in numbers)


def counted(hintd, **wanted):
    """Wait until the statistics have these values; return them."""
    return hintd.wait_for(
        lambda stats: all(getattr(stats, name) == value
                          for name, value in wanted.items()),
        TIMEOUT_S, f"statistics {wanted}")


def said(hintd, text):
    """Wait until the daemon has put it into words."""
    hintd.wait_for(lambda _: text in hintd.said(), TIMEOUT_S, f"words: {text}")
