"""Bounds after T steps with exact constants, and what they say where the condition number is known (P2)."""

from __future__ import annotations

from typing import Any

import numpy as np

from theorysim.analyses.band import band
from theorysim.analyses.bound_ratio import bound_ratio
from theorysim.analyses.slope import slope
from theorysim.bounds import Bound
from theorysim.findings import Finding, Panel, Series, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Search, Spec
from theorysim.paper_checks._pamfcn_paper import (
    EXPLICIT,
    HEAVY_BALL,
    NAG,
    PAPER,
    TRUE,
    Floats,
    decay_cell,
    geometric,
    method,
    nag_lost,
    rates,
    single,
)
from theorysim.paper_checks._pamfcn_rates import ITERATED, iterated, multipliers
from theorysim.registry import algorithm, claim
from theorysim.trace import Trace

# ------------------------------------------------------------------------------------------------ one direction
_OSCILLATING = "(2*T + 1)*((1 - sqrt(s))/(1 + sqrt(s))*(1 - q))**(T/2)"
_FALLING = "(1 - lost)**T*(1 + T*lost)"
_SMALLEST = 1e-280  # below it a bound has lost digits


def _ratios(phi: Floats, bounds: tuple[str, str], q: Floats, steps: Floats, kappa_a: float) -> Floats:
    """|phi_T| / bound, (dim, records): 0 where both are 0, as at q = 1, and where the bound is too small to compare with."""
    q, s = q[:, None], 1 / kappa_a
    known = {"q": q, "s": s, "T": steps, "lost": nag_lost(np.minimum(q, s), kappa_a)}
    limit = np.where(q >= s, *(Bound(text)(known) for text in bounds))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where((phi == 0) & (limit == 0), 0.0, np.abs(phi) / limit)
    return np.where((limit < _SMALLEST) & (q < 1), 0.0, ratio)


def _exact(lab: Lab, assumed: tuple[float, ...], q: Floats, horizon: int) -> tuple[Floats, Floats]:
    """T and |phi_T(q)|, (kappa_a, dim, records), by exact powers; its square must not underflow, so T ends at ``horizon``."""
    steps = np.unique(np.rint(np.geomspace(1, horizon, 30)).astype(int))
    cells = [
        Cell(single(x), method(NAG, assumed, lr=1.0), horizon, 1, ("square_distance",), tuple(steps.tolist()), exact=True)
        for x in q
    ]
    return steps.astype(float), np.sqrt(np.stack([trace["square_distance"] for trace in lab.run_all(cells)], axis=1))


@claim(
    PAPER,
    source=f"derived, {EXPLICIT}",
    kind="upper",
    statement=r"|\varphi_T(q)|\le(2T+1)\,(\vartheta(1-q))^{T/2}\ (q\ge s),\qquad"
    r"|\varphi_T(q)|\le\rho(q)^T\,(1+T(1-\rho(q)))\ (q<s)",
    bound=_OSCILLATING,
    assumptions="q from 0 to 1 with both sides of 1/kappa_a; kappa_a = 2, 1e2, 1e4, 1e6 step by step; kappa_a = 1, 2, 10, 1e4, "
    "3e7, T <= 3000 by exact powers. 0 <= 0 counts as kept; bounds below 1e-280 are skipped.",
    controls=[
        Control({"bounds": (_OSCILLATING.replace("2*T + 1", "1"), _FALLING)}, "without the polynomial factor of complex roots"),
        Control({"bounds": (_OSCILLATING, "(1 - lost)**T")}, "without the polynomial factor of real roots"),
        Control({"lr": 1.34}, "a step of 1.34/L: directions near L do not vanish at once, and for kappa_a = 1e4 they diverge"),
    ],
)
def errors_stay_below_exact_bounds(lab: Lab, bounds: tuple[str, str] = (_OSCILLATING, _FALLING), lr: float = 1.0) -> Finding:
    """After any number of steps every direction is below its bound, which slow directions attain."""
    q, steps, phi = multipliers(lab, iterated(lab, lr=lr))
    parts = []
    for kappa_a, row in zip(ITERATED, phi, strict=True):
        ratio = _ratios(row, bounds, q, steps, kappa_a)
        parts.append(band(ratio, high=1 + 1e-9, label=f"kappa_a={kappa_a:g}, step by step: |phi_T| / bound", predicted=1.0))
    if lr != 1 or bounds != (_OSCILLATING, _FALLING):
        return together(*parts, label="bounds of one direction")
    assumed = (1.0, 2.0, 10.0, 1e4, 3e7)
    grid = np.unique([*np.geomspace(1e-13, 1.0, lab.pick(quick=15, full=60)), 0.1, 0.5])
    times, exact = _exact(lab, assumed, grid, 3000)
    ratios = np.stack([_ratios(row, bounds, grid, times, k) for k, row in zip(assumed, exact, strict=True)])
    parts.append(band(ratios, high=1 + 1e-9, label="by exact powers: |phi_T| / bound", predicted=1.0))
    slow = ratios[:, 0]
    parts.append(band(slow, 1 - 1e-6, 1 + 1e-9, label="slow directions: |phi_T| / bound at q = 1e-13", predicted=1.0))
    first = [ratios[i, np.flatnonzero(grid == 1 / assumed[i])[0], 0] / (1 + assumed[i] ** -0.5) for i in (1, 2)]
    label = "double root: |phi_1| / bound, which is (1 + sqrt s)/3, over 1 + sqrt s"
    parts.append(band(first, 1 / 3 - 1e-9, 1 / 3 + 1e-9, label=label, predicted=1 / 3))
    return together(*parts, label="bounds of one direction", panels=(_panel(times, ratios, assumed),))


def _panel(steps: Floats, ratios: Floats, assumed: tuple[float, ...]) -> Panel:
    tops = [Series(f"kappa_a={k:g}", tuple(steps), tuple(top)) for k, top in zip(assumed, ratios.max(axis=1), strict=True)]
    limit = Series("the bound", (steps[0], steps[-1]), (1.0, 1.0), "bound")
    return Panel("Worst direction against its bound", "T", "|phi_T| / bound", (*tops, limit), log_y=False)


# ------------------------------------------------------------------------------------------------ the true condition number
_KNOWN = "(2*T + 1)**2*(1 - sqrt(lambda_min/lambda_max))**(2*T)*Delta_0"
_TIMES = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987, 1597, 2584, 4181, 6765, 10_946)


def _gap_cells(kappa: float, spec: Spec) -> list[Cell]:
    """f(y_T) - f* on a geometric spectrum, up to T = 20 sqrt(kappa): step by step and exactly."""
    steps = tuple(t for t in _TIMES if t <= 20 * np.sqrt(kappa))
    return [Cell(geometric(kappa, 60), spec, steps[-1], 1, ("gap",), steps, exact=exact) for exact in (False, True)]


@claim(
    PAPER,
    source=f"abstract: improved worst-case rates (source; this reading recalled); bound and exponent derived, {EXPLICIT}",
    kind="upper",
    statement=r"f(y_T)-f^*\le(2T+1)^2\,(1-\kappa^{-1/2})^{2T}\,(f(x_0)-f^*),\qquad\kappa_a=\kappa",
    bound=_KNOWN,
    assumptions="Geometric spectra, kappa = 1e2, 1e4 and (exponent) 1e2 ... 1e6. "
    "The textbook bound falls as exp(-T/sqrt(kappa)).",
    controls=[
        Control({"guess": f"{TRUE}/16"}, "a condition number guessed 16 times too small"),
        Control({"guess": f"16*{TRUE}"}, "a condition number guessed 16 times too large"),
        Control({"guess": 1.0}, "kappa_a = 1 is gradient descent, whose exponent is T/kappa"),
    ],
    search=Search(
        geometric(100.0, 6),
        method(NAG, TRUE),
        {"spectrum": ["log", "linear", "two_value"], "head": (1, 5), "kappa": (1.5, 300.0), "start": ["ones", "power"]},
        200,
        "gap",
        _KNOWN,
    ),
)
def true_condition_number_doubles_the_exponent(lab: Lab, guess: str | float = TRUE) -> Finding:
    """With the true condition number the error of quadratics falls as exp(-2T/sqrt(kappa)), twice the textbook exponent."""
    spec = method(NAG, guess)
    traces = lab.run_all(cell for kappa in (1e2, 1e4) for cell in _gap_cells(kappa, spec))
    kept = bound_ratio(traces, of="gap", bound=_KNOWN, label="(f(y_T) - f*) / bound")
    if guess != TRUE:
        return kept
    kappas = np.geomspace(1e2, 1e6, lab.pick(quick=5, full=17))
    nag, triple, ball = (_exponents(lab, kappas, each) for each in (spec, algorithm("triple_momentum"), method(HEAVY_BALL, TRUE)))
    scaled, exponent = "exponent of f - f*, in units of 1/sqrt(kappa)", "exponent of f - f*"
    limits: dict[str, Any] = {"low": -0.52, "high": -0.49, "predicted": -0.5}
    law = slope(kappas.tolist(), nag, **limits, label="exponent over kappa", variable="kappa", quantity=exponent)
    convex, quadratic = "triple momentum, for all strongly convex f", "heavy ball, for quadratics only"
    parts = [
        kept,
        band(_first_over_largest(traces, kept), 1 - 1e-9, 1 + 1e-9, label="largest ratio, attained at T = 1", predicted=1.0),
        band(nag * np.sqrt(kappas), 2.0, 2.11, label=scaled, predicted=2.0),
        law,
        band(triple / nag, 1 - 1e-6, 1 + 1e-6, label=f"{convex}: exponent over NAG's", predicted=1.0),
        band(ball / nag, 1.9, 2.0, label=f"{quadratic}: exponent over NAG's", predicted=2.0),
    ]
    return together(*parts, label="true condition number", panels=(kept.panels[0], law.panels[0]))


def _first_over_largest(traces: list[Trace], kept: Finding) -> float:
    """(f(y_1) - f*)/(9 (1 - kappa^-1/2)^2 (f(x_0) - f*)), the largest of the instances, in units of the largest ratio."""
    decays = [trace["gap"][0, 1] / trace["gap"][0, 0] for trace in traces]
    limits = [9 * (1 - np.sqrt(trace.constant("lambda_min")[0])) ** 2 for trace in traces]
    return float(np.max(np.divide(decays, limits)) / (kept.measured or np.nan))


def _exponents(lab: Lab, kappas: Floats, spec: Spec) -> Floats:
    """The exponent of f - f* a step, twice that of the error."""
    return 2 * np.concatenate([rates(trace) for trace in lab.run_all(decay_cell(geometric(kappa, 30), spec) for kappa in kappas)])
