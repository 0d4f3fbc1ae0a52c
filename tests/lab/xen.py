# SPDX-License-Identifier: GPL-2.0
"""Boots Xen with a domain 0 under QEMU, and guests on it: class Xen.

	with Xen("4.17", "my-test") as xen:
		guest = xen.domain("6.1", "pvh", mem_mib=512)
		guest.run("modprobe aeration_xen")
		xen.wait_until(lambda: guest.mib() < 300, "memory back", 10)

Domain 0 is the guest image with an archive appended to it, see dom0.py.  QEMU
emulates a processor with virtualisation, so everything is the same on every
machine; nothing here asks for KVM.
"""

import contextlib
import dataclasses
import pathlib
import re
import time

from . import LabError, cache, dom0, hypervisors, image, roots, saved
from . import kernels as lab_kernels
from .domain import CONFIG, GONE, HVM, PV_LINE, QUICK_LINE, Domain
from .domain import COMMAND_LINE as DOMAIN_LINE
from .process import SLOW_STRINGS, QemuMachine

# Xen's console and domain 0's are one: the kernel's is Xen's.
XEN_LINE = "console=com1 com1=115200,8n1 noreboot"
DOM0_LINE = f"console=hvc0 rdinit=/init ignore_loglevel panic=-1 {PV_LINE}"

# With smap or smep a PV domain 0 dies early, with rdtscp guests hang.  With
# xsave a process of a PVH guest dies as a signal handler returns (kernel 6.12)
# and as the guest is restored (Xen 4.17).
CPU = f"max,-smap,-smep,-rdtscp,-xsave,{SLOW_STRINGS}"

# What is paid for with each trap, and is no use here.
QUICK_XEN = "spec-ctrl=no"
QUICK_DOM0 = "mitigations=off cryptomgr.notests"

# Of translated code, MiB: there are two kernels and a hypervisor.
TB_SIZE = 512

# Seconds.
START_TIMEOUT = 60
XL_TIMEOUT = 120

REST_TIMEOUT = 120
EVIDENCE_TIMEOUT = 10	# for a guest's log when something failed already

# Guests at once: each has a port, which carries its console.  The ports are
# virtio's: each byte over a serial port of domain 0 is a trap into Xen.
PORTS = 8

# dom0/watch.sh says this on the console.
_FATE = re.compile(rf"lab: domain (\d+) (crashed|{GONE})")

# Where a processor is, and how Xen's own addresses begin.
_RIP = re.compile(r"RIP=([0-9a-f]{16})")
XEN_TEXT = "ffff82d0"

# On a busy host Xen has its say in the middle of a line of domain 0's.
_CUT_IN = re.compile(r"^([^\n]+?)((?:\(XEN\) [^\n]*\n)+)", re.M)


def whole_lines(text):
    """Return what came over the console with what Xen said before the line it cut."""
    return _CUT_IN.sub(r"\2\1", text)


@dataclasses.dataclass(frozen=True)
class Port:
    """A port of the machine, which carries the console of a guest."""

    ident: str			# of the chardev
    device: str			# in domain 0
    logs: pathlib.Path		# the folder that its log is in

    @property
    def log(self):
        """The name of the log of all that came over it."""
        return f"{self.ident}.raw"

    def logged(self):
        """Return how many bytes have come over it."""
        return (self.logs / self.log).stat().st_size


class Xen(QemuMachine):
    """Xen with domain 0.  A context manager, and domain 0 a Machine.

    version       of Xen, "4.17"
    name          for the log folder
    dom0_kernel   series; default: the kernel of the suite that has this Xen
    kernels       series of the kernels that domains shall boot; default: that
                  of domain 0; each more takes a second to boot with
    own_kernels   more of them, of our own: {name: ELF file}, see tree.py
    mem_mib       of the machine
    dom0_mib      of it for domain 0
    cpus          of the machine; domain 0 has dom0_cpus of them
    cmdline_xen   more on Xen's command line
    cmdline_dom0  more on domain 0's kernel command line
    allow         regular expressions of console lines that are expected
    extra         more QEMU arguments
    hvm           domains may be "hvm", too: domain 0 has the device model then,
                  and takes longer to boot
    plain         nothing on command lines to make emulation quicker
    fresh         boot, and do not start from the state of one that has
    guests        domains to have from the start, in `domains`: of each a dict
                  of what domain() takes; they are in the state, too

    Leaving the context without an exception ends all domains first; what is
    wrong with one of them fails (GuestError) as it does for the machine.
    """

    kind = "Xen machine"
    counted_as = "xen"

    def __init__(self, version, name, *, dom0_kernel=None,
                 kernels=None, own_kernels=None, mem_mib=3072, dom0_mib=1024,
                 cpus=2,
                 dom0_cpus=1, cmdline_xen="", cmdline_dom0="", allow=(),
                 extra=(), hvm=False, plain=False, fresh=False, guests=()):
        dom0_kernel = dom0_kernel or hypervisors.hypervisor(version).kernel
        super().__init__(dom0_kernel, name, allow)
        self.version = version
        self.guest_kernels = tuple(kernels or (dom0_kernel,))
        self.own_kernels = dict(own_kernels or {})
        self.mem_mib = mem_mib
        self.dom0_mib = dom0_mib
        self.cpus = cpus
        self.dom0_cpus = dom0_cpus
        self.cmdline_xen = cmdline_xen
        self.cmdline_dom0 = cmdline_dom0
        self.extra = list(extra)
        self.hvm = hvm
        self.plain = plain
        self.fresh = fresh
        self.guests = [dict(guest) for guest in guests]
        self.domains = []
        self.names = set()	# of all domains there were
        self.ports = []		# that no domain has
        self.fates = {}		# by id

    # Starting

    def _arguments(self):
        which = hypervisors.hypervisor(self.version)
        kernel = lab_kernels.kernel(self.kernel)
        initrd = pathlib.Path(self.sockets, "initrd")
        dom0.write(initrd, self.version, self.kernel, self._kernels(),
                   self.guest_kernels if self.hvm else ())
        memory = f"{self.dom0_mib}M"
        xen_line = (f"{XEN_LINE} dom0_mem={memory},max:{memory} "
                    f"dom0_max_vcpus={self.dom0_cpus} "
                    f"{'' if self.plain else QUICK_XEN} {self.cmdline_xen}")
        dom0_line = (f"{DOM0_LINE} {'' if self.plain else QUICK_DOM0} "
                     f"{self.cmdline_dom0}")
        ports = ["-device", "virtio-serial-pci"]
        for port in self.ports:
            ports += self.serial(port.ident, port.log)
            ports += ["-device", f"virtserialport,chardev={port.ident}"]
        # In -initrd, a comma ends a module.
        return ["-machine", "pc,usb=off", "-accel",
                f"tcg,thread=multi,tb-size={TB_SIZE}",
                "-cpu", CPU, "-smp", str(self.cpus), "-m", f"{self.mem_mib}M",
                "-kernel", which.xen, "-append", xen_line.strip(),
                "-initrd", f"{kernel.vmlinux} "
                f"{dom0_line.strip().replace(',', ',,')},{initrd}",
                *ports, *self.extra]

    def _kernels(self):
        """Return the kernels that domains can boot: {name: ELF file}."""
        return {**{series: lab_kernels.kernel(series).vmlinux
                   for series in self.guest_kernels}, **self.own_kernels}

    def state_key(self):
        """Return (image, key), or None to boot: see QemuMachine."""
        if self.fresh or self.cmdline_xen or self.cmdline_dom0 or self.extra or \
                self.own_kernels:
            return None
        which = hypervisors.hypervisor(self.version)
        guest = image.image()
        stamps = [lab_kernels.stamp(series)
                  for series in (self.kernel, *self.guest_kernels)]
        return guest, saved.key(
            dom0.archive(self.version, self.kernel, guest).parent.name, stamps,
            (which.place / cache.STAMP).read_text(encoding="utf-8"),
            roots.qemu_digest(roots.root_for(which.kernel)),
            self.version, self.guest_kernels, self.mem_mib, self.dom0_mib,
            self.cpus, self.dom0_cpus, self.hvm, self.plain, self.guests,
            [DOMAIN_LINE, PV_LINE, QUICK_LINE, CONFIG, HVM], CPU, TB_SIZE,
            XEN_LINE, DOM0_LINE, QUICK_XEN, QUICK_DOM0)

    def resume(self):
        """Start QEMU with what the machine was booted with."""
        self.make_folders()
        self.ports = [Port(f"guest{number}", f"/dev/vport0p{number}",
                           self.logs) for number in range(1, PORTS + 1)]
        self.start_qemu(roots.root_for(hypervisors.hypervisor(
            self.version).kernel), self._arguments())
        if self.resumed:
            for number, guest in enumerate(self.guests, 1):
                self._new_domain(**guest).found_running(number)

    def stop_to_save(self):
        """Stop while every processor runs Xen, as an idle one does.

        QEMU does not load the state of one in the middle of a guest that a
        processor of its own emulation runs: "vCPU set in guest-mode".
        """
        def stopped():
            self.qmp("stop")
            where = _RIP.findall(self.qmp("human-monitor-command",
                                          command_line="info registers -a"))
            if len(where) == self.cpus and all(
                    address.startswith(XEN_TEXT) for address in where):
                return True
            self.qmp("cont")
            return False

        self.wait_until(stopped, "all processors to be in Xen at once",
                        REST_TIMEOUT)

    def boot(self):
        """Start QEMU, wait for domain 0 and get it ready for guests."""
        self.resume()
        self.wait_ready()
        self.run(f"/{dom0.PLACE}/start.sh", START_TIMEOUT)
        for guest in self.guests:
            self.domain(**guest)
        self.boot_seconds = time.monotonic() - self.started

    # Domains

    def domain(self, kernel, kind="pvh", *, name=None, mem_mib=512,
               maxmem_mib=None, vcpus=1, cmdline="", config=None, allow=()):
        """Create a domain, wait until it takes commands, and return it.

        A Domain is a Machine, as a Vm is.  `kind` is "pvh", "pv" or "hvm";
        with `maxmem_mib` it boots with less memory than it believes it has
        (populate on demand, "pvh" only).  `config` adds to its xl
        configuration, see xl.cfg(5); `allow` are regular expressions of lines
        of its log that are expected.
        """
        guest = self._new_domain(
            kernel, kind, name=name, mem_mib=mem_mib, maxmem_mib=maxmem_mib,
            vcpus=vcpus, cmdline=cmdline, config=config, allow=allow)
        guest.start_guest()
        return guest

    def _new_domain(self, kernel, kind="pvh", *, name=None, mem_mib=512,
                    maxmem_mib=None, vcpus=1, cmdline="", config=None,
                    allow=()):
        """Return a Domain that Xen does not have yet."""
        if kernel not in (*self.guest_kernels, *self.own_kernels):
            raise LabError(f"kernel {kernel} is not in this machine: give "
                           f"Xen(..., kernels=[{kernel!r}])")
        if not self.ports:
            raise LabError(f"more than {PORTS} domains at once: there are no "
                           "more ports for consoles; destroy() one")
        if kind == "hvm" and not self.hvm:
            raise LabError("there is no device model in this machine: give "
                           "Xen(..., hvm=True)")
        name = name or f"{kind}-{kernel}-{len(self.names) + 1}"
        if name in self.names:
            raise LabError(f"there was a domain {name!r} already")
        self.names.add(name)
        settings = {
            "name": name, "type": kind, "memory": mem_mib,
            "maxmem": maxmem_mib or mem_mib, "vcpus": vcpus,
            "kernel": dom0.kernel_path(kernel, kind), "ramdisk": dom0.IMAGE,
            "cmdline": " ".join([DOMAIN_LINE] + [PV_LINE] * (kind == "pv") +
                                [QUICK_LINE] * (not self.plain) +
                                [cmdline]).strip(),
            **CONFIG, **(HVM if kind == "hvm" else {}), **(config or {})}
        guest = Domain(self, kernel, self.ports.pop(0), settings,
                       [*self.allow, *allow])
        self.domains.append(guest)
        return guest

    def released(self, guest):
        """Take back the port of a domain that has ended."""
        self.domains.remove(guest)
        self.ports.append(guest.port)

    def fate(self, number):
        """Return how the domain with this id ended; None if it did not."""
        return self.fates.get(number)

    def notice(self, text):
        """Take note of new lines on the console."""
        super().notice(text)
        for found in _FATE.finditer(text):
            self.fates[int(found[1])] = found[2]

    # Xen

    def xl(self, command, timeout=XL_TIMEOUT):
        """Run an xl command in domain 0; return what it printed."""
        return self.run(f"xl {command}", timeout).out

    def console(self):
        """Return all that domain 0 and Xen have printed, in whole lines."""
        return whole_lines(super().console())

    def kernel_log(self):
        """Return domain 0's log, with Xen's.

        All of it is on the console already, and each byte of what a command
        prints is a trap into Xen.
        """
        return self.console()

    def free_mib(self):
        """Return the memory, in MiB, that no domain has."""
        return int(self.run("xl info free_memory").out)

    # Ending

    def __exit__(self, kind, error, traceback):
        if error is not None:
            self._keep_evidence(wait=isinstance(error, Exception))
            return super().__exit__(kind, error, traceback)
        failure = None
        try:
            for guest in list(self.domains):
                try:
                    guest.finish()
                except LabError as failed:
                    failure = failure or failed
        except BaseException:	# ^C: what is left is not waited for
            self.kill()
            raise
        if failure is None:
            return super().__exit__(None, None, None)
        try:
            raise failure
        finally:
            self.kill()

    def _keep_evidence(self, wait):
        """After a failure: what the domains can still say.

        Not waited for after a ^C: whoever sent it may soon send a SIGKILL.
        """
        for guest in list(self.domains):
            with contextlib.suppress(LabError, OSError):
                if wait and guest.channel and guest.id is not None:
                    guest.keep_kernel_log(EVIDENCE_TIMEOUT)
                    guest.keep_state(EVIDENCE_TIMEOUT)
            guest.release()
