# SPDX-License-Identifier: GPL-2.0
"""Machines that have booted once: their state in a file, to start many from.

A state is what QEMU's migration writes of a machine that waits for commands. It
belongs to one image, kernel, QEMU and set of arguments, which are its key, and to
one tree: it is in build/states. What cannot be saved:

- a vhost-user device (QEMU marks it so): it is plugged in afterwards;
- the content of a socket, a log or a file outside: those are new.

A Xen machine can, on a processor whose virtualisation QEMU emulates: what Xen has
set up in it is in the state of the processor. So can PVH domains that run on it
(seen with 4.17 and 4.20), if their consoles' ports are open when the state is
loaded, as they were: else domain 0 sees its end of the console closed, and the
domain runs on, but nobody hears of it. It was not tried with PV and HVM ones.
"""

import contextlib
import hashlib
import shutil
import time

from . import LabError, cache

STATES = cache.BUILD / "states"

# A tree has states of so many images: of this one, and of the one that a check
# beside this may have begun with.
IMAGES = 2

NAME = "state"

# Seconds. A state has 100 to 400 MiB.
SAVE_TIMEOUT = 300
LOAD_TIMEOUT = 120

# As fast as the file takes it, bytes a second.
BANDWIDTH = 1 << 40


def key(*parts):
    """Return the key of a state from all that decides what is in it."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def place(image):
    """Return the folder of the states of an Image; older images' go."""
    wanted = STATES / image.sha256[:cache.KEY_LENGTH]
    if not wanted.exists():
        wanted.mkdir(parents=True, exist_ok=True)
        old = sorted(STATES.iterdir(), key=lambda path: path.stat().st_mtime)
        for path in old[:-IMAGES]:
            cache.remove(path)
    return wanted


def _wait(machine, what, timeout):
    end = time.monotonic() + timeout
    while True:
        status = machine.qmp("query-migrate")
        if status.get("status") == "completed":
            return
        if status.get("status") == "failed":
            raise LabError(f"{machine.name}: {what} failed: "
                           f"{status.get('error-desc', 'QEMU does not say why')}; "
                           f"{shutil.disk_usage(cache.BUILD).free >> 20} MiB are "
                           f"free in {cache.BUILD}")
        if time.monotonic() > end:
            raise LabError(f"{machine.name}: {what} took more than {timeout} s")
        time.sleep(0.02)


def _uri(machine, path):
    """Say how QEMU gets at the file; the newer ones write it with holes."""
    known = {one["capability"] for one in
             machine.qmp("query-migrate-capabilities")}
    if "mapped-ram" not in known:
        return f"exec:cat >{path}", f"exec:cat {path}"
    machine.qmp("migrate-set-capabilities", capabilities=[
        {"capability": "mapped-ram", "state": True}])
    return f"file:{path}", f"file:{path}"


def save(machine, folder, name=NAME):
    """Write the state of a machine into a folder; it goes on afterwards."""
    machine.stop_to_save()
    machine.qmp("migrate-set-parameters", max_bandwidth=BANDWIDTH)
    machine.qmp("migrate", uri=_uri(machine, folder / name)[0])
    _wait(machine, "saving its state", SAVE_TIMEOUT)
    machine.qmp("cont")


def load(machine, folder):
    """Let a machine that was started for it go on from a saved state.

    A state that QEMU does not take is removed: the next one boots.
    """
    try:
        machine.qmp("migrate-incoming", uri=_uri(machine, folder / NAME)[1])
        _wait(machine, "loading its state", LOAD_TIMEOUT)
        machine.qmp("cont")
    except LabError as error:
        with contextlib.suppress(FileNotFoundError):
            (folder / cache.STAMP).unlink()
        raise LabError(f"{machine.name}: loading its state failed, so that it "
                       f"is removed and the next one boots: {error}") from None
