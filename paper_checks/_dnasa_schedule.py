"""The weights and the step lengths that D-NASA uses, read off its trajectory, against their formulas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from theorysim.analyses.band import band
from theorysim.analyses.invariance import invariance
from theorysim.findings import Finding, Table, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Spec
from theorysim.paper_checks._dnasa_paper import D_NASA, PAPER, Floats, instance, schedule
from theorysim.registry import algorithm, claim

_PLACES = ("coordinate:0", "coordinate:1")
_SIZES = ((1, 1000), (1, 64_000), (4, 16_000), (8, 1000), (8, 4000), (16, 64_000), (64, 16_000), (8, 8), (8, 5), (64, 16))


def read(lab: Lab, where: Spec, method: Spec) -> tuple[Floats, float]:
    """The lengths of three steps, and alpha: without noise, from one point and with the same functions, agents stay together.

    z_0 = z_1 = g_0, z_2 = (1 - alpha) g_0 + alpha g_1 with g_t the gradient at x_t, and x_3 - x_2 is along -z_2; in the plane
    that leaves one alpha. ``where``: two-dimensional, with the gradient x/(1 + x^2)^2 in units of L. [derived]
    """
    trace = lab.run(Cell(where, method, 3, 1, _PLACES, (0, 1, 2, 3)))
    x = np.stack([trace[name][0] for name in _PLACES], axis=1)
    moves, gradients = np.diff(x, axis=0), x / (1 + x * x) ** 2
    first, second = (_cross(gradients[t], moves[2]) for t in (0, 1))
    return np.linalg.norm(moves, axis=1), first / (first - second) if first != second else np.nan


def _cross(a: Floats, b: Floats) -> float:
    return float(a[0] * b[1] - a[1] * b[0])


def wrong(m: int, horizon: int, names: Sequence[str]) -> dict[str, float]:
    """The hyper-parameters of a schedule that is not scaled as it should be."""
    values = {
        "alpha without m": ("alpha", horizon**-0.5),
        "gamma without m": ("gamma", horizon**-0.75),
        "alpha fixed": ("alpha", 0.1),
        "no average": ("alpha", 1.0),
    }
    return dict(values[name] for name in names)


@claim(
    PAPER,
    source="the authors' public code (source, restated), with alpha_0 = gamma_0 = 1; how it is read derived",
    kind="identity",
    statement=r"\alpha=\min\big(1,\sqrt{n/T}\big),\qquad\gamma=\frac{n^{1/4}}{T^{3/4}}",
    assumptions="m = 1 to 64, T = 5 to 64000, the clip at T < m included; L = 0.01, 1, 100; complete graph and ring. Numbers "
    "that the trajectory itself shows, to the accuracy that differences of its points have.",
    controls=[
        Control({"names": ("alpha without m",)}, "alpha = T^(-1/2) does not grow with the agents"),
        Control({"names": ("gamma without m",)}, "gamma = T^(-3/4) does not grow with the agents; slopes do not show it"),
        Control({"names": ("alpha fixed",)}, "alpha = 0.1 whatever the horizon; a wide band of slopes does not show it"),
        Control({"names": ("no average",)}, "alpha = 1: no moving average"),
        Control({"start": "zero"}, "from z = 0 the first step does not move"),
    ],
)
def schedule_is_free_of_the_problem(lab: Lab, names: Sequence[str] = (), start: str = "fresh") -> Finding:
    """The moving average and the steps follow from the number of agents and of steps alone."""
    rows: list[tuple[Any, ...]] = []
    for m, horizon in _SIZES:
        method = algorithm(D_NASA, horizon=horizon, start=start, **wrong(m, horizon, names))
        for L, graph in ((1.0, "complete"), (0.01, "ring"), (100.0, "ring"))[: None if m > 2 else 1]:
            lengths, weight = read(lab, instance(m, graph, dim=2, L=L, start=[1.0, 0.4]), method)
            alpha, gamma = schedule(m, horizon)
            rows.append((m, horizon, L, graph, weight, weight / alpha, *(lengths / gamma)))
    found = np.array([row[5:] for row in rows])
    columns = ("m", "T", "L", "graph", "alpha", "alpha / its formula", *(f"step {t} / gamma" for t in (1, 2, 3)))
    parts = [
        band(found[:, 0], 1 - 1e-6, 1 + 1e-6, label="alpha / its formula", predicted=1.0),
        band(found[:, 1:], 1 - 1e-9, 1 + 1e-9, label="length of a step / gamma", predicted=1.0),
    ]
    if not names and start == "fresh":
        parts.append(_same_run(lab))
    return together(*parts, label="schedule", tables=(Table("Schedules, as read", columns, tuple(rows)),))


def _same_run(lab: Lab) -> Finding:
    """With noise, on a ring: the run is the one with these two numbers given."""
    m, horizon = 12, 300
    alpha, gamma = schedule(m, horizon)
    where, names = instance(m, "ring", sigma=1.0, zeta=5.0, L=3.0), (*_PLACES, "disagreement", "gap")
    free, given = algorithm(D_NASA, horizon=horizon), algorithm(D_NASA, horizon=horizon, alpha=alpha, gamma=gamma)
    one, other = lab.run_all(Cell(where, each, horizon, 2, names, "log") for each in (free, given))
    return invariance(one, other, measures=names, tolerance=1e-12, label="the run with the numbers of the formulas")
