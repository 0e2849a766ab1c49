"""The iteration itself: its update rule, its two forms, its expectations computed twice and simulated (M1, M2)."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from theorysim.analyses.band import band
from theorysim.backend import namespace, to_host
from theorysim.findings import Finding, Panel, Series, Table, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Draw, Spec
from theorysim.paper_checks import _mass_recursions as recursions
from theorysim.paper_checks._mass_paper import METHODS, PAPER, SGD, Floats, mass
from theorysim.paper_checks._mass_recursions import Noise, Weights
from theorysim.registry import algorithm, claim, problem
from theorysim.trace import Trace

_RECORD = (0, 1, 2, 5)
_LAM = (1.0, 0.4, 0.1)
_START = (1.0, -2.0, 1.5)
_BATCH = 4
_C = 6.0  # of the decoupled data, L1 = c and kappa~ = c
_COMMON: dict[str, Any] = {"dim": 3, "spectrum": list(_LAM), "start": list(_START), "batch": _BATCH}
_DATA: dict[str, tuple[Spec, Noise]] = {
    "Gaussian": (problem("least_squares", data="gaussian", **_COMMON), Noise(1.0, 1.0, batch=_BATCH)),
    "decoupled": (problem("least_squares", data="decoupled", kurtosis=2.0, **_COMMON), Noise(_C - 1, 0.0, batch=_BATCH)),
    "decoupled, normal": (problem("least_squares", data="decoupled", **_COMMON), Noise(8.0, 0.0, batch=_BATCH)),
    "label noise": (
        problem("least_squares", data="gaussian", label_noise=0.7, **_COMMON),
        Noise(1.0, 1.0, label=0.7, batch=_BATCH),
    ),
}


def _constants(noise: Noise) -> tuple[float, float]:
    """L_m and kappa~_m from their definitions."""
    one = (2 + sum(_LAM), len(_LAM) + 2.0) if noise.shared else (noise.own + 1, noise.own + 1)
    return (one[0] + _BATCH - 1) / _BATCH, (one[1] + _BATCH - 1) / _BATCH


def _methods(noise: Noise) -> dict[str, tuple[Spec, Weights]]:
    L1, kappa_tilde = _constants(noise)
    weights = recursions.mass(L1, kappa_tilde, _LAM[-1])
    half = 0.5 / L1
    return {
        "MaSS": (mass(), weights),
        "MaSS by its defaults": (algorithm("mass"), weights),
        "MaSS with three sequences": (algorithm("mass_three_sequences"), weights),
        "Nesterov": (algorithm("nesterov", lr="1/(2*L_m)", momentum=0.6), Weights(half, 0.6)),
        "heavy ball": (algorithm("heavy_ball", lr="1/(2*L_m)", momentum=0.6), Weights(half, 0.6, ball=True)),
        "SGD": (SGD, Weights(1 / L1)),
    }


# ------------------------------------------------------------------------------------------------ paths
@claim(
    PAPER,
    source="update rule (source); three sequences (recalled, verified algebraically); weights (recalled, derived again)",
    kind="identity",
    statement=r"w_{t+1}=u_t-\eta_1 g_t,\qquad u_{t+1}=(1+\gamma)w_{t+1}-\gamma w_t+\eta_2 g_t,\qquad"
    r"\gamma=\frac{S-1}{S+1},\ \eta_2=\frac{\eta_1S}{S+1}\bigl(1-\tfrac1{\tilde\kappa_m}\bigr)",
    assumptions="Eigenvalues 1, .4, .1, batches of four, four laws of the data, 40 steps; every method on the same gradients.",
    controls=[
        Control({"method": "without eta_2"}, "no compensation"),
        Control({"method": "-eta_2"}, "the compensation with the wrong sign"),
        Control({"method": "SGD"}, "without momentum"),
    ],
)
def update_rule(lab: Lab, method: str | None = None) -> Finding:
    """The implementations follow the paper's recursion to rounding, in both of its forms, and no look-alike does."""
    parts = []
    for law, (instance, noise) in _DATA.items():
        known = _methods(noise)
        chosen = known if method is None else {method: (METHODS[method], known["MaSS"][1])}
        parts += [_follows(lab, instance, *pair, f"{name}, {law}") for name, pair in chosen.items()]
    return together(*parts, label="update rule")


def _follows(lab: Lab, instance: Spec, spec: Spec, weights: Weights, label: str, steps: int = 40) -> Finding:
    """Largest distance of iterates and gaps from those of the recursion, over all steps."""
    built = lab.build(instance)
    xp = namespace(built.start)
    measures = ("gap", *(f"coordinate:{k}" for k in range(len(_LAM))))
    trace = lab.run(Cell(instance, spec, steps, 1, measures, "all"))

    def gradient(point: Floats, t: int) -> Floats:
        return np.asarray(to_host(built.sample(xp.asarray(point[None, :]), Draw(t)))[0])

    path = recursions.path(weights, gradient, np.array(_START), steps)
    gaps = 0.5 * np.sum(np.array(_LAM) * path**2, axis=1)
    found = np.stack([trace[name][0] for name in measures[1:]], axis=1)
    off = [np.abs(found - path).max(), np.abs(trace["gap"][0] - gaps).max()]
    return band(np.array(off), high=1e-9, label=f"{label}: distance from the recursion", predicted=0.0)


# ------------------------------------------------------------------------------------------------ expectations
@claim(
    PAPER,
    source="second moments of (w, u) (derived)",
    kind="identity",
    statement=r"\bigl(\mathbb E w^2,\ \mathbb E wu,\ \mathbb E u^2\bigr)_{t+1}"
    r"=M\,\bigl(\mathbb E w^2,\ \mathbb E wu,\ \mathbb E u^2\bigr)_t+n",
    assumptions="The instances of the update rule; expectations of distance and loss at steps up to 200, computed from the "
    "products of w and u, which are another pair of variables than those of the exact computation. Label noise s: E f tends to "
    "a floor.",
    controls=[
        Control({"method": "without eta_2"}, "no compensation"),
        Control({"method": "SGD"}, "without momentum"),
        Control({"correlated": False}, "noise of Gaussian data couples the directions"),
    ],
)
def expectations(lab: Lab, method: str | None = None, correlated: bool = True) -> Finding:
    """Exact expectations are those that the update rule and the moments of the data give, step by step."""
    parts = []
    for law, (instance, noise) in _DATA.items():
        known, assumed = _methods(noise), noise if correlated else noise._replace(shared=0.0)
        chosen = known if method is None else {method: (METHODS[method], known["MaSS"][1])}
        parts += [_expected(lab, instance, spec, weights, assumed, f"{name}, {law}") for name, (spec, weights) in chosen.items()]
    return together(*parts, label="expectations")


def _expected(lab: Lab, instance: Spec, spec: Spec, weights: Weights, noise: Noise, label: str) -> Finding:
    """Largest relative difference, over measures and steps."""
    steps, lam = (0, 1, 2, 3, 7, 20, 50, 200), np.array(_LAM)
    trace = lab.run(Cell(instance, spec, steps[-1], 1, ("gap", "square_distance"), steps, exact=True))
    path = np.stack(list(islice(recursions.second_moments(weights, noise, lam, np.array(_START)), steps[-1] + 1)))[list(steps)]
    again = {"gap": path @ lam / 2, "square_distance": path.sum(axis=1)}
    off = [np.abs(trace[name][0] / values - 1) for name, values in again.items()]
    return band(np.stack(off), high=1e-9, label=f"{label}: relative difference of expectations", predicted=0.0)


@claim(
    PAPER,
    source="M1, M2 (derived): simulation of what is computed",
    kind="identity",
    statement=r"\Bigl|\tfrac1R\sum_r f(w_t^{(r)})-\mathbb E f(w_t)\Bigr|\le 4\ \text{standard errors}",
    assumptions="The instances of the update rule; every method on every law of the data, 2e4 runs (full: 2e5), t = 1, 2, 5 "
    "(later the tails are too heavy for standard errors), gap and squared distance.",
    controls=[
        Control({"method": "without eta_2"}, "simulated without the compensation"),
        Control({"batch": 2}, "simulated with half the batch"),
    ],
)
def simulation_agrees(lab: Lab, method: str | None = None, batch: int = _BATCH) -> Finding:
    """Simulated means agree with the exact expectations, for every method and every law of the data that the claims use."""
    parts, rows = [], []
    runs = lab.runs(lab.pick(quick=20_000, full=200_000))
    for law, (instance, noise) in _DATA.items():
        other = replace(instance, params=tuple((key, batch if key == "batch" else value) for key, value in instance.params))
        known = _methods(noise) if method is None and batch == _BATCH else {"MaSS": (mass(), None)}
        for name, (spec, _) in known.items():
            if name == "MaSS by its defaults":
                continue
            run = spec if method is None else METHODS[method]
            exact = lab.run(Cell(instance, spec, _RECORD[-1], 1, ("gap", "square_distance"), _RECORD, exact=True))
            sampled = lab.run(Cell(other, run, _RECORD[-1], runs, ("gap", "distance:2"), _RECORD))
            z, label = _scores(sampled, exact), f"{name}, {law}"
            parts.append(band(z, -4.0, 4.0, label=f"{label}: standard errors from the expectation", predicted=0.0))
            if method is None and batch == _BATCH:
                moved = abs(exact["square_distance"][0, -1] / exact["square_distance"][0, 0] - 1)
                parts.append(band(moved, low=0.05, label=f"{label}: relative change of the distance in 5 steps"))
            rows.append((label, exact["gap"][0, -1], sampled["gap"][:, -1].mean(), float(np.abs(z).max())))
    table = Table("E f after 5 steps", ("case", "expected", f"mean of {runs} runs", "largest |z|"), tuple(rows))
    return together(*parts, label="simulation", tables=(table,))


def _scores(sampled: Trace, exact: Trace) -> Floats:
    """(mean - expectation)/standard error, of both measures at the later records."""
    pairs = ((sampled["gap"], exact["gap"][0]), (sampled["distance:2"] ** 2, exact["square_distance"][0]))
    scores = [(runs.mean(axis=0) - mean)[1:] / (runs.std(axis=0, ddof=1)[1:] / np.sqrt(len(runs))) for runs, mean in pairs]
    return np.concatenate(scores)


# ------------------------------------------------------------------------------------------------ labels that do not fit
_LABELS: dict[str, Any] = {"data": "gaussian", "dim": 3, "spectrum": [1.0, 0.1, 0.01]}


@claim(
    PAPER,
    source="label noise (derived; measured)",
    kind="identity",
    statement=r"\lim_{t\to\infty}\mathbb E f(w_t)\propto s^2,\qquad=0\text{ for }s=0",
    assumptions="Gaussian data, eigenvalues 1, .1, .01, m = 1 (L1 = 3.11, kappa~ = 5), noise of the labels s = .1, .2, .4; 1e6 "
    "steps.",
    controls=[Control({"noise": 0.0}, "labels that interpolate leave no floor")],
)
def label_noise_leaves_a_floor(lab: Lab, noise: float = 0.1) -> Finding:
    """Without interpolation MaSS stops at a loss proportional to the variance of the labels' noise."""
    levels = (noise, 2 * noise, 4 * noise)
    cells = [
        Cell(problem("least_squares", label_noise=s, **_LABELS), mass(), 10**6, 1, ("gap", "floor"), "log", exact=True)
        for s in (0.0, *levels)
    ]
    fitted, *noisy = lab.run_all(cells)
    floors = np.array([trace["floor"][0, 0] for trace in noisy])
    ends = np.array([trace["gap"][0, -1] for trace in noisy])
    with np.errstate(divide="ignore", invalid="ignore"):
        steps, reached = floors[1:] / floors[:-1], ends / floors
    parts = [
        band(steps, 4 * (1 - 1e-9), 4 * (1 + 1e-9), label="floor at twice the noise / floor", predicted=4.0),
        band(reached, 1 - 1e-9, 1 + 1e-9, label="E f after 1e6 steps / floor", predicted=1.0),
        band(fitted["gap"][0, -1] / fitted["gap"][0, 0], high=1e-30, label="E f after 1e6 steps / start, without noise"),
        band(floors[0] / 0.1**2, 0.40416755, 0.40416765, label="floor / s^2", predicted=0.4041676),
    ]
    curves = [
        Series(f"s={s:g}", tuple(map(float, trace.steps[1:])), tuple(np.maximum(trace["gap"][0, 1:], 1e-300)))
        for s, trace in zip((0.0, *levels), (fitted, *noisy), strict=True)
    ]
    panel = Panel("Loss of MaSS with noisy labels", "t", "E f", tuple(curves))
    return together(*parts, label="label noise", panels=(panel,))
