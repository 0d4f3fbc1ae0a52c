# SPDX-License-Identifier: GPL-2.0
"""Things that take long to make and are made once.

An entry is a directory.  It is made beside its place, in `NAME.partial`; its
stamp (the key) is written last, then it is renamed.  So an entry either has a
stamp with the wanted key and is complete, or it is not used.
"""

import contextlib
import fcntl
import os
import pathlib
import shutil
import stat
import subprocess
import time

from . import LabError, say

STAMP = ".lab-stamp"
PARTIAL = ".partial"

# Of the entries of one name that are kept beside each other: how many stay, used
# or not, and after how many seconds without use the others go. No check takes as
# long as that.
KEEP = 3
UNUSED_SECONDS = 6 * 3600
KEY_LENGTH = 16		# characters of a key in a path
REPO = pathlib.Path(__file__).resolve().parents[2]
BUILD = REPO / "build"


def directory():
    """Return the cache directory (it need not exist yet)."""
    if os.environ.get("AERATION_CACHE"):
        return pathlib.Path(os.environ["AERATION_CACHE"]).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base).absolute() / "aeration"


def mounts_under(path):
    """Return the mount points at or under `path`, as strings."""
    top = os.path.realpath(path)
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8") as info:
        for line in info:
            point = line.split()[4].encode().decode("unicode_escape")
            if point == top or point.startswith(top + "/"):
                found.append(point)
    return found


def remove(path):
    """Remove a tree; never follows a symlink, never enters a mount.

    Raises LabError, with nothing removed, when something is mounted in it.
    """
    path = pathlib.Path(path)
    if path.is_symlink() or not path.exists():
        path.unlink(missing_ok=True)
        return
    mounted = mounts_under(path)
    if mounted:
        raise LabError(f"not removing {path}: mounted in it: "
                       f"{', '.join(mounted)}; unmount that first")
    if os.geteuid() != 0:
        # Packages ship some directories their owner may not write to.
        for folder, _, _ in os.walk(path):
            os.chmod(folder, stat.S_IRWXU)
    subprocess.run(["rm", "-rf", "--one-file-system", "--", str(path)],
                   check=True)


def _key_of(path):
    try:
        return (path / STAMP).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None


def is_there(name, key):
    """Is the entry `name` of the cache made, from what `key` names?"""
    return _key_of(directory() / name) == key


@contextlib.contextmanager
def locked(path, name):
    """Hold the lock file `path`; say so when another process has `name`."""
    with open(path, "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{name}: another process is making it, waiting")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(name, key, make, path, quiet):
    partial = path.with_name(path.name + PARTIAL)
    if partial.exists():
        say(f"{name}: found half-made, starting over")
        remove(partial)
    if not quiet:
        say(f"{name}: making it (once; kept in {path})")
    begin = time.monotonic()
    partial.mkdir(parents=True)
    make(partial)
    stamp = partial / STAMP
    with open(stamp, "w", encoding="utf-8") as out:
        out.write(key)
        out.flush()
        os.fsync(out.fileno())
    if path.exists():
        remove(path)
    os.rename(partial, path)
    if not quiet:
        say(f"{name}: made in {time.monotonic() - begin:.0f} s")


def entry(name, key, make, base=None, quiet=False, label=None):
    """Return the path of the entry `name`, making it when needed.

    `key` is a short string naming what went into it: an entry with another
    key is made again.  `make(path)` fills an empty directory and raises to
    fail; what it left is then kept in `NAME.partial` until the next try.
    `base` is the directory to keep it in, the cache by default; `label` is
    what it is called, if not `name`.  Two processes (or threads) asking for
    one entry make it once.
    """
    path = pathlib.Path(base or directory()) / name
    label = label or name
    if _key_of(path) == key:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_name("." + path.name + ".lock"), label):
        if _key_of(path) != key:
            if path.exists() and not quiet:
                say(f"{label}: what went into it has changed, making it again")
            _make(label, key, make, path, quiet)
    return path


def shared(name, key, make, quiet=False):
    """Return the path of an entry that is kept beside others of its name.

    It is in the cache, for all trees: each finds what was made of the same
    things. What nobody has used for a while goes when another one is made, and
    so does what was left half-made as long ago.
    """
    place = directory() / name
    path = entry(key[:KEY_LENGTH], key, make, place, quiet, name)
    os.utime(path / STAMP)
    _forget_unused(place)
    _forget_half_made(place)
    return path


def _forget_half_made(place):
    """Remove what nobody makes any more: it was for other keys, or is asked for no more.

    Its log is there to be read for a while.
    """
    for partial in place.glob(f"*{PARTIAL}"):
        name = partial.name.removesuffix(PARTIAL)
        # It may be another's by now, or gone.
        with contextlib.suppress(FileNotFoundError, BlockingIOError), \
                open(place / f".{name}.lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - partial.stat().st_mtime > UNUSED_SECONDS:
                remove(partial)


def _forget_unused(place):
    """Remove the entries of a folder that are many and long not used."""
    used = []
    for stamp in place.glob(f"*/{STAMP}"):
        with contextlib.suppress(FileNotFoundError):
            used.append((stamp.stat().st_mtime, stamp.parent))
    for when, path in sorted(used, reverse=True)[KEEP:]:
        if time.time() - when > UNUSED_SECONDS:
            # Others that find it so at the same time have nothing left to do.
            with contextlib.suppress(FileNotFoundError):
                gone = path.with_name(f"{path.name}.{os.getpid()}.unused")
                os.rename(path, gone)
                remove(gone)


def clean():
    """Remove the whole cache directory."""
    path = directory()
    if path.exists():
        remove(path)
        say(f"removed {path}")


def need(tool, why):
    """Raise LabError unless the command `tool` is on the PATH."""
    if not shutil.which(tool):
        raise LabError(f"{tool} is missing, needed to {why}: "
                       "run tests/lab/setup.sh")
