# SPDX-License-Identifier: GPL-2.0
"""A command that runs in the guest while the test does something else."""

import itertools

from .channel import CommandError, Result

_NUMBERS = itertools.count(1)


class Job:
    """A background command of a guest.  Its output is kept in the guest."""

    def __init__(self, vm, command):
        self.vm = vm
        self.command = command
        self.base = f"/tmp/job{next(_NUMBERS)}"
        vm.push(f"{self.base}.sh", command.encode("utf-8", "surrogateescape"))
        # A session of its own, so that kill() reaches all of it.  The status
        # file comes by rename: it is there complete or not at all.
        vm.run(f"setsid sh -c 'echo $$ > {self.base}.pid; "
               f"(exec sh {self.base}.sh); "
               f"echo $? > {self.base}.tmp; mv {self.base}.tmp {self.base}.rc'"
               f" >{self.base}.out 2>&1 &\n"
               f"while [ ! -s {self.base}.pid ]; do usleep 1000; done")

    def running(self):
        """Return whether the command has not ended yet."""
        return self.vm.run(f"test -e {self.base}.rc", check=False).rc != 0

    def says(self, word):
        """Return whether it has printed this yet: for what looks often."""
        return word in self.vm.text(f"{self.base}.out")

    def output(self):
        """Return what the command has printed so far."""
        return self.vm.read(f"{self.base}.out").decode(
            "utf-8", "surrogateescape")

    def wait(self, timeout=300, check=True):
        """Wait for the end; return the Result, or raise as Vm.run() does."""
        self.vm.wait_until(lambda: not self.running(),
                           f"the end of the job `{self.command}`", timeout)
        result = Result(self.output(),
                        int(self.vm.read(f"{self.base}.rc") or b"1"))
        if check and result.rc:
            raise CommandError(self.command, result)
        return result

    def kill(self, signal="KILL"):
        """Send a signal to the command and all that it started."""
        self.vm.run(f"/bin/kill -{signal} -$(cat {self.base}.pid); "
                    f"test -e {self.base}.rc || echo 137 > {self.base}.rc",
                    check=False)
