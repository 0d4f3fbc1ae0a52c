# SPDX-License-Identifier: GPL-2.0
"""hintd against a front-end of our own: no QEMU, no guest."""

import contextlib
import json
import os
import pathlib
import select
import socket
import struct
import subprocess

import pytest

from lab import vhost_proto as proto
from lab.vhost_balloon import HINTD_FEATURES, Hintd, program, queue_roles
from lab.vhost_front import (BUFFER, FREE, HIGH, HIGH_START, LOW, MIB,
                             TIMEOUT_S, USER, VQ_SIZE, FrontEnd)
from lab.vhost_proto import (DESC, PAGE_SIZE, VRING_DESC_F_INDIRECT,
                             VRING_DESC_F_NEXT, VRING_DESC_F_WRITE)

EXIT_USAGE, EXIT_SOCKET, EXIT_MEMORY = 2, 3, 5      # hintd.8


@pytest.fixture
def lab(tmp_path):
    """A function that gives a daemon and a front-end connected to it."""
    with contextlib.ExitStack() as stack:
        def make(wire="sg", acked=None, more=(), **arguments):
            hintd = stack.enter_context(
                Hintd(tmp_path / "socket", wire, more))
            front = FrontEnd(hintd, acked, **arguments)
            stack.callback(front.close)
            return hintd, front
        yield make


def bits(*numbers):
    return sum(1 << number for number in numbers)


def counted(hintd, **wanted):
    """Wait until the statistics have these values; return them."""
    return hintd.wait_for(
        lambda stats: all(getattr(stats, name) == value
                          for name, value in wanted.items()),
        TIMEOUT_S, f"statistics {wanted}")


def said(hintd, text):
    """The daemon has put it into words."""
    hintd.wait_for(lambda _: text in hintd.said(), TIMEOUT_S, f"words: {text}")


# Negotiation and configuration

def test_features(lab):
    _, front = lab()
    assert front.offered == bits(*HINTD_FEATURES, 30)


@pytest.mark.parametrize("features, index", [
    ((5,), 2), ((1, 5), 3), ((1, 4, 5, 28), 3)])
def test_reporting_queue_index(lab, features, index):
    """The index follows from what was accepted, not from what was offered."""
    _, front = lab(acked=bits(30, 32, *features))
    assert front.reporting == index
    front.report((FREE, PAGE_SIZE))
    front.wait_used(1, "the report's answer")
    assert front.is_hole(FREE, PAGE_SIZE)


def test_no_reporting_queue_without_its_feature(lab):
    hintd, front = lab(acked=bits(30, 32, 1))
    assert front.reporting is None and "reporting" not in queue_roles(bits(1))
    front.start_queue(3)
    front.post([(FREE, PAGE_SIZE, VRING_DESC_F_WRITE)], queue=3)
    front.post([(BUFFER, 4, 0)], queue=0)
    front.wait_used(1, "inflate queue's answer", queue=0)
    assert front.used_idx(3) == 0
    assert front.is_data(FREE, PAGE_SIZE)


def test_feature_that_was_not_offered(lab):
    hintd, front = lab()
    assert front.result(proto.SET_FEATURES, proto.U64.pack(bits(32, 5, 3)))
    said(hintd, "features that were not offered")


@pytest.mark.parametrize("request_number", [0, 6, 26, 34, 4000, 0xffffffff])
def test_unknown_request_is_refused(lab, request_number):
    """In words, and the daemon goes on; it hangs up if nobody can tell."""
    hintd, front = lab()
    assert front.result(request_number) != 0
    said(hintd, f"refused message {request_number} (?): this daemon does not "
         "know it")
    front.report((FREE, PAGE_SIZE))
    front.wait_used(1, "an answer after that")
    front.send(request_number)
    assert front.hung_up()
    again = FrontEnd(hintd)
    again.report((FREE, PAGE_SIZE))
    again.wait_used(1, "an answer to the next front-end")
    again.close()


def test_config_takes_only_the_drivers_fields(lab):
    hintd, front = lab(more=["--balloon", "3"])
    ask = proto.CONFIG_HEADER.pack(0, 16, 0) + bytes(16)
    reply = front.ask(proto.GET_CONFIG, ask)
    assert reply == proto.CONFIG_HEADER.pack(0, 16, 0) \
        + struct.pack("<IIII", 3 * 256, 0, 0, 0)
    stale = struct.pack("<IIII", 1, 2, 3, 4)    # as QEMU's cached copy may be
    front.acknowledged(proto.SET_CONFIG,
                       proto.CONFIG_HEADER.pack(0, 16, 0) + stale)
    assert front.ask(proto.GET_CONFIG, ask)[12:] \
        == struct.pack("<IIII", 3 * 256, 2, 0, 4)
    reply = front.ask(proto.GET_CONFIG,
                      proto.CONFIG_HEADER.pack(12, 8, 0) + bytes(8))
    assert reply[12:] == struct.pack("<II", 4, 0)
    reply = front.ask(proto.GET_CONFIG,
                      proto.CONFIG_HEADER.pack(1 << 31, 8, 0) + bytes(8))
    assert reply[12:] == bytes(8)
    assert front.result(proto.SET_CONFIG,
                        proto.CONFIG_HEADER.pack(13, 4, 0) + bytes(4))


# The sg wire

def test_sg_report_punches_holes(lab):
    hintd, front = lab()
    before = hintd.guest_bytes()
    head = front.report((FREE, 2 * MIB), (HIGH_START + MIB, PAGE_SIZE))
    assert front.wait_used(1, "the report's answer") == [(head, 0)]
    assert front.is_hole(FREE, 2 * MIB)
    assert front.is_hole(LOW + MIB, PAGE_SIZE)
    assert front.is_data(FREE + 2 * MIB, LOW - 3 * MIB)
    assert front.is_data(LOW, MIB)
    assert front.is_data(LOW + MIB + PAGE_SIZE, PAGE_SIZE)
    assert before - hintd.guest_bytes() == 2 * MIB + PAGE_SIZE
    stats = counted(hintd, buffers=1, seen=1, blocks=2, max_descriptors=2,
                    bytes_released=2 * MIB + PAGE_SIZE)
    assert not stats["violations"] and not stats["refused"]


@pytest.mark.parametrize("block, reason", [
    ((LOW, PAGE_SIZE), "outside RAM"),
    ((LOW - PAGE_SIZE, 2 * PAGE_SIZE), "outside RAM"),
    ((HIGH_START - PAGE_SIZE, PAGE_SIZE), "outside RAM"),
    ((HIGH_START + HIGH, PAGE_SIZE), "outside RAM"),
    (((1 << 64) - PAGE_SIZE, 2 * PAGE_SIZE), "outside RAM"),
    ((FREE + 512, PAGE_SIZE), "misaligned"),
    ((FREE, PAGE_SIZE + 512), "misaligned"),
    ((FREE, 0), "misaligned")])
def test_sg_refuses(lab, block, reason):
    hintd, front = lab()
    front.report(block, (FREE + MIB, PAGE_SIZE))
    front.wait_used(1, "the report's answer")
    assert counted(hintd, blocks=1)["refused"] == {reason: 1}
    said(hintd, f"refused a block at {block[0]:#x}, {block[1]} bytes: {reason}")
    assert front.is_data(FREE, MIB)
    assert front.is_hole(FREE + MIB, PAGE_SIZE)


@pytest.mark.parametrize("wire", ["sg", "hints"])
def test_other_wire_is_named(lab, wire):
    """A guest on the other wire loses nothing, and the operator is told."""
    hintd, front = lab(wire)
    front.memory[FREE:FREE + 8] = struct.pack("<Q", FREE + MIB)
    front.post([(FREE, PAGE_SIZE if wire == "sg" else 8,
                 0 if wire == "sg" else VRING_DESC_F_WRITE)])
    front.wait_used(1, "the report's answer")
    stats = counted(hintd, buffers=1, blocks=0)
    if wire == "sg":
        assert stats["refused"] == {"readable": 1}
    else:
        assert stats["violations"] == {"writable descriptor": 1}
    said(hintd, f"the guest reports on the other wire: its aeration_virtio."
         f"wire= and --wire {wire} here have to agree")


def test_indirect_is_followed_and_recorded(lab):
    hintd, front = lab()
    table = DESC.pack(FREE, PAGE_SIZE, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1)
    table += DESC.pack(FREE + MIB, PAGE_SIZE, VRING_DESC_F_WRITE, 0)
    front.memory[BUFFER:BUFFER + len(table)] = table
    front.post([(BUFFER, len(table), VRING_DESC_F_INDIRECT)])
    front.wait_used(1, "the report's answer")
    assert front.is_hole(FREE, PAGE_SIZE) and front.is_hole(FREE + MIB, PAGE_SIZE)
    front.report((FREE + 2 * MIB, PAGE_SIZE))
    front.wait_used(2, "the second report's answer")
    counted(hintd, indirect=1, buffers=2)


def test_looping_chain_stops_only_its_ring(lab):
    hintd, front = lab()
    front.report((FREE, PAGE_SIZE), (FREE + MIB, PAGE_SIZE), loop=True)
    counted(hintd, ring_errors=1)
    said(hintd, "a chain loops")
    assert front.used_idx() == 0
    front.post([(BUFFER, 4, 0)], queue=0)
    front.wait_used(1, "inflate queue's answer", queue=0)
    front.stop_queue(front.reporting)
    front.start_queue(front.reporting)
    front.report((FREE, PAGE_SIZE))
    front.wait_used(1, "an answer after the reset")


def test_broken_ring_is_signalled(lab):
    """The front-end's error descriptor tells that a queue is broken."""
    _, front = lab()
    error = os.eventfd(0)
    front.acknowledged(proto.SET_VRING_ERR, proto.U64.pack(front.reporting),
                       [error])
    front.make_available(VQ_SIZE, front.reporting)
    os.eventfd_write(front.kicks[front.reporting], 1)
    assert select.select([error], [], [], TIMEOUT_S)[0], \
        f"waited {TIMEOUT_S} s for word of the broken queue"
    assert os.eventfd_read(error) == 1
    os.close(error)


def test_ring_wraps_around(lab):
    hintd, front = lab()
    for round_number in range(3 * VQ_SIZE):
        address = FREE + round_number * PAGE_SIZE
        head = front.report((address, PAGE_SIZE))
        assert front.wait_used(round_number + 1, "an answer")[-1] == (head, 0)
        assert front.is_hole(address, PAGE_SIZE)
    counted(hintd, buffers=3 * VQ_SIZE)


def test_poison_value_keeps_the_content(lab):
    hintd, front = lab()
    for poison_val in (0xaa, 0):
        front.acknowledged(proto.SET_CONFIG, proto.CONFIG_HEADER.pack(0, 16, 0)
                           + struct.pack("<IIII", 0, 0, 0, poison_val))
        front.report((FREE, PAGE_SIZE))
        front.wait_used(2 - bool(poison_val), "the report's answer")
        assert front.is_hole(FREE, PAGE_SIZE) == (not poison_val)
    counted(hintd, poisoned=1, blocks=1)


def test_neighbours_are_merged(lab):
    """One system call for what touches or overlaps; twice told, once counted."""
    hintd, front = lab("hints")
    front.hint(0x300000 | 8, 0x200000 | 8, 0x280000 | 7, 0x200000 | 8)
    front.wait_used(1, "the hints' answer")
    assert front.is_hole(0x200000, 2 * MIB)
    assert front.is_data(0x400000, MIB)
    counted(hintd, punches=1, blocks=4, bytes_released=2 * MIB)


# The hints wire

def test_hints_punch_holes(lab):
    hintd, front = lab("hints")
    head = front.hint(0x200000 | 9, 0x180000 | 3, HIGH_START | 8)
    assert front.wait_used(1, "the hints' answer") == [(head, 0)]
    assert front.is_hole(0x200000, 2 * MIB)
    assert front.is_hole(0x180000, 8 * PAGE_SIZE)
    assert front.is_hole(LOW, MIB)
    assert front.is_data(0x180000 + 8 * PAGE_SIZE, PAGE_SIZE)
    counted(hintd, blocks=3, max_descriptors=1,
            bytes_released=3 * MIB + 8 * PAGE_SIZE)


def test_hints_refused(lab):
    hintd, front = lab("hints")
    front.hint(0x201000 | 9, LOW, 0x200000 | 0xfff, 1 << 63, 0x200000 | 11,
               0x200000, (1 << 63) | 51, 51, 52, 0xfff)
    front.wait_used(1, "the hints' answer")
    stats = counted(hintd, blocks=1, bytes_released=PAGE_SIZE)
    assert stats["refused"] == {"misaligned": 2, "outside RAM": 4, "order": 3}
    assert front.is_hole(0x200000, PAGE_SIZE)
    assert front.is_data(0x201000, PAGE_SIZE)


@pytest.mark.parametrize("descriptors, violation", [
    ([(BUFFER, 33 * 8, 0)], "size of the buffer"),
    ([(BUFFER, 7, 0)], "size of the buffer"),
    ([(BUFFER, 0, 0)], "size of the buffer"),
    ([(BUFFER, 8, VRING_DESC_F_WRITE)], "writable descriptor"),
    ([(BUFFER, 8, 0), (BUFFER, 8, VRING_DESC_F_WRITE)], "writable descriptor"),
    ([(LOW - 4, 8, 0)], "words outside RAM"),
    ([((1 << 64) - 4, 8, 0)], "words outside RAM")])
def test_hints_violations(lab, descriptors, violation):
    hintd, front = lab("hints")
    front.memory[BUFFER:BUFFER + 33 * 8] = struct.pack("<Q", FREE) * 33
    front.post(descriptors)
    front.wait_used(1, "the hints' answer")
    assert counted(hintd, blocks=0, buffers=1)["violations"] == {violation: 1}


def test_words_in_pieces(lab):
    """How a buffer is cut into descriptors means nothing, virtio 1.2, 2.7.4."""
    hintd, front = lab("hints")
    front.memory[BUFFER:BUFFER + 16] = struct.pack("<QQ", FREE, FREE + MIB)
    front.post([(BUFFER, 3, 0), (BUFFER + 3, 9, 0), (BUFFER + 12, 4, 0)])
    front.wait_used(1, "the hints' answer")
    assert front.is_hole(FREE, PAGE_SIZE)
    assert front.is_hole(FREE + MIB, PAGE_SIZE)
    counted(hintd, blocks=2)


def test_thirty_two_hints(lab):
    hintd, front = lab("hints")
    front.hint(*(FREE + step * PAGE_SIZE for step in range(32)))
    front.wait_used(1, "the hints' answer")
    assert front.is_hole(FREE, 32 * PAGE_SIZE)
    assert front.is_data(FREE + 32 * PAGE_SIZE, PAGE_SIZE)
    counted(hintd, blocks=32, punches=1)


# The other queues

def test_inflate_releases(lab):
    hintd, front = lab()
    front.memory[BUFFER:BUFFER + 12] = struct.pack(
        "<III", FREE // PAGE_SIZE, FREE // PAGE_SIZE + 1, 0xffffffff)
    for queue in (0, 1):
        front.post([(BUFFER, 12, 0)], queue=queue)
        front.wait_used(1, f"queue {queue}", queue)
    stats = counted(hintd, inflated=2, deflated=3)
    assert stats["refused"] == {"outside RAM": 1}
    assert front.is_hole(FREE, 2 * PAGE_SIZE)
    assert front.is_data(FREE + 2 * PAGE_SIZE, PAGE_SIZE)


def test_guest_statistics_are_shown(lab):
    """The buffer comes back when new ones are wanted, virtio 1.2, 5.5.6.3."""
    hintd, front = lab()
    for round_number in (1, 2):
        data = struct.pack("<HQHQHQ", 4, 1000 * round_number, 5, 5000, 99, 1)
        front.memory[BUFFER:BUFFER + len(data)] = data
        front.post([(BUFFER, len(data), 0)], queue=2)
        front.wait_used(round_number, "being asked again", queue=2)
        assert counted(hintd, other=round_number)["guest"] == {
            "free_memory": 1000 * round_number, "total_memory": 5000}


def test_disabled_queue_is_not_processed(lab):
    _, front = lab()
    queue = front.reporting
    front.acknowledged(proto.SET_VRING_ENABLE, proto.VRING_STATE.pack(queue, 0))
    front.report((FREE, PAGE_SIZE))
    front.post([(BUFFER, 4, 0)], queue=0)
    front.wait_used(1, "inflate queue's answer", queue=0)
    assert front.used_idx() == 0
    front.acknowledged(proto.SET_VRING_ENABLE, proto.VRING_STATE.pack(queue, 1))
    front.wait_used(1, "the report's answer")


def test_no_interrupt_flag_is_obeyed(lab):
    _, front = lab()
    front.memory[front.desc(front.reporting) + PAGE_SIZE] = 1
    front.report((FREE, PAGE_SIZE))
    front.post([(BUFFER, 4, 0)], queue=0)
    front.wait_used(1, "inflate queue's answer", queue=0)
    front.ask_u64(proto.GET_FEATURES)
    assert front.used_idx() == 1
    with pytest.raises(BlockingIOError):
        os.eventfd_read(front.calls[front.reporting])


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
    said(hintd, "cannot be used with the new memory table")
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


def test_memory_that_goes_away(tmp_path):
    """A file made smaller under the daemon ends it, with a status and words."""
    hintd = Hintd(tmp_path / "socket", "sg").start()
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


def test_statistics_buffer_survives_a_pause(lab):
    """The base counts out the buffer that the device has."""
    _, front = lab()
    front.post([(BUFFER, 10, 0)], queue=2)
    front.wait_used(1, "being asked again", queue=2)
    front.post([(BUFFER, 10, 0)], queue=2)
    front.ask_u64(proto.GET_FEATURES)
    assert front.stop_queue(2) in (1, 2)    # asked again meanwhile, or not


def test_sandbox(lab):
    """No new privileges, a filter of system calls; also as nobody."""
    hintd, _ = lab()
    status = pathlib.Path(f"/proc/{hintd.process.pid}/status").read_text(
        encoding="ascii")
    assert "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status


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
             nobody, "--socket", tmp_path / "socket", "--wire", "sg"],
            stderr=subprocess.PIPE, text=True) as process:
        try:
            assert "listening" in process.stderr.readline()
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
    for option in ("--socket", "--wire", "--balloon", "--stats",
                   "--stats-file", "--no-sandbox", "--help"):
        assert option in done.stdout and option in text


@pytest.mark.parametrize("arguments, words", [
    ((), "--socket PATH is needed"),
    (("--socket", "s", "--wire", "tap"), "known are sg and hints"),
    (("--socket", "s", "--balloon", "-1"), "a number of MiB"),
    (("--socket", "s", "--balloon", "99999999999"), "a number of MiB"),
    (("--socket", "s", "more"), "more: unknown argument"),
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
        done = run("--socket", path)
        assert done.returncode == EXIT_SOCKET and words in done.stderr
    assert (tmp_path / "file").read_text(encoding="ascii") == "keep me"


def test_stale_socket_is_replaced(tmp_path):
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "socket"))
    hintd = Hintd(tmp_path / "socket", "sg").start()
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


def test_statistics_at_the_end(tmp_path):
    hintd = Hintd(tmp_path / "socket", "sg").start()
    front = FrontEnd(hintd)
    front.report((FREE, PAGE_SIZE))
    front.wait_used(1, "the report's answer")
    assert hintd.stop() == 0
    front.close()
    stats = json.loads(hintd.stats_file.read_text(encoding="ascii"))
    assert stats["buffers"] == 1


def test_statistics_file_that_cannot_be(tmp_path):
    done = run("--socket", tmp_path / "socket", "--stats-file",
               tmp_path / "no/folder")
    assert done.returncode == 1 and "cannot write statistics" in done.stderr
