# SPDX-License-Identifier: GPL-2.0
"""Pictures of figures and of curves, drawn by gnuplot."""

import toolkit
from toolkit import data_block

# Ours, stock, and what is neither.
COLORS = ("#0060ad", "#dd181f", "#5e9c36", "#777777")

HEAD = """
set terminal pngcairo size {width},{height} font "sans,11"
set output "{path}"
set multiplot layout 1,{count} title "{title}"
set grid ytics
set key below
"""

# Room of a panel in the picture, and what a title needs, pixels.
PANEL_WIDTH = 480
PANEL_HEIGHT = 480
WIDTH_MIN = 800

# Part of the room between two groups that its bars fill.
FILLED = 0.8

BARS = """
set title "{title}"
set ylabel "{unit}"
set xtics ({tics})
set xrange [-0.6:{end}]
set yrange [0:*]
set offsets 0, 0, graph 0.2, 0
set style fill solid 0.7
set boxwidth {width}
plot {plots}
"""

CURVES = """
set title "{title}"
set xlabel "{xlabel}"
set ylabel "{unit}"
set xtics auto
set xrange [{begin}:{end}]
set yrange [0:*]
plot {plots}
"""


def escaped(text):
    """Return text that gnuplot does not take for markup."""
    return text.replace("_", "\\\\_")


def bars(number, title, unit, groups):
    """Return the script of a panel with bars for figures, and their range.

    `groups` is {group: {name: figure}}; each group has the same names.
    """
    names = list(next(iter(groups.values())))
    width = FILLED / len(names)
    blocks, plots = "", []
    for column, name in enumerate(names):
        block = f"panel{number}_{column}"
        lines = []
        for place, figure in enumerate(one[name] for one in groups.values()):
            x = place + (column - (len(names) - 1) / 2) * width
            lines.append(f"{x:.3f} {figure['median']:.6g} "
                         f"{figure['min']:.6g} {figure['max']:.6g}")
        blocks += f"${block} << EOD\n" + "\n".join(lines) + "\nEOD\n"
        color = COLORS[column % len(COLORS)]
        plots += [f'${block} using 1:2 with boxes linecolor "{color}" '
                  f'title "{escaped(name)}"',
                  f'${block} using 1:2:3:4 with yerrorbars linecolor "black" '
                  'pointtype 0 notitle']
    tics = ", ".join(f'"{escaped(group)}" {place}'
                     for place, group in enumerate(groups))
    return blocks, BARS.format(title=escaped(title), unit=unit, tics=tics,
                               end=len(groups) - 0.4, width=width * 0.95,
                               plots=", \\\n     ".join(plots))


def curves(number, title, unit, lines):
    """Return the script of a panel with curves; {name: [(seconds, y)]}."""
    blocks, plots = "", []
    for column, (name, points) in enumerate(lines.items()):
        blocks += data_block(f"panel{number}_{column}", points)
        plots.append(f"$panel{number}_{column} with lines linewidth 2 "
                     f'linecolor "{COLORS[column % len(COLORS)]}" '
                     f'title "{escaped(name)}"')
    return blocks, CURVES.format(
        title=escaped(title), unit=unit, xlabel="Time (s)",
        begin=min(points[0][0] for points in lines.values()),
        end=max(points[-1][0] for points in lines.values()),
        plots=", \\\n     ".join(plots))


def draw(name, title, *panels):
    """Draw panels beside each other to build/results/bench-NAME.png.

    A panel is (kind, title, unit, what to show), kind being bars or curves.
    """
    path = toolkit.RESULTS / f"bench-{name}.png"
    scripts = [kind(number, *rest)
               for number, (kind, *rest) in enumerate(panels)]
    head = HEAD.format(width=max(WIDTH_MIN, PANEL_WIDTH * len(panels)),
                       height=PANEL_HEIGHT, path=path, count=len(panels),
                       title=escaped(title))
    toolkit.plot("".join(blocks for blocks, _ in scripts) + head +
                 "".join(script for _, script in scripts) +
                 "unset multiplot\n", path)
