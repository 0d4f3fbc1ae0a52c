# SPDX-License-Identifier: GPL-2.0
"""Huge pages of this machine, for memory of guests."""

import contextlib
import fcntl
import pathlib

from . import cache

PAGE_SIZE = 2 << 20
FOLDER = pathlib.Path("/sys/kernel/mm/hugepages/hugepages-2048kB")


def _number(name):
    return int((FOLDER / name).read_text(encoding="ascii"))


def _want(count):
    with contextlib.suppress(PermissionError):
        (FOLDER / "nr_hugepages").write_text(str(count), encoding="ascii")


@contextlib.contextmanager
def pages(count):
    """Yield whether this machine has so many huge pages for us alone.

    Those that are missing are asked for, which takes root, and given back.
    """
    if not FOLDER.exists():
        yield False
        return
    cache.BUILD.mkdir(parents=True, exist_ok=True)
    with open(cache.BUILD / "huge.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        there, free = _number("nr_hugepages"), _number("free_hugepages")
        if free < count:
            _want(there + count - free)
        try:
            yield _number("free_hugepages") >= count
        finally:
            if free < count:
                _want(there)
