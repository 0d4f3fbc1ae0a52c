# SPDX-License-Identifier: GPL-2.0
"""What several tests do with a guest."""

import contextlib
import itertools
import os
import pathlib
import tempfile

from lab.qemu import ICOUNT_SHIFT, Vm
from lab.vhost_balloon import Hintd, VhostBalloon

SYSFS = "/sys/kernel/aeration"
MIB = 1 << 20

# Part of a large surplus that has to come back.
SHARE = 0.95

# What may stay of any, MiB: each of two processors keeps up to ten huge pages
# on lists of its own. Seen with 384 MiB freed: 2 to 20 and more.
STAYS_MIB = 48

# QEMU without KVM now and then does not get a guest of two processors through
# sleep: it resets it or leaves it hanging, also one without a balloon driver,
# seen at the 2nd to the 18th sleep with QEMU 7.2 and 11.1. A guest of one slept
# and woke 45 times with each.
CPUS_THAT_SLEEP = 1

# Older ones cannot be given a vhost-user device of any type.
QEMU_THAT_TAKES_DAEMONS = "7.3"

# QEMU 7.2 leaves a guest of two processors that take turns hanging as it brings up
# the second one: each time, or never, as its image has it.
QEMU_THAT_TAKES_TURNS = "6.12"

# Seconds to wait for what should be there within one or two; and that nothing
# takes, however busy the host is.
SOON = 120
HUNG = 1800

# Less than a block of the smallest order, KiB.
HALF_A_BLOCK = 1024

_MARKS = itertools.count(1)


def integrity_words(config):
    """Return which words `integrity` shall look at, for its command line.

    Some of each page, or every one in a run that takes its time.
    """
    return "every" if config.getoption("--tier", default="check") != "check" \
        else ""


def counting(kernel, name, *, cpus=1, icount=ICOUNT_SHIFT, **more):
    """Return a Vm whose clock is made of its own instructions.

    What depends on time is the same in it on every host, and sleeping costs
    nothing. Between two commands hours go by: what belongs together is one.
    """
    if cpus > 1:
        more.setdefault("qemu_of", QEMU_THAT_TAKES_TURNS)
    return Vm(kernel, f"{name}-{kernel}", cpus=cpus, icount=icount, **more)


def value(vm, name):
    """Return the content of a file in the core's sysfs folder."""
    return vm.text(f"{SYSFS}/{name}").strip()


def stat(vm, name):
    """Return a counter of the core."""
    return int(value(vm, f"stats/{name}"))


def wait_value(vm, name, wanted, timeout=SOON):
    """Wait until a file in the core's sysfs folder holds `wanted`."""
    vm.wait_until(lambda: value(vm, name) == wanted,
                  f"{name} to be {wanted!r}", timeout)


def choose(vm, word):
    """Ask for a backend at run time."""
    vm.run(f"echo {word} > /sys/module/aeration/parameters/backend")


def mark(vm):
    """Have said() look only at what the kernel log says from now on."""
    vm.log_mark = f"lab mark {next(_MARKS)}."
    vm.run(f"echo {vm.log_mark} > /dev/kmsg")


def log(vm):
    """Return the kernel log since the last mark()."""
    return vm.kernel_log().rpartition(getattr(vm, "log_mark", "\0"))[2]


def said(vm, text):
    """Fail unless the kernel log has `text` since the last mark()."""
    assert text in log(vm), f"the kernel log does not say {text!r}"


def wait_said(vm, text, timeout=SOON):
    """Wait until the kernel log has `text` since the last mark()."""
    vm.wait_until(lambda: text in log(vm), f"the kernel log to say {text!r}",
                  timeout)


def leaves(mib):
    """Return how much has to leave when so much is freed, MiB."""
    return mib - STAYS_MIB


def refused(vm, command, error, timeout=SOON):
    """Run a command that has to fail, with that error, as strerror() has it."""
    done = vm.run(command, timeout, check=False)
    assert done.rc, f"{command!r} succeeded"
    assert f": {error}" in done.out, f"{command!r} failed otherwise: {done.out}"


def touch_and_free(vm, mib=256, seconds=1):
    """Have memory used, and free again, that was not reported yet."""
    vm.run(f"/opt/aeration/memwork churn {mib} {seconds}")


def hold(vm, mib):
    """Touch memory and keep it; return the job and its pid in the guest."""
    job = vm.start(f"exec /opt/aeration/memwork hold {mib}")
    vm.wait_until(lambda: job.says("touched"),
                  f"{mib} MiB to be touched", 120)
    return job


def free_held(vm, job):
    """Have a hold() job free its memory."""
    vm.run("kill -USR1 $(pidof memwork)")
    vm.wait_until(lambda: job.says("freed"), "memory to be freed", 60)


def end_held(vm, job):
    """End a hold() job that has freed its memory."""
    vm.run("kill -USR1 $(pidof memwork)")
    job.wait()


def free_kib(vm):
    """Return the guest's free memory in KiB, that on CPU lists included."""
    return int(vm.run(". /opt/aeration/ktap.sh; free_kib").out.split()[-1])


def expect_free(vm, kib):
    """Wait until so much is free, in KiB.

    The kernel's own compaction takes free pages for a moment. What is lost does
    not come back.
    """
    vm.wait_until(lambda: free_kib(vm) >= kib,
                  f"{kib} KiB to be free, as before", SOON)


def measure_free(vm):
    """Return what is free, KiB, so that expect_free() finds one block missing.

    It is less than what was seen by as much as readings differ when a module
    that is not ours comes and goes, and by half a block.
    """
    out = vm.run(". /opt/aeration/ktap.sh; HERE=/opt/aeration; "
                 "foreign; measure_free foreign; "
                 "echo $((KTAP_FREE - KTAP_NOISE))").out
    return int(out.split()[-1]) - HALF_A_BLOCK


def unload(vm):
    """Unload every module of ours; what is held comes back before."""
    vm.run(". /opt/aeration/ktap.sh; unload", timeout=HUNG)


@contextlib.contextmanager
def disk(mib, more=""):
    """A disk of zeroes in the host's memory; yields (path, arguments for QEMU).

    `more` is what else the device shall be told, "key=value,...".

    On a host whose own disk is slow a guest that syncs would wait until its kernel
    says that it hangs.
    """
    with open(os.memfd_create("disk"), "r+b") as memory:
        memory.truncate(mib << 20)
        path = f"/proc/{os.getpid()}/fd/{memory.fileno()}"
        yield path, [
            "-drive", f"file={path},if=none,id=disk,format=raw,cache=unsafe",
            "-device", "virtio-blk-pci,drive=disk" + f",{more}" * bool(more)]


@contextlib.contextmanager
def hintd_guest(kernel, name, hintd, *, cmdline="", extra=(),
                share_memory=True, **more):
    """A guest whose balloon device is `hintd`, a Hintd; yields the Vm."""
    with Vm(kernel, f"{name}-{kernel}", qemu_of=QEMU_THAT_TAKES_DAEMONS,
            balloon=False, share_memory=share_memory,
            cmdline=f"aeration_virtio.wire={hintd.wire} {cmdline}",
            extra=[*hintd.qemu_args(id="hintd0"), *extra], **more) as vm:
        yield vm


@contextlib.contextmanager
def hintd_at(wire, *more):
    """A hintd at a socket of its own."""
    with tempfile.TemporaryDirectory(prefix="aerhd-") as folder, \
            Hintd(str(pathlib.Path(folder, "hd")), wire, more) as hintd:
        yield hintd


@contextlib.contextmanager
def vhost_guest(kernel, name, *, wire="sg", features=None, vq_size=128,
                cmdline="", balloon=False, numbers="accepted", **more):
    """A guest whose balloon device is evild; yields (vm, device)."""
    with tempfile.TemporaryDirectory(prefix="aervb-") as folder, \
            VhostBalloon(str(pathlib.Path(folder, "vb")), wire=wire,
                         features=features, numbers=numbers) as device, \
            Vm(kernel, f"{name}-{kernel}", qemu_of=QEMU_THAT_TAKES_DAEMONS,
               balloon=balloon, share_memory=True, cmdline=cmdline,
               **more) as vm:
        device.plug_into(vm, vq_size=vq_size, id="vhost0")
        yield vm, device
