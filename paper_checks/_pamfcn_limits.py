"""Where the acceleration ends: momentum 1, noise that grows with the error, steps that are too long."""

from __future__ import annotations

from typing import Any

import numpy as np

from theorysim.analyses.band import band
from theorysim.bounds import Bound
from theorysim.findings import Finding, Panel, Series, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control
from theorysim.paper_checks._pamfcn_misestimated import speed_ups
from theorysim.paper_checks._pamfcn_paper import EXPLICIT, NAG, PAPER, Floats, decay_cell, method, rates, says_nothing
from theorysim.registry import claim, problem

_GUARANTEE = "(sqrt(kappa_a) + 1)/2"
_ENDLESS = 1e30  # momentum 1 - 2e-15


@claim(
    PAPER,
    source=f"abstract: convergence with a mis-estimated condition number (source); constants derived, {EXPLICIT}",
    kind="upper",
    statement=r"\frac{\ln\rho}{\ln\rho_{\rm GD}}\ge\frac{\sqrt{\kappa_a}+1}2\ (\kappa_a\le\kappa),\qquad"
    r"\frac{\ln\rho}{\ln\rho_{\rm GD}}>\frac12\ (\kappa_a\ge\kappa),\ \to\frac12\ (\kappa_a\to\infty)",
    bound=_GUARANTEE,
    assumptions="kappa = 1e2, 1e4, 1e6; kappa_a = 1 ... kappa, kappa ... 1e16, and 1e30; exact spectral radii.",
    controls=[
        Control({"momentum_one": True}, "th = 1: no acceleration is left, the rate is half of gradient descent's"),
        Control({"noise": True}, "gradients of one sample, whose noise grows with the error: the momentum diverges"),
    ],
)
def acceleration_is_guaranteed_below(lab: Lab, momentum_one: bool = False, noise: bool = False) -> Finding:
    """An underestimate accelerates at least as if it were true, and no overestimate is worse than half of gradient descent."""
    if noise:
        return _one_sample(lab)
    parts = []
    for kappa in (1e2, 1e4, 1e6):
        below = np.geomspace(1.0, kappa, lab.pick(quick=9, full=33))
        used = np.full_like(below, _ENDLESS) if momentum_one else below
        guarantee = Bound(_GUARANTEE)({"kappa_a": below})
        ratio = speed_ups(lab, kappa, NAG, used.tolist()) / guarantee
        parts.append(band(ratio, low=1 - 1e-9, label=f"kappa={kappa:g}: speed-up / guarantee, kappa_a <= kappa", predicted=1.0))
        if not momentum_one:
            parts.append(band(ratio[0], 1 - 1e-9, 1 + 1e-9, label=f"kappa={kappa:g}: the same at kappa_a = 1", predicted=1.0))
            above = speed_ups(lab, kappa, NAG, np.geomspace(kappa, 1e16, lab.pick(quick=9, full=33)).tolist())
            parts.append(band(above, low=0.5, label=f"kappa={kappa:g}: speed-up, kappa_a >= kappa"))
            endless = speed_ups(lab, kappa, NAG, [_ENDLESS])
            limits: dict[str, Any] = {"low": 0.5 - 1e-6, "high": 0.5 + 1e-6, "predicted": 0.5}
            parts.append(band(endless, **limits, label=f"kappa={kappa:g}: speed-up at kappa_a = 1e30"))
    return together(*parts, label="guaranteed speed-up")


_SAMPLED = problem("least_squares", data="decoupled", dim=2, spectrum=[1.0, 1e-4], start="ones", batch=1)
_FACTS = {"L1": 6.0, "kappa_tilde": 6.0, "kappa": 6e4, "lambda_max": 1.0, "lambda_min": 1e-4, "L_1norm": 1.0001, "L_infnorm": 1.0}
_FACTS |= {"M": 1.0, "L_m": 6.0, "kappa_tilde_m": 6.0, "kappa_m": 6e4}
_FACTS |= {"trace_H": 1.0001, "Delta_0": 0.50005, "D_2_0": 2**0.5, "D_inf_0": 1.0}


def _one_sample(lab: Lab) -> Finding:
    """The same guarantee for E f on gradients of one sample, x = +-sqrt(2 lam_j) z e_j with normal z: E x_j^4 = 6 lam_j^2.

    Without momentum E e_j^2 is multiplied by 1 - 2 q + 6 q^2, q = lr lam_j: that is how the instance is known.
    """
    assumed = [1.0, 1e2, 1e4]
    trace = lab.run(decay_cell(_SAMPLED, method(NAG, assumed, lr="1/L1")))
    found, q = trace["decay"][:, -1], 1e-4 / 6
    known = np.isclose([trace.constant(name)[0] for name in _FACTS], list(_FACTS.values()), rtol=1e-9, atol=0.0).all()
    if not (known and np.isclose(found[0], 2 * q - 6 * q * q, rtol=1e-9, atol=0.0)):
        return says_nothing("gradients of one sample")
    guarantee = Bound(_GUARANTEE)({"kappa_a": np.array(assumed)})
    return band(found / found[0] / guarantee, low=1 - 1e-9, label="gradients of one sample: speed-up / guarantee")


# ------------------------------------------------------------------------------------------------ steps that are too long
_THRESHOLD = "2*(1 + th)/(1 + 2*th)"
_TOO_LONG = (1.30, 1.34, 1.40)


@claim(
    PAPER,
    source=f"derived (Schur's criterion), {EXPLICIT}",
    kind="threshold",
    statement=r"\eta L<\frac{2(1+\vartheta)}{1+2\vartheta}\ \to\ \frac43\quad(\kappa_a\to\infty)",
    bound=_THRESHOLD,
    assumptions="One direction with q = c for a step c/L; kappa_a = 1, 4, 400, 1e4, 1e16; "
    "the rate at c = 1.3, 1.34, 1.4 also step by step.",
    controls=[
        Control({"limit": "2"}, "the threshold of gradient descent"),
        Control({"limit": "4/3"}, "the limit of large kappa_a in the place of the threshold"),
    ],
)
def longest_step(lab: Lab, limit: str = _THRESHOLD) -> Finding:
    """Momentum shortens the longest stable step from 2/L to a little more than 4/3 of 1/L."""
    parts = []
    for kappa_a in (1.0, 4.0, 400.0, 1e4, 1e16):
        claimed, found = float(Bound(limit)({"th": _momentum(kappa_a)})), _threshold(lab, kappa_a)
        label = f"kappa_a={kappa_a:g}: longest stable step, in units of 1/L"
        parts.append(band(found, claimed - 1e-6, claimed + 1e-6, label=label, predicted=claimed))
    if limit != _THRESHOLD:
        return together(*parts, label="longest step")
    spec = method(NAG, [1e4] * len(_TOO_LONG), lr=list(_TOO_LONG))
    claimed_radii = np.array([_radius(c, 1e4) for c in _TOO_LONG])
    exact = np.exp(-rates(lab.run(decay_cell(_TOP, spec))))
    run = lab.run(Cell(_TOP, spec, 400, 1, ("gap",), (200, 400)))["gap"]
    stepwise = (run[:, 1] / run[:, 0]) ** (1 / 400)
    for c, claimed, *radii in zip(_TOO_LONG, claimed_radii, exact, stepwise, strict=True):
        for how, value in zip(("exact", "step by step"), radii, strict=True):
            parts.append(band(value, claimed - 1e-8, claimed + 1e-8, label=f"rho at {c:g}/L, {how}", predicted=float(claimed)))
    return together(*parts, label="longest step", panels=(_panel(lab),))


_TOP = problem("anisotropic_quadratic", dim=1, spectrum=[1.0])


def _momentum(kappa_a: float) -> float:
    return float((kappa_a**0.5 - 1) / (kappa_a**0.5 + 1))


def _radius(q: float, kappa_a: float) -> float:
    """rho for q > 1: roots of opposite signs."""
    th = _momentum(kappa_a)
    total = (1 + th) * (q - 1)
    return float(total + np.sqrt(total**2 + 4 * th * (q - 1))) / 2


def _decays(lab: Lab, kappa_a: float, c: Floats) -> Floats:
    spec = method(NAG, [kappa_a] * len(c), lr=c.tolist())
    return lab.run(decay_cell(_TOP, spec))["decay"][:, -1]


def _threshold(lab: Lab, kappa_a: float) -> float:
    """The first step size that does not converge, by grids of 65 points in ever smaller brackets; NaN if none is in [1, 3]."""
    low, high = 1.0, 3.0
    for _ in range(4):
        c = np.linspace(low, high, 65)
        unstable = ~(_decays(lab, kappa_a, c) > 0)
        first = int(unstable.argmax())
        if not unstable.any() or first == 0:
            return float("nan")
        low, high = float(c[first - 1]), float(c[first])
    return (low + high) / 2


def _panel(lab: Lab) -> Panel:
    c = np.linspace(1.0, 1.6, 61)
    curves = [Series(f"kappa_a={k:g}", tuple(c), tuple(np.sqrt(1 - _decays(lab, k, c)))) for k in (4.0, 400.0, 1e4)]
    one = Series("stable below", (1.0, 1.6), (1.0, 1.0), "limit")
    return Panel("Steps that are too long", "step size, in units of 1/L", "rho", (*curves, one), log_x=False, log_y=False)
