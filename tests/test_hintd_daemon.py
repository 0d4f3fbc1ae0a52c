# SPDX-License-Identifier: GPL-2.0
"""hintd's memory, messages and life, against a front-end of our own."""

import contextlib
import ctypes
import errno
import json
import os
import pathlib
import re
import socket
import struct
import subprocess

import pytest

from front import counted, hintd_lab, said
from lab import huge
from lab import vhost_proto as proto
from lab.vhost_balloon import Hintd, program
from lab.vhost_front import (BUFFER, FREE, HIGH, HIGH_START, LOW, MIB,
                             TIMEOUT_S, USER, FrontEnd)
from lab.vhost_proto import PAGE_SIZE

# hintd.8
EXIT_USAGE, EXIT_SOCKET, EXIT_SANDBOX, EXIT_MEMORY = 2, 3, 4, 5

# linux/prctl.h, and the number on x86-64
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SYS_PRCTL = 22, 38, 157


@pytest.fixture
def lab(tmp_path):
    """A function that gives a daemon and a front-end connected to it."""
    with hintd_lab(tmp_path) as make:
        yield make


@pytest.fixture
def started(tmp_path):
    """A function that starts a daemon which the test ends itself."""
    with contextlib.ExitStack() as stack:
        def make():
            hintd = Hintd(tmp_path / "socket", "sg").start()
            stack.callback(hintd.stop)
            return hintd
        yield make


# Memory

def test_new_memory_table_under_a_running_ring(lab):
    _, front = lab()
    front.report((FREE, PAGE_SIZE))
    front.wait_used(1, "the first report")
    front.set_mem_table()
    front.report((FREE + MIB, PAGE_SIZE))
    front.wait_used(2, "the second report")
    assert front.is_hole(FREE + MIB, PAGE_SIZE)


def test_memory_table_without_the_rings(lab):
    """Rings that are in no region any more are not touched."""
    hintd, front = lab()
    front.give_memory([(HIGH_START, HIGH, USER + LOW, LOW, front.fd)])
    front.report((HIGH_START, PAGE_SIZE))
    said(hintd, "cannot be used with the new memory")
    front.ask_u64(proto.GET_FEATURES)
    assert front.used_idx() == 0
    assert front.is_data(LOW, PAGE_SIZE)


def test_block_across_two_regions(lab):
    """Regions that touch are one memory for the guest."""
    hintd, front = lab()
    front.give_memory([(0, 2 * MIB, USER, 0, front.fd),
                       (2 * MIB, 6 * MIB, USER + 2 * MIB, 2 * MIB, front.fd)])
    front.report((MIB, 2 * MIB))
    front.wait_used(1, "the report's answer")
    assert front.is_hole(MIB, 2 * MIB)
    counted(hintd, blocks=1, punches=2, bytes_released=2 * MIB)


@pytest.mark.parametrize("user", [0x1000_0000, 0x7f00_0000_0000,
                                  0xffff_8000_0000_0000])
def test_ring_addresses_of_any_width(lab, user):
    _, front = lab(user=user)
    front.report((FREE, PAGE_SIZE))
    front.wait_used(1, "the report's answer")
    assert front.is_hole(FREE, PAGE_SIZE)


def test_huge_pages_leave_whole(lab):
    """Two halves in one report do, and a half by itself stays."""
    half = huge.PAGE_SIZE // 2
    with huge.pages((LOW + HIGH) // huge.PAGE_SIZE) as there:
        if not there:
            pytest.skip("this machine has no huge pages")
        hintd, front = lab("hints", huge=True, more=["--release-reserved"])
        assert front.backed() == LOW + HIGH
        front.hint(4 * half | 8, 6 * half | 8, 5 * half | 8, HIGH_START | 9)
        front.wait_used(1, "the hints' answer")
        counted(hintd, blocks=4, punches=2, bytes_partial=half,
                bytes_released=2 * huge.PAGE_SIZE)
        assert front.backed() == LOW + HIGH - 2 * huge.PAGE_SIZE
        assert all(front.memory[place] == 0xaa for place in (
            2 * half, 4 * half - 1, 6 * half, 8 * half - 1, LOW + 2 * half))
        assert front.memory[4 * half] == front.memory[LOW] == 0


def test_huge_pages_are_kept(lab):
    """Whole ones, too, unless somebody asks: others could take their place."""
    with huge.pages((LOW + HIGH) // huge.PAGE_SIZE) as there:
        if not there:
            pytest.skip("this machine has no huge pages")
        hintd, front = lab("hints", huge=True)
        front.hint(HIGH_START | 9)
        front.wait_used(1, "the hint's answer")
        counted(hintd, blocks=1, punches=0, bytes_reserved=huge.PAGE_SIZE,
                bytes_released=0)
        assert front.backed() == LOW + HIGH


PAGES = 16


@pytest.mark.parametrize("regions, words", [
    ([(0, 1 << 57, USER, 0)], "its size or place cannot be"),
    ([(0, 0, USER, 0)], "its size or place cannot be"),
    ([((1 << 64) - PAGE_SIZE, 2 * PAGE_SIZE, USER, 0)],
     "its size or place cannot be"),
    ([(0, PAGE_SIZE, USER, (1 << 63) - PAGE_SIZE)],
     "its size or place cannot be"),
    ([(0, (PAGES + 1) * PAGE_SIZE, USER, 0)], "ends behind the end of its file"),
    ([(0, PAGE_SIZE, USER, PAGES * PAGE_SIZE)],
     "ends behind the end of its file"),
    ([(0, PAGE_SIZE + 1, USER, 0)], "not made of whole pages"),
    ([(0, PAGE_SIZE, USER, 0), (0, PAGE_SIZE, USER + MIB, 0)],
     "overlaps another region"),
    ([(0, PAGE_SIZE, USER, 0), (MIB, PAGE_SIZE, USER, 0)],
     "overlaps another region")])
def test_memory_table_that_cannot_be(lab, regions, words):
    hintd, front = lab()
    fd = os.memfd_create("guest", os.MFD_CLOEXEC)
    os.truncate(fd, PAGES * PAGE_SIZE)
    assert front.try_memory([(*region, fd) for region in regions])
    os.close(fd)
    said(hintd, words)
    front.report((FREE, PAGE_SIZE))     # with the table there was
    front.wait_used(1, "the report's answer")


def test_memory_from_what_is_no_memory(lab):
    """Pipes, sockets, eventfds and read-only files are no guest memory."""
    hintd, front = lab()
    read, write = os.pipe()
    event = os.eventfd(0)
    with open(__file__, "rb") as file:
        for fd in (read, write, event, front.socket.fileno(), file.fileno()):
            assert front.try_memory([(0, PAGE_SIZE, USER, 0, fd)])
    for fd in (read, write, event):
        os.close(fd)
    said(hintd, "is no file that could be memory")
    front.report((FREE, PAGE_SIZE))
    front.wait_used(1, "the report's answer")


def test_memory_that_goes_away(started):
    """A file made smaller under the daemon ends it, with a status and words."""
    hintd = started()
    front = FrontEnd(hintd)
    os.truncate(front.fd, 0)
    os.eventfd_write(front.kicks[front.reporting], 1)
    assert hintd.process.wait(TIMEOUT_S) == EXIT_MEMORY
    assert "guest memory went away" in hintd.said()
    hintd.stop()
    front.socket.close()


# Messages

@pytest.mark.parametrize("data", [
    b"\1", proto.HEADER.pack(1, 1, 8)[:11],
    proto.HEADER.pack(proto.SET_FEATURES, 1, 8) + b"1234",
    proto.HEADER.pack(proto.SET_FEATURES, 1, 0xffffffff),
    proto.HEADER.pack(4000, 0, 5) + b"12345",
    proto.HEADER.pack(proto.GET_VRING_BASE, 1, 8)
    + proto.VRING_STATE.pack(5, 0)])
def test_garbage_ends_only_the_connection(lab, data):
    hintd, front = lab()
    front.socket.sendall(data)
    front.socket.shutdown(socket.SHUT_WR)
    assert front.hung_up()
    again = FrontEnd(hintd)
    again.report((FREE, PAGE_SIZE))
    again.wait_used(1, "an answer to the next front-end")
    again.close()


def test_message_in_pieces_keeps_nobody_waiting(lab):
    """Rings are served while the rest of a message is awaited."""
    _, front = lab()
    message = proto.HEADER.pack(proto.GET_FEATURES, 1, 0)
    for byte in message[:-1]:
        front.socket.sendall(bytes([byte]))
    front.report((FREE, PAGE_SIZE))
    front.wait_used(1, "the report's answer")
    front.socket.sendall(message[-1:])
    front.receive(proto.GET_FEATURES)


@pytest.mark.parametrize("request_number, payload", [
    (proto.SET_VRING_NUM, proto.VRING_STATE.pack(5, 8)),
    (proto.SET_VRING_BASE, proto.VRING_STATE.pack(0, 1 << 16)),
    (proto.SET_VRING_KICK, proto.U64.pack(0)),
    (proto.SET_VRING_KICK, proto.U64.pack(proto.VRING_NOFD_MASK)),
    (proto.SET_BACKEND_REQ_FD, b""),
    (proto.SET_MEM_TABLE, struct.pack("<II", 1, 0)),
    (proto.SET_MEM_TABLE, struct.pack("<II", 9, 0) + bytes(32)),
    (proto.SET_FEATURES, b"123")])
def test_wrong_message_is_refused(lab, request_number, payload):
    hintd, front = lab()
    assert front.result(request_number, payload) == 1
    said(hintd, f"refused message {request_number} (SET_")


@pytest.mark.parametrize("num, desc", [
    (0, 0), (6, 0), (2048, 0), (8, 8), (8, LOW + HIGH - 64)])
def test_ring_that_cannot_be(lab, num, desc):
    """Refused when it is started, and usable once it is right."""
    hintd, front = lab()
    queue = front.reporting
    front.stop_queue(queue)
    front.send(proto.SET_VRING_NUM, proto.VRING_STATE.pack(queue, num))
    front.send(proto.SET_VRING_ADDR, proto.VRING_ADDR.pack(
        queue, 0, USER + desc, USER + 2 * PAGE_SIZE, USER + PAGE_SIZE, 0))
    assert front.result(proto.SET_VRING_KICK, proto.U64.pack(queue),
                        [front.kicks[queue]])
    said(hintd, "(SET_VRING_KICK): ")
    front.start_queue(queue)
    front.report((FREE, PAGE_SIZE))
    front.wait_used(1, "the report's answer")


def test_too_many_descriptors(lab):
    """They are closed and the message is refused."""
    hintd, front = lab()
    assert front.result(proto.SET_OWNER, b"", [0, 1, 2])
    said(hintd, "too many file descriptors")


def test_kick_that_is_no_eventfd(lab):
    """A file is readable always: it is not looked at for ever."""
    hintd, front = lab()
    queue = front.reporting
    front.stop_queue(queue)
    with open(__file__, "rb") as file:
        front.acknowledged(proto.SET_VRING_KICK, proto.U64.pack(queue),
                           [file.fileno()])
        said(hintd, "are no eventfd")
    front.post([(BUFFER, 4, 0)], queue=0)
    front.wait_used(1, "inflate queue's answer", queue=0)


# Life

def test_front_ends_come_and_go(lab):
    """Each finds a fresh device; descriptors and mappings do not pile up."""
    hintd, front = lab()
    front.close_quietly()
    fds = pathlib.Path(f"/proc/{hintd.process.pid}/fd")
    counted(hintd, connections=1, stops=1)
    before = len(list(fds.iterdir()))
    for number in range(5):
        again = FrontEnd(hintd)
        again.report((FREE, PAGE_SIZE))
        again.wait_used(1, "an answer")
        again.close()
        counted(hintd, connections=2 + number, stops=2 + number)
    assert len(list(fds.iterdir())) == before
    assert not hintd.guest_bytes()


def test_second_front_end_waits(lab):
    hintd, front = lab()
    second = socket.socket(socket.AF_UNIX)
    second.settimeout(TIMEOUT_S)
    second.connect(hintd.socket_path)
    second.sendall(proto.HEADER.pack(proto.GET_FEATURES, 1, 0))
    front.report((FREE, PAGE_SIZE))
    front.wait_used(1, "the first one's answer")
    front.socket.close()
    assert len(second.recv(20, socket.MSG_WAITALL)) == 20
    second.close()


def test_reset_of_the_device(lab):
    """A queue stops at its place; nothing is left over for the next driver."""
    hintd, front = lab()
    for number in range(1, 4):
        front.report((FREE + number * MIB, PAGE_SIZE))
        front.wait_used(1, "the report's answer")
        assert front.stop_queue(front.reporting) == 1
        front.start_queue(front.reporting)
    counted(hintd, starts=4, stops=3, dropped=0, buffers=3)


def test_sandbox(lab):
    """No new privileges, a filter of system calls; also as nobody."""
    hintd, _ = lab(daemon=Hintd)
    status = pathlib.Path(f"/proc/{hintd.process.pid}/status").read_text(
        encoding="ascii")
    assert "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status


def refuse_seccomp():
    """Have this process and its children not be able to make a filter.

    By a filter: prctl(PR_SET_SECCOMP) fails with EPERM, all else works.
    """
    instructions = (
        (0x20, 0, 0, 0),                    # load the system call's number
        (0x15, 0, 3, SYS_PRCTL),
        (0x20, 0, 0, 16),                   # load the first argument
        (0x15, 0, 1, PR_SET_SECCOMP),
        (0x06, 0, 0, 0x00050000 | errno.EPERM),
        (0x06, 0, 0, 0x7fff0000))           # allow
    code = b"".join(struct.pack("<HBBI", *one) for one in instructions)
    buffer = ctypes.create_string_buffer(code)
    program_of = struct.pack("<HxxxxxxQ", len(instructions),
                             ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or \
            libc.prctl(PR_SET_SECCOMP, 2, program_of):
        raise OSError(ctypes.get_errno(), "no filter")


@pytest.mark.skipif(os.uname().machine != "x86_64",
                    reason="the number of a system call is this machine's")
def test_no_sandbox_no_daemon(tmp_path):
    """What cannot drop its privileges does not listen."""
    done = subprocess.run(
        [program("hintd"), "--socket-path", tmp_path / "socket"], timeout=TIMEOUT_S,
        capture_output=True, text=True, check=False, preexec_fn=refuse_seccomp)
    assert done.returncode == EXIT_SANDBOX
    assert "cannot drop privileges" in done.stderr
    assert not os.path.exists(tmp_path / "socket")


@pytest.mark.skipif(os.geteuid() != 0, reason="this is not root: all the other "
                    "tests run unprivileged")
def test_unprivileged(tmp_path):
    os.chmod(tmp_path, 0o777)
    for folder in tmp_path.parents:
        if str(folder).startswith("/tmp/"):
            os.chmod(folder, 0o755)
    nobody = tmp_path / "hintd"
    nobody.write_bytes(program("hintd").read_bytes())
    nobody.chmod(0o755)
    with subprocess.Popen(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
             nobody, "--socket-path", tmp_path / "socket", "--wire", "sg"],
            stderr=subprocess.PIPE, text=True) as process:
        try:
            assert "listening" in process.stderr.readline()
            # What nobody may look into belongs to root: prctl(2), DUMPABLE.
            assert os.stat(f"/proc/{process.pid}/status").st_uid == 0
            hintd = Hintd(tmp_path / "socket")
            front = FrontEnd(hintd)
            front.report((FREE, PAGE_SIZE))
            front.wait_used(1, "the report's answer")
            assert front.is_hole(FREE, PAGE_SIZE)
            front.close()
        finally:
            process.terminate()
        assert process.wait(TIMEOUT_S) == 0


def run(*arguments):
    return subprocess.run([program("hintd"), *arguments], timeout=TIMEOUT_S,
                          capture_output=True, text=True, check=False)


def test_help():
    done = run("--help")
    assert not done.returncode and not done.stderr
    manual = pathlib.Path(__file__).parents[1] / "host/hintd.8"
    text = manual.read_text(encoding="utf-8").replace("\\-", "-")
    options = set(re.findall(r"--[a-z-]+", done.stdout))
    assert {"--socket-path", "--help"} < options
    assert options == set(re.findall(r"--[a-z-]+", text))
    # Beside what it must never be.
    for name in ("VFIO", "vDPA", "SPDK"):
        assert name in done.stdout and name in text


@pytest.mark.parametrize("arguments, words", [
    ((), "--socket-path PATH is needed"),
    (("--socket-path", "s", "--fd", "3"), "one of them, not both"),
    (("--fd", "x"), "the number of a descriptor"),
    (("--fd", "0", "--socket-group", "root"), "has chosen its group"),
    (("--socket-path", "s", "--socket-mode", "888"), "permissions in octal"),
    (("--socket-path", "s", "--socket-mode", "1777"), "permissions in octal"),
    (("--socket-path", "s", "--wire", "tap"), "known are sg and hints"),
    (("--socket-path", "s", "--balloon", "-1"), "a number of MiB"),
    (("--socket-path", "s", "--balloon", "99999999999"), "a number of MiB"),
    (("--socket-path", "s", "more"), "more: unknown argument"),
    (("--sock-et", "s"), "--sock-et")])
def test_wrong_options(arguments, words):
    done = run(*arguments)
    assert done.returncode == EXIT_USAGE and words in done.stderr


def test_sockets_that_cannot_be(tmp_path, lab):
    hintd, _ = lab()
    (tmp_path / "file").write_text("keep me", encoding="ascii")
    for path, words in ((hintd.socket_path, "in use"),
                        (tmp_path / "file", "in use"),
                        (tmp_path / "no/folder", "cannot listen"),
                        ("x" * 200, "at most 107 bytes")):
        done = run("--socket-path", path)
        assert done.returncode == EXIT_SOCKET and words in done.stderr
    assert (tmp_path / "file").read_text(encoding="ascii") == "keep me"


def test_stale_socket_is_replaced(tmp_path, started):
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "socket"))
    hintd = started()
    hintd.wait_for(lambda _: "listening" in hintd.said(), TIMEOUT_S,
                   "the daemon to listen")
    front = FrontEnd(hintd)
    front.close()
    assert hintd.stop() == 0
    assert not os.path.exists(hintd.socket_path)


def test_live_line(lab):
    hintd, front = lab("hints", more=["--stats"])
    front.hint(FREE | 8, 0xfff, LOW)
    front.wait_used(1, "the hints' answer")
    line = ""
    while "released, refused" not in line:
        line = hintd.process.stdout.readline().decode()
    assert line.endswith("1 MiB told, 1 MiB released, refused: 1 order, "
                         "1 outside RAM\n")


def test_statistics_at_the_end(started):
    hintd = started()
    front = FrontEnd(hintd)
    front.report((FREE, PAGE_SIZE))
    front.wait_used(1, "the report's answer")
    assert hintd.stop() == 0
    front.close()
    stats = json.loads(hintd.stats_file.read_text(encoding="ascii"))
    assert stats["buffers"] == 1


def test_statistics_file_that_cannot_be(tmp_path):
    done = run("--socket-path", tmp_path / "socket", "--stats-file",
               tmp_path / "no/folder")
    assert done.returncode == 1 and "cannot write statistics" in done.stderr
