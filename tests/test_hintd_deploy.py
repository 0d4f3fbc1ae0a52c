# SPDX-License-Identifier: GPL-2.0
"""hintd among others: whom it serves, what it leaves alone, what it gives up.

H1 to H14 are the findings of a security review; each test says which is its own.
"""

import contextlib
import ctypes
import grp
import json
import mmap
import os
import pathlib
import pty
import resource
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
import time

import pytest

from front import bits, counted, hintd_lab, said
from lab import roots
from lab import vhost_proto as proto
from lab.vhost_balloon import Hintd, program
from lab.vhost_front import (BUFFER, FREE, HIGH, HIGH_START, LOW, MIB,
                             TIMEOUT_S, USER, FrontEnd)
from lab.vhost_proto import PAGE_SIZE

ROOT = os.geteuid() == 0
NOBODY = 65534
GIB = 1 << 30

EXIT_USAGE, EXIT_SOCKET, EXIT_SANDBOX = 2, 3, 4	# hintd.8

# linux/io_uring.h, and the numbers on every machine
SYS_IO_URING_SETUP, SYS_IO_URING_REGISTER = 425, 427
REGISTER_BUFFERS, UNREGISTER_BUFFERS = 0, 1
PARAMS_BYTES = 120

LIBC = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def lab(tmp_path):
    """A function that gives a daemon and a front-end connected to it."""
    with hintd_lab(tmp_path) as make:
        yield make


def run(*arguments, **how):
    return subprocess.run([program("hintd"), *arguments], timeout=TIMEOUT_S,
                          capture_output=True, text=True, check=False, **how)


@contextlib.contextmanager
def daemon(*arguments, prefix=(), end=signal.SIGTERM, stdout=subprocess.DEVNULL,
           **how):
    """A daemon that says that it listens; its standard error is a pipe."""
    with subprocess.Popen([*prefix, program("hintd"), *arguments],
                          stdout=stdout, stderr=subprocess.PIPE,
                          start_new_session=True, bufsize=0, **how) as one:
        try:
            line = next_line(one)
            assert "listening" in line, line
            yield one
        finally:
            with contextlib.suppress(subprocess.TimeoutExpired):
                one.send_signal(end)
                one.wait(TIMEOUT_S)
            roots.end(one)


def next_line(one):
    """Return the next line that a daemon() says."""
    assert select.select([one.stderr], [], [], TIMEOUT_S)[0], \
        f"waited {TIMEOUT_S} s for the daemon to say something"
    return one.stderr.readline().decode()


def syscall(number, *arguments):
    got = LIBC.syscall(number, *arguments)
    if got < 0:
        raise OSError(ctypes.get_errno(), f"system call {number}")
    return got


# H1: memory that is pinned

@contextlib.contextmanager
def pinned(front, offset, length):
    """Pin a part of guest memory as io_uring does, in this process."""
    ring = syscall(SYS_IO_URING_SETUP, 1, ctypes.byref(
        ctypes.create_string_buffer(PARAMS_BYTES)))
    place = ctypes.c_char.from_buffer(front.memory, offset)
    vector = ctypes.create_string_buffer(
        struct.pack("@PN", ctypes.addressof(place), length))
    try:
        syscall(SYS_IO_URING_REGISTER, ring, REGISTER_BUFFERS,
                ctypes.byref(vector), 1)
        yield
        syscall(SYS_IO_URING_REGISTER, ring, UNREGISTER_BUFFERS, None, 0)
    finally:
        del place
        os.close(ring)


def test_pinned_memory_is_kept(lab):
    """H1: from the moment on that it is pinned, and until it is not."""
    hintd, front = lab()
    front.report((FREE, MIB))
    front.wait_used(1, "an answer")
    with pinned(front, FREE + MIB, MIB):
        front.report((FREE + MIB, MIB))
        front.wait_used(2, "an answer without a release")
        assert front.is_data(FREE + MIB, MIB)
        counted(hintd, pinned=1, bytes_released=MIB, buffers=2)
        said(hintd, "nothing is released while the front-end has pinned or "
             "locked memory")
    front.report((FREE + MIB, MIB))
    front.wait_used(3, "an answer")
    assert front.is_hole(FREE, 2 * MIB)


def test_locked_memory_is_kept(lab):
    """H1: as VFIO's first interface counts it."""
    hintd, front = lab()
    page = ctypes.c_char.from_buffer(front.memory)
    assert not LIBC.mlock(ctypes.byref(page), PAGE_SIZE)
    try:
        front.report((FREE, MIB))
        front.wait_used(1, "an answer without a release")
    finally:
        LIBC.munlock(ctypes.byref(page), PAGE_SIZE)
        del page
    assert front.is_data(FREE, MIB)
    counted(hintd, pinned=1, bytes_released=0)


def test_pinned_inflated_memory_is_kept(lab):
    """H1: what is inflated is released by the same rule."""
    hintd, front = lab()
    struct.pack_into("<I", front.memory, BUFFER, FREE // PAGE_SIZE)
    with pinned(front, FREE, PAGE_SIZE):
        front.post([(BUFFER, 4, 0)], queue=0)
        front.wait_used(1, "an answer without a release", queue=0)
    assert front.is_data(FREE, MIB)
    counted(hintd, pinned=1, bytes_released=0)


def test_allow_pinned(lab):
    """H1: who knows better says so."""
    hintd, front = lab(more=["--allow-pinned"])
    with pinned(front, FREE, MIB):
        front.report((FREE, MIB))
        front.wait_used(1, "an answer")
        assert front.is_hole(FREE, MIB)
    counted(hintd, pinned=0, bytes_released=MIB)


def test_front_end_that_cannot_be_looked_at(tmp_path):
    """H1: of a process in another namespace nobody can tell: kept."""
    with daemon("--socket-path", tmp_path / "socket", "--socket-mode", "666",
                prefix=["unshare", "--user", "--map-root-user", "--pid",
                        "--fork", "--mount-proc", "--kill-child"],
                end=signal.SIGKILL) as one:
        front = FrontEnd(Hintd(tmp_path / "socket"))
        front.report((FREE, MIB))
        front.wait_used(1, "an answer without a release")
        assert front.is_data(FREE, MIB)
        assert "nobody can tell" in next_line(one)
        front.close()


def test_who_speaks_is_looked_at(tmp_path):
    """H1: not who connected, who may have passed the socket on."""
    with Hintd(tmp_path / "socket", "sg") as hintd:
        ours, theirs = socket.socketpair()
        with subprocess.Popen(
                [*roots.DIES_WITH_US, sys.executable, "-c",
                 "import socket, sys\n"
                 "s = socket.socket(socket.AF_UNIX)\n"
                 "s.connect(sys.argv[1])\n"
                 "to = socket.socket(fileno=int(sys.argv[2]))\n"
                 "socket.send_fds(to, [b'x'], [s.fileno()])\n"
                 "to.recv(1)\n", hintd.socket_path, str(theirs.fileno())],
                pass_fds=[theirs.fileno()]) as manager, ours, theirs:
            ours.settimeout(TIMEOUT_S)
            _, fds, _, _ = socket.recv_fds(ours, 1, 1)
            front = FrontEnd(hintd, connected=socket.socket(fileno=fds[0]))
            with pinned(front, FREE, MIB):
                front.report((FREE, MIB))
                front.wait_used(1, "an answer without a release")
            assert front.is_data(FREE, MIB)
            counted(hintd, pinned=1, bytes_released=0)
            front.report((FREE, MIB))
            front.wait_used(2, "an answer")
            assert front.is_hole(FREE, MIB)
            front.close()
            ours.send(b"x")
            assert manager.wait(TIMEOUT_S) == 0


# H2: a message in the middle of a long release

def test_release_takes_turns(lab):
    """H2: two messages are answered while a GiB is released, and a stop drops
    what is left of it; the same report is answered after that."""
    hintd, front = lab(low=GIB)
    queue = front.reporting
    before = front.backed()
    hintd.process.send_signal(signal.SIGSTOP)
    front.report((FREE, GIB - FREE))
    for _ in range(2):
        front.send(proto.GET_FEATURES)
    front.send(proto.GET_VRING_BASE, proto.VRING_STATE.pack(queue, 0))
    hintd.process.send_signal(signal.SIGCONT)
    for _ in range(2):
        front.receive(proto.GET_FEATURES)
    _, base = proto.VRING_STATE.unpack(front.receive(proto.GET_VRING_BASE))
    left = front.backed()
    assert base == 0 and front.used_idx() == 0
    assert before - (GIB - FREE) < left < before
    front.ask_u64(proto.GET_FEATURES)
    assert front.backed() == left
    stats = counted(hintd, dropped=1, buffers=0)
    assert stats["bytes_released"] == before - left

    front.start_queue(queue)
    begin = time.monotonic()
    front.report((FREE, GIB - FREE))
    front.ask_u64(proto.GET_FEATURES)
    answered = time.monotonic()
    front.wait_used(1, "the report's answer")
    print(f"a message while {left >> 20} MiB were released: "
          f"{answered - begin:.3f} s; all: {time.monotonic() - begin:.3f} s")
    assert front.backed() == before - (GIB - FREE)


def cpu_seconds(pid):
    """Return the processor time that a process has used: proc_pid_stat(5)."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(
        encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_front_end_dies_while_memory_is_released(lab):
    """H2: the rest is dropped, and the daemon rests until the next one comes."""
    hintd, front = lab(low=GIB)
    hintd.process.send_signal(signal.SIGSTOP)
    front.report((FREE, GIB - FREE))
    front.send(proto.GET_FEATURES)
    front.socket.shutdown(socket.SHUT_WR)
    hintd.process.send_signal(signal.SIGCONT)
    counted(hintd, stops=1, dropped=1)
    assert front.backed() > HIGH + FREE
    before = cpu_seconds(hintd.process.pid)
    time.sleep(1)
    assert cpu_seconds(hintd.process.pid) - before < 0.2


def test_queue_is_disabled_while_its_memory_is_released(lab):
    """H2: it keeps no other one waiting, and goes on when it is enabled."""
    hintd, front = lab(low=GIB)
    queue = front.reporting
    struct.pack_into("<I", front.memory, BUFFER, HIGH_START // PAGE_SIZE)
    hintd.process.send_signal(signal.SIGSTOP)
    front.report((FREE, GIB - FREE))
    front.send(proto.GET_FEATURES)
    front.send(proto.SET_VRING_ENABLE, proto.VRING_STATE.pack(queue, 0),
               flags=proto.FLAG_NEED_REPLY)
    hintd.process.send_signal(signal.SIGCONT)
    front.receive(proto.GET_FEATURES)
    front.receive(proto.SET_VRING_ENABLE)
    front.post([(BUFFER, 4, 0)], queue=0)
    front.wait_used(1, "the inflated page's answer", queue=0)
    assert front.used_idx() == 0
    front.acknowledged(proto.SET_VRING_ENABLE, proto.VRING_STATE.pack(queue, 1))
    front.wait_used(1, "the report's answer")
    assert front.backed() == HIGH + FREE - PAGE_SIZE


def test_queues_wait_for_each_other(lab):
    """H2: what is inflated meanwhile is answered, after the report."""
    hintd, front = lab(low=GIB)
    struct.pack_into("<I", front.memory, BUFFER, HIGH_START // PAGE_SIZE)
    hintd.process.send_signal(signal.SIGSTOP)
    front.report((FREE, GIB - FREE))
    front.post([(BUFFER, 4, 0)], queue=0)
    hintd.process.send_signal(signal.SIGCONT)
    front.wait_used(1, "the inflated page's answer", queue=0)
    front.wait_used(1, "the report's answer")
    counted(hintd, inflated=1, bytes_released=GIB - FREE + PAGE_SIZE)


def test_memory_goes_while_it_is_released(lab):
    """H2: a region that is taken away is left alone from then on; the report is
    answered once the rings are back."""
    hintd, front = lab(low=GIB)
    hintd.process.send_signal(signal.SIGSTOP)
    front.report((FREE, GIB - FREE))
    front.send(proto.GET_FEATURES)
    front.send(proto.REM_MEM_REG, struct.pack("<Q", 0) + proto.MEM_REGION.pack(
        0, GIB, front.user, 0), flags=proto.FLAG_NEED_REPLY)
    hintd.process.send_signal(signal.SIGCONT)
    front.receive(proto.GET_FEATURES)
    front.receive(proto.REM_MEM_REG)
    left = front.backed()
    assert left > HIGH and front.used_idx() == 0
    front.ask_u64(proto.GET_FEATURES)
    assert front.backed() == left
    said(hintd, "cannot be used with the new memory")
    assert front.region(proto.ADD_MEM_REG, 0, GIB, 0) == 0
    front.wait_used(1, "the report's answer")
    assert front.backed() == HIGH + FREE


# H3: what a crash leaves behind

def test_guest_memory_is_in_no_dump(lab):
    """H3: the kernel is told to leave it out."""
    hintd, _ = lab()
    maps = pathlib.Path(f"/proc/{hintd.process.pid}/smaps").read_text(
        encoding="utf-8")
    flags = [part.split("VmFlags:")[1].split("\n")[0].split()
             for part in maps.split("/memfd:guest")[1:]]
    assert len(flags) == 2 and all("dd" in one for one in flags)


def test_no_dump_at_all(tmp_path):
    """H3: and a daemon in its sandbox leaves none, whatever the limits say."""
    def unlimited():
        os.chdir(tmp_path)
        resource.setrlimit(resource.RLIMIT_CORE, (
            resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            if ROOT else resource.getrlimit(resource.RLIMIT_CORE)[1:] * 2)

    with daemon("--socket-path", tmp_path / "socket",
                preexec_fn=unlimited) as one:
        one.send_signal(signal.SIGSEGV)
        _, status = os.waitpid(one.pid, 0)
        one.returncode = 0
    assert os.WTERMSIG(status) == signal.SIGSEGV
    assert not os.WCOREDUMP(status)


# H4: memory whose place others can take

def test_file_of_limited_size_is_kept(lab, tmp_path):
    """H4: and released for who asks for it."""
    hintd, front = lab(path=tmp_path / "guest")
    before = front.backed()
    front.report((FREE, MIB))
    front.wait_used(1, "an answer without a release")
    assert front.backed() == before and front.is_data(FREE, MIB)
    counted(hintd, bytes_reserved=MIB, bytes_released=0)
    said(hintd, "--release-reserved releases it")


def test_release_reserved(lab, tmp_path):
    """H4: and released for who asks for it."""
    hintd, front = lab(path=tmp_path / "guest", more=["--release-reserved"])
    front.report((FREE, MIB))
    front.wait_used(1, "an answer")
    assert front.memory[FREE:FREE + MIB] == bytes(MIB)
    counted(hintd, bytes_reserved=0, bytes_released=MIB)


# H6: files

def test_link_in_the_way_is_not_followed(lab, tmp_path):
    """H6: a link where the statistics are written is replaced."""
    victim = tmp_path / "victim"
    victim.write_text("keep me", encoding="ascii")
    (tmp_path / "socket.json.new").symlink_to(victim)
    hintd, _ = lab()
    counted(hintd, connections=1)
    assert victim.read_text(encoding="ascii") == "keep me"
    assert not hintd.stats_file.is_symlink()


@pytest.mark.skipif(not ROOT, reason="only root can become somebody else")
def test_user(tmp_path):
    """H6: the socket is made by root, the rest is done by a user."""
    folder = tmp_path / "nobody's"
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    for parent in folder.parents:
        if str(parent).startswith("/tmp/"):
            os.chmod(parent, 0o755)
    with daemon("--socket-path", tmp_path / "socket", "--user", "nobody",
                "--stats-file", folder / "stats") as one:
        status = pathlib.Path(f"/proc/{one.pid}/status").read_text(
            encoding="ascii")
        assert f"Uid:\t{NOBODY}\t{NOBODY}\t{NOBODY}" in status
        assert os.stat(tmp_path / "socket").st_uid == NOBODY
        front = FrontEnd(Hintd(tmp_path / "socket"))
        front.report((FREE, MIB))
        front.wait_used(1, "an answer")
        assert front.is_hole(FREE, MIB)
        front.close()
    stats = json.loads((folder / "stats").read_text(encoding="ascii"))
    assert stats["bytes_released"] == MIB
    done = run("--socket-path", tmp_path / "other", "--user", "no such one")
    assert done.returncode == EXIT_SOCKET
    assert "there is no such user" in done.stderr
    assert not (tmp_path / "other").exists()


@pytest.mark.skipif(ROOT, reason="root can become anybody")
def test_user_needs_root(tmp_path):
    """H6: who is no root is told so."""
    done = run("--socket-path", tmp_path / "socket", "--user", "root")
    assert done.returncode == EXIT_SANDBOX
    assert "cannot become user root" in done.stderr


# H7: whom it serves

def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_socket_permissions(tmp_path):
    """H7: its own user's alone, whatever the umask is; or as it is asked."""
    path = tmp_path / "socket"
    with daemon("--socket-path", path, preexec_fn=lambda: os.umask(0)):
        assert mode_of(path) == 0o600
    group = grp.getgrgid(os.getgid()).gr_name
    with daemon("--socket-path", path, "--socket-mode", "660",
                "--socket-group", group):
        assert mode_of(path) == 0o660
        assert os.stat(path).st_gid == os.getgid()
    done = run("--socket-path", path, "--socket-group", "no such one")
    assert done.returncode == EXIT_SOCKET
    assert "there is no such group" in done.stderr
    assert not path.exists()


def as_nobody(path):
    """Connect as another user; return what comes of a first message."""
    return subprocess.run(
        ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
         sys.executable, "-c",
         "import socket, sys\n"
         "s = socket.socket(socket.AF_UNIX)\n"
         "s.connect(sys.argv[1])\n"
         "s.sendall(bytes.fromhex(sys.argv[2]))\n"
         "print(len(s.recv(20)))\n",
         path, proto.HEADER.pack(proto.GET_FEATURES, 1, 0).hex()],
        timeout=TIMEOUT_S, capture_output=True, text=True, check=False)


@pytest.mark.skipif(not ROOT, reason="only root can become somebody else")
@pytest.mark.parametrize("chosen", [False, True])
def test_other_users_are_refused(tmp_path, chosen):
    """H7: also at a socket that lets them in, unless that was asked for."""
    for folder in (tmp_path, *tmp_path.parents):
        if str(folder).startswith("/tmp/"):
            os.chmod(folder, 0o755)
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        os.chmod(path, 0o666)
        with daemon("--fd", str(listener.fileno()),
                    *["--socket-mode", "666"] * chosen,
                    pass_fds=[listener.fileno()]) as one:
            done = as_nobody(path)
            if chosen:
                assert done.stdout == "20\n", done.stderr
            else:
                assert done.stdout != "20\n"
                assert "refused a connection of another user" in \
                    next_line(one)


def test_listener_handed_down(tmp_path):
    """H7: as systemd does; front-ends come and go, and the socket stays."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with daemon("--fd", str(listener.fileno()),
                    pass_fds=[listener.fileno()]) as one:
            for _ in range(2):
                front = FrontEnd(Hintd(path))
                front.report((FREE, MIB))
                front.wait_used(1, "an answer")
                front.close()
        assert one.returncode == 0
        assert path.exists()


def test_connection_handed_down():
    """H7: it is served, and the daemon ends when it does."""
    ours, theirs = socket.socketpair()
    with daemon("--fd", str(theirs.fileno()),
                pass_fds=[theirs.fileno()]) as one:
        theirs.close()
        ours.settimeout(TIMEOUT_S)
        ours.sendall(proto.HEADER.pack(proto.GET_FEATURES, 1, 0))
        assert len(ours.recv(20, socket.MSG_WAITALL)) == 20
        ours.close()
        assert one.wait(TIMEOUT_S) == 0
        assert "there is no other one" in one.stderr.read().decode()


@pytest.mark.parametrize("kind", ["file", "closed", "udp"])
def test_descriptor_that_is_no_socket(tmp_path, kind):
    """H7: words and a status."""
    with open(tmp_path / "file", "wb") as file, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        fd = {"file": file.fileno(), "closed": 1000, "udp": udp.fileno()}[kind]
        done = run("--fd", str(fd), pass_fds=[fd] if kind != "closed" else ())
    assert done.returncode == EXIT_SOCKET
    assert "no socket of a front-end" in done.stderr


def test_mute_front_end_gives_way(lab):
    """H7: who says nothing does not own the device for ever."""
    hintd, front = lab()
    front.close_quietly()
    mute = socket.socket(socket.AF_UNIX)
    mute.connect(hintd.socket_path)
    counted(hintd, connections=2)
    again = FrontEnd(hintd)         # its wait is longer than the daemon's
    again.report((FREE, PAGE_SIZE))
    again.wait_used(1, "an answer")
    again.close()
    mute.close()
    said(hintd, "says nothing has to give way")


# H8, H13: what is shown, and to whom

def test_line_on_a_terminal_is_written_over(tmp_path):
    """H8: with and without a statistics file."""
    for more in ([], ["--stats-file", tmp_path / "stats"]):
        terminal, end = pty.openpty()
        with daemon("--socket-path", tmp_path / "socket", "--stats", *more,
                    stdout=end):
            os.close(end)
            text = b""
            while text.count(b"released") < 2:
                assert select.select([terminal], [], [], TIMEOUT_S)[0], text
                text += os.read(terminal, 4096)
        os.close(terminal)
        assert text.count(b"\r\x1b[K") >= 2 and b"\n" not in text


def shorten(pipe):
    """Have a pipe take one page."""
    import fcntl
    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PAGE_SIZE)


# What it says at most at once, and then one in so many seconds: host/log.c.
MOST_LINES = 20
LINE_S = 6


def test_nobody_reads_what_it_says(tmp_path):
    """H13: lines that nobody takes are lost, and the guest does not wait."""
    with daemon("--socket-path", tmp_path / "socket", "--stats",
                stdout=subprocess.PIPE) as one:
        shorten(one.stderr)
        shorten(one.stdout)
        front = FrontEnd(Hintd(tmp_path / "socket"))
        for _ in range(200):
            assert front.result(proto.SET_CONFIG, b"") == 1
        front.report((FREE, MIB))
        front.wait_used(1, "an answer")
        full = one.stderr.read(1 << 16).decode()
        assert full.count("refused message") <= MOST_LINES
        time.sleep(LINE_S + 1)
        assert front.result(proto.SET_CONFIG, b"") == 1
        assert "lines left out" in next_line(one)
        front.close()


def test_each_front_end_has_its_words(lab):
    """H13: what is said once is said once a connection."""
    hintd, front = lab()
    for number in range(2):
        for _ in range(3):
            front.report((LOW, PAGE_SIZE))
        front.wait_used(3, "answers")
        assert hintd.said().count("refused a block") == number + 1
        front.close_quietly()
        if not number:
            front = FrontEnd(hintd)
    front.close()


# H9, H10: messages

def test_more_descriptors_than_are_taken(lab):
    """H9: the kernel has closed some: nobody knows which are left."""
    hintd, front = lab()
    table = struct.pack("<II", 8, 0) + b"".join(
        proto.MEM_REGION.pack(number * MIB, MIB, USER + number * MIB,
                              number * MIB) for number in range(8))
    front.send(proto.SET_MEM_TABLE, table, [front.fd] * 10)
    assert front.hung_up()
    said(hintd, "more file descriptors than any that is known")


def test_protocol_features_not_offered(lab):
    """H10: they are refused, and those that were agreed on hold on."""
    hintd, front = lab()
    assert front.result(proto.SET_PROTOCOL_FEATURES, proto.U64.pack(1 << 12))
    said(hintd, "(SET_PROTOCOL_FEATURES): it has features that were not offered")
    assert front.result(proto.SET_OWNER) == 0


@pytest.mark.parametrize("request_number, payload", [
    (proto.SET_CONFIG, proto.CONFIG_HEADER.pack(0, 4, 0) + bytes(4)),
    (proto.RESET_DEVICE, b""),
    (proto.ADD_MEM_REG, bytes(40)),
    (proto.SET_BACKEND_REQ_FD, b"")])
def test_message_without_its_feature(lab, request_number, payload):
    """H10: what was not agreed on is not obeyed."""
    hintd, front = lab(start=False)
    front.send(proto.SET_PROTOCOL_FEATURES, proto.U64.pack(1 << 3))
    assert front.result(request_number, payload) == 1
    said(hintd, "its protocol feature was not negotiated")


def test_word_that_was_not_agreed_on(lab):
    """H10: no word of success where the front-end does not expect one."""
    _, front = lab(start=False)
    front.send(proto.SET_OWNER, flags=proto.FLAG_NEED_REPLY)
    front.ask_u64(proto.GET_FEATURES)   # is the next answer


def test_features_while_queues_are_used(lab):
    """H10: they say what the queues are for."""
    hintd, front = lab()
    changed = front.acked & ~bits(1)
    assert front.result(proto.SET_FEATURES, proto.U64.pack(front.acked)) == 0
    assert front.result(proto.SET_FEATURES, proto.U64.pack(changed)) == 1
    said(hintd, "queues are in use")
    for queue in list(front.kicks):
        front.stop_queue(queue)
    assert front.result(proto.SET_FEATURES, proto.U64.pack(changed)) == 0


# H11, H12: a driver after another, and interrupts

CONFIG = proto.CONFIG_HEADER.pack(0, 16, 0)


@pytest.mark.parametrize("request_number", [proto.RESET_OWNER,
                                            proto.RESET_DEVICE])
def test_reset_forgets_what_the_driver_said(lab, request_number):
    """H11: its poison value and the size of its balloon; a pause does not."""
    hintd, front = lab()
    front.acknowledged(proto.SET_CONFIG,
                       CONFIG + struct.pack("<IIII", 0, 5, 0, 0xaaaaaaaa))
    front.stop_queue(front.reporting)
    front.start_queue(front.reporting)
    front.report((FREE, MIB))
    front.wait_used(1, "an answer without a release")
    assert front.is_data(FREE, MIB)
    counted(hintd, poisoned=1, actual=5)
    front.acknowledged(request_number, b"")
    assert front.ask(proto.GET_CONFIG, CONFIG + bytes(16))[12:] == bytes(16)
    front.acknowledged(proto.SET_FEATURES, proto.U64.pack(front.acked))
    front.start_queue(front.reporting)
    front.report((FREE, MIB))
    front.wait_used(1, "an answer")
    assert front.is_hole(FREE, MIB)


def test_interrupt_to_an_old_eventfd(lab):
    """H12: it is repeated to the new one."""
    _, front = lab()
    queue = front.reporting
    front.report((FREE, PAGE_SIZE))
    front.wait_used(1, "an answer")
    new = os.eventfd(0, os.EFD_NONBLOCK)
    front.acknowledged(proto.SET_VRING_CALL, proto.U64.pack(queue), [new])
    assert os.eventfd_read(new) == 1
    os.close(new)


# H14: many regions

def test_many_regions(lab):
    """H14: more than a table has, one by one, and away again."""
    hintd, front = lab(low=64 * MIB)
    assert front.ask_u64(proto.GET_MAX_MEM_SLOTS) == 509
    high = front.low + HIGH
    front.give_memory([(0, MIB, front.user, 0, front.fd)])
    # In no order, and not one behind the other for the guest.
    numbers = sorted(range(1, 64), key=lambda number: number * 37 % 64)
    for number in numbers:
        assert front.region(proto.ADD_MEM_REG, 2 * number * MIB, MIB,
                            number * MIB) == 0
    for number in numbers:
        front.report((2 * number * MIB, MIB))
        front.wait_used(numbers.index(number) + 1, "an answer")
        assert front.is_hole(number * MIB, MIB), number
    counted(hintd, blocks=63, bytes_released=63 * MIB)
    assert hintd.guest_bytes() == high - 63 * MIB
    assert front.region(proto.ADD_MEM_REG, 2 * MIB, MIB, 32 * MIB) == 1
    said(hintd, "overlaps another region")
    assert front.region(proto.REM_MEM_REG, 2 * MIB, MIB, MIB) == 0
    assert front.region(proto.REM_MEM_REG, 2 * MIB, MIB, MIB) == 1
    said(hintd, "there is no such region")
    front.report((2 * MIB, MIB))
    front.wait_used(64, "an answer")
    assert counted(hintd, buffers=64)["refused"] == {"outside RAM": 1}


def test_too_many_regions(lab):
    """H14: the limit is told, and what there was goes on."""
    hintd, front = lab()
    page = PAGE_SIZE
    front.give_memory([(0, MIB, front.user, 0, front.fd)])
    for number in range(508):
        assert front.region(proto.ADD_MEM_REG, (number + 1) * MIB, page,
                            MIB + number * page) == 0
    assert front.region(proto.ADD_MEM_REG, 600 * MIB, page, 7 * MIB) == 1
    said(hintd, "there are too many regions")
    front.report((508 * MIB, page))
    front.wait_used(1, "an answer")
    assert front.is_hole(MIB + 507 * page, page)


def test_rings_that_move(lab):
    """H14: a region that goes and comes back takes its rings with it."""
    hintd, front = lab()
    assert front.region(proto.REM_MEM_REG, 0, LOW, 0) == 0
    front.report((FREE, PAGE_SIZE))
    said(hintd, "cannot be used with the new memory")
    front.ask_u64(proto.GET_FEATURES)
    assert front.used_idx() == 0
    assert front.region(proto.ADD_MEM_REG, 0, LOW, 0) == 0
    front.wait_used(1, "the report's answer")
    assert front.is_hole(FREE, PAGE_SIZE)


# QEMU's conventions

def test_print_capabilities():
    """By docs/interop/vhost-user.json of QEMU."""
    done = run("--print-capabilities")
    assert not done.returncode and not done.stderr
    assert json.loads(done.stdout) == {"type": "balloon", "features": []}


def test_default_wire(tmp_path):
    """It is the one that the kernel's own driver speaks."""
    with daemon("--socket-path", tmp_path / "socket"):
        front = FrontEnd(Hintd(tmp_path / "socket"))
        front.report((FREE, MIB))
        front.wait_used(1, "an answer")
        assert front.is_hole(FREE, MIB)
        front.close()
