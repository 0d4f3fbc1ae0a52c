# SPDX-License-Identifier: GPL-2.0
"""The host's devices in tests: the daemon hintd, and evild, its hostile twin.

	with VhostBalloon(path, wire="sg") as balloon:
		... start QEMU with balloon.qemu_args() ...
		balloon.mode = "silent"

The balloon device of such a QEMU is the daemon. Lengths are in bytes.
"""

import contextlib
import json
import os
import pathlib
import select
import signal
import subprocess
import time
import types
from collections import defaultdict

from . import LabError, build, roots

START_TIMEOUT = 30      # seconds until it listens
STOP_TIMEOUT = 30       # seconds
ANSWER_TIMEOUT = 30     # seconds for a command of evild
POLL = 0.02             # seconds between two looks at statistics

# virtio 1.2, 5.5.3 "Feature bits" and 6 "Reserved Feature Bits"
VIRTIO_BALLOON_F_STATS_VQ = 1
VIRTIO_BALLOON_F_FREE_PAGE_HINT = 3
VIRTIO_BALLOON_F_PAGE_POISON = 4
VIRTIO_BALLOON_F_REPORTING = 5
VIRTIO_F_INDIRECT_DESC = 28
VIRTIO_F_VERSION_1 = 32

# What hintd offers, and what evild does in tests that do not care.
HINTD_FEATURES = (1, 4, 5, 28, 32)
DEFAULT_FEATURES = (VIRTIO_F_VERSION_1, VIRTIO_BALLOON_F_REPORTING)

VIRTIO_ID_BALLOON = 5   # virtio 1.2, 5 "Device Types"
CONFIG_SIZE = 16        # virtio 1.2, 5.5.4
MAX_QUEUES = 5          # virtio 1.2, 5.5.2
ABSURD_LEN = 0xffffffff

MODES = ("normal", "silent", "hold", "early", "wrong-id", "twice",
         "absurd-len", "absurd-idx", "no-work-irq", "config-storm", "reset",
         "leaps", "retake", "firecracker", "die")


def program(name):
    """Build a program of host/ when a source has changed; return its path."""
    return build.native("host", name, ())


def checked(name):
    """Build a program of tests/host, all of which ASan and UBSan watch."""
    return build.native("tests/host", name, ("host", "tests/unit/ktap.h"), "all")


def queue_roles(features):
    """What each queue index is for, by negotiated features."""
    roles = ["inflate", "deflate"]
    for bit, role in ((VIRTIO_BALLOON_F_STATS_VQ, "stats"),
                      (VIRTIO_BALLOON_F_FREE_PAGE_HINT, "hinting"),
                      (VIRTIO_BALLOON_F_REPORTING, "reporting")):
        if features >> bit & 1:
            roles.append(role)
    return roles


class Daemon:
    """A daemon that listens at a socket; a context manager.

    Add to QEMU 11.1 or later what qemu_args() returns. What that QEMU's test
    device does not do, seen: it has no MSI-X, one INTx serves all queues. It
    does not take a second connection: after the daemon has hung up the guest
    may still reset the device, but a driver that then sets DRIVER_OK aborts
    QEMU, and with reconnect-ms= on the chardev QEMU does not start at all. A
    change of the configuration that is announced while it stops the device, as
    at a reboot, now and then ends it with SIGSEGV (11.1.3). The QMP command
    x-query-virtio-status crashes it. A driver that does not accept
    ACCESS_PLATFORM where it is offered is refused FEATURES_OK.
    """

    name = None         # of the program
    program = staticmethod(program)

    def __init__(self, socket_path, wire):
        self.socket_path = os.fspath(socket_path)
        self.wire = wire
        self.process = None
        self.log = None

    def arguments(self):
        """The program's arguments."""
        raise NotImplementedError

    def listens(self):
        """Whether a front-end can connect, once the process is there."""
        return os.path.exists(self.socket_path)

    def look(self):
        """Return the statistics as a dict."""
        raise NotImplementedError

    def start(self):
        """Start it; it listens on return."""
        self.log = pathlib.Path(self.socket_path + ".log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [*roots.DIES_WITH_US, self.program(self.name),
                 *self.arguments()], stderr=log,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                start_new_session=True)
        end = time.monotonic() + START_TIMEOUT
        while not self.listens():
            if self.process.poll() is not None or time.monotonic() > end:
                raise LabError(f"{self.name} does not listen after "
                               f"{START_TIMEOUT} s; status "
                               f"{self.process.poll()}; it said: "
                               f"{self.said()}")
            time.sleep(POLL)
        return self

    def stop(self):
        """End it with SIGTERM; return its exit status. May be called twice."""
        if self.process is None:
            return None
        process, self.process = self.process, None
        process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(STOP_TIMEOUT)
        finally:
            roots.end(process)
            process.stdin.close()
            process.stdout.close()
        return status

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, error, _):
        status = self.stop()
        if kind is None and status not in (0, None):
            raise LabError(f"{self.name} ended with status {status}; "
                           f"it said: {self.said()}")

    def said(self):
        """Return what it has written to standard error."""
        return self.log.read_text(errors="replace")

    def snapshot(self):
        """Return the statistics; a reason that did not occur counts 0."""
        stats = self.look()
        for name in ("refused", "violations"):
            stats[name] = defaultdict(int, stats[name])
        return stats

    def wait_for(self, condition, timeout_s, what):
        """Wait until condition(stats) holds; `what` is said if it does not."""
        end = time.monotonic() + timeout_s
        while True:
            stats = self.snapshot()
            if condition(types.SimpleNamespace(**stats)):
                return stats
            if time.monotonic() > end:
                raise TimeoutError(f"waited {timeout_s} s for {what}; "
                                   f"statistics: {stats}; "
                                   f"{self.name} said: {self.said()}")
            time.sleep(POLL)

    def guest_bytes(self):
        """Guest memory the host backs now; 0 before a driver's DRIVER_OK, which
        is when QEMU first hands over the memory."""
        return self.look()["backed"]

    def device(self, vq_size=128, id="balloon0"):
        """The device of QEMU, as QMP wants it.

        vq_size: descriptors in each queue; its chardev is called {id}-chr.
        """
        return {"driver": "vhost-user-test-device-pci", "id": id,
                "virtio-id": VIRTIO_ID_BALLOON, "num_vqs": MAX_QUEUES,
                "vq_size": vq_size, "config_size": CONFIG_SIZE,
                "chardev": f"{id}-chr"}

    def qemu_args(self, **how):
        """The chardev and the device() as QEMU's arguments."""
        device = self.device(**how)
        return ["-chardev", f"socket,id={device['chardev']},"
                f"path={self.socket_path}", "-device", ",".join(
                    f"{key}={value}" if key != "driver" else value
                    for key, value in device.items())]

    def plug_into(self, vm, **how):
        """Plug the device() into a guest that runs."""
        device = self.device(**how)
        vm.plug((device["chardev"], self.socket_path), device)


class Hintd(Daemon):
    """The daemon itself. Its statistics lag by up to 200 ms."""

    name = "hintd"

    def __init__(self, socket_path, wire="hints", more=()):
        super().__init__(socket_path, wire)
        self.more = list(more)
        self.stats_file = pathlib.Path(self.socket_path + ".json")

    def arguments(self):
        return ["--socket-path", self.socket_path, "--wire", self.wire,
                "--stats-file", self.stats_file, *self.more]

    def listens(self):
        return self.stats_file.exists()

    def look(self):
        return json.loads(self.stats_file.read_text(encoding="ascii"))

    def guest_bytes(self):
        """As of now: the statistics file changes with the statistics only."""
        return backed_by(self.process.pid)


class CheckedHintd(Hintd):
    """The daemon under ASan and UBSan, which its sandbox would not let work."""

    @staticmethod
    def program(name):
        return checked(f"{name}_checked")

    def arguments(self):
        return [*super().arguments(), "--no-sandbox"]


def backed_by(pid):
    """Return the bytes behind the memory files that a process has mapped."""
    files = {}
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if os.readlink(entry).startswith("/memfd:"):
                status = os.stat(entry)
                files[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(files.values())


class VhostBalloon(Daemon):
    """evild: a device that can be told to misbehave.

    These may be set at any time:
    mode: one of MODES; host/evil/evil.h says what each does. What was not
    answered in one mode is answered, in order, according to the next.
    delay_s: a while, of modes "hold", "early", "config-storm", "leaps" and "retake".
    affected: role of the queue that `mode` is about; the others are normal.

    numbers: what gives a queue its number: the features that are "accepted", those
    that are "offered", or none ("fixed").

    A reset of the device by the driver (or a reboot, an unload, a paused VM)
    stops the rings: what was seen and not answered is dropped, and nothing of
    it is released later. The reset returns in the guest after that.
    """

    name = "evild"

    def __init__(self, socket_path, wire="sg", mode="normal", features=None,
                 delay_s=1.0, numbers="accepted"):
        super().__init__(socket_path, wire)
        self.numbers = numbers
        bits = DEFAULT_FEATURES if features is None else tuple(features)
        self.features = sum(1 << bit for bit in set(bits))
        self._settings = {"mode": mode, "delay_s": delay_s,
                          "affected": "reporting"}

    def arguments(self):
        return [self.socket_path, self.wire, hex(self.features)]

    def start(self):
        super().start()
        self._answer("ready")
        self._tell(f"number {self.numbers}")
        self.delay_s = self._settings["delay_s"]
        self.mode = self._settings["mode"]
        return self

    def _answer(self, command):
        if not select.select([self.process.stdout], [], [],
                             ANSWER_TIMEOUT)[0]:
            raise LabError(f"evild does not answer {command!r} within "
                           f"{ANSWER_TIMEOUT} s; it said: {self.said()}")
        line = self.process.stdout.readline().decode()
        if not line or line == "unknown\n":
            raise LabError(f"evild answers {line!r} to {command!r}; it said: "
                           f"{self.said()}")
        return line

    def _tell(self, command):
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()
        return self._answer(command)

    @property
    def mode(self):
        """What it does with buffers."""
        return self._settings["mode"]

    @mode.setter
    def mode(self, mode):
        self._tell(f"mode {mode}")
        self._settings["mode"] = mode

    @property
    def delay_s(self):
        """Seconds."""
        return self._settings["delay_s"]

    @delay_s.setter
    def delay_s(self, delay_s):
        self._tell(f"delay {round(delay_s * 1000)}")
        self._settings["delay_s"] = delay_s

    @property
    def affected(self):
        """Role of the queue that the mode is about."""
        return self._settings["affected"]

    @affected.setter
    def affected(self, role):
        self._tell(f"role {role}")
        self._settings["affected"] = role

    def hint(self):
        """Ask the driver for all that is free; return whether that was possible."""
        return self._tell("hint") == "ok\n"

    def unhint(self):
        """Do not ask it any more."""
        self._tell("unhint")

    def begin_run(self, acknowledge):
        """In mode "firecracker": begin a hint run, as its API does."""
        self._tell("start ack" if acknowledge else "start")

    def end_run(self):
        """And end it."""
        self._tell("stop")

    def transcript(self):
        """What the driver has said in that mode: [[word, bytes taken, and left]]"""
        return json.loads(self._tell("transcript"))

    def set_target(self, num_pages):
        """Ask the driver to inflate to num_pages pages of 4 KiB."""
        self._tell(f"target {num_pages}")

    def look(self):
        own, device = self._tell("stats").split("\t")
        return {**json.loads(own), **json.loads(device)}

    def config(self):
        """num_pages, actual, free_page_hint_cmd_id, poison_val"""
        return tuple(self.look()["config"])
