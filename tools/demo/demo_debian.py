# SPDX-License-Identifier: GPL-2.0
"""The demonstration with a user's system: one disk of Debian, on QEMU and on Xen.

Our packages were installed on it by apt, and nothing was set. A program in it uses memory
and ends; what `aerationctl watch` says of that in the guest is shown beside what the host
sees.
"""

import json

import toolkit
from toolkit import MIB, RESULTS, say

import debian_disk

# Name of the file with the results.
RESULT = "demo-debian"

# Lines of `aerationctl watch`, one a second: so many with the memory in use, and after
# that.
BEFORE = 4
AFTER = 10

# Memory of a program, where nobody says how much: the disk's guests have 1 GiB on Xen.
USED_MIB = 600

# Seconds.
BOOTED_TIMEOUT = 900
RUNNING_TIMEOUT = 120
LINE_TIMEOUT = 120


class Place:
    """Where the disk has booted: a guest, and what its host sees of it."""

    def __init__(self, name, guest, sees, seen):
        self.name = name
        self.guest = guest
        self.sees = sees	# in words
        self.seen = seen	# a function: MiB
        self.figures = []

    def look(self):
        """Return what the host sees, and keep it."""
        self.figures.append(self.seen())
        return self.figures[-1]


def indented(text):
    """Return lines that others have printed, as they are shown here."""
    return "\n".join("    " + line for line in text.splitlines())


def watch(place, mib):
    """Have memory used and freed while `aerationctl watch` looks on."""
    guest = place.guest
    debian_disk.use(guest, mib)
    say(f"{place.name}: a program uses {mib} MiB; it ends after {BEFORE} lines")
    guest.run(f": >/tmp/watch; aerationctl watch --count {BEFORE + AFTER} "
              ">>/tmp/watch </dev/null 2>&1 &")
    shown = 0
    lines = []
    while shown <= BEFORE + AFTER:
        guest.wait_until(lambda: len(lines) > shown or lines.extend(
            guest.text("/tmp/watch").splitlines()[len(lines):]), "a line of aerationctl watch",
            LINE_TIMEOUT)
        line = lines[shown]
        say(f"    {line:<68}  " + (f"{place.look():5.0f} MiB" if shown else place.sees))
        shown += 1
        if shown == BEFORE + 1:
            debian_disk.free(guest)
    used = max(place.figures)
    guest.wait_until(lambda: used - place.look() > mib / 2,
                     f"{place.sees} to fall by half of {mib} MiB", LINE_TIMEOUT)


def show_place(place, disk, mib):
    """Show what a person sees; return what came of it, one line."""
    guest = place.guest
    guest.run("systemctl is-system-running --wait", BOOTED_TIMEOUT, check=False)
    say(f"{place.name}: {disk.sha256[:16]}... is up after {guest.boot_seconds:.0f} s")
    guest.wait_until(
        lambda: guest.text(f"{toolkit.SYSFS}/state").strip() == "running",
        "aeration to run", RUNNING_TIMEOUT)
    say(f"{place.name}: # aerationctl\n" + indented(guest.run("aerationctl").out))
    watch(place, mib)
    used, left = max(place.figures), place.figures[-1]
    return (f"{place.name}: {place.sees} went from {used:.0f} to {left:.0f} MiB when "
            f"{mib} MiB were freed; nothing was set in the guest.")


def result(_options):
    """Return the name of the files with the results."""
    return RESULT


def show(options):
    """Show it all; return what came of it, a line for each place."""
    mib = min(options.mib, USED_MIB)
    say("debian: a disk with Debian, on which was typed:\n" + indented(
        "apt install ./aeration-dkms_*.deb ./aeration-tools_*.deb"))
    disk = debian_disk.disk(options.kernel)
    say(f"debian: disk.raw, SHA-256 {disk.sha256}")
    with debian_disk.DebianVm(options.kernel, "demo-debian", disk) as vm:
        place = Place("QEMU", vm, "resident in QEMU", lambda: vm.resident() / MIB)
        said = {"qemu": show_place(place, disk, mib)}
        figures = {"qemu_resident_mib": [round(one, 1) for one in place.figures]}
    version = toolkit.xen_for(options.kernel)
    say(f"Xen: booting Xen {version}, domain 0, and the same file in a PVH domain")
    with debian_disk.domain(version, "pvh", disk) as (_, domain):
        place = Place("Xen", domain, "xl list", domain.mib)
        said["xen"] = show_place(place, disk, mib)
        figures["xl_list_mib"] = place.figures
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{RESULT}.json").write_text(json.dumps({
        "disk_sha256": disk.sha256, "freed_mib": mib, **figures}, indent=2) + "\n",
        encoding="ascii")
    return "\n".join(said.values())
