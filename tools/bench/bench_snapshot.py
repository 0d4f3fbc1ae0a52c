# SPDX-License-Identifier: GPL-2.0
"""The snapshot part of the benchmark: what a snapshot of a guest takes.

A Debian guest reads files, and a program in it uses memory and ends. At once the order
comes to write the guest to a file: it is stopped, and QEMU migrates it there. What is
done in the guest before that:

nothing		all that was freed a moment ago is in the file, with each driver
flush		ours is told to give all that is free
squeeze		ours is told to give what is merely not needed, too, and then to flush;
		a core that has no squeeze has no such column
dropped		caches are dropped by hand. Then ours is flushed, and for the stock
		driver one waits, as people do who have it

Counted are the bytes of the file, and the seconds from the order to its end. A page of
which there is nothing takes nine bytes in it. What the guest uses is its memory less
MemFree, just before it is stopped.

The same on Xen, with `xl save` of a PVH domain that is the guest image: it has no files
that it could forget, so nothing is dropped there. It is saved to a file in domain 0's
memory, and runs on.
"""

import os
import pathlib
import tempfile
import time

import bench_qemu
import plots
import toolkit
from bench_qemu import in_turn
from figures import figure, ratios
from toolkit import MIB, SYSFS, ToolError, need_running, say

from lab import saved
from lab.domain import SAVE_TIMEOUT
from lab.xen import Xen

NAME = "snapshot"
FILE = bench_qemu.FILE
ROUNDS = 3
ABOUT = ("a Debian guest, and a domain of Xen, are written to a file after nothing, "
         "flush, squeeze, caches dropped: bytes and time; 5 min a round")
GOALS = {"snapshot_of_used": "<= 1.05"}

FILES_MIB = 400
USED_MIB = 800		# by a program, and free again

DOMAIN_MIB = 512
DOMAIN_USED_MIB = 300
DOM0_MIB = 1536		# of which half may be files
MACHINE_MIB = 3072
SAVED = "/tmp/saved"

# Seconds.
WAIT = 20		# for the stock driver: it needs 16 for a GiB
TIMEOUT = 300
POLL = 0.02

LOAD = f"""
find /usr -xdev -type f -exec cat {{}} + 2>/dev/null | head -c {FILES_MIB}M >/dev/null
/opt/aeration/memwork burst {USED_MIB} >/dev/null
"""
DROP = "sync; echo 3 > /proc/sys/vm/drop_caches"
FREE = "awk '/^MemFree/ { print $2 }' /proc/meminfo"

FLUSH = f"echo 1 > {SYSFS}/flush"
SQUEEZE = f"echo 1 > {SYSFS}/squeeze && {FLUSH}"
WAITED = f"{DROP}; sleep {WAIT}"

# What is done before, by case and column.
ORDERS = {
    ("none", "nothing"): "true",
    ("ours", "nothing"): "true",
    ("ours", "flush"): FLUSH,
    ("ours", "squeeze"): SQUEEZE,
    ("ours", "dropped"): f"{DROP}; {FLUSH}",
    ("stock", "nothing"): "true",
    ("stock", "dropped"): WAITED,
    ("stock_250", "nothing"): "true",
    ("stock_250", "dropped"): WAITED,
}
XEN_ORDERS = ("nothing", "flush", "squeeze")


def has_squeeze(machine):
    """Return whether the core of a guest, which is loaded, has a squeeze."""
    return not machine.run(f"test -e {SYSFS}/squeeze", check=False).rc


def is_written(vm):
    """Return whether QEMU has written the guest."""
    said = vm.qmp("query-migrate")
    if said.get("status") == "failed":
        raise ToolError(f"{vm.name}: writing it failed: "
                        f"{said.get('error-desc', 'QEMU does not say why')}")
    return said.get("status") == "completed"


def write(vm, path):
    """Stop a guest and write it to a file; return when that was done. It goes on."""
    vm.qmp("stop")
    vm.qmp("migrate-set-parameters", max_bandwidth=saved.BANDWIDTH)
    vm.qmp("migrate", uri=f"exec:cat >{path}")
    vm.wait_until(lambda: is_written(vm), "the guest to be written", TIMEOUT, POLL)
    end = time.monotonic()
    vm.qmp("cont")
    return end


def take(vm, case, column):
    """Have the guest work, and write it to a file; return the samples."""
    vm.run(DROP)
    bench_qemu.all_away(vm)
    bench_qemu.use_case(vm, case)
    vm.run(LOAD, timeout=TIMEOUT)
    with tempfile.TemporaryDirectory(prefix="aersnap-") as folder:
        path = pathlib.Path(folder, "guest")
        start = time.monotonic()
        vm.run(ORDERS[case, column], timeout=TIMEOUT)
        used = vm.mem_mib - int(vm.run(FREE).out) / 1024
        end = write(vm, path)
        return {"mib": path.stat().st_size / MIB, "used_mib": used, "s": end - start}


def one_round(vm, columns, number):
    """Return one round's samples of the guest."""
    samples = {"load_average": os.getloadavg()[0]}
    for case, column in in_turn(columns, number):
        found = take(vm, case, column)
        samples.update((f"{case}_snapshot_{column}_{key}", value)
                       for key, value in found.items())
        say(f"snapshot: round {number}: {case}, {column}: {found['mib']:.0f} MiB in "
            f"{found['s']:.1f} s, {found['used_mib']:.0f} MiB in use")
    return samples


def save(xen, domain, column):
    """Have a domain work, and save it; return (MiB, seconds)."""
    domain.run("for one in aeration_xen aeration; do test ! -e /sys/module/$one || "
               "rmmod $one || exit; done", timeout=TIMEOUT)
    if column != "nothing":
        domain.run("modprobe aeration && modprobe aeration_xen")
        need_running(domain, "xen")
    domain.run(f"/opt/aeration/memwork burst {DOMAIN_USED_MIB}", timeout=TIMEOUT)
    start = time.monotonic()
    domain.run({"nothing": "true", "flush": FLUSH, "squeeze": SQUEEZE}[column],
               timeout=TIMEOUT)
    xen.xl(f"save -c {domain.id} {SAVED}", timeout=SAVE_TIMEOUT)
    seconds = time.monotonic() - start
    size = int(xen.run(f"stat -c %s {SAVED} && rm {SAVED}").out)
    return size / MIB, seconds


def one_round_on_xen(xen, domain, columns, number):
    """Return one round's samples of the domain."""
    samples = {}
    for column in in_turn(columns, number):
        mib, seconds = save(xen, domain, column)
        case = "none" if column == "nothing" else "ours"
        samples[f"{case}_snapshot_xen_{column}_mib"] = mib
        samples[f"{case}_snapshot_xen_{column}_s"] = seconds
        say(f"snapshot: round {number}: Xen, {column}: {mib:.0f} MiB in "
            f"{seconds:.1f} s")
    return samples


def told(samples):
    """Return what one round's samples tell, by key of the results."""
    best = "squeeze" if "ours_snapshot_squeeze_mib" in samples else "flush"
    nothing = "snapshot_nothing_mib"
    found = {**ratios(samples, "snapshot_ratio", "snapshot_flush_mib", nothing),
             **ratios(samples, "snapshot_dropped_ratio", "snapshot_dropped_mib"),
             "snapshot_of_used": samples[f"ours_snapshot_{best}_mib"] /
             samples[f"ours_snapshot_{best}_used_mib"],
             "snapshot_xen_ratio": samples["ours_snapshot_xen_flush_mib"] /
             samples["none_snapshot_xen_nothing_mib"]}
    if best == "squeeze":
        found.update(ratios(samples, "snapshot_squeeze_ratio",
                            "snapshot_squeeze_mib", nothing))
    found.update((key.removeprefix("ours_"), value)
                 for key, value in samples.items() if "_snapshot_" in key)
    return found


def plot(rounds, columns, where):
    """Draw the sizes of the guest's files."""
    plots.draw(NAME, f"A guest of {bench_qemu.GUEST_MIB} MiB is written to a file, "
               f"{where}", (
                   plots.bars, "size of the file", "MiB",
                   {f"{case}\\n{column}": {"MiB": figure([
                       samples[f"{case}_snapshot_{column}_mib"]
                       for _, samples in rounds])} for case, column in columns}))


def measure_qemu(options):
    """Do all rounds in a guest; return their samples, and the columns there were."""
    cases = bench_qemu.cases(options.kernel)
    say(f"snapshot: booting a Debian guest of {bench_qemu.GUEST_MIB} MiB")
    with bench_qemu.debian_guests(options, NAME) as (vm,):
        bench_qemu.all_away(vm)
        there = has_squeeze(vm)
        if not there:
            say("snapshot: this core has no squeeze: its column is left out")
        columns = [(case, column) for case, column in ORDERS
                   if case in cases and (there or column != "squeeze")]
        return [one_round(vm, columns, number)
                for number in range(1, options.rounds + 1)], columns


def measure_xen(options):
    """Do all rounds in a domain; return their samples, and which Xen it was."""
    version = toolkit.xen_for(options.kernel)
    toolkit.prepare(options.kernel, version)
    say(f"snapshot: booting Xen {version}, and a PVH domain of {DOMAIN_MIB} MiB")
    with Xen(version, f"bench-snapshot-{options.kernel}", kernels=[options.kernel],
             mem_mib=MACHINE_MIB, dom0_mib=DOM0_MIB) as xen:
        domain = xen.domain(options.kernel, "pvh", mem_mib=DOMAIN_MIB)
        domain.run("modprobe aeration")
        columns = XEN_ORDERS if has_squeeze(domain) else XEN_ORDERS[:2]
        return [one_round_on_xen(xen, domain, columns, number)
                for number in range(1, options.rounds + 1)], version


def measure(options):
    """Do all rounds in both places; return the results."""
    on_qemu, columns = measure_qemu(options)
    on_xen, version = measure_xen(options)
    rounds = [(told(samples), samples)
              for samples in map(dict.__or__, on_qemu, on_xen)]
    plot(rounds, columns, options.where)
    return bench_qemu.results(NAME, rounds, GOALS, {
        "xen": version, "files_mib": FILES_MIB, "freed_mib": USED_MIB})
