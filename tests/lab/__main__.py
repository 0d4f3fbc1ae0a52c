# SPDX-License-Identifier: GPL-2.0
"""The lab from the command line: python3 -m lab (in tests/)."""

import argparse
import sys

from . import LabError, build, cache, image, kernels, sources, suites
from .qemu import Vm


def _setup(options):
    for kernel in kernels.all_kernels(options.kernel).values():
        print(f"{kernel.series}: {kernel.version}")
    print(f"checkpatch: {sources.checkpatch()}")


def _build(options):
    kernels.all_kernels(options.kernel)
    for series in options.kernel:
        for path in build.modules(series):
            print(path)


def _lint(options):
    kernels.all_kernels(options.kernel)
    clean = True
    for series in options.kernel:
        for name, text in build.lint(series).items():
            print(f"{series} {name}: {'clean' if not text else ''}")
            if text:
                print(text)
                clean = False
    return 0 if clean else 1


def _image(_options):
    made = image.image()
    print(f"{made.path}\nsha256 {made.sha256}")


def _boot(options):
    status = 0
    for series in options.kernel:
        with Vm(series, "boot", mem_mib=options.mem, cmdline=options.append,
                machine=options.machine) as vm:
            print(f"booted {series} in {vm.boot_seconds:.1f} s; "
                  f"logs in {vm.logs}")
            commands = options.command
            if not commands:
                commands = (line.rstrip("\n") for line in sys.stdin)
            for command in commands:
                result = vm.run(command, timeout=options.timeout, check=False)
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
    boot = action("boot", _boot, "boot and run commands, from the arguments "
                  "or from standard input, one a line")
    boot.add_argument("--mem", type=int, default=2048, metavar="MIB",
                      help="guest memory (default %(default)s)")
    boot.add_argument("--append", default="", metavar="TEXT",
                      help="more kernel command line")
    boot.add_argument("--machine", choices=("pc", "q35"), default="pc")
    boot.add_argument("--timeout", type=float, default=300, metavar="SECONDS",
                      help="for each command (default %(default)s)")
    boot.add_argument("command", nargs="*", help="shell command")
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
