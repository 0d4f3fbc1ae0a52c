# SPDX-License-Identifier: GPL-2.0
"""Design rule 4: who takes memory away from a guest takes none for that itself.

The kernel's own tracepoints of its page and slab allocators say what the task
that carries a batch allocates on its way there and back: nothing.
"""

import contextlib
import re

import domu
import guest
from lab.qemu import Vm

TRACING = "/sys/kernel/tracing"

# Names differ among kernels: what there is of these.
ALLOCATIONS = ("mm_page_alloc", "kmalloc", "kmalloc_node", "kmem_cache_alloc",
               "kmem_cache_alloc_node")
MIB = 600	# used and freed
MORE_MIB = 1200
XEN_MIB, XEN_MORE_MIB = 150, 280	# of a domain that is small
LEAST = 3	# batches

# "kworker/u4:1-31 [000] d..2. 12.345678: aeration_batch_submit: ..."
_LINE = re.compile(r"^ *(.*)-(\d+) +\[\d+\] \S+ +[\d.]+: (\w+): (.*)$")

# What begins the work that may not allocate, and what ends it.
_BETWEEN = {"aeration_batch_submit": "aeration_batch_ack",
            "aeration_restore_submit": "aeration_restore_ack"}


def parse(text):
    """Return (batches, allocations in them) of a trace.

    batches: how many began and ended, restores too; allocations in them: lines
    of the trace, of a task that carries a batch at the time.
    """
    open_by, batches, inside = {}, 0, []
    for line in text.splitlines():
        found = _LINE.match(line)
        if not found:
            assert "LOST" not in line, line
            continue
        _, pid, event, _ = found.groups()
        if event in ALLOCATIONS:
            if open_by.get(pid):
                inside.append(line)
        elif event in _BETWEEN:
            open_by.setdefault(pid, []).append(event)
        elif event in _BETWEEN.values():
            # One that began before the trace did is not counted.
            begun = open_by.get(pid)
            if begun and _BETWEEN[begun[-1]] == event:
                begun.pop()
                batches += 1
    return batches, inside


# The program that uses memory allocates each page of it, which would be most of
# the trace.
NOT_TRACED = "memwork"

# Of a trace, what is told: all lines of the tasks that carry batches, and how many
# allocations there are.
EXTRACT = f"""
cd {TRACING} && echo 0 > tracing_on
pids=$(sed -nE 's/^.*-([0-9]+) +\\[.*(batch|restore)_submit: .*$/\\1/p' trace |
	sort -u | tr '\\n' '|')
grep -E -- "LOST|-(${{pids%|}}) +\\[" trace
echo allocations: $(grep -cE ' (mm_page|kmalloc|kmem)[a-z_]*: ' trace)
echo 0 > events/kmem/enable
echo 0 > events/aeration/enable
"""


@contextlib.contextmanager
def trace(vm):
    """Trace what the body does; yields a list that gets the trace's text."""
    vm.run(f"cd {TRACING} && echo 0 > tracing_on && echo > trace && "
           "echo 30000 > buffer_size_kb && "
           f"for e in {' '.join(ALLOCATIONS)}; do [ -e events/kmem/$e ] || "
           f"continue; echo 'comm != \"{NOT_TRACED}\"' > "
           "events/kmem/$e/filter && echo 1 > events/kmem/$e/enable || exit; "
           "done; "
           "for e in batch_submit batch_ack restore_submit restore_ack; do "
           "echo 1 > events/aeration/aeration_$e/enable || exit; done; "
           "echo 1 > tracing_on")
    texts = []
    yield texts
    texts.append(vm.run(EXTRACT).out)


def carries(vm, restores=False, mib=MIB, more_mib=MORE_MIB):
    """Have surplus leave, and nothing be allocated by who carries it.

    With `restores`, more than is free is used, and then the backend is ended: what
    is held comes back.
    """
    with trace(vm) as texts:
        before = guest.stat(vm, "bytes")
        guest.end_held(vm, freed(vm, mib))
        vm.wait_until(lambda: guest.stat(vm, "bytes") - before >=
                      guest.SHARE * mib * guest.MIB, f"{mib} MiB to go",
                      guest.SOON)
        if restores:
            vm.run(f"/opt/aeration/memwork churn {more_mib} 1")
            vm.wait_until(lambda: guest.stat(vm, "restores"),
                          "something to come back", guest.SOON)
            guest.choose(vm, "none")
            guest.wait_value(vm, "state", "off")
    batches, inside = parse(texts[0])
    assert not inside, "\n".join(inside[:20])
    assert batches >= LEAST
    if restores:
        assert "aeration_restore_ack" in texts[0]
    # The trace does see allocations: the shell's.
    assert int(texts[0].split("allocations: ")[1]) > 100


def freed(vm, mib):
    """Use memory and free it; return the job."""
    job = guest.hold(vm, mib)
    guest.free_held(vm, job)
    return job


def test_nothing_is_allocated(image, kernel):
    """QEMU's device, the test device, and that as a durable one."""
    with Vm(kernel, f"rule4-{kernel}") as vm:
        vm.run("modprobe aeration reserve_mb=0 window_ms=200 && "
               "modprobe aeration_virtio")
        carries(vm)
        guest.unload(vm)
        for durable in (0, 1):
            vm.run("modprobe aeration backend=loop reserve_mb=0 window_ms=200 "
                   f"&& modprobe aeration_loop durable={durable}")
            carries(vm, restores=bool(durable))
            guest.unload(vm)


def test_nothing_is_allocated_for_hints(image, kernel):
    """The hinting queue of the original series, through hintd."""
    with guest.hintd_at("hints") as hintd, \
            guest.hintd_guest(kernel, "rule4-hints", hintd) as vm:
        vm.run("modprobe aeration reserve_mb=0 window_ms=200 && "
               "modprobe aeration_virtio")
        carries(vm)
        guest.unload(vm)


def test_nothing_is_allocated_on_xen(image, xen_version):
    """A domain of Xen, where a restore is asked for from within memory reclaim."""
    with domu.booted(xen_version, "rule4") as (_, domain):
        domain.run("modprobe aeration window_ms=200 && modprobe aeration_xen")
        carries(domain, restores=True, mib=XEN_MIB, more_mib=XEN_MORE_MIB)
        guest.unload(domain)


def test_the_judge_can_fail():
    """An allocation by who carries a batch is seen, one by another is not."""
    text = """\
# tracer: nop
  kworker/u4:1-31      [000] d..2.  1.000001: aeration_batch_submit: backend=loop
         memwork-99    [001] ...1.  1.000002: mm_page_alloc: page=0 pfn=0x1
  kworker/u4:1-31      [000] ...1.  1.000003: kmalloc: call_site=react+0x1
  kworker/u4:1-31      [000] ...1.  1.000004: aeration_batch_ack: backend=loop
  kworker/u4:1-31      [000] ...1.  1.000005: kmem_cache_alloc: call_site=x
"""
    batches, inside = parse(text)
    assert (batches, len(inside)) == (1, 1)
    assert "react" in inside[0]
