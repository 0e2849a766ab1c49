"""Panels and traces as figures: styles by role, nothing dropped in silence, labels that do not overlap."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from report_samples import INF, NAN, dimension_claim

from theorysim.findings import Panel, Series
from theorysim.report.figures import draw, panel_csv, render
from theorysim.report.labels import spread


def axes() -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure()
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def test_the_role_fixes_the_style() -> None:
    roles = ("measured", "bound", "predicted", "excluded", "floor", "limit")
    series = tuple(
        Series(role, (1.0, 10.0, 100.0), (y, y, y), role, *(((0.5,) * 3, (2.0,) * 3) if y == 1 else ()))
        for y, role in enumerate(roles, 1)
    )
    ax = draw(Panel("title", "T", "gap", series, window=(5, 50)), axes())
    measured, bound, predicted, excluded, floor, limit = ax.lines
    assert (measured.get_linestyle(), measured.get_marker()) == ("-", "o")
    assert (bound.get_linestyle(), bound.get_marker(), bound.get_color()) == ("-", "None", "#222222")
    assert predicted.is_dashed()
    assert (excluded.get_linestyle(), excluded.get_markerfacecolor()) == ("None", "white")
    assert floor.get_linestyle() == limit.get_linestyle() == ":"
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log") and len(ax.collections) == 1  # one interval
    assert sorted(text.get_text() for text in ax.texts) == sorted(roles)


def test_points_that_cannot_be_drawn_are_counted_and_nothing_else_is_lost() -> None:
    series = Series("a", (1.0, 2.0, 3.0, 4.0), (1.0, 0.0, NAN, 2.0))
    ax = draw(Panel("t", "x", "y", (series, Series("gone", (1.0,), (-1.0,)))), axes())
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[1, 1], [4, 2]])
    assert "(3 points not shown" in ax.get_title("left") and "gone" in ax.get_title("left")
    linear = draw(Panel("t", "x", "y", (series,), log_x=False, log_y=False), axes())
    np.testing.assert_array_equal(linear.lines[0].get_ydata(), [1, 0, 2])


def test_an_endless_interval_does_not_set_the_scale() -> None:
    x = (1.0, 10.0, 100.0)
    ax = draw(Panel("t", "x", "y", (Series("a", x, (1.0, 1.0, 1.0), low=(0.0, 0.5, 0.5), high=(1e100, INF, 2.0)),)), axes())
    assert ax.get_ylim()[0] > 1e-4 and ax.get_ylim()[1] < 1e4


def test_rounding_errors_of_a_constant_are_not_magnified() -> None:
    x = (1.0, 10.0, 100.0)
    for log in (True, False):
        ax = draw(Panel("t", "x", "y", (Series("a", x, (3.0, 3.0 + 1e-9, 3.0)),), log_y=log), axes())
        assert ax.get_ylim()[0] < 2 and ax.get_ylim()[1] > 4
        ax = draw(Panel("t", "x", "y", (Series("a", x, (3.0, 3.1, 3.0)),), log_y=log), axes())
        assert ax.get_ylim()[0] > 2.9 and ax.get_ylim()[1] < 3.2


def test_a_window_is_shaded_where_it_leaves_points_out() -> None:
    series = Series("a", (1.0, 10.0, 100.0), (1.0, 2.0, 3.0))
    for window, patches in (((5.0, 100.0), 1), ((1.0, 100.0), 0), (None, 0)):
        assert len(draw(Panel("t", "x", "y", (series,), window=window), axes()).patches) == patches


def test_a_bound_at_one_place_can_be_seen() -> None:
    ax = draw(Panel("t", "x", "y", (Series("b", (5.0, 5.0), (1.0, 1.0), "bound"),)), axes())
    assert ax.lines[0].get_marker() == "_"


def test_odd_panels_can_be_drawn() -> None:
    one = Series("one", (100.0,), (0.017,), low=(0.014,), high=(0.02,))
    panels = (
        Panel("", "", "", ()),
        Panel("$\\|L\\|_1$ & 5$", "$x", "<y>", (one, Series("b", (100.0,), (0.03,), "bound"), Series("f", (), (1e-3,), "floor"))),
        Panel("t" * 300, "x", "y", tuple(replace(one, label=f"curve {n} " * 9) for n in range(13)), window=(0.0, INF)),
        Panel("far", "x", "y", (Series("far", (1.0, 10.0, 100.0), (1e-3, 1e290, 1e308)),)),
    )
    for n, panel in enumerate(panels):
        ElementTree.fromstring(render(panel, f"odd-{n}")[0])
        assert len(panel_csv(panel).splitlines()) == 1 + sum(max(len(item.x), len(item.y)) for item in panel.series)


def test_long_labels_of_the_y_axis_are_not_cut_off() -> None:
    from matplotlib.image import imread

    panel = Panel("t", "x", "steps to relative accuracy of the last iterate " * 3, (Series("a", (1.0, 2.0), (2.1e-14, 2.3e-14)),))
    pixels = imread(io.BytesIO(render(panel, "wide")[1]))
    assert pixels[:, 0, :3].min() == 1.0 and pixels[:, :60, :3].min() < 0.5


def test_a_figure_is_the_same_each_time_whatever_the_users_settings() -> None:
    import matplotlib

    panel = dimension_claim().finding.parts[0].panels[0]
    first = render(panel, "name")
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.hashsalt": None}):
        assert render(panel, "name") == first
        assert matplotlib.rcParams["font.size"] == 30


def test_labels_keep_their_order_and_do_not_overlap() -> None:
    generator = np.random.default_rng(0)
    for count in (1, 2, 5, 12):
        for _ in range(50):
            targets, sizes = generator.uniform(-0.2, 1.2, count), generator.uniform(0.01, 0.08, count)
            places = np.array(spread(targets.tolist(), sizes.tolist()))
            order = np.argsort(targets)
            low, high = (places - sizes / 2)[order], (places + sizes / 2)[order]
            assert low[0] >= -1e-12 and high[-1] <= 1 + 1e-12 and (low[1:] >= high[:-1] - 1e-12).all()
    assert spread([0.2, 0.8], [0.1, 0.1]) == pytest.approx([0.2, 0.8])
    assert spread([0.5, 0.5], [0.1, 0.1]) == pytest.approx([0.45, 0.55])


def test_a_trace_is_drawn_as_mean_and_range_per_variant() -> None:
    from theorysim.model import Cell, Spec
    from theorysim.report.figures import plot_trace
    from theorysim.trace import Trace

    values = np.array([[9.0, 4.0, 1.0], [9.0, 2.0, 0.5], [9.0, 6.0, 5.0], [9.0, 8.0, 7.0]])
    cell = Cell(Spec("problem", "p"), Spec("algorithm", "a"), steps=10, runs=2)
    steps = np.array([0, 1, 10])
    trace = Trace(
        cell, steps, {"gap": values}, {}, steps, np.full(4, -1), np.array([0, 1, 0, 1]), {"lr": np.array([0.1, 0.1, 0.5, 0.5])}
    )
    ax = plot_trace(trace, "gap", axes())
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[1, 3], [10, 0.75]])
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), [7, 6])
    assert ax.get_title("left") == "a on p"  # the start, which a logarithmic axis cannot show, is not reported as missing
    assert [text.get_text() for text in ax.texts] == ["lr = 0.1", "lr = 0.5"] and len(ax.collections) == 2
