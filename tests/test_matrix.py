# SPDX-License-Identifier: GPL-2.0
"""The matrix: one image on every host, told what to do by its command line.

cells.py has the cells and says which are left out, places.py the hosts;
`make matrix LIST=1` lists both. What comes out is in build/results, see
matrix_report.py.
"""

import pytest

import guest
import places
from lab import kernels

# Why a word does not let the backend of a place run, said of that backend.
NOT_CHOSEN = {
    "auto": "only when asked for by name",
    "wrong": "another backend was asked for by name",
    "none": "aeration.backend=none",
}

# Why the one that was asked for does not run there instead.
WRONG_HERE = {
    "qemu": "this is not a Xen domain",
    "pvh": "this is a Xen domain; the balloon of an outer host",
    "pv": "this is a Xen domain; the balloon of an outer host",
    "dom0": "this is a Xen domain; the balloon of an outer host",
    "loop": "this does not run on Hyper-V",
}


@pytest.fixture(scope="module")
def shared_xen(request):
    """A Xen machine that cells beside each other share."""
    shared = places.SharedXen(request.config.matrix_cells)
    yield shared
    shared.close()


@pytest.fixture
def machines():
    """Machines whose consoles are of interest if the test fails."""
    return []


def running(host, asked):
    """The backend of the place runs, and log and sysfs say so."""
    backend = host.cell.place.backend
    guest.wait_value(host.vm, "state", "running")
    assert guest.value(host.vm, "backend") == backend
    assert guest.value(host.vm, f"why/{backend}") == "in use"
    guest.said(host.vm, f"backend {backend}, asked for {asked} (")


def not_running(host, asked, why):
    """Nothing runs, and log and sysfs say why."""
    backend = host.cell.place.backend
    assert guest.value(host.vm, "state") == "off"
    assert guest.value(host.vm, "backend") == "none"
    assert why in guest.value(host.vm, f"why/{backend}")
    guest.said(host.vm, f"backend none, asked for {asked} (")
    guest.said(host.vm, why)


def ends_by_word(host):
    """Another word at run time ends it, and the guest has all it had."""
    word = "none" if host.cell.place.by_itself else "auto"
    guest.choose(host.vm, word)
    not_running(host, word, NOT_CHOSEN[word])
    if word == "auto":
        host.nothing_fits()
    host.restored()


def lives(host):
    """It runs: surplus leaves, can be used again, and no word is wrong."""
    running(host, host.cell.word)
    host.use_and_free()
    host.gone()
    host.again()
    host.integrity()
    # By the module's end it is in the other cells.
    if host.cell.choice == "name" or host.cell.built_in:
        ends_by_word(host)


def refuses(host):
    """It does not run: nothing leaves, until another word is said."""
    cell = host.cell
    not_running(host, cell.word, NOT_CHOSEN[cell.choice])
    if cell.choice == "wrong":
        why = WRONG_HERE[cell.place.host]
        assert why in guest.value(host.vm, f"why/{cell.place.wrong}")
        guest.said(host.vm, f"{cell.place.wrong}: {why}")
    host.use_and_free()
    host.stayed()
    if cell.choice == "none":
        guest.choose(host.vm, "auto")
        if not cell.place.by_itself:
            not_running(host, "auto", NOT_CHOSEN["auto"])
    right = "auto" if cell.place.by_itself else cell.place.backend
    if right != "auto" or cell.choice != "none":
        guest.choose(host.vm, right)
    running(host, right)
    host.gone()
    ends_by_word(host)


def test_cell(request, cell, image, shared_xen, machines, record_property):
    """One cell of the matrix."""
    with places.booted(cell, shared_xen) as host:
        machines.append(host.vm)
        host.words = guest.integrity_words(request.config)
        booted = host.image_sha256()
        record_property("image_sha256", booted)
        assert booted == image.sha256
        release = host.vm.run("uname -r").out.strip()
        assert release.startswith(f"{cell.series}.") if cell.built_in else \
            release == kernels.kernel(cell.series).version
        host.start()
        if cell.runs:
            lives(host)
        else:
            refuses(host)
        host.end()
