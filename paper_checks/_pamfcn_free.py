"""No condition number at all: mu = 0, and a parameter that follows the horizon (P4)."""

from __future__ import annotations

from collections.abc import Sequence
from math import e
from typing import Any

import numpy as np

from theorysim.analyses.band import band
from theorysim.analyses.bound_ratio import bound_ratio
from theorysim.analyses.slope import slope
from theorysim.bounds import Bound
from theorysim.findings import Finding, Panel, Series, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Spec
from theorysim.paper_checks._pamfcn_paper import EXPLICIT, NAG, PAPER, Floats, half_octaves_of, method
from theorysim.registry import algorithm, claim, problem

_TUNING = 1.5
_MAX = "Max(12*exp(-2)*log(T + 1)/T**2, 2/(T + 1)**2)"
_FREE = f"lambda_max*D_2_0**2/2*{_MAX}"
_VALUES = {800: 0.560, 3200: 0.562}  # T^2 max q phi_T^2 / ln(T + 1), within 1 %; its limit is 1.5/e


def tuned(horizon: int, tuning: float) -> float:
    """kappa_a for a horizon: sqrt s = min(1, tuning ln(T + 1)/T)."""
    return max(1.0, (horizon / (tuning * float(np.log(horizon + 1)))) ** 2)


def worst_direction(lab: Lab, kappa_a: float) -> Spec:
    """All directions, q from 1e-14 to 1 and on both sides of 1/kappa_a, with errors of sqrt q: the largest entry of an error is
    the root of max_q q phi_T(q)^2, that is of f - f* for the worst direction, in units of L/2 |x_0 - x*|^2."""
    beside = (1 + np.outer((-1, 1), (1e-6, 1e-3, 1e-2, 0.1, 0.3))).ravel() / kappa_a
    q = np.unique([*np.geomspace(1e-14, 1.0, lab.pick(quick=1000, full=3000)), 1 / kappa_a, *beside[beside < 1]])
    return problem("anisotropic_quadratic", dim=len(q), spectrum=q.tolist(), start=np.sqrt(q).tolist())


def worst(lab: Lab, spec: Spec, kappa_a: float, steps: Sequence[int]) -> Floats:
    """max_q q phi_T(q)^2 after each of ``steps``."""
    cell = Cell(worst_direction(lab, kappa_a), spec, steps[-1], 1, ("distance:inf",), tuple(steps))
    return np.asarray(lab.run(cell)["distance:inf"][0] ** 2)


@claim(
    PAPER,
    source=f"title and abstract: free of the condition number (source); bound and tuning derived, {EXPLICIT}",
    kind="upper",
    statement=r"f(y_T)-f^*\le\frac{L\|x_0-x^*\|^2}2\max\Big\{\frac{12\ln(T+1)}{e^2T^2},\frac2{(T+1)^2}\Big\},\qquad"
    r"\kappa_a^{-1/2}=\min\Big(1,\frac{3\ln(T+1)}{2T}\Big)",
    bound=_FREE,
    assumptions="mu = 0: the worst direction of [1e-14 L, L], spectra j^-1, j^-2, j^-4 and a direction without curvature; "
    "T = 1 ... 1e5. The number T^2 max q phi^2 / ln(T + 1) is asserted too: the bound alone does not notice a wrong tuning.",
    controls=[
        Control({"tuning": 5.0}, "a tuning constant 5 in place of 1.5 violates the bound"),
        Control({"tuning": 3.0}, "a tuning constant 3 keeps the bound; the number tells"),
        Control({"tuning": 0.5}, "a tuning constant 0.5 keeps the bound; the number tells"),
        Control({"fixed": 1e4}, "a fixed kappa_a has slope -1 once T >= 10 sqrt(kappa_a)"),
    ],
)
def no_condition_number_is_needed(lab: Lab, tuning: float = _TUNING, fixed: float | None = None) -> Finding:
    """With a parameter that follows the horizon, any convex quadratic is solved at an accelerated rate of ln T / T^2."""
    if fixed is not None:
        return _slope(late := half_octaves_of(10 * fixed**0.5, 20_000), worst(lab, method(NAG, fixed), fixed, late))
    early, late = [1, 2, 3, 5, 10, 20], half_octaves_of(30, lab.pick(quick=3200, full=10_000))
    steps = sorted({*early, *late, *_VALUES} if tuning == _TUNING else _VALUES)
    found = {T: float(worst(lab, method(NAG, k := tuned(T, tuning)), k, [T])[0]) for T in steps}
    ratio = np.array([value / float(Bound(_MAX)({"T": float(T)})) for T, value in found.items()])
    parts = [band(ratio, high=1 + 1e-9, label="worst direction / bound", predicted=1.0)]
    for T, value in _VALUES.items():
        label = f"T={T}: T^2 max q phi_T^2 / ln(T + 1)"
        parts.append(band(T**2 * found[T] / np.log(T + 1), 0.99 * value, 1.01 * value, label=label, predicted=value))
    if tuning != _TUNING:
        return together(*parts, label="free of the condition number")
    parts.append(band(ratio[np.array(steps) >= 30], 0.3, 0.35, label="worst direction / bound, T >= 30"))
    parts += [_slope(late, np.array([found[T] for T in late])), _power_laws(lab)]
    panels = (_panel(np.array(steps, dtype=float), np.array(list(found.values()))), parts[-2].panels[0], parts[-1].panels[0])
    return together(*parts, label="free of the condition number", panels=panels)


def _slope(steps: Sequence[int], values: Floats) -> Finding:
    label = "slope of max q phi_T^2 / ln(T + 1)"
    y = values / np.log(np.array(steps) + 1.0)
    return slope(steps, y, low=-2.05, high=-1.95, label=label, predicted=-2.0, quantity="max q phi_T^2 / ln(T + 1)")


def _power_laws(lab: Lab) -> Finding:
    """f - f* itself on spectra of kernels, with condition numbers up to 1e10 and a direction that never moves."""
    horizons, j = (1, 3, 10, 100, 1000, 10_000, 100_000), np.arange(1, 301.0)
    cells = []
    for power in (1, 2, 4):
        instance = problem("anisotropic_quadratic", dim=301, spectrum=[*(j**-power).tolist(), 0.0])
        cells += [Cell(instance, method(NAG, tuned(T, _TUNING)), T, 1, ("gap",), (T,), exact=True) for T in horizons]
    return bound_ratio(lab.run_all(cells), of="gap", bound=_FREE, label="power laws: (f(y_T) - f*) / bound")


def _panel(steps: Floats, values: Floats) -> Panel:
    series = (
        Series("worst direction", tuple(steps), tuple(values)),
        Series("bound", tuple(steps), tuple(Bound(_MAX)({"T": steps})), "bound"),
        Series("gradient descent, 1/(2eT)", tuple(steps), tuple(1 / (2 * e * steps)), "predicted"),
    )
    return Panel("No condition number: mu = 0", "T", "(f(y_T) - f*) / (L/2 |x_0 - x*|^2)", series)


# ------------------------------------------------------------------------------------------------ a fixed parameter
@claim(
    PAPER,
    source=f"derived, {EXPLICIT}",
    kind="rate",
    statement=r"\max_qq\varphi_T(q)^2\to\frac1{eT(\sqrt{\kappa_a}+1)}\ (T\gg\sqrt{\kappa_a}),"
    r"\qquad\text{gradient descent: }\frac1{2eT}",
    assumptions="mu = 0, q from 1e-14 to 1; gradient descent with T = 30 ... 8000; "
    "kappa_a = 2500 and 1e4 with T >= 10 sqrt(kappa_a).",
    controls=[
        Control({"early": 1.0}, "from T = sqrt(kappa_a) on: still in the transient"),
        Control({"moving": True}, "a parameter that follows the horizon has slope -2"),
    ],
)
def fixed_parameter_keeps_one_over_T(lab: Lab, early: float = 10.0, moving: bool = False) -> Finding:
    """A fixed parameter gains a factor of order sqrt(kappa_a) over gradient descent and no exponent."""
    parts = []
    for kappa_a, last in lab.pick(quick=((2500.0, 8000),), full=((2500.0, 8000), (1e4, 20_000))):
        steps = half_octaves_of(early * kappa_a**0.5, last)
        if moving:
            values = np.array([worst(lab, method(NAG, k := tuned(T, _TUNING)), k, [T])[0] for T in steps])
        else:
            values = worst(lab, method(NAG, kappa_a), kappa_a, steps)
        parts.append(_baseline(f"kappa_a={kappa_a:g}", steps, values, (kappa_a**0.5 + 1) / 2, 0.03))
    if not moving and early == 10:
        steps = half_octaves_of(30, 8000)
        parts.append(_baseline("gradient descent", steps, worst(lab, algorithm("gradient_descent"), 2500.0, steps), 1.0, 0.02))
    panels = tuple(part.panels[0] for each in parts for part in each.parts[:1])
    return together(*(part for each in parts for part in each.parts), label="a fixed parameter", panels=panels)


def _baseline(label: str, steps: Sequence[int], values: Floats, gain: float, within: float) -> Finding:
    """Slope -1, and at the last T the value 1/(2eT) over ``gain``."""
    limits: dict[str, Any] = {"low": -1 - within, "high": -1 + within, "predicted": -1.0, "quantity": "max q phi_T^2"}
    level = values[-1] * 2 * e * steps[-1] * gain
    return together(
        slope(steps, values, **limits, label=f"{label}: slope"),
        band(level, 1 - within, 1 + within, label=f"{label}: value at T={steps[-1]} over its limit", predicted=1.0),
        label=label,
    )
