# SPDX-License-Identifier: GPL-2.0
"""Build roots: a Debian tree per suite with its compiler, headers and QEMU.

Nothing but compilers runs in a root.  The other programs of a root (QEMU,
kmod) are run from outside it, through the root's own dynamic linker: see
command().
"""

import functools
import hashlib
import os
import pathlib
import signal
import subprocess

from . import LabError, cache, suites

LIBRARIES = "usr/lib/x86_64-linux-gnu"
LOADER = LIBRARIES + "/ld-linux-x86-64.so.2"

# Where a root keeps the kernel package that its headers belong to.
KERNEL_PACKAGE = "var/cache/aeration"

# Runs in mmdebstrap after it wrote sources.list, which names its own default
# mirror: the backports suite is on the same one.
_BACKPORTS_HOOK = """
list="$1/etc/apt/sources.list"
sed -n 's/ {suite} main$/ {suite}-backports main/p' "$list" |
	sort -u > "$1/etc/apt/sources.list.d/backports.list"
test -s "$1/etc/apt/sources.list.d/backports.list"
"""

# Runs in mmdebstrap at the end, while the package lists are still there.  The
# packages are downloaded, not installed: installing them would run hooks that
# expect a machine.  Since 7.x the image package is empty and depends on those
# that hold the kernel, its modules and the lists of them.
_KERNEL_HOOK = r"""
set -e
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
depends()
{
	apt-cache depends "$1" | sed -En "s/^ *Depends: ($2-[0-9][^ ]*)$/\1/p"
}
image=$(depends linux-image-amd64 linux-image | head -n 1)
parts=$(depends "$image" 'linux-(base|binary|modules)')
mkdir -p "$1/$PLACE"
cd "$1/$PLACE"
# shellcheck disable=SC2086
apt-get -o APT::Sandbox::User=root download $image $parts
""".replace("$PLACE", KERNEL_PACKAGE)

# Seconds; a slow mirror needs patience, a dead one an end.
MAKE_TIMEOUT = 1800

# A program that sees to it that another does not stay when we are killed.
DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL")


def end(process):
    """Kill a process we started in a session of its own, with its children."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def logged(argv, log, timeout, what, **options):
    """Run `argv`, appending its output to the file `log`.

    Raises LabError with the last lines of the log when it fails or takes
    more than `timeout` seconds.
    """
    with open(log, "ab") as out, subprocess.Popen(
            [str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=out,
            stderr=subprocess.STDOUT, start_new_session=True,
            **options) as process:
        try:
            status = process.wait(timeout)
            ended = f"ended with status {status}"
        except subprocess.TimeoutExpired:
            status, ended = -1, f"did not end within {timeout} s"
        finally:
            end(process)
    if status:
        text = pathlib.Path(log).read_text(encoding="utf-8", errors="replace")
        tail = "\n".join(text.splitlines()[-30:])
        raise LabError(f"{what} failed: {argv[0]} {ended}; "
                       f"its last words, from {log}:\n{tail}")


def fill(place, suite, packages, options, what):
    """Make a Debian tree with `packages` in the new directory place/root.

    `options` are more arguments of mmdebstrap, its log is place/make.log.
    """
    cache.need("mmdebstrap", "make build roots")
    root = place / "root"
    log = place / "make.log"

    def mmdebstrap(mode, target):
        # What it mounts goes with it, also when it is killed.
        apart = ["unshare", "--mount"] if mode == "root" else []
        logged([*apart, "mmdebstrap", f"--mode={mode}", "--variant=apt", "--verbose",
                "--include=" + ",".join(packages), *options, suite, target],
               log, MAKE_TIMEOUT, what)

    root.mkdir()
    if os.geteuid() == 0:
        mmdebstrap("root", root)
        return
    # A user's root belongs to the user alone: no device nodes, one owner.
    tar = place / "root.tar"
    mmdebstrap("unshare", tar)
    logged(["tar", "-x", "-C", root, "-f", tar, "--no-same-owner",
            "--no-same-permissions", "--exclude=./dev/*"],
           log, MAKE_TIMEOUT, what)
    tar.unlink()


def backports(suite):
    """Return arguments of mmdebstrap for what a suite takes from its backports."""
    if not suite.backports:
        return []
    return [f'--aptopt=APT::Default-Release "{suite.name}-backports"',
            "--setup-hook=" + _BACKPORTS_HOOK.format(suite=suite.name)]


def _make(suite, place):
    options = ["--customize-hook=" + _KERNEL_HOOK, *backports(suite)]
    fill(place, suite.name, suites.PACKAGES, options,
         f"making the {suite.name} root for kernel {suite.kernel}")


def root_for(kernel):
    """Return the path of the build root of a kernel series."""
    suite = suites.suite(kernel)
    recipe = repr((suite, suites.PACKAGES, _BACKPORTS_HOOK, _KERNEL_HOOK,
                   os.geteuid() == 0))
    key = hashlib.sha256(recipe.encode()).hexdigest()
    return cache.entry(f"root-{kernel}", key,
                       lambda place: _make(suite, place)) / "root"


@functools.cache
def qemu_digest(root):
    """Return what tells the QEMU of a root from any other."""
    with open(root / "usr/bin/qemu-system-x86_64", "rb") as qemu:
        return hashlib.file_digest(qemu, "sha256").hexdigest()


def command(root, program, *arguments, name=None):
    """Return the argv that runs a program of a root from outside the root.

    It goes through the root's dynamic linker with the root's libraries, so it
    needs neither chroot nor mounts, and the process is ours to look at.
    `name` is what the program shall find in argv[0].
    """
    libraries = root / LIBRARIES
    paths = [libraries] + sorted(
        {path.parent for path in libraries.glob("*/*.so*")
         if path.parent.name in ("pulseaudio", "blas", "lapack")})
    return [str(root / LOADER), "--library-path", ":".join(map(str, paths)),
            *(["--argv0", name] if name else []),
            str(root / program.lstrip("/")), *map(str, arguments)]


# objtool of later kernels reads /proc, and as a user there are no device nodes
# in the root.  The mount name space ends with the command, and its mounts with
# it.
_MOUNTED = """
mount --rbind /dev "$1/dev" && mount --rbind /proc "$1/proc" &&
exec chroot "$@"
"""
_ENTER = 'cd "$0" && exec "$@"'


def run_in_root(root, argv, cwd="/", log=None, timeout=600, env=None):
    """Run `argv` chrooted into `root`; return (status, output as text).

    `cwd` is inside the root; `env` adds to a small fixed environment; a
    `log` file also gets the output.  A status of 124 means that it took more
    than `timeout` seconds and was killed.
    """
    inside = [str(root), "/bin/sh", "-c", _ENTER, str(cwd), *map(str, argv)]
    become_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    outside = ["unshare", *become_root, "--mount", "sh", "-c", _MOUNTED,
               "sh", *inside]
    clean = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root",
             "LC_ALL": "C", **(env or {})}
    with subprocess.Popen(outside, env=clean, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          start_new_session=True) as process:
        try:
            output, _ = process.communicate(timeout=timeout)
            status = process.returncode
        except subprocess.TimeoutExpired:
            end(process)
            output, _ = process.communicate()
            status = 124
        finally:
            end(process)	# after a ^C
    text = output.decode(errors="replace")
    if log:
        with open(log, "a", encoding="utf-8") as out:
            out.write(f"$ {' '.join(map(str, argv))}\n{text}")
    return status, text
