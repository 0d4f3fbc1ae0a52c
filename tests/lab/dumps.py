# SPDX-License-Identifier: GPL-2.0
"""What a guest needs to save a dump when its kernel crashes, as archives.

The capture kernel is the guest's own, and its initramfs the one image, so the same
modules of ours are there; makedumpfile is that of the kernel's suite. Trixie's says
that it does not support the kernel of its suite: it leaves out nothing but zeroes.
"""

import hashlib
import re

from . import cache, image, kernels, roots, sources

# The kernel that its suite's makedumpfile supports.
KERNEL = "6.1"

# Where in a guest it is: what to boot, and what to work with.
NEXT = "opt/next"
PLACE = "opt/dump"

PROGRAM = f"/{PLACE}/makedumpfile"

_PACKAGES = ["makedumpfile"]

# Of all that they depend on, what the root lacks.
_WANTED = re.compile("makedumpfile|lib")

# Runs the program with its own libraries: the image has older ones.
_STARTER = f"""#!/bin/sh
exec /{PLACE}/lib/ld.so --library-path /{PLACE}/lib /{PLACE}/program "$@"
""".encode()


def makedumpfile(kernel):
    """Return {path: record} of makedumpfile, as image.archive() takes it."""
    root = roots.root_for(kernel)
    stamp = (root.parent / cache.STAMP).read_text(encoding="utf-8")
    place = cache.entry(
        f"makedumpfile-{kernel}",
        hashlib.sha256(repr((_PACKAGES, _WANTED.pattern,
                             stamp)).encode()).hexdigest(),
        lambda path: sources.fetch(root, _PACKAGES, _WANTED, path))
    program = place / "usr/bin/makedumpfile"
    if not program.exists():
        program = place / "usr/sbin/makedumpfile"
    found = image.libraries(root, program, [
        place / roots.LIBRARIES, place / roots.LIBRARIES.removeprefix("usr/"),
        root / roots.LIBRARIES])
    files = {f"{PLACE}/{name}": record for name, record in found.items()}
    return {**files, f"{PLACE}/program": image.file(program, 0o755),
            f"{PLACE}/lib/ld.so": image.file(root / roots.LOADER, 0o755),
            PROGRAM[1:]: (0o100755, _STARTER)}


def capture_kernel(kernel):
    """Return {path: record} of the kernel to boot then, and its initramfs."""
    return {f"{NEXT}/vmlinuz": image.file(kernels.kernel(kernel).vmlinuz),
            f"{NEXT}/initrd": image.file(image.image().path)}
