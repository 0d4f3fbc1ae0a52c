# SPDX-License-Identifier: GPL-2.0
"""What tests leave in build/results, one entry each, whichever process they run in."""

import json

from lab import cache

FOLDER = cache.BUILD / "results"


def noted(kind):
    """Return {name: what was noted} of a kind."""
    path = FOLDER / f"{kind}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def note(kind, name, **what):
    """Note something, in place of what was noted under that name before."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with cache.locked(FOLDER / f".{kind}.lock", f"what is noted of {kind}"):
        known = {**noted(kind), name: what}
        partial = FOLDER / f"{kind}.json.partial"
        partial.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n",
                           encoding="utf-8")
        partial.rename(FOLDER / f"{kind}.json")
