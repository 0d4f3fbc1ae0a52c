# SPDX-License-Identifier: GPL-2.0
"""What hintd comes with: where it goes, and that each reader understands it."""

import json
import os
import re
import signal
import socket
import subprocess

import pytest

from lab import cache, roots
from lab.vhost_balloon import Hintd, program
from lab.vhost_front import FREE, MIB, TIMEOUT_S, FrontEnd

PACKAGING = cache.REPO / "packaging" / "hintd"
BUILD_TIMEOUT = 300	# seconds
RUN_TIMEOUT = 60	# seconds

# What systemd-analyze calls "OK" ends at 5; ours is at 1.1.
EXPOSURE_MOST = 1.5


def said_by(*argv, **how):
    """Run a program that has to succeed; return all that it says."""
    done = subprocess.run(argv, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=RUN_TIMEOUT,
                          check=False, **how)
    assert not done.returncode, done.stdout
    return done.stdout


def test_install(tmp_path):
    """The daemon and its manual go where they belong, the hostile twin not."""
    subprocess.run(["make", "-s", "-C", cache.REPO / "host", "install",
                    f"OUTPUT={tmp_path}/out", f"DESTDIR={tmp_path}/root"],
                   check=True, timeout=BUILD_TIMEOUT)
    found = {str(path.relative_to(tmp_path / "root"))
             for path in (tmp_path / "root").rglob("*") if path.is_file()}
    assert found == {"usr/local/sbin/hintd",
                     "usr/local/share/man/man8/hintd.8",
                     "usr/local/lib/systemd/system/hintd@.socket",
                     "usr/local/lib/systemd/system/hintd@.service",
                     "usr/local/share/qemu/vhost-user/50-hintd.json",
                     "etc/apparmor.d/usr.sbin.hintd"}
    for name in ("lib/systemd/system/hintd@.service",
                 "share/qemu/vhost-user/50-hintd.json"):
        text = (tmp_path / "root/usr/local" / name).read_text(encoding="ascii")
        assert "/usr/local/sbin/hintd" in text
    said = subprocess.run([tmp_path / "root/usr/local/sbin/hintd", "--help"],
                          check=True, capture_output=True, text=True,
                          timeout=RUN_TIMEOUT).stdout
    assert said.startswith("usage: ")


@pytest.fixture
def units(tmp_path):
    """The units, with a program that is there."""
    for kind in ("socket", "service"):
        text = (PACKAGING / f"hintd@.{kind}").read_text(encoding="ascii")
        (tmp_path / f"hintd@.{kind}").write_text(
            text.replace("/usr/sbin/hintd", "/bin/true"), encoding="ascii")
    return tmp_path


def test_units_are_understood(units):
    """systemd finds nothing odd in them, and little that is open."""
    for kind in ("socket", "service"):
        assert not said_by("systemd-analyze", "verify", "--man=no",
                           units / f"hintd@x.{kind}")
    said = said_by("systemd-analyze", "security", "--offline=yes",
                   units / "hintd@.service")
    level = float(re.search(r"exposure level .*: ([\d.]+)", said).group(1))
    assert level <= EXPOSURE_MOST, said


def calls_of_the_daemon(folder):
    """Have it serve a front-end; return the system calls of its life."""
    trace = folder / "trace"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
        listener.listen()
        with subprocess.Popen(
                ["strace", "-o", trace, program("hintd"), "--fd",
                 str(listener.fileno()), "--stats-file", folder / "stats"],
                pass_fds=[listener.fileno()], stderr=subprocess.DEVNULL,
                start_new_session=True) as process:
            try:
                front = FrontEnd(Hintd(folder / "socket"))
                front.report((FREE, MIB))
                front.wait_used(1, "an answer")
                front.close()
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(TIMEOUT_S)
            finally:
                roots.end(process)
    return set(re.findall(r"^(\w+)\(", trace.read_text(encoding="utf-8"), re.M))


def test_unit_lets_the_daemon_work(tmp_path):
    """systemd's filter has all that it calls, from its start to its end."""
    text = (PACKAGING / "hintd@.service").read_text(encoding="ascii")
    words = re.search(r"^SystemCallFilter=(.*)$", text, re.M).group(1).split()
    allowed = set(words)
    names = [word for word in words if word.startswith("@")]
    while names:
        said = said_by("systemd-analyze", "syscall-filter", names.pop())
        found = set(re.findall(r"^ +([@\w-]+)$", said, re.M)) - allowed
        allowed |= found
        names += [name for name in found if name.startswith("@")]
    used = calls_of_the_daemon(tmp_path)
    assert {"landlock_create_ruleset", "prctl", "fallocate"} <= used
    assert not used - allowed


def test_unit_is_in_the_guests_slice():
    """The one that libvirt's <partition> names; and both know one socket."""
    text = (PACKAGING / "hintd@.service").read_text(encoding="ascii")
    document = (cache.REPO / "docs" / "hintd.md").read_text(encoding="utf-8")
    assert "\nSlice=machine-%i.slice\n" in text
    assert "<partition>/machine/NAME</partition>" in document
    text = (PACKAGING / "hintd@.socket").read_text(encoding="ascii")
    assert "\nListenStream=/run/hintd/%i.sock\n" in text
    assert "path=/run/hintd/NAME.sock" in document


def test_command_of_the_unit(tmp_path):
    """What the service runs, by systemd's own hand: it serves a front-end."""
    text = (PACKAGING / "hintd@.service").read_text(encoding="ascii")
    words = re.search(r"^ExecStart=(.*)$", text, re.M).group(1).split()
    assert words[0] == "/usr/sbin/hintd"
    words = [word.replace("/run/hintd-%i", str(tmp_path)) for word in words[1:]]
    path = tmp_path / "socket"
    with subprocess.Popen(
            ["systemd-socket-activate", "-l", path, program("hintd"), *words],
            stderr=subprocess.PIPE, text=True,
            start_new_session=True) as process:
        try:
            assert "Listening on" in process.stderr.readline()
            front = FrontEnd(Hintd(path))
            front.report((FREE, MIB))
            front.wait_used(1, "an answer")
            assert front.is_hole(FREE, MIB)
            front.close()
            process.send_signal(signal.SIGTERM)
            assert process.wait(TIMEOUT_S) == 0
        finally:
            roots.end(process)
    stats = json.loads((tmp_path / "stats.json").read_text(encoding="ascii"))
    assert stats["bytes_released"] == MIB


def test_description_for_qemu():
    """By docs/interop/vhost-user.json: what it says and what the program says."""
    text = (PACKAGING / "50-hintd.json").read_text(encoding="ascii")
    description = json.loads(text)
    assert set(description) == {"description", "type", "binary", "tags"}
    own = json.loads(said_by(program("hintd"), "--print-capabilities"))
    assert description["type"] == own["type"] == "balloon"


def test_apparmor_profile_is_understood():
    """The parser takes it; no kernel here enforces it."""
    assert "ERROR" not in said_by("apparmor_parser", "--skip-kernel-load",
                                  "--skip-cache",
                                  PACKAGING / "usr.sbin.hintd")


def test_manual_is_understood():
    """mandoc finds nothing wrong in it."""
    said = said_by("mandoc", "-T", "lint", "-W", "error",
                   cache.REPO / "host" / "hintd.8")
    assert not said


def test_xml_for_libvirt(tmp_path):
    """What is to be written is a domain that libvirt's schema knows."""
    document = (cache.REPO / "docs" / "hintd.md").read_text(encoding="utf-8")
    xml = re.search(r"```xml\n(.*?)```", document, re.S).group(1)
    whole = xml.replace("<memoryBacking>", "<name>NAME</name>"
                        "<memory>2097152</memory>"
                        "<os><type>hvm</type></os><memoryBacking>", 1)
    path = tmp_path / "domain.xml"
    path.write_text(whole, encoding="utf-8")
    assert "validates" in said_by("virt-xml-validate", path, "domain")
    help_text = said_by(program("hintd"), "--help")
    for words in re.findall(r"vhost-user-test-device-pci,[^\s\\']*", xml):
        assert words.split(",chardev")[0] in re.sub(r"\\\n\s*", "", help_text)
