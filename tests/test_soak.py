# SPDX-License-Identifier: GPL-2.0
"""Whatever a guest and its host do after whatever else, for hours: nothing is lost.

`make soak HOURS=8`, or a part of check-long. Deeds come in an order by chance, the same
for the same SEED. After each of them the counts add up, nobody was killed for want of
memory, and no log complains. Every now and then everything is unloaded: then the guest
has as much as at first, and so have kernel and daemon. A table is printed of what there
was each time.
"""

import contextlib
import json
import os
import pathlib
import random
import time

import pytest

import debian_disk
import domu
import guest
from guest import MIB
from lab import cache
from test_debian import wait_booted
from test_migration import Arrival

MEM_MIB = 1024
CLOSE_MIB = 2		# what a size that is asked for may differ by

SAVED_MIB = 200		# domain 0 keeps a saved domain in memory

# Deeds between two looks at what there is with nothing loaded, and how many of these
# looks what settles only then may take.
BETWEEN = 25
WARM = 2

# What may be missing after that, KiB: of free memory, of the kernel's own, and of the
# daemon's. A leak of a page a deed would be more after 40 looks.
LOST_KIB = 4096
SLAB_KIB = 4096
DAEMON_KIB = 1024

MODULES = "aeration_virtio aeration_xen aeration_loop aeration"
UNLOAD = (f"for m in {MODULES}; do [ ! -e /sys/module/$m ] || rmmod $m || exit; done")

# What a request may end with besides success: the guest is busy, or a device is not
# back yet.
NOT_NOW = ("Resource temporarily unavailable", "No such device", "Input/output error")

# What is free, on the lists of processors, too; the kernel's own is what it cannot give
# back. KiB.
THERE = ("sync; echo 3 >/proc/sys/vm/drop_caches; sleep 1; "
         "awk '/^MemFree|^SUnreclaim/ { print $2 }' /proc/meminfo; "
         "awk '$1 == \"count:\" { pages += $2 } END { print pages * 4 }' /proc/zoneinfo")

# What programs and files have, and the kernel for them: in a system that does things of
# its own what is free is more or less by that, and nobody has lost it. KiB.
USED = ("; awk '/^(Active|Inactive|Unevictable|SReclaimable|PageTables|KernelStack|Percpu):/ "
        "{ used += $2 } END { print used }' /proc/meminfo")


class Place:
    """A guest, and what its host can do."""

    what_is_there = THERE

    def __init__(self, vm, chance):
        self.vm = vm
        self.chance = chance
        self.deeds = [self.churn, self.burst, self.files, self.flush, self.squeeze,
                      self.reload, self.off_and_on, self.retune, self.rest]
        self.done = 0

    # In the guest

    def load(self):
        """Have our modules run."""
        self.vm.run("modprobe aeration && modprobe aeration_virtio")
        guest.wait_value(self.vm, "state", "running")

    def unload(self):
        """And go."""
        self.vm.run(UNLOAD, guest.HUNG)

    def some(self, most=0.7):
        """Return a part of what is available, MiB."""
        left = domu.available_mib(self.vm)
        return max(1, int(left * self.chance.uniform(0.1, most)))

    def memwork(self, words):
        """Run the program that uses memory."""
        self.vm.run(f"/opt/aeration/memwork {words}", timeout=guest.HUNG)

    def churn(self):
        """Take and free the same over and over."""
        self.memwork(f"churn {self.some()} {self.chance.choice((1, 3))}")

    def burst(self):
        """Take much at once."""
        self.memwork(f"burst {self.some(0.9)}")

    def files(self):
        """Write files, read them, and remove them."""
        self.vm.run(f"dd if=/dev/zero of=/tmp/soak bs=1M count={self.some(0.3)} "
                    "2>/dev/null && dd if=/tmp/soak of=/dev/null bs=128k 2>/dev/null; "
                    "rm /tmp/soak", timeout=guest.HUNG)

    def ask(self, name, word="1"):
        """Write to one of the core's files."""
        # The shell's own echo does not say which error it was.
        done = self.vm.run(f"echo {word} | dd of={guest.SYSFS}/{name}", guest.HUNG,
                           check=False)
        assert not done.rc or any(text in done.out for text in NOT_NOW), done.out

    def flush(self):
        """Let go of all that is free, or tell again what was told."""
        self.ask("flush", self.chance.choice(("1", "again")))

    def squeeze(self):
        """Of what is cached, too."""
        self.ask("squeeze")

    def reload(self):
        """Unload everything, maybe while much is under way, and load it again."""
        self.unload()
        self.load()

    def off_and_on(self):
        """Choose none, another one that is for tests, and what runs here."""
        for word in ("none", "loop", "auto"):
            guest.choose(self.vm, word)
            time.sleep(self.chance.random())
        guest.wait_value(self.vm, "state", "running")

    def retune(self):
        """Another window, and another reserve."""
        for name, values in (("window_ms", (100, 1000, 5000)),
                             ("reserve_mb", (16, 32, 64))):
            self.vm.run(f"echo {self.chance.choice(values)} >{guest.SYSFS}/{name}")

    def rest(self):
        """Do nothing for a while."""
        time.sleep(self.chance.uniform(1, 5))

    # Of all together

    def look(self):
        """Fail if something is not as it must be at any time."""
        domu.states(self.vm)
        assert domu.oom_kills(self.vm) == 0
        self.vm.check_alive()

    def one(self):
        """Do one of them."""
        deed = self.chance.choice(self.deeds)
        print(f"{self.done}: {deed.__name__}", flush=True)
        deed()
        self.look()
        self.done += 1

    def rests(self):
        """Wait until nothing is with the host but what may be."""
        self.vm.wait_until(lambda: domu.held_mib(self.vm) == 0 and
                           guest.stat(self.vm, "in_flight_bytes") == 0,
                           "everything to be back", guest.SOON)
        assert domu.states(self.vm)["quarantined"] == 0

    def there(self):
        """Return what there is with nothing loaded, {name: KiB or count}."""
        if not self.vm.run(f"test -e {guest.SYSFS}", check=False).rc:
            self.vm.run(UNLOAD.replace(" aeration;", ";"), guest.HUNG)
            self.rests()
            self.unload()
        free, slab, *more = map(int, self.vm.run(self.what_is_there).out.split())
        return {"free": free + sum(more), "slab": slab}


class Qemu(Place):
    """QEMU with its own device."""

    def __init__(self, vm, chance, stack):
        super().__init__(vm, chance)
        self.stack = stack
        self.deeds += [self.inflate, self.move]

    def inflate(self):
        """The host takes a part of the guest, and gives it back."""
        for mib in (MEM_MIB - self.chance.randint(16, MEM_MIB // 3), MEM_MIB):
            self.vm.qmp("balloon", value=mib * MIB)
            self.vm.wait_until(
                lambda want=mib: abs(self.vm.qmp("query-balloon")["actual"] / MIB -
                                     want) <= CLOSE_MIB,
                f"the guest to have {mib} MiB", guest.HUNG)

    def move(self):
        """To another QEMU."""
        self.vm = self.stack.enter_context(Arrival(self.vm, self.done, False))


class Daemon(Place):
    """QEMU with hintd."""

    def __init__(self, vm, chance, hintd):
        super().__init__(vm, chance)
        self.hintd = hintd

    def there(self):
        """With what the daemon has."""
        place = pathlib.Path(f"/proc/{self.hintd.process.pid}")
        status = (place / "status").read_text(encoding="ascii")
        return {**super().there(), "daemon_fds": len(os.listdir(place / "fd")),
                "daemon": int(status.split("RssAnon:")[1].split()[0])}


class Debian(Place):
    """A system that a user has: journal, timers, cgroups."""

    what_is_there = THERE + USED

    def burst(self):
        """Not all: the system itself wants some."""
        self.memwork(f"burst {self.some(0.6)}")


class Domain(Place):
    """A domain of Xen's."""

    def __init__(self, vm, chance):
        super().__init__(vm, chance)
        self.mib = vm.mib()
        self.deeds += [self.restore, self.size, self.save, self.migrate]

    def load(self):
        """As there, with Xen's backend."""
        domu.load(self.vm, window_ms=100)

    def restore(self):
        """All of what is held comes back."""
        self.ask("restore")

    def size(self):
        """A lower target, and up again."""
        self.vm.mem_set(self.mib - self.chance.randint(16, 120))
        time.sleep(self.chance.uniform(0, 3))
        self.vm.mem_set(self.mib)
        domu.expect_own_and_held(self.vm, self.mib)
        assert domu.forfeited_mib(self.vm) == 0

    def save(self):
        """To a file and back, if domain 0 has room for what the domain has."""
        self.ask("flush")
        if self.vm.mib() > SAVED_MIB:
            return
        self.vm.save("/run/saved")
        self.vm.restore("/run/saved")
        self.vm.xen.run("rm /run/saved")

    def migrate(self):
        """To the same host."""
        self.vm.migrate()

    def there(self):
        """With what Xen counts for it."""
        found = super().there()
        domu.expect_mib(self.vm, self.mib)
        return found


@contextlib.contextmanager
def place(name, chance):
    """Boot one of the places."""
    with contextlib.ExitStack() as stack:
        if name == "qemu":
            vm = stack.enter_context(guest.Vm("7.3", "soak-qemu", mem_mib=MEM_MIB,
                                              qemu_of="6.12", fresh=True))
            yield Qemu(vm, chance, stack)
        elif name == "hintd":
            hintd = stack.enter_context(guest.hintd_at("sg"))
            vm = stack.enter_context(guest.hintd_guest("7.3", "soak-hintd", hintd,
                                                       mem_mib=MEM_MIB))
            yield Daemon(vm, chance, hintd)
        elif name == "debian":
            if os.geteuid():
                pytest.skip("a Debian system wants root to be made")
            vm = stack.enter_context(debian_disk.DebianVm(
                "6.12", "soak-debian", debian_disk.disk("6.12"), mem_mib=MEM_MIB))
            wait_booted(vm)
            yield Debian(vm, chance)
        else:
            _, domain = stack.enter_context(domu.booted("4.20", "soak"))
            yield Domain(domain, chance)


def show(rows):
    """Print what there was at each look."""
    print("\t".join(rows[0]))
    for row in rows:
        print("\t".join(str(value) for value in row.values()))


def check_leaks(rows):
    """Nothing is missing at the end that was there once all had settled."""
    assert len(rows) > WARM + 1, f"{len(rows)} looks are too few to tell: more MINUTES"
    first, last = rows[WARM], rows[-1]
    assert last["free"] >= first["free"] - LOST_KIB
    assert last["slab"] <= first["slab"] + SLAB_KIB
    assert last.get("daemon_fds", 0) <= first.get("daemon_fds", 0)
    assert last.get("daemon", 0) <= first.get("daemon", 0) + DAEMON_KIB


@pytest.mark.long("it has no end of its own")
@pytest.mark.parametrize("where", ["qemu", "hintd", "debian", "xen"])
def test_soak(image, where, request):
    """One place, for MINUTES."""
    seed = request.config.getoption("--seed")
    end = time.monotonic() + request.config.getoption("--minutes") * 60
    chance = random.Random(f"{seed} {where}")
    rows = []
    print(f"{where}: SEED={seed}")
    with place(where, chance) as here:
        try:
            while not rows or time.monotonic() < end:
                rows.append({"deeds": here.done, **here.there()})
                here.load()
                for _ in range(BETWEEN):
                    here.one()
            rows.append({"deeds": here.done, **here.there()})
        finally:
            if rows:
                show(rows)
                folder = cache.BUILD / "results"
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"soak-{where}.json").write_text(
                    json.dumps({"seed": seed, "looks": rows}, indent=1) + "\n",
                    encoding="ascii")
        check_leaks(rows)


def test_a_leak_is_seen():
    """The judge itself: a page a deed, a descriptor."""
    sound = [{"deeds": n, "free": 800000 - n % 3 * 500, "slab": 9000, "daemon_fds": 9,
              "daemon": 900} for n in range(9)]
    check_leaks(sound)
    for name, step in (("free", -4 * 4 * 100), ("slab", 4 * 4 * 50), ("daemon_fds", 1),
                       ("daemon", 200)):
        leaks = [{**row, name: row[name] + step * number}
                 for number, row in enumerate(sound)]
        with pytest.raises(AssertionError):
            check_leaks(leaks)
    with pytest.raises(AssertionError, match="too few"):
        check_leaks(sound[:WARM + 1])
