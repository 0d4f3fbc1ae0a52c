#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Puts aeration into a kernel source tree, and takes it out again.

What it installs is its own, but for one line in drivers/Kconfig and one in
drivers/Makefile.  A list of it is left in drivers/aeration.
"""

import argparse
import os
import pathlib
import re
import shutil
import sys

TOP = pathlib.Path(__file__).resolve().parents[1]

# Folders that are ours alone, in the tree.
CODE = "drivers/aeration"
SELFTESTS = "tools/testing/selftests/aeration"
FOLDERS = (CODE, "include/aeration", SELFTESTS)

LIST = CODE + "/.installed"

# By what a file of the source is told from the leftovers of a build.
SUFFIXES = {".c", ".h", ".mk", ".sh", ".md"}
NAMES = {"Makefile", "Kconfig", "config", "settings"}

# The one line in each of two files, and before which line it goes: at the end
# if there is none.
HOOKS = {
    "drivers/Kconfig": ('source "drivers/aeration/Kconfig"\n', "endmenu\n"),
    "drivers/Makefile": ("obj-$(CONFIG_AERATION)\t\t+= aeration/\n", None),
}

# What makes a folder a kernel tree that this fits into.
NEEDED = {
    "Kbuild": "it is no kernel source tree",
    "drivers/Kconfig": "it is no kernel source tree",
    "drivers/Makefile": "it is no kernel source tree",
    "mm/Kconfig": "it is no complete kernel source tree: headers are not enough",
    "mm/page_reporting.c": "it is older than 5.7: no free page reporting",
}


class TreeError(Exception):
    """It cannot be done; the text says why. Nothing was changed."""


def _ours(folder):
    """Return the source files under a folder of ours, as relative paths."""
    return [path.relative_to(TOP) for path in sorted((TOP / folder).rglob("*"))
            if path.is_file() and not path.name.endswith(".mod.c")
            and (path.suffix in SUFFIXES or path.name in NAMES)
            and "out" not in path.relative_to(TOP / folder).parts]


def _makefile():
    """Return the Makefile of drivers/aeration: what is built, and no more.

    The core comes first: that is the order in which built-in code starts.
    """
    text = (TOP / "Makefile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines(True)
             if re.match(r"obj-\$\(CONFIG_AERATION\w*\) \+= (core|backends)/",
                         line)]
    return ("# SPDX-License-Identifier: GPL-2.0\n"
            "include $(srctree)/include/aeration/kernel.mk\n" + "".join(lines))


def contents():
    """Return {path in the tree: (bytes, mode)} of all that is installed."""
    sources = {f"{CODE}/Kconfig": TOP / "Kconfig"}
    for folder in ("core", "backends"):
        sources.update((f"{CODE}/{path}", TOP / path)
                       for path in _ours(folder))
    sources.update((str(path), TOP / path) for path in _ours("include"))
    for path in _ours("tests/kselftest"):
        place = path.relative_to("tests/kselftest")
        sources[f"{SELFTESTS}/{place}"] = TOP / path
    files = {name: (path.read_bytes(), path.stat().st_mode & 0o755)
             for name, path in sources.items()}
    files[f"{CODE}/Makefile"] = _makefile().encode(), 0o644
    files[LIST] = "".join(f"{name}\n" for name in sorted(files)).encode(), 0o644
    return files


def _installed(tree):
    path = tree / LIST
    if not path.exists():
        return None
    return path.read_text(encoding="utf-8").splitlines() + [LIST]


def check(tree):
    """Raise TreeError unless this is a kernel tree that can take it."""
    if not tree.is_dir():
        raise TreeError(f"there is no directory {tree}")
    for name, why in NEEDED.items():
        if not (tree / name).is_file():
            raise TreeError(f"{tree} has no {name}: {why}")
    for name, (line, before) in HOOKS.items():
        text = (tree / name).read_text(encoding="utf-8")
        if not text.endswith("\n") or (
                before and line not in text.splitlines(True)
                and before not in text.splitlines(True)):
            raise TreeError(f"{tree}/{name} does not end as it does in the "
                            "kernel: a line cannot be put into it")


def _write(path, data):
    """Replace a file as a whole, keeping its mode: it may be a hard link."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    shutil.copymode(path, partial)
    os.rename(partial, path)


def _hook(tree, there):
    """Have each hook line there once, or not at all."""
    for name, (line, before) in HOOKS.items():
        path = tree / name
        old = path.read_text(encoding="utf-8").splitlines(True)
        new = [one for one in old if one != line]
        if there:
            # The last "endmenu" closes the menu that the file opens.
            at = len(new) - new[::-1].index(before) - 1 if before else len(new)
            new.insert(at, line)
        if new != old:
            _write(path, "".join(new).encode())


def install(tree):
    """Bring the tree up to date; files that are are not touched."""
    check(tree)
    files = contents()
    before = _installed(tree)
    for name in files:
        if name not in (before or ()) and (tree / name).exists():
            raise TreeError(f"{tree}/{name} exists, and was not put there by "
                            "this: remove it first")
    for name in set(before or ()) - set(files):
        (tree / name).unlink(missing_ok=True)
    changed = 0
    # The list first: whatever happens then, uninstall knows what to remove.
    for name in sorted(files, key=lambda name: name != LIST):
        data, mode = files[name]
        path = tree / name
        if path.exists() and path.read_bytes() == data and \
                path.stat().st_mode & 0o777 == mode:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        path.chmod(mode)
        changed += 1
    _hook(tree, True)
    return (f"{len(files)} files in {tree}, {changed} of them new or changed; "
            "CONFIG_AERATION is in the menu of device drivers")


def uninstall(tree):
    """Leave the tree as it was before install()."""
    check(tree)
    before = _installed(tree)
    if before is None:
        return f"nothing of aeration is in {tree}"
    _hook(tree, False)
    for name in before:
        (tree / name).unlink(missing_ok=True)
    for name in FOLDERS:
        # With what a build has left in them.
        shutil.rmtree(tree / name, ignore_errors=True)
    return f"{len(before)} files removed from {tree}"


def main():
    """Do what the arguments say; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=("install", "uninstall"))
    parser.add_argument("tree", help="kernel source tree")
    options = parser.parse_args()
    act = install if options.action == "install" else uninstall
    try:
        print(act(pathlib.Path(options.tree).resolve()))
        return 0
    except (TreeError, OSError) as error:
        print(f"install-tree: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
