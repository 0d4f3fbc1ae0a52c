# SPDX-License-Identifier: GPL-2.0
"""docs/security.md: each sentence ends with a test that shows it, and the test is there.

What no test shows stands in the last section, with the reason. Whether a test shows what
the sentence says, nobody but a reader can tell.
"""

import re

import pytest

from lab import cache

DOCUMENT = cache.REPO / "docs" / "security.md"
TESTS = cache.REPO / "tests"

# Sections that say who is who, and what to do.
TOLD = ("Who is trusted with what", "How to report a hole")

# The last one: what is claimed and not shown.
NOT_SHOWN = "What no test shows"

HOSTS = "What a hostile host can do to the guest"
HARM = ("confidentiality", "availability")

# What each backend's host is called there; and who else has a say.
BACKENDS = {"virtio": "virtio device", "xen": "Xen", "hyperv-stub": "Hyper-V",
            "loop": "loop"}
OTHERS = ("hintd", "domain 0's xenstore")

# "[test_evil.py::test_lying_device, ...]" or "[hold.sh: words of a line]".
BRACKET = re.compile(r"\[([^][]+)\]")
FUNCTION = re.compile(r"^def (test_\w+)\(", re.M)
LINE = re.compile(r'\b(?:check|refuse [A-Z]+|report "[^"]*") "((?:[^"\\]|\\.)*)"')
RULE = re.compile(r"[|: -]+")


def sections(text, level="##"):
    """Return {title: what is below it} of the headings of a level."""
    parts = re.split(rf"^{level} (.+)\n", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def claims(body):
    """Return the sentences of a section, and the rows of its tables, each on a line."""
    found = []
    for part in re.split(r"\n\s*\n|\n(?=- )", body):
        lines = [line for line in part.splitlines() if not line.startswith("#")]
        if lines and lines[0].startswith("|"):
            # The first is the head, the second draws a line below it.
            assert len(lines) > 2 and RULE.fullmatch(lines[1]), lines[:2]
            found += [line.strip("| ") for line in lines[2:]]
        else:
            text = " ".join(" ".join(lines).split()).removeprefix("- ")
            found += [one for one in re.split(r"(?<=[.!?]) ", text) if one]
    return found


def named(claim):
    """Return what a claim names: (file, test function or words of a line)."""
    found = []
    for inside in BRACKET.findall(claim):
        for one in inside.split(", ") if "::" in inside else [inside]:
            file, _, what = one.partition("::" if "::" in one else ": ")
            found.append((file, what))
    return found


def is_there(file, what):
    """Is there such a test, or a script that prints such a line?"""
    if file.endswith(".sh"):
        path, known = TESTS / "kselftest" / file, LINE
    else:
        path, known = TESTS / file, FUNCTION
    return path.parent in (TESTS, TESTS / "kselftest") and path.is_file() and \
        what in known.findall(path.read_text(encoding="utf-8"))


def faults(text):
    """Return what is wrong with the document, a line each."""
    found, parts = [], sections(text)
    for title, body in parts.items():
        for claim in claims(body) if title not in (*TOLD, NOT_SHOWN) else ():
            if not re.search(r"\]\.?$", claim):
                found.append(f"no test at the end: {claim}")
            found += [f"no such test: {file} {what}" for file, what in named(claim)
                      if not is_there(file, what)]
    if list(parts)[-1:] != [NOT_SHOWN]:
        found.append(f"the last section is not: {NOT_SHOWN}")
    for item in re.split(r"^- ", parts.get(NOT_SHOWN, ""), flags=re.M)[1:]:
        if " Why: " not in " ".join(item.split()):
            found.append(f"no reason: {item.splitlines()[0]}")
    return found


@pytest.fixture(name="text")
def the_text():
    """The document."""
    return DOCUMENT.read_text(encoding="utf-8")


def test_each_sentence_has_a_test(text):
    """Each sentence and each row ends with a test that is there."""
    parts = sections(text)
    assert set(TOLD) < set(parts)
    assert sum(len(named(claim)) for body in parts.values() for claim in claims(body)) > 100
    assert not faults(text)


def test_each_backend_is_in_it(text):
    """Of each backend, what its host can do: to what is secret, and to what has to go on."""
    there = {path.name for path in (cache.REPO / "backends").iterdir() if path.is_dir()}
    assert there == set(BACKENDS)
    hosts = sections(sections(text)[HOSTS], "###")
    assert set(hosts) == {f"{name}: {harm}" for harm in HARM
                          for name in (*BACKENDS.values(), *OTHERS)}
    assert all(claims(body) for body in hosts.values())


def test_nobody_is_sent_to_a_mail_host_that_is_none(text):
    """How to report a hole names who packaged it, by the field that has them."""
    told = sections(text)["How to report a hole"]
    assert "@" not in told and "`Maintainer`" in told
    control = (cache.REPO / "debian/control").read_text(encoding="utf-8")
    assert re.search(r"^Maintainer: \S", control, re.M)


# A document of which nothing is wrong, and what is wrong once a part of it is another.
GOOD = """# Title

Nobody looks here.

## Who is trusted with what

Nobody, with nothing.

## What a hostile guest can do

### To hintd

Nothing [test_hintd_parts.py::test_fuzz,
test_hintd_parts.py::test_parts]. Nor 0.5 s later
[hold.sh: a durable device runs] [hold.sh: $mode: but does not spin].

- It can ask [test_hintd.py::test_life].

| what | bound | shown by |
|---|---|---|
| it | 3 s | [test_evil.py::test_lying_device] |

## What no test shows

- That it is good. Why: it is
  not.
"""

BAD = {
    "a function that is not there": (
        "test_parts]", "test_parts_of_it]",
        ["no such test: test_hintd_parts.py test_parts_of_it"]),
    "a part of a name": (
        "::test_life", "::test_lif", ["no such test: test_hintd.py test_lif"]),
    "a file that is not there": (
        "[test_evil.py", "[test_good.py", ["no such test: test_good.py test_lying_device"]),
    "a file elsewhere": (
        "[test_evil.py", "[lab/../test_evil.py",
        ["no such test: lab/../test_evil.py test_lying_device"]),
    "a line that no script prints": (
        "a durable device runs", "a durable device walks",
        ["no such test: hold.sh a durable device walks"]),
    "no test": ("Nor 0.5", "It may. Nor 0.5", ["no test at the end: It may."]),
    "a test in the middle only": (
        "does not spin].", "does not spin], and more.",
        ["no test at the end: Nor 0.5 s later [hold.sh: a durable device runs] "
         "[hold.sh: $mode: but does not spin], and more."]),
    "no test, and a small letter after it": (
        "Nor 0.5", "It may. nor 0.5", ["no test at the end: It may."]),
    "an item without one": (
        "- It can ask", "- It can.\n- It can ask", ["no test at the end: It can."]),
    "a row without one": (
        "| it | 3 s |", "| you | 2 s | |\n| it | 3 s |", ["no test at the end: you | 2 s"]),
    "words before a list": (
        "\n- It can ask", "\nIt can:\n\n- It can ask", ["no test at the end: It can:"]),
    "a section that nobody knows": (
        "## What no", "## More\n\nMore.\n\n## What no", ["no test at the end: More."]),
    "no reason": (" Why:", " Because:", ["no reason: That it is good. Because: it is"]),
    "another last section": (
        "- That it is", "## More\n\n- That it is",
        ["no test at the end: That it is good.", "no test at the end: Why: it is not.",
         f"the last section is not: {NOT_SHOWN}"]),
}


def test_nothing_is_wrong_with_a_good_one():
    """The judge finds nothing where there is nothing."""
    assert not faults(GOOD)
    assert len([one for part in sections(GOOD).values() for claim in claims(part)
                for one in named(claim)]) == 6


@pytest.mark.parametrize("how", BAD)
def test_the_judge_can_fail(how):
    """It finds what is wrong, and says what."""
    before, after, wanted = BAD[how]
    assert GOOD.count(before) == 1
    assert faults(GOOD.replace(before, after)) == wanted


def test_all_can_be_shown():
    """`make trust` has a part of each kind, with what was not run here, too."""
    import trust	# it needs this module
    parts = sections(trust.report())
    assert set(parts) >= set(trust.PARTS)
    assert all(body.strip() for body in parts.values())
