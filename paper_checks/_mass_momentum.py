"""Nesterov's momentum and heavy ball without compensation: they may diverge, and they do not accelerate (M3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq

from theorysim.analyses.band import band
from theorysim.analyses.slope import slope
from theorysim.bounds import Bound
from theorysim.findings import Finding, Panel, Series, Table, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Spec
from theorysim.paper_checks._mass_paper import PAPER, Floats, decays, decoupled, mass, rates
from theorysim.registry import algorithm, claim, problem

_ROUNDS = 6  # of refining a grid of 33 momenta: to 1e-9


# ------------------------------------------------------------------------------------------------ divergence
def stability_limit(c: float) -> float:
    """The momentum at which the noise of the top direction keeps itself up, for eta = 1/L1 and batches of one.

    With q = eta L = 1/c, u_t is an autoregression driven by (c - 1) q^2 E u^2: the limit is where its variance is 1.
    """
    q = 1 / c

    def excess(g: float) -> float:
        gain = (1 + g * (1 - q)) * ((1 + g) ** 2 + g**2) - 2 * g * (1 + g) ** 2 * (1 - q)
        return (c - 1) * q * gain - (1 - g * (1 - q)) * (1 + (1 + 2 * g) * (1 - q))

    return float(brentq(excess, 0.0, 1.0, xtol=1e-14))


def _decays(lab: Lab, instance: Spec, method: str, lr: Floats, momentum: Floats) -> Floats:
    """1 - rho of every pair of weights, in one experiment."""
    spec = algorithm(method, lr=lr.ravel().tolist(), momentum=momentum.ravel().tolist())
    trace = lab.run(Cell(instance, spec, 1, measure=("decay",), record="last", exact=True))
    return np.asarray(trace["decay"][:, 0].reshape(lr.shape))


def _threshold(lab: Lab, instance: Spec, lr: float) -> float:
    """The least momentum with which Nesterov's method does not converge."""
    low, high = 0.0, 1 - 1e-9
    for _ in range(_ROUNDS):
        grid = np.linspace(low, high, 33)
        diverges = ~(_decays(lab, instance, "nesterov", np.full(33, lr), grid) > 0)
        first = int(np.argmax(diverges)) if diverges.any() else 32
        low, high = float(grid[max(first - 1, 0)]), float(grid[first])
    return (low + high) / 2


@claim(
    PAPER,
    source="SGD with Nesterov's momentum may diverge (source: abstract); interval [.6, 1] (recalled, true for c >= 5); exact "
    "limit (derived)",
    kind="threshold",
    statement=r"\eta=1/L_1,\ \gamma\in[0.6,1)\ \Rightarrow\ \mathbb E\|w_t\|^2\to\infty",
    assumptions="Component-decoupled data, m = 1, kappa_inf = 100, c = 5..48 (full: also 3 and 4 for the limit itself, where "
    "it lies above .6). gamma = 1 is the limit of the grid and not a member.",
    controls=[
        Control({"cs": (3.0, 4.0)}, "at c = 3, 4 the limit lies above .6"),
        Control({"batch": 100}, "with less noise the same weights converge"),
        Control({"step": 0.1}, "a tenth of the step size converges longer"),
    ],
)
def nesterov_diverges(
    lab: Lab, cs: tuple[float, ...] = (5.0, 6.0, 9.0, 12.0, 20.0, 48.0), batch: int = 1, step: float = 1
) -> Finding:
    """With eta = 1/L1 Nesterov's method diverges on least squares for every momentum from .6 on, and in fact from about .5 on."""
    grid, sound = np.append(np.linspace(0.6, 0.999, 24), 1 - np.geomspace(1e-4, 1e-8, 5)), cs[0] >= 5 and batch == 1 and step == 1
    parts, rows = [], []
    for c in cs:
        found = _decays(lab, decoupled(c, 100.0, batch=batch), "nesterov", np.full(len(grid), step / c), grid)
        parts.append(band(-found, low=1e-10, label=f"c={c:g}: rho - 1 for gamma in [.6, 1)"))
    for c in (*lab.pick(quick=(3.0,), full=(3.0, 4.0)), *cs) if sound else ():
        limit, predicted = _threshold(lab, decoupled(c, 100.0), 1 / c), stability_limit(c)
        parts.append(band(limit - predicted, -1e-7, 1e-7, label=f"c={c:g}: gamma* - closed form", predicted=0.0))
        rows.append((c, limit, predicted))
    if not sound:
        return together(*parts, label="divergence")
    curves = [
        Series(name, tuple(row[0] for row in rows), tuple(row[i] for row in rows), role)
        for i, name, role in ((1, "measured", "measured"), (2, "closed form", "predicted"))
    ]
    panel = Panel("Largest stable momentum at eta = 1/L1", "c", "gamma*", tuple(curves), log_y=False)
    table = Table("Nesterov's method diverges above gamma*", ("c", "gamma*", "closed form"), tuple(rows))
    return together(*parts, label="divergence", panels=(panel,), tables=(table,))


# ------------------------------------------------------------------------------------------------ the best weights
class Best(NamedTuple):
    """1 - rho of the best weights of a method on an instance, and these."""

    decay: float
    lr: float
    momentum: float


Evaluate = Callable[[Floats, Floats], Floats]


def tuned(lab: Lab, instance: Spec, method: str) -> Best:
    """The largest 1 - rho over ln eta in [ln 1e-8, ln 2] and the logit of 1 - momentum down to 1e-8.

    A grid of 25 x 22; then for every momentum the step size is refined around its best one (1 - rho has one peak, a sharp
    edge, in the step size), and twice the momentum between the neighbours of the best one, along 1 - momentum ~ eta.
    """

    def evaluate(ln_lr: Floats, logit: Floats) -> Floats:
        momentum = np.broadcast_to(1 / (1 + np.exp(logit))[:, None], ln_lr.shape)
        return _decays(lab, instance, method, np.exp(ln_lr), momentum)

    steps, logit = np.linspace(np.log(1e-8), np.log(2.0), 25), np.linspace(-18.4, 18.4, 22)
    found = evaluate(np.tile(steps, (22, 1)), logit)
    decay, ln_lr = _refined(evaluate, logit, steps[found.argmax(axis=1)], steps[1] - steps[0], lab.pick(quick=3, full=5))
    for _ in range(2):
        best, gap = int(decay.argmax()), logit[1] - logit[0]
        near = np.linspace(logit[best] - gap, logit[best] + gap, 15)
        centre = ln_lr[best] + np.logaddexp(0, -logit[best]) - np.logaddexp(0, -near)
        decay, ln_lr = _refined(evaluate, near, centre, 0.5, lab.pick(quick=4, full=6))
        logit = near
    best = int(decay.argmax())
    return Best(float(decay[best]), float(np.exp(ln_lr[best])), float(1 / (1 + np.exp(logit[best]))))


def _refined(evaluate: Evaluate, logit: Floats, centre: Floats, half: float, rounds: int) -> tuple[Floats, Floats]:
    """For every momentum the best 1 - rho over ln eta within ``half`` of ``centre``, by grids of 13, each a sixth as wide."""
    rows = np.arange(len(logit))
    for _ in range(rounds):
        grid = np.minimum(centre[:, None] + half * np.linspace(-1, 1, 13), np.log(2.0))
        found = evaluate(grid, logit)
        place = found.argmax(axis=1)
        centre, half = grid[rows, place], half / 6
    return found[rows, place], centre


_LIMITS = {"nesterov": "4/(c - 3)", "heavy_ball": "4/(c - 1)"}


@claim(
    PAPER,
    source="SGD with Nesterov's momentum does not accelerate SGD (source: abstract); sharp constants (derived to leading order)",
    kind="rate",
    statement=r"\max_{\eta,\gamma}(1-\rho)\,\kappa_\infty\to\frac4{c-3}\ (\text{Nesterov}),\ "
    r"\frac4{c-1}\ (\text{heavy ball}),\qquad"
    r"1-\rho_{\rm MaSS}\sim\kappa_\infty^{-1/2}",
    bound="4/(c - 3)",
    assumptions="Component-decoupled data, m = 1, c = 4..48, eigenvalues 1 and 1/kappa_inf, kappa_inf = 1e3..1e6; step size "
    "and momentum tuned by a grid of 25 x 22 and finer grids around its best points.",
    controls=[
        Control({"noisy": False}, "with exact gradients momentum accelerates"),
        Control({"cs": (3.0,), "methods": ("nesterov",)}, "at c = 3 the obstruction disappears for Nesterov's method"),
    ],
)
def momentum_does_not_accelerate(
    lab: Lab, cs: tuple[float, ...] = (), methods: tuple[str, ...] = ("nesterov", "heavy_ball"), noisy: bool = True
) -> Finding:
    """However step size and momentum are tuned, Nesterov and heavy ball save a constant factor over SGD; MaSS saves a root."""
    parts, rows, curves = [], [], []
    kappas = lab.pick(quick=(1e3, 1e6), full=(1e3, 1e4, 1e5, 1e6))
    every = cs or lab.pick(quick=(4.0, 48.0), full=(4.0, 5.0, 6.0, 8.0, 12.0, 48.0))
    for method in methods:
        for c in every if noisy else (6.0,):
            best = [tuned(lab, decoupled(c, kappa) if noisy else _exact(kappa), method) for kappa in kappas]
            products, label = np.array([each.decay for each in best]) * np.array(kappas), f"{method}, c={c:g}"
            settings: dict[str, Any] = {"low": -1.0, "high": -0.95, "predicted": -1.0, "variable": "kappa_inf"}
            parts.append(slope(kappas, products / np.array(kappas), label=f"{label}: slope", quantity="1 - rho", **settings))
            if noisy and c > 3:
                limit = float(Bound(_LIMITS[method])({"c": c}))
                parts.append(band(products / limit, high=1.002, label=f"{label}: (1 - rho) kappa_inf / limit", predicted=1.0))
                parts.append(band(products[-1] / limit, low=0.98, label=f"{label}: the limit is approached", predicted=1.0))
            curves.append(Series(label, kappas, tuple(products)))
            rows += [(method, c, k, y, each.lr, each.momentum) for k, y, each in zip(kappas, products, best, strict=True)]
    if not cs and noisy:
        parts += _of_mass(lab, every, kappas, curves)
    panel = Panel("Best weights: (1 - rho) kappa_inf", "kappa_inf", "(1 - rho) kappa_inf", tuple(curves))
    table = Table("Tuned momentum", ("method", "c", "kappa_inf", "(1 - rho) kappa_inf", "eta", "momentum"), tuple(rows))
    return together(*parts, label="tuned momentum", panels=(panel,), tables=(table,))


def _exact(kappa: float) -> Spec:
    """The same quadratic with exact gradients."""
    return problem("anisotropic_quadratic", dim=2, spectrum=[1.0, 1 / kappa])


def _of_mass(lab: Lab, cs: tuple[float, ...], kappas: tuple[float, ...], curves: list[Series]) -> list[Finding]:
    """MaSS on the same instances, with the theory's weights and none tuned."""
    parts = []
    for c in cs:
        y, name = decays(rates(lab, [decoupled(c, kappa) for kappa in kappas], mass())), f"MaSS, c={c:g}"
        parts.append(
            slope(kappas, y, low=-0.52, label=f"{name}: slope", predicted=-0.5, variable="kappa_inf", quantity="1 - rho")
        )
        curves.append(Series(name, kappas, tuple(y * np.array(kappas))))
    return parts
