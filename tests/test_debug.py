# SPDX-License-Identifier: GPL-2.0
"""On kernels that look at what is done to them, see lab/tree.py.

Debian's kernels are built without what finds a lock taken in the wrong order,
sleep where there must be none, memory that is used after it was freed. These
are made to: whatever such a kernel says of it is on its console, and there, as
in every guest, it fails the test.
"""

import contextlib
import random
import re
import tempfile

import pytest

import domu
import guest
import ktap
import test_balloon as balloon
import test_evil as evil
from lab import dom0, scan, tree
from lab.discards import Discards
from lab.machine import GuestError
from lab.qemu import Vm
from lab.vhost_balloon import VhostBalloon
from lab.xen import Xen

# The kernel that is built where it is not there. Others are built by make kernels and
# by check-long; where they are not, what is for them is skipped.
FIRST = "debug-6.1"

# What the lab's own fill-and-compare program does, see places.py.
BATCHES = 20
PATTERN_MIB = 512

# What a program uses, of a guest of 2 GiB of which most is held.
BURST_MIB = 1500

ROUNDS = 5	# of loading and unloading

own_kernel = pytest.mark.all_only("a kernel of 1300 objects is compiled for it")


def on(*names):
    """Which kernels a test runs on."""
    return pytest.mark.parametrize("own", [
        pytest.param(name, marks=[own_kernel, pytest.mark.xdist_group(
            "tree" if name == FIRST else name)]) for name in names],
        indirect=True, scope="module")


# What any of them may see; what is about locks, lists and pages; what is long and has
# nothing to do with the version; what is about memory that was freed.
on_each = on(FIRST, "debug-6.12", "kasan-6.12")
on_both = on(FIRST, "debug-6.12")
on_first = on(FIRST)
on_memory = on(FIRST, "kasan-6.12")
on_kasan = on("kasan-6.12")
on_irqsoff = on("irqsoff-6.12")


@pytest.fixture(scope="module")
def own(request):
    """A kernel of our own."""
    if request.param != FIRST and not tree.is_built(request.param):
        pytest.skip(f"{request.param} is not built: make kernels does that")
    return tree.kernel(request.param)


def booted(own, name, **more):
    """A guest with it."""
    return Vm(own.series, f"debug-{name}", own=own, **more)


# Without huge pages of programs, which these kernels lack, a block would be of
# 4 MiB; the script counts in the 2 MiB of Debian's.
WORDS = "aeration.order=9"

# As much as where the script's time is the guest's own: what is held is what it costs.
HOLD_MIB = 1024


def passes(own, script, **more):
    """Run a script in a guest; every case of it has to pass."""
    with booted(own, script, **more) as vm:
        done = vm.run(f"/opt/aeration/{script}.sh", guest.HUNG, check=False)
    ktap.check(done.out)
    assert not done.rc


@on_each
@pytest.mark.parametrize("script", ("params", "choose"))
def test_kselftest(own, script):
    """The guest-side tests."""
    passes(own, script)


# The one that looks at each access keeps what was freed for a while.
@on_both
@pytest.mark.parametrize("script", ("loop", "virtio"))
def test_kselftest_that_counts(own, script):
    """Those that say how much memory is free."""
    passes(own, script)


@on_first
def test_hold(own):
    """Those of memory that is held."""
    passes(own, "hold", cmdline=WORDS, mem_mib=HOLD_MIB)


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


@on_first
def test_failures_on_command(own):
    """A function fails when it is told to, however long ago that was.

    This kernel makes jumps of probes that stay.
    """
    with booted(own, "stays") as vm:
        vm.run("modprobe aeration && modprobe aeration_faults "
               "symbol=aerator_startup value=-12 task=modprobe && sleep 5")
        guest.refused(vm, "modprobe aeration_loop", "Cannot allocate memory")
        vm.run("rmmod aeration_faults && modprobe aeration_loop")
        guest.said(vm, "aerator_startup failed 1 of 1 times")
        guest.unload(vm)


@on_both
@pytest.mark.parametrize("backend", BACKENDS)
def test_integrity(own, backend):
    """No word of memory is wrong while batches fly."""
    with booted(own, f"integrity-{backend}") as vm:
        load(vm, backend)
        done = vm.run(f"/opt/aeration/integrity {BATCHES} {guest.HUNG} "
                      f"{PATTERN_MIB} 2048", guest.HUNG, check=False)
        assert not done.rc, done.out
        guest.unload(vm)


@on_each
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


@on_each
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


@on_memory
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


@contextlib.contextmanager
def evil_guest(own, name, features, **more):
    """A guest with it whose balloon device is evild; yields (vm, device).

    From the start: this kernel finds no device that comes later.
    """
    with tempfile.TemporaryDirectory(prefix="aerdb-") as folder, \
            VhostBalloon(f"{folder}/vb", features=features) as device, \
            booted(own, name, qemu_of=guest.QEMU_THAT_TAKES_DAEMONS,
                   balloon=False, share_memory=True,
                   extra=device.qemu_args(id="vhost0"), **more) as vm:
        yield vm, device


def set_timeout(vm, ms):
    """Have a device that is silent waited for so long."""
    vm.run(f"echo {ms} > /sys/module/aeration_virtio/parameters/timeout_ms")


@on_first
def test_evil(own):
    """A device that lies, stalls, and wants what cannot be; see test_evil.py."""
    with evil_guest(own, "evil", evil.OWN, allow=[evil.RING_COMPLAINT]) as (vm, device):
        evil.running(vm, 600000)
        load = evil.check_memory(vm)
        for mode, why in evil.FATAL.items():
            evil.works(vm, device)
            guest.mark(vm)
            device.mode = mode
            evil.expect_failed(vm, why)
            device.mode = "normal"
            evil.rebind(vm)
        evil.works(vm, device)
        device.mode = "absurd-len"
        guest.wait_said(vm, "claims to have written")
        device.delay_s = 0.1
        for mode in ("hold", "no-work-irq", "config-storm", "leaps"):
            evil.works(vm, device)
            seen = device.snapshot()
            device.mode = mode
            device.wait_for(lambda stats, seen=seen:
                            stats.storms + stats.empty_irqs >
                            seen["storms"] + seen["empty_irqs"] + 50 or
                            stats.buffers > seen["buffers"] + 5, guest.SOON,
                            f"mode {mode}")
        device.mode = "normal"
        device.set_target(0)
        device.wait_for(lambda stats: stats.config[1] == 0, guest.SOON,
                        "the balloon to be empty")
        evil.works(vm, device)
        guest.mark(vm)
        set_timeout(vm, evil.TIMEOUT_MS)
        device.mode = "silent"
        evil.expect_rest(vm, evil.NO_ANSWER, 1)
        device.mode = "normal"
        evil.expect_back(vm)
        evil.end_checked(vm, load)
        guest.unload(vm)


@on_first
def test_evil_balloon(own):
    """The same of the queue that inflates, with pages in the balloon."""
    with evil_guest(own, "evil-balloon", evil.OWN,
                    allow=[evil.RING_COMPLAINT]) as (vm, device):
        whole = balloon.total_kib(vm)
        evil.running(vm, 600000)
        load = evil.check_memory(vm)
        device.affected = "inflate"
        device.delay_s = 600
        for mode, why in evil.FATAL.items():
            device.set_target(evil.UNITS)
            evil.total_is(vm, whole - (evil.BALLOON_MIB << 10))
            guest.mark(vm)
            device.mode = "hold"
            device.set_target(2 * evil.UNITS)
            vm.run("sleep 2")
            device.mode = mode
            evil.expect_failed(vm, why)
            evil.total_is(vm, whole)
            device.mode = "normal"
            evil.rebind(vm)
            evil.total_is(vm, whole - (2 * evil.BALLOON_MIB << 10))
        evil.end_checked(vm, load)
        guest.unload(vm)


BALLOON_ROUNDS = 40


@on_first
def test_balloon(own):
    """Inflate, deflate, move pages, flush, unload, in any order; see test_balloon.py."""
    rng = random.Random(1)
    with booted(own, "balloon") as vm:
        whole = balloon.total_kib(vm)
        vm.run("modprobe aeration_virtio")
        for number in range(BALLOON_ROUNDS):
            step = rng.choice((balloon.grow, balloon.grow, balloon.compact, balloon.use,
                               balloon.flush, balloon.reload, balloon.wish))
            print(f"{number}: {step.__name__}")
            step(vm, rng)
        balloon.resize(vm, balloon.MEM_MIB)
        guest.unload(vm)
        assert balloon.total_kib(vm) == whole


@on_both
def test_domain(own):
    """The hold source over Xen, in a domain with such a kernel."""
    with Xen("4.17", "debug-xen", own_kernels={
            "own": own.vmlinux, "own-initrd": own.initrd}) as xen:
        domain = xen.domain(
            "own", "pvh", mem_mib=512,
            cmdline=f"{own.line} {WORDS}",
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


@on_both
@pytest.mark.parametrize("kind", SPLATS)
def test_the_judge_can_fail(own, kind):
    """A complaint of such a kernel fails the test that it is in."""
    with pytest.raises(GuestError, match=SPLATS[kind]):
        with booted(own, f"splat-{kind}") as vm:
            vm.run(f"modprobe aeration_splat kind={kind}", check=False)


@on_kasan
def test_use_after_free_is_seen(own):
    """What only that kernel finds fails the test, too."""
    with pytest.raises(GuestError, match="BUG: KASAN: (slab-)?use-after-free"):
        with booted(own, "splat-use") as vm:
            vm.run("modprobe aeration_splat kind=use", check=False)


@pytest.mark.long("kernels are compiled for it")
@pytest.mark.parametrize("name", tree.FLAVOURS)
def test_kernels_are_built(image, name):
    """Each kernel of our own can be built, boots, and takes our modules."""
    with booted(tree.kernel(name), f"builds-{name}") as vm:
        vm.run("modprobe aeration_virtio")
        guest.wait_value(vm, "state", "running")
        guest.unload(vm)


# What the kernel's tracers take the longest time of: with interrupts off, and with
# preemption off. Times are instructions.
TRACERS = ("irqsoff", "preemptoff")
FREED_MIB = 1024
CALM = 60	# of the guest's seconds, after which all is reported that will be
LONGEST = """
set -e
cd /sys/kernel/tracing
modprobe {driver}
sed -n 's/^[0-9a-f]* . \\([^ ]*\\)\t\\[aeration.*/ours \\1/p' /proc/kallsyms
/opt/aeration/memwork hold {mib} >/tmp/held &
while ! grep -q touched /tmp/held; do sleep 0.1; done
sleep {calm}
echo {tracer} >current_tracer
echo 0 >tracing_max_latency
kill -USR1 $!
sleep {calm}
echo longest $(cat tracing_max_latency)
cat trace
echo nop >current_tracer
kill -USR1 $!
"""
UNLOAD = ("for one in aeration_virtio aeration virtio_balloon; do "
          "test ! -e /sys/module/$one || rmmod $one; done")


def longest(text):
    """Return (microseconds, functions of ours in them) of what LONGEST prints."""
    ours = set(re.findall(r"^ours (\S+)$", text, re.M))
    seen = {name for pair in re.findall(r": ([\w.]+) <-([\w.]+)$", text, re.M)
            for name in pair}
    return int(re.search(r"^longest (\d+)$", text, re.M)[1]), ours & seen


@on_irqsoff
@pytest.mark.parametrize("tracer", TRACERS)
def test_longest_time_off(own, tracer):
    """What is off for longest while a GiB is reported is not ours, or no longer than it
    is with the stock driver."""
    found = {}
    with guest.counting(own.series, f"debug-{tracer}", own=own) as vm:
        for driver in ("virtio_balloon", "aeration_virtio"):
            discards = Discards(vm)
            said = vm.run(LONGEST.format(driver=driver, tracer=tracer, mib=FREED_MIB,
                                         calm=CALM), guest.HUNG).out
            assert discards.mib() >= guest.SHARE * FREED_MIB, said
            assert ("ours " in said) == (driver == "aeration_virtio")
            found[driver] = longest(said)
            vm.run(UNLOAD)
    print(tracer, found)
    stock, (time, ours) = found["virtio_balloon"][0], found["aeration_virtio"]
    assert not ours or time <= stock, (time, stock, ours)


def test_ours_in_the_longest_time_are_seen():
    """Functions of ours are told from others, whoever calls whom."""
    said = """\
ours take_run
ours react
longest 12
kworker/-31        0d..1.    1us : get_page <-take_run
kworker/-31        0d..1.    2us : put_page <-free_some
"""
    assert longest(said) == (12, {"take_run"})
    assert longest(said.replace("take_run\n", "other\n", 1)) == (12, set())


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
