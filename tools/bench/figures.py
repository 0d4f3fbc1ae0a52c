# SPDX-License-Identifier: GPL-2.0
"""Samples to figures, figures to tables; nothing here measures anything.

A figure is a dict of `median`, `min` and `max` over rounds.  What is not
measured in rounds is a plain value.
"""

import statistics

# Digits that a figure is kept with: more are noise.
DIGITS = 4


def rounded(value):
    """Return a number with DIGITS significant digits."""
    return float(f"{value:.{DIGITS}g}")


def figure(samples):
    """Return the figure of numbers, one from each round."""
    if not samples:
        raise ValueError("no samples: nothing was measured")
    return {"median": rounded(statistics.median(samples)),
            "min": rounded(min(samples)), "max": rounded(max(samples))}


def figures(rounds):
    """Return {name: figure} of the rounds' samples, dicts with equal keys."""
    if not rounds:
        raise ValueError("no rounds: nothing was measured")
    names = set(rounds[0])
    for one in rounds:
        if set(one) != names:
            raise ValueError("rounds with different samples: "
                               f"{sorted(names ^ set(one))}")
    return {name: figure([one[name] for one in rounds]) for name in rounds[0]}


def ratios(samples, name, mine, theirs=None):
    """Return {name: ours over stock's, name_250: over stock's at 250 ms}.

    The latter only where it was measured. `mine` is what was, "ours_MINE" in the
    samples; `theirs` is what it is divided by, if that has another name.
    """
    theirs = theirs or mine
    return {name + suffix: samples[f"ours_{mine}"] /
            samples[f"stock{suffix}_{theirs}"]
            for suffix in ("", "_250") if f"stock{suffix}_{theirs}" in samples}


def is_figure(value):
    """Return whether a value of a result file is a figure."""
    return isinstance(value, dict) and {"median", "min", "max"} <= set(value)


def spread(one):
    """Return a figure's range as text."""
    return f"{one['min']:g} .. {one['max']:g}"


def table(rows):
    """Return rows of cells as aligned lines; the first row is the heading.

    The first column is flush left, all others flush right.
    """
    widths = [max(len(str(row[column])) for row in rows)
              for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [str(row[0]).ljust(widths[0])]
        cells += [str(cell).rjust(width)
                  for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def result_table(results, goals):
    """Return the table of a benchmark's results.

    `goals` are texts by key, shown beside the figure that they are for.
    """
    rows = [("", "median", "min .. max", "goal")]
    rows += [(key, f"{value['median']:g}", spread(value), goals.get(key, ""))
             for key, value in results.items() if is_figure(value)]
    return table(rows)


def apart(old, new):
    """Return whether two figures' ranges have nothing in common."""
    return old["max"] < new["min"] or new["max"] < old["min"]


def comparison(old, new):
    """Return the table that compares two results.

    Figures whose ranges do not overlap are marked: between those there is
    more than the spread of the rounds.
    """
    rows = [("", "old", "new", "new/old", "")]
    for key in [*old, *(key for key in new if key not in old)]:
        was, now = old.get(key), new.get(key)
        if any(isinstance(value, dict) and not is_figure(value)
               for value in (was, now)):
            continue	# not for a table: what the figures are made of
        if is_figure(was) and is_figure(now):
            change = (f"{now['median'] / was['median']:.2f}"
                      if was["median"] else "")
            rows.append((key, f"{was['median']:g} ({spread(was)})",
                         f"{now['median']:g} ({spread(now)})", change,
                         "*" if apart(was, now) else ""))
        elif was != now:
            rows.append((key, *("-" if value is None else
                                f"{value['median']:g} ({spread(value)})"
                                if is_figure(value) else value
                                for value in (was, now)), "", ""))
    return table(rows)
