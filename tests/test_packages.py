# SPDX-License-Identifier: GPL-2.0
"""The Debian packages: what is in them, and that DKMS makes modules of them.

DKMS runs in the build root of each kernel, over which a throw-away layer is mounted.
"""

import contextlib
import os
import pathlib
import re
import shutil
import subprocess

import pytest

import debian_disk
from lab import cache, roots

MAKE_TIMEOUT = 1200	# seconds; with what has to be downloaded
DKMS_TIMEOUT = 1800
VERSION = (cache.REPO / "VERSION").read_text(encoding="ascii").strip()
KINDS = ("aeration-dkms", "aeration-tools", "hintd")

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0,
                               reason="a chroot wants root; make deb does not")


@pytest.fixture(scope="module")
def packages():
    """The packages, made from this tree; lintian has nothing to complain of (or
    make-deb fails)."""
    out = debian_disk.packages()
    assert "lintian: nothing to complain of" in (out.parent / "make.log").read_text(
        encoding="utf-8")
    return out


def package(packages, kind):
    """Return the file of a package."""
    found, = packages.glob(f"{kind}_{VERSION}_*.deb")
    return found


def inside(packages, kind, folder):
    """Unpack a package; return the paths of its files."""
    subprocess.run(["dpkg-deb", "-x", package(packages, kind), folder], check=True,
                   timeout=MAKE_TIMEOUT)
    return {str(path.relative_to(folder)) for path in folder.rglob("*")
            if path.is_file() and not path.is_symlink()}


WANTED = {
    "aeration-dkms": (
        f"usr/src/aeration-{VERSION}/dkms.conf", f"usr/src/aeration-{VERSION}/core/main.c",
        "usr/lib/modprobe.d/aeration-dkms.conf", "lib/systemd/system/aeration.service"),
    "aeration-tools": (
        "usr/bin/aerationctl", "usr/share/man/man8/aerationctl.8.gz",
        "usr/share/bash-completion/completions/aerationctl"),
    "hintd": ("usr/sbin/hintd", "usr/share/man/man8/hintd.8.gz",
              "etc/apparmor.d/usr.sbin.hintd"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_content(packages, tmp_path, kind):
    """What belongs there is there, by the one version; no test, and nothing built."""
    found = inside(packages, kind, tmp_path)
    assert found.issuperset(WANTED[kind])
    assert not [path for path in found if re.search(r"\.(o|ko|cmd|py)$|/tests/|/build/", path)]
    if kind == "aeration-tools":
        said = subprocess.run([tmp_path / "usr/bin/aerationctl", "--version"], check=True,
                              capture_output=True, text=True, timeout=MAKE_TIMEOUT).stdout
        assert said == f"aerationctl {VERSION}\n"
        units = {path for path in found if path.endswith((".service", ".timer"))}
        assert {pathlib.Path(one).name for one in units} == {
            "aeration-metrics.service", "aeration-metrics.timer"}
    if kind == "aeration-dkms":
        assert f'PACKAGE_VERSION="{VERSION}"' in (
            tmp_path / WANTED[kind][0]).read_text(encoding="ascii")


def test_not_two_drivers(packages, tmp_path):
    """Nothing is blacklisted: a kernel that the modules are not made for keeps its driver."""
    inside(packages, "aeration-dkms", tmp_path)
    rules = [line for line in (tmp_path / WANTED["aeration-dkms"][2]).read_text(
        encoding="ascii").splitlines() if not line.startswith("#")]
    assert rules == ["softdep virtio_balloon pre: aeration_virtio"]


def modules_of(conf, source):
    """Return what a dkms.conf would build for a kernel, by its folder."""
    done = subprocess.run(
        ["bash", "-euc", '. "$1"; echo "${BUILT_MODULE_NAME[@]}"; '
         'echo "${#BUILT_MODULE_LOCATION[@]} ${#DEST_MODULE_LOCATION[@]}"', "bash", conf],
        env={**os.environ, "kernel_source_dir": str(source), "dkms_tree": "/none",
             "kernelver": "none"},
        capture_output=True, text=True, timeout=MAKE_TIMEOUT, check=True)
    names, counts = done.stdout.splitlines()
    assert counts == " ".join([str(len(names.split()))] * 2)
    return set(names.split())


@pytest.mark.parametrize("options, wanted", [
    ("CONFIG_VIRTIO=y CONFIG_XEN=y CONFIG_X86_64=y CONFIG_HYPERV=m",
     "aeration aeration_virtio aeration_xen aeration_hyperv"),
    ("CONFIG_VIRTIO=m CONFIG_X86_64=y", "aeration aeration_virtio"),
    # Other machines have XEN, too, and our backend is written for one.
    ("CONFIG_VIRTIO=y CONFIG_XEN=y", "aeration aeration_virtio"),
    ("CONFIG_HYPERV=y CONFIG_XENFS=y CONFIG_X86_64=y", "aeration aeration_hyperv"),
])
def test_backends_by_what_the_kernel_has(tmp_path, options, wanted):
    """Each kernel gets the backends that it can have, whatever its version is called."""
    (tmp_path / ".config").write_text(options.replace(" ", "\n") + "\n", encoding="ascii")
    found = modules_of(cache.REPO / "debian/aeration-dkms.dkms", tmp_path)
    assert found == set(wanted.split())


# In the root, over which there is a layer: as who installs the package has it done.
MAKE_MODULES = r"""
set -e
mkdir -p "$LAYER/up" "$LAYER/work" "$LAYER/root"
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$LAYER/up,workdir=$LAYER/work" \
	"$LAYER/root"
mount -t proc proc "$LAYER/root/proc"
for one in "$LAYER"/*.deb; do
	dpkg-deb --fsys-tarfile "$one" | tar -x --keep-directory-symlink -C "$LAYER/root"
done
chroot "$LAYER/root" sh -ec '
	dkms add -m aeration -v "$VERSION"
	dkms build -m aeration -v "$VERSION" -k "$RELEASE" || {
		cat "/var/lib/dkms/aeration/$VERSION/build/make.log"; exit 1; }
	dkms install -m aeration -v "$VERSION" -k "$RELEASE"
	echo "modules: $(cd "/lib/modules/$RELEASE/updates/dkms" && echo *)"
	for one in "/lib/modules/$RELEASE/updates/dkms"/*; do
		modinfo -F vermagic "$one"
	done
	# Headers may be removed first, and nobody knows then what that kernel had.
	rm -rf /usr/src/linux-headers-*
	dkms remove -m aeration -v "$VERSION" --all
	echo "left: $(find /lib/modules -name "aeration*" | wc -l)"
'
"""


@contextlib.contextmanager
def layer(folder):
    """A folder for what is written over a root; what is mounted goes with its process."""
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@ROOT_ONLY
def test_dkms(packages, tmp_path, kernel):
    """DKMS makes, installs and removes the modules for a kernel that does not run."""
    done = subprocess.run(["sh", "-c", "apt-get download dkms || { apt-get update && "
                           "apt-get download dkms; }"], cwd=tmp_path, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=MAKE_TIMEOUT, check=False)
    assert not done.returncode, done.stdout
    shutil.copy(package(packages, "aeration-dkms"), tmp_path)
    root = roots.root_for(kernel)
    headers, = root.glob("usr/src/linux-headers-*-amd64")
    release = headers.name.removeprefix("linux-headers-")
    with layer(tmp_path):
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", MAKE_MODULES], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=DKMS_TIMEOUT,
            env={**os.environ, "LAYER": str(tmp_path), "VERSION": VERSION,
                 "LOWER": str(root), "RELEASE": release},
            check=False)
    assert not done.returncode, done.stdout[-8000:]
    names = re.search(r"^modules: (.*)$", done.stdout, re.M)[1].split()
    assert {name.partition(".")[0] for name in names} == {
        "aeration", "aeration_virtio", "aeration_xen", "aeration_hyperv"}
    assert len(re.findall(rf"^{re.escape(release)} ", done.stdout, re.M)) == len(names)
    assert done.stdout.rstrip().endswith("left: 0")
