# SPDX-License-Identifier: GPL-2.0
"""hintd's control socket: the host asks a guest for all that is free, now."""

import contextlib
import json
import select
import socket
import struct
import tempfile

import pytest

import guest
from front import bits, hintd_lab
from guest import MIB, leaves
from lab import vhost_proto as proto
from lab.vhost_balloon import CheckedHintd, Hintd
from lab.vhost_front import BUFFER, FREE, TIMEOUT_S
from lab.vhost_proto import PAGE_SIZE, VRING_DESC_F_WRITE

# What is accepted: VERSION_1, the protocol's own bit, hints and reports.
FEATURES = bits(30, 32, 3, 5)
HINTING = 2

STOP, DONE, FIRST = 0, 1, 2

HELD_MIB = 384


class Control:
    """A client of the control socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(TIMEOUT_S)
        self.socket.connect(str(path))
        self.answers = self.socket.makefile("r")

    def tell(self, command):
        """Send a command."""
        self.socket.sendall(command.encode() + b"\n")

    def answer(self):
        """Return the next answer."""
        return self.answers.readline()

    def ask(self, command):
        """Send a command; return its answer."""
        self.tell(command)
        return self.answer()

    def close(self):
        """Hang up."""
        self.answers.close()
        self.socket.close()


@pytest.fixture
def lab(tmp_path):
    """A function that gives a daemon, a front-end and a client."""
    path = tmp_path / "control"
    with hintd_lab(tmp_path) as make, contextlib.ExitStack() as stack:
        def start(acked=FEATURES, **arguments):
            hintd, front = make(acked=acked, more=["--control-socket", path],
                                **arguments)
            client = Control(path)
            stack.callback(client.close)
            return hintd, front, client
        yield start


both_ways = pytest.mark.parametrize("daemon", [CheckedHintd, Hintd],
                                    ids=["checked", "in its sandbox"])


def asked(front):
    """Return the command id that the configuration has."""
    reply = front.ask(proto.GET_CONFIG, proto.CONFIG_HEADER.pack(8, 4, 0) + bytes(4))
    return struct.unpack("<I", reply[12:])[0]


def wait_asked(front, wanted):
    """Wait until the configuration asks for that."""
    for _ in range(TIMEOUT_S * 10):
        if asked(front) == wanted:
            return
        select.select([], [], [], 0.1)
    raise AssertionError(f"command id {asked(front)}, not {wanted}")


def word(front, value, **arguments):
    """Post a word on the hinting queue; each has a place of its own."""
    place = BUFFER + 4 * value
    front.memory[place:place + 4] = struct.pack("<I", value)
    front.post([(place, 4, 0)], queue=HINTING, **arguments)


def block(front, address, length):
    """Post a free block on the hinting queue."""
    front.post([(address, length, VRING_DESC_F_WRITE)], queue=HINTING)


def used(front, count):
    """Wait until so many buffers of the hinting queue are used."""
    front.wait_used(count, f"{count} buffers of the hinting queue", queue=HINTING)


@both_ways
def test_flush(lab, daemon):
    """Blocks between the id and 0 go, the host is told how much; again works."""
    hintd, front, client = lab(daemon=daemon)
    assert front.offered & bits(3)
    for turn in range(2):
        here = FREE + turn * MIB
        assert asked(front) == (DONE if turn else STOP)
        client.tell("flush")
        wait_asked(front, FIRST + turn)
        assert front.is_data(here, MIB)
        block(front, here, PAGE_SIZE)
        used(front, 4 * turn + 1)
        assert front.is_data(here, MIB), "hinted before the run began"
        word(front, FIRST + turn)
        used(front, 4 * turn + 2)
        block(front, here, 4 * PAGE_SIZE)
        used(front, 4 * turn + 3)
        assert front.is_hole(here, 4 * PAGE_SIZE)
        assert asked(front) == FIRST + turn
        word(front, STOP)
        used(front, 4 * turn + 4)
        length = 4 * PAGE_SIZE
        assert client.answer() == f"ok hinted {length} released {length}\n"
        assert asked(front) == DONE
    stats = json.loads(client.ask("stats").removeprefix("ok "))
    assert stats["blocks"] == 2 and not stats["refused"]


def test_refused_hints(lab):
    """What is no memory of the guest's is refused, and the run goes on."""
    hintd, front, client = lab()
    client.tell("flush")
    wait_asked(front, FIRST)
    word(front, FIRST)
    for address, length in ((1 << 40, PAGE_SIZE), (FREE + 1, PAGE_SIZE), (FREE, 0)):
        block(front, address, length)
    block(front, FREE, PAGE_SIZE)
    word(front, STOP)
    assert client.answer() == f"ok hinted {PAGE_SIZE} released {PAGE_SIZE}\n"
    assert json.loads(client.ask("stats").removeprefix("ok "))["refused"] == {
        "outside RAM": 1, "misaligned": 2}


NO_GUEST = ("error no guest is connected whose driver takes free page hints "
            "(feature bit 3)\n")


@pytest.mark.parametrize("without", ["bit 3", "queue", "front-end"])
def test_flush_without_a_guest(lab, without):
    """No front-end, no bit 3, no queue: each is an answer at once."""
    hintd, front, client = lab(acked=bits(30, 32, 5) if without == "bit 3" else FEATURES)
    if without == "queue":
        front.stop_queue(HINTING)
    if without == "front-end":
        front.close_quietly()
    assert client.ask("flush") == NO_GUEST


def begin_run(front, client):
    """Ask for a run; the guest begins."""
    client.tell("flush")
    wait_asked(front, FIRST)
    word(front, FIRST)
    used(front, 1)


@pytest.mark.parametrize("how, answer", [
    ("reset", "the guest has reset the device, or is gone"),
    ("bits", "the guest's driver takes no free page hints"),
    ("gone", "the front-end is gone")])
def test_guest_ends_a_run(lab, how, answer):
    """A guest that goes away in a run ends it."""
    hintd, front, client = lab()
    begin_run(front, client)
    if how == "reset":
        front.acknowledged(proto.RESET_DEVICE, b"")
    elif how == "bits":
        # As QEMU does when a driver without bit 3 takes over.
        for queue in list(front.kicks):
            front.stop_queue(queue)
        front.acknowledged(proto.SET_FEATURES, struct.pack("<Q", bits(30, 32, 5)))
    else:
        front.close_quietly()
    assert client.answer() == f"error {answer}\n"
    if how != "gone":
        assert asked(front) == STOP


def test_paused_guest_goes_on(lab):
    """A guest whose queue is stopped in a run, and started again, goes on."""
    hintd, front, client = lab()
    begin_run(front, client)
    base = front.stop_queue(HINTING)
    front.acknowledged(proto.SET_FEATURES, struct.pack("<Q", FEATURES))
    front.start_queue(HINTING, base)
    block(front, FREE, MIB)
    word(front, STOP)
    assert client.answer() == f"ok hinted {MIB} released {MIB}\n"
    assert front.is_hole(FREE, MIB)


def test_paused_for_too_long(lab):
    """A guest that is paused in a run for longer than anybody waits is told of its end."""
    hintd, front, client = lab()
    begin_run(front, client)
    base = front.stop_queue(HINTING)
    client.close()
    wait_asked(front, STOP)
    front.start_queue(HINTING, base)
    block(front, FREE, MIB)
    word(front, STOP)
    used(front, 3)
    assert front.is_data(FREE, MIB), "nobody has asked for it any more"
    wait_asked(front, DONE)


def test_guest_that_says_nothing(lab):
    """That is an error after half a minute, and nothing is taken of it any more."""
    hintd, front, client = lab()
    client.socket.settimeout(guest.SOON)
    client.tell("flush")
    assert client.answer() == "error the guest has said nothing for 30 s\n"
    assert asked(front) == STOP
    word(front, FIRST)
    block(front, FREE, MIB)
    word(front, STOP)
    used(front, 3)
    assert front.is_data(FREE, MIB)
    wait_asked(front, DONE)
    client.tell("flush")
    wait_asked(front, FIRST + 1)
    word(front, FIRST + 1)
    block(front, FREE, MIB)
    word(front, STOP)
    assert client.answer() == f"ok hinted {MIB} released {MIB}\n"


def channel(front):
    """Return a socket on which the front-end is told of changes."""
    ours, theirs = socket.socketpair()
    ours.settimeout(TIMEOUT_S)
    front.send(proto.SET_BACKEND_REQ_FD, b"", [theirs.fileno()])
    theirs.close()
    return ours


def wait_told(told):
    """Wait until the front-end is told that the configuration has changed."""
    request, flags, size = proto.HEADER.unpack(told.recv(proto.HEADER.size))
    assert request == proto.BACKEND_CONFIG_CHANGE_MSG
    assert flags == proto.FLAG_VERSION | proto.FLAG_NEED_REPLY and not size


def take_notice(told):
    """The front-end says that it has heard of a change, as QEMU does."""
    told.sendall(proto.HEADER.pack(
        proto.BACKEND_CONFIG_CHANGE_MSG, proto.FLAG_VERSION | proto.FLAG_REPLY, 8) + bytes(8))


UNREAD = "error it is done, and the front-end takes no notice of that\n"


@pytest.mark.parametrize("command", ["flush", "balloon 3"])
@pytest.mark.parametrize("reads", [True, False])
def test_answer_when_it_is_read(lab, command, reads):
    """The client hears of it after the front-end, or that this looks away.

    Whoever is answered may stop the guest, which is no time for a front-end to hear of a
    change.
    """
    hintd, front, client = lab()
    with channel(front) as told:
        client.tell(command)
        wait_told(told)
        if command == "flush":
            take_notice(told)
            word(front, FIRST)
            word(front, STOP)
            wait_told(told)
        # What the guest reads is no sign of it: that may be of an earlier one.
        assert asked(front) == (DONE if command == "flush" else STOP)
        assert not select.select([client.socket], [], [], 1)[0]
        if reads:
            take_notice(told)
        right = "ok hinted 0 released 0\n" if command == "flush" else "ok\n"
        assert client.answer() == (right if reads else UNREAD)


@pytest.mark.parametrize("odd", [b"x", b"", None])
def test_front_end_that_says_odd_things(lab, odd):
    """What is no answer, or none that was asked for, ends the channel, and nobody waits."""
    hintd, front, client = lab()
    with channel(front) as told:
        if odd is None:
            take_notice(told)
        else:
            client.tell("balloon 3")
            wait_told(told)
            told.sendall(odd)
            if not odd:
                told.shutdown(socket.SHUT_WR)
            assert client.answer() == "ok\n"
        assert told.recv(1) == b""
    assert client.ask("balloon 4") == "ok\n"
    assert "it is told of none any more" in hintd.said()


@both_ways
def test_client_ends_a_run(lab, tmp_path, daemon):
    """Who asked and goes away ends it; who only says nothing more does not."""
    hintd, front, client = lab(daemon=daemon)
    client.tell("flush")
    wait_asked(front, FIRST)
    client.close()
    wait_asked(front, STOP)
    word(front, FIRST)
    block(front, FREE, MIB)
    used(front, 2)
    assert front.is_data(FREE, MIB), "nobody has asked for it any more"
    word(front, STOP)
    used(front, 3)
    wait_asked(front, DONE)
    other = Control(tmp_path / "control")
    other.tell("flush")
    other.socket.shutdown(socket.SHUT_WR)
    wait_asked(front, FIRST + 1)
    word(front, FIRST + 1)
    block(front, FREE, MIB)
    word(front, STOP)
    assert other.answer() == f"ok hinted {MIB} released {MIB}\n"
    assert other.answer() == ""
    other.close()


@both_ways
def test_commands(lab, tmp_path, daemon):
    """What is not known is said; two clients take turns; the target changes."""
    hintd, front, client = lab(daemon=daemon)
    known = "error known are flush, balloon MIB and stats\n"
    for odd in ("", "flush now", "balloon", "FLUSH"):
        assert client.ask(odd) == known
    most = 0xffffffff // 256
    for odd in ("-1", "", "x", "1x", str(most + 1), "99999999999999999999"):
        assert client.ask(f"balloon {odd}") == \
            f"error balloon MIB: a number up to {most}\n"
    assert client.ask("balloon 3") == "ok\n"
    reply = front.ask(proto.GET_CONFIG, proto.CONFIG_HEADER.pack(0, 4, 0) + bytes(4))
    assert struct.unpack("<I", reply[12:])[0] == 3 * 256
    second = Control(tmp_path / "control")
    client.tell("flush\nstats")
    wait_asked(front, FIRST)
    assert second.ask("stats").startswith("ok {")
    assert second.ask("flush") == "error somebody else waits for one\n"
    word(front, FIRST)
    word(front, STOP)
    assert client.answer().startswith("ok hinted 0")
    assert client.answer().startswith("ok {")
    second.socket.sendall(b"x" * 64)
    assert second.answer() == "error a command has less than 64 bytes\n"
    assert second.answer() == ""
    second.close()


CLIENTS = 4


@both_ways
def test_clients_that_stay(lab, tmp_path, daemon):
    """Who says nothing keeps nobody away, and who waits for a run is not sent away."""
    hintd, front, client = lab(daemon=daemon)
    client.tell("flush")
    wait_asked(front, FIRST)
    others = [Control(tmp_path / "control") for _ in range(CLIENTS + 1)]
    assert all(one.ask("stats").startswith("ok {") for one in others[-3:])
    for one in others[:-3]:
        assert one.answer() == "", "it was silent for longest"
    word(front, FIRST)
    word(front, STOP)
    assert client.answer() == "ok hinted 0 released 0\n"
    for one in others:
        one.close()


@both_ways
def test_client_that_does_not_listen(lab, tmp_path, daemon):
    """One that takes no answers is hung up on: half a line is no answer."""
    hintd, front, client = lab(daemon=daemon)
    with pytest.raises(OSError):
        while True:
            client.tell("stats")
    assert "does not take an answer" in hintd.said()
    other = Control(tmp_path / "control")
    assert other.ask("stats").startswith("ok {")
    other.close()


def test_changes_wait_for_a_device_that_runs(lab):
    """A front-end that has stopped the device hears of a change when it is started."""
    hintd, front, client = lab()
    with channel(front) as told:
        client.tell("balloon 3")
        wait_told(told)
        take_notice(told)
        assert client.answer() == "ok\n"
        queues = list(front.kicks)
        for step, queue in enumerate(queues, 4):
            front.stop_queue(queue)
            assert client.ask(f"balloon {step}") == "ok\n"
        assert asked(front) == STOP
        for queue in queues:
            assert not select.select([told], [], [], 0)[0], "told while it is stopped"
            front.start_queue(queue)
        wait_told(told)


def test_no_control_socket(tmp_path):
    """Where it cannot be made the daemon says so; else it goes with the daemon."""
    path = tmp_path / "control"
    with CheckedHintd(tmp_path / "socket", "sg", ["--control-socket", path]) as hintd:
        assert path.is_socket() and path.stat().st_mode & 0o777 == 0o600
        assert hintd.stop() == 0
    assert not path.exists()
    path.write_text("a file", encoding="ascii")
    hintd = CheckedHintd(tmp_path / "other", "sg", ["--control-socket", path])
    with pytest.raises(Exception, match=f"{path} is in use by somebody else"):
        hintd.start()
    assert hintd.process.poll() == 3
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("wire", ["sg", "hints"])
def test_host_asks_a_guest(image, wire):
    """A real guest that runs: all that is free is back when the answer comes."""
    with tempfile.TemporaryDirectory(prefix="aeration-") as folder:
        path = f"{folder}/control"
        with guest.hintd_at(wire, "--control-socket", path) as hintd, \
                guest.hintd_guest("7.3", "asked", hintd) as vm:
            vm.run("modprobe aeration window_ms=60000 && modprobe aeration_virtio")
            guest.wait_value(vm, "state", "running")
            client = Control(path)
            client.socket.settimeout(guest.SOON)
            for _ in range(2):
                job = guest.hold(vm, HELD_MIB)
                guest.free_held(vm, job)
                backed = hintd.guest_bytes()
                answer = client.ask("flush").split()
                print(answer)
                assert answer[0] == "ok"
                assert int(answer[2]) > HELD_MIB * MIB
                assert int(answer[4]) >= leaves(HELD_MIB) * MIB
                assert backed - hintd.guest_bytes() >= leaves(HELD_MIB) * MIB
                guest.end_held(vm, job)
            client.close()
