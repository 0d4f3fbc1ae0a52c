# SPDX-License-Identifier: GPL-2.0
"""The QEMU half of the demonstration: how fast freed memory is back.

Two guests, one after the other, that differ in one thing: the driver of the
balloon device; or three that differ in the device. In each a process touches
memory and frees it. The clock starts just before the order to free it is sent,
and stops when 95 % of that memory has left QEMU.
"""

import contextlib
import dataclasses
import json
import tempfile
import time

import toolkit
from toolkit import MIB, RESULTS, Screen, ToolError, data_block, need_running
from toolkit import say

from lab.qemu import Vm

from lab.vhost_balloon import Hintd

GUEST_MIB = 2048

# Names of the files with the results, by what the host is.
RESULTS_OF = {"qemu": "demo", "hintd": "demo-hintd"}

# Part of the freed memory that has to be back.
SHARE = 0.95

# Seconds.
TOUCH_TIMEOUT = 180
FREE_TIMEOUT = 30
BACK_TIMEOUT = 60	# for SHARE to be back; stock takes some 15
AFTERWARDS = 2		# watched on, after SHARE is back
BEFORE = 1		# shown in the plot, before the free
LINE_PERIOD = 0.25	# between two lines, and two questions to the guest

# Before the clock starts, what QEMU has of the guest has to keep still: to move less
# than this for so long. A pass of the kernel's own reporting comes within 2 s.
STILL_MIB = 4
STILL_SECONDS = 3
STILL_TIMEOUT = 60

# Bit of free page reporting among a device's features, virtio 1.2, 5.5.3.
REPORTING_BIT = 5

# A shell without other processes: looking should not change what is seen.
READ_MEMFREE = ("while read -r name kib unit; do case $name in MemFree:) "
                "echo $kib; break ;; esac; done < /proc/meminfo")


@dataclasses.dataclass(frozen=True)
class Case:
    """What a guest has that the others have not."""

    name: str
    driver: str = "aeration_virtio"
    wire: str = "sg"
    hintd: bool = False		# its device is hintd, else QEMU's own


# By what the host is. hintd needs this suite's QEMU, so all of those have it.
CASES = {
    "qemu": (Case("aeration_virtio"),
             Case("virtio_balloon", driver="virtio_balloon")),
    "hintd": (Case("hintd, words", wire="hints", hintd=True),
              Case("hintd, scatter-gather", hintd=True),
              Case("QEMU's own device")),
}
HINTD_QEMU = "7.3"


@dataclasses.dataclass(frozen=True)
class Run:
    """One guest's part; times are seconds since the order to free."""

    name: str
    kernel: str		# uname -r
    before_mib: float	# of the guest's memory resident at time 0
    seconds: float	# until SHARE was back
    back_mib: float	# back at the end of observation
    curve: list		# [(seconds, resident MiB)]

    def target_mib(self, mib):
        """Resident set at which SHARE of `mib` is back."""
        return self.before_mib - SHARE * mib


def free_mib(vm):
    """Return the guest's MemFree in MiB."""
    return int(vm.run(READ_MEMFREE).out) / 1024


def bind(vm, driver):
    """Load a driver and make sure that it reports through the balloon."""
    vm.run(f"modprobe {driver}")
    place = f"/sys/bus/virtio/drivers/{driver}/virtio*"
    if vm.run(f"test -e {place}/features", check=False).rc:
        raise ToolError("the driver did not take the balloon device")
    bits = vm.run(f"cat {place}/features").out.strip()
    if bits[REPORTING_BIT] != "1":
        raise ToolError("the driver does not use free page reporting")
    if driver == "aeration_virtio":
        need_running(vm, "virtio")


def touch(vm, mib):
    """Have memory touched and kept; return (job, its process in the guest)."""
    job = vm.start(f"exec /opt/aeration/memwork hold {mib}")
    vm.wait_until(lambda: job.says("touched") or not job.running(),
                  f"{mib} MiB to be touched", TOUCH_TIMEOUT)
    if "touched" not in job.output():
        raise ToolError(f"the guest could not hold {mib} MiB: try a smaller "
                        "MIB")
    return job, int(vm.run("pidof memwork").out)


def keep_still(vm):
    """Wait until what QEMU has of the guest does not move any more."""
    def still():
        now = time.monotonic()
        last = [rss for at, rss in vm.samples if at > now - STILL_SECONDS]
        return (now - vm.samples[0][0] > STILL_SECONDS and
                max(last) - min(last) < STILL_MIB * MIB)

    vm.wait_until(lambda: vm.samples, "the first sample", STILL_SECONDS)
    vm.wait_until(still, "the guest's resident memory to keep still", STILL_TIMEOUT)


def first_at_most(samples, since, limit):
    """Return the time of the first sample since then of at most `limit`."""
    return next((at for at, rss in samples if at >= since and rss <= limit),
                None)


def watch(vm, start, before, mib):
    """Show what happens until it is over; return seconds until SHARE is back.

    The sampler's samples decide, not what is shown.
    """
    screen = Screen()
    limit = before - SHARE * mib * MIB
    reached = None
    seen = 0	# samples looked at
    line = start
    try:
        while True:
            count = len(vm.samples)
            if reached is None:
                reached = first_at_most(vm.samples[seen:count], start, limit)
            seen = count
            now = time.monotonic()
            if reached is not None and now > reached + AFTERWARDS:
                return reached - start
            back = (before - vm.samples[-1][1]) / MIB
            if reached is None and now > start + BACK_TIMEOUT:
                raise ToolError(
                    f"after {BACK_TIMEOUT} s only {back:.0f} of {mib} MiB "
                    f"were back with the host, {SHARE:.0%} are needed")
            if now >= line:
                free = free_mib(vm)
                rss = vm.samples[-1][1]
                screen.show(
                    f"  {time.monotonic() - start:5.2f} s   guest: "
                    f"{free:5.0f} MiB free   host: QEMU has "
                    f"{rss / MIB:5.0f} MiB, "
                    f"{max(0, before - rss) / MIB / mib:4.0%} is back")
                line += LINE_PERIOD * (1 + (now - line) // LINE_PERIOD)
            vm.check_alive()
            time.sleep(min(0.02, max(0, line - time.monotonic())))
    finally:
        screen.end()


@contextlib.contextmanager
def device(host, case):
    """Yield more arguments for Vm; a hintd runs meanwhile if it is needed."""
    options = {"cmdline": f"aeration_virtio.wire={case.wire}"}
    if host == "hintd":
        options.update(qemu_of=HINTD_QEMU, share_memory=True)
    if not case.hintd:
        yield options
        return
    with tempfile.TemporaryDirectory(prefix="aerhd-") as folder, \
            Hintd(f"{folder}/hd", case.wire) as hintd:
        yield {**options, "balloon": False,
               "extra": hintd.qemu_args(id="hintd0")}


def run(options, case):
    """Boot the guest of a case and measure; return the Run."""
    say(f"{case.name}: booting a guest of {GUEST_MIB >> 10} GiB")
    label = "".join(one if one.isalnum() else "-" for one in case.name)
    with device(options.host, case) as more, \
            Vm(options.kernel, f"demo-{label}-{options.kernel}",
               mem_mib=GUEST_MIB, **more) as vm:
        try:
            return measure(vm, case, options.mib)
        except ToolError as error:
            raise ToolError(f"{case.name}: {error}; logs: {vm.logs}") from None


def measure(vm, case, mib):
    """Free memory in a booted guest and see how long it takes to be back."""
    version = vm.run("uname -r").out.strip()
    bind(vm, case.driver)
    # What is reported just before it is touched is regretted, and the window
    # backs off: that is not what is shown here.
    keep_still(vm)
    say(f"{case.name}: kernel {version}, touching {mib} MiB")
    job, pid = touch(vm, mib)
    vm.sample()
    keep_still(vm)
    say(f"{case.name}: freeing them now")
    start = time.monotonic()
    before = vm.resident()
    vm.run(f"kill -USR1 {pid}")
    seconds = watch(vm, start, before, mib)
    samples = list(vm.samples)
    if "freed" not in job.output():
        raise ToolError("memwork has not freed its memory")
    vm.run(f"kill -USR1 {pid}")
    job.wait(FREE_TIMEOUT)
    say(f"{case.name}: {SHARE:.0%} was back after {seconds:.1f} s")
    return Run(case.name, version, before / MIB, seconds,
               (before - samples[-1][1]) / MIB,
               [(at - start, rss / MIB) for at, rss in samples
                if at >= start - BEFORE])


PLOT = """
set terminal pngcairo size 1000,600 font "sans,12"
set output "{output}"
set title "{mib} MiB freed at 0 s in a guest of {guest} GiB, kernel {kernel}"
set xlabel "Time since the memory was freed (s)"
set ylabel "Memory the host gives to the guest (MiB)"
set xrange [{begin}:{end}]
set yrange [0:*]
set grid
set key top right
set arrow from 0, graph 0 to 0, graph 1 nohead dashtype 3 linecolor "gray40"
{marks}
plot {curves}
"""
COLORS = ("#0060ad", "#dd181f", "#5e9c36")


def plot(runs, mib, path):
    """Draw the curves with gnuplot."""
    data, marks, curves = "", [], []
    end = max(one.curve[-1][0] for one in runs)
    for number, (one, color) in enumerate(zip(runs, COLORS), 1):
        data += data_block(f"run{number}", one.curve)
        target = one.target_mib(mib)
        marks.append(f'set label "{one.seconds:.1f} s" at {one.seconds}, '
                     f'{target} point pointtype 7 linecolor "{color}" '
                     f'textcolor "{color}" offset 0.7,0.7 front')
        name = one.name.replace("_", "\\\\_")
        curves += [f'$run{number} with lines linewidth 2 linecolor "{color}" '
                   f'title "{name}"',
                   f'{target} with lines dashtype 2 linecolor "{color}" '
                   f'title "{SHARE:.0%} back, {name}"']
    script = data + PLOT.format(
        output=path, mib=mib, guest=GUEST_MIB >> 10, kernel=runs[0].kernel,
        begin=-BEFORE, end=end, marks="\n".join(marks),
        curves=", \\\n     ".join(curves))
    toolkit.plot(script, path)


def write_results(name, runs, mib, numbers):
    """Write NAME.json with the numbers and NAME.png."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    plot(runs, mib, RESULTS / f"{name}.png")
    (RESULTS / f"{name}.json").write_text(
        json.dumps(numbers, indent=2) + "\n", encoding="ascii")


def show_drivers(runs, mib):
    """Write the results of the two drivers; return them in one line."""
    ours, stock = runs
    ratio = stock.seconds / ours.seconds
    write_results(RESULTS_OF["qemu"], runs, mib, {
        "kernel": ours.kernel,
        "ours_s": round(ours.seconds, 3),
        "stock_s": round(stock.seconds, 3),
        "ratio": round(ratio, 2),
        "ours_mib": round(ours.back_mib, 1),
        "stock_mib": round(stock.back_mib, 1),
    })
    return (f"QEMU: freed memory was back with the host after "
            f"{ours.seconds:.1f} s; stock virtio_balloon took "
            f"{stock.seconds:.1f} s ({ratio:.1f}x).")


def show_devices(runs, mib):
    """Write the results of one driver on two devices; return one line."""
    hints, sg, own = runs
    write_results(RESULTS_OF["hintd"], runs, mib, {
        "kernel": hints.kernel,
        **{f"{name}_s": round(one.seconds, 3) for name, one in
           (("hints", hints), ("sg", sg), ("qemu", own))},
        **{f"{name}_mib": round(one.back_mib, 1) for name, one in
           (("hints", hints), ("sg", sg), ("qemu", own))},
    })
    return (f"QEMU: freed memory was back with the host after "
            f"{hints.seconds:.2f} s as words over hintd, {sg.seconds:.2f} s "
            f"as scatter-gather over hintd, {own.seconds:.2f} s over QEMU's "
            "own device.")


def result(options):
    """Return the name of the files with the results."""
    return RESULTS_OF[options.host]


def show(options):
    """Show it all; return what came of it, one line."""
    for suffix in ("json", "png"):
        (RESULTS / f"{result(options)}.{suffix}").unlink(missing_ok=True)
    runs = [run(options, case) for case in CASES[options.host]]
    summary = {"qemu": show_drivers, "hintd": show_devices}[options.host]
    return summary(runs, options.mib)
