# SPDX-License-Identifier: GPL-2.0
"""A guest of a Xen machine: class Domain.  Xen.domain() makes them."""

import time

from . import LabError, dom0, tally
from .channel import escape
from .machine import Machine

# The kernel talks until init takes the console for commands; an oops and a
# panic talk again by themselves.  All else is read from the kernel's log at
# the end, which has to have kept it.
COMMAND_LINE = "console=hvc0 rdinit=/init lab.agent=hvc0 panic=-1 log_buf_len=4M"

# What is of no use in a domain whose processor is emulated: looking for devices that
# are not there traps into Xen, which is emulated, too.
QUICK_LINE = ("mitigations=off cryptomgr.notests 8250.nr_uarts=0 "
              "iommu=noaperture ipv6.disable=1")

# A PV kernel of 6.1 to 6.12 at least warns, and is tainted, when a page goes away
# while it is being moved: it clears the page table entry in a batch, and looks at
# it before that is done (pte_install_uffd_wp_if_needed()).  Nothing of ours takes
# part in it.  A kernel moves pages by itself when little free memory is in large
# blocks, which is what hold leaves; these are told not to.
PV_LINE = "sysctl.vm.compaction_proactiveness=0"

# What all guests get.  A crashed one stays to be looked at.
CONFIG = {
    "on_poweroff": "destroy",
    "on_reboot": "destroy",
    "on_crash": "preserve",
    "tsc_mode": "native",
}

# For a domain that stays, stopped, when its kernel makes way for another.
STAYS = {"on_reboot": "preserve", "on_soft_reset": "preserve"}

# What an HVM domain gets besides: as little of a machine as there can be.
HVM = {
    "vga": "none",
    "usb": 0,
}

# Seconds.
CREATE_TIMEOUT = 120
END_TIMEOUT = 180	# a busy host took more than 60
SAVE_TIMEOUT = 180

# Of what it takes to look at a domain with xl: it is a process of an emulated
# domain 0.
XL_POLL = 1.0

# Tells why a domain does not get on: what the core says, what is free, and where the
# programs are that a test waits for.
STATE = """
grep -r . /sys/kernel/aeration /sys/module/aeration*/parameters
cat /proc/meminfo /proc/buddyinfo /proc/vmstat
for pid in $(pidof memwork memclock memload integrity); do
	cat /proc/$pid/stat /proc/$pid/stack
done
"""

# For a console's last bytes to arrive.
SETTLE = 1

# What Xen.fate() says of a domain that was destroyed.
GONE = "is gone"

READY = "@@ready 0\n"


def config_text(config):
    """Return a dict as xl.cfg(5) wants it: numbers, strings and lists."""
    def value(one):
        if isinstance(one, (list, tuple)):
            return "[" + ", ".join(map(value, one)) + "]"
        if isinstance(one, int):
            return str(int(one))
        if '"' in one and "'" in one:
            raise LabError(f"no string of xl.cfg can hold both quotes: {one}")
        return f"'{one}'" if '"' in one else f'"{one}"'

    return "".join(f"{key} = {value(one)}\n" for key, one in config.items())


class Domain(Machine):
    """A guest on a Xen machine, running from start() on.

    xen        the machine
    kernel     series of the kernel to boot
    kind       "pvh", "pv" or "hvm"
    port       its console's port of the machine
    config     all that is in its xl configuration

    finish() ends it and fails (GuestError) on evidence of trouble.
    """

    kind = "domain"
    boot_timeout = 600	# with a device model it takes longest

    def __init__(self, xen, kernel, port, config, allow=()):
        super().__init__(kernel, config["name"], allow)
        self.xen = xen
        self.port = port
        self.config = config
        self.logs = xen.logs
        self.console_name = port.log
        self.console_from = self.console_seen = port.logged()
        self.id = None			# of Xen; None when there is none
        self.dmesg = self.taint = None	# as they were at the end
        self.checked = False		# its logs were
        self.boot_seconds = None	# from `xl create` to the first command

    # Life

    def start_guest(self):
        """Create the domain and wait for its agent."""
        path = f"/run/xen/{self.name}.cfg"
        self.xen.push(path, config_text(self.config).encode())
        tally.count("domain")
        begin = time.monotonic()
        self.channel = self.xen.connected(self.port.ident, self.check_alive)
        self._begin(f"create -p {path}", CREATE_TIMEOUT)
        self.wait_ready()
        self.boot_seconds = time.monotonic() - begin

    def found_running(self, number):
        """Take over the domain with this id, of a machine that is to go on.

        The port has to be open when its state is loaded, as it was: domain 0 would
        be told that it was closed, and let go of the console.
        """
        self.channel = self.xen.connected(self.port.ident, self.check_alive)
        self.id = number

    def _begin(self, command, timeout):
        """Have xl make the domain, paused, and let it run with a console."""
        self.xen.xl(command, timeout=timeout)
        self.id = int(self.xen.xl(f"domid {self.name}"))
        self.ending = False
        self.xen.run(f"/{dom0.PLACE}/console.sh {self.id} {self.port.device}")
        self.xen.xl(f"unpause {self.id}")

    def save(self, path, timeout=SAVE_TIMEOUT):
        """Save the domain to a file in domain 0; it does not run any more."""
        self.ending = True
        self.xen.xl(f"save {self.id} {path}", timeout=timeout)
        self.id = None

    def restore(self, path, timeout=SAVE_TIMEOUT):
        """Let the domain go on from where it was saved."""
        self._begin(f"restore -p {path}", timeout)

    def migrate(self, timeout=SAVE_TIMEOUT):
        """Migrate the domain, running, to the very machine that it is on.

        It needs room there beside itself.
        """
        self.ending = True
        self._begin(f"migrate -p -s '' {self.id} 'xl migrate-receive'",
                    timeout)

    def shutdown(self):
        """Power the domain off and wait until it is gone; check its logs."""
        self._last_words()
        self.ending = True
        self.channel.socket.sendall(b"off poweroff -f\n")
        self.xen.wait_until(lambda: self.xen.fate(self.id),
                            f"domain {self.name!r} to power off", END_TIMEOUT)
        self.ending = False
        if self.xen.fate(self.id) != GONE:
            self.check_alive()
        self.id = None
        self._checked()

    def restart(self, command="reboot -f", last="reboot: Restarting system"):
        """Have the kernel restart, wait until Xen has stopped the domain, and fail
        on evidence of trouble.

        It must have "preserve" in its configuration for this end, as STAYS has
        it, and stays to be looked at until destroy(check=False).  `command` is
        what restarts it, `last` what the kernel says as the last thing.
        """
        self._last_words()
        self._checked()
        begin = len(self.console())
        self.ending = True
        # Nobody can ask for the log afterwards, so all of it is on the console.
        self.channel.socket.sendall(
            escape(f"off echo 8 > /proc/sys/kernel/printk; {command}") + b"\n")
        self.xen.wait_until(
            lambda: "s" in self.xen.xl(f"list {self.id}").split()[-2],
            f"domain {self.name!r} to restart", END_TIMEOUT, poll=XL_POLL)
        self.xen.wait_until(
            lambda: last in self.console()[begin:],
            f"the console of domain {self.name!r} to say {last!r}", END_TIMEOUT)
        self.check_log(self.console()[begin:], "on the console as it restarted")

    def next_kernel(self, command):
        """Have another kernel started by `command`; wait until it takes commands.

        For that a domain asks Xen for a soft reset: "soft-reset" must be in its
        configuration for that end. xl does so for HVM domains and for no others
        (libxl_domain_soft_reset() of 4.17 and 4.20). It keeps its console.
        """
        self._last_words()
        self._checked()
        self.checked = False
        self.ending = True
        self.channel.socket.sendall(escape(f"off {command}") + b"\n")
        self.wait_ready()
        # What a kernel says as it crashes is not looked at.
        self._new_lines()
        self.ending = False

    def destroy(self, check=True):
        """End the domain at once; check its logs, unless `check` is false.

        Without `check` it need not be alive.
        """
        if check:
            self._last_words()
        self.ending = True
        if self.id is not None and self.xen.fate(self.id) != GONE:
            self.xen.xl(f"destroy {self.id}")
        self.id = None
        if check:
            self._checked()
        self.release()

    def finish(self):
        """End the domain, however it is; fail on evidence of trouble."""
        try:
            if self.id is not None:
                self.check_alive()
                self.shutdown()
            elif not self.checked:
                self._checked()
        finally:
            self.release()

    def release(self):
        """Keep the console in a file of its own; give back the port."""
        if self.channel:
            (self.logs / f"{self.name}-console.log").write_text(
                self.console(), encoding="utf-8")
            self.channel.close()
            self.channel = None
            self.xen.released(self)

    # Evidence

    def keep_kernel_log(self, timeout=60):
        """Write the kernel's log to the log folder; return it."""
        text = self.run("dmesg", timeout).out
        (self.logs / f"{self.name}-dmesg.log").write_text(text,
                                                          encoding="utf-8")
        return text

    def keep_state(self, timeout):
        """Write to the log folder what tells why it does not get on."""
        (self.logs / f"{self.name}-state.log").write_text(
            self.run(STATE, timeout, check=False).out, encoding="utf-8")

    def _last_words(self):
        self.taint = self.tainted()
        self.dmesg = self.keep_kernel_log()

    def _checked(self):
        """Raise GuestError when something that was logged is evidence."""
        self.checked = True
        if self.dmesg is None:
            # It did not get to give its log: all there is was on the console.
            self.check_console()
            return
        # It is not there if the domain was found running.
        booting, ready, _ = self.console().partition(READY)
        if ready:
            self.check_log(booting, "on the console")
        self.check_log(self.dmesg, "in the kernel's log")
        self.check_taint(self.taint)

    def console(self):
        """Return what came over the console, commands and answers too."""
        data = (self.logs / self.console_name).read_bytes()
        return data[self.console_from:].decode(errors="replace").replace(
            "\r", "")

    def check_alive(self):
        """Raise GuestError when the domain has panicked or is gone."""
        self.xen.check_alive()
        if self.ending:
            return
        self.check_panic()
        fate = self.xen.fate(self.id)
        if fate:
            # What it said last may still be on its way.
            time.sleep(SETTLE)
            self.check_panic()
            self._fail(f"Xen says that domain {self.id} {fate}")

    # The host's side

    def mib(self):
        """Return the memory it has, in MiB, as Xen counts it."""
        listing = self.xen.xl(f"list {self.id}").splitlines()
        return int(listing[1].split()[2])

    def mem_set(self, mib):
        """Ask the domain for another size."""
        self.xen.xl(f"mem-set {self.id} {mib}")
