"""Names of curves in the right margin, each beside the end of its curve, moved apart where they would overlap."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CHARACTERS = 27
SIZE = 8.0  # points
LINE = 1.3  # line height in units of SIZE
LEADER = {"arrowstyle": "-", "linewidth": 0.6, "alpha": 0.55, "shrinkA": 1, "shrinkB": 4, "relpos": (0, 0.5)}


class Label(NamedTuple):
    """``text`` for the curve that ends at (x, y), in data units; x None is the right edge."""

    text: str
    x: float | None
    y: float
    colour: str


def draw_labels(ax: Axes, labels: list[Label]) -> None:
    """Write the labels beside ``ax``. Fixes the limits of the axes, since the places depend on them."""
    right, height = ax.get_xlim()[1], ax.get_window_extent().height * 72 / ax.figure.dpi
    ax.set_xlim(ax.get_xlim())
    ax.set_ylim(ax.get_ylim())
    texts = [textwrap.fill(label.text, CHARACTERS) for label in labels]
    ends = [(right if label.x is None else label.x, label.y) for label in labels]
    targets = [float(ax.transAxes.inverted().transform(ax.transData.transform(end))[1]) for end in ends]
    sizes = [(text.count("\n") + 1) * SIZE * LINE / height for text in texts]
    for label, text, end, place in zip(labels, texts, ends, spread(targets, sizes), strict=True):
        leader = LEADER | {"color": label.colour}
        ax.annotate(
            safe(text),
            xy=end,
            xytext=(1.03, place),
            textcoords="axes fraction",
            va="center",
            ha="left",
            fontsize=SIZE,
            linespacing=1.1,
            color=label.colour,
            arrowprops=leader,
            annotation_clip=False,
        )


def spread(targets: list[float], sizes: list[float]) -> list[float]:
    """Places as near as possible to ``targets`` such that intervals of ``sizes`` around them do not overlap.

    Groups that touch are merged and centred on the mean of their targets (pool adjacent violators), then kept inside [0, 1]
    where they fit.
    """
    order = np.argsort(targets, kind="stable")
    groups: list[tuple[list[int], float, float]] = []  # members, centre, size
    for index in order:
        members, centre, size = [int(index)], _inside(targets[index], sizes[index]), sizes[index]
        while groups and centre - size / 2 < groups[-1][1] + groups[-1][2] / 2:
            members = groups.pop()[0] + members
            size = sum(sizes[member] for member in members)
            centre = _inside(sum(targets[member] for member in members) / len(members), size)
        groups.append((members, centre, size))
    places = [0.0] * len(targets)
    for members, centre, size in groups:
        edge = centre - size / 2
        for member in members:
            places[member] = edge + sizes[member] / 2
            edge += sizes[member]
    return places


def _inside(centre: float, size: float) -> float:
    return min(max(centre, size / 2), 1 - size / 2) if size < 1 else 0.5


def safe(text: str) -> str:
    """``text`` for matplotlib: formulas between dollar signs where they parse, otherwise the dollar signs themselves."""
    if "$" not in text:
        return text
    from matplotlib.mathtext import MathTextParser

    try:
        MathTextParser("path").parse(text)
    except ValueError:
        return text.replace("$", r"\$")
    return text
