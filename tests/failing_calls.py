# SPDX-License-Identifier: GPL-2.0
"""Every call in the product that can fail: what is known of it, and from where.

The modules themselves say what they call: their undefined symbols, of which one that
has no call or jump to it is data, or is called by others. What returns nothing cannot
fail; a kernel says so of its own functions (BTF), and our header of the core's. All
others are in failing_calls.json, with why they cannot fail, or how each is made to.

failing_calls.json:
    as      names of one and the same call on other kernels
    never   {why it cannot fail: calls}
    fails   what test_failing_calls.py makes fail; see there
    others  {call: [how it fails, the test in which it does]}
    hintd   the same three for the daemon: "never", "fails", "others"
"""

import collections
import dataclasses
import functools
import json
import pathlib
import re
import struct
import subprocess

from lab import LabError, cache, kernels

TABLE = pathlib.Path(__file__).with_suffix(".json")
HEADER = cache.REPO / "include/linux/memory_aeration.h"
TIMEOUT = 60	# seconds for nm, or objdump, of a module

# What the modules of the product are called.
MODULES = ("aeration", "aeration_virtio", "aeration_xen", "aeration_hyperv",
           "aeration_loop")

# Debian's kernels have these as modules, or built in.
KERNEL_MODULES = ("virtio", "virtio_ring", "virtio_balloon")


@functools.cache
def table():
    """Return the table."""
    return json.loads(TABLE.read_text(encoding="utf-8"))


@functools.cache
def canonical():
    """Return {name on some kernel: name in the table}."""
    return {other: name for name, others in table()["as"].items() for other in others}


def name_of(symbol):
    """Return what the table calls a symbol."""
    plain = symbol.removesuffix("_noprof")
    return canonical().get(symbol) or canonical().get(plain) or plain


def _lines(*argv):
    return subprocess.run(argv, capture_output=True, text=True, check=True,
                          timeout=TIMEOUT).stdout.splitlines()


def undefined(path):
    """Return the names of what a module, or a program, has from elsewhere."""
    found = set()
    for line in _lines("nm", "-u", path):
        kind, name = line.split()[-2:]
        if kind == "U":
            found.add(name.split("@")[0])
    return found


@dataclasses.dataclass(frozen=True, order=True)
class Site:
    """A place where a module calls something."""

    function: str
    jumps: bool		# it returns to whoever has called the function


_FUNCTION = re.compile(r"^[0-9a-f]+ <(.+)>:$")
_CODE = re.compile(r"^ +[0-9a-f]+:\t(?:(?:cs|ds|notrack|bnd) )*(\S+)")
_REFERS = re.compile(r"^\s+[0-9a-f]+: R_X86_64_(?:PLT32|PC32)\t([\w.]+?)(?:[-+]0x\w+)?$")


def sites(path):
    """Return {symbol: [Site]} of the calls that a module makes directly."""
    found = collections.defaultdict(set)
    function = code = None
    for line in _lines("objdump", "-dr", "--no-show-raw-insn", path):
        if match := _FUNCTION.match(line):
            function = match[1].removesuffix(".cold")
        elif match := _CODE.match(line):
            code = match[1]
        elif (match := _REFERS.match(line)) and code.startswith(("call", "j")):
            found[match[1]].add(Site(function, not code.startswith("call")))
    return {name: sorted(places) for name, places in found.items()}


# BTF: Documentation/bpf/btf.rst. The kinds that matter here, and how many bytes follow
# a type for itself and for each of its members.
_FUNC, _FUNC_PROTO = 12, 13
_MORE = {1: (4, 0), 3: (12, 0), 4: (0, 12), 5: (0, 12), 6: (0, 8), 13: (0, 8),
         14: (4, 0), 15: (0, 12), 17: (4, 0), 19: (0, 12)}


@dataclasses.dataclass
class Btf:
    """What a kernel says of its types, and that of its modules behind it."""

    types: list		# (name, kind, size or type)
    text: bytes

    def add(self, raw):
        """Read a section; return {function: does it return something?}."""
        head, start = struct.unpack_from("<I", raw, 4)[0], len(self.types)
        where, size, text, length = struct.unpack_from("<4I", raw, 8)
        self.text += raw[head + text:head + text + length]
        at, end = head + where, head + where + size
        while at < end:
            name, info, value = struct.unpack_from("<3I", raw, at)
            kind, members = info >> 24 & 31, info & 0xffff
            own, each = _MORE.get(kind, (0, 0))
            self.types.append((name, kind, value))
            at += 12 + own + each * members
        return {self.name(name): self.types[proto][2] != 0
                for name, kind, proto in self.types[start:] if kind == _FUNC}

    def name(self, offset):
        """Return a string of it."""
        return self.text[offset:self.text.index(b"\0", offset)].decode()


def _section(data, wanted):
    start, = struct.unpack_from("<Q", data, 0x28)
    size, count, names = struct.unpack_from("<3H", data, 0x3a)
    heads = [struct.unpack_from("<IIQQQQIIQQ", data, start + number * size)
             for number in range(count)]
    for head in heads:
        name = heads[names][4] + head[0]
        if data[name:data.index(b"\0", name)] == wanted:
            return data[head[4]:head[4] + head[5]]
    return b""


@functools.cache
def returns(series):
    """Return {function of a kernel: does it return something?}."""
    which = kernels.kernel(series)
    raw = _section(which.vmlinux.read_bytes(), b".BTF")
    if not raw:
        raise LabError(f"kernel {series} does not say what its functions return")
    whole = Btf([(0, 0, 0)], b"")
    found = whole.add(raw)
    for name in KERNEL_MODULES:
        for path in which.modules.rglob(f"{name}.ko*"):
            part = Btf(list(whole.types), whole.text)
            found |= part.add(_section(kernels.decompressed(path), b".BTF"))
    return found


@functools.cache
def our_returns():
    """Return the same of what the core exports, by its header."""
    return {name: kind != "void" for kind, name in re.findall(
        r"^(\w+) \*?(aerator_\w+)\(", HEADER.read_text(encoding="utf-8"), re.M)}


def can_fail(series, path):
    """Return {name in the table: [Site]} of what a module calls and that has a result."""
    known = returns(series) | our_returns()
    called = sites(path)
    found = collections.defaultdict(list)
    for symbol in undefined(path) & called.keys():
        # Of what nobody knows it is for the table to say.
        if known.get(symbol, True):
            found[name_of(symbol)] += called[symbol]
    return found


def in_table():
    """Return {name: kinds of entries that it has}."""
    found = collections.defaultdict(set)
    for names in table()["never"].values():
        for name in names:
            found[name].add("never")
    for one in table()["fails"]:
        found[one["call"]].add("fails")
    for name in table()["others"]:
        found[name].add("others")
    return found
