"""A wrong condition number: still exponential, at a known speed-up over gradient descent (P3)."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any, NamedTuple

import numpy as np

from theorysim.analyses.band import band
from theorysim.analyses.slope import slope
from theorysim.findings import Finding, Panel, Series, Table, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control
from theorysim.paper_checks._pamfcn_paper import (
    EXPLICIT,
    HEAVY_BALL,
    NAG,
    PAPER,
    Floats,
    decay_cell,
    descent_rate,
    geometric,
    method,
    nag_rate,
    rates,
    says_nothing,
)
from theorysim.registry import algorithm, claim
from theorysim.trace import Trace

_LAW = (
    r"\max_q|\varphi_T(q)|\approx\rho(\kappa^{-1})^T,\quad-\ln\rho(\kappa^{-1})=\mathrm{artanh}\,\kappa_a^{-1/2}"
    r"-\tfrac12\ln(1-\kappa^{-1})\ (\kappa_a\ge\kappa),\quad1-\rho(\kappa^{-1})"
    r"\ge\tfrac12(\sqrt{\kappa_a}+1)\,\kappa^{-1}\ (\kappa_a<\kappa)"
)


class Guess(NamedTuple):
    """A condition number and the assumed one, as a multiple. ``stepwise``: run step by step, not by exact powers."""

    kappa: float
    times: float
    stepwise: bool

    @property
    def assumed(self) -> float:
        return self.kappa * self.times

    @property
    def horizon(self) -> int:
        """Long enough for the slowest direction to show its rate; the double root has a polynomial factor to outgrow."""
        return ceil((60 if self.times == 1 else 30) / float(nag_rate(1 / self.kappa, self.assumed)))

    def cell(self, lr: float) -> Cell:
        """Exact powers are looked at where E(t) is read, over longer than an oscillation: every look costs as much as a stage."""
        windows = ((0.5, 1.0, 1200),) if self.stepwise else ((0.5, 0.52, 150), (0.98, 1.0, 150))
        looks = np.concatenate([np.linspace(low * self.horizon, high * self.horizon, count) for low, high, count in windows])
        steps = np.unique(np.floor(looks).astype(int))
        instance = geometric(self.kappa, 400 if self.stepwise else 9)
        measure = ("distance:inf",) if self.stepwise else ("square_distance",)
        spec = method(NAG, self.assumed, lr=f"{lr!r}/lambda_max")
        return Cell(instance, spec, self.horizon, 1, measure, tuple(steps.tolist()), exact=not self.stepwise)


def measured_rate(trace: Trace) -> float:
    """Slope of ln E from T/2 to .98 T, E(t) the largest error of a direction from t on: directions oscillate.

    Of an exact cell, which holds sums, the root of the sum of squares stands for the largest."""
    table = trace["square_distance"] ** 0.5 if trace.cell.exact else trace["distance:inf"]
    future = np.maximum.accumulate(table[0, ::-1])[::-1]
    later = trace.steps >= trace.steps[-1] // 2
    steps, errors = trace.steps[later], np.log(future[later])
    last = int(np.searchsorted(steps, 0.98 * steps[-1]))
    return float((errors[0] - errors[last]) / (steps[last] - steps[0]))


def _guesses(lab: Lab) -> list[Guess]:
    """kappa_a/kappa from 1e-4 to 1e8 at kappa = 1e4, from 1e-2 on at kappa = 1e2."""
    times, longest = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 1e2, 1e4, 1e6, 1e8), lab.pick(quick=20_000, full=10**6)
    found = [Guess(kappa, each, True) for kappa in (1e2, 1e4) for each in times if kappa * each >= 1]
    return [each._replace(stepwise=each.horizon <= longest) for each in found]


@claim(
    PAPER,
    source=f"abstract: exponential convergence with a mis-estimated condition number (source); constants derived, {EXPLICIT}",
    kind="rate",
    statement=_LAW,
    assumptions="Geometric spectra, kappa = 1e2, 1e4, kappa_a/kappa = 1e-4 ... 1e8 with kappa_a >= 1; slope from T/2 to .98 T of "
    "ln E(t), E(t) = max over t' >= t and over q of |phi_t'|; T = 60/rate at kappa_a = kappa (a double root), 30/rate elsewhere. "
    "Within 2 %, and 5 % at kappa_a = kappa. At level quick horizons above 20000 by exact powers of 9 directions, E(t) being the "
    "root of the sum of their squares.",
    controls=[
        Control({"believed": 4.0}, "judged with an assumed condition number four times as large"),
        Control({"ignored": True}, "judged as if a wrong estimate did not matter: the rate of kappa_a = kappa"),
        Control({"lr": 1.6}, "a step of 1.6/L, too long for momentum: it diverges"),
    ],
)
def misestimated_kappa_still_converges(lab: Lab, believed: float = 1.0, ignored: bool = False, lr: float = 1.0) -> Finding:
    """Too small or too large by any factor, an assumed condition number gives exponential convergence at a rate known exactly."""
    standard = believed == 1 and not ignored and lr == 1
    guesses = [each for each in _guesses(lab) if standard or (each.kappa == 1e2 and 0.1 <= each.times <= 10)]
    traces, parts, rows = lab.run_all(each.cell(lr) for each in guesses), [], []
    for each, trace in zip(guesses, traces, strict=True):
        rate = float(nag_rate(1 / each.kappa, each.kappa if ignored else believed * each.assumed))
        value, within = measured_rate(trace), 0.05 if each.times == 1 else 0.02
        label = f"kappa={each.kappa:g}, kappa_a/kappa={each.times:g}: measured rate / formula"
        parts.append(band(value / rate, 1 - within, 1 + within, label=label, predicted=1.0))
        descent = float(descent_rate(1 / each.kappa))
        rows.append((each.kappa, each.times, each.horizon, value, rate, value / descent, rate / descent))
    columns = ("kappa", "kappa_a / kappa", "T", "measured rate", "formula", "measured speed-up", "formula's speed-up")
    table = Table("Rates with an assumed condition number, speed-up over gradient descent", columns, tuple(rows))
    panels = tuple(_figure(kappa, [row for row in rows if row[0] == kappa]) for kappa in (1e4, 1e2)) if standard else ()
    return together(*parts, label="mis-estimated condition number", panels=panels, tables=(table,))


def _figure(kappa: float, rows: list[tuple[float, ...]]) -> Panel:
    """What a wrong condition number costs: measured speed-up over gradient descent, on the curve of the formula."""
    ratio = np.geomspace(1 / kappa, 1e8, 121)
    curve = nag_rate(1 / kappa, kappa * ratio) / descent_rate(1 / kappa)
    below, above = ratio[ratio <= 1], ratio[(ratio >= 1) & (ratio <= kappa)]
    times, measured = (tuple(row[i] for row in rows) for i in (1, 5))
    series = (
        Series("measured", times, measured),
        Series("formula", tuple(ratio), tuple(curve), "predicted"),
        Series("(sqrt(kappa_a) + 1)/2: slope +1/2", tuple(below), tuple((np.sqrt(kappa * below) + 1) / 2), "bound"),
        Series("kappa/sqrt(kappa_a): slope -1/2", tuple(above), tuple(np.sqrt(kappa / above)), "limit"),
        Series("1/2: slope 0", (float(kappa), 1e8), (0.5, 0.5), "limit"),
        Series("gradient descent", (float(ratio[0]), 1e8), (1.0, 1.0), "floor"),
    )
    title = f"Speed-up over gradient descent with a wrong condition number, kappa={kappa:g}"
    return Panel(title, "assumed / true condition number", "rate / rate of gradient descent", series)


# ------------------------------------------------------------------------------------------------ slopes of the speed-up
_KAPPA = 1e5
_WINDOWS = {0.5: (2.5, 4.5), -0.5: (5.5, 8.5), 0.0: (14.0, 16.0)}


def speed_ups(lab: Lab, kappa: float, name: str, assumed: Sequence[float]) -> Floats:
    """Rate over that of gradient descent on a geometric spectrum, by kappa_a.

    Heavy ball sits at the edge of its stability at lam = L, where rounding alone would decide: its step is .999 of the full one.
    """
    lr = {"lr": "0.999/lambda_max"} if name == HEAVY_BALL else {}
    specs = (method(name, list(assumed), **lr), algorithm("gradient_descent"))
    own, descent = map(rates, lab.run_all(decay_cell(geometric(kappa, 50), spec) for spec in specs))
    with np.errstate(divide="ignore", invalid="ignore"):
        return own / descent


@claim(
    PAPER,
    source=f"derived, {EXPLICIT}",
    kind="rate",
    statement=r"\frac{\ln\rho}{\ln\rho_{\rm GD}}\sim\kappa_a^{1/2}\ (\kappa_a\ll\kappa),\quad\kappa_a^{-1/2}\ "
    r"(\kappa\ll\kappa_a\ll\kappa^2),\quad\kappa_a^0\ (\kappa_a\gg\kappa^2)",
    assumptions="kappa = 1e5, exact spectral radii; slopes on 10^[2.5, 4.5], 10^[5.5, 8.5], 10^[14, 16] within .03: "
    "far from the wide transitions, and the windows are part of the claim.",
    controls=[
        Control({"name": HEAVY_BALL}, "heavy ball keeps slowing down: it has no rate of gradient descent to fall back on"),
        Control({"shift": -2.0}, "windows in the transitions"),
    ],
)
def speed_up_has_three_regimes(lab: Lab, name: str = NAG, shift: float = 0.0) -> Finding:
    """Speed-up grows as the root of an underestimate, shrinks as the root of an overestimate, and ends at a constant."""
    parts = []
    for claimed, (low, high) in _WINDOWS.items():
        assumed = np.logspace(low + shift, high + shift, lab.pick(quick=9, full=33)).tolist()
        found = speed_ups(lab, _KAPPA, name, assumed)
        if name != NAG and not found.any():
            return says_nothing("three regimes")
        limits: dict[str, Any] = {"low": claimed - 0.03, "high": claimed + 0.03, "predicted": claimed}
        axes: dict[str, Any] = {"variable": "kappa_a", "quantity": "speed-up over gradient descent"}
        parts.append(slope(assumed, found, **limits, label=f"slope {claimed:+g}", **axes))
    return together(*parts, label="three regimes", panels=tuple(part.panels[0] for part in parts))
