"""Beyond quadratics: an accelerated rate under strong growth, with constants (M5)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from theorysim.analyses.band import band
from theorysim.analyses.bound_in_expectation import bound_in_expectation
from theorysim.bounds import Bound
from theorysim.findings import Finding, Panel, Series, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Spec
from theorysim.paper_checks._mass_paper import PAPER, Floats
from theorysim.registry import algorithm, claim, problem
from theorysim.trace import Trace

_DIM, _LEAST, _START = 6, 1e-2, 2.0
_FACTOR = "(1 - sqrt(mu/lambda_max)/rho)**T"
_ROOT = float(np.sqrt(_LEAST / 2))  # sqrt(mu/L)


class Weights(NamedTuple):
    """The theory's weights times these factors."""

    eta: float = 1.0
    delta: float = 1.0

    @property
    def spec(self) -> Spec:
        alpha = "sqrt(mu/lambda_max)/rho"
        settings = {"lr": f"{self.eta}/(rho*lambda_max)", "alpha": alpha, "delta": f"{self.delta}*{alpha}/mu"}
        return algorithm("mass_three_sequences", **settings)


def _runs(lab: Lab, rho: float, weights: Weights, count: int) -> Trace:
    """6/alpha steps, the first ones and then about eight to an e-fold of the bound."""
    steps = int(np.ceil(6 * rho / _ROOT))
    later = np.rint(np.linspace(10, steps, 48)).astype(int).tolist()
    record, measures = tuple(sorted({*range(11), *later})), ("gap", "auxiliary_distance")
    instance = problem("strong_growth", dim=_DIM, a_min=_LEAST, rho=rho, distance=_START)
    return lab.run(Cell(instance, weights.spec, steps, lab.runs(8 if rho == 1 else count), measures, record))


def _potential(trace: Trace) -> Floats:
    """|v - w*|^2 + (2/mu)(f(w) - f*) of every run, ``(runs, records)``."""
    return np.asarray(trace["auxiliary_distance"] ** 2 + 2 / trace.constants["mu"] * trace["gap"])


def _first_step(rho: float) -> tuple[float, float]:
    """E Phi_0 and E Phi_1 from the definitions: xi is rho with probability 1/rho, else 0."""
    a, w = np.geomspace(1.0, _LEAST, _DIM), np.full(_DIM, _START)
    gradient, eta = a * (w + np.tanh(w)), 1 / (2 * rho)
    delta = _ROOT / rho / _LEAST

    def loss(x: Floats) -> float:
        return float(np.sum(a * (x**2 / 2 + np.log(np.cosh(x)))))

    auxiliary = w @ w - 2 * delta * w @ gradient + delta**2 * rho * gradient @ gradient
    after = (1 - 1 / rho) * loss(w) + loss(w - eta * rho * gradient) / rho
    return float(w @ w + 2 / _LEAST * loss(w)), float(auxiliary + 2 / _LEAST * after)


@claim(
    PAPER,
    source="accelerated rate under strong growth (derived, in the place of the paper's convex theorem, which is only recalled; "
    "the same rate as that of Vaswani, Bach, Schmidt 2019)",
    kind="upper",
    statement=r"\mathbb E\|v_t-w^*\|^2+\tfrac2\mu\,\mathbb E\bigl(f(w_t)-f^*\bigr)"
    r"\le\Bigl(1-\frac{\sqrt{\mu/L}}\rho\Bigr)^t\Phi_0"
    r"\quad\text{if }\mathbb E\|g\|^2\le\rho\,\|\nabla f\|^2",
    bound=_FACTOR,
    assumptions="f = sum a_j (w_j^2/2 + log cosh w_j), d = 6, a_j from 1 to .01, g = xi grad f with xi = rho with probability "
    "1/rho, w_0 = (2, ..., 2); eta = 1/(rho L), alpha = sqrt(mu/L)/rho, delta = alpha/mu; 6/alpha steps.",
    controls=[
        Control({"eta": 2.0, "rhos": (3.0,)}, "twice the step size"),
        Control({"eta": 4.0, "rhos": (3.0,)}, "four times the step size diverges"),
        Control({"delta": 4.0, "rhos": (3.0,)}, "four times delta diverges"),
        Control({"delta": 2.0, "rhos": (3.0,)}, "twice delta overshoots in the first steps"),
        Control({"delta": 0.5, "rhos": (3.0,)}, "half of delta is slower at first, and stays below the bound", fires=False),
    ],
)
def strong_growth_accelerates(lab: Lab, rhos: tuple[float, ...] = (), eta: float = 1.0, delta: float = 1.0) -> Finding:
    """Off quadratics the three sequences keep the root of the condition number, at the price of the strong growth constant."""
    parts, panels, count = [], [], lab.pick(quick=4000, full=20_000)
    for rho in rhos or lab.pick(quick=(1.0, 3.0, 8.0), full=(1.0, 2.0, 3.0, 4.0, 8.0)):
        trace, label = _runs(lab, rho, Weights(eta, delta), count), f"rho={rho:g}"
        potential, steps = _potential(trace), trace.steps.astype(float)
        factor = Bound(_FACTOR)({**trace.constants, "T": steps})
        later = slice(1, None)
        bound = factor * potential[0, 0]
        parts.append(bound_in_expectation(steps[later], potential[:, later], bound[later], label=f"{label}: Phi / bound"))
        panels.append(_panel(label, steps[later], (potential.mean(axis=0) / bound)[later]))
        if not rhos:
            parts += _exact(potential, factor, rho, label)
    return together(*parts, label="strong growth", panels=tuple(panels))


def _exact(potential: Floats, factor: Floats, rho: float, label: str) -> list[Finding]:
    """The bound is nearly attained in the first step, whose expectation is known; later the method is much faster."""
    start, first = _first_step(rho)
    error = potential[:, 1].std(ddof=1) / np.sqrt(len(potential)) + 1e-12 * first
    means = potential.mean(axis=0) / potential[0, 0] / factor
    return [
        band(potential[:, 0] / start, 1 - 1e-12, 1 + 1e-12, label=f"{label}: Phi_0 / its definition", predicted=1.0),
        band((potential[:, 1].mean() - first) / error, -4, 4, label=f"{label}: Phi_1, standard errors", predicted=0.0),
        band(
            means[1], low=0.7, label=f"{label}: Phi_1 / bound, which the first step attains up to this", predicted=first / start
        ),
        band(means[1:].max() - means[1], high=0.02, label=f"{label}: the first step is the closest to the bound"),
        band(means[len(means) // 2], high=0.05, label=f"{label}: Phi / bound half way"),
    ]


def _panel(label: str, steps: Floats, ratio: Floats) -> Panel:
    curves: list[Any] = [Series("mean Phi / bound", tuple(steps), tuple(ratio))]
    ends = (float(steps[0]), float(steps[-1]))
    return Panel(f"Strong growth, {label}", "t", "Phi / bound", (*curves, Series("the bound", ends, (1.0, 1.0), "bound")))
