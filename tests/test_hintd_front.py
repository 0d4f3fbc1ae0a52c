# SPDX-License-Identifier: GPL-2.0
"""hintd's queues against a front-end of our own: no QEMU, no guest."""

import os
import select
import struct

import pytest

from front import bits, counted, hintd_lab, said
from lab import vhost_proto as proto
from lab.vhost_balloon import HINTD_FEATURES, queue_roles
from lab.vhost_front import (BUFFER, FREE, HIGH, HIGH_START, LOW, MIB,
                             TIMEOUT_S, VQ_SIZE, FrontEnd)
from lab.vhost_proto import (DESC, PAGE_SIZE, VRING_DESC_F_INDIRECT,
                             VRING_DESC_F_NEXT, VRING_DESC_F_WRITE)


@pytest.fixture
def lab(tmp_path):
    """A function that gives a daemon and a front-end connected to it."""
    with hintd_lab(tmp_path) as make:
        yield make


# Negotiation and configuration

def test_features(lab):
    _, front = lab()
    assert front.offered == bits(*HINTD_FEATURES, 30)


# Bit 32 is VERSION_1: without it the driver is a legacy one.
@pytest.mark.parametrize("features, index", [
    ((32, 5), 2), ((32, 1, 5), 3), ((32, 1, 4, 5, 28), 3), ((5,), 2)])
def test_reporting_queue_index(lab, features, index):
    """The index follows from what was accepted, not from what was offered."""
    _, front = lab(acked=bits(30, *features))
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


@pytest.mark.parametrize("request_number", [0, 6, 26, 33, 4000, 0xffffffff])
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
    said(hintd, f"the guest is on the other wire: its aeration_virtio."
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


def test_rings_and_words_above_4_gib(lab):
    """Nothing of a queue has to have an address of 32 bits."""
    hintd, front = lab("hints", rings=LOW + 2 * MIB)
    place = LOW + MIB
    front.memory[place:place + 16] = struct.pack("<QQ", FREE, HIGH_START)
    front.post([(HIGH_START + MIB, 16, 0)])
    front.wait_used(1, "the hints' answer")
    assert front.is_hole(FREE, PAGE_SIZE) and front.is_hole(LOW, PAGE_SIZE)
    counted(hintd, blocks=2, punches=2)


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
    # What the device may write to says nothing, virtio 1.2, 5.5.6.1.
    front.memory[BUFFER + 16:BUFFER + 20] = struct.pack(
        "<I", FREE // PAGE_SIZE + 3)
    for queue in (0, 1):
        front.post([(BUFFER, 12, 0), (BUFFER + 16, 4, VRING_DESC_F_WRITE)],
                   queue=queue)
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


def test_guest_statistics_are_on_the_line(lab):
    hintd, front = lab(more=["--stats"])
    data = struct.pack("<HQHQ", 4, 7 * MIB, 5, 9 * MIB)
    front.memory[BUFFER:BUFFER + len(data)] = data
    front.post([(BUFFER, len(data), 0)], queue=2)
    line = ""
    while "guest" not in line:
        line = hintd.process.stdout.readline().decode()
    assert line.endswith(" released, guest: 7 of 9 MiB free\n")


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


# Four bugs that another VMM's balloon had in 2026, one test each

def test_range_past_its_region(lab):
    """A block that begins in memory and ends behind it gives nothing away."""
    hintd, front = lab()
    front.report((LOW - PAGE_SIZE, 2 * PAGE_SIZE),
                 (HIGH_START + HIGH - PAGE_SIZE, 1 << 31), (FREE, PAGE_SIZE))
    front.wait_used(1, "the report's answer")
    assert counted(hintd, blocks=1)["refused"] == {"outside RAM": 2}
    assert front.is_data(LOW - PAGE_SIZE, PAGE_SIZE + HIGH)
    assert front.is_hole(FREE, PAGE_SIZE)


def test_range_past_its_region_in_words(lab):
    """As a word: an order that is larger than what is left."""
    hintd, front = lab("hints")
    front.hint(HIGH_START | 11, FREE | 0)
    front.wait_used(1, "the hints' answer")
    assert counted(hintd, blocks=1)["refused"] == {"outside RAM": 1}
    assert front.is_data(LOW, HIGH)


@pytest.mark.parametrize("wire", ["sg", "hints"])
def test_later_descriptors_of_a_chain(lab, wire):
    """All of a chain is looked at: the last as the first, and each is checked."""
    hintd, front = lab(wire)
    if wire == "sg":
        front.report((FREE, PAGE_SIZE), (LOW, PAGE_SIZE),
                     (FREE + MIB, PAGE_SIZE))
    else:
        front.memory[BUFFER:BUFFER + 24] = struct.pack("<3Q", FREE, LOW,
                                                       FREE + MIB)
        front.post([(BUFFER, 8, 0), (BUFFER + 8, 8, 0),
                    (BUFFER + 16, 8, 0)])
    front.wait_used(1, "the report's answer")
    assert counted(hintd, blocks=2)["refused"] == {"outside RAM": 1}
    assert front.is_hole(FREE, PAGE_SIZE)
    assert front.is_hole(FREE + MIB, PAGE_SIZE)
    assert front.is_data(FREE + PAGE_SIZE, MIB - PAGE_SIZE)


@pytest.mark.parametrize("queue", ["inflate", "stats", "reporting"])
def test_huge_length_that_warns_without_end(lab, queue):
    """One line is said of it, and it costs no more than a short one."""
    hintd, front = lab("hints")
    index = queue_roles(front.acked).index(queue)
    for number in range(50):
        front.post([(BUFFER, 0xffffffff, 0)], queue=index)
        if queue == "stats":
            front.ask_u64(proto.GET_FEATURES)
        else:
            front.wait_used(number + 1, "an answer", queue=index)
    assert len(hintd.said().splitlines()) <= 2


@pytest.mark.parametrize("wire, bad", [
    ("sg", [(LOW, PAGE_SIZE, VRING_DESC_F_WRITE)]),
    ("sg", [(FREE + 1, 7, VRING_DESC_F_WRITE)]),
    ("sg", [(FREE, PAGE_SIZE, 0)]),
    ("hints", [(LOW, 8, 0)]),
    ("hints", [(BUFFER, 7, 0)]),
    ("hints", [(BUFFER, 0xfffffff8, 0)]),
    ("hints", [(BUFFER, 8, VRING_DESC_F_WRITE)])])
def test_error_that_kills_the_queue(lab, wire, bad):
    """A report that is refused is answered, and the next one is obeyed."""
    hintd, front = lab(wire)
    front.post(bad)
    front.wait_used(1, "the refused report's answer")
    if wire == "sg":
        front.report((FREE, PAGE_SIZE))
    else:
        front.hint(FREE)
    front.wait_used(2, "the next report's answer")
    assert front.is_hole(FREE, PAGE_SIZE)
    assert not counted(hintd, buffers=2)["ring_errors"]
