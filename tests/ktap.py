# SPDX-License-Identifier: GPL-2.0
"""Reads KTAP, the kernel's test protocol."""

import re

_RESULT = re.compile(r"^(ok|not ok) (\d+) ?(.*)$", re.M)
_PLAN = re.compile(r"^1\.\.(\d+)$", re.M)


def failures(text):
    """Return what is wrong with the KTAP output `text`, as a list of lines.

    An output with fewer results than its plan says, or with no plan, ended
    early and is wrong as a whole.
    """
    results = _RESULT.findall(text)
    wrong = [f"not ok {number} {name}" for verdict, number, name in results
             if verdict == "not ok"]
    plan = _PLAN.search(text)
    if not plan:
        wrong.append(f"no plan: ended after {len(results)} results")
    elif int(plan[1]) != len(results) or not results:
        wrong.append(f"planned {plan[1]}, got {len(results)} results")
    return wrong


def check(text):
    """Fail with the whole output if anything in it is not ok."""
    wrong = failures(text)
    assert not wrong, "\n".join([*wrong, "", text])
