# SPDX-License-Identifier: GPL-2.0
"""The vhost-user balloon against a front-end of our own: no QEMU, no guest."""

import contextlib
import os
import socket
import struct
import subprocess
import sys

import pytest

from lab import vhost_proto as proto
from lab.vhost_balloon import (ABSURD_LEN, DEFAULT_FEATURES, MODES,
                               VhostBalloon, decode_hint, queue_roles)
from lab.vhost_front import (BUFFER, FREE, HIGH, HIGH_START, LOW, MIB,
                             RING_PAGES, TIMEOUT_S, USER, VQ_SIZE, FrontEnd)
from lab.vring import (DESC, PAGE_SIZE, VRING_DESC_F_INDIRECT,
                       VRING_DESC_F_NEXT, VRING_DESC_F_WRITE, GuestMemory,
                       Region, RingError, SplitRing)

NEVER_S = 10_000            # a delay that no test waits out


@pytest.fixture
def lab(tmp_path):
    """A function that gives a daemon and a front-end connected to it."""
    with contextlib.ExitStack() as stack:
        def make(wire="sg", acked=None, connect=True, **arguments):
            balloon = stack.enter_context(
                VhostBalloon(tmp_path / "socket", wire, **arguments))
            if not connect:
                return balloon
            front = FrontEnd(balloon, acked)
            stack.callback(front.close)
            return balloon, front
        yield make


def bits(*numbers):
    return sum(1 << number for number in numbers)


# What a device is made of

@pytest.mark.parametrize("features, index", [
    ((5,), 2), ((1, 5), 3), ((3, 5), 3), ((1, 3, 5), 4), ((0, 2, 4, 5, 32), 2)])
def test_reporting_queue_index(features, index):
    assert queue_roles(bits(*features)).index("reporting") == index


def test_no_reporting_queue_without_its_feature():
    assert "reporting" not in queue_roles(bits(1, 3, 32))


@pytest.mark.parametrize("word, decoded", [
    (0x200000 | 9, (0x200000, 2 * MIB, None)),
    (0x1000, (0x1000, PAGE_SIZE, None)),
    (0x1000 | 1, (0x1000, 2 * PAGE_SIZE, "misaligned")),
    (0x200000 | 10, (0x200000, 4 * MIB, "misaligned")),
    (51, (0, 1 << 63, None)),
    (52, (0, 0, "order")),
    (0x200000 | 0xfff, (0x200000, 0, "order"))])
def test_hint_decoding(word, decoded):
    assert decode_hint(word) == decoded


@pytest.fixture
def ring():
    """A ring in a page each, with nobody on the other side."""
    fd = os.memfd_create("ring", os.MFD_CLOEXEC)
    os.truncate(fd, RING_PAGES * PAGE_SIZE)
    memory = GuestMemory([Region(0, RING_PAGES * PAGE_SIZE, USER, 0, fd)])
    yield memory
    memory.close()


def make_ring(memory, num=VQ_SIZE, base=0, place=USER):
    return SplitRing(memory, num, place, USER + PAGE_SIZE, USER + 2 * PAGE_SIZE,
                     base)


@pytest.mark.parametrize("num, place", [
    (0, USER), (6, USER), (8, USER - 2), (8, USER + 1),
    (8, USER + RING_PAGES * PAGE_SIZE)])
def test_ring_that_cannot_be(ring, num, place):
    with pytest.raises(RingError):
        make_ring(ring, num, place=place)


def test_ring_indices_wrap(ring):
    place = ring.regions[0]
    for field in (PAGE_SIZE + 2, 2 * PAGE_SIZE + 2):
        place.words[field // 2] = 0xffff
    queue = make_ring(ring, base=0xffff)
    assert queue.pop() is None
    DESC.pack_into(place.bytes, 3 * DESC.size, FREE, 4096, VRING_DESC_F_WRITE, 0)
    place.words[(PAGE_SIZE + 4) // 2 + 7] = 3   # slot 0xffff % 8
    place.words[(PAGE_SIZE + 2) // 2] = 0       # 0xffff + 1
    chain = queue.pop()
    assert chain == (3, [(FREE, 4096, True)], False)
    assert queue.pop() is None
    queue.push(3, 0)
    assert place.words[(2 * PAGE_SIZE + 2) // 2] == 0xffff  # not told yet
    queue.publish()
    assert place.words[(2 * PAGE_SIZE + 2) // 2] == 0


def test_ring_with_too_many_buffers(ring):
    ring.regions[0].words[(PAGE_SIZE + 2) // 2] = VQ_SIZE + 1
    with pytest.raises(RingError, match="9 buffers available"):
        make_ring(ring).pop()


def test_bad_arguments(tmp_path):
    for arguments in ({"wire": "tap"}, {"mode": "nice"}, {"features": [34]},
                      {"features": [29]}):
        with pytest.raises(ValueError):
            VhostBalloon(tmp_path / "socket", **arguments)


# Negotiation and configuration

def test_default_features(lab):
    balloon, front = lab()
    assert front.offered == bits(*DEFAULT_FEATURES, 30)


def test_feature_that_was_not_offered(lab):
    _, front = lab(features=[32, 5])
    front.send(proto.SET_FEATURES, proto.U64.pack(bits(32, 5, 4)))
    assert front.hung_up()


@pytest.mark.parametrize("request_number", [26, 4000])
def test_unknown_request(lab, request_number):
    _, front = lab()
    front.send(request_number)
    assert front.hung_up()


def test_config_takes_only_the_drivers_fields(lab):
    balloon, front = lab()
    balloon.set_target(77)
    ask = proto.CONFIG_HEADER.pack(0, 16, 0) + bytes(16)
    reply = front.ask(proto.GET_CONFIG, ask)
    assert reply == proto.CONFIG_HEADER.pack(0, 16, 0) \
        + struct.pack("<IIII", 77, 0, 0, 0)
    stale = struct.pack("<IIII", 1, 2, 3, 4)    # as QEMU's cached copy may be
    front.acknowledged(proto.SET_CONFIG,
                       proto.CONFIG_HEADER.pack(0, 16, 0) + stale)
    assert balloon.config() == (77, 2, 0, 4)


def test_config_change_is_announced(lab):
    balloon, front = lab()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(TIMEOUT_S)
        front.acknowledged(proto.SET_BACKEND_REQ_FD, b"", [theirs.fileno()])
        balloon.set_target(1)
        assert proto.HEADER.unpack(ours.recv(proto.HEADER.size)) \
            == (proto.BACKEND_CONFIG_CHANGE_MSG, proto.FLAG_VERSION, 0)


# The sg wire

def test_sg_report_punches_holes(lab):
    balloon, front = lab()
    before = balloon.guest_bytes()
    head = front.report((FREE, 2 * MIB), (HIGH_START + MIB, PAGE_SIZE))
    assert front.wait_used(1, "the report's answer") == [(head, 0)]
    assert front.is_hole(FREE, 2 * MIB)
    assert front.is_hole(LOW + MIB, PAGE_SIZE)
    assert front.is_data(FREE + 2 * MIB, LOW - 3 * MIB)
    assert front.is_data(LOW, MIB)
    assert front.is_data(LOW + MIB + PAGE_SIZE, PAGE_SIZE)
    assert before - balloon.guest_bytes() == 2 * MIB + PAGE_SIZE
    stats = balloon.snapshot()
    assert stats["buffers"] == stats["seen"] == 1
    assert stats["blocks"] == stats["max_descriptors"] == 2
    assert stats["bytes_released"] == 2 * MIB + PAGE_SIZE
    assert stats["batches"] == [[(FREE, 2 * MIB),
                                 (HIGH_START + MIB, PAGE_SIZE)]]
    assert not stats["violations"] and not stats["refused"]


@pytest.mark.parametrize("block, reason", [
    ((LOW, PAGE_SIZE), "outside RAM"),
    ((LOW - PAGE_SIZE, 2 * PAGE_SIZE), "outside RAM"),
    ((HIGH_START - PAGE_SIZE, PAGE_SIZE), "outside RAM"),
    ((HIGH_START + HIGH, PAGE_SIZE), "outside RAM"),
    ((FREE + 512, PAGE_SIZE), "misaligned"),
    ((FREE, PAGE_SIZE + 512), "misaligned"),
    ((FREE, 0), "misaligned")])
def test_sg_refuses(lab, block, reason):
    balloon, front = lab()
    front.report(block, (FREE + MIB, PAGE_SIZE))
    front.wait_used(1, "the report's answer")
    stats = balloon.snapshot()
    assert stats["refused"] == {reason: 1}
    assert stats["refused_blocks"] == [(*block, reason)]
    assert stats["blocks"] == 1
    assert front.is_data(FREE, MIB)
    assert front.is_hole(FREE + MIB, PAGE_SIZE)


def test_sg_refuses_a_readable_block(lab):
    balloon, front = lab()
    front.post([(FREE, PAGE_SIZE, 0)])
    front.wait_used(1, "the report's answer")
    assert balloon.snapshot()["violations"] == {"readable descriptor": 1}
    assert front.is_data(FREE, PAGE_SIZE)


def test_indirect_is_followed_and_recorded(lab):
    balloon, front = lab(features=[32, 5, 28])
    table = DESC.pack(FREE, PAGE_SIZE, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1)
    table += DESC.pack(FREE + MIB, PAGE_SIZE, VRING_DESC_F_WRITE, 0)
    front.memory[BUFFER:BUFFER + len(table)] = table
    front.post([(BUFFER, len(table), VRING_DESC_F_INDIRECT)])
    front.wait_used(1, "the report's answer")
    assert front.is_hole(FREE, PAGE_SIZE) and front.is_hole(FREE + MIB, PAGE_SIZE)
    assert balloon.snapshot()["indirect"] == 1
    front.report((FREE + 2 * MIB, PAGE_SIZE))
    front.wait_used(2, "the second report's answer")
    assert balloon.snapshot()["indirect"] == 1


def test_looping_chain_stops_only_its_ring(lab):
    balloon, front = lab()
    front.report((FREE, PAGE_SIZE), (FREE + MIB, PAGE_SIZE), loop=True)
    balloon.wait_for(lambda stats: stats.ring_errors, TIMEOUT_S,
                     "the loop to be noticed")
    assert "loops" in balloon.snapshot()["ring_errors"][0]
    assert front.used_idx() == 0
    front.post([(BUFFER, 4, 0)], queue=0)
    front.wait_used(1, "inflate queue's answer", queue=0)
    front.stop_queue(front.reporting)
    front.start_queue(front.reporting)
    front.report((FREE, PAGE_SIZE))
    front.wait_used(1, "an answer after the reset")


def test_head_out_of_the_table(lab):
    balloon, front = lab()
    front.make_available(VQ_SIZE, front.reporting)
    os.eventfd_write(front.kicks[front.reporting], 1)
    balloon.wait_for(lambda stats: stats.ring_errors, TIMEOUT_S,
                     "the bad head to be noticed")


def test_ring_wraps_around(lab):
    balloon, front = lab()
    for round_number in range(3 * VQ_SIZE):
        address = FREE + round_number * PAGE_SIZE
        head = front.report((address, PAGE_SIZE))
        assert front.wait_used(round_number + 1, "an answer")[-1] == (head, 0)
        assert front.is_hole(address, PAGE_SIZE)
    assert balloon.snapshot()["buffers"] == 3 * VQ_SIZE


def test_poison_value_keeps_the_content(lab):
    balloon, front = lab(features=[32, 5, 4])
    for poison_val in (0xaa, 0):
        front.acknowledged(proto.SET_CONFIG, proto.CONFIG_HEADER.pack(0, 16, 0)
                           + struct.pack("<IIII", 0, 0, 0, poison_val))
        front.report((FREE, PAGE_SIZE))
        front.wait_used(2 - bool(poison_val), "the report's answer")
        assert front.is_hole(FREE, PAGE_SIZE) == (not poison_val)
    stats = balloon.snapshot()
    assert (stats["poisoned"], stats["blocks"]) == (1, 1)


# The hints wire

def test_hints_punch_holes(lab):
    balloon, front = lab("hints")
    head = front.hint(0x200000 | 9, 0x180000 | 3, HIGH_START | 8)
    assert front.wait_used(1, "the hints' answer") == [(head, 0)]
    assert front.is_hole(0x200000, 2 * MIB)
    assert front.is_hole(0x180000, 8 * PAGE_SIZE)
    assert front.is_hole(LOW, MIB)
    assert front.is_data(0x180000 + 8 * PAGE_SIZE, PAGE_SIZE)
    stats = balloon.snapshot()
    assert (stats["blocks"], stats["max_descriptors"]) == (3, 1)
    assert stats["bytes_released"] == 3 * MIB + 8 * PAGE_SIZE


def test_hints_refused(lab):
    balloon, front = lab("hints")
    front.hint(0x201000 | 9, LOW, 0x200000 | 0xfff, 1 << 63, 0x200000 | 11,
               0x200000)
    front.wait_used(1, "the hints' answer")
    stats = balloon.snapshot()
    assert stats["refused"] == {"misaligned": 2, "outside RAM": 2, "order": 1}
    assert stats["batches"] == [[(0x200000, PAGE_SIZE)]]
    assert front.is_hole(0x200000, PAGE_SIZE)
    assert front.is_data(0x201000, PAGE_SIZE)


@pytest.mark.parametrize("descriptors, violation", [
    ([(BUFFER, 33 * 8, 0)], "size of the buffer"),
    ([(BUFFER, 7, 0)], "size of the buffer"),
    ([(BUFFER, 0, 0)], "size of the buffer"),
    ([(BUFFER, 8, VRING_DESC_F_WRITE)], "writable descriptor"),
    ([(BUFFER, 8, 0), (BUFFER, 8, 0)], "more than one descriptor")])
def test_hints_violations(lab, descriptors, violation):
    balloon, front = lab("hints")
    front.memory[BUFFER:BUFFER + 33 * 8] = struct.pack("<Q", FREE) * 33
    front.post(descriptors)
    front.wait_used(1, "the hints' answer")
    assert balloon.snapshot()["violations"] == {violation: 1}


def test_thirty_two_hints(lab):
    balloon, front = lab("hints")
    front.hint(*(FREE + step * PAGE_SIZE for step in range(32)))
    front.wait_used(1, "the hints' answer")
    assert balloon.snapshot()["blocks"] == 32
    assert front.is_hole(FREE, 32 * PAGE_SIZE)
    assert front.is_data(FREE + 32 * PAGE_SIZE, PAGE_SIZE)


# Queues

def test_all_queues(lab):
    """With bits 1 and 3 the reporting queue is the last, statistics are kept."""
    balloon, front = lab(features=[32, 1, 3, 5])
    assert front.reporting == 4
    front.report((FREE, PAGE_SIZE))
    front.wait_used(1, "the report's answer")
    for queue in range(4):
        front.post([(BUFFER, 8, 0)], queue=queue)
    for queue in (0, 1, 3):
        front.wait_used(1, f"queue {queue}", queue)
    balloon.wait_for(lambda stats: len(stats.other_buffers) == 4, TIMEOUT_S,
                     "a buffer in each of the other queues")
    front.ask_u64(proto.GET_FEATURES)
    assert front.used_idx(2) == 0
    assert balloon.snapshot()["other_buffers"] == {
        "inflate": 1, "deflate": 1, "stats": 1, "hinting": 1}


def test_features_acked_decide_not_those_offered(lab):
    balloon, front = lab(features=[32, 1, 3, 5], acked=bits(32, 5, 30))
    assert front.reporting == 2
    front.report((FREE, PAGE_SIZE))
    front.wait_used(1, "the report's answer")
    assert front.is_hole(FREE, PAGE_SIZE)


def test_disabled_queue_is_not_processed(lab):
    balloon, front = lab()
    queue = front.reporting
    front.acknowledged(proto.SET_VRING_ENABLE, proto.VRING_STATE.pack(queue, 0))
    front.report((FREE, PAGE_SIZE))
    front.post([(BUFFER, 4, 0)], queue=0)
    front.wait_used(1, "inflate queue's answer", queue=0)
    assert front.used_idx() == 0
    front.acknowledged(proto.SET_VRING_ENABLE, proto.VRING_STATE.pack(queue, 1))
    front.wait_used(1, "the report's answer")


def test_new_memory_table_under_a_running_ring(lab):
    balloon, front = lab(mode="silent")
    front.report((FREE, PAGE_SIZE))
    front.wait_seen(1)
    front.set_mem_table()
    balloon.mode = "normal"
    front.wait_used(1, "the report's answer")
    assert front.is_hole(FREE, PAGE_SIZE)


# Modes

def test_every_mode_has_a_test():
    tested = {"normal", "silent", "hold", "wrong-id", "twice", "absurd-len",
              "no-work-irq", "die"}
    assert tested == set(MODES)


def test_silent_then_normal(lab):
    balloon, front = lab(mode="silent")
    heads = [front.report((FREE + step * MIB, PAGE_SIZE)) for step in range(3)]
    front.wait_seen(3)
    assert front.used_idx() == 0 and front.is_data(FREE, PAGE_SIZE)
    assert balloon.snapshot()["buffers"] == 0
    balloon.mode = "normal"
    assert front.wait_used(3, "what was pending") == [(head, 0)
                                                      for head in heads]
    assert all(front.is_hole(FREE + step * MIB, PAGE_SIZE) for step in range(3))


@pytest.mark.parametrize("mode", ["silent", "hold", "no-work-irq"])
def test_reset_drops_what_was_not_answered(lab, mode):
    """After a device reset the blocks are the guest's again."""
    balloon, front = lab(mode=mode, delay_s=NEVER_S)
    front.report((FREE, PAGE_SIZE))
    front.wait_seen(1)
    assert front.stop_queue(front.reporting) == 0   # the oldest not answered
    front.start_queue(front.reporting)
    balloon.delay_s = 0
    balloon.mode = "normal"
    front.report((FREE + MIB, PAGE_SIZE))
    front.wait_used(1, "the report after the reset")
    assert front.is_data(FREE, PAGE_SIZE)
    assert front.is_hole(FREE + MIB, PAGE_SIZE)
    stats = balloon.snapshot()
    assert (stats["starts"], stats["stops"], stats["dropped"]) == (2, 1, 1)


def test_pause_keeps_what_was_not_answered(lab):
    """A paused VM: the same rings come back, from the base that was told."""
    balloon, front = lab()
    front.report((FREE, PAGE_SIZE))
    front.wait_used(1, "the first report")
    balloon.mode = "silent"
    front.report((FREE + MIB, PAGE_SIZE))
    front.wait_seen(2)
    base = front.stop_queue(front.reporting)
    assert base == 1
    balloon.mode = "normal"
    front.start_queue(front.reporting, base)
    front.wait_used(2, "the second report")
    assert front.is_hole(FREE + MIB, PAGE_SIZE)


def test_hold_answers_after_the_delay(lab):
    balloon, front = lab(mode="hold", delay_s=NEVER_S)
    front.report((FREE, PAGE_SIZE))
    front.wait_seen(1)
    assert front.used_idx() == 0 and front.is_data(FREE, PAGE_SIZE)
    front.ask(proto.GET_CONFIG, proto.CONFIG_HEADER.pack(0, 16, 0) + bytes(16))
    balloon.delay_s = 0.01
    front.wait_used(1, "the held report")
    assert front.is_hole(FREE, PAGE_SIZE)
    front.report((FREE + MIB, PAGE_SIZE))
    front.wait_used(2, "a report held for 10 ms")


@pytest.mark.parametrize("wire", ["sg", "hints"])
def test_wrong_id(lab, wire):
    balloon, front = lab(wire, mode="silent")
    heads = [front.hint(FREE) if wire == "hints" else
             front.report((FREE, PAGE_SIZE), (FREE + MIB, PAGE_SIZE))
             for _ in range(2)]
    front.wait_seen(2)
    balloon.mode = "wrong-id"
    for told, length in front.wait_used(2, "the wrong answers"):
        assert told < VQ_SIZE and length == 0
        assert told != heads[0]
    assert front.used()[0][0] not in heads
    assert front.used()[1][0] != heads[1]


def test_wrong_id_when_every_index_is_a_head(lab):
    balloon, front = lab(mode="silent")
    for step in range(VQ_SIZE):
        front.report((FREE + step * PAGE_SIZE, PAGE_SIZE))
    front.wait_seen(VQ_SIZE)
    balloon.mode = "wrong-id"
    assert front.wait_used(VQ_SIZE, "the wrong answers")[0] == (VQ_SIZE, 0)


def test_twice(lab):
    balloon, front = lab(mode="twice")
    head = front.report((FREE, PAGE_SIZE))
    assert front.wait_used(2, "both answers") == [(head, 0)] * 2
    assert balloon.snapshot()["buffers"] == 1


def test_absurd_len(lab):
    balloon, front = lab(mode="absurd-len")
    head = front.report((FREE, PAGE_SIZE))
    assert front.wait_used(1, "the answer") == [(head, ABSURD_LEN)]
    assert front.is_hole(FREE, PAGE_SIZE)


def test_no_work_irq(lab):
    balloon, front = lab(mode="no-work-irq")
    front.report((FREE, PAGE_SIZE))
    for number in range(5):
        front.wait_call(f"interrupt {number} without work")
        assert front.used_idx() == 0
    front.wait_seen(1)
    assert balloon.snapshot()["empty_irqs"] >= 5
    balloon.mode = "normal"
    front.wait_used(1, "the pending report")


def test_die_and_come_back(lab):
    balloon, front = lab(mode="die")
    front.post([(BUFFER, 4, 0)], queue=0)
    front.wait_used(1, "inflate queue's answer", queue=0)
    front.report((FREE, PAGE_SIZE))
    assert front.hung_up()
    assert front.used_idx() == 0 and front.is_data(FREE, PAGE_SIZE)
    balloon.mode = "normal"
    again = FrontEnd(balloon)
    again.report((FREE, PAGE_SIZE))
    again.wait_used(1, "an answer after reconnecting")
    again.close()
    assert balloon.snapshot()["connections"] == 2


def test_affected_queues(lab):
    balloon, front = lab(mode="silent")
    balloon.affected = frozenset({"inflate"})
    front.post([(BUFFER, 4, 0)], queue=0)
    front.report((FREE, PAGE_SIZE))
    front.wait_used(1, "the report, which is not affected")
    balloon.wait_for(lambda stats: stats.other_buffers["inflate"], TIMEOUT_S,
                     "the inflate buffer")
    front.ask_u64(proto.GET_FEATURES)
    assert front.used_idx(0) == 0
    balloon.mode = "normal"
    front.wait_used(1, "the inflate buffer's answer", queue=0)


# Life

def test_stop_releases_everything(tmp_path):
    before = set(os.listdir("/proc/self/fd"))
    balloon = VhostBalloon(tmp_path / "socket", mode="silent")
    for _ in range(2):          # it can be started again
        balloon.start()
        front = FrontEnd(balloon)
        front.report((FREE, PAGE_SIZE))
        front.wait_seen(1)
        balloon.stop()
        balloon.stop()
        assert front.hung_up()
        assert balloon.guest_bytes() == 0
        front.close()
        assert not os.path.exists(balloon.socket_path)
        assert set(os.listdir("/proc/self/fd")) == before
        balloon.stats.seen = 0


def test_wait_says_what_it_waited_for(lab):
    balloon = lab(connect=False)
    with pytest.raises(TimeoutError, match="waited 0 s for a miracle"):
        balloon.wait_for(lambda stats: stats.buffers, 0, "a miracle")


def test_qemu_args(tmp_path):
    balloon = VhostBalloon(tmp_path / "socket")
    text = " ".join(balloon.qemu_args(vq_size=256, id="b1"))
    assert f"socket,id=b1-chr,path={tmp_path}/socket" in text
    assert "virtio-id=5,num_vqs=5,vq_size=256,config_size=16" in text
    assert "server" not in text     # the daemon listens, QEMU connects
    assert "size=64M" in " ".join(balloon.memory_args(64))


def test_as_a_program(tmp_path):
    """It says how to use it, obeys its standard input, ends on SIGTERM."""
    program = subprocess.Popen(
        [sys.executable, "-m", "lab.vhost_balloon", "--socket",
         str(tmp_path / "socket"), "--mode", "silent", "--features", "32,5"],
        cwd=os.path.dirname(__file__), stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True)
    try:
        assert program.stdout.readline().startswith("add to QEMU: -chardev")
        program.stdin.write("mode absurd-len\nstats\n")
        program.stdin.flush()
        assert '"buffers": 0' in program.stdout.readline()
        program.terminate()
        output, _ = program.communicate(timeout=TIMEOUT_S)
        assert '"connections": 0' in output
        assert program.returncode == 0
    finally:
        program.kill()
        program.wait()
