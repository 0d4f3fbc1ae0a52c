# SPDX-License-Identifier: GPL-2.0
"""The lab itself: guests that end, hang or complain, and saved states."""

import os
import pathlib
import signal
import subprocess
import sys
import time
import types

import pytest

import verdict
from lab import LabError, cache, kernels, roots, saved, scan, tally
from lab import qemu as lab_qemu
from lab.qemu import GuestError, Vm


def test_panic_fails_at_once(kernel):
    """A panic ends the wait for a command, long before its timeout."""
    with pytest.raises(GuestError, match="panicked"):
        with Vm(kernel, f"lab-panic-{kernel}") as vm:
            vm.run("echo c > /proc/sysrq-trigger", timeout=3600)


TRIPPED = """
[    4.052607] Oops: int3: 0000 [#1] SMP NOPTI
[    4.056775] RIP: 0010:sched_clock_cpu+0x9/0x1f0
[    4.125565] Modules linked in:{}
[    4.128139] Kernel panic - not syncing: Fatal exception in interrupt
"""


@pytest.mark.parametrize("text, tripped", [
    (TRIPPED.format(""), True),
    (TRIPPED.format(" virtio_balloon"), True),
    (TRIPPED.replace("Oops: int3", "int3").format(""), True),
    (TRIPPED.format(" aeration_virtio(OE) aeration(OE)"), False),
    (TRIPPED.replace("int3", "0002").format(""), False),
    (TRIPPED.replace("Modules", "No").format(""), False),
    ("", False),
])
def test_what_the_emulator_does(text, tripped):
    """Only what is known to be the emulator's is taken for it."""
    assert scan.emulator_tripped(text) == tripped


STUCK = """
[    1.012593] smp: Brought up 1 node, 2 CPUs
[    1.013201] smpboot: Total of 2 processors activated (7327.53 BogoMIPS)
"""

SPINS = """
[  116.476531] watchdog: BUG: soft lockup - CPU#1 stuck for 108s! [cryptomgr_test:53]
[  116.476531] Modules linked in:
[  116.476531] CPU: 1 PID: 53 Comm: cryptomgr_test Tainted: G             L     6.1.0-57-amd64 #1
[  116.476531] RIP: 0010:alg_test+0x4f/0x540
[  116.476531] Call Trace:
[  337.368551] rcu: INFO: rcu_preempt self-detected stall on CPU
"""


@pytest.mark.parametrize("text, began", [
    (STUCK, False),
    ("", False),
    (STUCK + "[    7.478873] Run /init as init process\n", True),
    (STUCK + "[    2.000000] BUG: made up by the lab\n", True),
    (STUCK + SPINS, False),
    (STUCK + SPINS + "[  130.000000] BUG: made up by the lab\n", True),
    (TRIPPED.format(""), True),
])
def test_what_never_began(text, began):
    """A guest is booted again only if it said nothing and ran nothing."""
    assert scan.never_began(text) != began


@pytest.mark.parametrize("text, wrong", [
    ("[    0.028000] tsc: PIT calibration deviates from HPET: 84791 2096011\n", True),
    ("[    0.000000] tsc: No reference (HPET/PMTIMER) available\n", True),
    ("[    0.036000] tsc: Unable to calibrate against PIT\n", False),
])
def test_a_clock_in_doubt(text, wrong):
    """A guest whose clock may be 25 times too fast is not one to test with."""
    assert bool(scan.doubts_its_clock(text)) == wrong


@pytest.fixture
def emulated(monkeypatch):
    """Have the lab believe that it has no KVM, and forget boots made to fail."""
    monkeypatch.setattr(lab_qemu, "accelerator", lambda: "tcg,thread=multi")
    yield
    tally.uncount("again")


@pytest.mark.all_only("about the lab itself: boots that are made to fail")
def test_a_boot_that_hangs(emulated):
    """It is booted again, once, if nothing of the image has run."""
    class Twice(Vm):
        """A guest that hangs so many times."""
        hangs = 1

        def _arguments(self, guest):
            self.extra = ["-S"] if self.hangs > 0 else []
            self.silence = 1 if self.hangs > 0 else Vm.silence
            self.hangs -= 1
            return super()._arguments(guest)

    tally.uncount("again")
    with Twice("6.1", "lab-hangs", fresh=True) as vm:
        assert vm.run("echo back").out == "back\n"
    assert tally.counted("again") == 1
    Twice.hangs = 2
    with pytest.raises(GuestError, match="said nothing for 1 s and has run"):
        with Twice("6.1", "lab-hangs-twice", fresh=True):
            pass


def test_the_emulator_may_fail_so_often_only():
    """A run in which it failed once more has failed, though every test has passed."""
    run = verdict.Verdict(None)
    session = types.SimpleNamespace(exitstatus=pytest.ExitCode.OK)
    for times in range(1, verdict.AGAIN_MOST + 2):
        run.pytest_runtest_logreport(types.SimpleNamespace(
            nodeid="a", when="teardown", duration=1,
            user_properties=[(verdict.PROPERTY, {"again": 1})]))
        run.pytest_sessionfinish(session)
        assert (session.exitstatus == pytest.ExitCode.OK) == (times <= verdict.AGAIN_MOST)
    assert run.too_often


@pytest.mark.all_only("about the lab itself: boots that are made to fail")
def test_a_boot_that_the_emulator_tripped_over(emulated, monkeypatch):
    """It is booted again, once; any other that ends early has failed."""
    class Twice(Vm):
        """A guest that panics at boot so many times."""
        panics = 1

        def _arguments(self, guest):
            self.cmdline = "rdinit=/none root=/none" if self.panics else ""
            self.panics -= 1
            return super()._arguments(guest)

    with pytest.raises(GuestError, match="panicked"):
        with Twice("6.1", "lab-ends-early", fresh=True):
            pass
    monkeypatch.setattr(scan, "emulator_tripped",
                        lambda text: "Kernel panic" in text)
    with Twice("6.1", "lab-tripped", fresh=True) as vm:
        assert vm.run("echo back").out == "back\n"
    Twice.panics = 2
    with pytest.raises(GuestError, match="panicked"):
        with Twice("6.1", "lab-tripped-twice", fresh=True):
            pass


@pytest.mark.all_only("about the lab itself: boots that are made to fail")
def test_a_clock_in_doubt_is_tried_again(emulated, monkeypatch):
    """Of a kernel with ours built in, too: it has looked at its clock before."""
    said = ["made up", "made up", ""]
    monkeypatch.setattr(scan, "doubts_its_clock", lambda text: said.pop(0))
    tally.uncount("again")
    with Vm("6.1", "lab-clock", vmlinux=kernels.kernel("6.1").vmlinux) as vm:
        assert vm.run("echo back").out == "back\n"
    assert tally.counted("again") == 1 and not said


def test_an_agent_that_dies_is_noticed(image, kernel):
    """Who waits for its answer does not wait for one that nobody will give."""
    with pytest.raises(GuestError, match="agent has died and was started again"):
        with Vm(kernel, f"lab-agent-{kernel}") as vm:
            vm.run("kill -9 $$", timeout=3600)


def test_console_evidence_fails(kernel):
    """What the kernel complains about fails a test that saw nothing else."""
    complaint = "echo 'BUG: made up by the lab' > /dev/kmsg"
    with pytest.raises(GuestError, match="evidence.*\n.*made up by the lab"):
        with Vm(kernel, f"lab-evidence-{kernel}") as vm:
            vm.run(complaint)
    with Vm(kernel, f"lab-allow-{kernel}", allow=["made up"]) as vm:
        vm.run(complaint)


def test_qemu_that_ends_is_noticed(kernel):
    """QEMU ending on its own is a failure that says what QEMU said."""
    with pytest.raises(GuestError, match="no-such-device"):
        with Vm(kernel, "lab-no-qemu", extra=["-device", "no-such-device"]):
            pass
    with pytest.raises(GuestError, match="QEMU ended"):
        with Vm(kernel, "lab-reboot") as vm:
            vm.run("reboot -f", timeout=3600)
    # In the end, too, when nobody waits for anything any more.
    with pytest.raises(GuestError, match="QEMU ended, status 0"):
        with Vm(kernel, "lab-ends") as vm:
            vm.run("(sleep 0.2; reboot -f) &")
            vm.process.wait(60)
    with pytest.raises(GuestError, match="QEMU ended, status -11"):
        with Vm(kernel, "lab-crashes") as vm:
            vm.process.send_signal(signal.SIGSEGV)
            vm.process.wait(60)


def test_qemus_own_complaints_fail():
    """What QEMU writes to its log is evidence, too."""
    with pytest.raises(GuestError, match="QEMU complained:\n.*made up"):
        with Vm("6.1", "lab-qemu-log") as vm:
            with open(vm.logs / "qemu.log", "a", encoding="utf-8") as log:
                log.write("qemu-system-x86_64: made up by the lab\n")


def goes(pid):
    """Wait until a process has ended."""
    for _ in range(600):
        # What nobody has waited for yet is a zombie, and has ended.
        try:
            state = pathlib.Path(f"/proc/{pid}/stat").read_text(
                encoding="ascii").rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        time.sleep(0.1)
    raise AssertionError(f"QEMU {pid} is still there")


def test_qemu_dies_with_its_harness(tmp_path):
    """A harness that is killed leaves no QEMU."""
    script = tmp_path / "harness.py"
    script.write_text(
        "import time\nfrom lab.qemu import Vm\n"
        "with Vm('6.1', 'lab-killed') as vm:\n"
        "    print(vm.pid, flush=True)\n    time.sleep(600)\n",
        encoding="utf-8")
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE,
                          text=True, env={**os.environ, "PYTHONPATH": str(
                              cache.REPO / "tests")}) as harness:
        pid = int(harness.stdout.readline())
        assert pathlib.Path(f"/proc/{pid}").exists()
        harness.kill()
    goes(pid)


START_LOOKS = 1800	# a tenth of a second apart, for a guest to boot
END_TIMEOUT = 180	# seconds

INTERRUPTED = """
import pathlib
from lab.qemu import Vm

class TestIt:
    def test_sleeps(self):
        with Vm('6.1', 'lab-interrupted') as vm:
            pathlib.Path(__file__).with_name('pid').write_text(str(vm.pid))
            vm.run('sleep 600', timeout=600)
"""


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_interrupted(tmp_path, workers):
    """A run that is ended with ^C leaves no QEMU, and has not passed."""
    (tmp_path / "test_it.py").write_text(INTERRUPTED, encoding="ascii")
    with subprocess.Popen(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p",
             "conftest", *workers, tmp_path / "test_it.py"],
            stdout=subprocess.PIPE, text=True, start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(cache.REPO / "tests")}) as run:
        for _ in range(START_LOOKS):
            if (tmp_path / "pid").exists():
                break
            time.sleep(0.1)
        pid = int((tmp_path / "pid").read_text(encoding="ascii"))
        os.killpg(run.pid, signal.SIGINT)
        said, _ = run.communicate(timeout=END_TIMEOUT)
    assert said.splitlines()[-1] == "0 passed, 1 failed, 0 skipped", said
    goes(pid)


def test_saved_states(emulated, tmp_path, monkeypatch):
    """One boots and the others start from it; what is broken is a sentence."""
    monkeypatch.setattr(saved, "STATES", tmp_path)
    with Vm("6.1", "lab-saves", mem_mib=1024) as vm:
        assert not vm.resumed
        booted = float(vm.read("/proc/uptime").split()[0])
        vm.run("echo changed > /tmp/file")
    with Vm("6.1", "lab-resumes", mem_mib=1024) as vm:
        assert vm.resumed
        assert vm.run("cat /tmp/file", check=False).rc
        # It is the same boot, and time has not leapt.
        assert booted / 2 < float(vm.read("/proc/uptime").split()[0]) < \
            booted + 60
    with monkeypatch.context() as other:
        other.setattr(roots, "qemu_digest", lambda root: "another QEMU's")
        with Vm("6.1", "lab-other-qemu", mem_mib=1024, wait=True) as vm:
            assert not vm.resumed
    state = min(tmp_path.glob("*/*/state"), key=lambda path: path.stat().st_mtime)
    state.write_bytes(state.read_bytes()[:state.stat().st_size // 2])
    with pytest.raises(LabError, match="loading its state failed"):
        with Vm("6.1", "lab-broken", mem_mib=1024):
            pass
    with Vm("6.1", "lab-boots", mem_mib=1024) as vm:
        # A state that could not be loaded is not kept.
        assert not vm.resumed


def test_a_state_without_space():
    """A file system that is full is said, and nothing half made is used."""
    with Vm("6.1", "lab-full", allow=["No space left", "failed to save",
                                      "Unable to write"]) as vm:
        with pytest.raises(LabError, match="saving its state failed.*MiB are"):
            saved.save(vm, pathlib.Path("/dev/full"), name="")
        vm.kill()

