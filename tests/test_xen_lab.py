# SPDX-License-Identifier: GPL-2.0
"""The lab's Xen: what boots on it, and what it notices."""

import struct
import types

import pytest

import domu
from lab import LabError, hypervisors, kernels, xentrace
from lab.domain import XL_POLL, config_text
from lab.machine import GuestError
from lab.xen import Xen, whole_lines

# A domain that is as small as the builder and the image allow.
SMALL = 320

# Pages of a domain that xl does not count as its memory, in MiB.
SLACK = 4

# log2 of the 4 KiB pages in a MiB.
PAGES_OF_MIB_SHIFT = 8

# Seconds.
BALLOON_TIMEOUT = 120


def test_config_text():
    """A configuration is written as xl reads it."""
    assert config_text({"a": 1, "b": "x y", "c": ["p", "q"], "d": 'say "x"'}
                       ) == 'a = 1\nb = "x y"\nc = ["p", "q"]\n' \
        "d = 'say \"x\"'\n"
    with pytest.raises(LabError, match="quotes"):
        config_text({"a": "'\""})


def test_trace_records():
    """A trace is decoded, and one that lost something is refused."""
    header = struct.pack("<I", 1 << 31 | 6 << 28 | xentrace.TRC_MEM + 4)
    stamp = struct.pack("<Q", 12345)
    words = struct.pack("<QQIHH", 0x200, 0xabc00, 1, 3, 9)
    other = struct.pack("<III", 2 << 28 | xentrace.TRC_MEM + 1, 0, 0)
    hole = struct.pack("<QQIHH", 5, xentrace.INVALID, 1, 3, 0)
    data = header + stamp + words + other + header + stamp + hole
    one, two = xentrace.entries(data)
    assert one == xentrace.Entry(3, 0x200, 0xabc00, 9) and one.backed
    assert two.gfn == 5 and not two.backed
    with pytest.raises(LabError, match="middle of a record"):
        xentrace.entries(data[:-4])
    lost = struct.pack("<I", xentrace.TRC_LOST_RECORDS)
    with pytest.raises(LabError, match="too small"):
        xentrace.entries(lost + data)


def test_stops_in_xen():
    """A state is saved while no processor is in the middle of a guest."""
    inside, xen = "RIP=ffffffff81a3c5f0 RFL=", "RIP=ffff82d040308e21 RFL="
    seen = [[xen, inside], [inside, xen], [xen], [xen, xen]]
    done = []

    def qmp(command, **_):
        done.append(command)
        return "\n".join(seen.pop(0)) if command == "human-monitor-command" else ""

    def wait_until(condition, *_):
        while not condition():
            pass

    Xen.stop_to_save(types.SimpleNamespace(cpus=2, qmp=qmp, wait_until=wait_until))
    look = ["stop", "human-monitor-command"]
    assert done == (look + ["cont"]) * 3 + look


def test_console_of_two():
    """Xen cuts a line of domain 0's in two, seen, and it is one again."""
    said = "(XEN) uart interrupt taking more than 4ms\n"
    for begin, end in (("", ""), ("aeration: backend", " none, asked for virtio\n")):
        for xen in ("", said, 2 * said):
            assert whole_lines(f"(XEN) 1\nfirst\n{begin}{xen}{end}last") == \
                f"(XEN) 1\nfirst\n{xen}{begin}{end}last"


def test_unknown_version_is_named():
    """Asking for a Xen that is not there says which are."""
    with pytest.raises(LabError, match="4.17, 4.20"):
        Xen("3.0", "lab-no-xen")
    with pytest.raises(LabError, match="one for 4.20"):
        hypervisors.device_model("4.17")


def is_a_guest(guest, series):
    """A domain takes commands, and has the kernel and the Xen it should have."""
    assert guest.run("uname -r").out.strip() == kernels.kernel(series).version
    assert guest.run("cat /sys/hypervisor/type").out == "xen\n"
    assert guest.run("exit 3", check=False).rc == 3
    assert guest.kernel_log().startswith("[    0.000000] Linux")
    large = bytes(range(256)) * 40
    guest.push("/tmp/g", large)
    assert guest.read("/tmp/g") == large
    job = guest.start("echo one; sleep 1; exit 4")
    assert job.wait(check=False).rc == 4


def test_machine(image, xen_version):
    """Domain 0, and a domain that was there when the machine was saved."""
    with domu.booted(xen_version, "lab") as (xen, guest):
        assert xen.run("uname -r").out.strip() == \
            kernels.kernel(xen.kernel).version
        assert "Domain-0" in xen.xl("list")
        info = xen.xl("info")
        assert f"xen_version            : {xen_version}." in info
        assert 0 < xen.free_mib() < xen.mem_mib - xen.dom0_mib
        with pytest.raises(LabError, match="not in this machine"):
            xen.domain("none")
        with pytest.raises(LabError, match="no device model in this machine"):
            xen.domain(xen.kernel, "hvm")
        is_a_guest(guest, xen.kernel)
        assert abs(guest.mib() - domu.MEM_MIB) <= SLACK
        warning = "WARNING: made up by the lab"
        with pytest.raises(GuestError, match=f"as it restarted:\n.*{warning}"):
            guest.restart(f"echo '{warning}' > /dev/kmsg; reboot -f")
        guest.destroy(check=False)


@pytest.mark.all_only("about the lab itself: what tests do with domains they do "
                      "in check, too")
def test_domains(image, xen_version):
    """PVH and PV domains, populate on demand, stock balloon, save and restore."""
    with domu.machine(xen_version, "lab-domains") as xen:
        free = xen.free_mib()
        pod = xen.domain(xen.kernel, "pvh", mem_mib=400, maxmem_mib=600)
        assert abs(pod.mib() - 400) <= SLACK
        assert int(pod.run("awk '/MemTotal/ {print $2}' /proc/meminfo").out
                   ) < 400 << 10
        pod.finish()
        with xentrace.Trace(xen) as trace:
            guests = [xen.domain(xen.kernel, kind, mem_mib=SMALL)
                      for kind in ("pvh", "pv")]
        # Xen's builder maps superpages, the stock balloon does not.
        built = sum(1 << one.order for one in trace.entries(guests[0])
                    if one.backed and one.order == xentrace.SUPERPAGE_ORDER)
        assert built >> PAGES_OF_MIB_SHIFT > SMALL * 3 // 4
        assert not trace.entries(guests[1])
        for guest in guests:
            is_a_guest(guest, xen.kernel)
            assert abs(guest.mib() - SMALL) <= SLACK
        assert guests[0].run("grep -c '^flags.* pni' /proc/cpuinfo").out
        assert guests[0].id != guests[1].id
        assert free - xen.free_mib() >= 2 * SMALL
        with xentrace.Trace(xen) as trace:
            guests[0].mem_set(SMALL - 16)
            xen.wait_until(lambda: guests[0].mib() <= SMALL - 16 + SLACK,
                           "the domain to shrink", BALLOON_TIMEOUT,
                           poll=XL_POLL)
        holes = [one for one in trace.entries(guests[0]) if not one.backed]
        assert holes and not any(one.order for one in holes)
        for guest in guests:
            guest.mem_set(SMALL - 64)
            xen.wait_until(lambda: guest.mib() <= SMALL - 64 + SLACK,
                           "the domain to shrink", BALLOON_TIMEOUT,
                           poll=XL_POLL)
            guest.mem_set(SMALL)
            xen.wait_until(lambda: guest.mib() >= SMALL - SLACK,
                           "the domain to grow", BALLOON_TIMEOUT, poll=XL_POLL)
            guest.run("echo kept > /tmp/kept")
            number = guest.id
            guest.save("/tmp/saved")
            assert f" {number} " not in xen.xl("list")
            guest.restore("/tmp/saved")
            xen.run("rm /tmp/saved")
            assert guest.id != number
            assert guest.run("cat /tmp/kept").out == "kept\n"
            assert "Restarting tasks" in guest.kernel_log()
        guests[0].finish()
        guests[1].destroy()
        xen.wait_until(lambda: xen.free_mib() >= free - SLACK,
                       "the domains' memory to be free", BALLOON_TIMEOUT,
                       poll=XL_POLL)


@pytest.mark.all_only("about the lab itself: many ways for a domain to end")
def test_trouble_in_a_domain_fails(image, xen_version):
    """What happens to a domain fails whoever talks to it, or the machine."""
    with pytest.raises(GuestError, match="kernel panicked"):
        with domu.machine(xen_version, "lab-trouble",
                          allow=["lab: domain .* crashed"]) as xen:
            gone = xen.domain(xen.kernel, mem_mib=SMALL)
            xen.xl(f"destroy {gone.id}")
            with pytest.raises(GuestError, match="domain 1 is gone"):
                gone.run("sleep 60")
            gone.destroy(check=False)
            warned = xen.domain(xen.kernel, mem_mib=SMALL)
            warned.run("echo 'BUG: made up by the lab' > /dev/kmsg")
            with pytest.raises(GuestError, match="evidence in the kernel's "
                               "log:\n.*made up by the lab"):
                warned.finish()
            with pytest.raises(GuestError, match="VFS: Unable to mount root"):
                xen.domain(xen.kernel, mem_mib=SMALL, cmdline="rdinit=/none")
            xen.domains[0].destroy(check=False)
            crashed = xen.domain(xen.kernel, mem_mib=SMALL)
            crashed.start("sleep 1; echo c > /proc/sysrq-trigger")
            xen.wait_until(lambda: xen.fate(crashed.id),
                           "the domain to crash", 60)
            assert xen.fate(crashed.id) == "crashed"
    assert "sysrq triggered crash" in (
        xen.logs / f"{crashed.name}-console.log").read_text(encoding="utf-8")


@pytest.mark.all_only("about the lab itself, and boots a Xen of its own for it")
def test_xen_that_ends_is_noticed(xen_version):
    """A Xen without enough memory for domain 0 fails at once."""
    with pytest.raises(GuestError, match="panicked|QEMU ended"):
        with Xen(xen_version, f"xen-ends-{xen_version}", dom0_mib=8):
            pass
