# SPDX-License-Identifier: GPL-2.0
"""What a kernel has is looked for in its headers, and not told by its version.

Distributions bring what is new to older kernels, and give those older numbers.
"""

import re
import subprocess

import pytest

from lab import build, cache, roots, suites

KERNEL_MK = cache.REPO / "include/aeration/kernel.mk"
TIMEOUT = 60	# seconds

# By kernel, what the oldest has not.
NEWER = {
    "6.1": set(),
    "6.12": {"REPORTING_ORDER", "ACCOUNT_RECLAIMED", "SHRINKER_ALLOC", "ASSIGN_STR_DST",
             "VIRTQUEUE_INFO"},
}
NEWER["7.3"] = NEWER["6.12"] | {
    "VIRTIO_FEATURES", "VIRTIO_SHUTDOWN", "RECLAIM_BEGIN_MEMCG", "RECLAIM_PER_NODE",
    "BALLOON_H", "BALLOON_ADJUSTS", "BALLOON_PAGES"}


def found(source, objects):
    """Return what kernel.mk finds in the headers of a kernel, and in what it exports."""
    said = subprocess.run(
        ["make", "-s", "-f", "-", f"srctree={source}", f"objtree={objects}"],
        input=f"include {KERNEL_MK}\nall:\n\t@echo $(subdir-ccflags-y)\n",
        capture_output=True, text=True, check=True, timeout=TIMEOUT).stdout
    return set(re.findall(r"-DCOMPAT_HAS_(\w+)", said))


def headers(kernel):
    """Return where the headers of a kernel are: those of all flavours, and one's own."""
    root = roots.root_for(kernel) / "usr/src"
    common, = root.glob("linux-headers-*-common")
    own, = root.glob("linux-headers-*-amd64")
    return common, own


def test_what_kernels_have():
    """Each of the lab's has what it is known to have, and nothing else."""
    for series in suites.KERNELS:
        assert found(*headers(series)) == NEWER[series], series


def test_in_a_kernel_tree(tmp_path):
    """There is no list of symbols before a kernel is built: its source has them."""
    (tmp_path / "mm").mkdir()
    (tmp_path / "mm/page_reporting.c").write_text(
        "unsigned int page_reporting_order;\nEXPORT_SYMBOL_GPL(page_reporting_order);\n")
    assert found(tmp_path, tmp_path) == {"REPORTING_ORDER"}
    (tmp_path / "mm/page_reporting.c").write_text("unsigned int page_reporting_order;\n")
    assert not found(tmp_path, tmp_path)


# What a distribution may have brought to a kernel that it calls 6.1.
BACKPORTS = {
    "linux/shrinker.h": ("struct shrinker *shrinker_alloc(unsigned int flags, const char "
                         "*fmt, ...);", "SHRINKER_ALLOC"),
    "linux/virtio_config.h": ("struct virtqueue_info {", "VIRTQUEUE_INFO"),
    "trace/stages/stage6_event_callback.h": ("#define __assign_str(dst)", "ASSIGN_STR_DST"),
    "linux/swap.h": ("static inline void mm_account_reclaimed_pages(unsigned long pages)",
                     "ACCOUNT_RECLAIMED"),
    "linux/virtio.h": ("\tvoid (*shutdown)(struct virtio_device *dev);", "VIRTIO_SHUTDOWN"),
}


@pytest.mark.parametrize("header", BACKPORTS)
def test_backported(tmp_path, header):
    """What is there is found, whatever the version is called; and that alone."""
    source, objects = headers("6.1")
    line, name = BACKPORTS[header]
    text = (source / "include" / header).read_text(encoding="utf-8")
    place = tmp_path / "include" / header
    place.parent.mkdir(parents=True)
    place.write_text(text, encoding="utf-8")
    assert not found(tmp_path, objects)
    place.write_text(f"{text}{line}\n", encoding="utf-8")
    assert found(tmp_path, objects) == {name}


def test_nobody_asks_for_a_version():
    """Neither core nor backends compare version numbers."""
    asking = [str(path) for path in build.source_files(("core", "backends", "include"))
              if re.search(r"LINUX_VERSION|KERNEL_VERSION", (cache.REPO / path).read_text(
                  encoding="utf-8"))]
    assert not asking
