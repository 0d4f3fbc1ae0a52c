# SPDX-License-Identifier: GPL-2.0
"""On kernels that look at what is done to them, see lab/tree.py.

Debian's kernels are built without what finds a lock taken in the wrong order,
sleep where there must be none, memory that is used after it was freed. These
are made to: whatever such a kernel says of it is on its console, and there, as
in every guest, it fails the test.
"""

import pytest

import domu
import guest
import ktap
from lab import dom0, scan, tree
from lab.machine import GuestError
from lab.qemu import Vm
from lab.xen import Xen

FLAVOURS = ("debug-6.1",)

SCRIPTS = ("params", "choose", "loop", "hold", "virtio")

# What the lab's own fill-and-compare program does, see places.py.
BATCHES = 20
PATTERN_MIB = 512

# What a program uses, of a guest of 2 GiB of which most is held.
BURST_MIB = 1500

ROUNDS = 5	# of loading and unloading

pytestmark = [pytest.mark.xdist_group("tree"), pytest.mark.all_only(
    "it builds a kernel that nothing else needs")]

# For what boots one.
on_own = pytest.mark.all_only("a kernel of 1300 objects is compiled for it")


@pytest.fixture(params=FLAVOURS, scope="module")
def own(request):
    """A kernel of our own."""
    return tree.kernel(request.param)


def booted(own, name, **more):
    """A guest with it."""
    return Vm(own.series, f"debug-{name}", own=own, **more)


# Without huge pages of programs, which these kernels lack, a block would be of
# 4 MiB; the script counts in the 2 MiB of Debian's.
WORDS = {"hold": "aeration.order=9"}


@on_own
@pytest.mark.parametrize("script", SCRIPTS)
def test_kselftest(own, script):
    """The guest-side tests."""
    with booted(own, script, cmdline=WORDS.get(script, "")) as vm:
        done = vm.run(f"/opt/aeration/{script}.sh", guest.HUNG, check=False)
    ktap.check(done.out)
    assert not done.rc


BACKENDS = {
    "virtio": "aeration_virtio",
    "loop": "aeration_loop",
    "hold": "aeration_loop durable=1",
}


def load(vm, backend, parameters="window_ms=0 reserve_mb=0"):
    """Load the core and a backend; wait until it runs."""
    word = "virtio" if backend == "virtio" else "loop"
    vm.run(f"modprobe aeration backend={word} {parameters} && "
           f"modprobe {BACKENDS[backend]}")
    guest.wait_value(vm, "state", "running")


@on_own
def test_failures_on_command(own):
    """A function fails when it is told to, however long ago that was.

    This kernel makes jumps of probes that stay.
    """
    with booted(own, "stays") as vm:
        vm.run("modprobe aeration && modprobe aeration_faults "
               "symbol=aerator_startup value=-12 task=modprobe && sleep 5")
        assert vm.run("modprobe aeration_loop 2>&1", check=False).rc
        vm.run("rmmod aeration_faults && modprobe aeration_loop")
        guest.said(vm, "aerator_startup failed 1 of 1 times")
        guest.unload(vm)


@on_own
@pytest.mark.parametrize("backend", BACKENDS)
def test_integrity(own, backend):
    """No word of memory is wrong while batches fly."""
    with booted(own, f"integrity-{backend}") as vm:
        load(vm, backend)
        done = vm.run(f"/opt/aeration/integrity {BATCHES} {guest.HUNG} "
                      f"{PATTERN_MIB} 2048", guest.HUNG, check=False)
        assert not done.rc, done.out
        guest.unload(vm)


@on_own
@pytest.mark.parametrize("backend", BACKENDS)
def test_unload_under_load(own, backend):
    """It comes and goes while a program uses and frees memory."""
    with booted(own, f"unload-{backend}") as vm:
        job = vm.start("while [ ! -e /tmp/enough ]; do "
                       "/opt/aeration/memwork churn 256 1; done")
        for _ in range(ROUNDS):
            load(vm, backend)
            before = guest.stat(vm, "batches")
            vm.wait_until(lambda: guest.stat(vm, "batches") > before + 1,
                          "batches to go", guest.SOON)
            guest.unload(vm)
        vm.run("touch /tmp/enough")
        job.wait()


@on_own
def test_pressure(own):
    """More than is left is used at once: what is held comes back."""
    with booted(own, "pressure") as vm:
        load(vm, "hold", "window_ms=100")
        domu.settled(vm, 1000)
        for _ in range(2):
            vm.run(f"/opt/aeration/memwork churn {BURST_MIB} 1", guest.HUNG)
            assert guest.stat(vm, "restores")
            domu.settled(vm, 1000)
        assert vm.read("/sys/kernel/debug/aeration_loop/touched") == b"0\n"
        guest.unload(vm)


# Every allocation of whoever asks for it fails, those that may wait too, and
# nothing is said of it.
FAIL = """
cd /sys/kernel/debug
for f in failslab fail_page_alloc; do
	echo N > $f/ignore-gfp-wait && echo 0 > $f/verbose || exit
done
echo 0 > fail_page_alloc/min-order
"""

# Tries in a row that succeed, once there are no more allocations to fail.
ENOUGH = 300

# Of memory that the kernel itself tells of, with a stack; all else that is wrong
# has a line of its own.
TOLD = ("vmalloc error: size", "percpu: allocation failed", "Call Trace:",
        "could not allocate", "allocation failure", r"\(err -12\)",
        r"error: -12\b", "can not set name properly",
        # The kernel's own word for it, where it defines the fields of an event.
        r"trace_events\.c:\d+ event_define_fields", r"^tainted 512$")


@pytest.mark.all_only("some hundred loads of each module")
@pytest.mark.parametrize("module", (
    "aeration", "aeration_virtio", "aeration_loop", "aeration_loop durable=1"))
def test_each_allocation_fails(own, module):
    """A module that cannot be loaded is not there, and the next time it is."""
    name, _, words = module.partition(" ")
    with booted(own, "nth", allow=TOLD) as vm:
        release = vm.run("uname -r").out.strip()
        if name != "aeration":
            vm.run("modprobe aeration")
        vm.run(FAIL)
        done = vm.run(f"/opt/aeration/insnth /lib/modules/{release}/updates/"
                      f"{name}.ko {name} '{words}' {ENOUGH}", guest.HUNG)
        print(done.out)
        assert int(done.out.split()[-2]) > 10, done.out
        vm.run(f"modprobe {module}")
        guest.unload(vm)


@on_own
def test_domain(own):
    """The hold source over Xen, in a domain with such a kernel."""
    with Xen("4.17", "debug-xen", own_kernels={
            "own": own.vmlinux, "own-initrd": own.initrd}) as xen:
        domain = xen.domain(
            "own", "pvh", mem_mib=512,
            cmdline=f"{own.line} {WORDS['hold']}",
            config={"ramdisk": dom0.kernel_path("own-initrd")})
        domain.run("modprobe aeration")
        guest.wait_value(domain, "state", "running")
        held = domu.settled(domain, 200)
        domu.burst(domain, 300)
        assert guest.stat(domain, "restores")
        domu.settled(domain, held / 2)
        guest.unload(domain)
        done = domain.run("/opt/aeration/xen.sh", guest.HUNG, check=False)
        ktap.check(done.out)


# What aeration_splat does, and what such a kernel says of it.
SPLATS = {
    "locks": "possible circular locking dependency detected",
    "atomic": "sleeping function called from invalid context",
    "object": "is on stack",
}


@on_own
@pytest.mark.parametrize("kind", SPLATS)
def test_the_judge_can_fail(own, kind):
    """A complaint of such a kernel fails the test that it is in."""
    with pytest.raises(GuestError, match=SPLATS[kind]):
        with booted(own, f"splat-{kind}") as vm:
            vm.run(f"modprobe aeration_splat kind={kind}", check=False)


@pytest.mark.parametrize("line", [
    "INFO: trying to register non-static key.",
    "turning off the locking correctness validator.",
    "INFO: lockdep is turned off.",
    "pagealloc: memory corruption",
    "pagealloc: single bit error",
    "0x00000000a1b2c3d4-0x00000000a1b2c3d7 @offset=64. Poison overwritten",
    "ODEBUG: object 0000000012345678 is on stack 0000000087654321, but NOT "
    "annotated.",
    "BUG: KASAN: use-after-free in react+0x12/0x34",
    "BUG: KFENCE: use-after-free read in react+0x12/0x34",
])
def test_scan_finds(line):
    """What such kernels say is evidence."""
    assert scan.scan(f"[    1.000000] {line}\n")


@pytest.mark.parametrize("line", [
    "Lock dependency validator: Copyright (c) 2006 Red Hat, Inc., Ingo Molnar",
    "kfence: initialized - using 2097152 bytes for 255 objects",
    "page_owner is enabled", "RCU lockdep checking is enabled.",
    "kasan: KernelAddressSanitizer initialized",
])
def test_scan_passes(line):
    """What they say of themselves is not."""
    assert not scan.scan(f"[    1.000000] {line}\n")
