# SPDX-License-Identifier: GPL-2.0
"""The lab from the command line: python3 -m lab (in tests/)."""

import argparse
import concurrent.futures
import shutil
import sys

from . import LabError, build, cache, hypervisors, image, kernels, sources
from . import suites, tree
from .qemu import Vm
from .xen import Xen


# What a root takes while it is made, with the kernel and Xen of its suite.
ROOT_MIB = 2500


def _setup(options):
    """Make all that is made once: each by itself, beside the others."""
    def kernel(series):
        made = kernels.kernel(series)
        modules = build.modules(series)
        return (f"{series}: {made.version}, {len(modules)} modules of ours" +
                (f"\nlab: {made.moved}" if made.moved else ""))

    def xen(version):
        return f"Xen {version}: {hypervisors.hypervisor(version).xen}"

    cache.directory().mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache.directory()).free >> 20
    missing = [series for series in options.kernel
               if not (cache.directory() / f"root-{series}").exists()]
    if free < len(missing) * ROOT_MIB:
        raise LabError(f"{free} MiB are free in {cache.directory()}, and what "
                       f"is made there for {', '.join(missing)} takes "
                       f"{len(missing) * ROOT_MIB}: make room, or name another "
                       "place with AERATION_CACHE=")
    jobs = [(kernel, series) for series in options.kernel]
    jobs += [(xen, version) for version, series in
             hypervisors.versions().items() if series in options.kernel]
    jobs.append((lambda _: f"checkpatch: {sources.checkpatch()}", None))
    with concurrent.futures.ThreadPoolExecutor(len(jobs)) as pool:
        for line in [pool.submit(*job) for job in jobs]:
            print(line.result())


def _build(options):
    kernels.all_kernels(options.kernel)
    for series in options.kernel:
        for path in build.modules(series):
            print(path)


def _lint(options):
    kernels.all_kernels(options.kernel)
    clean = True
    for series in options.kernel:
        text = build.lint(series)
        print(f"{series}: {text or 'clean'}")
        clean = clean and not text
    return 0 if clean else 1


def _image(_options):
    made = image.image()
    print(f"{made.path}\nsha256 {made.sha256}")


def _kernels(_options):
    for name in tree.FLAVOURS:
        print(f"{name}: {tree.tree_root(name).parent / 'vmlinux'}")


def _boot(options):
    status = 0
    for series in options.kernel:
        with Vm(series, "boot", mem_mib=options.mem, cmdline=options.append,
                machine=options.machine) as vm:
            print(f"booted {series} in {vm.boot_seconds:.1f} s; "
                  f"logs in {vm.logs}")
            status |= _converse(vm, options)
    return status


def _xen(options):
    with Xen(options.version, "boot", dom0_kernel=options.dom0_kernel,
             kernels=options.kernel, hvm=options.kind == "hvm") as xen:
        print(f"booted Xen {options.version} in {xen.boot_seconds:.1f} s; "
              f"logs in {xen.logs}")
        status = 0
        for series in options.kernel:
            guest = xen.domain(series, options.kind, mem_mib=options.mem,
                               cmdline=options.append)
            print(f"booted {series} as {options.kind} domain {guest.id} in "
                  f"{guest.boot_seconds:.1f} s")
            status |= _converse(guest, options)
            guest.finish()
    return status


def _converse(guest, options):
    """Run the commands there are in a guest; return the exit status."""
    status = 0
    commands = options.command
    if not commands:
        commands = (line.rstrip("\n") for line in sys.stdin)
    for command in commands:
        result = guest.run(command, timeout=options.timeout, check=False)
        sys.stdout.write(result.out)
        if result.rc:
            print(f"[status {result.rc}]")
            status = 1
        sys.stdout.flush()
    return status


def _parser():
    parser = argparse.ArgumentParser(prog="python3 -m lab",
                                     description=__doc__.splitlines()[0])
    actions = parser.add_subparsers(required=True, metavar="ACTION")

    def action(name, function, text):
        one = actions.add_parser(name, help=text, description=text)
        one.set_defaults(function=function)
        one.add_argument("--kernel", action="append", metavar="SERIES",
                         choices=suites.KERNELS,
                         help="only this kernel; may be repeated "
                         f"({', '.join(suites.KERNELS)})")
        return one

    action("setup", _setup, "make all build roots and unpack the kernels")
    action("build", _build, "build our modules; print where they are")
    action("lint", _lint, "build with W=1 and with sparse")
    action("image", _image, "make the guest image")
    action("kernels", _kernels, "build the kernels of our own")
    def booting(name, function, text, mem):
        one = action(name, function, text + " and run commands, from the "
                     "arguments or from standard input, one a line")
        one.add_argument("--mem", type=int, default=mem, metavar="MIB",
                         help="guest memory (default %(default)s)")
        one.add_argument("--append", default="", metavar="TEXT",
                         help="more kernel command line")
        one.add_argument("--timeout", type=float, default=300,
                         metavar="SECONDS",
                         help="for each command (default %(default)s)")
        one.add_argument("command", nargs="*", help="shell command")
        return one

    boot = booting("boot", _boot, "boot", 2048)
    boot.add_argument("--machine", choices=("pc", "q35"), default="pc")
    xen = booting("xen", _xen, "boot a domain on Xen", 512)
    versions = tuple(hypervisors.versions())
    xen.add_argument("--version", choices=versions, default=versions[0],
                     help="of Xen (default %(default)s)")
    xen.add_argument("--dom0-kernel", metavar="SERIES", choices=suites.KERNELS,
                     help="of domain 0 (default: Xen's own suite's)")
    xen.add_argument("--kind", choices=("pvh", "pv", "hvm"), default="pvh",
                     help="of domain (default %(default)s); hvm on Xen "
                     f"{', '.join(hypervisors.MODEL_VERSIONS)} only")
    action("clean-cache", lambda _: cache.clean(),
           f"remove the cache ({cache.directory()})")
    return parser


def main():
    """Do what the arguments say; return the exit status."""
    options = _parser().parse_args()
    options.kernel = options.kernel or suites.KERNELS
    try:
        return options.function(options) or 0
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
