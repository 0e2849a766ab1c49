"""Panels as figures: the role of a series fixes how it is drawn, so that every figure of every report reads alike."""

from __future__ import annotations

import csv
import html
import io
import math
import re
import textwrap
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from theorysim.findings import Panel, Series
from theorysim.report.labels import Label, draw_labels, safe
from theorysim.report.numbers import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

    from theorysim.trace import Trace

# Okabe and Ito's colours, which stay apart for colour-blind readers; markers tell the curves apart in print.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#aa4499", "#56b4e9", "#b8860b")
MARKERS = "osD^vP"
INK, GREY = "#222222", "#777777"
WIDTH, AXES = 7.4, (0.105, 0.62)  # figure width in inches; left edge and width of the axes as fractions of it
MARKERS_PER_CURVE = 16
TITLE = 80  # characters in a line
CONSTANT = 1e-3  # relative range below which a curve counts as constant
EXTREME = 1e150  # beyond it, axes overflow


def draw(panel: Panel, ax: Axes | None = None) -> Axes:
    """Draw a panel into ``ax`` (default: a new figure), with the curves' names in the right margin.

    Points a logarithmic axis cannot show (zero, negative) and points that are not finite are left out and counted in the title.
    """
    ax = _new_axes() if ax is None else ax
    ax.set_xscale("log" if panel.log_x else "linear")
    ax.set_yscale("log" if panel.log_y else "linear")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, which="major", color="#e4e4e4", linewidth=0.6)
    ax.set_axisbelow(True)
    if panel.window and _fits(panel.window, panel.log_x) and _leaves_out(panel.window, panel):
        ax.axvspan(*panel.window, color="#f0e9d2", alpha=0.7, linewidth=0, zorder=0)
    labels = _draw_all(panel, ax)
    for limits, change in ((ax.get_xlim(), ax.set_xlim), (ax.get_ylim(), ax.set_ylim)):
        change(*_wide(*limits, log=panel.log_x if change == ax.set_xlim else panel.log_y))
    if not labels:
        ax.text(0.5, 0.5, "nothing to draw", transform=ax.transAxes, ha="center", va="center", color=GREY)
    ax.set_xlabel(safe(textwrap.fill(panel.x_label, 70)))
    ax.set_ylabel(safe(textwrap.fill(panel.y_label, 38)))
    ax.set_title(safe("\n".join(_title(panel))), loc="left", fontsize="medium", color=INK)
    draw_labels(ax, labels)
    for axis, limits in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
        _plain_ticks(axis, *limits)
    return ax


def _wide(low: float, high: float, log: bool) -> tuple[float, float]:
    """Limits around a constant that differ enough for ticks: rounding errors are not worth a magnified axis."""
    if log:
        return (low, high) if high > low * (1 + CONSTANT) else (low / 3, high * 3)
    size = max(abs(low), abs(high))
    return (low, high) if high - low > CONSTANT * size else (low - size / 2, high + size / 2)


def _title(panel: Panel) -> list[str]:
    """The lines of the title; what cannot be drawn is named, not dropped in silence."""
    left = {item.label: len(_points(item, panel)[0]) for item in panel.series if len(item.x)}
    hidden = sum(len(item.x) for item in panel.series) - sum(len(_points(item, panel)[0]) for item in panel.series)
    missing = [label for label, count in left.items() if not count]
    why = f"not finite, {'not positive, ' if panel.log_x or panel.log_y else ''}or beyond 1e150"
    lost = f"; nothing left of {', '.join(missing)}" if missing else ""
    note = f"({hidden} point{'s' if hidden > 1 else ''} not shown: {why}{lost})"
    return [*textwrap.wrap(panel.title, TITLE), *(textwrap.wrap(note, TITLE) if hidden else [])]


def _plain_ticks(axis: Axis, low: float, high: float) -> None:
    """0.1, 1, 10 instead of powers of ten on a logarithmic axis that stays between 0.001 and 10 000."""
    from matplotlib.ticker import LogFormatter

    class Plain(LogFormatter):
        def __call__(self, x: float, pos: int | None = None) -> str:
            return f"{x:g}" if super().__call__(x, pos) else ""

    if axis.get_scale() == "log" and high <= 2e4 and low >= 7e-4:
        axis.set_major_formatter(Plain())
        axis.set_minor_formatter(Plain(minor_thresholds=(1.6, 0.5)))


def plot_trace(trace: Trace, measure: str = "gap", ax: Axes | None = None) -> Axes:
    """The mean over runs of one measure against steps, a curve per variant, with the range over runs shaded."""
    shown = trace.steps > 0  # a logarithmic axis has no place for the start
    values = trace.split(trace[measure])[:, :, shown]
    x = tuple(trace.steps[shown].astype(float).tolist())
    varying = [(name, trace.split(column)[:, 0]) for name, column in trace.parameters.items()]
    series = []
    for variant, curves in enumerate(values):
        label = ", ".join(f"{name} = {short(column[variant].item(), 3)}" for name, column in varying) or "mean"
        low, high = (tuple(end.tolist()) if trace.cell.runs > 1 else () for end in (curves.min(axis=0), curves.max(axis=0)))
        with np.errstate(all="ignore"):
            series.append(Series(label, x, tuple(curves.mean(axis=0).tolist()), "measured", low, high))
    title = f"{trace.cell.algorithm.name} on {trace.cell.problem.name}"
    return draw(Panel(title, "steps", measure, tuple(series)), ax)


def _new_axes() -> Axes:
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(WIDTH, 3.6), layout="constrained")[1]


def _fits(places: tuple[float, ...], log: bool) -> bool:
    return all(map(math.isfinite, places)) and (not log or min(places) > 0)


def _leaves_out(window: tuple[float, float], panel: Panel) -> bool:
    """Whether some drawn point lies outside the window; shading everything would say nothing."""
    places = np.concatenate([_points(item, panel)[0] for item in panel.series])
    return bool(((places < min(window) * (1 - 1e-9)) | (places > max(window) * (1 + 1e-9))).any())


def _draw_all(panel: Panel, ax: Axes) -> list[Label]:
    """Draw every series; returns the labels of those that have a point."""
    seen: dict[str, int] = {}
    counts = Counter(item.role for item in panel.series)
    labels, bands = [], []
    for item in panel.series:
        index = seen[item.role] = seen.get(item.role, -1) + 1
        colour = _colour(item.role, index, paired=counts[item.role] == counts["measured"] > 1)
        if item.role in ("floor", "limit") and len(set(item.y)) == 1 and _fits(item.y[:1], panel.log_y):
            ax.axhline(item.y[0], color=colour, linewidth=1.1, linestyle=":")
            labels.append(Label(item.label, None, item.y[0], colour))
            continue
        x, y, low, high = _points(item, panel)
        if len(x):
            ax.plot(x, y, color=colour, **_style(item.role, index, x))
            labels.append(Label(item.label, x[-1], y[-1], colour))
        if len(x) and len(low) and len(high):
            bands.append((x, y, low, high, colour))
    _draw_bands(ax, bands)
    return labels


def _colour(role: str, index: int, paired: bool) -> str:
    """Measured curves have the colours; guides (darker, to show on top of them) and excluded points share them."""
    own = COLOURS[index % len(COLOURS)]
    if role == "measured" or (paired and role == "excluded"):
        return own
    if paired and role == "predicted":
        return "#" + "".join(f"{int(own[place : place + 2], 16) // 2:02x}" for place in (1, 3, 5))
    return {"bound": INK, "excluded": COLOURS[0]}.get(role, GREY if role != "predicted" else "#555555")


def _points(item: Series, panel: Panel) -> tuple[NDArray[np.float64], ...]:
    """x, y, low, high of the points that can be drawn, in the order of x; low and high are empty if there is no interval."""
    columns = [np.asarray(values, dtype=float) for values in (item.x, item.y, item.low, item.high)]
    x, y = columns[:2]
    kept = np.ones(len(x), dtype=bool)
    for values, log in ((x, panel.log_x), (y, panel.log_y)):
        kept &= (np.abs(values) < EXTREME) & ((values > 1 / EXTREME) | (not log))
    order = np.flatnonzero(kept)[np.argsort(x[kept], kind="stable")]
    return tuple(column[order] if len(column) else column for column in columns)


def _style(role: str, index: int, x: NDArray[Any]) -> dict[str, Any]:
    marker = MARKERS[index % len(MARKERS)]
    lone = {"marker": "_", "markersize": 16, "markeredgewidth": 1.6} if x[0] == x[-1] else {}  # a line needs two places
    every = max(1, math.ceil(len(x) / MARKERS_PER_CURVE))
    styles: dict[str, dict[str, Any]] = {
        "measured": {"linewidth": 1.5, "marker": marker, "markersize": 4.5, "markevery": every, "zorder": 4},
        "bound": {"linewidth": 1.9, "zorder": 3, **lone},
        "predicted": {"linewidth": 1.3, "dashes": (5, 2.5), "zorder": 5, **lone},
        "excluded": {"linestyle": "none", "marker": marker, "markersize": 5.5, "markerfacecolor": "white", "zorder": 4},
    }
    return styles.get(role, {"linewidth": 1.1, "linestyle": ":", **lone})


def _draw_bands(ax: Axes, bands: list[tuple[Any, ...]]) -> None:
    """Shade the intervals. An endless one may not set the scale: it widens the axis by a factor of 100 at most."""
    log = ax.get_yscale() == "log"
    for x, y, low, high, _ in bands:
        for end in (np.clip(low, y / 100, None), np.clip(high, None, y * 100)) if log else (low, high):
            finite = np.isfinite(end)
            ax.update_datalim(np.column_stack((x[finite], end[finite])))
    ax.autoscale_view()
    bottom, top = ax.get_ylim()
    if bands:
        ax.set_ylim(bottom, top)
    for x, _, low, high, colour in bands:
        ends = np.clip(np.nan_to_num(low, nan=bottom), bottom, top), np.clip(np.nan_to_num(high, nan=top), bottom, top)
        if len(x) == 1:
            ax.plot(np.repeat(x, 2), np.concatenate(ends), color=colour, linewidth=1.5, alpha=0.6)
        else:
            ax.fill_between(x, *ends, color=colour, alpha=0.18, linewidth=0)


@contextmanager
def _house_style(name: str) -> Iterator[None]:
    """matplotlib's own defaults, whatever the user's settings; ids in the SVG depend on ``name`` only."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"svg.hashsalt": name, "svg.fonttype": "path", "font.size": 9, "axes.linewidth": 0.7})
        yield


def render(panel: Panel, name: str) -> tuple[str, bytes]:
    """The panel as SVG text and as PNG bytes, the same for the same panel and name."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with _house_style(name):
        height = max(3.4, 0.9 + 0.27 * len(panel.series))
        figure: Figure = Figure(figsize=(WIDTH, height), dpi=160)
        top = 0.2 + 0.17 * len(_title(panel))
        ax = draw(panel, figure.add_axes((AXES[0], 0.5 / height, AXES[1], 1 - (0.5 + top) / height)))
        canvas: Any = FigureCanvasAgg(figure)
        _make_room(ax, figure, canvas.get_renderer())
        vector, pixels = io.StringIO(), io.BytesIO()
        figure.savefig(vector, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
        figure.savefig(pixels, format="png", metadata={"Software": None})
    return vector.getvalue(), pixels.getvalue()


def _make_room(ax: Axes, figure: Figure, renderer: Any) -> None:
    """Move the left edge of the axes to the right where the labels of the y axis would be cut off."""
    box, place = ax.yaxis.get_tightbbox(renderer), ax.get_position()
    lack = 0.0 if box is None else 0.01 - box.x0 / figure.bbox.width
    if lack > 0:
        ax.set_position((place.x0 + lack, place.y0, place.width - lack, place.height))


def inline(svg: str, name: str, description: str) -> str:
    """An SVG for the inside of a page: no prolog, scales with the page, ids that no other figure has."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'\bid="', f'id="{name}.', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}.", svg)
    head, body = svg.split(">", 1)
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{html.escape(description)}">{body}'


def panel_csv(panel: Panel) -> str:
    """The plotted numbers, one line per point: series, role, x, y, low, high, with all digits."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("series", "role", "x", "y", "low", "high"))
    for item in panel.series:
        for point in zip_longest(item.x, item.y, item.low, item.high, fillvalue=""):
            writer.writerow((item.label, item.role, *point))
    return buffer.getvalue()
