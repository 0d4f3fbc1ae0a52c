# SPDX-License-Identifier: GPL-2.0
"""libvirt as Debian has it, and guests that it runs: classes Libvirt and Guest.

Daemon and QEMU run in a Debian tree of their own, over which a throw-away layer is
mounted, where nobody but they and their children see it. All of it ends with the daemon.
Root is needed for that. What both sides see is in one folder, /lab in there.
"""

import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
import uuid

from lab import LabError, cache, image, kernels, roots, tally
from lab.channel import Channel
from lab.machine import Machine
from lab.qemu import COMMAND_LINE, QUICK_LINE
from lab.sampler import resident

SUITE = "bookworm"		# its libvirt is 9.0, its QEMU 7.2
PACKAGES = ("libvirt-daemon", "libvirt-daemon-driver-qemu", "libvirt-clients",
            "qemu-system-x86")

# Whom libvirt-daemon-system makes for libvirt, with units of systemd's that nobody needs
# here: it is looked up, and then not used.
USER = """echo libvirt-qemu:x:64055:64055::/:/usr/sbin/nologin >>"$1/etc/passwd"
echo libvirt-qemu:x:64055: >>"$1/etc/group"
"""

MIB = 1 << 20

# Seconds.
START_TIMEOUT = 60
VIRSH_TIMEOUT = 600
END_TIMEOUT = 30

# There is no systemd in there, no other user, and no second line of defence.
DAEMON_CONF = """unix_sock_dir = "/lab"
auth_unix_ro = "none"
auth_unix_rw = "none"
host_uuid = "{uuid}"
"""
QEMU_CONF = """user = "root"
group = "root"
dynamic_ownership = 0
cgroup_controllers = []
namespaces = []
security_driver = "none"
stdio_handler = "file"
"""

# The shell is the first process of its own numbers: all others end with it, and it reaps
# them, or libvirt waits for a QEMU to end that has. /tmp is there because another daemon
# is.
RUN = """
set -e
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/up,workdir=$2/work" "$2/root"
for one in dev sys tmp; do mount --rbind "/$one" "$2/root/$one"; done
mount -t proc proc "$2/root/proc"
mkdir -p "$2/root/lab"
mount --bind "$2/lab" "$2/root/lab"
chroot "$2/root" /usr/sbin/libvirtd -f /lab/libvirtd.conf -p /lab/libvirtd.pid &
wait $!
"""

DOMAIN = """<domain type='qemu'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>{mib}</memory>
  <currentMemory unit='MiB'>{current}</currentMemory>
  <vcpu>2</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>/lab/kernel</kernel>
    <initrd>/lab/initrd</initrd>
    <cmdline>{line}</cmdline>
  </os>
  <features><acpi/></features>
  <cpu mode='maximum'>
    <feature policy='disable' name='erms'/>
    <feature policy='disable' name='fsrm'/>
  </cpu>
  <on_crash>preserve</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='usb' model='none'/>
    <serial type='file'>
      <source path='/lab/{name}.console' append='on'/>
      <target port='0'/>
    </serial>
    <serial type='unix'>
      <source mode='bind' path='/lab/{name}.agent'/>
      <target port='1'/>
    </serial>
    <memballoon model='virtio' autodeflate='on' freePageReporting='on'>
      <stats period='1'/>
    </memballoon>
  </devices>
</domain>
"""


def tree():
    """Return the tree with libvirt, made when needed."""
    key = hashlib.sha256(repr((SUITE, PACKAGES, USER)).encode()).hexdigest()
    return cache.shared("libvirt", key, lambda place: roots.fill(
        place, SUITE, PACKAGES, ["--customize-hook=" + USER], f"the libvirt of {SUITE}")) / "root"


class Libvirt:
    """A daemon. A context manager: what it runs ends with it.

    name     for the log folder
    kernel   series of the kernel that guests boot
    """

    def __init__(self, name, kernel):
        self.name = name
        self.kernel = kernel
        self.place = self.logs = self.process = None

    def __enter__(self):
        # Names of sockets are short by law: 108 bytes with the path.
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="aervirt-"))
        stamp = time.strftime("%Y%m%d-%H%M%S")
        self.logs = cache.BUILD / "logs" / f"{stamp}-{os.getpid()}-{self.name}"
        self.logs.mkdir(parents=True)
        for folder in ("up", "work", "root", "lab"):
            (self.place / folder).mkdir()
        shutil.copy(kernels.kernel(self.kernel).vmlinuz, self.lab / "kernel")
        shutil.copy(image.image().path, self.lab / "initrd")
        (self.lab / "libvirtd.conf").write_text(
            DAEMON_CONF.format(uuid=uuid.uuid4()), encoding="ascii")
        conf = self.place / "up/etc/libvirt"
        conf.mkdir(parents=True)
        (conf / "qemu.conf").write_text(QEMU_CONF, encoding="ascii")
        with open(self.logs / "libvirtd.log", "wb") as log:
            self.process = subprocess.Popen(
                [*roots.DIES_WITH_US, "unshare", "--mount", "--pid", "--fork",
                 "--kill-child", "sh", "-c", RUN, "sh", tree(), self.place], stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True)
        try:
            self._wait_ready()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_):
        roots.end(self.process)
        for path in self.lab.glob("*.console"):
            shutil.copy(path, self.logs)
        for path in (self.place / "up/var/log/libvirt/qemu").glob("*.log"):
            shutil.copy(path, self.logs)
        # Its mounts were its own, and went with it.
        cache.remove(self.place)

    @property
    def lab(self):
        """The folder that is /lab in there."""
        return self.place / "lab"

    def said(self):
        """Return what the daemon has complained of."""
        return (self.logs / "libvirtd.log").read_text(errors="replace")

    def _first(self):
        """Return the process id of the daemon's shell, as it is out here."""
        return int(subprocess.run(
            ["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True,
            check=True, timeout=START_TIMEOUT).stdout)

    def pid(self, name):
        """Return the process id of a guest's QEMU, as it is out here."""
        ours = os.readlink(f"/proc/{self._first()}/ns/pid")
        for path in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(path / "ns/pid") == ours and \
                        f"guest={name},".encode() in (path / "cmdline").read_bytes():
                    return int(path.name)
            except OSError:	# it has ended, or is not to be looked at
                continue
        raise LabError(f"no QEMU of guest {name!r} runs")

    def _wait_ready(self):
        end = time.monotonic() + START_TIMEOUT
        while not (self.lab / "libvirt-sock").exists() or self.ask("uri").returncode:
            if self.process.poll() is not None:
                raise LabError(f"libvirtd has ended: {self.said()[-2000:]}")
            if time.monotonic() > end:
                raise LabError(f"libvirtd does not answer after {START_TIMEOUT} s: "
                               f"{self.said()[-2000:]}")
            time.sleep(0.1)

    def ask(self, *words, socket="/lab/libvirt-sock"):
        """Run virsh in there; return what became of it."""
        return subprocess.run(
            ["nsenter", f"--target={self._first()}", "--mount", "--pid",
             "chroot", self.place / "root", "virsh", "-q", "-c",
             f"qemu:///system?socket={socket}", *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", timeout=VIRSH_TIMEOUT, check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "HOME": "/root"})

    def virsh(self, *words):
        """Run virsh in there; return what it printed. It may not fail."""
        done = self.ask(*words)
        if done.returncode:
            raise LabError(f"virsh {' '.join(words)}: {done.stdout}\n"
                           f"libvirtd: {self.said()[-2000:]}")
        return done.stdout


class Guest(Machine):
    """A guest that libvirt runs; a Machine, as a Vm is.

    current_mib   of how many MiB it shall be at first; default: of all
    """

    def __init__(self, host, name, mem_mib=1024, current_mib=None, allow=()):
        super().__init__(host.kernel, name, allow)
        self.host = host
        self.mem_mib = mem_mib
        self.current_mib = current_mib or mem_mib
        self.logs = host.lab
        self.console_name = f"{name}.console"

    def __enter__(self):
        tally.count("qemu")
        text = DOMAIN.format(
            name=self.name, uuid=uuid.uuid4(), mib=self.mem_mib,
            current=self.current_mib, line=f"{COMMAND_LINE} {QUICK_LINE}")
        (self.host.lab / f"{self.name}.xml").write_text(text, encoding="ascii")
        self.host.virsh("define", f"/lab/{self.name}.xml")
        self.virsh("start")
        self.connect()
        self.wait_ready()
        return self

    def __exit__(self, kind, error, _):
        try:
            if error is None:
                self.check_console()
                self.check_taint(self.tainted())
        finally:
            if self.channel:
                self.channel.close()
            self.host.ask("destroy", self.name)

    def moved(self, host):
        """It is with another daemon now."""
        self.host = host
        self.logs = host.lab
        self.console_seen = 0
        self.connect()

    def connect(self):
        """Connect to its agent, of a QEMU that has just been started."""
        if self.channel:
            self.channel.close()
        self.channel = Channel(str(self.host.lab / f"{self.name}.agent"), self.check_alive)

    def check_alive(self):
        """Raise GuestError when the kernel has given up, or QEMU is gone."""
        self.check_panic()
        if self.host.process.poll() is not None:
            self._fail("libvirtd has ended")

    def virsh(self, command, *words):
        """Run a virsh command for it; return what that printed."""
        return self.host.virsh(command, self.name, *words)

    def statistics(self):
        """Return what `virsh dommemstat` says: {name: KiB or count}."""
        return {line.split()[0]: int(line.split()[1])
                for line in self.virsh("dommemstat").splitlines() if line.strip()}

    def used_mib(self):
        """Return of how many MiB it is, as libvirt says."""
        said = self.virsh("dominfo")
        return int(re.search(r"^Used memory: +(\d+) KiB", said, re.M)[1]) / 1024

    def resident(self):
        """Return the bytes that the host gives to the guest's memory."""
        said = self.virsh("qemu-monitor-command", "--hmp", "gpa2hva 0")
        place = int(re.search(r"is (0x[0-9a-f]+)", said)[1], 16)
        return resident(self.host.pid(self.name), place, self.mem_mib * MIB)
