# SPDX-License-Identifier: GPL-2.0
"""A Debian system with our packages, made by make-deb: one disk, on QEMU and on Xen."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

import debian_disk
import domu
import guest
import neighbours
from guest import MIB
from lab import cache, hypervisors

# The kernel of the disk that most tests have: Debian stable's own.
STABLE = "6.12"

# Kernels, one for each suite that there is a disk of.
SUITES = ("6.1", STABLE, "7.3")

USED_MIB = 600

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0,
                       reason="a Debian system wants root to be made"),
    pytest.mark.all_only("a Debian system is installed for it; test_dkms makes the same "
                         "modules"),
]


def wait_driver(vm, name):
    """Wait until a driver has the balloon device: udev takes its time, too."""
    vm.wait_until(lambda: vm.run(
        "cd /sys/bus/virtio/devices; basename $(readlink -f "
        "$(dirname $(grep -l 0x0005 */device))/driver)").out.strip() == name,
        f"the balloon device to have the driver {name}", guest.SOON)


def wait_running(vm):
    """Wait until ours has the device and runs."""
    wait_driver(vm, "aeration_virtio")
    guest.wait_value(vm, "state", "running")


def wait_booted(vm):
    """Wait until systemd has nothing left to start; nothing may have failed."""
    vm.run("systemctl is-system-running --wait", timeout=guest.HUNG, check=False)
    assert not vm.run("systemctl --failed --no-legend --plain").out


@contextlib.contextmanager
def stable(name, **more):
    """A guest of the disk that most tests have."""
    which = debian_disk.disk(STABLE)
    print(f"disk: SHA-256 {which.sha256}")
    with debian_disk.DebianVm(STABLE, f"debian-{name}", which, **more) as vm:
        wait_booted(vm)
        yield vm


def apt(vm, words):
    """Run apt-get as a person does; return what it said."""
    return vm.run(f"DEBIAN_FRONTEND=noninteractive apt-get {words}",
                  timeout=guest.HUNG).out


@pytest.mark.parametrize("suite", SUITES)
def test_installed(suite):
    """Two commands and a reboot: memory goes back, seen from inside and from outside."""
    which = debian_disk.disk(suite)
    print(f"disk: SHA-256 {which.sha256}")
    with debian_disk.DebianVm(suite, "debian", which) as vm:
        wait_booted(vm)
        wait_running(vm)
        said = vm.run("aerationctl").out
        print(said, f"booted in {vm.boot_seconds:.0f} s")
        assert "running: memory that is not used is given back" in said
        debian_disk.use(vm, USED_MIB)
        resident = vm.resident()
        debian_disk.free(vm)
        vm.run("aerationctl flush --wait")
        vm.wait_until(lambda: resident - vm.resident() >= guest.leaves(USED_MIB) * MIB,
                      f"{USED_MIB} MiB to be back", guest.SOON)
        # Who removes it has the stock driver, and nothing of ours, at once.
        apt(vm, "remove -y aeration-dkms")
        wait_driver(vm, "virtio_balloon")
        assert vm.run("lsmod | grep aeration", check=False).rc


def test_turned_off_at_boot():
    """With aeration.backend=none there is a balloon, and nothing is reported."""
    with stable("off", cmdline="aeration.backend=none") as vm:
        wait_driver(vm, "aeration_virtio")
        assert not guest.stat(vm, "bytes")
        assert "turned off" in vm.run("aerationctl explain", check=False).out


@pytest.mark.parametrize("suite", SUITES)
def test_flavours(suite):
    """DKMS makes the modules for each kernel that Debian builds of a source, and Debian's
    own test of such packages passes."""
    made, said = debian_disk.modules_of_flavours(suite)
    print(made, said[-1000:])
    for flavour in debian_disk.FLAVOURS:
        release, = [one for one in made if re.search(rf"\d-{flavour}$", one)]
        # With the module's name and version before it in newer ones.
        assert re.search(rf"^I: PASS (\S+ )?{re.escape(release)}$", said, re.M)
        names = {name.partition(".")[0] for name in made[release]}
        # Each has what its own configuration allows.
        assert names == {"aeration", "aeration_virtio", "aeration_xen",
                         "aeration_hyperv"}, release


def test_kernel_of_backports_in_a_domain():
    """The disk whose kernel no Xen's own suite has: as it is, in a domain."""
    which = debian_disk.disk("7.3")
    print(f"disk: SHA-256 {which.sha256}")
    with debian_disk.domain("4.20", "pvh", which) as (xen, domain):
        wait_booted(domain)
        guest.wait_value(domain, "state", "running")
        held = domu.settled(domain, USED_MIB / 2)
        debian_disk.use(domain, USED_MIB)
        debian_disk.free(domain)
        domain.run("aerationctl flush --wait")
        domu.settled(domain, held / 2)
        assert not domu.oom_kills(domain)
        assert xen.fate(domain.id) is None


@pytest.mark.parametrize("kind", ("pvh", "pv"))
def test_in_a_domain(xen_version, kind):
    """The same file, as it is, in a domain: its memory leaves, and comes back."""
    which = debian_disk.disk(hypervisors.hypervisor(xen_version).kernel)
    print(f"disk: SHA-256 {which.sha256}")
    with debian_disk.domain(xen_version, kind, which) as (xen, domain):
        wait_booted(domain)
        guest.wait_value(domain, "state", "running")
        held = domu.settled(domain, USED_MIB / 2)
        before = domain.mib()
        said = domain.run("aerationctl").out
        print(said, f"booted in {domain.boot_seconds:.0f} s; {before} MiB, {held:.0f} held")
        assert "xen" in said
        domu.expect_own_and_held(domain, debian_disk.DOMAIN_MIB)
        # More than it has is used, and Xen gives it; then it goes again.
        debian_disk.use(domain, USED_MIB)
        assert domain.mib() > before
        debian_disk.free(domain)
        domain.run("aerationctl flush --wait")
        domu.settled(domain, held / 2)
        assert not domu.oom_kills(domain)
        # Who removes it has all memory, at once. (apt, which does this first of all, as
        # test_installed has it, takes minutes for the rest here.)
        domain.run("/usr/libexec/aeration/hand-back", timeout=guest.HUNG)
        domu.expect_mib(domain, debian_disk.DOMAIN_MIB)
        assert domain.run("lsmod | grep aeration", check=False).rc
        assert xen.fate(domain.id) is None


def test_neighbours():
    """Nobody in a real system pays for what is held: journal, timers, cgroups of units."""
    with debian_disk.domain("4.20", "pvh", debian_disk.disk(STABLE)) as (_, domain):
        wait_booted(domain)
        guest.wait_value(domain, "state", "running")
        neighbours.on_xen(domain)
        assert domu.states(domain)["quarantined"] == 0


def test_metrics():
    """The timer's unit leaves figures where node_exporter's collector looks for them."""
    place = "/var/lib/prometheus/node-exporter"
    with stable("metrics") as vm:
        wait_running(vm)
        vm.run("systemctl start aeration-metrics.service")
        assert vm.run(f"test -e {place}/aeration.prom", check=False).rc
        vm.run(f"mkdir -p {place} && systemctl start aeration-metrics.timer "
               "aeration-metrics.service")
        said = vm.run(f"cat {place}/aeration.prom").out
        assert 'aeration_state{state="running"} 1' in said
        assert not vm.run("systemctl --failed --no-legend --plain").out


def test_upgrade():
    """The next version while this one runs: that goes on, and the next boot has it."""
    with stable("upgrade") as vm:
        wait_running(vm)
        given = guest.stat(vm, "bytes")
        said = apt(vm, "install -y --no-install-recommends /root/next/*.deb")
        print(said)
        assert guest.value(vm, "state") == "running" and guest.stat(vm, "bytes") >= given
        release = vm.run("uname -r").out.strip()
        installed = vm.run("dkms status").out.splitlines()
        print(installed)
        assert [line for line in installed if line] == [
            f"aeration/{debian_disk.NEXT}, {release}, x86_64: installed"]
        # The old module and the new tool understand each other; a new one comes by itself.
        assert "running" in vm.run("aerationctl").out
        vm.run("rmmod aeration_virtio aeration && udevadm trigger --action=add && "
               "udevadm settle")
        wait_running(vm)
        apt(vm, "purge -y aeration-dkms aeration-tools")
        wait_driver(vm, "virtio_balloon")
        # All that is left is what the lab has put there.
        left = vm.run("find / -xdev -name '*aeration*' -not -path '/root/*' "
                      "-not -path '/opt/*'").out
        assert not left, left


@pytest.mark.long("modules are compiled in a domain of an emulated machine")
def test_upgrade_in_a_domain():
    """What is held stays held while the next version comes, and that one holds it then."""
    with debian_disk.domain("4.20", "pvh", debian_disk.disk(STABLE)) as (xen, domain):
        wait_booted(domain)
        guest.wait_value(domain, "state", "running")
        held = domu.settled(domain, USED_MIB / 2)
        apt(domain, "install -y --no-install-recommends /root/next/*.deb")
        assert guest.value(domain, "state") == "running"
        # The compiler needed some of it, and had it.
        print(f"{held:.0f} MiB held, {domu.settled(domain, held / 4):.0f} after the upgrade")
        release = domain.run("uname -r").out.strip()
        assert domain.run("dkms status").out.strip() == \
            f"aeration/{debian_disk.NEXT}, {release}, x86_64: installed"
        domain.run("rmmod aeration_xen aeration")
        domu.expect_mib(domain, debian_disk.DOMAIN_MIB)
        domain.run("systemctl restart aeration.service")
        guest.wait_value(domain, "state", "running")
        domu.settled(domain, held / 4)
        domu.expect_own_and_held(domain, debian_disk.DOMAIN_MIB)
        apt(domain, "purge -y aeration-dkms aeration-tools")
        domu.expect_mib(domain, debian_disk.DOMAIN_MIB)
        assert not domu.oom_kills(domain)
        assert xen.fate(domain.id) is None


CLOUD_INIT = cache.REPO / "packaging/cloud-init"


@pytest.mark.long("modules are compiled in an emulated machine, as in test_upgrade")
def test_cloud_init(tmp_path):
    """The recipe for cloud-init, at the first boot of a system that has never had us."""
    seed = tmp_path / "seed"
    shutil.copytree(CLOUD_INIT, seed)
    for path in debian_disk.packages().glob("aeration-*_*.deb"):
        if "dbgsym" not in path.name:
            shutil.copy(path, seed)
    subprocess.run(["genisoimage", "-quiet", "-volid", "CIDATA", "-joliet", "-rock",
                    "-o", tmp_path / "seed.iso", seed], check=True, timeout=guest.SOON)
    which = debian_disk.disk(STABLE, install=False, more=("cloud-init",))
    with debian_disk.DebianVm(STABLE, "cloud-init", which, extra=[
            "-drive", f"file={tmp_path / 'seed.iso'},if=virtio,format=raw,readonly=on"]) as vm:
        said = vm.run("cloud-init status --wait --long", timeout=guest.HUNG, check=False)
        assert "DataSourceNoCloud" in said.out, said.out
        print(said.out, vm.run("tail -n 20 /var/log/cloud-init-output.log").out)
        wait_running(vm)
        assert "running" in vm.run("aerationctl").out


def test_kernel_without_headers():
    """A kernel that the modules cannot be made for keeps its driver, and that is said."""
    with stable("headers") as vm:
        apt(vm, "purge -y linux-headers-amd64 'linux-headers-[0-9]*'")
        apt(vm, "remove -y aeration-dkms")
        said = apt(vm, "install -y --no-install-recommends /root/packages/*.deb")
        print(said)
        assert "kernel headers" in said
        vm.run("rmmod virtio_balloon; udevadm trigger --action=add && udevadm settle")
        wait_driver(vm, "virtio_balloon")
        said = vm.run("aerationctl explain", check=False)
        assert said.rc == 3
        assert "modules are not loaded" in said.out and "headers of this kernel" in said.out


def test_secure_boot():
    """Where only signed modules are taken the stock driver works, and what to do is said.

    DKMS has signed ours, with a key that this kernel does not know.
    """
    with stable("signed", cmdline="module.sig_enforce=1") as vm:
        wait_driver(vm, "virtio_balloon")
        assert vm.run("modprobe aeration 2>&1", check=False).rc
        assert "Loading of" in vm.run("dmesg | grep rejected").out
        assert "signature" in vm.run("modinfo aeration").out.replace("sig_id", "signature")
        said = vm.run("aerationctl explain", check=False)
        print(said.out)
        assert said.rc == 3
        assert "takes signed modules only" in said.out and "mokutil --import" in said.out


def test_demo():
    """make demo PLACE=debian ends with what came of it in both places."""
    done = subprocess.run(
        [sys.executable, "tools/demo/demo.py", "--place", "debian", "--kernel", STABLE],
        cwd=cache.REPO, capture_output=True, text=True, timeout=guest.HUNG, check=False)
    assert not done.returncode, done.stdout + done.stderr
    print(done.stdout)
    last = done.stdout.strip().splitlines()[-2:]
    assert [line.split(":")[0] for line in last] == ["QEMU", "Xen"]
    seen = json.loads((cache.BUILD / "results/demo-debian.json").read_text(encoding="utf-8"))
    assert seen["disk_sha256"] == debian_disk.disk(STABLE).sha256
