# SPDX-License-Identifier: GPL-2.0
"""Packages that are unpacked and not installed, and pieces of the kernel's source."""

import hashlib
import lzma
import os
import shutil
import subprocess
import tarfile

from . import LabError, cache, roots, suites

SOURCE_PACKAGE = "linux-source-6.1"
ARCHIVE = "usr/src/linux-source-6.1.tar.xz"

# checkpatch finds the other two beside itself.
CHECKPATCH = ("checkpatch.pl", "spelling.txt", "const_structs.checkpatch")

# Seconds; the package has 130 MB.
DOWNLOAD_TIMEOUT = 900
UNPACK_TIMEOUT = 120


def apt(root, *arguments):
    """Return an apt-get command that works on a root from outside it."""
    return ["apt-get", "-o", f"Dir={root}", "-o", "APT::Sandbox::User=root",
            "-o", "APT::Architecture=amd64", "-o", "Acquire::Retries=3",
            "-o", f"Dir::State::status={root}/var/lib/dpkg/status",
            "-o", "Dir::Bin::methods=/usr/lib/apt/methods", *arguments]


def _packages(ask, names, wanted):
    """Return the names of the packages to fetch, by apt's own resolution."""
    argv = ask("install", "--no-install-recommends", "--print-uris", "-qq",
               *names)
    listing = subprocess.run(argv, check=True, stdout=subprocess.PIPE,
                             timeout=DOWNLOAD_TIMEOUT).stdout.decode()
    # 'URI' FILE SIZE CHECKSUM, and FILE is NAME_VERSION_ARCHITECTURE.deb.
    names = [line.split()[1].split("_")[0] for line in listing.splitlines()]
    return [name for name in names if wanted.match(name)]


def fetch(root, names, wanted, place):
    """Unpack packages of a root's suite into the folder `place`.

    With what is `wanted`, a compiled regular expression, of those they depend on and
    the root lacks.
    """
    log = place / "make.log"
    what = f"fetching {', '.join(names)}"
    state = place / "apt"
    (state / "lists/partial").mkdir(parents=True)

    def ask(*arguments):
        # Its own package lists: others may work on the root's meanwhile.
        return apt(root, "-o", f"Dir::State::lists={state}/lists",
                   "-o", f"Dir::Cache={state}", *arguments)

    roots.logged(ask("update"), log, DOWNLOAD_TIMEOUT, what, cwd=place)
    roots.logged(ask("download", *_packages(ask, names, wanted)), log,
                 DOWNLOAD_TIMEOUT, what, cwd=state)
    for package in sorted(state.glob("*.deb")):
        roots.logged(["dpkg-deb", "-x", package, place], log, UNPACK_TIMEOUT,
                     f"unpacking {package.name}")
    cache.remove(state)


def _extract(archive, place, names):
    left = {f"scripts/{name}": name for name in names}
    with lzma.open(archive) as plain, tarfile.open(fileobj=plain,
                                                   mode="r|") as tar:
        for member in tar:
            name = left.pop(member.name.split("/", 1)[-1], None)
            if name:
                with open(place / name, "wb") as out:
                    shutil.copyfileobj(tar.extractfile(member), out)
                os.chmod(place / name, 0o755)
            if not left:
                return
    raise LabError(f"{archive} has no {', '.join(left)}")


def _make(root, place):
    log = place / "make.log"
    what = f"fetching {SOURCE_PACKAGE} for checkpatch"
    roots.logged(apt(root, "update"), log, DOWNLOAD_TIMEOUT, what, cwd=place)
    roots.logged(apt(root, "download", SOURCE_PACKAGE), log,
                 DOWNLOAD_TIMEOUT, what, cwd=place)
    package, = place.glob(f"{SOURCE_PACKAGE}_*.deb")
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package],
                          stdout=subprocess.PIPE) as unpack:
        with tarfile.open(fileobj=unpack.stdout, mode="r|") as tar:
            for member in tar:
                if member.name.removeprefix("./") == ARCHIVE:
                    _extract(tar.extractfile(member), place, CHECKPATCH)
                    break
        unpack.kill()
    package.unlink()


def checkpatch():
    """Return the path of checkpatch.pl, fetching it when needed."""
    root = roots.root_for(suites.GUEST)
    key = hashlib.sha256(repr((SOURCE_PACKAGE, CHECKPATCH)).encode())
    return cache.entry("checkpatch", key.hexdigest(),
                       lambda place: _make(root, place)) / "checkpatch.pl"
