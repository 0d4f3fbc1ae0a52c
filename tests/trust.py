# SPDX-License-Identifier: GPL-2.0
"""What there is to show of trust, as a text: `make trust`.

Adversaries and what comes of each; proofs, with bounds, time and the mutants that each
finds; the calls that can fail; the faults that tests find; what the soak has seen; the
sentences of docs/security.md and their tests. What was run here is in build/results.
"""

import collections
import json

import failing_calls
import results
import test_mutants
import test_proofs
import test_security


def table(head, rows):
    """Return a table's lines."""
    return [" | ".join(map(str, row)).join(("| ", " |"))
            for row in (head, ["---"] * len(head), *rows)]


def text_of(path):
    """Return what a file of the tree has."""
    return path.read_text(encoding="utf-8")


def adversaries():
    """Return the tables of docs/security.md."""
    return test_security.sections(text_of(test_security.DOCUMENT))["Adversaries"] \
        .strip().splitlines()


def proofs():
    """Return a row for each run of a model, and for each enumeration."""
    known, rows, proven = results.noted("proofs"), [], test_proofs.table()
    for name, model in proven["models"].items():
        for run in model["runs"]:
            found = [one["name"] for one in model["mutants"] if one["run"] == run["name"]]
            rows.append((f"{name} {run['name']}", run["bound"], ", ".join(found)))
    for name, one in proven["enumerations"].items():
        rows.append((name, one["bound"], ", ".join(
            mutant["name"] for mutant in one["mutants"])))
    return table(("proof", "bound", "cases or states", "s", "finds"), [
        (name, bound, known.get(name, {}).get("cases", "not run here"),
         known.get(name, {}).get("seconds", ""), found) for name, bound, found in rows])


def calls():
    """Return a row for each call that can fail, and how it is made to."""
    known = failing_calls.table()
    rows = [(one["call"], one["in"], one["at"], one["then"]) for one in known["fails"]]
    rows += [(one["call"], "hintd", one["at"], one["then"])
             for one in known["hintd"]["fails"]]
    for where, others in (("the modules", known["others"]),
                          ("hintd", known["hintd"]["others"])):
        rows += [(call, where, how, test) for call, (how, test) in others.items()]
    return table(("call", "of", "at", "then, or the test"), rows)


def mutants():
    """Return a row for each mutant, and how many were found."""
    known, rows, count = results.noted("mutants"), [], collections.Counter()
    for name, one in test_mutants.named().items():
        found = known.get(name, {}).get("found_by", "not tried here")
        count[found if found in ("nobody", "not tried here") else "found"] += 1
        rows.append((name, one["kind"], found, one.get("missed", "")))
    return [", ".join(f"{number} {what}" for what, number in sorted(count.items())), "",
            *table(("mutant", "kind", "found by", "why by nobody"), rows)]


def soaks():
    """Return each place's table."""
    lines = []
    for path in sorted(results.FOLDER.glob("soak-*.json")):
        soak = json.loads(text_of(path))
        lines += [f"{path.stem}, SEED={soak['seed']}", "", *table(
            soak["looks"][0], [row.values() for row in soak["looks"]]), ""]
    return lines or ["none was run here"]


def sentences():
    """Return a row for each sentence, with the tests that show it."""
    rows = []
    for title, body in test_security.sections(text_of(test_security.DOCUMENT)).items():
        if title in (*test_security.TOLD, test_security.NOT_SHOWN, "Adversaries"):
            continue
        rows += [(test_security.BRACKET.sub("", claim).replace("|", ",").strip(" .,"),
                  ", ".join(": ".join(one) for one in test_security.named(claim)))
                 for claim in test_security.claims(body)]
    return table(("sentence", "shown by"), rows)


PARTS = {
    "Adversaries": adversaries, "Proofs": proofs, "Calls that can fail": calls,
    "Faults that tests find": mutants, "Soak": soaks,
    "Sentences of docs/security.md": sentences,
}


def report():
    """Return all of it."""
    lines = ["# Trust"]
    for title, part in PARTS.items():
        lines += ["", f"## {title}", "", *part()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(report(), end="")
