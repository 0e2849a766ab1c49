"""Exact rates in every eigendirection (P1), and that the iteration is the one they are about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from theorysim.analyses.band import band
from theorysim.bounds import Bound
from theorysim.findings import Finding, Panel, Series, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control
from theorysim.paper_checks._pamfcn_paper import (
    EXPLICIT,
    HEAVY_BALL,
    NAG,
    PAPER,
    Floats,
    decay_cell,
    heavy_ball_rate,
    method,
    multiplier,
    nag_rate,
    rates,
    single,
)
from theorysim.registry import algorithm, claim, problem

_ASSUMED = (1e2, 1e6, 1e10)
_NEAR = (1e-9, 1e-6, 1e-4)  # relative distances from the double root: rho is known to the square root of the rounding there
_FAST = "1/sqrt(kappa_a) + q/2"
_ROOTLESS = Control({"power": 2.0}, "a momentum (kappa_a - 1)/(kappa_a + 1), with the square roots forgotten")
_QUADRUPLED = Control({"assumed": 4.0}, "judged with an assumed condition number four times as large")


def curvatures(lab: Lab) -> Floats:
    """q from 1e-14 to .9 and on both sides of every s = 1/kappa_a, the double roots included."""
    around = [(1 + sign * d) / k for k in _ASSUMED for d in (*_NEAR, 2e-3, 0.1, 0.5) for sign in (-1, 1)]
    return np.unique([*np.geomspace(1e-14, 0.9, lab.pick(quick=15, full=85)), *(1 / k for k in _ASSUMED), *around])


def _decays(lab: Lab, name: str, q: Floats, power: float) -> Floats:
    """1 - rho^2, kappa_a by q."""
    spec = method(name, [k**power for k in _ASSUMED], lr=1.0)
    return np.stack([trace["decay"][:, -1] for trace in lab.run_all(decay_cell(single(x), spec) for x in q)], axis=1)


def _spectral(lab: Lab, name: str, formula: Callable[..., Floats], power: float, assumed: float) -> Finding:
    """The spectral radius in single directions against the closed form, kappa_a by q."""
    q, kappa_a = curvatures(lab), np.array(_ASSUMED)[:, None]
    measured = _decays(lab, name, q, power)
    with np.errstate(divide="ignore"):
        claimed = -np.expm1(-2 * formula(q, assumed * kappa_a))
        off, near = np.abs(measured / claimed - 1), np.abs(q * kappa_a - 1) < 1e-3
    curves = [
        Series(f"{role}, kappa_a={k:g}", tuple(q), tuple(line[i]), role)
        for i, k in enumerate(_ASSUMED)
        for role, line in (("measured", measured), ("predicted", claimed))
    ]
    panel = Panel("1 - rho(q)^2: square-root acceleration up to q = 1/kappa_a", "q = lam / L", "1 - rho^2", tuple(curves))
    label = "largest relative distance of 1 - rho^2 from the formula"
    return together(
        band(off[~near], high=1e-12, label=label, predicted=0.0),
        band(off[near], high=3e-8, label=f"{label}, within 1e-3 of the double root", predicted=0.0),
        label=f"rates of {name}",
        panels=(panel,),
    )


@claim(
    PAPER,
    source=f"abstract: explicit expressions in every eigendirection (source); formulas derived, {EXPLICIT}",
    kind="identity",
    statement=r"\rho(q)=\sqrt{\vartheta(1-q)}\ (q\ge s),\qquad\rho(q)=\frac{1-q+\sqrt{(1-q)(s-q)}}{1+\sqrt s}\ (q<s),"
    r"\qquad\vartheta=\frac{1-\sqrt s}{1+\sqrt s},\ s=\kappa_a^{-1};"
    r"\qquad-\ln\rho(q)\ge\sqrt s+\tfrac q2\ (q\ge s)",
    bound=_FAST,
    assumptions="Single directions, q = lam/L from 1e-14 to .9, kappa_a = 1e2, 1e6, 1e10, step 1/L, exact gradients.",
    controls=[_ROOTLESS, _QUADRUPLED],
)
def spectral_rates_of_nag(lab: Lab, power: float = 1.0, assumed: float = 1.0) -> Finding:
    """Nesterov's method with an assumed condition number has its closed-form rate in every eigendirection."""
    found = _spectral(lab, NAG, nag_rate, power, assumed)
    q, kappa_a = curvatures(lab), np.array(_ASSUMED)[:, None]
    rate = -0.5 * np.log1p(-_decays(lab, NAG, q, power))
    fast = (rate / Bound(_FAST)({"q": q, "kappa_a": assumed * kappa_a}))[q * kappa_a >= 1 + 1e-3]
    least = band(fast, low=1 - 1e-9, label="least rate / (sqrt s + q/2), q > s", predicted=1.0)
    return together(*found.parts, least, label=found.label, panels=found.panels)


@claim(
    PAPER,
    source=f"abstract: several accelerated algorithms (source); heavy ball and its formulas derived, {EXPLICIT}",
    kind="identity",
    statement=r"\rho(q)=\sqrt b\ (q\ge s),\qquad 1-\rho(q)=\frac{2\tilde q}{1-b+\tilde q+D_0},\ "
    r"D_0=\sqrt{((1-\sqrt b)^2-\tilde q)((1+\sqrt b)^2-\tilde q)},\ \tilde q=(1+\sqrt b)^2q\ (q<s)",
    assumptions="As for NAG, with step (1 + sqrt b)^2/L and momentum b; q = 1 is a second double root, at -sqrt b.",
    controls=[_ROOTLESS, _QUADRUPLED],
)
def spectral_rates_of_heavy_ball(lab: Lab, power: float = 1.0, assumed: float = 1.0) -> Finding:
    """Heavy ball with an assumed condition number has its closed-form rate in every eigendirection."""
    return _spectral(lab, HEAVY_BALL, heavy_ball_rate, power, assumed)


# ------------------------------------------------------------------------------------------------ slow directions
_SLOW = {NAG: "q*(sqrt(kappa_a) + 1)/2", HEAVY_BALL: "q*sqrt(kappa_a)"}


@claim(
    PAPER,
    source=f"derived: a root of a product of two linear functions is concave; {EXPLICIT}",
    kind="tight",
    statement=r"1-\rho(q)\ge\tfrac12(\sqrt{\kappa_a}+1)\,q\ \text{(NAG)},\qquad1-\rho(q)\ge\sqrt{\kappa_a}\,q\ \text{(HB)},"
    r"\qquad q\le\kappa_a^{-1}",
    bound=_SLOW[NAG],
    assumptions="q = 1e-4/kappa_a ... 1/kappa_a, kappa_a = 1e2, 1e4, 1e8; equality as q -> 0; gradient descent: 1 - rho = q.",
    controls=[
        Control({"assumed": 0.25}, "the momentum of a condition number four times smaller accelerates half as much"),
        Control({"assumed": None}, "kappa_a = 1 is gradient descent"),
    ],
)
def slow_directions_speed_up(lab: Lab, assumed: float | None = 1.0) -> Finding:
    """Directions that are slower than assumed speed up by the full factor of order sqrt(kappa_a) over gradient descent."""
    parts, below = [], np.geomspace(1e-4, 1.0, lab.pick(quick=9, full=33))
    for name, text in _SLOW.items():
        for kappa_a in (1e2, 1e4, 1e8):
            q, used = below / kappa_a, 1.0 if assumed is None else assumed * kappa_a
            traces = lab.run_all(decay_cell(single(x), method(name, used, lr=1.0)) for x in q)
            lost = -np.expm1(-np.concatenate([rates(trace) for trace in traces]))
            ratio = lost / Bound(text)({"q": q, "kappa_a": kappa_a})
            label, factor = f"{name}, kappa_a={kappa_a:g}", Bound(text)({"q": 1.0, "kappa_a": kappa_a})
            parts.append(band(ratio, low=1 - 1e-6, label=f"{label}: (1 - rho) / bound"))
            limit: dict[str, Any] = {"low": (1 - 1e-3) * factor, "high": (1 + 1e-3) * factor, "predicted": factor}
            parts.append(band(lost[0] / q[0], **limit, label=f"{label}: acceleration at q = 1e-4/kappa_a"))
    return together(*parts, label="slow directions")


# ------------------------------------------------------------------------------------------------ the iteration
_Q = (
    0.0,
    1e-7,
    1e-5,
    9e-5,
    1e-4 * (1 - 1e-9),
    1e-4,
    1e-4 * (1 + 1e-9),
    1.1e-4,
    1e-3,
    9.9e-3,
    1e-2,
    0.011,
    0.1,
    0.3,
    0.5,
    0.9,
    1.0,
)
ITERATED = (2.0, 1e2, 1e4, 1e6)


def iterated(lab: Lab, **params: object) -> Cell:
    """NAG on all directions of _Q at once, an error of 1 in each: the coordinates are phi_T(q), one row for each kappa_a."""
    horizon = lab.pick(quick=3000, full=10_000)
    steps = tuple(np.unique(np.rint([0, 1, 2, *np.geomspace(3, horizon, 40)]).astype(int)).tolist())
    measures = tuple(f"coordinate:{j}" for j in range(len(_Q)))
    instance = problem("anisotropic_quadratic", dim=len(_Q), spectrum=list(_Q))
    return Cell(instance, method(NAG, ITERATED, **params), horizon, 1, measures, steps)


def multipliers(lab: Lab, cell: Cell) -> tuple[Floats, Floats, Floats]:
    """q, T and phi_T(q) of every kappa_a of ITERATED: ``(dim,)``, ``(records,)``, ``(kappa_a, dim, records)``."""
    trace = lab.run(cell)
    return np.array(_Q), trace.steps.astype(float), np.stack([trace[name] for name in cell.measure], axis=1)


_METHODS = {
    NAG: method(NAG, [1.0, 5.0, 1e3]),
    HEAVY_BALL: method(HEAVY_BALL, [1.0, 5.0, 1e3]),
    "triple_momentum": algorithm("triple_momentum", rho=[0.0, 0.5, 0.9], lr=[1.0, 1.5, 1.9]),
    "gradient_descent": algorithm("gradient_descent"),
}


@claim(
    PAPER,
    source=f"abstract: explicit expressions in every eigendirection (source); closed form derived, {EXPLICIT}",
    kind="identity",
    statement=r"\varphi_T(q)=c_T+(1-q)\frac{\sqrt s}{1+\sqrt s}\,s_T,\qquad y_T-x^*=\varphi_T(H/L)\,(x_0-x^*)",
    assumptions="q from 0 to 1 with both sides of 1/kappa_a; kappa_a = 2, 1e2, 1e4, 1e6 step by step, 1e2, 1e6, 1e10 up to "
    "T = 1e6 by exact powers; relative to the amplitude of the direction. All methods of these claims are tried both ways.",
    controls=[_QUADRUPLED, Control({"lag": 1}, "one gradient step later: another indexing of x and y")],
)
def closed_form_is_the_iteration(lab: Lab, assumed: float = 1.0, lag: int = 0) -> Finding:
    """The closed form of the error after T steps is what the iteration does, for any number of steps."""
    q, steps, phi = multipliers(lab, iterated(lab))
    off = []
    for kappa_a, row in zip(ITERATED, phi, strict=True):
        claimed, size = multiplier(q[:, None], assumed * kappa_a, steps + lag)
        seen = size > 1e-280
        off.append(np.max(np.abs(row - claimed)[seen] / size[seen]))
    stepwise = band(off, high=1e-9, label="step by step: largest |phi_T - closed form| / amplitude", predicted=0.0)
    return together(stepwise, *(() if lag or assumed != 1 else (_powers(lab), *_as_declared(lab))), label="closed form")


def _powers(lab: Lab) -> Finding:
    """phi_T(q)^2 of exact powers of the transition, up to 10 sqrt(kappa_a) steps and more."""
    steps, kappas, off = (1, 3, 30, 1000, 30_000, 1_000_000), (1e2, 1e6, 1e10), []
    for x in (1e-12, 1e-10, 1.1e-10, 1e-8, 1e-6 * (1 - 1e-3), 1e-6 * (1 + 1e-3), 1e-4, 0.3):
        trace = lab.run(Cell(single(x), method(NAG, kappas, lr=1.0), steps[-1], 1, ("square_distance",), steps, exact=True))
        for kappa_a, row in zip(kappas, trace["square_distance"], strict=True):
            claimed, size = multiplier(x, kappa_a, steps)
            seen = size > 1e-140
            off.append(np.max(np.abs(row - claimed**2)[seen] / size[seen] ** 2))
    return band(off, high=1e-9, label="exact powers: largest |phi_T^2 - closed form| / amplitude^2", predicted=0.0)


def _as_declared(lab: Lab) -> list[Finding]:
    """Steps against exact powers: f - f* and the distance of what is put out, at every T."""
    spectrum, start = [1.0, 0.83, 0.31, 0.05, 2e-3], [0.7, -1.2, 0.4, 2.0, -1.5]
    instance, parts = problem("anisotropic_quadratic", dim=5, spectrum=spectrum, start=start, origin="start"), []
    for name, spec in _METHODS.items():
        run = lab.run(Cell(instance, spec, 150, 1, ("gap", "distance:2"), "all"))
        exact = lab.run(Cell(instance, spec, 150, 1, ("gap", "square_distance"), "all", exact=True))
        with np.errstate(divide="ignore", invalid="ignore"):
            pairs = [run["gap"] / exact["gap"], run["distance:2"] ** 2 / exact["square_distance"]]
        parts.append(band(np.abs(np.stack(pairs) - 1), high=1e-9, label=f"{name}: steps against exact powers", predicted=0.0))
        parts.append(band(run["gap"][:, -1] / run["gap"][:, 0], high=0.1, label=f"{name}: it does move: f(y_150) / f(y_0)"))
    return parts
